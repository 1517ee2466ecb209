package socketapi

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: tcp(7) on urgent data, sockatmark(3); tcp_recv_urg and tcp_ioctl in net/ipv4/tcp.c.

// tryWriteUrgent is tryWrite with MSG_OOB: the last byte is urgent. The core must not send it before it knows that.
func (s *stream) tryWriteUrgent(p []byte) (n int, errno unix.Errno) {
	s.writing.Lock()
	defer s.writing.Unlock()
	gone := s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
		var tell bool
		if n, errno, tell = conn.Write(p); n > 0 {
			conn.MarkUrgent(now)
		}
		if tell {
			conn.Kick(now)
		}
		return 0
	})
	if gone != 0 {
		return 0, gone
	}
	return n, errno
}

// recvUrgent takes the urgent byte. It never waits, and a socket without a connection has none like any other without.
func (s *tcpSocket) recvUrgent(conn *stream, p []byte, flags int) (r received, errno unix.Errno) {
	if conn == nil {
		return r, s.without(unix.EINVAL)
	}
	if errno = conn.begin(); errno != 0 {
		return r, errno
	}
	defer conn.leave()
	conn.reading.Lock()
	defer conn.reading.Unlock()
	b, ok, errno := conn.conn.Urgent(flags&unix.MSG_PEEK != 0)
	switch {
	case !ok:
	case len(p) == 0:
		r.flags = unix.MSG_OOB | unix.MSG_TRUNC
	default:
		r.n, r.flags = 1, unix.MSG_OOB
		if flags&unix.MSG_TRUNC == 0 {
			p[0] = b
		}
	}
	return r, errno
}

// Sockatmark says whether what is read next from a stream is at the mark of urgent data (SIOCATMARK).
func (t *Table) Sockatmark(fd int) (bool, error) {
	f := t.lookup(fd)
	if f == nil {
		return false, unix.EBADF
	}
	if f.kernel != nil {
		n, err := t.IoctlGetInt(fd, unix.SIOCATMARK)
		return n != 0, err
	}
	s, ok := f.socket.(*tcpSocket)
	if !ok {
		return false, unix.ENOTTY
	}
	at, errno := s.atMark()
	return at, failure(errno)
}

func (s *tcpSocket) atMark() (bool, unix.Errno) {
	conn := s.conn.Load()
	if conn == nil {
		return false, 0
	}
	if errno := conn.begin(); errno != 0 {
		return false, errno
	}
	defer conn.leave()
	return conn.conn.AtMark(), 0
}
