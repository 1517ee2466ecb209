package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Proto is an IP protocol that has ports.
type Proto uint8

const (
	TCP Proto = unix.IPPROTO_TCP
	UDP Proto = unix.IPPROTO_UDP
)

func (pr Proto) String() string {
	switch pr {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(pr))
}

// ErrNoRule is returned by a Remove of what was not added, or was removed as often.
var ErrNoRule = errors.New("no such rule")

// Kinds of use of an address; their bits in the kernel are enum address of
// rules.h.
const (
	useOwn = iota
	useShared
	usePorts
	useFlows
	useCount
)

// addrUse counts who needs an address, by kind.
type addrUse [useCount]int

func (u addrUse) bits() (bits uint32) {
	for kind, n := range u {
		if n > 0 {
			bits |= 1 << kind
		}
	}
	return bits
}

// Bits of rules_in_force: enum rule of rules.h.
const (
	ruleEverything = 1 << iota
	ruleWild
	ruleAny
)

// rules is what the maps hold, and for how many.
type rules struct {
	maps   *steerMaps
	addrs  map[netip.Addr]addrUse
	ports  map[portKey]int
	flows  map[flowKey]int
	blocks [2][]uint32 // uses of each port by a block, of TCP and of UDP; made by the first
	wild   int         // port rules that hold at every shared address
	any    int         // port rules that hold at any address
	force  uint32      // what rules_in_force holds
}

func newRules(maps *steerMaps) rules {
	return rules{
		maps:  maps,
		addrs: make(map[netip.Addr]addrUse),
		ports: make(map[portKey]int),
		flows: make(map[flowKey]int),
	}
}

// change runs one change of the rules under p's lock.
func (p *Program) change(op string, do func(r *rules) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := os.ErrClosed
	if !p.closed {
		err = do(&p.rules)
	}
	if err != nil {
		return fmt.Errorf("bpf: %s: %w", op, permission(err))
	}
	return nil
}

// AddAddr makes an address our own: every unicast frame to it is redirected, and
// so are ARP and neighbour solicitations that ask for it.
func (p *Program) AddAddr(addr netip.Addr) error {
	return p.change("add address "+addr.String(), func(r *rules) error { return r.useAddr(addr, useOwn, 1) })
}

// RemoveAddr undoes one AddAddr.
func (p *Program) RemoveAddr(addr netip.Addr) error {
	return p.change("remove address "+addr.String(), func(r *rules) error { return r.useAddr(addr, useOwn, -1) })
}

// ShareAddr makes an address one that port blocks and port rules without an
// address hold at. The rest of it stays with the kernel.
func (p *Program) ShareAddr(addr netip.Addr) error {
	return p.change("share address "+addr.String(), func(r *rules) error { return r.useAddr(addr, useShared, 1) })
}

// UnshareAddr undoes one ShareAddr.
func (p *Program) UnshareAddr(addr netip.Addr) error {
	return p.change("unshare address "+addr.String(), func(r *rules) error { return r.useAddr(addr, useShared, -1) })
}

// AddPort takes a protocol's port. The address of local says where: one address
// (which need not be shared), 0.0.0.0 or :: for all shared addresses of that
// family, or the zero netip.Addr for any unicast address, as a DHCP client needs
// that has none yet.
func (p *Program) AddPort(proto Proto, local netip.AddrPort) error {
	return p.change(fmt.Sprintf("add %v port %v", proto, local), func(r *rules) error { return r.usePort(proto, local, 1) })
}

// RemovePort undoes one AddPort.
func (p *Program) RemovePort(proto Proto, local netip.AddrPort) error {
	return p.change(fmt.Sprintf("remove %v port %v", proto, local), func(r *rules) error { return r.usePort(proto, local, -1) })
}

// AddFlow takes the packets from remote to local.
func (p *Program) AddFlow(proto Proto, local, remote netip.AddrPort) error {
	return p.change(fmt.Sprintf("add %v flow %v to %v", proto, remote, local), func(r *rules) error { return r.useFlow(proto, local, remote, 1) })
}

