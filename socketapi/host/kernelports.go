package host

import (
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: ip(7) (IP_FREEBIND); inet_csk_get_port and inet_csk_bind_conflict in
// net/ipv4/inet_connection_sock.c, udp_lib_get_port in net/ipv4/udp.c.

// kernelPorts are the ports that are held in the kernel too, since their address is the kernel's as well as
// ours: a program of the kernel's that took one would wait for packets that come to us, and send from it what
// our peers take for ours. Each is a socket that is bound and does nothing else, so that the kernel gives
// EADDRINUSE to whoever binds to it and chooses others itself; it ends with the process, whatever ends that.
//
// All of it is guarded by Ports.mu.
type kernelPorts struct {
	namespace namespace
	shared    sharedAddrs
	four, six bool          // whether there are any of a family
	steered   []*engine.NIC // shared interfaces; not changed after Open
	held      map[portKey][]*kernelPort
}

// sharedAddrs are addresses of the host that the kernel has too, each with the shared interfaces that have it, where its ports are
// steered one by one.
type sharedAddrs map[netip.Addr][]*engine.NIC

// A kernelPort is one socket of the kernel's, and how many holds it stands for; at 0 it stands for connections. Where the
// address is shared the port comes here by rules, which are there only while it is held.
type kernelPort struct {
	kernelName
	key   portKey
	fd    int
	uses  int
	rules []portRule
}

// A kernelName is what a socket of the kernel's is bound to beside its port.
type kernelName struct {
	addr  netip.Addr
	only6 bool
}

// name is what is to be held in the kernel for a hold, and whether anything is: that of a wildcard if its sockets hear
// of a shared address.
func (k *kernelPorts) name(h *Hold) (kernelName, bool) {
	a := h.Local.Addr()
	switch {
	case h.Protocol != wire.ProtoTCP && h.Protocol != wire.ProtoUDP:
		return kernelName{}, false
	case !a.IsUnspecified():
		_, ok := k.shared[a]
		return kernelName{addr: a, only6: a.Is6()}, ok
	case a.Is4() || h.Only6 || !k.six:
		a4 := a.Is4() || !h.Only6 && !k.six
		if a4 {
			return kernelName{addr: netip.IPv4Unspecified()}, k.four
		}
		return kernelName{addr: a, only6: true}, k.six
	}
	return kernelName{addr: a, only6: !k.four}, true
}

// take holds in the kernel what h wants held there. It is EADDRINUSE if a socket of the kernel's has it, and ENOBUFS
// if the process may have no more descriptors.
func (k *kernelPorts) take(h *Hold) unix.Errno {
	name, ok := k.name(h)
	if !ok {
		return 0
	}
	key := portKey{h.Protocol, h.Local.Port()}
	i := slices.IndexFunc(k.held[key], func(p *kernelPort) bool { return p.kernelName == name })
	if i >= 0 {
		h.kernel = k.held[key][i]
		h.kernel.uses++
		return 0
	}
	p := &kernelPort{kernelName: name, key: key, uses: 1}
	errno := k.namespace.do(func() (errno unix.Errno) {
		p.fd, errno = p.open(k.held[key], h.ReuseAddr, len(k.rules(p)) > 0)
		return errno
	})
	if errno == 0 {
		if errno = k.steer(p); errno != 0 {
			unix.Close(p.fd)
		}
	}
	switch errno {
	case 0:
		k.held[key] = append(k.held[key], p)
		h.kernel = p
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		errno = unix.ENOBUFS
	}
	return errno
}

// drop gives back what take has taken, unless connections keep it.
func (k *kernelPorts) drop(h *Hold, kept bool) {
	p := h.kernel
	if p == nil {
		return
	}
	h.kernel = nil
	if p.uses--; p.uses == 0 && !kept {
		k.end(p)
	}
}

// end closes a socket of the kernel's. The packets come here no more by then, so that none of the next one's does.
func (k *kernelPorts) end(p *kernelPort) {
	p.unsteer()
	unix.Close(p.fd)
	rest := slices.DeleteFunc(k.held[p.key], func(other *kernelPort) bool { return other == p })
	if len(rest) == 0 {
		delete(k.held, p.key)
	} else {
		k.held[p.key] = rest
	}
}

// close gives back everything, and holds nothing any more.
func (k *kernelPorts) close(holds map[portKey][]*Hold) {
	k.shared, k.four, k.six = nil, false, false
	for _, list := range holds {
		for _, h := range list {
			k.drop(h, false)
		}
	}
	k.endIdle(nil)
	k.namespace.close()
}

// endIdle closes what stands for connections, except for some.
func (k *kernelPorts) endIdle(except map[*kernelPort]bool) {
	for _, list := range k.held {
		for _, p := range slices.Clone(list) {
			if p.uses == 0 && !except[p] {
				k.end(p)
			}
		}
	}
}

// open binds a socket of the kernel's. Others of the same port that are ours are no obstacle: Ports lets their sockets
// be beside each other. Nor is what is left of connections where reuse says so (SO_REUSEADDR). Neither is left to
// programs that come later: SO_REUSEADDR counts while somebody binds, and is taken back. Where the port is steered, a program's
// connections are an obstacle all the same, since they would hear no more.
func (p *kernelPort) open(ours []*kernelPort, reuse, steered bool) (fd int, errno unix.Errno) {
	family, typ := unix.AF_INET6, unix.SOCK_STREAM
	if p.addr.Is4() {
		family = unix.AF_INET
	}
	if p.key.protocol == wire.ProtoUDP {
		typ = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err.(unix.Errno)
	}
	defer func() {
		if errno != 0 {
			unix.Close(fd)
		}
	}()
	if errno := p.prepare(fd, family, typ); errno != 0 {
		return -1, errno
	}
	err = unix.Bind(fd, p.sockaddr())
	if err == unix.EADDRINUSE && (reuse || len(ours) > 0) && !(steered && p.connected()) {
		sharing := []int{fd}
		for _, other := range ours {
			sharing = append(sharing, other.fd)
		}
		setReuse(sharing, 1)
		err = unix.Bind(fd, p.sockaddr())
		setReuse(sharing, 0)
	}
	if err != nil {
		return -1, err.(unix.Errno)
	}
	return fd, 0
}

// prepare has the socket hear nothing and its address be one that the kernel is still to finish with.
func (p *kernelPort) prepare(fd, family, typ int) unix.Errno {
	nothing := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}}
	errs := []error{unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)} // Linux: one flag for both families
	if family == unix.AF_INET6 {
		errs = append(errs, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, number(p.only6)))
	}
	if typ == unix.SOCK_DGRAM {
		errs = append(errs, unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &nothing))
	}
	for _, err := range errs {
		if err != nil {
			return err.(unix.Errno)
		}
	}
	return 0
}

