package proto

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/autoconf"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A confHost is a stack that takes what its machines find out, as a host does.
type confHost struct {
	*Stack
	conf *Autoconf
	t    testing.TB
	now  mono.Time
	sent [][]byte

	static []route.Route
}

func newConfHost(t testing.TB, mac wire.MAC, seed uint64, auto bool) *confHost {
	h := &confHost{t: t, now: mono.Time(time.Hour)}
	h.Stack = New(Config{Ports: []PortConfig{{MAC: mac, MTU: 1500}}, Start: h.now, Seed: [2]uint64{seed, 1}})
	h.conf = h.SetAutoconf(0, &AutoconfConfig{Name: "eth1", Secret: [16]byte{byte(seed)}, Auto: auto, Changed: func(mono.Time) { h.take() }})
	return h
}

// take gives the stack what the machines have found out.
func (h *confHost) take() {
	var addrs []route.Addr
	for _, a := range append(h.conf.V6.Addrs(), h.conf.V4.Addrs()...) {
		addrs = append(addrs, route.Addr{Prefix: a.Prefix, State: a.State})
	}
	h.PutAddrs(0, addrs)
	routes := slices.Clone(h.static)
	for _, r := range append(h.conf.V6.Routes(), h.conf.V4.Routes()...) {
		routes = append(routes, route.Route{Prefix: r.Prefix, Gateway: r.Gateway, Metric: r.Rank, Redirected: r.Redirected})
	}
	h.SetRoutes(route.New(routes))
	p := h.conf.V6.Params()
	h.SetLink6(0, p.MTU, p.HopLimit, p.ReachableTime, p.RetransTimer)
}

// pass lets time go by, and keeps what leaves. Every peer hears it at once.
func (h *confHost) pass(d time.Duration, peers ...*confHost) {
	end := h.now.Add(d)
	all := append([]*confHost{h}, peers...)
	buf := make([]byte, 1600)
	for h.now < end {
		for _, x := range all {
			x.now = h.now
			x.Advance(x.now)
		}
		for _, x := range all {
			for n := x.Output(0, buf, x.now); n > 0; n = x.Output(0, buf, x.now) {
				frame := append([]byte(nil), buf[:n]...)
				x.sent = append(x.sent, frame)
				for _, y := range all {
					if y != x {
						y.Input(0, frame, y.now)
					}
				}
			}
		}
		h.now = h.now.Add(10 * time.Millisecond)
	}
}

func (h *confHost) states() (s string) {
	for _, a := range append(h.conf.V6.Addrs(), h.conf.V4.Addrs()...) {
		s += fmt.Sprint(a.Prefix.Addr(), " ", a.State, "; ")
	}
	return s
}

// icmp6 delivers an ICMPv6 message in a frame of its own.
func (h *confHost) icmp6(src, dst netip.Addr, hopLimit uint8, message []byte) drop.Reason {
	b := make([]byte, wire.EthernetLen+wire.IPv6Len+len(message))
	mac := h.Port(0).MAC
	if dst.IsMulticast() {
		mac = wire.MulticastMAC(dst)
	}
	n := wire.PutEthernet(b, mac, macB, wire.EtherTypeIPv6)
	n += wire.PutIPv6(b[n:], &wire.IPv6Fields{HopLimit: hopLimit, NextHeader: wire.ProtoICMPv6, Src: src, Dst: dst, PayloadLen: len(message)})
	copy(b[n:], message)
	wire.ICMP6(b[n:]).Seal(wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(message)))
	before := h.Count.Snapshot()
	h.Input(0, b, h.now)
	since := h.Count.Since(&before)
	for r := range since.All() {
		return r
	}
	return drop.None
}

// advert6 is a router's, of a prefix and itself.
func advert6(life time.Duration, prefix string, more ...byte) []byte {
	b := make([]byte, 512)
	n := wire.PutRouterAdvertisement(b, &wire.RouterAdvertisementFields{CurHopLimit: 77, Lifetime: life, RetransTimer: 2 * time.Second})
	n += wire.PutSourceOption(b[n:], macB)
	n += wire.PutMTUOption(b[n:], 1400)
	n += wire.PutPrefixOption(b[n:], &wire.NDPPrefix{Prefix: netip.MustParsePrefix(prefix), OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Hour})
	n += copy(b[n:], more)
	return b[:n]
}

var router6 = netip.MustParseAddr("fe80::b")

