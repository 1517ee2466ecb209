package tcp

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// The methods of this file up to Kick are the program's: they need no lock of the core, but one
// of the socket's for each direction. None of them may be under way or begin when
// Close or Abort is called.

// Read moves up to len(p) received bytes to the program. At n == 0 errno says why:
// 0 is the end of the stream (or p is empty), EAGAIN that nothing is there yet, ENOTCONN that the
// connection was never made, anything else how it ended, once.
//
// If tell is true, the program has opened a window that was nearly shut and the peer may be
// waiting for it: the caller has Kick called soon.
func (c *Conn) Read(p []byte) (n int, errno unix.Errno, tell bool) {
	for {
		if n = c.rx.Read(p[:c.toMark(len(p))]); n > 0 {
			return n, 0, c.reopened()
		}
		if len(p) == 0 {
			return 0, 0, false
		}
		errno, again := c.empty()
		if !again {
			return 0, errno, false
		}
	}
}

// ReadTo returns how many bytes of the stream the program has read: the offset that Options.Came knows.
func (c *Conn) ReadTo() uint64 { return c.rx.Head() }

// Peek copies up to len(p) received bytes, beginning skip bytes after the first unread one, and
// leaves them there (MSG_PEEK). Its results are those of Read.
func (c *Conn) Peek(p []byte, skip int) (n int, errno unix.Errno) {
	for {
		last := c.Readable(math.MaxInt) // no more comes; asked first
		unread, out := c.peekable()
		if n = c.rx.Peek(p[:max(0, min(len(p), unread-skip))], out+skip); n > 0 || len(p) == 0 {
			return n, 0
		}
		if again, errno := c.beyond(unread, last); !again {
			return 0, errno
		}
	}
}

// PeekLen is Peek of up to n bytes that nobody wants to see.
func (c *Conn) PeekLen(n, skip int) (int, unix.Errno) {
	for {
		last := c.Readable(math.MaxInt)
		unread, _ := c.peekable()
		if m := max(0, min(n, unread-skip)); m > 0 || n == 0 {
			return m, 0
		}
		if again, errno := c.beyond(unread, last); !again {
			return 0, errno
		}
	}
}

// beyond says why a Peek sees nothing beyond what it skips; again: it has to look once more. What is skipped is the
// last where no more comes before it is read.
func (c *Conn) beyond(unread int, last bool) (again bool, errno unix.Errno) {
	switch {
	case unread > 0 && last:
		return false, 0
	case unread > 0:
		return false, unix.EAGAIN
	}
	errno, again = c.empty()
	return again, errno
}

// Discard drops up to n received bytes unread (MSG_TRUNC). Its results are those of Read.
func (c *Conn) Discard(n int) (int, unix.Errno, bool) {
	for {
		if m := c.rx.Discard(c.toMark(n)); m > 0 {
			return m, 0, c.reopened()
		}
		errno, again := c.empty()
		if !again {
			return 0, errno, false
		}
	}
}

// empty says why nothing can be read; again is true when something has come meanwhile. The core
// publishes data before it seals, and an error before that.
func (c *Conn) empty() (errno unix.Errno, again bool) {
	ended := c.rx.Sealed()
	done := c.status.Has(statusDone)
	failed := c.soErr.Load() != 0
	if unread, _ := c.peekable(); unread > 0 {
		return 0, true
	}
	if done { // before an error (SOCK_DONE in tcp_recvmsg)
		return 0, false
	}
	if failed {
		if e := c.TakeError(); e != 0 {
			return e, false
		}
	}
	switch s := c.status.Load(); {
	case ended || s&statusReadShut != 0:
		return 0, false
	case s&statusClosed != 0:
		return unix.ENOTCONN, false
	}
	return unix.EAGAIN, false
}

// reopened says whether the core has to hear of what the program has read.
//
// A window that was advertised nearly shut can be offered wide open
// again, as in Linux, when it is at least twice what the peer thinks it is, and
// half of the buffer or two segments more.
func (c *Conn) reopened() bool {
	if c.status.Has(statusPushed) && c.rx.Len() == 0 {
		return true // the acknowledgement has waited for this
	}
	return c.wider()
}

// wider is reopened but for an acknowledgement that waits for the program to read. One that waits for its answer says it soon.
func (c *Conn) wider() bool {
	if c.status.Has(statusSoon) {
		return false
	}
	room := c.rx.Room()
	offered := int(c.edge.Load() - c.rx.Tail())
	return offered >= 0 && room >= 2*offered && room-offered >= c.news()
}

