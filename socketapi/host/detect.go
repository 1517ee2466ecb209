package host

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/autoconf"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Detection says which addresses of the program's are probed for before they are used. Until then
// they are tentative, and one that another station has is never used.
type Detection uint8

const (
	// DetectAuto probes for IPv6 addresses, one to two seconds (RFC 4862 §5.4 wants it of every
	// address). A host that is Manual does not, having no time of its own.
	DetectAuto Detection = iota
	// DetectAll probes for IPv4 addresses too, some six seconds (RFC 5227 §2.1).
	DetectAll
	// DetectNone probes for none.
	DetectNone
)

// detectMax is how long Open waits for detection: the four to seven seconds of RFC 5227 §2.1.1,
// and as much again on a machine that has no time.
const detectMax = 15 * time.Second

// A DuplicateError says that another station has an address of the host.
type DuplicateError struct {
	Interface string
	Addr      netip.Addr
	Rival     wire.MAC // who has it; zero: not known
}

func (e *DuplicateError) Error() string {
	who := ""
	if !e.Rival.IsZero() {
		who = " (" + e.Rival.String() + ")"
	}
	return fmt.Sprintf("host: %s on %s is the address of another station%s: give the host another one, or take it away there", e.Addr, e.Interface, who)
}

// detection is the machines that find out about addresses, and who takes in what they find.
// The machines belong to the core proto.AutoconfCore.
type detection struct {
	ports []*detectPort // by port; nil: a link without stations. Not changed after Open
	news  chan struct{} // with room for one: a machine has found out something
	quit  chan struct{} // ends the follower
	done  sync.WaitGroup

	taking sync.Mutex // held from asking the machines to the change: what is older never comes after what is newer

	mu     sync.Mutex
	taken  chan struct{} // closed, and made anew, when news have been taken in
	leases []*lease
}

// detectPort is a port's machines.
type detectPort struct {
	*proto.Autoconf
	detect6, detect4 bool
}

// makeDetection makes the machines of all ports. Nothing runs yet.
func (h *Host) makeDetection(cfg *Config, secret [16]byte) {
	d := &h.detection
	d.news, d.quit, d.taken = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	d.ports = make([]*detectPort, h.ports)
	stack := h.cores[proto.AutoconfCore].Stack
	for j := range d.ports {
		in := &cfg.Interfaces[j]
		p := &detectPort{detect4: in.Detect == DetectAll, detect6: in.Detect == DetectAll || in.Detect == DetectAuto && !cfg.Manual}
		conf := &proto.AutoconfConfig{
			Name: stack.Port(j).MAC.String(), Secret: secret, Auto: in.Auto,
			Changed: func(mono.Time) { d.tell() },
		}
		if !p.detect6 {
			conf.Transmits = -1
		}
		if p.Autoconf = stack.SetAutoconf(j, conf); p.Autoconf != nil {
			d.ports[j] = p
		}
	}
}

// startDetection lets the machines begin, before any address of the program's.
func (h *Host) startDetection(cfg *Config) error {
	c, now := h.cores[proto.AutoconfCore], h.clock.Now()
	c.Lock()
	for j, p := range h.detection.ports {
		if p == nil {
			continue
		}
		if h.dark(j) {
			p.V6.Down(now)
			p.V4.Down(now)
		}
		p.V6.Start(now)
		p.V4.LinkLocal(cfg.Interfaces[j].LinkLocal, now)
	}
	c.Flush()
	c.Unlock()
	if err := h.takeNews(); err != nil || cfg.Manual {
		return err
	}
	h.detection.done.Go(h.follow)
	return nil
}

// settle takes in what a Manual host's machines have found out while it opened, so that nothing
// of that comes later by itself, and then what comes.
func (h *Host) settle() (err error) {
	select {
	case <-h.detection.news:
		err = h.takeNews()
	default:
	}
	h.detection.done.Go(h.follow)
	return err
}

// tell wakes the follower. It is called with a core's lock held.
func (d *detection) tell() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// follow takes in news until the host ends. It is a goroutine because what a machine finds out in
// the middle of a packet changes all cores, and the rules of the NIC.
func (h *Host) follow() {
	for {
		select {
		case <-h.detection.quit:
			return
		case <-h.detection.news:
			h.takeNews() // an error is one of the kernel's rules: the next news try again
		}
	}
}

// stopDetection ends the follower.
func (h *Host) stopDetection() {
	if h.detection.quit != nil {
		close(h.detection.quit)
		h.detection.done.Wait()
	}
}

// stopProbing is called when a port's link has lost its carrier.
func (h *Host) stopProbing(port int) {
	p := h.detection.ports[port]
	if p == nil {
		return
	}
	c, now := h.cores[proto.AutoconfCore], h.clock.Now()
	c.Lock()
	defer c.Unlock()
	p.V6.Down(now)
	p.V4.Down(now)
}

