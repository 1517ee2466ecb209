package socketapi

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Read first: readv(2), sendmmsg(2), recvmmsg(2); ___sys_sendmmsg and do_recvmmsg in net/socket.c.

// iovecsMax is UIO_MAXIOV: more pieces, or messages of one call, are EINVAL, or as many of them.
const iovecsMax = 1024

// scratchLen is as long as a datagram can be.
const scratchLen = 1 << 16

// scratches are where messages are put together and taken apart.
var scratches = sync.Pool{New: func() any { return new([scratchLen]byte) }}

// Readv is Read into pieces, each filled before the next.
func (t *Table) Readv(fd int, iovs [][]byte) (n int, err error) {
	if len(iovs) > iovecsMax {
		return -1, unix.EINVAL
	}
	f := t.sock(fd)
	switch {
	case f == nil:
		return t.other(fd).readv(iovs)
	case f.common().kind == unix.SOCK_STREAM:
		if sum(iovs) == 0 {
			return 0, nil // as read(2) of nothing
		}
		r, errno := f.recvPieces(iovs, f.flags(0))
		if errno != 0 {
			return -1, errno
		}
		return r.n, nil
	}
	n, _, _, _, err = t.RecvmsgBuffers(fd, iovs, nil, 0)
	return n, err
}

// Writev is Write of pieces, as if they were one; of nothing it sends nothing, not even an empty datagram.
func (t *Table) Writev(fd int, iovs [][]byte) (n int, err error) {
	if len(iovs) > iovecsMax {
		return -1, unix.EINVAL
	}
	f := t.sock(fd)
	switch {
	case f == nil:
		return t.other(fd).writev(iovs)
	case sum(iovs) == 0:
		return 0, nil
	}
	return t.sendPieces(fd, iovs, nil, nil, 0)
}

func sum(buffers [][]byte) (n int) {
	for _, b := range buffers {
		n += len(b)
	}
	return n
}

// recvPieces fills one piece after the other from a stream: the first waits, the others take what
// is there, unless all is waited for.
func (f *file) recvPieces(buffers [][]byte, flags int) (all received, errno unix.Errno) {
	for _, b := range buffers {
		if len(b) == 0 && len(buffers) > 1 {
			continue
		}
		r, errno := f.recv(b, flags)
		if errno != 0 {
			if all.n > 0 {
				f.later(errno)
				errno = 0
			}
			return all, errno
		}
		all.n, all.flags, all.m = all.n+r.n, all.flags|r.flags, r.m
		if r.n < len(b) {
			break
		}
		if flags&unix.MSG_WAITALL == 0 {
			flags |= unix.MSG_DONTWAIT
		}
	}
	return all, 0
}

// sendPieces sends a message in pieces. A stream's are written one by one, each but the last with the
// word that more is to come; a datagram is put together first.
func (t *Table) sendPieces(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	f := t.sock(fd)
	switch {
	case f == nil:
		return t.other(fd).sendmsg(buffers, oob, to, flags)
	case len(buffers) == 1:
		return t.send(fd, buffers[0], oob, to, flags)
	case f.common().kind == unix.SOCK_STREAM && len(buffers) > 0 && flags&unix.MSG_FASTOPEN == 0:
		for i, b := range buffers {
			more := flags
			if i < len(buffers)-1 {
				if len(b) == 0 {
					continue
				}
				more |= unix.MSG_MORE
				more &^= unix.MSG_OOB // the last byte of all is the urgent one
			}
			if n > 0 {
				more |= unix.MSG_NOSIGNAL // it has sent something
			}
			m, err := t.send(fd, b, oob, to, more)
			if err != nil {
				if n > 0 {
					f.later(err.(unix.Errno))
					return n, nil
				}
				return -1, err
			}
			if n += m; m < len(b) {
				break
			}
			oob = nil
		}
		return n, nil
	}
	whole := sum(buffers)
	if whole > scratchLen {
		return t.send(fd, join(buffers), oob, to, flags)
	}
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	at := p[:0]
	for _, b := range buffers {
		at = append(at, b...)
	}
	return t.send(fd, at, oob, to, flags)
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
	if t.lookup(fd) == nil {
		return -1, unix.EBADF
	}
	for i := range messages[:min(len(messages), iovecsMax)] {
		m := &messages[i]
		m.N, err = t.SendmsgBuffers(fd, m.Buffers, m.OOB, m.Addr, flags)
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
	case f == nil:
		return -1, unix.EBADF
	}
	end := time.Now().Add(d)
	for i := range messages[:min(len(messages), iovecsMax)] {
		m := &messages[i]
		m.N, m.OOBN, m.Flags, m.Addr, err = t.RecvmsgBuffers(fd, m.Buffers, m.OOB, flags&^unix.MSG_WAITFORONE)
		if err != nil {
			if i == 0 {
				return -1, err
			}
			if f.socket != nil {
				f.later(err.(unix.Errno))
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

// later makes an error that was found after something was moved the next call's, if that does not find it itself.
func (f *file) later(errno unix.Errno) {
	switch errno {
	case unix.EAGAIN, unix.EPIPE, unix.ENOTCONN, unix.EBADF, unix.ENETDOWN:
		return
	}
	switch s := f.socket.(type) {
	case *tcpSocket:
		if conn := s.conn.Load(); conn != nil {
			conn.left.Set(uint32(errno))
		}
	case datagramSocket:
		s.datagrams().soErr.Set(uint32(errno))
	}
}

func (o other) readv(iovs [][]byte) (n int, err error) {
	o = o.plain()
	if o.errno == 0 && o.k.kind != 0 && sum(iovs) > 0 {
		n, _, _, _, err = o.recvmsg(iovs, nil, 0)
		return n, err
	}
	err = o.do(func(fd int) (err error) {
		if err := o.ready(fd, unix.POLLIN, 0); err != nil {
			return err
		}
		n, err = unix.Readv(fd, iovs)
		return err
	})
	if err != nil {
		n = -1
	}
	return n, err
}

func (o other) writev(iovs [][]byte) (n int, err error) {
	o = o.plain()
	if o.errno == 0 && o.k.kind != 0 {
		return o.sendmsg(iovs, nil, nil, 0)
	}
	err = o.do(func(fd int) (err error) {
		if err := o.ready(fd, unix.POLLOUT, 0); err != nil {
			return err
		}
		n, err = unix.Writev(fd, iovs)
		return err
	})
	if err != nil {
		n = -1
	}
	return n, err
}
