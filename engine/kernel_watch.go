package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: rtnetlink(7), ip-address(8).

// An Addr is an address that the kernel has on a link.
type Addr struct {
	Prefix netip.Prefix // the address, and the prefix of its link

	Tentative  bool // it is being found out whether another station has it
	Duplicate  bool // another station has it
	Deprecated bool
	Temporary  bool // RFC 8981
	Detached   bool // no route to the link came with it (IFA_F_NOPREFIXROUTE)
}

// Kernel is what the kernel holds of an interface.
type Kernel struct {
	Addrs  []Addr
	Routes []Route // by way of the interface, and those to nowhere
}

// A KernelWatcher reports what the kernel holds of an interface. See [WatchKernel].
type KernelWatcher struct {
	follower
	link   netlink.Link
	report func(Kernel)
	due    mono.Time     // when everything is to be asked for; Never: nothing has changed
	pause  time.Duration // from a change to the question
}

// kernelGroups are the netlink groups that say that something has changed.
var kernelGroups = []uint{unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP}

const (
	// kernelSettle is how long a change is waited with, since seldom one comes alone: an interface that
	// comes up brings a dozen.
	kernelSettle = 10 * time.Millisecond

	// kernelShare is how many times as long as the last dump took is waited before the next one, so that
	// a kernel with many routes that change all the time costs a tenth of a processor at most.
	kernelShare = 9
)

// WatchKernel reports what the kernel holds of an interface of the calling thread's network namespace: first
// before it returns, and then after changes, whole, from a goroutine of its own. Changes that come together are reported
// together. report must not call Close.
func WatchKernel(index int, report func(Kernel)) (*KernelWatcher, error) {
	w := &KernelWatcher{report: report, due: mono.Never, pause: kernelSettle}
	err := w.open(kernelGroups...)
	if err == nil {
		if err = w.first(index); err != nil {
			err = errors.Join(err, w.release())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("engine: watch addresses and routes: %w", err)
	}
	go w.follow(w)
	return w, nil
}

// first reports what there is. The groups are heard already, so that no change is missed.
func (w *KernelWatcher) first(index int) (err error) {
	if w.link, err = w.ask.LinkByIndex(index); err != nil {
		return err
	}
	now, err := w.dump()
	if err == nil {
		w.report(now)
	}
	return err
}

// heard notes that something has changed. What a message says is not looked at, so that none can be
// misread, come in another order or be lost.
func (w *KernelWatcher) heard([]byte) {
	if w.due == mono.Never {
		w.due = SystemClock.Now().Add(w.pause)
	}
}

// quiet asks for everything when it has settled: what is said from here on is for the next time.
func (w *KernelWatcher) quiet(now mono.Time) mono.Time {
	if !w.due.Due(now) {
		return w.due
	}
	w.due = mono.Never
	k, err := w.dump()
	w.pause = max(kernelSettle, kernelShare*SystemClock.Now().Sub(now))
	switch {
	case err != nil: // what was heard is not to be forgotten for want of memory, unless the interface has gone
		if _, err := w.ask.LinkByIndex(w.link.Attrs().Index); !errors.As(err, new(netlink.LinkNotFoundError)) {
			w.due = SystemClock.Now().Add(max(w.pause, askAgain))
		}
	case !w.closed.Load():
		w.report(k)
	}
	return w.due
}

// dump asks for everything.
func (w *KernelWatcher) dump() (k Kernel, err error) {
	list, err := undisturbed(func() ([]netlink.Addr, error) { return w.ask.AddrList(w.link, netlink.FAMILY_ALL) })
	if err != nil {
		return k, fmt.Errorf("addresses: %w", err)
	}
	for _, a := range list {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		k.Addrs = append(k.Addrs, Addr{
			Prefix:    p,
			Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0, Duplicate: a.Flags&unix.IFA_F_DADFAILED != 0,
			Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0, Detached: a.Flags&unix.IFA_F_NOPREFIXROUTE != 0,
			Temporary: p.Addr().Is6() && a.Flags&unix.IFA_F_TEMPORARY != 0, // of IPv4 the bit means secondary
		})
	}
	k.Routes, err = linkRoutes(w.ask, w.link.Attrs().Index)
	return k, err
}
