package netlab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Loan is an interface that was there before and is in a namespace of ours for a time.
type Loan struct {
	*Link
	home *NS
	here *NS // what stood for a nil namespace, ours to close
	name string
	mtu  int
	up   bool
	all  bool // promiscuous
}

// Borrow moves an interface from its namespace (nil: that of the calling thread) to e.NS, where it
// is named and set up as e says. It must have no address but a link-local one: an interface that
// somebody uses is not taken from him. If the process dies before Return, the kernel gives a real
// NIC to the initial namespace, under its borrowed name; one that is virtual goes with
// the namespace.
func Borrow(from *NS, name string, e End) (l *Loan, err error) {
	l = &Loan{home: from, name: name}
	if e.Name == "" {
		e.Name = name
	}
	if e.NS == nil {
		return nil, fmt.Errorf("netlab: borrow %s: no namespace to take it to", name)
	}
	if from == nil {
		if l.here, err = Current(); err != nil {
			return nil, err
		}
		l.home = l.here
	}
	if err := l.take(e); err != nil {
		l.giveUp()
		return nil, fmt.Errorf("netlab: borrow %s: %w", name, err)
	}
	l.Link = &Link{NS: e.NS, Name: e.Name}
	if e.MTU != 0 {
		err = l.SetMTU(e.MTU)
	}
	for _, step := range []func(End) error{l.configure, l.bringUp, l.settle} {
		if err == nil {
			err = step(e)
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Return())
	}
	return l, nil
}

// take moves the interface. It comes down by that, and loses its addresses.
func (l *Loan) take(e End) error {
	return l.home.netlink(func(h *netlink.Handle) error {
		k, err := h.LinkByName(l.name)
		if err != nil {
			return err
		}
		flags := k.Attrs().RawFlags
		l.mtu, l.up, l.all = k.Attrs().MTU, flags&unix.IFF_UP != 0, flags&unix.IFF_PROMISC != 0
		addrs, err := h.AddrList(k, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				return fmt.Errorf("it has the address %v, so somebody uses it: 'ip addr flush dev %s' if nobody does", a.IPNet, l.name)
			}
		}
		return move(h, k, e.NS, e.Name)
	})
}

// move takes an interface to another namespace, where it gets that name.
func move(h *netlink.Handle, k netlink.Link, to *NS, name string) error {
	if err := h.LinkSetDown(k); err != nil {
		return err
	}
	if err := h.LinkSetName(k, name); err != nil {
		return err
	}
	return h.LinkSetNsFd(k, to.FD())
}

// Return gives the interface back as it was: to its namespace, with its name and MTU, and up
// if it was. The borrowing namespace must still be open.
func (l *Loan) Return() error {
	defer l.giveUp()
	err := l.NS.netlink(func(h *netlink.Handle) error {
		k, err := h.LinkByName(l.Link.Name)
		if err != nil {
			return err
		}
		if !l.all { // whoever was killed may have left it so
			if err := h.SetPromiscOff(k); err != nil {
				return err
			}
		}
		return move(h, k, l.home, l.name)
	})
	if err == nil {
		back := &Link{NS: l.home, Name: l.name}
		err = back.SetMTU(l.mtu)
		if l.up {
			err = errors.Join(err, back.SetUp())
		}
	}
	if err != nil {
		return fmt.Errorf("netlab: return %s: %w", l.name, err)
	}
	return nil
}

func (l *Loan) giveUp() {
	if l.here != nil {
		l.here.Close()
	}
}
