package tcp

import (
	"fmt"
	"testing"
	"time"
)

// TestGoodput lets one flow run over paths with a rate, a delay, a queue and loss. The clock is virtual
// and the seed fixed, so each figure is exact; the bounds leave room for better algorithms, not
// for worse ones. 0.953 is all that headers leave of a full link.
func TestGoodput(t *testing.T) {
	for _, c := range []struct {
		mbit  float64
		rtt   time.Duration
		loss  float64
		alg   Algorithm
		secs  time.Duration
		least float64 // of the rate
	}{
		{10, 100 * time.Microsecond, 0, CUBIC, 4, 0.93},
		{10, 10 * time.Millisecond, 0, CUBIC, 4, 0.93},
		{10, 10 * time.Millisecond, 0, NewReno, 4, 0.93},
		{10, 10 * time.Millisecond, 0.01, CUBIC, 4, 0.85},
		{10, 60 * time.Millisecond, 0, CUBIC, 8, 0.90},
		{10, 60 * time.Millisecond, 0.001, CUBIC, 8, 0.65},
		{100, 10 * time.Millisecond, 0, CUBIC, 2, 0.90},
		{100, 10 * time.Millisecond, 0.001, CUBIC, 4, 0.40},
		{50, 60 * time.Millisecond, 0, CUBIC, 4, 0.82},
		{40, 200 * time.Millisecond, 0, CUBIC, 8, 0.72}, // autotuning must not stop below the path
	} {
		t.Run(fmt.Sprintf("%vMbit/%v/loss=%v/%v", c.mbit, c.rtt, c.loss, c.alg), func(t *testing.T) {
			got, stats := goodput(t, c.mbit*1e6/8, c.rtt, c.loss, c.alg, c.secs*time.Second)
			t.Logf("%.3f of the rate; %d segments sent again, %d timeouts, %d recoveries", got, stats.Retransmits, stats.Timeouts, stats.FastRecoveries)
			if got < c.least {
				t.Errorf("goodput is %.3f of the rate, want %.2f", got, c.least)
			}
		})
	}
}

// goodput returns which part of a path's rate one flow fills.
func goodput(t *testing.T, rate float64, rtt time.Duration, loss float64, alg Algorithm, d time.Duration) (float64, Stats) {
	w := newWorld(t, 7, Params{Congestion: alg})
	w.check = false
	w.delay, w.loss, w.rate = rtt/2, loss, rate
	w.queue = max(int(rate*rtt.Seconds()), 30000) // the path's own size
	ca, cb := w.connect()
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 16, readEach: 1 << 16}
	w.work = f.pump
	start := w.now
	w.run(d)
	return float64(f.read) / (rate * w.now.Sub(start).Seconds()), w.a.tcp.Stats()
}