// news is how much wider a window is at least for the peer to be told of it for its own sake.
func (c *Conn) news() int { return min(c.rx.Limit()/2, 2*1460) }

// Buffered returns how many bytes can be read, to the mark if there is one (FIONREAD; tcp_inq of Linux).
func (c *Conn) Buffered() int {
	n := c.rx.Len()
	m := c.mark()
	if m != 0 && !c.status.Has(statusInline) && m.at() < c.rx.Head()+uint64(n) {
		n = int(m.at() - c.rx.Head())
	}
	return n - int(m.skip())
}

// Inq is what TCP_INQ tells with what was read: how many bytes are left, and one more when the peer's FIN has come, so that
// there is a reason to read on (tcp_inq_hint of Linux).
func (c *Conn) Inq() int {
	end := 0
	if c.rx.Sealed() { // before the length is read, which is final then
		end = 1
	}
	return c.rx.Len() + end
}

// Unacked returns how many bytes written have not been acknowledged (TIOCOUTQ).
func (c *Conn) Unacked() int { return c.tx.Len() }

// Hold says that what Write takes from now on may wait for more, at most corkMax (MSG_MORE).
func (c *Conn) Hold(on bool) {
	switch {
	case on:
		c.status.Or(statusMore)
	case c.status.Has(statusMore):
		c.status.Clear(statusMore)
	}
}

// Write takes as much of p as the send buffer has room for. At n == 0 errno says why:
// EAGAIN that there is no room or that the connection is still being made, EPIPE that it
// was shut down, anything else how it ended, once.
//
// If tell is true the core has to know: the caller has Kick called soon.
func (c *Conn) Write(p []byte) (n int, errno unix.Errno, tell bool) {
	if errno := c.mayWrite(); errno != 0 {
		return 0, errno, false
	}
	if len(p) == 0 {
		return 0, 0, false
	}
	for {
		n += c.tx.Write(p[n:min(len(p), n+c.unsentRoom())])
		if n == len(p) {
			return n, 0, true
		}
		if c.tx.Sealed() {
			if n == 0 {
				errno = c.broken()
			}
			return n, errno, true // the core may have been waiting for this Write to be over
		}
		starved := c.tx.Room() > 0 && c.unsentRoom() > 0
		if starved {
			c.status.Or(statusStarved)
		}
		if !c.noRoom() || starved {
			if n == 0 {
				errno = unix.EAGAIN
			}
			return n, errno, n > 0 || starved
		}
	}
}

// mayWrite says why nothing can be written, room or not.
func (c *Conn) mayWrite() unix.Errno {
	switch {
	case c.tx.Sealed():
		return c.broken()
	case !c.status.Has(statusConnected | statusFirst):
		return unix.EAGAIN
	case c.soErr.Load() != 0: // of a connection that goes on: see soft
		return c.TakeError()
	case c.status.Has(statusMuted):
		return unix.EPIPE
	}
	return 0
}

// Room returns how much Write would take, memory permitting: the program writes no more than that at once. Its errors
// are those of Write.
func (c *Conn) Room() (n int, errno unix.Errno) {
	if errno := c.mayWrite(); errno != 0 {
		return 0, errno
	}
	if n = min(c.tx.Room(), c.unsentRoom()); n > 0 || c.noRoom() {
		n = min(c.tx.Room(), c.unsentRoom())
	}
	if n == 0 {
		errno = unix.EAGAIN
	}
	return n, errno
}

// noRoom notes that the program wants to hear of room, and says whether there is some after all. The
// core makes room first and looks at the note after it, so one of both sees the other.
func (c *Conn) noRoom() (after bool) {
	c.status.Or(statusOutOfRoom)
	return c.writable()
}

// broken returns why nothing can be written any more.
func (c *Conn) broken() unix.Errno {
	if e := c.TakeError(); e != 0 {
		return e
	}
	return unix.EPIPE
}

// TakeError returns the pending error and clears it (SO_ERROR).
func (c *Conn) TakeError() unix.Errno { return unix.Errno(c.soErr.Swap(0)) }

// Connected says whether the connection has been made, even if it has ended since.
func (c *Conn) Connected() bool { return c.status.Has(statusConnected) }

// Ended says whether the connection is over: CLOSED, or in TIME-WAIT.
func (c *Conn) Ended() bool { return c.status.Has(statusClosed) }

