package host

import (
	"sync"
	"time"

	"github.com/xdpsock/xdpsock/engine"
)

// A LinkState is what a port's link is like.
type LinkState struct {
	Up      bool // it is up and has a carrier; false too until the kernel was heard of it, and for devices of the program's
	Ups     int  // times that it has come up again: another network may be at its end since
	MTU     int  // bytes of an IP packet that the host takes and sends
	LinkMTU int  // what the link has; more where the host has no memory for it, see [Interface.MTUMax]
}

// links is the states of all ports' links.
type links struct {
	mu      sync.Mutex
	states  []LinkState   // by port
	heard   []bool        // by port: the kernel has said something of it
	changed chan struct{} // closed, and made anew, when one of them is another
}

// Link returns the state of a port's link, and a channel that is closed when some link's has changed.
func (h *Host) Link(port int) (LinkState, <-chan struct{}) {
	h.link.mu.Lock()
	defer h.link.mu.Unlock()
	return h.link.states[port], h.link.changed
}

// firstNewsMax is how long Open waits for the kernel to say how the links are. It takes as long as one netlink request; without
// an answer detection begins as if there were a carrier, and the answer comes later.
const firstNewsMax = time.Second

// watchLinks follows what happens to the links. A sleeping core hears nothing by itself when its interface goes
// (poll(2) does not report it).
func (h *Host) watchLinks() (err error) {
	if len(h.nics) == 0 {
		return nil
	}
	known := make([]bool, h.ports) // the watching goroutine's alone
	unknown, all := 0, make(chan struct{})
	for port := range h.ports {
		if h.byPort[port] != nil && h.over[port] == port {
			unknown++
		}
	}
	h.watcher, err = engine.WatchLinks(func(ev engine.LinkEvent) {
		port, ok := h.PortOf(ev.Link.Index)
		if !ok || port >= h.ports || h.byPort[port] == nil {
			return
		}
		if ev.Deleted {
			for _, c := range h.cores {
				c.CheckPorts()
			}
			return
		}
		first := !known[port]
		h.carried(port, func(port int) { h.linkChanged(port, &ev.Link, first) })
		if known[port] = true; first {
			if unknown--; unknown == 0 {
				close(all)
			}
		}
	})
	if err != nil {
		return err
	}
	select { // whether there is a carrier is to be known before anything is probed for
	case <-all:
	case <-time.After(firstNewsMax):
	}
	return nil
}

// linkChanged takes in what the kernel says of a port's link, which it has said something of before unless first.
func (h *Host) linkChanged(port int, l *engine.Link, first bool) {
	h.link.mu.Lock()
	was := h.link.states[port]
	h.link.heard[port] = true
	h.link.mu.Unlock()
	is := LinkState{Up: l.Up && l.Carrier, Ups: was.Ups, MTU: min(l.MTU, h.room[port]), LinkMTU: l.MTU}
	if is.Up && !was.Up && !first {
		is.Ups++
	}
	if is == was && !first {
		return
	}
	if is.MTU != was.MTU && h.setMTU(port, is.MTU) != nil {
		is.MTU = was.MTU // the next news of the link try again
	}
	if was.Up && !is.Up {
		h.FlushNeighbours(port) // another link may be at the end of the cable when it comes back (Linux: neigh_carrier_down)
	}
	h.link.mu.Lock()
	h.link.states[port] = is
	close(h.link.changed)
	h.link.changed = make(chan struct{})
	h.link.mu.Unlock()
	switch {
	case is.Ups != was.Ups:
		h.restartDetection(port)
	case !is.Up:
		h.stopProbing(port)
	}
}

// dark says whether a port is known to be an interface without a carrier.
func (h *Host) dark(port int) bool {
	h.link.mu.Lock()
	defer h.link.mu.Unlock()
	return h.link.heard[port] && !h.link.states[port].Up
}

// setMTU has all cores send packets of another length. An error is one of the kernel's rules, for IPv6 addresses
// that come back.
func (h *Host) setMTU(port, mtu int) error {
	return h.change(func(n *network) error {
		n.mtus[port] = mtu
		return nil
	})
}

// FlushNeighbours forgets who is on a port's link, as `ip neigh flush` does.
func (h *Host) FlushNeighbours(port int) {
	for _, c := range h.cores {
		c.Lock()
		c.Stack.Neigh.Flush(port, c.Now())
		c.Flush()
		c.Unlock()
	}
}

// portFailed hears, with a core's lock held, that an interface has gone: its addresses and routes
// go with it. A core that has lost all of its ports ends the host: every socket fails with
// ENETDOWN from then on.
func (h *Host) portFailed(c *Core, port int) {
	c.lost++
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed || h.lost:
	case c.lost == len(h.portOf)-1:
		h.lost = true
		h.ending.Go(h.endCores) // which takes the lock that is held
	default:
		h.ending.Go(func() { h.portGone(port) }) // likewise
	}
}

// portGone takes the addresses and routes of a port out of force. Its steering ended with the interface.
func (h *Host) portGone(port int) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !h.net.gone[port] {
		h.carried(port, func(port int) { h.net.gone[port] = true })
		h.install(h.net.now, h.addrsOf(h.net.now))
	}
}

// endCores makes every wait return.
func (h *Host) endCores() {
	close(h.done)
	for _, c := range h.cores {
		c.Core.Close()
	}
}
