package socketapi

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// listener is a socket that waits for connections, on every core.
type listener struct {
	waiting
	ends   []*tcp.Listener // by core
	hold   *host.Hold
	gateOf ring.Gate
	queued ring.Word // connections that wait, on all cores

	next    int // the core to ask first; guarded by accepting
	taking  sync.Mutex
	closing atomic.Bool
}

// listen makes a listener of a port that is held, and stays the caller's.
func listen(h *host.Host, hold *host.Hold, backlog int, opt tcp.Options) (_ *listener, errno unix.Errno) {
	if errno := h.SocketOpened(); errno != 0 {
		return nil, errno
	}
	defer func() {
		if errno != 0 {
			h.SocketAbandoned()
		}
	}()
	if errno := h.Ports.Listen(hold); errno != 0 {
		return nil, errno
	}
	l := &listener{hold: hold}
	l.host, l.of, l.gate = h, l, &l.gateOf
	l.gateOf.Init(&l.who)
	cores := h.Cores()
	if len(cores) == 1 {
		l.core = cores[0]
	}
	for _, c := range cores {
		c.Lock()
		end, errno := c.Stack.TCP.Listen(hold.Local, tcp.ListenConfig{
			Backlog: backlog, Options: opt, Gate: &l.gateOf, Queued: &l.queued, Only6: hold.Only6,
		})
		c.Unlock()
		if errno != 0 {
			l.closeEnds()
			h.Ports.Unlisten(hold)
			return nil, errno
		}
		l.ends = append(l.ends, end)
	}
	return l, 0
}

// accept returns the next connection.
func (l *listener) accept(flags int, until mono.Time) (*stream, unix.Errno) {
	if errno := l.begin(); errno != 0 {
		return nil, errno
	}
	defer l.leave()
	if l.read.passed(l.host.Clock()) {
		return nil, unix.EAGAIN
	}
	for {
		if s, errno := l.take(); s != nil || errno != 0 {
			return s, errno
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return nil, l.again(unix.EAGAIN)
		}
		if errno := l.wait(ring.In, need{}, &l.read, until); errno != 0 {
			return nil, errno
		}
	}
}

// take takes a connection of a core that has one, nil if none has.
func (l *listener) take() (*stream, unix.Errno) {
	if l.queued.Load() == 0 {
		return nil, 0
	}
	if errno := l.host.SocketOpened(); errno != 0 {
		return nil, errno
	}
	l.taking.Lock()
	defer l.taking.Unlock()
	for range l.ends {
		i := l.next
		if l.next++; l.next == len(l.ends) {
			l.next = 0
		}
		c := l.host.Cores()[i]
		c.Lock()
		conn := l.ends[i].Accept()
		if conn != nil {
			s := newStream(l.host, c, conn)
			c.Unlock()
			c.Owe()
			return s, 0
		}
		c.Unlock()
	}
	l.host.SocketClosed()
	return nil, 0
}

func (l *listener) ready(need) ring.Events {
	if l.queued.Load() > 0 {
		return ring.In
	}
	return 0
}

// close stops listening; calls under way fail with errno. Connections that nobody accepted
// are reset. The port stays the caller's. A second close is EBADF.
func (l *listener) close(errno unix.Errno) unix.Errno {
	if l.closing.Swap(true) {
		return unix.EBADF
	}
	l.end(errno)
	l.seal()
	l.closeEnds()
	l.host.Ports.Unlisten(l.hold)
	l.host.SocketClosed()
	return 0
}

// change sets what connections begin with, and how many may wait.
func (l *listener) change(backlog int, opt tcp.Options) {
	for i, end := range l.ends {
		c := l.host.Cores()[i]
		c.Lock()
		end.SetBacklog(backlog)
		end.SetOptions(opt)
		c.Unlock()
	}
}

func (l *listener) closeEnds() {
	for i, end := range l.ends {
		c := l.host.Cores()[i]
		c.Lock()
		end.Close(c.Now())
		c.Flush()
		c.Unlock()
	}
}
