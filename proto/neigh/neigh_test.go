package neigh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// rig is a table whose link writes down what it is asked, and a clock.
type rig struct {
	*Table
	t     *testing.T
	wheel *timer.Wheel
	pool  *ring.Pool
	now   mono.Time
	log   []string
	there int // confirmations
}

func newRig(t *testing.T, limit int) *rig {
	r := &rig{t: t, wheel: timer.New(0), pool: ring.NewPool(1 << 20), now: 1}
	r.Table = New(Config{Link: r, Wheel: r.wheel, Pool: r.pool, Rand: rand.New(rand.NewPCG(1, 2)), Limit: limit})
	return r
}

func (r *rig) Solicit(e *Entry, unicast bool, _ mono.Time) {
	how := "all"
	if unicast {
		how = "one"
	}
	r.log = append(r.log, "ask "+how)
}
func (r *rig) Resolved(e *Entry, _ mono.Time) { r.log = append(r.log, "resolved "+e.MAC.String()) }
func (r *rig) Confirmed(*Entry, mono.Time)    { r.there++ }
func (r *rig) Doubted(*Entry, mono.Time)      { r.log = append(r.log, "doubted") }
func (r *rig) Dropped(e *Entry, failed bool, _ mono.Time) {
	r.log = append(r.log, fmt.Sprintf("dropped failed=%v", failed))
}

// pass lets time go by in steps that no timer is missed in.
func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); r.now < end; {
		r.now = min(end, r.now.Add(50*time.Millisecond))
		r.wheel.Advance(r.now)
	}
}

// said wants the log to be this, and clears it.
func (r *rig) said(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("log %q, want %q", r.log, want)
	}
	r.log = nil
}

func (r *rig) is(e *Entry, want State) {
	r.t.Helper()
	if e.State() != want {
		r.t.Errorf("state %v, want %v", e.State(), want)
	}
}

var (
	who   = netip.MustParseAddr("10.0.0.2")
	mac1  = wire.MAC{2, 0, 0, 0, 0, 1}
	mac2  = wire.MAC{2, 0, 0, 0, 0, 2}
	reply = Sighting{Addr: who, MAC: mac1, Solicited: true, Override: true}
)

func TestResolutionAsksThreeTimesASecondApartThenFails(t *testing.T) { // RFC 4861 §7.2.2, §10
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	r.is(e, Incomplete)
	r.said("ask all")
	if again := r.Want(0, who, r.now); again != e {
		t.Error("a second wish made a second entry")
	}
	r.said()
	r.pass(990 * time.Millisecond)
	r.said()
	r.pass(20 * time.Millisecond)
	r.said("ask all")
	r.pass(1010 * time.Millisecond)
	r.said("ask all")
	r.pass(1010 * time.Millisecond)
	r.said("dropped failed=true")
	r.is(e, Failed)
	if r.Lookup(0, who) != nil || r.Len() != 0 {
		t.Error("a failed entry is still there")
	}
}

func TestSolicitedAnswerIsReachableForAboutThirtySecondsThenDoubted(t *testing.T) { // RFC 4861 §7.3.3
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	r.See(reply, r.now)
	r.is(e, Reachable)
	r.said("ask all", "resolved "+mac1.String())
	r.pass(14 * time.Second) // MIN_RANDOM_FACTOR of 30 s
	e.Use(r.now)
	r.is(e, Reachable)
	r.pass(32 * time.Second) // beyond MAX_RANDOM_FACTOR
	r.said()                 // nobody asks about a neighbour that is not used
	e.Use(r.now)
	r.is(e, Delay)
	r.pass(4900 * time.Millisecond)
	r.is(e, Delay)
	r.said()
	r.pass(200 * time.Millisecond)
	r.is(e, Probe)
	r.said("ask one")
	r.pass(1010 * time.Millisecond)
	r.said("ask one")
	r.See(reply, r.now)
	r.is(e, Reachable)
	r.pass(5 * time.Second)
	r.said()
}

// silent brings an entry to where its neighbour has not answered three probes.
func silent(r *rig) *Entry {
	e := r.Want(0, who, r.now)
	r.See(reply, r.now)
	r.pass(46 * time.Second)
	e.Use(r.now)
	r.pass(5*time.Second + 2800*time.Millisecond)
	r.is(e, Probe)
	r.said("ask all", "resolved "+mac1.String(), "ask one", "ask one", "ask one")
	r.pass(400 * time.Millisecond)
	return e
}

