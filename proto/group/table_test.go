package group

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

// rig is a table of one port, a clock, and what was sent, written as
//
//	224.0.0.22 v3-report: to-exclude 239.1.1.1; allow 239.1.1.2 {10.0.0.1 10.0.0.2}
type rig struct {
	*Table
	t     *testing.T
	wheel *timer.Wheel
	now   mono.Time
	room  int
	log   []string
	at    []mono.Time // when each was sent

	router Filter // what a router makes of the IGMPv3 reports of the one group that there is
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, wheel: timer.New(0), now: mono.Time(time.Hour), room: 1400}
	r.wheel.Advance(r.now)
	r.Table = New(Config{Sender: r, Wheel: r.wheel, Rand: rand.New(rand.NewPCG(1, 2)), Ports: 1})
	return r
}

func (r *rig) GroupRoom(int, bool) int { return r.room }

func (r *rig) SendGroup(port int, to netip.Addr, b []byte) {
	line := to.String() + " "
	record := func(v wire.GroupRecordView) {
		line += fmt.Sprintf(" %v %v", v.Type, v.Group)
		var list []string
		for i := range v.Sources.Len() {
			list = append(list, v.Sources.At(i).String())
		}
		if len(list) > 6 {
			list = []string{fmt.Sprintf("%d sources", len(list))}
		}
		if len(list) > 0 {
			line += " {" + strings.Join(list, " ") + "}"
		}
		line += ";"
	}
	if to.Is4() {
		m, ok := wire.ParseIGMP(b)
		if !ok || !m.ChecksumOK() {
			r.t.Fatalf("sent a bad message: % x", b)
		}
		line += m.Type().String() + ":"
		if m.Type() == wire.IGMPv3Report {
			m.Records(record)
			m.Records(r.learn)
		} else {
			line += " " + m.Group().String()
		}
	} else {
		icmp, _ := wire.ParseICMP6(b)
		m, ok := wire.ParseMLD(icmp)
		if !ok {
			r.t.Fatalf("sent a bad message: % x", b)
		}
		line += m.Type().String() + ":"
		if m.Type() == wire.ICMP6MLDv2Report {
			m.Records(record)
		} else {
			line += " " + m.Group().String()
		}
	}
	r.log = append(r.log, strings.TrimSuffix(line, ";"))
	r.at = append(r.at, r.now)
}

// learn is a router with one host (RFC 3376 §6.4).
func (r *rig) learn(v wire.GroupRecordView) {
	var list []netip.Addr
	for i := range v.Sources.Len() {
		list = append(list, v.Sources.At(i))
	}
	add := func() { r.router = NewFilter(r.router.Mode, append(list, r.router.Sources...)) }
	remove := func() {
		r.router = NewFilter(r.router.Mode, slices.DeleteFunc(slices.Clone(r.router.Sources), func(a netip.Addr) bool { return slices.Contains(list, a) }))
	}
	switch v.Type {
	case wire.ChangeToExclude, wire.ModeIsExclude:
		r.router = NewFilter(Exclude, list)
	case wire.ChangeToInclude, wire.ModeIsInclude:
		r.router = NewFilter(Include, list)
	case wire.AllowNewSources:
		if r.router.Mode == Include {
			add()
		} else {
			remove()
		}
	case wire.BlockOldSources:
		if r.router.Mode == Include {
			remove()
		} else {
			add()
		}
	}
}

// pass lets time go by, stopping wherever a timer is due.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for n := 0; ; n++ {
		if n > 1e5 {
			r.t.Fatal("timers without end")
		}
		next := r.wheel.Deadline()
		if next > end {
			break
		}
		r.now = max(r.now, next)
		r.wheel.Advance(r.now)
	}
	r.now = end
	r.wheel.Advance(end)
}

// said wants the log to be this, and clears it.
func (r *rig) said(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("said\n\t%s\nwant\n\t%s", strings.Join(r.log, "\n\t"), strings.Join(want, "\n\t"))
	}
	r.log, r.at = nil, nil
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func ips(s string) (list []netip.Addr) {
	for f := range strings.FieldsSeq(s) {
		list = append(list, ip(f))
	}
	return list
}

func include(s string) *Filter { f := NewFilter(Include, ips(s)); return &f }
func exclude(s string) *Filter { f := NewFilter(Exclude, ips(s)); return &f }

func (r *rig) change(group string, from, to *Filter) {
	r.t.Helper()
	if !r.Change(0, ip(group), from, to) {
		r.t.Fatalf("change of %s refused", group)
	}
}