// RFC 4861 §6.1.2: what makes an advertisement valid, each rule with its counter.
func TestRouterAdvertisementsAreJudged(t *testing.T) {
	h := newConfHost(t, macA, 1, true)
	h.conf.V6.Start(h.now)
	h.pass(3 * time.Second)
	good := advert6(time.Hour, "2001:db8:1::/64")
	global := netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		src     netip.Addr
		hop     uint8
		message []byte
		want    drop.Reason
	}{
		"from another link, by hop limit": {router6, 254, good, drop.NDPHopLimit},
		"from another link, by source":    {global, 255, good, drop.NDPBadSource},
		"from nobody":                     {netip.IPv6Unspecified(), 255, good, drop.NDPBadSource},
		"with a code":                     {router6, 255, append([]byte{134, 1}, good[2:]...), drop.NDPCode},
		"cut off":                         {router6, 255, good[:12], drop.NDPShort},
		"an option of length 0":           {router6, 255, append(good[:len(good):len(good)], 5, 0, 0, 0, 0, 0, 0, 0), drop.NDPOptionBad},
		"a group as its link address":     {router6, 255, append(good[:16:16], 1, 1, 0x33, 0x33, 0, 0, 0, 1), drop.NDPOptionBad},
	} {
		if r := h.icmp6(c.src, wire.AllNodes6, c.hop, c.message); r != c.want {
			t.Errorf("%s: %v, want %v", name, r, c.want)
		}
		if len(h.conf.V6.Routes()) != 0 {
			t.Fatalf("%s: believed", name)
		}
	}
	if r := h.icmp6(router6, wire.AllNodes6, 255, good); r != drop.None {
		t.Fatalf("a good one: %v", r)
	}
	if n := len(h.conf.V6.Routes()); n != 2 {
		t.Errorf("%d routes", n)
	}
	manual := newConfHost(t, macA, 1, false)
	manual.conf.V6.Add(netip.MustParsePrefix("fd99::2/64"), manual.now)
	if r := manual.icmp6(router6, wire.AllNodes6, 255, good); r != drop.NDPRouterRefused {
		t.Errorf("without autoconfiguration: %v", r)
	}
}

