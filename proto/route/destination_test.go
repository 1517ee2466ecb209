package route

import (
	"net/netip"
	"slices"
	"testing"
)

// TestDestinations holds the examples of RFC 6724 §10.2 that are not about mobile nodes and tunnels.
func TestDestinations(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string // destination, source, and so on; "" is no source; a source may have a prefix length
		want []string
	}{
		{"matching scope", []string{"198.51.100.121", "169.254.13.78", "2001:db8:1::1", "2001:db8:1::2"}, []string{"2001:db8:1::1", "198.51.100.121"}},
		{"matching scope", []string{"2001:db8:1::1", "fe80::1", "198.51.100.121", "198.51.100.117"}, []string{"198.51.100.121", "2001:db8:1::1"}},
		{"higher precedence", []string{"10.1.2.3", "10.1.2.4", "2001:db8:1::1", "2001:db8:1::2"}, []string{"2001:db8:1::1", "10.1.2.3"}},
		{"smaller scope", []string{"2001:db8:1::1", "2001:db8:1::2", "fe80::1", "fe80::2"}, []string{"fe80::1", "2001:db8:1::1"}},
		{"unusable", []string{"2001:db8:1::1", "", "198.51.100.121", "198.51.100.117"}, []string{"198.51.100.121", "2001:db8:1::1"}},
		{"matching label", []string{"2002:c633:6401::1", "2002:c633:6401::2", "2001:db8:1::1", "2002:c633:6401::2"}, []string{"2002:c633:6401::1", "2001:db8:1::1"}},
		{"higher precedence of labels that match", []string{"2002:c633:6401::1", "2002:c633:6401::2", "2001:db8:1::1", "2001:db8:1::2"}, []string{"2001:db8:1::1", "2002:c633:6401::1"}},
		{"longest prefix", []string{"2001:db8:3ffe::1", "2001:db8:1::2", "2001:db8:1:0:ffff::1", "2001:db8:1::2"}, []string{"2001:db8:1:0:ffff::1", "2001:db8:3ffe::1"}},
		{"no longest prefix for IPv4", []string{"10.9.9.9", "10.1.2.4", "10.1.2.3", "10.1.2.4"}, []string{"10.9.9.9", "10.1.2.3"}},
		{"all unusable: higher precedence", []string{"10.9.9.9", "", "2001:db8::1", "", "10.1.2.3", ""}, []string{"2001:db8::1", "10.9.9.9", "10.1.2.3"}},
	} {
		var list []Destination
		for i := 0; i < len(c.list); i += 2 {
			d := Destination{Addr: netip.MustParseAddr(c.list[i])}
			if c.list[i+1] != "" {
				d.Source = netip.MustParseAddr(c.list[i+1])
			}
			list = append(list, d)
		}
		SortDestinations(list)
		var got []string
		for _, d := range list {
			got = append(got, d.Addr.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	deprecated := []Destination{
		{Addr: netip.MustParseAddr("2001:db8:1::1"), Source: netip.MustParseAddr("2001:db8:1::2"), Deprecated: true},
		{Addr: netip.MustParseAddr("2001:db8:2::1"), Source: netip.MustParseAddr("2001:db8:3::2"), Prefix: 64},
	}
	SortDestinations(deprecated)
	if deprecated[0].Deprecated {
		t.Error("a deprecated source comes first")
	}
}
