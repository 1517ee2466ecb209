package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Read first: RFC 792, RFC 1122 §3.2.2, RFC 1191 §4 (next-hop MTU), RFC 4884 §4-5
// (how long the quoted packet is).

// ICMP4Len is the length of the header that all messages used here have.
const ICMP4Len = 8

// An ICMP4Type is the type of an ICMP message (IANA "ICMP Type Numbers").
type ICMP4Type uint8

const (
	ICMP4EchoReply      ICMP4Type = 0
	ICMP4Unreachable    ICMP4Type = 3
	ICMP4SourceQuench   ICMP4Type = 4 // deprecated by RFC 6633: ignored
	ICMP4Redirect       ICMP4Type = 5
	ICMP4Echo           ICMP4Type = 8
	ICMP4TimeExceeded   ICMP4Type = 11
	ICMP4ParamProblem   ICMP4Type = 12
	ICMP4Timestamp      ICMP4Type = 13
	ICMP4TimestampReply ICMP4Type = 14
)

func (t ICMP4Type) String() string {
	switch t {
	case ICMP4EchoReply:
		return "echo-reply"
	case ICMP4Unreachable:
		return "unreachable"
	case ICMP4SourceQuench:
		return "source-quench"
	case ICMP4Redirect:
		return "redirect"
	case ICMP4Echo:
		return "echo"
	case ICMP4TimeExceeded:
		return "time-exceeded"
	case ICMP4ParamProblem:
		return "parameter-problem"
	case ICMP4Timestamp:
		return "timestamp"
	case ICMP4TimestampReply:
		return "timestamp-reply"
	}
	return "ICMP4Type(" + strconv.Itoa(int(t)) + ")"
}

// IsError says whether t reports an error about a packet that it quotes. Such a message is never
// answered by another error (RFC 1122 §3.2.2).
func (t ICMP4Type) IsError() bool {
	switch t {
	case ICMP4Unreachable, ICMP4SourceQuench, ICMP4Redirect, ICMP4TimeExceeded, ICMP4ParamProblem:
		return true
	}
	return false
}

// Codes of ICMP4Unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
const (
	ICMP4NetUnreachable      = 0
	ICMP4HostUnreachable     = 1
	ICMP4ProtoUnreachable    = 2
	ICMP4PortUnreachable     = 3
	ICMP4FragNeeded          = 4
	ICMP4SourceRouteFail     = 5
	ICMP4NetUnknown          = 6
	ICMP4HostUnknown         = 7
	ICMP4HostIsolated        = 8
	ICMP4NetProhibited       = 9
	ICMP4HostProhibited      = 10
	ICMP4NetTOS              = 11
	ICMP4HostTOS             = 12
	ICMP4AdminProhibited     = 13
	ICMP4PrecedenceViolation = 14
	ICMP4PrecedenceCutoff    = 15
)

// Codes of ICMP4TimeExceeded.
const (
	ICMP4TTLExceeded        = 0
	ICMP4ReassemblyExceeded = 1
)

// ICMP4 is an ICMP message.
type ICMP4 []byte

// ParseICMP4 says whether b holds the header of an ICMP message. The message is all of b.
func ParseICMP4(b []byte) (ICMP4, bool) {
	if len(b) < ICMP4Len {
		return nil, false
	}
	return ICMP4(b), true
}

func (h ICMP4) Type() ICMP4Type  { return ICMP4Type(h[0]) }
func (h ICMP4) Code() uint8      { return h[1] }
func (h ICMP4) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:4]) }
func (h ICMP4) Rest() uint32     { return binary.BigEndian.Uint32(h[4:8]) } // the second word, by type
func (h ICMP4) Payload() []byte  { return h[ICMP4Len:] }

// Ident and Seq are those of an echo or timestamp message.
func (h ICMP4) Ident() uint16 { return binary.BigEndian.Uint16(h[4:6]) }
func (h ICMP4) Seq() uint16   { return binary.BigEndian.Uint16(h[6:8]) }

// Pointer is the offset of the bad byte that a parameter problem is about.
func (h ICMP4) Pointer() uint8 { return h[4] }

// MTU is the next-hop MTU of ICMP4FragNeeded; 0 from a router older than RFC 1191.
func (h ICMP4) MTU() int { return int(binary.BigEndian.Uint16(h[6:8])) }

// Gateway is the router that a redirect names.
func (h ICMP4) Gateway() netip.Addr { return netip.AddrFrom4([4]byte(h[4:8])) }

// Quoted is the packet that an error is about, as far as it is quoted, without the
// extensions that may follow it (RFC 4884 §5.1).
func (h ICMP4) Quoted() []byte {
	q := h[ICMP4Len:]
	switch h.Type() {
	case ICMP4Unreachable, ICMP4TimeExceeded, ICMP4ParamProblem:
		if n := int(h[5]) * 4; n != 0 && n <= len(q) {
			return q[:n:n]
		}
	}
	return q
}

// ChecksumOK says whether the message arrived as it was sent.
func (h ICMP4) ChecksumOK() bool { return SumOf(h).OK() }

func (h ICMP4) SetType(t ICMP4Type)  { h[0] = uint8(t) }
func (h ICMP4) SetCode(c uint8)      { h[1] = c }
func (h ICMP4) SetChecksum(v uint16) { binary.BigEndian.PutUint16(h[2:4], v) }

// Seal computes the checksum and writes it. It is called when all of the message stands.
func (h ICMP4) Seal() {
	h.SetChecksum(0)
	h.SetChecksum(Checksum(h, 0))
}

// PutICMP4 writes the header of an ICMP message and returns its length. The payload
// follows; [ICMP4.Seal] then makes the checksum, which is zero until then.
func PutICMP4(b []byte, t ICMP4Type, code uint8, rest uint32) int {
	binary.BigEndian.PutUint64(b[0:8], uint64(t)<<56|uint64(code)<<48|uint64(rest))
	return ICMP4Len
}

// ICMPEcho is the second word of an echo message of either family.
func ICMPEcho(ident, seq uint16) uint32 { return uint32(ident)<<16 | uint32(seq) }

// EchoReply turns an echo request of whatever payload into its reply, in place,
// checksum included.
func (h ICMP4) EchoReply() {
	checksum := UpdateChecksum(h.Checksum(), uint16(h[0])<<8|uint16(h[1]), uint16(ICMP4EchoReply)<<8)
	h[0], h[1] = uint8(ICMP4EchoReply), 0
	if h.SetChecksum(checksum); checksum == 0 {
		h.Seal() // a reply may be all zeros, the one case that an update cannot tell
	}
}
