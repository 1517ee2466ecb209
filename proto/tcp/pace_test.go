package tcp

import (
	"testing"
	"time"
)

// A flow with a rate keeps it, over a short path and a long one, far below and near the path's own, to the percent.
func TestPacingRate(t *testing.T) {
	for _, c := range []struct {
		rate  uint64
		delay time.Duration
	}{{50_000, ms}, {2_000_000, 20 * time.Microsecond}, {2_000_000, 20 * ms}, {20_000_000, ms}} {
		w := newWorld(t, 5, Params{})
		w.check = c.rate < 10e6
		w.delay = c.delay
		l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 1})
		ca, cb := w.connectTo(l, 1000, Options{MaxPacingRate: c.rate})
		f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 16, readEach: 1 << 16}
		w.work = f.pump
		w.run(time.Second)
		before := f.read
		w.run(4 * time.Second)
		// Of 1480 bytes with their TCP header 1448 are data.
		want := float64(c.rate) * 4 * 1448 / 1480
		if got := float64(f.read-before) / want; got < 0.98 || got > 1.02 {
			t.Errorf("%d bytes a second over %v: %.3f of it", c.rate, c.delay, got)
		}
		if ca.Info(w.now).PacingRate != c.rate {
			t.Error("TCP_INFO does not know")
		}
	}
}

// After a silence a millisecond's worth goes out at once, and no more.
func TestPacingBurst(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{MaxPacingRate: 3 * 1020 * 1000}, s.now)
	s.after(time.Second)
	s.write(5000)
	s.out(". 1:1001(1000) ack 1")
	s.out(". 1001:2001(1000) ack 1")
	s.out(". 2001:3001(1000) ack 1")
	s.out(". 3001:4001(1000) ack 1") // at the rate's own moment
	s.none()
	s.timeout(ms / 3)
	s.out("P. 4001:5001(1000) ack 1")
	s.in(". 1:1(0) ack 5001 win 60000")
}

func TestSegmentTime(t *testing.T) {
	for _, c := range []struct {
		n    int
		rate uint64
		want time.Duration
	}{{1500, 1500, time.Second}, {1500, 1 << 63, 0}, {1500, 1, paceGapMax}, {65535, ^uint64(0), 0}, {1000, 1e9, time.Microsecond}} {
		if got := segmentTime(c.n, c.rate); got != c.want {
			t.Errorf("%d bytes at %d take %v, want %v", c.n, c.rate, got, c.want)
		}
	}
}
