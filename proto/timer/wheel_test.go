package timer

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// recorder is a timer that notes when it fired.
type recorder struct {
	Timer
	fired []mono.Time
	then  func(now mono.Time)
}

func (r *recorder) Expire(t *Timer, now mono.Time) {
	if t.Armed() {
		panic("armed inside Expire")
	}
	r.fired = append(r.fired, now)
	if r.then != nil {
		r.then(now)
	}
}

func newRecorder() *recorder {
	r := new(recorder)
	r.Init(r)
	return r
}

// model is the wheel as a sorted list: what fires is decided by comparing times.
type model struct {
	origin mono.Time
	armed  map[*recorder]mono.Time
}

// tick rounds a deadline up as the wheel promises to.
func (m *model) tick(at mono.Time) mono.Time {
	if at <= m.origin {
		return m.origin
	}
	return m.origin + (at-m.origin+Tick-1)/Tick*Tick
}

func (m *model) earliest() mono.Time {
	e := mono.Never
	for _, at := range m.armed {
		e = min(e, m.tick(at))
	}
	return e
}

func TestAgainstSortedList(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	start := mono.Time(rng.Int64N(1 << 40))
	w := New(start)
	m := &model{origin: start, armed: map[*recorder]mono.Time{}}
	now := start
	all := make([]*recorder, 80)
	for i := range all {
		all[i] = newRecorder()
	}
	// spans from below a tick to months, so that every level is used
	span := func() mono.Time { return mono.Time(rng.Int64N(1 << (4 + rng.IntN(50)))) }
	for range 3000 {
		switch rng.IntN(4) {
		case 0, 1:
			r := all[rng.IntN(len(all))]
			at := now + span() - Tick*2
			w.Arm(&r.Timer, at)
			m.armed[r] = at
			if !r.Armed() || r.At() != at {
				t.Fatalf("armed for %d, At says %d", at, r.At())
			}
		case 2:
			r := all[rng.IntN(len(all))]
			w.Stop(&r.Timer)
			delete(m.armed, r)
			if r.Armed() || r.At() != mono.Never {
				t.Fatal("armed after Stop")
			}
		case 3:
			if d := w.Deadline(); rng.IntN(2) == 0 && d != mono.Never {
				now = max(now, d) // what a sleeping core does
			} else {
				now += span()
			}
			checkAdvance(t, w, m, now)
		}
		if d, e := w.Deadline(), m.earliest(); d > max(e, now) {
			t.Fatalf("Deadline %d is later than the earliest timer's tick %d (now %d)", d, e, now)
		} else if (d == mono.Never) != (e == mono.Never) {
			t.Fatalf("Deadline %d, earliest %d", d, e)
		}
	}
}

// checkAdvance moves both and compares which fired, in which order of ticks.
func checkAdvance(t *testing.T, w *Wheel, m *model, now mono.Time) {
	t.Helper()
	var want []*recorder
	for r, at := range m.armed {
		if m.tick(at) <= max(now, w.time(w.tick)) {
			want = append(want, r)
		}
	}
	sort.Slice(want, func(i, j int) bool { return m.armed[want[i]] < m.armed[want[j]] })
	var last mono.Time
	got := map[*recorder]bool{}
	for r := range m.armed {
		r.fired = r.fired[:0]
	}
	if n := w.Advance(now); n != len(want) {
		t.Fatalf("Advance(%d) fired %d, want %d", now, n, len(want))
	}
	for _, r := range want {
		if len(r.fired) != 1 || r.Armed() {
			t.Fatalf("timer at %d (tick %d) fired %d times at now %d", m.armed[r], m.tick(m.armed[r]), len(r.fired), now)
		}
		if m.armed[r] > now && m.tick(m.armed[r]) > m.origin {
			t.Fatalf("timer at %d fired early, at %d", m.armed[r], now)
		}
		if m.armed[r] < last {
			t.Fatal("model is not sorted")
		}
		last = m.armed[r]
		got[r] = true
		delete(m.armed, r)
	}
	for r := range m.armed {
		if !r.Armed() || len(r.fired) != 0 {
			t.Fatalf("timer at %d fired at %d", m.armed[r], now)
		}
	}
}

func TestNeverEarlyAndAtMostATickLate(t *testing.T) {
	for _, after := range []mono.Time{0, 1, Tick - 1, Tick, Tick + 1, 63 * Tick, 64*Tick - 1, 64 * Tick, 64*Tick + 1,
		4095 * Tick, 4096 * Tick, 4097 * Tick, 64*64*64*Tick - 1, 64 * 64 * 64 * Tick, 64 * 64 * 64 * 64 * Tick, 1 << 61} {
		for _, start := range []mono.Time{0, 1, 63 * Tick, 64*Tick - 1, 4095 * Tick, 1<<40 - 1} {
			w := New(0)
			w.Advance(start)
			r := newRecorder()
			at := start + after
			w.Arm(&r.Timer, at)
			steps := 0
			for !(len(r.fired) > 0) {
				d := w.Deadline()
				if d == mono.Never || steps > levels+1 {
					t.Fatalf("start %d, after %d: no progress at deadline %d after %d steps", start, after, d, steps)
				}
				w.Advance(max(d, start))
				steps++
			}
			if f := r.fired[0]; f < at || f >= at+Tick {
				t.Errorf("start %d: armed for %d, fired at %d", start, at, f)
			}
			if w.Deadline() != mono.Never {
				t.Errorf("Deadline of an empty wheel is %d", w.Deadline())
			}
		}
	}
}

