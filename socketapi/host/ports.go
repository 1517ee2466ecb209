package host

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// The range of ports that the host chooses from at first (RFC 6056 §3.2; Linux:
// net.ipv4.ip_local_port_range).
const (
	ephemeralFirst = 32768
	ephemeralLast  = 60999
)

// unprivilegedFirst is the first port that anybody may bind a socket to (Linux: PROT_SOCK).
const unprivilegedFirst = 1024

// Ports is who holds which port: sockets, each by a Hold, and connections, which the cores count in registers. A port is
// held by its protocol, for one address or for all. Where the address is the kernel's too it is held there as well.
type Ports struct {
	chance sync.Mutex // guards what follows: it is held for a moment only
	rand   *rand.Rand
	all    span // that ports are chosen from

	mu       sync.Mutex // guards what follows, and sockets' claims; held while the kernel is asked
	lowBelow int        // ports below it want a right
	scarce   bool       // net.ipv4.ip_autobind_reuse

	held   map[portKey][]*Hold // in the order in which they are looked at from the end: see enlist
	kernel kernelPorts

	// What follows is written with the locks of mu and of all registers held, and read with any of them.
	registers []*register
	bindings  byPort[binding] // of TCP
	lent      portSet         // ports of TCP that are held in the kernel for connections alone

	reserved atomic.Pointer[portSet] // that are never chosen, nil: none. What it points to does not change
	lending  atomic.Bool             // there may be some: the kernel has addresses of ours
}

// A binding is what sockets that are bound to a port make of it.
type binding struct {
	bound   bool // connect does not choose it
	sockets int  // that are bound to it. 0: none, but perhaps connections that came by one
	club    club
}

type portKey struct {
	protocol wire.Protocol
	port     uint16
}

// A Hold is one socket's claim on a port. What others may share changes by Change and Move.
type Hold struct {
	Protocol wire.Protocol
	Local    netip.AddrPort // what was asked for
	Mapped   bool           // it is IPv4's, and the socket is for IPv6
	Only6    bool
	// ReuseAddr lets datagram sockets share an address, and stream sockets share one that
	// nobody listens on. ReusePort lets any share it that ask for it too. Both and Device are guarded by Ports.mu once it is taken.
	ReuseAddr, ReusePort bool
	Device               uint32    // SO_BINDTODEVICE: the interface's number counted from 1, 0: all
	User                 uint32    // whose it is: SO_REUSEPORT is for sockets of one user
	Range                PortRange // that a port is chosen from

	at        netip.Addr  // where a connected socket is, not valid: where it was bound to; guarded by Ports.mu
	listening bool        // guarded by Ports.mu
	kernel    *kernelPort // that stands for it there, nil: none; guarded by Ports.mu
}

// A PortRange is the part of the range of ports that a socket is to have one of; zeros say nothing (IP_LOCAL_PORT_RANGE).
type PortRange struct{ First, Last uint16 }

func newPorts(r *rand.Rand) *Ports {
	return &Ports{
		rand: r, all: span{ephemeralFirst, ephemeralLast + 1}, lowBelow: unprivilegedFirst,
		held:   make(map[portKey][]*Hold),
		kernel: kernelPorts{namespace: namespace{fd: -1}, held: make(map[portKey][]*kernelPort)},
	}
}

// register returns the register of one more core.
func (p *Ports) register() *register {
	r := &register{ports: p, conns: make(map[uint16]tenants)}
	p.registers = append(p.registers, r)
	return r
}

// stop has the registers stay as they are until goOn is called.
func (p *Ports) stop() {
	for _, r := range p.registers {
		r.mu.Lock()
	}
}

func (p *Ports) goOn() {
	for _, r := range p.registers {
		r.mu.Unlock()
	}
}

// tenants calls f for who has connections at a port of TCP until it is true, and says whether it was. The registers are stopped.
func (p *Ports) tenants(port uint16, f func(*tenant) bool) bool {
	for _, r := range p.registers {
		if t := r.conns[port]; t.each(f) {
			return true
		}
	}
	return false
}

// claim is what h says now. Ports.mu is held.
func (h *Hold) claim() claim {
	c := claim{
		addr: h.Local.Addr(), mapped: h.Mapped, only6: h.Only6, device: h.Device, user: h.User,
		reuseAddr: h.ReuseAddr, reusePort: h.ReusePort, listening: h.listening,
	}
	if h.at.IsValid() {
		c.addr = h.at
	}
	return c
}

// Take holds h.Local, or a port of its address that nobody has if its port is 0. It is
// EADDRINUSE if that cannot be. Who is asked for a port by a program asks Allowed first.
func (p *Ports) Take(h *Hold) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.Local.Port() != 0 {
		return p.take(h, asked)
	}
	addr := h.Local.Addr()
	walk := p.choices(h)
	for port := range walk.Ports {
		h.Local = netip.AddrPortFrom(addr, port)
		if errno := p.take(h, chosen); errno != unix.EADDRINUSE {
			return errno
		}
	}
	if p.scarce && h.Protocol == wire.ProtoTCP {
		walk = p.choices(h)
		for port := range walk.Ports {
			h.Local = netip.AddrPortFrom(addr, port)
			if errno := p.take(h, scarce); errno != unix.EADDRINUSE {
				return errno
			}
		}
	}
	h.Local = netip.AddrPortFrom(addr, 0)
	return unix.EADDRINUSE
}

