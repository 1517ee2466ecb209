package socketapi

import (
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: udp(7), ip(7), ipv6(7), recv(2).

// A udpSocket is a Berkeley datagram socket of either family.
type udpSocket struct {
	settings
	d       *datagram
	cork    cork
	segment atomic.Int32 // UDP_SEGMENT

	keys atomic.Uint32 // SOF_TIMESTAMPING_OPT_ID: of the datagram that is sent next

	peerPort atomic.Uint32 // what connect called the peer's port where there are none
}

func newUDPSocket(h *host.Host, family int) (*udpSocket, unix.Errno) {
	s := new(udpSocket)
	return s, s.open(h, family, unix.SOCK_DGRAM, wire.ProtoUDP)
}

// open makes the socket what it is to be.
func (s *udpSocket) open(h *host.Host, family, kind int, protocol wire.Protocol) (errno unix.Errno) {
	s.host, s.family, s.kind, s.proto, s.user = h, family, kind, int(protocol), owner()
	s.multicast4.Joined = family == unix.AF_INET6                    // Linux: inet6_create does not say IP_MULTICAST_ALL
	s.reuseAddr = protocol != wire.ProtoUDP || kind == unix.SOCK_RAW // INET_PROTOSW_REUSE
	if s.d, errno = newDatagram(h, protocol); errno == 0 {
		s.d.any, s.d.only6, s.d.how = s.unspecified().Addr(), s.only6Now(), s.terms()
		s.lookout.at = &s.d.waiting
	}
	return errno
}

func (s *udpSocket) common() *settings { return &s.settings }

// datagrams is what the socket sends and receives by.
func (s *udpSocket) datagrams() *datagram { return s.d }

func (s *udpSocket) bind(local netip.AddrPort) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.family == unix.AF_INET6 && s.class() == onUDP {
		if errno := s.allowed(local); errno != 0 {
			return errno
		}
		if s.d.placed.Load() {
			return unix.EINVAL // before it looks at the address, other than with AF_INET
		}
	}
	if s.tie(local.Addr()) {
		s.apply()
	}
	local = s.onLink(local)
	if errno := s.bindable(local.Addr()); errno != 0 {
		return errno
	}
	errno := s.allowed(local)
	if errno == 0 {
		errno = s.d.bind(local, s.terms())
	}
	if errno == 0 {
		s.only6 = s.only6 || s.class() == onUDP && only6At(local.Addr())
	}
	return errno
}

// terms is what the options say of sharing an address. mu is held, or nobody knows the socket.
func (s *udpSocket) terms() sharing {
	return sharing{
		reuseAddr: s.reuseAddr, reusePort: s.reusePort, user: s.user, ports: s.ports, freeBind: s.freeBind,
		noPort: s.noPort && s.class() == onUDP, six: s.family == unix.AF_INET6,
	}
}

func (s *udpSocket) listen(int) unix.Errno { return s.without() }

func (s *udpSocket) accept(int) (socket, netip.AddrPort, unix.Errno) {
	return nil, netip.AddrPort{}, s.without()
}

// without is the errno of a call that a datagram socket does not have.
func (s *udpSocket) without() unix.Errno {
	if s.d.ended.Load() != 0 {
		return unix.EBADF
	}
	return unix.EOPNOTSUPP
}

func (s *udpSocket) connect(to netip.AddrPort, _ int) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !to.IsValid() {
		errno := s.d.disconnect()
		if errno == 0 && s.device != 0 { // it is the peer's (Linux: __udp_disconnect)
			s.device = 0
			errno = s.apply()
		}
		return errno
	}
	if s.class() != onRaw {
		if errno := s.d.bound(); errno != 0 {
			return errno
		}
	}
	if s.only4(to) {
		return unix.ENETUNREACH
	}
	if a := to.Addr(); a.Is4() && !a.IsMulticast() && !s.broadcast && s.host.IsGroup(a) {
		return unix.EACCES // Linux: __ip4_datagram_connect
	}
	if s.strays(to.Addr()) {
		return unix.EINVAL
	}
	to = s.onThisHost(to)
	tied := s.tie(to.Addr())
	if a := to.Addr(); linkScope(a) && a.IsMulticast() && s.device == 0 && s.multicast6.Port != 0 {
		s.device, tied = int(s.multicast6.Port), true
	}
	if tied {
		s.apply()
	}
	return s.d.connect(s.onLink(to))
}

// onThisHost is a destination, which for the unspecified address is this host: see thisHost.
func (s *udpSocket) onThisHost(to netip.AddrPort) netip.AddrPort {
	if !to.Addr().IsUnspecified() {
		return to
	}
	return s.thisHost(to, s.d.local().Addr())
}

// recv takes one datagram. Flags other than MSG_DONTWAIT, MSG_PEEK and MSG_TRUNC say nothing here, as on
// Linux, but MSG_OOB where it is not UDP (raw_recvmsg, rawv6_recvmsg, ping_recvmsg).
func (s *udpSocket) recv(p []byte, flags int) (r received, errno unix.Errno) {
	if flags&unix.MSG_OOB != 0 && s.class() != onUDP {
		return r, unix.EOPNOTSUPP
	}
	return s.d.receiveMessage(p, flags, s.rcvTimeo.until(s.host))
}

func (s *udpSocket) recvError(p []byte, _ int) (received, udp.ExtendedError, unix.Errno) {
	r, e, errno := s.d.recvError(p)
	if errno != 0 {
		return s.recvCopied(errno)
	}
	return r, e, 0
}

func (s *udpSocket) purgeErrors() { s.d.purgeErrors() }

