package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: raw(7); RFC 3542 §3; raw_local_deliver and raw_send_hdrinc in net/ipv4/raw.c,
// rawv6_rcv and rawv6_push_pending_frames in net/ipv6/raw.c.
//
// Every raw socket of its protocol has a copy of a packet that this host takes, whatever the
// protocol does with it. A stack without raw sockets pays for one comparison a packet. What a socket
// has no room for it counts, and loses. What another core has handed over was shown there.

// inputRaw shows the packet in Input to the raw sockets of a protocol and says whether one of
// them takes it.
func (s *Stack) inputRaw(protocol wire.Protocol, payload []byte) (taken bool) {
	if s.Raw.Len() == 0 || s.handedOver {
		return false
	}
	in := &s.in
	local := netip.AddrPortFrom(in.dst, uint16(protocol))
	remote := netip.AddrPortFrom(in.src, 0)
	packet := payload
	if in.dst.Is4() {
		packet = in.ip
	}
	s.Raw.Each(uint32(s.via()+1), local, remote, func(sock *udp.Socket) {
		if s.rawWants(sock.Raw, protocol, payload) && (!in.dst.IsMulticast() || sock.Hears(in.port.number, in.dst, in.src.WithZone(""))) {
			taken = true
			sock.Deliver(s.facts(netip.AddrPortFrom(in.dst, 0), remote), packet, s.Wakes)
		}
	})
	return taken
}

// rawWants says whether a raw socket takes the packet in Input.
func (s *Stack) rawWants(r *udp.Raw, protocol wire.Protocol, payload []byte) bool {
	icmp := protocol == wire.ProtoICMP || protocol == wire.ProtoICMPv6
	if icmp && len(payload) == 0 || icmp && !r.Wants(payload[0], true) {
		return false
	}
	if !r.Sum || s.in.dst.Is4() {
		return true
	}
	pseudo := wire.PseudoSum(s.in.src, s.in.dst, protocol, len(payload))
	return r.SumAt+2 <= len(payload) && (pseudo.AddBytes(payload).OK() || s.in.port.TrustUnfinished && wire.Unfinished(uint16(payload[r.SumAt])<<8|uint16(payload[r.SumAt+1]), pseudo))
}

// claimed is the reason of a drop, None where it is that nobody here is for the packet and a raw
// socket has taken it.
func claimed(r drop.Reason, raw bool) drop.Reason {
	if raw {
		switch r {
		case drop.ICMP4UnknownType, drop.ICMP6UnknownType, drop.ICMP4EchoUnmatched, drop.ICMP6EchoUnmatched,
			drop.ICMP4QuoteUnknown, drop.ICMP6QuoteUnknown:
			return drop.None
		}
	}
	return r
}

// unspoken6 says whether behind good extension headers comes a protocol for raw sockets alone, in a
// packet that may be from where it says.
func (s *Stack) unspoken6(e *wire.Extensions) bool {
	if e.Fault != wire.ExtOK || !s.in.port.Loop && s.local(s.in.src) {
		return false
	}
	switch e.Protocol {
	case wire.ProtoUDP, wire.ProtoTCP, wire.ProtoICMPv6, wire.ProtoFragment, wire.ProtoNoNext:
		return false
	}
	return true
}

// errorRaw tells the raw sockets of a protocol what a packet of theirs met (raw_err), and says whether one
// believes it.
func (s *Stack) errorRaw(q *quote) (believed bool) {
	if s.Raw.Len() == 0 || s.handedOver {
		return false
	}
	local := netip.AddrPortFrom(q.local, uint16(q.protocol))
	q.err.To = netip.AddrPortFrom(q.remote, 0)
	s.Raw.Each(0, local, q.err.To, func(sock *udp.Socket) {
		believed = s.reportError(sock, q, q.transport) == drop.None || believed
	})
	return believed
}

// checkRaw finds what a raw socket cannot send.
func checkRaw(r *udp.Raw, m *udp.Message) unix.Errno {
	switch n := len(m.Payload); {
	case r == nil:
	case n > 0xffff:
		return unix.EMSGSIZE
	case r.Sum && r.SumAt+2 > n:
		return unix.EINVAL
	}
	return 0
}

// included says whether what a program writes the header of, if it does, has one.
func included(r *udp.Raw, m *udp.Message) bool {
	if r == nil || !r.Header || !m.To.Addr().Is4() {
		return true
	}
	b := m.Payload
	if len(b) < wire.IPv4Len {
		return false
	}
	head := int(b[0]&15) * 4
	return head >= wire.IPv4Len && head <= len(b)
}

// putIncluded writes a packet whose header is the program's, but for what the host fills in: the
// length, the checksum, and the source and the identification if they are 0 (raw(7)).
func (s *Stack) putIncluded(d *direct, b []byte) int {
	n := copy(b, d.payload)
	h := wire.IPv4(b[:n])
	h.SetTotalLen(n)
	if h.Src().IsUnspecified() {
		h.SetSrc(d.ip.src)
	}
	if h.ID() == 0 {
		h.SetID(s.idents.Next4(d.ip.src, d.ip.dst, d.ip.protocol, d.now))
	}
	h.Seal()
	return n
}

// sumRaw writes the checksum that IPV6_CHECKSUM asks for.
func sumRaw(r *udp.Raw, payload []byte, pseudo wire.Sum) {
	field := payload[r.SumAt : r.SumAt+2]
	field[0], field[1] = 0, 0
	sum := wire.Checksum(payload, pseudo)
	field[0], field[1] = byte(sum>>8), byte(sum)
}
