package socketapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/internal/ifreq"
)

// Read first: ioctl(2), tcp(7) and udp(7) on ioctls, ioctl_tty(2) on FIONREAD; sock_ioctl in net/socket.c, tcp_ioctl
// in net/ipv4/tcp.c, udp_ioctl in net/ipv4/udp.c.

// Requests that package unix has no names for (asm-generic/ioctls.h, asm-generic/sockios.h).
const (
	FIONREAD  = 0x541b // SIOCINQ, TIOCINQ
	FIONBIO   = 0x5421
	FIONCLEX  = 0x5450
	FIOCLEX   = 0x5451
	FIOASYNC  = 0x5452
	FIOSETOWN = 0x8901
	FIOGETOWN = 0x8903
)

// intLen is the size of an int of C.
const intLen = 4

// IoctlGetInt is an ioctl that answers with a number: FIONREAD (bytes to read of a stream, the length of the next
// datagram), SIOCOUTQ (bytes that have not been acknowledged, or not been sent of datagrams), SIOCOUTQNSD (bytes of a stream
// that have never been sent), SIOCATMARK,
// SIOCGPGRP and FIOGETOWN.
func (t *Table) IoctlGetInt(fd int, req uint) (int, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (int, error) { return unix.IoctlGetInt(fd, req) })
	}
	var b [intLen]byte
	if err := t.IoctlBytes(fd, req, b[:]); err != nil {
		return 0, err
	}
	return int(int32(binary.NativeEndian.Uint32(b[:]))), nil
}

// IoctlGetUint32 is IoctlGetInt of an unsigned number.
func (t *Table) IoctlGetUint32(fd int, req uint) (uint32, error) {
	n, err := t.IoctlGetInt(fd, req)
	return uint32(n), err
}

// IoctlSetPointerInt is an ioctl that takes a number by its address: FIONBIO and FIOASYNC (0 or not), SIOCSPGRP
// and FIOSETOWN.
func (t *Table) IoctlSetPointerInt(fd int, req uint, value int) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.IoctlSetPointerInt(fd, req, value) })
	}
	var b [intLen]byte
	binary.NativeEndian.PutUint32(b[:], uint32(int32(value)))
	return t.IoctlBytes(fd, req, b[:])
}

// IoctlSetInt is an ioctl that takes a number by itself: FIOCLEX and FIONCLEX, which heed none.
func (t *Table) IoctlSetInt(fd int, req uint, value int) error {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return unix.EBADF
	case (req == FIOCLEX || req == FIONCLEX) && !t.isForeign(fd):
		t.setCloseOnExec(fd, req == FIOCLEX)
		return nil
	case f.kernel != nil:
		return other{k: f.kernel}.do(func(fd int) error { return unix.IoctlSetInt(fd, req, value) })
	case f.socket != nil && ioctlSize(req) > 0:
		return unix.EFAULT // it wants an address
	}
	return unix.ENOTTY
}

// IoctlIfreq is IoctlBytes of a struct ifreq: any SIOCGIF* asks for an interface by its name, SIOCGIFNAME by its index. On a
// socket of the engine's the interfaces are the engine's, of which none can be changed so (EPERM).
func (t *Table) IoctlIfreq(fd int, req uint, value *unix.Ifreq) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.IoctlIfreq(fd, req, value) })
	}
	if value == nil {
		return t.IoctlBytes(fd, req, nil)
	}
	return t.IoctlBytes(fd, req, ifreq.Bytes(value))
}

// IoctlBytes is any of the ioctls of a socket of the engine's, with the structure that the kernel is given
// the address of: four bytes for a number, 40 for a struct ifreq. On others it is ENOTTY: of their requests nobody here knows the size.
func (t *Table) IoctlBytes(fd int, req uint, arg []byte) error {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return unix.EBADF
	case f.epoll != nil:
		return unix.EINVAL // ep_eventpoll_ioctl
	case f.socket == nil || ioctlSize(req) == 0:
		return unix.ENOTTY
	case len(arg) < ioctlSize(req):
		return unix.EFAULT
	case ioctlSize(req) == ifreqLen:
		return failure(t.ioctlInterface(f, req, arg))
	}
	n := int(int32(binary.NativeEndian.Uint32(arg)))
	errno := unix.Errno(0)
	switch req {
	case FIONBIO:
		f.nonblock.Store(n != 0)
		return nil
	case FIOASYNC:
		return failure(f.setAsync(t, n != 0))
	case unix.SIOCSPGRP, FIOSETOWN:
		_, errno = f.fcntl(t, unix.F_SETOWN, n)
		return failure(errno)
	case unix.SIOCGPGRP, FIOGETOWN:
		n, errno = f.fcntl(t, unix.F_GETOWN, 0)
	case FIONREAD:
		n, errno = f.queued()
	case unix.SIOCOUTQ:
		n, errno = f.unsent()
	case unix.SIOCOUTQNSD:
		n, errno = f.unsentYet()
	case unix.SIOCATMARK:
		at, err := t.Sockatmark(fd)
		if err != nil {
			return err
		}
		n = number(at)
	}
	if errno == 0 {
		binary.NativeEndian.PutUint32(arg, uint32(int32(n)))
	}
	return failure(errno)
}

