package group

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var router4, router6 = ip("10.0.0.254"), ip("fe80::fe")

// input4 is a message that a router has sent as it should.
func (r *rig) input4(b []byte, dst netip.Addr) {
	r.t.Helper()
	if reason := r.InputIGMP(b, &Arrival{Src: router4, Dst: dst, TTL: 1, RouterAlert: true}, r.now); reason != drop.None {
		r.t.Errorf("dropped: %v", reason)
	}
}

func (r *rig) input6(b []byte, dst netip.Addr) {
	r.t.Helper()
	icmp, _ := wire.ParseICMP6(b)
	if reason := r.InputMLD(icmp, &Arrival{Src: router6, Dst: dst, TTL: 1, RouterAlert: true}, r.now); reason != drop.None {
		r.t.Errorf("dropped: %v", reason)
	}
}

func (r *rig) query3(q wire.GroupQuery) {
	r.t.Helper()
	var b [1500]byte
	r.input4(b[:wire.PutIGMPv3Query(b[:], &q)], orAll(q.Group, wire.AllSystems4))
}

func (r *rig) query6(q wire.GroupQuery) {
	r.t.Helper()
	var b [1500]byte
	r.input6(b[:wire.PutMLDv2Query(b[:], &q)], orAll(q.Group, wire.AllNodes6))
}

// queryOld is one of IGMP version 2, or of version 1 if max is 0.
func (r *rig) queryOld(group netip.Addr, max time.Duration) {
	r.t.Helper()
	var b [8]byte
	r.input4(b[:wire.PutIGMP(b[:], wire.IGMPQuery, max, group)], orAll(group, wire.AllSystems4))
}

func (r *rig) queryOld6(group netip.Addr, max time.Duration) {
	r.t.Helper()
	var b [24]byte
	r.input6(b[:wire.PutMLD(b[:], wire.ICMP6MLDQuery, max, group)], orAll(group, wire.AllNodes6))
}

func orAll(group, all netip.Addr) netip.Addr {
	if group.IsUnspecified() {
		return all
	}
	return group
}

var any4, any6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()

func TestGeneralQueryIsAnsweredWithTheState(t *testing.T) { // RFC 3376 §5.2 (1); RFC 3810 §6.3 (1)
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.settled("239.1.1.2", nil, include("10.0.0.1"))
	r.settled("239.1.1.3", nil, exclude("10.0.0.2"))
	r.settled("239.1.1.4", nil, include("")) // no state: not said
	start := r.now
	r.query3(wire.GroupQuery{Group: any4, MaxResponse: 10 * time.Second})
	r.wheel.Advance(r.now)
	r.said()
	r.pass(11 * time.Second)
	at := r.at
	r.said(v3 + "is-exclude 239.1.1.3 {10.0.0.2}; is-include 239.1.1.2 {10.0.0.1}; is-exclude 239.1.1.1")
	if len(at) == 1 && (at[0] <= start || at[0].Sub(start) > 10*time.Second+time.Millisecond) {
		t.Errorf("answered after %v", at[0].Sub(start))
	}
	r.settled("ff05::1", nil, &Everyone)
	r.query6(wire.GroupQuery{Group: any6, MaxResponse: 10 * time.Second})
	r.pass(11 * time.Second)
	r.said(mld + "is-exclude ff05::1")
}

func TestAnswersAreSpreadOverTheResponseTime(t *testing.T) { // RFC 3376 §5.2: "a random value in the range (0, [Max Resp Time])"
	early, late := 0, 0
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	for range 200 {
		start := r.now
		r.query3(wire.GroupQuery{Group: any4, MaxResponse: 10 * time.Second})
		r.pass(11 * time.Second)
		if len(r.at) != 1 {
			t.Fatalf("%d answers", len(r.at))
		}
		if r.at[0].Sub(start) < 5*time.Second {
			early++
		} else {
			late++
		}
		r.log, r.at = nil, nil
	}
	if early < 60 || late < 60 {
		t.Errorf("%d in the first half, %d in the second", early, late)
	}
}

