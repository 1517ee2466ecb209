package bpf

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A rule is in force from its first Add to its last Remove.
func TestRulesAreCounted(t *testing.T) {
	r := newRig(t)
	p := r.p
	addr := netip.MustParseAddr
	share := func(do func(netip.Addr) error) error { return do(addr(shared[0])) }
	for _, c := range []struct {
		name        string
		add, remove func() error
		frame       []byte
		with, bare  Verdict
	}{
		{"an own address", func() error { return p.AddAddr(addr(own[0])) }, func() error { return p.RemoveAddr(addr(own[0])) },
			eth(ip4(remote[0], own[0], 17, udp(1, 2))), RedirectAddress, PassForeign},
		{"an own address in mapped form", func() error { return p.AddAddr(addr("::ffff:" + own[0])) }, func() error { return p.RemoveAddr(addr(own[0])) },
			arp(t, 1, own[0]), RedirectARP, PassForeign},
		{"an own address with a zone", func() error { return p.AddAddr(addr("fe80::1%eth0")) }, func() error { return p.RemoveAddr(addr("fe80::1")) },
			solicit(t, "fe80::1"), RedirectSolicit, PassGroup},
		{"a shared address", func() error { return share(p.ShareAddr) }, func() error { return share(p.UnshareAddr) },
			eth(ip4(remote[0], shared[0], 17, udp(1, 2))), PassUnruled, PassForeign},
		{"a port of an address", func() error { return p.AddPort(TCP, addrPort("10.0.0.3:80")) }, func() error { return p.RemovePort(TCP, addrPort("10.0.0.3:80")) },
			eth(ip4(remote[0], named[0], 6, tcp(1, 80))), RedirectPort, PassForeign},
		{"a port of any address", func() error { return p.AddPort(UDP, addrPort(":68")) }, func() error { return p.RemovePort(UDP, addrPort(":68")) },
			eth(ip4(remote[0], foreign[0], 17, udp(1, 68))), RedirectPort, PassForeign},
		{"a flow", func() error { return p.AddFlow(TCP, addrPort("10.0.0.4:5000"), addrPort("10.9.9.9:80")) },
			func() error { return p.RemoveFlow(TCP, addrPort("10.0.0.4:5000"), addrPort("10.9.9.9:80")) },
			eth(ip4(remote[0], flowing[0], 6, tcp(80, 5000))), RedirectFlow, PassForeign},
		{"a wildcard port", func() error { return errors.Join(share(p.ShareAddr), p.AddPort(UDP, addrPort("0.0.0.0:53"))) },
			func() error { return errors.Join(share(p.UnshareAddr), p.RemovePort(UDP, addrPort("0.0.0.0:53"))) },
			eth(ip4(remote[0], shared[0], 17, udp(1, 53))), RedirectPort, PassForeign},
		{"a block", func() error { return errors.Join(share(p.ShareAddr), p.AddBlock(UDP, 50, 60)) },
			func() error { return errors.Join(share(p.UnshareAddr), p.RemoveBlock(UDP, 50, 60)) },
			eth(ip4(remote[0], shared[0], 17, udp(1, 53))), RedirectBlock, PassForeign},
	} {
		judge := func(when string, want Verdict) {
			t.Helper()
			if got := r.judge(t, c.frame); got != want {
				t.Errorf("%s, %s: %v, want %v", c.name, when, got, want)
			}
		}
		judge("before", c.bare)
		if err := c.remove(); !errors.Is(err, ErrNoRule) {
			t.Errorf("%s: removed without being there: %v", c.name, err)
		}
		must(t, c.add())
		judge("added", c.with)
		must(t, c.add())
		must(t, c.remove())
		judge("added twice, removed once", c.with)
		must(t, c.remove())
		judge("removed twice", c.bare)
		if err := c.remove(); !errors.Is(err, ErrNoRule) {
			t.Errorf("%s: removed three times: %v", c.name, err)
		}
		judge("removed three times", c.bare)
	}
}

// One address may be needed in several ways at once, and each ends by itself.
func TestUsesOfAnAddressAreIndependent(t *testing.T) {
	r := newRig(t)
	a := netip.MustParseAddr(shared[0])
	frame := eth(ip4(remote[0], shared[0], 6, tcp(80, 5000)))
	local, peer := netip.AddrPortFrom(a, 5000), addrPort("10.9.9.9:80")
	want := func(v Verdict) {
		t.Helper()
		if got := r.judge(t, frame); got != v {
			t.Errorf("got %v, want %v", got, v)
		}
	}
	must(t, r.p.AddFlow(TCP, local, peer))
	want(RedirectFlow)
	must(t, r.p.AddPort(TCP, local))
	want(RedirectPort)
	must(t, r.p.ShareAddr(a))
	must(t, r.p.AddBlock(TCP, 5000, 5000))
	want(RedirectBlock)
	must(t, r.p.AddAddr(a))
	want(RedirectAddress)
	must(t, r.p.RemovePort(TCP, local))
	must(t, r.p.RemoveAddr(a))
	want(RedirectBlock)
	must(t, r.p.RemoveBlock(TCP, 5000, 5000))
	want(RedirectFlow)
	must(t, r.p.RemoveFlow(TCP, local, peer))
	want(PassUnruled)
	must(t, r.p.UnshareAddr(a))
	want(PassForeign)
}

