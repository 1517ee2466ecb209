package proto

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 1122 §3.2.2.2, §3.3.1.2; RFC 5927 §4 (what to believe); RFC 1620 §3 (shared media);
// __ip_do_redirect in net/ipv4/route.c; RFC 4861 §8.1, §8.3.
//
// A redirect of either family becomes a route to one destination, for a while, that package autoconf keeps: it is
// the port's, and of all cores. IPv6 proves by the hop limit that the redirect comes from the link. IPv4 has nothing like
// it, so there it has to quote a packet that a socket may just have sent.

// icmp4RedirectMax is the last code of a redirect: for a network, a host, and each of them of a type of service (RFC 792).
const icmp4RedirectMax = 3

// inputRedirect4 takes a redirect over IPv4. The one for a network is taken as that for its host: nobody knows how
// large the network is (RFC 1122 §3.2.2.2).
func (s *Stack) inputRedirect4(icmp wire.ICMP4) drop.Reason {
	quoted, ok := wire.ParseQuotedIPv4(icmp.Quoted())
	switch {
	case !ok:
		return drop.ICMP4QuoteShort
	case !s.local(quoted.Src()) || quoted.FragmentOffset() != 0:
		return drop.ICMP4QuoteUnknown
	case icmp.Code() > icmp4RedirectMax || !s.mayRedirect4(quoted.Dst(), icmp.Gateway()):
		return drop.ICMP4RedirectRefused
	}
	return s.inputQuote(&quote{
		protocol: quoted.Protocol(), local: quoted.Src(), remote: quoted.Dst(), length: quoted.TotalLen(), transport: quoted.Payload(),
		drops: &quoteDrops4, redirect: icmp.Gateway(),
	})
}

// mayRedirect4 says whether the sender of the packet in Input may send what goes to dst to a gateway: he is where it
// goes now, and the gateway can be one.
func (s *Stack) mayRedirect4(dst, gateway netip.Addr) bool {
	in := &s.in
	p := in.port
	bad := func(a netip.Addr) bool {
		return a.IsMulticast() || a.IsUnspecified() || a.As4()[0] == 0 || a.As4()[0] >= 240 || s.local(a) || p.broadcast4(a)
	}
	if !s.params.AcceptRedirects4 || p.RawIP || gateway == in.src || bad(gateway) || bad(dst) || s.firstHop(p, dst) != in.src {
		return false
	}
	if s.params.SharedMedia {
		r, ok := s.route(gateway)
		return ok && r.Kind == route.Unicast
	}
	listed := func(r route.Route) bool { return r.Gateway == gateway && r.Port == p.number }
	return s.onLink(p, gateway) && (!s.params.SecureRedirects || slices.ContainsFunc(s.Routes.Defaults(gateway), listed))
}

// firstHop is where packets to dst that leave by p go now; not valid: they leave by another one, or not at all.
func (s *Stack) firstHop(p *port, dst netip.Addr) netip.Addr {
	r, ok := s.route(dst)
	if !ok || r.Port != p.number || r.Kind != route.Unicast {
		return netip.Addr{}
	}
	return r.Hop(dst)
}

// redirected takes in a redirect over IPv4 that quotes what a socket here has sent.
func (s *Stack) redirected(q *quote) drop.Reason {
	in := &s.in
	switch {
	case in.port.conf != nil:
		in.port.conf.V4.Redirected(in.src, q.remote, q.redirect, in.now)
	case s.peers == nil:
		return drop.ICMP4RedirectRefused
	default:
		s.peers.Redirected(in.port.number, in.src, q.remote, q.redirect)
	}
	return drop.None
}

// Redirected takes in what another core was told over IPv4.
func (s *Stack) Redirected(port int, from, dst, gateway netip.Addr, now mono.Time) {
	if c := s.ports[port].conf; c != nil {
		c.V4.Redirected(from, dst, gateway, now)
	}
}

// KeepRedirects has the machines forget what routers have said that are none any more. It is called after a change of
// routes.
func (s *Stack) KeepRedirects(now mono.Time) {
	for i := range s.ports {
		if p := &s.ports[i]; p.conf != nil {
			gateway := func(a netip.Addr) bool { return s.named(i, p.scoped(a)) }
			p.conf.V4.KeepRedirects(gateway, now)
			p.conf.V6.KeepRedirects(gateway, now)
		}
	}
}

// inputRedirect6 takes a redirect over IPv6 (RFC 4861 §8.1).
func (s *Stack) inputRedirect6(icmp wire.ICMP6) drop.Reason {
	in := &s.in
	m, ok := wire.ParseRedirect(icmp)
	switch {
	case !ok:
		return drop.NDPShort
	case !in.src.IsLinkLocalUnicast():
		return drop.NDPBadSource
	case !s.ndp.Parse(m.Options()), s.ndp.Target.IsMulticast():
		return drop.NDPOptionBad
	case !s.params.AcceptRedirects6:
		return drop.ICMP6RedirectRefused
	}
	if r, done := s.elsewhere(drop.ICMP6RedirectRefused); done {
		return r
	}
	r := in.port.conf.V6.Redirected(in.src.WithZone(""), m, in.now)
	if r == drop.None && !s.ndp.Target.IsZero() { // §8.3
		s.sighted(neigh.Sighting{Port: in.port.number, Addr: in.port.scoped(m.Target()), MAC: s.ndp.Target, Override: true, Create: true}, in.now)
	}
	return r
}