func TestGroupQueries(t *testing.T) { // RFC 3376 §5.2 (2) and (3)
	for _, c := range []struct {
		name   string
		filter *Filter
		asked  string
		want   string
	}{
		{"group, include", include("10.0.0.1 10.0.0.2"), "", "is-include 239.1.1.1 {10.0.0.1 10.0.0.2}"},
		{"group, exclude", exclude("10.0.0.1"), "", "is-exclude 239.1.1.1 {10.0.0.1}"},
		{"sources, include: A*B", include("10.0.0.1 10.0.0.2"), "10.0.0.2 10.0.0.3", "is-include 239.1.1.1 {10.0.0.2}"},
		{"sources, exclude: B-A", exclude("10.0.0.1 10.0.0.2"), "10.0.0.2 10.0.0.3", "is-include 239.1.1.1 {10.0.0.3}"},
		{"sources, none of them: silence", include("10.0.0.1"), "10.0.0.2", ""},
	} {
		r := newRig(t)
		r.settled("239.1.1.1", nil, c.filter)
		r.settled("239.1.1.2", nil, &Everyone)
		r.query3(wire.GroupQuery{Group: ip("239.1.1.1"), MaxResponse: time.Second, Sources: ips(c.asked)})
		r.pass(2 * time.Second)
		t.Log(c.name)
		if c.want == "" {
			r.said()
		} else {
			r.said(v3 + c.want)
		}
		r.query3(wire.GroupQuery{Group: ip("239.9.9.9"), MaxResponse: time.Second})
		r.pass(2 * time.Second)
		r.said()
	}
}

func TestPendingAnswersAreJoined(t *testing.T) { // RFC 3376 §5.2, the five rules
	r := newRig(t)
	g := ip("239.1.1.1")
	r.settled("239.1.1.1", nil, exclude("10.0.0.9"))

	// 1: a general answer that comes sooner says it all.
	r.query3(wire.GroupQuery{Group: any4, MaxResponse: 100 * time.Millisecond})
	r.query3(wire.GroupQuery{Group: g, MaxResponse: 10 * time.Second})
	if r.links[0].lookup(g).answerAt != mono.Never {
		t.Fatal("a group's answer is planned behind the general one")
	}
	r.pass(time.Minute)
	r.said(v3 + "is-exclude 239.1.1.1 {10.0.0.9}")

	// 5: lists add up, and the answer comes at the earlier time.
	r.query3(wire.GroupQuery{Group: g, MaxResponse: 10 * time.Second, Sources: ips("10.0.0.1")})
	r.query3(wire.GroupQuery{Group: g, MaxResponse: 100 * time.Millisecond, Sources: ips("10.0.0.2 10.0.0.1")})
	r.pass(200 * time.Millisecond)
	r.said(v3 + "is-include 239.1.1.1 {10.0.0.1 10.0.0.2}")
	r.pass(time.Minute)
	r.said()

	// 4: a question about the group swallows those about senders, before and after it.
	r.query3(wire.GroupQuery{Group: g, MaxResponse: time.Second, Sources: ips("10.0.0.1")})
	r.query3(wire.GroupQuery{Group: g, MaxResponse: time.Second})
	r.query3(wire.GroupQuery{Group: g, MaxResponse: time.Second, Sources: ips("10.0.0.1")})
	r.pass(time.Minute)
	r.said(v3 + "is-exclude 239.1.1.1 {10.0.0.9}")

	// The list is bounded: past that the group is answered (§9.1).
	for i := range askedMax + 1 {
		r.query3(wire.GroupQuery{Group: g, MaxResponse: 10 * time.Second, Sources: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})}})
	}
	if n := len(r.links[0].lookup(g).asked); n > askedMax {
		t.Errorf("%d senders are remembered", n)
	}
	r.pass(time.Minute)
	r.said(v3 + "is-exclude 239.1.1.1 {10.0.0.9}")
}

