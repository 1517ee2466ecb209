package socketapi

import (
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: socket(7), tcp(7), connect(2), listen(2), shutdown(2).

// A tcpSocket is a Berkeley stream socket. It is fresh, or bound; then it listens, or is being
// connected, or is connected. A connection attempt that fails, and a shutdown of a listener or of
// an attempt, make it fresh or bound again.
type tcpSocket struct {
	settings
	opt   tcp.Options // what the settings do not say; guarded by mu
	fast  fastOptions // guarded by mu
	paced uint64      // SO_MAX_PACING_RATE with all bits turned, so that zero is no limit; guarded by mu

	hold    *host.Hold     // the port that bind or listen took, nil: none; guarded by mu
	bare    netip.AddrPort // its name since it was connected, or has lost its port: an address that connect uses, and the port of before; not valid: local; guarded by mu
	backlog int            // guarded by mu

	// These stand together for a socket's size; guarded by mu.
	quick      bool // TCP_QUICKACK
	autobound  bool // the port was chosen: it is the socket's until a connection, or listening, has ended
	locked     bool // bind was told an address, which stays whatever becomes of a connection
	connecting bool // connect has not said yet how it ended (SS_CONNECTING)

	peekOff peekOff
	pending ring.Errno    // SO_ERROR of a connection that is no more
	came    ring.Arrivals // when what a connection has brought came, where somebody asks
	errors  ring.Late     // what ICMP says of attempts to connect; the core puts in, read from with mu held
	shut    atomic.Uint32 // the directions that shutdown was told of without a connection: a bit each, as in SHUT_RD + 1

	members []*udp.Socket // by core, whom the core knows as the member of groups; nil: never one; guarded by mu
	groups  *group.Set    // what it has joined; guarded by mu

	conn     atomic.Pointer[stream]   // stored with mu held
	listener atomic.Pointer[listener] // stored with mu held
}

func newTCPSocket(h *host.Host, family int) (*tcpSocket, unix.Errno) {
	if errno := h.SocketOpened(); errno != 0 {
		return nil, errno
	}
	s := &tcpSocket{quick: true}
	s.multicast4.Joined = family == unix.AF_INET6
	s.host, s.family, s.kind, s.proto, s.user = h, family, unix.SOCK_STREAM, unix.IPPROTO_TCP, owner()
	return s, 0
}

func (s *tcpSocket) common() *settings { return &s.settings }

// bind takes a local address; a port of 0 is chosen.
func (s *tcpSocket) bind(local netip.AddrPort) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	bound := s.placed()
	if s.family == unix.AF_INET6 {
		if errno := s.allowed(local); errno != 0 {
			return errno
		}
		if bound {
			return unix.EINVAL // before it looks at the address, other than with AF_INET
		}
	}
	if s.tie(local.Addr()) {
		s.apply()
	}
	local = s.onLink(local)
	if errno := s.bindable(local.Addr()); errno != 0 {
		return errno
	}
	if errno := s.allowed(local); errno != 0 {
		return errno
	}
	if bound {
		return unix.EINVAL
	}
	if local.Port() == 0 && s.noPort {
		s.bare = local
	} else if errno := s.take(local); errno != 0 {
		if errno == unix.EADDRINUSE && s.bare.IsValid() { // Linux: inet_reset_saddr in __inet_bind
			s.bare = netip.AddrPortFrom(s.unspecified().Addr(), s.bare.Port())
		}
		return errno
	}
	s.only6 = s.only6 || only6At(local.Addr())
	s.locked = s.locked || local.Addr() != s.unspecified().Addr() // Linux: SOCK_BINDADDR_LOCK
	return 0
}

// over says whether the connection has ended: the port that was chosen for it is no longer the socket's
// (Linux: tcp_done). mu is held.
func (s *tcpSocket) over() bool {
	switch s.conn.Load().state() {
	case tcp.Closed, tcp.TimeWait:
		return true
	}
	return false
}

// take takes a port. mu is held.
func (s *tcpSocket) take(local netip.AddrPort) unix.Errno {
	hold := s.claim(wire.ProtoTCP, local)
	errno := s.host.Ports.Take(hold)
	if errno == 0 {
		s.hold, s.autobound, s.bare = hold, local.Port() == 0, netip.AddrPort{}
	}
	return errno
}

// unbind gives back a port that was chosen. The address stays, if the program has said one. mu is held.
func (s *tcpSocket) unbind() {
	if !s.autobound || s.hold == nil || s.listener.Load() != nil {
		return
	}
	s.host.Ports.Drop(s.hold)
	s.bare = s.hold.Local
	s.hold, s.autobound = nil, false
}

