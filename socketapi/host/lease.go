package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/autoconf"
	"github.com/xdpsock/xdpsock/proto/route"
)

// A Lease is an IPv4 address that somebody on the link has lent, and what came with it.
type Lease struct {
	Addr   netip.Prefix
	Routes []route.Route // Port is set by the host, and MTU where it is 0
	MTU    int           // bytes of an IP packet, on all ways of the lease; 0: the link's
}

// lease is a Lease that a port holds.
type lease struct {
	Lease
	port int
	lost chan struct{} // closed when another station has taken the address
	gone bool          // it is; guarded by detection.mu
}

// AddLease probes for the address of a lease, which takes some six seconds (RFC 5227 §2.1), and then gives it to
// a port's interface with its routes. Lost is closed when another station takes the address later: it is
// defended once, and then no longer used. It is a [DuplicateError] if another station has it already.
func (h *Host) AddLease(ctx context.Context, port int, l Lease) (lost <-chan struct{}, err error) {
	what := "lease " + l.Addr.String()
	if err := h.ended(what); err != nil {
		return nil, err
	}
	if port < 0 || port >= h.ports || h.detection.ports[port] == nil {
		return nil, fmt.Errorf("host: %s: there is no port %d with stations on its link: %w", what, port, unix.ENODEV)
	}
	if !l.Addr.Addr().Is4() || checkAddr(l.Addr, h.names[port], 0) != nil || allHosts(l.Addr) {
		return nil, fmt.Errorf("host: %s on %s: no address of a lease: %w", what, h.names[port], unix.EINVAL)
	}
	addr := l.Addr.Addr()
	if indexOf(h.portAddrs(port), addr) >= 0 {
		return nil, fmt.Errorf("host: %s: %s has the address already: %w", what, h.names[port], unix.EEXIST)
	}
	held := &lease{Lease: l, port: port, lost: make(chan struct{})}
	h.detection.mu.Lock()
	h.detection.leases = append(h.detection.leases, held)
	h.detection.mu.Unlock()
	defer func() {
		if err != nil {
			h.RemoveLease(port, addr)
		}
	}()
	c, p := h.cores[proto.AutoconfCore], h.detection.ports[port]
	c.Lock()
	p.V4.Add(l.Addr, autoconf.Leased, autoconf.DefendOnce, true, h.clock.Now())
	c.Flush()
	c.Unlock()
	state := route.Tentative
	err = h.Await(ctx, port, func(list []route.Addr) bool {
		if i := indexOf(list, addr); i >= 0 {
			state = list[i].State
		}
		return state != route.Tentative
	})
	if err == nil && state == route.Duplicate {
		err = h.duplicate(port, addr)
	}
	if err != nil {
		return nil, err
	}
	return held.lost, nil
}

// SetLease changes the routes and the MTU of a lease that a port has. It is EADDRNOTAVAIL if there is
// none for the address.
func (h *Host) SetLease(port int, l Lease) error {
	h.detection.mu.Lock()
	i := h.detection.leaseOf(port, l.Addr.Addr())
	if i >= 0 {
		h.detection.leases[i].Lease = l
	}
	h.detection.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("host: change lease %s on %s: %w", l.Addr, h.names[port], unix.EADDRNOTAVAIL)
	}
	return h.takeNews()
}

// RemoveLease takes a lease's address and routes from a port. It is EADDRNOTAVAIL if there is none.
func (h *Host) RemoveLease(port int, addr netip.Addr) error {
	h.detection.mu.Lock()
	i := h.detection.leaseOf(port, addr)
	if i >= 0 {
		h.detection.leases = slices.Delete(h.detection.leases, i, i+1)
	}
	h.detection.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("host: remove lease %s on %s: %w", addr, h.names[port], unix.EADDRNOTAVAIL)
	}
	if err := h.ended("remove lease"); err != nil {
		return err
	}
	c := h.cores[proto.AutoconfCore]
	c.Lock()
	h.detection.ports[port].V4.Remove(addr, h.clock.Now())
	c.Flush()
	c.Unlock()
	return h.takeNews()
}

// leaseOf returns the index of a lease, -1 if there is none. mu is held.
func (d *detection) leaseOf(port int, addr netip.Addr) int {
	return slices.IndexFunc(d.leases, func(l *lease) bool { return l.port == port && l.Addr.Addr() == addr })
}

// leaseRoutes returns the routes of all leases, that to the link of each among them.
func (d *detection) leaseRoutes() (list []route.Route) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.leases {
		addr := l.Addr.Addr()
		if !l.Addr.IsSingleIP() {
			list = append(list, route.Route{Prefix: l.Addr.Masked(), Port: l.port, Source: addr, MTU: l.MTU})
		}
		for _, r := range l.Routes {
			r.Port = l.port
			if r.MTU == 0 {
				r.MTU = l.MTU
			}
			if !r.Source.IsValid() {
				r.Source = addr
			}
			list = append(list, r)
		}
	}
	return list
}

// tellLeases tells those whose address is another station's.
func (d *detection) tellLeases(all []found) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.leases {
		for _, a := range all[l.port].addrs {
			if a.Prefix.Addr() == l.Addr.Addr() && a.State == route.Duplicate && !l.gone {
				l.gone = true
				close(l.lost)
			}
		}
	}
}
