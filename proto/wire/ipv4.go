package wire

import (
	"encoding/binary"
	"net/netip"
)

// Read first: RFC 791 §3.1, RFC 1122 §3.2.1, RFC 6864 (what an ID is for).

const (
	IPv4Len    = 20 // bytes of a header without options
	IPv4MaxLen = 60 // bytes of the longest header: IHL is 4 bits of words

	ipv4DF = 0x4000
	ipv4MF = 0x2000
)

// IPv4 is a packet that starts with an IPv4 header.
type IPv4 []byte

// ParseIPv4 says whether b starts with a whole IPv4 packet, and trims to its total
// length. It does not look at the checksum; see [IPv4.ChecksumOK].
func ParseIPv4(b []byte) (IPv4, bool) {
	if len(b) < IPv4Len || b[0]>>4 != 4 {
		return nil, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:4]))
	if header < IPv4Len || total < header || total > len(b) {
		return nil, false
	}
	return IPv4(b[:total:total]), true
}

// An IPv4Head is the part of a header that every packet has, as the three words that it is: for who
// looks at all of it, and so at memory only once.
type IPv4Head struct {
	first, second uint64
	third         uint32
}

// IPv4HeadOf reads a header.
func IPv4HeadOf(b *[IPv4Len]byte) IPv4Head {
	return IPv4Head{binary.BigEndian.Uint64(b[0:8]), binary.BigEndian.Uint64(b[8:16]), binary.BigEndian.Uint32(b[16:20])}
}

// Whole says whether n bytes that start with w start with a whole packet, as [ParseIPv4] does.
func (w IPv4Head) Whole(n int) bool {
	header, total := w.HeaderLen(), w.TotalLen()
	return w.first>>60 == 4 && header >= IPv4Len && total >= header && total <= n
}

func (w IPv4Head) HeaderLen() int     { return int(w.first>>56&15) * 4 }
func (w IPv4Head) TOS() uint8         { return uint8(w.first >> 48) }
func (w IPv4Head) TotalLen() int      { return int(w.first >> 32 & 0xffff) }
func (w IPv4Head) IsFragment() bool   { return w.first&(ipv4MF|0x1fff) != 0 }
func (w IPv4Head) TTL() uint8         { return uint8(w.second >> 56) }
func (w IPv4Head) Protocol() Protocol { return Protocol(w.second >> 48) }
func (w IPv4Head) Src() uint32        { return uint32(w.second) }
func (w IPv4Head) Dst() uint32        { return w.third }

// Sum is the sum of the header, without options.
func (w IPv4Head) Sum() Sum { return Sum(w.first).Add(Sum(w.second)).Add(Sum(w.third)) }

// PseudoSum is as of [IPv4].
func (w IPv4Head) PseudoSum() Sum {
	return Sum(w.Protocol()) + Sum(w.TotalLen()-w.HeaderLen()) + Sum(w.Src()) + Sum(w.Dst())
}

// ParseQuotedIPv4 is ParseIPv4 for the packet that an ICMP error quotes: it may be
// cut off anywhere after its header, options included.
func ParseQuotedIPv4(b []byte) (IPv4, bool) {
	if len(b) < IPv4Len || b[0]>>4 != 4 {
		return nil, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:4]))
	if header < IPv4Len || total < header || header > len(b) {
		return nil, false
	}
	total = min(total, len(b))
	return IPv4(b[:total:total]), true
}

// FaultIPv4 says why ParseIPv4 refused b.
func FaultIPv4(b []byte) Fault {
	switch {
	case len(b) < IPv4Len:
		return FaultShort
	case b[0]>>4 != 4:
		return FaultVersion
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:4]))
	switch {
	case header < IPv4Len || header > len(b):
		return FaultHeaderLen
	case total < header || total > len(b):
		return FaultLength
	}
	return FaultNone
}

func (h IPv4) HeaderLen() int      { return int(h[0]&15) * 4 }
func (h IPv4) TOS() uint8          { return h[1] } // DSCP in the high 6 bits, ECN in the low 2
func (h IPv4) ECN() ECN            { return ECN(h[1] & 3) }
func (h IPv4) TotalLen() int       { return int(binary.BigEndian.Uint16(h[2:4])) }
func (h IPv4) ID() uint16          { return binary.BigEndian.Uint16(h[4:6]) }
func (h IPv4) DF() bool            { return h[6]&(ipv4DF>>8) != 0 }
func (h IPv4) MF() bool            { return h[6]&(ipv4MF>>8) != 0 }
func (h IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(h[6:8])&0x1fff) * 8 }
func (h IPv4) TTL() uint8          { return h[8] }
func (h IPv4) Protocol() Protocol  { return Protocol(h[9]) }
func (h IPv4) Checksum() uint16    { return binary.BigEndian.Uint16(h[10:12]) }
func (h IPv4) Src() netip.Addr     { return netip.AddrFrom4([4]byte(h[12:16])) }
func (h IPv4) Dst() netip.Addr     { return netip.AddrFrom4([4]byte(h[16:20])) }
func (h IPv4) Options() []byte     { return h[IPv4Len:h.HeaderLen()] }
func (h IPv4) Header() []byte      { return h[:h.HeaderLen()] }
func (h IPv4) Payload() []byte     { return h[h.HeaderLen():] }

