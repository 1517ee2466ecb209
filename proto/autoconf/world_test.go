package autoconf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A said is something that an interface sent.
type said struct {
	at    mono.Time
	what  string // "NS", "RS", "probe", "announce"
	about netip.Addr
	nonce [6]byte
}

// A world6 is an interface, a virtual clock, and a link on which the test is everybody else.
type world6 struct {
	*Interface6
	t     testing.TB
	wheel *timer.Wheel
	now   mono.Time
	said  []said
	news  int
	hops  map[netip.Addr]netip.Addr
}

var (
	routerA = netip.MustParseAddr("fe80::a")
	routerB = netip.MustParseAddr("fe80::b")
	macX    = wire.MAC{2, 0, 0, 0, 0, 0x99}
	net1    = netip.MustParsePrefix("2001:db8:1::/64")
	net2    = netip.MustParsePrefix("2001:db8:2::/64")
)

func newWorld6(t testing.TB, change func(*Config6)) *world6 {
	w := &world6{t: t, now: mono.Time(time.Hour), hops: map[netip.Addr]netip.Addr{}}
	w.wheel = timer.New(w.now)
	cfg := Config6{
		Link: w, Wheel: w.wheel, Rand: rand.New(rand.NewPCG(1, 2)), Name: "eth1",
		Secret: [16]byte{1, 2, 3}, MTU: 1500, Auto: true,
	}
	if change != nil {
		change(&cfg)
	}
	w.Interface6 = NewInterface6(cfg)
	return w
}

func (w *world6) Probe(target netip.Addr, nonce [6]byte) {
	w.said = append(w.said, said{w.now, "NS", target, nonce})
}
func (w *world6) SolicitRouters(source netip.Addr) {
	w.said = append(w.said, said{at: w.now, what: "RS", about: source})
}
func (w *world6) FirstHop(dst netip.Addr) netip.Addr { return w.hops[dst] }
func (w *world6) Changed(mono.Time)                  { w.news++ }

// pass lets time go by, timer by timer.
func (w *world6) pass(d time.Duration) {
	w.now = passOn(w.t, w.wheel, &w.now, d)
}

func passOn(t testing.TB, wheel *timer.Wheel, now *mono.Time, d time.Duration) mono.Time {
	end := now.Add(d)
	for n := 0; wheel.Deadline() <= end; n++ {
		if n > 100_000 {
			t.Fatal("a timer is set again and again")
		}
		*now = max(*now, wheel.Deadline())
		wheel.Advance(*now)
	}
	return end
}

// heard returns what was said since the last call, of one kind.
func (w *world6) heard(what string) (list []said) {
	list = slices.DeleteFunc(slices.Clone(w.said), func(s said) bool { return s.what != what })
	w.said = slices.DeleteFunc(w.said, func(s said) bool { return s.what == what })
	return list
}

// An advert is a router advertisement in the making.
type advert struct {
	wire.RouterAdvertisementFields
	preference int
	prefixes   []wire.NDPPrefix
	more       func(b []byte) int // writes further options
}

func (w *world6) advertise(from netip.Addr, a advert) drop.Reason {
	w.t.Helper()
	b := make([]byte, 1400)
	n := wire.PutRouterAdvertisement(b, &a.RouterAdvertisementFields)
	b[5] |= byte(a.preference) & 3 << 3
	for i := range a.prefixes {
		n += wire.PutPrefixOption(b[n:], &a.prefixes[i])
	}
	if a.more != nil {
		n += a.more(b[n:])
	}
	ra, ok := wire.ParseRouterAdvertisement(b[:n])
	var o wire.NDPOptions
	if !ok || !o.Parse(ra.Options()) {
		w.t.Fatal("the test made a bad advertisement")
	}
	return w.Advertised(from, ra, &o, w.now)
}

// auto is an advertisement that gives an address.
func auto(valid, preferred time.Duration, prefixes ...netip.Prefix) (a advert) {
	a.Lifetime = 30 * time.Minute
	for _, p := range prefixes {
		a.prefixes = append(a.prefixes, wire.NDPPrefix{Prefix: p, OnLink: true, Autonomous: true, Valid: valid, Preferred: preferred})
	}
	return a
}

// of returns the addresses of a prefix.
func (w *world6) of(p netip.Prefix) (list []Addr) {
	return slices.DeleteFunc(w.Addrs(), func(a Addr) bool { return a.Prefix.Masked() != p })
}

// one returns the address of a prefix.
func (w *world6) one(p netip.Prefix) Addr {
	w.t.Helper()
	list := w.of(p)
	if len(list) != 1 {
		w.t.Fatalf("%d addresses of %v, want 1: %v", len(list), p, w.Addrs())
	}
	return list[0]
}

// gateways returns the default routers, the best first.
func (w *world6) gateways() string {
	var list []string
	for i, r := range slices.DeleteFunc(w.Routes(), func(r Route) bool { return r.Prefix.Bits() != 0 }) {
		if r.Rank != i {
			w.t.Errorf("rank %d at %d", r.Rank, i)
		}
		list = append(list, r.Gateway.String())
	}
	return strings.Join(list, " ")
}

func (w *world6) ways() string {
	var list []string
	for _, r := range w.Routes() {
		s := r.Prefix.String()
		if r.Gateway.IsValid() {
			s += " via " + r.Gateway.String()
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func (w *world6) want(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}
