package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// Read first: RFC 1112 appendix I, RFC 2236 §2, RFC 3376 §4 and §7.1.

const (
	IGMPLen        = 8  // bytes of a message of versions 1 and 2, and of a report's header
	IGMPv3QueryLen = 12 // bytes of a version 3 query without sources
)

// An IGMPType is the type of an IGMP message.
type IGMPType uint8

const (
	IGMPQuery    IGMPType = 0x11
	IGMPv1Report IGMPType = 0x12
	IGMPv2Report IGMPType = 0x16
	IGMPv2Leave  IGMPType = 0x17
	IGMPv3Report IGMPType = 0x22
)

func (t IGMPType) String() string {
	switch t {
	case IGMPQuery:
		return "query"
	case IGMPv1Report:
		return "v1-report"
	case IGMPv2Report:
		return "v2-report"
	case IGMPv2Leave:
		return "v2-leave"
	case IGMPv3Report:
		return "v3-report"
	}
	return "IGMPType(" + strconv.Itoa(int(t)) + ")"
}

// IGMP is an IGMP message.
type IGMP []byte

// ParseIGMP says whether b holds an IGMP message with the sources that it promises. The
// message is all of b: its checksum is over the whole payload of the packet (RFC 3376 §4.1.2).
func ParseIGMP(b []byte) (IGMP, bool) {
	if len(b) < IGMPLen {
		return nil, false
	}
	h := IGMP(b)
	if h.Version() == 3 && h.Type() == IGMPQuery && IGMPv3QueryLen+4*int(binary.BigEndian.Uint16(b[10:12])) > len(b) {
		return nil, false
	}
	return h, true
}

func (h IGMP) Type() IGMPType   { return IGMPType(h[0]) }
func (h IGMP) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:4]) }

// ChecksumOK says whether the message arrived as it was sent.
func (h IGMP) ChecksumOK() bool { return SumOf(h).OK() }

// Group is the group of a query or report, 0.0.0.0 in a general query; it means nothing in
// a version 3 report.
func (h IGMP) Group() netip.Addr { return netip.AddrFrom4([4]byte(h[4:8])) }

// Version is the version of the protocol that the message is of, 0 for one that is to be
// ignored (RFC 3376 §7.1).
func (h IGMP) Version() int {
	switch h.Type() {
	case IGMPQuery:
		switch {
		case len(h) >= IGMPv3QueryLen:
			return 3
		case len(h) == IGMPLen && h[1] == 0:
			return 1
		case len(h) == IGMPLen:
			return 2
		}
	case IGMPv1Report:
		return 1
	case IGMPv2Report, IGMPv2Leave:
		return 2
	case IGMPv3Report:
		return 3
	}
	return 0
}

// MaxResponse is how long a host may wait before it answers a query: 10 seconds in version 1
// (RFC 2236 §4).
func (h IGMP) MaxResponse() time.Duration {
	switch h.Version() {
	case 1:
		return 10 * time.Second
	case 3:
		return time.Duration(floatCode(uint32(h[1]), 4)) * (time.Second / 10)
	}
	return time.Duration(h[1]) * (time.Second / 10)
}

// Sources are those that a version 3 query asks about; none in any other message.
func (h IGMP) Sources() Addrs {
	if h.Type() != IGMPQuery || h.Version() != 3 {
		return Addrs{}
	}
	end := IGMPv3QueryLen + 4*int(binary.BigEndian.Uint16(h[10:12]))
	return Addrs{h[IGMPv3QueryLen:end], 4}
}

// Robustness is the querier's robustness variable of a version 3 query; 0: not specified.
func (h IGMP) Robustness() int {
	if h.Type() != IGMPQuery || h.Version() != 3 {
		return 0
	}
	return int(h[8] & 7)
}

// Interval is the querier's query interval of a version 3 query; 0: not specified.
func (h IGMP) Interval() time.Duration {
	if h.Type() != IGMPQuery || h.Version() != 3 {
		return 0
	}
	return time.Duration(floatCode(uint32(h[9]), 4)) * time.Second
}

// Records yields the records of a version 3 report. It is false if they end before their
// number is reached; yield has seen those that were whole.
func (h IGMP) Records(yield func(GroupRecordView)) bool {
	if h.Type() != IGMPv3Report {
		return true
	}
	return walkRecords(h[IGMPLen:], int(binary.BigEndian.Uint16(h[6:8])), 4, yield)
}

func walkRecords(b []byte, n, size int, yield func(GroupRecordView)) bool {
	for range n {
		r, rest, ok := nextGroupRecord(b, size)
		if !ok {
			return false
		}
		yield(r)
		b = rest
	}
	return true
}

// PutIGMP writes a message of version 1 or 2 with its checksum and returns its length.
// The time is that of a query, up to 25.5 s, and 0 in anything else.
func PutIGMP(b []byte, t IGMPType, maxResponse time.Duration, group netip.Addr) int {
	_ = b[IGMPLen-1]
	b[0], b[1], b[2], b[3] = uint8(t), uint8(min(maxResponse/(time.Second/10), 255)), 0, 0
	put4(b[4:8], group)
	binary.BigEndian.PutUint16(b[2:4], Checksum(b[:IGMPLen], 0))
	return IGMPLen
}

// PutIGMPv3Report writes a report with its checksum and returns its length, that of its
// records and IGMPLen.
func PutIGMPv3Report(b []byte, records []GroupRecord) int {
	binary.BigEndian.PutUint64(b[0:8], uint64(IGMPv3Report)<<56|uint64(uint16(len(records))))
	n := IGMPLen + putGroupRecords(b[IGMPLen:], records)
	binary.BigEndian.PutUint16(b[2:4], Checksum(b[:n], 0))
	return n
}

// PutIGMPv3Query writes a query with its checksum and returns its length.
func PutIGMPv3Query(b []byte, q *GroupQuery) int {
	_ = b[IGMPv3QueryLen-1]
	b[0], b[2], b[3] = uint8(IGMPQuery), 0, 0
	b[1] = uint8(toFloatCode(uint32(q.MaxResponse/(time.Second/10)), 4))
	put4(b[4:8], q.Group)
	n := 8 + putQuery(b[8:], q)
	binary.BigEndian.PutUint16(b[2:4], Checksum(b[:n], 0))
	return n
}

// putQuery writes what follows the group in queries of both families.
func putQuery(b []byte, q *GroupQuery) int {
	b[0], b[1] = q.Robustness&7, uint8(toFloatCode(uint32(q.Interval/time.Second), 4))
	if q.Suppress {
		b[0] |= 8
	}
	binary.BigEndian.PutUint16(b[2:4], uint16(len(q.Sources)))
	n := 4
	for _, s := range q.Sources {
		n += putAddr(b[n:], s)
	}
	return n
}
