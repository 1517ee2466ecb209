package autoconf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// RFC 4861 §6.3.7, RFC 7559 §2: from the link-local address, as soon as it may be used, then less and
// less often, without end.
func TestRoutersAreSolicited(t *testing.T) {
	w := newWorld6(t, nil)
	began := w.now
	w.Start(w.now)
	w.pass(48 * time.Hour)
	asked := w.heard("RS")
	local := w.one(linkLocalPrefix).Prefix.Addr()
	if first := asked[0].at.Sub(began); first > solicitDelayMax+retransTimer+time.Millisecond {
		t.Errorf("first asked after %v", first)
	}
	var last time.Duration
	for i, s := range asked[1:] {
		gap := s.at.Sub(asked[i].at)
		switch {
		case s.about != local:
			t.Fatalf("asked from %v", s.about)
		case i == 0 && (gap < 3600*time.Millisecond || gap > 4400*time.Millisecond):
			t.Errorf("second after %v", gap)
		case i > 0 && last < 25*time.Minute && (gap < 19*last/10 || gap > 21*last/10+time.Millisecond):
			t.Errorf("%v after %v", gap, last)
		case gap > 66*time.Minute:
			t.Errorf("a gap of %v", gap)
		}
		last = gap
	}
	if len(asked) < 50 || len(asked) > 65 {
		t.Errorf("asked %d times in two days", len(asked))
	}
	// A router that is none does not end it; one that is does.
	w.advertise(routerA, advert{})
	w.pass(2 * time.Hour)
	if len(w.heard("RS")) == 0 {
		t.Error("a router without lifetime ended the asking")
	}
	w.advertise(routerA, auto(time.Hour, time.Hour))
	w.pass(29 * time.Minute)
	w.want("asked while there is a router", len(w.heard("RS")), 0)
	w.pass(2 * time.Minute) // its lifetime is over
	if len(w.heard("RS")) == 0 {
		t.Error("nobody was asked after the last router had gone")
	}
}

func TestNothingIsBelievedUnlessAsked(t *testing.T) {
	w := newWorld6(t, manualOnly)
	w.Start(w.now)
	w.want("reason", w.advertise(routerA, auto(time.Hour, time.Hour, net1)), drop.NDPRouterRefused)
	w.want("ways", w.ways(), "")
	w.want("addresses", w.Addrs(), []Addr{})
	w.want("timer", w.wheel.Deadline(), mono.Never)
}

func TestDefaultRouters(t *testing.T) {
	w := newWorld6(t, nil)
	router := func(from netip.Addr, life time.Duration, preference int) {
		w.advertise(from, advert{RouterAdvertisementFields: wire.RouterAdvertisementFields{Lifetime: life}, preference: preference})
	}
	router(routerA, time.Hour, 0)
	router(routerB, time.Hour, 0)
	w.want("as they came", w.gateways(), "fe80::a fe80::b")
	router(routerB, time.Hour, 1)
	w.want("preferred (RFC 4191 §3.2)", w.gateways(), "fe80::b fe80::a")
	router(routerA, time.Hour, -1)
	router(routerB, time.Hour, 0)
	w.want("low", w.gateways(), "fe80::b fe80::a")
	news := w.news
	router(routerB, time.Hour, 0)
	w.want("news of what is known", w.news-news, 0)
	router(routerA, time.Hour, 0)
	router(routerB, 0, 0)
	w.want("given up (RFC 4861 §6.3.4)", w.gateways(), "fe80::a")
	router(routerB, time.Hour, 0)
	w.NotRouter(routerB, w.now)
	w.NotRouter(routerB, w.now)
	w.want("a router no longer (RFC 4861 §7.2.5)", w.gateways(), "fe80::a")
	router(routerA, 2*time.Hour, 0)
	w.pass(time.Hour + time.Second)
	w.want("renewed", w.gateways(), "fe80::a")
	w.pass(time.Hour)
	w.want("over", w.gateways(), "")
}

