package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A LinkEvent is a link that was made, has changed or is gone.
type LinkEvent struct {
	Link    Link // what the message tells: no addresses, no routes, nothing of ethtool or of XDP features
	Deleted bool // gone from this namespace: deleted, or moved to another
}

// A LinkWatcher reports what happens to links. See [WatchLinks].
type LinkWatcher struct {
	fd      int             // receives changes
	ask     *netlink.Handle // asks for all links
	sleeper sleeper
	closed  atomic.Bool
	done    chan struct{}

	// The watching goroutine's alone.
	report func(LinkEvent)
	known  map[int]Link
	buf    []byte
}

const (
	// linkBuffer is the socket's receive buffer in bytes: a message takes about 4 KiB of
	// it, so it holds some five hundred. What does not fit is found by asking for all links.
	linkBuffer = 2 << 20

	// linkMessageMax is the longest the kernel sends at once (NLMSG_GOODSIZE and more,
	// as recvmsg's callers are told to expect).
	linkMessageMax = 64 << 10

	// askAgain is the pause before all links are asked for once more, after that has failed.
	askAgain = 100 * time.Millisecond
)

// WatchLinks calls report for every change of a link of the calling thread's network
// namespace, from a goroutine of its own, one after the other. The links that are there
// already come first, so that nothing is missed between looking and watching; a link may be
// reported more often than it changes. report must not call Close.
func WatchLinks(report func(LinkEvent)) (w *LinkWatcher, err error) {
	runtime.LockOSThread() // both sockets in one namespace
	defer runtime.UnlockOSThread()
	fd, err := listenNetlink(unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("engine: watch links: %w", err)
	}
	w = &LinkWatcher{
		fd: fd, done: make(chan struct{}), report: report, known: map[int]Link{}, buf: make([]byte, linkMessageMax),
	}
	defer func() {
		if err != nil {
			w.release()
			w = nil
		}
	}()
	if w.ask, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return w, fmt.Errorf("engine: watch links: netlink socket: %w", err)
	}
	if err := w.sleeper.open(fd); err != nil {
		return w, err
	}
	go w.watch()
	return w, nil
}

// Close ends the watching. When it returns no report is under way and none will come.
// Closing twice is harmless.
func (w *LinkWatcher) Close() error {
	if w.closed.Swap(true) {
		<-w.done
		return nil
	}
	w.sleeper.wake()
	<-w.done
	return w.release()
}

func (w *LinkWatcher) release() error {
	if w.ask != nil {
		w.ask.Close()
	}
	return errors.Join(w.sleeper.close(), unix.Close(w.fd))
}

// watch reads until the socket is empty, asks for all links if need be, and sleeps. In
// that order: a socket that has said ENOBUFS does not say it again before it was empty,
// so asking earlier would miss what is lost in between.
func (w *LinkWatcher) watch() {
	defer close(w.done)
	all := true // all links are to be asked for
	for !w.closed.Load() {
		n, from, err := unix.Recvfrom(w.fd, w.buf, 0)
		switch {
		case err == nil:
			if k, ok := from.(*unix.SockaddrNetlink); ok && k.Pid == 0 { // the kernel and no other process
				w.read(w.buf[:n])
			}
		case err == unix.ENOBUFS: // changes are lost
			all = true
		default: // EAGAIN; nothing else is known to happen
			until := mono.Never
			if all {
				if all = !w.refresh(); all {
					until = SystemClock.Now().Add(askAgain)
				}
			}
			w.sleeper.wait(until, SystemClock, nil)
		}
	}
}

// refresh reports all links, and those that have gone unseen.
func (w *LinkWatcher) refresh() bool {
	links, err := undisturbed(w.ask.LinkList)
	if err != nil {
		return false
	}
	there := map[int]bool{}
	for _, k := range links {
		there[k.Attrs().Index] = true
		w.changed(linkOf(k))
	}
	for index, l := range w.known {
		if !there[index] {
			w.gone(l)
		}
	}
	return true
}

// read takes apart what one recvmsg gave.
func (w *LinkWatcher) read(b []byte) {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return
	}
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK {
			continue
		}
		// Of family AF_BRIDGE it says that a port has left its bridge, not that it is gone.
		if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
			continue
		}
		k, err := netlink.LinkDeserialize((*unix.NlMsghdr)(&m.Header), m.Data)
		if err != nil {
			continue
		}
		if l := linkOf(k); m.Header.Type == unix.RTM_DELLINK {
			w.gone(l)
		} else {
			w.changed(l)
		}
	}
}

func (w *LinkWatcher) changed(l Link) {
	if w.closed.Load() {
		return
	}
	w.known[l.Index] = l
	w.report(LinkEvent{Link: l})
}

func (w *LinkWatcher) gone(l Link) {
	if w.closed.Load() {
		return
	}
	delete(w.known, l.Index)
	w.report(LinkEvent{Link: l, Deleted: true})
}
