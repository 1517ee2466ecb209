package tcp

import "net/netip"

// Read first: RFC 5082 §3; tcp_v4_rcv, tcp_v4_err in net/ipv4/tcp_ipv4.c, tcp_v6_rcv, tcp_v6_err in net/ipv6/tcp_ipv6.c.
//
// Who sends with 255 hops to live can be told from everyone who is further away than the socket allows, since no router
// adds any. What comes from there is dropped without an answer, as if nobody were here.

// guard notes that there are options which ask for that: only then segments are looked at.
func (t *TCP) guard(o *Options) { t.guarded = t.guarded || o.MinTTL|o.MinHops != 0 }

// near says whether a packet with so many hops left, of a connection between the addresses of k, has come from near enough.
func (o *Options) near(k *key, hops uint8) bool {
	if k.is4() {
		return hops >= o.MinTTL
	}
	return hops >= o.MinHops
}

// hears says whether a segment of c is to be heard. The handshake that another host has begun is not asked once its SYN was
// heard, as on Linux, where it is a request: who ends it knows our number.
func (c *Conn) hears(hops uint8) bool {
	return c.opt.near(&c.key, hops) || c.state == SynReceived && c.passive && !c.accepted && c.tfo&fastPending == 0
}

// Hears says of an ICMP error about a connection's segment, which has so many hops left, whether it comes from near enough.
func (t *TCP) Hears(local, remote netip.AddrPort, hops uint8) bool {
	if !t.guarded {
		return true
	}
	c := t.Lookup(local, remote)
	return c == nil || c.hears(hops)
}

// hears says the same of a segment that is for no connection but the listener.
func (l *Listener) hears(k *key) bool { return !l.t.guarded || l.dealt(k).opt.near(k, l.t.hops) }