// A neighbour that has stopped answering is asked for by multicast, less and less often, for as long as it is used,
// and its address with it (RFC 7048 §3).
func TestSilentNeighbourIsUsedAndAskedForLessAndLess(t *testing.T) {
	r := newRig(t, 0)
	e := silent(r)
	r.is(e, Unreachable)
	r.said("doubted", "ask all")
	for _, wait := range []time.Duration{1, 3, 9, 27, 60, 60, 60} {
		wait *= time.Second
		e.Use(r.now)
		began := r.now
		for len(r.log) == 0 && r.now.Sub(began) < 2*time.Minute {
			r.pass(50 * time.Millisecond)
		}
		if d := r.now.Sub(began); d < wait-50*time.Millisecond || d > wait+100*time.Millisecond {
			t.Errorf("asked again after %v, want %v", d, wait)
		}
		r.said("ask all")
		r.is(e, Unreachable)
		if e.MAC != mac1 {
			t.Fatalf("sent to %v", e.MAC)
		}
	}
}

// One that nothing is sent to is not asked for, and forgotten when no connection can have use for it any more.
func TestSilentNeighbourThatIsNotUsedIsForgotten(t *testing.T) {
	r := newRig(t, 0)
	e := silent(r)
	r.said("doubted", "ask all")
	r.pass(2 * time.Minute) // the longest pause of a connection
	r.said()
	e.Use(r.now)
	r.said("ask all") // at once: it was not asked for in the meantime
	r.pass(3*time.Second + unusedMax - time.Second)
	r.said()
	r.is(e, Unreachable)
	r.pass(2 * time.Second)
	r.said("dropped failed=false")
	r.is(e, Failed)
	if e = r.Want(0, who, r.now); e.State() != Incomplete {
		t.Errorf("who comes later finds %v", e.State())
	}
}

func TestUnreachableNeighbourComesBack(t *testing.T) { // RFC 7048 §3
	for name, back := range map[string]func(*rig, *Entry){
		"by an answer":              func(r *rig, _ *Entry) { r.See(reply, r.now) },
		"by a confirmation":         func(r *rig, e *Entry) { e.Confirm(r.now) },
		"elsewhere":                 func(r *rig, _ *Entry) { r.See(Sighting{Addr: who, MAC: mac2, Solicited: true, Override: true}, r.now) },
		"elsewhere, not overriding": func(r *rig, _ *Entry) { r.See(Sighting{Addr: who, MAC: mac2, Solicited: true}, r.now) },
	} {
		r := newRig(t, 0)
		e := silent(r)
		r.log = nil
		was, there := e.MAC, r.there
		back(r, e)
		r.is(e, Reachable)
		if e.MAC != was {
			r.said("resolved " + e.MAC.String())
		}
		if r.there != there+1 {
			t.Errorf("%s: nobody was told", name)
		}
		r.pass(14 * time.Second)
		r.said()
		if e.state != Reachable {
			t.Errorf("%s: %v", name, e.state)
		}
	}
}

// Of two stations that answer an ARP request, the first one counts; later it may move without a
// word, and with one at any time (Linux: locktime).
func TestARPAnswersAreLocked(t *testing.T) {
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	first, second := reply, reply
	first.Override, second.Override, second.MAC = false, false, mac2
	r.See(first, r.now)
	r.pass(900 * time.Millisecond)
	r.See(second, r.now)
	if e.MAC != mac1 {
		t.Errorf("another station's answer replaced the first within a second: %v", e.MAC)
	}
	r.pass(200 * time.Millisecond)
	r.See(second, r.now)
	if e.MAC != mac2 {
		t.Errorf("after a second the neighbour cannot move: %v", e.MAC)
	}
	r.See(Sighting{Addr: who, MAC: mac1, Override: true}, r.now)
	if e.MAC != mac1 {
		t.Errorf("an announcement was not heeded: %v", e.MAC)
	}
	r.is(e, Stale)
}

// Stations that we never sent to make room before any that we did, whatever they say and however late.
func TestAFloodOfStrangersPushesNobodyOut(t *testing.T) {
	r := newRig(t, 16)
	addr := func(net, i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(net), byte(i)}) }
	for i := range 8 {
		r.Want(0, addr(0, i), r.now)
		r.See(Sighting{Addr: addr(0, i), MAC: mac1, Solicited: true, Override: true}, r.now)
	}
	r.pass(time.Hour) // they are all stale
	for i := range 200 {
		r.See(Sighting{Addr: addr(1, i), MAC: mac2, Create: true}, r.now)
	}
	for i := range 200 {
		r.Want(0, addr(2, i), r.now)
	}
	for i := range 8 {
		if r.Lookup(0, addr(0, i)) == nil {
			t.Errorf("neighbour %d was pushed out", i)
		}
	}
	if r.Len() != 16 {
		t.Errorf("%d entries, want 16", r.Len())
	}
}