// Blocks may overlap, and each port is held as long as one of its blocks is.
func TestBlocksOverlap(t *testing.T) {
	r := newRig(t)
	r.share(t, shared[0])
	random := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		if n := len(r.m.blocks); n > 0 && random.IntN(2) == 0 {
			i := random.IntN(n)
			b := r.m.blocks[i]
			must(t, r.p.RemoveBlock(b.proto, b.first, b.last))
			r.m.blocks = append(r.m.blocks[:i], r.m.blocks[i+1:]...)
		} else {
			first := 1 + random.IntN(300)
			r.block(t, pick(random, TCP, UDP), uint16(first), uint16(first+random.IntN(200)))
		}
		for range 20 {
			r.agree(t, eth(ip4(remote[0], shared[0], pick[byte](random, 6, 17), udp(1, random.IntN(520)))))
		}
	}
	r.m.blocks = nil
}

func TestBlockOfAllPorts(t *testing.T) {
	r := newRig(t)
	r.share(t, shared[0])
	r.block(t, TCP, 1, 65535)
	for _, port := range []int{0, 1, 63, 64, 65535} {
		r.agree(t, eth(ip4(remote[0], shared[0], 6, tcp(9, port))))
		r.agree(t, eth(ip4(remote[0], shared[0], 17, udp(9, port))))
	}
}

func TestImpossibleRulesAreRefused(t *testing.T) {
	p := load(t, Config{Queues: 1})
	addr := netip.MustParseAddr
	for name, err := range map[string]error{
		"no address":                p.AddAddr(netip.Addr{}),
		"an unspecified address":    p.AddAddr(addr("::")),
		"a group":                   p.AddAddr(addr("224.0.0.1")),
		"an IPv6 group":             p.ShareAddr(addr("ff02::1")),
		"the broadcast address":     p.AddAddr(addr("255.255.255.255")),
		"port 0":                    p.AddPort(TCP, addrPort("10.0.0.1:0")),
		"a protocol without ports":  p.AddPort(1, addrPort("10.0.0.1:80")),
		"a port of a group":         p.AddPort(UDP, addrPort("224.0.0.1:80")),
		"a flow of two families":    p.AddFlow(TCP, addrPort("10.0.0.1:80"), addrPort("[fd00::1]:80")),
		"a flow from nowhere":       p.AddFlow(TCP, addrPort("10.0.0.1:80"), addrPort("0.0.0.0:80")),
		"a flow to nowhere":         p.AddFlow(TCP, addrPort("0.0.0.0:80"), addrPort("10.0.0.1:80")),
		"a flow from port 0":        p.AddFlow(TCP, addrPort("10.0.0.1:80"), addrPort("10.0.0.2:0")),
		"a block from port 0":       p.AddBlock(TCP, 0, 10),
		"a block that ends early":   p.AddBlock(TCP, 10, 9),
		"a block of another":        p.AddBlock(3, 1, 2),
		"removing half of no block": p.RemoveBlock(TCP, 1, 2),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, m := range []interface{ NextKeyBytes(any) ([]byte, error) }{p.maps.Addrs, p.maps.Ports, p.maps.Flows} {
		if key, err := m.NextKeyBytes(nil); key != nil || err != nil {
			t.Errorf("a refused rule left %x in %v, %v", key, m, err)
		}
	}
}

func TestTooManyRulesNameTheLimit(t *testing.T) {
	p := load(t, Config{Queues: 1})
	a := netip.MustParseAddr("10.0.0.0")
	var err error
	n := 0
	for ; err == nil && n < 5000; n++ {
		a = a.Next()
		err = p.AddAddr(a)
	}
	if !errors.Is(err, unix.E2BIG) || n != 1025 || !strings.Contains(err.Error(), "1024 such rules are the limit") {
		t.Fatalf("after %d: %v", n, err)
	}
	if err := p.RemoveAddr(a); !errors.Is(err, ErrNoRule) {
		t.Errorf("the one that was refused is held: %v", err)
	}
	must(t, p.RemoveAddr(netip.MustParseAddr("10.0.0.1")))
	must(t, p.AddAddr(a))

	// A rule that needs an address and finds no room for it is taken out again.
	if err := p.AddPort(TCP, addrPort("10.99.0.1:80")); !errors.Is(err, unix.E2BIG) {
		t.Errorf("got %v", err)
	}
	if key, err := p.maps.Ports.NextKeyBytes(nil); key != nil || err != nil {
		t.Errorf("the port rule stayed: %x, %v", key, err)
	}
}
