package tcp

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.4, RFC 5961 §3-4, RFC 7323 §5.

// input is §3.10.7.4: a segment that arrives in SYN-RECEIVED or a later state (or, by
// way of inputSynSent, in SYN-SENT). The steps have the RFC's order and names.
func (c *Conn) input(s *segment, now mono.Time) drop.Reason {
	if c.state == SynSent {
		return c.inputSynSent(s, now)
	}
	// First, check the sequence number.
	if reason := c.checkSequence(s, now); reason != drop.None {
		return reason
	}
	// Second, check the RST bit.
	if s.flags&wire.RST != 0 {
		return c.inputReset(s, now)
	}
	// Third, security: there are no compartments here.
	// Fourth, check the SYN bit.
	if s.flags&wire.SYN != 0 {
		c.challenge(now)
		return drop.TCPSYNInWindow
	}
	// Fifth, check the ACK field.
	if s.flags&wire.ACK == 0 {
		return drop.TCPNoACK
	}
	if c.state == SynReceived {
		if reason := c.inputHandshake(s, now); reason != drop.None {
			return reason
		}
	}
	c.heard(now)
	if c.tsOK && s.opt.TS {
		c.recentTimestamp(s, now)
	}
	if reason, ok := c.inputACK(s, now); !ok {
		return reason
	}
	c.ourFIN(s, now)
	// Sixth, check the URG bit.
	if s.flags&wire.URG != 0 || c.urgPending {
		if c.state.receives() {
			c.inputUrgent(s)
		}
	}
	// Seventh, process the segment text; eighth, check the FIN bit.
	if s.len() == 0 || c.state == Closed {
		return drop.None
	}
	return c.inputText(s, now)
}

// checkSequence is the first step: PAWS (RFC 7323 §5.3 R1), then whether the segment
// has something to do with the window.
func (c *Conn) checkSequence(s *segment, now mono.Time) drop.Reason {
	reset := s.flags&wire.RST != 0
	if c.state == SynReceived && s.flags&wire.SYN != 0 && !reset && s.seq == c.rcv.irs {
		if s.flags&wire.ACK == 0 { // the peer has not got our SYN-ACK
			c.want |= wantSYN
			c.t.ready(c)
			return drop.TCPOldDuplicate
		}
		// The other half of a simultaneous open (§3.5 figure 8): its SYN is known,
		// its acknowledgement counts.
		s.flags &^= wire.SYN
		s.seq = s.seq.Add(1)
	}
	if c.tsOK && !reset {
		switch {
		case !s.opt.TS:
			// RFC 7323 §3.2: silently dropped. But the acknowledgement of the
			// handshake is let in, since there are peers that leave them out there.
			if c.state != SynReceived {
				return drop.TCPTimestampMissing
			}
		case int32(s.opt.TSVal-c.ts.recent) < -pawsSlack && now.Sub(c.ts.recentAt) < pawsIdle:
			c.unacceptable(s, now)
			return drop.TCPPAWS
		}
	}
	end := s.end()
	switch {
	case s.seq.After(c.rcv.adv):
		c.unacceptable(s, now)
		if reset {
			return drop.TCPResetOutOfWindow
		}
		return drop.TCPOutOfWindow
	case s.len() == 0 && s.seq.AtOrAfter(c.rcv.wup), end.After(c.rcv.nxt):
		return drop.None
	}
	// Below the window, from the last acknowledgement on: a duplicate, or a probe.
	if reset {
		return drop.TCPResetOutOfWindow
	}
	c.unacceptable(s, now)
	return drop.TCPOldDuplicate
}

// unacceptable answers a segment that failed the first step by an acknowledgement. Segments
// without data are answered seldom, or two ends that disagree would never stop.
func (c *Conn) unacceptable(s *segment, now mono.Time) {
	if s.flags&wire.RST != 0 {
		return
	}
	if (s.len() == 0 || s.flags&wire.SYN != 0) && c.tooSoon(now) {
		c.t.count.Count(drop.TCPChallengeLimited)
		return
	}
	if s.flags&wire.SYN == 0 && s.seq.Before(c.rcv.nxt) && s.len() > 0 {
		c.quickly(quickACKs) // it was sent again: the peer's window is small now (tcp_send_dupack, tcp_data_queue of Linux)
		c.twice(span{s.seq, s.end().Min(c.rcv.nxt)})
	}
	c.ackNow()
}

// inputReset is the second step with RFC 5961 §3.2: only a reset at the very edge ends the
// connection; another one in the window could be forged and is asked about.
func (c *Conn) inputReset(s *segment, now mono.Time) drop.Reason {
	if s.seq != c.rcv.nxt {
		c.challenge(now)
		return drop.TCPResetInexact
	}
	c.t.stats.EstabResets++
	switch c.state {
	case SynReceived:
		if c.tfo&fastTaken != 0 {
			c.fastOver(true, now)
			c.end(unix.ECONNRESET, now)
			break
		}
		c.end(unix.ECONNREFUSED, now)
	case CloseWait:
		c.end(unix.EPIPE, now) // as Linux: the peer had ended its side in good order
	case Closing, LastAck:
		c.end(0, now)
	default:
		c.end(unix.ECONNRESET, now)
	}
	return drop.None
}

// inputHandshake is the fifth step in SYN-RECEIVED: the acknowledgement of our SYN.
func (c *Conn) inputHandshake(s *segment, now mono.Time) drop.Reason {
	if s.ack.AtOrBefore(c.snd.iss) || s.ack.After(c.snd.nxt) {
		c.t.reset(&c.key, s)
		return drop.TCPACKUnacceptable
	}
	if c.defers(s) {
		return drop.TCPDeferred
	}
	if c.passive && c.tfo&fastTaken == 0 && !c.becomeAcceptable(now) {
		return drop.TCPBacklogFull
	}
	c.establish(s, now)
	if !c.passive {
		c.fastAnswered(s, now)
	}
	return drop.None
}

// defers says whether an acknowledgement of our SYN does not make a connection yet since it brings no data
// (TCP_DEFER_ACCEPT; Linux: tcp_check_req).
func (c *Conn) defers(s *segment) bool {
	if !c.passive || c.tfo&fastTaken != 0 || int(c.expired) >= c.opt.DeferAccept || s.len() > 0 {
		return false
	}
	c.deferred = true
	return true
}
