package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: RFC 1191 §6; RFC 8201 §5; RFC 5927 §7; ip_append_data, ip_local_error and
// ipv4_sk_update_pmtu of Linux.

// tooBig takes in a router's word that a packet of ours to dst, of length bytes, did not fit
// into the next hop's mtu. It says what the path's MTU is now, or that the report cannot be right.
func (s *Stack) tooBig(dst netip.Addr, mtu, length int, now mono.Time) (m int, ok bool) {
	// Not by path, which asks for the neighbour: who forges a report is not to choose whom.
	current, ok := s.linkMTU(dst)
	if !ok || s.local(dst) {
		return 0, false
	}
	if known, ok := s.mtus.Lookup(dst, now); ok && known.MTU <= current {
		if mtu == known.MTU {
			return mtu, true // another packet that was on its way met the same router
		}
		current = known.MTU
	}
	p, ok := s.mtus.Report(dst, mtu, length, current, now)
	if !ok {
		return 0, false
	}
	s.forgetPath(dst)
	if s.peers != nil {
		s.peers.PathMTU(dst, p)
	}
	return p.MTU, true
}

// linkMTU is the longest packet to dst that its first link takes, and its route.
func (s *Stack) linkMTU(dst netip.Addr) (mtu int, ok bool) {
	if s.loop != nil && s.local(dst) {
		return packetMax(dst, s.loop.MTU), true
	}
	r, ok := s.route(dst)
	if !ok || r.Kind != route.Unicast {
		return 0, false
	}
	mtu = packetMax(dst, s.ports[r.Port].MTU)
	if r.MTU > 0 {
		mtu = min(mtu, r.MTU)
	}
	return mtu, true
}

// LearnPathMTU takes in what another core has been told of a path.
func (s *Stack) LearnPathMTU(dst netip.Addr, p ip.PathMTU) {
	s.mtus.Put(dst, p)
	s.forgetPath(dst)
}

// forgetPath has the way to dst found anew.
func (s *Stack) forgetPath(dst netip.Addr) {
	if w := &s.paths[s.pathSlot(dst)]; w.dst == dst {
		w.gen = 0
	}
}

// reduce takes what is known of the path's MTU into w.
func (w *path) reduce(m *ip.PathMTUs, now mono.Time) {
	w.until = mono.Never
	if p, ok := m.Lookup(w.dst, now); ok && p.MTU <= w.mtu {
		w.mtu, w.small, w.until = p.MTU, p.Small, p.Until
	}
}

// limit is the longest packet that a socket sends by w in one piece.
func (w *path) limit(d udp.Discovery) int {
	if d.Path() {
		return w.mtu
	}
	return packetMax(w.dst, w.port.MTU)
}

// MTU returns the MTU of the path to dst (IP_MTU, IPV6_MTU).
func (s *Stack) MTU(dst netip.Addr, now mono.Time) (int, unix.Errno) {
	w, errno := s.path(dst, now)
	if errno != 0 {
		return 0, errno
	}
	return w.mtu, 0
}

// tooLong is the errno of a datagram that may not be sent in the pieces it would take. A socket
// that asked for it hears of the MTU as well (ip_local_error).
func (s *Stack) tooLong(sock *udp.Socket, to netip.AddrPort, mtu int, now mono.Time) unix.Errno {
	if sock.WantsErrors(to.Addr()) {
		if to.Addr().Is4() { // of a message's own port nothing is said (inet_dport)
			to = netip.AddrPortFrom(to.Addr(), sock.Remote.Port())
		}
		e := udp.ExtendedError{Errno: unix.EMSGSIZE, Origin: udp.OriginLocal, Info: uint32(mtu), To: to, Time: now}
		if !sock.Errors.Put(&e, nil) {
			s.Count.Count(drop.UDPErrorsFull)
		}
		s.Wakes.Open(sock.Gate, ring.Err)
	}
	return unix.EMSGSIZE
}