// local is what the socket is bound to, without a port if it has none. mu is held.
func (s *tcpSocket) local() netip.AddrPort {
	switch {
	case s.hold != nil:
		return s.hold.Local
	case s.bare.IsValid():
		return netip.AddrPortFrom(s.bare.Addr(), 0)
	}
	return s.unspecified()
}

// listen makes it a listener, or changes the backlog of one.
func (s *tcpSocket) listen(backlog int) unix.Errno {
	backlog = s.host.Backlog(backlog)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return unix.EBADF
	case s.conn.Load() != nil:
		return unix.EINVAL
	}
	s.backlog = backlog
	if l := s.listener.Load(); l != nil {
		l.change(backlog, s.listenerOptions())
		l.fastOpen(&s.fast, backlog)
		return 0
	}
	if s.hold == nil {
		if errno := s.take(s.local()); errno != 0 {
			return errno
		}
	}
	l, errno := listen(s.host, s.hold, backlog, s.listenerOptions())
	if errno == 0 {
		l.fastOpen(&s.fast, backlog)
		s.listener.Store(l)
		s.lookout.move(&l.waiting)
	}
	return errno
}

// accept takes a connection.
func (s *tcpSocket) accept(flags int) (socket, netip.AddrPort, unix.Errno) {
	l := s.listener.Load()
	if l == nil {
		return nil, netip.AddrPort{}, s.without(unix.EINVAL)
	}
	c, errno := s.acceptFrom(l, flags, s.rcvTimeo.until(s.host))
	if errno != 0 {
		return nil, netip.AddrPort{}, errno
	}
	return c, c.conn.Load().remote, 0
}

// acceptFrom takes a connection of the listener that the socket is, or has been.
func (s *tcpSocket) acceptFrom(l *listener, flags int, until mono.Time) (*tcpSocket, unix.Errno) {
	conn, errno := l.accept(flags, until)
	if errno != 0 {
		return nil, errno
	}
	c := new(tcpSocket)
	s.mu.Lock()
	c.settings.inherit(&s.settings)
	c.opt, c.quick, c.paced = s.opt, s.quick, s.paced
	c.bare, c.locked = conn.local, s.locked
	s.mu.Unlock()
	c.user = owner() // Linux: sock_graft. It was the listener's until now
	c.peekOff.set(s.peekOff.at())
	conn.lowat.Store(int64(c.rcvLowat))
	c.conn.Store(conn)
	tied := c.tie(conn.remote.Addr()) // of a link: Linux: tcp_v6_init_req
	if tied || c.wants.has(wantTimes) || c.reusePort && c.user != s.user {
		c.apply() // the times are its own. It may have ended: then there is nothing to hear of
	}
	c.lookout.move(&conn.waiting)
	if errno := c.host.SocketOpened(); errno != 0 {
		conn.close(true, unix.EBADF)
		return nil, errno
	}
	return c, 0
}

// without is the errno of a call on a socket that has no connection or listener: EBADF if
// that is since it was closed.
func (s *tcpSocket) without(errno unix.Errno) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	return errno
}

// broken is without for those who read and write, who are told of a pending error.
func (s *tcpSocket) broken(errno unix.Errno) unix.Errno {
	if pending := s.pending.Take(); pending != 0 {
		return unix.Errno(pending)
	}
	return s.without(errno)
}

// woken is what a call says that a connection ended with errno: one that waited while another call took the connection from the
// socket is told of the pending error if it is the first to look, and otherwise what errno is without one.
func (s *tcpSocket) woken(conn *stream, ended, errno unix.Errno) unix.Errno {
	if ended != unix.ECONNRESET || s.conn.Load() == conn {
		return ended
	}
	return s.broken(errno)
}

// unsent is woken for those who write: also after connect with AF_UNSPEC (EPIPE) they look for a pending error (Linux: sk_stream_error).
func (s *tcpSocket) unsent(conn *stream, ended unix.Errno) unix.Errno {
	if ended == unix.EPIPE && s.conn.Load() != conn {
		return s.broken(unix.EPIPE)
	}
	return s.woken(conn, ended, unix.EPIPE)
}

// recv reads. A stream does not say who sent. Flags that say nothing to it are passed over, as on Linux.
func (s *tcpSocket) recv(p []byte, flags int) (received, unix.Errno) {
	return s.recvUntil(p, flags, s.rcvTimeo.until(s.host), 0)
}

