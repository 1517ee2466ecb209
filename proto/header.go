package proto

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.1; RFC 8200 §3; RFC 6437 §3 (flow labels).

// header is the IP header of a packet of either family, that of its addresses.
type header struct {
	protocol wire.Protocol
	src, dst netip.Addr
	ttl, tos uint8  // or hop limit and traffic class
	flow     uint32 // flow label: IPv6 alone
	payload  int    // bytes
	routers  bool   // IPv4: routers may cut it (no DF), so it has an identification
	id       uint16 // IPv4
}

// headerLen is the length of the header of a packet to a.
func headerLen(a netip.Addr) int {
	if a.Is4() {
		return wire.IPv4Len
	}
	return wire.IPv6Len
}

// put writes the header and returns its length, and the sum of the pseudo-header of what follows.
func (h *header) put(b []byte) (n int, pseudo wire.Sum) {
	if h.dst.Is4() {
		src, dst := word4(h.src), word4(h.dst)
		wire.PutIPv4Head((*[wire.IPv4Len]byte)(b), wire.IPv4Len+h.payload, h.tos, h.ttl, h.protocol, !h.routers, h.id, src, dst)
		return wire.IPv4Len, wire.Sum(src) + wire.Sum(dst) + wire.Sum(h.protocol) + wire.Sum(uint32(h.payload))
	}
	n = wire.PutIPv6(b, &wire.IPv6Fields{
		TrafficClass: h.tos, HopLimit: h.ttl, NextHeader: h.protocol, FlowLabel: h.flow, Src: h.src, Dst: h.dst, PayloadLen: h.payload,
	})
	return n, wire.IPv6(b[:n]).PseudoSum(h.protocol, h.payload)
}

// word4 is an IPv4 address as the word that stands in headers.
func word4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// flowLabel is the label of all packets of a flow, so that those who spread load keep them
// together: a keyed hash, as good as random, and never 0, which is no label (RFC 6437 §3).
func (s *Stack) flowLabel(protocol wire.Protocol, local, remote netip.AddrPort) uint32 {
	l, r := local.Addr().As16(), remote.Addr().As16()
	ports := uint64(protocol)<<32 | uint64(local.Port())<<16 | uint64(remote.Port())
	le := binary.LittleEndian
	h1, l1 := bits.Mul64(le.Uint64(l[:8])^s.flowKey[0], le.Uint64(l[8:])^s.flowKey[1]^ports)
	h2, l2 := bits.Mul64(le.Uint64(r[:8])^s.flowKey[1], le.Uint64(r[8:])^s.flowKey[0]^bits.RotateLeft64(ports, 24))
	h, low := bits.Mul64(h1^l2^s.flowKey[0], l1^h2^ports|1)
	return max(uint32((h^low)>>44), 1)
}
