package proto

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 1122 §3.2.2, §4.1.3.3, §4.2.3.9; icmp_err_convert and icmp_unreach in
// net/ipv4/icmp.c.

// inputError4 judges an ICMP error and what it quotes.
func (s *Stack) inputError4(icmp wire.ICMP4) drop.Reason {
	quoted, ok := wire.ParseQuotedIPv4(icmp.Quoted())
	if !ok {
		return drop.ICMP4QuoteShort
	}
	if !s.local(quoted.Src()) || quoted.FragmentOffset() != 0 {
		return drop.ICMP4QuoteUnknown
	}
	errno, hard := errno4(icmp)
	if errno == 0 {
		return drop.ICMP4UnknownType
	}
	return s.inputQuote(&quote{
		protocol: quoted.Protocol(), length: quoted.TotalLen(), hops: quoted.TTL(), local: quoted.Src(), remote: quoted.Dst(), transport: quoted.Payload(),
		hard: hard, mtu: icmp.MTU(), drops: &quoteDrops4,
		err: udp.ExtendedError{
			Errno: errno, Origin: udp.OriginICMP, Type: uint8(icmp.Type()), Code: icmp.Code(), Info: info4(icmp),
		},
	})
}

// info4 is what an ICMP error says besides its code: ee_info (icmp_unreach).
func info4(icmp wire.ICMP4) uint32 {
	switch icmp.Type() {
	case wire.ICMP4Unreachable:
		if icmp.Code() == wire.ICMP4FragNeeded {
			return uint32(icmp.MTU())
		}
	case wire.ICMP4ParamProblem:
		return uint32(icmp.Pointer())
	}
	return 0
}

// errno4 is what an ICMP error means to a program, and whether it is hard: one that does not
// pass by itself (Linux: icmp_err_convert).
func errno4(icmp wire.ICMP4) (errno unix.Errno, hard bool) {
	switch icmp.Type() {
	case wire.ICMP4Unreachable:
		switch icmp.Code() {
		case wire.ICMP4NetUnreachable, wire.ICMP4NetTOS:
			return unix.ENETUNREACH, false
		case wire.ICMP4NetUnknown, wire.ICMP4NetProhibited:
			return unix.ENETUNREACH, true
		case wire.ICMP4ProtoUnreachable:
			return unix.ENOPROTOOPT, true
		case wire.ICMP4PortUnreachable:
			return unix.ECONNREFUSED, true
		case wire.ICMP4FragNeeded:
			return unix.EMSGSIZE, false
		case wire.ICMP4SourceRouteFail:
			return unix.EOPNOTSUPP, false
		case wire.ICMP4HostUnknown:
			return unix.EHOSTDOWN, true
		case wire.ICMP4HostIsolated:
			return unix.ENONET, true
		case wire.ICMP4HostProhibited, wire.ICMP4AdminProhibited, wire.ICMP4PrecedenceViolation, wire.ICMP4PrecedenceCutoff:
			return unix.EHOSTUNREACH, true
		}
		return unix.EHOSTUNREACH, false
	case wire.ICMP4TimeExceeded:
		return unix.EHOSTUNREACH, false
	case wire.ICMP4ParamProblem:
		return unix.EPROTO, true
	}
	return 0, false
}
