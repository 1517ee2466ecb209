package tcp

import (
	"math/bits"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: draft-ietf-ccwg-bbr §4.1 (delivery rate samples), net/ipv4/tcp_rate.c.
//
// How fast the path delivers is measured by what was delivered between the sending of a segment and
// its acknowledgement: each run remembers what had been by then. The time is the longer one of that in which
// it was sent and that in which it was acknowledged, so neither a burst nor compressed acknowledgements
// make a path seem faster than it is.

// A milestone is what a run remembers of the moment in which it was sent.
type milestone struct {
	delivered uint32    // flight.delivered
	at        mono.Time // when that was so
	first     mono.Time // when the first of what was then being measured had been sent
	idle      bool      // the program had nothing more to send: the rate is the program's, not the path's
}

// A pipeRate is the delivery rate of a flight.
type pipeRate struct {
	delivered uint32    // bytes since the flight began
	at        mono.Time // when the last of them were
	first     mono.Time // when what was delivered last had been sent
	idle      uint32    // until so much has been delivered the program was what limited the rate; 0: it does not
}

// milestone returns what a run that goes out now remembers.
func (p *pipeRate) milestone() milestone { return milestone{p.delivered, p.at, p.first, p.idle != 0} }

// begin is told that something goes out when nothing was on its way: the program had nothing more to send before.
func (p *pipeRate) begin(now mono.Time) { p.at, p.first, p.idle = now, now, 1 }

// A rateSample is what one acknowledgement tells: the milestone of what was sent last of all that it delivers.
type rateSample struct {
	from milestone
	sent mono.Time
	end  wire.Seq
	ok   bool
	rate uint64 // bytes a second, 0: it tells none
}

func (s *rateSample) take(r *run, end wire.Seq) {
	if !s.ok || sentAfter(r.at, end, s.sent, s.end) {
		*s = rateSample{from: r.from, sent: r.at, end: end, ok: true}
	}
}

// sampleRate takes in what an acknowledgement has delivered (tcp_rate_gen of Linux). A sample of less time
// than a round trip is none; one that the program has limited counts only if it is the best so far.
func (c *Conn) sampleRate(d *delivery) {
	p := &c.flight.rate
	p.delivered += uint32(d.delivered)
	if p.idle != 0 && int32(p.delivered-p.idle) > 0 {
		p.idle = 0
	}
	if d.delivered > 0 {
		p.at = d.now
	}
	s := &d.rate
	if !s.ok {
		return
	}
	p.first = s.sent
	took := max(s.sent.Sub(s.from.first), d.now.Sub(s.from.at))
	bytes := p.delivered - s.from.delivered
	if took <= 0 || took < c.rtt.min.least() || bytes == 0 {
		return
	}
	s.rate = perSecond(uint64(bytes), took)
	if rate := float32(s.rate); !s.from.idle || rate >= c.tally.rate {
		c.tally.rate, c.tally.rateIdle = rate, s.from.idle
	}
}

// perSecond is a rate in bytes a second.
func perSecond(n uint64, d time.Duration) uint64 {
	hi, lo := bits.Mul64(n, uint64(time.Second))
	if hi >= uint64(d) {
		return 1<<64 - 1
	}
	rate, _ := bits.Div64(hi, lo, uint64(d))
	return rate
}

// outOfData is told that the program has nothing more to send while the congestion window has room:
// what is delivered until all this has been tells nothing of the path (tcp_rate_check_app_limited).
func (c *Conn) outOfData() {
	if f := c.flight; f != nil && f.lost == f.again && c.inFlight() < int(c.cc.cwnd) {
		f.rate.idle = max(f.rate.delivered+uint32(c.inFlight()), 1)
	}
}
