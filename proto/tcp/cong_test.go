package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
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
			g.acked(&sample{acked: 2000, mss: 1000, limited: true, smooth: rtt, now: now, slow: &slowStart{}})
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
		g.acked(&sample{acked: 1000, mss: 1000, limited: true, smooth: 0, now: 0, slow: &slowStart{}})
	}
	if g.cwnd != 20_000 {
		t.Error("slow start:", g.cwnd)
	}
	g.lost(1000)
	g.recovered()
	for range 10 {
		g.acked(&sample{acked: 1000, mss: 1000, limited: true, smooth: 0, now: 0, slow: &slowStart{}})
	}
	if g.cwnd != 11_000 {
		t.Error("congestion avoidance adds a segment a round trip:", g.cwnd)
	}
	g.acked(&sample{acked: 100_000, mss: 1000, limited: false, smooth: 0, now: 0, slow: &slowStart{}})
	if g.cwnd != 11_000 {
		t.Error("a window that limits nobody grew:", g.cwnd)
	}
	g.timeout(1000)
	if g.cwnd != 1000 || g.ssthresh != 5500 {
		t.Error("after a timeout:", g.cwnd, g.ssthresh)
	}
}

// rounds lets a window of segments be acknowledged one by one, with the round trips that rtt gives for each round, until
// slow start is over, and returns how many rounds it was.
func rounds(g *congestion, most int, rtt func(round int) time.Duration) int {
	var h slowStart
	una := wire.SeqOf(1)
	nxt := una.Add(int(g.cwnd))
	for r := range most {
		end := nxt
		for una.Before(end) {
			una = una.Add(1000)
			g.acked(&sample{acked: 1000, mss: 1000, limited: true, rtt: rtt(r), smooth: rtt(r), una: una, nxt: nxt, now: mono.Time(r + 1), slow: &h})
			nxt = una.Add(int(g.cwnd))
			if !g.slowStart() {
				return r + 1
			}
		}
	}
	return most
}

// RFC 9406 §4.2: longer round trips slow the growth down to a quarter, and end slow start five rounds later.
func TestHyStartEndsSlowStart(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	n := rounds(&g, 40, func(r int) time.Duration {
		if r < 3 {
			return 50 * time.Millisecond
		}
		return 57 * time.Millisecond // more than an eighth
	})
	// Four rounds double 10 segments to 160: the last acknowledgement of a short round begins the next one, whose
	// least is short, too. After 8 samples of the fifth, it and four more grow by a quarter.
	if n < 9 || n > 11 || g.ssthresh != g.cwnd {
		t.Errorf("slow start took %d rounds, cwnd %d, ssthresh %d", n, g.cwnd, g.ssthresh)
	}
	if g.cwnd < 400_000 || g.cwnd > 520_000 {
		t.Errorf("cwnd is %d, want about 168 segments and five quarters of growth", g.cwnd)
	}
}

// §4.2: if the delay goes away again it was another's, and slow start goes on as before.
func TestHyStartResumes(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	n := rounds(&g, 10, func(r int) time.Duration {
		if r == 3 {
			return 60 * time.Millisecond
		}
		return 50 * time.Millisecond
	})
	if n != 10 || !g.slowStart() || g.cwnd < 10_000<<8 {
		t.Errorf("slow start ended after %d rounds with %d", n, g.cwnd)
	}
}

// §4.3: jitter of less than 4 ms ends nothing, and later slow starts are ordinary ones. NewReno has none of it.
func TestHyStartLeavesAlone(t *testing.T) {
	for _, c := range []struct {
		alg      Algorithm
		ssthresh uint32
		more     time.Duration
	}{{CUBIC, infiniteWindow, 3 * time.Millisecond}, {CUBIC, infiniteWindow - 1, time.Second}, {NewReno, infiniteWindow, time.Second}} {
		var g congestion
		g.choose(c.alg)
		g.start(1000)
		g.ssthresh = c.ssthresh
		if n := rounds(&g, 9, func(r int) time.Duration { return 5*time.Millisecond + c.more*time.Duration(r&1) }); n != 9 || g.cwnd != 10_000<<9 {
			t.Errorf("%v: %d rounds, cwnd %d", c.alg, n, g.cwnd)
		}
	}
}

