package socketapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: packet(7).
//
// A packet socket sees what the engine's interfaces carry for the engine: of a NIC that is
// shared with the kernel, what goes to the kernel is not among it.

// A packetSocket is a Berkeley packet socket, SOCK_RAW or SOCK_DGRAM.
type packetSocket struct {
	settings
	d       *datagram
	link    udp.Link  // what its ends are told; guarded by mu
	counted []counted // by core, what PACKET_STATISTICS has said already; guarded by mu
}

// counted is how many frames there were for a socket, and how many of them it had no room for.
type counted struct{ seen, dropped uint64 }

// newPacketSocket makes a socket of either kind. It is EPERM for a thread without CAP_NET_RAW, whatever kind it asks for (packet_create).
func newPacketSocket(h *host.Host, kind int, typ wire.EtherType) (*packetSocket, unix.Errno) {
	if !host.Capable(unix.CAP_NET_RAW) {
		return nil, unix.EPERM
	}
	if kind != unix.SOCK_RAW && kind != unix.SOCK_DGRAM {
		return nil, unix.ESOCKTNOSUPPORT
	}
	d, errno := newDatagram(h, 0)
	if errno != 0 {
		return nil, errno
	}
	s := &packetSocket{d: d, link: udp.Link{Type: typ, Port: -1, Cooked: kind == unix.SOCK_DGRAM}}
	s.host, s.family, s.kind, s.proto = h, unix.AF_PACKET, kind, int(networkOrder(uint16(typ)))
	s.counted = make([]counted, len(h.Cores()))
	s.lookout.at = &d.waiting
	s.watch()
	return s, 0
}

// networkOrder is a number between the order of this machine and that of the network, which
// sll_protocol and the protocol of socket(2) are in.
func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

// watch tells the socket's ends what they take. mu is held, or nobody knows the socket.
func (s *packetSocket) watch() {
	for i, c := range s.host.Cores() {
		c.Lock()
		link := s.link
		c.Stack.RemovePacketSocket(s.d.ends[i])
		s.d.ends[i].Link = &link
		if link.Type != 0 {
			c.Stack.AddPacketSocket(s.d.ends[i])
		}
		c.Unlock()
	}
}

func (s *packetSocket) common() *settings { return &s.settings }

// bindLink takes frames of one type and one interface. It is ENODEV if there is no such one.
func (s *packetSocket) bindLink(sa unix.Sockaddr) unix.Errno {
	to, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return unix.EINVAL
	}
	port, errno := s.portOf(to.Ifindex, -1)
	if errno != 0 {
		return unix.ENODEV
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	s.link.Port = port
	if to.Protocol != 0 {
		s.link.Type = wire.EtherType(networkOrder(to.Protocol))
	}
	s.watch()
	return 0
}

// portOf is the port of an interface; the index 0 is otherwise.
func (s *packetSocket) portOf(index, otherwise int) (port int, errno unix.Errno) {
	if index == 0 {
		return otherwise, 0
	}
	port, ok := s.host.PortOf(index)
	if !ok {
		return -1, unix.ENXIO
	}
	return port, 0
}

// sendLink sends a frame, or what comes behind the header of one. The interface is that of the
// address or, without one, that which the socket is bound to.
func (s *packetSocket) sendLink(p, oob []byte, sa unix.Sockaddr, flags int) (int, unix.Errno) {
	if errno := sendControl(&udp.Message{}, oob, &s.settings); errno != 0 {
		return 0, errno
	}
	s.mu.Lock()
	link := s.link
	s.mu.Unlock()
	frame := proto.LinkMessage{Port: link.Port, Type: link.Type, Payload: p}
	switch to := sa.(type) {
	case nil:
		if link.Cooked && link.Port >= 0 && !s.headless(link.Port) {
			return 0, unix.EINVAL // it does not say whom to
		}
	case *unix.SockaddrLinklayer:
		if int(to.Halen) > len(to.Addr) {
			return 0, unix.EINVAL
		}
		port, errno := s.portOf(to.Ifindex, -1)
		if errno != 0 {
			return 0, errno
		}
		frame.Port, frame.Type = port, wire.EtherType(networkOrder(to.Protocol))
		copy(frame.To[:], to.Addr[:])
	default:
		return 0, unix.EINVAL
	}
	if frame.Port < 0 {
		return 0, unix.ENXIO
	}
	if errno := s.d.send(&message{Message: udp.Message{Payload: p}, frame: &frame}, flags, s.sndTimeo.until(s.host)); errno != 0 {
		return 0, errno
	}
	return len(p), 0
}

