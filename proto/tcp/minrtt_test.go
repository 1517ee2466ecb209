package tcp

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// The filter is never below the shortest of its window nor above what has just come, and is seldom not exact.
func TestMinRTTIsWindowed(t *testing.T) {
	const window = 100 * time.Second
	type sample struct {
		at  mono.Time
		rtt time.Duration
	}
	exact := 0
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var m minRTT
		var all []sample
		now, base := mono.Time(1e9), 50*time.Millisecond
		for range 2000 {
			now = now.Add(time.Duration(rng.IntN(5000)) * time.Millisecond)
			if rng.IntN(100) == 0 { // another path
				base = time.Duration(1+rng.IntN(200)) * time.Millisecond
			}
			rtt := base + time.Duration(rng.IntN(20_000))*time.Microsecond
			m.take(rtt, window, now)
			all = append(all, sample{now, rtt})
			inside := time.Hour
			for _, s := range all {
				if now.Sub(s.at) <= window {
					inside = min(inside, s.rtt)
				}
			}
			if got := m.least(); got < inside || got > rtt {
				t.Fatalf("seed %d: %v is the shortest, of the window %v, now %v", seed, got, inside, rtt)
			}
			if m.least() == inside {
				exact++
			}
		}
	}
	if exact < 95_000 {
		t.Errorf("%d of 100000 times it was exact", exact)
	}
}

// RFC 8985 §6.2 step 1: when the path has become longer, what RACK takes for its delay follows after tcp_min_rtt_wlen, and not
// before; acknowledgements that may have been delayed do not move it.
func TestMinRTTForgets(t *testing.T) {
	s := newScript(t, Params{MinRTTWindow: 10 * time.Second}).establishedSACK(60000)
	at := 1
	exchange := func(n int, rtt time.Duration) {
		s.write(n)
		for s.pull() != nil {
		}
		s.after(rtt)
		at += n
		s.in(sprintf(". 1:1(0) ack %d win 60000", at))
	}
	exchange(1000, 10*time.Millisecond)
	if got := s.c.rtt.min.least(); got != 10*time.Millisecond {
		t.Fatalf("%v is the shortest", got)
	}
	for range 90 {
		exchange(1000, 100*time.Millisecond)
	}
	if got := s.c.rtt.min.least(); got != 10*time.Millisecond {
		t.Errorf("%v is the shortest after 9 s, want that of the beginning", got)
	}
	for range 15 {
		exchange(1000, 100*time.Millisecond)
	}
	if got := s.c.rtt.min.least(); got != 100*time.Millisecond {
		t.Errorf("%v is the shortest after 10 s, want that of now", got)
	}
	s.write(2000)
	s.out(". 106001:107001(1000) ack 1")
	s.out("P. 107001:108001(1000) ack 1")
	if got := s.c.reorderWindow(); got != 25*time.Millisecond {
		t.Errorf("RACK waits for %v, want a quarter of it", got)
	}
	at += 2000
	s.after(150 * time.Millisecond)
	s.in(sprintf(". 1:1(0) ack %d win 60000", at))
	for range 110 {
		exchange(10, 150*time.Millisecond)
	}
	if got := s.c.rtt.min.least(); got != 100*time.Millisecond {
		t.Errorf("%v is the shortest, of which acknowledgements that were delayed can tell nothing", got)
	}
}
