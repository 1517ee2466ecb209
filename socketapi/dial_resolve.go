package socketapi

import (
	"context"
	"net"
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// resolve returns the addresses behind host:port that suit the network and the local address, the best first.
func (d *Dialer) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	if !known(network) {
		return nil, net.UnknownNetworkError(network)
	}
	if address == "" {
		return nil, errMissingAddress
	}
	if d.Stack == nil {
		return nil, errNoStack
	}
	addrs, err := d.Stack.resolve(ctx, d.Resolver, network, address)
	if err != nil || d.LocalAddr == nil {
		return addrs, err
	}
	if d.LocalAddr.Network() != network[:3] {
		return nil, &net.AddrError{Err: errMismatched, Addr: d.LocalAddr.String()}
	}
	local, err := d.localAddr()
	if err != nil || !local.IsValid() || local.Addr().IsUnspecified() {
		return addrs, err
	}
	suit := addrs[:0]
	for _, a := range addrs {
		if a.Addr().IsUnspecified() || a.Addr().Is4() == local.Addr().Is4() {
			suit = append(suit, a)
		}
	}
	if len(suit) == 0 {
		return nil, &net.AddrError{Err: errNoSuitable, Addr: d.LocalAddr.String()}
	}
	return suit, nil
}

// localAddr is LocalAddr, not valid if there is none.
func (d *Dialer) localAddr() (netip.AddrPort, error) {
	var a netip.AddrPort
	var port int
	switch l := d.LocalAddr.(type) {
	case nil:
		return a, nil
	case *net.TCPAddr:
		a, port = l.AddrPort(), l.Port
	case *net.UDPAddr:
		a, port = l.AddrPort(), l.Port
	default:
		return a, &net.AddrError{Err: errMismatched, Addr: d.LocalAddr.String()}
	}
	if !a.Addr().IsValid() { // no address, which is any of the peer's family
		if port == 0 {
			return netip.AddrPort{}, nil
		}
		a = netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port))
	}
	return d.Stack.zonedPort(a)
}

// known says whether there is such a network.
func known(network string) bool {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return true
	}
	return false
}

// resolve returns the addresses behind host:port that suit a network. Without a host it is the unspecified address.
func (st *Stack) resolve(ctx context.Context, r *net.Resolver, network, address string) ([]netip.AddrPort, error) {
	ports := r
	if r == nil {
		r, ports = st.names, net.DefaultResolver // which reads /etc/services as package net does, and asks nobody
	}
	name, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := ports.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	ips, err := st.addresses(ctx, r, network, name)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		if ip, err = st.zoned(ip); err != nil {
			return nil, err
		}
		addrs[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	return addrs, nil
}

// addresses returns those of a name, the best first.
func (st *Stack) addresses(ctx context.Context, r *net.Resolver, network, name string) ([]netip.Addr, error) {
	family := "ip" + network[3:]
	if name == "" {
		if family == "ip4" {
			return []netip.Addr{netip.IPv4Unspecified()}, nil
		}
		return []netip.Addr{netip.IPv6Unspecified()}, nil
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip = ip.Unmap(); family != "ip" && ip.Is4() != (family == "ip4") {
			return nil, &net.AddrError{Err: errNoSuitable, Addr: name}
		}
		return []netip.Addr{ip}, nil
	}
	ips, err := st.lookup(ctx, r, family, name)
	if err == nil && len(ips) == 0 {
		err = &net.AddrError{Err: errNoSuitable, Addr: name}
	}
	return ips, err
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

// zonedPort is zoned of an address with a port, without IPv4 in the dress of IPv6.
func (st *Stack) zonedPort(a netip.AddrPort) (netip.AddrPort, error) {
	if !a.IsValid() {
		return a, nil
	}
	ip, err := st.zoned(a.Addr().Unmap())
	return netip.AddrPortFrom(ip, a.Port()), err
}

// named is an address as package net has it: its zone, if it has one, is the name of an interface.
func (st *Stack) named(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Zone() == "" {
		return a
	}
	return netip.AddrPortFrom(st.host.Named(a.Addr()), a.Port())
}
