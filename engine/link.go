package engine

// Read first: rtnetlink(7).

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Link is what the kernel says of an interface, at the moment of asking.
type Link struct {
	Name   string
	Index  int
	MAC    net.HardwareAddr // nil where frames have no link header (TUN)
	MTU    int              // bytes of an IP packet
	Kind   string           // rtnetlink's kind: "veth", "tun" (TAP too), "bridge", "bond", "dummy", …; "" for hardware and lo
	Driver string           // ethtool's name of the driver, "" if it has none
	Master int              // index of the bridge or bond that it belongs to, 0: none

	Up       bool // the administrator wants it up
	Carrier  bool // and there is somebody at the other end
	Loopback bool
	Virtual  bool // no hardware: the other end is this machine's kernel or a process

	// Queues that are set up. They are what Channels says where the driver tells,
	// else what the kernel has counted.
	RXQueues, TXQueues int
	Channels           Channels // zero if the driver does not tell

	XDP XDP

	// The other end of a veth: its index, and the ID that our namespace has for the
	// peer's (-1: it is the same namespace). 0: no veth, or not told.
	PeerIndex, PeerNSID int

	Addrs  []netip.Prefix
	Routes []Route // by way of this interface, and those to nowhere
}

// dumpTries is how often a dump is begun again that a change has interrupted: a machine
// on which four in a row are disturbed is told what there is.
const dumpTries = 4

// LinkByName asks for an interface of the calling thread's network namespace. That it is down
// is a fact and not an error; see [Link.Usable].
func LinkByName(name string) (Link, error) {
	// The answers come from several sockets, all to be of one namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return Link{}, fmt.Errorf("engine: netlink socket: %w", err)
	}
	defer h.Close()
	k, err := h.LinkByName(name)
	if err != nil {
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return Link{}, fmt.Errorf("engine: no interface %q in this network namespace; there are: %s: %w", name, linkNames(h), unix.ENODEV)
		}
		return Link{}, fmt.Errorf("engine: ask about interface %q: %w", name, err)
	}
	l := linkOf(k)
	if err := l.ask(h, k); err != nil {
		return Link{}, fmt.Errorf("engine: ask about interface %q: %w", name, err)
	}
	return l, nil
}

// linkNames lists what somebody may have meant.
func linkNames(h *netlink.Handle) string {
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "(" + err.Error() + ")"
	}
	var names []string
	for _, k := range links {
		names = append(names, k.Attrs().Name)
	}
	return strings.Join(names, ", ")
}

// linkOf is what one RTM_NEWLINK message tells.
func linkOf(k netlink.Link) Link {
	a := k.Attrs()
	l := Link{
		Name: a.Name, Index: a.Index, MTU: a.MTU, Master: a.MasterIndex,
		Up:       a.RawFlags&unix.IFF_UP != 0,
		Carrier:  a.RawFlags&unix.IFF_LOWER_UP != 0,
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		RXQueues: max(a.NumRxQueues, 1), TXQueues: max(a.NumTxQueues, 1),
		PeerNSID: -1,
	}
	if len(a.HardwareAddr) == 6 {
		l.MAC = slices.Clone(a.HardwareAddr) // which lies in the message's buffer
	}
	if kind := k.Type(); kind != "device" { // the library's word for none
		l.Kind = kind
	}
	switch k.(type) {
	case *netlink.Veth:
		l.PeerIndex, l.PeerNSID = a.ParentIndex, a.NetNsID
	case *netlink.Tuntap:
		l.Kind = "tun"
	}
	l.Virtual = l.Loopback || slices.Contains(virtualKinds, l.Kind)
	l.XDP = xdpOf(a.Xdp)
	return l
}

// virtualKinds are kinds of links behind which there is no hardware. (vlan, bond, macvlan
// and the like stand before another link.)
var virtualKinds = []string{"veth", "tun", "bridge", "dummy", "ifb", "netkit", "nlmon", "vcan", "wireguard"}

// ask fills in what has to be asked for elsewhere.
func (l *Link) ask(h *netlink.Handle, k netlink.Link) error {
	s, err := openEthtool()
	if err != nil {
		return err
	}
	defer s.close()
	l.Driver = s.driver(l.Name)
	l.XDP.askFeatures(l.Index)
	l.countQueues(s)
	if l.Addrs, err = linkAddrs(h, k); err != nil {
		return err
	}
	l.Routes, err = linkRoutes(h, l.Index)
	return err
}

// countQueues asks whoever knows, best first. What rtnetlink says is how many were
// allocated, of which a TAP has 256 and uses one.
func (l *Link) countQueues(s ethtoolSocket) {
	if c, err := s.channels(l.Name); err == nil && c.Combined+c.RX > 0 {
		l.Channels = c
		l.RXQueues, l.TXQueues = c.Combined+c.RX, c.Combined+c.TX
		return
	}
	if rx, tx, ok := genlQueues(l.Index); ok {
		l.RXQueues, l.TXQueues = rx, tx
		return
	}
	if rx, tx, ok := sysfsQueues(l.Name, l.Index, l.MAC); ok {
		l.RXQueues, l.TXQueues = rx, tx
	}
}

// undisturbed repeats a dump that a change of the kernel's tables has interrupted.
func undisturbed[T any](dump func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		list, err := dump()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			if try < dumpTries {
				continue
			}
			err = nil
		}
		return list, err
	}
}

func linkAddrs(h *netlink.Handle, k netlink.Link) (addrs []netip.Prefix, err error) {
	list, err := undisturbed(func() ([]netlink.Addr, error) { return h.AddrList(k, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	for _, a := range list {
		if p, ok := prefixOf(a.IPNet); ok {
			addrs = append(addrs, p)
		}
	}
	return addrs, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	if bits == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones), true
}

// Usable says what keeps the link from carrying frames and which command helps.
func (l *Link) Usable() error {
	switch {
	case !l.Up:
		return fmt.Errorf("engine: interface %s is down; bring it up with `ip link set %s up`: %w", l.Name, l.Name, unix.ENETDOWN)
	case !l.Carrier && l.Kind == "veth":
		return fmt.Errorf("engine: interface %s has no carrier; bring up the other end of the pair, link %d: %w", l.Name, l.PeerIndex, unix.ENETDOWN)
	case !l.Carrier && l.Kind == "tun":
		return fmt.Errorf("engine: interface %s has no carrier; no process has it open: %w", l.Name, unix.ENETDOWN)
	case !l.Carrier:
		return fmt.Errorf("engine: interface %s has no carrier; is the cable plugged in and the other end up?: %w", l.Name, unix.ENETDOWN)
	}
	return nil
}

// SingleBufferMTU is the largest MTU with which an XDP program that takes packets in one
// piece can be attached where the driver gives a packet a page, as veth (which
// looks at the MTU of its peer) and virtio_net do: a page, less the headroom
// of XDP, the kernel's struct skb_shared_info and the Ethernet header. Other drivers have other limits,
// and the error of the attachment is the last word.
func SingleBufferMTU() int {
	const (
		headroom   = 256 // XDP_PACKET_HEADROOM
		sharedInfo = 320 // SKB_DATA_ALIGN(sizeof(struct skb_shared_info)), 64 bit, MAX_SKB_FRAGS 17
	)
	return os.Getpagesize() - headroom - sharedInfo - etherHeaderLen
}
