package socketapi

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A LinkAddr is a station of a link.
type LinkAddr struct {
	HardwareAddr net.HardwareAddr
	Index        int // of the interface
}

// Network is "packet".
func (a *LinkAddr) Network() string { return "packet" }

// String is the hardware address.
func (a *LinkAddr) String() string { return a.HardwareAddr.String() }

// A LinkConn is a packet socket on one interface as package net has them: what a DHCP client
// speaks before it has an address. Its methods may be called by several goroutines.
type LinkConn struct{ s *packetSocket }

var _ net.PacketConn = (*LinkConn)(nil)

// ListenLink opens a packet socket for the frames of one type (0x0003: all) on the interface
// with that index, which [host.Host.Index] says. Cooked frames are read and written without their
// link header (SOCK_DGRAM), others with it (SOCK_RAW). It is EPERM for a thread without CAP_NET_RAW.
func (st *Stack) ListenLink(index int, typ wire.EtherType, cooked bool) (*LinkConn, error) {
	kind := unix.SOCK_RAW
	if cooked {
		kind = unix.SOCK_DGRAM
	}
	fail := func(call string, errno unix.Errno) error {
		return &net.OpError{Op: "listen", Net: "packet", Err: os.NewSyscallError(call, errno)}
	}
	s, errno := newPacketSocket(st.host, kind, 0)
	if errno != 0 {
		return nil, fail("socket", errno)
	}
	if errno := s.bindLink(&unix.SockaddrLinklayer{Ifindex: index, Protocol: networkOrder(uint16(typ))}); errno != 0 {
		s.close()
		return nil, fail("bind", errno)
	}
	return &LinkConn{s}, nil
}

// ok says whether there is a socket, which a zero LinkConn has not.
func (c *LinkConn) ok() bool { return c.s != nil }

// ReadFrom reads one frame. Its sender is a *LinkAddr. What does not fit into p is lost.
func (c *LinkConn) ReadFrom(p []byte) (int, net.Addr, error) {
	if !c.ok() {
		return 0, nil, unix.EINVAL
	}
	m, n, errno := c.s.d.receive(p, 0, mono.Never)
	if errno != 0 {
		return 0, nil, c.fail("read", "recvfrom", errno)
	}
	return n, linkAddrOf(c.s.sender(&m)), nil
}

// WriteTo writes one frame. A cooked one goes to addr: a *LinkAddr, or any other address that
// words itself as a hardware address does.
func (c *LinkConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	to := c.s.nameLink()
	if c.s.kind == unix.SOCK_DGRAM && addr != nil {
		mac, err := net.ParseMAC(addr.String())
		if err != nil || len(mac) > len(to.Addr) {
			return 0, &net.OpError{Op: "write", Net: "packet", Source: c.LocalAddr(), Addr: addr, Err: unix.EINVAL}
		}
		to.Halen = uint8(copy(to.Addr[:], mac))
	}
	n, errno := c.s.sendLink(p, nil, to, 0)
	if errno != 0 {
		return 0, c.fail("write", "sendto", errno)
	}
	return n, nil
}

// Close closes the socket and wakes everyone who waits at it.
func (c *LinkConn) Close() error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.s.close(); errno != 0 {
		return c.fail("close", "close", errno)
	}
	return nil
}

// LocalAddr is a *LinkAddr, of the interface.
func (c *LinkConn) LocalAddr() net.Addr {
	if !c.ok() {
		return nil
	}
	return linkAddrOf(c.s.nameLink())
}

// SetDeadline sets both deadlines.
func (c *LinkConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads give up, those under way included.
func (c *LinkConn) SetReadDeadline(t time.Time) error {
	if !c.ok() {
		return unix.EINVAL
	}
	return c.setDeadline(&c.s.d.read, t)
}

// SetWriteDeadline sets when writes give up, those under way included.
func (c *LinkConn) SetWriteDeadline(t time.Time) error {
	if !c.ok() {
		return unix.EINVAL
	}
	return c.setDeadline(&c.s.d.write, t)
}

func (c *LinkConn) setDeadline(d *deadline, t time.Time) error {
	if errno := c.s.d.setDeadline(d, t); errno != 0 {
		return c.fail("set", "set", errno)
	}
	return nil
}

func (c *LinkConn) fail(op, call string, errno unix.Errno) error {
	return opError(op, "packet", call, c.LocalAddr(), nil, errno)
}

func linkAddrOf(sa *unix.SockaddrLinklayer) *LinkAddr {
	return &LinkAddr{HardwareAddr: sa.Addr[:sa.Halen], Index: sa.Ifindex}
}
