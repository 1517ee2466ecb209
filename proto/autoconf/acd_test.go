package autoconf

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A world4 is an interface, a virtual clock, and a link on which the test is everybody else.
type world4 struct {
	*Interface4
	t     testing.TB
	wheel *timer.Wheel
	now   mono.Time
	said  []said
	news  int
}

var (
	macOurs = wire.MAC{2, 0, 0, 0, 0, 1}
	ours    = netip.MustParsePrefix("192.0.2.7/24")
)

func newWorld4(t testing.TB) *world4 {
	w := &world4{t: t, now: mono.Time(time.Hour)}
	w.wheel = timer.New(w.now)
	w.Interface4 = NewInterface4(Config4{Link: w, Wheel: w.wheel, Rand: rand.New(rand.NewPCG(1, 2)), MAC: macOurs})
	return w
}

func (w *world4) Probe(a netip.Addr) {
	w.said = append(w.said, said{at: w.now, what: "probe", about: a})
}
func (w *world4) Announce(a netip.Addr) {
	w.said = append(w.said, said{at: w.now, what: "announce", about: a})
}
func (w *world4) Changed(mono.Time) { w.news++ }

func (w *world4) pass(d time.Duration) { w.now = passOn(w.t, w.wheel, &w.now, d) }

func (w *world4) heard(what string) (list []said) {
	list = slices.DeleteFunc(slices.Clone(w.said), func(s said) bool { return s.what != what })
	w.said = slices.DeleteFunc(w.said, func(s said) bool { return s.what == what })
	return list
}

// arp hears an ARP packet.
func (w *world4) arp(op wire.ARPOp, mac wire.MAC, sender, target netip.Addr) (conflict bool) {
	b := make([]byte, wire.ARPLen)
	wire.PutARP(b, &wire.ARPFields{Op: op, SenderMAC: mac, SenderIP: sender, TargetIP: target})
	p, ok := wire.ParseARP(b)
	if !ok {
		w.t.Fatal("bad ARP")
	}
	return w.Heard(p, w.now)
}

func (w *world4) state() route.State {
	w.t.Helper()
	if len(w.addrs) != 1 {
		w.t.Fatalf("%d addresses", len(w.addrs))
	}
	return w.addrs[0].State
}

// RFC 5227 §2.1.1, §2.3.
func TestProbeAndAnnounce(t *testing.T) {
	w := newWorld4(t)
	began := w.now
	w.Add(ours, Manual, DefendAlways, true, w.now)
	if w.state() != route.Tentative {
		t.Fatal(w.state())
	}
	w.pass(time.Hour)
	probes, announced := w.heard("probe"), w.heard("announce")
	if len(probes) != probeCount || len(announced) != announceCount {
		t.Fatalf("%d probes, %d announcements", len(probes), len(announced))
	}
	if d := probes[0].at.Sub(began); d > probeWait {
		t.Errorf("first probe after %v", d)
	}
	for i := range probes[1:] {
		if d := probes[i+1].at.Sub(probes[i].at); d < probeMin || d > probeMax+time.Millisecond {
			t.Errorf("probes %v apart", d)
		}
	}
	if d := announced[0].at.Sub(probes[2].at); d < announceWait || d > announceWait+time.Millisecond {
		t.Errorf("announced %v after the last probe", d)
	}
	if d := announced[1].at.Sub(announced[0].at); d < announceInterval || d > announceInterval+time.Millisecond {
		t.Errorf("announced again after %v", d)
	}
	if w.state() != route.Preferred || w.wheel.Deadline() != mono.Never {
		t.Errorf("%v, timer %v", w.state(), w.wheel.Deadline())
	}

	w = newWorld4(t)
	w.Add(ours, Manual, DefendAlways, false, w.now)
	if w.state() != route.Preferred || len(w.heard("announce")) != 1 {
		t.Error("without probes an address is announced at once")
	}
}

