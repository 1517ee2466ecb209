package socketapi

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// stream is one TCP connection in a program's hands. It lives on one core.
type stream struct {
	waiting
	conn *tcp.Conn
	post host.Post // lets the core see what the program has done
	gone bool      // conn is no longer ours; guarded by the core's lock

	reading, writing sync.Mutex   // held for a copy, never for a wait
	lowat            atomic.Int64 // SO_RCVLOWAT
	left             ring.Errno   // an error that a call found after it had moved something
	closing          atomic.Bool

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

// dialStream begins a connection from local, whose address and port may be left to choose: a port out of a range, which nobody is
// bound to and which no connection with the same peer has (Linux: __inet_hash_connect). It is EADDRNOTAVAIL if there is none, and
// src is then the address that it would have had. fast is nil, or what Fast Open is to do.
func dialStream(h *host.Host, local, remote netip.AddrPort, ports host.PortRange, opt tcp.Options, fast *fastOpen) (s *stream, src netip.Addr, errno unix.Errno) {
	if remote.Addr().IsMulticast() || remote.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, src, unix.ENETUNREACH
	}
	if linkScope(remote.Addr()) && remote.Addr().Zone() == "" {
		return nil, src, unix.EINVAL // Linux: tcp_v6_connect
	}
	if errno := h.SocketOpened(); errno != 0 {
		return nil, src, errno
	}
	defer func() {
		if errno != 0 {
			h.SocketAbandoned()
		}
	}()
	d := dial{h, h.Choose(remote), remote, opt, fast}
	if src, errno = d.source(local.Addr()); errno != 0 {
		return nil, src, errno
	}
	if remote.Port() == 0 {
		return nil, src, unix.ECONNREFUSED // nobody is asked
	}
	if local.Port() != 0 {
		s, errno = d.from(netip.AddrPortFrom(src, local.Port()))
		return s, src, errno
	}
	walk := h.Ports.Candidates(ports)
	for port := range walk.Ports {
		if s, errno = d.lent(netip.AddrPortFrom(src, port)); errno != unix.EADDRNOTAVAIL {
			return s, src, errno
		}
	}
	return nil, src, unix.EADDRNOTAVAIL
}

// A dial is a connection that is to be opened.
type dial struct {
	host   *host.Host
	core   *host.Core
	remote netip.AddrPort
	opt    tcp.Options
	fast   *fastOpen
}

// source is the address that it comes from, of a socket that is bound to local.
func (d *dial) source(local netip.Addr) (netip.Addr, unix.Errno) {
	d.core.Lock()
	defer d.core.Unlock()
	src, errno := d.core.Stack.Source(d.opt.Device, local, d.remote.Addr(), d.core.Now())
	if errno == 0 && !d.host.Local(src) {
		errno = unix.ENETUNREACH // what it would be told could never come back here
	}
	return src, errno
}

// lent is from with a port that the kernel is to keep from its programs. One that it does not give is like one that is taken.
func (d *dial) lent(local netip.AddrPort) (*stream, unix.Errno) {
	settled, errno := d.host.Ports.Lend(local)
	if errno == unix.EADDRINUSE {
		errno = unix.EADDRNOTAVAIL
	}
	if errno != 0 {
		return nil, errno
	}
	defer settled()
	return d.from(local)
}

// from opens it: on the core that has what is left of the connection before, if that is in the way on another one.
func (d *dial) from(local netip.AddrPort) (*stream, unix.Errno) {
	s, errno := d.on(d.core, local)
	if errno == unix.EADDRNOTAVAIL {
		if c := d.host.Owner(local, d.remote); c != nil && c != d.core {
			return d.on(c, local)
		}
	}
	return s, errno
}

func (d *dial) on(c *host.Core, local netip.AddrPort) (*stream, unix.Errno) {
	c.Lock()
	defer c.Unlock()
	conn, errno := d.fast.connect(c.Stack.TCP, local, d.remote, d.opt, c.Now())
	if errno != 0 {
		return nil, errno
	}
	s := newStream(d.host, c, conn)
	c.Flush()
	return s, 0
}

// connected waits until the connection is made, and says why it was not: EINPROGRESS if
// it is still on the way, EAGAIN if that is since the time is up, ECONNABORTED if
// somebody else has taken the error.
func (s *stream) connected(flags int, until mono.Time) unix.Errno {
	if errno := s.begin(); errno != 0 {
		return errno
	}
	defer s.leave()
	for {
		if s.conn.Connected() && !s.conn.Ended() { // one that has been reset meanwhile has failed (__inet_stream_connect)
			return 0
		}
		ended := s.conn.Ended() // before the error: it is set first
		if errno := s.conn.TakeError(); errno != 0 {
			return errno
		}
		if ended {
			return unix.ECONNABORTED
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return s.again(unix.EINPROGRESS)
		}
		if errno := s.wait(ring.Out, need{}, &s.waiting.write, until); errno != 0 {
			return errno
		}
	}
}

