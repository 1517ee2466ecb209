package route

import (
	"math/bits"
	"net/netip"
)

// Read first: RFC 6724 §2.1, §2.2, §3, §5; for IPv4 the kernel, which has no RFC to
// follow (inet_select_addr in net/ipv4/devinet.c).

// Source chooses the address that a packet to dst leaves a port with, when neither socket nor route
// says one. hop is whom it is handed to, dst itself on the link. addrs are those of all ports, by
// port; the answer may be another port's, since the host is one, but where only is set or dst means
// this link alone. It is false if there is none of the family.
func Source(dst, hop netip.Addr, port int, addrs [][]Addr, only bool) (source netip.Addr, of int, ok bool) {
	var best *Addr
	for i := range addrs {
		if i != port && (only || bound(dst)) {
			continue
		}
		for j := range addrs[i] {
			a := &addrs[i][j]
			if !a.Usable() || a.Prefix.Addr().Is4() != dst.Is4() {
				continue
			}
			if best == nil || better(a, best, i == port, of == port, dst, hop) {
				best, of = a, i
			}
		}
	}
	if best == nil {
		return netip.Addr{}, 0, false
	}
	return best.Prefix.Addr(), of, true
}

// bound says whether dst means something else on each link, so that only the link's own addresses
// can be its peer (RFC 6724 §4).
func bound(dst netip.Addr) bool { return !dst.Is4() && (dst.IsMulticast() || dst.IsLinkLocalUnicast()) }

// better says whether a is to be preferred to b, which came first. On says of each whether it is an address
// of the port that the packet leaves by.
func better(a, b *Addr, aOn, bOn bool, dst, hop netip.Addr) bool {
	if dst.Is4() {
		return rank4(a, aOn, hop) > rank4(b, bOn, hop)
	}
	x, y := a.Prefix.Addr(), b.Prefix.Addr()
	// The rules of RFC 6724 §5. Rule 4 is about mobile nodes.
	if x == dst || y == dst { // 1: prefer the same address
		return x == dst && y != dst
	}
	if n := closerScope(x, y, dst); n != 0 { // 2
		return n > 0
	}
	if a.State != b.State { // 3: avoid deprecated addresses
		return a.State < b.State
	}
	if aOn != bOn { // 5: prefer the outgoing interface
		return aOn
	}
	if l := label(dst); (label(x) == l) != (label(y) == l) { // 6
		return label(x) == l
	}
	if a.Temporary != b.Temporary { // 7
		return a.Temporary
	}
	return common(a.Prefix, dst) > common(b.Prefix, dst) // 8
}

// closerScope is rule 2: above 0 if the scope of x suits dst better than that of y, which is the
// smallest one that is not too small.
func closerScope(x, y, dst netip.Addr) int {
	switch sx, sy := scope(x), scope(y); {
	case sx < sy && sx < scope(dst), sy < sx && sy >= scope(dst):
		return -1
	case sx != sy:
		return 1
	}
	return 0
}

// Scopes as multicast addresses write them (RFC 6724 §3.1).
const (
	scopeLink   = 2
	scopeSite   = 5
	scopeGlobal = 14
)

// siteLocal is deprecated by RFC 3879, and still has its scope.
var siteLocal = netip.MustParsePrefix("fec0::/10")

func scope(a netip.Addr) int {
	switch {
	case a.IsMulticast() && !a.Is4():
		return int(a.As16()[1] & 15)
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return scopeLink
	case siteLocal.Contains(a.WithZone("")):
		return scopeSite
	}
	return scopeGlobal
}

// A policy is a row of the default policy table of RFC 6724 §2.1: sources are chosen by the label,
// destinations by the precedence too.
type policy struct {
	prefix            netip.Prefix
	precedence, label int
}

var policies = []policy{ // longest prefix first
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

func policyOf(a netip.Addr) *policy {
	a = netip.AddrFrom16(a.As16()) // IPv4 is looked up as IPv4-mapped
	for i := range policies {
		if policies[i].prefix.Contains(a) {
			return &policies[i]
		}
	}
	return &policies[len(policies)-1]
}

func label(a netip.Addr) int { return policyOf(a).label }

// common is CommonPrefixLen of RFC 6724 §2.2: how many leading bits the two have in common, not
// counting the interface identifier.
func common(of netip.Prefix, dst netip.Addr) int {
	x, y := of.Addr().As16(), dst.As16()
	n := 0
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			n += bits.LeadingZeros8(d)
			break
		}
		n += 8
	}
	return min(n, of.Bits())
}

// rank4 orders IPv4 addresses as the kernel does: one of the port before any of another, one whose
// link has the hop before one that is only on the same interface, and one of link scope only to
// its own link. The kernel does not look at the state; we take a deprecated one where there is no other
// as near. Of equals the first counts.
func rank4(a *Addr, on bool, hop netip.Addr) int {
	addr := a.Prefix.Addr()
	inside := on && a.Prefix.Contains(hop)
	return rank(on && (inside || !addr.IsLinkLocalUnicast()))*8 + rank(inside)*4 +
		rank(a.State == Preferred)*2 + rank(!addr.IsLinkLocalUnicast())
}

func rank(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
