package socketapi

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 792, "Echo or Echo Reply Message"; RFC 4443 §4; icmp(7) on ping sockets.

// EchoHeaderLen is the length of the header of an echo message, in bytes: as much longer
// than its payload is a message that [PingConn.ReadEcho] reads.
const EchoHeaderLen = wire.ICMP4Len

// A PingConn asks hosts whether they are there, by ICMP echo. Each has an identifier
// of its own, and receives the replies to its own requests alone. Its methods may be called by
// several goroutines.
type PingConn struct {
	s *datagram

	writes sync.Mutex // guards buf
	buf    []byte     // the message under construction
}

// An Echo is one reply.
type Echo struct {
	From    netip.Addr
	Seq     uint16
	TTL     uint8
	Time    mono.Time // of its arrival, by the host's clock
	Payload []byte    // in the memory that was given to ReadEcho
}

// ListenPing opens a ping socket at a local address of the host, or at all of its family.
func (st *Stack) ListenPing(local netip.Addr) (*PingConn, error) {
	fail := func(call string, errno unix.Errno) error {
		return &net.OpError{Op: "listen", Net: "icmp", Addr: ipAddr(local), Err: os.NewSyscallError(call, errno)}
	}
	if !local.IsValid() {
		return nil, fail("socket", unix.EAFNOSUPPORT)
	}
	if st.host.Shares() { // the replies stay with the kernel: see host.Interface.Share
		return nil, fail("socket", unix.EPROTONOSUPPORT)
	}
	local = local.Unmap()
	protocol := wire.ProtoICMP
	if !local.Is4() {
		protocol = wire.ProtoICMPv6
	}
	s, errno := newDatagram(st.host, protocol)
	if errno != 0 {
		return nil, fail("socket", errno)
	}
	s.only6 = !local.Is4()
	s.report()
	if errno := s.bind(netip.AddrPortFrom(local, 0), sharing{}); errno != 0 {
		s.close()
		return nil, fail("bind", errno)
	}
	return &PingConn{s: s}, nil
}

// ok says whether there is a socket, which a zero PingConn has not.
func (c *PingConn) ok() bool { return c.s != nil }

// WriteEcho sends an echo request to an address of the socket's family. It is EMSGSIZE if the
// message does not fit into a packet, however many fragments that takes.
func (c *PingConn) WriteEcho(to netip.Addr, seq uint16, payload []byte) error {
	if !c.ok() {
		return unix.EINVAL
	}
	to = to.Unmap()
	if to.Is4() != (c.s.protocol == wire.ProtoICMP) {
		return c.fail("write", "sendto", to, unix.EAFNOSUPPORT)
	}
	c.writes.Lock()
	defer c.writes.Unlock()
	n := wire.ICMP4Len + len(payload)
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	b := c.buf[:n]
	echo := wire.ICMPEcho(c.Ident(), seq)
	copy(b[wire.ICMP4Len:], payload)
	if to.Is4() {
		wire.PutICMP4(b, wire.ICMP4Echo, 0, echo)
	} else {
		wire.PutICMP6(b, wire.ICMP6Echo, 0, echo)
	}
	if errno := c.s.send(&message{Message: udp.Message{To: netip.AddrPortFrom(to, 0), Payload: b}}, 0, mono.Never); errno != 0 {
		return c.fail("write", "sendto", to, errno)
	}
	return nil
}

// ReadEcho reads the next reply into p, which must have room for [EchoHeaderLen] more bytes than
// the payload: what does not fit is lost. Its error has a [*PacketError] inside if a request came to
// nothing and somebody said so: a router, the host that was asked, or this host, whose
// neighbour does not answer.
func (c *PingConn) ReadEcho(p []byte) (Echo, error) {
	if !c.ok() {
		return Echo{}, unix.EINVAL
	}
	m, n, report, errno := c.s.receiveReport(p)
	if report != nil {
		return Echo{}, &net.OpError{Op: "read", Net: "icmp", Source: ipAddr(c.s.local().Addr()), Addr: ipAddr(report.To.Addr()), Err: report}
	}
	if errno != 0 {
		return Echo{}, c.fail("read", "recvfrom", netip.Addr{}, errno)
	}
	h, ok := wire.ParseICMP4(p[:min(n, len(p))]) // as long as that of ICMPv6, and its fields stand alike
	if !ok {
		return Echo{}, c.fail("read", "recvfrom", netip.Addr{}, unix.EINVAL) // p has no room for the header
	}
	return Echo{From: m.From.Addr(), Seq: h.Seq(), TTL: m.TTL, Time: mono.Time(m.Time), Payload: h.Payload()}, nil
}

// SetTTL sets the time to live, or hop limit, of requests from now on, 1 to 255.
func (c *PingConn) SetTTL(ttl int) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.s.setTTL(ttl); errno != 0 {
		return c.fail("set", "setsockopt", netip.Addr{}, errno)
	}
	return nil
}

// Ident is the identifier in this socket's messages.
func (c *PingConn) Ident() uint16 {
	if !c.ok() {
		return 0
	}
	return c.s.local().Port()
}

// Now is the host's time, which [Echo.Time] is of too.
func (c *PingConn) Now() mono.Time {
	if !c.ok() {
		return 0
	}
	return c.s.host.Clock().Now()
}

// SetReadDeadline sets when ReadEcho gives up, calls under way included.
func (c *PingConn) SetReadDeadline(t time.Time) error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.s.setDeadline(&c.s.read, t); errno != 0 {
		return c.fail("set", "set", netip.Addr{}, errno)
	}
	return nil
}

// Close closes the socket and wakes everyone who waits at it.
func (c *PingConn) Close() error {
	if !c.ok() {
		return unix.EINVAL
	}
	if errno := c.s.close(); errno != 0 {
		return c.fail("close", "close", netip.Addr{}, errno)
	}
	return nil
}

func (c *PingConn) fail(op, call string, to netip.Addr, errno unix.Errno) error {
	return opError(op, "icmp", call, ipAddr(c.s.local().Addr()), ipAddr(to), errno)
}

// ipAddr is an address as package net has it, nil if there is none.
func ipAddr(a netip.Addr) net.Addr {
	if !a.IsValid() {
		return nil
	}
	return &net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()}
}
