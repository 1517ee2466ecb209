package host

import (
	"slices"

	"github.com/xdpsock/xdpsock/engine"
)

// deviceIndex is the index of the first interface that was given as devices, which has none of
// its own: beyond what a kernel counts to.
const deviceIndex = 1 << 24

// loopIndex is the index of the port of packets to ourselves: that of lo in every network namespace.
const loopIndex = 1

// loopName is what people are shown it as.
const loopName = "lo"

// Index returns the number by which programs name a port's interface, in sll_ifindex,
// ipi_ifindex and sin6_scope_id: the kernel's, for one that was opened by name.
func (h *Host) Index(port int) int { return h.indexes[port] }

// PortOf returns the port of the interface with an index, false if there is none.
func (h *Host) PortOf(index int) (port int, ok bool) {
	for port, i := range h.indexes {
		if i == index {
			return port, true
		}
	}
	return -1, false
}

// IndexOf returns the index of the interface with a name, false if there is none.
func (h *Host) IndexOf(name string) (index int, ok bool) {
	if port := slices.Index(h.names, name); port >= 0 {
		return h.indexes[port], true
	}
	return 0, false
}

// Name returns the name of a port's interface.
func (h *Host) Name(port int) string { return h.names[port] }

// setIndexes numbers the interfaces, and finds the NIC of each.
func (h *Host) setIndexes(cfg *Config) {
	nics := h.nics
	for j := range cfg.Interfaces {
		index, nic := deviceIndex+j, (*engine.NIC)(nil)
		if cfg.Interfaces[j].Name != "" && cfg.Interfaces[j].VLAN == 0 {
			nic, nics = nics[0], nics[1:]
			index = nic.Info().Index
		}
		h.indexes = append(h.indexes, index)
		h.byPort = append(h.byPort, nic)
	}
	for j, over := range h.over {
		h.byPort[j] = h.byPort[over]
	}
	h.indexes = append(h.indexes, loopIndex)
}
