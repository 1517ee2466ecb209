package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A steady is a rate-based congestion control in its plainest form: it takes the largest rate at which anything was
// delivered in the last rounds for the path's, and the shortest round trip for its delay, and keeps that in flight.
// It shows that a sample and a pace are enough for one, and is good for nothing else: it shares with nobody.
type steady struct {
	begun  mono.Time   // the round
	rates  [10]float64 // the largest of each round
	rounds int
	idle   int // samples that were the program's
}

func (r *steady) acked(g *congestion, s *sample) {
	if s.idle {
		r.idle++
	}
	if rate := float64(s.rate); rate > 0 && (!s.idle || rate > r.most()) {
		if s.now.Sub(r.begun) >= s.least {
			r.begun = s.now
			r.rounds++
			r.rates[r.rounds%len(r.rates)] = 0
		}
		r.rates[r.rounds%len(r.rates)] = max(r.rates[r.rounds%len(r.rates)], rate)
	}
	if r.rounds == 0 {
		g.grow(s.delivered)
		return
	}
	gain := 1.25 // asks whether there is more
	if r.rounds%8 == 0 {
		gain = 0.75 // and lets go what it was too much
	}
	if r.rounds < 15 {
		gain = 2
	}
	g.rated.pace = uint64(gain * r.most())
	g.cwnd = uint32(max(1.5*r.most()*s.least.Seconds(), float64(4*s.mss)))
}

func (r *steady) most() (rate float64) {
	for _, v := range r.rates {
		rate = max(rate, v)
	}
	return rate
}

// TestRateBasedControl: with a control that goes by rates a path that loses one packet of a hundred is full, which no
// control that takes losses for congestion can do, and its queue is not. A silent program is told from a slow path.
func TestRateBasedControl(t *testing.T) {
	const rate, rtt = 50e6 / 8, 40 * time.Millisecond
	run := func(with rateControl) (share float64, smooth time.Duration, s Stats) {
		w := newWorld(t, 5, Params{})
		w.delay, w.rate, w.queue = rtt/2, rate, 1<<20
		w.check = false
		ca, cb := w.connect()
		if with != nil {
			ca.cc.rated = &rated{control: with}
		}
		w.loss = 0.01
		f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 16, readEach: 1 << 16}
		w.work = f.pump
		w.run(5 * time.Second)
		return float64(f.read) / (rate * 5), ca.rtt.smooth, w.a.tcp.Stats()
	}
	r := &steady{}
	share, smooth, stats := run(r)
	usual, _, _ := run(nil)
	t.Logf("%.2f of the path, with CUBIC %.2f; round trip %v; %d recoveries, %d timeouts, %d samples of the program's", share, usual, smooth, stats.FastRecoveries, stats.Timeouts, r.idle)
	if share < 0.6 || share < 4*usual {
		t.Errorf("%.2f of the path, with CUBIC %.2f", share, usual)
	}
	if smooth > 2*rtt {
		t.Errorf("the round trip is %v, of which the path is %v", smooth, rtt)
	}

	w := newWorld(t, 5, Params{})
	ca, cb := w.connect()
	r = &steady{}
	ca.cc.rated = &rated{control: r}
	for range 20 {
		ca.Write(make([]byte, 100))
		ca.Kick(w.now)
		w.run(200 * time.Millisecond)
		cb.Read(make([]byte, 1000))
	}
	if r.idle != 20 {
		t.Errorf("%d of 20 samples are marked as the program's, want all", r.idle)
	}
}
