package socketapi

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// lingerLook is how often a close that waits looks whether all has arrived.
const lingerLook = time.Millisecond

// await ends both directions and waits until the peer has acknowledged all of what was written, for at
// most so many seconds (SO_LINGER; Linux: __tcp_close, sk_stream_wait_close), whatever O_NONBLOCK says; a negative number is without
// end. With data unread there is nothing to wait for: the close will reset the connection, and so does the
// peer with what it sends meanwhile.
func (s *stream) await(seconds int32) {
	errno := s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
		if conn.Unread() {
			return unix.ECONNRESET
		}
		return conn.Shutdown(unix.SHUT_RDWR, now)
	})
	if errno != 0 {
		return
	}
	until := mono.Never
	if seconds >= 0 {
		until = s.host.Clock().Now().Add(time.Duration(seconds) * time.Second)
	}
	s.core.Wait(engine.NewWaiter(), &lingering{s: s, until: until})
}

// lingering is over when a connection has nothing left on its way. Nobody calls its
// waiter: it looks again each millisecond.
type lingering struct {
	s     *stream
	until mono.Time
	next  mono.Time
}

func (l *lingering) Done(now mono.Time) bool {
	l.next = now.Add(lingerLook)
	if l.s.gone { // somebody else has closed it meanwhile
		return true
	}
	switch l.s.conn.State() {
	case tcp.FinWait1, tcp.Closing, tcp.LastAck:
		return l.until.Due(now)
	}
	return true
}

func (l *lingering) Deadline() mono.Time   { return min(l.next, l.until) }
func (l *lingering) Arm(*engine.Waiter)    {}
func (l *lingering) Disarm(*engine.Waiter) {}
