package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 5681 §3.2, RFC 6582, RFC 6675 §5, RFC 9937, RFC 6298 §5.

// A phase is what the congestion control of a flight is doing about losses.
type phase uint8

const (
	phaseOpen     phase = iota // nothing is wrong
	phaseRecovery              // a loss was seen by acknowledgements (fast recovery)
	phaseLoss                  // the retransmission timer expired
)

// inFlight returns how many sequence numbers are held to be in the network.
func (c *Conn) inFlight() int {
	n := c.snd.nxt.Sub(c.snd.una)
	if c.flight != nil {
		n = c.flight.outstanding(n)
	}
	return n
}

// sackBlocks takes in what the peer says it has, and returns how much of that is new.
func (c *Conn) sackBlocks(s *segment, now mono.Time) (n int) {
	f := c.flight
	if f == nil || !c.sackOK {
		return 0
	}
	for _, b := range s.opt.SACK[:s.opt.SACKCount] {
		start, end := b[0], b[1]
		// A block below SND.UNA is a duplicate's (RFC 2883); one beyond SND.NXT is a lie.
		if !start.Before(end) || start.Before(c.snd.una) || end.After(c.snd.nxt) || start.AtOrBefore(s.ack) && end.AtOrBefore(s.ack) {
			continue
		}
		m, sent, ok := f.sack(start, end)
		n += m
		if ok && m > 0 {
			c.sampleRTT(now.Sub(sent))
		}
	}
	return n
}

// duplicate takes in an acknowledgement that moves nothing (RFC 5681 §2, the definition of a
// duplicate acknowledgement), sackedNew being what its blocks told.
func (c *Conn) duplicate(sackedNew int) {
	f := c.flight
	if f == nil {
		return
	}
	mss := c.sendMSS()
	if c.sackOK {
		if sackedNew == 0 {
			return // it tells of a duplicate (RFC 2883), or of nothing
		}
		c.dupacks++
		c.findLost()
		if c.dupacks >= dupThresh && f.phase == phaseOpen { // segments smaller than the MSS (RFC 6675 §5 (2))
			f.loseFirst(mss)
			c.enterRecovery()
		}
		return
	}
	// Without SACK each duplicate tells that one segment has left the network (RFC 5681 §3.2
	// steps 2 and 4, RFC 6582): it counts as sacked, though we do not know which one.
	if c.dupacks < 1<<15 {
		c.dupacks++
	}
	f.sacked = min(f.sacked+mss, max(0, c.snd.nxt.Sub(c.snd.una)-f.lost-mss))
	if c.dupacks == dupThresh && f.phase == phaseOpen {
		f.loseFirst(mss)
		c.enterRecovery()
	}
}

// findLost holds for lost what lies dupThresh segments below what the peer has (RFC 6675
// §4, IsLost, by sequence), and begins a recovery.
func (c *Conn) findLost() {
	f := c.flight
	if f.sacked == 0 {
		return
	}
	mss := c.sendMSS()
	if f.lose(f.highest.Add(-dupThresh*mss), mss) > 0 && f.phase == phaseOpen {
		c.enterRecovery()
	}
}

// enterRecovery begins fast recovery: the threshold falls once for all losses up to what is
// sent by now, and prr leads the window there.
func (c *Conn) enterRecovery() {
	f := c.flight
	f.phase, f.recover = phaseRecovery, c.snd.nxt
	f.prrFlight, f.prrDelivered, f.prrOut = c.snd.nxt.Sub(c.snd.una), 0, 0
	c.cc.lost(c.sendMSS())
	c.want |= wantForce // the first one goes out whatever is in flight (RFC 6675 §5 step 4.3)
	c.t.stats.FastRecoveries++
	c.t.ready(c)
}

// enterLoss is RFC 6298 §5.4 and RFC 5681 §3.1 equation 4: nothing was heard for a whole
// timeout. The threshold shrinks at the first of several without progress.
func (c *Conn) enterLoss(first bool) {
	f := c.flight
	if first {
		c.cc.timeout(c.sendMSS())
	}
	c.cc.cwnd = uint32(c.sendMSS())
	reneged := !c.sackOK || !first || f.head < len(f.runs) && f.runs[f.head].is&sacked != 0
	f.loseAll(reneged)
	f.phase, f.recover = phaseLoss, c.snd.nxt
	c.dupacks = 0
	c.want |= wantForce
	c.t.ready(c)
}

// advanced takes in that n numbers were acknowledged by ack, from una on; una has moved. It
// ends a recovery, or goes on with it.
func (c *Conn) advanced(n int, limited bool, now mono.Time) {
	f := c.flight
	mss := c.sendMSS()
	if f == nil {
		c.dupacks = 0
		c.cc.acked(n, mss, limited, c.rtt.smooth, now)
		return
	}
	switch f.phase {
	case phaseOpen:
		c.dupacks = 0
		if !c.sackOK {
			f.sacked = 0
		}
		c.cc.acked(n, mss, limited, c.rtt.smooth, now)
	case phaseRecovery:
		if c.snd.una.AtOrAfter(f.recover) {
			c.endRecovery()
			return
		}
		if !c.sackOK { // a partial acknowledgement: the next segment is lost too (RFC 6582 §3.2 step 3)
			f.sacked = max(0, f.sacked-max(0, n-mss))
			f.loseFirst(mss)
			c.want |= wantForce
		}
	case phaseLoss:
		if c.snd.una.AtOrAfter(f.recover) {
			f.phase = phaseOpen
		}
		if !c.sackOK {
			f.sacked = 0
		}
		c.cc.acked(n, mss, true, c.rtt.smooth, now)
	}
}

// prr is proportional rate reduction (RFC 9937 §6.2): during a recovery what goes out follows what is
// delivered, so that repairs are not a burst into the queue that was too full just now.
// An acknowledgement has delivered so much; it is safe if it moved SND.UNA and told of no new loss.
func (c *Conn) prr(delivered int, safe bool) {
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

// endRecovery is RFC 6582 §3.2 step 3, a full acknowledgement.
func (c *Conn) endRecovery() {
	f := c.flight
	f.phase = phaseOpen
	c.dupacks = 0
	if !c.sackOK {
		f.sacked = 0
	}
	c.cc.recovered()
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
		c.want |= wantForce
		c.t.ready(c)
	}
}
