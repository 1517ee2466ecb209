package udp

import "net/netip"

// Read first: ip(7) on IP_MTU_DISCOVER; ip_sk_use_pmtu, ip_sk_ignore_df, ip_sk_accept_pmtu in
// include/net/ip.h; __ip_append_data and __ip_make_skb in net/ipv4/ip_output.c.

// A Discovery is what a socket does about the path's MTU: IP_MTU_DISCOVER and IPV6_MTU_DISCOVER.
// The zero value is what a new socket has.
type Discovery uint8

const (
	DiscoverWant      Discovery = iota // DF on what fits into the path's MTU; the rest is fragmented here
	DiscoverDont                       // fragments by the path's MTU, never DF
	DiscoverDo                         // always DF; longer than the path's MTU is EMSGSIZE
	DiscoverProbe                      // always DF; longer than the link's MTU is EMSGSIZE
	DiscoverInterface                  // never DF; longer than the link's MTU is EMSGSIZE; believes no report
	DiscoverOmit                       // fragments by the link's MTU, never DF; believes no report
)

// DiscoveryOf returns what the number of an option stands for (IP_PMTUDISC_*, IPV6_PMTUDISC_*).
func DiscoveryOf(option int) (d Discovery, ok bool) {
	switch {
	case option < 0 || option > int(DiscoverOmit):
		return 0, false
	case option < 2:
		return Discovery(1 - option), true // the kernel's zero is DONT
	}
	return Discovery(option), true
}

// Option is the number that DiscoveryOf takes.
func (d Discovery) Option() int {
	if d < 2 {
		return int(1 - d)
	}
	return int(d)
}

// DiscoveryTo is what s does about the MTU of the path to dst.
func (s *Socket) DiscoveryTo(dst netip.Addr) Discovery {
	if dst.Is4() {
		return s.Discover
	}
	return s.Discover6
}

// Path says whether d goes by the MTU of the path, not of the link (ip_sk_use_pmtu).
func (d Discovery) Path() bool { return d < DiscoverProbe }

// Fragments says whether d lets datagrams be fragmented here (ip_sk_ignore_df).
func (d Discovery) Fragments() bool { return d < DiscoverDo || d == DiscoverOmit }

// Believes says whether d has reports of a smaller MTU believed (ip_sk_accept_pmtu).
func (d Discovery) Believes() bool { return d < DiscoverInterface }

// DF says whether a packet, which fits into one piece or does not, leaves with IPv4's "don't
// fragment" (__ip_make_skb).
func (d Discovery) DF(fits bool) bool {
	return d == DiscoverDo || d == DiscoverProbe || d == DiscoverWant && fits
}
