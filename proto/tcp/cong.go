package tcp

import (
	"strconv"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 5681 §3, RFC 9438, RFC 6928.

// An Algorithm names a congestion control.
type Algorithm uint8

const (
	AlgorithmDefault Algorithm = iota // the host's, else CUBIC
	CUBIC                             // RFC 9438
	NewReno                           // RFC 5681, RFC 6582
	algorithms
)

// algorithmNames are Linux's, for TCP_CONGESTION.
var algorithmNames = [algorithms]string{AlgorithmDefault: "default", CUBIC: "cubic", NewReno: "reno"}

func (a Algorithm) String() string {
	if a < algorithms {
		return algorithmNames[a]
	}
	return "Algorithm(" + strconv.Itoa(int(a)) + ")"
}

// ParseAlgorithm returns the algorithm that TCP_CONGESTION calls name.
func ParseAlgorithm(name string) (Algorithm, bool) {
	for a := CUBIC; a < algorithms; a++ {
		if algorithmNames[a] == name {
			return a, true
		}
	}
	return 0, false
}

// congestion is one connection's congestion control: what all algorithms share, and
// the state of the one that was chosen. The methods of this file are all that the rest
// of TCP knows of it; each goes to the algorithm by a switch, since a segment makes no
// interface call, but for one to a rate-based one.
type congestion struct {
	cwnd, ssthresh uint32 // bytes
	algorithm      Algorithm
	reno           reno
	cubic          cubic
	rated          *rated // instead of these two, nil: none
}

// A rated is a rate-based control and the rate that it wants.
type rated struct {
	control rateControl
	pace    uint64 // bytes a second, 0: none
}

// A rateControl is a congestion control that models the path by its rate and its delay (BBR is one) instead of waiting
// for losses. It hears of each acknowledgement, also while losses are repaired, where the window is its own
// and not that of proportional rate reduction; it sets cwnd, and rated.pace for pace.go. A timeout shrinks cwnd to what is in
// flight until the next acknowledgement.
type rateControl interface {
	acked(g *congestion, s *sample)
}

// cwndMax is half the sequence space's quarter: more is never in flight.
const cwndMax = 1 << 30

// choose begins with an algorithm, or changes to one in the middle: windows stay.
func (g *congestion) choose(a Algorithm) {
	g.algorithm = a
	g.reno, g.cubic, g.rated = reno{}, cubic{}, nil
}

// start sets the initial window once the MSS is known (RFC 6928 §2).
func (g *congestion) start(mss int) {
	g.cwnd = initialCwnd(mss)
	g.ssthresh = infiniteWindow
}

// initialCwnd is IW of RFC 6928 §2, in bytes.
func initialCwnd(mss int) uint32 {
	return uint32(min(initialWindow*mss, max(2*mss, initialWindow*1460)))
}

// pace returns the rate that congestion control wants, in bytes a second, 0 if none.
func (g *congestion) pace() uint64 {
	if g.rated == nil {
		return 0
	}
	return g.rated.pace
}

func (g *congestion) slowStart() bool { return g.cwnd < g.ssthresh }

// A sample is what congestion control learns of an acknowledgement: the window-based ones outside of fast recovery, a
// rate-based one of each.
type sample struct {
	now      mono.Time
	acked    int           // bytes
	mss      int           // bytes
	limited  bool          // by the congestion window: it held the sender back
	rtt      time.Duration // measured by this acknowledgement, 0: it was not
	smooth   time.Duration // SRTT
	una, nxt wire.Seq      // SND.UNA after it, SND.NXT
	slow     *slowStart    // of the flight

	// For a rate-based one.
	delivered int           // bytes that it told to have arrived, in order or not
	lost      int           // bytes that were held for lost because of it
	flying    int           // bytes in flight after it
	least     time.Duration // the shortest round trip, 0: unknown
	rate      uint64        // bytes a second at which what it tells of was delivered, 0: not known; see delivery.go
	idle      bool          // the program, not the window or the pace, limited the sender: the rate is not the path's
}

// acked takes in an acknowledgement. The window grows only if it was what limited the sender
// (RFC 9293 §3.8.2, RFC 7661 §4).
func (g *congestion) acked(s *sample) {
	n := s.acked
	initial := g.algorithm == CUBIC && g.ssthresh == infiniteWindow
	if initial { // RFC 9406 §4.3: not for later slow starts
		s.slow.round(s)
	}
	if !s.limited {
		g.rest(s.now)
		return
	}
	if g.slowStart() {
		// RFC 3465 without its limit, since bursts of acknowledgements are cut by
		// the receiver's delayed ones alone.
		grow := min(n, int(g.ssthresh-g.cwnd))
		n -= grow
		if initial {
			grow = s.slow.growth(grow, s.mss)
		}
		g.grow(grow)
		if initial && s.slow.over() {
			g.ssthresh = g.cwnd
		}
		if n == 0 {
			return
		}
	}
	switch g.algorithm {
	case NewReno:
		g.reno.acked(g, n, s.mss)
	default:
		g.cubic.acked(g, n, s.mss, s.smooth, s.now)
	}
}

func (g *congestion) grow(n int) { g.cwnd = uint32(min(int(g.cwnd)+n, cwndMax)) }

// lost begins a fast recovery: the threshold falls. The window is led there by
// proportional rate reduction, which is not the algorithm's business.
func (g *congestion) lost(mss int) { g.reduce(mss) }

// timeout shrinks the window to one segment (RFC 5681 §3.1).
func (g *congestion) timeout(mss int) {
	g.reduce(mss)
	g.cwnd = uint32(mss)
	g.cubic.timeout()
}

// reduce sets the threshold after a loss: two segments at least (RFC 5681 equation 4).
func (g *congestion) reduce(mss int) {
	if g.rated != nil {
		return
	}
	var to int
	switch g.algorithm {
	case NewReno:
		to = g.reno.reduced(g)
	default:
		to = g.cubic.reduced(g, mss)
	}
	g.ssthresh = uint32(max(to, 2*mss))
}

// recovered ends a fast recovery.
func (g *congestion) recovered() {
	if g.rated == nil {
		g.cwnd = g.ssthresh
	}
}

// A reduction is what there was before one, for the day on which it turns out to have been wrong.
type reduction struct {
	cwnd, ssthresh uint32
	cubic          cubic
}

func (g *congestion) before() reduction { return reduction{g.cwnd, g.ssthresh, g.cubic} }

// undo takes a reduction back (RFC 9438 §4.9), and nothing of what the window has grown since.
func (g *congestion) undo(b reduction) {
	g.cwnd, g.ssthresh = max(g.cwnd, b.cwnd), max(g.ssthresh, b.ssthresh)
	g.cubic = b.cubic
}

// rest is told that the window does not limit the sender, or that nothing was on its way until now.
func (g *congestion) rest(now mono.Time) { g.cubic.rest(now) }

// restart is told that nothing was sent for a time longer than a timeout (RFC 5681 §4.1): the
// window halves for each timeout, down to the initial one, as Linux does.
func (g *congestion) restart(idle, rto time.Duration, mss int) {
	initial := initialCwnd(mss)
	g.ssthresh = max(g.ssthresh, g.cwnd/4*3)
	for ; idle > rto && g.cwnd > initial; idle -= rto {
		g.cwnd = max(g.cwnd/2, initial)
	}
}