// IsFragment says whether h is a part of a larger packet.
func (h IPv4) IsFragment() bool { return binary.BigEndian.Uint16(h[6:8])&(ipv4MF|0x1fff) != 0 }

// ChecksumOK says whether the header arrived as it was sent.
func (h IPv4) ChecksumOK() bool {
	if h[0] == 0x45 {
		s := binary.BigEndian.Uint64(h[0:8])
		return Sum(s).Add(Sum(binary.BigEndian.Uint64(h[8:16]))).Add(Sum(binary.BigEndian.Uint32(h[16:20]))).OK()
	}
	return SumOf(h.Header()).OK()
}

// PseudoSum is the sum of the pseudo-header for the payload. It is wrong for a fragment.
func (h IPv4) PseudoSum() Sum {
	return Sum(h[9]) + Sum(len(h)-h.HeaderLen()) +
		Sum(binary.BigEndian.Uint32(h[12:16])) + Sum(binary.BigEndian.Uint32(h[16:20]))
}

func (h IPv4) SetTOS(v uint8)       { h[1] = v }
func (h IPv4) SetECN(v ECN)         { h[1] = h[1]&^3 | uint8(v&3) }
func (h IPv4) SetTotalLen(v int)    { binary.BigEndian.PutUint16(h[2:4], uint16(v)) }
func (h IPv4) SetID(v uint16)       { binary.BigEndian.PutUint16(h[4:6], v) }
func (h IPv4) SetTTL(v uint8)       { h[8] = v }
func (h IPv4) SetChecksum(v uint16) { binary.BigEndian.PutUint16(h[10:12], v) }
func (h IPv4) SetSrc(a netip.Addr)  { put4(h[12:16], a) }
func (h IPv4) SetDst(a netip.Addr)  { put4(h[16:20], a) }

// SetFragment sets the offset, a multiple of 8 bytes, and the two flags.
func (h IPv4) SetFragment(offset int, df, mf bool) {
	binary.BigEndian.PutUint16(h[6:8], ipv4Fragment(offset, df, mf))
}

// Seal computes the checksum and writes it. It is called after the last setter.
func (h IPv4) Seal() {
	h.SetChecksum(0)
	h.SetChecksum(Checksum(h.Header(), 0))
}

// ECN is the explicit congestion notification field of both families (RFC 3168 §5).
type ECN uint8

const (
	NotECT ECN = 0
	ECT1   ECN = 1
	ECT0   ECN = 2
	CE     ECN = 3
)

func (e ECN) String() string { return [4]string{"not-ECT", "ECT(1)", "ECT(0)", "CE"}[e&3] }

// IPv4Fields are the fields of an IPv4 header.
type IPv4Fields struct {
	TOS            uint8
	ID             uint16
	DF, MF         bool
	FragmentOffset int // bytes, a multiple of 8
	TTL            uint8
	Protocol       Protocol
	Src, Dst       netip.Addr
	Options        []byte // a multiple of 4 bytes, at most 40
	PayloadLen     int    // bytes after the header, at most 65535 with it
}

// PutIPv4 writes an IPv4 header with its checksum and returns its length.
func PutIPv4(b []byte, f *IPv4Fields) int {
	n := IPv4Len + len(f.Options)
	h := b[:n]
	src, dst := f.Src.As4(), f.Dst.As4()
	// The header is three words and the options; the sum is taken while they are in registers.
	w0 := uint64(0x40|n/4)<<56 | uint64(f.TOS)<<48 | uint64(uint16(n+f.PayloadLen))<<32 |
		uint64(f.ID)<<16 | uint64(ipv4Fragment(f.FragmentOffset, f.DF, f.MF))
	w1 := uint64(f.TTL)<<56 | uint64(f.Protocol)<<48 | uint64(binary.BigEndian.Uint32(src[:]))
	w2 := binary.BigEndian.Uint32(dst[:])
	s := Sum(w0).Add(Sum(w1)).Add(Sum(w2))
	if n > IPv4Len {
		copy(h[IPv4Len:], f.Options)
		s = s.AddBytes(f.Options)
	}
	binary.BigEndian.PutUint64(h[0:8], w0)
	binary.BigEndian.PutUint64(h[8:16], w1|uint64(s.Checksum())<<32)
	binary.BigEndian.PutUint32(h[16:20], w2)
	return n
}

// PutIPv4Head writes a header without options, of a packet of so many bytes that is no fragment, from the words
// of its addresses. It is PutIPv4 for most packets.
func PutIPv4Head(b *[IPv4Len]byte, total int, tos, ttl uint8, p Protocol, df bool, id uint16, src, dst uint32) {
	w0 := 0x45<<56 | uint64(tos)<<48 | uint64(uint16(total))<<32 | uint64(id)<<16
	if df {
		w0 |= ipv4DF
	}
	w1 := uint64(ttl)<<56 | uint64(p)<<48 | uint64(src)
	s := Sum(w0).Add(Sum(w1)).Add(Sum(dst))
	binary.BigEndian.PutUint64(b[0:8], w0)
	binary.BigEndian.PutUint64(b[8:16], w1|uint64(s.Checksum())<<32)
	binary.BigEndian.PutUint32(b[16:20], dst)
}

func ipv4Fragment(offset int, df, mf bool) uint16 {
	v := uint16(offset/8) & 0x1fff
	if df {
		v |= ipv4DF
	}
	if mf {
		v |= ipv4MF
	}
	return v
}
