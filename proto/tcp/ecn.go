package tcp

import "github.com/xdpsock/xdpsock/proto/wire"

// Read first: RFC 3168 §6.1, RFC 5562 §2; tcp_ecn_* in net/ipv4/tcp_input.c and tcp_output.c.
//
// Both ends agree on ECN by their SYNs. Then data goes out as ECT(0), the receiver answers CE by ECE on everything that
// it sends until it sees CWR, and the sender answers ECE by a window as after a loss (of the same size as there: Linux knows
// no gentler one, RFC 8511), once a round trip, and by CWR on its next new data.

// The values of tcp_ecn.
const (
	ECNOff    = 0
	ECNAsk    = 1 // our SYNs ask for it, and who asks for it gets it
	ECNAccept = 2 // who asks for it gets it: the default
)

// ecn is what a connection knows about ECN.
type ecn uint8

const (
	ecnOK    ecn = 1 << iota // both ends do it
	ecnAsked                 // our SYN has asked for it
	ecnSeen                  // the peer's data came as ECT or CE
	ecnEcho                  // CE has come: ECE goes on what we send, until CWR comes (TCP_ECN_DEMAND_CWR)
	ecnTell                  // the window has been reduced: CWR goes on the next new data (TCP_ECN_QUEUE_CWR)
	ecnECT                   // the segment that Output writes, or has written, is ECT
)

// acceptsECN says whether a listener that gets a SYN does ECN with its sender. A SYN that is ECT itself comes from no
// sender of RFC 3168, unless it means AccECN (RFC 9768 §3.1.2), which has this as what it falls back to.
func (p *Params) acceptsECN(syn *segment) bool {
	return p.ECN != ECNOff && syn.flags.Has(wire.ECE|wire.CWR) && (syn.ecn == wire.NotECT || syn.reserved != 0)
}

// askECN returns the flags of a SYN of ours. One that is sent again does not ask: there are paths on which asking is
// what loses it (RFC 3168 §6.1.1.1; tcp_ecn_fallback).
func (c *Conn) askECN() wire.Flags {
	p := &c.t.params
	if p.ECN != ECNAsk || c.retrans > 0 && !p.NoECNFallback {
		return 0
	}
	c.ecn |= ecnAsked
	return wire.ECE | wire.CWR
}

// agreeECN takes in what the peer's SYN, or SYN-ACK, says.
func (c *Conn) agreeECN(s *segment) {
	const both = wire.ECE | wire.CWR
	ok := false
	switch {
	case c.state != SynSent:
		ok = c.t.params.acceptsECN(s)
	case c.ecn&ecnAsked == 0:
	case s.flags&wire.ACK != 0: // with both, it sends the bits back that it got (§6.1.1)
		ok = s.flags&both == wire.ECE
	default: // simultaneous open
		ok = s.flags&both == both
	}
	if c.ecn = 0; ok {
		c.ecn = ecnOK
	}
}

// marks takes in what a segment with data says (§6.1.3).
func (c *Conn) marks(s *segment) {
	if s.flags&wire.CWR != 0 {
		c.ecn &^= ecnEcho
		if s.len() > 0 {
			c.want |= wantACK // the peer's window may be one segment by now
		}
	}
	switch {
	case s.ecn == wire.NotECT:
		if c.ecn&ecnSeen != 0 { // probably sent again
			c.quickly(2)
		}
		return
	case s.ecn == wire.CE && c.ecn&ecnEcho == 0:
		c.ecn |= ecnEcho
		c.quickly(2)
	}
	c.ecn |= ecnSeen
}

// flags are those of a segment with ACK.
func (e *ecn) flags() (f wire.Flags) {
	if *e&ecnEcho != 0 {
		f = wire.ECE
	}
	if *e&(ecnECT|ecnTell) == ecnECT|ecnTell {
		*e &^= ecnTell
		f |= wire.CWR
	}
	return f
}

// codepoint is that of the segment that was written last.
func (e ecn) codepoint() uint8 {
	if e&ecnECT != 0 {
		return uint8(wire.ECT0)
	}
	return uint8(wire.NotECT)
}

// tellReduced has the peer told that the window has been reduced, for whatever reason (§6.1.2).
func (c *Conn) tellReduced() {
	if c.ecn&ecnOK != 0 {
		c.ecn |= ecnTell
	}
}

// congested is told that an acknowledgement came with ECE (§6.1.2). Where the window has been reduced for what is on
// its way already that was enough, but it will not be taken back.
func (c *Conn) congested(delivered int) {
	f := c.flight
	if c.repair != nil {
		c.repair.undone = true
	}
	if f.phase != phaseOpen {
		return
	}
	f.phase, f.recover = phaseCWR, c.snd.nxt
	c.reduce(delivered)
	c.inCWR()
}

// inCWR ends the reduction once something has been acknowledged that was sent with CWR or after it, or nothing is
// on its way any more.
func (c *Conn) inCWR() {
	if f := c.flight; c.snd.una.After(f.recover) || c.snd.una == c.snd.nxt {
		f.phase = phaseOpen
		c.cc.recovered()
	}
}
