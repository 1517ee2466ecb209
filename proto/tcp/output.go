package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.8.6.2 (silly windows), §3.7.4 (Nagle), RFC 6675 §5.

// output decides what to say next and writes it into buf: first what the peer lacks, then
// what it has not heard yet, then what it must be asked or told. 0 is nothing.
func (c *Conn) output(buf []byte, now mono.Time) int {
	switch c.state {
	case Closed, Listen, TimeWait:
		return 0
	case SynSent, SynReceived:
		if c.want&wantSYN != 0 {
			return c.putSYN(buf, now)
		}
		if c.state == SynReceived && c.want&wantACK != 0 {
			return c.putACK(buf, now)
		}
		if c.tfo&fastPending != 0 {
			return c.outputData(buf, now)
		}
		return 0
	}
	if c.state.sends() {
		if n := c.outputData(buf, now); n > 0 {
			return n
		}
	}
	if c.want&wantUrgent != 0 {
		// A peer with its window closed does not look at what comes before it, as the other probe does.
		c.want &^= wantUrgent
		return c.put(buf, c.snd.una, wire.ACK, c.headerLen(), 0, now)
	}
	if c.want&wantProbe != 0 {
		c.want &^= wantProbe
		// Nothing of a number that the peer has: it answers with what it expects and its window.
		return c.put(buf, c.snd.una.Add(-1), wire.ACK, c.headerLen(), 0, now)
	}
	if c.want&wantACK != 0 {
		return c.putACK(buf, now)
	}
	return 0
}

// silent says whether it is plain that c has nothing more to say until something happens, as is so of most
// after each segment: output need not be asked for the 0.
func (c *Conn) silent() bool {
	if c.want != 0 || c.tx.Sealed() || c.txOffset(c.snd.nxt) != c.tx.Tail() {
		return false
	}
	f := c.flight
	return f == nil || f.lost == f.again && f.frto != frtoNew
}

// outputData sends what is lost, then what is new; in the second step of F-RTO it is the other way round.
func (c *Conn) outputData(buf []byte, now mono.Time) int {
	if c.paced(now) {
		c.cwndLimited = false
		return 0
	}
	f := c.flight
	if c.want&wantTail != 0 {
		if n := c.outputProbe(buf, now); n > 0 {
			return n
		}
	}
	if f == nil || f.frto != frtoNew {
		if n := c.outputLost(buf, now); n > 0 {
			return n
		}
		return c.outputNew(buf, now)
	}
	if n := c.outputNew(buf, now); n > 0 {
		return n
	}
	if c.snd.nxt.After(f.recover) {
		return 0
	}
	f.frto = frtoOff // RFC 5682 §3.1 step 2.a: there is nothing new to find out with
	return c.outputLost(buf, now)
}

func (c *Conn) putACK(buf []byte, now mono.Time) int {
	return c.put(buf, c.snd.nxt, wire.ACK, c.headerLen(), 0, now)
}

// segmentMax is the most payload that a segment with a header of that length has: the
// MSS less the options that are there (RFC 9293 §3.7.1), if buf has the room.
func (c *Conn) segmentMax(header int, buf []byte) int {
	return min(int(c.snd.mss)-(header-wire.TCPLen), len(buf)-header)
}

// outputLost sends the first piece of data that is held for lost.
func (c *Conn) outputLost(buf []byte, now mono.Time) int {
	f := c.flight
	if f == nil || f.lost == f.again {
		return 0
	}
	r := f.nextLost()
	if r == nil {
		return 0
	}
	header := c.headerLen()
	n := min(r.end.Sub(r.start), c.segmentMax(header, buf))
	if n <= 0 || c.want&wantForce == 0 && c.inFlight()+n > int(c.cc.cwnd) {
		return 0
	}
	if end := c.snd.una.Add(int(c.snd.wnd)); r.start.Add(n).After(end) && r.start != c.snd.una {
		return 0 // the peer took its window back; only the first piece asks for it again
	}
	c.want &^= wantForce
	start := r.start
	f.resend(n, now)
	f.prrOut += n
	c.sentAgain(span{start, start.Add(n)}, now)
	if start == c.snd.una {
		f.rtoAt = now.Add(c.rto())
		c.armFlight()
	}
	return c.putData(buf, start, n, header, now)
}

// putData writes a segment of n sequence numbers from start on, the last of which may
// be the FIN's.
func (c *Conn) putData(buf []byte, start wire.Seq, n, header int, now mono.Time) int {
	flags := wire.ACK
	if c.finSent && start.Add(n) == c.snd.nxt {
		flags |= wire.FIN
		n--
	}
	if tr := c.t.train; tr != nil && tr.Segment != 0 {
		return c.putTrain(buf, start, n, header, flags, now)
	}
	off := c.txOffset(start)
	n = c.tx.CopyAt(off, buf[header:header+n])
	if n > 0 && off+uint64(n) == c.tx.Tail() {
		flags |= wire.PSH // the end of what was written so far (RFC 9293 §3.9.1.2)
	}
	c.tally.dataOut++
	c.pace(header+n, now)
	return c.put(buf, start, flags, header, n, now)
}

