package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
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
	BusyPoll  bool  // ask for SO_PREFER_BUSY_POLL; refused is an error, and so is AF_PACKET then
	MTUMax    int   // what the interface's MTU is to be able to grow to; see [Info.MTUMax] for what was had

	// Groups makes the first queue's device bring frames to everyone and to groups that were
	// joined too, of all queues, as copies: those stay with the kernel, which wants them as well.
	Groups bool
}

// A NIC is an open interface: a device for each of its queues, and the program that
// steers frames to them. It may be used by several goroutines.
type NIC struct {
	info    NICInfo
	devices []Device
	taken   bool
	program *bpf.Program // nil in ModePacket

	groups *AFXDPGroups // the first of devices, if that was asked for; nil in ModePacket
	packet *Packet      // in ModePacket
	mu     sync.Mutex
	filter PacketFilter // what packet takes; guarded by mu
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
func OpenNIC(cfg NICConfig) (*NIC, error) {
	// The link, the program and the sockets are all to be of one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch cfg.Mode {
	case "":
		cfg.Mode = ModeAuto
	case ModeAuto, ModeZeroCopy, ModeNative, ModeSKB, ModePacket:
	default:
		return nil, fmt.Errorf("engine: mode %q is none of auto, zerocopy, native, skb, packet", cfg.Mode)
	}
	l, err := LinkByName(cfg.Interface)
	if err != nil {
		return nil, err
	}
	if !l.Up { // without a carrier it opens: the cable may come later
		return nil, l.Usable()
	}
	queues, err := chooseQueues(&l, cfg.Queues)
	if err != nil {
		return nil, err
	}
	n := &NIC{info: NICInfo{
		Interface: l.Name, Index: l.Index, Driver: l.Driver, Addr: l.MAC, MTU: l.MTU,
		Virtual: l.Virtual, Queues: queues,
	}}
	if cfg.Mode == ModePacket {
		if cfg.BusyPoll {
			return nil, fmt.Errorf("engine: open %s: busy polling is AF_XDP's: not in mode %q: %w", l.Name, ModePacket, unix.EOPNOTSUPP)
		}
		if err := n.openPacket(&cfg); err != nil {
			return nil, err
		}
		return n, nil
	}
	err = n.openXDP(&cfg, &l)
	if err == nil {
		return n, nil
	}
	if cfg.Mode != ModeAuto || cfg.BusyPoll || slices.ContainsFunc(noFallback, func(e unix.Errno) bool { return errors.Is(err, e) }) {
		return nil, err
	}
	n.refused("AF_XDP", err)
	if e := n.openPacket(&cfg); e != nil {
		return nil, fmt.Errorf("%w; refused before it: AF_XDP: %w", e, err)
	}
	return n, nil
}

// noFallback are the errors after which AF_PACKET would only hide what is wrong:
// somebody else has the interface or the queue, a privilege is missing, or the interface is gone.
var noFallback = []unix.Errno{unix.EBUSY, unix.EEXIST, unix.EPERM, unix.EACCES, unix.ENODEV}

// chooseQueues returns the queues to open: those asked for, or all.
func chooseQueues(l *Link, want []int) ([]int, error) {
	if want == nil {
		for q := range l.RXQueues {
			want = append(want, q)
		}
		return want, nil
	}
	for i, q := range want {
		if q < 0 || q >= l.RXQueues {
			has := "its only queue is 0"
			if l.RXQueues > 1 {
				has = fmt.Sprintf("its queues are 0 to %d", l.RXQueues-1)
			}
			return nil, fmt.Errorf("engine: interface %s has no queue %d: %s (`ethtool -L %s combined N` changes how many)", l.Name, q, has, l.Name)
		}
		if slices.Contains(want[:i], q) {
			return nil, fmt.Errorf("engine: queue %d of %s is named twice", q, l.Name)
		}
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("engine: no queue of %s to open", l.Name)
	}
	return want, nil
}

