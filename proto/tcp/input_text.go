package tcp

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.4 seventh and eighth, §3.8.6.3, RFC 5681 §4.2.

// inputText is the seventh and eighth step: text goes to where it belongs in the receive
// buffer, in order or beyond a hole, and a FIN counts when all before it has come.
func (c *Conn) inputText(s *segment, now mono.Time) drop.Reason {
	if !c.state.receives() {
		// The peer has ended its side: this is a FIN again, or nonsense.
		c.ackNow()
		return drop.TCPAfterFIN
	}
	seq, p, fin := s.seq, s.payload, s.flags&wire.FIN != 0
	if c.unwanted() && s.end().After(c.rcv.nxt) && len(p) > 0 {
		// Nobody will read it: the peer hears of it now (RFC 2525 §2.17, MAY-1 of RFC 9293), by the reset of a connection that is
		// no more, as from Linux.
		c.t.stats.AbortOnData++
		c.t.reset(&c.key, s)
		c.end(unix.ECONNRESET, now)
		return drop.TCPAfterClose
	}
	if old := c.rcv.nxt.Sub(seq); old > 0 { // the front has come before
		c.twice(span{seq, c.rcv.nxt.Min(s.end())})
		old = min(old, len(p))
		p, seq = p[old:], seq.Add(old)
	}
	if c.finSeen && seq.Add(len(p)).After(c.rcv.fin) {
		c.ackNow()
		return drop.TCPAfterFIN
	}
	if room := c.rcv.adv.Sub(seq); len(p) > room { // the back does not fit
		p, fin = p[:max(room, 0)], false
		if len(p) == 0 {
			c.quickly(quickACKs)
			c.ackNow()
			return drop.TCPWindowClosed
		}
	}
	c.armIdle(now)
	if c.ecn&ecnOK != 0 {
		c.marks(s)
	}
	var reason drop.Reason
	if c.holes != nil {
		c.twice(c.holes.overlap(span{seq, seq.Add(len(p))}))
	}
	if seq == c.rcv.nxt {
		reason = c.inOrder(s, p, now)
	} else {
		c.sizeCame(s, len(p))
		reason = c.beyondHole(seq, p)
	}
	if fin && !c.finSeen && reason == drop.None {
		if c.rcv.fin = seq.Add(len(p)); c.rcv.fin.Before(c.holes.end(c.rcv.nxt)) {
			return drop.TCPAfterFIN // there was data beyond it already: one of both is a lie
		}
		c.finSeen = true
	}
	if c.finSeen && c.rcv.nxt == c.rcv.fin {
		c.peerFIN(now)
	}
	return reason
}

// unwanted says whether the program has closed the connection, or both of its directions (RFC 9293 §3.6.1, tcp_rcv_state_process).
func (c *Conn) unwanted() bool {
	return c.orphan || c.status.Has(statusReadShut) && (c.state == FinWait1 || c.state == FinWait2)
}

// inOrder takes text that begins at rcv.nxt, and what it makes contiguous.
func (c *Conn) inOrder(s *segment, p []byte, now mono.Time) drop.Reason {
	n := c.rx.WriteAt(c.rx.Tail(), p)
	if n == 0 && len(p) > 0 && c.holes == nil && c.rx.Reclaim() {
		n = c.rx.WriteAt(c.rx.Tail(), p) // the pool was exhausted, but not without what we held ourselves
	}
	nxt := c.rcv.nxt.Add(n)
	if c.holes != nil {
		nxt = c.holes.fill(nxt)
		if len(c.holes.spans) == 0 {
			c.dropHoles()
		}
		c.want |= wantACK // a hole was filled, or there is another one (RFC 5681 §4.2)
	}
	published := nxt.Sub(c.rcv.nxt)
	c.rcv.nxt = nxt
	c.t.progress = true
	if c.opt.Came != nil && published > 0 {
		c.opt.Came.Mark(c.rx.Tail()+uint64(published), int64(now))
	}
	c.rx.Publish(published)
	if published > 0 {
		c.t.wakes.Open(&c.Gate, ring.In)
	}
	if s.opt.TS && len(p) >= int(c.rcv.mss) {
		if rtt, ok := c.echoed(s.opt.TSEcr, now); ok {
			c.sampleReceive(rtt)
		}
	}
	c.tuneReceive(now)
	c.scheduleACK(s, len(p), now)
	if n < len(p) {
		return drop.TCPReceiveMemory
	}
	return drop.None
}

// beyondHole keeps text that came before what precedes it. It is acknowledged at once, so
// that the peer sees the hole (RFC 5681 §4.2, MUST of RFC 9293 §3.8.6.3).
func (c *Conn) beyondHole(seq wire.Seq, p []byte) drop.Reason {
	c.ackNow()
	if len(p) == 0 {
		return drop.None // a FIN alone
	}
	h := c.needHoles()
	if h.full() {
		return drop.TCPHolesFull
	}
	if pool := c.t.cfg.Pool; pool.Used() > pool.Limit()/8*7 {
		// It stays as long as the hole does. The last of the memory is for what arrives in order
		// (Linux: tcp_prune_ofo_queue).
		if len(h.spans) == 0 {
			c.dropHoles()
		}
		return drop.TCPReceiveMemory
	}
	n := c.rx.WriteAt(c.rxOffset(seq), p)
	if n > 0 {
		h.add(span{seq, seq.Add(n)})
		c.t.stats.OutOfOrder++
		c.needRare().outOfOrder++
	}
	if len(h.spans) == 0 {
		c.dropHoles()
	}
	if n < len(p) {
		return drop.TCPReceiveMemory
	}
	return drop.None
}

func (c *Conn) ackNow() {
	c.want |= wantACK
	c.t.ready(c)
}

// peerFIN is the eighth step: all that the peer had to say has come.
func (c *Conn) peerFIN(now mono.Time) {
	c.rcv.nxt = c.rcv.nxt.Add(1)
	c.dropHoles()
	c.status.Or(statusDone)
	c.rx.Seal()
	if c.state == Established {
		c.ackSoon(now)
	} else {
		c.ackNow()
	}
	ev := ring.In
	if c.tx.Sealed() {
		ev |= ring.Hup
	}
	c.t.wakes.Open(&c.Gate, ev)
	switch c.state {
	case Established:
		c.setState(CloseWait)
	case FinWait1: // ours is not acknowledged, or ourFIN had been here
		c.setState(Closing)
	case FinWait2:
		c.enterTimeWait(now)
	}
}
