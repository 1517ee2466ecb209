package engine

import (
	"math"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

func TestParsePolicy(t *testing.T) {
	for _, p := range []Policy{Balanced, Latency, Efficient} {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("ParsePolicy(%q) = %v, %v", p, got, err)
		}
	}
	for _, bad := range []string{"", "Balanced", "fast", "Policy(3)"} {
		if got, err := ParsePolicy(bad); err == nil {
			t.Errorf("ParsePolicy(%q) = %v, want an error", bad, got)
		}
	}
	if got := Policy(3).String(); got != "Policy(3)" {
		t.Errorf("an unknown policy calls itself %q", got)
	}
}

// Latency never sleeps on a device, Efficient does not look before it sleeps.
func TestPoliciesSleep(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		sleeps bool
	}{{Latency, false}, {Balanced, true}, {Efficient, true}} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			noLeak(t)
			h := &fakeHandler{}
			d := newEventDevice(t, "port")
			c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: tt.policy, Manual: true})
			receive(c, NewWaiter(), &h.boxes[1], c.Now().Add(5*time.Millisecond))
			if slept := d.waits.Load() > 0; slept != tt.sleeps {
				t.Errorf("slept %d times", d.waits.Load())
			}
		})
	}
}

// A device that moves its own clock is never looked at in vain: looking moves nothing.
func TestNoSpinOnVirtualClock(t *testing.T) {
	for _, policy := range []Policy{Latency, Balanced, Efficient} {
		h := &fakeHandler{}
		clock := &virtualClock{}
		d := newVirtualDevice(t, clock)
		d.at(1000, []byte{1})
		c := openCore(t, Config{Devices: []Device{d}, Handler: h, Clock: clock, Policy: policy, Manual: true})
		within(t, policy.String(), func() {
			if o := receive(c, NewWaiter(), &h.boxes[1], mono.Never); o != got || clock.Now() != 1000 {
				t.Errorf("%v: %v at %d, want got at 1000", policy, o, clock.Now())
			}
		})
	}
}

// The same simulation twice is the same, call by call.
func TestManualReplays(t *testing.T) {
	run := func() ([]string, []mono.Time, mono.Time) {
		h := &fakeHandler{logs: true}
		c, dev, clock := manual(t, h)
		for i := range 200 {
			dev.at(mono.Time(i*i*7), []byte{byte(i % 3)})
		}
		for i := range 20 {
			h.timers = append(h.timers, timer{mono.Time(i * 5000), func() { h.out[0] = append(h.out[0], []byte{9}) }})
		}
		w := NewWaiter()
		for i := range 150 {
			switch i % 3 {
			case 0:
				h.ask(c)
			case 1:
				dev.stuck = i%2 == 0
			}
			receive(c, w, &h.boxes[i%3], clock.Now().Add(2000))
		}
		return h.log, dev.slept, clock.Now()
	}
	log1, slept1, end1 := run()
	for range 3 {
		log2, slept2, end2 := run()
		if end1 != end2 || len(log1) != len(log2) || len(slept1) != len(slept2) {
			t.Fatalf("ended at %d after %d calls and %d sleeps, then at %d after %d and %d",
				end1, len(log1), len(slept1), end2, len(log2), len(slept2))
		}
		for i := range log1 {
			if log1[i] != log2[i] {
				t.Fatalf("call %d was %s, then %s", i, log1[i], log2[i])
			}
		}
	}
	if len(log1) < 500 || len(slept1) < 100 {
		t.Errorf("%d calls and %d sleeps: the scenario has become too short to say anything", len(log1), len(slept1))
	}
}

// Looking goes on for as long as it has paid lately.
func TestSpinner(t *testing.T) {
	const us = time.Microsecond
	s := newSpinner(Balanced)
	for i, step := range []struct{ idle, want time.Duration }{
		{12 * us, 20 * us}, // bridged by looking
		{20 * us, 20 * us},
		{21 * us, 10 * us}, // not
		{time.Second, 5 * us},
		{time.Second, 0},
		{time.Second, 0},
		{3 * us, 5 * us}, // it would have been
		{20 * us, 10 * us},
		{5 * us, 20 * us},
	} {
		if s.learn(step.idle); s.spin() != step.want {
			t.Errorf("step %d: after %v of nothing it looks for %v, want %v", i, step.idle, s.spin(), step.want)
		}
	}
	for policy, want := range map[Policy]time.Duration{Latency: math.MaxInt64, Efficient: 0} {
		s := newSpinner(policy)
		for _, idle := range []time.Duration{time.Second, time.Second, us, us} {
			if s.learn(idle); s.spin() != want {
				t.Errorf("%v looks for %v, want %v", policy, s.spin(), want)
			}
		}
	}
}
