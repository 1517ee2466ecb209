package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

func TestCubicCurve(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	g.cwnd = 1_000_000
	g.lost(1000)
	if g.ssthresh != 700_000 {
		t.Fatalf("ssthresh is %d after a loss, want 0.7 of 1000000", g.ssthresh)
	}
	g.recovered()
	rtt := 50 * time.Millisecond
	k := 9.086 // cbrt(300/0.4)
	var atK, half uint32
	for now := mono.Time(1); now < 14e9; now = now.Add(rtt) {
		if now.Sub(0).Seconds() < k/2 {
			half = g.cwnd
		}
		if now.Sub(0).Seconds() < k {
			atK = g.cwnd
		}
		for range g.cwnd / 2000 {
			g.acked(2000, 1000, true, rtt, now)
		}
	}
	if half < 955_000 || half > 970_000 {
		t.Errorf("cwnd is %d after K/2, want 7/8 of the way", half)
	}
	if atK < 995_000 || atK > 1_001_000 {
		t.Errorf("cwnd is %d after K, want 1000000", atK)
	}
	if g.cwnd < 1_040_000 || g.cwnd > 1_060_000 { // 0.4*(14-K)^3 = 47
		t.Errorf("cwnd is %d at 14 s", g.cwnd)
	}
}

func TestNewRenoGrowth(t *testing.T) {
	var g congestion
	g.choose(NewReno)
	g.start(1000)
	if g.cwnd != 10_000 {
		t.Fatal("initial window", g.cwnd)
	}
	for range 10 {
		g.acked(1000, 1000, true, 0, 0)
	}
	if g.cwnd != 20_000 {
		t.Error("slow start:", g.cwnd)
	}
	g.lost(1000)
	g.recovered()
	for range 10 {
		g.acked(1000, 1000, true, 0, 0)
	}
	if g.cwnd != 11_000 {
		t.Error("congestion avoidance adds a segment a round trip:", g.cwnd)
	}
	g.acked(100_000, 1000, false, 0, 0)
	if g.cwnd != 11_000 {
		t.Error("a window that limits nobody grew:", g.cwnd)
	}
	g.timeout(1000)
	if g.cwnd != 1000 || g.ssthresh != 5500 {
		t.Error("after a timeout:", g.cwnd, g.ssthresh)
	}
}
