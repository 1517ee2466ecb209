package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: connect(2); __inet_stream_connect in net/ipv4/af_inet.c.

// connect makes a connection, or says how far an earlier call has come with it. Not to wait
// is EINPROGRESS, and EALREADY for the next call.
func (s *tcpSocket) connect(to netip.AddrPort, flags int) unix.Errno {
	if !to.IsValid() {
		return s.disconnect()
	}
	fast := s.later()
	conn, unfinished, errno := s.begin(to, fast)
	switch {
	case errno != 0:
		return errno
	case fast != nil && fast.waits:
		return 0 // the SYN goes out with what is written first
	case unfinished == unix.EINPROGRESS && flags&unix.MSG_DONTWAIT != 0:
		return unfinished // also where the answer is there already: Linux does not look either
	}
	return s.finish(conn, unfinished, flags)
}

// engaged says whether connect does not look at its address: there is a connection, or the socket listens.
func (s *tcpSocket) engaged() bool { return s.conn.Load() != nil || s.listener.Load() != nil }

// finish waits until a connection attempt has ended, and says how.
func (s *tcpSocket) finish(conn *stream, unfinished unix.Errno, flags int) unix.Errno {
	errno := conn.connected(flags, s.sndTimeo.until(s.host))
	switch errno {
	case unix.EINPROGRESS, unix.EAGAIN:
		return unfinished
	case unix.EBADF, unix.ENETDOWN:
		return errno
	}
	s.mu.Lock()
	mine := s.conn.Load() == conn
	if mine {
		s.connecting = false
		if errno != 0 {
			s.conn.Store(nil)
			s.shut.Store(0) // tcp_disconnect
			s.lookout.move(nil)
			s.widen()
		}
	}
	s.mu.Unlock()
	if mine && errno != 0 {
		conn.close(false, errno)
		return errno
	}
	return s.woken(conn, errno, unix.EPIPE)
}

// begin is connect without the waiting: the connection on the way, and what to say if it is
// not waited for.
func (s *tcpSocket) begin(to netip.AddrPort, fast *fastOpen) (conn *stream, unfinished, errno unix.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn = s.conn.Load()
	switch {
	case s.closed:
		return nil, 0, unix.EBADF
	case s.listener.Load() != nil || conn != nil && !s.connecting:
		return nil, 0, unix.EISCONN
	case conn != nil:
		return conn, unix.EALREADY, 0
	}
	if s.only4(to) {
		return nil, 0, unix.ENETUNREACH
	}
	local := s.local()
	if s.host.IsGroup(local.Addr()) { // nothing is sent from it (Linux: __inet_bind)
		local = netip.AddrPortFrom(s.unspecified().Addr(), local.Port())
	}
	if to.Addr().IsUnspecified() {
		to = s.thisHost(to, local.Addr())
	}
	if local.Addr().Is4() && local.Addr().IsUnspecified() && to.Addr().Is6() {
		return nil, 0, unix.EAFNOSUPPORT // Linux: ip6_dst_lookup_tail
	}
	if to.Addr().Is4() && local.Addr().Is6() && local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	if !to.Addr().IsMulticast() {
		if s.strays(to.Addr()) {
			return nil, 0, unix.EINVAL // Linux: tcp_v6_connect
		}
		if s.tie(to.Addr()) {
			s.apply()
		}
		to = s.onLink(to)
	}
	if s.dontRoute && to.Addr().Is4() && !s.neighbours(to.Addr()) {
		return nil, 0, unix.ENETUNREACH
	}
	s.came.Forget()
	opt := s.options(to.Addr().Is4())
	if s.hold != nil {
		opt.Sharing |= tcp.Bound
	}
	conn, src, errno := dialStream(s.host, local, to, s.ports, opt, fast)
	if errno == unix.EADDRNOTAVAIL { // Linux: tcp_v4_connect
		s.unbind()
		if s.locked {
			s.stay(src)
		}
	}
	if errno != 0 {
		return nil, 0, errno
	}
	if s.hold != nil {
		s.host.Ports.Move(s.hold, conn.local.Addr())
	}
	s.unbind() // the connection has the port now, until it ends
	s.bare = conn.local
	s.pending.Take()
	if shut := s.shut.Load(); shut != 0 {
		conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno {
			c.ShutBefore(shut&(unix.SHUT_RD+1) != 0, shut&(unix.SHUT_WR+1) != 0)
			return 0
		})
	}
	conn.lowat.Store(int64(s.rcvLowat))
	s.conn.Store(conn)
	s.lookout.move(&conn.waiting)
	if ev := conn.polled(); ev != 0 { // it was answered before anyone could hear of that
		s.lookout.tell(ev)
	}
	s.connecting = true
	return conn, unix.EINPROGRESS, 0
}

// stay is for a socket that connect has given an address, and that keeps one, but has not become connected. mu is held.
func (s *tcpSocket) stay(at netip.Addr) {
	if s.hold != nil {
		s.host.Ports.Move(s.hold, at)
		s.bare = netip.AddrPortFrom(at, s.hold.Local.Port())
		return
	}
	s.bare = netip.AddrPortFrom(at, s.bare.Port())
}

// disconnect is connect with AF_UNSPEC: a connection is reset, a listener stops, and the
// socket is as it was before.
func (s *tcpSocket) disconnect() unix.Errno {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return unix.EBADF
	}
	conn, l := s.conn.Swap(nil), s.listener.Swap(nil)
	s.lookout.move(nil)
	s.lookout.tell(ring.Err) // Linux: tcp_disconnect
	s.connecting = false
	s.shut.Store(0)
	s.widen()
	s.mu.Unlock()
	if conn != nil {
		if conn.begin() == 0 {
			if errno := conn.takeError(); errno != 0 {
				s.pending.Set(uint32(errno)) // which nobody has been told of yet
			}
			conn.leave()
		}
		switch conn.state() { // Linux: tcp_disconnect
		case tcp.Closed, tcp.TimeWait, tcp.LastAck, tcp.Closing:
		default:
			s.pending.Set(uint32(unix.ECONNRESET))
		}
		conn.close(true, unix.EPIPE) // who waits finds sk_disconnects another
	}
	if l != nil {
		l.close(unix.EINVAL)
		s.mu.Lock()
		s.unbind()
		s.mu.Unlock()
	}
	return 0
}

// widen is for a socket that is no longer connected: it is at all addresses again, if bind has said none. mu is held.
func (s *tcpSocket) widen() {
	if s.locked {
		return
	}
	if s.hold != nil {
		s.host.Ports.Move(s.hold, netip.Addr{})
	}
	if s.bare.IsValid() {
		s.bare = netip.AddrPortFrom(s.unspecified().Addr(), s.bare.Port())
	}
}
