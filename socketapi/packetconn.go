package socketapi

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A UDPConn is a UDP socket as package net has them. It is a [net.PacketConn] and,
// connected, a [net.Conn].
type UDPConn struct{ s *datagram }

var (
	_ net.PacketConn = (*UDPConn)(nil)
	_ net.Conn       = (*UDPConn)(nil)
)

// ListenUDP opens a UDP socket at a local address of the host; a port of 0 is chosen. [::] takes
// IPv4 too.
func (st *Stack) ListenUDP(local netip.AddrPort) (*UDPConn, error) { return st.listenUDP(local, false) }

// listenUDP is ListenUDP, for IPv6 alone if only6.
func (st *Stack) listenUDP(local netip.AddrPort, only6 bool) (*UDPConn, error) {
	c, err := st.openUDP(local, only6)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(local), Err: err}
	}
	return c, nil
}

// DialUDP opens a UDP socket that is connected to a peer. A local address that is not
// valid is chosen.
func (st *Stack) DialUDP(local, remote netip.AddrPort) (*UDPConn, error) {
	if !local.IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if !remote.Addr().Is4() {
			local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	c, err := st.openUDP(local, false)
	if err == nil {
		if errno := c.s.connect(remote); errno != 0 {
			c.s.close()
			err = os.NewSyscallError("connect", errno)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Addr: net.UDPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

func (st *Stack) openUDP(local netip.AddrPort, only6 bool) (*UDPConn, error) {
	s, errno := newDatagram(st.host, wire.ProtoUDP)
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	s.only6 = only6
	s.change(func(end *udp.Socket) { end.Broadcast = true }) // as package net has it
	if errno := s.bind(local, sharing{}); errno != 0 {
		s.close()
		return nil, os.NewSyscallError("bind", errno)
	}
	return &UDPConn{s}, nil
}

// ReadFromUDPAddrPort reads one datagram and says who sent it. What does not fit into
// p is lost. It allocates nothing.
func (c *UDPConn) ReadFromUDPAddrPort(p []byte) (n int, from netip.AddrPort, err error) {
	m, n, report, errno := c.s.receiveReport(p)
	switch {
	case report != nil:
		return 0, netip.AddrPort{}, &net.OpError{Op: "read", Net: "udp", Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(report.To), Err: report}
	case errno != 0:
		return 0, netip.AddrPort{}, c.fail("read", "recvfrom", errno)
	}
	return n, m.From, nil
}

// WriteToUDPAddrPort sends one datagram. It allocates nothing.
func (c *UDPConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (n int, err error) {
	if c.s.peer().IsValid() {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(to), Err: net.ErrWriteToConnected}
	}
	if errno := c.s.send(&message{Message: udp.Message{To: netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), Payload: p}}, 0, mono.Never); errno != 0 {
		return 0, c.fail("write", "sendto", errno)
	}
	return len(p), nil
}

// ReadFrom implements net.PacketConn.
func (c *UDPConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo implements net.PacketConn. addr is a *net.UDPAddr.
func (c *UDPConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok || a == nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: addr, Err: unix.EINVAL}
	}
	return c.WriteToUDPAddrPort(p, a.AddrPort())
}

// Read reads one datagram from the peer, or from anyone if there is none.
func (c *UDPConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(p)
	return n, err
}

// Write sends one datagram to the peer.
func (c *UDPConn) Write(p []byte) (int, error) {
	if errno := c.s.send(&message{Message: udp.Message{Payload: p}}, 0, mono.Never); errno != 0 {
		return 0, c.fail("write", "write", errno)
	}
	return len(p), nil
}

// Close closes the socket and wakes everyone who waits at it. What was written is
// still sent.
func (c *UDPConn) Close() error {
	if errno := c.s.close(); errno != 0 {
		return &net.OpError{Op: "close", Net: "udp", Source: c.LocalAddr(), Err: net.ErrClosed}
	}
	return nil
}

// ReportErrors makes reads return an error with a [*PacketError] inside for each datagram of this
// socket that came to nothing, whether the socket is connected or not, if somebody says so by
// ICMP (IP_RECVERR, IPV6_RECVERR). It cannot be taken back.
func (c *UDPConn) ReportErrors() { c.s.report() }

// SetTTL sets the time to live, or hop limit, of datagrams from now on, 1 to 255.
func (c *UDPConn) SetTTL(ttl int) error {
	if errno := c.s.setTTL(ttl); errno != 0 {
		return c.fail("set", "setsockopt", errno)
	}
	return nil
}

// SetReadBuffer sets how many bytes of datagrams wait to be read at most, as SO_RCVBUF does: what comes
// beyond is dropped, and counted.
func (c *UDPConn) SetReadBuffer(bytes int) error { return c.limit(recvBufferOf(c.s.host, bytes), 0) }

// SetWriteBuffer sets how many bytes of datagrams wait to be sent at most, as SO_SNDBUF does: writes wait
// for room.
func (c *UDPConn) SetWriteBuffer(bytes int) error {
	return c.limit(0, sendBufferOf(c.s.host, bytes))
}

func (c *UDPConn) limit(rcv, snd int) error {
	if errno := c.s.begin(); errno != 0 {
		return c.fail("set", "setsockopt", errno)
	}
	c.s.limit(rcv, snd)
	c.s.leave()
	return nil
}

// LocalAddr returns the socket's own address.
func (c *UDPConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.s.local()) }

// RemoteAddr returns the peer's address, nil if there is none.
func (c *UDPConn) RemoteAddr() net.Addr {
	if p := c.s.peer(); p.IsValid() {
		return net.UDPAddrFromAddrPort(p)
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *UDPConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads give up, those under way included.
func (c *UDPConn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.s.read, t) }

// SetWriteDeadline sets when writes give up, those under way included.
func (c *UDPConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.s.write, t) }

func (c *UDPConn) setDeadline(d *deadline, t time.Time) error {
	if errno := c.s.waiting.setDeadline(d, t); errno != 0 {
		return c.fail("set", "set", errno)
	}
	return nil
}

// fail is the error of a call.
func (c *UDPConn) fail(op, call string, errno unix.Errno) error {
	return opError(op, "udp", call, c.LocalAddr(), c.RemoteAddr(), errno)
}
