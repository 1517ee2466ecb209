package main

import (
	"net/netip"
	"strconv"

	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Addresses of either family, as people give and read them.

// unspecified stands for all addresses of a's family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// headersOf is how long a packet to a is without what a program says, in bytes: its header, and that
// of an echo message or a UDP datagram, which are as long as each other.
func headersOf(a netip.Addr) int {
	if a.Is4() {
		return wire.IPv4Len + wire.UDPLen
	}
	return wire.IPv6Len + wire.UDPLen
}

// scoped gives a link-local address the zone of the engine's interface: there is no other that
// it could be on, whichever the user names.
func scoped(h *host.Host, a netip.Addr) (netip.Addr, error) {
	if a.Is4() || !a.IsLinkLocalUnicast() {
		return a.WithZone(""), nil
	}
	zone := strconv.Itoa(h.Index(0))
	if z := a.Zone(); z != "" && z != zone && z != h.Name(0) {
		return a, usagef("%s is on another link than the engine, which runs on %s", a, h.Name(0))
	}
	return a.WithZone(zone), nil
}

// shown is an address as people write it.
func shown(h *host.Host, a netip.Addr) string { return h.Named(a).String() }
