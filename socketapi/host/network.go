package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: ip-address(8), ip-route(8); fib_sync_down_addr and fib_check_nh in
// net/ipv4/fib_semantics.c for what a change draws after it.

// Limits on what is held of addresses and routes, which a router's advertisements or a
// kernel that is mirrored can make many.
const (
	addrsMax  = 256     // of one interface: each is looked at for a packet to a new destination
	routesMax = 1 << 16 // of a host: each change makes the table anew, some 20 ms for so many
)

// Owner is who says that the host has an address or a route. What one owner says, another
// does not take away. Of one address that several give to an interface, the first one's
// state and lifetime count.
type Owner uint8

const (
	Manual     Owner = iota // the program: Config, AddAddr, AddRoute
	Configured              // address configuration: routers, DHCP
	Kernel                  // the kernel, where it is mirrored
	owners
)

// network is the addresses and routes that all cores hold alike. A value of it is
// never changed: each change makes another.
type network struct {
	addrs  [owners][][]route.Addr // by port
	routes [owners][]route.Route
	states []map[netip.Addr]route.State // by port: of those of the program's that are detected
	mtus   []int                        // by port: bytes of an IP packet
}

// networks is the network now. mu is held for a change, and taken before any core's lock.
type networks struct {
	mu   sync.Mutex
	now  *network                                // written with mu held
	own  atomic.Pointer[map[netip.Addr]struct{}] // those that are usable, with zones, for Local
	gone []bool                                  // ports whose interface has gone: they have no addresses and routes; guarded by mu
}

func newNetwork(ports int) *network {
	n := &network{states: make([]map[netip.Addr]route.State, ports), mtus: make([]int, ports)}
	for o := range n.addrs {
		n.addrs[o] = make([][]route.Addr, ports)
	}
	return n
}

func (n *network) clone() *network {
	c := *n
	c.states, c.mtus = slices.Clone(n.states), slices.Clone(n.mtus)
	for o := range n.addrs {
		c.addrs[o] = slices.Clone(n.addrs[o])
	}
	return &c
}

// all returns the addresses of a port, each once.
func (n *network) all(port int) (list []route.Addr) {
	for o := range n.addrs {
		for _, a := range n.addrs[o][port] {
			if indexOf(list, a.Prefix.Addr()) < 0 {
				list = append(list, a)
			}
		}
	}
	return list
}

// indexOf returns where an address is in a list, -1 if it is not.
func indexOf(list []route.Addr, addr netip.Addr) int {
	return slices.IndexFunc(list, func(a route.Addr) bool { return a.Prefix.Addr() == addr })
}

// tableOf returns the routes of a network: those of the links of all addresses, and those that the owners
// gave, by an interface that is there.
func (h *Host) tableOf(n *network, addrs [][]route.Addr) *route.Table {
	var routes []route.Route
	for port := range addrs {
		routes = appendLinks(routes, port, addrs)
	}
	links := routes
	for _, given := range n.routes {
		for _, r := range given {
			there := r.Kind != route.Unicast || !h.net.gone[r.Port] && (r.Prefix.Addr().Is4() || n.mtus[r.Port] >= mtuMin6)
			if there && !slices.Contains(links, r) {
				routes = append(routes, r)
			}
		}
	}
	return route.New(routes)
}

// metric6 is the metric of the routes of IPv6 links (Linux: IP6_RT_PRIO_ADDRCONF).
const metric6 = 256

// appendLinks appends the routes that come with the addresses of a port. An IPv4 link is spoken to
// from the address that is preferred there; none of them being usable, it is not spoken to. Over IPv6 the
// source is chosen for each destination.
func appendLinks(routes []route.Route, port int, addrs [][]route.Addr) []route.Route {
	for i := range addrs[port] {
		a := &addrs[port][i]
		p := a.Prefix.Masked()
		if a.Detached || p.IsSingleIP() || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() { // the last has its link in it
			continue
		}
		r := route.Route{Prefix: p, Port: port, Metric: metric6}
		if p.Addr().Is4() {
			src, _, ok := route.Source(a.Prefix.Addr(), a.Prefix.Addr(), port, addrs, true)
			if !ok || !p.Contains(src) {
				continue
			}
			r.Source, r.Metric = src, 0
		}
		if !slices.Contains(routes, r) {
			routes = append(routes, r)
		}
	}
	return routes
}

// change makes another network of what do changes, in an order in which no packet that should come is
// missed: traffic of new addresses is steered here, the cores hear of everything, and then traffic
// of addresses that are gone is the kernel's again.
func (h *Host) change(do func(*network) error) error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	next := h.net.now.clone()
	if err := do(next); err != nil {
		return err
	}
	before, after := h.addrsOf(h.net.now), h.addrsOf(next)
	if err := h.steer(before, after); err != nil {
		return err
	}
	h.Ports.share(h.sharedWithKernel(next, before, after)) // before anybody can be bound to a new one
	h.install(next, after)
	h.announce(next, before, after)
	h.syncDetection(next, after)
	return h.unsteer(before, after)
}

