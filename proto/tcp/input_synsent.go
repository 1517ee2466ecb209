package tcp

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.3, §3.5, RFC 7323 §2.2, §3.2.

// inputSynSent is §3.10.7.3.
func (c *Conn) inputSynSent(s *segment, now mono.Time) drop.Reason {
	acked := s.flags&wire.ACK != 0
	// First, check the ACK bit.
	if acked && (s.ack.AtOrBefore(c.snd.iss) || s.ack.After(c.snd.nxt)) {
		c.synSoon(now)
		c.t.reset(&c.key, s)
		return drop.TCPACKUnacceptable
	}
	// A SYN-ACK that echoes a timestamp we never sent is not of this connection (as Linux; RFC 7323 §5).
	if acked && s.flags&wire.SYN != 0 && s.opt.TS && s.opt.TSEcr != 0 && !c.t.params.NoTimestamps {
		if _, ok := c.echoed(s.opt.TSEcr, now); !ok {
			c.t.reset(&c.key, s)
			return drop.TCPPAWS
		}
	}
	// Second, check the RST bit.
	if s.flags&wire.RST != 0 {
		if !acked {
			return drop.TCPResetOutOfWindow
		}
		c.end(unix.ECONNREFUSED, now)
		return drop.None
	}
	// Fourth, check the SYN bit; fifth, without one the segment says nothing.
	if s.flags&wire.SYN == 0 {
		return drop.TCPFlagsBad
	}
	c.takeSYN(s, now)
	c.heard(now)
	if !acked { // simultaneous open: both sent a SYN
		c.setState(SynReceived)
		c.backoff, c.expired = 0, 0
		c.sendSYN(now)
		return drop.None
	}
	c.establish(s, now)
	c.fastAnswered(s, now)
	c.want |= wantACK
	c.t.ready(c)
	if len(s.payload) > 0 || s.flags&wire.FIN != 0 { // data may come with the SYN-ACK
		s.seq = s.seq.Add(1)
		s.flags &^= wire.SYN
		return c.inputText(s, now)
	}
	return drop.None
}

// synSoon has our first SYN go again when the reset has ended the old connection that the peer knows of (§3.5.1, figure 9), as on Linux
// (tcp_rcv_synsent_state_process).
func (c *Conn) synSoon(now mono.Time) {
	if at := now.Add(synAgain); c.expired == 0 && c.due[timerRetransmit] != mono.Never && at < c.due[timerRetransmit] {
		c.arm(timerRetransmit, at)
	}
}

// takeSYN takes in what a peer's SYN says: its first number and what it can do.
func (c *Conn) takeSYN(s *segment, now mono.Time) {
	p := &c.t.params
	c.rcv.irs = s.seq
	c.rcv.nxt = s.seq.Add(1)
	c.rcv.wup, c.rcv.adv = c.rcv.nxt, c.rcv.nxt
	if c.state == SynSent {
		c.rcv.adv = c.rcv.nxt.Add(int(c.windowSYN())) // as our SYN has offered
	}
	c.snd.wnd = s.wnd // of a SYN, never scaled
	c.snd.maxWnd = max(c.snd.maxWnd, s.wnd)
	c.snd.wl1 = s.seq
	c.snd.peerMSS = s.opt.MSS
	if c.snd.peerMSS == 0 {
		c.snd.peerMSS = mssDefault(&c.key)
	}
	c.resetMSS()
	c.sackOK = s.opt.SACKPermitted && !p.NoSACK
	c.scaleOK = s.opt.WScale >= 0 && !p.NoWindowScaling
	if c.scaleOK {
		c.snd.scale = uint8(s.opt.WScale)
	} else {
		c.snd.scale, c.rcv.scale = 0, 0
	}
	c.agreeECN(s)
	c.tsOK = s.opt.TS && !p.NoTimestamps
	if c.tsOK {
		c.ts.recent, c.ts.recentAt = s.opt.TSVal, now
	}
}

// mssDefault is what a peer takes that does not say (RFC 9293 §3.7.1, MUST-15).
func mssDefault(k *key) uint16 {
	if k.is4() {
		return mssDefault4
	}
	return mssDefault6
}

// sendSYN begins to send our SYN, or SYN-ACK, until it is acknowledged.
func (c *Conn) sendSYN(now mono.Time) {
	c.want |= wantSYN
	c.snd.nxt = c.snd.nxt.Max(c.snd.iss.Add(1)) // the first SYN may have brought data
	c.lastSend, c.stuckSince = now, now
	c.arm(timerRetransmit, now.Add(c.rto()))
	c.t.ready(c)
}

// establish is the moment in which both sides know that both know: s acknowledges our SYN.
func (c *Conn) establish(s *segment, now mono.Time) {
	c.setState(Established)
	c.t.progress = true
	c.disarm(timerRetransmit)
	early := c.tfo&fastTaken != 0
	if early { // the program has it, and may have sent already
		c.fastOver(false, now)
		if c.flight != nil {
			c.armFlight()
		}
	} else {
		c.snd.una = c.snd.iss.Add(1)
		c.snd.small, c.snd.up = c.snd.una, c.snd.una
	}
	switch rtt, ok := c.echoed(s.opt.TSEcr, now); {
	case c.retrans == 0 && c.flight == nil:
		c.sampleRTT(now.Sub(c.lastSend), false, now)
	case c.tsOK && s.opt.TS && ok:
		c.sampleRTT(rtt, false, now)
	}
	c.backoff, c.expired, c.stuckSince = 0, 0, mono.Never
	c.softErr = 0
	if !early {
		c.cc.start(c.sendMSS())
	}
	if c.retrans > 1 {
		c.cc.cwnd = uint32(c.sendMSS()) // the path loses SYNs (RFC 6928 §2; one may be a slow peer's, as Linux has it)
	}
	if c.flight == nil {
		c.lastSend = 0
	}
	c.rxTune.at, c.rxTune.copied = now, uint32(initialWindow*c.sendMSS())
	c.updateWindow(s)
	c.noteSent()
	c.startSearch(now)
	c.status.Or(statusConnected)
	c.armKeepalive(now, now)
	if c.tx.Sealed() { // the program has closed it meanwhile
		c.setState(FinWait1)
	}
	c.t.wakes.Open(&c.Gate, ring.Out)
	c.t.ready(c)
}

// updateWindow takes in the window of a segment that is not older than the last one that told it
// (§3.10.7.4, fifth). That of a SYN is not scaled (RFC 7323 §2.2).
func (c *Conn) updateWindow(s *segment) {
	wnd := s.wnd
	if !s.syn {
		wnd <<= c.snd.scale
	}
	c.snd.wnd = wnd
	c.snd.maxWnd = max(c.snd.maxWnd, wnd)
	c.snd.wl1 = s.seq
}
