package engine

import (
	"fmt"
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
	follower

	// The watching goroutine's alone.
	report func(LinkEvent)
	known  map[int]Link
	all    bool // all links are to be asked for
}

// askAgain is the pause before all links are asked for once more, after that has failed.
const askAgain = 100 * time.Millisecond

// WatchLinks calls report for every change of a link of the calling thread's network
// namespace, from a goroutine of its own, one after the other. The links that are there
// already come first, so that nothing is missed between looking and watching; a link may be
// reported more often than it changes. report must not call Close.
func WatchLinks(report func(LinkEvent)) (*LinkWatcher, error) {
	w := &LinkWatcher{report: report, known: map[int]Link{}, all: true}
	if err := w.open(unix.RTNLGRP_LINK); err != nil {
		return nil, fmt.Errorf("engine: watch links: %w", err)
	}
	go w.follow(w)
	return w, nil
}

// quiet asks for all links if need be.
func (w *LinkWatcher) quiet(now mono.Time) mono.Time {
	if w.all {
		if w.all = !w.refresh(); w.all {
			return now.Add(askAgain)
		}
	}
	return mono.Never
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

// heard takes apart what the kernel says of links.
func (w *LinkWatcher) heard(b []byte) {
	w.all = w.all || b == nil
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