func TestPrefixesOnTheLink(t *testing.T) {
	w := newWorld6(t, nil)
	tell := func(p netip.Prefix, on bool, valid time.Duration) {
		w.advertise(routerA, advert{prefixes: []wire.NDPPrefix{{Prefix: p, OnLink: on, Valid: valid}}})
	}
	tell(net1, true, time.Hour)
	tell(net2, false, time.Hour)
	w.want("on the link", w.ways(), "2001:db8:1::/64")
	w.want("without the A flag", w.of(net1), []Addr{})
	tell(net1, false, 0)
	w.want("L=0 says nothing (RFC 4861 §6.3.4)", w.ways(), "2001:db8:1::/64")
	tell(net1, true, 0)
	w.want("not any more", w.ways(), "")
	tell(net1, true, time.Minute)
	tell(net2, true, wire.NDPForever)
	w.pass(61 * time.Second)
	w.want("one is over", w.ways(), "2001:db8:2::/64")
	w.pass(1000 * time.Hour)
	w.want("one never is", w.ways(), "2001:db8:2::/64")
}

// RFC 4862 §5.5.3, §5.5.4.
func TestAnAddressOfEachPrefixAges(t *testing.T) {
	w := newWorld6(t, nil)
	w.advertise(routerA, auto(4*time.Hour, time.Hour, net1))
	a := w.one(net1)
	if a.State != route.Tentative || a.Origin != Stateless || a.Prefix.Bits() != 64 || !net1.Contains(a.Prefix.Addr()) {
		t.Fatalf("%+v", a)
	}
	w.pass(3 * time.Second)
	w.want("used", w.one(net1).State, route.Preferred)
	w.pass(time.Hour)
	w.want("no longer preferred", w.one(net1).State, route.Deprecated)
	w.advertise(routerA, auto(4*time.Hour, time.Hour, net1))
	w.want("preferred again", w.one(net1).State, route.Preferred)
	w.advertise(routerA, auto(4*time.Hour, 0, net1))
	w.want("deprecated by the router", w.one(net1).State, route.Deprecated)
	w.pass(4*time.Hour - time.Second)
	w.want("still there", len(w.of(net1)), 1)
	w.pass(2 * time.Second)
	w.want("gone", len(w.of(net1)), 0)
}

func TestPrefixesThatGiveNoAddress(t *testing.T) {
	w := newWorld6(t, nil)
	w.advertise(routerA, auto(0, 0, net1)) // §5.5.3 (d): valid lifetime 0
	w.advertise(routerA, auto(time.Hour, time.Hour, netip.MustParsePrefix("2001:db8::/48"), netip.MustParsePrefix("2001:db8:3::/96")))
	w.advertise(routerA, auto(time.Hour, 2*time.Hour, net2)) // (c)
	w.want("addresses", w.Addrs(), []Addr{})
	w.advertise(routerA, auto(time.Hour, 0, net1))
	w.pass(3 * time.Second)
	w.want("one born deprecated", w.one(net1).State, route.Deprecated)
}

// RFC 4862 §5.5.3 (e): the two hours.
func TestALifeIsNotShortenedToLessThanTwoHours(t *testing.T) {
	for _, c := range []struct {
		left, told, want time.Duration
	}{
		{24 * time.Hour, 12 * time.Hour, 12 * time.Hour},          // 1: more than two hours
		{time.Hour, 90 * time.Minute, 90 * time.Minute},           // 1: longer than what is left
		{time.Hour, time.Minute, time.Hour},                       // 2: two hours or less are left
		{2 * time.Hour, 0, 2 * time.Hour},                         // 2
		{24 * time.Hour, time.Minute, 2 * time.Hour},              // 3
		{24 * time.Hour, 0, 2 * time.Hour},                        // 3
		{wire.NDPForever, time.Hour, 2 * time.Hour},               // 3
		{time.Hour, wire.NDPForever, wire.NDPForever},             // 1
		{wire.NDPForever, wire.NDPForever, wire.NDPForever},       // 1
		{3 * time.Hour, 2*time.Hour + time.Second, 7201000000000}, // 1
	} {
		w := newWorld6(t, nil)
		w.advertise(routerA, auto(c.left, 0, net1))
		w.advertise(routerA, auto(c.told, 0, net1))
		if got, want := w.one(net1).Valid, w.now.Add(c.want); got != want {
			t.Errorf("%v left, %v told: %v, want %v", c.left, c.told, got.Sub(w.now), c.want)
		}
	}
}

