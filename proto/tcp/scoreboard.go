package tcp

import (
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 6675 §3-4, RFC 8985 §5.2.

// A run is a stretch of sequence numbers that were sent at one moment and share one fate.
type run struct {
	start, end wire.Seq
	at         mono.Time // when it was last sent
	is         fate
	from       milestone
}

type fate uint8

const (
	sacked fate = 1 << iota // the peer has it
	lost                    // held for lost
	again                   // sent again, since it was held for lost or as a probe of the tail
	twice                   // was ever sent again: its acknowledgement says nothing of the round trip (Karn)
)

func (r *run) len() int { return r.end.Sub(r.start) }

// A flight is the record of what was sent and not acknowledged: runs without gaps from snd.una
// to snd.nxt. A connection has one while something is on its way.
type flight struct {
	runs []run // runs[head:] are valid
	head int
	hint int // no run before it is lost and has not been sent again

	sacked, lost, again int // sums, in sequence numbers

	phase   phase
	frto    frto
	recover wire.Seq // snd.nxt when the phase was entered; it ends when this is acknowledged
	fack    wire.Seq // the right edge of what was ever acknowledged or sacked (RACK.fack)

	// What was sent last of all that has been delivered (RFC 8985 §5.3): what was sent before
	// it and is missing, by more than the reordering window, is lost.
	rack struct {
		at  mono.Time     // RACK.xmit_ts, 0: nothing has been delivered yet
		end wire.Seq      // RACK.end_seq
		rtt time.Duration // RACK.rtt
	}

	// The deadlines of which c.due[timerRetransmit] is the first.
	rtoAt     mono.Time
	probeAt   mono.Time // of the tail
	reorderAt mono.Time // what is missing now is lost then

	coupled bool // some of it left in a train: see couple

	slow slowStart // of congestion control
	rate pipeRate

	// Proportional rate reduction (see prr), in sequence numbers since the recovery began.
	prrFlight    int // what was outstanding when it did (RecoverFS)
	prrDelivered int
	prrOut       int

	next *flight // spare ones
}

// outstanding returns how much is held to be in the network, of n numbers unacknowledged
// (the pipe of RFC 6675 §4).
func (f *flight) outstanding(n int) int { return max(0, n-f.sacked-f.lost+f.again) }

// fly records that n numbers were sent.
func (c *Conn) fly(start wire.Seq, n int, now mono.Time) {
	f := c.flight
	if f == nil {
		f = c.t.spareFlights
		if f == nil {
			f = new(flight)
		} else {
			c.t.spareFlights, f.next = f.next, nil
			c.t.spares--
		}
		c.flight = f
		f.fack = start
		f.rtoAt, f.probeAt, f.reorderAt = mono.Never, mono.Never, mono.Never
		f.rate.begin(now)
	}
	if last := len(f.runs) - 1; last >= f.head {
		if r := &f.runs[last]; r.is == 0 && r.at == now || len(f.runs)-f.head >= runsMax && r.is&sacked == 0 {
			r.end = start.Add(n)
			return
		}
	}
	f.compact()
	f.runs = append(f.runs, run{start: start, end: start.Add(n), at: now, from: f.rate.milestone()})
}

// dropFlight forgets what is on its way: all has been acknowledged, or the connection has ended.
func (c *Conn) dropFlight() {
	f := c.flight
	if f == nil {
		return
	}
	c.flight = nil
	if cap(f.runs) > runsKeep || c.t.spares >= sparesMax {
		return
	}
	*f = flight{runs: f.runs[:0], next: c.t.spareFlights}
	c.t.spareFlights = f
	c.t.spares++
}

// compact moves the valid runs to the front once half of the slice is not.
func (f *flight) compact() {
	if f.head > 0 && f.head >= len(f.runs)/2 && len(f.runs) == cap(f.runs) {
		n := copy(f.runs, f.runs[f.head:])
		f.hint = max(0, f.hint-f.head)
		f.runs, f.head = f.runs[:n], 0
	}
}

// count adds (sign 1) or takes away (-1) n numbers of a run's fate from the sums.
func (f *flight) count(is fate, n int) {
	if is&sacked != 0 {
		f.sacked += n
	}
	if is&lost != 0 {
		f.lost += n
	}
	if is&again != 0 {
		f.again += n
	}
}

// A delivery is what one acknowledgement tells of what is on its way.
type delivery struct {
	now   mono.Time
	una   wire.Seq // SND.UNA before it
	fack  wire.Seq // flight.fack before it
	ecr   uint32   // the echoed timestamp on the clock of tsClock, if echo
	echo  bool
	least time.Duration // a round trip takes this long

	acked  int // numbers that SND.UNA has moved
	sacked int // numbers newly sacked, in the pipe's sense
	data   int // of acked, without the FIN

	// delivered is numbers that are known to have arrived and were not before: acked, less what had been sacked, and
	// sacked (DeliveredData of RFC 9937 §6.2).
	delivered int

	original  bool // some of it was sent once, before the phase began
	repaired  bool // some of it was sent more than once
	reordered bool // some of it was sent once, and later than it has been delivered before
	dsack     bool
	dsackEnd  wire.Seq

	sent  mono.Time // when the newest of what SND.UNA has passed was sent, if timed
	timed bool
	sel   mono.Time // when the newest of what was sacked was sent, if selOK
	selOK bool
	rtt   time.Duration // what was measured, 0: nothing
	rate  rateSample
}

// deliver takes in that a piece of r, which ends at end, has arrived: the steps 1 to 3 of RFC 8985 §6.2.
func (f *flight) deliver(d *delivery, r *run, end wire.Seq) {
	if r.is&twice == 0 {
		d.original = d.original || end.AtOrBefore(f.recover)
		d.reordered = d.reordered || end.Before(d.fack)
	} else {
		d.repaired = true
	}
	f.fack = f.fack.Max(end)
	rtt := d.now.Sub(r.at)
	if r.is&twice != 0 && (rtt < d.least || d.echo && int32(d.ecr-tsClock(r.at)) < 0) {
		return // the first of both copies, which was sent nobody knows when
	}
	if sentAfter(r.at, end, f.rack.at, f.rack.end) {
		f.rack.at, f.rack.end, f.rack.rtt = r.at, end, rtt
	}
	d.rate.take(r, end)
}

// sentAfter is RACK_sent_after (RFC 8985 §6.2): what was sent in one moment, on a coarse clock or in a
// burst, was sent in the order of its numbers.
func sentAfter(at1 mono.Time, end1 wire.Seq, at2 mono.Time, end2 wire.Seq) bool {
	return at1 > at2 || at1 == at2 && end1.After(end2)
}

// ackTo forgets what lies before una. The newest run of it tells the round trip, but not if some of it was
// sent again (Karn), and what was sent only once may have waited beyond the hole; nor if all was sacked before.
func (f *flight) ackTo(d *delivery, una wire.Seq) {
	repaired := false
	for f.head < len(f.runs) {
		r := &f.runs[f.head]
		if r.start.AtOrAfter(una) {
			break
		}
		end := r.end.Min(una)
		repaired = repaired || r.is&twice != 0
		if r.is&sacked == 0 {
			d.sent, d.timed = r.at, true
			d.delivered += end.Sub(r.start)
			f.deliver(d, r, end)
		}
		f.count(r.is, -end.Sub(r.start))
		if end != r.end {
			r.start = una
			break
		}
		f.head++
	}
	f.hint = max(f.hint, f.head)
	d.timed = d.timed && !repaired
}

// search returns the index of the first run that ends after s.
func (f *flight) search(s wire.Seq) int {
	lo, hi := f.head, len(f.runs)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if f.runs[mid].end.After(s) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// split cuts run i at s, which is inside it. It fails if there are too many.
func (f *flight) split(i int, s wire.Seq) bool {
	if len(f.runs)-f.head >= runsMax {
		return false
	}
	right := f.runs[i]
	right.start = s
	f.runs[i].end = s
	f.runs = slices.Insert(f.runs, i+1, right)
	if f.hint > i {
		f.hint++
	}
	return true
}

// sack takes in one block of the peer.
func (f *flight) sack(d *delivery, start, end wire.Seq) {
	for i := f.search(start); i < len(f.runs) && f.runs[i].start.Before(end); i++ {
		if f.runs[i].is&sacked != 0 {
			continue
		}
		if f.runs[i].start.Before(start) {
			if !f.split(i, start) {
				return
			}
			continue
		}
		if f.runs[i].end.After(end) && !f.split(i, end) {
			return
		}
		r := &f.runs[i]
		f.deliver(d, r, r.end)
		if d.selOK = r.is&twice == 0; d.selOK {
			d.sel = r.at
		}
		f.count(r.is, -r.len())
		r.is = r.is&twice | sacked
		f.count(r.is, r.len())
		d.sacked += r.len()
		d.delivered += r.len()
		i = f.merge(i)
	}
}

// merge joins run i, which has just been sacked, with its neighbours of the same fate, so that there are
// as many runs as holes, and returns where it is then.
func (f *flight) merge(i int) int {
	if i+1 < len(f.runs) && f.runs[i+1].is == f.runs[i].is {
		f.runs[i].end = f.runs[i+1].end
		i = f.remove(i+1) - 1
	}
	if i > f.head && f.runs[i-1].is == f.runs[i].is {
		f.runs[i-1].end = f.runs[i].end
		i = f.remove(i) - 1
	}
	return i
}

// remove closes the gap of run i from the shorter side, and returns where the run after it is then.
func (f *flight) remove(i int) int {
	if i-f.head < len(f.runs)-i {
		copy(f.runs[f.head+1:i+1], f.runs[f.head:i])
		f.head++
		if f.hint <= i {
			f.hint++
		}
		return i + 1
	}
	f.runs = slices.Delete(f.runs, i, i+1)
	if f.hint > i {
		f.hint--
	}
	return i
}

// missing holds for lost what was sent so long before something that has been delivered that it must have
// arrived by now: RACK_detect_loss (RFC 8985 §6.2 step 5) with a reordering window. It returns how much
// that is, whether any of it had been sent again already, and how long it is until more will be, 0 if nothing else is missing.
//
// What was sent once was sent in the order of its numbers, so the first of that which is not
// overdue by order ends the search.
func (f *flight) missing(window time.Duration, now mono.Time) (n int, repair bool, wait time.Duration) {
	if f.rack.at == 0 {
		return 0, false, 0
	}
	for i := f.head; i < len(f.runs); i++ {
		r := &f.runs[i]
		if r.is&sacked != 0 || r.is&(lost|again) == lost {
			continue
		}
		if !sentAfter(f.rack.at, f.rack.end, r.at, r.end) {
			if r.is&twice == 0 {
				break
			}
			continue
		}
		if left := f.rack.rtt + window - now.Sub(r.at); left > 0 {
			wait = max(wait, left)
			continue
		}
		n += r.len()
		repair = repair || r.is&again != 0
		f.giveUp(i)
	}
	return n, repair, wait
}

// giveUp holds run i for lost, also if it was sent again.
func (f *flight) giveUp(i int) {
	r := &f.runs[i]
	f.count(r.is, -r.len())
	r.is = r.is&^again | lost
	f.count(r.is, r.len())
	f.hint = min(f.hint, i)
}

// lose holds what lies before limit and was not sacked for lost, in whole segments of mss, and
// returns how much that is.
func (f *flight) lose(limit wire.Seq, mss int) (n int) {
	for i := f.head; i < len(f.runs) && f.runs[i].start.Before(limit); i++ {
		if f.runs[i].is&(sacked|lost) != 0 {
			continue
		}
		if r := &f.runs[i]; r.end.After(limit) {
			cut := r.start.Add(limit.Sub(r.start) / mss * mss)
			if cut == r.start {
				break
			}
			f.split(i, cut) // if it cannot be cut, all of it is sent again
		}
		n += f.runs[i].len()
		f.giveUp(i)
	}
	return n
}

// loseFirst holds the first segment that is not sacked for lost.
func (f *flight) loseFirst(mss int) {
	for i := f.head; i < len(f.runs); i++ {
		r := &f.runs[i]
		if r.is&sacked != 0 {
			continue
		}
		if r.is&lost == 0 {
			if r.len() > mss {
				f.split(i, r.start.Add(mss))
			}
			f.giveUp(i)
		}
		return
	}
}

// loseAll holds everything for lost that the peer does not have, and what was sent again for lost
// once more, but for what was sent less than a time ago. If reneged is set, nothing is believed of what the
// peer said it had.
func (f *flight) loseAll(reneged bool, after time.Duration, now mono.Time) {
	f.sacked, f.lost, f.again = 0, 0, 0
	for i := f.head; i < len(f.runs); i++ {
		r := &f.runs[i]
		if reneged {
			r.is &^= sacked
		}
		if r.is&sacked == 0 && (i == f.head || reneged || now.Sub(r.at) >= after) {
			r.is = r.is&twice | lost
		}
		f.count(r.is, r.len())
	}
	f.hint = f.head
}

// unlose holds nothing for lost any more.
func (f *flight) unlose() {
	f.lost = 0
	for i := f.head; i < len(f.runs); i++ {
		f.runs[i].is &^= lost
	}
	f.hint = len(f.runs)
}

// nextLost returns the first run that is lost and has not been sent again since, nil if there is none.
func (f *flight) nextLost() *run {
	for f.hint = max(f.hint, f.head); f.hint < len(f.runs); f.hint++ {
		if r := &f.runs[f.hint]; r.is&(lost|again) == lost {
			return r
		}
	}
	return nil
}

// resend records that the first n numbers of what nextLost returned go out again.
func (f *flight) resend(n int, now mono.Time) {
	if r := &f.runs[f.hint]; n < r.len() {
		f.split(f.hint, r.start.Add(n)) // without memory for it the whole run counts as sent again
	}
	f.sentAgain(f.hint, now)
}

// resendTail records that the last n numbers go out again, as a probe.
func (f *flight) resendTail(n int, now mono.Time) {
	last := len(f.runs) - 1
	if r := &f.runs[last]; n < r.len() && f.split(last, r.end.Add(-n)) {
		last++
	}
	f.sentAgain(last, now)
}

func (f *flight) sentAgain(i int, now mono.Time) {
	r := &f.runs[i]
	f.count(r.is, -r.len())
	r.is |= again | twice
	r.at, r.from = now, f.rate.milestone()
	f.count(r.is, r.len())
}