// outputNew sends data or a FIN for the first time.
func (c *Conn) outputNew(buf []byte, now mono.Time) int {
	if c.finSent {
		return 0
	}
	settled := c.tx.Settled() // before the tail is read, which is final then
	unsent := int(c.tx.Tail() - c.txOffset(c.snd.nxt))
	if unsent == 0 && !settled {
		c.cwndLimited = false
		c.outOfData()
		if c.flight != nil && c.status.Has(statusOutOfRoom) {
			c.limitedBy(limitBuffer, now)
		}
		return 0
	}
	header := c.headerLen()
	mss := c.segmentMax(header, buf)
	n := c.allowed(unsent, mss, settled)
	if n == mss && c.searching() {
		n = max(n, c.probeSize(unsent, header, buf, now))
	}
	if tr := c.t.train; tr != nil {
		n = c.couple(tr, n, unsent, mss, settled, now)
	}
	fin := settled && n == unsent && c.windowLeft() > n
	if n <= 0 && !fin {
		if c.windowLeft() < max(1, min(unsent, mss)) {
			c.limitedBy(limitPeer, now)
			if c.snd.nxt == c.snd.una {
				c.armPersist(now)
			}
		}
		return 0
	}
	c.want &^= wantForce
	numbers := n
	if fin {
		numbers++
		c.finSent = true
	}
	start := c.snd.nxt
	c.beforeSend(n, now)
	c.limitedBy(limitPath, now)
	c.fly(start, numbers, now)
	c.flight.prrOut += numbers
	c.snd.nxt = start.Add(numbers)
	if c.unsentMost() != 0 {
		c.noteSent()
		c.writeSpace()
	}
	if n < mss || n%mss != 0 && !c.searching() {
		c.snd.small = c.snd.nxt
	}
	if c.persisting {
		c.persisting = false
		c.backoff = 0
		c.stuckSince = mono.Never
	}
	if f := c.flight; f.rtoAt == mono.Never {
		f.rtoAt = now.Add(c.rto())
	}
	c.armProbe(now)
	c.armFlight()
	if n > 0 && c.ecn&ecnOK != 0 {
		c.ecn |= ecnECT // retransmissions, probes, and what has no data go without (RFC 3168 §6.1.4-6)
	}
	return c.putData(buf, start, numbers, header, now)
}

// windowLeft is how much the peer takes beyond what was sent. It is negative where a window
// was taken back.
func (c *Conn) windowLeft() int { return c.snd.una.Add(int(c.snd.wnd)).Sub(c.snd.nxt) }

// allowed says how many of the unsent bytes may go out in one segment now.
func (c *Conn) allowed(unsent, mss int, settled bool) int {
	n := min(unsent, mss)
	c.cwndLimited = false
	if left := c.windowLeft(); left < n {
		// The sender's side of silly-window avoidance (MUST-38): less than a segment goes
		// only if it is half of what the peer ever offered, or when the override
		// timeout, which is that of the probes, has come.
		n = max(left, 0)
		if n < int(c.snd.maxWnd/2) && c.want&wantForce == 0 {
			return 0
		}
	} else if n < mss && !settled && c.held() && c.want&wantTail == 0 {
		return 0
	}
	if flying := c.inFlight(); flying > 0 && flying+n > int(c.cc.cwnd) && c.want&wantTail == 0 {
		c.cwndLimited = true
		return 0
	}
	return n
}

// held says whether a small segment waits for more: while a small one is on its
// way already (Nagle as Minshall modified it, as Linux does), or under a cork.
func (c *Conn) held() bool {
	if c.opt.Cork || c.status.Has(statusMore) {
		return c.due[timerCork] != mono.Never
	}
	return !c.opt.NoDelay && !c.urgentMode() && c.snd.small.After(c.snd.una)
}

// beforeSend notes that n bytes go out, or a FIN alone, which is no answer of the program's to what it has read.
func (c *Conn) beforeSend(n int, now mono.Time) {
	if c.flight == nil && c.lastSend != 0 {
		c.cc.rest(now)
		if idle, rto := now.Sub(c.lastSend), c.baseRTO(); idle > rto && !c.t.params.NoSlowStartIdle {
			c.cc.restart(idle, rto, c.sendMSS())
		}
	}
	if n > 0 && c.lastData != 0 && now.Sub(c.lastData) < c.ato() {
		c.pingpong = true
	}
	c.lastSend = now
}