func setReuse(fds []int, on int) {
	for _, fd := range fds {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on) // it cannot fail
	}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *kernelPort) sockaddr() unix.Sockaddr {
	if p.addr.Is4() {
		return &unix.SockaddrInet4{Port: int(p.key.port), Addr: p.addr.As4()}
	}
	return &unix.SockaddrInet6{Port: int(p.key.port), Addr: p.addr.As16(), ZoneId: wire.Scope(p.addr)}
}

// share says which addresses the kernel has too. What is held already is held there as well from now on, unless a
// program of the kernel's was first (Unshared), and what need not be any more is given back: last, since a packet that came while nothing
// stood for its connection would be the kernel's to reset.
func (p *Ports) share(addrs sharedAddrs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := &p.kernel
	if maps.EqualFunc(k.shared, addrs, slices.Equal) {
		return
	}
	k.shared, k.four, k.six = addrs, false, false
	for a := range addrs {
		k.four, k.six = k.four || a.Is4(), k.six || a.Is6()
	}
	p.lending.Store(k.four || k.six)
	for _, list := range p.held {
		for _, h := range list {
			name, ok := k.name(h)
			if h.kernel != nil && (!ok || h.kernel.kernelName != name) {
				k.drop(h, true)
			}
			if ok && h.kernel == nil {
				k.take(h)
			}
		}
	}
	for _, list := range k.held {
		for _, held := range list {
			k.steer(held) // no room: the next change tries again
		}
	}
	k.endIdle(p.forConnections())
}

