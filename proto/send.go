package proto

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A program's datagram takes the shortest way there is: the program holds the core's
// lock and offers it, the core pulls it from the program's memory into a frame, and
// Settle sees what became of it. Only what the device has no room for is queued.

// direct is the datagram on offer.
type direct struct {
	offered bool  // the rest is valid, and it has not been pulled
	port    *port // to leave by
	path    *path
	sock    *udp.Socket
	ip      header
	from    uint16 // ports
	to      uint16
	by      uint32 // the port that it has to leave by, counted from 1; 0: any

	discover udp.Discovery
	payload  []byte // the program's
	rest     []byte // what follows it in datagrams of as many bytes, the last of fewer: see train
	now      mono.Time
	piece    int // bytes of its fragments, if it is cut
	stamp    udp.Stamp
	key      uint32
	back     bool // once it is taken it goes to members on this host too

	link    [wire.EthernetLen]byte // of a packet socket that leaves the header to us,
	linkLen int                    // and its length
}

// Offer is OfferMessage for a datagram that says nothing for itself.
func (s *Stack) Offer(protocol wire.Protocol, sock *udp.Socket, to netip.AddrPort, payload []byte, now mono.Time) (port int, errno unix.Errno) {
	return s.OfferMessage(protocol, sock, &udp.Message{To: to, Payload: payload}, now)
}

// OfferMessage offers a datagram of a socket to be sent. The caller then pulls one packet
// for the port that it returns, and calls Settle. Port is -1 where there is
// nothing to pull. The payload is read until Settle returns.
//
// The errors are those of sendto(2): EDESTADDRREQ, EINVAL, EMSGSIZE, EACCES for a
// broadcast without SO_BROADCAST, ENETUNREACH, EADDRNOTAVAIL, ENOBUFS. A datagram
// to a neighbour that does not answer is lost, as it would be on the wire.
func (s *Stack) OfferMessage(protocol wire.Protocol, sock *udp.Socket, m *udp.Message, now mono.Time) (port int, errno unix.Errno) {
	to := m.To
	if !to.IsValid() {
		return -1, unix.EDESTADDRREQ
	}
	if to.Port() == 0 && protocol == wire.ProtoUDP && sock.Raw == nil && to != sock.Remote {
		return -1, unix.EINVAL
	}
	if to.Addr().Is4() && len(m.Payload) > 0xffff { // of which nobody is told, other than of less (udp_sendmsg, raw_sendmsg, ping_common_sendmsg)
		return -1, unix.EMSGSIZE
	}
	if sock.Raw != nil {
		if errno := checkRaw(sock.Raw, m); errno != 0 {
			return -1, errno
		}
	}
	w, by, errno := s.way(sock, m, now)
	if errno != 0 {
		return -1, errno
	}
	if sock.DontRoute && to.Addr().Is4() && !w.onLink() {
		return -1, unix.ENETUNREACH
	}
	if w.entry == nil && w.mac == wire.Broadcast && !sock.Broadcast {
		return -1, unix.EACCES
	}
	from := w.src
	if sock.Local.Addr() != from || m.Source.IsValid() {
		if from, errno = s.from(w, sock.From(m)); errno != 0 {
			return -1, errno
		}
	}
	d := &s.direct
	d.port, d.path, d.sock, d.payload, d.now, d.by = w.port, w, sock, m.Payload, now, by
	d.ip.protocol, d.ip.src, d.ip.dst, d.from, d.to = protocol, from, to.Addr(), sock.Local.Port(), to.Port()
	d.ip.ttl, d.ip.tos, d.discover = sock.Terms(m, w.ttl, w.group)
	d.stamp, d.key = m.Stamp, m.Key
	n, limit := d.len(), w.limit(d.discover)
	d.piece, d.rest = sock.Piece(to.Addr(), limit), nil
	if size := sock.SegmentOf(m); size != 0 {
		if errno := s.divide(d, size, to); errno != 0 {
			return -1, errno
		}
		n = d.len()
	}
	if n > d.piece && !d.discover.Fragments() || n > limit && n > longest(to.Addr()) {
		return -1, s.tooLong(sock, to, d.piece, now)
	}
	if !included(sock.Raw, m) {
		return -1, unix.EINVAL
	}
	d.back = false
	if w.entry == nil {
		d.back = protocol == wire.ProtoUDP && s.comesBack(w, sock, from, to.Addr())
		if w.group && staysHere(to.Addr(), d.ip.ttl) {
			if d.back {
				for s.bringBack(d); d.next(); {
					s.bringBack(d)
				}
			}
			return -1, 0
		}
	}
	d.ip.routers = !d.discover.DF(n <= limit) || w.small && d.discover == udp.DiscoverWant
	if sock.Send.Len() > 0 || n > limit && w.port.cutting.Active() { // behind what waits already
		return -1, s.queue(d)
	}
	if !w.resolved(now) {
		return w.port.number, s.park(d)
	}
	if n > limit {
		n = s.put(d, w.port.cutting.Room())
		if s.cut(w, n, d.piece, now); d.stamp&udp.StampAny != 0 {
			s.stamp(sock, d.stamp, d.key, d.ip.src, w.port.cutting.Room()[:n], now)
		}
		if d.back {
			s.bringBack(d)
		}
		return w.port.number, 0
	}
	d.offered = true
	return w.port.number, 0
}

