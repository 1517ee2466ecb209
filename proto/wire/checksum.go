package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
)

// Read first: RFC 1071, RFC 1624, RFC 768, RFC 8200 §8.1.

// A Sum is a ones' complement sum under way: big-endian 16-bit words modulo 65535,
// kept in 64 bits so that carries are folded once at the end. The zero value is the
// sum of nothing.
//
// Sums of the parts of a message add up to the sum of the message, in any order:
//
//	pseudo.Add(SumOf(header)).Add(SumOf(payload)).Checksum()
//
// if each part but the last has an even length. A part that starts at an odd offset
// of the message goes in as SumOf(part).Odd(). The sum is never 0 if a byte
// summed was not 0, which is what makes the two zeros of ones' complement behave.
type Sum uint64

// SumOf returns the sum of b, which ends with a zero byte if its length is odd.
func SumOf(b []byte) Sum { return sumBytes(b, 0) }

// Add returns the sum of both.
func (s Sum) Add(o Sum) Sum {
	v, carry := bits.Add64(uint64(s), uint64(o), 0)
	return Sum(v + carry)
}

// AddBytes returns s plus the sum of b, which starts at an even offset.
func (s Sum) AddBytes(b []byte) Sum { return sumBytes(b, s) }

// AddUint16 returns s plus one word.
func (s Sum) AddUint16(v uint16) Sum { return s.Add(Sum(v)) }

// Odd returns the sum of the same bytes moved by one: what they add to a message in which
// they start at an odd offset.
func (s Sum) Odd() Sum { return Sum(bits.RotateLeft64(uint64(s), 8)) }

// Fold returns the sum as one word, not complemented.
func (s Sum) Fold() uint16 {
	v := uint64(s)
	h := uint32((v + bits.RotateLeft64(v, 32)) >> 32)
	return uint16((h + bits.RotateLeft32(h, 16)) >> 16)
}

// Checksum returns what goes into a checksum field that was zero in the sum.
func (s Sum) Checksum() uint16 { return ^s.Fold() }

// OK says whether s, taken over a message and its checksum field, proves it whole.
func (s Sum) OK() bool { return s.Fold() == 0xffff }

// Checksum returns the Internet checksum of b and of what initial has summed
// before it (RFC 1071). The initial part has an even length.
func Checksum(b []byte, initial Sum) uint16 { return sumBytes(b, initial).Checksum() }

// CopySum copies src to dst, which is at least as long, and returns initial plus the sum of
// what was copied. It is two passes on purpose: one pass of loads, stores and adds with carry was
// slower at every length from 20 bytes to 9000, since copy moves 32 bytes at once and
// leaves dst in the nearest cache.
func CopySum(dst, src []byte, initial Sum) Sum {
	n := copy(dst[:len(src)], src)
	return sumBytes(dst[:n], initial)
}

// sumBytes adds b to s.
//
// It adds little-endian words of 64 bits with end-around carry, since the sum does not care about
// byte order until the end (RFC 1071 §2(B)): one byte swap of the whole then gives the
// big-endian sum, as a byte at an even place moves to an odd one and back. Steps of 64 bytes keep the
// carry in the flags; two sums side by side were not faster.
func sumBytes(b []byte, s Sum) Sum {
	var acc, c uint64
	for len(b) >= 64 {
		v := b[:64:64]
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[0:8]), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[8:16]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[16:24]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[24:32]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[32:40]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[40:48]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[48:56]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(v[56:64]), c)
		acc += c
		b = b[64:]
	}
	if len(b) >= 32 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[0:8]), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[8:16]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[16:24]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[24:32]), c)
		acc += c
		b = b[32:]
	}
	if len(b) >= 16 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[0:8]), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[8:16]), c)
		acc += c
		b = b[16:]
	}
	if len(b) >= 8 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b), 0)
		acc += c
		b = b[8:]
	}
	acc, c = bits.Add64(acc, tail(b), 0)
	return s.Add(Sum(bits.ReverseBytes64(acc + c)))
}

// tail returns up to seven bytes as the low ones of a little-endian word.
func tail(b []byte) (v uint64) {
	shift := 0
	if len(b) >= 4 {
		v = uint64(binary.LittleEndian.Uint32(b))
		b, shift = b[4:], 32
	}
	if len(b) >= 2 {
		v |= uint64(binary.LittleEndian.Uint16(b)) << shift
		b, shift = b[2:], shift+16
	}
	if len(b) >= 1 {
		v |= uint64(b[0]) << shift
	}
	return v
}