func TestOrderAcrossLevels(t *testing.T) {
	w := New(0)
	var order []int
	for i := range 200 {
		r := newRecorder()
		r.then = func(mono.Time) { order = append(order, i) }
		w.Arm(&r.Timer, mono.Time(1+i*i*i)*Tick)
	}
	if n := w.Advance(mono.Time(200*200*200) * Tick); n != 200 {
		t.Fatalf("fired %d of 200", n)
	}
	if !sort.IntsAreSorted(order) {
		t.Error("a long jump fired timers out of order:", order)
	}
}

func TestSameTickFiresInOrderOfArming(t *testing.T) {
	w := New(0)
	var order []int
	for i := range 10 {
		r := newRecorder()
		r.then = func(mono.Time) { order = append(order, i) }
		w.Arm(&r.Timer, 5000*Tick)
	}
	w.Advance(5000 * Tick)
	if len(order) != 10 || !sort.IntsAreSorted(order) {
		t.Error("order of arming was", order)
	}
}

func TestArmAndStopInsideExpire(t *testing.T) {
	w := New(0)
	victim, again, other := newRecorder(), newRecorder(), newRecorder()
	other.then = func(mono.Time) { w.Stop(&victim.Timer) }
	again.then = func(now mono.Time) {
		if len(again.fired) < 3 {
			w.Arm(&again.Timer, now+10*Tick)
		}
	}
	for _, r := range []*recorder{other, victim, again} {
		w.Arm(&r.Timer, 100*Tick) // one slot: the first takes its neighbour out while the slot is fired
	}
	for now := mono.Time(0); now < 200*Tick; now += Tick / 2 {
		w.Advance(now)
	}
	if len(victim.fired) != 0 {
		t.Error("a timer fired after it was stopped by another of its slot")
	}
	if len(again.fired) != 3 || again.fired[1] != 110*Tick || again.fired[2] != 120*Tick {
		t.Error("re-armed inside Expire, fired at", again.fired)
	}
}

func TestArmForThePast(t *testing.T) {
	w := New(0)
	w.Advance(1000 * Tick)
	r := newRecorder()
	r.then = func(now mono.Time) { w.Arm(&r.Timer, now-1) }
	w.Arm(&r.Timer, 5)
	if d := w.Deadline(); d > 1000*Tick {
		t.Fatal("Deadline is in the future:", d)
	}
	for want := 1; want < 5; want++ {
		if n := w.Advance(1000 * Tick); n != 1 || len(r.fired) != want {
			t.Fatalf("Advance fired %d (in all %d), want one a call", n, len(r.fired))
		}
	}
	w.Stop(&r.Timer)
	if w.Deadline() != mono.Never || w.Advance(1001*Tick) != 0 {
		t.Error("something is left after Stop")
	}
}

func TestClockThatStandsStill(t *testing.T) {
	w := New(500)
	r := newRecorder()
	w.Arm(&r.Timer, 501)
	for range 3 {
		if w.Advance(500) != 0 {
			t.Fatal("fired early")
		}
	}
	w.Advance(100) // an earlier now is not a way back
	if w.Advance(500+Tick) != 1 {
		t.Error("did not fire at its tick")
	}
}

func TestArmNeverDisarms(t *testing.T) {
	w := New(0)
	r := newRecorder()
	w.Arm(&r.Timer, 77)
	w.Arm(&r.Timer, mono.Never)
	if r.Armed() || w.Deadline() != mono.Never {
		t.Error("armed for Never")
	}
}

func TestNoAllocation(t *testing.T) {
	w := New(0)
	r := make([]*recorder, 64)
	for i := range r {
		r[i] = newRecorder()
		r[i].fired = make([]mono.Time, 0, 4096)
	}
	now := mono.Time(0)
	if n := testing.AllocsPerRun(1000, func() {
		for i, r := range r {
			r.fired = r.fired[:0]
			w.Arm(&r.Timer, now+mono.Time(i*i)*Tick)
		}
		now += 100 * Tick
		w.Advance(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type counter struct {
	Timer
	n int
}

func (c *counter) Expire(*Timer, mono.Time) { c.n++ }

func BenchmarkRearm(b *testing.B) {
	w := New(0)
	timers := make([]counter, 1<<20) // a million armed, as on a full host
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range timers {
		timers[i].Init(&timers[i])
		w.Arm(&timers[i].Timer, mono.Time(rng.Int64N(1<<43)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.Arm(&timers[i*7919%len(timers)].Timer, mono.Time(1<<42+i))
	}
}

func BenchmarkAdvanceIdle(b *testing.B) {
	w := New(0)
	var c counter
	c.Init(&c)
	w.Arm(&c.Timer, 1<<60)
	for i := range b.N {
		w.Advance(mono.Time(i * 1000))
	}
}