// way returns the way that a message takes, and the port that it has to leave by, counted from 1; 0
// is any.
func (s *Stack) way(sock *udp.Socket, m *udp.Message, now mono.Time) (w *path, by uint32, errno unix.Errno) {
	if by = cmp.Or(m.Port, sock.Device); by == 0 {
		if w, errno = s.path(m.To.Addr(), now); errno == 0 && !w.group {
			return w, 0, 0
		}
	}
	if by = sock.By(m); by != 0 {
		w, errno = s.pathBy(by, m.To.Addr(), now)
	}
	return w, by, errno
}

// longest is the length of the longest packet to dst: its field of 16 bits does not count the
// header of IPv6.
func longest(dst netip.Addr) int {
	if dst.Is4() {
		return 65535
	}
	return wire.IPv6Len + 65535
}

// Settle ends an Offer: what was not pulled is queued at the socket. It is EAGAIN if
// there is no room, and the socket's gate opens when there is.
func (s *Stack) Settle() unix.Errno {
	if !s.direct.offered {
		return 0
	}
	s.direct.offered = false
	return s.queue(&s.direct)
}

// divide has a message leave as datagrams of size bytes, of which the first is d's payload then. The errors are those of
// udp_send_skb and, where all of it is longer than a packet can be, of ip_append_data.
func (s *Stack) divide(d *direct, size int, to netip.AddrPort) unix.Errno {
	whole := d.payload
	d.payload = whole[:min(size, len(whole))]
	switch n := d.len(); {
	case n-len(d.payload)+len(whole) > longest(to.Addr()):
		return s.tooLong(d.sock, to, longest(to.Addr()), d.now)
	case n > d.piece:
		return unix.EMSGSIZE
	case len(whole) > size*udp.SegmentsMax, d.noSum():
		return unix.EINVAL
	}
	d.rest = whole[len(d.payload):]
	return 0
}

// next makes d the next datagram of its message. It is false if there is none. Who wants to hear of a message's being sent hears of
// its first.
func (d *direct) next() bool {
	if len(d.rest) == 0 {
		return false
	}
	n := min(len(d.payload), len(d.rest))
	d.payload, d.rest = d.rest[:n:n], d.rest[n:]
	d.stamp = 0
	d.len()
	return true
}

// len is the length of the IP packet. It notes what of that is payload.
func (d *direct) len() int {
	n, header := len(d.payload), headerLen(d.ip.dst)
	switch r := d.sock.Raw; {
	case r != nil && r.Header && header == wire.IPv4Len:
		return n
	case r == nil && d.ip.protocol == wire.ProtoUDP:
		n += wire.UDPLen
	}
	d.ip.payload = n
	return header + n
}

