package autoconf

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var manual = netip.MustParsePrefix("fd99::2/64")

func manualOnly(c *Config6) { c.Auto = false }

// RFC 4862 §5.4.2: a random delay, one solicitation, a second of silence.
func TestAnAddressThatNobodyHasIsAssigned(t *testing.T) {
	w := newWorld6(t, manualOnly)
	began := w.now
	w.Start(w.now)
	w.Add(manual, w.now)
	if a := w.one(manual.Masked()); a.State != route.Tentative || a.Prefix != manual || a.Origin != Manual || a.State.Usable() {
		t.Fatalf("at first: %+v", a)
	}
	w.pass(solicitDelayMax)
	probes := w.heard("NS")
	if len(probes) != 1 || probes[0].about != manual.Addr() || probes[0].at.Sub(began) > solicitDelayMax {
		t.Fatalf("probes: %v", probes)
	}
	news := w.news
	w.pass(probes[0].at.Add(retransTimer).Sub(w.now) - time.Millisecond)
	w.want("a moment before the end", w.one(manual.Masked()).State, route.Tentative)
	w.pass(2 * time.Millisecond)
	w.want("after it", w.one(manual.Masked()).State, route.Preferred)
	w.want("news", w.news, news+1)
	w.pass(time.Hour)
	w.want("further probes", len(w.heard("NS")), 0)
	w.want("timer", w.wheel.Deadline(), mono.Never)
}

func TestDetectionCanBeOffAndLonger(t *testing.T) {
	w := newWorld6(t, func(c *Config6) { c.Auto, c.Transmits = false, -1 })
	w.Add(manual, w.now)
	w.want("without detection", w.one(manual.Masked()).State, route.Preferred)

	w = newWorld6(t, func(c *Config6) { c.Auto, c.Transmits = false, 3 })
	w.Add(manual, w.now)
	w.pass(solicitDelayMax + 2*retransTimer)
	probes := w.heard("NS")
	w.want("probes", len(probes), 3)
	w.want("state", w.one(manual.Masked()).State, route.Tentative)
	if probes[0].nonce == probes[1].nonce {
		t.Error("a nonce was used twice") // RFC 7527 §4.1
	}
	w.pass(retransTimer)
	w.want("state", w.one(manual.Masked()).State, route.Preferred)
}

// When the interface comes up again, its addresses stay in use while they are detected once more; one that
// somebody has there is given up, and one that was a duplicate may be free.
func TestAddressesAreDetectedAgainAfterARestart(t *testing.T) {
	other := netip.MustParsePrefix("fd99::3/64")
	state := func(w *world6, p netip.Prefix) route.State { return w.Interface6.find(p.Addr()).State }
	begin := func() *world6 {
		w := newWorld6(t, manualOnly)
		w.Add(manual, w.now)
		w.Add(other, w.now)
		w.Claimed(other.Addr(), macX, w.now)
		w.pass(time.Hour)
		w.heard("NS")
		w.Restart(w.now)
		w.want("the one in use", state(w, manual), route.Preferred)
		w.want("the duplicate", state(w, other), route.Tentative)
		w.pass(solicitDelayMax)
		return w
	}
	w := begin()
	probes := w.heard("NS")
	w.want("probes", len(probes), 2)
	w.want("a probe that comes back is a conflict", w.Probed(manual.Addr(), probes[0].nonce[:], macX, w.now), false)
	w.want("who probes for it is a conflict", w.Probed(manual.Addr(), nil, macX, w.now), false) // he is answered
	w.pass(time.Hour)
	w.want("the one in use", state(w, manual), route.Preferred)
	w.want("the duplicate", state(w, other), route.Preferred)
	w.want("timer", w.wheel.Deadline(), mono.Never)
	w.Claimed(manual.Addr(), macX, w.now) // too late
	w.want("afterwards", state(w, manual), route.Preferred)

	w = begin()
	news := w.news
	w.want("who has it is a conflict", w.Claimed(manual.Addr(), macX, w.now), true)
	w.want("its state", state(w, manual), route.Duplicate)
	w.want("news", w.news, news+1)
	w.pass(time.Hour)
	w.want("timer", w.wheel.Deadline(), mono.Never)

	w = newWorld6(t, nil) // of an address of our own making the next one follows
	w.Start(w.now)
	w.pass(10 * time.Second)
	w.advertise(routerA, auto(time.Hour, time.Hour, net1))
	w.pass(10 * time.Second)
	was := w.one(net1)
	w.heard("RS")
	w.Restart(w.now)
	w.Claimed(was.Prefix.Addr(), macX, w.now)
	if a := w.one(net1); a.State != route.Tentative || a.Prefix == was.Prefix {
		t.Errorf("%+v after %+v", a, was)
	}
	w.pass(10 * time.Second)
	if w.one(net1).State != route.Preferred || len(w.heard("RS")) == 0 {
		t.Errorf("%+v, or no router was asked for", w.one(net1))
	}
	w = newWorld6(t, func(c *Config6) { c.Auto, c.Transmits = false, -1 })
	w.Add(manual, w.now)
	w.Restart(w.now)
	w.want("without detection", w.wheel.Deadline(), mono.Never)
}

