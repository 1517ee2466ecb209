package wire

import (
	"net/netip"
	"strconv"
)

// Read first: RFC 4007 §11 (zones), RFC 3493 §3.3 (sin6_scope_id).

// Scope returns the zone of a as a number, the index of an interface; 0 is none. A zone that is no
// number counts as none.
func Scope(a netip.Addr) uint32 {
	if a.Is4() {
		return 0
	}
	return scope6(a.Zone())
}

func scope6(zone string) uint32 {
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
func WithScope(a netip.Addr, index uint32) netip.Addr { return new(Scopes).With(a, index) }

// Scopes is WithScope for who calls it for each packet: it remembers the last zone, so that
// writing its name costs no allocation again.
type Scopes struct {
	index uint32
	zone  string
}

// With returns a in the zone of an interface index, without one if that is 0.
func (s *Scopes) With(a netip.Addr, index uint32) netip.Addr {
	if index != s.index {
		s.index, s.zone = index, ""
		if index != 0 {
			s.zone = strconv.FormatUint(uint64(index), 10)
		}
	}
	return a.WithZone(s.zone)
}
