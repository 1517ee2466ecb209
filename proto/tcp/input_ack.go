package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
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
	oldWnd := c.snd.wnd
	// SND.WL2 =< SEG.ACK, since that is not before una. What acknowledges more is newer whatever its number: the peer's text
	// again. The window counts from SND.UNA, so one that stayed would offer what the peer did not (as Linux: tcp_may_update_window).
	if ack.After(c.snd.una) || c.snd.wl1.AtOrBefore(s.seq) {
		c.updateWindow(s)
	}
	// RFC 5681 §2, but for what is outstanding.
	duplicate := ack == c.snd.una && s.len() == 0 && c.snd.wnd == oldWnd
	marked := s.flags&wire.ECE != 0 && c.ecn&ecnOK != 0 && c.flight != nil // congestion is told by any segment
	if ack.After(c.snd.una) || s.opt.SACKCount > 0 || duplicate && (c.flight != nil || c.probe != probeNone) || marked {
		c.delivered(s, duplicate, now)
	}
	if c.snd.wnd > 0 && c.persisting {
		c.backoff = 0
	}
	if c.flight != nil || c.tx.Len() > 0 || c.tx.Sealed() {
		c.t.ready(c) // room in one window or the other
	}
	return drop.None, true
}

// delivered takes in an acknowledgement that may tell something: of what has arrived, or that it has not.
func (c *Conn) delivered(s *segment, duplicate bool, now mono.Time) {
	d := delivery{now: now, una: c.snd.una, least: c.rtt.min.least()}
	if d.echo = s.opt.TS && s.opt.TSEcr != 0; d.echo {
		d.ecr = s.opt.TSEcr - c.ts.offset
	}
	flying := c.inFlight()
	if c.flight != nil {
		d.fack = c.flight.fack
	}
	if s.opt.SACKCount > 0 {
		c.sackBlocks(s, &d)
	}
	if s.ack.After(c.snd.una) {
		c.acknowledge(s, &d)
	}
	c.measure(s, &d)
	if c.flight != nil {
		c.sampleRate(&d)
	}
	limited := c.cwndLimited || c.cc.slowStart() && 2*flying > int(c.cc.cwnd)
	c.respond(s, &d, limited, duplicate)
	if s.flags&wire.ECE != 0 && c.ecn&ecnOK != 0 && d.delivered > 0 {
		c.needRare().marked += uint32(segments(d.delivered, c.sendMSS()))
	}
	switch f := c.flight; {
	case f == nil:
	case c.snd.una == c.snd.nxt:
		if c.tx.Len() == 0 {
			c.limitedBy(limitNone, now)
		}
		c.dropFlight()
		c.disarm(timerRetransmit)
	default:
		if d.acked > 0 {
			f.rtoAt = now.Add(c.rto()) // RFC 6298 §5.3
		}
		if d.acked > 0 || d.sacked > 0 {
			c.armProbe(now)
		}
		c.armFlight()
	}
	if d.acked > 0 {
		c.tuneSend()
		c.writeSpace()
	}
}

// acknowledge takes in that everything before s.ack has arrived.
func (c *Conn) acknowledge(s *segment, d *delivery) {
	d.acked = s.ack.Sub(c.snd.una)
	d.data = d.acked
	if c.finSent && s.ack == c.snd.nxt {
		d.data--
	}
	c.snd.una = s.ack
	c.t.progress = true
	c.snd.small = c.snd.small.Max(s.ack) // lest it be half the number space behind one day, and seem ahead
	c.snd.up = c.snd.up.Max(s.ack)
	c.tx.Release(d.data)
	c.probePassed(s.ack)
	if f := c.flight; f != nil {
		f.ackTo(d, s.ack)
	}
	if c.expired > 0 && c.stuckSince != mono.Never {
		c.needRare().outageTime += uint32(d.now.Sub(c.stuckSince) / time.Millisecond)
	}
	c.expired, c.stuckSince = 0, mono.Never
}

// measure takes in the round trip that an acknowledgement tells. The backed-off timeout stays until
// something was measured (Karn; RFC 6298 §5.7).
func (c *Conn) measure(s *segment, d *delivery) {
	switch rtt, ok := c.echoed(s.opt.TSEcr, d.now); {
	case d.timed:
		d.rtt = max(d.now.Sub(d.sent), 1)
	case d.selOK:
		d.rtt = max(d.now.Sub(d.sel), 1)
	case d.acked > 0 && c.flight != nil && s.opt.TS && ok:
		d.rtt = rtt
	default:
		return
	}
	// That of a lone small segment may have waited for a second one (FLAG_ACK_MAYBE_DELAYED of Linux).
	delayed := d.acked > 0 && d.acked < c.sendMSS() && d.delivered == d.acked
	c.sampleRTT(d.rtt, delayed, d.now)
	c.backoff = 0
}

// ourFIN goes on where an acknowledgement covered our FIN (§3.10.7.4, fifth).
func (c *Conn) ourFIN(s *segment, now mono.Time) {
	if !c.finAcked() {
		return
	}
	switch c.state {
	case FinWait1:
		c.setState(FinWait2)
		switch {
		case c.orphan && c.opt.Linger2 < 0: // nobody is to wait for the peer's FIN (TCP_LINGER2)
			c.t.reset(&c.key, s)
			c.end(0, now)
		case c.orphan:
			c.armFinWait2(now)
		}
	case Closing:
		c.enterTimeWait(now)
	case LastAck:
		c.end(0, now)
	}
}
