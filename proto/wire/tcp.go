package wire

import (
	"encoding/binary"
	"strings"
)

// Read first: RFC 9293 §3.1, RFC 3168 §6.1 (ECE, CWR).

const (
	TCPLen    = 20 // bytes of a header without options
	TCPMaxLen = 60 // bytes of the longest header: the data offset is 4 bits of words
)

// Flags are the control bits of a TCP segment.
type Flags uint8

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Has says whether all bits of m are set in f.
func (f Flags) Has(m Flags) bool { return f&m == m }

// Any says whether at least one bit of m is set in f.
func (f Flags) Any(m Flags) bool { return f&m != 0 }

// String returns the names of the bits as "SYN|ACK", "none" if there are none.
func (f Flags) String() string {
	if f == 0 {
		return "none"
	}
	var b strings.Builder
	for _, n := range [...]struct {
		bit  Flags
		name string
	}{{FIN, "FIN"}, {SYN, "SYN"}, {RST, "RST"}, {PSH, "PSH"}, {URG, "URG"}, {ECE, "ECE"}, {CWR, "CWR"}, {ACK, "ACK"}} {
		if f&n.bit != 0 {
			if b.Len() > 0 {
				b.WriteByte('|')
			}
			b.WriteString(n.name)
		}
	}
	return b.String()
}

// TCP is a TCP segment, header included.
type TCP []byte

// ParseTCP says whether b starts with a whole TCP header. The segment is all of
// b, for it has no length of its own: b is the payload of a parsed IP packet.
func ParseTCP(b []byte) (TCP, bool) {
	if len(b) < TCPLen {
		return nil, false
	}
	if n := int(b[12]>>4) * 4; n < TCPLen || n > len(b) {
		return nil, false
	}
	return TCP(b), true
}

// FaultTCP says why ParseTCP refused b.
func FaultTCP(b []byte) Fault {
	if len(b) < TCPLen {
		return FaultShort
	}
	if n := int(b[12]>>4) * 4; n < TCPLen || n > len(b) {
		return FaultHeaderLen
	}
	return FaultNone
}

// QuotedTCPLen is how much of a segment every ICMP error quotes (RFC 792).
const QuotedTCPLen = 8

// ParseQuotedTCP returns what the first 8 bytes of a segment tell, which is all that an
// ICMP error must quote.
func ParseQuotedTCP(b []byte) (srcPort, dstPort uint16, seq Seq, ok bool) {
	if len(b) < QuotedTCPLen {
		return 0, 0, Seq{}, false
	}
	h := TCP(b)
	return h.SrcPort(), h.DstPort(), h.Seq(), true
}

func (h TCP) SrcPort() uint16  { return binary.BigEndian.Uint16(h[0:2]) }
func (h TCP) DstPort() uint16  { return binary.BigEndian.Uint16(h[2:4]) }
func (h TCP) Ports() uint32    { return binary.BigEndian.Uint32(h[0:4]) } // the source's in the upper half
func (h TCP) Seq() Seq         { return Seq{binary.BigEndian.Uint32(h[4:8])} }
func (h TCP) Ack() Seq         { return Seq{binary.BigEndian.Uint32(h[8:12])} }
func (h TCP) HeaderLen() int   { return int(h[12]>>4) * 4 }
func (h TCP) Flags() Flags     { return Flags(h[13]) }
func (h TCP) Reserved() uint8  { return h[12] & 0xf }                       // of these the last is AE of RFC 9768
func (h TCP) Window() uint16   { return binary.BigEndian.Uint16(h[14:16]) } // not scaled
func (h TCP) Checksum() uint16 { return binary.BigEndian.Uint16(h[16:18]) }
func (h TCP) Urgent() uint16   { return binary.BigEndian.Uint16(h[18:20]) }
func (h TCP) Options() []byte  { return h[TCPLen:h.HeaderLen()] }
func (h TCP) Payload() []byte  { return h[h.HeaderLen():] }

// SegLen is SEG.LEN: the payload, and one each for SYN and FIN (RFC 9293 §3.4).
func (h TCP) SegLen() int {
	n := len(h) - h.HeaderLen()
	if h[13]&uint8(SYN) != 0 {
		n++
	}
	if h[13]&uint8(FIN) != 0 {
		n++
	}
	return n
}

func (h TCP) SetSeq(s Seq)         { binary.BigEndian.PutUint32(h[4:8], s.n) }
func (h TCP) SetAck(s Seq)         { binary.BigEndian.PutUint32(h[8:12], s.n) }
func (h TCP) SetFlags(f Flags)     { h[13] = uint8(f) }
func (h TCP) SetWindow(w uint16)   { binary.BigEndian.PutUint16(h[14:16], w) }
func (h TCP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(h[16:18], v) }
func (h TCP) SetUrgent(p uint16)   { binary.BigEndian.PutUint16(h[18:20], p) }

// Check judges the checksum; pseudo is that of the addresses and len(h).
func (h TCP) Check(pseudo Sum) ChecksumState { return CheckTransport(ProtoTCP, h, pseudo) }

// Seal computes the checksum over header and payload and writes it; pseudo is that of
// the addresses and len(h).
func (h TCP) Seal(pseudo Sum) {
	h.SetChecksum(0)
	h.SetChecksum(Checksum(h, pseudo))
}

// SealSum is Seal for who knows the sum of the payload already, from [CopySum].
func (h TCP) SealSum(pseudo, payload Sum) {
	h.SetChecksum(0)
	h.SetChecksum(Checksum(h[:h.HeaderLen()], pseudo.Add(payload)))
}

// TCPFields are the fields of a TCP header.
type TCPFields struct {
	SrcPort, DstPort uint16
	Seq, Ack         Seq
	Flags            Flags
	Window           uint16 // as it goes into the header, scaled down
	Urgent           uint16
	OptionsLen       int // bytes, a multiple of 4, at most 40; the caller writes them
}

// PutTCP writes a TCP header without its options and returns its length with them.
// Options go to b[TCPLen:], the payload after them; Seal or SealSum then makes the
// checksum, which is zero until then.
func PutTCP(b []byte, f *TCPFields) int {
	_ = b[TCPLen-1]
	n := TCPLen + f.OptionsLen
	binary.BigEndian.PutUint64(b[0:8], uint64(f.SrcPort)<<48|uint64(f.DstPort)<<32|uint64(f.Seq.n))
	binary.BigEndian.PutUint64(b[8:16], uint64(f.Ack.n)<<32|uint64(n/4)<<28|uint64(f.Flags)<<16|uint64(f.Window))
	binary.BigEndian.PutUint32(b[16:20], uint32(f.Urgent))
	return n
}
