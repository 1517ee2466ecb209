package host

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A shared interface ([Interface.Share]): the addresses stay the kernel's, and so do ARP, NDP and ICMP echo. A
// port is held in the kernel and then steered here, and given back in the other order (kernelPort); neighbours are those of
// the kernel's table.

// sharing is what there is of shared interfaces, by port; nil: the port's addresses are the host's alone.
type sharing struct {
	nics       []*engine.NIC
	neighbours []*engine.NeighbourWatcher
}

// checkShare finds what a shared interface cannot have besides.
func checkShare(in *Interface) error {
	without := ""
	switch {
	case !in.Share:
		return nil
	case in.Name == "":
		without = "Devices: they have no addresses in the kernel"
	case in.VLAN != 0:
		without = "VLAN: open the kernel's interface of that VLAN by its name"
	case in.Auto, in.LinkLocal:
		without = "Auto and LinkLocal: the kernel configures its addresses itself"
	case len(in.Gateways) > 0:
		without = "Gateways: the routes are the kernel's"
	case in.Mode == engine.ModePacket:
		return sharedByXDP(in, "mode packet was asked for")
	}
	if without != "" {
		return fmt.Errorf("host: %s: Share goes without %s: %w", vlanName(in.Name, in.VLAN), without, unix.EINVAL)
	}
	return nil
}

// sharedByXDP is the error of an interface that has no program.
func sharedByXDP(in *Interface, why string) error {
	return fmt.Errorf("host: %s: an address is shared with the kernel by AF_XDP alone, or the kernel would answer too and reset what is ours: %s: %w", in.Name, why, unix.EOPNOTSUPP)
}

// shareable says which of the kernel's addresses the host is to share.
func (in *Interface) shareable(a netip.Addr) bool {
	return len(in.Addrs) == 0 || slices.ContainsFunc(in.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// shared says whether a port's addresses are the kernel's too, which answers for them.
func (h *Host) shared(port int) bool { return h.sharing.nics[port] != nil }

// Shares says whether all interfaces of the host are shared: what the kernel keeps for itself there, it has nowhere.
func (h *Host) Shares() bool { return h.ports > 0 && !slices.Contains(h.sharing.nics, nil) }

// makeSharing finds the shared interfaces.
func (h *Host) makeSharing(cfg *Config) {
	h.sharing.nics = make([]*engine.NIC, h.ports)
	h.sharing.neighbours = make([]*engine.NeighbourWatcher, h.ports)
	for port := range h.ports {
		if cfg.Interfaces[port].Share {
			h.sharing.nics[port] = h.byPort[port]
			h.Ports.kernel.steered = append(h.Ports.kernel.steered, h.byPort[port])
		}
	}
}

// resolver is how a port's neighbours are asked for, nil where the stack asks itself.
func (h *Host) resolver(port int) func(netip.Addr) {
	if !h.shared(port) {
		return nil
	}
	return func(a netip.Addr) { h.sharing.neighbours[port].Ask(a) }
}

// watchNeighbours follows the kernel's neighbours on shared interfaces. There are no addresses yet, so that nobody is asked for.
func (h *Host) watchNeighbours() error {
	for port := range h.ports {
		if !h.shared(port) {
			continue
		}
		w, err := engine.WatchNeighbours(h.indexes[port], func(news []engine.Neighbour) { h.heardOf(port, news) })
		if err != nil {
			return err
		}
		h.sharing.neighbours[port] = w
	}
	return nil
}

func (h *Host) stopNeighbours() (errs []error) {
	for _, w := range h.sharing.neighbours {
		if w != nil {
			errs = append(errs, w.Close())
		}
	}
	return errs
}

// heardOf tells all cores what the kernel says of neighbours.
func (h *Host) heardOf(port int, news []engine.Neighbour) {
	for _, c := range h.cores {
		c.Lock()
		for i := range news {
			n := &news[i]
			addr := h.zoned(port, n.Addr)
			if n.Lost {
				c.Stack.Neigh.Doubt(port, addr)
				continue
			}
			c.Stack.Neigh.See(neigh.Sighting{Port: port, Addr: addr, MAC: wire.MAC(n.MAC), Solicited: n.Confirmed, Override: true}, c.Now())
		}
		c.Flush()
		c.Unlock()
	}
}

// sharedAddrs is those of the kernel's addresses that the host shares. One that was asked for by name and is not there
// is an error at first; later it may come back.
func (m *kernelMirror) sharedAddrs(k []engine.Addr, first bool) (list []route.Addr, err error) {
	in := m.shared
	list = slices.DeleteFunc(kernelAddrs(k, true), func(a route.Addr) bool { return !in.shareable(a.Prefix.Addr()) })
	for _, p := range in.Addrs {
		if first && indexOf(list, p.Addr()) < 0 {
			return nil, fmt.Errorf("host: share %s: the kernel has no such address on %s: %w", p.Addr(), in.Name, unix.EADDRNOTAVAIL)
		}
	}
	return list, nil
}

// A portRule is what brings the packets of a port here on one interface.
type portRule struct {
	nic   *engine.NIC
	local netip.Addr // unspecified: all shared ones of its family
}

// rules are those that a port is to have by the addresses now.
func (k *kernelPorts) rules(p *kernelPort) (want []portRule) {
	for _, nic := range k.shared[p.addr] {
		want = append(want, portRule{nic, p.addr.WithZone("")})
	}
	if p.addr.IsUnspecified() {
		for _, nic := range k.steered {
			want = append(want, portRule{nic, p.addr})
			if p.addr.Is6() && !p.only6 {
				want = append(want, portRule{nic, netip.IPv4Unspecified()})
			}
		}
	}
	return want
}

// steer gives a port its rules, and only then takes those that it had before. It is ENOBUFS if a program has no room for one more, and
// then they are as they were.
func (k *kernelPorts) steer(p *kernelPort) (errno unix.Errno) {
	want := k.rules(p)
	if slices.Equal(p.rules, want) {
		return 0
	}
	before := p.rules
	p.rules = nil
	for _, r := range want {
		if r.nic.AddPort(uint8(p.key.protocol), netip.AddrPortFrom(r.local, p.key.port)) != nil {
			p.unsteer()
			p.rules = before
			return unix.ENOBUFS
		}
		p.rules = append(p.rules, r)
	}
	p.forsake(before)
	return 0
}

// unsteer leaves the packets of a port to the kernel.
func (p *kernelPort) unsteer() {
	p.forsake(p.rules)
	p.rules = nil
}

func (p *kernelPort) forsake(rules []portRule) {
	for _, r := range rules {
		r.nic.RemovePort(uint8(p.key.protocol), netip.AddrPortFrom(r.local, p.key.port)) // it fails when the interface has gone, and its rules with it
	}
}

// connected says whether a program of the kernel's has connections that would come here with the port.
func (p *kernelPort) connected() bool {
	if p.key.protocol != wire.ProtoTCP {
		return false
	}
	list, err := engine.KernelConnections(p.key.port) // an error is a kernel that does not tell (CONFIG_INET_DIAG): then it is as with SO_REUSEADDR
	return err == nil && slices.ContainsFunc(list, func(a netip.Addr) bool {
		return a == p.addr.WithZone("") || p.addr.IsUnspecified() && (a.Is4() == p.addr.Is4() || a.Is4() && !p.only6)
	})
}
