package socketapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// coreFor is the core that datagrams for a destination leave by, always the same one so
// that they stay in order.
func (s *datagram) coreFor(to netip.AddrPort) int {
	n := len(s.ends)
	if n == 1 {
		return 0
	}
	a := to.Addr().As16()
	h := binary.LittleEndian.Uint64(a[8:]) ^ uint64(to.Port())<<48
	h *= 0x9e3779b97f4a7c15
	return int(h >> 33 % uint64(n))
}

// A message is what one send says. A destination that is not valid is the peer.
type message struct {
	udp.Message
	frame *proto.LinkMessage // of a packet socket, instead of the above
}

// send sends one datagram. MSG_DONTWAIT does not wait for room in the queue, MSG_PROBE only says whether there is a way.
func (s *datagram) send(m *message, flags int, until mono.Time) unix.Errno {
	if errno := s.begin(); errno != 0 {
		return errno
	}
	defer s.leave()
	switch {
	case s.write.passed(s.host.Clock()):
		return unix.EAGAIN
	case s.host.Closed():
		return unix.ENETDOWN
	}
	if m.frame == nil && !m.To.IsValid() {
		if m.To = s.peer(); !m.To.IsValid() {
			return unix.EDESTADDRREQ
		}
	}
	if (s.soErr.Peek() != 0 || s.sendShut.Load()) && !s.heedless.Load() {
		if errno := s.wayTo(m); errno != 0 {
			return errno // which Linux finds first
		}
		if errno := unix.Errno(s.soErr.Take()); errno != 0 {
			return errno
		}
	}
	if s.sendShut.Load() && !s.heedless.Load() {
		return unix.EPIPE
	}
	i := 0 // frames are sent by one core, so that they stay in order
	if m.frame == nil {
		i = s.coreFor(m.To)
	}
	for {
		if m.frame == nil && !s.placed.Load() {
			if errno := s.bound(); errno != 0 {
				return errno
			}
		}
		if m.frame == nil && flags&msgProbe != 0 {
			return s.wayTo(m) // it is not sent (Linux: ip_make_skb, __ip6_append_data)
		}
		errno := s.offer(i, m)
		if errno == errUnplaced {
			continue
		}
		if errno != unix.EAGAIN || flags&unix.MSG_DONTWAIT != 0 {
			return errno
		}
		if errno := s.wait(ring.Out, need{call: true, bytes: m.packetLen(), core: i + 1}, &s.write, until); errno != 0 {
			return errno
		}
	}
}

