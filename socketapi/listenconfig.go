package socketapi

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A ListenConfig opens sockets that wait, as [net.ListenConfig] does by the kernel's stack, whose fields these are.
type ListenConfig struct {
	Stack *Stack

	// Control is called with the socket before it is bound, with "tcp4", "tcp6", "udp4" or "udp6" and the local address.
	// The descriptor is a number of the stack's [Table].
	Control func(network, address string, c syscall.RawConn) error

	// KeepAlive is after how long an idle peer of an accepted connection is asked if it is still there; 0: 15 s; negative: it
	// is not asked. It says nothing if KeepAliveConfig is enabled.
	KeepAlive       time.Duration
	KeepAliveConfig net.KeepAliveConfig
}

// Listen waits for connections over "tcp", "tcp4" or "tcp6" at "host:port", or by the kernel over "unix" or "unixpacket". Without a host, and at the unspecified address
// of either family, "tcp" takes IPv4 and IPv6.
func (st *Stack) Listen(network, address string) (net.Listener, error) {
	return (&ListenConfig{Stack: st}).Listen(context.Background(), network, address)
}

// ListenPacket opens a socket for "udp", "udp4" or "udp6" at "host:port", or the kernel's for "unixgram". Without a host, and at the unspecified
// address of either family, "udp" takes IPv4 and IPv6.
func (st *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	return (&ListenConfig{Stack: st}).ListenPacket(context.Background(), network, address)
}

// Listen is [Stack.Listen] by the configuration. The context is that of looking up the host.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if kernelNetwork(network) {
		return lc.kernels().Listen(ctx, network, address)
	}
	local, only6, err := lc.localAddr(ctx, network, "tcp", address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddrOf("udp", local), Err: err}
	}
	l, err := lc.listenTCP(network, local, only6)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddrOf("tcp", lc.Stack.named(local)), Err: err}
	}
	return l, nil
}

// ListenPacket is [Stack.ListenPacket] by the configuration. The context is that of looking up the host.
func (lc *ListenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if kernelNetwork(network) {
		return lc.kernels().ListenPacket(ctx, network, address)
	}
	local, only6, err := lc.localAddr(ctx, network, "udp", address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddrOf("tcp", local), Err: err}
	}
	c, err := lc.listenUDP(network, local, only6)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: netAddrOf("udp", lc.Stack.named(local)), Err: err}
	}
	return c, nil
}

// localAddr reads an address to listen at; one with an error is of the other protocol. Of a name it is the first of IPv4, if there is one. [::] takes IPv4 too unless
// the network says that it is to be IPv6 alone.
func (lc *ListenConfig) localAddr(ctx context.Context, network, protocol, address string) (local netip.AddrPort, only6 bool, err error) {
	if !known(network) {
		return local, false, net.UnknownNetworkError(network)
	}
	if lc.Stack == nil {
		return local, false, errNoStack
	}
	if address == "" { // any port
		address = ":0"
	}
	addrs, err := lc.Stack.resolve(ctx, nil, network, address)
	if err != nil {
		return local, false, err
	}
	local = addrs[0]
	for _, a := range addrs {
		if a.Addr().Is4() {
			local = a
			break
		}
	}
	if network[:3] != protocol {
		return local, false, &net.AddrError{Err: "unexpected address type", Addr: address}
	}
	if network == protocol && local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())
	}
	return local, network == protocol+"6", nil
}

// prepare lets the program have the socket before it is bound.
func (lc *ListenConfig) prepare(protocol string, local netip.AddrPort, c syscall.RawConn) error {
	if lc.Control == nil {
		return nil
	}
	network := protocol + "6"
	if local.Addr().Is4() {
		network = protocol + "4"
	}
	return lc.Control(network, lc.Stack.named(local).String(), c)
}

func (lc *ListenConfig) listenTCP(network string, local netip.AddrPort, only6 bool) (*TCPListener, error) {
	sock, errno := newTCPSocket(lc.Stack.host, familyOf(local.Addr()))
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	sock.only6, sock.reuseAddr, sock.opt.NoDelay = only6, true, true
	l := &TCPListener{local: local}
	l.init(lc.Stack, network, sock)
	l.keepAlive(lc.KeepAlive, lc.KeepAliveConfig)
	err := lc.prepare("tcp", local, l.RawConn())
	if err == nil {
		err = syscallError("bind", sock.bind(local))
	}
	if err == nil {
		err = syscallError("listen", sock.listen(-1))
	}
	if err != nil {
		l.abandon()
		return nil, err
	}
	l.l, l.local = sock.listener.Load(), lc.Stack.named(sock.name())
	return l, nil
}

func (lc *ListenConfig) listenUDP(network string, local netip.AddrPort, only6 bool) (*UDPConn, error) {
	sock, errno := newUDPSocket(lc.Stack.host, familyOf(local.Addr()))
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	c := newUDPConn(lc.Stack, network, sock)
	if only6 {
		c.setOption(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, value{n: 1})
	}
	err := lc.prepare("udp", local, c.RawConn())
	if local.Addr().IsMulticast() { // as package net has it: the program joins groups itself
		sock.reuseAddr, local = true, netip.AddrPortFrom(sock.unspecified().Addr(), local.Port())
	}
	if err == nil {
		err = syscallError("bind", sock.bind(local))
	}
	if err != nil {
		c.shut()
		return nil, err
	}
	return c.placed(), nil
}
