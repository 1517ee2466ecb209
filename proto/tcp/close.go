package tcp

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.6, §3.10.4, §3.10.5, RFC 2525 §2.17, shutdown(2).

// Shutdown ends one direction or both: how is unix.SHUT_RD, SHUT_WR or SHUT_RDWR. What was
// written still goes out, and a FIN after it. It fails with ENOTCONN where there is no
// connection (any more).
func (c *Conn) Shutdown(how int, now mono.Time) unix.Errno {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	switch c.state {
	case Closed, Listen:
		return unix.ENOTCONN
	case SynSent: // as Linux: nothing is left to wait for
		c.end(0, now)
		return 0
	}
	if how != unix.SHUT_WR {
		c.status.Or(statusReadShut)
		c.t.wakes.Open(&c.Gate, ring.Change)
	}
	if how != unix.SHUT_RD {
		c.endSend()
	}
	return 0
}

// ShutBefore is for a connection of a socket that was shut down before it had one: it reads nothing that it would have to wait
// for, or writes nothing, or both, and the peer hears of that no more than Linux tells it (sk_shutdown, which connect leaves).
// The core's first segment for it has not come in yet.
func (c *Conn) ShutBefore(read, write bool) {
	if read {
		c.status.Or(statusReadShut)
	}
	if write {
		c.status.Or(statusMuted)
	}
}

// endSend is the CLOSE call of §3.10.4: no more SENDs; a FIN follows what is queued.
func (c *Conn) endSend() {
	if c.tx.Sealed() {
		return
	}
	c.tx.Seal()
	switch c.state {
	case Established:
		c.setState(FinWait1)
	case CloseWait:
		c.setState(LastAck)
	case SynReceived: // the state changes when the connection is made, and then the FIN goes
	}
	c.t.wakes.Open(&c.Gate, ring.Change)
	c.t.ready(c)
}

// Close gives the connection up: the program does not use c any more. What was
// written still goes out, then a FIN, and the connection lives on by itself until its
// last state has ended. If the program left data unread the peer is told by a reset
// instead (RFC 2525 §2.17), as it would wrongly think that all had arrived.
func (c *Conn) Close(now mono.Time) {
	if c.orphan {
		return
	}
	c.orphan = true
	c.status.Or(statusReadShut)
	switch {
	case c.state == Closed:
		c.arm(timerFree, now+1)
		return
	case c.state == SynSent || c.state == SynReceived && c.passive && c.tfo&fastTaken == 0:
		c.end(0, now)
		return
	case c.unread() > 0:
		c.t.stats.AbortOnData++
		c.abort(0, now)
		return
	}
	if c.t.orphans >= c.t.params.MaxOrphans {
		c.t.stats.AbortOnMemory++
		c.abort(0, now)
		return
	}
	c.counted = asOrphan
	c.t.orphans++
	c.endSend()
	if c.state == FinWait2 {
		if c.opt.Linger2 < 0 {
			c.abort(0, now)
		} else {
			c.armFinWait2(now)
		}
		return
	}
	c.t.ready(c)
}

// Abort ends the connection at once by a reset (§3.10.5; SO_LINGER with 0 seconds), or without one if the peer has ended its
// side and all that was written has gone out, the FIN too. The program does not use c any more.
func (c *Conn) Abort(now mono.Time) {
	c.orphan = true
	switch {
	case c.state == Closed:
		c.arm(timerFree, now+1)
	case (c.state == Closing || c.state == LastAck) && c.finSent && c.unread() == 0:
		c.end(0, now)
	default:
		c.abort(0, now)
	}
}

// abort resets the connection where the peer knows of it, and ends it.
func (c *Conn) abort(errno unix.Errno, now mono.Time) {
	if c.state >= SynReceived && c.state != TimeWait {
		c.t.resetConn(c, now)
	}
	c.end(errno, now)
}

// end makes a connection CLOSED: errno is what the program will hear, 0 nothing. What has
// arrived can still be read.
func (c *Conn) end(errno unix.Errno, now mono.Time) {
	if c.state == Closed {
		return
	}
	t := c.t
	if c.state < Established {
		t.stats.AttemptFails++
	}
	c.unlist()
	t.unready(c)
	t.table.remove(&c.key, ref(c.index+1))
	t.gone(c)
	t.disclaim(&c.key)
	if c.registered() {
		t.leave(&c.key, c.tenure())
	}
	c.finish(errno, now)
}

// finish is the part of the end that TIME-WAIT shares: the key stays in the table there.
func (c *Conn) finish(errno unix.Errno, now mono.Time) {
	t := c.t
	t.unready(c)
	switch c.counted {
	case asOrphan:
		t.orphans--
	case asLapsing:
		t.lapsing--
	}
	c.counted = 0
	c.fastEnded(now)
	c.setState(Closed)
	c.want = 0
	c.stopAll()
	c.dropFlight()
	c.dropRepair()
	c.dropHoles()
	if errno != 0 {
		c.soErr.Store(uint64(errno))
	}
	c.tx.Seal()
	c.rx.Seal()
	c.status.Or(statusClosed)
	if n := c.tx.Len(); n > 0 {
		c.tx.Release(n)
	}
	tx, rx := c.tx.Reclaim(), c.rx.Reclaim()
	ev := ring.Change
	if errno != 0 {
		ev = ring.In | ring.Out | ring.Hup | ring.Err
	}
	t.wakes.Open(&c.Gate, ev)
	switch {
	case c.orphan || !c.accepted && c.listener == nil:
		c.arm(timerFree, now+1)
	case !tx || !rx: // unread, or the program is inside
		c.armIdle(now)
	}
}

// finAcked says whether the peer has our FIN.
func (c *Conn) finAcked() bool { return c.finSent && c.snd.una == c.snd.nxt }

// rxOffset returns the place in the receive buffer of a sequence number that has
// not been received yet. Until the FIN, tail stands for rcv.nxt.
func (c *Conn) rxOffset(s wire.Seq) uint64 { return c.rx.Tail() + uint64(s.Sub(c.rcv.nxt)) }

// txOffset returns the place in the send buffer of a sequence number from snd.una
// on, once our SYN has been acknowledged. Head stands for snd.una.
func (c *Conn) txOffset(s wire.Seq) uint64 { return c.tx.Head() + uint64(s.Sub(c.snd.una)) }
