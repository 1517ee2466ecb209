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
	offered  bool  // the rest is valid, and it has not been pulled
	port     *port // to leave by
	path     *path
	sock     *udp.Socket
	protocol wire.Protocol
	src, dst netip.AddrPort
	by       uint32 // the port that it has to leave by, counted from 1; 0: any
	ttl, tos uint8
	discover udp.Discovery
	payload  []byte // the program's
	now      mono.Time
	df       bool // IPv4: no router may cut it
	back     bool // once it is taken it goes to members on this host too

	link   [wire.EthernetLen]byte // of a packet socket that leaves the header to us,
	header int                    // and its length
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
	to, by := m.To, sock.By(m)
	if !to.IsValid() {
		return -1, unix.EDESTADDRREQ
	}
	if to.Port() == 0 && protocol == wire.ProtoUDP {
		return -1, unix.EINVAL
	}
	if errno := checkRaw(sock.Raw, m); errno != 0 {
		return -1, errno
	}
	w, errno := s.pathBy(by, to.Addr(), now)
	if errno != 0 {
		return -1, errno
	}
	if w.mac == wire.Broadcast && !sock.Broadcast {
		return -1, unix.EACCES
	}
	from, errno := s.from(w, sock.From(m))
	if errno != 0 {
		return -1, errno
	}
	src := netip.AddrPortFrom(from, sock.Local.Port())
	d := &s.direct
	d.port, d.path, d.sock, d.protocol, d.src, d.dst, d.payload, d.now = w.port, w, sock, protocol, src, to, m.Payload, now
	d.by, d.ttl, d.tos = by, sock.Hops(m, w.hops()), sock.Class(m)
	n, discover := d.len(), sock.Discovery(m)
	d.discover = discover
	limit := w.limit(discover)
	if n > limit && (!discover.Fragments() || n > longest(to.Addr())) {
		return -1, s.tooLong(sock, to, limit, now)
	}
	d.back = w.entry == nil && protocol == wire.ProtoUDP && s.comesBack(w, sock, from, to.Addr())
	if w.entry == nil && staysHere(to.Addr(), d.ttl) {
		if d.back {
			s.bringBack(d)
		}
		return -1, 0
	}
	d.df = discover.DF(n <= limit) && (discover != udp.DiscoverWant || !w.small)
	if sock.Send.Len() > 0 || n > limit && w.port.cutting.Active() { // behind what waits already
		return -1, s.queue(d)
	}
	if !w.resolved(now) {
		return w.port.number, s.park(d)
	}
	if n > limit {
		s.cut(w, s.put(d, w.port.cutting.Room()), limit, now)
		if d.back {
			s.bringBack(d)
		}
		return w.port.number, 0
	}
	d.offered = true
	return w.port.number, 0
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

// len is the length of the IP packet.
func (d *direct) len() int {
	n := len(d.payload)
	if r := d.sock.Raw; r != nil && r.Header && d.dst.Addr().Is4() {
		return n
	}
	n += headerLen(d.dst.Addr())
	if d.protocol == wire.ProtoUDP && d.sock.Raw == nil {
		n += wire.UDPLen
	}
	return n
}

// hops is the initial TTL or hop limit of packets that leave by w, unless they have their own.
func (w *path) hops() uint8 {
	if w.entry == nil && w.dst.IsMulticast() {
		return multicastTTL
	}
	return cmp.Or(w.ttl, defaultTTL)
}

