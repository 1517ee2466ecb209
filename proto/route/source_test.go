package route

import (
	"net/netip"
	"strings"
	"testing"
)

// parseAddrs reads "2001:db8::1/64" with flags behind it: deprecated, temporary, tentative, other (of
// another port than the outgoing one).
func parseAddrs(t *testing.T, list string) [][]Addr {
	t.Helper()
	ports := make([][]Addr, 2)
	for item := range strings.SplitSeq(list, ", ") {
		words := strings.Fields(item)
		if !strings.Contains(words[0], "/") {
			words[0] += "/64"
		}
		a, port := Addr{Prefix: netip.MustParsePrefix(words[0])}, 0
		for _, flag := range words[1:] {
			switch flag {
			case "deprecated":
				a.State = Deprecated
			case "tentative":
				a.State = Tentative
			case "duplicate":
				a.State = Duplicate
			case "temporary":
				a.Temporary = true
			case "other":
				port = 1
			default:
				t.Fatalf("flag %q", flag)
			}
		}
		ports[port] = append(ports[port], a)
	}
	return ports
}

// TestSource6 holds the examples of RFC 6724 §10.1 as they stand there, but that of a home address, and a
// row for each rule.
func TestSource6(t *testing.T) {
	for _, row := range []struct{ what, dst, addrs, want string }{
		// §10.1.
		{"10.1 prefer appropriate scope", "2001:db8:1::1", "2001:db8:3::1, fe80::1", "2001:db8:3::1"},
		{"10.1 prefer appropriate scope of a group", "ff05::1", "2001:db8:3::1, fe80::1", "2001:db8:3::1"},
		{"10.1 prefer same address", "2001:db8:1::1", "2001:db8:1::1 deprecated, 2001:db8:2::1", "2001:db8:1::1"},
		{"10.1 prefer appropriate scope of a deprecated one", "fe80::1", "fe80::2 deprecated, 2001:db8:1::1", "fe80::2"},
		{"10.1 longest matching prefix", "2001:db8:1::1", "2001:db8:1::2, 2001:db8:3::2", "2001:db8:1::2"},
		{"10.1 prefer matching label", "2002:c633:6401::1", "2002:c633:6401::d5e3:7953:13eb:22e8 temporary, 2001:db8:1::2", "2002:c633:6401::d5e3:7953:13eb:22e8"},
		{"10.1 prefer temporary", "2001:db8:1::d5e3:0:0:1", "2001:db8:1::2, 2001:db8:1::d5e3:7953:13eb:22e8 temporary", "2001:db8:1::d5e3:7953:13eb:22e8"},

		// §5, each both ways round.
		{"1", "2001:db8::1", "2001:db8::2 temporary, 2001:db8::1 deprecated", "2001:db8::1"},
		{"2: a smaller scope is too small", "2001:db8::9", "fe80::1, fec0::1, 2001:db8:ff::1 deprecated", "2001:db8:ff::1"},
		{"2: the smallest that is not", "ff02::1", "2001:db8::1, fec0::1, fe80::1 deprecated", "fe80::1"},
		{"2: of those too small the largest", "2001:db8::9", "fe80::1, fec0::1", "fec0::1"},
		{"2: another interface's address rather than one of too small a scope", "2001:db8::9", "fe80::1, 2001:db8::1 other", "2001:db8::1"},
		{"3", "2001:db8::9", "2001:db8::1 deprecated, 2001:db8:ff::1 other", "2001:db8:ff::1"},
		{"3: if there is no other", "2001:db8::9", "2001:db8::1 deprecated, fe80::1", "2001:db8::1"},
		{"5", "2001:db8::9", "2001:db8::1 other, fd00::1", "fd00::1"},
		{"6: ULA to ULA", "fd00:5::9", "2001:db8::1 temporary, fd00::1", "fd00::1"},
		{"6: Teredo", "2001::9", "2001:db8::1, 2001::1", "2001::1"},
		{"7", "2001:db8::9", "2001:db8::1, 2001:db8:ff::1 temporary", "2001:db8:ff::1"},
		{"8", "2001:db8:ff::9", "2001:db8::1, 2001:db8:ff::1, 2001:db8:fe::1", "2001:db8:ff::1"},
		{"8: not beyond the prefix", "2001:db8::9", "2001:db8::1, 2001:db8::8", "2001:db8::1"},
		{"8: a short prefix counts for less", "2001:db8:0:1::9", "2001:db8:0:1::1/48, 2001:db8:0:1::2/64", "2001:db8:0:1::2"},

		// §4, and RFC 4862 §2.
		{"tentative is none", "2001:db8::9", "2001:db8::1 tentative, fe80::1", "fe80::1"},
		{"duplicate is none", "2001:db8::9", "2001:db8::1 duplicate", ""},
		{"link-local peers have the link's addresses", "fe80::9", "fe80::1 other, 2001:db8::1 deprecated", "2001:db8::1"},
		{"so have groups", "ff0e::9", "2001:db8::1 other", ""},
		{"another family is none", "2001:db8::9", "10.0.0.1/24", ""},
	} {
		dst := netip.MustParseAddr(row.dst)
		got, _, ok := Source(dst, dst, 0, parseAddrs(t, row.addrs), false)
		if ok != (row.want != "") || ok && got != netip.MustParseAddr(row.want) {
			t.Errorf("%s: to %s from [%s]: %v, want %q", row.what, row.dst, row.addrs, got, row.want)
		}
	}
}

