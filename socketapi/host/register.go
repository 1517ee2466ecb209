package host

import (
	"net/netip"
	"sync"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

// A register is one core's account of the connections that hold ports ([tcp.Register]).
//
// A core writes its own alone, so that cores which open connections do not meet here. Whoever wants to know of all
// (bind, listen) takes the lock of every one, in their order: what he finds stays so until he lets go, and what he says
// of the ports that are bound is known to the connection that is opened next.
type register struct {
	mu    sync.Mutex // the last of all locks
	ports *Ports
	conns map[uint16]tenants // by port
	_     [64]byte           // two of them do not share a cache line
}

// tenants are the connections of one port, counted by what bind asks of them.
type tenants struct {
	first tenant
	more  []tenant // of servers with several addresses; nil for most
}

type tenant struct {
	addr netip.Addr
	how  tcp.Tenure
	n    int32 // 0: nobody
}

func (t *tenant) is(addr netip.Addr, how tcp.Tenure) bool {
	return t.n > 0 && t.how == how && t.addr == addr
}

// claim is what a tenant's connections say.
func (t *tenant) claim() claim {
	return claim{
		addr: t.addr, device: t.how.Device, user: t.how.User, only6: t.how.Sharing&tcp.Only6 != 0,
		reuseAddr: t.how.Sharing&tcp.ReuseAddr != 0, reusePort: t.how.Sharing&tcp.ReusePort != 0,
	}
}

// each calls f for all of them until it is true, and says whether it was.
func (t *tenants) each(f func(*tenant) bool) bool {
	if t.first.n > 0 && f(&t.first) {
		return true
	}
	for i := range t.more {
		if t.more[i].n > 0 && f(&t.more[i]) {
			return true
		}
	}
	return false
}

// add counts one more.
func (t *tenants) add(addr netip.Addr, how tcp.Tenure) {
	var room *tenant
	if t.first.n == 0 {
		room = &t.first
	}
	for i := range t.more {
		switch at := &t.more[i]; {
		case at.is(addr, how):
			at.n++
			return
		case at.n == 0 && room == nil:
			room = at
		}
	}
	switch {
	case t.first.is(addr, how):
		t.first.n++
	case room != nil:
		*room = tenant{addr, how, 1}
	default:
		t.more = append(t.more, tenant{addr, how, 1})
	}
}

// remove counts one less, and says whether it was the last like it.
func (t *tenants) remove(addr netip.Addr, how tcp.Tenure) (last bool) {
	at := &t.first
	for i := 0; !at.is(addr, how); i++ {
		at = &t.more[i] // it is there: it was added
	}
	at.n--
	return at.n == 0
}

func anybody(*tenant) bool { return true }

func bound(t *tenant) bool { return t.how.Sharing&tcp.Bound != 0 }

func (r *register) Enter(local netip.AddrPort, how tcp.Tenure) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if how.Sharing&tcp.Bound == 0 {
		if b := r.ports.bindings.at(local.Port()); b != nil && b.bound {
			return false
		}
	}
	r.add(local, how)
	return true
}

func (r *register) Change(local netip.AddrPort, from, to tcp.Tenure) {
	r.mu.Lock()
	r.remove(local, from)
	r.add(local, to)
	r.mu.Unlock()
}

func (r *register) Leave(local netip.AddrPort, how tcp.Tenure) {
	r.mu.Lock()
	if !r.remove(local, how) {
		r.mu.Unlock()
		return
	}
	b := r.ports.bindings.at(local.Port())
	over := b != nil && b.bound && b.sockets == 0
	lent := r.ports.lent.has(local.Port())
	r.mu.Unlock()
	if over && how.Sharing&tcp.Bound != 0 {
		r.ports.unbind(local.Port())
	}
	if lent {
		go r.ports.giveBack(local.Port()) // by system calls, and a core's lock is held here
	}
}

// add and remove have mu held.

func (r *register) add(local netip.AddrPort, how tcp.Tenure) {
	t := r.conns[local.Port()]
	t.add(local.Addr(), how)
	r.conns[local.Port()] = t
}

// remove says whether it was the last like it.
func (r *register) remove(local netip.AddrPort, how tcp.Tenure) (last bool) {
	t := r.conns[local.Port()]
	last = t.remove(local.Addr(), how)
	if last && !t.each(anybody) {
		delete(r.conns, local.Port())
		return true
	}
	r.conns[local.Port()] = t
	return last
}
