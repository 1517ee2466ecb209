package wire

import "encoding/binary"

// Read first: RFC 768, RFC 1122 §4.1, RFC 8200 §8.1.

// UDPLen is the length of a UDP header.
const UDPLen = 8

// UDP is a UDP datagram, header included.
type UDP []byte

// ParseUDP says whether b starts with a whole datagram, and trims to its length.
// A length of 0, which only a jumbogram may have (RFC 2675), is refused.
func ParseUDP(b []byte) (UDP, bool) {
	if len(b) < UDPLen {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b[4:6]))
	if n < UDPLen || n > len(b) {
		return nil, false
	}
	return UDP(b[:n:n]), true
}

// ParseQuotedUDP is ParseUDP for what an ICMP error quotes: the header must be whole, the
// rest may be cut off.
func ParseQuotedUDP(b []byte) (UDP, bool) {
	if len(b) < UDPLen {
		return nil, false
	}
	return UDP(b), true
}

// FaultUDP says why ParseUDP refused b.
func FaultUDP(b []byte) Fault {
	if len(b) < UDPLen {
		return FaultShort
	}
	if n := int(binary.BigEndian.Uint16(b[4:6])); n < UDPLen || n > len(b) {
		return FaultLength
	}
	return FaultNone
}

func (h UDP) SrcPort() uint16  { return binary.BigEndian.Uint16(h[0:2]) }
func (h UDP) DstPort() uint16  { return binary.BigEndian.Uint16(h[2:4]) }
func (h UDP) Ports() uint32    { return binary.BigEndian.Uint32(h[0:4]) } // the source's in the upper half
func (h UDP) Length() int      { return int(binary.BigEndian.Uint16(h[4:6])) }
func (h UDP) Checksum() uint16 { return binary.BigEndian.Uint16(h[6:8]) } // 0: absent
func (h UDP) Payload() []byte  { return h[UDPLen:] }

func (h UDP) SetSrcPort(p uint16)  { binary.BigEndian.PutUint16(h[0:2], p) }
func (h UDP) SetDstPort(p uint16)  { binary.BigEndian.PutUint16(h[2:4], p) }
func (h UDP) SetLength(n int)      { binary.BigEndian.PutUint16(h[4:6], uint16(n)) }
func (h UDP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(h[6:8], v) }

// Check judges the checksum; pseudo is that of the addresses and len(h).
func (h UDP) Check(pseudo Sum) ChecksumState { return CheckTransport(ProtoUDP, h, pseudo) }

// Seal computes the checksum over header and payload and writes it; pseudo is that of
// the addresses and len(h).
func (h UDP) Seal(pseudo Sum) {
	h.SetChecksum(0)
	h.SetChecksum(udpChecksum(sumBytes(h, pseudo)))
}

// SealSum is Seal for who knows the sum of the payload already, from [CopySum].
func (h UDP) SealSum(pseudo, payload Sum) {
	h.SetChecksum(0)
	h.SetChecksum(udpChecksum(pseudo.Add(Sum(binary.BigEndian.Uint64(h[0:8]))).Add(payload)))
}

// udpChecksum sends a sum whose complement is 0 as its other zero: 0 means that there
// is no checksum (RFC 768).
func udpChecksum(s Sum) uint16 {
	if v := s.Checksum(); v != 0 {
		return v
	}
	return 0xffff
}

// PutUDP writes a UDP header and returns its length. The payload follows; Seal or
// SealSum then makes the checksum, which is zero, absent, until then.
func PutUDP(b []byte, srcPort, dstPort uint16, payloadLen int) int {
	binary.BigEndian.PutUint64(b[0:8], uint64(srcPort)<<48|uint64(dstPort)<<32|uint64(uint16(UDPLen+payloadLen))<<16)
	return UDPLen
}

// PutUDPSum is PutUDP with the checksum, for who knows the sum of pseudo-header and payload already, from
// [CopySum]. The header is written at once, so that nobody waits for a part of it to be read again.
func PutUDPSum(b []byte, srcPort, dstPort uint16, payloadLen int, sum Sum) int {
	w := uint64(srcPort)<<48 | uint64(dstPort)<<32 | uint64(uint16(UDPLen+payloadLen))<<16
	binary.BigEndian.PutUint64(b[0:8], w|uint64(udpChecksum(sum.Add(Sum(w)))))
	return UDPLen
}
