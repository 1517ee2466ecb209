package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 8985 §6.2, RFC 5681 §3.2, RFC 6582, RFC 6298 §5, RFC 5682 §3.

// A phase is what the congestion control of a flight is doing about losses.
type phase uint8

const (
	phaseOpen     phase = iota // nothing is wrong
	phaseCWR                   // the peer tells of congestion (ECN): the window shrinks as in a recovery, and nothing is lost
	phaseRecovery              // a loss was seen by acknowledgements (fast recovery)
	phaseLoss                  // the retransmission timer expired
)

// frto is where F-RTO stands in a phaseLoss (RFC 5682 §3.1).
type frto uint8

const (
	frtoOff   frto = iota
	frtoFirst      // step 1: the first segment went out again
	frtoNew        // step 2: nothing but new data goes out until the next acknowledgement
)

// inFlight returns how many sequence numbers are held to be in the network.
func (c *Conn) inFlight() int {
	n := c.snd.nxt.Sub(c.snd.una)
	if c.flight != nil {
		n = c.flight.outstanding(n)
	}
	return n
}

// sackBlocks takes in what the peer says it has.
func (c *Conn) sackBlocks(s *segment, d *delivery) {
	if !c.sackOK {
		return
	}
	blocks := s.opt.SACK[:s.opt.SACKCount]
	first := blocks[0]
	// A first block below the acknowledgement, or within the second one, is a duplicate's (RFC 2883 §4).
	if first[0].Before(first[1]) && first[1].AtOrBefore(c.snd.nxt) &&
		(first[1].AtOrBefore(s.ack) || len(blocks) > 1 && first[0].AtOrAfter(blocks[1][0]) && first[1].AtOrBefore(blocks[1][1])) {
		c.duplicateReported(first[0], first[1], d)
		blocks = blocks[1:]
	}
	f := c.flight
	if f == nil {
		return
	}
	for _, b := range blocks {
		start, end := b[0], b[1]
		if !start.Before(end) || start.Before(c.snd.una) || end.After(c.snd.nxt) || end.AtOrBefore(s.ack) {
			continue // one beyond SND.NXT is a lie
		}
		f.sack(d, start, end)
	}
}

// respond takes in what an acknowledgement told: it ends a phase or goes on with it, finds what is lost,
// and lets the window follow. limited says that the window was what held the sender back.
func (c *Conn) respond(s *segment, d *delivery, limited, duplicate bool) {
	c.probeAnswered(s, d, duplicate)
	if c.repair != nil && c.repair.inRound && c.snd.una.AtOrAfter(c.repair.round) {
		c.repair.inRound = false
	}
	f := c.flight
	if f == nil {
		if d.dsack && c.needless(d) {
			c.undo()
		}
		return
	}
	if d.reordered && c.sackOK {
		c.reordered = true
		c.needRare().reordered++
	}
	if d.acked > 0 && f.phase < phaseRecovery {
		c.dupacks = 0
	}
	was := f.phase
	switch f.phase {
	case phaseOpen:
		if d.dsack && c.needless(d) {
			c.undo()
			c.reordered = true
		}
	case phaseCWR:
		c.inCWR()
	case phaseRecovery:
		c.inRecovery(d)
	case phaseLoss:
		c.inLoss(d, duplicate)
	}
	lost := 0
	if c.sackOK {
		if d.sacked > 0 && d.acked == 0 {
			c.dupacks++
		}
		lost = c.findLost(d.now, d.delivered)
	} else {
		d.sacked = c.withoutSACK(d, duplicate)
		d.delivered += d.sacked
	}
	if s.flags&wire.ECE != 0 && c.ecn&ecnOK != 0 {
		c.congested(d.delivered)
	}
	acked := d.data
	if f.phase == phaseLoss { // what was sacked before is no new sign that the path has room, and would go out as a burst
		acked = max(0, d.delivered-(d.acked-d.data))
	}
	learned := sample{
		now: d.now, acked: acked, mss: c.sendMSS(), limited: limited || f.phase == phaseLoss,
		rtt: d.rtt, smooth: c.rtt.smooth, una: c.snd.una, nxt: c.snd.nxt, slow: &f.slow,
	}
	switch {
	case c.cc.rated != nil:
		c.tellRate(learned, d, lost)
	case f.phase == phaseCWR, f.phase == phaseRecovery:
		c.prr(d.delivered, d.acked > 0 && lost == 0)
	case was != phaseCWR && was != phaseRecovery && d.acked > 0:
		c.cc.acked(&learned)
	}
}