// wayTo says whether there is no way to where a message is to go.
func (s *datagram) wayTo(m *message) unix.Errno {
	switch {
	case m.frame != nil:
		return 0
	case m.To.Port() == 0 && s.protocol == wire.ProtoUDP && !s.raw && m.To != s.peer():
		return unix.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil {
		return 0
	}
	if _, errno := s.sourceFor(m.To); errno != 0 {
		return errno
	}
	if a := m.To.Addr(); a.Is4() && !a.IsMulticast() && s.host.IsGroup(a) {
		c := s.host.Cores()[0]
		c.Lock()
		defer c.Unlock()
		if !s.ends[0].Broadcast {
			return unix.EACCES
		}
	}
	return 0
}

// msgProbe is MSG_PROBE, which golang.org/x/sys/unix does not know (include/linux/socket.h).
const msgProbe = 0x10

// errUnplaced is no errno of the kernel: the socket has just lost its port, and the sender
// takes another.
const errUnplaced = unix.Errno(1 << 16)

// packetLen is at least the length of the packet that a message is sent in, which is what the
// send queue counts.
func (m *message) packetLen() int { return wire.IPv6Len + wire.UDPLen + len(m.Payload) }

// offer sends a datagram by a core, or queues it there if the device is full. It is EAGAIN
// if that has no room, and ENOBUFS if the core has no memory left.
func (s *datagram) offer(i int, m *message) unix.Errno {
	c := s.host.Cores()[i]
	c.Lock()
	var port int
	var errno unix.Errno
	switch {
	case m.frame != nil:
		port, errno = c.Stack.OfferFrame(s.ends[i], m.frame)
	case !s.ends[i].Local.IsValid(): // disconnected since the look at placed
		c.Unlock()
		return errUnplaced
	default:
		port, errno = c.Stack.OfferMessage(s.protocol, s.ends[i], &m.Message, c.Now())
	}
	if port >= 0 {
		c.Send(port)
		if settled := c.Stack.Settle(); errno == 0 {
			errno = settled
		}
	}
	if errno == unix.EAGAIN && s.ends[i].Send.Room(m.packetLen()) {
		errno = unix.ENOBUFS
	}
	waits := s.ends[i].Send.Len() > 0 || c.Stack.Cutting() || !c.Stack.Wakes.Empty()
	c.Unlock()
	if waits {
		c.Attention() // what could not be sent, or is news to somebody, is somebody's work now
	}
	return errno
}

// receive takes one datagram, or with MSG_PEEK looks at it, and says how long it is and from
// where. A length beyond len(p) was cut off.
func (s *datagram) receive(p []byte, flags int, until mono.Time) (m ring.Datagram, n int, errno unix.Errno) {
	if errno := s.begin(); errno != 0 {
		return m, 0, errno
	}
	defer s.leave()
	if s.read.passed(s.host.Clock()) {
		return m, 0, unix.EAGAIN
	}
	for {
		if errno := unix.Errno(s.soErr.Take()); errno != 0 {
			return m, 0, errno
		}
		if s.reported() {
			return m, 0, errReported
		}
		var ok bool
		if n, ok = s.take(&m, p, flags); ok {
			return m, n, 0
		}
		switch {
		case flags&unix.MSG_DONTWAIT != 0:
			return m, 0, s.again(unix.EAGAIN)
		case s.readShut.Load():
			return m, 0, 0
		}
		if errno := s.wait(ring.In, need{call: true}, &s.read, until); errno != 0 {
			return m, 0, errno
		}
	}
}

// receiveMessage is receive in the words of recvmsg(2).
func (s *datagram) receiveMessage(p []byte, flags int, until mono.Time) (r received, errno unix.Errno) {
	r.m, r.n, errno = s.receive(p, flags, until)
	r.from = r.m.From
	if r.m.Len > r.n {
		r.flags = unix.MSG_TRUNC
		if flags&unix.MSG_TRUNC != 0 {
			r.n = r.m.Len
		}
	}
	return r, errno
}

// take takes the oldest datagram of a core that has one. What is looked at is what the next call
// takes, unless looks have an offset (SO_PEEK_OFF).
func (s *datagram) take(m *ring.Datagram, p []byte, flags int) (n int, ok bool) {
	s.recv.Lock()
	defer s.recv.Unlock()
	peek := flags&unix.MSG_PEEK != 0
	if off := s.peekOff.at(); off >= 0 {
		if peek {
			return s.look(m, p, flags, off)
		}
		defer func() {
			if ok {
				s.peekOff.moved(told(m, n, flags), false)
			}
		}()
	}
	for range s.ends {
		i := s.recv.next
		n, ok = s.ends[i].Recv.Get(m, p, peek)
		if !ok || !peek {
			if s.recv.next++; s.recv.next == len(s.ends) {
				s.recv.next = 0
			}
		}
		if ok {
			s.overflowed(i, m)
			return n, true
		}
	}
	return 0, false
}

// look looks at the datagrams of the cores from a byte on. A datagram that is seen from inside of it counts for its rest. recv's lock is
// held.
func (s *datagram) look(m *ring.Datagram, p []byte, flags, off int) (n int, ok bool) {
	for i := range s.ends {
		core := (s.recv.next + i) % len(s.ends)
		var into int
		if n, into, ok = s.ends[core].Recv.Look(m, p, off); !ok {
			off = into
			continue
		}
		said := told(m, n, flags)
		s.peekOff.moved(said, true)
		s.overflowed(core, m)
		if len(p) > m.Len-into { // it is not cut off (udp_recvmsg)
			n, m.Len = said, said
		}
		return n, true
	}
	return 0, false
}

// told is the length that a receive says of a datagram.
func told(m *ring.Datagram, n, flags int) int {
	if flags&unix.MSG_TRUNC != 0 {
		return m.Len
	}
	return n
}

// overflowed makes the number of datagrams that one core has lost that of the socket, as far as its
// program has come with the others'. recv's lock is held.
func (s *datagram) overflowed(core int, m *ring.Datagram) {
	if len(s.ends) == 1 {
		return
	}
	s.recv.dropped[core] = m.Dropped
	m.Dropped = 0
	for _, n := range s.recv.dropped {
		m.Dropped += n
	}
}