func TestOldQuerierIsSpokenToInItsVersion(t *testing.T) { // RFC 3376 §7.2.1, RFC 2236 §3
	r := newRig(t)
	r.settled("239.1.1.1", nil, include("10.0.0.1"))
	r.queryOld(any4, 2*time.Second)
	r.pass(3 * time.Second)
	r.said("239.1.1.1 v2-report: 239.1.1.1")

	// Join, twice within ten seconds each; a filter has no words; leave.
	r.change("239.1.1.2", nil, include("10.0.0.1"))
	r.wheel.Advance(r.now)
	r.said("239.1.1.2 v2-report: 239.1.1.2")
	r.pass(11 * time.Second)
	r.said("239.1.1.2 v2-report: 239.1.1.2")
	r.change("239.1.1.2", include("10.0.0.1"), include("10.0.0.2"))
	r.pass(11 * time.Second)
	r.said()
	r.change("239.1.1.2", include("10.0.0.2"), nil)
	r.wheel.Advance(r.now)
	r.said("224.0.0.2 v2-leave: 239.1.1.2")

	// Robustness * interval + response time after it was last heard, version 3 is spoken again.
	r.pass(2*125*time.Second + 2*time.Second)
	r.change("239.1.1.3", nil, &Everyone)
	r.wheel.Advance(r.now)
	r.said(v3 + "to-exclude 239.1.1.3")
}

func TestVersionOneHasNoLeave(t *testing.T) { // RFC 2236 §4, RFC 1112
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.queryOld(any4, 0)
	start := r.now
	r.pass(11 * time.Second)
	if len(r.at) != 1 || r.at[0].Sub(start) > 10*time.Second+time.Millisecond {
		t.Errorf("answers at %v", r.at)
	}
	r.said("239.1.1.1 v1-report: 239.1.1.1")
	r.change("239.1.1.1", &Everyone, nil)
	r.pass(time.Minute)
	r.said()
	// Version 1 is heard for longer than version 2 after it: the oldest counts.
	r.queryOld(any4, 0)
	r.queryOld(any4, time.Second)
	r.change("239.1.1.1", nil, &Everyone)
	r.wheel.Advance(r.now)
	r.said("239.1.1.1 v1-report: 239.1.1.1")
}

func TestReportOfAnotherIsEnoughForAnOldQuerier(t *testing.T) { // RFC 2236 §3, RFC 2710 §4
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.queryOld(any4, 10*time.Second)
	var b [8]byte
	r.input4(b[:wire.PutIGMP(b[:], wire.IGMPv2Report, 0, ip("239.1.1.1"))], ip("239.1.1.1"))
	r.pass(time.Minute)
	r.said()
	r.change("239.1.1.1", &Everyone, nil) // who reported last is still there
	r.pass(time.Minute)
	r.said()

	// A newer querier counts each host: nobody else's report is enough.
	r.pass(time.Hour)
	r.settled("239.1.1.2", nil, &Everyone)
	r.query3(wire.GroupQuery{Group: any4, MaxResponse: time.Second})
	r.input4(b[:wire.PutIGMP(b[:], wire.IGMPv2Report, 0, ip("239.1.1.2"))], ip("239.1.1.2"))
	r.pass(time.Minute)
	r.said(v3 + "is-exclude 239.1.1.2")
}

func TestOldAnswerIsBroughtForwardAndNotPutOff(t *testing.T) { // RFC 2236 §3
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.queryOld(any4, 25*time.Second)
	rec := r.links[0].groups[0]
	first := rec.answerAt
	r.queryOld(ip("239.1.1.1"), 25*time.Second)
	if rec.answerAt > first {
		t.Errorf("put off from %v to %v", first, rec.answerAt)
	}
	r.queryOld(ip("239.1.1.1"), 100*time.Millisecond)
	if rec.answerAt.Sub(r.now) > 100*time.Millisecond {
		t.Errorf("answered only in %v", rec.answerAt.Sub(r.now))
	}
	r.pass(time.Minute)
	r.said("239.1.1.1 v2-report: 239.1.1.1")
}

