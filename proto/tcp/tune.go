package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: tcp_rcv_space_adjust, tcp_rcvbuf_grow, tcp_rcv_rtt_update and tcp_sndbuf_expand of Linux; Fisk and Feng,
// "Dynamic Right-Sizing in TCP" (2001).
//
// The buffers of a connection follow what the path and the program make of them, up to tcp_rmem and tcp_wmem: a fixed
// size would be too small for one path and a waste on another. They do not grow while the core's memory is short.

// tuneReceive lets the receive buffer follow the program: what it reads in a round trip it can read in the next one
// too, and a peer in slow start sends twice as much by then. It is called when data has arrived.
func (c *Conn) tuneReceive(now mono.Time) {
	if !c.tsOK {
		c.timeWindow(now)
	}
	u := &c.rxTune
	if u.rtt == 0 || now.Sub(u.at) < c.receiveRTT() {
		return
	}
	head := uint32(c.rx.Head())
	copied, before := int(head-u.head), max(int(u.copied), 1)
	u.at, u.head = now, head
	if copied <= before || c.t.pressed() {
		return
	}
	u.copied = uint32(copied)
	if !c.autoRx || c.t.params.NoTuning {
		return
	}
	want := 2 * copied
	want += min(2*(want*(copied-before)/before), c.t.params.Rmem.Max) // it grows, so there is more to come
	want += c.holes.end(c.rcv.nxt).Sub(c.rcv.nxt)
	if want = min(want, c.t.params.Rmem.Max); want > c.rx.Limit() {
		c.rx.SetLimit(want)
	}
}

// timeWindow takes the time in which a whole window arrives for a round trip, where no
// timestamps tell it: the peer cannot send more in one.
func (c *Conn) timeWindow(now mono.Time) {
	u := &c.rxTune
	if u.timing && c.rcv.nxt.Before(u.edge) {
		return
	}
	if u.timing {
		c.sampleReceive(time.Duration(tsClock(now)-u.from) * time.Millisecond)
	}
	u.from, u.edge, u.timing = tsClock(now), c.rcv.adv, true
}

// sampleReceive takes in a round trip as the receiver sees it: of a segment with data that echoes
// our timestamp. It is too long where the peer had nothing to send, so the least is kept for a while.
func (c *Conn) sampleReceive(rtt time.Duration) {
	rtt = min(max(rtt, time.Millisecond), echoMax)
	if old := c.receiveRTT(); old != 0 && rtt > old {
		rtt = old + (rtt-old)/8
	}
	c.rxTune.rtt = uint32(rtt / time.Microsecond)
}

// receiveRTT is the round trip as the receiver sees it, 0 if it is not known.
func (c *Conn) receiveRTT() time.Duration { return time.Duration(c.rxTune.rtt) * time.Microsecond }

// tuneSend lets the send buffer follow the congestion window: two of them, so that the
// next is there when one has been acknowledged.
func (c *Conn) tuneSend() {
	if want := min(2*int(c.cc.cwnd), c.t.params.Wmem.Max); c.autoTx && want > c.tx.Limit() && !c.t.pressed() {
		c.tx.SetLimit(want)
	}
}

// pressed says whether the core's buffers hold so much that they must not grow (tcp_mem): from its second number on,
// until they hold less than the first.
func (t *TCP) pressed() bool {
	used := t.cfg.Pool.Used() / pageSize
	switch m := &t.params.Mem; {
	case used >= m.Default:
		t.pressure = true
	case used < m.Min:
		t.pressure = false
	}
	return t.pressure
}

// pressedSegments is what window is offered at most, in segments, by a connection with a buffer that is half full while
// memory is short.
const pressedSegments = 4
