package socketapi

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: readv(2), sendmmsg(2), recvmmsg(2); ___sys_sendmmsg and do_recvmmsg in net/socket.c.

// iovecsMax is UIO_MAXIOV: more pieces, or messages of one call, are EINVAL, or as many of them.
const iovecsMax = 1024

// scratchLen is as long as a datagram can be.
const scratchLen = 1 << 16

// scratches are where messages are put together and taken apart.
var scratches = sync.Pool{New: func() any { return new([scratchLen]byte) }}

// Readv is Read into pieces, each filled before the next. Of no room at all it takes nothing, not even an empty datagram.
func (t *Table) Readv(fd int, iovs [][]byte) (n int, err error) {
	if len(iovs) > iovecsMax {
		return -1, unix.EINVAL
	}
	f := t.lookup(fd)
	switch {
	case !f.ours():
		return f.other().readv(iovs)
	case sum(iovs) == 0:
		return 0, nil // as read(2) of nothing
	}
	if s, ok := f.socket.(*tcpSocket); ok {
		r, errno := s.recvPieces(iovs, f.flags(0))
		if errno != 0 {
			return -1, errno
		}
		return r.n, nil
	}
	n, _, _, _, err = t.recvmsgBuffers(f, iovs, nil, 0)
	return n, err
}

// Writev is Write of pieces, as if they were one; of nothing it sends nothing, not even an empty datagram.
func (t *Table) Writev(fd int, iovs [][]byte) (n int, err error) {
	if len(iovs) > iovecsMax {
		return -1, unix.EINVAL
	}
	f := t.lookup(fd)
	switch {
	case !f.ours():
		return f.other().writev(iovs)
	case sum(iovs) == 0:
		return 0, nil
	}
	return t.sendPieces(f, iovs, nil, nil, 0)
}

func sum(buffers [][]byte) (n int) {
	for _, b := range buffers {
		n += min(len(b), rwCountMax) // so that it cannot pass the largest int
	}
	return n
}

// rwCountMax is MAX_RW_COUNT, what the kernel reads or writes in a call at most. iovecsMax times of it are less than an
// int of 64 bits has.
const rwCountMax = 1<<31 - 4096

// recvPieces fills one piece after the other, in the time that there is for all of them: it waits until it has what a read of their
// length waits for, and takes what else is there.
func (s *tcpSocket) recvPieces(buffers [][]byte, flags int) (all received, errno unix.Errno) {
	until, least := s.rcvTimeo.until(s.host), 0
	if conn := s.conn.Load(); conn != nil {
		least = conn.least(sum(buffers), flags)
	}
	for _, b := range buffers {
		if len(b) == 0 && len(buffers) > 1 {
			continue
		}
		if all.n > 0 && all.n >= least {
			flags = flags&^unix.MSG_WAITALL | unix.MSG_DONTWAIT
		}
		r, errno := s.recvUntil(b, flags, until, max(min(least-all.n, len(b)), 1))
		if errno != 0 {
			if all.n > 0 {
				s.postpone(errno)
				errno = 0
			}
			return all, errno
		}
		all.n, all.flags, all.m = all.n+r.n, all.flags|r.flags, r.m
		if r.n < len(b) {
			break
		}
	}
	return all, 0
}

// sendPieces sends a message in pieces. A stream takes them one by one; any other message is put together first, and so are
// the first bytes of a stream that are to go with its SYN.
func (t *Table) sendPieces(f *file, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	stream, ok := (*tcpSocket)(nil), false
	if f.ours() {
		stream, ok = f.socket.(*tcpSocket)
	}
	whole := sum(buffers)
	switch {
	case !f.ours():
		return f.other().sendmsg(buffers, oob, to, flags)
	case len(buffers) == 1:
		return t.send(f, buffers[0], oob, to, flags)
	case ok && flags&unix.MSG_FASTOPEN == 0:
		n, errno := stream.sendPieces(buffers, oob, f.flags(flags))
		if errno != 0 {
			return -1, t.failed(f, errno, flags)
		}
		return n, nil
	case whole <= scratchLen:
		p := scratches.Get().(*[scratchLen]byte)
		defer scratches.Put(p)
		return t.send(f, join(p[:0], buffers), oob, to, flags)
	case !ok: // no datagram is so long: what is refused need not be all of it
		return t.send(f, join(make([]byte, 0, scratchLen+1), buffers), oob, to, flags)
	}
	first := join(make([]byte, 0, scratchLen), buffers)
	if n, err = t.send(f, first, oob, to, flags|unix.MSG_MORE); err != nil || n < len(first) {
		return n, err
	}
	m, err := t.sendPieces(f, skip(buffers, n), nil, nil, flags&^unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL)
	if err != nil {
		stream.postpone(err.(unix.Errno))
	}
	return n + max(m, 0), nil
}

// join puts as much of a message behind p as there is capacity for.
func join(p []byte, buffers [][]byte) []byte {
	for _, b := range buffers {
		p = append(p, b[:min(len(b), cap(p)-len(p))]...)
	}
	return p
}

// sendPieces writes pieces, in the time that there is for all of them. Nobody else's bytes come between those that find
// room at once.
func (s *tcpSocket) sendPieces(buffers [][]byte, oob []byte, flags int) (n int, errno unix.Errno) {
	if errno := sendControl(&udp.Message{}, oob, &s.settings); errno != 0 {
		return 0, errno
	}
	conn := s.conn.Load()
	if conn == nil {
		return 0, s.broken(unix.EPIPE)
	}
	until := s.sndTimeo.until(s.host)
	last := len(buffers) - 1
	for last > 0 && len(buffers[last]) == 0 {
		last--
	}
	if flags&unix.MSG_OOB == 0 || last == 0 {
		n, errno = conn.writev(buffers[:last+1], flags, until)
		return n, s.unsent(conn, errno)
	}
	n, errno = conn.writev(buffers[:last], flags&^unix.MSG_OOB|unix.MSG_MORE, until)
	if errno != 0 || n < sum(buffers[:last]) {
		return n, s.unsent(conn, errno)
	}
	m, errno := conn.write(buffers[last], flags, until) // whose last byte is the urgent one
	if n > 0 && errno != 0 {
		conn.postpone(errno)
		errno = 0
	}
	return n + m, s.unsent(conn, errno)
}

