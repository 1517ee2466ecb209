package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 1122 §3.2.2, §4.1.3.3, §4.2.3.9; RFC 5927 §4 (what to believe); icmp_err_convert
// and icmp_unreach in net/ipv4/icmp.c, udp_err in net/ipv4/udp.c.

// inputError4 hands an ICMP error to the socket that sent the packet it quotes. It is
// believed if that socket exists (RFC 5927 §4).
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
	in := &s.in
	e := udp.ExtendedError{
		Errno: errno, Origin: udp.OriginICMP, Type: uint8(icmp.Type()), Code: icmp.Code(), Info: info4(icmp),
		Offender: in.src, Iface: uint32(in.port.number), Time: in.now,
	}
	payload := quoted.Payload()
	switch quoted.Protocol() {
	case wire.ProtoUDP:
		h, ok := wire.ParseQuotedUDP(payload)
		if !ok {
			return drop.ICMP4QuoteShort
		}
		local := netip.AddrPortFrom(quoted.Src(), h.SrcPort())
		e.To = netip.AddrPortFrom(quoted.Dst(), h.DstPort())
		return s.reportError(s.UDP.Lookup(local, e.To), &e, hard, payload[wire.UDPLen:])
	case wire.ProtoICMP:
		// Errors about errors are none (RFC 1122 §3.2.2), so it was a request of a ping socket.
		h, ok := wire.ParseICMP4(payload)
		if !ok {
			return drop.ICMP4QuoteShort
		}
		if h.Type() != wire.ICMP4Echo {
			return drop.ICMP4QuoteUnknown
		}
		e.To = netip.AddrPortFrom(quoted.Dst(), 0)
		return s.reportError(s.Ping.Lookup(netip.AddrPortFrom(quoted.Src(), h.Ident()), e.To), &e, hard, payload)
	case wire.ProtoTCP:
		src, dst, seq, ok := wire.ParseQuotedTCP(payload)
		if !ok {
			return drop.ICMP4QuoteShort
		}
		local, remote := netip.AddrPortFrom(quoted.Src(), src), netip.AddrPortFrom(quoted.Dst(), dst)
		return s.errorTCP(local, remote, seq, errno, icmp.MTU())
	}
	return drop.ICMP4QuoteUnknown
}

// reportError tells a datagram socket, if there is one, what a quoted packet of its met.
func (s *Stack) reportError(sock *udp.Socket, e *udp.ExtendedError, hard bool, quote []byte) drop.Reason {
	if sock == nil {
		return drop.ICMP4QuoteUnknown
	}
	return sock.Report(e, hard, quote, s.Wakes)
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