// RFC 6059: what routers had said before the interface came up again stays until one is heard, and then what none confirms
// is of another link.
func TestWhatNoRouterConfirmsIsDroppedAfterARestart(t *testing.T) {
	for name, row := range map[string]struct {
		heard func(w *world6)
		want  string
		addrs [2]int // of net1 and of net2
	}{
		"no router":    {func(*world6) {}, "2001:db8:1::/64, 2001:db8:2::/64, ::/0 via fe80::a, ::/0 via fe80::b", [2]int{1, 1}},
		"one of both":  {func(w *world6) { w.advertise(routerB, auto(time.Hour, time.Hour, net2)) }, "2001:db8:2::/64, ::/0 via fe80::b", [2]int{0, 1}},
		"another link": {func(w *world6) { w.advertise(netip.MustParseAddr("fe80::c"), auto(time.Hour, time.Hour)) }, "::/0 via fe80::c", [2]int{0, 0}},
		"both in turns": {func(w *world6) {
			w.advertise(routerA, auto(time.Hour, time.Hour, net1))
			w.pass(3 * time.Second)
			w.advertise(routerB, auto(time.Hour, time.Hour, net2))
		}, "2001:db8:1::/64, 2001:db8:2::/64, ::/0 via fe80::a, ::/0 via fe80::b", [2]int{1, 1}},
	} {
		w := newWorld6(t, nil)
		w.Start(w.now)
		w.Add(manual, w.now)
		w.advertise(routerA, auto(2*time.Hour, 2*time.Hour, net1))
		w.advertise(routerB, auto(2*time.Hour, 2*time.Hour, net2))
		w.pass(time.Minute)
		w.Restart(w.now)
		w.pass(2 * time.Second)
		row.heard(w)
		w.pass(10 * time.Second)
		w.want(name, w.ways(), row.want)
		w.want(name, [2]int{len(w.of(net1)), len(w.of(net2))}, row.addrs)
		w.want(name+": the program's own", w.one(manual.Masked()).State, route.Preferred)
	}
}

// The link's MTU bounds what routers say of it, and what they have said bounds the link's.
func TestTheLinksMTUChanges(t *testing.T) {
	w := newWorld6(t, nil)
	w.Start(w.now)
	say := func(mtu uint32) {
		w.advertise(routerA, advert{more: func(b []byte) int { return wire.PutMTUOption(b, mtu) }})
	}
	for _, step := range []struct {
		do   func()
		want int
	}{
		{func() {}, 1500},
		{func() { w.SetMTU(9000, w.now) }, 9000},
		{func() { say(4000) }, 4000},
		{func() { w.SetMTU(1400, w.now) }, 1400},
		{func() { say(1500) }, 1400}, // more than there is
		{func() { w.SetMTU(9000, w.now) }, 4000},
		{func() { say(1279) }, 4000},
	} {
		step.do()
		w.want("MTU", w.Params().MTU, step.want)
	}
}

