package wire

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// Read first: RFC 4861 §4.6, RFC 8106 §5.1-2 (DNS servers, search domains), RFC 3971 §5.3.2 and RFC 7527 §4 (nonce).

// Types of neighbor discovery options (IANA "IPv6 Neighbor Discovery Option Formats").
const (
	ndpOptSource     = 1
	ndpOptTarget     = 2
	ndpOptPrefix     = 3
	ndpOptRedirected = 4
	ndpOptMTU        = 5
	ndpOptNonce      = 14
	ndpOptRDNSS      = 25
	ndpOptDNSSL      = 31
)

const (
	// NDPPrefixesMax is how many prefixes of one router advertisement are read. A link has one
	// or two, more while it is renumbered; Linux keeps at most 16 addresses (max_addresses).
	NDPPrefixesMax = 16

	// NDPServersMax is how many DNS servers of one router advertisement are read. Resolvers use
	// three (RFC 8106 §5.3.1).
	NDPServersMax = 4

	// NDPDomainsMax is how many search lists of one router advertisement are read. Each may hold
	// several names.
	NDPDomainsMax = 2

	LinkAddressOptionLen = 8
	PrefixOptionLen      = 32
	MTUOptionLen         = 8
	NonceOptionLen       = 8 // with the 6 bytes of a nonce that RFC 7527 §4.1 sends
)

// NDPForever is a lifetime that does not end (RFC 4861 §4.6.2: all bits one).
const NDPForever = time.Duration(1<<63 - 1)

// NDPPrefix is a prefix information option.
type NDPPrefix struct {
	Prefix     netip.Prefix // masked
	OnLink     bool         // L
	Autonomous bool         // A: may be used for autoconfiguration
	Valid      time.Duration
	Preferred  time.Duration
}

// NDPServer is one address of a recursive DNS server option.
type NDPServer struct {
	Addr     netip.Addr
	Lifetime time.Duration // 0: no longer to be used
}

// NDPDomains is a DNS search list option. [NextNDPDomain] reads its names.
type NDPDomains struct {
	Names    []byte
	Lifetime time.Duration // 0: no longer to be used
}

// NDPOptions are the options of a neighbor discovery message.
type NDPOptions struct {
	Source, Target MAC    // zero: absent
	MTU            uint32 // 0: absent
	Redirected     []byte // the packet that caused a redirect, cut off; nil: absent
	Nonce          []byte // nil: absent
	PrefixCount    int
	ServerCount    int
	DomainsCount   int
	Prefixes       [NDPPrefixesMax]NDPPrefix
	Servers        [NDPServersMax]NDPServer
	Domains        [NDPDomainsMax]NDPDomains
}

