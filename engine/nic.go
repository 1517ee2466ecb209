package engine

import (
	"errors"
	"net"
	"net/netip"

	"github.com/xdpsock/xdpsock/bpf"
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
	return nil, errors.New("engine: open " + cfg.Interface + ": not wired yet")
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
func (n *NIC) AddAddr(addr netip.Addr) error { return n.program.AddAddr(addr) }

// RemoveAddr undoes one AddAddr.
func (n *NIC) RemoveAddr(addr netip.Addr) error { return n.program.RemoveAddr(addr) }

// Everything takes every frame of the open queues, those of the kernel's own
// connections included, while it is on.
func (n *NIC) Everything(on bool) error { return n.program.Everything(on) }

// Program returns the steering program, for rules about ports and flows and for its
// counters; nil in ModePacket, where nothing is steered.
func (n *NIC) Program() *bpf.Program { return n.program }

// Close detaches the program, so that every frame goes to the kernel again, and
// closes the devices unless they were handed over: those are closed by their cores,
// before or after.
func (n *NIC) Close() error { return n.program.Close() }
