package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 6298, RFC 7323 §4.

// sampleRTT takes in one measured round trip (RFC 6298 §2). delayed says that the acknowledgement may have
// waited for more: it does not make the shortest one longer, when that is forgotten.
func (c *Conn) sampleRTT(m time.Duration, delayed bool, now mono.Time) {
	m = max(m, 1)
	r := &c.rtt
	if least := r.min.least(); !delayed || least == 0 || m <= least {
		r.min.take(m, c.t.params.MinRTTWindow, now)
	}
	if r.smooth == 0 {
		r.smooth, r.variance = m, m/2
	} else {
		r.variance += (max(m-r.smooth, r.smooth-m) - r.variance) / 4
		r.smooth += (m - r.smooth) / 8
	}
}

// baseRTO is the timeout without backoff (RFC 6298 §2.1-2.3). As in Linux, the minimum is the
// least that the variance adds, not the least of the sum.
func (c *Conn) baseRTO() time.Duration {
	r := &c.rtt
	switch {
	case r.smooth == 0 && c.state.synchronized():
		return min(rtoFallback, c.rtoMax())
	case r.smooth == 0:
		return rtoInitial
	}
	return min(r.smooth+max(4*r.variance, c.rtoMin()), c.rtoMax())
}

func (c *Conn) rtoMin() time.Duration { return orDefault(c.opt.RTOMin, c.t.params.RTOMin) }
func (c *Conn) rtoMax() time.Duration { return orDefault(c.opt.RTOMax, c.t.params.RTOMax) }

// rto returns the timeout with the backoff of RFC 6298 §5.5.
func (c *Conn) rto() time.Duration {
	return min(c.baseRTO()<<min(c.backoff, 20), c.rtoMax())
}

// echoed returns the round trip that an echoed timestamp tells (RTTM, RFC 7323 §4.1), to a
// millisecond. Echoes of what was never sent tell nothing.
func (c *Conn) echoed(ecr uint32, now mono.Time) (time.Duration, bool) {
	d := int32(c.tsNow(now) - ecr)
	if ecr == 0 || d < 0 || time.Duration(d)*time.Millisecond > echoMax {
		return 0, false
	}
	return max(time.Duration(d)*time.Millisecond, time.Millisecond), true
}
