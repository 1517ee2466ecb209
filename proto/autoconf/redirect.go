package autoconf

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §8.1 (which redirects are valid), §8.3; RFC 1122 §3.3.1.2.

// redirect is one destination with a better first hop.
type redirect struct {
	dst    netip.Addr
	target netip.Addr // a router, or dst itself, which is on the link
	from   netip.Addr // the router that said so
	until  mono.Time
}

// redirects are those of an interface, the one that was told of last at the end. Whether the new first hop
// answers is the stack's to know.
type redirects []redirect

// put takes one in, in the place of what was known of its destination.
func (l *redirects) put(d redirect) {
	n := slices.IndexFunc(*l, func(x redirect) bool { return x.dst == d.dst })
	switch {
	case n >= 0:
		*l = slices.Delete(*l, n, n+1)
	case len(*l) == redirectsMax:
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, d)
}

// drop takes those out that are to go, and says whether there were any.
func (l *redirects) drop(goes func(redirect) bool) bool {
	n := len(*l)
	*l = slices.DeleteFunc(*l, goes)
	return len(*l) != n
}

// run takes those out whose time is over.
func (l *redirects) run(now mono.Time) bool {
	return l.drop(func(d redirect) bool { return d.until.Due(now) })
}

// next is when the first one's time is over.
func (l redirects) next() mono.Time {
	next := mono.Never
	for i := range l {
		next = min(next, l[i].until)
	}
	return next
}

// routes returns what they say of where packets go.
func (l redirects) routes() (list []Route) {
	for _, d := range l {
		r := Route{Prefix: netip.PrefixFrom(d.dst, d.dst.BitLen()), Until: d.until, Redirected: true}
		if d.target != d.dst {
			r.Gateway = d.target
		}
		list = append(list, r)
	}
	return list
}

// Redirected takes a redirect from a link-local address, with a hop limit of 255, a good checksum
// and good options. What else RFC 4861 §8.1 demands is judged here: only the router that
// packets to the destination go to now may send them elsewhere.
func (i *Interface6) Redirected(from netip.Addr, m wire.Redirect, now mono.Time) drop.Reason {
	d := redirect{dst: m.Dst(), target: m.Target(), from: from, until: now.Add(redirectLife)}
	switch {
	case d.dst.IsMulticast(), d.dst.IsUnspecified(), d.dst.IsLoopback(),
		d.target != d.dst && !d.target.IsLinkLocalUnicast(),
		from == d.dst, from == d.target, i.find(d.target) != nil, i.cfg.Link.FirstHop(d.dst) != from:
		return drop.ICMP6RedirectRefused
	}
	i.redirects.put(d)
	i.changed = true
	i.settle(now)
	return drop.None
}

// KeepRedirects drops those of routers that are none any more.
func (i *Interface6) KeepRedirects(router func(netip.Addr) bool, now mono.Time) {
	if i.redirects.drop(func(d redirect) bool { return !router(d.from) }) {
		i.changed = true
		i.settle(now)
	}
}

// Redirected takes a redirect that the stack believes: that packets to dst go to from, and that a socket has sent one,
// is more than this machine knows.
func (i *Interface4) Redirected(from, dst, target netip.Addr, now mono.Time) {
	i.redirects.put(redirect{dst: dst, target: target, from: from, until: now.Add(redirectLife)})
	i.changed = true
	i.settle(now)
}

// KeepRedirects drops those of routers that are none any more.
func (i *Interface4) KeepRedirects(router func(netip.Addr) bool, now mono.Time) {
	if i.redirects.drop(func(d redirect) bool { return !router(d.from) }) {
		i.changed = true
		i.settle(now)
	}
}

// Routes returns the ways that routers have told of.
func (i *Interface4) Routes() []Route { return i.redirects.routes() }