// RemoveFlow undoes one AddFlow.
func (p *Program) RemoveFlow(proto Proto, local, remote netip.AddrPort) error {
	return p.change(fmt.Sprintf("remove %v flow %v to %v", proto, remote, local), func(r *rules) error { return r.useFlow(proto, local, remote, -1) })
}

// AddBlock takes the ports first to last of a protocol at every shared address:
// one bit each, so that a connection from a port of a block that is held costs no
// system call. Blocks that begin and end at multiples of 64 are the cheapest to
// add.
func (p *Program) AddBlock(proto Proto, first, last uint16) error {
	return p.change(fmt.Sprintf("add %v ports %d-%d", proto, first, last), func(r *rules) error { return r.useBlock(proto, first, last, 1) })
}

// RemoveBlock undoes one AddBlock of the same ports.
func (p *Program) RemoveBlock(proto Proto, first, last uint16) error {
	return p.change(fmt.Sprintf("remove %v ports %d-%d", proto, first, last), func(r *rules) error { return r.useBlock(proto, first, last, -1) })
}

// Everything redirects every frame of the interface, ssh included, while it is
// on: for raw modes that own the interface. It is not counted.
func (p *Program) Everything(on bool) error {
	return p.change("redirect everything", func(r *rules) error {
		force := r.force &^ ruleEverything
		if on {
			force |= ruleEverything
		}
		return r.setForce(force)
	})
}

func (r *rules) setForce(force uint32) error {
	if force == r.force {
		return nil
	}
	if err := r.maps.RulesInForce.Update(uint32(0), force, ebpf.UpdateAny); err != nil {
		return err
	}
	r.force = force
	return nil
}

func (r *rules) useAddr(addr netip.Addr, kind, delta int) error {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return errors.New("not a unicast address: broadcast and multicast frames always go to the kernel")
	}
	use := r.addrs[addr]
	before := use.bits()
	use[kind] += delta
	if use[kind] < 0 {
		return ErrNoRule
	}
	if bits := use.bits(); bits != before {
		if err := put(r.maps.Addrs, as16(addr), bits); err != nil {
			return err
		}
	}
	if use == (addrUse{}) {
		delete(r.addrs, addr)
	} else {
		r.addrs[addr] = use
	}
	return nil
}

// put sets or, where value is 0, deletes an element of a hash map.
func put(m *ebpf.Map, key any, value uint32) error {
	if value == 0 {
		return m.Delete(key)
	}
	err := m.Update(key, value, ebpf.UpdateAny)
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("%d such rules are the limit: %w", m.MaxEntries(), err)
	}
	return err
}

// counted adds delta to a rule's count, and puts it into the map or out of it
// where that begins or ends its need.
func counted[K comparable](m *ebpf.Map, counts map[K]int, key K, delta int) error {
	n := counts[key]
	switch {
	case n+delta < 0:
		return ErrNoRule
	case n == 0:
		if err := put(m, key, 1); err != nil {
			return err
		}
	case n+delta == 0:
		if err := put(m, key, 0); err != nil {
			return err
		}
		delete(counts, key)
		return nil
	}
	counts[key] = n + delta
	return nil
}

// checkPort refuses what no packet can carry.
func checkPort(proto Proto, port uint16) error {
	if proto != TCP && proto != UDP {
		return fmt.Errorf("%v has no ports that the program knows: it must be %v or %v", proto, TCP, UDP)
	}
	if port == 0 {
		return errors.New("port 0 is no port")
	}
	return nil
}

