package socketapi

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// netSocket is what the connections and listeners of package net have alike: a Berkeley socket in nobody's
// descriptor table, which [Table] lends a number to for those who ask (see RawConn).
type netSocket struct {
	file    file
	st      *Stack
	network string // as the program has said it: "tcp", "udp6", ...
}

func (s *netSocket) init(st *Stack, network string, sock socket) {
	s.st, s.network, s.file.socket = st, network, sock
	s.file.nonblock.Store(true) // for who has a number lent: as package net's descriptors
}

// ok says whether there is a socket: the zero values of this package's types have none, and as those of package net
// they answer EINVAL.
func (s *netSocket) ok() bool { return s.file.socket != nil }

// shut closes the socket. A second time is EBADF.
func (s *netSocket) shut() unix.Errno {
	s.mark()
	return s.file.shut()
}

// mark takes back the number that was lent, and nobody lends another.
func (s *netSocket) mark() {
	c := s.file.common()
	c.mu.Lock()
	s.file.closed.Store(true)
	c.mu.Unlock()
	s.st.table.lent.drop(&s.file)
}

// setOption is setsockopt(2).
func (s *netSocket) setOption(level, name int, v value) unix.Errno {
	return s.file.setOption(optionsByKey[optionKey{level, name}], &v)
}

// conn is what connections of all protocols have alike.
type conn struct {
	netSocket
	wait          *waiting
	local, remote netip.AddrPort // remote is not valid if there is no peer
	addrs         atomic.Pointer[netAddrs]
}

// netAddrs is both addresses as package net has them, once somebody has asked for one: net/http does for each
// request, by the error of a read that it ends.
type netAddrs struct{ local, remote net.Addr }

// Close closes the socket and wakes everyone who waits at it. What was written is still sent.
func (c *conn) Close() error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.shut(); errno != 0 {
		return c.fail("close", "close", errno)
	}
	return nil
}

// LocalAddr returns the socket's own address.
func (c *conn) LocalAddr() net.Addr { return c.netAddrs().local }

// RemoteAddr returns the peer's address, nil if there is none.
func (c *conn) RemoteAddr() net.Addr { return c.netAddrs().remote }

func (c *conn) netAddrs() *netAddrs {
	a := c.addrs.Load()
	switch {
	case a == nil && !c.ok():
		return new(netAddrs)
	case a == nil:
		protocol := c.network[:3]
		a = &netAddrs{netAddrOf(protocol, c.local), netAddrOf(protocol, c.remote)}
		c.addrs.Store(a)
	}
	return a
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads give up, those under way included.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.ok() {
		return unix.EINVAL
	}
	return c.setDeadline(&c.wait.read, t)
}

// SetWriteDeadline sets when writes give up, those under way included.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if !c.ok() {
		return unix.EINVAL
	}
	return c.setDeadline(&c.wait.write, t)
}

func (c *conn) setDeadline(d *deadline, t time.Time) error {
	if errno := c.wait.setDeadline(d, t); errno != 0 {
		return opError("set", c.network, "set", nil, c.LocalAddr(), errno)
	}
	return nil
}

// SetReadBuffer sets the size of the receive buffer in bytes, as SO_RCVBUF does.
func (c *conn) SetReadBuffer(bytes int) error { return c.setBuffer(unix.SO_RCVBUF, bytes) }

// SetWriteBuffer sets the size of the send buffer in bytes, as SO_SNDBUF does.
func (c *conn) SetWriteBuffer(bytes int) error { return c.setBuffer(unix.SO_SNDBUF, bytes) }

func (c *conn) setBuffer(name, bytes int) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.setOption(unix.SOL_SOCKET, name, value{n: bytes}); errno != 0 {
		return opError("set", c.network, "setsockopt", nil, c.LocalAddr(), errno)
	}
	return nil
}

// fail is the error of a call.
func (c *conn) fail(op, call string, errno unix.Errno) error {
	return opError(op, c.network, call, c.LocalAddr(), c.RemoteAddr(), errno)
}

// nothing is the error of a call that moves no bytes.
func (c *conn) nothing(op string) error {
	if errno := c.wait.begin(); errno != 0 {
		return c.fail(op, op, errno)
	}
	c.wait.leave()
	return nil
}
