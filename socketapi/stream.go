package socketapi

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// stream is one TCP connection in a program's hands. It lives on one core.
type stream struct {
	waiting
	conn *tcp.Conn
	post host.Post // lets the core see what the program has done
	gone bool      // conn is no longer ours; guarded by the core's lock

	hold *host.Hold // the port of a connection that we opened; nil if a listener's

	reading, writing sync.Mutex // held for a copy, never for a wait
	closing          sync.Once

	local, remote netip.AddrPort
}

// newStream makes a stream of a connection that c's stack has just handed out. The
// core's lock is held.
func newStream(h *host.Host, c *host.Core, conn *tcp.Conn) *stream {
	s := &stream{conn: conn, local: conn.Local(), remote: conn.Remote()}
	s.host, s.core, s.of, s.gate = h, c, s, &conn.Gate
	conn.Gate.Init(&s.who)
	s.post.Do = func(now mono.Time) {
		if !s.gone {
			conn.Kick(now)
		}
	}
	return s
}

// dialAttempts is how many local ports are tried for one that does not still belong
// to a connection with the same peer.
const dialAttempts = 16

// dialStream begins a connection from local, whose address and port may be left to
// choose. hold is the port where local has one.
func dialStream(h *host.Host, local, remote netip.AddrPort, hold *host.Hold, opt tcp.Options) (*stream, unix.Errno) {
	if remote.Port() == 0 {
		return nil, unix.ECONNREFUSED
	}
	if remote.Addr().IsMulticast() || remote.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, unix.ENETUNREACH
	}
	if errno := h.SocketOpened(); errno != 0 {
		return nil, errno
	}
	for range dialAttempts {
		s, errno := tryDial(h, local, remote, hold, opt)
		if errno == unix.EADDRNOTAVAIL && hold == nil {
			continue
		}
		if errno != 0 {
			h.SocketClosed()
		}
		return s, errno
	}
	h.SocketClosed()
	return nil, unix.EADDRNOTAVAIL
}

func tryDial(h *host.Host, local, remote netip.AddrPort, hold *host.Hold, opt tcp.Options) (s *stream, errno unix.Errno) {
	own := hold == nil
	if own {
		hold = &host.Hold{Protocol: wire.ProtoTCP, Local: local}
		if errno := h.Ports.Take(hold); errno != 0 {
			return nil, errno
		}
		defer func() {
			if errno != 0 {
				h.Ports.Drop(hold)
			}
		}()
	}
	c := h.Choose(remote)
	c.Lock()
	defer c.Unlock()
	now := c.Now()
	from := netip.AddrPortFrom(local.Addr(), hold.Local.Port())
	if !from.Addr().IsValid() || from.Addr().IsUnspecified() {
		src, errno := c.Stack.Source(remote.Addr(), now)
		if errno != 0 {
			return nil, errno
		}
		from = netip.AddrPortFrom(src, from.Port())
	}
	conn, errno := c.Stack.TCP.Connect(from, remote, opt, now)
	if errno != 0 {
		return nil, errno
	}
	s = newStream(h, c, conn)
	s.hold = hold
	c.Flush()
	return s, 0
}

// connected waits until the connection is made, and says why it was not.
func (s *stream) connected(flags int) unix.Errno {
	for {
		switch {
		case s.over.Load():
			return unix.EBADF
		case s.conn.Connected():
			return 0
		}
		if errno := s.conn.TakeError(); errno != 0 {
			return errno
		}
		if s.conn.Readiness()&ring.Hup != 0 {
			return unix.ECONNABORTED
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return unix.EINPROGRESS
		}
		if errno := s.wait(ring.Out, &s.write, mono.Never); errno != 0 {
			return errno
		}
	}
}

// readSome reads at least one byte; 0 without an error is the end of the stream. MSG_PEEK
// leaves what it reads.
func (s *stream) readSome(p []byte, flags int) (n int, errno unix.Errno) {
	for {
		n, errno = s.tryRead(p, flags)
		if errno != unix.EAGAIN || flags&unix.MSG_DONTWAIT != 0 {
			return n, errno
		}
		if errno := s.wait(ring.In, &s.read, mono.Never); errno != 0 {
			return 0, errno
		}
	}
}

func (s *stream) tryRead(p []byte, flags int) (n int, errno unix.Errno) {
	s.reading.Lock()
	if s.over.Load() {
		s.reading.Unlock()
		return 0, unix.EBADF
	}
	var tell bool
	if flags&unix.MSG_PEEK != 0 {
		n, errno = s.conn.Peek(p, 0)
	} else {
		n, errno, tell = s.conn.Read(p)
	}
	s.reading.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	return n, errno
}

