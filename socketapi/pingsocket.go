package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: icmp(7); ping_common_sendmsg and ping_v4_sendmsg in net/ipv4/ping.c.

// A pingSocket is a Berkeley socket of ICMP echo (SOCK_DGRAM, IPPROTO_ICMP or IPPROTO_ICMPV6). Its port is
// the identifier of its requests.
type pingSocket struct{ udpSocket }

func newPingSocket(h *host.Host, family int) (*pingSocket, unix.Errno) {
	s := new(pingSocket)
	s.only6 = family == unix.AF_INET6
	return s, s.open(h, family, unix.SOCK_DGRAM, icmpOf(family))
}

// icmpOf is the ICMP of a family.
func icmpOf(family int) wire.Protocol {
	if family == unix.AF_INET6 {
		return wire.ProtoICMPv6
	}
	return wire.ProtoICMP
}

// send sends an echo request: the identifier and the checksum are the host's to fill in.
func (s *pingSocket) send(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if errno := s.refusesRequest(p, flags); errno != 0 {
		return 0, errno
	}
	switch {
	case s.family == unix.AF_INET6 && (to.Addr().Is4() || s.nowhere(to.Addr())):
		return 0, unix.EINVAL
	case to.IsValid():
		to = netip.AddrPortFrom(to.Addr(), 0)
	}
	if s.family == unix.AF_INET6 {
		flags &^= msgProbe // ping_v6_sendmsg passes no flags on
	}
	return s.sendMessage(p, oob, to, flags)
}

// recv takes one datagram. MSG_TRUNC does not tell the length of one that was cut off (ping_recvmsg).
func (s *pingSocket) recv(p []byte, flags int) (received, unix.Errno) {
	return s.udpSocket.recv(p, flags&^unix.MSG_TRUNC)
}

// nowhere says whether an address is one of a link, and nothing says of which (ping_v6_sendmsg).
func (s *pingSocket) nowhere(to netip.Addr) bool {
	if !linkScope(to) || to.Zone() != "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.device == 0 && (!to.IsMulticast() || s.multicast6.Port == 0)
}

// bind is that of datagrams, but not to what stands for several hosts (ping_check_bind_addr).
func (s *pingSocket) bind(local netip.AddrPort) unix.Errno {
	switch {
	case !s.host.IsGroup(local.Addr()):
		return s.udpSocket.bind(local)
	case s.family == unix.AF_INET6:
		return unix.EINVAL
	}
	return unix.EADDRNOTAVAIL
}

// refusesRequest says what is wrong with a request wherever it is to go (ping_common_sendmsg).
func (s *pingSocket) refusesRequest(p []byte, flags int) unix.Errno {
	request := uint8(wire.ICMP4Echo)
	if s.family == unix.AF_INET6 {
		request = uint8(wire.ICMP6Echo)
	}
	switch {
	case len(p) > 0xffff:
		return unix.EMSGSIZE
	case len(p) < wire.ICMP4Len:
		return unix.EINVAL
	case flags&unix.MSG_OOB != 0:
		return unix.EOPNOTSUPP
	case p[0] != request || p[1] != 0:
		return unix.EINVAL
	}
	return 0
}

// connect sets the peer, whose port says nothing but in its name.
func (s *pingSocket) connect(to netip.AddrPort, flags int) unix.Errno {
	return s.connectPortless(to, flags)
}

// connectPortless connects a socket of a protocol without ports.
func (s *udpSocket) connectPortless(to netip.AddrPort, flags int) unix.Errno {
	port := to.Port()
	if to.IsValid() {
		to = netip.AddrPortFrom(to.Addr(), 0)
	}
	errno := s.connect(to, flags)
	if errno == 0 {
		s.peerPort.Store(uint32(port))
	}
	return errno
}

// portlessPeer is the peer with the port that connect named, which says nothing. Without one it is ENOTCONN (inet_getname).
func (s *udpSocket) portlessPeer() (netip.AddrPort, unix.Errno) {
	peer, port := s.d.peer(), uint16(s.peerPort.Load())
	if !peer.IsValid() || port == 0 {
		return netip.AddrPort{}, unix.ENOTCONN
	}
	return s.shown(netip.AddrPortFrom(peer.Addr(), port)), 0
}

func (s *pingSocket) peerName() (netip.AddrPort, unix.Errno) { return s.portlessPeer() }
