package wire

import "encoding/binary"

// Read first: RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 2113, RFC 7126 (which options to drop).

// Types of IPv4 options, copied flag and class included.
const (
	ipv4OptEnd         = 0
	ipv4OptNOP         = 1
	ipv4OptLSRR        = 131
	ipv4OptSSRR        = 137
	ipv4OptRouterAlert = 148
)

// RouterAlert4Len is the length of the router alert option.
const RouterAlert4Len = 4

// RouterAlert4 is the option that IGMP messages carry (RFC 2113 §2.1). It is ready to be
// [IPv4Fields.Options]; nobody writes to it.
var RouterAlert4 = []byte{ipv4OptRouterAlert, RouterAlert4Len, 0, 0}

// IPv4Options is what the stack wants to know of the options of a packet.
type IPv4Options struct {
	SourceRoute bool // loose or strict
	RouterAlert bool
	BadAt       int // offset in the IPv4 header of what is malformed, for a parameter problem
}

// ParseIPv4Options reads the options of a packet, b being [IPv4.Options]. Unknown ones
// are skipped (RFC 1122 §3.2.1.8). It is false if an option is shorter than
// two bytes or ends beyond the header.
func ParseIPv4Options(b []byte) (o IPv4Options, ok bool) {
	for at := 0; at < len(b); {
		switch b[at] {
		case ipv4OptEnd:
			return o, true
		case ipv4OptNOP:
			at++
			continue
		}
		if at+1 >= len(b) || b[at+1] < 2 || at+int(b[at+1]) > len(b) {
			o.BadAt = IPv4Len + at
			return o, false
		}
		opt := b[at : at+int(b[at+1])]
		switch opt[0] {
		case ipv4OptLSRR, ipv4OptSSRR:
			o.SourceRoute = true
		case ipv4OptRouterAlert:
			o.RouterAlert = len(opt) == RouterAlert4Len && binary.BigEndian.Uint16(opt[2:]) == 0
		}
		at += len(opt)
	}
	return o, true
}
