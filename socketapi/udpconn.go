package socketapi

import (
	"context"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// A UDPConn is a UDP socket as package net has them. It is a [net.PacketConn] and,
// connected, a [net.Conn].
type UDPConn struct {
	conn
	s *datagram
}

var (
	_ net.PacketConn = (*UDPConn)(nil)
	_ net.Conn       = (*UDPConn)(nil)
)

// newUDPConn makes a connection of a socket that need not be bound yet.
func newUDPConn(st *Stack, network string, sock *udpSocket) *UDPConn {
	c := &UDPConn{s: sock.d}
	c.init(st, network, sock)
	c.wait = &sock.d.waiting
	c.setOption(unix.SOL_SOCKET, unix.SO_BROADCAST, value{n: 1}) // as package net has it
	return c
}

// placed says that the socket has the addresses that it will keep.
func (c *UDPConn) placed() *UDPConn {
	c.local, c.remote = c.st.named(c.s.local()), c.st.named(c.s.peer())
	c.addrs.Store(nil) // Control of a Dialer may have asked before
	return c
}

func (c *UDPConn) sock() *udpSocket { return c.file.socket.(*udpSocket) }

// ListenUDP opens a UDP socket at a local address of the host; a port of 0 is chosen. [::] takes
// IPv4 too.
func (st *Stack) ListenUDP(local netip.AddrPort) (*UDPConn, error) {
	c, err := (&ListenConfig{Stack: st}).listenUDP("udp", local, false)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(local), Err: err}
	}
	return c, nil
}

// DialUDP opens a UDP socket that is connected to a peer. A local address that is not
// valid is chosen.
func (st *Stack) DialUDP(local, remote netip.AddrPort) (*UDPConn, error) {
	return (&Dialer{Stack: st}).DialUDP(context.Background(), "udp", local, remote)
}

// Read reads one datagram from the peer, or from anyone if there is none.
func (c *UDPConn) Read(p []byte) (int, error) {
	if len(p) == 0 && c.ok() {
		return 0, c.nothing("read")
	}
	n, _, err := c.read(p, "read")
	return n, err
}

// ReadFromUDPAddrPort reads one datagram and says who sent it. What does not fit into
// p is lost. It allocates nothing.
func (c *UDPConn) ReadFromUDPAddrPort(p []byte) (n int, from netip.AddrPort, err error) {
	return c.read(p, "recvfrom")
}

func (c *UDPConn) read(p []byte, call string) (n int, from netip.AddrPort, err error) {
	if !c.ok() {
		return 0, from, unix.EINVAL
	}
	m, n, report, errno := c.s.receiveReport(p)
	switch {
	case report != nil:
		return 0, netip.AddrPort{}, c.reported(report)
	case errno != 0:
		return 0, netip.AddrPort{}, c.fail("read", call, errno)
	}
	return n, c.st.named(m.From), nil
}

func (c *UDPConn) reported(report *PacketError) error {
	return &net.OpError{Op: "read", Net: c.network, Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(c.st.named(report.To)), Err: report}
}