// headless says whether the frames of a port have no link header.
func (s *packetSocket) headless(port int) bool { return s.host.Cores()[0].Stack.Port(port).RawIP }

const packetRecvFlags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC

func (s *packetSocket) recv(p []byte, flags int) (r received, errno unix.Errno) {
	if flags&^packetRecvFlags != 0 {
		return r, unix.EINVAL
	}
	return s.d.receiveMessage(p, flags, s.rcvTimeo.until(s.host))
}

// recvError has nothing: no frame is reported on.
func (s *packetSocket) recvError([]byte, int) (r received, e udp.ExtendedError, errno unix.Errno) {
	return r, e, unix.EAGAIN
}

// sender is the address of who sent a frame.
func (s *packetSocket) sender(m *ring.Datagram) *unix.SockaddrLinklayer {
	sa := s.linkAddress(int(m.Iface))
	sa.Protocol, sa.Pkttype = networkOrder(m.From.Port()), m.TTL
	mac := m.From.Addr().As16()
	copy(sa.Addr[:sa.Halen], mac[:])
	return sa
}

// nameLink is what the socket is bound to.
func (s *packetSocket) nameLink() *unix.SockaddrLinklayer {
	s.mu.Lock()
	defer s.mu.Unlock()
	sa := &unix.SockaddrLinklayer{}
	if s.link.Port >= 0 {
		sa = s.linkAddress(s.link.Port)
	}
	sa.Protocol = networkOrder(uint16(s.link.Type))
	return sa
}

// linkAddress is the address of a port.
func (s *packetSocket) linkAddress(port int) *unix.SockaddrLinklayer {
	c := s.host.Cores()[0].Stack.Port(port)
	sa := &unix.SockaddrLinklayer{Ifindex: s.host.Index(port), Hatype: unix.ARPHRD_NONE}
	if !c.RawIP {
		sa.Hatype, sa.Halen = unix.ARPHRD_ETHER, uint8(len(c.MAC))
		copy(sa.Addr[:], c.MAC[:])
	}
	return sa
}

func (s *packetSocket) close() unix.Errno {
	for i, c := range s.host.Cores() {
		c.Lock()
		c.Stack.RemovePacketSocket(s.d.ends[i])
		c.Unlock()
	}
	return s.d.close()
}

func (s *packetSocket) takeError() unix.Errno { return unix.Errno(s.d.soErr.Take()) }
func (s *packetSocket) accepting() bool       { return false }
func (s *packetSocket) placed() bool          { return false }
func (s *packetSocket) apply() unix.Errno     { return s.d.resize(&s.settings) }

// What a packet socket does not have. The table asks it for names by the calls above.

func (s *packetSocket) without() unix.Errno {
	if s.d.ended.Load() != 0 {
		return unix.EBADF
	}
	return unix.EOPNOTSUPP
}
func (s *packetSocket) bind(netip.AddrPort) unix.Errno         { return unix.EINVAL }
func (s *packetSocket) listen(int) unix.Errno                  { return s.without() }
func (s *packetSocket) connect(netip.AddrPort, int) unix.Errno { return s.without() }
func (s *packetSocket) shutdown(int) unix.Errno                { return s.without() }
func (s *packetSocket) name() netip.AddrPort                   { return netip.AddrPort{} }
func (s *packetSocket) accept(int) (socket, netip.AddrPort, unix.Errno) {
	return nil, netip.AddrPort{}, s.without()
}
func (s *packetSocket) peerName() (netip.AddrPort, unix.Errno) {
	return netip.AddrPort{}, s.without()
}
func (s *packetSocket) send([]byte, []byte, netip.AddrPort, int) (int, unix.Errno) {
	return 0, s.without()
}
