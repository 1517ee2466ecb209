package wire

import (
	"net/netip"
	"strconv"
)

// Read first: RFC 4007 §11 (zones), RFC 3493 §3.3 (sin6_scope_id).

// Scope returns the zone of a as a number, the index of an interface; 0 is none. A zone that is no
// number counts as none.
func Scope(a netip.Addr) uint32 {
	zone := a.Zone()
	if zone == "" {
		return 0
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// WithScope returns a in the zone of an interface index, without one if that is 0.
func WithScope(a netip.Addr, index uint32) netip.Addr {
	if index == 0 {
		return a.WithZone("")
	}
	return a.WithZone(strconv.FormatUint(uint64(index), 10))
}
