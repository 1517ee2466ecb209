package udp

import "net/netip"

// A Message is a datagram that a program sends, and what it says for itself instead of its
// socket (control messages).
type Message struct {
	To      netip.AddrPort
	Payload []byte

	Source       netip.Addr // IP_PKTINFO, IPV6_PKTINFO; not valid: the socket's
	Port         uint32     // of the stack, counted from 1, to leave by; 0: the socket's, or as routed
	TTL          uint8      // IP_TTL, IPV6_HOPLIMIT
	TOS          uint8      // IP_TOS, IPV6_TCLASS
	HasTTL       bool
	HasTOS       bool
	DontFragment bool // IPV6_DONTFRAG

	Segment    int // UDP_SEGMENT: bytes of each of the datagrams that Payload is cut into, but for the last; 0: it is one
	HasSegment bool

	Stamp Stamp  // what is to be heard of its being sent, by the error queue
	Key   uint32 // that it is known by there (SOF_TIMESTAMPING_OPT_ID)
}

// SegmentsMax is UDP_MAX_SEGMENTS, how many datagrams one message is cut into at most: 64 before Linux 6.9.
const SegmentsMax = 128

// A Stamp says what a program wants to hear of a datagram's way out (SO_TIMESTAMPING).
type Stamp uint8

const (
	StampScheduled Stamp = 1 << iota // SOF_TIMESTAMPING_TX_SCHED: when it is given to the interface
	StampSent                        // SOF_TIMESTAMPING_TX_SOFTWARE: when the interface has it
	StampOnly                        // SOF_TIMESTAMPING_OPT_TSONLY: without the packet

	StampAny = StampScheduled | StampSent
)

// Terms returns the TTL or hop limit of a message, ttl where neither it nor the socket says one, its TOS or
// traffic class, and what is done about the path's MTU. A header that the program writes is not copied into
// fragments. group says that the message is to one.
func (s *Socket) Terms(m *Message, ttl uint8, group bool) (uint8, uint8, Discovery) {
	tos, discover := s.TOS, s.Discover
	if m.To.Addr().Is4() {
		if s.TTL != 0 && !group {
			ttl = s.TTL
		}
		if s.Raw != nil && s.Raw.Header {
			discover = DiscoverDo
		}
	} else {
		tos, discover = s.TClass, s.Discover6
		if s.HasHops && !group {
			ttl = s.HopLimit
		}
		if m.DontFragment || s.DontFragment {
			discover = DiscoverDo
		}
	}
	if group {
		if g := s.MulticastTo(m.To.Addr()); g.HasTTL {
			ttl = g.TTL
		}
	}
	if m.HasTTL {
		ttl = m.TTL
	}
	if m.HasTOS {
		tos = m.TOS
	}
	return ttl, tos, discover
}

// SegmentOf returns how long the datagrams are that a message is cut into, 0: it is one.
func (s *Socket) SegmentOf(m *Message) int {
	if m.HasSegment {
		return m.Segment
	}
	return s.Segment
}

// Piece returns how long the fragments of a packet to dst may be that does not fit a path's limit. As on
// Linux, one that fits goes whole all the same.
func (s *Socket) Piece(dst netip.Addr, limit int) int {
	if s.MTU6 != 0 && !dst.Is4() {
		return min(s.MTU6, limit)
	}
	return limit
}

// By returns the port that a message has to leave by, counted from 1; 0 is any.
func (s *Socket) By(m *Message) uint32 {
	if m.Port == 0 && m.To.Addr().IsMulticast() {
		if g := s.MulticastTo(m.To.Addr()); g.Port != 0 {
			return g.Port
		}
	}
	if m.Port == 0 {
		return s.Device
	}
	return m.Port
}

// From returns the source of a message, which may be unspecified: then it is of the way that it
// takes.
func (s *Socket) From(m *Message) netip.Addr {
	if m.Source.IsValid() {
		return m.Source
	}
	a, to := s.Local.Addr(), m.To.Addr()
	if a.Is6() && to.Is4() && !s.Only6 { // of a socket for both families, which is connected over IPv6
		a = netip.IPv4Unspecified()
	}
	if !a.IsUnspecified() || !to.IsMulticast() {
		return a
	}
	return s.MulticastTo(to).Source
}
