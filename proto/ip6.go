package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 8200 §3, §4; RFC 4291 §2.5-2.7 on addresses that are none; RFC 5095;
// RFC 7045 §2.2, RFC 8504 §5.3 on what a host may refuse.

// input6 judges an IPv6 header and hands the packet to its protocol.
func (s *Stack) input6(b []byte) drop.Reason {
	ip, ok := wire.ParseIPv6(b)
	if !ok {
		switch wire.FaultIPv6(b) {
		case wire.FaultShort:
			return drop.IP6Short
		case wire.FaultVersion:
			return drop.IP6Version
		}
		return drop.IP6PayloadLen
	}
	in := &s.in
	p := in.port
	in.ip, in.src, in.dst, in.ttl, in.tos = ip, ip.Src(), ip.Dst(), ip.HopLimit(), ip.TrafficClass()
	if s.plain6(ip) {
		switch payload := ip.Payload(); ip.NextHeader() {
		case wire.ProtoUDP:
			return s.inputUDP(payload, ip.PseudoSum(wire.ProtoUDP, len(payload)))
		case wire.ProtoTCP:
			return s.inputTCP(payload, ip.PseudoSum(wire.ProtoTCP, len(payload)))
		}
		return s.payload6(ip)
	}
	in.src, in.dst = p.scoped(in.src), p.scoped(in.dst)
	if p.Loop {
		in.src, in.dst = s.scopedOwn(in.src), s.scopedOwn(in.dst)
	}
	if r := s.addresses6(); r != drop.None {
		return r
	}
	return s.payload6(ip)
}

// plain6 says whether the packet in Input is from a host that is not us, to an address of ours, neither on
// a link alone, and no raw socket looks on: then there is nothing more to be asked about the
// addresses. Most packets are.
func (s *Stack) plain6(ip wire.IPv6) bool {
	srcHigh, srcLow := ip.SrcWords()
	dstHigh, dstLow := ip.DstWords()
	return srcHigh != 0 && srcHigh>>56 != 0xff && srcHigh>>54 != 0xfe80>>6 && s.own.has6(dstHigh, dstLow) &&
		!s.own.has6(srcHigh, srcLow) && !s.in.group && !s.in.port.Loop && s.Raw.Len() == 0
}

// payload6 judges what comes behind the header of a packet.
func (s *Stack) payload6(ip wire.IPv6) drop.Reason {
	in := &s.in
	p := in.port
	protocol, offset := ip.NextHeader(), wire.IPv6Len
	switch protocol {
	case wire.ProtoUDP, wire.ProtoTCP, wire.ProtoICMPv6:
	default:
		e := wire.WalkExtensions(ip)
		if s.unspoken6(&e) && s.inputRaw(e.Protocol, ip[e.Offset:]) {
			return drop.None
		}
		if r := s.extensions6(&e); r != drop.None {
			return r
		}
		if e.Protocol == wire.ProtoFragment {
			return s.inputFragment6(ip, &e)
		}
		if e.FragmentNext != 0 { // an atomic one (RFC 6946)
			in.fragment = true
		}
		protocol, offset, in.alert = e.Protocol, e.Offset, e.RouterAlert
	}
	// Our own address does not come from outside (land). What another station says in our name
	// is for neighbour discovery to notice, which is alone in having messages from no address.
	switch {
	case protocol == wire.ProtoICMPv6:
	case in.src.IsUnspecified():
		return drop.IP6BadSource // an answer to it would be one to ourselves
	case !p.Loop && s.local(in.src):
		return drop.Martian
	}
	payload := ip[offset:]
	pseudo := ip.PseudoSum(protocol, len(payload))
	raw := s.inputRaw(protocol, payload)
	switch protocol {
	case wire.ProtoUDP:
		return s.inputUDP(payload, pseudo)
	case wire.ProtoTCP:
		return s.inputTCP(payload, pseudo)
	}
	return claimed(s.inputICMP6(payload, pseudo), raw)
}

// addresses6 judges source and destination.
func (s *Stack) addresses6() drop.Reason {
	in := &s.in
	switch {
	case in.src.IsMulticast():
		return drop.IP6BadSource
	case in.port.Loop && !s.local(in.src), !in.port.Loop && (in.src.IsLoopback() || in.dst.IsLoopback()): // RFC 4291 §2.5.3
		return drop.Martian
	case in.src.Is4In6(), in.dst.Is4In6(): // RFC 4038 §4.2: they are for the interface to programs alone
		return drop.Martian
	case in.dst.IsUnspecified(): // RFC 4291 §2.5.2
		return drop.IP6BadDestination
	}
	if in.dst.IsMulticast() {
		if scope6(in.dst) < scopeLink { // of no use beyond an interface (RFC 4291 §2.7.1), or reserved
			return drop.Martian
		}
		if !s.member6(in.port, in.dst) {
			return drop.IP6MulticastUnwanted
		}
		in.group = true
		return drop.None
	}
	if in.group { // unicast inside a link-layer multicast: as over IPv4 (RFC 1122 §3.3.6)
		return drop.IP6BadDestination
	}
	if !s.local(in.dst) {
		return drop.IP6NotForUs
	}
	return drop.None
}

// scopeLink is the scope of groups on one link (RFC 7346 §2).
const scopeLink = 2

// scope6 is the scope of a group.
func scope6(group netip.Addr) uint8 { return group.As16()[1] & 15 }

// extensions6 judges the extension headers of the packet in Input and answers what has to be answered. It
// returns None if a protocol that is spoken here comes behind them.
func (s *Stack) extensions6(e *wire.Extensions) drop.Reason {
	switch e.Fault {
	case wire.ExtShort:
		return drop.IP6ExtensionShort
	case wire.ExtOrder:
		s.sendProblem6(wire.ICMP6BadNextHeader, e.Pointer)
		return drop.IP6ExtensionOrder
	case wire.ExtTooMany:
		return drop.IP6ExtensionTooMany
	case wire.ExtOptionBad:
		return drop.IP6OptionBad
	case wire.ExtOptionTooMany:
		return drop.IP6OptionTooMany
	case wire.ExtOptionDiscard:
		return drop.IP6OptionUnknown
	case wire.ExtOptionReport:
		s.sendError6(wire.ICMP6ParamProblem, wire.ICMP6BadOption, uint32(e.Pointer), true)
		return drop.IP6OptionUnknown
	case wire.ExtOptionReportUnicast:
		s.sendProblem6(wire.ICMP6BadOption, e.Pointer)
		return drop.IP6OptionUnknown
	case wire.ExtRouting:
		s.sendProblem6(wire.ICMP6BadField, e.Pointer)
		return drop.IP6RoutingHeader
	case wire.ExtFirstFragment:
		s.sendProblem6(wire.ICMP6FirstFragment, e.Pointer)
		return drop.FragmentHeaders
	}
	switch e.Protocol {
	case wire.ProtoUDP, wire.ProtoTCP, wire.ProtoICMPv6, wire.ProtoFragment:
		return drop.None
	case wire.ProtoNoNext:
		return drop.IP6NoNextHeader
	}
	s.sendProblem6(wire.ICMP6BadNextHeader, e.NextHeaderAt)
	return drop.IP6UnknownNextHeader
}