// PseudoSum returns the sum of the pseudo-header of either family (RFC 9293 §3.1,
// RFC 8200 §8.1): addresses of the same family, the transport protocol, and the
// length of the transport header and its payload.
func PseudoSum(src, dst netip.Addr, p Protocol, length int) Sum {
	s := Sum(p).Add(Sum(uint32(length)))
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		return s + Sum(binary.BigEndian.Uint32(a[:])) + Sum(binary.BigEndian.Uint32(b[:]))
	}
	a, b := src.As16(), dst.As16()
	v, c := bits.Add64(uint64(s), binary.BigEndian.Uint64(a[0:8]), 0)
	v, c = bits.Add64(v, binary.BigEndian.Uint64(a[8:16]), c)
	v, c = bits.Add64(v, binary.BigEndian.Uint64(b[0:8]), c)
	v, c = bits.Add64(v, binary.BigEndian.Uint64(b[8:16]), c)
	return Sum(v).Add(Sum(c))
}

// UpdateChecksum returns a checksum after one word under it has changed
// (RFC 1624 §3, equation 3). A field that straddles words is updated word by word. Of a message
// that has become all zeros it makes 0 where the checksum is 0xffff.
func UpdateChecksum(checksum, from, to uint16) uint16 {
	s := uint32(^checksum) + uint32(^from) + uint32(to)
	s = s&0xffff + s>>16
	return ^uint16(s + s>>16)
}

// UpdateChecksum32 is UpdateChecksum for two adjacent words.
func UpdateChecksum32(checksum uint16, from, to uint32) uint16 {
	s := uint64(^checksum) + uint64(^from) + uint64(to)
	return Sum(s).Checksum()
}

// A ChecksumState is what a transport checksum tells about its segment.
type ChecksumState uint8

const (
	// ChecksumBad is a damaged segment, or one that ends before its checksum field.
	ChecksumBad ChecksumState = iota
	// ChecksumGood is a segment that arrived as it was sent.
	ChecksumGood
	// ChecksumUnfinished is a segment that a kernel of this machine sent over a virtual
	// link and left to hardware that is not there: the field holds the sum of the pseudo-header
	// (CHECKSUM_PARTIAL). It can be trusted as far as memory can; from a real link it is damage.
	ChecksumUnfinished
	// ChecksumAbsent is a UDP datagram without one: fine over IPv4, not over IPv6
	// (RFC 768, RFC 8200 §8.1).
	ChecksumAbsent
)

func (s ChecksumState) String() string {
	switch s {
	case ChecksumBad:
		return "bad"
	case ChecksumGood:
		return "good"
	case ChecksumUnfinished:
		return "unfinished"
	case ChecksumAbsent:
		return "absent"
	}
	return "ChecksumState(" + strconv.Itoa(int(s)) + ")"
}

// CheckTransport judges the checksum of a TCP, UDP or ICMPv6 segment. The pseudo sum is that
// of its addresses, p and len(segment). A segment that is both good and unfinished, one in
// 65535, is called good.
//
// On a link whose sender is this kernel, ask [Unfinished] first: it says yes without reading
// the payload.
func CheckTransport(p Protocol, segment []byte, pseudo Sum) ChecksumState {
	var at int
	switch p {
	case ProtoTCP:
		at = 16
	case ProtoUDP:
		at = 6
	case ProtoICMPv6:
		at = 2
	default:
		return ChecksumBad
	}
	if len(segment) < at+2 {
		return ChecksumBad
	}
	field := binary.BigEndian.Uint16(segment[at:])
	switch {
	case p == ProtoUDP && field == 0:
		return ChecksumAbsent
	case sumBytes(segment, pseudo).OK():
		return ChecksumGood
	case Unfinished(field, pseudo):
		return ChecksumUnfinished
	}
	return ChecksumBad
}

// Unfinished says whether a checksum field holds what a kernel leaves there for the
// hardware to finish: the folded sum of the pseudo-header.
func Unfinished(field uint16, pseudo Sum) bool { return field == pseudo.Fold() }
