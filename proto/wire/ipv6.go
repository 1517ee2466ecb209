package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Read first: RFC 8200 §3, RFC 6437 (flow label).

// IPv6Len is the length of an IPv6 header, without extension headers.
const IPv6Len = 40

// IPv6 is a packet that starts with an IPv6 header.
type IPv6 []byte

// ParseIPv6 says whether b starts with a whole IPv6 packet, and trims to its payload
// length. Jumbograms (RFC 2675) are not supported: their payload length of 0 gives
// a packet whose payload is empty.
func ParseIPv6(b []byte) (IPv6, bool) {
	if len(b) < IPv6Len || b[0]>>4 != 6 {
		return nil, false
	}
	n := IPv6Len + int(binary.BigEndian.Uint16(b[4:6]))
	if n > len(b) {
		return nil, false
	}
	return IPv6(b[:n:n]), true
}

// ParseQuotedIPv6 is ParseIPv6 for the packet that an ICMPv6 error quotes: it may be cut
// off anywhere after its header.
func ParseQuotedIPv6(b []byte) (IPv6, bool) {
	if len(b) < IPv6Len || b[0]>>4 != 6 {
		return nil, false
	}
	n := min(IPv6Len+int(binary.BigEndian.Uint16(b[4:6])), len(b))
	return IPv6(b[:n:n]), true
}

// FaultIPv6 says why ParseIPv6 refused b.
func FaultIPv6(b []byte) Fault {
	switch {
	case len(b) < IPv6Len:
		return FaultShort
	case b[0]>>4 != 6:
		return FaultVersion
	case IPv6Len+int(binary.BigEndian.Uint16(b[4:6])) > len(b):
		return FaultLength
	}
	return FaultNone
}

func (h IPv6) TrafficClass() uint8  { return uint8(binary.BigEndian.Uint16(h[0:2]) >> 4) } // DSCP and ECN
func (h IPv6) ECN() ECN             { return ECN(h[1] >> 4 & 3) }
func (h IPv6) FlowLabel() uint32    { return binary.BigEndian.Uint32(h[0:4]) & 0xfffff }
func (h IPv6) PayloadLen() int      { return int(binary.BigEndian.Uint16(h[4:6])) } // extension headers included
func (h IPv6) NextHeader() Protocol { return Protocol(h[6]) }
func (h IPv6) HopLimit() uint8      { return h[7] }
func (h IPv6) Src() netip.Addr      { return netip.AddrFrom16([16]byte(h[8:24])) }
func (h IPv6) Dst() netip.Addr      { return netip.AddrFrom16([16]byte(h[24:40])) }

// SrcWords and DstWords return the addresses as words, first byte on top.
func (h IPv6) SrcWords() (high, low uint64) {
	return binary.BigEndian.Uint64(h[8:16]), binary.BigEndian.Uint64(h[16:24])
}

func (h IPv6) DstWords() (high, low uint64) {
	return binary.BigEndian.Uint64(h[24:32]), binary.BigEndian.Uint64(h[32:40])
}

// Payload is all that follows the header, extension headers included. See [WalkExtensions].
func (h IPv6) Payload() []byte { return h[IPv6Len:] }

// PseudoSum is the sum of the pseudo-header for a transport segment of this packet, which
// has its protocol and length from [Extensions] (RFC 8200 §8.1).
func (h IPv6) PseudoSum(p Protocol, length int) Sum {
	v, c := bits.Add64(binary.BigEndian.Uint64(h[8:16]), binary.BigEndian.Uint64(h[16:24]), 0)
	v, c = bits.Add64(v, binary.BigEndian.Uint64(h[24:32]), c)
	v, c = bits.Add64(v, binary.BigEndian.Uint64(h[32:40]), c)
	return Sum(v).Add(Sum(p) + Sum(uint32(length)) + Sum(c))
}

func (h IPv6) SetECN(v ECN)             { h[1] = h[1]&^0x30 | uint8(v&3)<<4 }
func (h IPv6) SetPayloadLen(n int)      { binary.BigEndian.PutUint16(h[4:6], uint16(n)) }
func (h IPv6) SetNextHeader(p Protocol) { h[6] = uint8(p) }
func (h IPv6) SetHopLimit(v uint8)      { h[7] = v }
func (h IPv6) SetSrc(a netip.Addr)      { put16(h[8:24], a) }
func (h IPv6) SetDst(a netip.Addr)      { put16(h[24:40], a) }

// IPv6Fields are the fields of an IPv6 header.
type IPv6Fields struct {
	TrafficClass uint8
	HopLimit     uint8
	NextHeader   Protocol
	FlowLabel    uint32 // 20 bits
	Src, Dst     netip.Addr
	PayloadLen   int // bytes after the header, extension headers included; at most 65535
}

// PutIPv6 writes an IPv6 header and returns its length.
func PutIPv6(b []byte, f *IPv6Fields) int {
	_ = b[IPv6Len-1]
	binary.BigEndian.PutUint64(b[0:8], 6<<60|uint64(f.TrafficClass)<<52|uint64(f.FlowLabel&0xfffff)<<32|
		uint64(uint16(f.PayloadLen))<<16|uint64(f.NextHeader)<<8|uint64(f.HopLimit))
	put16(b[8:24], f.Src)
	put16(b[24:40], f.Dst)
	return IPv6Len
}