func TestParamsWithinReason(t *testing.T) {
	w := newWorld6(t, nil)
	tell := func(f wire.RouterAdvertisementFields, mtu uint32) Params {
		w.advertise(routerA, advert{RouterAdvertisementFields: f, more: func(b []byte) int { return wire.PutMTUOption(b, mtu) }})
		return w.Params()
	}
	w.want("at first", w.Params(), Params{MTU: 1500, RetransTimer: time.Second})
	got := tell(wire.RouterAdvertisementFields{CurHopLimit: 64, Managed: true, OtherConfig: true, ReachableTime: 20 * time.Second, RetransTimer: 2 * time.Second}, 1400)
	all := Params{1400, 64, 20 * time.Second, 2 * time.Second, true, true}
	w.want("told", got, all)
	all.Managed, all.OtherConfig = false, false
	w.want("zero is silence (RFC 4861 §6.3.4)", tell(wire.RouterAdvertisementFields{}, 0), all)
	w.want("out of reason", tell(wire.RouterAdvertisementFields{CurHopLimit: 1, ReachableTime: 2 * time.Hour}, 1279), all)
	w.want("an MTU beyond the link's", tell(wire.RouterAdvertisementFields{}, 9000), all)
	w.want("too loud", tell(wire.RouterAdvertisementFields{RetransTimer: time.Millisecond}, 1280).RetransTimer, retransMin)
	w.want("too slow", tell(wire.RouterAdvertisementFields{RetransTimer: 40 * 24 * time.Hour}, 1280).RetransTimer, retransMax)
}

// A flood of advertisements fills what is bounded, is told so, and takes nothing from those who were
// there before.
func TestAFloodOfAdvertisements(t *testing.T) {
	w := newWorld6(t, nil)
	w.Start(w.now)
	w.want("the honest router", w.advertise(routerA, auto(time.Hour, time.Hour, net1)), drop.None)
	refused := 0
	for n := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb9, byte(n >> 8), byte(n)}), 64)
		from := netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(n >> 8), 15: byte(n)})
		a := auto(time.Hour, time.Hour, p)
		a.preference = 1
		a.more = func(b []byte) int {
			k := wire.PutServersOption(b, time.Hour, netip.AddrFrom16([16]byte{0x20, 1, 14: byte(n >> 8), 15: byte(n)}))
			return k + wire.PutDomainsOption(b[k:], time.Hour, fmt.Sprintf("flood%d.example", n))
		}
		if w.advertise(from, a) == drop.NDPRouterRefused {
			refused++
		}
		w.pass(time.Millisecond)
	}
	if refused < 980 {
		t.Errorf("%d of 1000 were refused", refused)
	}
	w.pass(10 * time.Second)
	w.want("addresses", len(w.Addrs()), addrsMax+1) // and the link-local one
	w.want("ways", len(w.Routes()), routersMax+prefixesMax)
	w.want("servers", len(w.Servers()), serversMax)
	w.want("domains", len(w.Domains()), domainsMax)
	w.want("the honest router's address", w.one(net1).State, route.Preferred)
	if !slices.ContainsFunc(w.Routes(), func(r Route) bool { return r.Gateway == routerA }) {
		t.Error("the honest router is gone")
	}
	w.pass(2 * time.Hour)
	w.want("afterwards", w.ways(), "")
	w.want("and of addresses", len(w.Addrs()), 1)
}

