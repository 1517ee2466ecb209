package engine

// Read first: packet(7), Documentation/networking/packet_mmap.rst (TPACKET_V2).

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An AFXDPGroups is an [AFXDP] queue that brings frames to groups and to everyone too. XDP
// cannot copy a frame, and those are the kernel's as well as ours: the program leaves them
// to the kernel, and this device reads a copy of each from an AF_PACKET socket. No frame
// comes twice: what the program redirects never reaches the socket.
//
// The copies lie in a ring that the kernel shares with us, so that a turn without any
// costs one load. They are taken into the queue's scratch, where packets of several
// descriptors go too. Memberships, which open the filter of the NIC, end with the socket.
type AFXDPGroups struct {
	*AFXDP
	copies
}

// copies is the AF_PACKET socket and its ring.
type copies struct {
	fd    int
	mem   []byte
	slot  int // bytes
	slots int
	next  atomic.Uint32 // the slot that the kernel fills, or has filled, next; the core writes it, who waits without its lock looks there
	full  atomic.Uint64 // frames that found no free slot
	long  atomic.Uint64 // frames longer than a slot
	taken atomic.Uint64

	mu     sync.Mutex
	name   string // of the interface
	index  int
	closed bool
	wanted GroupFilter
}

const (
	// copiesMemory (bytes) is the ring's size: half a thousand frames of an MTU of 1500, which is more
	// than a core that is preempted for 10 ms misses of a stream of 300 Mbit/s.
	copiesMemory = 1 << 20

	// copiesBlock is the unit that the kernel allocates the ring in: a slot lies in one.
	copiesBlock = 64 << 10

	// copiesTurn is how many copies one Peek takes at most, so that a flood of them leaves
	// the queue its share.
	copiesTurn = 16
)

// A GroupFilter says which frames an [AFXDPGroups] wants copies of. Frames to everyone it
// always wants, and those to the groups of all hosts.
type GroupFilter struct {
	// Groups are the groups that were joined. Past groupFilterMax of a family all of that
	// family's are taken.
	Groups []netip.Addr

	// Addrs are our own IPv4 addresses: ARP from who uses one of them too is taken (RFC 5227),
	// to whomever it is sent.
	Addrs []netip.Addr
}

// OpenGroups opens the socket for a queue, which it takes over: on success its Close
// closes both. It is called in the network namespace of the interface.
func OpenGroups(d *AFXDP, index int) (g *AFXDPGroups, err error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("engine: packet socket for frames to groups (needs CAP_NET_RAW): %w", err)
	}
	g = &AFXDPGroups{AFXDP: d}
	g.fd, g.name, g.index = fd, d.info.Name, index
	if err := g.setUp(max(d.info.MTU, d.info.MTUMax)); err != nil {
		g.copies.close()
		return nil, fmt.Errorf("engine: packet socket for frames to groups of %s: %w", g.name, err)
	}
	d.ready = g.Ready
	d.sleep.also(fd)
	return g, nil
}

