package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.8.6.3, RFC 5681 §4.2; tcp_event_data_recv, tcp_measure_rcv_mss, tcp_enter_quickack_mode,
// tcp_send_delayed_ack, __tcp_ack_snd_check and tcp_cleanup_rbuf of Linux.
//
// What arrives in order is acknowledged with the next data of ours, with every second full segment, when the program
// has read all there is and more cannot be expected, or when the delay is over. The delay follows the time between
// segments. A program that answers what it reads is in "pingpong": then only the first two and the last count. Where
// the peer may have a small window, since it begins, was silent or sends again what has come, the next few segments are
// acknowledged at once, each; where Piggyback says so, a moment later with what the program answers.

// sizeCame takes in the payload of a segment, n bytes: the delay ends with the second one of the largest size. One that is
// smaller may be full nevertheless, if it looks like that and is as long as the one before: the path has become narrower.
// pushed says that the segment ends a burst: it has PSH, or is smaller than a full one.
func (c *Conn) sizeCame(s *segment, n int) (pushed bool) {
	last, usual := c.lastSize, wire.TCPOptionsLen(c.tsOK, 0)
	c.lastSize = 0
	if n >= int(c.rcv.mss) {
		c.rcv.mss = uint16(min(n, int(c.advMSS())-usual))
		return s.flags&wire.PSH != 0
	}
	n += wire.TCPOptionsLen(c.tsOK, int(s.opt.SACKCount)) - usual // what blocks took from the payload
	if n+usual >= mssDefault4 || n >= mssMin && s.flags&(wire.PSH|wire.FIN|wire.URG) == 0 {
		if c.lastSize = uint16(n); c.lastSize == last {
			c.rcv.mss = last
			return false
		}
	}
	return true
}

// dataCame notes that data has come in order: what is waited for in vain grows, what comes often shrinks the delay.
func (c *Conn) dataCame(now mono.Time) {
	ato := c.ato()
	switch gap := now.Sub(c.lastData); {
	case c.lastData == 0:
		c.quick = min(c.quick, c.quickMost())
	case gap <= delayedACK/2:
		c.setATO(ato/2 + delayedACK/2)
	case gap < ato:
		c.setATO(min(ato/2+gap, c.rto()))
	case gap > c.rto(): // the peer has fallen silent and may begin with a small window
		c.quick = max(c.quick, min(quickACKs, c.quickMost()))
	}
	c.lastData = now
}

// quickMost is how many segments are acknowledged at once in a row at most: every second one that the window holds.
func (c *Conn) quickMost() uint8 {
	n := c.rcv.adv.Sub(c.rcv.wup) / (2 * int(c.rcv.mss))
	if n <= 0 {
		n = 2
	}
	return uint8(min(n, quickACKs))
}

// quickly has the next n segments acknowledged at once: the peer may not send more before it hears that they came.
func (c *Conn) quickly(n uint8) {
	c.quick, c.pingpong = max(c.quick, min(n, c.quickMost())), false
	c.setATO(delayedACK)
}

// acknowledged is told that an acknowledgement goes out, alone or with data, and ends what asked for one.
func (c *Conn) acknowledged() {
	waited := c.due[timerDelayedACK] != mono.Never
	if c.quick > 0 && (waited || c.want&wantACK != 0) {
		if c.quick--; c.quick == 0 {
			c.setATO(delayedACK)
		}
	}
	c.want &^= wantACK
	if c.status.Has(statusSoon) {
		c.status.Clear(statusSoon)
	}
	if waited {
		c.disarm(timerDelayedACK)
		c.status.Clear(statusPushed)
	}
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
// segment (MUST-58), where quickly says so, and where that is wanted anyway; else
// when delayACK says.
func (c *Conn) scheduleACK(s *segment, n int, now mono.Time) {
	pushed := false
	if n > 0 {
		pushed = c.sizeCame(s, n)
		c.dataCame(now)
	}
	if c.rcv.nxt.Sub(c.rcv.wup) > int(c.rcv.mss) || c.want&wantACK != 0 || n > 0 && c.status.Has(statusSoon) {
		c.ackNow()
		return
	}
	if c.quick > 0 && !c.pingpong {
		if pushed || n == 0 { // a request, most often, or a FIN alone
			c.ackSoon(now)
		} else {
			c.ackNow()
		}
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
	delay := c.delayACK()
	if c.due[timerDelayedACK] <= now.Add(delay/4) { // it would be over in a moment
		c.ackNow()
		return
	}
	c.arm(timerDelayedACK, min(now.Add(delay), c.due[timerDelayedACK]))
}

// ackSoon has an acknowledgement that would leave at once wait for Piggyback: the program that this turn wakes runs meanwhile, and
// what it answers, or that it closes, goes out in the same segment.
func (c *Conn) ackSoon(now mono.Time) {
	if c.t.params.Piggyback == 0 {
		c.ackNow()
		return
	}
	if !c.status.Has(statusSoon) {
		c.status.Or(statusSoon)
		c.t.soon = append(c.t.soon, soonACK{c.index, now.Add(c.t.params.Piggyback)})
	}
}

// A soonACK is an acknowledgement that waits.
type soonACK struct {
	index uint32 // of the connection, which may be another's by then
	due   mono.Time
}

// Advance acknowledges what has waited for the program's answer for long enough, and says how much that was.
func (t *TCP) Advance(now mono.Time) (work int) {
	if len(t.soon) == 0 { // most often: this much is part of each turn
		return 0
	}
	return t.acknowledge(now)
}

func (t *TCP) acknowledge(now mono.Time) (work int) {
	n := 0
	for ; n < len(t.soon) && t.soon[n].due.Due(now); n++ {
		if c := t.conn(t.soon[n].index); c.status.Has(statusSoon) { // it was not acknowledged with something else
			c.ackNow()
			work++
		}
	}
	if n > 0 {
		t.soon = t.soon[:copy(t.soon, t.soon[n:])]
	}
	return work
}

// Deadline is when Advance has something to do.
func (t *TCP) Deadline() mono.Time {
	if len(t.soon) == 0 {
		return mono.Never
	}
	return t.soon[0].due
}

// drained is told that the program has read everything.
func (c *Conn) drained() {
	if c.due[timerDelayedACK] != mono.Never && c.rx.Len() == 0 && !c.pingpong {
		c.ackNow()
	}
}
