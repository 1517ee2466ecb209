// Package route says which way a packet goes: an immutable table of prefixes, longest
// first, and the choice of a source address. In come routes and addresses, out comes
// one for each destination; it never changes a table that somebody may be reading:
// a change is a new table, swapped whole.
package route

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
	"slices"
)

// Kind is what becomes of packets that match a route.
type Kind uint8

const (
	Unicast     Kind = iota // they are sent
	Blackhole               // they vanish: EINVAL to the sender, as on Linux
	Unreachable             // EHOSTUNREACH to the sender
	Prohibit                // EACCES to the sender
	Throw                   // ENETUNREACH, as if there were no route to them, not even a shorter one
)

func (k Kind) String() string {
	switch k {
	case Unicast:
		return "unicast"
	case Blackhole:
		return "blackhole"
	case Unreachable:
		return "unreachable"
	case Prohibit:
		return "prohibit"
	}
	return "throw"
}

// A Route is one entry of a table.
type Route struct {
	Prefix  netip.Prefix
	Port    int        // number of the stack's port to leave by
	Gateway netip.Addr // the next hop; not valid: the destination itself is on the link
	OnLink  bool       // the gateway is on the port's link, whatever the other routes say of it
	Source  netip.Addr // preferred source; not valid: see [Source]
	MTU     int        // bytes of an IP packet; 0: the port's
	Metric  int        // of two routes with one prefix the lower wins
	Kind    Kind

	// Weight makes the route one of several that share what goes to one prefix by one metric, each as
	// much as its weight: see Choose. 0: it shares with none.
	Weight int

	// Redirected says that a router has named this next hop for one destination. Where it does not answer the route
	// is as good as not there.
	Redirected bool
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
	routes []Route // longest prefix first, then lowest metric, IPv4 before IPv6
	v4, v6 familyTable
}

// A familyTable finds the routes of one family: a lookup asks for one prefix of each length that there
// is, at most 33 or 129 questions however many routes there are.
type familyTable struct {
	lengths []int                // of prefixes, longest first
	best    map[netip.Prefix]int // index in routes of the first with a prefix
}

// New returns the table of routes. Their prefixes are masked.
func New(routes []Route) *Table {
	t := &Table{routes: slices.Clone(routes)}
	for i := range t.routes {
		t.routes[i].Prefix = t.routes[i].Prefix.Masked()
	}
	slices.SortStableFunc(t.routes, func(a, b Route) int {
		x, y := a.Prefix, b.Prefix
		return cmp.Or(cmp.Compare(x.Addr().BitLen(), y.Addr().BitLen()), cmp.Compare(y.Bits(), x.Bits()),
			x.Addr().Compare(y.Addr()), cmp.Compare(a.Metric, b.Metric))
	})
	for i, r := range t.routes {
		t.family(r.Prefix.Addr()).add(r.Prefix, i)
	}
	return t
}

func (t *Table) family(a netip.Addr) *familyTable {
	if a.Is4() {
		return &t.v4
	}
	return &t.v6
}

// add puts in what comes after all that was put in before.
func (f *familyTable) add(p netip.Prefix, i int) {
	if f.best == nil {
		f.best = make(map[netip.Prefix]int)
	}
	if _, ok := f.best[p]; ok {
		return // another of a higher metric
	}
	f.best[p] = i
	if n := len(f.lengths); n == 0 || f.lengths[n-1] != p.Bits() {
		f.lengths = append(f.lengths, p.Bits())
	}
}

// Lookup returns the route to dst, false if there is none; of several that share it the first. The stack
// remembers the answer for each destination.
func (t *Table) Lookup(dst netip.Addr) (*Route, bool) {
	i, ok := t.lookup(dst)
	if !ok {
		return nil, false
	}
	return &t.routes[i], true
}

// Choose is Lookup where several routes share a prefix: all of a destination's packets take one of them, which is
// chosen by a hash with the seed (Linux: fib_multipath_hash_policy 0, of the addresses).
func (t *Table) Choose(dst netip.Addr, seed uint64) (*Route, bool) {
	i, ok := t.lookup(dst)
	if !ok {
		return nil, false
	}
	first := &t.routes[i]
	if first.Weight > 0 {
		total := 0
		for j := i; j < len(t.routes) && first.shares(&t.routes[j]); j++ {
			total += t.routes[j].Weight
		}
		for at := int(hash(dst, seed) * uint64(total) >> 32); at >= t.routes[i].Weight; i++ {
			at -= t.routes[i].Weight
		}
	}
	return &t.routes[i], true
}

// shares says whether what goes to a prefix is shared by two routes.
func (r *Route) shares(other *Route) bool {
	return other.Weight > 0 && other.Prefix == r.Prefix && other.Metric == r.Metric && other.Kind == r.Kind
}

// hash is 32 bits of an address and a seed: who does not know the seed cannot choose what they are.
func hash(a netip.Addr, seed uint64) uint64 {
	b := a.As16()
	word := binary.LittleEndian.Uint64
	high, low := bits.Mul64(word(b[:8])^seed, word(b[8:])^bits.RotateLeft64(seed, 32)|1)
	high, low = bits.Mul64(high^low^seed, 0x9e3779b97f4a7c15)
	return (high ^ low) >> 32
}

// lookup returns the index of the first route to dst.
func (t *Table) lookup(dst netip.Addr) (int, bool) {
	dst = dst.WithZone("")
	f := t.family(dst)
	for _, length := range f.lengths {
		p, err := dst.Prefix(length)
		if err != nil {
			return 0, false // dst is not valid
		}
		if i, ok := f.best[p]; ok {
			return i, true
		}
	}
	return 0, false
}

// All yields the routes to dst, the longest prefix first and of one prefix the lowest metric.
func (t *Table) All(dst netip.Addr) iter.Seq[*Route] {
	dst = dst.WithZone("")
	return func(yield func(*Route) bool) {
		f := t.family(dst)
		for _, length := range f.lengths {
			p, err := dst.Prefix(length)
			if err != nil {
				return // dst is not valid
			}
			i, ok := f.best[p]
			for ; ok && i < len(t.routes) && t.routes[i].Prefix == p; i++ {
				if !yield(&t.routes[i]) {
					return
				}
			}
		}
	}
}

// LookupPort returns the route to dst that leads by a port, false if there is none.
func (t *Table) LookupPort(dst netip.Addr, port int) (*Route, bool) {
	for r := range t.All(dst) {
		if r.Port == port {
			return r, true
		}
	}
	return nil, false
}

// Defaults returns the routes to everywhere of a's family, lowest metric first. They are not to be changed.
func (t *Table) Defaults(a netip.Addr) []Route {
	i, ok := t.family(a).best[defaultOf(a)]
	if !ok {
		return nil
	}
	end := i
	for end < len(t.routes) && t.routes[end].Prefix == t.routes[i].Prefix {
		end++
	}
	return t.routes[i:end]
}

// defaultOf is the prefix of all addresses of a's family.
func defaultOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// Routes returns the table's routes, IPv4 first, longest prefix first, then by address and metric. It is
// not to be changed.
func (t *Table) Routes() []Route { return t.routes }
