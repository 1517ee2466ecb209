package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Read first: RFC 2710 §3, RFC 3810 §5 and §8.1.

const (
	MLDLen         = 24 // bytes of a message of version 1
	MLDv2QueryLen  = 28 // bytes of a version 2 query without sources
	MLDv2ReportLen = 8  // bytes of a version 2 report without records
)

// MLD is a multicast listener message: an ICMPv6 message of one of four types.
type MLD []byte

// ParseMLD says whether m is a multicast listener message that is as long as it must be.
func ParseMLD(m ICMP6) (MLD, bool) {
	if len(m) < ICMP6Len {
		return nil, false
	}
	need := MLDLen
	switch m.Type() {
	case ICMP6MLDv2Report:
		need = MLDv2ReportLen
	case ICMP6MLDQuery:
		if len(m) >= MLDv2QueryLen {
			need = MLDv2QueryLen + 16*int(binary.BigEndian.Uint16(m[26:28]))
		}
	case ICMP6MLDReport, ICMP6MLDDone:
	default:
		return nil, false
	}
	if len(m) < need {
		return nil, false
	}
	return MLD(m), true
}

func (h MLD) Type() ICMP6Type { return ICMP6Type(h[0]) }

// Version is the version of the protocol that the message is of, 0 for a query to be
// ignored (RFC 3810 §8.1).
func (h MLD) Version() int {
	switch h.Type() {
	case ICMP6MLDv2Report:
		return 2
	case ICMP6MLDQuery:
		switch {
		case len(h) >= MLDv2QueryLen:
			return 2
		case len(h) != MLDLen:
			return 0
		}
	}
	return 1
}

// Group is the group of a query, report or done message, :: in a general query and in a
// version 2 report.
func (h MLD) Group() netip.Addr {
	if h.Type() == ICMP6MLDv2Report {
		return netip.IPv6Unspecified()
	}
	return netip.AddrFrom16([16]byte(h[8:24]))
}

// MaxResponse is how long a host may wait before it answers a query.
func (h MLD) MaxResponse() time.Duration {
	code := uint32(binary.BigEndian.Uint16(h[4:6]))
	if h.Version() == 2 {
		code = floatCode(code, 12)
	}
	return time.Duration(code) * time.Millisecond
}

func (h MLD) isQuery2() bool { return h.Type() == ICMP6MLDQuery && len(h) >= MLDv2QueryLen }

// Sources are those that a version 2 query asks about; none in any other message.
func (h MLD) Sources() Addrs {
	if !h.isQuery2() {
		return Addrs{}
	}
	end := MLDv2QueryLen + 16*int(binary.BigEndian.Uint16(h[26:28]))
	return Addrs{h[MLDv2QueryLen:end], 16}
}

// Robustness is the querier's robustness variable of a version 2 query; 0: not specified.
func (h MLD) Robustness() int {
	if !h.isQuery2() {
		return 0
	}
	return int(h[24] & 7)
}

// Interval is the querier's query interval of a version 2 query; 0: not specified.
func (h MLD) Interval() time.Duration {
	if !h.isQuery2() {
		return 0
	}
	return time.Duration(floatCode(uint32(h[25]), 4)) * time.Second
}

// Records yields the records of a version 2 report. It is false if they end before their
// number is reached; yield has seen those that were whole.
func (h MLD) Records(yield func(GroupRecordView)) bool {
	if h.Type() != ICMP6MLDv2Report {
		return true
	}
	return walkRecords(h[MLDv2ReportLen:], int(binary.BigEndian.Uint16(h[6:8])), 16, yield)
}

// PutMLD writes a message of version 1 and returns its length. The time is that of a query, up to
// 65 s, and 0 in anything else. [ICMP6.Seal] makes the checksum.
func PutMLD(b []byte, t ICMP6Type, maxResponse time.Duration, group netip.Addr) int {
	PutICMP6(b, t, 0, uint32(min(maxResponse/time.Millisecond, 0xffff))<<16)
	put16(b[8:24], group)
	return MLDLen
}

// PutMLDv2Report writes a report and returns its length, that of its records and
// MLDv2ReportLen. [ICMP6.Seal] makes the checksum.
func PutMLDv2Report(b []byte, records []GroupRecord) int {
	PutICMP6(b, ICMP6MLDv2Report, 0, uint32(uint16(len(records))))
	return MLDv2ReportLen + putGroupRecords(b[MLDv2ReportLen:], records)
}

// PutMLDv2Query writes a query and returns its length. [ICMP6.Seal] makes the checksum.
func PutMLDv2Query(b []byte, q *GroupQuery) int {
	PutICMP6(b, ICMP6MLDQuery, 0, toFloatCode(uint32(q.MaxResponse/time.Millisecond), 12)<<16)
	put16(b[8:24], q.Group)
	return MLDLen + putQuery(b[24:], q)
}
