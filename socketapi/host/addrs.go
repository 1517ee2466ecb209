package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/route"
)

// mtuMin6 is what a link that carries IPv6 has to take, in bytes of a packet (RFC 8200 §5).
const mtuMin6 = 1280

// AddAddr gives a port's interface an address, from now on: its traffic comes to the host, the
// link is told of it if it is usable, and there is a route to its link unless it is Detached. Where
// [Interface.Detect] wants it, the address is tentative at first: see [Host.Await]. No core's lock is held. The errors are those of ip-address(8): EEXIST if the interface has it, EINVAL if it is none
// that a host can have, ENODEV if there is no such port, ENOSPC if there are too many.
func (h *Host) AddAddr(port int, a route.Addr) error {
	return h.changeAddrs("add address "+a.Prefix.String(), port, func(list []route.Addr) ([]route.Addr, error) {
		if indexOf(list, a.Prefix.Addr()) >= 0 {
			return nil, unix.EEXIST
		}
		return append(list, a), nil
	})
}

// RemoveAddr takes an address away that AddAddr or Config gave. Sockets that are bound to it stay: over IPv4 they hear
// ENETUNREACH where they send, over IPv6 they send from it all the same, as on Linux; connections go on if it comes back before they time out. Routes
// that prefer it as a source go with it. It is EADDRNOTAVAIL if the interface does not have it.
func (h *Host) RemoveAddr(port int, addr netip.Addr) error {
	return h.changeAddrs("remove address "+addr.String(), port, func(list []route.Addr) ([]route.Addr, error) {
		i := indexOf(list, addr)
		if i < 0 {
			return nil, unix.EADDRNOTAVAIL
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// SetAddr changes everything but the address itself of one that AddAddr or Config gave: state, lifetimes,
// the prefix of its link. It is EADDRNOTAVAIL if the interface does not have it.
func (h *Host) SetAddr(port int, a route.Addr) error {
	return h.changeAddrs("change address "+a.Prefix.String(), port, func(list []route.Addr) ([]route.Addr, error) {
		i := indexOf(list, a.Prefix.Addr())
		if i < 0 {
			return nil, unix.EADDRNOTAVAIL
		}
		list[i] = a
		return list, nil
	})
}

// SetAddrState is SetAddr of the state alone.
func (h *Host) SetAddrState(port int, addr netip.Addr, state route.State) error {
	return h.changeAddrs("change address "+addr.String(), port, func(list []route.Addr) ([]route.Addr, error) {
		i := indexOf(list, addr)
		if i < 0 {
			return nil, unix.EADDRNOTAVAIL
		}
		list[i].State = state
		return list, nil
	})
}

// changeAddrs changes the addresses that the program gave to a port. change has a list of its own.
func (h *Host) changeAddrs(what string, port int, change func([]route.Addr) ([]route.Addr, error)) error {
	return h.replaceAddrs(what, Manual, port, func(n *network) ([]route.Addr, error) {
		return change(slices.Clone(n.addrs[Manual][port]))
	})
}

// ReplaceAddrs makes list all that an owner gives to a port's interface. It is for those who have the
// whole list at each change; see AddAddr for the errors.
func (h *Host) ReplaceAddrs(owner Owner, port int, list []route.Addr) error {
	return h.replaceAddrs("set addresses", owner, port, func(*network) ([]route.Addr, error) {
		return slices.Clone(list), nil
	})
}

func (h *Host) replaceAddrs(what string, owner Owner, port int, with func(*network) ([]route.Addr, error)) error {
	if err := h.ended(what); err != nil {
		return err
	}
	if port < 0 || port >= h.ports {
		return fmt.Errorf("host: %s: there is no port %d: %w", what, port, unix.ENODEV)
	}
	if owner != Kernel && h.shared(port) {
		return fmt.Errorf("host: %s: %s shares the kernel's addresses: change them there, with 'ip address': %w", what, h.names[port], unix.EOPNOTSUPP)
	}
	return h.change(func(n *network) error {
		list, err := with(n)
		if err == nil {
			err = checkList(list, n.addrs[owner][port], h.names[port], n.mtus[port])
		}
		if err != nil {
			return fmt.Errorf("host: %s on %s: %w", what, h.names[port], err)
		}
		lost := n.addrs[owner][port]
		n.addrs[owner][port] = list
		for _, a := range lost {
			n.dropSource(a.Prefix.Addr())
		}
		return nil
	})
}

// dropSource takes away the routes that prefer a source which no port has any more.
func (n *network) dropSource(addr netip.Addr) {
	for port := range n.addrs[0] {
		if indexOf(n.all(port), addr) >= 0 {
			return
		}
	}
	for o := range n.routes {
		if slices.ContainsFunc(n.routes[o], func(r route.Route) bool { return r.Source == addr }) {
			n.routes[o] = slices.DeleteFunc(slices.Clone(n.routes[o]), func(r route.Route) bool { return r.Source == addr })
		}
	}
}

// checkList refuses what an interface cannot have. An address of IPv6 that it had stays while its link is too
// narrow for it.
func checkList(list, had []route.Addr, name string, mtu int) error {
	if len(list) > addrsMax {
		return fmt.Errorf("%d addresses are the limit of an interface: %w", addrsMax, unix.ENOSPC)
	}
	for i, a := range list {
		narrow := mtu
		if indexOf(had, a.Prefix.Addr()) >= 0 {
			narrow = mtuMin6
		}
		if err := checkAddr(a.Prefix, name, narrow); err != nil {
			return err
		}
		if indexOf(list[:i], a.Prefix.Addr()) >= 0 {
			return fmt.Errorf("%s stands there twice: %w", a.Prefix.Addr(), unix.EEXIST)
		}
	}
	return nil
}

// checkAddr refuses what an interface cannot have.
func checkAddr(p netip.Prefix, name string, mtu int) error {
	if !p.IsValid() {
		return fmt.Errorf("an address is not valid: %w", unix.EINVAL)
	}
	switch a := p.Addr(); {
	case a.IsMulticast(), a.IsUnspecified(), a.IsLoopback(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not an address that a host can have: %w", a, unix.EINVAL)
	case a.Is4In6():
		return fmt.Errorf("%s stands for an IPv4 address: write it as %s: %w", a, a.Unmap(), unix.EINVAL)
	case a.Is6() && mtu < mtuMin6:
		return fmt.Errorf("%s: IPv6 needs an MTU of %d bytes, and that of the link is %d: raise it with 'ip link set %s mtu %d' (RFC 8200, section 5): %w",
			a, mtuMin6, mtu, name, mtuMin6, unix.EINVAL)
	}
	return nil
}

// allHosts says whether an address with its prefix is that of the network itself or its broadcast address (RFC 1122 §3.2.1.3;
// RFC 3021 for links of two).
func allHosts(p netip.Prefix) bool {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return false
	}
	a := p.Addr().As4()
	host := binary.BigEndian.Uint32(a[:]) << p.Bits()
	return host == 0 || host == ^uint32(0)<<p.Bits()
}

// checkAddrs finds addresses and gateways in a configuration that an interface cannot have.
func checkAddrs(in *Interface, info engine.Info) error {
	for _, p := range in.Addrs {
		err := checkAddr(p, info.Name, info.MTU)
		if err == nil && allHosts(p) {
			err = fmt.Errorf("%s is an address of the whole network %s, not of one host on it: %w", p.Addr(), p.Masked(), unix.EINVAL)
		}
		if err != nil {
			return fmt.Errorf("host: %s: %w", info.Name, err)
		}
	}
	has6 := in.Auto || slices.ContainsFunc(in.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() })
	for i, gw := range in.Gateways {
		if slices.Contains(in.Gateways[:i], gw) {
			return fmt.Errorf("host: gateway %s of %s is there twice", gw, info.Name)
		}
		if has6 && gw.Is6() && gw.IsLinkLocalUnicast() {
			continue
		}
		if !slices.ContainsFunc(in.Addrs, func(p netip.Prefix) bool { return p.Contains(gw) }) {
			return fmt.Errorf("host: gateway %s is on none of the links of %s: give an address with a prefix that contains it", gw, info.Name)
		}
	}
	return nil
}

// withLinkLocal gives an interface with IPv6 addresses a link-local one, which neighbour discovery
// needs (RFC 4291 §2.1). A link without MAC addresses has neither; a shared one has the kernel's.
func withLinkLocal(addrs []route.Addr, port proto.PortConfig) []route.Addr {
	has6, has := false, false
	for i := range addrs {
		a := addrs[i].Prefix.Addr()
		has6 = has6 || a.Is6()
		has = has || a.Is6() && a.IsLinkLocalUnicast()
	}
	if !has6 || has || port.RawIP || port.Resolve != nil {
		return addrs
	}
	return append(slices.Clone(addrs), route.Addr{Prefix: proto.LinkLocal(&port)})
}
