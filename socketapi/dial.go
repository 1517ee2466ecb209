package socketapi

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A Dialer makes connections by the host's stack, as [net.Dialer] does by the kernel's, whose fields these are. Its
// DialContext fits [net/http.Transport].
type Dialer struct {
	Stack *Stack

	// Timeout bounds each dial, over all addresses of a name; 0: the stack's own patience, some two minutes for TCP.
	Timeout time.Duration
	// Deadline is when dials end at the latest; zero: never.
	Deadline time.Time
	// LocalAddr is where to connect from, a *net.TCPAddr or *net.UDPAddr; nil: chosen.
	LocalAddr net.Addr
	// FallbackDelay is how long the addresses of one family are tried before those of the other are too, beside them
	// (RFC 8305, "Happy Eyeballs"), for network "tcp" and names that have both. 0: 300 ms; negative: all addresses one
	// after another.
	FallbackDelay time.Duration
	// KeepAlive is after how long an idle peer is asked if it is still there; 0: 15 s; negative: it is not asked. It says
	// nothing if KeepAliveConfig is enabled.
	KeepAlive       time.Duration
	KeepAliveConfig net.KeepAliveConfig
	// Resolver turns names into addresses; nil: one that asks over the stack ([Stack.Resolver] without servers).
	// net.DefaultResolver asks by the kernel's stack.
	Resolver *net.Resolver

	// Control is called with each socket before it is bound and connected, with "tcp4", "tcp6", "udp4" or "udp6" and the
	// address of the peer. The descriptor is a number of the stack's [Table]. ControlContext is called in its place if it is set.
	Control        func(network, address string, c syscall.RawConn) error
	ControlContext func(ctx context.Context, network, address string, c syscall.RawConn) error
}

// Dial connects to an address, which is "host:port".
func (st *Stack) Dial(network, address string) (net.Conn, error) {
	return (&Dialer{Stack: st}).Dial(network, address)
}

// DialContext connects to an address, which is "host:port".
func (st *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&Dialer{Stack: st}).DialContext(ctx, network, address)
}

// Dial connects to an address.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to an address, over network "tcp", "tcp4", "tcp6", "udp", "udp4" or
// "udp6", or by the kernel over "unix", "unixgram" or "unixpacket". A name that has several addresses is tried address by address, and by both families at once if the
// better one takes too long. The context ends the dialling, not the connection.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if kernelNetwork(network) {
		return d.kernels().DialContext(ctx, network, address)
	}
	ctx, cancel := d.within(ctx)
	defer cancel()
	addrs, err := d.resolve(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	try := &dialling{d: d, network: network}
	if network == "tcp" && d.FallbackDelay >= 0 {
		return try.race(ctx, addrs)
	}
	return try.serially(ctx, addrs)
}

// DialTCP connects to an address by TCP. A local one that is not valid is chosen.
func (d *Dialer) DialTCP(ctx context.Context, network string, local, remote netip.AddrPort) (*TCPConn, error) {
	c, err := d.dialAddr(ctx, network, "tcp", local, remote)
	if err != nil {
		return nil, err
	}
	return c.(*TCPConn), nil
}

// DialUDP opens a UDP socket that is connected to an address. A local one that is not valid is chosen.
func (d *Dialer) DialUDP(ctx context.Context, network string, local, remote netip.AddrPort) (*UDPConn, error) {
	c, err := d.dialAddr(ctx, network, "udp", local, remote)
	if err != nil {
		return nil, err
	}
	return c.(*UDPConn), nil
}

func (d *Dialer) dialAddr(ctx context.Context, network, protocol string, local, remote netip.AddrPort) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Source: netAddrOf(protocol, local), Addr: netAddrOf(protocol, remote), Err: err}
	}
	switch {
	case network != protocol && network != protocol+"4" && network != protocol+"6":
		return fail(net.UnknownNetworkError(network))
	case d.Stack == nil:
		return fail(errNoStack)
	case !remote.IsValid():
		return fail(errMissingAddress)
	}
	ctx, cancel := d.within(ctx)
	defer cancel()
	local, err := d.Stack.zonedPort(local)
	if err != nil {
		return fail(err)
	}
	to, err := d.Stack.zonedPort(remote)
	if err != nil {
		return fail(err)
	}
	c, err := d.connect(ctx, network, local, to)
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// within is the context of one dial.
func (d *Dialer) within(ctx context.Context) (context.Context, context.CancelFunc) {
	at := d.Deadline
	if d.Timeout != 0 { // one in the past included, as package net has it
		if t := time.Now().Add(d.Timeout); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if at.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, at)
}

