package proto

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

// jain is the fairness of shares: 1 if all are equal, 1/n if one has everything (Jain, Chiu and Hawe 1984).
func jain(shares ...float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// TestFlowsShareFairly: a flow that begins while another one has the whole path gets its half of it. The jitter is there since
// two flows on one clock otherwise fall into step, and one of them finds the queue full each time.
func TestFlowsShareFairly(t *testing.T) {
	for i, c := range []struct {
		alg   tcp.Algorithm
		rate  int64
		rtt   time.Duration
		queue int
	}{
		{tcp.CUBIC, 20 * mbit, 20 * time.Millisecond, 33},
		{tcp.CUBIC, 10 * mbit, 60 * time.Millisecond, 49},
		{tcp.CUBIC, 30 * mbit, 10 * time.Millisecond, 24},
		{tcp.NewReno, 20 * mbit, 20 * time.Millisecond, 33},
	} {
		if testing.Short() && i > 0 {
			break
		}
		s := newSim(t, 1, trouble{Rate: c.rate, Delay: c.rtt / 2, Jitter: c.rtt / 20, QueuePackets: c.queue}, tcp.Params{Congestion: c.alg}, nil)
		d := s.listen(s.b, s.a, 80)
		first := d.dial(-1, 0)
		s.pass(5 * time.Second)
		second := d.dial(-1, 0)
		s.pass(20 * time.Second) // CUBIC takes some of its epochs to get there
		span := 40 * time.Second
		a, b := first.server.in.off, second.server.in.off
		s.pass(span)
		x, y := float64(first.server.in.off-a)*8/span.Seconds()/mbit, float64(second.server.in.off-b)*8/span.Seconds()/mbit
		t.Logf("%v, %d Mbit/s, %v: %.1f and %.1f Mbit/s, Jain's index %.3f", c.alg, c.rate/mbit, c.rtt, x, y, jain(x, y))
		if j := jain(x, y); j < 0.95 {
			t.Errorf("%v, %d Mbit/s, %v: %.1f and %.1f Mbit/s, Jain's index %.3f, want 0.95", c.alg, c.rate/mbit, c.rtt, x, y, j)
		}
		if share := (x + y) * mbit / (float64(c.rate) * 1448 / 1514); share < 0.9 {
			t.Errorf("%v, %d Mbit/s, %v: both have %.2f of the path", c.alg, c.rate/mbit, c.rtt, share)
		}
	}
}
