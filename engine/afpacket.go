package engine

// Read first: packet(7), Documentation/networking/packet_mmap.rst, and struct
// virtio_net_hdr in linux/virtio_net.h.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A PacketConfig describes a [Packet].
type PacketConfig struct {
	Interface string
	Queue     int              // for Info; AF_PACKET has no queues of its own
	Fanout    uint16           // sockets of one number share the interface's frames by flow; 0: this one takes all
	Addr      net.HardwareAddr // nil: the interface's own
	Filter    PacketFilter
	MTUMax    int   // what the interface's MTU is to be able to grow to; 0: it is not
	Clock     Clock // nil: SystemClock
}

// A Packet is the device for where XDP is not to be had: an AF_PACKET socket on
// one interface.
//
// It gets copies. The kernel sees every frame too and does with it what it would
// have done: it answers for an address that it has itself, so the engine must have
// addresses of its own, and forwards what is not for it if it is a router.
//
// It reads by recvmmsg(2) rather than from a mapped ring. What arrives may be
// a packet that the kernel put together out of many (GRO, on by default on every
// NIC), up to 64 KiB: the ring would need slots of that size, and its frames would have
// to be copied once more to be kept. Frames come out as from a wire all the same: the VLAN
// tag that the kernel has taken off is back in its place, and a checksum that the
// sender has left to the hardware is finished. Only the length shows: a TCP
// segment may be longer than the MTU.
type Packet struct {
	lender
	sleeper sleeper
	clock   Clock
	fd      int
	info    Info
	rxMsgs  packetBatch
	txMsgs  packetBatch
	looks   atomic.Uint32
	down    atomic.Bool // the interface was down when last seen
	err     atomic.Pointer[error]

	trains *trainSocket // over fd
}

const (
	// packetRoom is the longest frame that the kernel puts together (without
	// BIG TCP, which no header can express): an IP packet and its link header.
	packetRoom = mtuMax + linkRoom

	// packetBuffer asks for the socket's receive buffer in bytes, of which each frame takes
	// about twice its length: it bridges some 2 ms at 10 Gbit/s.
	packetBuffer = 8 << 20

	// readyEvery is at every how many looks Ready asks the kernel. A system call takes
	// 64 times what a look may take.
	readyEvery = 64
)

// OpenPacket opens the device in the network namespace of the calling thread.
func OpenPacket(cfg PacketConfig) (p *Packet, err error) {
	ifi, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("engine: packet socket on %s: %w", cfg.Interface, err)
	}
	raw := ifi.HardwareAddr == nil && ifi.Flags&net.FlagLoopback == 0
	if err := cfg.Filter.fits(cfg.Interface, raw); err != nil {
		return nil, err
	}
	program, err := cfg.Filter.assemble()
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing arrives before the socket is set up and bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("engine: packet socket (needs CAP_NET_RAW): %w", err)
	}
	p = &Packet{fd: fd, clock: cfg.Clock}
	defer func() {
		if err != nil {
			p.Close()
			p = nil
		}
	}()
	if p.clock == nil {
		p.clock = SystemClock
	}
	if err := p.setUp(ifi, cfg, program); err != nil {
		return p, fmt.Errorf("engine: packet socket on %s: %w", cfg.Interface, err)
	}
	if err := p.sleeper.open(fd); err != nil {
		return p, err
	}
	addr := cfg.Addr
	if addr == nil {
		addr = ifi.HardwareAddr
	}
	most := min(max(ifi.MTU, cfg.MTUMax), mtuMax)
	room := most + linkRoom
	region := p.init(packetRoom, room)
	p.rxMsgs.init()
	p.txMsgs.init()
	p.info = Info{
		Name: cfg.Interface, Driver: driverOf(cfg.Interface), Mode: "packet", Queue: cfg.Queue, Addr: addr, MTU: ifi.MTU, MTUMax: most, RawIP: raw,
		KeepMax: lenderKeepMax, Region: region, FrameLen: room, TrainMax: trainMax,
	}
	p.trains = newTrainSocket(fd)
	return p, nil
}

// setUp sets the options and binds, last: from then on frames arrive.
func (p *Packet) setUp(ifi *net.Interface, cfg PacketConfig, program []unix.SockFilter) error {
	for _, o := range []struct {
		name  string
		opt   int
		value int
	}{
		{"PACKET_IGNORE_OUTGOING (needs Linux 4.20)", unix.PACKET_IGNORE_OUTGOING, 1},
		{"PACKET_AUXDATA", unix.PACKET_AUXDATA, 1},
		{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR, 1},
	} {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	// SO_RCVBUFFORCE needs CAP_NET_ADMIN; without it the system's limit holds, and
	// bursts are shorter.
	if unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer) != nil {
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetBuffer)
	}
	if err := attachFilter(p.fd, program); err != nil {
		return err
	}
	if cfg.Addr != nil && cfg.Addr.String() != ifi.HardwareAddr.String() {
		if err := p.member(unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_UNICAST, ifi.Index, cfg.Addr); err != nil {
			return fmt.Errorf("take frames for %v: %w", cfg.Addr, err)
		}
	}
	if err := unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if cfg.Fanout != 0 {
		// The group has a hook of its own, so ignoring what goes out is said once more.
		mode := unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, int(cfg.Fanout)|mode<<16); err != nil {
			return fmt.Errorf("PACKET_FANOUT %d: %w", cfg.Fanout, err)
		}
	}
	return nil
}