// RFC 5227 §2.1: when the interface comes up again, what was probed for is probed for once more, in use
// meanwhile, and what was not is announced.
func TestAddressesAreProbedForAgainAfterARestart(t *testing.T) {
	w := newWorld4(t)
	w.Add(ours, Manual, DefendAlways, false, w.now)
	w.pass(time.Hour)
	w.heard("announce")
	w.Restart(w.now)
	w.pass(time.Hour)
	if probes, announced := w.heard("probe"), w.heard("announce"); len(probes) != 0 || len(announced) != announceCount {
		t.Errorf("not probed for: %d probes, %d announcements", len(probes), len(announced))
	}

	begin := func(origin Origin) *world4 {
		w := newWorld4(t)
		w.Add(ours, origin, DefendAlways, true, w.now)
		w.pass(time.Hour)
		w.said = nil
		w.Restart(w.now)
		if w.pass(time.Second); w.state() != route.Preferred {
			t.Errorf("in use: %v", w.state())
		}
		return w
	}
	w = begin(Manual)
	if w.arp(wire.ARPRequest, macX, netip.IPv4Unspecified(), ours.Addr()) {
		t.Error("who probes for it is answered, and no conflict")
	}
	w.pass(time.Hour)
	if probes, announced := w.heard("probe"), w.heard("announce"); len(probes) != probeCount || len(announced) != announceCount {
		t.Errorf("%d probes, %d announcements", len(probes), len(announced))
	}
	for _, origin := range []Origin{Manual, Leased} {
		w = begin(origin)
		if !w.arp(wire.ARPReply, macX, ours.Addr(), netip.IPv4Unspecified()) || w.state() != route.Duplicate {
			t.Errorf("another station has it: %v", w.state())
		}
		w.pass(time.Hour)
		w.Restart(w.now) // he may be gone
		if want := map[Origin]route.State{Manual: route.Tentative, Leased: route.Duplicate}[origin]; w.state() != want {
			t.Errorf("%v: %v, want %v", origin, w.state(), want)
		}
	}

	w = newWorld4(t)
	w.LinkLocal(true, w.now)
	w.pass(time.Hour)
	was := w.Addrs()[0].Prefix
	w.said = nil
	w.Restart(w.now)
	w.pass(time.Second)
	w.arp(wire.ARPReply, macX, was.Addr(), netip.IPv4Unspecified())
	if a := w.Addrs()[0]; a.State != route.Tentative || a.Prefix == was {
		t.Errorf("%+v follows %v", a, was)
	}
}

// RFC 5227 §2.1.1: what is a conflict while probing.
func TestConflictsWhileProbing(t *testing.T) {
	zero := netip.IPv4Unspecified()
	other := netip.MustParseAddr("192.0.2.9")
	for name, c := range map[string]struct {
		op             wire.ARPOp
		mac            wire.MAC
		sender, target netip.Addr
		conflict       bool
	}{
		"a reply from it":              {wire.ARPReply, macX, ours.Addr(), zero, true},
		"a request from it":            {wire.ARPRequest, macX, ours.Addr(), other, true},
		"an announcement":              {wire.ARPRequest, macX, ours.Addr(), ours.Addr(), true},
		"another's probe":              {wire.ARPRequest, macX, zero, ours.Addr(), true},
		"our own probe, looped":        {wire.ARPRequest, macOurs, zero, ours.Addr(), false},
		"a probe for another":          {wire.ARPRequest, macX, zero, other, false},
		"a question about it":          {wire.ARPRequest, macX, other, ours.Addr(), false},
		"a reply to a probe of nobody": {wire.ARPReply, macX, zero, ours.Addr(), false},
	} {
		w := newWorld4(t)
		w.Add(ours, Manual, DefendAlways, true, w.now)
		w.pass(1500 * time.Millisecond)
		if got := w.arp(c.op, c.mac, c.sender, c.target); got != c.conflict {
			t.Errorf("%s: conflict %v", name, got)
		}
		w.pass(time.Hour)
		if c.conflict != (w.state() == route.Duplicate) || c.conflict && w.Addrs()[0].Rival != macX {
			t.Errorf("%s: %+v", name, w.Addrs()[0])
		}
		if c.conflict && len(w.heard("announce")) != 0 {
			t.Errorf("%s: announced all the same", name)
		}
	}
}

