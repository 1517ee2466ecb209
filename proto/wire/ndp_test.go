package wire

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func TestRouterAdvertisement(t *testing.T) {
	for _, f := range []RouterAdvertisementFields{
		{},
		{CurHopLimit: 64, Managed: true, Lifetime: 1800 * time.Second, ReachableTime: 30 * time.Second, RetransTimer: time.Second},
		{OtherConfig: true, Lifetime: 65535 * time.Second, ReachableTime: (1<<32 - 1) * time.Millisecond},
	} {
		var b [RouterAdvertisementLen]byte
		if n := PutRouterAdvertisement(b[:], &f); n != len(b) {
			t.Errorf("%d bytes", n)
		}
		h, ok := ParseRouterAdvertisement(b[:])
		if got := (RouterAdvertisementFields{h.CurHopLimit(), h.Managed(), h.OtherConfig(), h.Lifetime(), h.ReachableTime(), h.RetransTimer()}); !ok || got != f || h.Preference() != 0 {
			t.Errorf("%+v came back as %+v, preference %d", f, got, h.Preference())
		}
		for bits, want := range map[byte]int{0x00: 0, 0x08: 1, 0x10: 0, 0x18: -1} { // RFC 4191 §2.1
			if b[5] = b[5]&^0x18 | bits; h.Preference() != want {
				t.Errorf("preference %#x is %d, want %d", bits, h.Preference(), want)
			}
		}
	}
}

func TestRedirect(t *testing.T) {
	var b [RedirectLen]byte
	h, ok := ParseRedirect(b[:PutRedirect(b[:], ip6A, ip6B)])
	if !ok || h.Target() != ip6A || h.Dst() != ip6B || len(h.Options()) != 0 {
		t.Errorf("%v: %v by way of %v", ok, h.Dst(), h.Target())
	}
}

