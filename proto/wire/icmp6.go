package wire

import (
	"encoding/binary"
	"strconv"
)

// Read first: RFC 4443, RFC 4884 §4.3-5 (how long the quoted packet is).

// ICMP6Len is the length of the header that all messages used here have.
const ICMP6Len = 8

// An ICMP6Type is the type of an ICMPv6 message (IANA "ICMPv6 type Numbers").
type ICMP6Type uint8

const (
	ICMP6Unreachable           ICMP6Type = 1
	ICMP6PacketTooBig          ICMP6Type = 2
	ICMP6TimeExceeded          ICMP6Type = 3
	ICMP6ParamProblem          ICMP6Type = 4
	ICMP6Echo                  ICMP6Type = 128
	ICMP6EchoReply             ICMP6Type = 129
	ICMP6MLDQuery              ICMP6Type = 130 // RFC 2710, RFC 3810
	ICMP6MLDReport             ICMP6Type = 131
	ICMP6MLDDone               ICMP6Type = 132
	ICMP6RouterSolicitation    ICMP6Type = 133 // RFC 4861
	ICMP6RouterAdvertisement   ICMP6Type = 134
	ICMP6NeighborSolicitation  ICMP6Type = 135
	ICMP6NeighborAdvertisement ICMP6Type = 136
	ICMP6Redirect              ICMP6Type = 137
	ICMP6MLDv2Report           ICMP6Type = 143 // RFC 3810
)

func (t ICMP6Type) String() string {
	switch t {
	case ICMP6Unreachable:
		return "unreachable"
	case ICMP6PacketTooBig:
		return "packet-too-big"
	case ICMP6TimeExceeded:
		return "time-exceeded"
	case ICMP6ParamProblem:
		return "parameter-problem"
	case ICMP6Echo:
		return "echo"
	case ICMP6EchoReply:
		return "echo-reply"
	case ICMP6MLDQuery:
		return "mld-query"
	case ICMP6MLDReport:
		return "mld-report"
	case ICMP6MLDDone:
		return "mld-done"
	case ICMP6RouterSolicitation:
		return "router-solicitation"
	case ICMP6RouterAdvertisement:
		return "router-advertisement"
	case ICMP6NeighborSolicitation:
		return "neighbor-solicitation"
	case ICMP6NeighborAdvertisement:
		return "neighbor-advertisement"
	case ICMP6Redirect:
		return "redirect"
	case ICMP6MLDv2Report:
		return "mldv2-report"
	}
	return "ICMP6Type(" + strconv.Itoa(int(t)) + ")"
}

// IsError says whether t reports an error (RFC 4443 §2.1). Neither an error nor a
// redirect is ever answered by an error (§2.4(e)).
func (t ICMP6Type) IsError() bool { return t < 128 }

// Codes of ICMP6Unreachable (RFC 4443 §3.1).
const (
	ICMP6NoRoute         = 0
	ICMP6AdminProhibited = 1
	ICMP6BeyondScope     = 2
	ICMP6AddrUnreachable = 3
	ICMP6PortUnreachable = 4
	ICMP6SourcePolicy    = 5
	ICMP6RejectRoute     = 6
)

// Codes of ICMP6TimeExceeded (RFC 4443 §3.3).
const (
	ICMP6HopLimitExceeded   = 0
	ICMP6ReassemblyExceeded = 1
)

// Codes of ICMP6ParamProblem (RFC 4443 §3.4, RFC 7112 §5).
const (
	ICMP6BadField      = 0
	ICMP6BadNextHeader = 1
	ICMP6BadOption     = 2
	ICMP6FirstFragment = 3
)

// ICMP6 is an ICMPv6 message.
type ICMP6 []byte

// ParseICMP6 says whether b holds the header of an ICMPv6 message. The message is all of b.
func ParseICMP6(b []byte) (ICMP6, bool) {
	if len(b) < ICMP6Len {
		return nil, false
	}
	return ICMP6(b), true
}

func (h ICMP6) Type() ICMP6Type  { return ICMP6Type(h[0]) }
func (h ICMP6) Code() uint8      { return h[1] }
func (h ICMP6) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:4]) }
func (h ICMP6) Rest() uint32     { return binary.BigEndian.Uint32(h[4:8]) } // the second word, by type
func (h ICMP6) Payload() []byte  { return h[ICMP6Len:] }

// Ident and Seq are those of an echo message.
func (h ICMP6) Ident() uint16 { return binary.BigEndian.Uint16(h[4:6]) }
func (h ICMP6) Seq() uint16   { return binary.BigEndian.Uint16(h[6:8]) }

// MTU is that of the next hop, of a packet too big.
func (h ICMP6) MTU() uint32 { return binary.BigEndian.Uint32(h[4:8]) }

// Pointer is the offset of the bad byte that a parameter problem is about.
func (h ICMP6) Pointer() uint32 { return binary.BigEndian.Uint32(h[4:8]) }

// Quoted is the packet that an error is about, as far as it is quoted, without the
// extensions that may follow it (RFC 4884 §5.1).
func (h ICMP6) Quoted() []byte {
	q := h[ICMP6Len:]
	if t := h.Type(); t == ICMP6Unreachable || t == ICMP6TimeExceeded {
		if n := int(h[4]) * 8; n != 0 && n <= len(q) {
			return q[:n:n]
		}
	}
	return q
}

// Check judges the checksum; pseudo is that of the addresses and len(h).
func (h ICMP6) Check(pseudo Sum) ChecksumState { return CheckTransport(ProtoICMPv6, h, pseudo) }

func (h ICMP6) SetType(t ICMP6Type)  { h[0] = uint8(t) }
func (h ICMP6) SetCode(c uint8)      { h[1] = c }
func (h ICMP6) SetChecksum(v uint16) { binary.BigEndian.PutUint16(h[2:4], v) }

// Seal computes the checksum and writes it. It is called when all of the message stands;
// pseudo is that of the addresses and len(h).
func (h ICMP6) Seal(pseudo Sum) {
	h.SetChecksum(0)
	h.SetChecksum(Checksum(h, pseudo))
}

// PutICMP6 writes the header of an ICMPv6 message and returns its length. The payload
// follows; [ICMP6.Seal] then makes the checksum, which is zero until then.
func PutICMP6(b []byte, t ICMP6Type, code uint8, rest uint32) int {
	binary.BigEndian.PutUint64(b[0:8], uint64(t)<<56|uint64(code)<<48|uint64(rest))
	return ICMP6Len
}

// EchoReply turns an echo request of whatever payload into its reply, in place. The
// checksum is right if source and destination are swapped and nothing else; a reply to a
// group address, from another source, is sealed anew.
func (h ICMP6) EchoReply() {
	h.SetChecksum(UpdateChecksum(h.Checksum(), uint16(h[0])<<8|uint16(h[1]), uint16(ICMP6EchoReply)<<8))
	h[0], h[1] = uint8(ICMP6EchoReply), 0
}