func (s *udpSocket) send(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if (flags&unix.MSG_MORE != 0 || s.cork.waits()) && flags&msgProbe == 0 {
		return s.sendCorked(p, oob, to, flags)
	}
	return s.sendMessage(p, oob, to, flags)
}

// refuses says why a datagram cannot be sent with some flags. There are no urgent datagrams, though with UDP over IPv6 the
// flag is passed over; one that is to meet no router has to have a peer on the link, which IPv6 does not ask. Flags that say
// nothing are passed over. All of it is as on Linux.
func (s *udpSocket) refuses(flags int, to netip.AddrPort) unix.Errno {
	if flags&(unix.MSG_OOB|unix.MSG_DONTROUTE) == 0 {
		return 0
	}
	if !to.IsValid() {
		to = s.d.peer()
	}
	four := s.family == unix.AF_INET || to.Addr().Is4()
	switch {
	case flags&unix.MSG_OOB != 0 && (four || s.class() != onUDP):
		return unix.EOPNOTSUPP
	case flags&unix.MSG_DONTROUTE != 0 && four && to.IsValid() && !s.d.onLink(s.onThisHost(to).Addr()):
		return unix.ENETUNREACH
	}
	return 0
}

// sendMessage sends one datagram of what p says in the words of the socket's protocol.
func (s *udpSocket) sendMessage(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if errno := s.refuses(flags, to); errno != 0 {
		return 0, errno
	}
	m := message{Message: udp.Message{Payload: p}}
	if errno := s.address(&m, oob, to); errno != 0 {
		return 0, errno
	}
	if errno := s.dispatch(&m, flags); errno != 0 {
		return 0, errno
	}
	return len(p), 0
}

// dispatch sends a message. One whose sending is to be heard of has the next number of those that are.
func (s *udpSocket) dispatch(m *message, flags int) unix.Errno {
	keyed := m.Stamp&udp.StampAny != 0 && s.stamps.Load()&stampKeys != 0
	if keyed {
		m.Key = s.keys.Add(1) - 1
	}
	errno := s.d.send(m, flags, s.sndTimeo.until(s.host))
	if errno != 0 && keyed {
		s.keys.Add(^uint32(0))
	}
	return errno
}

// address says where a message goes, and how. Port 0 is no destination, but may be a peer's (udp_sendmsg of Linux).
func (s *udpSocket) address(m *message, oob []byte, to netip.AddrPort) unix.Errno {
	switch {
	case !to.IsValid():
		to = s.d.peer()
	case to.Port() == 0 && s.class() == onUDP:
		return unix.EINVAL
	}
	m.To = s.onThisHost(to)
	m.Stamp = udp.Stamp(s.stamps.Load())
	if to.IsValid() && to.Addr().Is4() && s.family == unix.AF_INET6 {
		s.mu.Lock()
		only := s.only6Now()
		s.mu.Unlock()
		if only {
			return unix.ENETUNREACH
		}
		if s.d.atMappedGroup() {
			return unix.EINVAL
		}
	}
	if len(oob) == 0 {
		return 0
	}
	errno := unix.Errno(0)
	if s.class() == onUDP {
		errno = sendControlUDP(&m.Message, oob)
	}
	if errno == 0 {
		errno = sendControl(&m.Message, oob, &s.settings)
	}
	if a := to.Addr(); errno == 0 && a.Is4() && a.IsUnspecified() && m.Source.IsValid() {
		m.To = s.thisHost(to, m.Source)
	}
	return errno
}

func (s *udpSocket) shutdown(how int) unix.Errno { return s.d.shutdown(how) }

func (s *udpSocket) close() unix.Errno { return s.d.close() }

func (s *udpSocket) name() netip.AddrPort {
	if local := s.d.local(); local.IsValid() {
		return s.shown(local)
	}
	return s.unspecified()
}

func (s *udpSocket) peerName() (netip.AddrPort, unix.Errno) {
	if p := s.d.peer(); p.IsValid() && p.Port() != 0 { // inet_getname
		return s.shown(p), 0
	}
	return netip.AddrPort{}, unix.ENOTCONN
}

func (s *udpSocket) peer() netip.AddrPort { return s.d.peer() }

func (s *udpSocket) takeError() unix.Errno { return unix.Errno(s.d.soErr.Take()) }

func (s *udpSocket) accepting() bool { return false }

func (s *udpSocket) placed() bool { return s.d.placed.Load() }

// apply gives the socket's ends what their core looks at.
func (s *udpSocket) apply() unix.Errno {
	s.d.change(func(end *udp.Socket) {
		end.TTL, end.TOS, end.Broadcast = uint8(s.ttl), uint8(s.tos), s.broadcast
		end.HopLimit, end.HasHops, end.TClass = uint8(s.hops), s.hasHops, uint8(s.tclass)
		end.NoCheck, end.ReusePort, end.Device = s.noCheck, s.reusePort, uint32(s.device)
		end.NoCheck6, end.TakesNoSum, end.DontRoute = s.noCheck6, s.takesNoSum, s.dontRoute
		end.DontFragment, end.MTU6 = s.dontFragment, s.mtu6
		end.Discover, end.Discover6, end.Segment = s.discover, s.discover6, int(s.segment.Load())
		end.RecvErr, end.RecvErr6 = s.recvErr, s.recvErr6
		if gro := s.wants.has(wantGRO); gro != (end.GRO != nil) {
			end.GRO = nil
			if gro {
				end.GRO = new(udp.GRO)
			}
		}
		end.Multicast4, end.Multicast6 = s.multicast4, s.multicast6
	})
	s.d.setOnly6(s.only6Now())
	s.d.share(s.terms(), uint32(s.device))
	return s.d.resize(&s.settings)
}
