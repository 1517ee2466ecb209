package socketapi

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A Dialer makes connections by the host's stack, as [net.Dialer] does by the
// kernel's. Its DialContext fits [net/http.Transport].
type Dialer struct {
	Stack *Stack

	// Timeout bounds each dial; 0: the stack's own patience, some two minutes for TCP.
	Timeout time.Duration
	// LocalAddr is where to connect from; not valid: chosen.
	LocalAddr netip.AddrPort
	// Resolver turns names into addresses; nil: net.DefaultResolver, which asks by the
	// kernel's stack. Addresses need none.
	Resolver *net.Resolver
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
// "udp6". A name that has several addresses is tried address by address. The context ends
// the dialling, not the connection.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	addrs, err := d.resolve(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	for _, addr := range addrs {
		var c net.Conn
		if network[:3] == "udp" {
			c, err = d.Stack.DialUDP(d.LocalAddr, addr)
		} else {
			c, err = d.dialTCP(ctx, network, addr)
		}
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// resolve returns the addresses behind host:port that suit the network.
func (d *Dialer) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	family := "ip"
	switch network {
	case "tcp", "udp":
	case "tcp4", "udp4":
		family = "ip4"
	case "tcp6", "udp6":
		family = "ip6"
	default:
		return nil, net.UnknownNetworkError(network)
	}
	name, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		p, err := net.LookupPort(network, service) // from /etc/services
		if err != nil {
			return nil, err
		}
		port = uint64(p)
	}
	r := d.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	ips, err := r.LookupNetIP(ctx, family, name)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		ips[0] = ip // with its zone, which the resolver leaves out
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		if ip, err = d.Stack.zoned(ip.Unmap()); err != nil {
			return nil, err
		}
		addrs[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	return addrs, nil
}

func (d *Dialer) dialTCP(ctx context.Context, network string, remote netip.AddrPort) (*TCPConn, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, fail(err)
	}
	local := d.LocalAddr
	if !local.IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if !remote.Addr().Is4() {
			local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	if !d.Stack.host.Local(local.Addr()) {
		return nil, opError("dial", network, "bind", nil, net.TCPAddrFromAddrPort(remote), unix.EADDRNOTAVAIL)
	}
	s, errno := dialStream(d.Stack.host, local, remote, nil, tcp.Options{NoDelay: true}, nil)
	if errno != 0 {
		return nil, opError("dial", network, "connect", nil, net.TCPAddrFromAddrPort(remote), errno)
	}
	stop := context.AfterFunc(ctx, func() { s.end(unix.ECANCELED) })
	errno = s.connected(0, mono.Never)
	if !stop() || errno != 0 {
		s.abandon(unix.EBADF)
		if err := ctx.Err(); err != nil {
			return nil, fail(err)
		}
		return nil, opError("dial", network, "connect", nil, net.TCPAddrFromAddrPort(remote), errno)
	}
	return newTCPConn(s), nil
}

// Listen waits for connections over "tcp", "tcp4" or "tcp6" at "host:port", whose host is an
// address or empty.
func (st *Stack) Listen(network, address string) (net.Listener, error) {
	local, only6, err := st.localAddr(network, "tcp", address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	l, err := st.listenTCP(local, only6)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenPacket opens a socket for "udp", "udp4" or "udp6" at "host:port", whose host is an
// address or empty.
func (st *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	local, only6, err := st.localAddr(network, "udp", address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	c, err := st.listenUDP(local, only6)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// localAddr reads an address to listen at. Without a host it is [::], which takes IPv4 too unless the
// network says that it is to be IPv6 alone, as package net has it.
func (st *Stack) localAddr(network, protocol, address string) (local netip.AddrPort, only6 bool, err error) {
	if network != protocol && network != protocol+"4" && network != protocol+"6" {
		return local, false, net.UnknownNetworkError(network)
	}
	name, service, err := net.SplitHostPort(address)
	if err != nil {
		return local, false, err
	}
	port, err := net.LookupPort(network, service)
	if err != nil {
		return local, false, err
	}
	addr := netip.IPv6Unspecified()
	switch {
	case name != "":
		if addr, err = netip.ParseAddr(name); err != nil {
			return local, false, err
		}
		if addr, err = st.zoned(addr.Unmap()); err != nil {
			return local, false, err
		}
	case network == protocol+"4":
		addr = netip.IPv4Unspecified()
	}
	if network != protocol && addr.Is4() != (network == protocol+"4") {
		return local, false, &net.AddrError{Err: "no suitable address for network " + network, Addr: address}
	}
	return netip.AddrPortFrom(addr, uint16(port)), network == protocol+"6", nil
}

// zoned is an address whose zone, if it has one, is the index of an interface and not its name.
func (st *Stack) zoned(a netip.Addr) (netip.Addr, error) {
	zone := a.Zone()
	if zone == "" || wire.Scope(a) != 0 {
		return a, nil
	}
	index, ok := st.host.IndexOf(zone)
	if !ok {
		return a, &net.AddrError{Err: "the host has no interface with the name of the zone", Addr: a.String()}
	}
	return wire.WithScope(a, uint32(index)), nil
}
