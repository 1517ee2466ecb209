package engine

// Read first: ip-route(8), ip-rule(8), ip-nexthop(8); struct rtmsg and struct rtnexthop in rtnetlink(7).

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Route is one of the kernel's routes that concern a link: one that leads by it, or one to nowhere. A route
// of several next hops is as many of them.
type Route struct {
	Dst    netip.Prefix // the default route is 0.0.0.0/0 or ::/0
	Type   uint8        // RTN_UNICAST, or RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW: to nowhere
	Via    netip.Addr   // gateway; the zero Addr if the destination is on the link
	Src    netip.Addr   // preferred source; may be the zero Addr
	OnLink bool         // the gateway is on the link, whatever the other routes say of it
	Metric int
	MTU    int // 0: the link's
	Weight int // of a next hop among several, 1 to 256; 0: it is the only one
}

// linkRoutes returns the routes that concern a link, as the rules that a kernel starts with
// find them: those of the table main, and over IPv4 of the table default what main has no route to. Policy routing is left
// out: other tables, and routes of one TOS alone; and ways that are no next hop of the family, through tunnels and labels.
func linkRoutes(h *netlink.Handle, index int) (routes []Route, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := undisturbed(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		var main []netip.Prefix // whichever link they lead by
		for _, r := range all {
			if r.Table == unix.RT_TABLE_MAIN && r.Type != unix.RTN_THROW {
				main = append(main, dstOf(&r, family))
			}
		}
		for _, r := range all {
			dst := dstOf(&r, family)
			covered := func(p netip.Prefix) bool { return p.Bits() <= dst.Bits() && p.Contains(dst.Addr()) }
			rest := r.Table == unix.RT_TABLE_DEFAULT && family == netlink.FAMILY_V4 && !slices.ContainsFunc(main, covered)
			if r.Table == unix.RT_TABLE_MAIN || rest {
				routes = appendRoutes(routes, &r, dst, index)
			}
		}
	}
	return routes, nil
}

// dstOf is a route's prefix. Older kernels tell a default route without one.
func dstOf(r *netlink.Route, family int) netip.Prefix {
	dst, ok := prefixOf(r.Dst)
	switch {
	case ok:
		return dst
	case family == netlink.FAMILY_V6:
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// appendRoutes appends what of a kernel's route concerns a link.
func appendRoutes(routes []Route, r *netlink.Route, dst netip.Prefix, index int) []Route {
	src, _ := netip.AddrFromSlice(r.Src)
	way := Route{Dst: dst, Type: uint8(r.Type), Src: src.Unmap(), Metric: r.Priority, MTU: r.MTU}
	switch {
	case r.Tos != 0:
		return routes
	case r.Type == unix.RTN_BLACKHOLE, r.Type == unix.RTN_UNREACHABLE, r.Type == unix.RTN_PROHIBIT, r.Type == unix.RTN_THROW:
		return append(routes, way)
	case r.Type != unix.RTN_UNICAST:
		return routes
	}
	hop := func(link, flags, weight int, gw net.IP, other bool) {
		if link != index || flags&unix.RTNH_F_DEAD != 0 || other {
			return
		}
		via, _ := netip.AddrFromSlice(gw)
		way.Via, way.OnLink, way.Weight = via.Unmap(), flags&unix.RTNH_F_ONLINK != 0, weight
		routes = append(routes, way)
	}
	if len(r.MultiPath) == 0 {
		hop(r.LinkIndex, r.Flags, 0, r.Gw, r.Via != nil || r.Encap != nil)
	}
	for _, n := range r.MultiPath {
		hop(n.LinkIndex, n.Flags, n.Hops+1, n.Gw, n.Via != nil || n.Encap != nil)
	}
	return routes
}
