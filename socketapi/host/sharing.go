package host

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: inet_bind_conflict, inet_csk_bind_conflict, sk_reuseport_match and inet_rcv_saddr_equal in
// net/ipv4/inet_connection_sock.c; udp_lib_lport_inuse in net/ipv4/udp.c; __inet6_bind in net/ipv6/af_inet6.c.

// A claim is what a socket or a connection says about its hold on a port, as it is now: what options are set to
// later counts from then on.
type claim struct {
	addr      netip.Addr
	mapped    bool // IPv4's address of a socket for IPv6
	only6     bool // one bound to an address of IPv6 other than [::] is, too
	device    uint32
	user      uint32
	reuseAddr bool
	reusePort bool
	listening bool
}

// together says whether both have SO_REUSEPORT, and are one user's.
func (a *claim) together(b *claim) bool {
	return a.reusePort && b.reusePort && (a.user == b.user || b.user == tcp.Anybody)
}

func (a *claim) apart(b *claim) bool {
	return a.device != b.device && a.device != 0 && b.device != 0
}

// meets says whether a, which wants to be bound, covers an address that b has. It is not the same from both sides: [fe80::1] can
// be bound beside 0.0.0.0, but a connection of [::]'s at [fe80::1] keeps 0.0.0.0 from being bound.
func (a *claim) meets(b *claim) bool {
	x, y := a.addr, b.addr
	switch {
	case !x.IsUnspecified():
		return x == y || y.IsUnspecified() && (y.Is6() && !(b.only6 && x.Is4()) || x.Is4() && y.Is4())
	case x.Is6():
		return y.Is6() || !a.only6
	case a.mapped:
		return y.Is4() || y.IsUnspecified() && !b.only6
	}
	return !b.only6
}

// A manner is how much sockets of TCP are let share.
type manner struct {
	relaxed bool // those with SO_REUSEADDR share what nobody listens at; when a port is chosen they do not
	byPort  bool // those with SO_REUSEPORT share; when a port is chosen they do not
}

var (
	asked  = manner{relaxed: true, byPort: true} // the program has said which port
	chosen = manner{}
	scarce = manner{relaxed: true} // net.ipv4.ip_autobind_reuse, when there is no other
)

// clash says whether a cannot hold a port of TCP beside b, whose address meets its own.
func (a *claim) clash(b *claim, m manner) bool {
	both := a.together(b)
	switch {
	case a.apart(b):
		return false
	case a.reuseAddr && b.reuseAddr && !b.listening:
		return !m.relaxed || !m.byPort && both
	}
	return !m.byPort || !both
}

// A club is the last socket with SO_REUSEPORT that was bound to a port: whoever is equal to it need not be compared with the
// others, whatever these say now (fastreuseport).
type club struct {
	claim
	open bool
}

// takes says whether a belongs to the club.
func (c *club) takes(a *claim) bool {
	if !c.open || !a.reusePort || a.user != c.user {
		return false
	}
	x, y := c.addr, a.addr
	switch {
	case x == y:
		return !(x.Is4() && a.only6)
	case !x.IsUnspecified():
		return false
	case x.Is6():
		return y.Is6() || !c.only6
	case c.mapped:
		return y.Is4()
	}
	return !a.only6 && (y.Is4() || y.IsUnspecified())
}

// join is told of every socket that the port is given to.
func (c *club) join(a *claim) {
	switch {
	case !a.reusePort:
		c.open = false
	case !c.takes(a):
		c.claim, c.open = *a, true
	}
}

// shares says whether a may have a port of datagrams beside others, looked at from the last on: the first with SO_REUSEPORT like
// itself decides, where a port is asked for.
func (a *claim) shares(others []*Hold, asked bool) bool {
	for i := len(others) - 1; i >= 0; i-- {
		b := others[i].claim()
		switch {
		case a.reuseAddr && b.reuseAddr, a.apart(&b), !a.meets(&b):
		case a.together(&b):
			if asked {
				return true
			}
		default:
			return false
		}
	}
	return true
}
