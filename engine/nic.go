package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/xsk"
)

// A Mode is how frames are to pass between an interface and its devices.
type Mode string

const (
	// ModeAuto takes the best that is to be had: AF_XDP zero-copy, native copy, skb,
	// and AF_PACKET where there is no XDP at all. What was refused, and why, is in
	// [NICInfo.Refused].
	ModeAuto     Mode = "auto"
	ModeZeroCopy Mode = "zerocopy" // AF_XDP, the device reads and writes our frames; or fail
	ModeNative   Mode = "native"   // AF_XDP with the program in the driver; or fail
	ModeSKB      Mode = "skb"      // AF_XDP with the program in the kernel's core (generic mode); or fail
	ModePacket   Mode = "packet"   // AF_PACKET: no program; the kernel sees every frame too
)

// NICConfig says how to open an interface.
type NICConfig struct {
	Interface string
	Mode      Mode  // "": ModeAuto
	Queues    []int // nil: all. Frames of the others stay with the kernel.
	BusyPoll  bool  // ask for SO_PREFER_BUSY_POLL; refused is an error
}

// A NIC is an open interface: a device for each of its queues, and the program that
// steers frames to them. It is opened once, and may be asked by several goroutines.
type NIC struct {
	info    NICInfo
	devices []Device
	taken   bool
	program *bpf.Program // nil in ModePacket

	packet  *Packet // in ModePacket
	mu      sync.Mutex
	filters []netip.Addr // what packet takes; guarded by mu
}

// NICInfo is what an interface gave us.
type NICInfo struct {
	Interface string
	Index     int
	Driver    string
	Addr      net.HardwareAddr
	MTU       int      // bytes of an IP packet
	Virtual   bool     // see [Info.Virtual]
	Mode      string   // as [Info.Mode]
	Queues    []int    // a device each, in this order
	Refused   []string // what would have been better and was refused, with the reason
	Program   uint32   // ID of the attached program, 0: none
}

// OpenNIC opens an interface: memory and a socket for each queue, and the program
// attached, with no rule in it, so that every frame still goes to the kernel. What
// it has made is undone if it fails. It is called in the network namespace of
// the interface.
func OpenNIC(cfg NICConfig) (n *NIC, err error) {
	l, err := nicLinkByName(cfg.Interface)
	if err != nil {
		return nil, err
	}
	if err := l.usable(); err != nil {
		return nil, err
	}
	queues, err := l.choose(cfg.Queues)
	if err != nil {
		return nil, err
	}
	n = &NIC{info: NICInfo{
		Interface: l.Name, Index: l.Index, Driver: l.Driver, Addr: l.Addr, MTU: l.MTU,
		Virtual: l.Virtual, Queues: queues,
	}}
	if cfg.Mode == "" {
		cfg.Mode = ModeAuto
	}
	switch cfg.Mode {
	case ModeAuto, ModeZeroCopy, ModeNative, ModeSKB:
		err = n.openXDP(&cfg)
	case ModePacket:
		return n, n.openPacket()
	default:
		return nil, fmt.Errorf("engine: mode %q is none of auto, zerocopy, native, skb, packet", cfg.Mode)
	}
	if err == nil {
		return n, nil
	}
	var occupied *bpf.OccupiedError
	if cfg.Mode != ModeAuto || errors.As(err, &occupied) || errors.Is(err, unix.EPERM) {
		return nil, err
	}
	n.info.Refused = append(n.info.Refused, "AF_XDP: "+err.Error())
	return n, n.openPacket()
}

// openXDP loads the program, attaches it, and opens a socket on each queue.
func (n *NIC) openXDP(cfg *NICConfig) (err error) {
	undo := n.undo
	defer func() {
		if undo != nil {
			undo()
		}
	}()
	in := &n.info
	umem, multi := UMEMFor(in.MTU, 1)
	if n.program, err = bpf.Load(bpf.Config{Queues: slices.Max(in.Queues) + 1, Frags: multi}); err != nil {
		return fmt.Errorf("engine: open %s: %w", in.Interface, err)
	}
	attached, err := n.program.Attach(in.Index, attachMode(cfg.Mode))
	if err != nil {
		return fmt.Errorf("engine: open %s: %w", in.Interface, err)
	}
	in.Program = attached.Program
	for _, r := range attached.Refused {
		in.Refused = append(in.Refused, fmt.Sprintf("%v", r))
	}
	skb := attached.Mode == bpf.Generic
	for _, q := range in.Queues {
		if err := n.openQueue(cfg, q, umem, multi || skb, skb); err != nil {
			return err
		}
	}
	undo = nil
	return nil
}