// SetFilter changes which frames are taken, from one frame to the next.
func (p *Packet) SetFilter(f PacketFilter) error {
	if err := f.fits(p.info.Name, p.info.RawIP); err != nil {
		return err
	}
	program, err := f.assemble()
	if err != nil {
		return err
	}
	return attachFilter(p.fd, program)
}

// Join has the interface pass frames for a group address, until Leave or Close.
// Calls are counted by the kernel.
func (p *Packet) Join(group net.HardwareAddr) error {
	return p.group(unix.PACKET_ADD_MEMBERSHIP, "join", group)
}

// Leave undoes one Join.
func (p *Packet) Leave(group net.HardwareAddr) error {
	return p.group(unix.PACKET_DROP_MEMBERSHIP, "leave", group)
}

func (p *Packet) group(opt int, what string, group net.HardwareAddr) error {
	sa, err := unix.Getsockname(p.fd)
	if err != nil {
		return fmt.Errorf("engine: %s: %s group %v: %w", p.info.Name, what, group, err)
	}
	if err := p.member(opt, unix.PACKET_MR_MULTICAST, sa.(*unix.SockaddrLinklayer).Ifindex, group); err != nil {
		return fmt.Errorf("engine: %s: %s group %v: %w", p.info.Name, what, group, err)
	}
	return nil
}

func (p *Packet) member(opt int, kind uint16, index int, addr net.HardwareAddr) error {
	m := unix.PacketMreq{Ifindex: int32(index), Type: kind, Alen: uint16(len(addr))}
	if copy(m.Address[:], addr) != len(addr) {
		return unix.EINVAL
	}
	return unix.SetsockoptPacketMreq(p.fd, unix.SOL_PACKET, opt, &m)
}

// Info describes the device.
func (p *Packet) Info() Info { return p.info }

// FD is what to wait for POLLIN on.
func (p *Packet) FD() int { return p.fd }

// Ready asks the kernel at every 64th look and says no at the others.
func (p *Packet) Ready() bool {
	return p.looks.Add(1)%readyEvery == 0 && readable(p.fd)
}

// Wait sleeps until a frame arrives, until Wake, or until that time.
func (p *Packet) Wait(until mono.Time) {
	if p.down.Load() {
		until = min(until, p.clock.Now().Add(downLook))
	}
	revents := p.sleeper.wait(until, p.clock, nil)
	if revents&unix.POLLERR != 0 {
		// Reading the error clears it.
		if e, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && e != 0 {
			p.receiveFailed(unix.Errno(e))
		}
	}
	if p.down.Load() {
		p.look()
	}
}

// downLook is how often a sleeper sees whether an interface that is down is still
// there: going down is an event of the socket, going away after that is none.
const downLook = 100 * time.Millisecond

// Wake ends a Wait.
func (p *Packet) Wake() { p.sleeper.wake() }

// Err is the end of the device, if it has come.
func (p *Packet) Err() error {
	if p.down.Load() {
		p.look()
	}
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// failed looks into an error of the socket. ENETDOWN is said when the interface goes
// down, which passes, and when it goes away.
func (p *Packet) failed(errno unix.Errno) (dead bool) {
	if errno == unix.ENETDOWN || errno == unix.ENXIO || errno == unix.ENODEV {
		p.down.Store(true)
		p.look()
	}
	return p.err.Load() != nil
}

// look asks the kernel whether the interface is up, down or gone. A socket whose
// interface is gone is bound to nothing. It may be called by several at once.
func (p *Packet) look() {
	sa, err := unix.Getsockname(p.fd)
	if ll, ok := sa.(*unix.SockaddrLinklayer); err != nil || !ok || ll.Ifindex <= 0 {
		gone := fmt.Errorf("engine: %s: the interface was deleted or moved to another namespace: %w", p.info.Name, unix.ENXIO)
		p.err.CompareAndSwap(nil, &gone)
		p.down.Store(false) // no need to look again
		return
	}
	// The socket's own namespace answers, whatever thread asks.
	if req, err := unix.NewIfreq(p.info.Name); err == nil {
		if unix.IoctlIfreq(p.fd, unix.SIOCGIFFLAGS, req) == nil && req.Uint16()&unix.IFF_UP != 0 {
			p.down.Store(false)
		}
	}
}

// Stats counts since OpenPacket. RxDropped is PACKET_STATISTICS' tp_drops: frames
// that found the socket's buffer full.
func (p *Packet) Stats() DeviceStats {
	// Reading the kernel's counters sets them to zero, so each caller adds its part.
	if k, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		p.stats.rxDropped.Add(uint64(k.Drops))
	}
	return p.stats.read(p.sleeper.slept.Load())
}

// Close gives everything back.
func (p *Packet) Close() error {
	err := unix.Close(p.fd)
	p.fd = -1
	return errors.Join(err, p.sleeper.close())
}

// A PacketFilter says which frames a [Packet] takes; the kernel drops its copies of
// the others before they cost anything.
type PacketFilter struct {
	// Everything takes every frame that arrives, and ends the matter.
	Everything bool

	// Addrs are the engine's own addresses, at most packetAddrsMax. IPv4 and IPv6
	// packets to them are taken, and ARP about them. As soon as there is one, so are
	// packets to groups and to everyone, and frames whose VLAN tag the kernel has left on.
	Addrs []netip.Addr

	// Groups takes packets to groups and to everyone also while there is no address: that is how a
	// host gets its first one.
	Groups bool
}

// htons is for the one field that the kernel wants in network order.
func htons(v uint16) uint16 { return v<<8 | v>>8 }

// readable asks the kernel without sleeping.
func readable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
	return err == nil && n > 0
}
