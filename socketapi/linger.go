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

// await ends the sending side and waits until the peer has acknowledged all of it, for at
// most d (SO_LINGER; Linux: sk_stream_wait_close). With data unread there is nothing
// to wait for: the close will reset the connection.
func (s *stream) await(d time.Duration) {
	errno := s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
		if conn.Buffered() > 0 {
			return unix.ECONNRESET
		}
		return conn.Shutdown(unix.SHUT_WR, now)
	})
	if errno != 0 {
		return
	}
	s.core.Wait(engine.NewWaiter(), &lingering{s: s, until: s.host.Clock().Now().Add(d)})
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
