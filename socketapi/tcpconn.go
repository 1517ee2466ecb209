package socketapi

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A TCPConn is a TCP connection as package net has them.
type TCPConn struct {
	conn
	s      *stream
	writes sync.Mutex // held for a whole Write, so that two do not mix
}

var (
	_ net.Conn      = (*TCPConn)(nil)
	_ io.ReaderFrom = (*TCPConn)(nil)
	_ io.WriterTo   = (*TCPConn)(nil)
)

// newTCPConn makes a connection of a socket that need not be connected yet.
func newTCPConn(st *Stack, network string, sock *tcpSocket) *TCPConn {
	c := new(TCPConn)
	c.init(st, network, sock)
	return c
}

// connected says that the socket is.
func (c *TCPConn) connected(s *stream) *TCPConn {
	c.s, c.wait, c.local, c.remote = s, &s.waiting, c.st.named(s.local), c.st.named(s.remote)
	c.addrs.Store(nil) // Control of a Dialer may have asked before
	return c
}

// Read implements net.Conn.
func (c *TCPConn) Read(p []byte) (int, error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	if len(p) == 0 {
		return 0, c.nothing("read")
	}
	n, errno := c.s.read(p, 0, mono.Never)
	switch {
	case errno != 0:
		return n, c.fail("read", "read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn: it returns when all of p is in the send buffer.
func (c *TCPConn) Write(p []byte) (n int, err error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	c.writes.Lock()
	defer c.writes.Unlock()
	for {
		m, errno := c.s.write(p[n:], 0, mono.Never)
		n += m
		switch {
		case errno != 0:
			return n, c.fail("write", "write", errno)
		case n == len(p):
			return n, nil
		}
	}
}

// ReadFrom implements io.ReaderFrom: it writes what it reads from r, until the end of that.
func (c *TCPConn) ReadFrom(r io.Reader) (n int64, err error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	n, err = io.CopyBuffer(struct{ io.Writer }{c}, r, p[:])
	return n, c.wrap("readfrom", err)
}

// WriteTo implements io.WriterTo: it writes to w what it reads, until the peer's end.
func (c *TCPConn) WriteTo(w io.Writer) (n int64, err error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	n, err = io.CopyBuffer(w, struct{ io.Reader }{c}, p[:])
	return n, c.wrap("writeto", err)
}

func (c *TCPConn) wrap(op string, err error) error {
	if err != nil && err != io.EOF {
		return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	}
	return err
}

// CloseRead ends the reading side.
func (c *TCPConn) CloseRead() error { return c.shutdown(unix.SHUT_RD) }

// CloseWrite ends the writing side: the peer reads the end of the stream after what
// was written.
func (c *TCPConn) CloseWrite() error { return c.shutdown(unix.SHUT_WR) }

func (c *TCPConn) shutdown(how int) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.s.shutdown(how); errno != 0 {
		return c.fail("close", "shutdown", errno)
	}
	return nil
}

// SetNoDelay says whether small segments are sent at once (the default here, as in
// package net) or wait for what is under way to be acknowledged (RFC 9293 §3.7.4).
func (c *TCPConn) SetNoDelay(on bool) error {
	return c.set(unix.IPPROTO_TCP, unix.TCP_NODELAY, value{n: number(on)})
}

// SetKeepAlive says whether an idle peer is asked if it is still there, which is the default here as in package net.
func (c *TCPConn) SetKeepAlive(on bool) error {
	return c.set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, value{n: number(on)})
}

// SetKeepAlivePeriod sets how long a connection is idle before the peer is asked: 0 is 15 s, a negative time changes
// nothing.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	if d < 0 && c.ok() {
		return nil
	}
	return c.set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, value{n: keepSeconds(d)})
}

// SetKeepAliveConfig sets all of it; zero fields are 15 s, 15 s and 9, negative ones stay, as in package net.
func (c *TCPConn) SetKeepAliveConfig(cfg net.KeepAliveConfig) error {
	if err := c.SetKeepAlive(cfg.Enable); err != nil {
		return err
	}
	for _, o := range keepOptions(cfg) {
		if err := c.set(unix.IPPROTO_TCP, o.name, value{n: o.n}); err != nil {
			return err
		}
	}
	return nil
}

// What package net has where a net.KeepAliveConfig says nothing.
const (
	keepAliveIdle  = 15 * time.Second
	keepAliveCount = 9
)

type keepOption struct{ name, n int }

// keepOptions is a configuration as options of IPPROTO_TCP.
func keepOptions(cfg net.KeepAliveConfig) (list []keepOption) {
	if cfg.Idle >= 0 {
		list = append(list, keepOption{unix.TCP_KEEPIDLE, keepSeconds(cfg.Idle)})
	}
	if cfg.Interval >= 0 {
		list = append(list, keepOption{unix.TCP_KEEPINTVL, keepSeconds(cfg.Interval)})
	}
	switch {
	case cfg.Count == 0:
		list = append(list, keepOption{unix.TCP_KEEPCNT, keepAliveCount})
	case cfg.Count > 0:
		list = append(list, keepOption{unix.TCP_KEEPCNT, cfg.Count})
	}
	return list
}

// keepSeconds is a time in whole seconds, rounded up, which is how the options have it.
func keepSeconds(d time.Duration) int {
	if d == 0 {
		d = keepAliveIdle
	}
	return int((d + time.Second - 1) / time.Second)
}

// SetLinger sets what Close does with data that is not yet acknowledged: with a negative number, the default,
// the host goes on sending it; with 0 it is thrown away and the peer gets a reset; with a positive number Close waits
// as many seconds at most until the peer has it, as on Linux.
func (c *TCPConn) SetLinger(sec int) error {
	l := unix.Linger{Linger: int32(max(sec, 0))}
	if sec >= 0 {
		l.Onoff = 1
	}
	return c.set(unix.SOL_SOCKET, unix.SO_LINGER, value{linger: l})
}

// MultipathTCP says that there is none here (RFC 8684).
func (c *TCPConn) MultipathTCP() (bool, error) {
	if !c.ok() {
		return false, unix.EINVAL
	}
	return false, nil
}

func (c *TCPConn) set(level, name int, v value) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.setOption(level, name, v); errno != 0 {
		return c.fail("set", "setsockopt", errno)
	}
	return nil
}

// abandon closes a socket that no program has had in its hands, and waits for nothing.
func (s *netSocket) abandon() {
	s.mark()
	s.file.socket.(*tcpSocket).abandon()
}

// keepAlive sets when an idle peer is asked if it is still there, as package net has it.
func (s *netSocket) keepAlive(idle time.Duration, cfg net.KeepAliveConfig) {
	if !cfg.Enable {
		if idle < 0 {
			return
		}
		cfg = net.KeepAliveConfig{Enable: true, Idle: idle}
	}
	s.setOption(unix.SOL_SOCKET, unix.SO_KEEPALIVE, value{n: 1})
	for _, o := range keepOptions(cfg) {
		s.setOption(unix.IPPROTO_TCP, o.name, value{n: o.n})
	}
}