// A host with an advertisement has an address that answers, a way out with the router's hop limit and MTU,
// and knows where the router is.
func TestAHostConfiguresItself(t *testing.T) {
	h := newConfHost(t, macA, 1, true)
	h.conf.V6.Start(h.now)
	h.pass(3 * time.Second)
	var asked bool
	for _, f := range h.sent {
		if ip, ok := wire.ParseIPv6(f[wire.EthernetLen:]); ok && ip.Dst() == wire.AllRouters6 {
			icmp, _ := wire.ParseICMP6(ip.Payload())
			asked = ip.HopLimit() == 255 && ip.Src().IsLinkLocalUnicast() && icmp.Type() == wire.ICMP6RouterSolicitation &&
				icmp.Check(ip.PseudoSum(wire.ProtoICMPv6, len(ip.Payload()))) == wire.ChecksumGood
		}
	}
	if !asked {
		t.Fatal("no router was asked for")
	}
	h.icmp6(router6, wire.AllNodes6, 255, advert6(time.Hour, "2001:db8:1::/64"))
	h.pass(4 * time.Second)
	far := netip.MustParseAddr("2001:db8:99::1")
	w, errno := h.path(far, h.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	if w.ttl != 77 || w.mtu != 1400 || !netip.MustParsePrefix("2001:db8:1::/64").Contains(w.src) || w.entry.MAC != macB {
		t.Errorf("way out: %+v", w)
	}
	// A redirect by the router, and one by another station (RFC 4861 §8.1).
	b := make([]byte, wire.RedirectLen)
	wire.PutRedirect(b, netip.MustParseAddr("fe80::c"), far)
	own := h.Addrs(0)[0].Prefix.Addr()
	if r := h.icmp6(netip.MustParseAddr("fe80::d"), own, 255, b); r != drop.ICMP6RedirectRefused {
		t.Errorf("a stranger's redirect: %v", r)
	}
	if r := h.icmp6(router6, own, 255, b); r != drop.None {
		t.Errorf("the router's redirect: %v", r)
	}
	if w, _ = h.path(far, h.now); w.entry.Addr.WithZone("") != netip.MustParseAddr("fe80::c") {
		t.Errorf("after the redirect: by %v", w.entry.Addr)
	}
	// The new first hop never answers: back to the router, that is still there.
	w.resolved(h.now)
	h.pass(7 * time.Second)
	if w, _ = h.path(far, h.now); w.entry.Addr.WithZone("") != router6 {
		t.Errorf("a first hop that does not answer is kept: %v", w.entry.Addr)
	}
	// It says that it is no router any more (§7.2.5).
	na := make([]byte, 64)
	n := wire.PutNeighborAdvertisement(na, router6, macB, wire.NeighborOverride)
	h.icmp6(router6, wire.AllNodes6, 255, na[:n])
	if _, errno := h.path(far, h.now); errno == 0 {
		t.Error("a router that is none is used")
	}
}

// RFC 4861 §6.3.6: a router that does not answer is left for another one. A connection that is being opened
// hears of it only when none is left, and the first is asked whether it is back.
func TestAnotherRouterIsTried(t *testing.T) {
	h := newConfHost(t, macA, 1, true)
	h.conf.V6.Start(h.now)
	h.pass(3 * time.Second)
	first, second := netip.MustParseAddr("fe80::1:1"), netip.MustParseAddr("fe80::1:2")
	ra := make([]byte, 64)
	ra = ra[:wire.PutRouterAdvertisement(ra, &wire.RouterAdvertisementFields{Lifetime: time.Hour})] // says no MAC
	for _, r := range []netip.Addr{first, second} {
		if r := h.icmp6(r, wire.AllNodes6, 255, ra); r != drop.None {
			t.Fatal(r)
		}
	}
	h.icmp6(router6, wire.AllNodes6, 255, advert6(0, "2001:db8:1::/64")) // an address, and no router
	h.pass(4 * time.Second)
	far := netip.MustParseAddrPort("[2001:db8:99::1]:80")
	var own netip.Addr
	for _, a := range h.Addrs(0) {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			own = a.Prefix.Addr()
		}
	}
	connect := func(port uint16) *tcp.Conn {
		c, errno := h.TCP.Connect(netip.AddrPortFrom(own, port), far, tcp.Options{}, h.now)
		if errno != 0 {
			t.Fatal(errno)
		}
		c.Gate.Init(silent{})
		return c
	}
	there := map[netip.Addr]bool{second: true}
	syns := map[wire.MAC]int{}
	goOn := func(d time.Duration) { // the routers that are there answer
		for end := h.now.Add(d); h.now < end; {
			h.sent = nil
			h.pass(100 * time.Millisecond)
			for _, f := range h.sent {
				ip, ok := wire.ParseIPv6(f[wire.EthernetLen:])
				switch {
				case !ok:
				case ip.NextHeader() == wire.ProtoTCP:
					syns[wire.Ethernet(f).Dst()]++
				case ip.NextHeader() == wire.ProtoICMPv6 && wire.ICMP6(ip.Payload()).Type() == wire.ICMP6NeighborSolicitation:
					m, _ := wire.ParseNeighborSolicitation(wire.ICMP6(ip.Payload()))
					if a := m.Target(); there[a] {
						na := make([]byte, 64)
						n := wire.PutNeighborAdvertisement(na, a, wire.MAC{2, 0, 0, 1, 0, a.As16()[15]}, wire.NeighborSolicited|wire.NeighborOverride|wire.NeighborRouter)
						h.icmp6(a, ip.Src(), 255, na[:n])
					}
				}
			}
		}
	}
	c := connect(1000)
	goOn(8 * time.Second)
	if c.State() != tcp.SynSent || syns[wire.MAC{2, 0, 0, 1, 0, 2}] == 0 {
		t.Errorf("%v, SYNs by %v", c.State(), syns)
	}
	there[first] = true
	goOn(61 * time.Second)
	if w, errno := h.path(far.Addr(), h.now); errno != 0 || w.entry.Addr.WithZone("") != first {
		t.Errorf("the first router is back, and packets go to %v", w.entry.Addr)
	}
	there[first], there[second] = false, false
	h.Neigh.Flush(0, h.now)
	last := connect(1001)
	goOn(20 * time.Second)
	if last.State() != tcp.Closed {
		t.Errorf("no router answers, and the connection is %v", last.State())
	}
}

// RFC 4862 §5.4, between two stacks on one link: who has the address keeps it, and of two that want it at
// once at most one gets it.
func TestDuplicateAddresses(t *testing.T) {
	p := netip.MustParsePrefix("fd99::2/64")
	a, b := newConfHost(t, macA, 1, false), newConfHost(t, macB, 2, false)
	a.conf.V6.Add(p, a.now)
	a.pass(3*time.Second, b)
	b.conf.V6.Add(p, b.now)
	a.pass(3*time.Second, b)
	if a.states() != "fd99::2 preferred; " || b.states() != "fd99::2 duplicate; " {
		t.Errorf("%s / %s", a.states(), b.states())
	}
	if b.Count[drop.NDPConflict] == 0 || b.Addrs(0)[0].Usable() || b.conf.V6.Addrs()[0].Rival != macA {
		t.Errorf("conflicts %d, addresses %v", b.Count[drop.NDPConflict], b.Addrs(0))
	}

	for seed := range uint64(20) {
		a, b := newConfHost(t, macA, seed, false), newConfHost(t, macB, seed+100, false)
		a.conf.V6.Add(p, a.now)
		b.conf.V6.Add(p, b.now)
		a.pass(5*time.Second, b)
		if a.conf.V6.Addrs()[0].State.Usable() && b.conf.V6.Addrs()[0].State.Usable() {
			t.Errorf("seed %d: both have it", seed)
		}
	}
}

