package netlab

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An End describes one link to be made.
type End struct {
	NS     *NS              // nil: the namespace of the calling thread
	Name   string           // at most 15 bytes; "" lets the kernel choose
	MAC    net.HardwareAddr // nil lets the kernel choose
	Addrs  []netip.Prefix   // IPv4 and IPv6; usable at once, without duplicate address detection
	MTU    int              // 0: the kernel's, 1500
	Queues int              // receive and transmit queues each; 0: 1
	Down   bool             // leave it down
	Off    Offload          // what to switch off before it comes up
}

// A Link is an interface that this package made.
type Link struct {
	NS    *NS
	Name  string
	Index int
	MAC   net.HardwareAddr
}

// A Veth is two links, each the other's wire.
type Veth struct {
	A, B *Link
	here *NS // what stood for a nil NS, ours to close
}

// VethPair makes a veth pair. Queue q of one end arrives at queue q of the other.
func VethPair(a, b End) (v *Veth, err error) {
	v = &Veth{}
	defer func() {
		if err != nil {
			v.Close()
			v = nil
		}
	}()
	if a.NS == nil || b.NS == nil {
		if v.here, err = Current(); err != nil {
			return v, err
		}
		a.NS, b.NS = cmp.Or(a.NS, v.here), cmp.Or(b.NS, v.here)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.Name
	attrs.HardwareAddr = a.MAC
	attrs.MTU = a.MTU
	attrs.NumTxQueues, attrs.NumRxQueues = a.queues(), a.queues()
	create := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         b.Name,
		PeerHardwareAddr: b.MAC,
		PeerNamespace:    netlink.NsFd(b.NS.FD()),
		PeerMTU:          uint32(b.MTU),
		PeerNumTxQueues:  uint32(b.queues()),
		PeerNumRxQueues:  uint32(b.queues()),
	}
	if a.Name == "" {
		create.Name = fmt.Sprintf("lab%x", serial())
	}
	if b.Name == "" {
		create.PeerName = fmt.Sprintf("lab%x", serial())
	}
	a.Name, b.Name = create.Name, create.PeerName
	err = a.NS.netlink(func(h *netlink.Handle) error { return h.LinkAdd(create) })
	if err != nil {
		return v, fmt.Errorf("netlab: veth %s-%s: %w", a.Name, b.Name, err)
	}
	v.A, v.B = &Link{NS: a.NS, Name: a.Name}, &Link{NS: b.NS, Name: b.Name}
	// Both are set up before either is brought up, so that neither announces an
	// address that the other does not yet expect.
	return v, cmp.Or(v.A.configure(a), v.B.configure(b), v.A.bringUp(a), v.B.bringUp(b), v.A.settle(a), v.B.settle(b))
}

// Close removes both ends. Closing twice, or after the namespace, is harmless.
func (v *Veth) Close() (err error) {
	if v.A != nil {
		err = v.A.Delete()
	}
	if v.here != nil {
		v.here.Close()
	}
	return err
}

func (e *End) queues() int { return max(e.Queues, 1) }

// configure learns what the kernel chose and sets the rest.
func (l *Link) configure(e End) error {
	err := l.NS.netlink(func(h *netlink.Handle) error {
		k, err := h.LinkByName(l.Name)
		if err != nil {
			return err
		}
		l.Index, l.MAC = k.Attrs().Index, k.Attrs().HardwareAddr
		for _, p := range e.Addrs {
			addr := &netlink.Addr{IPNet: &net.IPNet{
				IP:   p.Addr().AsSlice(),
				Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
			}}
			if p.Addr().Is6() {
				addr.Flags = unix.IFA_F_NODAD
			}
			if err := h.AddrAdd(k, addr); err != nil {
				return fmt.Errorf("address %v: %w", p, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("netlab: %s: %w", l.Name, err)
	}
	if e.Off != 0 {
		return l.SetOffload(e.Off, false)
	}
	return nil
}

func (l *Link) bringUp(e End) error {
	if e.Down {
		return nil
	}
	return l.SetUp()
}

// settleMax bounds the wait for the kernel's address work, which takes microseconds on an
// idle machine.
const settleMax = 10 * time.Second

// settle waits until the kernel receives what is sent to the IPv6 addresses. Also
// without duplicate address detection it is a work queue that makes their local
// routes, once the link has a carrier; before that it drops packets to them.
func (l *Link) settle(e End) error {
	if e.Down {
		return nil
	}
	return l.change("settle", func(h *netlink.Handle, k netlink.Link) error {
		if k.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
			return nil // the other end is to stay down
		}
		for _, p := range e.Addrs {
			for begun := time.Now(); p.Addr().Is6() && !isLocal(h, p.Addr()); time.Sleep(100 * time.Microsecond) {
				if time.Since(begun) > settleMax {
					return fmt.Errorf("the kernel has not made address %v usable within %v", p.Addr(), settleMax)
				}
			}
		}
		return nil
	})
}

func isLocal(h *netlink.Handle, addr netip.Addr) bool {
	routes, err := h.RouteGet(addr.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// SetUp does what `ip link set NAME up` does.
func (l *Link) SetUp() error {
	return l.change("up", func(h *netlink.Handle, k netlink.Link) error { return h.LinkSetUp(k) })
}

// SetDown does what `ip link set NAME down` does.
func (l *Link) SetDown() error {
	return l.change("down", func(h *netlink.Handle, k netlink.Link) error { return h.LinkSetDown(k) })
}

// SetMTU sets the MTU in bytes.
func (l *Link) SetMTU(mtu int) error {
	return l.change("mtu", func(h *netlink.Handle, k netlink.Link) error { return h.LinkSetMTU(k, mtu) })
}

// AddRoute adds a route to dst by way of via (invalid: directly) over the link.
func (l *Link) AddRoute(dst netip.Prefix, via netip.Addr) error {
	return l.change("route", func(h *netlink.Handle, k netlink.Link) error {
		r := &netlink.Route{LinkIndex: k.Attrs().Index, Dst: &net.IPNet{
			IP:   dst.Masked().Addr().AsSlice(),
			Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen()),
		}}
		if via.IsValid() {
			r.Gw = via.AsSlice()
		}
		return h.RouteAdd(r)
	})
}

// AddNeigh adds a permanent neighbour, for a peer that answers no ARP or NDP.
func (l *Link) AddNeigh(addr netip.Addr, mac net.HardwareAddr) error {
	return l.change("neighbour", func(h *netlink.Handle, k netlink.Link) error {
		return h.NeighSet(&netlink.Neigh{
			LinkIndex: k.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac,
		})
	})
}

// Delete removes the link, and with a veth its peer. A link that is gone already
// is no error.
func (l *Link) Delete() error {
	if l.NS.FD() < 0 {
		return nil // its links went with it
	}
	err := l.change("delete", func(h *netlink.Handle, k netlink.Link) error { return h.LinkDel(k) })
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (l *Link) change(what string, f func(*netlink.Handle, netlink.Link) error) error {
	err := l.NS.netlink(func(h *netlink.Handle) error {
		k, err := h.LinkByName(l.Name)
		if err != nil {
			return err
		}
		return f(h, k)
	})
	if err != nil {
		return fmt.Errorf("netlab: %s %s: %w", l.Name, what, err)
	}
	return nil
}

func (l *Link) setMAC(mac net.HardwareAddr) error {
	return l.change("address", func(h *netlink.Handle, k netlink.Link) error { return h.LinkSetHardwareAddr(k, mac) })
}

// serials makes names unique inside the process; the kernel sees to the rest.
var serials atomic.Uint32

func serial() uint32 { return serials.Add(1) }