func TestOldQuerierOfMLD(t *testing.T) { // RFC 3810 §8.2.1, RFC 2710 §4
	r := newRig(t)
	r.settled("ff05::1", nil, &Everyone)
	r.queryOld6(any6, time.Second)
	r.pass(2 * time.Second)
	r.said("ff05::1 mld-report: ff05::1")
	r.change("ff05::1", &Everyone, nil)
	r.wheel.Advance(r.now)
	r.said("ff02::2 mld-done: ff05::1")
	r.pass(2*125*time.Second + time.Second)
	r.change("ff05::1", nil, &Everyone)
	r.wheel.Advance(r.now)
	r.said(mld + "to-exclude ff05::1")
}

func TestChangeOfVersionForgetsWhatWasPending(t *testing.T) { // RFC 3376 §7.2.1
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.query3(wire.GroupQuery{Group: any4, MaxResponse: 20 * time.Second})
	r.change("239.1.1.1", &Everyone, nil)
	r.queryOld(any4, time.Second)
	r.pass(time.Minute)
	r.said()
	if len(r.links[0].groups) != 0 {
		t.Error("a group that was left is kept")
	}
}

func TestBadMessagesAreDropped(t *testing.T) {
	r := newRig(t)
	r.settled("239.1.1.1", nil, &Everyone)
	r.settled("ff05::1", nil, &Everyone)
	good := Arrival{Src: router4, Dst: wire.AllSystems4, TTL: 1, RouterAlert: true}
	with := func(f func(*Arrival)) Arrival { a := good; f(&a); return a }
	var b [64]byte
	general := func() []byte {
		return b[:wire.PutIGMPv3Query(b[:], &wire.GroupQuery{Group: any4, MaxResponse: time.Second})]
	}
	for _, c := range []struct {
		name string
		b    []byte
		a    Arrival
		want drop.Reason
	}{
		{"empty", nil, good, drop.IGMPShort},
		{"checksum", append([]byte{0x11, 0, 1, 1}, make([]byte, 8)...), good, drop.IGMPChecksum},
		{"TTL", general(), with(func(a *Arrival) { a.TTL = 2 }), drop.IGMPTTL},                                                       // RFC 3376 §4
		{"no router alert", general(), with(func(a *Arrival) { a.RouterAlert = false }), drop.IGMPRouterAlert},                       // §9.1
		{"general to a group", general(), with(func(a *Arrival) { a.Dst = ip("239.1.1.1") }), drop.IGMPBadGroup},                     // §9.1
		{"general to us alone", general(), with(func(a *Arrival) { a.Dst = ip("10.0.0.1") }), drop.None},                             // §4.1.12
		{"about no group", b1(wire.IGMPQuery, time.Second, ip("10.0.0.1")), good, drop.IGMPBadGroup},                                 //
		{"ten bytes", sealed(10), good, drop.IGMPShort},                                                                              // §7.1
		{"version 1 without router alert", b1(wire.IGMPQuery, 0, any4), with(func(a *Arrival) { a.RouterAlert = false }), drop.None}, // RFC 1112 has none
		{"report to another group", b1(wire.IGMPv2Report, 0, ip("239.1.1.1")), good, drop.IGMPBadGroup},
		{"leave", b1(wire.IGMPv2Leave, 0, ip("239.1.1.1")), good, drop.IGMPUnknownType},
		{"unknown", b1(0x99, 0, any4), good, drop.IGMPUnknownType},
	} {
		r := newRig(t)
		if got := r.InputIGMP(c.b, &c.a, r.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if c.want != drop.None && r.links[0].general != mono.Never {
			t.Errorf("%s: it is answered all the same", c.name)
		}
	}
	good = Arrival{Src: router6, Dst: wire.AllNodes6, TTL: 1, RouterAlert: true}
	query := func() []byte {
		b := make([]byte, 64)
		return b[:wire.PutMLDv2Query(b, &wire.GroupQuery{Group: any6, MaxResponse: time.Second})]
	}
	m1 := func(t wire.ICMP6Type, group netip.Addr) []byte {
		b := make([]byte, 64)
		return b[:wire.PutMLD(b, t, 0, group)]
	}
	for _, c := range []struct {
		name string
		b    []byte
		a    Arrival
		want drop.Reason
	}{
		{"short", query()[:20], good, drop.MLDShort},
		{"26 bytes", query()[:26], good, drop.MLDShort},                                                     // RFC 3810 §8.1
		{"hop limit", query(), with(func(a *Arrival) { a.TTL = 64 }), drop.MLDHopLimit},                     // §6.2
		{"source", query(), with(func(a *Arrival) { a.Src = ip("2001:db8::1") }), drop.MLDBadSource},        // §6.2
		{"no source", query(), with(func(a *Arrival) { a.Src = any6 }), drop.MLDBadSource},                  //
		{"no router alert", query(), with(func(a *Arrival) { a.RouterAlert = false }), drop.MLDRouterAlert}, // §6.2
		{"general to a group", query(), with(func(a *Arrival) { a.Dst = ip("ff05::1") }), drop.MLDBadGroup}, //
		{"about no group", m1(wire.ICMP6MLDQuery, ip("fd00::1")), good, drop.MLDBadGroup},                   //
		{"report to another group", m1(wire.ICMP6MLDReport, ip("ff05::1")), good, drop.MLDBadGroup},         //
		{"done", m1(wire.ICMP6MLDDone, ip("ff05::1")), good, drop.MLDUnknownType},                           //
	} {
		r := newRig(t)
		icmp, _ := wire.ParseICMP6(c.b)
		if got := r.InputMLD(icmp, &c.a, r.now); got != c.want {
			t.Errorf("MLD, %s: %v, want %v", c.name, got, c.want)
		}
		if r.links[1].general != mono.Never {
			t.Errorf("MLD, %s: it is answered all the same", c.name)
		}
	}
}

func b1(t wire.IGMPType, max time.Duration, group netip.Addr) []byte {
	b := make([]byte, 8)
	return b[:wire.PutIGMP(b, t, max, group)]
}

// sealed is a query of that many bytes with a good checksum.
func sealed(n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = uint8(wire.IGMPQuery), 10
	sum := wire.Checksum(b, 0)
	b[2], b[3] = byte(sum>>8), byte(sum)
	return b
}

func FuzzInput(f *testing.F) {
	var b [256]byte
	f.Add(b[:wire.PutIGMPv3Query(b[:], &wire.GroupQuery{Group: ip("239.1.1.1"), MaxResponse: time.Second, Sources: ips("10.0.0.1")})], uint8(1))
	f.Add(b[:wire.PutIGMP(b[:], wire.IGMPQuery, time.Second, any4)], uint8(1))
	f.Add(b[:wire.PutMLDv2Query(b[:], &wire.GroupQuery{Group: any6, MaxResponse: time.Second})], uint8(1))
	f.Fuzz(func(t *testing.T, m []byte, ttl uint8) {
		r := newRig(t)
		r.change("239.1.1.1", nil, include("10.0.0.1"))
		r.change("ff05::1", nil, &Everyone)
		if len(m) >= 4 { // or most would end at the checksum
			m = append([]byte(nil), m...)
			m[2], m[3] = 0, 0
			sum := wire.Checksum(m, 0)
			m[2], m[3] = byte(sum>>8), byte(sum)
		}
		for range 3 {
			r.InputIGMP(m, &Arrival{Src: router4, Dst: wire.AllSystems4, TTL: ttl, RouterAlert: true}, r.now)
			if icmp, ok := wire.ParseICMP6(m); ok {
				r.InputMLD(icmp, &Arrival{Src: router6, Dst: wire.AllNodes6, TTL: ttl, RouterAlert: true}, r.now)
			}
			r.pass(time.Second)
		}
		if n := len(r.links[0].groups) + len(r.links[1].groups); n != 2 {
			t.Errorf("%d groups", n)
		}
	})
}