// put writes the IP packet.
func (s *Stack) put(d *direct, b []byte) int {
	four := d.ip.dst.Is4()
	d.ip.id = 0
	switch r := d.sock.Raw; {
	case four && r != nil && r.Header:
		return s.putIncluded(d, b)
	case !four:
		d.ip.flow = s.flowLabel(d.ip.protocol, netip.AddrPortFrom(d.ip.src, d.from), netip.AddrPortFrom(d.ip.dst, d.to))
	case d.ip.routers: // RFC 6864 §4.2
		d.ip.id = s.idents.Next4(d.ip.src, d.ip.dst, d.ip.protocol, d.now)
	}
	n, pseudo := d.ip.put(b)
	segment := b[n : n+d.ip.payload]
	if d.ip.protocol == wire.ProtoUDP && d.sock.Raw == nil {
		if d.noSum() {
			copy(segment[wire.PutUDP(segment, d.from, d.to, len(d.payload)):], d.payload)
		} else {
			sum := wire.CopySum(segment[wire.UDPLen:], d.payload, pseudo)
			wire.PutUDPSum(segment, d.from, d.to, len(d.payload), sum)
		}
	} else {
		d.putMessage(segment, pseudo)
	}
	return n + len(segment)
}

// noSum says whether a datagram goes without a checksum: over IPv6 the two ends of a tunnel may agree on that (RFC 6935).
func (d *direct) noSum() bool {
	if d.ip.dst.Is4() {
		return d.sock.NoCheck
	}
	return d.sock.NoCheck6
}

// putMessage writes what a ping or a raw socket has behind the IP header.
func (d *direct) putMessage(b []byte, pseudo wire.Sum) {
	copy(b, d.payload)
	switch r := d.sock.Raw; {
	case r != nil:
		if r.Sum && !d.ip.dst.Is4() {
			sumRaw(r, b, pseudo)
		}
	case d.ip.protocol == wire.ProtoICMP:
		binary.BigEndian.PutUint16(b[4:], d.from)
		wire.ICMP4(b).Seal()
	case d.ip.protocol == wire.ProtoICMPv6:
		binary.BigEndian.PutUint16(b[4:], d.from) // the program does not know the source that is in its sum
		wire.ICMP6(b).Seal(pseudo)
	}
}

// queue puts a datagram into its socket's send queue and the socket on its port's
// list.
func (s *Stack) queue(d *direct) unix.Errno {
	n := 0
	if d.sock.Link != nil {
		n = d.putFrame(s.scratch)
	} else {
		n = s.put(d, s.scratch)
	}
	if !d.sock.Send.Put(d.record(), s.scratch[:n]) {
		return unix.EAGAIN
	}
	if d.back {
		s.bringBack(d)
	}
	s.enlist(d.port, d.sock)
	for d.next() { // a message has room, or has none
		n := s.put(d, s.scratch)
		if !d.sock.Send.Add(d.record(), s.scratch[:n]) {
			return unix.ENOBUFS
		}
		if d.back {
			s.bringBack(d)
		}
	}
	return 0
}

// record is what is kept of a queued packet besides its bytes: whom it is for, and
// whose it is. Iface holds the protocol, above it the port that it has to leave by, and
// rawRecord; TTL what the socket does about the path's MTU, TOS what its program wants to hear of it, and Time how long its
// fragments may be, 0: as the path says, and above that the key by which the program knows it.
func (d *direct) record() *ring.Datagram {
	iface := d.by<<8 | uint32(d.ip.protocol)
	if d.sock.Raw != nil {
		iface |= rawRecord
	}
	return &ring.Datagram{
		From: netip.AddrPortFrom(d.ip.src, d.from), To: netip.AddrPortFrom(d.ip.dst, d.to), Iface: iface, TTL: uint8(d.discover), TOS: uint8(d.stamp),
		Time: int64(d.piece) | int64(d.key)<<32,
	}
}

// rawRecord marks what a raw socket has sent.
const rawRecord = 1 << 31

// enlist puts a socket at the end of a port's list of those with something to send.
func (s *Stack) enlist(p *port, sock *udp.Socket) {
	if sock.Queued {
		return
	}
	sock.Queued, sock.Ready = true, nil
	*p.readyEnd = sock
	p.readyEnd = &sock.Ready
}

