package host

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/route"
)

// Mirror says what of the kernel's the host is to have as well, now and after each change.
type Mirror uint8

const (
	// MirrorRoutes follows the kernel's routes by way of the interface, and those that lead nowhere. The host has
	// addresses of its own, beside the kernel's on the same link, and leaves by the same routers. Of several
	// next hops those by a mirrored interface share what goes there. Not followed is policy routing:
	// rules, tables other than main and IPv4's default, routes of one TOS.
	MirrorRoutes Mirror = 1 << iota

	// MirrorAddrs takes the interface's addresses over, but its link-local ones, by which the kernel goes
	// on to speak to routers. They stay the kernel's, which goes on to configure them and
	// sends from them; but all that comes in for them is the host's: the kernel's own programs
	// hear nothing by this interface any more, ssh included. A port that a socket here has is held in the
	// kernel too, so that no program takes it there, and one that a program has is EADDRINUSE here.
	MirrorAddrs
)

// kernelMirror is the kernel's side of one interface.
type kernelMirror struct {
	host    *Host
	port    int
	what    Mirror
	shared  *Interface // nil: what is mirrored is the host's alone
	watcher *engine.KernelWatcher
}

// mirrored is the routes of all mirrored interfaces, which are replaced together.
type mirrored struct {
	mu      sync.Mutex // taken before networks.mu
	mirrors []*kernelMirror
	routes  [][]route.Route // by port
}

// startMirrors begins to follow the kernel where the configuration says so. It is called in the network
// namespace of the interfaces.
func (h *Host) startMirrors(cfg *Config) error {
	h.mirrored.routes = make([][]route.Route, h.ports)
	for port := range cfg.Interfaces {
		m := &kernelMirror{host: h, port: port, what: cfg.Interfaces[port].Mirror}
		if h.shared(port) {
			m.what, m.shared = MirrorRoutes|MirrorAddrs, &cfg.Interfaces[port]
		}
		if m.what == 0 {
			continue
		}
		first, firstErr := true, error(nil)
		watcher, err := engine.WatchKernel(h.indexes[port], func(k engine.Kernel) {
			// A later change that cannot be had, since there is too much of it, leaves what was before.
			if err := m.take(k, first); first {
				first, firstErr = false, err
			}
		})
		if err != nil {
			return err
		}
		m.watcher = watcher
		h.mirrored.mirrors = append(h.mirrored.mirrors, m)
		if firstErr != nil {
			return firstErr
		}
	}
	return nil
}

func (h *Host) stopMirrors() (errs []error) {
	for _, m := range h.mirrored.mirrors {
		errs = append(errs, m.watcher.Close())
	}
	return errs
}

// take gives the host what the kernel has.
func (m *kernelMirror) take(k engine.Kernel, first bool) (err error) {
	h := m.host
	h.mirrored.mu.Lock()
	defer h.mirrored.mu.Unlock()
	if m.what&MirrorAddrs != 0 {
		addrs := kernelAddrs(k.Addrs, false)
		if m.shared != nil {
			if addrs, err = m.sharedAddrs(k.Addrs, first); err != nil {
				return err
			}
		}
		if err := h.ReplaceAddrs(Kernel, m.port, addrs); err != nil {
			return err
		}
	}
	if m.what&MirrorRoutes == 0 {
		return nil
	}
	h.mirrored.routes[m.port] = m.kernelRoutes(k.Routes)
	var all []route.Route
	told := map[route.Route]bool{} // routes to nowhere, which every mirror tells of
	for _, list := range h.mirrored.routes {
		for _, r := range list {
			if r.Kind == route.Unicast || !told[r] {
				all = append(all, r)
				told[r] = true
			}
		}
	}
	return h.ReplaceRoutes(Kernel, all)
}

// kernelAddrs is the kernel's addresses as the host's, with its link-local ones where both have them.
func kernelAddrs(addrs []engine.Addr, linkLocal bool) (list []route.Addr) {
	for _, a := range addrs {
		if !linkLocal && a.Prefix.Addr().IsLinkLocalUnicast() || a.Prefix.Addr().IsLoopback() {
			continue
		}
		own := route.Addr{Prefix: a.Prefix, Temporary: a.Temporary, Detached: a.Detached}
		switch {
		case a.Duplicate:
			own.State = route.Duplicate
		case a.Tentative:
			own.State = route.Tentative
		case a.Deprecated:
			own.State = route.Deprecated
		}
		list = append(list, own)
	}
	return list
}

// kernelRoutes is the kernel's routes as the host's. A source that only the kernel has is left to be chosen.
func (m *kernelMirror) kernelRoutes(routes []engine.Route) (list []route.Route) {
	for _, r := range routes {
		if r.Dst.Addr().Is6() && r.Dst.Addr().IsLinkLocalUnicast() {
			continue // such a destination has its link in it
		}
		if kind, ok := nowhere[r.Type]; ok {
			list = append(list, route.Route{Prefix: r.Dst, Kind: kind, Metric: r.Metric})
			continue
		}
		own := route.Route{Prefix: r.Dst, Port: m.port, Gateway: r.Via, OnLink: r.OnLink, Metric: r.Metric, MTU: r.MTU, Weight: r.Weight}
		if r.Src.IsValid() && m.host.Local(r.Src) {
			own.Source = r.Src
		}
		list = append(list, own)
	}
	return list
}

// nowhere is the types of the kernel's routes that lead nowhere.
var nowhere = map[uint8]route.Kind{
	unix.RTN_BLACKHOLE: route.Blackhole, unix.RTN_UNREACHABLE: route.Unreachable,
	unix.RTN_PROHIBIT: route.Prohibit, unix.RTN_THROW: route.Throw,
}