// Unshared counts the ports of addresses that the kernel has too whose packets need not come here, though somebody has them: a program
// of the kernel's had the port before there was the address, or an interface has no room for one more rule. Whoever asks
// for such a port later is refused; this is what addresses that come while the host is open can do.
func (p *Ports) Unshared() (n int) {
	told := make(map[portKey]bool)
	p.mu.Lock()
	defer p.mu.Unlock()
	k := &p.kernel
	for key, list := range p.held {
		for _, h := range list {
			if _, ok := k.name(h); ok && h.kernel == nil {
				n++
				told[key] = true
			}
		}
	}
	for _, list := range k.held {
		for _, held := range list {
			if !slices.Equal(held.rules, k.rules(held)) {
				n++
			}
		}
	}
	for _, local := range p.connected() {
		key := portKey{wire.ProtoTCP, local.Port()}
		if _, ok := k.shared[local.Addr()]; ok && len(k.held[key]) == 0 && !told[key] {
			n++
			told[key] = true
		}
	}
	return n
}

// forConnections holds in the kernel what connections want held there, and returns what stands for them. mu is held.
func (p *Ports) forConnections() map[*kernelPort]bool {
	all := make(map[*kernelPort]bool)
	for _, local := range p.connected() {
		h := &Hold{Protocol: wire.ProtoTCP, Local: local}
		if p.kernel.take(h) == 0 && h.kernel != nil {
			kept := p.keeps(local.Port())
			if kept {
				all[h.kernel] = true
			}
			p.kernel.drop(h, kept)
		}
	}
	return all
}

// connected is where there are connections, if the kernel has any of our addresses. mu is held.
func (p *Ports) connected() (list []netip.AddrPort) {
	if !p.lending.Load() {
		return nil
	}
	p.stop()
	defer p.goOn()
	for _, r := range p.registers {
		for port, t := range r.conns {
			t.each(func(t *tenant) bool {
				list = append(list, netip.AddrPortFrom(t.addr, port))
				return false
			})
		}
	}
	return list
}

// Lend has the kernel hold a port for a connection that is about to be opened, where the address is the kernel's too. It is
// EADDRINUSE if a socket of the kernel's has it. Whether the connection has come about or not, settled says that it is
// decided: from then on the port is the connection's, until its last state has ended.
func (p *Ports) Lend(local netip.AddrPort) (settled func(), errno unix.Errno) {
	if !p.lending.Load() {
		return func() {}, 0
	}
	h := &Hold{Protocol: wire.ProtoTCP, Local: local}
	p.mu.Lock()
	defer p.mu.Unlock()
	if errno := p.kernel.take(h); errno != 0 {
		return nil, errno
	}
	return func() {
		p.mu.Lock()
		p.kernel.drop(h, p.keeps(local.Port()))
		p.mu.Unlock()
	}, 0
}

// keeps says whether connections keep what is held in the kernel for a port of TCP, and sees to it that the last of
// them gives it back. mu is held.
func (p *Ports) keeps(port uint16) bool {
	if !p.lending.Load() {
		return false
	}
	p.stop()
	defer p.goOn()
	kept := p.tenants(port, anybody)
	if kept {
		p.lent.set(port, true)
	}
	return kept
}

// giveBack gives back what was held in the kernel for the connections of a port, when there are none any more.
func (p *Ports) giveBack(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
	over := p.lent.has(port) && !p.tenants(port, anybody)
	if over {
		p.lent.set(port, false)
	}
	p.goOn()
	if !over {
		return
	}
	for _, k := range slices.Clone(p.kernel.held[portKey{wire.ProtoTCP, port}]) {
		if k.uses == 0 {
			p.kernel.end(k)
		}
	}
}

// sharedWithKernel is those of the addresses of all ports that the kernel has too. before are those that it has been
// asked about. Of the link-local ones it keeps its own traffic in any case, and it has one on every link; those of a
// shared interface are the same on both sides.
func (h *Host) sharedWithKernel(n *network, before, after [][]route.Addr) sharedAddrs {
	shared := sharedAddrs{}
	h.Ports.mu.Lock()
	known := h.Ports.kernel.shared
	h.Ports.mu.Unlock()
	for port := range after {
		if h.byPort[port] == nil {
			continue
		}
		for i := range after[port] {
			a := after[port][i].Prefix.Addr()
			switch {
			case h.shared(port):
				at := h.zoned(port, a)
				shared[at] = append(shared[at], h.byPort[port])
				continue
			case a.IsLinkLocalUnicast():
				continue
			}
			_, has := known[a]
			if indexOf(n.addrs[Kernel][port], a) >= 0 || has && indexOf(before[port], a) >= 0 || indexOf(before[port], a) < 0 && h.Ports.kernel.namespace.has(a) {
				if _, ok := shared[a]; !ok { // another interface may share it
					shared[a] = nil
				}
			}
		}
	}
	return shared
}