// park lets a datagram wait for its neighbour. A full parking ring drops it: the
// sender's socket must not wait for one dead address.
func (s *Stack) park(d *direct) unix.Errno {
	for more := true; more; more = d.next() {
		n := s.put(d, s.scratch)
		if !d.path.entry.Parked.Put(d.record(), s.scratch[:n]) {
			s.Count.Count(drop.NeighbourParkingFull)
		}
	}
	return 0
}

// post queues an IP packet of the stack's own. It is cut where it has to be.
func (s *Stack) post(dst netip.Addr, ip []byte, now mono.Time) drop.Reason {
	w, errno := s.pathBack(dst, now)
	switch {
	case errno != 0:
		return unroutable(errno)
	case !w.port.packets.Put(&ring.Datagram{To: netip.AddrPortFrom(dst, 0)}, ip):
		return drop.OutboxFull
	}
	return drop.None
}

// unroutable is why a packet is dropped that has no way.
func unroutable(errno unix.Errno) drop.Reason {
	switch errno {
	case unix.ENOBUFS:
		return drop.NeighbourTableFull
	case unix.EADDRNOTAVAIL:
		return drop.NoSourceAddress
	case unix.EINVAL, unix.EHOSTUNREACH, unix.EACCES:
		return drop.RouteProhibited
	}
	return drop.NoRoute
}

// dropParked ends the wait of what is parked at e. If e was forgotten nothing is known of it, and it is dropped. If e
// does not answer it takes another way, where there is one, or else the senders are told, as if a router had said so
// (Linux: ipv4_link_failure, ip6_link_failure).
func (s *Stack) dropParked(e *neigh.Entry, failed bool, now mono.Time) {
	b := s.scratch // nothing is there: it is e's timer that has gone off
	if !failed {
		b = nil // a packet may be there whose way has pushed e out
	}
	for {
		var m ring.Datagram
		n, ok := e.Parked.Get(&m, b, false)
		switch {
		case !ok:
			return
		case failed && s.detour(e, m.To.Addr(), m.Iface&^rawRecord>>8):
			if !s.ports[e.Port].packets.Put(&m, b[:n]) {
				s.Count.Count(drop.OutboxFull)
			}
		default:
			s.Count.Count(drop.NeighbourFailed)
			if failed {
				s.reportUnreachable(&m, b[:n], now)
			}
		}
	}
}

// noAnswer is what this host says of a packet of its own, from an address of its, whose next hop does not answer
// (Linux: ipv4_link_failure, ip6_link_failure).
func noAnswer(to netip.AddrPort, from netip.Addr, now mono.Time) udp.ExtendedError {
	e := udp.ExtendedError{
		Errno: unix.EHOSTUNREACH, Origin: udp.OriginICMP, Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4HostUnreachable,
		To: to, Offender: from, Time: now,
	}
	if !to.Addr().Is4() {
		e.Origin, e.Type, e.Code = udp.OriginICMP6, uint8(wire.ICMP6Unreachable), wire.ICMP6AddrUnreachable
	}
	return e
}

// reportUnreachable tells the socket of a packet that its next hop does not answer. Connected ones
// hear it without asking: to them it is the answer of the only one they talk to.
func (s *Stack) reportUnreachable(m *ring.Datagram, packet []byte, now mono.Time) {
	err := noAnswer(m.To, m.From.Addr(), now)
	data := packet[min(headerLen(m.To.Addr()), len(packet)):]
	report := func(sock *udp.Socket) {
		if r := sock.Report(&err, true, data, s.Wakes); r != drop.None {
			s.Count.Count(r)
		}
	}
	if m.Iface&rawRecord != 0 {
		s.Raw.Each(0, m.From, m.To, report)
		return
	}
	if wire.Protocol(m.Iface) == wire.ProtoUDP {
		data = data[min(wire.UDPLen, len(data)):]
	}
	sock := s.senderOf(m)
	if sock != nil {
		report(sock)
	}
}

// Withdraw is told that a socket is no longer in any table. What it has queued is
// still sent; after that, its memory goes back.
func (s *Stack) Withdraw(sock *udp.Socket) {
	sock.Withdrawn = true
	if sock.Send.Len() == 0 {
		sock.Send.Free()
	}
}