// put writes the IP packet.
func (s *Stack) put(d *direct, b []byte) int {
	r := d.sock.Raw
	if r != nil && r.Header && d.dst.Addr().Is4() {
		return s.putIncluded(d, b)
	}
	total := d.len()
	ip := header{protocol: d.protocol, src: d.src.Addr(), dst: d.dst.Addr(), ttl: d.ttl, tos: d.tos}
	ip.payload = total - headerLen(ip.dst)
	if ip.dst.Is4() {
		if ip.routers = !d.df; ip.routers { // RFC 6864 §4.2
			ip.id = s.idents.Next4(ip.src, ip.dst, ip.protocol, d.now)
		}
	} else {
		ip.flow = s.flowLabel(d.protocol, d.src, d.dst)
	}
	n := ip.put(b)
	if d.protocol == wire.ProtoUDP && r == nil {
		pseudo := wire.PseudoSum(ip.src, ip.dst, wire.ProtoUDP, total-n)
		h := wire.UDP(b[n:total])
		n += wire.PutUDP(h, d.src.Port(), d.dst.Port(), len(d.payload))
		if d.sock.NoCheck && ip.dst.Is4() { // IPv6 has no datagram without (RFC 8200 §8.1)
			copy(b[n:], d.payload)
			return total
		}
		h.SealSum(pseudo, wire.CopySum(b[n:], d.payload, 0))
		return total
	}
	copy(b[n:], d.payload)
	switch {
	case r != nil && r.Sum && !ip.dst.Is4():
		sumRaw(r, b[n:total], wire.PseudoSum(ip.src, ip.dst, d.protocol, total-n))
	case r == nil && d.protocol == wire.ProtoICMP:
		binary.BigEndian.PutUint16(b[n+4:], d.src.Port())
		wire.ICMP4(b[n:total]).Seal()
	case r == nil && d.protocol == wire.ProtoICMPv6:
		binary.BigEndian.PutUint16(b[n+4:], d.src.Port()) // the program does not know the source that is in its sum
		wire.ICMP6(b[n:total]).Seal(wire.PseudoSum(ip.src, ip.dst, wire.ProtoICMPv6, total-n))
	}
	return total
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
	return 0
}

// record is what is kept of a queued packet besides its bytes: whom it is for, and
// whose it is. Iface holds the protocol, above it the port that it has to leave by, and
// rawRecord; TTL what the socket does about the path's MTU.
func (d *direct) record() *ring.Datagram {
	iface := d.by<<8 | uint32(d.protocol)
	if d.sock.Raw != nil {
		iface |= rawRecord
	}
	return &ring.Datagram{From: d.src, To: d.dst, Iface: iface, TTL: uint8(d.discover)}
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
	n := s.put(d, s.scratch)
	if !d.path.entry.Parked.Put(d.record(), s.scratch[:n]) {
		s.Count.Count(drop.NeighbourParkingFull)
	}
	return 0
}

// post queues an IP packet of the stack's own. It is cut where it has to be.
func (s *Stack) post(dst netip.Addr, ip []byte, now mono.Time) drop.Reason {
	w, errno := s.path(dst, now)
	switch {
	case errno != 0:
		return drop.NoRoute
	case !w.port.packets.Put(&ring.Datagram{To: netip.AddrPortFrom(dst, 0)}, ip):
		return drop.OutboxFull
	}
	return drop.None
}

// unreachableParked tells the senders of what is parked at e that e does not answer, as if a
// router had said so (Linux: ipv4_link_failure, ip6_link_failure).
func (s *Stack) unreachableParked(e *neigh.Entry, now mono.Time) {
	var b [quoteMax]byte // not in scratch: a packet may be there whose way has pushed e out
	for {
		var m ring.Datagram
		n, ok := e.Parked.Get(&m, b[:], false)
		if !ok {
			return
		}
		s.Count.Count(drop.NeighbourFailed)
		s.reportUnreachable(&m, b[:n], now)
	}
}

// reportUnreachable tells the socket of a packet that its next hop does not answer. Connected ones
// hear it without asking: to them it is the answer of the only one they talk to.
func (s *Stack) reportUnreachable(m *ring.Datagram, packet []byte, now mono.Time) {
	err := udp.ExtendedError{
		Errno: unix.EHOSTUNREACH, Origin: udp.OriginICMP, Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4HostUnreachable,
		To: m.To, Offender: m.From.Addr(), Time: now,
	}
	if !m.To.Addr().Is4() {
		err.Origin, err.Type, err.Code = udp.OriginICMP6, uint8(wire.ICMP6Unreachable), wire.ICMP6AddrUnreachable
	}
	data := packet[min(headerLen(m.To.Addr()), len(packet)):]
	report := func(sock *udp.Socket) {
		if r := sock.Report(&err, true, data, s.Wakes); r != drop.None {
			s.Count.Count(r)
		}
	}
	var sock *udp.Socket
	switch protocol := wire.Protocol(m.Iface); {
	case m.Iface&rawRecord != 0:
		s.Raw.Each(0, m.From, m.To, report)
	case protocol == wire.ProtoUDP:
		data = data[min(wire.UDPLen, len(data)):]
		sock = s.UDP.Lookup(m.From, m.To)
	case protocol == wire.ProtoICMP, protocol == wire.ProtoICMPv6:
		sock = s.Ping.Lookup(m.From, m.To)
	}
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
