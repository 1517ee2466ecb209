package host

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
)

// mtuMin6 is what a link that carries IPv6 has to take, in bytes of a packet (RFC 8200 §5).
const mtuMin6 = 1280

// checkAddrs finds addresses and gateways that an interface cannot have.
func checkAddrs(in *Interface, info engine.Info) error {
	for _, p := range in.Addrs {
		if !p.IsValid() {
			return fmt.Errorf("host: %s: an address is not valid", info.Name)
		}
		switch a := p.Addr(); {
		case a.IsMulticast(), a.IsUnspecified(), a.IsLoopback(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			return fmt.Errorf("host: %s: %s is not an address that a host can have", info.Name, a)
		case a.Is4In6():
			return fmt.Errorf("host: %s: %s stands for an IPv4 address: write it as %s", info.Name, a, a.Unmap())
		case a.Is6() && info.MTU < mtuMin6:
			return fmt.Errorf("host: %s: %s: IPv6 needs an MTU of %d bytes, and that of the link is %d: raise it with 'ip link set %s mtu %d' (RFC 8200, section 5)",
				info.Name, a, mtuMin6, info.MTU, info.Name, mtuMin6)
		}
	}
	has6 := slices.ContainsFunc(in.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() })
	for _, gw := range in.Gateways {
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
// needs (RFC 4291 §2.1). A link without MAC addresses has neither.
func withLinkLocal(addrs []netip.Prefix, port proto.PortConfig) []netip.Prefix {
	has6, has := false, false
	for _, p := range addrs {
		has6 = has6 || p.Addr().Is6()
		has = has || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
	}
	if !has6 || has || port.RawIP {
		return addrs
	}
	return append(slices.Clone(addrs), proto.LinkLocal(&port))
}