// recvUntil is recv that waits for so many bytes; 0: as many as flags and options say.
func (s *tcpSocket) recvUntil(p []byte, flags int, until mono.Time, least int) (received, unix.Errno) {
	if s.listener.Load() != nil { // whatever error there is stays (Linux: tcp_recvmsg_locked)
		return received{}, unix.ENOTCONN
	}
	conn := s.conn.Load()
	if flags&unix.MSG_OOB != 0 {
		return s.recvUrgent(conn, p, flags)
	}
	if conn == nil {
		errno := s.broken(unix.ENOTCONN)
		if errno == unix.ENOTCONN && s.shut.Load()&(unix.SHUT_RD+1) != 0 {
			errno = 0
		}
		return received{}, errno
	}
	var r received
	var errno unix.Errno
	how, peek := reading{least: least}, flags&unix.MSG_PEEK != 0
	if s.wants.has(wantTimes) {
		how.came = &cameBy{of: &s.came}
	}
	if peek {
		how.skip = max(s.peekOff.at(), 0)
	}
	r.n, errno = conn.readAs(p, flags, until, how)
	s.peekOff.moved(r.n, peek)
	if how.came != nil {
		r.m.Time = int64(how.came.at)
	}
	return r, s.woken(conn, errno, unix.ENOTCONN)
}

// send writes. The address of a sendto on a stream is ignored, as on Linux, and flags that say nothing to it.
func (s *tcpSocket) send(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if errno := sendControl(&udp.Message{}, oob, &s.settings); errno != 0 {
		return 0, errno
	}
	if flags&unix.MSG_FASTOPEN != 0 {
		return s.sendFast(p, to, flags)
	}
	conn := s.conn.Load()
	if conn == nil {
		return 0, s.broken(unix.EPIPE)
	}
	n, errno := conn.write(p, flags, s.sndTimeo.until(s.host))
	return n, s.unsent(conn, errno)
}

// shutdown ends one direction or both. For a listener SHUT_RD is the end of listening, and a
// connection attempt is given up.
func (s *tcpSocket) shutdown(how int) unix.Errno {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	s.mu.Lock()
	conn, l := s.conn.Load(), s.listener.Load()
	switch {
	case s.closed:
		s.mu.Unlock()
		return unix.EBADF
	case l != nil && how != unix.SHUT_WR:
		s.listener.Store(nil)
		s.shut.Store(0) // tcp_disconnect, as below
		s.lookout.move(nil)
		s.lookout.tell(ring.Err) // Linux: tcp_disconnect
		s.mu.Unlock()
		l.close(unix.EINVAL)
		s.mu.Lock()
		s.unbind()
		s.mu.Unlock()
		return 0
	case l != nil:
		s.mu.Unlock()
		return 0
	case conn == nil: // which poll and recv know all the same (inet_shutdown)
		s.shut.Or(uint32(how + 1))
		s.mu.Unlock()
		s.lookout.alarm()
		return unix.ENOTCONN
	case s.connecting && conn.state() == tcp.SynSent:
		s.conn.Store(nil)
		s.widen()
		s.pending.Set(uint32(unix.ECONNRESET)) // tcp_disconnect
		s.shut.Store(0)
		s.lookout.move(nil)
		s.lookout.tell(ring.Err) // Linux: tcp_disconnect
		s.connecting = false
		s.mu.Unlock()
		conn.close(false, unix.ECONNRESET)
		return 0
	}
	if s.connecting && conn.state() != tcp.Closed {
		s.connecting = false // it is connected, whether connect has said so or not (inet_shutdown)
	}
	s.mu.Unlock()
	return conn.shutdown(how)
}

// close gives everything up. What was written is still sent, unless SO_LINGER says 0
// seconds; with more, close waits so long for it to be acknowledged, and with a negative number as long as it takes.
func (s *tcpSocket) close() unix.Errno {
	conn, l, hold, errno := s.release()
	if errno != 0 {
		return errno
	}
	linger := s.linger // which nobody sets any more
	if l != nil {
		l.close(unix.EBADF)
	}
	if conn != nil {
		if linger.Onoff != 0 && linger.Linger != 0 {
			conn.end(unix.EBADF)
			conn.await(linger.Linger)
		}
		conn.close(linger.Onoff != 0 && linger.Linger == 0, unix.EBADF)
	}
	if hold != nil {
		s.host.Ports.Drop(hold)
	}
	s.host.SocketClosed()
	return 0
}