func TestNDPOptions(t *testing.T) {
	good := NDPPrefix{netip.MustParsePrefix("2001:db8:5::/64"), true, true, NDPForever, time.Hour}
	prefix := func(change func(p *NDPPrefix)) []byte {
		p := good
		change(&p)
		var b [PrefixOptionLen]byte
		PutPrefixOption(b[:], &p)
		return b[:]
	}
	var servers [8 + 16*(NDPServersMax+1)]byte
	PutServersOption(servers[:], time.Minute, ip6A, ip6B, ip6A, ip6B, ip6A)
	var link [LinkAddressOptionLen]byte
	PutSourceOption(link[:], macA)
	second := bytes.Clone(link[:])
	PutSourceOption(second, macB)
	mtu, nonce := make([]byte, MTUOptionLen), make([]byte, NonceOptionLen)
	PutMTUOption(mtu, 1500)
	PutNonceOption(nonce, [6]byte{1, 2, 3, 4, 5, 6})
	redirected := append([]byte{4, 2, 0, 0, 0, 0, 0, 0}, "a packet"...)

	domains := make([]byte, 64)
	domains = domains[:PutDomainsOption(domains, time.Minute, "example.org", "lan")]
	names := func(b []byte) (all string) {
		for name, rest, ok := NextNDPDomain(b); ok; name, rest, ok = NextNDPDomain(rest) {
			all += string(name) + " "
		}
		return all
	}

	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
		want func(o *NDPOptions) bool
	}{
		{"none", nil, true, func(o *NDPOptions) bool { return o.Source.IsZero() && o.Nonce == nil && o.PrefixCount == 0 }},
		{"of a link address the first counts", append(bytes.Clone(link[:]), second...), true, func(o *NDPOptions) bool { return o.Source == macA && o.Target.IsZero() }},
		{"an unknown one is skipped", append([]byte{200, 1, 1, 2, 3, 4, 5, 6}, link[:]...), true, func(o *NDPOptions) bool { return o.Source == macA }},
		{"MTU and nonce", append(mtu, nonce...), true, func(o *NDPOptions) bool { return o.MTU == 1500 && bytes.Equal(o.Nonce, []byte{1, 2, 3, 4, 5, 6}) }},
		{"redirected packet", redirected, true, func(o *NDPOptions) bool { return string(o.Redirected) == "a packet" }},
		{"a prefix", prefix(func(*NDPPrefix) {}), true, func(o *NDPOptions) bool { return o.PrefixCount == 1 && o.Prefixes[0] == good }},
		{"a prefix is masked", prefix(func(p *NDPPrefix) { p.Prefix = netip.MustParsePrefix("2001:db8:5::9/64") }), true, func(o *NDPOptions) bool { return o.PrefixCount == 1 && o.Prefixes[0] == good }},
		{"preferred longer than valid (RFC 4862 §5.5.3 c)", prefix(func(p *NDPPrefix) { p.Valid = time.Minute }), true, func(o *NDPOptions) bool { return o.PrefixCount == 0 }},
		{"link-local prefix (RFC 4862 §5.5.3 b)", prefix(func(p *NDPPrefix) { p.Prefix = netip.MustParsePrefix("fe80::/64") }), true, func(o *NDPOptions) bool { return o.PrefixCount == 0 }},
		{"multicast prefix", prefix(func(p *NDPPrefix) { p.Prefix = netip.MustParsePrefix("ff05::/64") }), true, func(o *NDPOptions) bool { return o.PrefixCount == 0 }},
		{"more prefixes than are read", bytes.Repeat(prefix(func(*NDPPrefix) {}), NDPPrefixesMax+3), true, func(o *NDPOptions) bool { return o.PrefixCount == NDPPrefixesMax }},
		{"more servers than are read", servers[:], true, func(o *NDPOptions) bool {
			return o.ServerCount == NDPServersMax && o.Servers[1] == NDPServer{ip6B, time.Minute}
		}},
		{"search domains", domains, true, func(o *NDPOptions) bool {
			return o.DomainsCount == 1 && o.Domains[0].Lifetime == time.Minute && names(o.Domains[0].Names) == "\x07example\x03org\x00 \x03lan\x00 "
		}},
		{"more search lists than are read", bytes.Repeat(domains, NDPDomainsMax+1), true, func(o *NDPOptions) bool { return o.DomainsCount == NDPDomainsMax }},
		{"a name longer than its list", append([]byte{31, 2, 0, 0, 0, 0, 0, 9, 63}, make([]byte, 7)...), true, func(o *NDPOptions) bool { return names(o.Domains[0].Names) == "" }},
		{"a compressed name", append([]byte{31, 2, 0, 0, 0, 0, 0, 9, 0xc0}, make([]byte, 7)...), true, func(o *NDPOptions) bool { return names(o.Domains[0].Names) == "" }},
		{"a search list without names", append([]byte{31, 1}, make([]byte, 6)...), false, nil},
		{"length 0", append(bytes.Clone(link[:]), 5, 0, 0, 0, 0, 0, 0, 0), false, nil},
		{"beyond the message", append(bytes.Clone(link[:]), 5, 2, 0, 0, 0, 0, 0, 0), false, nil},
		{"half an option", link[:7], false, nil},
		{"link address of 14 bytes", append([]byte{1, 2}, make([]byte, 14)...), false, nil},
		{"MTU of 16 bytes", append([]byte{5, 2}, make([]byte, 14)...), false, nil},
		{"prefix of 24 bytes", append([]byte{3, 3}, make([]byte, 22)...), false, nil},
		{"servers of half an address", append([]byte{25, 4}, make([]byte, 30)...), false, nil},
		{"no server", append([]byte{25, 1}, make([]byte, 6)...), false, nil},
	} {
		o := NDPOptions{MTU: 77} // of the message before
		if ok := o.Parse(c.b); ok != c.ok || c.want != nil && !c.want(&o) {
			t.Errorf("%s: %v %+v", c.name, ok, o)
		}
	}
	var o NDPOptions
	b := prefix(func(*NDPPrefix) {})
	if b[2] = 129; !o.Parse(b) || o.PrefixCount != 0 {
		t.Errorf("a prefix of 129 bits: %+v", o.Prefixes[0])
	}
}
