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

// portFailed hears, with a core's lock held, that an interface has gone. A core
// that has lost all of its ports ends the host: every socket fails with ENETDOWN from
// then on.
func (h *Host) portFailed(c *Core) {
	if c.lost++; c.lost < h.ports {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.lost {
		return
	}
	h.lost = true
	h.ending.Go(h.endCores) // which takes the lock that is held
}

// endCores makes every wait return.
func (h *Host) endCores() {
	close(h.done)
	for _, c := range h.cores {
		c.Core.Close()
	}
}
