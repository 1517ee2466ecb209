package tcp

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 9293 §3.10.7.4 fifth, RFC 5961 §5, RFC 5681 §2-3, RFC 6675 §5.

// inputACK is the fifth step in the synchronized states. ok is false if nothing of the segment may be
// looked at any more.
func (c *Conn) inputACK(s *segment, now mono.Time) (reason drop.Reason, ok bool) {
	ack := s.ack
	if ack.After(c.snd.nxt) {
		c.challenge(now)
		return drop.TCPACKUnsent, false
	}
	if ack.Before(c.snd.una.Add(-int(c.snd.maxWnd))) {
		c.challenge(now) // RFC 5961 §5.2
		return drop.TCPACKTooOld, false
	}
	if ack.Before(c.snd.una) {
		return drop.None, true // an old one; its text may be new
	}
	flying := c.inFlight()
	oldWnd := c.snd.wnd
	if c.snd.wl1.Before(s.seq) || c.snd.wl1 == s.seq && c.snd.wl2.AtOrBefore(ack) {
		c.updateWindow(s)
	}
	una, sackedOld, lostOld := c.snd.una, 0, 0
	if c.flight != nil {
		sackedOld, lostOld = c.flight.sacked, c.flight.lost
	}
	sackedNew := 0
	if s.opt.SACKCount > 0 {
		sackedNew = c.sackBlocks(s, now)
	}
	switch {
	case ack.After(c.snd.una):
		c.acknowledge(s, flying, now)
		if sackedNew > 0 || c.flight != nil && c.flight.sacked > 0 && c.sackOK {
			c.findLost()
		}
	case sackedNew > 0 || s.len() == 0 && c.snd.wnd == oldWnd:
		c.duplicate(sackedNew)
	}
	if f := c.flight; f != nil && f.phase == phaseRecovery {
		n := c.snd.una.Sub(una)
		if delivered := n + f.sacked - sackedOld; delivered > 0 {
			c.prr(delivered, n > 0 && f.lost <= lostOld)
		}
	}
	if c.snd.wnd > 0 && c.persisting {
		c.backoff = 0
	}
	if c.flight != nil || c.tx.Len() > 0 || c.tx.Sealed() {
		c.t.ready(c) // room in one window or the other
	}
	return drop.None, true
}

// acknowledge takes in that everything before s.ack has arrived; flying is what was in flight before.
func (c *Conn) acknowledge(s *segment, flying int, now mono.Time) {
	n := s.ack.Sub(c.snd.una)
	data := n
	if c.finSent && s.ack.After(c.snd.fin) {
		data--
	}
	c.snd.una = s.ack
	c.t.progress = true
	c.snd.small = c.snd.small.Max(s.ack) // lest it be half the number space behind one day, and seem ahead
	c.tx.Release(data)
	if f := c.flight; f != nil {
		sent, once := f.ackTo(s.ack)
		// The backed-off timeout stays until something was measured (Karn; RFC 6298 §5.7).
		switch rtt, ok := c.echoed(s.opt.TSEcr, now); {
		case once:
			c.sampleRTT(now.Sub(sent))
			c.backoff = 0
		case s.opt.TS && ok:
			c.sampleRTT(rtt)
			c.backoff = 0
		}
	}
	c.stuckSince = mono.Never
	limited := c.cwndLimited || c.cc.slowStart() && 2*flying > int(c.cc.cwnd)
	c.advanced(data, limited, now)
	if c.snd.una == c.snd.nxt {
		c.dropFlight()
		c.disarm(timerRetransmit)
	} else {
		c.arm(timerRetransmit, now.Add(c.rto())) // RFC 6298 §5.3
	}
	c.tuneSend()
	c.writeSpace()
}

// ourFIN goes on where an acknowledgement covered our FIN (§3.10.7.4, fifth).
func (c *Conn) ourFIN(now mono.Time) {
	if !c.finAcked() {
		return
	}
	switch c.state {
	case FinWait1:
		c.setState(FinWait2)
		if c.orphan {
			c.armFinWait2(now)
		}
	case Closing:
		c.enterTimeWait(now)
	case LastAck:
		c.end(0, now)
	}
}
