package socketapi

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Read first: socket(7) on SO_PEEK_OFF; sk_peek_offset_bwd in include/net/sock.h, __skb_try_recv_from_queue in net/core/datagram.c.

// peekOff is SO_PEEK_OFF: how far into what waits the next look (MSG_PEEK) sees. What is looked at moves it on, what is taken back. The
// zero value is a socket's whose looks begin at the beginning.
type peekOff struct{ next atomic.Int64 } // one more than the offset

// at is the offset, negative: none.
func (o *peekOff) at() int { return int(o.next.Load()) - 1 }

func (o *peekOff) set(off int) { o.next.Store(int64(off) + 1) }

// moved tells of a call that has looked at n bytes, or has taken them.
func (o *peekOff) moved(n int, looked bool) {
	off := o.at()
	switch {
	case off < 0:
	case looked:
		o.set(off + n)
	default:
		o.set(max(off-n, 0))
	}
}

// peekOffOf is that of a socket, nil if it has none.
func peekOffOf(s socket) *peekOff {
	switch s := s.(type) {
	case *tcpSocket:
		return &s.peekOff
	case *udpSocket:
		return &s.d.peekOff
	}
	return nil
}

func getPeekOff(s socket, v *value) unix.Errno {
	o := peekOffOf(s)
	if o == nil {
		return unix.EOPNOTSUPP
	}
	v.n = o.at()
	return 0
}

func setPeekOff(s socket, v *value) unix.Errno {
	o := peekOffOf(s)
	if o == nil {
		return unix.EOPNOTSUPP
	}
	o.set(v.n)
	return 0
}
