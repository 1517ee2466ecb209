package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 792; RFC 1122 §3.2.2 (what to answer, what never to answer);
// RFC 1812 §4.3.2 (quoting, rate).

// inputICMP4 answers echo requests, hands echo replies to ping sockets and errors to
// the sockets whose packets they quote.
func (s *Stack) inputICMP4(b []byte) drop.Reason {
	icmp, ok := wire.ParseICMP4(b)
	if !ok {
		return drop.ICMP4Short
	}
	if !icmp.ChecksumOK() {
		return drop.ICMP4Checksum
	}
	switch t := icmp.Type(); {
	case s.in.group: // RFC 1122 §3.2.2.6 allows silence, and smurf makes it wise; what we sent is answered to us alone
		return drop.ICMP4Broadcast
	case t == wire.ICMP4Echo:
		return s.echo4(icmp)
	case t == wire.ICMP4EchoReply:
		return s.deliverEcho(icmp.Ident(), icmp, drop.ICMP4EchoUnmatched)
	case t == wire.ICMP4Redirect:
		return s.inputRedirect4(icmp)
	case t.IsError():
		return s.inputError4(icmp)
	}
	return drop.ICMP4UnknownType
}

// echo4 queues the reply to an echo request. It goes back from the address that was
// asked (RFC 1122 §3.2.2.6).
func (s *Stack) echo4(request wire.ICMP4) drop.Reason {
	b := s.scratch[:]
	n := s.putICMP4(b, s.in.tos, len(request))
	n += copy(b[n:], request)
	wire.ICMP4(b[wire.IPv4Len:n]).EchoReply()
	return s.post(s.in.src, b[:n], s.in.now)
}

// putICMP4 writes the header of an answer to the packet in Input, of so many bytes. Routers may cut it:
// who hears that it was too big for the path has no socket to tell (Linux: icmp_sk_init).
func (s *Stack) putICMP4(b []byte, tos uint8, length int) int {
	in := &s.in
	return wire.PutIPv4(b, &wire.IPv4Fields{
		ID: s.idents.Next4(in.dst, in.src, wire.ProtoICMP, in.now), TOS: tos, TTL: defaultTTL, Protocol: wire.ProtoICMP,
		Src: in.dst, Dst: in.src, PayloadLen: length,
	})
}

// deliverEcho hands an echo reply, from its ICMP header on, to its ping socket.
func (s *Stack) deliverEcho(ident uint16, message []byte, unmatched drop.Reason) drop.Reason {
	in := &s.in
	local, remote := netip.AddrPortFrom(in.dst, ident), netip.AddrPortFrom(in.src, 0)
	sock := s.Ping.LookupAt(uint32(s.via()+1), &local, &remote)
	if sock == nil {
		return unmatched
	}
	return sock.Deliver(s.facts(local, remote), message, s.Wakes)
}

// facts is what a datagram's record says besides its payload.
func (s *Stack) facts(local, remote netip.AddrPort) *ring.Datagram {
	s.record.From, s.record.To = remote, local
	return s.arrival()
}

// arrival is facts where the record has the addresses already.
func (s *Stack) arrival() *ring.Datagram {
	in, r := &s.in, &s.record
	r.Iface, r.Time, r.TTL, r.TOS = uint32(s.via()), int64(in.now), in.ttl, in.tos
	return r
}

// sendError4 answers the packet in Input with an ICMP error, as often as the rate allows and
// never where RFC 1122 §3.2.2 forbids it: about an error, a broadcast, a later fragment. A source
// that is none has been refused before.
func (s *Stack) sendError4(t wire.ICMP4Type, code uint8, rest uint32) {
	in := &s.in
	if in.group || wire.IPv4(in.ip).FragmentOffset() != 0 || isError4(in.ip) {
		s.Count.Count(drop.ICMPSuppressed)
		return
	}
	if !s.mayReport() {
		s.Count.Count(drop.ICMPRateLimited)
		return
	}
	quote := in.ip[:min(len(in.ip), quoteMax)]
	b := s.scratch[:]
	n := s.putICMP4(b, 0xc0, wire.ICMP4Len+len(quote)) // internetwork control (RFC 1812 §4.3.2.5)
	n += wire.PutICMP4(b[n:], t, code, rest)
	n += copy(b[n:], quote)
	wire.ICMP4(b[wire.IPv4Len:n]).Seal()
	if r := s.post(in.src, b[:n], in.now); r != drop.None {
		s.Count.Count(r)
	}
}

// isError4 says whether a packet is, or cannot be told from, an ICMP error.
func isError4(h wire.IPv4) bool {
	if h.Protocol() != wire.ProtoICMP {
		return false
	}
	icmp, ok := wire.ParseICMP4(h.Payload())
	return !ok || icmp.Type().IsError()
}

// mayReport says whether an error may be sent to the source of the packet in Input now. What stays
// inside the host costs nobody anything (as Linux has it). The core's own limit, which is the whole host's, comes first, so
// that a flood does not have cores wait for each other at the host's.
func (s *Stack) mayReport() bool {
	in := &s.in
	return in.port.Loop || s.icmp.Take(in.src, in.now) == drop.None && (s.peers == nil || s.peers.MayReport(in.src, in.now))
}
