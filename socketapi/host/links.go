package host

import "github.com/xdpsock/xdpsock/engine"

// watchLinks makes the cores look at their devices when an interface goes: a sleeping
// core hears nothing of that by itself (poll(2) does not report it). And when a cable comes back,
// routers are asked for again: it may be another network.
func (h *Host) watchLinks() (err error) {
	if len(h.nics) == 0 {
		return nil
	}
	up, apart := make([]bool, h.ports), make([]bool, h.ports) // the watching goroutine's alone
	h.links, err = engine.WatchLinks(func(ev engine.LinkEvent) {
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
		was := up[port]
		up[port] = ev.Link.Up && ev.Link.Carrier
		if was && !up[port] {
			h.carried(port, h.FlushNeighbours) // another link may be at the end of the cable when it comes back (Linux: neigh_carrier_down)
		}
		if apart[port] && up[port] {
			h.carried(port, h.restartDetection)
		}
		apart[port] = !up[port]
	})
	return err
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
