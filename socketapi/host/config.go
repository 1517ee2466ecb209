package host

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Checksums says what to do with TCP and UDP checksums that the sender left
// unfinished.
type Checksums uint8

const (
	// ChecksumsAuto takes an unfinished checksum as good on a link whose other end is a
	// kernel of this machine (veth, TAP, TUN), where every sender leaves them so.
	ChecksumsAuto Checksums = iota
	// ChecksumsVerify wants every checksum complete.
	ChecksumsVerify
	// ChecksumsTrust takes an unfinished checksum as good on any link.
	ChecksumsTrust
)

// Interface is one link of the host.
type Interface struct {
	// Name is the interface to open with AF_XDP (see Open of package engine for what
	// happens where it cannot be). Mode and Queues are passed on.
	Name     string
	Mode     engine.Mode
	Queues   []int
	BusyPoll bool

	// MTUMax is what the link's MTU may grow to while the host is open: memory is made for it. Beyond it, and
	// beyond what the frames of today's MTU have room for, the host goes on with less than the link has: see [Host.Link].
	// Of an interface and its VLANs the largest counts.
	MTUMax int

	// VLAN is the 802.1Q VLAN, 1 to 4094, that the addresses are on; 0: frames without a tag, and those with
	// one for priority alone. Interfaces of one Name and several VLANs share the devices: Mode, Queues and
	// BusyPoll are those of the one without VLAN, if there is one, else of the first. It needs a Name.
	VLAN uint16

	// Devices is instead of Name: one device for each core. They are closed with the host,
	// also when Open fails.
	Devices []engine.Device `json:"-"`

	// Addrs are the host's addresses on this link, each with the link's prefix. All
	// traffic for them comes to the host and none to the kernel. A link with an IPv6 address has a
	// link-local one besides, made of the MAC address, if none is among them. If the kernel has one of them
	// too, the ports that sockets here have are held there as well.
	Addrs []netip.Prefix
	// Gateways are the default routers of both families, the best first: while one does not answer the next of its family
	// is used (RFC 1122 §3.3.1.4). Those of an interface come before those of the interfaces after it. One of IPv6 may be
	// link-local.
	Gateways []netip.Addr
	// Mirror takes from the kernel what it holds of an interface that has a Name, beside Addrs and
	// Gateways, and follows its changes.
	Mirror Mirror

	// Share leaves the kernel its addresses, ARP, neighbour discovery and ICMP echo, and all that programs there do: the host uses the
	// interface's addresses as well, or those of them that Addrs names, and takes what its sockets have ports for. Each of
	// those is held in the kernel. Routes and neighbours are the kernel's, and so is the configuration of addresses:
	// Auto, LinkLocal and Gateways are not for it, Mirror is included, and Detect has nothing to do. It needs AF_XDP. docs/limits.md has what it cannot.
	Share bool

	// Auto believes the routers on the link: it makes addresses and routes of what they advertise
	// (RFC 4861, RFC 4862). The addresses stay the same at each start (RFC 7217).
	Auto bool
	// LinkLocal gives the interface an IPv4 link-local address that nobody else has (RFC 3927).
	LinkLocal bool
	// Detect says which of Addrs, and of those that AddAddr adds, are probed for before they are used.
	// Open waits for it and fails with a [DuplicateError]. Without a carrier it does not wait: they stay tentative until there is one.
	Detect Detection

	Checksums Checksums
}

// Config is what a host is made of.
type Config struct {
	Interfaces []Interface
	Policy     engine.Policy // how cores idle
	Clock      engine.Clock  `json:"-"` // nil: the system's
	Manual     bool          `json:"-"` // no background pollers: for simulations
	Seed       *[2]uint64    `json:"-"` // of everything random; nil: from the system. A simulation sets it to replay.
	Memory     int           // bytes that the sockets of a core may queue; 0: 256 MiB

	// Sysctls are knobs to set before anything goes out, by name: see [Host.SetSysctl].
	Sysctls map[string]string

	// Control is the directory of a socket at which 'xdpsock sockets', 'drops' and the others of the command ask what the host
	// holds, and turn its knobs: /run/xdpsock is where they look. None but the process's user may enter it; it is made if it is not
	// there. Empty: nobody can ask. It is opened by [socketapi.Open], and closed with the stack.
	//
	// [socketapi.Open]: https://pkg.go.dev/github.com/xdpsock/xdpsock/socketapi#Open
	Control string

	// Drain is how long the close of the last socket, and that of the host, wait at most until what
	// programs have sent has left, and peers have acknowledged what streams sent and their end: whoever
	// ends the program behind it ends that too. With nothing on its way they do not wait. 0: 5 s; negative:
	// they never wait. Of one stream SO_LINGER says it.
	Drain time.Duration
}

// drainMax is how long a close waits for what programs have sent and was not yet answered for, where
// Config.Drain does not say: an ARP resolution and a few retransmissions. (Linux need not: its kernel goes
// on when the program has ended.)
const drainMax = 5 * time.Second

// check finds what cannot work before anything runs.
func check(cfg *Config, over []int, devices [][]engine.Device) error {
	if len(devices) == 0 {
		return errors.New("host: no interface: a host needs at least one")
	}
	if cfg.Memory < 0 {
		return fmt.Errorf("host: memory for %d bytes: no socket could queue any", cfg.Memory)
	}
	for i := range devices {
		in, d := &cfg.Interfaces[i], devices[over[i]]
		if in.Mirror != 0 && in.Name == "" {
			return fmt.Errorf("host: interface %d: only one that is opened by its name has addresses and routes in the kernel to mirror", i)
		}
		if len(d) == 0 {
			return fmt.Errorf("host: interface %d has no device", i)
		}
		if len(d) != len(devices[over[0]]) {
			return fmt.Errorf("host: %s has %d queues and %s has %d, but every core needs one of each: make them equal with 'ethtool -L IFACE combined N'",
				devices[over[0]][0].Info().Name, len(devices[over[0]]), d[0].Info().Name, len(d))
		}
		if err := checkVLAN(in, d[0].Info()); err != nil {
			return err
		}
		if err := checkAddrs(in, d[0].Info()); err != nil {
			return err
		}
	}
	return nil
}

func portConfig(in *Interface, info engine.Info) proto.PortConfig {
	p := proto.PortConfig{MTU: min(info.MTU, roomOf(in, info)), RawIP: info.RawIP, VLAN: in.VLAN}
	copy(p.MAC[:], info.Addr)
	if in.VLAN == 0 && !info.RawIP {
		p.Trains = info.TrainMax
	}
	switch in.Checksums {
	case ChecksumsAuto:
		p.TrustUnfinished = info.Virtual
	case ChecksumsTrust:
		p.TrustUnfinished = true
	}
	return p
}

// roomOf is the longest packet that a device has room for in both directions.
func roomOf(in *Interface, info engine.Info) int {
	room := info.FrameLen
	if !info.RawIP {
		room -= wire.EthernetLen
	}
	if in.VLAN != 0 {
		room -= wire.VLANLen
	}
	return min(room, max(info.MTU, info.MTUMax))
}

// loopConfig is the port by which a core sends to itself, after those of the interfaces.
func loopConfig(info engine.Info) proto.PortConfig {
	return proto.PortConfig{MTU: info.MTU, RawIP: info.RawIP, Index: loopIndex, TrustUnfinished: true, Loop: true}
}