// TestSource4: as the kernel chooses, see rank4.
func TestSource4(t *testing.T) {
	for _, row := range []struct{ what, dst, hop, addrs, want string }{
		{"the link of the hop", "9.9.9.9", "10.2.0.254", "10.1.0.1/24, 10.2.0.1/24", "10.2.0.1"},
		{"the first of two on the link", "10.1.0.9", "", "10.1.0.1/24, 10.1.0.2/24", "10.1.0.1"},
		{"rather one of the interface than of another", "9.9.9.9", "10.9.0.1", "10.1.0.1/24, 10.9.0.2/24 other", "10.1.0.1"},
		{"another interface's, if there is none", "9.9.9.9", "10.9.0.1", "10.9.0.2/24 other", "10.9.0.2"},
		{"link scope to its link", "169.254.0.9", "", "10.1.0.1/24, 169.254.0.1/16", "169.254.0.1"},
		{"link scope nowhere else", "9.9.9.9", "10.9.0.1", "169.254.0.1/16, 10.9.0.2/24 other", "10.9.0.2"},
		{"deprecated", "10.1.0.9", "", "10.1.0.1/24 deprecated, 10.1.0.2/24", "10.1.0.2"},
		{"deprecated, but of the link", "10.1.0.9", "", "10.2.0.2/24, 10.1.0.1/24 deprecated", "10.1.0.1"},
		{"tentative", "10.1.0.9", "", "10.1.0.1/24 tentative, 10.2.0.2/24", "10.2.0.2"},
		{"none", "10.1.0.9", "", "fe80::1", ""},
	} {
		dst := netip.MustParseAddr(row.dst)
		hop := dst
		if row.hop != "" {
			hop = netip.MustParseAddr(row.hop)
		}
		got, _, ok := Source(dst, hop, 0, parseAddrs(t, row.addrs), false)
		if ok != (row.want != "") || ok && got != netip.MustParseAddr(row.want) {
			t.Errorf("%s: to %s from [%s]: %v, want %q", row.what, row.dst, row.addrs, got, row.want)
		}
	}
}

// TestSourceOfOneLinkAlone is for questions of the link, such as ARP's.
func TestSourceOfOneLinkAlone(t *testing.T) {
	dst := netip.MustParseAddr("10.1.0.9")
	if a, _, ok := Source(dst, dst, 0, parseAddrs(t, "10.1.0.1/24 other"), true); ok {
		t.Errorf("%v is of another link", a)
	}
}