// tellRate lets a rate-based control hear of an acknowledgement. What it hears of is a copy, which only such
// connections pay for.
func (c *Conn) tellRate(s sample, d *delivery, lost int) {
	s.delivered, s.lost, s.flying, s.least = d.delivered, lost, c.inFlight(), c.rtt.min.least()
	s.rate, s.idle = d.rate.rate, d.rate.from.idle
	c.cc.rated.control.acked(&c.cc, &s)
}

// inRecovery ends a fast recovery when everything has been acknowledged that was on its way when it
// began (RFC 6582 §3.2 step 3), or when there was nothing to recover from.
func (c *Conn) inRecovery(d *delivery) {
	f := c.flight
	switch {
	case c.needless(d):
		c.undo()
		c.reordered = true // or it would be lost again at once
		c.calmer()
	case c.snd.una.AtOrAfter(f.recover):
		f.phase = phaseOpen
		c.dupacks = 0
		if !c.sackOK {
			f.sacked = 0
		}
		c.cc.recovered()
		c.calmer()
	}
}

// inLoss goes on after a timeout, by RFC 5682 §3.1 in the form that Linux has: if an acknowledgement covers
// something that was sent only once, before the timeout, that came too early.
func (c *Conn) inLoss(d *delivery, duplicate bool) {
	f := c.flight
	if d.acked > 0 && c.needless(d) {
		c.undo()
		return
	}
	if f.frto != frtoOff {
		switch {
		case d.original && (c.sackOK || !d.repaired) && c.repair != nil && !c.repair.undone:
			c.undo() // step 3.b
			return
		case f.frto == frtoNew && (d.sacked > 0 || duplicate):
			f.frto = frtoOff // step 3.a: the loss was real
		case f.frto == frtoFirst && d.acked > 0 && c.snd.una.Before(f.recover):
			f.frto = frtoNew // step 2.b; output ends it if there is no new data, or no window for it
		case f.frto == frtoFirst && duplicate && !c.sackOK:
			f.frto = frtoOff // §2.1 step 2; with SACK a duplicate says nothing yet (§3.1 step 2)
		}
	}
	if c.snd.una.AtOrAfter(f.recover) {
		f.phase, f.frto = phaseOpen, frtoOff
		c.calmer()
	}
	if !c.sackOK && d.acked > 0 {
		f.sacked = 0
	}
}

// findLost holds for lost what RACK says, begins a recovery if there was none, and sets the timer for what will be.
// What was lost after a recovery had begun is the next one's, which begins as soon as that has ended (RFC 6675 §5), and so is a
// repair after a timeout that was lost itself: both are a second sign of congestion (RFC 5681 §4.3). The acknowledgement at
// hand has delivered so much.
func (c *Conn) findLost(now mono.Time, delivered int) (lost int) {
	f := c.flight
	lost, repair, wait := f.missing(c.reorderWindow(), now)
	f.reorderAt = mono.Never
	if wait > 0 {
		f.reorderAt = now.Add(wait)
	}
	if lost > 0 {
		c.t.ready(c)
	}
	if f.lost > 0 && (f.phase < phaseRecovery || f.phase == phaseLoss && repair) {
		c.enterRecovery(delivered)
	}
	return lost
}

// expireReorder is what comes of it when nothing has come. Nothing has been delivered either, so a recovery that is under
// way goes on with the window that it has.
func (c *Conn) expireReorder(now mono.Time) {
	was := c.flight.phase
	if c.findLost(now, 0) > 0 && was != phaseRecovery && c.flight.phase == phaseRecovery {
		c.prr(c.sendMSS(), false)
	}
}

// withoutSACK counts duplicates (RFC 5681 §3.2 steps 2 and 4, RFC 6582): each tells that one segment has left the
// network, though we do not know which one, and counts as sacked. It returns how much it counted.
func (c *Conn) withoutSACK(d *delivery, duplicate bool) int {
	f := c.flight
	mss := c.sendMSS()
	old := f.sacked
	switch {
	case d.acked > 0 && f.phase == phaseRecovery: // a partial acknowledgement: the next segment is lost too (RFC 6582 §3.2 step 3)
		f.sacked = max(0, f.sacked-max(0, d.acked-mss))
		f.loseFirst(mss)
		c.want |= wantForce
	case d.acked > 0:
		f.sacked = 0
		return 0
	case duplicate:
		if c.dupacks < 1<<15 {
			c.dupacks++
		}
		f.sacked = min(f.sacked+mss, max(0, c.snd.nxt.Sub(c.snd.una)-f.lost-mss))
		if c.dupacks == dupThresh && f.phase < phaseRecovery && !c.guarded() {
			f.loseFirst(mss)
			c.enterRecovery(f.sacked - old)
		}
	}
	return f.sacked - old
}

// guarded says that duplicates of the acknowledgement that the peer has sent last may come of what was sent again.
func (c *Conn) guarded() bool {
	u := c.repair
	return u != nil && u.guarded && !c.snd.una.After(u.end)
}

