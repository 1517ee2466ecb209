package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9406 §4.

// The constants of §4.3.
const (
	hystartThreshMin   = 4 * time.Millisecond  // MIN_RTT_THRESH
	hystartThreshMax   = 16 * time.Millisecond // MAX_RTT_THRESH
	hystartDivisor     = 8                     // MIN_RTT_DIVISOR
	hystartSamples     = 8                     // N_RTT_SAMPLE
	conservativeGrowth = 4                     // CSS_GROWTH_DIVISOR
	conservativeRounds = 5                     // CSS_ROUNDS
	// hystartLimit is L for a sender that does not pace (CUBIC does not, as in Linux): what one acknowledgement
	// counts for at most, in segments.
	hystartLimit = 8
)

// slowStart is HyStart++: it ends the first slow start before the queue of the path overflows, when round
// trips become longer. First it goes on more slowly, for the delay may be another's. It belongs to a
// flight, for a sender that waits for its program does not fill a queue.
type slowStart struct {
	last, least time.Duration // lastRoundMinRTT, currentRoundMinRTT; 0: infinite
	baseline    time.Duration // cssBaselineMinRtt; 0: not in conservative slow start
	end         wire.Seq      // windowEnd
	begun       bool          // end is known
	samples     uint8
	rounds      uint8 // of conservative slow start
}

// round takes in the round trip of an acknowledgement, and begins the next round when all has been
// acknowledged that was sent before this one.
func (h *slowStart) round(s *sample) {
	if !h.begun || s.una.AtOrAfter(h.end) {
		h.begun, h.end = true, s.nxt
		h.last, h.least, h.samples = h.least, 0, 0
		if h.baseline != 0 {
			h.rounds++
		}
	}
	if s.rtt == 0 {
		return
	}
	if h.least == 0 || s.rtt < h.least {
		h.least = s.rtt
	}
	if h.samples++; h.samples < hystartSamples {
		return
	}
	h.samples = hystartSamples
	switch {
	case h.baseline != 0:
		if h.least < h.baseline { // the delay was somebody else's
			h.baseline, h.rounds = 0, 0
		}
	case h.last != 0 && h.least >= h.last+min(max(h.last/hystartDivisor, hystartThreshMin), hystartThreshMax):
		h.baseline = h.least
		h.rounds = 1 // the rest of this one counts
	}
}

// growth returns by how much the window grows for n bytes acknowledged.
func (h *slowStart) growth(n, mss int) int {
	n = min(n, hystartLimit*mss)
	if h.baseline != 0 {
		n /= conservativeGrowth
	}
	return n
}

// over says that congestion avoidance begins.
func (h *slowStart) over() bool { return h.baseline != 0 && h.rounds > conservativeRounds }
