package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 8985 §7.

// A probe of the tail (TLP) asks for the acknowledgement of what was sent last, long before the
// retransmission timer would: new data if there is any, else the last segment again.
type probe uint8

const (
	probeNone probe = iota
	probeNew        // new data, acknowledged like any
	probeCopy       // the last segment again, which may have repaired its loss
)

// armProbe is TLP_calc_PTO (§7.2): two round trips after the last segment, and if there is but one of them
// as long as the peer may wait for a second one. The timeout comes first if it is earlier.
//
// There is none while something is known to be missing, for then RACK has a timer of its own, nor while the
// last probe has no answer.
func (c *Conn) armProbe(now mono.Time) {
	f := c.flight
	f.probeAt = mono.Never
	if !c.sackOK || f.phase >= phaseRecovery || f.sacked > 0 || c.probe != probeNone {
		return
	}
	wait := rtoInitial
	if c.rtt.smooth > 0 {
		wait = 2*c.rtt.smooth + probeMin
		if c.snd.nxt.Sub(c.snd.una) <= c.sendMSS() {
			wait = 2*c.rtt.smooth + c.rtoMin() // the peer may delay the acknowledgement of a single segment (WCDelAckT)
		}
	}
	f.probeAt = min(now.Add(wait), f.rtoAt)
}

// outputProbe is TLP_send_probe (§7.3). It goes out whatever the congestion window says.
func (c *Conn) outputProbe(buf []byte, now mono.Time) int {
	f := c.flight
	if f == nil || f.phase >= phaseRecovery || f.sacked > 0 || c.probe != probeNone {
		c.want &^= wantTail
		return 0
	}
	kind := probeNew
	n := c.outputNew(buf, now)
	c.want &^= wantTail
	if n == 0 {
		kind = probeCopy
		n = c.outputTail(buf, now)
	}
	if n == 0 {
		return 0
	}
	c.t.stats.LossProbes++
	c.probe, c.probeEnd = kind, c.snd.nxt
	f.probeAt = mono.Never
	f.rtoAt = now.Add(c.rto())
	c.armFlight()
	return n
}

// outputTail sends the last segment again.
func (c *Conn) outputTail(buf []byte, now mono.Time) int {
	f := c.flight
	r := &f.runs[len(f.runs)-1]
	if r.end.After(c.snd.una.Add(int(c.snd.wnd))) && !(c.finSent && r.end == c.snd.nxt) {
		return 0 // the peer took its window back
	}
	header := c.headerLen()
	most := c.segmentMax(header, buf)
	n := r.len() % most
	if n == 0 {
		n = most
	}
	c.needRepair()
	f.resendTail(n, now)
	c.sentAgain(span{c.snd.nxt.Add(-n), c.snd.nxt}, now)
	return c.putData(buf, c.snd.nxt.Add(-n), n, header, now)
}

// probeAnswered is TLP_process_ack (§7.4): a loss that the probe has repaired is a sign of congestion like any
// other, and one that was none shows by the duplicate.
func (c *Conn) probeAnswered(s *segment, d *delivery, duplicate bool) {
	if c.probe == probeNone || s.ack.Before(c.probeEnd) {
		return
	}
	switch {
	case c.probe == probeNew, d.dsack && d.dsackEnd == c.probeEnd:
	case s.ack.After(c.probeEnd):
		c.cc.lost(c.sendMSS())
		c.cc.recovered()
		c.tellReduced()
		c.t.stats.LossProbeRecoveries++
	case duplicate && d.sacked == 0: // both have arrived
	default:
		return
	}
	c.probe = probeNone
}

// probeMin is TCP_TIMEOUT_MIN: two ticks of a clock of a thousand a second.
const probeMin = 2 * time.Millisecond