// A Message is one of those that Sendmmsg and Recvmmsg move in one call (struct mmsghdr).
type Message struct {
	Buffers [][]byte
	OOB     []byte        // control messages to send, or room for those received
	Addr    unix.Sockaddr // where to, nil: the peer; or who sent it

	N     int // bytes moved
	OOBN  int // bytes of control messages received
	Flags int // MSG_TRUNC, MSG_CTRUNC of one received
}

// Sendmmsg sends messages, each as SendmsgBuffers does, and says how many. It fails if the first does; an
// error of a later one is the result of the call that tries it again.
func (t *Table) Sendmmsg(fd int, messages []Message, flags int) (n int, err error) {
	f := t.lookup(fd)
	if !f.sock() {
		return -1, f.other().why()
	}
	for i := range messages[:min(len(messages), iovecsMax)] {
		m := &messages[i]
		m.N, err = t.sendmsg(f, m.Buffers, m.OOB, m.Addr, flags)
		if err != nil {
			if i > 0 {
				return i, nil
			}
			return -1, err
		}
		n++
	}
	return n, nil
}

// Recvmmsg receives messages, each as RecvmsgBuffers does, and says how many. With MSG_WAITFORONE it waits for
// the first alone. The timeout is looked at after each message, as Linux does: one that does
// not come is waited for however long it takes (SO_RCVTIMEO, MSG_DONTWAIT). What is left of it is written
// back. An error after the first message is the next call's.
func (t *Table) Recvmmsg(fd int, messages []Message, flags int, timeout *unix.Timespec) (n int, err error) {
	d, errno := durationOf(timeout)
	f := t.lookup(fd)
	switch {
	case errno != 0:
		return -1, errno
	case !f.sock():
		return -1, f.other().why()
	}
	end := time.Now().Add(d)
	for i := range messages {
		m := &messages[i]
		m.N, m.OOBN, m.Flags, m.Addr, err = t.recvmsgBuffers(f, m.Buffers, m.OOB, flags&^unix.MSG_WAITFORONE)
		if err != nil {
			if i == 0 {
				return -1, err
			}
			if f.ours() {
				f.postpone(err.(unix.Errno))
			}
			break
		}
		n++
		if flags&unix.MSG_WAITFORONE != 0 {
			flags |= unix.MSG_DONTWAIT
		}
		if d >= 0 {
			left := max(time.Until(end), 0)
			*timeout = unix.NsecToTimespec(int64(left))
			if left == 0 {
				break
			}
		}
	}
	return n, nil
}

// postpone makes an error that was found after something was moved the next call's, if that does not find it itself.
func (f *file) postpone(errno unix.Errno) {
	switch s := f.socket.(type) {
	case *tcpSocket:
		s.postpone(errno)
	case datagramSocket:
		if postponable(errno) {
			s.datagrams().soErr.Set(uint32(errno))
		}
	}
}

func (s *tcpSocket) postpone(errno unix.Errno) {
	if conn := s.conn.Load(); conn != nil {
		conn.postpone(errno)
	}
}

func (s *stream) postpone(errno unix.Errno) {
	if postponable(errno) {
		s.left.Set(uint32(errno))
	}
}

// postponable says whether the next call would not find an error itself.
func postponable(errno unix.Errno) bool {
	switch errno {
	case unix.EAGAIN, unix.EPIPE, unix.ENOTCONN, unix.EBADF, unix.ENETDOWN:
		return false
	}
	return true
}

func (o other) readv(iovs [][]byte) (n int, err error) {
	o = o.plain()
	read := func() (int, error) { return unix.Readv(o.k.fd, iovs) }
	switch {
	case o.errno != 0:
		return -1, o.errno
	case sum(iovs) == 0: // which waits for nothing
		n, err = asks(o, func(int) (int, error) { return read() })
	case o.k.kind != 0:
		n, _, _, _, err = o.recvmsg(iovs, nil, 0)
	default:
		n, err = o.patiently(unix.POLLIN, 0, func() (int, error) { return o.k.now(&o.k.taking, unix.POLLIN, read) })
	}
	if err != nil {
		n = -1
	}
	return n, err
}

func (o other) writev(iovs [][]byte) (n int, err error) {
	o = o.plain()
	write := func() (int, error) { return unix.Writev(o.k.fd, iovs) }
	switch {
	case o.errno != 0:
		return -1, o.errno
	case o.k.kind != 0:
		return o.sendmsg(iovs, nil, nil, 0)
	case sum(iovs) == 0 || !o.k.waits():
		n, err = asks(o, func(int) (int, error) { return write() })
	case o.k.pipe && sum(iovs) > pipeLeast:
		for _, b := range iovs {
			m, err := o.write(b)
			if n += max(m, 0); m < len(b) {
				if n > 0 {
					err = nil
				}
				return n, err
			}
		}
		return n, nil
	default:
		n, err = o.patiently(unix.POLLOUT, 0, func() (int, error) { return o.k.now(&o.k.giving, unix.POLLOUT, write) })
	}
	if err != nil {
		n = -1
	}
	return n, err
}
