package autoconf

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §8.1 (which redirects are valid), §8.3.

// redirect is one destination with a better first hop.
type redirect struct {
	dst    netip.Addr
	target netip.Addr // a router's link-local address, or dst itself, which is on the link
	from   netip.Addr // the router that said so
}

// Redirected takes a redirect from a link-local address, with a hop limit of 255, a good checksum
// and good options. What else RFC 4861 §8.1 demands is judged here: only the router that
// packets to the destination go to now may send them elsewhere.
func (i *Interface6) Redirected(from netip.Addr, m wire.Redirect, now mono.Time) drop.Reason {
	d := redirect{dst: m.Dst(), target: m.Target(), from: from}
	switch {
	case d.dst.IsMulticast(), d.dst.IsUnspecified(), d.dst.IsLoopback(),
		d.target != d.dst && !d.target.IsLinkLocalUnicast(),
		from == d.dst, i.find(d.target) != nil, i.cfg.Link.FirstHop(d.dst) != from:
		return drop.ICMP6RedirectRefused
	}
	n := slices.IndexFunc(i.redirects, func(x redirect) bool { return x.dst == d.dst })
	switch {
	case n >= 0:
		i.redirects = slices.Delete(i.redirects, n, n+1)
	case len(i.redirects) == redirectsMax:
		i.redirects = slices.Delete(i.redirects, 0, 1)
	}
	i.redirects = append(i.redirects, d)
	i.changed = true
	i.settle(now)
	return drop.None
}
