package socketapi

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A TCPConn is a TCP connection as package net has them.
type TCPConn struct {
	s      *stream
	writes sync.Mutex   // held for a whole Write, so that two do not mix
	linger atomic.Int64 // seconds of SetLinger; negative: none
}

var _ net.Conn = (*TCPConn)(nil)

func newTCPConn(s *stream) *TCPConn {
	c := &TCPConn{s: s}
	c.linger.Store(-1)
	return c
}

// Read implements net.Conn.
func (c *TCPConn) Read(p []byte) (int, error) {
	n, errno := c.s.read(p, 0, mono.Never)
	switch {
	case errno != 0:
		return n, c.fail("read", "read", errno)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn: it returns when all of p is in the send buffer.
func (c *TCPConn) Write(p []byte) (n int, err error) {
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

// Close closes the connection and wakes everyone who waits at it. What was written is
// still sent, by the host, unless SetLinger says otherwise.
func (c *TCPConn) Close() error {
	if errno := c.s.close(c.linger.Load() == 0, unix.EBADF); errno != 0 {
		return c.fail("close", "close", errno)
	}
	return nil
}

// CloseRead ends the reading side.
func (c *TCPConn) CloseRead() error { return c.shutdown(unix.SHUT_RD) }

// CloseWrite ends the writing side: the peer reads the end of the stream after what
// was written.
func (c *TCPConn) CloseWrite() error { return c.shutdown(unix.SHUT_WR) }

func (c *TCPConn) shutdown(how int) error {
	if errno := c.s.shutdown(how); errno != 0 {
		return c.fail("close", "shutdown", errno)
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *TCPConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.s.local) }

// RemoteAddr implements net.Conn.
func (c *TCPConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.s.remote) }

// SetDeadline implements net.Conn.
func (c *TCPConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn. Reads under way hear of it at once.
func (c *TCPConn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.s.waiting.read, t) }

// SetWriteDeadline implements net.Conn. Writes under way hear of it at once.
func (c *TCPConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.s.waiting.write, t) }

func (c *TCPConn) setDeadline(d *deadline, t time.Time) error {
	if errno := c.s.waiting.setDeadline(d, t); errno != 0 {
		return c.fail("set", "set", errno)
	}
	return nil
}

// SetNoDelay says whether small segments are sent at once (the default here, as in
// package net) or wait for what is under way to be acknowledged (RFC 9293 §3.7.4).
func (c *TCPConn) SetNoDelay(on bool) error {
	return c.setOptions(func(o *tcp.Options) { o.NoDelay = on })
}

// SetKeepAlive says whether an idle peer is asked if it is still there.
func (c *TCPConn) SetKeepAlive(on bool) error {
	return c.setOptions(func(o *tcp.Options) { o.KeepAlive = on })
}

// SetKeepAlivePeriod sets how long a connection is idle before the peer is asked, and
// the time between questions.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	return c.setOptions(func(o *tcp.Options) { o.KeepIdle, o.KeepInterval = d, d })
}

// SetKeepAliveConfig sets all of it; zero fields are 15 s, 15 s and 9, negative ones
// stay, as in package net.
func (c *TCPConn) SetKeepAliveConfig(cfg net.KeepAliveConfig) error {
	set := func(d *time.Duration, v time.Duration) {
		switch {
		case v == 0:
			*d = 15 * time.Second
		case v > 0:
			*d = v
		}
	}
	return c.setOptions(func(o *tcp.Options) {
		o.KeepAlive = cfg.Enable
		set(&o.KeepIdle, cfg.Idle)
		set(&o.KeepInterval, cfg.Interval)
		switch {
		case cfg.Count == 0:
			o.KeepCount = 9
		case cfg.Count > 0:
			o.KeepCount = cfg.Count
		}
	})
}

// SetReadBuffer fixes the size of the receive buffer, in bytes.
func (c *TCPConn) SetReadBuffer(bytes int) error {
	return c.setOptions(func(o *tcp.Options) { o.RcvBuf = bytes })
}

