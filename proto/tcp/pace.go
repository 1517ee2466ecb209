package tcp

import (
	"math"
	"math/bits"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: SO_MAX_PACING_RATE in tc-fq(8), draft-ietf-ccwg-bbr §4.5 (what a rate-based algorithm needs).
//
// A connection with a rate sends each segment when those before it have had their time. What a late timer or a
// silent program has left unused may be caught up with for paceBurst, so that the rate holds on a wheel whose
// tick is longer than a segment's time.

// rate is the most that c sends, in bytes a second, 0 if nobody wants it paced. Where congestion control
// does not, the program may, by SO_MAX_PACING_RATE: then what is below its limit is paced too, as Linux does.
func (c *Conn) rate() uint64 {
	if c.opt.MaxPacingRate == 0 {
		return c.cc.pace()
	}
	return c.pacingRate()
}

// pacingRate is the rate that c would be paced by: that of congestion control, else the window in a round
// trip with room to grow (tcp_update_pacing_rate of Linux); and at most the program's limit.
func (c *Conn) pacingRate() uint64 {
	rate := c.cc.pace()
	if rate == 0 {
		p := &c.t.params
		ratio := p.PacingAvoidance
		if c.cc.cwnd < c.cc.ssthresh/2 {
			ratio = p.PacingSlowStart
		}
		window := max(uint64(c.cc.cwnd), uint64(c.snd.nxt.Sub(c.snd.una)))
		rate = perSecond(window*uint64(ratio)/100, max(c.rtt.smooth, time.Microsecond))
	}
	if limit := c.opt.MaxPacingRate; limit != 0 {
		rate = min(rate, limit)
	}
	return rate
}

// paced says whether data has to wait for its time, and sees to it that it is looked at again then.
func (c *Conn) paced(now mono.Time) bool {
	if !now.Before(c.paceAt) || c.rate() == 0 {
		return false
	}
	c.arm(timerPace, c.paceAt)
	return true
}

// pace takes in that a segment of n bytes goes out.
func (c *Conn) pace(n int, now mono.Time) {
	rate := c.rate()
	if rate == 0 {
		return
	}
	c.paceAt = max(c.paceAt, now.Add(-paceBurst)).Add(segmentTime(n, rate))
}

// segmentTime is how long n bytes take at a rate, at most paceGapMax.
func segmentTime(n int, rate uint64) time.Duration {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	if hi >= rate {
		return paceGapMax
	}
	d, _ := bits.Div64(hi, lo, rate)
	return time.Duration(min(d, math.MaxInt64, uint64(paceGapMax)))
}

const (
	// paceBurst is what is sent at once after a silence, in time at the rate: as much as a segment of
	// segmentation offload has in Linux (tcp_tso_autosize).
	paceBurst = time.Millisecond
	// paceGapMax keeps a rate of next to nothing from holding a connection for ever.
	paceGapMax = time.Minute
)
