package tcp

import "net/netip"

// Read first: inet_bind_hash, __inet_inherit_port and inet_twsk_hashdance of Linux (net/ipv4/inet_hashtables.c,
// inet_timewait_sock.c): who is on the list that bind(2) goes through.

// A Register keeps account of the connections that hold a local port, for whoever is asked whether another may be bound to it:
// of one that we open from Connect on, of one that a listener makes from when it waits for Accept, of both until
// the last state has ended, TIME-WAIT included. Its methods are called with the core's lock held.
type Register interface {
	// Enter counts a connection. It is false, and counts nothing, if the connection would share a port that Connect chose,
	// and it has been bound to.
	Enter(local netip.AddrPort, t Tenure) bool
	// Change is for a connection whose program has changed its options, or whose it is no more.
	Change(local netip.AddrPort, from, to Tenure)
	// Leave takes back an Enter, with the Tenure that it has changed to.
	Leave(local netip.AddrPort, t Tenure)
}

// A Tenure is how a connection holds its port.
type Tenure struct {
	Device uint32 // the stack's port that it is bound to, counted from 1; 0: any
	User   uint32 // see Options.User; Anybody
	Sharing
}

// Anybody is the User of a connection that has none any more: with ReusePort it is as if it were whoever's asks.
const Anybody uint32 = 1<<32 - 1

// Sharing says who else may have the port.
type Sharing uint8

const (
	ReuseAddr Sharing = 1 << iota // SO_REUSEADDR
	ReusePort                     // SO_REUSEPORT
	Only6                         // IPV6_V6ONLY
	Bound                         // bind took the port, or it is a listener's; else Connect chose it, and gives it to others with other peers
)

// tenure is how c holds its port.
func (c *Conn) tenure() Tenure {
	t := Tenure{c.opt.Device, c.opt.User, c.opt.Sharing}
	if c.passive {
		t.Sharing |= Bound
	}
	if c.counted == asLapsing {
		return t.left()
	}
	return t
}

// left is how a connection holds its port when little more than its addresses and numbers is kept: in TIME-WAIT, and when it
// lapses. Whose it was is not known any more.
func (t Tenure) left() Tenure {
	t.User = 0
	if t.Sharing&ReusePort != 0 {
		t.User = Anybody
	}
	return t
}

// registered says whether c is in the register: all are from their beginning to their end, but what a listener has made is
// not before it waits for Accept.
func (c *Conn) registered() bool {
	return c.state != Closed && (c.state != SynReceived || !c.passive || c.tfo&fastTaken != 0)
}

// reregister is for c whose tenure was another until now.
func (c *Conn) reregister(from Tenure) {
	if c.registered() {
		c.t.change(&c.key, from, c.tenure())
	}
}

func (t *TCP) enter(k *key, how Tenure) bool {
	return t.cfg.Register == nil || t.cfg.Register.Enter(t.localOf(k), how)
}

func (t *TCP) change(k *key, from, to Tenure) {
	if to != from && t.cfg.Register != nil {
		t.cfg.Register.Change(t.localOf(k), from, to)
	}
}

func (t *TCP) leave(k *key, how Tenure) {
	if t.cfg.Register != nil {
		t.cfg.Register.Leave(t.localOf(k), how)
	}
}

func (t *TCP) localOf(k *key) netip.AddrPort {
	return netip.AddrPortFrom(k.addr(k.local, &t.scopes), k.localPort())
}
