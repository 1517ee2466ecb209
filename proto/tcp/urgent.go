package tcp

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.8.5, RFC 6093 §2-4; tcp_check_urg, tcp_urg and tcp_recv_urg in net/ipv4, sockatmark(3).
//
// Urgent data is one byte of the stream, which the urgent pointer is just behind (RFC 6093 §2: that is what
// everybody means, though RFC 1122 says that it is at the byte; tcp_stdurg). That place is the mark: a read
// stops before it, and the byte is not read with the others but by itself, unless the program wants it inline. A later mark takes the
// place of one that was not read, whose byte is then one like any other.

// A mark is what Conn.urg holds, 0: there is none. The core sets one, before the data in which it stands is
// published; the program takes it away when it has read beyond it.
type mark uint64

const (
	markAwaited mark = 1 + iota // announced; its byte has not come (TCP_URG_NOTYET)
	markValid                   // the byte is there
	markRead                    // the program has read it
	markState   mark = 3

	// markSkip counts the bytes where the program is that belong to older marks which it had come to, one after the other, and
	// are not for it to read. What would be one too many is a byte like any other.
	markSkip  mark = 1 << 2
	markSkips mark = 15 * markSkip

	markByte = 6  // where the byte stands
	markAt   = 14 // where the offset in the receive buffer stands: enough of it for 1 PB
)

func (m mark) at() uint64 { return uint64(m >> markAt) }

func (m mark) state() mark { return m & markState }

// skip is how many bytes where the program is are not for it to read.
func (m mark) skip() uint64 { return uint64(m & markSkips / markSkip) }

func (c *Conn) swapMark(old, to mark) bool { return c.urg.CompareAndSwap(uint64(old), uint64(to)) }

// inputUrgent is the sixth step of §3.10.7.4. The mark may be in later segments than the one that announces it.
func (c *Conn) inputUrgent(s *segment) {
	if s.flags&wire.URG != 0 {
		c.announced(s)
	}
	if !c.urgPending {
		return
	}
	for {
		m := mark(c.urg.Load())
		i := int(m.at() - c.rxOffset(s.seq))
		if i < 0 || i >= len(s.payload) {
			return
		}
		if m.state() != markAwaited || c.swapMark(m, m&^markState|markValid|mark(s.payload[i])<<markByte) {
			c.urgPending = false
			c.t.wakes.Open(&c.Gate, ring.In|ring.Pri)
			return
		}
	}
}

// announced takes in an urgent pointer. Only one beyond what has arrived tells something new.
func (c *Conn) announced(s *segment) {
	n := int(s.urgent)
	if n > 0 && !c.t.params.StdURG {
		n--
	}
	at := s.seq.Add(n)
	if at.Before(c.rcv.nxt) || c.finSeen {
		return
	}
	off := c.rxOffset(at)
	for {
		old := mark(c.urg.Load())
		if old != 0 && off <= old.at() {
			return
		}
		m := mark(off)<<markAt | markAwaited | old&markSkips
		if old != 0 && old.at() == c.rx.Head()+old.skip() && old.at() < c.rx.Tail() && old&markSkips != markSkips && !c.status.Has(statusInline) {
			m += markSkip
		}
		if c.swapMark(old, m) {
			c.urgPending = true
			c.t.wakes.Open(&c.Gate, ring.Pri) // SIGURG is now
			return
		}
	}
}

// mark returns the mark that the program has before it or is at, 0 if there is none.
func (c *Conn) mark() mark {
	for {
		switch m := mark(c.urg.Load()); {
		case m == 0 || m.at() >= c.rx.Head():
			return m
		case c.swapMark(m, 0):
			return 0
		}
	}
}

// Unread says whether the program has left something unread: then the end of the connection is a reset.
func (c *Conn) Unread() bool { return c.unread() > 0 }

// unread returns how many bytes have come that the program has not read, an urgent one included.
func (c *Conn) unread() int { return c.rx.Len() - int(c.mark().skip()) }

// AtMark says whether what is read next is at the mark (SIOCATMARK, sockatmark).
func (c *Conn) AtMark() bool {
	m := c.mark()
	return m != 0 && m.at() == c.rx.Head()+m.skip()
}

// Urgent returns the urgent byte (MSG_OOB), once unless it peeks. There is none without an errno at the end of the
// stream. EINVAL says that there is no mark, or that the byte is read or inline; ENOTCONN that it was lost by a reset; EAGAIN that it has not come yet.
func (c *Conn) Urgent(peek bool) (b byte, ok bool, errno unix.Errno) {
	if c.status.Has(statusInline) {
		return 0, false, unix.EINVAL
	}
	for {
		m := c.mark()
		switch ended := c.rx.Sealed() || c.status.Has(statusReadShut); {
		case m == 0 || m.state() == markRead:
			return 0, false, unix.EINVAL
		case c.status.Has(statusClosed) && !c.status.Has(statusDone): // it was reset (tcp_recv_urg)
			return 0, false, unix.ENOTCONN
		case m.state() == markValid:
			if peek || c.swapMark(m, m&^markState|markRead) {
				return byte(m >> markByte), true, 0
			}
		case ended:
			return 0, false, 0
		default:
			return 0, false, unix.EAGAIN
		}
	}
}

// toMark returns how many of n bytes a read may take. At the mark it leaves out the urgent byte.
func (c *Conn) toMark(n int) int {
	unread := c.rx.Len() // before the mark: so no mark is in what this counts and the mark does not
	if c.urg.Load() == 0 {
		return min(n, unread)
	}
	for {
		m := c.mark()
		at := int(m.at() - c.rx.Head())
		switch {
		case m == 0 || unread == 0:
			return min(n, unread)
		case m&markSkips != 0:
			if c.swapMark(m, m&^markSkips) {
				unread -= c.rx.Discard(int(m.skip()))
			}
		case at > 0:
			return min(n, unread, at)
		case c.status.Has(statusInline):
			return min(n, unread)
		case c.swapMark(m, 0):
			unread -= c.rx.Discard(1)
		}
	}
}

// peekable returns how many bytes can be read in one go, after so many that are left out before them.
func (c *Conn) peekable() (n, out int) {
	n = c.rx.Len()
	if c.urg.Load() == 0 || n == 0 {
		return n, 0
	}
	m := c.mark()
	at, out := int(m.at()-c.rx.Head()), int(m.skip())
	switch {
	case m == 0:
		return n, 0
	case at > out || n == out: // n: the urgent byte itself has not come
		return min(n, at) - out, out
	case c.status.Has(statusInline):
		return n - out, out
	}
	return n - out - 1, out + 1
}

// MarkUrgent makes the last byte that was written urgent (MSG_OOB). It is called with the core's lock held, since the byte was
// written.
func (c *Conn) MarkUrgent(now mono.Time) {
	if c.state.sends() && !c.finSent {
		c.snd.up = c.snd.una.Add(c.tx.Len())
		c.t.ready(c)
	}
}

// urgentMode says whether the peer has not acknowledged the urgent byte yet.
func (c *Conn) urgentMode() bool { return c.snd.up != c.snd.una }

// putUrgent has a segment announce the urgent byte.
func (c *Conn) putUrgent(f *wire.TCPFields) {
	switch n := c.snd.up.Sub(f.Seq); {
	case n < 1<<16:
		f.Urgent = uint16(n)
	case c.snd.nxt.Sub(f.Seq) < 1<<16: // it is beyond what the pointer can say, and this is the last segment yet
		f.Urgent = 1<<16 - 1
	default:
		return
	}
	f.Flags |= wire.URG
}