// writeSome writes some of p, at least one byte unless it fails.
func (s *stream) writeSome(p []byte, flags int) (n int, errno unix.Errno) {
	for {
		n, errno = s.tryWrite(p)
		if errno != unix.EAGAIN || flags&unix.MSG_DONTWAIT != 0 {
			return n, errno
		}
		if errno := s.wait(ring.Out, &s.write, mono.Never); errno != 0 {
			return 0, errno
		}
	}
}

func (s *stream) tryWrite(p []byte) (n int, errno unix.Errno) {
	s.writing.Lock()
	if s.over.Load() {
		s.writing.Unlock()
		return 0, unix.EBADF
	}
	n, errno, tell := s.conn.Write(p)
	s.writing.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	return n, errno
}

// ready returns what would not block. It is asked while the connection is the
// program's.
func (s *stream) ready() ring.Events {
	if s.over.Load() {
		return ring.Hup
	}
	return s.conn.Readiness()
}

// do runs f with the core's lock held, unless the connection is gone, and sends what
// comes of it.
func (s *stream) do(f func(conn *tcp.Conn, now mono.Time) unix.Errno) unix.Errno {
	s.core.Lock()
	defer s.core.Unlock()
	if s.gone {
		return unix.EBADF
	}
	errno := f(s.conn, s.core.Now())
	s.core.Flush()
	return errno
}

// shutdown ends one direction or both.
func (s *stream) shutdown(how int) unix.Errno {
	return s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno { return conn.Shutdown(how, now) })
}

// close gives the connection up. What was written is still sent; with abort the
// peer is sent a reset instead.
func (s *stream) close(abort bool) unix.Errno {
	errno := unix.EBADF
	s.closing.Do(func() {
		errno = 0
		s.end()
		s.reading.Lock() // no copy runs, and none begins
		s.writing.Lock()
		s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
			if abort {
				conn.Abort(now)
			} else {
				conn.Close(now)
			}
			s.gone = true
			return 0
		})
		s.writing.Unlock()
		s.reading.Unlock()
		if s.hold != nil {
			s.host.Ports.Drop(s.hold)
		}
		s.host.SocketClosed()
	})
	return errno
}

// listener is a socket that waits for connections, on every core.
type listener struct {
	waiting
	ends   []*tcp.Listener // by core
	hold   *host.Hold
	gateOf ring.Gate
	queued ring.Word // connections that wait, on all cores

	next    int // the core to ask first; guarded by accepting
	taking  sync.Mutex
	closing sync.Once
}

// listen makes a listener of a port that is held.
func listen(h *host.Host, hold *host.Hold, backlog int, opt tcp.Options) (*listener, unix.Errno) {
	if errno := h.Ports.Listen(hold); errno != 0 {
		return nil, errno
	}
	if errno := h.SocketOpened(); errno != 0 {
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
			Backlog: backlog, Options: opt, Gate: &l.gateOf, Queued: &l.queued,
		})
		c.Unlock()
		if errno != 0 {
			l.closeEnds()
			h.SocketClosed()
			return nil, errno
		}
		l.ends = append(l.ends, end)
	}
	return l, 0
}

// accept returns the next connection.
func (l *listener) accept(flags int) (*stream, unix.Errno) {
	for {
		if l.over.Load() {
			return nil, unix.EBADF
		}
		if s := l.take(); s != nil {
			return s, 0
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return nil, unix.EAGAIN
		}
		if errno := l.wait(ring.In, &l.read, mono.Never); errno != 0 {
			return nil, errno
		}
	}
}

// take takes a connection of a core that has one, nil if none has.
func (l *listener) take() *stream {
	if l.queued.Load() == 0 || l.host.SocketOpened() != 0 {
		return nil
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
			return s
		}
		c.Unlock()
	}
	l.host.SocketClosed()
	return nil
}

func (l *listener) ready() ring.Events {
	if l.queued.Load() > 0 {
		return ring.In
	}
	return 0
}

// close stops listening. Connections that nobody accepted are reset.
func (l *listener) close() unix.Errno {
	errno := unix.EBADF
	l.closing.Do(func() {
		errno = 0
		l.end()
		l.closeEnds()
		l.host.Ports.Drop(l.hold)
		l.host.SocketClosed()
	})
	return errno
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