// settled changes a filter and lets the reports of it go by.
func (r *rig) settled(group string, from, to *Filter) {
	r.t.Helper()
	r.change(group, from, to)
	r.pass(time.Minute)
	r.log, r.at = nil, nil
}

const v3, mld = "224.0.0.22 v3-report: ", "ff02::16 mldv2-report: "

func twice(s string) []string { return []string{s, s} }

// RFC 3376 §5.1, the table of state changes, and §3.2, how filters merge.
func TestStateChangeReports(t *testing.T) {
	type step struct {
		from, to *Filter
		want     string // "": nothing is said
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"join from everyone, leave", []step{{nil, exclude(""), "to-exclude G"}, {exclude(""), nil, "to-include G"}}},
		{"the second socket changes nothing", []step{{nil, exclude(""), "to-exclude G"}, {nil, exclude(""), ""}, {exclude(""), nil, ""}, {exclude(""), nil, "to-include G"}}},
		{"include A to B", []step{{nil, include("10.0.0.1 10.0.0.2"), "allow G {10.0.0.1 10.0.0.2}"},
			{include("10.0.0.1 10.0.0.2"), include("10.0.0.2 10.0.0.3"), "allow G {10.0.0.3}; block G {10.0.0.1}"},
			{include("10.0.0.2 10.0.0.3"), nil, "block G {10.0.0.2 10.0.0.3}"}}},
		{"exclude A to B", []step{{nil, exclude("10.0.0.1 10.0.0.2"), "to-exclude G {10.0.0.1 10.0.0.2}"},
			{exclude("10.0.0.1 10.0.0.2"), exclude("10.0.0.2 10.0.0.3"), "allow G {10.0.0.1}; block G {10.0.0.3}"}}},
		{"include to exclude and back", []step{{nil, include("10.0.0.1"), "allow G {10.0.0.1}"},
			{include("10.0.0.1"), exclude("10.0.0.2"), "to-exclude G {10.0.0.2}"},
			{exclude("10.0.0.2"), include("10.0.0.1"), "to-include G {10.0.0.1}"}}},
		{"exclude wins, less what is included", []step{{nil, exclude("10.0.0.1 10.0.0.2"), "to-exclude G {10.0.0.1 10.0.0.2}"},
			{nil, include("10.0.0.1 10.0.0.9"), "allow G {10.0.0.1}"},
			{nil, exclude("10.0.0.2 10.0.0.3"), ""}, // the intersection is what it was
			{exclude("10.0.0.1 10.0.0.2"), nil, "block G {10.0.0.3}"},
			{exclude("10.0.0.2 10.0.0.3"), nil, "to-include G {10.0.0.1 10.0.0.9}"},
			{include("10.0.0.1 10.0.0.9"), nil, "block G {10.0.0.1 10.0.0.9}"}}},
		{"includes add up", []step{{nil, include("10.0.0.1"), "allow G {10.0.0.1}"}, {nil, include("10.0.0.1 10.0.0.2"), "allow G {10.0.0.2}"},
			{include("10.0.0.1"), nil, ""}, {include("10.0.0.1 10.0.0.2"), nil, "block G {10.0.0.1 10.0.0.2}"}}},
		{"include none is not to be a member", []step{{nil, include(""), ""}, {include(""), nil, ""}}},
	} {
		for _, family := range []struct{ head, group, net string }{{v3, "239.1.1.1", "10.0.0."}, {mld, "ff05::101", "fd00::"}} {
			t.Run(c.name+" "+family.group, func(t *testing.T) {
				r := newRig(t)
				in := func(f *Filter) *Filter {
					if f == nil {
						return nil
					}
					var list []netip.Addr
					for _, a := range f.Sources {
						list = append(list, ip(strings.Replace(a.String(), "10.0.0.", family.net, 1)))
					}
					g := NewFilter(f.Mode, list)
					return &g
				}
				for _, s := range c.steps {
					r.change(family.group, in(s.from), in(s.to))
					r.pass(time.Minute)
					var want []string
					for record := range strings.SplitSeq(s.want, "; ") {
						if record != "" {
							record = strings.Replace(record, "G", family.group, 1)
							want = append(want, strings.ReplaceAll(record, "10.0.0.", family.net))
						}
					}
					if want == nil {
						r.said()
					} else {
						r.said(twice(family.head + strings.Join(want, "; "))...)
					}
				}
				if s := r.leftOver(); c.steps[len(c.steps)-1].to == nil && s != "" {
					t.Error(s)
				}
			})
		}
	}
}

