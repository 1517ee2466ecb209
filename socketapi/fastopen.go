package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: tcp(7) on TCP_FASTOPEN, TCP_FASTOPEN_CONNECT and MSG_FASTOPEN; tcp_sendmsg_fastopen in net/ipv4/tcp.c.

// fastOptions are the options of Fast Open.
type fastOptions struct {
	queue   int // TCP_FASTOPEN
	connect bool
	keys    [][tcp.FastOpenKeyLen]byte
}

// fastOpen is what a connect has to do with Fast Open; nil: nothing.
type fastOpen struct {
	later bool   // the SYN may wait for the first write
	data  []byte // what may go with it

	waits bool // it does
	n     int  // so much of the data will go with it
}

// connect begins a connection. The core's lock is held.
func (f *fastOpen) connect(t *tcp.TCP, local, remote netip.AddrPort, opt tcp.Options, now mono.Time) (c *tcp.Conn, errno unix.Errno) {
	switch {
	case f == nil:
		return t.Connect(local, remote, opt, now)
	case f.later:
		c, f.waits, errno = t.ConnectLater(local, remote, opt, now)
	default:
		c, f.n, errno = t.ConnectData(local, remote, opt, f.data, now)
	}
	return c, errno
}

// later is what a plain connect has to do with it.
func (s *tcpSocket) later() *fastOpen {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fast.connect {
		return nil
	}
	return &fastOpen{later: true}
}

// sendFast is connect and send in one (MSG_FASTOPEN). Where the peer has given no cookie yet, it is the one after the other.
func (s *tcpSocket) sendFast(p []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if !to.IsValid() && s.conn.Load() == nil {
		return 0, s.without(unix.EINVAL)
	}
	fast := &fastOpen{data: p}
	conn, unfinished, errno := s.begin(to, fast)
	switch {
	case errno != 0:
		return 0, errno
	case unfinished == unix.EALREADY:
		return 0, unfinished
	case flags&unix.MSG_DONTWAIT != 0 && fast.n > 0:
		return fast.n, 0
	case flags&unix.MSG_DONTWAIT != 0:
		return 0, unfinished
	}
	if errno = s.finish(conn, unfinished, flags); errno != 0 {
		return 0, errno
	}
	if fast.n == len(p) && fast.n > 0 {
		return fast.n, 0
	}
	n, errno := conn.write(p[fast.n:], flags&^unix.MSG_FASTOPEN, s.sndTimeo.until(s.host))
	if fast.n > 0 {
		errno = 0 // the next call's
	}
	return fast.n + n, errno
}

// fastOpen tells the cores how many connections may be pending: no more than may wait to be accepted.
func (l *listener) fastOpen(f *fastOptions, backlog int) {
	for i, end := range l.ends {
		c := l.host.Cores()[i]
		c.Lock()
		end.SetFastOpen(min(f.queue, backlog), f.keys)
		c.Unlock()
	}
}

// fresh says whether there is no connection and no attempt to make one.
func (s *tcpSocket) fresh() bool { return s.conn.Load() == nil }

func getFastOpen(s socket, v *value) unix.Errno {
	v.n = s.(*tcpSocket).fast.queue
	return 0
}

func setFastOpen(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	if v.n < 0 || !t.fresh() {
		return unix.EINVAL
	}
	t.fast.queue = t.host.Backlog(v.n)
	return 0
}

func getFastConnect(s socket, v *value) unix.Errno {
	v.n = number(s.(*tcpSocket).fast.connect)
	return 0
}

func setFastConnect(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	if v.n < 0 || v.n > 1 || !t.fresh() || t.listener.Load() != nil {
		return unix.EINVAL
	}
	t.fast.connect = v.n != 0
	return 0
}

func getFastNoCookie(s socket, v *value) unix.Errno {
	v.n = number(s.(*tcpSocket).opt.FastOpenNoCookie)
	return 0
}

func setFastNoCookie(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	if v.n < 0 || v.n > 1 || !t.fresh() {
		return unix.EINVAL
	}
	t.opt.FastOpenNoCookie = v.n != 0
	return 0
}

// A key is 16 bytes, or 32: then the second half is of the key before, whose cookies are taken still.
func getFastKey(s socket, v *value) unix.Errno {
	v.text = ""
	for _, k := range s.(*tcpSocket).fast.keys {
		v.text += string(k[:])
	}
	return 0
}

func setFastKey(s socket, v *value) unix.Errno {
	const size = tcp.FastOpenKeyLen
	if len(v.text) != size && len(v.text) != 2*size {
		return unix.EINVAL
	}
	t := s.(*tcpSocket)
	t.fast.keys = nil
	for k := []byte(v.text); len(k) > 0; k = k[size:] {
		t.fast.keys = append(t.fast.keys, [size]byte(k))
	}
	return 0
}