// restartDetection is called when a port's link has come up again: it may be another one now. Addresses are
// detected once more, routers asked for, and those told of our addresses whom no machine tells.
func (h *Host) restartDetection(port int) {
	p := h.detection.ports[port]
	if p == nil {
		return
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	c, now := h.cores[proto.AutoconfCore], h.clock.Now()
	c.Lock()
	defer c.Unlock()
	p.V6.Restart(now)
	p.V4.Restart(now)
	for _, a := range c.Stack.Addrs(port) {
		if a.Usable() && !h.announces(h.net.now, port, a.Prefix.Addr()) {
			c.Stack.Announce(port, a.Prefix.Addr())
		}
	}
	c.Flush()
}

// found is what the machines of a port say.
type found struct {
	addrs  []autoconf.Addr
	routes []autoconf.Route
	params autoconf.Params
}

// takeNews makes a network of what the machines say.
func (h *Host) takeNews() error {
	h.detection.taking.Lock()
	defer h.detection.taking.Unlock()
	all := make([]found, h.ports)
	c := h.cores[proto.AutoconfCore]
	c.Lock()
	for j, p := range h.detection.ports {
		if p != nil {
			all[j] = found{append(p.V6.Addrs(), p.V4.Addrs()...), append(p.V6.Routes(), p.V4.Routes()...), p.V6.Params()}
		}
	}
	c.Unlock()
	err := h.change(func(n *network) error {
		var routes []route.Route
		for j := range all {
			h.putFound(n, j, &all[j])
			for _, r := range all[j].routes {
				routes = append(routes, routeOf(r, j))
			}
		}
		n.routes[Configured] = nil
		n.routes[Configured] = h.possible(n, append(routes, h.detection.leaseRoutes()...))
		return nil
	})
	for _, c := range h.cores {
		c.Lock()
		for j := range all {
			if p := all[j].params; h.detection.ports[j] != nil {
				c.Stack.SetLink6(j, p.MTU, p.HopLimit, p.ReachableTime, p.RetransTimer)
			}
		}
		c.Unlock()
	}
	h.detection.tellLeases(all)
	h.detection.mu.Lock()
	close(h.detection.taken)
	h.detection.taken = make(chan struct{})
	h.detection.mu.Unlock()
	return err
}

// putFound puts what the machines of a port say of addresses into a network: the states of the
// program's, and all of those that they have made themselves.
func (h *Host) putFound(n *network, port int, f *found) {
	states := map[netip.Addr]route.State{}
	var list []route.Addr
	for _, a := range f.addrs {
		if a.Origin == autoconf.Manual {
			states[a.Prefix.Addr()] = a.State
			continue
		}
		list = append(list, route.Addr{
			Prefix: a.Prefix, State: a.State,
			Detached:       a.Origin == autoconf.Stateless || a.Origin == autoconf.Leased, // routers say what is on the link; a lease has a route
			PreferredUntil: until(a.Preferred), ValidUntil: until(a.Valid),
		})
	}
	lost := n.addrs[Configured][port]
	n.addrs[Configured][port], n.states[port] = list, states
	for _, a := range lost {
		n.dropSource(a.Prefix.Addr())
	}
}

// until is a time as package route has it.
func until(t mono.Time) mono.Time {
	if t == mono.Never {
		return 0
	}
	return t
}

// metricDefault6 is the metric of the best default route that a router has advertised (Linux:
// IP6_RT_PRIO_USER).
const metricDefault6 = 1024

// routeOf is a way that a machine knows of as a route. Redirects come before everything.
func routeOf(r autoconf.Route, port int) route.Route {
	metric := 0
	switch {
	case r.Prefix.Bits() == 0 && r.Gateway.IsValid():
		metric = metricDefault6 + r.Rank
	case !r.Prefix.IsSingleIP():
		metric = metric6
	}
	return route.Route{Prefix: r.Prefix, Port: port, Gateway: r.Gateway, Metric: metric, Redirected: r.Redirected, OnLink: r.Redirected}
}

// stateOf is the state of an address that is to be detected: what has been found out so far.
func (h *Host) stateOf(n *network, port int, a *route.Addr) route.State {
	p := h.detection.ports[port]
	if p == nil || !n.detected(port, a.Prefix.Addr()) || a.Prefix.Addr().Is4() && !p.detect4 || a.Prefix.Addr().Is6() && !p.detect6 {
		return a.State
	}
	state, ok := n.states[port][a.Prefix.Addr()]
	switch {
	case !ok:
		return route.Tentative
	case state.Usable():
		return a.State // the program may have said that it is deprecated
	}
	return state
}

// detected says whether an address of a port is to be detected here: what the kernel has it has
// detected, and what the machines have made they say themselves.
func (n *network) detected(port int, a netip.Addr) bool {
	return indexOf(n.addrs[Kernel][port], a) < 0 && indexOf(n.addrs[Configured][port], a) < 0
}

// syncDetection tells the machines which addresses the program has given, after a change.
func (h *Host) syncDetection(n *network, addrs [][]route.Addr) {
	c, now := h.cores[proto.AutoconfCore], h.clock.Now()
	c.Lock()
	defer c.Unlock()
	for j, p := range h.detection.ports {
		if p == nil {
			continue
		}
		given := slices.DeleteFunc(slices.Clone(addrs[j]), func(a route.Addr) bool { return !n.detected(j, a.Prefix.Addr()) })
		for _, a := range append(p.V6.Addrs(), p.V4.Addrs()...) {
			switch {
			case a.Origin != autoconf.Manual || indexOf(given, a.Prefix.Addr()) >= 0:
			case a.Prefix.Addr().Is4():
				p.V4.Remove(a.Prefix.Addr(), now)
			default:
				p.V6.Remove(a.Prefix.Addr(), now)
			}
		}
		for _, a := range given {
			switch {
			case a.Prefix.Addr().Is6():
				p.V6.Add(a.Prefix, now)
			case p.detect4 || a.Usable():
				p.V4.Add(a.Prefix, autoconf.Manual, autoconf.DefendAlways, p.detect4, now)
			}
		}
	}
	c.Flush()
}

// announces says whether the machine of a port announces an address itself.
func (h *Host) announces(n *network, port int, a netip.Addr) bool {
	return h.detection.ports[port] != nil && a.Is4() && n.detected(port, a)
}

// Await waits until done says so of all addresses of a port, which it is asked whenever one has
// changed. It is the context's error if that ends first, and ENETDOWN if the host does.
func (h *Host) Await(ctx context.Context, port int, done func([]route.Addr) bool) error {
	for {
		h.detection.mu.Lock()
		taken := h.detection.taken
		h.detection.mu.Unlock()
		if done(h.portAddrs(port)) {
			return nil
		}
		select {
		case <-taken:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.done:
			return h.ended("wait for an address")
		}
	}
}

// portAddrs returns the addresses of a port. They are not to be changed.
func (h *Host) portAddrs(port int) []route.Addr {
	first := h.cores[0] // they are the same for all
	first.Lock()
	defer first.Unlock()
	return first.Stack.Addrs(port)
}

// awaitDetection waits until the addresses of the configuration can be used. Those of a link without a carrier stay
// tentative until it has one, and nobody knows when that is.
func (h *Host) awaitDetection() error {
	ctx, cancel := context.WithTimeout(context.Background(), detectMax)
	defer cancel()
	for j := range h.ports {
		err := h.Await(ctx, j, func(list []route.Addr) bool {
			return h.dark(j) || !slices.ContainsFunc(list, func(a route.Addr) bool { return a.State == route.Tentative && h.detects(j, a.Prefix.Addr()) })
		})
		if err != nil {
			return fmt.Errorf("host: detect duplicates on %s: %w", h.names[j], err)
		}
		for _, a := range h.portAddrs(j) {
			if a.State == route.Duplicate && h.detects(j, a.Prefix.Addr()) {
				return h.duplicate(j, a.Prefix.Addr())
			}
		}
	}
	return nil
}

// detects is detected of the network now.
func (h *Host) detects(port int, a netip.Addr) bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.net.now.detected(port, a)
}