// RFC 9438 §4.7: a flow that could not get back to where it was leaves room for others.
func TestCubicFastConvergence(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	g.cwnd = 100_000
	g.lost(1000)
	g.recovered()
	if g.cubic.wMax != 100 {
		t.Error("W_max", g.cubic.wMax)
	}
	g.lost(1000)
	if g.cubic.wMax != 70*0.85 {
		t.Error("W_max after a second loss below the first:", g.cubic.wMax)
	}
}

// RFC 9438 §4.3: where the curve is flat the window grows like Reno's would with the same average.
func TestCubicRenoFriendly(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	g.cwnd = 20_000
	g.lost(1000)
	g.recovered()
	rtt := 5 * time.Millisecond
	now := mono.Time(1)
	for range 4 { // K is 2.5 s: the curve has hardly moved in 20 ms
		for range g.cwnd / 1000 {
			g.acked(&sample{acked: 1000, mss: 1000, limited: true, smooth: rtt, now: now, slow: &slowStart{}})
		}
		now = now.Add(rtt)
	}
	if g.cwnd < 16_000 || g.cwnd > 16_200 { // 14 and four times 0.53
		t.Errorf("cwnd is %d after four round trips, want 16100", g.cwnd)
	}
}

// RFC 9438 §4.8: after a timeout the growth begins at K = 0 where slow start has ended.
func TestCubicAfterTimeout(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	g.cwnd = 100_000
	g.timeout(1000)
	if g.cwnd != 1000 || g.ssthresh != 70_000 {
		t.Fatal(g.cwnd, g.ssthresh)
	}
	for range 70 {
		g.acked(&sample{acked: 1000, mss: 1000, limited: true, now: 5, slow: &slowStart{}})
	}
	if g.cubic.k != 0 || g.cubic.wMax < 69 || g.cubic.wMax > 71 {
		t.Errorf("K is %v, W_max %v", g.cubic.k, g.cubic.wMax)
	}
}

// RFC 9438 §5.8: while the program sends less than the window allows no time passes on the curve, whether acknowledgements
// come or nothing is on its way; or the first burst after it would find the curve far above.
func TestRFC9438_5_8_ApplicationLimited(t *testing.T) {
	const rtt = 50 * time.Millisecond
	grown := func(acks int, silence time.Duration) uint32 {
		var g congestion
		g.choose(CUBIC)
		g.start(1000)
		g.cwnd = 100_000
		g.lost(1000)
		g.recovered()
		now := mono.Time(1e9)
		round := func(limited bool) {
			now = now.Add(rtt)
			for range g.cwnd / 1000 {
				g.acked(&sample{acked: 1000, mss: 1000, limited: limited, smooth: rtt, now: now, slow: &slowStart{}})
			}
		}
		for range 20 {
			round(true)
		}
		before := g.cwnd
		for range acks {
			round(false)
		}
		if silence > 0 {
			now = now.Add(silence)
			g.rest(now)
		}
		if g.cwnd != before {
			t.Errorf("cwnd went from %d to %d", before, g.cwnd)
		}
		for range 20 {
			round(true)
		}
		return g.cwnd
	}
	without := grown(0, 0)
	for _, with := range []uint32{grown(600, 0), grown(0, time.Minute), grown(600, time.Minute)} {
		if with < without-1000 || with > without+1000 {
			t.Errorf("cwnd is %d with a rest of half a minute or more, %d without", with, without)
		}
	}
}

// RFC 5681 §4.1: the restart window is the initial one, also with large segments.
func TestRFC5681_4_1_RestartWindow(t *testing.T) {
	for _, mss := range []int{500, 1448, 8948, 65483} {
		var g congestion
		g.choose(CUBIC)
		g.start(mss)
		initial := g.cwnd
		g.cwnd *= 8
		if g.restart(time.Minute, time.Second, mss); g.cwnd != initial {
			t.Errorf("MSS %d: the window is %d after a minute, %d at first", mss, g.cwnd, initial)
		}
	}
}
