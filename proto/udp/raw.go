package udp

// Read first: raw(7), icmp(7) on ICMP_FILTER; RFC 3542 §3.

// A Raw is what makes a socket a raw socket: one of an IP protocol, the number of which is its
// port. It receives whole packets over IPv4, and what comes behind the headers over IPv6.
type Raw struct {
	Header   bool      // IP_HDRINCL: what is sent begins with the IPv4 header
	Sum      bool      // IPV6_CHECKSUM is set: there is a checksum in each packet,
	SumAt    int       // at this offset
	Filter   [8]uint32 // types of ICMP that are not received, a bit each
	Filtered bool      // Filter is in use
}

// Wants says whether the socket receives an ICMP message of a type, or with ok false anything
// that is not ICMP.
func (r *Raw) Wants(icmpType uint8, ok bool) bool {
	return !ok || !r.Filtered || r.Filter[icmpType>>5]>>(icmpType&31)&1 == 0
}