// enterRecovery begins fast recovery: the threshold falls once for all losses up to what is
// sent by now, and prr leads the window there.
func (c *Conn) enterRecovery(delivered int) {
	f := c.flight
	if r := f.nextLost(); r != nil && c.probeDropped(span{r.start, r.end}, f.rack.at) {
		c.repairOnly()
		return
	}
	c.remember()
	if f.phase == phaseCWR { // it has fallen for this already, and not by our mistake
		c.repair.undone = true
	} else {
		c.reduce(delivered)
	}
	f.phase, f.recover = phaseRecovery, c.snd.nxt
	c.repair.end, c.repair.guarded = f.recover, !c.sackOK
	c.want |= wantForce // the first one goes out whatever is in flight (RFC 6675 §5 step 4.3)
	c.t.stats.FastRecoveries++
	c.t.ready(c)
}

// reduce lets the threshold fall and begins to lead the window there. The acknowledgement at hand has delivered so much.
func (c *Conn) reduce(delivered int) {
	f := c.flight
	f.prrFlight = max(1, c.snd.nxt.Sub(c.snd.una)-f.sacked+delivered)
	f.prrDelivered, f.prrOut = 0, 0
	c.probe = probeNone // if it has repaired a loss, that was one of the same window
	c.cc.lost(c.sendMSS())
	c.tellReduced()
}

// enterLoss is RFC 6298 §5.4 and RFC 5681 §3.1 equation 4: nothing was heard for a whole timeout. The
// threshold shrinks at the first of several without progress, and not again for what a recovery
// that is under way shrank it for.
func (c *Conn) enterLoss(first bool, now mono.Time) {
	f := c.flight
	mss := c.sendMSS()
	fresh := f.phase == phaseOpen || f.phase == phaseLoss && first
	if fresh {
		c.remember()
		c.cc.timeout(mss)
	}
	if fresh || f.phase == phaseLoss {
		f.frto = frtoFirst
	}
	// A peer that has what comes first and does not acknowledge it has taken it back (RFC 2018 §8).
	reneged := !c.sackOK || f.head < len(f.runs) && f.runs[f.head].is&sacked != 0
	f.loseAll(reneged, f.rack.rtt+c.reorderWindow(), now)
	c.cc.cwnd = uint32(c.inFlight() + mss)
	f.phase, f.recover = phaseLoss, c.snd.nxt
	u := c.needRepair()
	u.end, u.guarded = f.recover, !c.sackOK
	f.reorderAt, f.probeAt = mono.Never, mono.Never
	c.probe = probeNone
	c.dupacks = 0
	c.tellReduced()
	c.want |= wantForce
	c.t.ready(c)
}

// prr is proportional rate reduction (RFC 9937 §6.2): during a recovery what goes out follows what is
// delivered, so that repairs are not a burst into the queue that was too full just now.
// An acknowledgement has delivered so much; it is safe if it moved SND.UNA and told of no new loss.
func (c *Conn) prr(delivered int, safe bool) {
	if delivered <= 0 || c.cc.rated != nil {
		return
	}
	f := c.flight
	mss, pipe, target := c.sendMSS(), c.inFlight(), int(c.cc.ssthresh)
	f.prrDelivered += delivered
	var n int
	if pipe > target {
		n = (f.prrDelivered*target+f.prrFlight-1)/f.prrFlight - f.prrOut
	} else {
		n = max(f.prrDelivered-f.prrOut, delivered)
		if safe {
			n += mss // slow start towards the threshold
		}
		n = min(n, target-pipe)
	}
	if f.prrOut == 0 {
		n = max(n, mss) // the first repair goes out in any case
	}
	c.cc.cwnd = uint32(pipe + max(n, 0))
}

// setPathMSS takes in another path MTU. What is in flight and too large for it
// is sent again at once, in smaller pieces (RFC 1191 §6.4).
func (c *Conn) setPathMSS(mss uint16) {
	old := c.snd.mss
	c.snd.pathMSS = mss
	c.resetMSS()
	f := c.flight
	if c.snd.mss >= old || f == nil {
		return
	}
	if f.lose(c.snd.una.Add(int(old)), 1) > 0 {
		c.repairOnly()
	}
}

// repairOnly has what is held for lost sent again in smaller pieces, and takes it for no sign of congestion. It is a phase
// as after a timeout, but the window stays (tcp_simple_retransmit of Linux).
func (c *Conn) repairOnly() {
	f := c.flight
	if f.phase < phaseRecovery {
		f.phase, f.frto, f.recover = phaseLoss, frtoOff, c.snd.nxt
		if c.repair != nil {
			c.repair.undone = true
		}
	}
	c.want |= wantForce
	c.t.ready(c)
}