// openXDP loads the program, attaches it, and opens a socket on each queue.
func (n *NIC) openXDP(cfg *NICConfig, l *Link) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, n.undo())
		}
	}()
	umem, multi := UMEMFor(max(l.MTU, cfg.MTUMax), 1)
	attached, err := n.attach(cfg.Mode, l, multi)
	var tooLong *bpf.MTUError
	if errors.As(err, &tooLong) && !multi { // a veth counts the MTU of its other end
		multi = true
		attached, err = n.attach(cfg.Mode, l, multi)
	}
	if err != nil {
		return fmt.Errorf("engine: open %s: %w", l.Name, err)
	}
	n.info.Program = attached.Program
	for _, r := range attached.Refused {
		n.refused("program in "+r.Mode.String()+" mode", r.Err)
	}
	// In generic mode a packet comes as the kernel has it, cut or not.
	skb := attached.Mode == bpf.Generic
	for _, q := range n.info.Queues {
		if err := n.openQueue(cfg, l, q, umem, multi, skb); err != nil {
			if multi {
				err = fmt.Errorf("%w; packets of MTU %d take several frames (XDP_USE_SG, Linux 6.6): or 'ip link set %s mtu %d'", err, l.MTU, l.Name, SingleBufferMTU())
			}
			return err
		}
	}
	if cfg.Groups {
		if n.groups, err = OpenGroups(n.devices[0].(*AFXDP), l.Index); err != nil {
			return err
		}
		n.devices[0] = n.groups
	}
	return nil
}

// attach loads the program and attaches it, by the best of what mode allows.
func (n *NIC) attach(mode Mode, l *Link, frags bool) (got bpf.Attached, err error) {
	if n.program != nil {
		n.program.Close()
	}
	n.program, err = bpf.Load(bpf.Config{Queues: slices.Max(n.info.Queues) + 1, Frags: frags})
	if err != nil {
		return got, err
	}
	switch mode {
	case ModeZeroCopy, ModeNative:
		return n.program.Attach(l.Index, bpf.Native)
	case ModeSKB:
		return n.program.Attach(l.Index, bpf.Generic)
	}
	if x := l.XDP; x.Known && x.Features&XDPBasic != 0 && x.Features&XDPRedirect == 0 {
		n.refused("program in native mode", errors.New("the driver has no XDP_REDIRECT"))
		return n.program.Attach(l.Index, bpf.Generic)
	}
	got, err = n.program.Attach(l.Index, bpf.Native)
	var tooLong *bpf.MTUError
	if err == nil || errors.As(err, &tooLong) && !frags {
		return got, err
	}
	return n.program.Attach(l.Index, bpf.Auto)
}

