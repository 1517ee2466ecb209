package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.1; RFC 1122 §3.2.1, §3.2.2.1; RFC 1812 §4.2.2.11 on addresses
// that are none.

// input4 judges an IPv4 header and hands the packet to its protocol.
func (s *Stack) input4(b []byte) drop.Reason {
	if len(b) < wire.IPv4Len {
		return drop.IP4Short
	}
	head := (*[wire.IPv4Len]byte)(b)
	w := wire.IPv4HeadOf(head)
	if !w.Whole(len(b)) {
		switch wire.FaultIPv4(b) {
		case wire.FaultVersion:
			return drop.IP4Version
		case wire.FaultHeaderLen:
			return drop.IP4HeaderLen
		}
		return drop.IP4TotalLen
	}
	ip := wire.IPv4(b[:w.TotalLen():w.TotalLen()])
	sum, options := w.Sum(), w.HeaderLen() > wire.IPv4Len
	if options {
		sum = sum.AddBytes(ip.Options())
	}
	if !sum.OK() {
		return drop.IP4Checksum
	}
	in := &s.in
	in.ip, in.ttl, in.tos = ip, w.TTL(), w.TOS()
	in.src, in.dst = netip.AddrFrom4([4]byte(head[12:16])), netip.AddrFrom4([4]byte(head[16:20]))
	if src := w.Src(); in.group || !in.port.plain4(src) || s.own.has4(src) || !s.own.has4(w.Dst()) {
		if r := s.addresses4(w.Protocol()); r != drop.None {
			return r
		}
	}
	if options {
		if r := s.options4(ip.Options()); r != drop.None {
			return r
		}
	}
	if w.IsFragment() {
		return s.inputFragment4(ip)
	}
	return s.transport4(ip, w.Protocol(), w.PseudoSum())
}

// plain4 says whether a source that is not our own is that of any host, of which nothing more is to be
// asked. Most are.
func (p *port) plain4(src uint32) bool {
	return src-1<<24 < (224-1)<<24 && src>>24 != 127 && !p.Loop && !p.isBroadcast(src)
}

// addresses4 judges source and destination where they are not those of most packets: a host's that is not us,
// and our own.
func (s *Stack) addresses4(protocol wire.Protocol) drop.Reason {
	in := &s.in
	if in.src.IsMulticast() || in.src.IsUnspecified() && !nobody4(in.dst, protocol) || in.port.broadcast4(in.src) || in.src.As4()[0] >= 240 {
		return drop.IP4BadSource
	}
	if s.foreign(in.port, in.src, in.dst) {
		return drop.Martian
	}
	if !s.local(in.dst) {
		return s.wanted4(protocol)
	}
	if in.group {
		return drop.IP4BadDestination // unicast inside a link-layer broadcast (RFC 1122 §3.3.6)
	}
	return drop.None
}

// transport4 hands a whole packet to its protocol.
func (s *Stack) transport4(ip wire.IPv4, protocol wire.Protocol, pseudo wire.Sum) drop.Reason {
	payload, raw := ip.Payload(), false
	if s.Raw.Len() > 0 {
		raw = s.inputRaw(protocol, payload)
	}
	switch protocol {
	case wire.ProtoUDP:
		return s.inputUDP(payload, pseudo)
	case wire.ProtoTCP:
		return s.inputTCP(payload, pseudo)
	case wire.ProtoICMP:
		return claimed(s.inputICMP4(payload), raw)
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