// setUp makes the ring and binds, last: from then on frames arrive.
func (c *copies) setUp(mtu int) error {
	for _, o := range []struct {
		name  string
		opt   int
		value int
	}{
		{"PACKET_VERSION 2", unix.PACKET_VERSION, unix.TPACKET_V2},
		{"PACKET_IGNORE_OUTGOING (needs Linux 4.20)", unix.PACKET_IGNORE_OUTGOING, 1},
	} {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_PACKET, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	// Before the frame there are its header and what aligns the IP header behind it.
	for c.slot = 2048; c.slot < mtu+linkHeaderMax+unix.SizeofTpacket2Hdr+64; c.slot *= 2 {
	}
	block := max(copiesBlock, c.slot)
	c.slots = copiesMemory / c.slot
	req := unix.TpacketReq{
		Block_size: uint32(block), Block_nr: uint32(copiesMemory / block),
		Frame_size: uint32(c.slot), Frame_nr: uint32(c.slots),
	}
	if err := unix.SetsockoptTpacketReq(c.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("PACKET_RX_RING of %d KiB: %w", copiesMemory>>10, err)
	}
	mem, err := unix.Mmap(c.fd, 0, copiesMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	c.mem = mem
	if err := c.setFilter(GroupFilter{}); err != nil {
		return err
	}
	for _, group := range []netip.Addr{allSystems4, allNodes6} {
		if err := c.member(unix.PACKET_ADD_MEMBERSHIP, groupMAC(group)); err != nil {
			return fmt.Errorf("join %v: %w", group, err)
		}
	}
	if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: c.index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// status is the word by which the kernel and we hand a slot to each other.
func (c *copies) status(slot int) *uint32 {
	return (*uint32)(unsafe.Pointer(&c.mem[slot*c.slot]))
}

// arrived says whether a copy is there: two loads.
func (c *copies) arrived() bool {
	return atomic.LoadUint32(c.status(int(c.next.Load())))&unix.TP_STATUS_USER != 0
}

// Ready says whether something has arrived.
func (g *AFXDPGroups) Ready() bool { return g.AFXDP.Ready() || g.arrived() }

// Peek lends what has arrived.
func (g *AFXDPGroups) Peek(frames []Frame) int {
	if !g.arrived() {
		return g.AFXDP.Peek(frames)
	}
	n := g.AFXDP.Peek(frames[:max(len(frames)-copiesTurn, (len(frames)+1)/2)])
	if n == 0 {
		g.big.reset()
	}
	for n < len(frames) && g.arrived() {
		data, ok := g.take()
		if !ok {
			break
		}
		if data != nil {
			frames[n] = Frame{Data: data, Handle: g.big.handle()}
			n++
		}
	}
	return n
}

// take copies the next frame into the scratch, as it was on the wire. It is not ok if that
// has no room before the next Peek, and nil if the frame cannot be had whole.
func (g *AFXDPGroups) take() (data []byte, ok bool) {
	c := &g.copies
	next := int(c.next.Load())
	slot := c.mem[next*c.slot:][:c.slot]
	hdr := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
	n := int(hdr.Snaplen)
	tagged := hdr.Status&unix.TP_STATUS_VLAN_VALID != 0 && n >= etherHeaderLen
	if g.big.used+n+vlanTagLen > afxdpScratchLen {
		return nil, false
	}
	if hdr.Len != hdr.Snaplen || int(hdr.Mac)+n > len(slot) {
		c.long.Add(1)
	} else {
		frame := slot[hdr.Mac:][:n]
		data = g.big.room(n + vlanTagLen)
		if tagged { // the kernel has taken the tag off
			data = append(data, frame[:2*6]...)
			tpid := uint16(unix.ETH_P_8021Q)
			if hdr.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
				tpid = hdr.Vlan_tpid
			}
			data = binary.BigEndian.AppendUint16(data, tpid)
			data = binary.BigEndian.AppendUint16(data, hdr.Vlan_tci)
			frame = frame[2*6:]
		}
		data = append(data, frame...)
		c.taken.Add(1)
		g.count.rxPackets.Add(1)
		g.count.rxBytes.Add(uint64(len(data)))
	}
	atomic.StoreUint32(c.status(next), unix.TP_STATUS_KERNEL)
	if next++; next == c.slots {
		next = 0
	}
	c.next.Store(uint32(next))
	return data, true
}

// AlsoFD is the second descriptor to wait for.
func (g *AFXDPGroups) AlsoFD() int { return g.fd }

// Join opens the NIC's filter for a group and takes copies of what is sent to it, until
// Leave or Close. Calls are counted.
func (c *copies) Join(group netip.Addr) error {
	return c.change("join", group, func(f *GroupFilter) bool {
		f.Groups = append(slices.Clone(f.Groups), group)
		return true
	}, func() error { return c.member(unix.PACKET_ADD_MEMBERSHIP, groupMAC(group)) })
}

// Leave undoes one Join.
func (c *copies) Leave(group netip.Addr) error {
	return c.change("leave", group, func(f *GroupFilter) bool { return without(&f.Groups, group) },
		func() error { return c.member(unix.PACKET_DROP_MEMBERSHIP, groupMAC(group)) })
}

// without takes one of a list out, in a copy of it.
func without(list *[]netip.Addr, a netip.Addr) bool {
	i := slices.Index(*list, a)
	if i >= 0 {
		*list = slices.Delete(slices.Clone(*list), i, i+1)
	}
	return i >= 0
}

// Watch takes ARP from whoever uses an IPv4 address of ours, until Unwatch or Close.
func (c *copies) Watch(addr netip.Addr) error {
	return c.change("watch", addr, func(f *GroupFilter) bool {
		f.Addrs = append(slices.Clone(f.Addrs), addr)
		return true
	}, nil)
}

// Unwatch undoes one Watch.
func (c *copies) Unwatch(addr netip.Addr) error {
	return c.change("unwatch", addr, func(f *GroupFilter) bool { return without(&f.Addrs, addr) }, nil)
}

// change changes the filter, and then whatever goes with it. edit says whether there is
// something to be changed.
func (c *copies) change(what string, addr netip.Addr, edit func(*GroupFilter) bool, then func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.wanted
	var err error
	switch {
	case c.closed:
		err = os.ErrClosed
	case !edit(&f):
		err = unix.EADDRNOTAVAIL
	default:
		err = c.setFilter(f)
	}
	if err == nil && then != nil {
		if err = then(); err != nil {
			c.setFilter(c.wanted)
		}
	}
	if err != nil {
		return fmt.Errorf("engine: %s: %s %v: %w", c.name, what, addr, err)
	}
	c.wanted = f
	return nil
}

func (c *copies) setFilter(f GroupFilter) error {
	program, err := f.assemble()
	if err != nil {
		return err
	}
	return attachFilter(c.fd, program)
}

func (c *copies) member(opt int, mac net.HardwareAddr) error {
	m := unix.PacketMreq{Ifindex: int32(c.index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(mac))}
	copy(m.Address[:], mac)
	return unix.SetsockoptPacketMreq(c.fd, unix.SOL_PACKET, opt, &m)
}

// Stats returns the counters of both. RxDropped has the copies for which there was no slot.
func (g *AFXDPGroups) Stats() DeviceStats {
	s := g.AFXDP.Stats()
	g.mu.Lock()
	if !g.closed {
		// Reading the kernel's counters sets them to zero, so each caller adds its part.
		if k, err := unix.GetsockoptTpacketStats(g.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			g.full.Add(uint64(k.Drops))
		}
	}
	g.mu.Unlock()
	s.RxDropped += g.full.Load()
	s.RxOversize += g.long.Load()
	return s
}

// Close gives everything back.
func (g *AFXDPGroups) Close() error { return errors.Join(g.copies.close(), g.AFXDP.Close()) }

func (c *copies) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var errs []error
	if c.mem != nil {
		errs = append(errs, unix.Munmap(c.mem))
	}
	if err := errors.Join(append(errs, unix.Close(c.fd))...); err != nil {
		return fmt.Errorf("engine: close the packet socket of %s: %w", c.name, err)
	}
	return nil
}

// The groups of all hosts (RFC 1112 §4, RFC 4291 §2.7.1).
var (
	allSystems4 = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodes6   = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 1})
)

// groupMAC is where frames to a group go (RFC 1112 §6.4, RFC 2464 §7).
func groupMAC(group netip.Addr) net.HardwareAddr {
	if group.Is4() {
		a := group.As4()
		return net.HardwareAddr{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return net.HardwareAddr{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// solicitedNode is the group by which neighbours ask for an IPv6 address (RFC 4291 §2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

var _ Pollable = (*AFXDPGroups)(nil)
