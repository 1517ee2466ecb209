package proto

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4443 §2.4 (what to answer, what never), §3, §4; RFC 4884 §4.

// inputICMP6 answers echo requests, hands echo replies to ping sockets and errors to the
// sockets whose packets they quote, and the rest to neighbour discovery.
func (s *Stack) inputICMP6(b []byte, pseudo wire.Sum) drop.Reason {
	icmp, ok := wire.ParseICMP6(b)
	if !ok {
		return drop.ICMP6Short
	}
	if icmp.Check(pseudo) != wire.ChecksumGood {
		return drop.ICMP6Checksum
	}
	t := icmp.Type()
	switch t {
	case wire.ICMP6RouterSolicitation, wire.ICMP6RouterAdvertisement,
		wire.ICMP6NeighborSolicitation, wire.ICMP6NeighborAdvertisement, wire.ICMP6Redirect:
		if s.in.fragment {
			return drop.NDPFragment // RFC 6980 §5
		}
		return s.inputNDP(icmp)
	}
	if !s.in.port.Loop && s.local(s.in.src) {
		return drop.Martian
	}
	switch {
	case t == wire.ICMP6Echo:
		return s.echo6(icmp)
	case t == wire.ICMP6EchoReply:
		return s.deliverEcho(icmp.Ident(), icmp, drop.ICMP6EchoUnmatched)
	case t.IsError():
		if s.in.group { // they go to the source of what they quote, which is one
			return drop.ICMP6Multicast
		}
		return s.inputError6(icmp)
	case t == wire.ICMP6MLDQuery, t == wire.ICMP6MLDReport, t == wire.ICMP6MLDDone, t == wire.ICMP6MLDv2Report:
		return s.inputMLD(icmp)
	}
	return drop.ICMP6UnknownType
}

// echo6 queues the reply to an echo request. One to a group is answered too, as RFC 4443 §4.2 wants,
// from an address of the port and no more often than errors are sent: no router forwards
// what goes to the groups of a link, so that nobody from afar can have a link answer.
func (s *Stack) echo6(request wire.ICMP6) drop.Reason {
	in := &s.in
	src := in.dst
	if in.group {
		src = s.sourceOn(in.port, in.src)
	}
	switch {
	case in.src.IsUnspecified():
		return drop.IP6BadSource
	case in.group && !s.mayReport():
		return drop.ICMPRateLimited
	}
	b := s.scratch
	h := header{protocol: wire.ProtoICMPv6, src: src, dst: in.src, ttl: defaultTTL, tos: in.tos, payload: len(request)}
	n, pseudo := h.put(b)
	n += copy(b[n:], request)
	reply := wire.ICMP6(b[wire.IPv6Len:n])
	reply.EchoReply()
	if in.group {
		reply.Seal(pseudo)
	}
	return s.post(in.src, b[:n], in.now)
}

// sendProblem6 answers the packet in Input with "parameter problem" about the byte at an offset of it.
func (s *Stack) sendProblem6(code uint8, pointer int) {
	s.sendError6(wire.ICMP6ParamProblem, code, uint32(pointer), false)
}

// sendError6 answers the packet in Input with an ICMPv6 error, as often as the rate allows and
// never where RFC 4443 §2.4 (e) forbids it. group says that the error is of those that a packet to
// a group may draw ((e.3), exceptions 1 and 2).
func (s *Stack) sendError6(t wire.ICMP6Type, code uint8, rest uint32, group bool) {
	in := &s.in
	src := in.dst
	if in.group {
		src = s.sourceOn(in.port, in.src)
	}
	switch {
	case in.group && !group, in.src.IsUnspecified(), !src.IsValid(), !in.port.Loop && s.local(in.src), isError6(in.ip):
		s.Count.Count(drop.ICMPSuppressed)
		return
	case !s.mayReport():
		s.Count.Count(drop.ICMPRateLimited)
		return
	}
	quote := in.ip[:min(len(in.ip), minMTU6-wire.IPv6Len-wire.ICMP6Len)]
	b := s.scratch
	h := header{protocol: wire.ProtoICMPv6, src: src, dst: in.src, ttl: defaultTTL, payload: wire.ICMP6Len + len(quote)}
	n, pseudo := h.put(b)
	n += wire.PutICMP6(b[n:], t, code, rest)
	n += copy(b[n:], quote)
	icmp := wire.ICMP6(b[wire.IPv6Len:n])
	icmp.Seal(pseudo)
	if r := s.post(in.src, b[:n], in.now); r != drop.None {
		s.Count.Count(r)
	}
}

// isError6 says whether a packet is, or cannot be told from, an ICMPv6 error or a redirect: they are
// never answered by an error (RFC 4443 §2.4 (e.1), (e.2)).
func isError6(ip wire.IPv6) bool {
	e := wire.WalkQuotedExtensions(ip)
	switch {
	case e.Fault != wire.ExtOK:
		return false
	case e.Protocol == wire.ProtoFragment: // a later one does not say of what message it is
		return e.FragmentNext == wire.ProtoICMPv6
	case e.Protocol != wire.ProtoICMPv6:
		return false
	}
	if e.Offset >= len(ip) {
		return true
	}
	t := wire.ICMP6Type(ip[e.Offset])
	return t.IsError() || t == wire.ICMP6Redirect
}

// sendPortUnreachable answers the datagram in Input, at whose port nobody is.
func (s *Stack) sendPortUnreachable() {
	if s.in.src.Is4() {
		s.sendError4(wire.ICMP4Unreachable, wire.ICMP4PortUnreachable, 0)
		return
	}
	s.sendError6(wire.ICMP6Unreachable, wire.ICMP6PortUnreachable, 0, false)
}
