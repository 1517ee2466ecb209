package socketapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: ip(7) on IP_RECVERR, recv(2) on MSG_ERRQUEUE; ip_recv_error in net/ipv4/ip_sockglue.c,
// ipv6_recv_error in net/ipv6/datagram.c, sock_dequeue_err_skb in net/core/skbuff.c.

// recvError takes the oldest error of a core that has one. It never waits.
func (s *datagram) recvError(p []byte) (r received, e udp.ExtendedError, errno unix.Errno) {
	if errno := s.begin(); errno != 0 {
		return r, e, errno
	}
	defer s.leave()
	s.recv.Lock()
	defer s.recv.Unlock()
	for _, end := range s.ends {
		n, whole, ok := end.Errors.Get(&e, p)
		if !ok {
			continue
		}
		s.nextError(e.Origin)
		return takenError(&e, n, whole), e, 0
	}
	return r, e, unix.EAGAIN
}

// takenError is a message of the error queue, of which n bytes of whole were copied.
func takenError(e *udp.ExtendedError, n, whole int) (r received) {
	r.n, r.from, r.flags = n, e.To, unix.MSG_ERRQUEUE
	if whole > n {
		r.flags |= unix.MSG_TRUNC // and MSG_TRUNC asks for nothing here
	}
	r.m = ring.Datagram{From: e.To, To: e.To, Iface: e.Iface, Time: int64(e.Time), TTL: e.TTL, TOS: e.TOS}
	return r
}

// nextError makes the pending error that of the next in the queue, or none if this was the last that
// another host has reported. recv's lock is held.
func (s *datagram) nextError(taken udp.Origin) {
	for _, end := range s.ends {
		if next, ok := end.Errors.Peek(); ok {
			s.soErr.Set(uint32(next))
			return
		}
	}
	if taken.Remote() {
		s.soErr.Take()
	}
}

// purgeErrors forgets the errors that wait.
func (s *datagram) purgeErrors() {
	s.recv.Lock()
	defer s.recv.Unlock()
	var e udp.ExtendedError
	for _, end := range s.ends {
		for range end.Errors.Len() {
			end.Errors.Get(&e, nil)
		}
	}
}

// recvError takes the oldest error of attempts to connect. What ICMP says of a connection is in SO_ERROR
// alone (Linux: tcp_v4_err).
func (s *tcpSocket) recvError(p []byte, _ int) (r received, e udp.ExtendedError, errno unix.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return r, e, unix.EBADF
	}
	q := (*udp.ErrQueue)(s.errors.Load())
	if q == nil {
		return s.recvCopied(unix.EAGAIN)
	}
	n, whole, ok := q.Get(&e, p)
	if !ok {
		return s.recvCopied(unix.EAGAIN)
	}
	s.takeError()
	if next, ok := q.Peek(); ok {
		s.pending.Set(uint32(next))
	}
	return takenError(&e, n, whole), e, 0
}

// told says whether an error waits in the error queue.
func (s *tcpSocket) told() bool {
	q := s.errors.Load()
	return q != nil && q.Len() > 0
}

// purgeErrors forgets the errors that wait. mu is held.
func (s *tcpSocket) purgeErrors() {
	var e udp.ExtendedError
	for s.told() {
		(*udp.ErrQueue)(s.errors.Load()).Get(&e, nil)
	}
}

// recvErr is IP_RECVERR or IPV6_RECVERR. Switched off, it forgets the errors that wait (do_ip_setsockopt).
func recvErr(label string, level, name int, of func(*settings) *bool) option {
	o := ipFlag(label, level, name, of)
	set := o.set
	o.set = func(s socket, v *value) unix.Errno {
		if q, ok := s.(interface{ purgeErrors() }); ok && v.n == 0 {
			q.purgeErrors()
		}
		return set(s, v)
	}
	return o
}

// extended writes an error: struct sock_extended_err and, behind it, who has reported it, in the words of the
// socket's family.
func (c *control) extended(family int, e *udp.ExtendedError) {
	const extendedLen = 16
	var b [extendedLen + unix.SizeofSockaddrInet6]byte
	binary.NativeEndian.PutUint32(b[0:], uint32(e.Errno))
	b[4], b[5], b[6] = uint8(e.Origin), e.Type, e.Code
	binary.NativeEndian.PutUint32(b[8:], e.Info)
	binary.NativeEndian.PutUint32(b[12:], e.Data)
	if family == unix.AF_INET {
		if e.Offender.IsValid() {
			putSockaddr4(b[extendedLen:], netip.AddrPortFrom(e.Offender, 0))
		}
		c.put(unix.IPPROTO_IP, unix.IP_RECVERR, b[:extendedLen+unix.SizeofSockaddrInet4])
		return
	}
	if e.Offender.IsValid() {
		putSockaddr6(b[extendedLen:], netip.AddrPortFrom(e.Offender, 0))
	}
	c.put(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, b[:])
}
