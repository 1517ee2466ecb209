package tcp

import (
	"math"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 9438 §4, §5.8.

const (
	cubicC    = 0.4 // §5.1, segments a cubic second
	cubicBeta = 0.7 // §4.6
	// cubicAlpha makes the Reno-friendly window as fast as Reno's on average (§4.3).
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// cubic is CUBIC's state; windows are in segments.
type cubic struct {
	wMax  float64   // the window before the last reduction, or what is left of it
	wEst  float64   // what Reno would have
	k     float32   // seconds from the epoch until the window is wMax again
	prior float32   // the window at the last reduction
	owed  float32   // bytes of growth that did not make a whole one yet
	last  uint32    // when the window last followed the curve, ms
	epoch mono.Time // when the current growth began, less the time in which it rested; 0: it has not
}

func (q *cubic) acked(g *congestion, n, mss int, rtt time.Duration, now mono.Time) {
	cwnd := float64(g.cwnd) / float64(mss)
	if q.epoch == 0 {
		q.epoch = max(now, 1)
		q.wEst = cwnd
		if cwnd < q.wMax {
			q.k = float32(math.Cbrt((q.wMax - cwnd) / cubicC))
		} else {
			q.k, q.wMax = 0, cwnd
		}
	}
	q.last = tsClock(now)
	segments := float64(n) / float64(mss)
	alpha := cubicAlpha
	if q.wEst >= float64(q.prior) {
		alpha = 1
	}
	q.wEst += alpha * segments / cwnd
	t := now.Sub(q.epoch).Seconds()
	if q.at(t) < q.wEst { // the Reno-friendly region, §4.3
		if q.wEst > cwnd {
			g.cwnd = uint32(min(q.wEst*float64(mss), cwndMax))
		}
		return
	}
	target := min(max(q.at(t+rtt.Seconds()), cwnd), 1.5*cwnd) // §4.2
	whole, owed := math.Modf(float64(q.owed) + (target-cwnd)/cwnd*float64(n))
	q.owed = float32(owed)
	g.grow(int(whole))
}

// at is W_cubic(t) of §4.2.
func (q *cubic) at(t float64) float64 {
	d := t - float64(q.k)
	return cubicC*d*d*d + q.wMax
}

// reduced is §4.6 with the fast convergence of §4.7.
func (q *cubic) reduced(g *congestion, mss int) int {
	cwnd := float64(g.cwnd) / float64(mss)
	q.epoch, q.prior = 0, float32(cwnd)
	if cwnd < q.wMax {
		q.wMax = cwnd * (1 + cubicBeta) / 2
	} else {
		q.wMax = cwnd
	}
	return int(float64(g.cwnd) * cubicBeta)
}

// timeout makes the next growth begin where it finds the window, with K = 0 (§4.8).
func (q *cubic) timeout() { q.wMax = 0 }

// rest leaves the time in which the program had too little to send out of the growth (§5.8): otherwise the curve, which is ever
// steeper, would make up for it at once.
func (q *cubic) rest(now mono.Time) {
	if at := tsClock(now); q.epoch != 0 && at != q.last {
		q.epoch = q.epoch.Add(time.Duration(at-q.last) * time.Millisecond)
		q.last = at
	}
}
