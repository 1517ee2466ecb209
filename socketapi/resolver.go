package socketapi

import (
	"context"
	"net"
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/route"
)

// Read first: RFC 1034, RFC 7766, RFC 6891, resolv.conf(5); RFC 6724 §6.

// Resolver returns a resolver that asks over the stack's own UDP and TCP: Go's, with its ways of /etc/hosts,
// /etc/resolv.conf, search lists, EDNS and answers too long for UDP. Of the servers that are given it asks the one that served last,
// and if that does not serve the others, each for its share of the time (options timeout of /etc/resolv.conf). Without any it asks
// those of /etc/resolv.conf, or, if that names one of the kernel's loopback alone, which the stack does not reach, those that routers
// have told the host of.
func (s *Stack) Resolver(servers ...netip.AddrPort) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: (&inquirer{st: s, servers: servers}).dial}
}

// domainPort is where DNS servers listen.
const domainPort = 53

// learned is the DNS servers that routers have told of.
func (s *Stack) learned() (list []netip.AddrPort) {
	for port := range s.host.Interfaces() {
		servers, _ := s.host.Resolver(port)
		for _, a := range servers {
			list = append(list, netip.AddrPortFrom(a, domainPort))
		}
	}
	return list
}

// lookup asks for the addresses of a name, by the stack's own resolver if r is nil, and sorts them as the host would best
// use them: net.Resolver sorts them as the kernel would.
func (s *Stack) lookup(ctx context.Context, r *net.Resolver, network, name string) ([]netip.Addr, error) {
	if r == nil {
		r = s.names
	}
	addrs, err := r.LookupNetIP(ctx, network, name)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	s.sortAddrs(addrs)
	return addrs, nil
}

// sortAddrs sorts destinations by RFC 6724.
func (s *Stack) sortAddrs(addrs []netip.Addr) {
	if len(addrs) < 2 {
		return
	}
	own := s.host.Addrs()
	c := s.host.Cores()[0]
	list := make([]route.Destination, len(addrs))
	c.Lock()
	for i, a := range addrs {
		list[i].Addr = a
		if a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "" {
			continue // of no link: connect(2) would not take it
		}
		if src, errno := c.Stack.Source(0, netip.Addr{}, a, c.Now()); errno == 0 {
			list[i].Source = src
		}
	}
	c.Unlock()
	for i := range list {
		for j := range own {
			if own[j].Prefix.Addr() == list[i].Source.WithZone("") {
				list[i].Prefix, list[i].Deprecated = own[j].Prefix.Bits(), own[j].State == route.Deprecated
			}
		}
	}
	route.SortDestinations(list)
	for i := range list {
		addrs[i] = list[i].Addr
	}
}
