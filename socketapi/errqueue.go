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
		r.n, r.from = n, e.To
		r.flags = unix.MSG_ERRQUEUE
		if whole > n {
			r.flags |= unix.MSG_TRUNC // and MSG_TRUNC asks for nothing here
		}
		r.m = ring.Datagram{From: e.To, To: e.To, Iface: e.Iface, Time: int64(e.Time), TTL: e.TTL, TOS: e.TOS}
		s.nextError(e.Origin)
		return r, e, 0
	}
	return r, e, unix.EAGAIN
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
	if taken != udp.OriginLocal {
		s.soErr.Take()
	}
}

// purgeErrors forgets the errors that wait: IP_RECVERR was switched off.
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

// extended writes an error: struct sock_extended_err and, behind it, who has reported it.
func (c *control) extended(e *udp.ExtendedError) {
	const extendedLen = 16
	var b [extendedLen + unix.SizeofSockaddrInet6]byte
	binary.NativeEndian.PutUint32(b[0:], uint32(e.Errno))
	b[4], b[5], b[6] = uint8(e.Origin), e.Type, e.Code
	binary.NativeEndian.PutUint32(b[8:], e.Info)
	if e.To.Addr().Is4() {
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