// ReadFrom implements net.PacketConn.
func (c *UDPConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.read(p, "recvfrom")
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDP is ReadFrom with the address as what it is.
func (c *UDPConn) ReadFromUDP(p []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.read(p, "recvfrom")
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Write sends one datagram to the peer.
func (c *UDPConn) Write(p []byte) (int, error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	if errno := c.s.send(&message{Message: udp.Message{Payload: p}}, 0, mono.Never); errno != 0 {
		return 0, c.fail("write", "write", errno)
	}
	return len(p), nil
}

// WriteToUDPAddrPort sends one datagram. It allocates nothing.
func (c *UDPConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (n int, err error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	if err := c.sendTo(p, to); err != nil {
		return 0, c.notTo(addrPortAddr{to}, err)
	}
	return len(p), nil
}

// sendTo sends one datagram. Its error does not say where.
func (c *UDPConn) sendTo(p []byte, to netip.AddrPort) error {
	switch {
	case c.remote.IsValid():
		return net.ErrWriteToConnected
	case !to.IsValid():
		return errMissingAddress
	}
	dest, err := c.destination(to)
	if err != nil {
		return err
	}
	if errno := c.s.send(&message{Message: udp.Message{To: dest, Payload: p}}, 0, mono.Never); errno != 0 {
		return callError("sendto", errno)
	}
	return nil
}

// WriteTo implements net.PacketConn. addr is a *net.UDPAddr.
func (c *UDPConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.notTo(addr, unix.EINVAL)
	}
	return c.WriteToUDP(p, a)
}

// WriteToUDP is WriteTo with the address as what it is.
func (c *UDPConn) WriteToUDP(p []byte, addr *net.UDPAddr) (int, error) {
	if !c.ok() {
		return 0, unix.EINVAL
	}
	switch {
	case c.remote.IsValid():
		return 0, c.notTo(opAddr(addr), net.ErrWriteToConnected)
	case addr == nil:
		return 0, c.notTo(nil, errMissingAddress)
	}
	if err := c.sendTo(p, c.addrPort(addr)); err != nil {
		return 0, c.notTo(addr, err)
	}
	return len(p), nil
}

// addrPort is an address of package net, whose nil IP is the unspecified one of the socket's family.
func (c *UDPConn) addrPort(addr *net.UDPAddr) netip.AddrPort {
	if len(addr.IP) == 0 {
		return netip.AddrPortFrom(c.sock().unspecified().Addr(), uint16(addr.Port))
	}
	return addr.AddrPort()
}

// destination is where a datagram of this socket for an address goes.
func (c *UDPConn) destination(to netip.AddrPort) (netip.AddrPort, error) {
	a := to.Addr().Unmap()
	four := c.file.common().family == unix.AF_INET
	switch {
	case four && !a.Is4():
		return to, &net.AddrError{Err: "non-IPv4 address", Addr: to.Addr().String()}
	case !a.IsValid():
		return to, &net.AddrError{Err: "non-IPv6 address", Addr: to.Addr().String()}
	}
	if a.Zone() != "" {
		var err error
		if a, err = c.st.zoned(a); err != nil {
			return to, err
		}
	}
	if !four && a.Is4() && c.only6() {
		return to, unix.ENETUNREACH
	}
	return c.sock().onThisHost(netip.AddrPortFrom(a, to.Port())), nil
}

// only6 says whether the socket speaks no IPv4.
func (c *UDPConn) only6() bool {
	s := c.file.common()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.only6Now()
}

// notTo is the error of a write to an address.
func (c *UDPConn) notTo(addr net.Addr, err error) error {
	return &net.OpError{Op: "write", Net: c.network, Source: c.LocalAddr(), Addr: addr, Err: err}
}

// addrPortAddr is an address for an error, in the words of netip as package net has it.
type addrPortAddr struct{ netip.AddrPort }

func (addrPortAddr) Network() string { return "udp" }

// opAddr is an address for an error, nil if there is none.
func opAddr(a *net.UDPAddr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}

// ReportErrors makes reads return an error with a [*PacketError] inside for each datagram of this
// socket that came to nothing, whether the socket is connected or not, if somebody says so by
// ICMP (IP_RECVERR, IPV6_RECVERR). It cannot be taken back.
func (c *UDPConn) ReportErrors() {
	if !c.ok() {
		return
	}
	s := c.file.common()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recvErr, s.recvErr6 = true, true
	c.s.report()
}

// SetTTL sets the time to live, or hop limit, of datagrams from now on, 1 to 255.
func (c *UDPConn) SetTTL(ttl int) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if ttl < 1 || ttl > 255 {
		return c.fail("set", "setsockopt", unix.EINVAL)
	}
	s := c.file.common()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ttl, s.hops, s.hasHops = ttl, ttl, true; c.s.ended.Load() != 0 {
		return c.fail("set", "setsockopt", unix.EBADF)
	}
	c.sock().apply()
	return nil
}