// read reads what is there, at least one byte; 0 without an error is the end of the
// stream. MSG_PEEK leaves what it reads, MSG_TRUNC throws it away, both count it, MSG_WAITALL
// reads until p is full.
func (s *stream) read(p []byte, flags int, until mono.Time) (n int, errno unix.Errno) {
	return s.readAs(p, flags, until, reading{})
}

// A cameBy is when the last byte of a read came, by what a socket knows of that.
type cameBy struct {
	of *ring.Arrivals
	at mono.Time
}

// A reading is what else a read is told.
type reading struct {
	came  *cameBy // nil: nobody wants to know when the last byte came
	skip  int     // what a look leaves out first
	least int     // what it waits for; 0: as much as flags and SO_RCVLOWAT say of its length
}

// readAs is read that is told more.
func (s *stream) readAs(p []byte, flags int, until mono.Time, how reading) (n int, errno unix.Errno) {
	if errno := s.begin(); errno != 0 {
		return 0, errno
	}
	defer s.leave()
	if s.waiting.read.passed(s.host.Clock()) {
		return 0, unix.EAGAIN
	}
	if errno := s.left.Take(); errno != 0 {
		return 0, unix.Errno(errno)
	}
	least := how.least
	if least == 0 {
		least = s.least(len(p), flags)
	}
	for {
		m, errno := s.tryRead(p[n:], how.skip+n, flags, how.came)
		n += m
		switch {
		case errno == 0 && (m == 0 || n >= least || s.conn.AtMark()):
			return n, 0
		case errno == 0:
			errno = unix.Errno(s.ended.Load())
		case errno == unix.EAGAIN && flags&unix.MSG_DONTWAIT == 0:
			more := least - n
			if flags&unix.MSG_PEEK != 0 { // what has been seen is still there
				more = how.skip + least
			}
			if errno = s.wait(ring.In, need{bytes: more}, &s.waiting.read, until); errno != 0 { // and what came was not enough
				m, _ := s.tryRead(p[n:], how.skip+n, flags, how.came)
				n += m
			}
		}
		if errno != 0 {
			return s.partly(n, errno)
		}
	}
}

// least is how much a read of n bytes waits for (Linux: sock_rcvlowat).
func (s *stream) least(n, flags int) int {
	if flags&unix.MSG_WAITALL != 0 {
		return max(n, 1)
	}
	return max(min(int(s.lowat.Load()), n), 1)
}

// partly is how a call ends by errno that has moved n bytes before. Then it succeeds, and
// the error, unless it is still there to be found, is the next call's.
func (s *stream) partly(n int, errno unix.Errno) (int, unix.Errno) {
	if n == 0 {
		return 0, s.again(errno)
	}
	switch errno {
	case unix.EAGAIN, unix.EPIPE, unix.ENOTCONN, unix.Errno(s.ended.Load()):
	default:
		s.left.Set(uint32(errno))
	}
	return n, 0
}

// takeError returns the pending error and clears it (SO_ERROR).
func (s *stream) takeError() unix.Errno {
	if errno := s.left.Take(); errno != 0 {
		return unix.Errno(errno)
	}
	return s.conn.TakeError()
}

// tryRead reads what is there; MSG_PEEK leaves it, and leaves out what comes first.
func (s *stream) tryRead(p []byte, skip, flags int, came *cameBy) (n int, errno unix.Errno) {
	var tell bool
	s.reading.Lock()
	switch {
	case len(p) == 0 && skip == 0: // nothing is asked for: whether there is something
		if _, errno = s.conn.PeekLen(1, 0); errno != 0 {
			break
		}
	case flags&unix.MSG_PEEK != 0 && flags&unix.MSG_TRUNC != 0:
		n, errno = s.conn.PeekLen(len(p), skip)
	case flags&unix.MSG_PEEK != 0:
		n, errno = s.conn.Peek(p, skip)
	case flags&unix.MSG_TRUNC != 0:
		n, errno, tell = s.conn.Discard(len(p))
	default:
		n, errno, tell = s.conn.Read(p)
	}
	if came != nil && n > 0 {
		ahead := 0
		if flags&unix.MSG_PEEK != 0 {
			ahead = skip + n
		}
		at, _ := came.of.At(s.conn.ReadTo()+uint64(ahead), ahead == 0)
		came.at = mono.Time(at)
	}
	s.reading.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	return n, errno
}

// beginWrite begins a call that writes, or says why it fails at once.
func (s *stream) beginWrite() unix.Errno {
	if errno := s.begin(); errno != 0 {
		return errno
	}
	errno := unix.EAGAIN
	if !s.waiting.write.passed(s.host.Clock()) {
		errno = unix.Errno(s.left.Take())
	}
	if errno == 0 && s.host.Closed() {
		errno = unix.ENETDOWN // nobody would send it
	}
	if errno != 0 {
		s.leave()
	}
	return errno
}