func (r *rules) usePort(proto Proto, local netip.AddrPort, delta int) error {
	if err := checkPort(proto, local.Port()); err != nil {
		return err
	}
	addr := local.Addr().Unmap().WithZone("")
	key := portKey{local: as16(addr), port: bigEndian(local.Port()), proto: proto}
	if addr.IsValid() && !addr.IsUnspecified() {
		return r.both(addr, usePorts, delta, func(delta int) error { return counted(r.maps.Ports, r.ports, key, delta) })
	}
	scope, bit := &r.wild, uint32(ruleWild)
	if !addr.IsValid() {
		key.local = anyAddr
		scope, bit = &r.any, ruleAny
	}
	if err := counted(r.maps.Ports, r.ports, key, delta); err != nil {
		return err
	}
	*scope += delta
	force := r.force &^ bit
	if *scope > 0 {
		force |= bit
	}
	if err := r.setForce(force); err != nil {
		*scope -= delta
		return errors.Join(err, counted(r.maps.Ports, r.ports, key, -delta))
	}
	return nil
}

func (r *rules) useFlow(proto Proto, local, remote netip.AddrPort, delta int) error {
	if err := errors.Join(checkPort(proto, local.Port()), checkPort(proto, remote.Port())); err != nil {
		return err
	}
	from, to := remote.Addr().Unmap().WithZone(""), local.Addr().Unmap().WithZone("")
	if !from.IsValid() || from.IsUnspecified() || from.Is4() != to.Is4() {
		return errors.New("a flow needs two addresses of one family")
	}
	key := flowKey{
		local: as16(to), remote: as16(from),
		localPort: bigEndian(local.Port()), remotePort: bigEndian(remote.Port()),
		proto: proto,
	}
	return r.both(to, useFlows, delta, func(delta int) error { return counted(r.maps.Flows, r.flows, key, delta) })
}

// both changes a rule and the use of the address it names, in the order that
// never leaves the address pointing at nothing for long: rule first when adding.
func (r *rules) both(addr netip.Addr, kind, delta int, rule func(delta int) error) error {
	if err := rule(delta); err != nil {
		return err
	}
	if err := r.useAddr(addr, kind, delta); err != nil {
		return errors.Join(err, rule(-delta))
	}
	return nil
}

func (r *rules) useBlock(proto Proto, first, last uint16, delta int) error {
	if err := checkPort(proto, first); err != nil {
		return err
	}
	if last < first {
		return errors.New("the block ends before it begins")
	}
	side := 0
	if proto == UDP {
		side = 1
	}
	if r.blocks[side] == nil {
		r.blocks[side] = make([]uint32, 1<<16)
	}
	uses := r.blocks[side]
	for port := int(first); delta < 0 && port <= int(last); port++ {
		if uses[port] == 0 {
			return ErrNoRule
		}
	}
	count := func(delta int) {
		for port := int(first); port <= int(last); port++ {
			uses[port] += uint32(delta)
		}
	}
	count(delta)
	if err := r.putBlock(side, first, last); err != nil {
		count(-delta)
		return errors.Join(err, r.putBlock(side, first, last))
	}
	return nil
}

// putBlock writes the words of the bitmap that have the ports first to last.
func (r *rules) putBlock(side int, first, last uint16) error {
	for word := int(first) / 64; word <= int(last)/64; word++ {
		var bits uint64
		for i, n := range r.blocks[side][word*64 : word*64+64] {
			if n > 0 {
				bits |= 1 << i
			}
		}
		if err := r.maps.Blocks.Update(uint32(side*blockWords+word), bits, ebpf.UpdateAny); err != nil {
			return err
		}
	}
	return nil
}

// blockWords is BLOCK_WORDS of rules.h: the words of one protocol's bitmap.
const blockWords = 1 << 16 / 64

// The keys of the maps, as rules.h has them.
type (
	addrKey [16]byte // in IPv6 form

	portKey struct {
		local addrKey
		port  [2]byte
		proto Proto
		_     uint8
	}

	flowKey struct {
		local, remote         addrKey
		localPort, remotePort [2]byte
		proto                 Proto
		_                     [3]uint8
	}
)

// anyAddr stands for every address in a port rule. It is a multicast address, so
// it can be no rule's own.
var anyAddr = addrKey{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

func as16(a netip.Addr) (k addrKey) {
	if a.IsValid() {
		k = a.As16()
	}
	return k
}

func bigEndian(port uint16) (b [2]byte) {
	binary.BigEndian.PutUint16(b[:], port)
	return b
}