// Allowed says whether the calling thread may ask for a port of TCP or UDP: it is EACCES if that is a low one, and the thread lacks
// the right.
func (p *Ports) Allowed(port uint16) unix.Errno {
	p.mu.Lock()
	low := int(port) < p.lowBelow && port != 0
	p.mu.Unlock()
	if low && !mayTakeLow() {
		return unix.EACCES
	}
	return 0
}

// mayTakeLow says whether the calling thread may have low ports.
func mayTakeLow() bool { return Capable(unix.CAP_NET_BIND_SERVICE) }

// Capable says whether the calling thread has one of the first 32 capabilities (capabilities(7)).
func Capable(capability int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&head, &sets[0]) == nil && sets[0].Effective&(1<<capability) != 0
}

// take gives h the port that it says, if it may have it. mu is held.
func (p *Ports) take(h *Hold, m manner) unix.Errno {
	if !p.settle(h, m, true) {
		return unix.EADDRINUSE
	}
	errno := p.kernel.take(h)
	if errno != 0 {
		p.remove(h)
	}
	return errno
}

// settle says whether h may hold its port as it is now, and has it there if it is new. mu is held.
func (p *Ports) settle(h *Hold, m manner, anew bool) bool {
	a, key := h.claim(), portKey{h.Protocol, h.Local.Port()}
	p.stop()
	defer p.goOn()
	if !p.may(&a, h, key, m) {
		return false
	}
	if anew {
		p.held[key] = enlist(p.held[key], h)
	}
	if h.Protocol != wire.ProtoTCP {
		return true
	}
	b := p.bindings.make(key.port)
	b.bound = true
	if anew {
		b.sockets++
	}
	b.club.join(&a)
	return true
}

// enlist adds h to the holders of its port. Of datagram sockets, whose order counts, the newest is looked at first, but the newest for
// IPv6 with SO_REUSEPORT last (Linux: sk_add_node_rcu).
func enlist(list []*Hold, h *Hold) []*Hold {
	if h.ReusePort && (h.Mapped || h.Local.Addr().Is6()) {
		return slices.Insert(list, 0, h)
	}
	return append(list, h)
}

// may says whether h, whose claim is a, may hold a port. The registers are stopped.
func (p *Ports) may(a *claim, h *Hold, key portKey, m manner) bool {
	others := p.held[key]
	if key.protocol != wire.ProtoTCP {
		return a.shares(others, m == asked)
	}
	if b := p.bindings.at(key.port); b != nil && m == asked && b.club.takes(a) {
		return true
	}
	for _, other := range others {
		if b := other.claim(); other != h && a.meets(&b) && a.clash(&b, m) {
			return false
		}
	}
	return !p.tenants(key.port, func(t *tenant) bool {
		b := t.claim()
		return a.meets(&b) && a.clash(&b, m)
	})
}

// Listen turns a claim into a listener's. It is EADDRINUSE if it could not be made as it is now.
func (p *Ports) Listen(h *Hold) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.listening = true
	if !p.settle(h, asked, false) {
		h.listening = false
		return unix.EADDRINUSE
	}
	return 0
}

// Unlisten takes Listen back: the port is held as if it were only bound.
func (p *Ports) Unlisten(h *Hold) {
	p.mu.Lock()
	h.listening = false
	p.mu.Unlock()
}

// Change is for a socket whose options are others now.
func (p *Ports) Change(h *Hold, reuseAddr, reusePort bool, device uint32) {
	p.mu.Lock()
	h.ReuseAddr, h.ReusePort, h.Device = reuseAddr, reusePort, device
	p.mu.Unlock()
}

// Move is for a socket that is bound to all addresses and is connected: it holds the port for one. An address that is not
// valid takes it back.
func (p *Ports) Move(h *Hold, to netip.Addr) {
	p.mu.Lock()
	h.at = to
	p.mu.Unlock()
}

// Drop ends a claim.
func (p *Ports) Drop(h *Hold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(h)
	p.kernel.drop(h, h.Protocol == wire.ProtoTCP && p.keeps(h.Local.Port()))
}

// remove takes h out of the list. mu is held.
func (p *Ports) remove(h *Hold) {
	key := portKey{h.Protocol, h.Local.Port()}
	p.held[key] = slices.DeleteFunc(p.held[key], func(other *Hold) bool { return other == h })
	if len(p.held[key]) == 0 {
		delete(p.held, key)
	}
	if h.Protocol != wire.ProtoTCP {
		return
	}
	p.stop()
	p.bindings.at(key.port).sockets--
	p.goOn()
	p.unbind(key.port)
}

// unbind lets connect choose a port of TCP again that no socket is bound to and no connection has by one.
func (p *Ports) unbind(port uint16) {
	p.stop()
	if b := p.bindings.at(port); b.bound && b.sockets == 0 && !p.tenants(port, bound) {
		*b = binding{}
	}
	p.goOn()
}

// close gives back what is held in the kernel. Claims are dropped all the same.
func (p *Ports) close() {
	p.mu.Lock()
	p.lending.Store(false)
	p.kernel.close(p.held)
	p.mu.Unlock()
}