// leftOver says what there is when there should be nothing, because all have left.
func (r *rig) leftOver() string {
	if n := len(r.links[0].groups) + len(r.links[1].groups); n > 0 {
		return fmt.Sprint(n, " groups are left")
	}
	if d := r.wheel.Deadline(); d != mono.Never {
		return fmt.Sprint("a timer is left, for ", time.Duration(d))
	}
	return ""
}

func TestChangeIsSaidAtOnceAndAgainWithinASecond(t *testing.T) { // RFC 3376 §5.1, §8.11
	for seed := range 20 {
		r := newRig(t)
		r.cfg.Rand = rand.New(rand.NewPCG(uint64(seed), 1))
		start := r.now
		r.change("239.1.1.1", nil, &Everyone)
		r.wheel.Advance(r.now)
		if len(r.log) != 1 {
			t.Fatalf("at once: %q", r.log)
		}
		r.pass(time.Minute)
		if len(r.at) != 2 || r.at[1] <= start || r.at[1].Sub(start) > time.Second+timer.Tick {
			t.Errorf("seed %d: sent at %v", seed, r.at)
		}
	}
}

func TestRobustnessIsTheQueriers(t *testing.T) { // RFC 3376 §4.1.6, §5.1
	r := newRig(t)
	r.query3(wire.GroupQuery{Group: netip.IPv4Unspecified(), MaxResponse: time.Second, Robustness: 5, Interval: 20 * time.Second})
	r.change("239.1.1.1", nil, &Everyone)
	r.pass(time.Minute)
	if n := len(r.log); n != 5+1 { // and the answer to the query
		t.Errorf("%d reports: %q", n, r.log)
	}
	r.query3(wire.GroupQuery{Group: netip.IPv4Unspecified(), MaxResponse: time.Second})
	r.pass(time.Minute)
	r.log = nil
	r.change("239.1.1.1", &Everyone, nil)
	r.pass(time.Minute)
	if n := len(r.log); n != 2 {
		t.Errorf("%d reports after a query of robustness 0, want the default 2", n)
	}
}

func TestChangesDuringRetransmissionMerge(t *testing.T) { // RFC 3376 §5.1, last paragraphs
	r := newRig(t)
	r.change("239.1.1.1", nil, include("10.0.0.1"))
	r.wheel.Advance(r.now)
	r.change("239.1.1.1", include("10.0.0.1"), include("10.0.0.2"))
	r.wheel.Advance(r.now)
	r.pass(time.Minute)
	r.said(v3+"allow 239.1.1.1 {10.0.0.1}", v3+"allow 239.1.1.1 {10.0.0.2}; block 239.1.1.1 {10.0.0.1}",
		v3+"allow 239.1.1.1 {10.0.0.2}; block 239.1.1.1 {10.0.0.1}")

	// A change of mode goes into the next reports, and what is listed later follows in ones of its own.
	r.change("239.1.1.1", include("10.0.0.2"), exclude("10.0.0.7"))
	r.wheel.Advance(r.now)
	r.change("239.1.1.1", exclude("10.0.0.7"), exclude("10.0.0.7 10.0.0.8"))
	r.wheel.Advance(r.now)
	r.pass(time.Minute)
	r.said(v3+"to-exclude 239.1.1.1 {10.0.0.7}", v3+"to-exclude 239.1.1.1 {10.0.0.7 10.0.0.8}", v3+"block 239.1.1.1 {10.0.0.8}")

	// Joined and left before anything was sent: the routers hear that it is left.
	r.change("239.1.1.2", nil, &Everyone)
	r.change("239.1.1.2", &Everyone, nil)
	r.pass(time.Minute)
	r.said(twice(v3 + "to-include 239.1.1.2")...)
}

func TestChangesAtOneTimeShareAReport(t *testing.T) {
	r := newRig(t)
	r.change("239.1.1.1", nil, &Everyone)
	r.change("239.1.1.2", nil, include("10.0.0.1"))
	r.wheel.Advance(r.now)
	r.said(v3 + "allow 239.1.1.2 {10.0.0.1}; to-exclude 239.1.1.1")
}

