package route

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestLongestPrefixThenLowestMetricWins(t *testing.T) {
	table := New([]Route{
		{Prefix: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.1"), Port: 1},
		{Prefix: prefix("10.0.0.7/24"), Port: 2, Metric: 10},
		{Prefix: prefix("10.0.0.0/24"), Port: 3, Metric: 5},
		{Prefix: prefix("10.0.0.9/32"), Port: 4, Kind: Blackhole},
		{Prefix: prefix("fd00::/8"), Port: 5},
	})
	for _, tc := range []struct {
		dst  string
		port int // 0: no route
		hop  string
	}{
		{"8.8.8.8", 1, "10.0.0.1"},
		{"10.0.0.8", 3, "10.0.0.8"},
		{"10.0.0.9", 4, "10.0.0.9"},
		{"fd01::1", 5, "fd01::1"},
		{"2001:db8::1", 0, ""},
	} {
		dst := netip.MustParseAddr(tc.dst)
		r, ok := table.Lookup(dst)
		if ok != (tc.port != 0) {
			t.Errorf("%s: found %v", tc.dst, ok)
			continue
		}
		if ok && (r.Port != tc.port || r.Hop(dst).String() != tc.hop) {
			t.Errorf("%s: port %d hop %s, want %d %s", tc.dst, r.Port, r.Hop(dst), tc.port, tc.hop)
		}
	}
}

func TestLookupAgreesWithTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var routes []Route
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(256))})
		routes = append(routes, Route{Prefix: netip.PrefixFrom(a, 8+rng.IntN(25)).Masked(), Port: i, Metric: rng.IntN(3)})
	}
	table := New(routes)
	for range 5000 {
		dst := netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(256))})
		var best *Route
		for i := range routes {
			r := &routes[i]
			if r.Prefix.Contains(dst) && (best == nil || r.Prefix.Bits() > best.Prefix.Bits() ||
				r.Prefix.Bits() == best.Prefix.Bits() && r.Metric < best.Metric) {
				best = r
			}
		}
		got, ok := table.Lookup(dst)
		if ok != (best != nil) || ok && *got != *best {
			t.Fatalf("%s: got %+v, want %+v", dst, got, best)
		}
	}
}

// TestLookupOfIPv6 is the same over random lengths of the other family, with zones.
func TestLookupOfIPv6(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() netip.Addr {
		a := netip.MustParseAddr("2001:db8::").As16()
		for i := 4; i < 16; i++ {
			a[i] = byte(rng.IntN(2))
		}
		return netip.AddrFrom16(a)
	}
	routes := []Route{{Prefix: prefix("::/0"), Port: 1000}}
	for i := range 300 {
		routes = append(routes, Route{Prefix: netip.PrefixFrom(random(), 32+rng.IntN(97)).Masked(), Port: i, Metric: rng.IntN(3)})
	}
	table := New(routes)
	for range 3000 {
		dst := random()
		best := &routes[0]
		for i := range routes {
			r := &routes[i]
			if r.Prefix.Contains(dst) && (r.Prefix.Bits() > best.Prefix.Bits() || r.Prefix.Bits() == best.Prefix.Bits() && r.Metric < best.Metric) {
				best = r
			}
		}
		if got, ok := table.Lookup(dst.WithZone("7")); !ok || *got != *best {
			t.Fatalf("%s: got %+v, want %+v", dst, got, best)
		}
	}
}

// Several ways to one prefix share what goes there by their weights, and each destination keeps its own; a way of
// another metric, or without a weight, has none of it.
func TestWaysOfOnePrefixShareByWeight(t *testing.T) {
	for _, six := range []bool{false, true} {
		p, to := prefix("10.0.0.0/8"), func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }
		if six {
			p, to = prefix("fd00::/8"), func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)}) }
		}
		table := New([]Route{{Prefix: p, Port: 1, Weight: 1}, {Prefix: p, Port: 2, Weight: 3}, {Prefix: p, Port: 3, Weight: 9, Metric: 1}, {Prefix: p, Port: 4, Weight: 4}})
		var share [5]int
		moved := 0
		for i := range 8000 {
			r, ok := table.Choose(to(i), 77)
			again, _ := table.Choose(to(i), 77)
			other, _ := table.Choose(to(i), 78)
			if !ok || r != again {
				t.Fatalf("%v: %+v, then %+v", to(i), r, again)
			}
			if r != other {
				moved++
			}
			share[r.Port]++
		}
		for port, weight := range []int{0, 1, 3, 0, 4} {
			if want := 1000 * weight; share[port] < want*85/100 || share[port] > want*115/100 {
				t.Errorf("six %v: by port %d go %d of 8000, want about %d", six, port, share[port], want)
			}
		}
		if moved < 1000 {
			t.Errorf("six %v: with another seed %d of 8000 take another way", six, moved)
		}
		if r, _ := table.Lookup(to(1)); r.Port != 1 {
			t.Errorf("the first is by port %d", r.Port)
		}
	}
}

func TestNoRoutes(t *testing.T) {
	for _, table := range []*Table{New(nil), new(Table)} {
		for _, dst := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1")} {
			if r, ok := table.Lookup(dst); ok {
				t.Errorf("%v: %+v", dst, r)
			}
		}
	}
}

// BenchmarkLookup is what a destination costs that the stack does not remember: a table of 10,000
// routes of all lengths.
func BenchmarkLookup(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var routes []Route
	for i := range 10_000 {
		a := netip.AddrFrom4([4]byte{byte(1 + rng.IntN(200)), byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))})
		routes = append(routes, Route{Prefix: netip.PrefixFrom(a, 8+rng.IntN(25)), Port: i})
	}
	table := New(routes)
	dsts := make([]netip.Addr, 1024)
	for i := range dsts {
		dsts[i] = netip.AddrFrom4([4]byte{byte(1 + rng.IntN(200)), byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Lookup(dsts[i%len(dsts)])
	}
}
