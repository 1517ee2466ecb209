package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: udp(7), ip(7), recv(2).

// A udpSocket is a Berkeley datagram socket.
type udpSocket struct {
	settings
	d *datagram
}

func newUDPSocket(h *host.Host, family int) (*udpSocket, unix.Errno) {
	d, errno := newDatagram(h, wire.ProtoUDP)
	if errno != 0 {
		return nil, errno
	}
	s := &udpSocket{d: d}
	s.host, s.family, s.kind, s.proto = h, family, unix.SOCK_DGRAM, unix.IPPROTO_UDP
	d.any = s.unspecified().Addr()
	return s, 0
}

func (s *udpSocket) common() *settings { return &s.settings }

func (s *udpSocket) bind(local netip.AddrPort) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errno := s.bindable(local.Addr()); errno != 0 {
		return errno
	}
	s.d.only6 = s.only6
	return s.d.bind(local, s.reuseAddr, s.reusePort)
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
	if s.only4(to) {
		return unix.ENETUNREACH
	}
	return s.d.connect(to)
}

const datagramRecvFlags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC | unix.MSG_WAITALL | unix.MSG_NOSIGNAL

// recv takes one datagram. MSG_WAITALL says nothing here, as on Linux.
func (s *udpSocket) recv(p []byte, flags int) (r received, errno unix.Errno) {
	if flags&^datagramRecvFlags != 0 {
		return r, unix.EOPNOTSUPP
	}
	return s.d.receiveMessage(p, flags, s.rcvTimeo.until(s.host))
}

func (s *udpSocket) send(p []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if flags&^sendFlags != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if errno := s.d.send(&message{payload: p, to: to}, flags, s.sndTimeo.until(s.host)); errno != 0 {
		return 0, errno
	}
	return len(p), 0
}

func (s *udpSocket) shutdown(how int) unix.Errno { return s.d.shutdown(how) }

func (s *udpSocket) close() unix.Errno { return s.d.close() }

func (s *udpSocket) name() netip.AddrPort {
	if local := s.d.local(); local.IsValid() {
		return local
	}
	return s.unspecified()
}

func (s *udpSocket) peerName() (netip.AddrPort, unix.Errno) {
	if p := s.d.peer(); p.IsValid() {
		return p, 0
	}
	return netip.AddrPort{}, unix.ENOTCONN
}

func (s *udpSocket) takeError() unix.Errno { return unix.Errno(s.d.soErr.Take()) }

func (s *udpSocket) accepting() bool { return false }

// apply gives the socket's ends what their core looks at.
func (s *udpSocket) apply() unix.Errno {
	s.d.change(func(end *udp.Socket) {
		end.TTL, end.TOS, end.Broadcast = uint8(s.ttl), uint8(s.tos), s.broadcast
	})
	return s.d.resize(&s.settings)
}