func TestADuplicateIsNotUsed(t *testing.T) {
	for name, conflict := range map[string]func(w *world6) bool{
		"another's probe (RFC 4862 §5.4.3)":     func(w *world6) bool { return w.Probed(manual.Addr(), []byte{1, 2, 3, 4, 5, 6}, macX, w.now) },
		"a probe without nonce":                 func(w *world6) bool { return w.Probed(manual.Addr(), nil, macX, w.now) },
		"a longer nonce":                        func(w *world6) bool { return w.Probed(manual.Addr(), make([]byte, 14), macX, w.now) },
		"another's advertisement (§5.4.4)":      func(w *world6) bool { return w.Claimed(manual.Addr(), macX, w.now) },
		"advertisement before our probe leaves": func(w *world6) bool { return w.Claimed(manual.Addr(), macX, w.now) },
	} {
		w := newWorld6(t, manualOnly)
		w.Add(manual, w.now)
		if name != "advertisement before our probe leaves" {
			w.pass(solicitDelayMax)
		}
		if !conflict(w) {
			t.Errorf("%s: no conflict", name)
		}
		w.pass(time.Hour)
		if a := w.one(manual.Masked()); a.State != route.Duplicate || a.Rival != macX {
			t.Errorf("%s: %+v", name, a)
		}
		w.want("timer", w.wheel.Deadline(), mono.Never)
		if w.Claimed(manual.Addr(), macX, w.now) {
			t.Errorf("%s: a conflict about an address that was given up", name)
		}
		if !w.Remove(manual.Addr(), w.now) || w.Remove(manual.Addr(), w.now) || len(w.Addrs()) != 0 {
			t.Errorf("%s: remove", name)
		}
	}
}

// RFC 4862 §5.4.4 leaves open what becomes of an address in use: it stays.
func TestAnAddressInUseIsKept(t *testing.T) {
	w := newWorld6(t, manualOnly)
	w.Add(manual, w.now)
	w.pass(3 * time.Second)
	if !w.Claimed(manual.Addr(), macX, w.now) {
		t.Error("a claim for an address in use is no conflict")
	}
	if w.Probed(manual.Addr(), nil, macX, w.now) {
		t.Error("a probe for an address in use is a conflict; it is to be answered")
	}
	if w.Claimed(netip.MustParseAddr("fd99::3"), macX, w.now) || w.Probed(netip.MustParseAddr("fd99::3"), nil, macX, w.now) {
		t.Error("a conflict about an address that is not here")
	}
	w.want("state", w.one(manual.Masked()).State, route.Preferred)
}

// RFC 7527 §4: probes that come back do not make a duplicate; detection goes on until none does.
func TestProbesThatComeBackAreOurs(t *testing.T) {
	w := newWorld6(t, manualOnly)
	w.Add(manual, w.now)
	mirror := func(rounds int) (probes int) {
		for range rounds {
			w.pass(100 * time.Millisecond)
			for _, s := range w.heard("NS") {
				probes++
				if w.Probed(manual.Addr(), s.nonce[:], macX, w.now) {
					t.Fatal("our own probe is a conflict")
				}
			}
		}
		return probes
	}
	if n := mirror(100); n < 8 || n > 10 {
		t.Errorf("%d probes in ten seconds of a loop", n)
	}
	w.want("while looped", w.one(manual.Masked()).State, route.Tentative)
	w.pass(2 * multicastSolicit * retransTimer) // the loop is gone
	w.want("afterwards", w.one(manual.Masked()).State, route.Preferred)

	// In the loop there is another station after all.
	w = newWorld6(t, manualOnly)
	w.Add(manual, w.now)
	mirror(30)
	w.Probed(manual.Addr(), []byte{9, 9, 9, 9, 9, 9}, macX, w.now)
	w.want("with another station", w.one(manual.Masked()).State, route.Duplicate)
}

