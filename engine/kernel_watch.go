package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
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
	Routes []Route // of the main table, by way of the interface
}

// A KernelWatcher reports what the kernel holds of an interface. See [WatchKernel].
type KernelWatcher struct {
	fd      int
	ask     *netlink.Handle
	link    netlink.Link
	sleeper sleeper
	closed  atomic.Bool
	done    chan struct{}
	report  func(Kernel)
}

// kernelGroups are the netlink groups that say that something has changed.
var kernelGroups = []uint{unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE}

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
func WatchKernel(index int, report func(Kernel)) (w *KernelWatcher, err error) {
	runtime.LockOSThread() // all sockets in one namespace
	defer runtime.UnlockOSThread()
	w = &KernelWatcher{fd: -1, done: make(chan struct{}), report: report}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("engine: watch addresses and routes: %w", err), w.release())
			w = nil
		}
	}()
	if w.fd, err = listenNetlink(kernelGroups...); err != nil {
		return w, err
	}
	if w.ask, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return w, err
	}
	if w.link, err = w.ask.LinkByIndex(index); err != nil {
		return w, err
	}
	if err := w.sleeper.open(w.fd); err != nil {
		return w, err
	}
	now, err := w.dump()
	if err != nil {
		return w, err
	}
	report(now)
	go w.watch()
	return w, nil
}

// listenNetlink opens a socket that receives what the kernel tells these groups.
func listenNetlink(groups ...uint) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("netlink socket: %w", err)
	}
	// SO_RCVBUFFORCE needs CAP_NET_ADMIN; without it the system's limit holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, linkBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, linkBuffer)
	}
	var set uint32
	for _, group := range groups {
		set |= 1 << (group - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: set}); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Close ends the watching. When it returns no report is under way and none will come.
// Closing twice is harmless.
func (w *KernelWatcher) Close() error {
	if w.closed.Swap(true) {
		<-w.done
		return nil
	}
	w.sleeper.wake()
	<-w.done
	return w.release()
}

func (w *KernelWatcher) release() error {
	if w.ask != nil {
		w.ask.Close()
	}
	var errs []error
	if w.fd >= 0 {
		errs = append(errs, w.sleeper.close(), unix.Close(w.fd))
	}
	return errors.Join(errs...)
}

// watch sleeps until something changes, waits until it has settled, and asks for everything: what a
// message says is not looked at, so that none can be misread, come in another order or be lost.
func (w *KernelWatcher) watch() {
	defer close(w.done)
	for pause := kernelSettle; ; {
		if w.closed.Load() {
			return
		}
		if !w.heard() {
			w.sleeper.wait(mono.Never, SystemClock, nil)
			continue
		}
		for until := SystemClock.Now().Add(pause); !until.Due(SystemClock.Now()) && !w.closed.Load(); {
			w.heard() // or the sleep would end at once
			w.sleeper.wait(until, SystemClock, nil)
		}
		w.heard() // what is said from here on is for the next time
		start := SystemClock.Now()
		now, err := w.dump()
		pause = max(kernelSettle, kernelShare*SystemClock.Now().Sub(start))
		if err == nil && !w.closed.Load() { // an error is that the interface has gone
			w.report(now)
		}
	}
}

// heard empties the socket and says whether there was anything, or anything was lost.
func (w *KernelWatcher) heard() (any bool) {
	var b [4096]byte // what does not fit is cut off
	for {
		_, _, err := unix.Recvfrom(w.fd, b[:], 0)
		if err != nil && err != unix.ENOBUFS {
			return any // EAGAIN; nothing else is known to happen
		}
		any = true
	}
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
