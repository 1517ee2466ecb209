package host

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/route"
)

// AddRoute adds a route, from now on; no core's lock is held. The errors are those of ip-route(8): EEXIST if there is
// one with this prefix and metric by the same way, ENETUNREACH if the gateway is on no link of the port (OnLink says that it is
// all the same), EINVAL for what makes no sense, EADDRNOTAVAIL if Source is not the host's, ENODEV if there is no
// such port, ENOSPC if there are too many.
func (h *Host) AddRoute(r route.Route) error {
	return h.changeRoutes("add route to "+r.Prefix.String(), Manual, func(n *network, list []route.Route) ([]route.Route, error) {
		r.Prefix = r.Prefix.Masked()
		if slices.ContainsFunc(list, func(other route.Route) bool { return sameWay(&r, &other) }) {
			return nil, unix.EEXIST
		}
		if err := h.viewOf(n).checkRoute(&r); err != nil {
			return nil, err
		}
		return append(list, r), nil
	})
}

// RemoveRoute takes a route away that AddRoute or Config gave: the one with r's prefix, metric, port,
// gateway and kind. It is ESRCH if there is none.
func (h *Host) RemoveRoute(r route.Route) error {
	return h.changeRoutes("remove route to "+r.Prefix.String(), Manual, func(_ *network, list []route.Route) ([]route.Route, error) {
		r.Prefix = r.Prefix.Masked()
		i := slices.IndexFunc(list, func(other route.Route) bool { return sameWay(&r, &other) && r.Kind == other.Kind })
		if i < 0 {
			return nil, unix.ESRCH
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// ReplaceRoutes makes list all routes that an owner gives. One that is not to be had (its gateway is on no link, its
// source not the host's any more) is left out: the owner will say more when it knows more.
func (h *Host) ReplaceRoutes(owner Owner, list []route.Route) error {
	return h.changeRoutes("set routes", owner, func(n *network, _ []route.Route) ([]route.Route, error) {
		n.routes[owner] = nil
		return h.possible(n, list), nil
	})
}

// possible returns those of a list of routes that are to be had in a network that has them.
func (h *Host) possible(n *network, list []route.Route) (good []route.Route) {
	with := n.clone()
	with.routes[Configured] = append(slices.Clone(n.routes[Configured]), slices.DeleteFunc(slices.Clone(list), func(r route.Route) bool {
		return !r.Prefix.IsValid() || r.Port < 0 || r.Port >= h.ports
	})...)
	v := h.viewOf(with)
	for _, r := range list {
		if v.checkRoute(&r) == nil {
			r.Prefix = r.Prefix.Masked()
			good = append(good, r)
		}
	}
	return good
}

// changeRoutes changes the routes that an owner gave. change has a list of its own.
func (h *Host) changeRoutes(what string, owner Owner, change func(*network, []route.Route) ([]route.Route, error)) error {
	if err := h.ended(what); err != nil {
		return err
	}
	return h.change(func(n *network) error {
		list, err := change(n, slices.Clone(n.routes[owner]))
		if err == nil && len(list) > routesMax {
			err = fmt.Errorf("%d routes are the limit: %w", routesMax, unix.ENOSPC)
		}
		if err != nil {
			return fmt.Errorf("host: %s: %w", what, err)
		}
		n.routes[owner] = list
		return nil
	})
}

// sameWay says whether two routes could not be told apart.
func sameWay(a, b *route.Route) bool {
	return a.Prefix == b.Prefix && a.Metric == b.Metric && a.Port == b.Port && a.Gateway == b.Gateway
}

// A view is a network as a route is judged by.
type view struct {
	*Host
	addrs [][]route.Addr
	table *route.Table
}

func (h *Host) viewOf(n *network) *view {
	addrs := h.addrsOf(n)
	return &view{h, addrs, h.tableOf(n, addrs)}
}

// checkRoute refuses a route that can lead nowhere.
func (v *view) checkRoute(r *route.Route) error {
	p := r.Prefix
	switch {
	case !p.IsValid():
		return fmt.Errorf("the prefix is not valid: %w", unix.EINVAL)
	case p.Addr().Is4In6(), p.Addr().IsLoopback():
		return fmt.Errorf("%s is within the host: %w", p, unix.EINVAL)
	case r.Kind > route.Throw || r.Metric < 0 || r.Weight < 0 || r.Weight > weightMax:
		return unix.EINVAL
	case r.Kind != route.Unicast:
		return nil // it has no way
	case r.Port < 0 || r.Port >= v.ports || v.net.gone[r.Port]:
		return fmt.Errorf("there is no port %d: %w", r.Port, unix.ENODEV)
	case r.MTU != 0 && r.MTU < minMTU(p.Addr()):
		return fmt.Errorf("an MTU of %d is less than every link has (%d): %w", r.MTU, minMTU(p.Addr()), unix.EINVAL)
	}
	if r.Source.IsValid() && !slices.ContainsFunc(v.addrs, func(list []route.Addr) bool {
		i := indexOf(list, r.Source)
		return i >= 0 && list[i].Usable()
	}) {
		return fmt.Errorf("the source %s is no address of the host: %w", r.Source, unix.EADDRNOTAVAIL)
	}
	return v.checkGateway(r)
}

// checkGateway refuses a gateway that is not a neighbour (Linux: fib_check_nh, ip6_route_check_nh).
func (v *view) checkGateway(r *route.Route) error {
	gw := r.Gateway
	switch {
	case !gw.IsValid():
		return nil
	case gw.Is4() != r.Prefix.Addr().Is4():
		return fmt.Errorf("the gateway %s is of the other family: %w", gw, unix.EINVAL)
	case gw.IsMulticast(), gw.IsUnspecified(), gw.IsLoopback(), indexOf(v.addrs[r.Port], gw) >= 0:
		return fmt.Errorf("%s is no gateway: %w", gw, unix.EINVAL)
	case r.OnLink, gw.Is6() && gw.IsLinkLocalUnicast():
		return nil
	}
	if way, ok := v.table.Lookup(gw); ok && way.Kind == route.Unicast && way.Port == r.Port && !way.Gateway.IsValid() {
		return nil
	}
	return fmt.Errorf("the gateway %s is on no link of %s; if it is there all the same, say OnLink: %w", gw, v.names[r.Port], unix.ENETUNREACH)
}

// weightMax is the most that a next hop weighs (struct rtnexthop: a byte, from 1).
const weightMax = 256

// minMTU is what every link has (RFC 791 §3.2, RFC 8200 §5).
func minMTU(a netip.Addr) int {
	if a.Is4() {
		return 68
	}
	return mtuMin6
}
