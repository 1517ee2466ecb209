package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.8.6.3, RFC 5681 §4.2; tcp_event_data_recv, tcp_send_delayed_ack, __tcp_ack_snd_check and
// tcp_cleanup_rbuf of Linux.
//
// What arrives in order is acknowledged with the next data of ours, with every second full segment, when the program
// has read all there is and more cannot be expected, or when the delay is over. The delay follows the time between
// segments. A program that answers what it reads is in "pingpong": then only the first two and the last count.

// dataCame notes that data has come: what is waited for in vain grows, what comes often shrinks the delay.
func (c *Conn) dataCame(now mono.Time) {
	ato := c.ato()
	switch gap := now.Sub(c.lastData); {
	case c.lastData == 0:
	case gap <= delayedACK/2:
		c.setATO(ato/2 + delayedACK/2)
	case gap < ato:
		c.setATO(min(ato/2+gap, c.rto()))
	case gap > c.rto(): // the peer has fallen silent and may begin with a small window
		c.quick = max(c.quick, quickACKs)
	}
	c.lastData = now
}

func (c *Conn) ato() time.Duration     { return time.Duration(c.ackDelay) * time.Microsecond }
func (c *Conn) setATO(d time.Duration) { c.ackDelay = uint32(min(d, rtoInitial) / time.Microsecond) }

// delayACK returns how long an acknowledgement may wait now.
func (c *Conn) delayACK() time.Duration {
	ato := c.ato()
	if ato > delayedACK {
		most := delayedMost
		if c.pingpong || c.status.Has(statusPushed) {
			most = delayedMax
		}
		if c.rtt.smooth > 0 {
			most = min(most, max(c.rtt.smooth, delayedACK))
		}
		ato = min(ato, most)
	}
	return min(ato, orDefault(c.opt.DelayMax, delayedMax))
}

// missed is told that the program had nothing to send with an acknowledgement until it could not wait any more.
func (c *Conn) missed() {
	if c.pingpong {
		c.pingpong = false
		c.setATO(delayedACK)
	} else {
		c.setATO(min(2*c.ato(), c.rto()))
	}
}

// scheduleACK decides when n bytes in order are acknowledged: at once for every second full
// segment (MUST-58), at the beginning of a connection, and where that is wanted anyway; else
// when delayACK says.
func (c *Conn) scheduleACK(s *segment, n int, now mono.Time) {
	pushed := s.flags&wire.PSH != 0 || n < int(c.rcv.mss)
	c.rcv.mss = uint16(min(max(int(c.rcv.mss), n), int(c.snd.mss)))
	due := c.rcv.nxt.Sub(c.rcv.wup) > int(c.rcv.mss) || c.quick > 0 && !c.pingpong
	if due || c.want&wantACK != 0 {
		c.ackNow()
		return
	}
	if pushed && !c.pingpong {
		c.status.Or(statusPushed)
		if c.rx.Len() == 0 { // the program was faster
			c.status.Clear(statusPushed)
			c.ackNow()
			return
		}
	}
	at := now.Add(c.delayACK())
	c.arm(timerDelayedACK, min(at, c.due[timerDelayedACK]))
}

// drained is told that the program has read everything.
func (c *Conn) drained() {
	if c.due[timerDelayedACK] != mono.Never && c.rx.Len() == 0 && !c.pingpong {
		c.ackNow()
	}
}