func TestGroupsOfAllHostsAreHeardAndNotReported(t *testing.T) { // RFC 3376 §5, RFC 3810 §6
	r := newRig(t)
	for _, g := range []string{"224.0.0.1", "ff02::1", "ff01::1", "ff01::5", "ff00::5"} {
		r.change(g, nil, &Everyone)
		r.pass(time.Minute)
		if !r.Hears(0, ip(g), ip("fe80::1")) && !r.Hears(0, ip(g), ip("10.0.0.1")) {
			t.Errorf("%s is not heard", g)
		}
		r.query3(wire.GroupQuery{Group: netip.IPv4Unspecified(), MaxResponse: time.Second})
		r.query6(wire.GroupQuery{Group: netip.IPv6Unspecified(), MaxResponse: time.Second})
		r.pass(time.Minute)
		r.said()
		r.change(g, &Everyone, nil)
	}
	for _, g := range []string{"224.0.0.1", "ff02::1", "ff01::1"} { // without anyone's asking
		if !r.Hears(0, ip(g), ip("10.0.0.1")) || !r.Member(0, ip(g)) {
			t.Errorf("%s is not heard", g)
		}
	}
	if r.Hears(0, ip("ff01::5"), ip("fe80::1")) {
		t.Error("a group that was left is heard")
	}
	if s := r.leftOver(); s != "" {
		t.Error(s)
	}
}

