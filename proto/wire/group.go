package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// Read first: RFC 3376 §4.1-4.2, RFC 3810 §5.1-5.2: IGMPv3 and MLDv2 are one protocol in two
// lengths of address.

// A GroupRecordType says what a group record reports (RFC 3376 §4.2.12).
type GroupRecordType uint8

const (
	ModeIsInclude   GroupRecordType = 1
	ModeIsExclude   GroupRecordType = 2
	ChangeToInclude GroupRecordType = 3
	ChangeToExclude GroupRecordType = 4
	AllowNewSources GroupRecordType = 5
	BlockOldSources GroupRecordType = 6
)

func (t GroupRecordType) String() string {
	switch t {
	case ModeIsInclude:
		return "is-include"
	case ModeIsExclude:
		return "is-exclude"
	case ChangeToInclude:
		return "to-include"
	case ChangeToExclude:
		return "to-exclude"
	case AllowNewSources:
		return "allow"
	case BlockOldSources:
		return "block"
	}
	return "GroupRecordType(" + strconv.Itoa(int(t)) + ")"
}

// GroupRecord is one record of an IGMPv3 or MLDv2 report that is to be written.
type GroupRecord struct {
	Type    GroupRecordType
	Group   netip.Addr
	Sources []netip.Addr // at most 65535, of the same family
}

// Len returns the length of the record in bytes.
func (r *GroupRecord) Len() int {
	n := r.Group.BitLen() / 8
	return 4 + n + n*len(r.Sources)
}

// putGroupRecords writes records one after the other and returns their length.
func putGroupRecords(b []byte, records []GroupRecord) int {
	n := 0
	for i := range records {
		r := &records[i]
		binary.BigEndian.PutUint32(b[n:], uint32(r.Type)<<24|uint32(uint16(len(r.Sources))))
		n += 4
		n += putAddr(b[n:], r.Group)
		for _, s := range r.Sources {
			n += putAddr(b[n:], s)
		}
	}
	return n
}

// GroupRecordView is one record of a report that has arrived.
type GroupRecordView struct {
	Type    GroupRecordType
	Group   netip.Addr
	Sources Addrs
}

// Addrs is a list of addresses of one family as it stands in a message.
type Addrs struct {
	b    []byte
	size int // of one address in bytes, 4 or 16; 0 if b is empty
}

// Len returns how many addresses there are.
func (a Addrs) Len() int {
	if a.size == 0 {
		return 0
	}
	return len(a.b) / a.size
}

// At returns the address at i, from 0 to Len-1.
func (a Addrs) At(i int) netip.Addr { return addrAt(a.b[i*a.size:], a.size) }

// nextGroupRecord reads the record at the start of b, whose addresses are size bytes long.
func nextGroupRecord(b []byte, size int) (r GroupRecordView, rest []byte, ok bool) {
	head := 4 + size
	if len(b) < head {
		return r, nil, false
	}
	sources := int(binary.BigEndian.Uint16(b[2:4])) * size
	end := head + sources + int(b[1])*4 // auxiliary data, of which there is none yet
	if end > len(b) {
		return r, nil, false
	}
	r = GroupRecordView{GroupRecordType(b[0]), addrAt(b[4:], size), Addrs{b[head : head+sources : head+sources], size}}
	return r, b[end:], true
}

// GroupQuery is a membership query that is to be written. A host sends none; a simulated router
// does.
type GroupQuery struct {
	MaxResponse time.Duration
	Group       netip.Addr // unspecified in a general query
	Suppress    bool       // S: routers do not restart their timers
	Robustness  uint8      // QRV, 0 to 7
	Interval    time.Duration
	Sources     []netip.Addr
}

func addrAt(b []byte, size int) netip.Addr {
	if size == 4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16]))
}

func putAddr(b []byte, a netip.Addr) int {
	if a.Is4() {
		put4(b, a)
		return 4
	}
	put16(b, a)
	return 16
}

// floatCode reads the floating-point codes of both protocols: up to 7 bits (mantissa 4) or 15 bits
// (mantissa 12) stand for themselves, and above, 1, 3 bits of exponent and the mantissa
// (RFC 3376 §4.1.1, RFC 3810 §5.1.3).
func floatCode(code uint32, mantissa int) uint32 {
	if code < 1<<(mantissa+3) {
		return code
	}
	m := code&(1<<mantissa-1) | 1<<mantissa
	return m << (code>>mantissa&7 + 3)
}

// toFloatCode returns the code of the largest value that is not above v.
func toFloatCode(v uint32, mantissa int) uint32 {
	if v < 1<<(mantissa+3) {
		return v
	}
	for exp := range uint32(8) {
		if m := v >> (exp + 3); m < 2<<mantissa {
			return 1<<(mantissa+3) | exp<<mantissa | m&(1<<mantissa-1)
		}
	}
	return 1<<(mantissa+4) - 1
}
