package tcp

import "github.com/xdpsock/xdpsock/proto/wire"

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
	room := min(c.rx.Room(), c.windowMost())
	if room < c.rx.Limit()/2 && c.t.pressed() {
		room = min(room, pressedSegments*int(c.rcv.mss)) // as tcp_adjust_rcv_ssthresh
	}
	if room-offered < min(c.rx.Limit()/2, int(c.rcv.mss)) {
		room = offered
	}
	return uint32(room)
}

// windowMost is the largest window that c may offer.
func (c *Conn) windowMost() int {
	most := windowMax << c.rcv.scale
	if clamp := c.opt.WindowClamp; clamp != 0 {
		most = min(most, clamp)
	}
	return most
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
	wnd := c.windowSYN()
	c.offer(wnd)
	return uint16(wnd)
}

// windowSYN is what a SYN offers: whole segments, as by Linux (tcp_select_initial_window).
func (c *Conn) windowSYN() uint32 {
	wnd, mss := min(c.rx.Room(), c.windowMost(), windowMax), int(c.advMSS())
	if c.passive && c.tsOK {
		mss -= wire.TCPTimestampsLen
	}
	return uint32(wholeSegments(wnd, mss))
}

// wholeSegments is a window less what no whole segment fills, if it holds one.
func wholeSegments(wnd, mss int) int {
	if wnd <= mss {
		return wnd
	}
	return wnd / mss * mss
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
