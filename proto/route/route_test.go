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