// RFC 4861 §8.1, §8.3.
func TestRedirects(t *testing.T) {
	far := netip.MustParseAddr("2001:db8:99::1")
	w := newWorld6(t, nil)
	w.advertise(routerA, auto(time.Hour, time.Hour, net1))
	w.pass(3 * time.Second)
	redirect := func(from, target, dst netip.Addr) drop.Reason {
		var b [wire.RedirectLen]byte
		m, _ := wire.ParseRedirect(b[:wire.PutRedirect(b[:], target, dst)])
		return w.Redirected(from, m, w.now)
	}
	w.hops[far] = routerA
	for name, r := range map[string]drop.Reason{
		"not the first hop":    redirect(routerB, routerA, far),
		"multicast":            redirect(routerA, routerB, wire.AllNodes6),
		"a global target":      redirect(routerA, netip.MustParseAddr("2001:db8:1::9"), far),
		"no way there":         redirect(routerA, routerB, netip.MustParseAddr("2001:db8:98::1")),
		"to our own address":   redirect(routerA, w.one(net1).Prefix.Addr(), w.one(net1).Prefix.Addr()),
		"from the destination": redirect(routerA, routerB, routerA),
		"to where it goes":     redirect(routerA, routerA, far),
	} {
		w.want(name, r, drop.ICMP6RedirectRefused)
	}
	base := w.ways()
	w.want("to a router", redirect(routerA, routerB, far), drop.None)
	w.want("ways", w.ways(), base+", 2001:db8:99::1/128 via fe80::b")
	w.hops[far] = routerB
	w.want("by the former first hop", redirect(routerA, far, far), drop.ICMP6RedirectRefused)
	w.want("to the link", redirect(routerB, far, far), drop.None)
	w.want("ways", w.ways(), base+", 2001:db8:99::1/128")
	for n := range 3 * redirectsMax {
		dst := netip.AddrFrom16([16]byte{0x20, 2, 15: byte(n)})
		w.hops[dst] = routerA
		w.want("one of many", redirect(routerA, routerB, dst), drop.None)
	}
	w.want("routes", len(w.Routes()), 2+redirectsMax)
	w.advertise(routerA, advert{})
	w.want("when the router goes", w.ways(), "2001:db8:1::/64")

	w.advertise(routerA, auto(time.Hour, time.Hour, net1))
	base = w.ways()
	w.hops[far] = routerA
	redirect(routerA, routerB, far)
	w.KeepRedirects(func(a netip.Addr) bool { return a == routerA }, w.now)
	w.pass(redirectLife - time.Second)
	w.want("for a while", w.ways(), base+", 2001:db8:99::1/128 via fe80::b")
	w.pass(2 * time.Second)
	w.want("and no longer", w.ways(), base)
	redirect(routerA, routerB, far)
	w.KeepRedirects(func(netip.Addr) bool { return false }, w.now)
	w.want("of a router that is none", w.ways(), base)
	redirect(routerA, routerB, far)
	w.Restart(w.now)
	w.want("on another link, perhaps", w.ways(), base)
}

// RFC 8106 §5, §7.1.
func TestServersAndDomains(t *testing.T) {
	w := newWorld6(t, nil)
	dns1, dns2 := netip.MustParseAddr("2001:db8:1::53"), netip.MustParseAddr("fe80::53")
	tell := func(life time.Duration, names ...string) {
		w.advertise(routerA, advert{more: func(b []byte) int {
			n := wire.PutServersOption(b, life, dns1, dns2, wire.AllNodes6, netip.IPv6Unspecified())
			return n + wire.PutDomainsOption(b[n:], life, names...)
		}})
	}
	list := func() (s string) {
		for _, x := range w.Servers() {
			s += x.Addr.String() + " "
		}
		for _, x := range w.Domains() {
			s += x.Name + " "
		}
		return s
	}
	tell(time.Minute, "example.org", "lan", "bad name", "x\ny", "a.b_c-d")
	w.want("told", list(), "2001:db8:1::53 fe80::53 example.org lan a.b_c-d ")
	news := w.news
	w.pass(30 * time.Second)
	tell(time.Minute, "lan")
	w.want("news of what is known", w.news, news)
	w.pass(31 * time.Second)
	w.want("renewed", list(), "2001:db8:1::53 fe80::53 lan ")
	tell(0, "lan")
	w.want("ended", list(), "")
	tell(wire.NDPForever, "lan", "lan.x", "la")
	w.pass(1000 * time.Hour)
	w.want("for ever", list(), "2001:db8:1::53 fe80::53 lan lan.x la ")
}