// ioctlSize is how long the structure of a request is, 0: there is no such request.
func ioctlSize(req uint) int {
	switch req {
	case FIONBIO, FIOASYNC, FIONREAD, FIOSETOWN, FIOGETOWN, unix.SIOCSPGRP, unix.SIOCGPGRP, unix.SIOCOUTQ, unix.SIOCOUTQNSD, unix.SIOCATMARK:
		return intLen
	case unix.SIOCGIFADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFBRDADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFFLAGS, unix.SIOCGIFMTU,
		unix.SIOCGIFINDEX, unix.SIOCGIFMETRIC, unix.SIOCGIFHWADDR, unix.SIOCGIFNAME, unix.SIOCGIFTXQLEN, unix.SIOCGIFMAP, unix.SIOCGIFSLAVE, unix.SIOCGIFPFLAGS,
		unix.SIOCSIFADDR, unix.SIOCSIFNETMASK, unix.SIOCSIFBRDADDR, unix.SIOCSIFDSTADDR, unix.SIOCSIFFLAGS, unix.SIOCSIFMTU, unix.SIOCSIFHWADDR, unix.SIOCSIFNAME:
		return ifreqLen
	}
	return 0
}

// queued is how much there is to read: bytes of a stream, or the next datagram (SIOCINQ).
func (f *file) queued() (n int, errno unix.Errno) {
	s, ok := f.socket.(*tcpSocket)
	if !ok && f.common().class() == onPing {
		return 0, unix.ENOTTY // their protocol has no such call (Linux: ping_prot)
	}
	if !ok {
		return f.socket.(datagramSocket).datagrams().nextLen(), 0
	}
	return s.queue(func(c *tcp.Conn) int { return c.Buffered() }) // what came before a reset too
}

// unsent is how much has been written and not been acknowledged, or of datagrams not been sent (SIOCOUTQ).
func (f *file) unsent() (n int, errno unix.Errno) {
	s, ok := f.socket.(*tcpSocket)
	if ok {
		return s.queue(func(c *tcp.Conn) int {
			if c.State() == tcp.Closed {
				return 0
			}
			return c.Unacked()
		})
	}
	for _, end := range f.socket.(datagramSocket).datagrams().ends {
		n += end.Send.Charged()
	}
	return n, 0
}

// unsentYet is how much of what was written to a stream has never been sent (SIOCOUTQNSD).
func (f *file) unsentYet() (n int, errno unix.Errno) {
	s, ok := f.socket.(*tcpSocket)
	if !ok {
		return 0, unix.ENOTTY
	}
	return s.queue(func(c *tcp.Conn) int {
		if c.State() == tcp.Closed {
			return 0
		}
		return c.Unsent()
	})
}

// datagramSocket is a socket that sends and receives datagrams.
type datagramSocket interface{ datagrams() *datagram }

func (s *packetSocket) datagrams() *datagram { return s.d }

// queue asks a connection how full a queue is. A listener has none (EINVAL), and one that is being made or
// was never has nothing in it.
func (s *tcpSocket) queue(of func(*tcp.Conn) int) (n int, errno unix.Errno) {
	if s.listener.Load() != nil {
		return 0, unix.EINVAL
	}
	conn := s.conn.Load()
	if conn == nil {
		return 0, 0
	}
	conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno {
		if state := c.State(); state != tcp.SynSent && state != tcp.SynReceived {
			n = of(c)
		}
		return 0
	})
	return n, 0
}

// nextLen is how long the datagram is that a read would take, 0 if there is none.
func (s *datagram) nextLen() int {
	if s.begin() != 0 {
		return 0
	}
	defer s.leave()
	s.recv.Lock()
	defer s.recv.Unlock()
	var m ring.Datagram
	for i := range s.ends { // the one that take would look at first
		if _, ok := s.ends[(s.recv.next+i)%len(s.ends)].Recv.Get(&m, nil, true); ok {
			return m.Len
		}
	}
	return 0
}