// Readiness returns which calls would not wait: a pending error is told to a reader and a writer alike.
func (c *Conn) Readiness() (ev ring.Events) {
	s := c.status.Load()
	if c.soErr.Load() != 0 {
		ev |= ring.Err | ring.In | ring.Out
	}
	rxEnd := c.rx.Sealed() || s&statusReadShut != 0
	txEnd := c.tx.Sealed() || s&statusMuted != 0 && s&statusConnected != 0 // until then it is connect that waits
	if unread, _ := c.peekable(); rxEnd || unread > 0 {
		ev |= ring.In
	}
	if c.mark().state() == markValid {
		ev |= ring.Pri
	}
	if s&statusClosed != 0 || rxEnd && txEnd {
		ev |= ring.Hup | ring.In | ring.Out
	}
	if txEnd || s&(statusConnected|statusFirst) != 0 && (c.writable() || c.noRoom()) {
		ev |= ring.Out
	}
	return ev
}

// Polled returns what poll(2) says, as Linux has it (tcp_poll in net/ipv4/tcp.c): nothing is to be
// read or written while a connection is being made, and an error is neither.
func (c *Conn) Polled() (ev ring.Events) {
	s := c.status.Load()
	closed := s&statusClosed != 0
	rxEnd, txEnd := closed || c.rx.Sealed() || s&statusReadShut != 0, closed || c.tx.Sealed() || s&statusMuted != 0
	if c.soErr.Load() != 0 {
		ev |= ring.Err
	}
	if rxEnd {
		ev |= ring.In | ring.RdHup
	}
	if rxEnd && txEnd {
		ev |= ring.Hup
	}
	if !closed && s&statusConnected == 0 {
		return ev
	}
	if unread, _ := c.peekable(); unread > 0 {
		ev |= ring.In
	}
	if c.mark().state() == markValid {
		ev |= ring.Pri
	}
	if txEnd || c.writable() || c.noRoom() {
		ev |= ring.Out
	}
	return ev
}

// unsentRoom is how much may be written before TCP_NOTSENT_LOWAT says that it is enough: a segment at least, while
// less than that waits.
func (c *Conn) unsentRoom() int {
	most := c.unsentMost()
	if most == 0 {
		return math.MaxInt32
	}
	unsent := c.unsent()
	if unsent >= most {
		return 0
	}
	return int(max(most-unsent, 1460))
}

// unsentMost is TCP_NOTSENT_LOWAT, 0: none.
func (c *Conn) unsentMost() uint64 { return c.status.Load() >> statusUnsent }

// unsent is how many bytes written wait to be sent for the first time.
func (c *Conn) unsent() uint64 {
	sent := c.sentTo.Load() // first: it only grows towards tail
	return c.tx.Tail() - sent
}

// Readable says whether a program that wants to read least bytes at once need not wait: they are there, or no more
// will come, or no more can come since the window is shut (tcp_epollin_ready of Linux).
func (c *Conn) Readable(least int) bool {
	n := c.rx.Len()
	return n >= least || c.rx.Sealed() || c.soErr.Load() != 0 || c.status.Has(statusReadShut|statusClosed) ||
		n > 0 && int64(c.edge.Load()-c.rx.Tail()) <= 1460
}

// writable is sk_stream_is_writeable: a third of the buffer is free, and less than half waits of what may.
func (c *Conn) writable() bool {
	if most := c.unsentMost(); most != 0 && 2*c.unsent() >= most {
		return false
	}
	return c.tx.Room() >= c.tx.Len()/2 && c.tx.Room() > 0
}

// Kick lets the core see what the program has done since: written, read a full
// buffer empty. It is called with the core's lock held, like everything below.
func (c *Conn) Kick(now mono.Time) {
	if c.state == Closed {
		return
	}
	if c.state.receives() && int(c.window())-max(0, c.rcv.adv.Sub(c.rcv.nxt)) >= c.news() && c.wider() {
		c.want |= wantACK
	}
	c.firstWrite(now)
	c.drained()
	if c.status.Has(statusStarved) {
		c.status.Clear(statusStarved)
		c.arm(timerMemory, now.Add(memoryRetry))
	}
	if (c.opt.Cork || c.status.Has(statusMore)) && c.due[timerCork] == mono.Never {
		c.arm(timerCork, now.Add(corkMax))
	}
	c.armIdle(now)
	c.t.ready(c)
}

// writeSpace opens the gate for writers that found no room.
func (c *Conn) writeSpace() {
	if c.status.Has(statusOutOfRoom) && c.writable() {
		c.status.Clear(statusOutOfRoom)
		c.t.wakes.Open(&c.Gate, ring.Out)
	}
}

// Unsent returns how many bytes written have never been sent (SIOCOUTQNSD). Our FIN, which follows them, is none.
func (c *Conn) Unsent() int { return max(int(int64(c.tx.Tail()-c.txOffset(c.snd.nxt))), 0) }