// openQueue opens one queue on memory of its own.
func (n *NIC) openQueue(cfg *NICConfig, l *Link, queue int, umem xsk.UMEMConfig, multi, skb bool) error {
	u, err := xsk.OpenUMEM(umem)
	if err != nil {
		return fmt.Errorf("engine: memory for queue %d of %s: %w", queue, l.Name, err)
	}
	a := AFXDPConfig{
		UMEM: u, CloseUMEM: true,
		Interface: l.Name, Index: l.Index, Queue: queue,
		Driver: l.Driver, Addr: l.MAC, MTU: l.MTU, Virtual: l.Virtual, SKB: skb,
		Steer: n.program.SetSocket, Trains: true,
	}
	switch cfg.Mode {
	case ModeZeroCopy:
		a.Mode = xsk.ZeroCopy
	case ModeNative, ModeSKB:
		a.Mode = xsk.Copy
	}
	switch {
	case multi: // without it the kernel would drop what does not fit into one frame
		a.MultiBuffer = xsk.Require
	case skb:
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
	n.info.Mode = d.Info().Mode
	for _, r := range d.Socket().Refused {
		n.refused(r.What, r.Err)
	}
	return nil
}

// refused notes what was not to be had, once.
func (n *NIC) refused(what string, err error) {
	if s := fmt.Sprintf("%s: %v", what, err); !slices.Contains(n.info.Refused, s) {
		n.info.Refused = append(n.info.Refused, s)
	}
}

// openPacket opens an AF_PACKET device for all queues: the kernel joins them.
func (n *NIC) openPacket(cfg *NICConfig) error {
	n.filter.Groups = cfg.Groups
	p, err := OpenPacket(PacketConfig{Interface: n.info.Interface, Filter: n.filter, MTUMax: cfg.MTUMax})
	if err != nil {
		return err
	}
	if cfg.Groups {
		if err := errors.Join(p.Join(groupMAC(allSystems4)), p.Join(groupMAC(allNodes6))); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	n.packet, n.devices = p, []Device{p}
	n.info.Queues, n.info.Mode = []int{0}, p.Info().Mode
	return nil
}

// undo takes back what openXDP has done, the last first.
func (n *NIC) undo() error {
	var errs []error
	for _, d := range slices.Backward(n.devices) {
		errs = append(errs, d.Close())
	}
	if n.program != nil {
		errs = append(errs, n.program.Close())
	}
	n.program, n.devices, n.groups, n.info.Program = nil, nil, nil, 0
	return errors.Join(errs...)
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
func (n *NIC) AddAddr(addr netip.Addr) (err error) {
	if err := n.hear(addr, true); err != nil {
		return err
	}
	if n.program != nil {
		err = n.program.AddAddr(addr)
	} else {
		err = n.setFilter(func(f *PacketFilter) error {
			f.Addrs = append(slices.Clone(f.Addrs), addr)
			return nil
		})
	}
	if err != nil {
		err = errors.Join(err, n.hear(addr, false))
	}
	return err
}

// RemoveAddr undoes one AddAddr.
func (n *NIC) RemoveAddr(addr netip.Addr) (err error) {
	if n.program != nil {
		err = n.program.RemoveAddr(addr)
	} else {
		err = n.setFilter(func(f *PacketFilter) error {
			if !without(&f.Addrs, addr) {
				return fmt.Errorf("engine: remove %v from %s: %w", addr, n.info.Interface, bpf.ErrNoRule)
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return n.hear(addr, false)
}

// hear opens the NIC's filter for what others send to a group on account of an address of ours, or
// shuts it again: neighbour solicitations, and ARP by who has it too.
func (n *NIC) hear(addr netip.Addr, on bool) error {
	addr = addr.Unmap()
	switch {
	case !addr.Is4() && on:
		return n.JoinGroup(solicitedNode(addr))
	case !addr.Is4():
		return n.LeaveGroup(solicitedNode(addr))
	case n.groups == nil:
		return nil
	case on:
		return n.groups.Watch(addr)
	}
	return n.groups.Unwatch(addr)
}

// JoinGroup has the interface pass frames to a multicast group, until LeaveGroup or
// Close, and the first device bring them. Calls are counted. Without NICConfig.Groups there is
// nothing to bring them, in the modes that have a program.
func (n *NIC) JoinGroup(group netip.Addr) error {
	switch {
	case n.groups != nil:
		return n.groups.Join(group)
	case n.packet != nil:
		return n.packet.Join(groupMAC(group))
	}
	return nil
}

// LeaveGroup undoes one JoinGroup.
func (n *NIC) LeaveGroup(group netip.Addr) error {
	switch {
	case n.groups != nil:
		return n.groups.Leave(group)
	case n.packet != nil:
		return n.packet.Leave(groupMAC(group))
	}
	return nil
}

// Everything takes every frame of the open queues, those of the kernel's own
// connections included, while it is on.
func (n *NIC) Everything(on bool) error {
	if n.program != nil {
		return n.program.Everything(on)
	}
	return n.setFilter(func(f *PacketFilter) error {
		f.Everything = on
		return nil
	})
}

// setFilter changes what an AF_PACKET device takes.
func (n *NIC) setFilter(change func(*PacketFilter) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.filter
	if err := change(&f); err != nil {
		return err
	}
	if err := n.packet.SetFilter(f); err != nil {
		return err
	}
	n.filter = f
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
		for _, d := range slices.Backward(n.devices) {
			errs = append(errs, d.Close())
		}
		n.devices = nil
	}
	return errors.Join(errs...)
}