// Parse reads the options of a message; Redirected, Nonce and Domains point into b. It is
// false if the list is malformed, in which case the whole message is dropped (RFC 4861 §6.1, §7.1:
// every length above 0), or if a link-layer address is not that of Ethernet. Unknown
// options are skipped (§4.6), as are prefixes and servers beyond the limits and prefixes
// that contradict themselves.
func (o *NDPOptions) Parse(b []byte) bool {
	*o = NDPOptions{}
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || int(b[1])*8 > len(b) {
			return false
		}
		n := int(b[1]) * 8
		if !o.option(b[:n:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// option takes in one whole option, at least 8 bytes. Of one that may stand once the first counts.
func (o *NDPOptions) option(b []byte) bool {
	switch b[0] {
	case ndpOptSource, ndpOptTarget:
		if len(b) != LinkAddressOptionLen {
			return false
		}
		at := &o.Source
		if b[0] == ndpOptTarget {
			at = &o.Target
		}
		if at.IsZero() {
			*at = MAC(b[2:8])
		}
	case ndpOptPrefix:
		if len(b) != PrefixOptionLen {
			return false
		}
		o.prefix(b)
	case ndpOptRedirected:
		if o.Redirected == nil {
			o.Redirected = b[8:]
		}
	case ndpOptMTU:
		if len(b) != MTUOptionLen {
			return false
		}
		if o.MTU == 0 {
			o.MTU = binary.BigEndian.Uint32(b[4:8])
		}
	case ndpOptNonce:
		if o.Nonce == nil {
			o.Nonce = b[2:]
		}
	case ndpOptRDNSS:
		if len(b) < 24 || len(b)%16 != 8 {
			return false
		}
		lifetime := ndpLifetime(binary.BigEndian.Uint32(b[4:8]))
		for b = b[8:]; len(b) > 0 && o.ServerCount < NDPServersMax; b = b[16:] {
			o.Servers[o.ServerCount] = NDPServer{netip.AddrFrom16([16]byte(b[:16])), lifetime}
			o.ServerCount++
		}
	case ndpOptDNSSL:
		if len(b) < 16 {
			return false
		}
		if o.DomainsCount < NDPDomainsMax {
			o.Domains[o.DomainsCount] = NDPDomains{b[8:], ndpLifetime(binary.BigEndian.Uint32(b[4:8]))}
			o.DomainsCount++
		}
	}
	return true
}

// NextNDPDomain returns the first name of a search list: its labels, each after its length, and
// a zero (RFC 1035 §3.1, without compression). It is false at the padding after the last one,
// and where the list is malformed.
func NextNDPDomain(b []byte) (name, rest []byte, ok bool) {
	n := 0
	for n < len(b) && b[n] != 0 {
		if b[n] > 63 {
			return nil, nil, false
		}
		n += 1 + int(b[n])
	}
	if n == 0 || n >= len(b) || n+1 > 255 { // RFC 1035 §2.3.4
		return nil, nil, false
	}
	return b[: n+1 : n+1], b[n+1:], true
}

// prefix takes in a prefix information option, unless it is one that RFC 4861 §6.3.4 and RFC
// 4862 §5.5.3 ignore: link-local, multicast, longer than an address, or preferred longer
// than it is valid.
func (o *NDPOptions) prefix(b []byte) {
	p := NDPPrefix{
		OnLink:     b[3]&0x80 != 0,
		Autonomous: b[3]&0x40 != 0,
		Valid:      ndpLifetime(binary.BigEndian.Uint32(b[4:8])),
		Preferred:  ndpLifetime(binary.BigEndian.Uint32(b[8:12])),
	}
	addr := netip.AddrFrom16([16]byte(b[16:32]))
	if o.PrefixCount == NDPPrefixesMax || b[2] > 128 || addr.IsLinkLocalUnicast() || addr.IsMulticast() || p.Preferred > p.Valid {
		return
	}
	p.Prefix, _ = addr.Prefix(int(b[2]))
	o.Prefixes[o.PrefixCount] = p
	o.PrefixCount++
}

func ndpLifetime(seconds uint32) time.Duration {
	if seconds == 1<<32-1 {
		return NDPForever
	}
	return time.Duration(seconds) * time.Second
}

func ndpSeconds(d time.Duration) uint32 {
	if d == NDPForever {
		return 1<<32 - 1
	}
	return uint32(d / time.Second)
}

// PutSourceOption writes a source link-layer address option and returns its length.
func PutSourceOption(b []byte, m MAC) int { return putLinkAddress(b, ndpOptSource, m) }

// PutTargetOption writes a target link-layer address option and returns its length.
func PutTargetOption(b []byte, m MAC) int { return putLinkAddress(b, ndpOptTarget, m) }

func putLinkAddress(b []byte, kind uint8, m MAC) int {
	_ = b[LinkAddressOptionLen-1]
	b[0], b[1] = kind, 1
	copy(b[2:8], m[:])
	return LinkAddressOptionLen
}

// PutMTUOption writes an MTU option and returns its length.
func PutMTUOption(b []byte, mtu uint32) int {
	binary.BigEndian.PutUint64(b[0:8], ndpOptMTU<<56|1<<48|uint64(mtu))
	return MTUOptionLen
}

// PutNonceOption writes a nonce option and returns its length (RFC 7527 §4.1).
func PutNonceOption(b []byte, nonce [6]byte) int {
	_ = b[NonceOptionLen-1]
	b[0], b[1] = ndpOptNonce, 1
	copy(b[2:8], nonce[:])
	return NonceOptionLen
}

// PutPrefixOption writes a prefix information option and returns its length.
func PutPrefixOption(b []byte, p *NDPPrefix) int {
	_ = b[PrefixOptionLen-1]
	b[0], b[1], b[2], b[3] = ndpOptPrefix, PrefixOptionLen/8, uint8(p.Prefix.Bits()), 0
	if p.OnLink {
		b[3] |= 0x80
	}
	if p.Autonomous {
		b[3] |= 0x40
	}
	binary.BigEndian.PutUint32(b[4:8], ndpSeconds(p.Valid))
	binary.BigEndian.PutUint32(b[8:12], ndpSeconds(p.Preferred))
	binary.BigEndian.PutUint32(b[12:16], 0)
	put16(b[16:32], p.Prefix.Addr())
	return PrefixOptionLen
}

// PutServersOption writes a recursive DNS server option, of at most 127 servers, and
// returns its length, 8 bytes and 16 for each.
func PutServersOption(b []byte, lifetime time.Duration, servers ...netip.Addr) int {
	n := 8 + 16*len(servers)
	_ = b[n-1]
	binary.BigEndian.PutUint64(b[0:8], ndpOptRDNSS<<56|uint64(n/8)<<48|uint64(ndpSeconds(lifetime)))
	for i, a := range servers {
		put16(b[8+16*i:], a)
	}
	return n
}

// PutDomainsOption writes a DNS search list option and returns its length. The names are such
// as "example.org", of labels of 1 to 63 bytes.
func PutDomainsOption(b []byte, lifetime time.Duration, names ...string) int {
	n := 8
	for _, name := range names {
		for label := range strings.SplitSeq(name, ".") {
			b[n] = uint8(len(label))
			n += 1 + copy(b[n+1:], label)
		}
		b[n] = 0
		n++
	}
	for ; n%8 != 0; n++ {
		b[n] = 0
	}
	binary.BigEndian.PutUint64(b[0:8], ndpOptDNSSL<<56|uint64(n/8)<<48|uint64(ndpSeconds(lifetime)))
	return n
}
