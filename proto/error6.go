package proto

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4443 §2.4 (d), §3; icmpv6_err_convert in net/ipv6/icmp.c, __udp6_lib_err in
// net/ipv6/udp.c.

// inputError6 judges an ICMPv6 error and what it quotes.
func (s *Stack) inputError6(icmp wire.ICMP6) drop.Reason {
	quoted, ok := wire.ParseQuotedIPv6(icmp.Quoted())
	if !ok {
		return drop.ICMP6QuoteShort
	}
	p := s.in.port
	local, remote := p.scoped(quoted.Src()), p.scoped(quoted.Dst())
	if !s.local(local) {
		return drop.ICMP6QuoteUnknown
	}
	errno, hard := errno6(icmp)
	if errno == 0 {
		return drop.ICMP6UnknownType
	}
	e := wire.WalkQuotedExtensions(quoted)
	switch {
	case e.Fault == wire.ExtShort:
		return drop.ICMP6QuoteShort
	case e.Fault != wire.ExtOK:
		return drop.ICMP6QuoteUnknown
	}
	return s.inputQuote(&quote{
		protocol: e.Protocol, length: wire.IPv6Len + quoted.PayloadLen(), hops: s.in.ttl, local: local, remote: remote, transport: quoted[e.Offset:],
		hard: hard, mtu: int(min(icmp.MTU(), 1<<16)), drops: &quoteDrops6,
		err: udp.ExtendedError{
			Errno: errno, Origin: udp.OriginICMP6, Type: uint8(icmp.Type()), Code: icmp.Code(), Info: info6(icmp),
		},
	})
}

// info6 is what an ICMPv6 error says besides its code: ee_info (icmpv6_notify).
func info6(icmp wire.ICMP6) uint32 {
	switch icmp.Type() {
	case wire.ICMP6PacketTooBig, wire.ICMP6ParamProblem:
		return icmp.Rest()
	}
	return 0
}

// errno6 is what an ICMPv6 error means to a program, and whether it is hard: one that does not
// pass by itself (Linux: icmpv6_err_convert).
func errno6(icmp wire.ICMP6) (errno unix.Errno, hard bool) {
	switch icmp.Type() {
	case wire.ICMP6Unreachable:
		switch icmp.Code() {
		case wire.ICMP6NoRoute:
			return unix.ENETUNREACH, false
		case wire.ICMP6AdminProhibited, wire.ICMP6SourcePolicy, wire.ICMP6RejectRoute:
			return unix.EACCES, true
		case wire.ICMP6BeyondScope, wire.ICMP6AddrUnreachable:
			return unix.EHOSTUNREACH, false
		case wire.ICMP6PortUnreachable:
			return unix.ECONNREFUSED, true
		}
		return unix.EPROTO, true
	case wire.ICMP6PacketTooBig:
		return unix.EMSGSIZE, false
	case wire.ICMP6TimeExceeded:
		return unix.EHOSTUNREACH, false
	case wire.ICMP6ParamProblem:
		return unix.EPROTO, true
	}
	return 0, false
}