// abandon closes a socket that no program has had in its hands. It waits for nothing.
func (s *tcpSocket) abandon() {
	conn, l, hold, errno := s.release()
	if errno != 0 {
		return
	}
	if l != nil {
		l.close(unix.EBADF)
	}
	if conn != nil {
		conn.abandon(unix.EBADF)
	}
	if hold != nil {
		s.host.Ports.Drop(hold)
	}
	s.host.SocketAbandoned()
}

// release marks the socket as closed, once, and says what it was.
func (s *tcpSocket) release() (conn *stream, l *listener, hold *host.Hold, errno unix.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, nil, unix.EBADF
	}
	s.closed = true
	hold, s.hold = s.hold, nil // the caller's to drop: an unbind that comes later finds none
	if len(s.groups.Members()) > 0 {
		s.host.SetGroups(s.members, s.groups, nil)
	}
	return s.conn.Load(), s.listener.Load(), hold, 0
}

// placed says whether the socket has a port. mu is held.
func (s *tcpSocket) placed() bool { return s.hold != nil || s.conn.Load() != nil && !s.over() }

// name is the local address.
func (s *tcpSocket) name() netip.AddrPort { return s.shown(s.ownName()) }

func (s *tcpSocket) ownName() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch conn := s.conn.Load(); {
	case conn != nil && !s.over():
		return conn.local
	case s.bare.IsValid():
		return s.bare
	}
	return s.local()
}

// peerName is the address of the peer, while there is a connection.
func (s *tcpSocket) peerName() (netip.AddrPort, unix.Errno) {
	conn := s.conn.Load()
	if conn == nil {
		return netip.AddrPort{}, s.without(unix.ENOTCONN)
	}
	switch conn.state() {
	case tcp.Closed, tcp.SynSent:
		return netip.AddrPort{}, unix.ENOTCONN
	}
	return s.shown(conn.remote), 0
}

func (s *tcpSocket) takeError() unix.Errno {
	if pending := s.pending.Take(); pending != 0 {
		return unix.Errno(pending)
	}
	conn := s.conn.Load()
	if conn == nil || conn.begin() != 0 {
		return 0
	}
	defer conn.leave()
	return conn.takeError()
}

func (s *tcpSocket) accepting() bool { return s.listener.Load() != nil }

// options is what TCP is told. mu is held.
func (s *tcpSocket) options(four bool) tcp.Options {
	o := s.opt
	o.KeepAlive, o.OOBInline, o.RcvLow = s.keepAlive, s.oobInline, s.rcvLowat
	o.RcvBuf, o.SndBuf = s.rcvBuf/2, s.sndBuf/2 // half of it is taken for overhead, as tcp_adv_win_scale does
	o.Device, o.Sharing = uint32(s.device), s.sharing()
	if s.reusePort {
		o.User = s.user
	}
	o.TTL, o.TOS, o.Discover, o.RecvErr = uint8(s.ttl), uint8(s.tos), uint8(s.discover), s.recvErr
	if s.wants.has(wantTimes) {
		o.Came = &s.came
	}
	o.Errors = &s.errors
	o.MinTTL, o.MinHops = uint8(s.minTTL), uint8(s.minHops)
	if !four {
		o.TTL, o.TOS, o.Discover, o.RecvErr = uint8(s.hops), uint8(s.tclass), uint8(s.discover6), s.recvErr6
	}
	return o
}

// listenerOptions is what a listener's connections begin with: nothing that is one socket's own. mu is held.
func (s *tcpSocket) listenerOptions() tcp.Options {
	o := s.options(s.family == unix.AF_INET)
	o.Errors, o.Came = nil, nil
	return o
}

// apply gives a connection or a listener its changed options. mu is held.
func (s *tcpSocket) apply() unix.Errno {
	if s.hold != nil {
		s.host.Ports.Change(s.hold, s.reuseAddr, s.reusePort, uint32(s.device))
	}
	if l := s.listener.Load(); l != nil {
		l.change(s.backlog, s.listenerOptions())
		l.fastOpen(&s.fast, s.backlog)
	}
	conn := s.conn.Load()
	if conn == nil {
		return 0
	}
	if before := conn.lowat.Swap(int64(s.rcvLowat)); before != int64(s.rcvLowat) && conn.ready(need{})&ring.In != 0 {
		conn.who.Notify(ring.In) // Linux: tcp_set_rcvlowat
	}
	return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno {
		return c.SetOptions(s.options(conn.remote.Addr().Is4()), now)
	})
}
