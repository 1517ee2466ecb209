package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: raw(7), ipv6(7), RFC 3542 §3; net/ipv4/raw.c, net/ipv6/raw.c.

// A rawSocket is a Berkeley raw socket of an IP protocol. Its port is the number of the protocol;
// ports in addresses say nothing, but where one of IPv6 sends to.
type rawSocket struct {
	udpSocket
	raw udp.Raw // what its ends are told; guarded by mu
}

// newRawSocket is EPERM for a thread without CAP_NET_RAW, as on Linux (inet_create).
func newRawSocket(h *host.Host, family int, protocol wire.Protocol) (*rawSocket, unix.Errno) {
	if !host.Capable(unix.CAP_NET_RAW) {
		return nil, unix.EPERM
	}
	s := new(rawSocket)
	s.raw.Header = family == unix.AF_INET && protocol == unix.IPPROTO_RAW
	if family == unix.AF_INET6 && protocol == wire.ProtoICMPv6 {
		s.raw.Sum, s.raw.SumAt = true, 2 // RFC 3542 §3.1: the host's to compute, and to check
	}
	if errno := s.open(h, family, unix.SOCK_RAW, protocol); errno != 0 {
		return nil, errno
	}
	s.d.raw = true
	s.tell()
	if errno := s.d.bind(s.protocolPort(s.unspecified()), s.terms()); errno != 0 {
		s.d.close()
		return nil, errno
	}
	return s, 0
}

// protocolPort is an address with the socket's protocol for a port.
func (s *rawSocket) protocolPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), uint16(s.proto))
}

func (s *rawSocket) bind(local netip.AddrPort) unix.Errno {
	if s.d.peer().IsValid() && (s.family == unix.AF_INET || local.Addr().Is6()) { // raw_bind, rawv6_bind
		return unix.EINVAL
	}
	return s.udpSocket.bind(s.protocolPort(local))
}

func (s *rawSocket) connect(to netip.AddrPort, flags int) unix.Errno {
	return s.connectPortless(to, flags)
}

func (s *rawSocket) send(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if to.IsValid() {
		if s.family == unix.AF_INET6 && to.Port() != 0 && int(to.Port()) != s.proto { // rawv6_sendmsg: the protocol, if it says one
			return 0, unix.EINVAL
		}
		to = netip.AddrPortFrom(to.Addr(), 0)
	}
	if (flags&unix.MSG_MORE != 0 || s.cork.waits()) && flags&msgProbe == 0 && !s.withHeader() {
		return s.sendCorked(p, oob, to, flags)
	}
	return s.sendMessage(p, oob, to, flags)
}

// withHeader says whether programs write the headers of packets (IP_HDRINCL): such a one is never sent in pieces.
func (s *rawSocket) withHeader() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.Header
}

func (s *rawSocket) peerName() (netip.AddrPort, unix.Errno) { return s.portlessPeer() }

// tell gives the ends what they are told. mu is held, or nobody knows the socket. Where the host writes the header, a packet is sent
// also by a socket that is shut down, and pending errors wait for another call: Linux looks at neither where there is no header
// of a transport protocol (__ip_append_data).
func (s *rawSocket) tell() {
	s.d.heedless.Store(!s.raw.Header)
	s.d.change(func(end *udp.Socket) {
		raw := s.raw
		end.Raw = &raw
	})
}

func (s *rawSocket) apply() unix.Errno {
	s.tell()
	return s.udpSocket.apply()
}
