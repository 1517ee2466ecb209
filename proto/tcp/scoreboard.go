package tcp

import (
	"slices"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 6675 §3-4.

// A run is a stretch of sequence numbers that were sent at one moment and share one fate.
type run struct {
	start, end wire.Seq
	at         mono.Time // when it was last sent
	is         fate
}

type fate uint8

const (
	sacked fate = 1 << iota // the peer has it
	lost                    // held for lost
	again                   // lost, and sent again since
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
	recover wire.Seq // snd.nxt when the phase was entered; it ends when this is acknowledged
	highest wire.Seq // the right edge of what was ever sacked, if sacked > 0

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
	}
	if last := len(f.runs) - 1; last >= f.head {
		if r := &f.runs[last]; r.is == 0 && r.at == now || len(f.runs)-f.head >= runsMax && r.is&sacked == 0 {
			r.end = start.Add(n)
			return
		}
	}
	f.compact()
	f.runs = append(f.runs, run{start: start, end: start.Add(n), at: now})
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

// ackTo forgets what lies before una. It returns when the newest run among it was sent. ok is false
// if that tells nothing of the round trip: some of it was sent again (Karn), and what
// was sent only once may have waited beyond the hole; or all was sacked before.
func (f *flight) ackTo(una wire.Seq) (sent mono.Time, ok bool) {
	repaired := false
	for f.head < len(f.runs) {
		r := &f.runs[f.head]
		if r.start.AtOrAfter(una) {
			break
		}
		repaired = repaired || r.is&twice != 0
		if r.is&sacked == 0 {
			sent, ok = r.at, true
		}
		if r.end.After(una) {
			f.count(r.is, -una.Sub(r.start))
			r.start = una
			break
		}
		f.count(r.is, -r.len())
		f.head++
	}
	f.hint = max(f.hint, f.head)
	return sent, ok && !repaired
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

// sack takes in one block of the peer and returns how much of it is new, and when the newest of
// that was sent, if it was sent only once.
func (f *flight) sack(start, end wire.Seq) (n int, sent mono.Time, ok bool) {
	for i := f.search(start); i < len(f.runs) && f.runs[i].start.Before(end); i++ {
		if f.runs[i].is&sacked != 0 {
			continue
		}
		if f.runs[i].start.Before(start) {
			if !f.split(i, start) {
				return n, sent, ok
			}
			continue
		}
		if f.runs[i].end.After(end) && !f.split(i, end) {
			return n, sent, ok
		}
		r := &f.runs[i]
		f.count(r.is, -r.len())
		r.is = r.is&twice | sacked
		f.count(r.is, r.len())
		n += r.len()
		if r.is&twice == 0 {
			sent, ok = r.at, true
		}
		if f.sacked == n || r.end.After(f.highest) {
			f.highest = r.end
		}
	}
	return n, sent, ok
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
		r := &f.runs[i]
		r.is |= lost
		f.lost += r.len()
		n += r.len()
		f.hint = min(f.hint, i)
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
			r = &f.runs[i]
			r.is |= lost
			f.lost += r.len()
			f.hint = min(f.hint, i)
		}
		return
	}
}

// loseAll holds everything for lost that the peer does not have, and what was sent again for lost
// once more. If reneged is set, nothing is believed of what the peer said it had.
func (f *flight) loseAll(reneged bool) {
	f.sacked, f.lost, f.again = 0, 0, 0
	for i := f.head; i < len(f.runs); i++ {
		r := &f.runs[i]
		if reneged {
			r.is &^= sacked
		}
		if r.is&sacked == 0 {
			r.is = r.is&twice | lost
		}
		f.count(r.is, r.len())
	}
	f.hint = f.head
}

// nextLost returns the first run that is lost and has not been sent again, nil if there is none.
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
	r := &f.runs[f.hint]
	r.is |= again | twice
	r.at = now
	f.again += r.len()
}