// addrsOf is the addresses of all ports that have an interface. A link that is too narrow for IPv6 has none
// of that family, until it is wide enough again (Linux: addrconf_notify).
func (h *Host) addrsOf(n *network) [][]route.Addr {
	list := make([][]route.Addr, h.ports)
	for port := range list {
		if !h.net.gone[port] {
			given := n.all(port)
			if n.mtus[port] < mtuMin6 {
				given = slices.DeleteFunc(given, func(a route.Addr) bool { return a.Prefix.Addr().Is6() })
			}
			list[port] = withLinkLocal(given, h.cores[0].Stack.Port(port))
			for i := range list[port] {
				list[port][i].State = h.stateOf(n, port, &list[port][i])
			}
		}
	}
	return list
}

// steer takes the traffic of the addresses that are new. If one cannot be had, none is.
func (h *Host) steer(before, after [][]route.Addr) (err error) {
	taken := make([][]route.Addr, len(after))
	for port := range after {
		nic := h.byPort[port]
		if nic == nil {
			continue
		}
		for _, a := range after[port] {
			if indexOf(before[port], a.Prefix.Addr()) >= 0 {
				continue
			}
			take := nic.AddAddr
			if h.shared(port) {
				take = nic.ShareAddr
			}
			if err := take(a.Prefix.Addr()); err != nil {
				err = fmt.Errorf("host: take %s on %s: %w", a.Prefix.Addr(), h.names[port], err)
				return errors.Join(err, h.unsteer(taken, make([][]route.Addr, len(taken))))
			}
			taken[port] = append(taken[port], a)
		}
	}
	return nil
}

// unsteer gives back the traffic of addresses that are no more.
func (h *Host) unsteer(before, after [][]route.Addr) error {
	var errs []error
	for port := range before {
		nic := h.byPort[port]
		if nic == nil {
			continue
		}
		for _, a := range before[port] {
			if indexOf(after[port], a.Prefix.Addr()) >= 0 {
				continue
			}
			giveBack := nic.RemoveAddr
			if h.shared(port) {
				giveBack = nic.UnshareAddr
			}
			if err := giveBack(a.Prefix.Addr()); err != nil {
				errs = append(errs, fmt.Errorf("host: give back %s on %s: %w", a.Prefix.Addr(), h.names[port], err))
			}
		}
	}
	return errors.Join(errs...)
}

// install puts a network into force.
func (h *Host) install(n *network, addrs [][]route.Addr) {
	table := h.tableOf(n, addrs)
	own := make(map[netip.Addr]struct{})
	for port := range addrs {
		for i := range addrs[port] {
			if a := &addrs[port][i]; a.Usable() {
				own[h.zoned(port, a.Prefix.Addr())] = struct{}{}
			}
		}
	}
	h.net.now = n
	for _, c := range h.cores {
		c.Lock()
		for port := range addrs {
			c.Stack.SetMTU(port, n.mtus[port], c.Now())
			c.Stack.PutAddrs(port, addrs[port])
		}
		c.Stack.SetRoutes(table)
		c.Stack.KeepRedirects(c.Now())
		c.Flush()
		c.Unlock()
	}
	h.net.own.Store(&own)
}

// zoned is an address as programs name it: a link-local one has its interface for a zone.
func (h *Host) zoned(port int, a netip.Addr) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return wire.WithScope(a, uint32(h.indexes[port]))
	}
	return a
}

// announce tells the links of addresses that have become usable. The answers to what others ask come from any core;
// this comes from the first.
func (h *Host) announce(n *network, before, after [][]route.Addr) {
	first := h.cores[0]
	first.Lock()
	defer first.Unlock()
	for port := range after {
		for i := range after[port] {
			a := &after[port][i]
			if h.announces(n, port, a.Prefix.Addr()) {
				continue
			}
			if j := indexOf(before[port], a.Prefix.Addr()); a.Usable() && (j < 0 || !before[port][j].Usable()) {
				first.Stack.Announce(port, a.Prefix.Addr())
			}
		}
	}
	first.Flush()
}

// Local says whether a socket can be bound to a: it is an address of the host that is
// in use, or stands for all.
func (h *Host) Local(a netip.Addr) bool {
	if a.IsUnspecified() || a.IsLoopback() {
		return true
	}
	_, ok := (*h.net.own.Load())[a]
	return ok
}

// LocalOn says whether an address is one of a port's own.
func (h *Host) LocalOn(port int, a netip.Addr) bool { return indexOf(h.portAddrs(port), a) >= 0 }

// ended is the error of a change of a host that is over.
func (h *Host) ended(what string) error {
	if h.Closed() {
		return fmt.Errorf("host: %s: the host has ended: %w", what, unix.ENETDOWN)
	}
	return nil
}