// RFC 7217 §6, §5: a duplicate is followed by another identifier, three times.
func TestAStableIdentifierIsTriedAgain(t *testing.T) {
	w := newWorld6(t, nil)
	w.Start(w.now)
	var tried []netip.Addr
	for range 10 {
		w.pass(3 * time.Second)
		for _, s := range w.heard("NS") {
			tried = append(tried, s.about)
			w.Claimed(s.about, macX, s.at)
		}
	}
	// Each was claimed after its second was over, so this first run assigns.
	if len(tried) != 1 {
		t.Fatalf("tried %v", tried)
	}

	w = newWorld6(t, nil)
	w.Start(w.now)
	tried = tried[:0]
	for range 100 {
		w.pass(300 * time.Millisecond)
		for _, s := range w.heard("NS") {
			tried = append(tried, s.about)
			w.Claimed(s.about, macX, w.now)
		}
	}
	slices.SortFunc(tried, netip.Addr.Compare)
	if n := len(slices.Compact(tried)); n != 1+idgenRetries {
		t.Errorf("%d different addresses were tried, want %d", n, 1+idgenRetries)
	}
	a := w.one(linkLocalPrefix)
	w.want("in the end", a.State, route.Duplicate)
	w.want("asks from", w.heard("RS")[0].about, netip.Addr{}) // RFC 4861 §6.3.7 allows the unspecified address
}

func TestStableIdentifiers(t *testing.T) {
	address := func(change func(*Config6), p netip.Prefix) netip.Addr {
		w := newWorld6(t, change)
		w.advertise(routerA, auto(time.Hour, time.Hour, p))
		return w.one(p).Prefix.Addr()
	}
	first := address(nil, net1)
	id := func(a netip.Addr) [8]byte { b := a.As16(); return [8]byte(b[8:]) }
	for name, c := range map[string]struct {
		other netip.Addr
		same  bool
	}{
		"another start, another random seed": {address(func(c *Config6) { c.Rand.Uint64() }, net1), true},
		"another network":                    {address(nil, net2), false},
		"another interface":                  {address(func(c *Config6) { c.Name = "eth2" }, net1), false},
		"another host":                       {address(func(c *Config6) { c.Secret[5] ^= 1 }, net1), false},
	} {
		if (id(c.other) == id(first)) != c.same {
			t.Errorf("%s: %v, and before %v", name, c.other, first)
		}
	}
	for id, want := range map[uint64]bool{ // RFC 5453
		0: true, 1: false, 0x02005efffe000000: true, 0x02005efffe005213: true, 0x02005effff000000: false,
		0xfdffffffffffff7f: false, 0xfdffffffffffff80: true, 0xfdffffffffffffff: true, 0xfe00000000000000: false,
	} {
		if reserved(id) != want {
			t.Errorf("%#x reserved: %v", id, !want)
		}
	}
}

// Without a carrier nobody would object: what is tentative stays so until there is one, and is detected then (Linux: IF_READY).
func TestNothingIsDetectedWithoutACarrier(t *testing.T) {
	w := newWorld6(t, manualOnly)
	a := netip.MustParsePrefix("fd99::2/64")
	w.Down(w.now)
	w.Start(w.now)
	w.Add(a, w.now)
	w.pass(time.Hour)
	w.want("probes", len(w.heard("NS")), 0)
	w.want("without a carrier", w.Addrs()[0].State, route.Tentative)
	w.Restart(w.now)
	w.pass(500 * time.Millisecond)
	w.Down(w.now) // it is lost again before the detection is over
	w.heard("NS")
	w.pass(time.Hour)
	w.want("lost again", w.Addrs()[0].State, route.Tentative)
	w.want("probes", len(w.heard("NS")), 0)
	w.Restart(w.now)
	w.pass(3 * time.Second)
	w.want("detected", w.Addrs()[0].State, route.Preferred)
	w.want("probes", len(w.heard("NS")), 1)
	w.Down(w.now)
	w.want("in use, and the carrier goes", w.Addrs()[0].State, route.Preferred)
	w.Restart(w.now)
	w.Down(w.now)
	w.pass(time.Hour)
	w.want("in use, and it goes while it is checked", w.Addrs()[0].State, route.Preferred)
}
