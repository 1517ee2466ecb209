package ip

import (
	"encoding/binary"
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.2 ("Fragmentation and Reassembly"); RFC 8200 §4.5; RFC 1858 and RFC 3128
// on tiny fragments.

// packetMax is the length of the longest packet less what is not counted: all of an IPv4 packet,
// and of an IPv6 packet what follows its header.
const packetMax = 65535

// A Key names the datagram that a fragment is of: RFC 791 §3.2 has the protocol in it, RFC 8200
// §4.5 does not.
type Key struct {
	Src, Dst netip.Addr
	ID       uint32
	Protocol wire.Protocol // IPv4; 0 on IPv6
	Link     uint16        // 1 + the port of link-local addresses, which are others on each link; else 0
}

// Hash is where k goes: the same number on every core that has the same hash key.
func (k *Key) Hash(h siphash.Key) uint64 {
	src, dst := k.Src.As16(), k.Dst.As16()
	le := binary.LittleEndian
	return h.Sum(le.Uint64(src[:8]), le.Uint64(src[8:]), le.Uint64(dst[:8]), le.Uint64(dst[8:]),
		uint64(k.ID)<<32|uint64(k.Protocol)<<16|uint64(k.Link))
}

// A Fragment is a packet that is a part of another.
type Fragment struct {
	Key
	Port  int  // that it came in by
	Group bool // it was sent to more than us

	packet []byte // from the IP header on
	data   int    // where its data begin
	offset int    // of the data in the datagram
	more   bool   // others follow
	head   int    // how much of the packet comes before the data of the whole
	next   int    // IPv6: where the protocol of the whole is written to
	proto  wire.Protocol
}

// Fragment4 is an IPv4 packet whose IsFragment is true.
func Fragment4(h wire.IPv4) Fragment {
	return Fragment{
		Key:    Key{Src: h.Src(), Dst: h.Dst(), ID: uint32(h.ID()), Protocol: h.Protocol()},
		packet: h, data: h.HeaderLen(), offset: h.FragmentOffset(), more: h.MF(),
		head: h.HeaderLen(), proto: h.Protocol(),
	}
}

// Fragment6 is an IPv6 packet of whose extension headers e says that it is a fragment.
func Fragment6(h wire.IPv6, e *wire.Extensions) Fragment {
	return Fragment{
		Key:    Key{Src: h.Src(), Dst: h.Dst(), ID: e.FragmentID},
		packet: h, data: e.Offset + wire.FragmentLen, offset: e.FragmentOffset, more: e.MoreFragments,
		head: e.Offset, next: e.NextHeaderAt, proto: e.FragmentNext,
	}
}

// end is the offset behind the data.
func (f *Fragment) end() int { return f.offset + len(f.packet) - f.data }

// judge says what is wrong with a fragment by itself.
func (f *Fragment) judge() drop.Reason {
	length := len(f.packet) - f.data
	if length == 0 || f.more && length%8 != 0 {
		return drop.FragmentBad
	}
	head := f.head
	if f.Src.Is6() {
		head -= wire.IPv6Len
	}
	if head+f.end() > packetMax { // the ping of death
		return drop.FragmentTooLong
	}
	// A first fragment has the transport header, so that no rule about ports is got around
	// (RFC 1858 §3, RFC 3128). The shortest MTU of IPv4, 68 bytes, has room for it. Of IPv6 the
	// walk over the extension headers sees to it.
	if f.Src.Is4() && (f.offset == 0 && length < headerMin(f.proto) || f.offset == 8 && f.proto == wire.ProtoTCP) {
		return drop.FragmentHeaders
	}
	return drop.None
}

// headerMin is how much of a transport header a first fragment has.
func headerMin(p wire.Protocol) int {
	switch p {
	case wire.ProtoTCP:
		return wire.TCPLen
	case wire.ProtoUDP:
		return wire.UDPLen
	case wire.ProtoICMP:
		return wire.ICMP4Len
	}
	return 0
}

// ecn is the bit of the fragment's ECN codepoint in datagram.ecn.
func (f *Fragment) ecn() uint8 {
	if f.Src.Is4() {
		return 1 << wire.IPv4(f.packet).ECN()
	}
	return 1 << wire.IPv6(f.packet).ECN()
}
