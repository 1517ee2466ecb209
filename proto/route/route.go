// Package route says which way a packet goes: an immutable table of prefixes,
// longest first, and the choice of a source address. In come routes, out comes
// one for each destination; it never changes a table that somebody may be reading:
// a change is a new table, swapped whole.
package route

import (
	"cmp"
	"net/netip"
	"slices"
)

// Kind is what becomes of packets that match a route.
type Kind uint8

const (
	Unicast   Kind = iota // they are sent
	Blackhole             // they vanish: EINVAL to the sender, as on Linux
	Prohibit              // EACCES to the sender
)

// A Route is one entry of a table.
type Route struct {
	Prefix  netip.Prefix
	Port    int        // number of the stack's port to leave by
	Gateway netip.Addr // the next hop; not valid: the destination itself is on the link
	Source  netip.Addr // preferred source; not valid: chosen among the port's addresses
	MTU     int        // bytes of an IP packet; 0: the port's
	Metric  int        // of two routes with one prefix the lower wins
	Kind    Kind
}

// Hop is whom to hand a packet for dst to.
func (r *Route) Hop(dst netip.Addr) netip.Addr {
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return dst
}

// A Table is an immutable set of routes. The zero value is empty.
type Table struct {
	v4, v6 []Route // longest prefix first, then lowest metric
}

// New returns the table of routes. Their prefixes are masked.
func New(routes []Route) *Table {
	t := &Table{}
	for _, r := range routes {
		r.Prefix = r.Prefix.Masked()
		if r.Prefix.Addr().Is4() {
			t.v4 = append(t.v4, r)
		} else {
			t.v6 = append(t.v6, r)
		}
	}
	order := func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), cmp.Compare(a.Metric, b.Metric))
	}
	slices.SortStableFunc(t.v4, order)
	slices.SortStableFunc(t.v6, order)
	return t
}

// Lookup returns the route to dst, false if there is none. It looks at the routes
// one by one: the stack remembers the answer for each destination.
func (t *Table) Lookup(dst netip.Addr) (*Route, bool) {
	routes := t.v6
	if dst.Is4() {
		routes = t.v4
	}
	dst = dst.WithZone("")
	for i := range routes {
		if routes[i].Prefix.Contains(dst) {
			return &routes[i], true
		}
	}
	return nil, false
}

// Routes returns the table's routes in the order in which they are looked at.
func (t *Table) Routes() []Route { return slices.Concat(t.v4, t.v6) }
