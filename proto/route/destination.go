package route

import (
	"cmp"
	"net/netip"
	"slices"
)

// Read first: RFC 6724 §2.1, §6.

// A Destination is one address that a name has, and where packets to it would come from.
type Destination struct {
	Addr       netip.Addr
	Source     netip.Addr // not valid: it cannot be reached
	Prefix     int        // length of the source's prefix on its link; 0: all of the address counts
	Deprecated bool       // the source is
}

// SortDestinations puts those first that are likely to serve best. Rules 4 and 7 of RFC 6724 §6 are about mobile nodes and
// tunnels, which there are none of. Rule 9 is not for IPv4, whose prefixes say nothing of nearness.
func SortDestinations(list []Destination) { slices.SortStableFunc(list, compareDestinations) }

// compareDestinations is less than 0 if a comes first.
func compareDestinations(a, b Destination) int {
	first := func(x, y bool) int { return rank(y) - rank(x) } // who has it comes first
	x, y := policyOf(a.Addr), policyOf(b.Addr)
	if c := first(a.Source.IsValid(), b.Source.IsValid()); c != 0 { // rule 1
		return c
	}
	if !a.Source.IsValid() { // neither can be reached, and only what does not speak of sources tells them apart
		return cmp.Or(cmp.Compare(y.precedence, x.precedence), cmp.Compare(scope(a.Addr), scope(b.Addr)))
	}
	if c := first(scope(a.Addr) == scope(a.Source), scope(b.Addr) == scope(b.Source)); c != 0 { // rule 2
		return c
	}
	if c := first(!a.Deprecated, !b.Deprecated); c != 0 { // rule 3
		return c
	}
	if c := first(policyOf(a.Source).label == x.label, policyOf(b.Source).label == y.label); c != 0 { // rule 5
		return c
	}
	if c := cmp.Compare(y.precedence, x.precedence); c != 0 { // rule 6
		return c
	}
	if c := cmp.Compare(scope(a.Addr), scope(b.Addr)); c != 0 || a.Addr.Is4() || b.Addr.Is4() { // rule 8
		return c
	}
	return cmp.Compare(b.common(), a.common()) // rule 9
}

// common is how much of the destination the source's prefix has in common with it.
func (d *Destination) common() int {
	n := d.Prefix
	if n == 0 {
		n = d.Source.BitLen()
	}
	return common(netip.PrefixFrom(d.Source.WithZone(""), n), d.Addr)
}
