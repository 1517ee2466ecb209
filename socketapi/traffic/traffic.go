// Package traffic sums up what an engine did with packets: in comes a host, out go numbers, with
// every reason of a drop by name and in words. It must never hold a core's lock for longer
// than it takes to copy its counters.
package traffic

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A Summary is what a host did since it was opened, for machines.
type Summary struct {
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	RxDropped uint64 `json:"rx_dropped"` // by the kernel: no frame or no room in the ring
	Passed    uint64 `json:"passed"`     // left to the kernel, not ours
	TxBusy    uint64 `json:"tx_busy"`    // by the driver
	Unshared  int    `json:"unshared"`   // ports of sockets here that the kernel keeps: host.Ports.Unshared
	Drops     []Drop `json:"drops"`      // by us
}

// A Drop is one reason for dropping packets.
type Drop struct {
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Explain string `json:"explain"`
}

// Of sums up a host. Drops has the reasons for which there was a packet.
func Of(h *host.Host) Summary {
	s := of(h)
	counters := h.Stats()
	s.Drops = []Drop{}
	for reason, n := range counters.All() {
		s.Drops = append(s.Drops, Drop{reason.String(), n, reason.Explain()})
	}
	return s
}

// All is Of with every reason there is in Drops.
func All(h *host.Host) Summary {
	s := of(h)
	counters := h.Stats()
	for i := int(drop.None) + 1; i < drop.Reasons; i++ {
		reason := drop.Reason(i)
		s.Drops = append(s.Drops, Drop{reason.String(), counters[i], reason.Explain()})
	}
	return s
}

func of(h *host.Host) (s Summary) {
	for _, c := range h.Cores() {
		for i := range c.Ports() {
			if c.Port(i).Info().Loop {
				continue // what the host sends to itself is on no link
			}
			d := c.PortStats(i)
			s.RxPackets += d.RxPackets
			s.RxBytes += d.RxBytes
			s.TxPackets += d.TxPackets
			s.TxBytes += d.TxBytes
			s.RxDropped += d.RxDropped + d.RxOversize
			s.TxBusy += d.TxBusy + d.TxInvalid
		}
	}
	s.Unshared = h.Ports.Unshared()
	for _, nic := range h.NICs() {
		if p := nic.Program(); p != nil {
			if verdicts, err := p.Counters(); err == nil {
				s.Passed += verdicts.Passed()
			}
		}
	}
	return s
}
