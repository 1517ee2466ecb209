package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 9293 §3.6, tcp(7) on TCP_LINGER2, tcp_fin_timeout and tcp_max_tw_buckets in ip-sysctl.rst of Linux.

// finTime is how long a connection that its program has closed waits for the peer's FIN (Linux: tcp_fin_time).
func (c *Conn) finTime() time.Duration {
	return max(orDefault(c.opt.Linger2, c.t.params.FinTimeout), c.finFloor())
}

// finFloor is the least, in which a FIN that was lost twice comes again.
func (c *Conn) finFloor() time.Duration { return c.rto() * 7 / 2 }

// armFinWait2 begins that wait. As on Linux the connection is kept whole for as much of it as is beyond timeWait.
func (c *Conn) armFinWait2(now mono.Time) {
	if whole := c.finTime() - timeWait; whole > 0 {
		c.arm(timerRetransmit, now.Add(whole))
		return
	}
	c.lapse(c.finTime(), now)
}

// expireFinWait2 is the end of the wait, or of its part beyond timeWait. Then Linux waits for so much once more, so that 61 s are 2, and
// 120 are 120 (tcp_keepalive_timer).
func (c *Conn) expireFinWait2(now mono.Time) {
	more := c.finTime() - timeWait
	switch {
	case c.counted == asLapsing:
		c.end(0, now)
	case more > 0:
		c.lapse(max(more, c.finFloor()), now)
	default: // tcp_fin_timeout has been made shorter meanwhile
		c.abort(0, now)
	}
}

// lapse ends the connection when a while has passed, or at once where as many as may be wait for their end alone. Linux keeps no more
// of it from now on than of one in TIME-WAIT, counts it as one, and forgets whose it was.
func (c *Conn) lapse(d time.Duration, now mono.Time) {
	if c.t.tw.full() {
		c.end(0, now)
		return
	}
	held := c.tenure()
	c.counted = asLapsing
	c.t.orphans--
	c.t.lapsing++
	c.reregister(held)
	c.arm(timerRetransmit, now.Add(d))
}