// openQueue opens one queue on memory of its own.
func (n *NIC) openQueue(cfg *NICConfig, queue int, umem xsk.UMEMConfig, multi, skb bool) error {
	in := &n.info
	u, err := xsk.OpenUMEM(umem)
	if err != nil {
		return fmt.Errorf("engine: memory for queue %d of %s: %w", queue, in.Interface, err)
	}
	a := AFXDPConfig{
		UMEM: u, CloseUMEM: true,
		Interface: in.Interface, Index: in.Index, Queue: queue,
		Driver: in.Driver, Addr: in.Addr, MTU: in.MTU, Virtual: in.Virtual, SKB: skb,
		Steer: n.program.SetSocket,
	}
	switch cfg.Mode {
	case ModeZeroCopy:
		a.Mode = xsk.ZeroCopy
	case ModeNative, ModeSKB:
		a.Mode = xsk.Copy
	}
	if multi {
		a.MultiBuffer = xsk.Prefer
	}
	if cfg.BusyPoll {
		a.BusyPoll = xsk.Require
	}
	d, err := OpenAFXDP(a)
	if err != nil {
		return errors.Join(err, u.Close())
	}
	n.devices = append(n.devices, d)
	in.Mode = d.Info().Mode
	for _, r := range d.Socket().Refused {
		if s := r.String(); !slices.Contains(in.Refused, s) {
			in.Refused = append(in.Refused, s)
		}
	}
	return nil
}

func attachMode(m Mode) bpf.Mode {
	switch m {
	case ModeZeroCopy, ModeNative:
		return bpf.Native
	case ModeSKB:
		return bpf.Generic
	}
	return bpf.Auto
}

// Devices hands the devices over, one for each of NICInfo.Queues, in order: from
// the first call on they are the caller's to close, by the cores that it opens on them.
func (n *NIC) Devices() []Device {
	n.taken = true
	return n.devices
}

// Info says what the interface gave us.
func (n *NIC) Info() NICInfo { return n.info }

// AddAddr takes an address: every unicast frame to it, and the ARP requests and
// neighbour solicitations for it, come to the devices instead of the kernel. Calls
// are counted.
func (n *NIC) AddAddr(addr netip.Addr) error {
	if n.program == nil {
		return n.filter(func(addrs []netip.Addr) []netip.Addr { return append(addrs, addr) })
	}
	return n.program.AddAddr(addr)
}

// RemoveAddr undoes one AddAddr.
func (n *NIC) RemoveAddr(addr netip.Addr) error {
	if n.program == nil {
		return n.filter(func(addrs []netip.Addr) []netip.Addr {
			if i := slices.Index(addrs, addr); i >= 0 {
				return slices.Delete(addrs, i, i+1)
			}
			return addrs
		})
	}
	return n.program.RemoveAddr(addr)
}

// Everything takes every frame of the open queues, those of the kernel's own
// connections included, while it is on.
func (n *NIC) Everything(on bool) error {
	if n.program == nil {
		return n.packet.SetFilter(PacketFilter{Everything: on, Addrs: n.filters})
	}
	return n.program.Everything(on)
}

// filter changes the addresses that an AF_PACKET device takes.
func (n *NIC) filter(change func([]netip.Addr) []netip.Addr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	addrs := change(slices.Clone(n.filters))
	if err := n.packet.SetFilter(PacketFilter{Addrs: addrs}); err != nil {
		return err
	}
	n.filters = addrs
	return nil
}

// Program returns the steering program, for rules about ports and flows and for its
// counters; nil in ModePacket, where nothing is steered.
func (n *NIC) Program() *bpf.Program { return n.program }

// Close detaches the program, so that every frame goes to the kernel again, and
// closes the devices unless they were handed over: those are closed by their cores,
// before or after.
func (n *NIC) Close() error {
	var errs []error
	if n.program != nil {
		errs = append(errs, n.program.Close())
	}
	if !n.taken {
		for _, d := range n.devices {
			errs = append(errs, d.Close())
		}
		n.devices = nil
	}
	return errors.Join(errs...)
}

// undo takes back what openXDP has done.
func (n *NIC) undo() {
	if n.program != nil {
		n.program.Close()
	}
	for _, d := range n.devices {
		d.Close()
	}
	n.program, n.devices = nil, nil
}

// openPacket opens an AF_PACKET device, for all queues: the kernel joins them.
func (n *NIC) openPacket() error {
	p, err := OpenPacket(PacketConfig{Interface: n.info.Interface})
	if err != nil {
		return err
	}
	n.packet, n.devices = p, []Device{p}
	n.info.Queues, n.info.Mode = []int{0}, p.Info().Mode
	return nil
}