// write writes all of p. If it fails after some of it that is what it says, and the next
// call fails. With MSG_DONTWAIT it writes what there is room for.
func (s *stream) write(p []byte, flags int, until mono.Time) (n int, errno unix.Errno) {
	if errno := s.beginWrite(); errno != 0 {
		return 0, errno
	}
	defer s.leave()
	for {
		m, errno := s.tryWrite(p[n:], flags)
		n += m
		switch {
		case errno == 0 && n == len(p):
			return n, 0
		case errno == 0: // a close does not wait for a reader that keeps up with us
			errno = unix.Errno(s.ended.Load())
		case errno == unix.EAGAIN && flags&unix.MSG_DONTWAIT == 0:
			errno = s.wait(ring.Out, need{}, &s.waiting.write, until)
		}
		if errno != 0 {
			return s.partly(n, errno)
		}
	}
}

// writev writes pieces as write does one.
func (s *stream) writev(buffers [][]byte, flags int, until mono.Time) (n int, errno unix.Errno) {
	if errno := s.beginWrite(); errno != 0 {
		return 0, errno
	}
	n, errno = s.tryWritev(buffers, flags)
	s.leave()
	rest := skip(buffers, n)
	switch {
	case errno != 0 && errno != unix.EAGAIN:
		return n, errno
	case flags&unix.MSG_DONTWAIT != 0 && len(rest) > 0:
		return s.partly(n, unix.EAGAIN)
	}
	for i, b := range rest {
		more := flags
		if i < len(rest)-1 {
			more |= unix.MSG_MORE
		}
		m, errno := s.write(b, more, until)
		if n += m; errno != 0 && n > 0 {
			s.postpone(errno)
			errno = 0
		}
		if m < len(b) {
			return n, errno
		}
	}
	return n, 0
}

// tryWritev writes what there is room for, with nobody else's bytes between.
func (s *stream) tryWritev(buffers [][]byte, flags int) (n int, errno unix.Errno) {
	told := false
	s.writing.Lock()
	for i, b := range buffers {
		s.conn.Hold(flags&unix.MSG_MORE != 0 || i < len(buffers)-1)
		m, failed, tell := s.conn.Write(b)
		n, told = n+m, told || tell
		if m < len(b) || failed != 0 {
			s.conn.Hold(flags&unix.MSG_MORE != 0)
			errno = failed
			break
		}
	}
	s.writing.Unlock()
	if told {
		s.core.Post(&s.post)
	}
	if n > 0 {
		s.postpone(errno)
		errno = 0
	}
	return n, errno
}

func (s *stream) tryWrite(p []byte, flags int) (n int, errno unix.Errno) {
	if flags&unix.MSG_OOB != 0 {
		return s.tryWriteUrgent(p)
	}
	s.writing.Lock()
	s.conn.Hold(flags&unix.MSG_MORE != 0)
	n, errno, tell := s.conn.Write(p)
	s.writing.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	return n, errno
}

// ready returns what would not block. It is asked while a call is under way, so the
// connection is the program's.
func (s *stream) ready(n need) ring.Events {
	ev := s.enough(s.conn.Readiness(), n.bytes)
	if s.left.Peek() != 0 {
		ev |= ring.Err | ring.In | ring.Out
	}
	return ev
}

// enough takes In out of ev while there is less to read than least, 0: than SO_RCVLOWAT says.
func (s *stream) enough(ev ring.Events, least int) ring.Events {
	if least == 0 {
		least = int(s.lowat.Load())
	}
	if least > 1 && ev&ring.In != 0 && !s.conn.Readable(least) {
		ev &^= ring.In
	}
	return ev
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

// state returns the connection's state, CLOSED if it is no longer ours.
func (s *stream) state() (state tcp.State) {
	s.core.Lock()
	defer s.core.Unlock()
	if !s.gone {
		state = s.conn.State()
	}
	return state
}

// close gives the connection up; calls under way fail with errno. What was written is
// still sent; with abort the peer is sent a reset instead. A second close is EBADF.
func (s *stream) close(abort bool, errno unix.Errno) unix.Errno {
	if !s.release(abort, errno) {
		return unix.EBADF
	}
	s.host.SocketClosed()
	return 0
}

// abandon closes a connection that no program has had in its hands. It waits for nothing.
func (s *stream) abandon(errno unix.Errno) {
	if s.release(false, errno) {
		s.host.SocketAbandoned()
	}
}

// release gives up all that the stream holds, once: then it says so.
func (s *stream) release(abort bool, errno unix.Errno) bool {
	if s.closing.Swap(true) {
		return false
	}
	s.end(errno)
	s.seal()
	s.part()
	s.do(func(conn *tcp.Conn, now mono.Time) unix.Errno {
		if abort {
			conn.Abort(now)
		} else {
			conn.Close(now)
		}
		s.gone = true
		return 0
	})
	s.core.Leave()
	return true
}
