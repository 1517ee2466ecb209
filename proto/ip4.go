package proto

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.1; RFC 1122 §3.2.1, §3.2.2.1; RFC 1812 §4.2.2.11 on addresses
// that are none.

// input4 judges an IPv4 header and hands the packet to its protocol.
func (s *Stack) input4(b []byte) drop.Reason {
	ip, ok := wire.ParseIPv4(b)
	if !ok {
		switch wire.FaultIPv4(b) {
		case wire.FaultShort:
			return drop.IP4Short
		case wire.FaultVersion:
			return drop.IP4Version
		case wire.FaultHeaderLen:
			return drop.IP4HeaderLen
		}
		return drop.IP4TotalLen
	}
	if !ip.ChecksumOK() {
		return drop.IP4Checksum
	}
	in := &s.in
	in.ip, in.src, in.dst, in.ttl, in.tos = ip, ip.Src(), ip.Dst(), ip.TTL(), ip.TOS()
	if in.src.IsMulticast() || in.src.IsUnspecified() && !nobody4(in.dst, ip.Protocol()) || in.port.broadcast4(in.src) || in.src.As4()[0] >= 240 {
		return drop.IP4BadSource
	}
	if s.foreign(in.port, in.src, in.dst) {
		return drop.Martian
	}
	if !s.local(in.dst) {
		if r := s.wanted4(ip.Protocol()); r != drop.None {
			return r
		}
	} else if in.group {
		return drop.IP4BadDestination // unicast inside a link-layer broadcast (RFC 1122 §3.3.6)
	}
	if ip.HeaderLen() > wire.IPv4Len {
		if r := s.options4(ip.Options()); r != drop.None {
			return r
		}
	}
	if ip.IsFragment() {
		return s.inputFragment4(ip)
	}
	return s.transport4(ip)
}

// transport4 hands a whole packet to its protocol.
func (s *Stack) transport4(ip wire.IPv4) drop.Reason {
	raw := s.inputRaw(ip.Protocol(), ip.Payload())
	switch ip.Protocol() {
	case wire.ProtoUDP:
		return s.inputUDP(ip.Payload(), ip.PseudoSum())
	case wire.ProtoTCP:
		return s.inputTCP(ip.Payload(), ip.PseudoSum())
	case wire.ProtoICMP:
		return claimed(s.inputICMP4(ip.Payload()), raw)
	case wire.ProtoIGMP:
		return s.inputIGMP(ip)
	}
	if raw {
		return drop.None
	}
	s.sendError4(wire.ICMP4Unreachable, wire.ICMP4ProtoUnreachable, 0)
	return drop.IP4UnknownProtocol
}

// options4 judges IPv4 options. Those that are understood ask for nothing that is done: a source route
// is refused (RFC 7126 §4.3), as by Linux unless accept_source_route says otherwise.
func (s *Stack) options4(b []byte) drop.Reason {
	o, ok := wire.ParseIPv4Options(b)
	switch {
	case !ok:
		s.sendError4(wire.ICMP4ParamProblem, 0, uint32(o.BadAt)<<24) // RFC 1122 §3.2.2.5
		return drop.IP4OptionsBad
	case o.SourceRoute:
		return drop.IP4SourceRoute
	}
	return drop.None
}