// SetWriteBuffer fixes the size of the send buffer, in bytes.
func (c *TCPConn) SetWriteBuffer(bytes int) error {
	return c.setOptions(func(o *tcp.Options) { o.SndBuf = bytes })
}

// SetLinger sets what Close does with data that is not yet acknowledged: with a
// negative number, the default, the host goes on sending it; with 0 it is thrown away and
// the peer gets a reset; a positive number is as negative, since Close does not wait
// (in package net it does not either, for a non-blocking descriptor).
func (c *TCPConn) SetLinger(sec int) error {
	if errno := unix.Errno(c.s.ended.Load()); errno != 0 {
		return c.fail("set", "setsockopt", errno)
	}
	c.linger.Store(int64(sec))
	return nil
}

func (c *TCPConn) setOptions(change func(*tcp.Options)) error {
	errno := c.s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
		o := conn.Options()
		change(&o)
		return conn.SetOptions(o, now)
	})
	if errno != 0 {
		return c.fail("set", "setsockopt", errno)
	}
	return nil
}

func (c *TCPConn) fail(op, call string, errno unix.Errno) error {
	return opError(op, "tcp", call, c.LocalAddr(), c.RemoteAddr(), errno)
}

// A TCPListener waits for connections, on all cores of the host.
type TCPListener struct{ l *listener }

var _ net.Listener = (*TCPListener)(nil)

// ListenTCP waits for connections at a local address of the host; a port of 0 is chosen. [::]
// takes IPv4 too.
func (st *Stack) ListenTCP(local netip.AddrPort) (*TCPListener, error) {
	return st.listenTCP(local, false)
}

// listenTCP is ListenTCP, for IPv6 alone if only6.
func (st *Stack) listenTCP(local netip.AddrPort, only6 bool) (*TCPListener, error) {
	l, call, errno := listenAt(st.host, local, only6)
	if errno != 0 {
		return nil, opError("listen", "tcp", call, nil, net.TCPAddrFromAddrPort(local), errno)
	}
	return &TCPListener{l}, nil
}

func listenAt(h *host.Host, local netip.AddrPort, only6 bool) (l *listener, call string, errno unix.Errno) {
	if !h.Local(local.Addr()) {
		return nil, "bind", unix.EADDRNOTAVAIL
	}
	hold := &host.Hold{Protocol: wire.ProtoTCP, Local: local, Only6: only6, ReuseAddr: true} // as package net does
	if errno := h.Ports.Take(hold); errno != 0 {
		return nil, "bind", errno
	}
	if l, errno = listen(h, hold, h.Backlog(-1), tcp.Options{NoDelay: true}); errno != 0 {
		h.Ports.Drop(hold)
		return nil, "listen", errno
	}
	return l, "", 0
}

// Accept implements net.Listener.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP waits for a connection.
func (l *TCPListener) AcceptTCP() (*TCPConn, error) {
	s, errno := l.l.accept(0, mono.Never)
	if errno != 0 {
		return nil, opError("accept", "tcp", "accept", nil, l.Addr(), errno)
	}
	return newTCPConn(s), nil
}

// Close stops listening. Connections that nobody accepted are reset.
func (l *TCPListener) Close() error {
	if errno := l.l.close(unix.EBADF); errno != 0 {
		return opError("close", "tcp", "close", nil, l.Addr(), errno)
	}
	l.l.host.Ports.Drop(l.l.hold)
	return nil
}

// Addr implements net.Listener.
func (l *TCPListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.l.hold.Local) }

// SetDeadline sets when Accept gives up, those under way included.
func (l *TCPListener) SetDeadline(t time.Time) error {
	if errno := l.l.setDeadline(&l.l.read, t); errno != 0 {
		return opError("set", "tcp", "set", nil, l.Addr(), errno)
	}
	return nil
}
