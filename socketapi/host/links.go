package host

import (
	"slices"

	"github.com/xdpsock/xdpsock/engine"
)

// watchLinks makes the cores look at their devices when an interface goes: a sleeping
// core hears nothing of that by itself (poll(2) does not report it).
func (h *Host) watchLinks() (err error) {
	var indexes []int
	for _, nic := range h.nics {
		indexes = append(indexes, nic.Info().Index)
	}
	if len(indexes) == 0 {
		return nil
	}
	h.links, err = engine.WatchLinks(func(ev engine.LinkEvent) {
		if ev.Deleted && slices.Contains(indexes, ev.Link.Index) {
			for _, c := range h.cores {
				c.CheckPorts()
			}
		}
	})
	return err
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
	case c.lost == h.ports:
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
		h.net.gone[port] = true
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
