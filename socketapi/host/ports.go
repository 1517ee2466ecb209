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

// Ports is who holds which port. A port is held by its protocol, for one address or
// for all (Linux: inet_csk_get_port and udp_lib_get_port). Where the address is the kernel's too it is
// held there as well.
type Ports struct {
	mu   sync.Mutex
	rand *rand.Rand

	first, last int // of the ports that are chosen from
	lowBelow    int // ports below it want a right

	held   map[portKey][]*Hold
	kernel kernelPorts
}

type portKey struct {
	protocol wire.Protocol
	port     uint16
}

// A Hold is one socket's claim on a port.
type Hold struct {
	Protocol wire.Protocol
	Local    netip.AddrPort
	Only6    bool
	// Remote is the peer of a connection whose port is to be chosen, and zero for a port that somebody
	// has bound: connections share a chosen port if their peers differ (Linux: __inet_hash_connect).
	Remote netip.AddrPort
	// ReuseAddr lets datagram sockets share an address, and stream sockets share one that
	// nobody listens on. ReusePort lets any share it that ask for it too.
	ReuseAddr, ReusePort bool
	Device               uint32 // SO_BINDTODEVICE: the interface's number counted from 1, 0: all
	listening            bool   // guarded by Ports.mu
	sharers              atomic.Int32
	kernel               *kernelPort // that stands for it there, nil: none; guarded by Ports.mu
}

func newPorts(r *rand.Rand) *Ports {
	return &Ports{rand: r, first: ephemeralFirst, last: ephemeralLast, lowBelow: unprivilegedFirst, held: make(map[portKey][]*Hold),
		kernel: kernelPorts{namespace: namespace{fd: -1}, held: make(map[portKey][]*kernelPort)}}
}

// Take holds h.Local, or a free port of its address if its port is 0. It is
// EADDRINUSE if that cannot be, and EACCES if the port is a low one and the thread may not have it.
func (p *Ports) Take(h *Hold) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	if port := int(h.Local.Port()); port != 0 {
		if port < p.lowBelow && (h.Protocol == wire.ProtoTCP || h.Protocol == wire.ProtoUDP) && !mayTakeLow() {
			return unix.EACCES
		}
		return p.take(h)
	}
	// RFC 6056 §3.3.1: from a random port on, the first that is free.
	count := p.last - p.first + 1
	start := p.rand.IntN(count)
	addr := h.Local.Addr()
	for i := range count {
		port := uint16(p.first + (start+i)%count)
		if !h.fits(p.held[portKey{h.Protocol, port}]) {
			continue
		}
		h.Local = netip.AddrPortFrom(addr, port)
		if errno := p.take(h); errno != unix.EADDRINUSE { // which is a socket of the kernel's
			return errno
		}
	}
	h.Local = netip.AddrPortFrom(addr, 0)
	return unix.EADDRINUSE
}

// fits says whether a port with these holders may be chosen for h: a free one, or for a connection
// one that others to other peers were given.
func (h *Hold) fits(others []*Hold) bool {
	for _, other := range others {
		if !h.Remote.IsValid() || !other.Remote.IsValid() || h.Remote == other.Remote {
			return false
		}
	}
	return true
}

// setRange moves the range that ports are chosen from, and the port below which one needs a right.
func (p *Ports) setRange(first, last, lowBelow int) {
	p.mu.Lock()
	p.first, p.last, p.lowBelow = first, last, lowBelow
	p.mu.Unlock()
}

// mayTakeLow says whether the calling thread has CAP_NET_BIND_SERVICE, which low ports are kept for (capabilities(7)).
func mayTakeLow() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&head, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}

func (p *Ports) take(h *Hold) unix.Errno {
	key := portKey{h.Protocol, h.Local.Port()}
	for _, other := range p.held[key] {
		if conflict(h, other) {
			return unix.EADDRINUSE
		}
	}
	if errno := p.kernel.take(h); errno != 0 {
		return errno
	}
	p.held[key] = append(p.held[key], h)
	return 0
}

// conflict says whether two claims on one port cannot stand together.
func conflict(a, b *Hold) bool {
	if !overlap(a, b) {
		return false
	}
	if a.Remote.IsValid() && b.Remote.IsValid() {
		return a.Remote == b.Remote
	}
	if a.ReusePort && b.ReusePort {
		return false
	}
	if a.ReuseAddr && b.ReuseAddr {
		return a.Protocol == wire.ProtoTCP && (a.listening || b.listening)
	}
	return true
}

// overlap says whether there is an address that both claims cover.
func overlap(a, b *Hold) bool {
	if a.Device != b.Device && a.Device != 0 && b.Device != 0 {
		return false
	}
	x, y := a.Local.Addr(), b.Local.Addr()
	if x.Is4() == y.Is4() {
		return x == y || x.IsUnspecified() || y.IsUnspecified()
	}
	// Of different families: only [::] covers IPv4 addresses, unless it is IPv6 only.
	if x.Is4() {
		return y.IsUnspecified() && !b.Only6
	}
	return x.IsUnspecified() && !a.Only6
}

// Listen turns a claim into a listener's. It is EADDRINUSE if another listens there.
func (p *Ports) Listen(h *Hold) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.held[portKey{h.Protocol, h.Local.Port()}] {
		if other != h && other.listening && overlap(h, other) && !(h.ReusePort && other.ReusePort) {
			return unix.EADDRINUSE
		}
	}
	if h.sharers.Load() > 0 && !h.ReuseAddr && !h.ReusePort { // connections of a listener that this was before
		return unix.EADDRINUSE
	}
	h.listening = true
	return 0
}

// Unlisten takes Listen back: the port is held as if it were only bound.
func (p *Ports) Unlisten(h *Hold) {
	p.mu.Lock()
	h.listening = false
	p.mu.Unlock()
}

// Share counts one more who holds what h holds: a connection that a listener has
// accepted keeps the port when the listener closes.
func (h *Hold) Share() { h.sharers.Add(1) }

// Drop ends a claim, with the last of those who share it.
func (p *Ports) Drop(h *Hold) {
	if h.sharers.Add(-1) >= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kernel.drop(h)
	key := portKey{h.Protocol, h.Local.Port()}
	rest := slices.DeleteFunc(p.held[key], func(other *Hold) bool { return other == h })
	if len(rest) == 0 {
		delete(p.held, key)
		return
	}
	p.held[key] = rest
}

// close gives back what is held in the kernel. Claims are dropped all the same.
func (p *Ports) close() {
	p.mu.Lock()
	p.kernel.close(p.held)
	p.mu.Unlock()
}