// Confirmations come with every acknowledgement: they arm nothing and draw no number while the
// neighbour is known to be there.
func TestConfirmIsCheapAndLastsForEver(t *testing.T) {
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	r.See(reply, r.now)
	r.log = nil
	changes, until := 0, e.until
	for range 3600 {
		r.pass(time.Second)
		e.Use(r.now)
		e.Confirm(r.now)
		r.is(e, Reachable)
		if e.until != until {
			changes, until = changes+1, e.until
		}
	}
	r.said()
	if changes > 3600/7 { // a quarter of 30 s before the end of a time of 15 s at the least
		t.Errorf("drawn anew %d times in an hour", changes)
	}
}

func TestConfirmationFromAboveSavesTheProbe(t *testing.T) { // RFC 4861 §7.3.1
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	r.See(reply, r.now)
	r.pass(46 * time.Second)
	e.Use(r.now)
	r.is(e, Delay)
	e.Confirm(r.now)
	r.is(e, Reachable)
	r.pass(10 * time.Second)
	r.said("ask all", "resolved "+mac1.String())
}

func TestUnsolicitedSightingsAreTakenWithCare(t *testing.T) { // RFC 4861 §7.2.5
	r := newRig(t, 0)
	who := netip.MustParseAddr("fe80::2")
	reply := reply
	reply.Addr = who
	r.See(Sighting{Addr: who, MAC: mac1, Override: true}, r.now)
	if r.Len() != 0 {
		t.Error("a sighting that nobody asked for made an entry")
	}
	r.See(Sighting{Addr: who, MAC: mac1, Create: true}, r.now)
	e := r.Lookup(0, who)
	r.is(e, Stale)
	r.See(reply, r.now)
	r.is(e, Reachable)
	r.See(Sighting{Addr: who, MAC: mac2}, r.now) // may not override
	r.is(e, Stale)
	if e.MAC != mac1 {
		t.Error("the address was overridden without the flag")
	}
	r.said()
	r.See(Sighting{Addr: who, MAC: mac2, Override: true}, r.now)
	r.is(e, Stale)
	if e.MAC != mac2 {
		t.Error("the address was not overridden")
	}
	r.said("resolved " + mac2.String())
}

func TestScanCannotPushNeighboursOut(t *testing.T) {
	r := newRig(t, 16)
	for i := range 8 { // the ones that exist and are in use
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		r.Want(0, a, r.now)
		r.See(Sighting{Addr: a, MAC: mac1, Solicited: true, Override: true}, r.now)
	}
	refused := 0
	for i := range 200 {
		if r.Want(0, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), r.now) == nil {
			refused++
		}
	}
	if refused != 196 {
		t.Errorf("%d of 200 addresses that do not exist were refused, want 196: a quarter of 16 are let in", refused)
	}
	for i := range 8 {
		if r.Lookup(0, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})) == nil {
			t.Errorf("neighbour %d was pushed out", i+1)
		}
	}
	r.pass(5 * time.Second)
	if r.Len() != 8 {
		t.Errorf("%d entries after the scan, want 8", r.Len())
	}
}

func TestFullTableForgetsOneThatWasNeverUsed(t *testing.T) {
	r := newRig(t, 4)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	for i := range 4 {
		r.See(Sighting{Addr: addr(i), MAC: mac1, Create: true}, r.now)
	}
	r.Lookup(0, addr(0)).Use(r.now) // in use: no longer stale
	r.See(Sighting{Addr: addr(9), MAC: mac1, Create: true}, r.now)
	for i, want := range map[int]bool{0: true, 1: true, 2: true, 3: false, 9: true} { // of those never used the last: the others were there first
		if got := r.Lookup(0, addr(i)) != nil; got != want {
			t.Errorf("neighbour %d there: %v, want %v", i, got, want)
		}
	}
	r.said("dropped failed=false")
}

func TestWhatWasParkedGoesBackWithTheEntry(t *testing.T) {
	r := newRig(t, 0)
	e := r.Want(0, who, r.now)
	for e.Parked.Put(&ring.Datagram{}, make([]byte, 1000)) {
	}
	if r.pool.Used() == 0 || !r.Parked() {
		t.Fatal("nothing was parked")
	}
	r.pass(4 * time.Second)
	if used := r.pool.Used(); used != 0 {
		t.Errorf("%d bytes are still lent", used)
	}
}

func TestFlushForgetsOnePort(t *testing.T) {
	r := newRig(t, 0)
	r.See(Sighting{Port: 0, Addr: who, MAC: mac1, Create: true}, r.now)
	r.See(Sighting{Port: 1, Addr: who, MAC: mac2, Create: true}, r.now)
	r.Flush(0, r.now)
	if r.Lookup(0, who) != nil || r.Lookup(1, who) == nil || r.Len() != 1 {
		t.Error("the wrong port was flushed")
	}
}