// connect makes one connection to one address.
func (d *Dialer) connect(ctx context.Context, network string, local, remote netip.AddrPort) (net.Conn, error) {
	if local.Addr().IsUnspecified() && local.Addr().Is4() != remote.Addr().Is4() { // of any family
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())
		if remote.Addr().Is4() {
			local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
		}
	}
	if network[:3] == "udp" {
		c, err := d.connectUDP(ctx, network, local, remote)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	// A port that is chosen may be the one that is dialled, and then the connection is to itself (RFC 9293 §3.5,
	// simultaneous open): nobody means that.
	for again := selfConnects; ; again-- {
		c, err := d.connectTCP(ctx, network, local, remote)
		if err != nil {
			return nil, err
		}
		if c.local != c.remote || local.Port() != 0 || again == 0 {
			return c, nil
		}
		c.SetLinger(0)
		c.Close()
	}
}

// selfConnects is how often a connection to itself is given up for another.
const selfConnects = 2

// control lets the program have the socket before it is used.
func (d *Dialer) control(ctx context.Context, network string, remote netip.AddrPort, c syscall.RawConn) error {
	if d.ControlContext == nil && d.Control == nil {
		return nil
	}
	network = network[:3] + "6"
	if remote.Addr().Is4() {
		network = network[:3] + "4"
	}
	address := d.Stack.named(remote).String()
	if d.ControlContext != nil {
		return d.ControlContext(ctx, network, address, c)
	}
	return d.Control(network, address, c)
}

func (d *Dialer) connectTCP(ctx context.Context, network string, local, remote netip.AddrPort) (*TCPConn, error) {
	sock, errno := newTCPSocket(d.Stack.host, familyOf(remote.Addr()))
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	sock.opt.NoDelay = true
	c := newTCPConn(d.Stack, network, sock)
	c.keepAlive(d.KeepAlive, d.KeepAliveConfig)
	err := d.control(ctx, network, remote, c.RawConn())
	if err == nil && local.IsValid() {
		err = syscallError("bind", sock.bind(local))
	}
	if err == nil {
		err = sock.connectWithin(ctx, remote)
	}
	if err != nil {
		c.abandon()
		return nil, err
	}
	return c.connected(sock.conn.Load()), nil
}

// connectWithin is connect(2) that ends with a context.
func (s *tcpSocket) connectWithin(ctx context.Context, remote netip.AddrPort) error {
	fast := s.later()
	conn, _, errno := s.begin(remote, fast)
	switch {
	case errno != 0:
		return os.NewSyscallError("connect", errno)
	case fast != nil && fast.waits:
		return nil // the SYN goes out with what is written first
	}
	stop := context.AfterFunc(ctx, func() { conn.end(unix.ECANCELED) })
	errno = conn.connected(0, mono.Never)
	if !stop() {
		return ended(ctx.Err())
	}
	s.mu.Lock()
	s.connecting = false
	s.mu.Unlock()
	return syscallError("connect", errno)
}

func (d *Dialer) connectUDP(ctx context.Context, network string, local, remote netip.AddrPort) (*UDPConn, error) {
	sock, errno := newUDPSocket(d.Stack.host, familyOf(remote.Addr()))
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	c := newUDPConn(d.Stack, network, sock)
	err := d.control(ctx, network, remote, c.RawConn())
	if err == nil && local.IsValid() {
		err = syscallError("bind", sock.bind(local))
	}
	if err == nil {
		err = syscallError("connect", sock.connect(remote, 0))
	}
	if err != nil {
		c.shut()
		return nil, err
	}
	return c.placed(), nil
}

// syscallError is the error of a system call, nil if there is none.
func syscallError(call string, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// netAddrOf is an address as package net has those of a protocol, nil if it is not valid.
func netAddrOf(protocol string, a netip.AddrPort) net.Addr {
	switch {
	case !a.IsValid():
		return nil
	case protocol == "udp":
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}