func TestHears(t *testing.T) { // RFC 3376 §3.2
	r := newRig(t)
	hears := func(want string) {
		t.Helper()
		var got []string
		for _, s := range ips("10.0.0.1 10.0.0.2 10.0.0.3") {
			if r.Hears(0, ip("239.1.1.1"), s) {
				got = append(got, s.String()[7:])
			}
		}
		if strings.Join(got, "") != want {
			t.Errorf("hears %v, want %s", got, want)
		}
	}
	hears("")
	r.change("239.1.1.1", nil, include("10.0.0.1"))
	hears("1")
	r.change("239.1.1.1", nil, exclude("10.0.0.1 10.0.0.2"))
	hears("13")
	r.change("239.1.1.1", include("10.0.0.1"), nil)
	hears("3")
	r.change("239.1.1.1", nil, exclude("10.0.0.2"))
	hears("13")
	r.Groups(0, func(g netip.Addr, f Filter) {
		if g != ip("239.1.1.1") || f.Mode != Exclude || !slices.Equal(f.Sources, ips("10.0.0.2")) {
			t.Errorf("group %v, %+v", g, f)
		}
	})
	r.change("239.1.1.1", exclude("10.0.0.1 10.0.0.2"), nil)
	r.change("239.1.1.1", exclude("10.0.0.2"), nil)
	hears("")
	if r.Member(0, ip("239.1.1.1")) {
		t.Error("a member of a group that all have left")
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	for i := range groupsMax {
		if !r.Change(0, netip.AddrFrom4([4]byte{239, 1, byte(i >> 8), byte(i)}), nil, &Everyone) {
			t.Fatalf("group %d is refused", i)
		}
	}
	if r.Change(0, ip("239.2.0.0"), nil, &Everyone) {
		t.Error("one group too many is taken")
	}
	if !r.Change(0, ip("239.1.0.0"), nil, &Everyone) || !r.Change(0, ip("ff05::1"), nil, &Everyone) {
		t.Error("a socket more of a group is refused, or one of the other family")
	}
	many := func(from int) *Filter {
		var list []netip.Addr
		for i := range sourcesMax6 {
			list = append(list, netip.AddrFrom4([4]byte{10, 0, byte((from + i) >> 8), byte(from + i)}))
		}
		f := NewFilter(Include, list)
		return &f
	}
	for i := 0; i < mergedMax; i += sourcesMax6 {
		r.change("239.1.0.0", nil, many(i))
	}
	if r.Change(0, ip("239.1.0.0"), nil, many(mergedMax)) {
		t.Error("more sources than the limit are taken")
	}
	if !r.Change(0, ip("239.1.0.0"), nil, many(0)) {
		t.Error("sources that are there already are refused")
	}
	if r.Hears(0, ip("239.1.0.0"), ip("10.0.0.1")) != true {
		t.Error("not heard")
	}
}

func TestReportsFitTheLink(t *testing.T) { // RFC 3376 §4.2.16
	r := newRig(t)
	r.room = 8 + 8 + 10*4 // a record of ten sources
	var list []netip.Addr
	for i := range 25 {
		list = append(list, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	f := NewFilter(Include, list)
	r.change("239.1.1.1", nil, &f)
	r.wheel.Advance(r.now)
	r.said(v3+"allow 239.1.1.1 {10 sources}", v3+"allow 239.1.1.1 {10 sources}", v3+"allow 239.1.1.1 {10.0.0.20 10.0.0.21 10.0.0.22 10.0.0.23 10.0.0.24}")
	r.pass(time.Minute)
	r.log = nil
	g := NewFilter(Exclude, list)
	r.change("239.1.1.1", &f, &g)
	r.wheel.Advance(r.now)
	r.said(v3 + "to-exclude 239.1.1.1 {10 sources}") // the others are not blocked
	r.room = 3
	r.pass(time.Minute)
	r.said() // and no panic
}

func TestSilentTableKeepsMembershipsAndSaysNothing(t *testing.T) {
	r := newRig(t)
	r.Table = New(Config{Sender: r, Wheel: r.wheel, Rand: rand.New(rand.NewPCG(1, 2)), Ports: 1, Silent: true})
	r.change("239.1.1.1", nil, include("10.0.0.1"))
	r.query3(wire.GroupQuery{Group: netip.IPv4Unspecified(), MaxResponse: time.Second})
	r.pass(time.Minute)
	r.said()
	if !r.Hears(0, ip("239.1.1.1"), ip("10.0.0.1")) || r.Hears(0, ip("239.1.1.1"), ip("10.0.0.2")) {
		t.Error("does not hear as it should")
	}
	r.change("239.1.1.1", include("10.0.0.1"), nil)
	if len(r.links[0].groups) != 0 {
		t.Error("a group is left")
	}
}

func TestRefreshTellsAnew(t *testing.T) { // RFC 3810 §5.2.13
	r := newRig(t)
	r.settled("ff05::1", nil, &Everyone)
	r.settled("ff05::2", nil, include("fd00::1"))
	r.settled("239.1.1.1", nil, &Everyone)
	r.Refresh(0, true)
	r.wheel.Advance(r.now)
	r.said(mld + "to-include ff05::2 {fd00::1}; to-exclude ff05::1")
	r.pass(time.Minute)
	r.log = nil
	r.Refresh(0, false)
	r.pass(time.Minute)
	r.said(twice(v3 + "to-exclude 239.1.1.1")...)
}

// The merged state is the same as RFC 3376 §3.2 says it outright, whatever the order of
// changes, and so is what a router makes of the reports.
func TestMergeAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	pool := ips("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4")
	random := func() *Filter {
		if rng.IntN(4) == 0 {
			return nil
		}
		var list []netip.Addr
		for _, a := range pool {
			if rng.IntN(2) == 0 {
				list = append(list, a)
			}
		}
		f := NewFilter(Mode(rng.IntN(2)), list)
		return &f
	}
	r := newRig(t)
	var sockets [5]*Filter
	for range 5000 {
		i := rng.IntN(len(sockets))
		to := random()
		r.change("239.1.1.1", sockets[i], to)
		sockets[i] = to
		if rng.IntN(3) == 0 {
			r.pass(time.Duration(rng.IntN(1500)) * time.Millisecond)
		}
		for _, a := range append(pool, ip("10.0.0.99")) {
			want := false
			for _, f := range sockets {
				want = want || f != nil && f.Allows(a)
			}
			if got := r.Hears(0, ip("239.1.1.1"), a); got != want {
				t.Fatalf("%v is heard: %v, want %v", a, got, want)
			}
			r.wheel.Advance(r.now)
			if got := r.router.Allows(a); got != want {
				t.Fatalf("%v is forwarded by the router: %v, want %v; it has heard %q", a, got, want, r.log[max(0, len(r.log)-5):])
			}
		}
	}
	for i, f := range sockets {
		r.change("239.1.1.1", f, nil)
		sockets[i] = nil
	}
	r.pass(time.Minute)
	if s := r.leftOver(); s != "" {
		t.Error(s)
	}
}

func TestQueriesAllocateNothing(t *testing.T) {
	r := newRig(t)
	r.settled("239.1.1.1", nil, include("10.0.0.1 10.0.0.2"))
	var b [64]byte
	n := wire.PutIGMPv3Query(b[:], &wire.GroupQuery{Group: ip("239.1.1.1"), MaxResponse: time.Second, Sources: ips("10.0.0.1 10.0.0.5")})
	a := Arrival{Src: ip("10.0.0.254"), Dst: ip("239.1.1.1"), TTL: 1, RouterAlert: true}
	quiet := &quietSender{}
	r.cfg.Sender = quiet
	if allocs := testing.AllocsPerRun(100, func() {
		if reason := r.InputIGMP(b[:n], &a, r.now); reason != drop.None {
			t.Fatal(reason)
		}
		r.pass(2 * time.Second)
	}); allocs != 0 {
		t.Errorf("%v allocations a query and its answer", allocs)
	}
	if quiet.sent == 0 {
		t.Error("nothing was answered")
	}
}

type quietSender struct{ sent int }

func (q *quietSender) GroupRoom(int, bool) int           { return 1400 }
func (q *quietSender) SendGroup(int, netip.Addr, []byte) { q.sent++ }
