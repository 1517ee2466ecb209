package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 9293 §3.8.6, RFC 1122 §4.2.3.3, RFC 7323 §2.
//
//	   rcv.wup        rcv.nxt                    rcv.adv
//	      │ not yet acknowledged │  offered          │ may be offered by what the program has read
//	──────┴──────────────────────┴───────────────────┴──────────────────────────────►
//
// rcv.adv never moves back (SHLD-14): what was offered is accepted, even if
// the program has lowered its buffer since.

// window returns what can be offered from rcv.nxt on, in bytes: rcv.adv and beyond, but beyond it not
// by little (the receiver's side of silly-window avoidance, MUST-39).
func (c *Conn) window() uint32 {
	offered := max(0, c.rcv.adv.Sub(c.rcv.nxt))
	room := min(c.rx.Room(), windowMax<<c.rcv.scale)
	if room-offered < min(c.rx.Limit()/2, int(c.rcv.mss)) {
		room = offered
	}
	return uint32(room)
}

// advertise chooses the window of a segment that goes out, notes it, and returns it as it
// stands in the header. Scaling loses the low bits: a new edge is rounded down, an old one up.
func (c *Conn) advertise() uint16 {
	offered := uint32(max(0, c.rcv.adv.Sub(c.rcv.nxt)))
	unit := uint32(1) << c.rcv.scale
	wnd := c.window() &^ (unit - 1)
	if wnd < offered {
		wnd = (offered + unit - 1) &^ (unit - 1)
	}
	wnd = min(wnd, windowMax<<c.rcv.scale)
	c.offer(wnd)
	return uint16(wnd >> c.rcv.scale)
}

// advertiseSYN is advertise for a SYN, whose window is never scaled (RFC 7323 §2.2).
func (c *Conn) advertiseSYN() uint16 {
	wnd := uint32(min(c.rx.Room(), windowMax))
	c.offer(wnd)
	return uint16(wnd)
}

func (c *Conn) offer(wnd uint32) {
	if adv := c.rcv.nxt.Add(int(wnd)); adv.After(c.rcv.adv) {
		c.rcv.adv = adv
	}
	c.rcv.wup = c.rcv.nxt
	if !c.finSeen {
		c.edge.Store(c.rxOffset(c.rcv.adv))
	}
}

// tuneReceive lets the receive buffer follow the program ("dynamic right-sizing"):
// when it reads more in a round trip than half the buffer, the peer may be held back
// by the window, and the buffer becomes twice what was read. It is called when data has
// arrived.
func (c *Conn) tuneReceive(now mono.Time) {
	if !c.tsOK {
		c.timeWindow(now)
	}
	rtt := c.rxTune.rtt
	if !c.autoRx || c.t.params.NoTuning || rtt == 0 || now.Sub(c.rxTune.at) < rtt {
		return
	}
	head := c.rx.Head()
	copied := int(head - c.rxTune.head)
	c.rxTune.at, c.rxTune.head = now, head
	if limit := min(2*copied+16*int(c.rcv.mss), c.t.params.Rmem.Max); copied*2 > c.rx.Limit() && limit > c.rx.Limit() {
		c.rx.SetLimit(limit)
	}
}

// timeWindow takes the time in which a whole window arrives for a round trip, where no
// timestamps tell it: the peer cannot send more in one.
func (c *Conn) timeWindow(now mono.Time) {
	if c.rxTune.from != 0 && c.rcv.nxt.Before(c.rxTune.edge) {
		return
	}
	if c.rxTune.from != 0 {
		c.sampleReceive(now.Sub(c.rxTune.from))
	}
	c.rxTune.from, c.rxTune.edge = now, c.rcv.adv
}

// sampleReceive takes in a round trip as the receiver sees it: of a segment with data that echoes
// our timestamp. It is too long where the peer had nothing to send, so the least is kept for a while.
func (c *Conn) sampleReceive(rtt time.Duration) {
	rtt = max(rtt, time.Millisecond)
	if old := c.rxTune.rtt; old == 0 || rtt < old {
		c.rxTune.rtt = rtt
	} else {
		c.rxTune.rtt += (rtt - old) / 8
	}
}

// tuneSend lets the send buffer follow the congestion window: two of them, so that the
// next is there when one has been acknowledged.
func (c *Conn) tuneSend() {
	if want := min(2*int(c.cc.cwnd), c.t.params.Wmem.Max); c.autoTx && want > c.tx.Limit() {
		c.tx.SetLimit(want)
	}
}