func TestATentativeAddressIsSilent(t *testing.T) {
	h := newConfHost(t, macA, 1, false)
	p := netip.MustParsePrefix("fd99::2/64")
	h.conf.V6.Add(p, h.now)
	echo := make([]byte, 16)
	wire.PutICMP6(echo, wire.ICMP6Echo, 0, 1)
	asks := netip.MustParseAddr("fd99::9")
	if r := h.icmp6(asks, p.Addr(), 64, echo); r != drop.IP6NotForUs {
		t.Errorf("echo: %v", r)
	}
	ns := make([]byte, 64)
	n := wire.PutNeighborSolicitation(ns, p.Addr(), macB)
	if r := h.icmp6(asks, wire.SolicitedNode(p.Addr()), 255, ns[:n]); r != drop.NDPNotForUs {
		t.Errorf("solicitation: %v", r)
	}
	if _, errno := h.Source(0, netip.Addr{}, asks, h.now); errno == 0 {
		t.Error("it is a source")
	}
	h.pass(3 * time.Second)
	if r := h.icmp6(asks, wire.SolicitedNode(p.Addr()), 255, ns[:n]); r != drop.None {
		t.Errorf("solicitation afterwards: %v", r)
	}
}

// RFC 5227 between two stacks: the address is defended, and a second station does not get it.
func TestAddressConflicts4(t *testing.T) {
	p := netip.MustParsePrefix("10.9.0.7/24")
	a, b := newConfHost(t, macA, 1, false), newConfHost(t, macB, 2, false)
	a.conf.V4.Add(p, autoconf.Manual, autoconf.DefendAlways, true, a.now)
	a.pass(8*time.Second, b)
	b.conf.V4.Add(p, autoconf.Manual, autoconf.DefendAlways, true, b.now)
	a.pass(8*time.Second, b)
	if a.states() != "10.9.0.7 preferred; " || b.states() != "10.9.0.7 duplicate; " {
		t.Errorf("%s / %s", a.states(), b.states())
	}
	// One that does not probe: both say it is theirs, at a bounded rate.
	b.conf.V4.Remove(p.Addr(), b.now)
	a.sent, b.sent = nil, nil
	b.conf.V4.Add(p, autoconf.Manual, autoconf.GiveUp, false, b.now)
	a.pass(30*time.Second, b)
	if a.states() != "10.9.0.7 preferred; " || b.states() != "10.9.0.7 duplicate; " {
		t.Errorf("%s / %s", a.states(), b.states())
	}
	if n := len(a.sent) + len(b.sent); n > 10 {
		t.Errorf("%d frames of dispute", n)
	}
	if a.Count[drop.ARPConflict] == 0 || b.Count[drop.ARPConflict] == 0 {
		t.Error("a conflict was not counted")
	}
}

// Whatever comes, the machines and the stack stay whole.
func FuzzRouterAdvertisement(f *testing.F) {
	f.Add(advert6(time.Hour, "2001:db8:1::/64"), byte(0))
	f.Add(advert6(0, "2001:db8:1::/64"), byte(1))
	red := make([]byte, wire.RedirectLen)
	wire.PutRedirect(red, router6, netip.MustParseAddr("2001:db8:99::1"))
	f.Add(red, byte(3))
	f.Fuzz(func(t *testing.T, message []byte, seed byte) {
		if len(message) < wire.ICMP6Len || len(message) > 1400 {
			return
		}
		h := newConfHost(t, macA, uint64(seed), true)
		h.conf.V6.Start(h.now)
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		for range 4 {
			m := append([]byte(nil), message...)
			m[0] = byte(wire.ICMP6RouterSolicitation) + byte(r.IntN(5))
			m[r.IntN(len(m))] ^= byte(1 << r.IntN(8))
			h.icmp6(router6, wire.AllNodes6, 255, m)
			h.pass(100 * time.Millisecond)
			h.path(netip.MustParseAddr("2001:db8:99::1"), h.now)
		}
		if len(h.Addrs(0)) > 17 {
			t.Fatal(len(h.Addrs(0)))
		}
	})
}
