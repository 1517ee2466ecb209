package autoconf

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §6.3.4 (what an advertisement does), §6.3.6 (which router); RFC 4191 §3.2
// (preferences).

// router is a default router.
type router struct {
	addr       netip.Addr // link-local
	until      mono.Time
	preference int  // 1, 0, -1
	doubted    bool // see doubting
}

// prefix is one whose addresses are on the link.
type prefix struct {
	netip.Prefix
	until   mono.Time
	doubted bool // see doubting
}

// Advertised takes a router advertisement from src that is valid by RFC 4861 §6.1.2.
func (i *Interface6) Advertised(src netip.Addr, ra wire.RouterAdvertisement, o *wire.NDPOptions, now mono.Time) drop.Reason {
	if !i.cfg.Auto {
		return drop.NDPRouterRefused
	}
	i.setParams(ra, o)
	i.confirming(now)
	fits := i.setRouter(src, ra, now)
	for _, p := range o.Prefixes[:o.PrefixCount] {
		if p.OnLink {
			fits = i.setPrefix(p, now) && fits
		}
		if p.Autonomous {
			fits = i.setStateless(p, now) && fits
		}
	}
	fits = i.setResolver(o, now) && fits
	i.settle(now)
	if !fits {
		return drop.NDPRouterRefused
	}
	return drop.None
}

// setParams takes in what a router says of the link, within reason.
func (i *Interface6) setParams(ra wire.RouterAdvertisement, o *wire.NDPOptions) {
	p := i.params
	if v := ra.CurHopLimit(); v >= hopLimitMin {
		p.HopLimit = v
	}
	if v := ra.ReachableTime(); v != 0 && v <= reachableTimeMax {
		p.ReachableTime = v
	}
	if v := ra.RetransTimer(); v != 0 {
		p.RetransTimer = min(max(v, retransMin), retransMax)
	}
	if v := int(o.MTU); v >= mtuMin && v <= i.cfg.MTU {
		i.told, p.MTU = v, v
	}
	p.Managed, p.OtherConfig = ra.Managed(), ra.OtherConfig()
	if p != i.params {
		i.params, i.changed = p, true
	}
}

// setRouter takes in whether, and how long, src is a default router. It is false if
// there are too many.
func (i *Interface6) setRouter(src netip.Addr, ra wire.RouterAdvertisement, now mono.Time) bool {
	n := slices.IndexFunc(i.routers, func(r *router) bool { return r.addr == src })
	life := ra.Lifetime()
	switch {
	case life == 0 && n < 0:
		return true
	case life == 0:
		i.dropRouter(i.routers[n], now)
		return true
	case n < 0:
		if !put(&i.routers, routersMax, &router{addr: src}) {
			return false
		}
		n = len(i.routers) - 1
		i.changed = true
	}
	r := i.routers[n]
	i.changed = i.changed || r.preference != ra.Preference()
	r.until, r.preference, r.doubted = now.Add(life), ra.Preference(), false // that it can be heard does not say that it hears us (§7.3.1)
	i.endAsking()
	return true
}

// dropRouter forgets a router, and with it where it has redirected to.
func (i *Interface6) dropRouter(r *router, now mono.Time) {
	i.routers = slices.DeleteFunc(i.routers, func(x *router) bool { return x == r })
	i.redirects.drop(func(d redirect) bool { return d.from == r.addr })
	i.changed = true
	if len(i.routers) == 0 {
		i.beginAsking(now)
	}
}

// setPrefix takes in that a prefix is on the link.
func (i *Interface6) setPrefix(p wire.NDPPrefix, now mono.Time) bool {
	n := slices.IndexFunc(i.prefixes, func(x prefix) bool { return x.Prefix == p.Prefix })
	switch {
	case p.Valid == 0 && n < 0:
	case p.Valid == 0:
		i.prefixes = slices.Delete(i.prefixes, n, n+1)
		i.changed = true
	case n >= 0:
		i.prefixes[n].until, i.prefixes[n].doubted = now.Add(p.Valid), false
	case !put(&i.prefixes, prefixesMax, prefix{Prefix: p.Prefix, until: now.Add(p.Valid)}):
		return false
	default:
		i.changed = true
	}
	return true
}

// runRouters forgets routers and prefixes whose time is over.
func (i *Interface6) runRouters(now mono.Time) {
	for _, r := range slices.Clone(i.routers) {
		if r.until.Due(now) {
			i.dropRouter(r, now)
		}
	}
	n := len(i.prefixes)
	i.prefixes = slices.DeleteFunc(i.prefixes, func(p prefix) bool { return p.until.Due(now) })
	i.changed = i.changed || len(i.prefixes) != n
}

// NotRouter is told that a station is no router any more (RFC 4861 §7.2.5).
func (i *Interface6) NotRouter(a netip.Addr, now mono.Time) {
	if r := i.router(a); r != nil {
		i.dropRouter(r, now)
		i.settle(now)
	}
}

func (i *Interface6) router(a netip.Addr) *router {
	for _, r := range i.routers {
		if r.addr == a {
			return r
		}
	}
	return nil
}

// Route is one way that the interface knows of.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr // not valid: on the link
	Rank    int        // of default routes the lower is to be taken
	Until   mono.Time

	Redirected bool // of one destination, by the router that packets to it went to
}

// Routes returns the ways that routers have told of: prefixes on the link, default
// routes with the best first, redirected destinations.
func (i *Interface6) Routes() []Route {
	var list []Route
	for _, p := range i.prefixes {
		list = append(list, Route{Prefix: p.Prefix, Until: p.until})
	}
	// RFC 4191 §3.2. Which of them answer is the stack's to know (RFC 4861 §6.3.6).
	best := slices.SortedStableFunc(slices.Values(i.routers), func(a, b *router) int {
		return cmp.Compare(b.preference, a.preference)
	})
	for rank, r := range best {
		list = append(list, Route{Prefix: everywhere, Gateway: r.addr, Rank: rank, Until: r.until})
	}
	return append(list, i.redirects.routes()...)
}

var everywhere = netip.PrefixFrom(unspecified, 0)