// RFC 5227 §2.4 (a), (b), (c).
func TestDefence(t *testing.T) {
	use := func(d Defence) *world4 {
		w := newWorld4(t)
		w.Add(ours, Manual, d, false, w.now)
		w.pass(10 * time.Second)
		w.heard("announce")
		return w
	}
	conflict := func(w *world4) {
		t.Helper()
		if !w.arp(wire.ARPReply, macX, ours.Addr(), netip.MustParseAddr("192.0.2.1")) {
			t.Error("no conflict")
		}
	}
	w := use(GiveUp)
	conflict(w)
	if w.state() != route.Duplicate || len(w.heard("announce")) != 0 {
		t.Error("(a): not given up")
	}
	if w.arp(wire.ARPRequest, macX, ours.Addr(), ours.Addr()) {
		t.Error("a conflict about an address that was given up")
	}

	w = use(DefendOnce)
	conflict(w)
	if w.state() != route.Preferred || len(w.heard("announce")) != 1 {
		t.Error("(b): not defended")
	}
	w.pass(defendInterval + time.Second)
	conflict(w)
	if w.state() != route.Preferred || len(w.heard("announce")) != 1 {
		t.Error("(b): not defended eleven seconds later")
	}
	w.pass(defendInterval - time.Second)
	conflict(w)
	if w.state() != route.Duplicate || len(w.heard("announce")) != 0 {
		t.Error("(b): not given up after a second conflict")
	}

	w = use(DefendAlways)
	for range 1000 {
		conflict(w)
		w.pass(100 * time.Millisecond)
	}
	if n := len(w.heard("announce")); w.state() != route.Preferred || n < 10 || n > 11 {
		t.Errorf("(c): %v after %d announcements in 100 seconds", w.state(), n)
	}
	if w.arp(wire.ARPRequest, macX, netip.IPv4Unspecified(), ours.Addr()) {
		t.Error("a probe for an address in use is a conflict; it is to be answered")
	}
}

// RFC 3927 §2.1, §2.2.1.
func TestLinkLocal4(t *testing.T) {
	w := newWorld4(t)
	w.LinkLocal(true, w.now)
	w.LinkLocal(true, w.now)
	first := w.Addrs()[0]
	if first.State != route.Tentative || first.Origin != LinkLocal || first.Prefix.Bits() != 16 || !first.Prefix.Addr().IsLinkLocalUnicast() {
		t.Fatalf("%+v", first)
	}
	again := newWorld4(t)
	again.LinkLocal(true, again.now)
	if again.Addrs()[0].Prefix != first.Prefix {
		t.Error("the same station chooses another address when it starts again")
	}
	w.pass(10 * time.Second)
	if w.state() != route.Preferred {
		t.Fatal(w.state())
	}
	// Defended once, then given up for another one (§2.5 (b)).
	for range 2 {
		w.arp(wire.ARPReply, macX, first.Prefix.Addr(), first.Prefix.Addr())
	}
	second := w.Addrs()[0]
	if w.state() != route.Tentative || second.Prefix == first.Prefix {
		t.Fatalf("after conflicts: %+v", second)
	}
	w.pass(10 * time.Second)
	if w.state() != route.Preferred {
		t.Fatal(w.state())
	}
	w.LinkLocal(false, w.now)
	if len(w.Addrs()) != 0 || w.wheel.Deadline() != mono.Never {
		t.Error("something is left")
	}
}

// RFC 3927 §2.2.1, RFC 5227 §2.1.1: after ten conflicts, one attempt a minute.
func TestConflictsAreRateLimited(t *testing.T) {
	w := newWorld4(t)
	w.LinkLocal(true, w.now)
	seen := map[netip.Addr]mono.Time{}
	for end := w.now.Add(30 * time.Minute); w.now < end; w.pass(50 * time.Millisecond) {
		for _, s := range w.heard("probe") {
			a := s.about.As4()
			if a[2] == 0 || a[2] == 255 {
				t.Fatalf("%v is reserved (§2.1)", s.about)
			}
			if _, ok := seen[s.about]; !ok {
				seen[s.about] = w.now
			}
			w.arp(wire.ARPReply, macX, s.about, s.about)
		}
	}
	if n := len(seen); n < conflictsMax+25 || n > conflictsMax+31 {
		t.Errorf("%d addresses were tried in half an hour", n)
	}
	if len(w.addrs) != 1 {
		t.Errorf("%d addresses are kept", len(w.addrs))
	}
}

// As over IPv6: what is probed for waits for a carrier (RFC 5227 §2.1).
func TestNothingIsProbedForWithoutACarrier(t *testing.T) {
	w := newWorld4(t)
	want := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	w.Down(w.now)
	w.Add(ours, Manual, DefendAlways, true, w.now)
	w.pass(time.Hour)
	want("without a carrier", w.Addrs()[0].State, route.Tentative)
	want("probes", len(w.heard("probe")), 0)
	w.Restart(w.now)
	w.pass(10 * time.Second)
	want("with one", w.Addrs()[0].State, route.Preferred)
	want("probes", len(w.heard("probe")), probeCount)
	w.Restart(w.now)
	w.pass(2 * time.Second)
	w.Down(w.now)
	w.heard("probe")
	w.pass(time.Hour)
	want("in use, and it goes while it is checked", w.Addrs()[0].State, route.Preferred)
	want("probes", len(w.heard("probe")), 0)
}