// duplicate is the error about an address of a port.
func (h *Host) duplicate(port int, addr netip.Addr) error {
	e := &DuplicateError{Interface: h.names[port], Addr: addr}
	c := h.cores[proto.AutoconfCore]
	c.Lock()
	defer c.Unlock()
	p := h.detection.ports[port]
	for _, a := range append(p.V6.Addrs(), p.V4.Addrs()...) {
		if a.Prefix.Addr() == addr {
			e.Rival = a.Rival
		}
	}
	return e
}

// Resolver returns the DNS servers and search domains that routers on a port's link have told of
// (RFC 8106). A link-local server has the interface as its zone.
func (h *Host) Resolver(port int) (servers []netip.Addr, domains []string) {
	p := h.detection.ports[port]
	if p == nil {
		return nil, nil
	}
	c := h.cores[proto.AutoconfCore]
	c.Lock()
	defer c.Unlock()
	for _, s := range p.V6.Servers() {
		servers = append(servers, h.zoned(port, s.Addr))
	}
	for _, d := range p.V6.Domains() {
		domains = append(domains, d.Name)
	}
	return servers, domains
}

// machineID is where systemd and others keep a number of the machine's own.
const machineID = "/etc/machine-id"

// stableSecret is the key of stable addresses (RFC 7217 §5): the same at each start on this
// machine, and of no use to tell the machine by. A machine without a number gets random, which is
// addresses of one run.
func stableSecret(random [16]byte) [16]byte {
	id, err := os.ReadFile(machineID)
	if err != nil || len(id) < 32 {
		return random
	}
	sum := sha256.Sum256(append([]byte("xdpsock stable addresses\n"), id...))
	return [16]byte(sum[:16])
}
