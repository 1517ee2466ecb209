package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: rtnetlink(7), ip-neighbour(8); neigh_add, neigh_get and __neigh_update in net/core/neighbour.c.

// A Neighbour is what the kernel says of a station on a link.
type Neighbour struct {
	Addr      netip.Addr // without a zone
	MAC       [6]byte
	Confirmed bool // it has answered lately, or somebody has said that it is there
	Lost      bool // the kernel has forgotten it or got no answer: MAC says nothing
}

// A NeighbourWatcher reports who is on a link, by what the kernel has found out, and has it find out more.
// See [WatchNeighbours].
type NeighbourWatcher struct {
	follower
	index  int
	report func([]Neighbour)
	news   []Neighbour // the watching goroutine's alone, as all is; kept for its memory
	all    bool        // something was lost: everything is to be asked for

	mu     sync.Mutex
	wanted []netip.Addr // to be asked for
	ended  bool         // Close was called
}

// neighboursWanted is how many neighbours are asked for at once. A table has room for a quarter of 1024 that it knows no
// address of; one that finds no room here is asked for again a second later.
const neighboursWanted = 256

// neighboursTogether is how many of the kernel's messages are reported together at most, which cost the cores one lock each.
const neighboursTogether = 256

// The numbers of our requests: what the kernel tells everybody has 0.
const (
	neighbourAsked  = 1 + iota // RTM_GETNEIGH of one
	neighbourDumped            // RTM_GETNEIGH of all
	neighbourTold              // RTM_NEWNEIGH
)

// WatchNeighbours reports what the kernel of the calling thread's network namespace finds out about the stations on an
// interface's link, from a goroutine of its own. Nothing is reported that was not asked for or does not change. What
// report is given is its own until it returns; it must not call Close.
func WatchNeighbours(index int, report func([]Neighbour)) (*NeighbourWatcher, error) {
	w := &NeighbourWatcher{index: index, report: report}
	if err := w.open(unix.RTNLGRP_NEIGH); err != nil {
		return nil, fmt.Errorf("engine: watch neighbours: %w", err)
	}
	go w.follow(w)
	return w, nil
}

// Ask has the kernel report what it knows of a neighbour, and find out what it does not know or is not sure of. It
// does not wait, and may be called with any lock held but those that report takes.
func (w *NeighbourWatcher) Ask(neighbour netip.Addr) {
	neighbour = neighbour.WithZone("")
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended && len(w.wanted) < neighboursWanted && !slices.Contains(w.wanted, neighbour) {
		w.wanted = append(w.wanted, neighbour)
		w.sleeper.wake()
	}
}

// Close ends the watching. When it returns no report is under way and none will come, and Ask does nothing. Closing
// twice is harmless.
func (w *NeighbourWatcher) Close() error {
	w.mu.Lock()
	w.ended = true // nobody wakes the sleeper any more
	w.mu.Unlock()
	return w.follower.Close()
}

// quiet tells what there is, and asks for everything if something was lost: not before, since one such question at a time is answered.
func (w *NeighbourWatcher) quiet(now mono.Time) mono.Time {
	w.tell()
	if w.all {
		if w.all = !w.send(neighbourDumped, unix.NLM_F_DUMP, unix.RTM_GETNEIGH, netip.Addr{}, 0, 0); w.all {
			return now.Add(askAgain)
		}
	}
	return mono.Never
}

// tell reports what has been heard, and asks for what is wanted. The answers are heard like all the rest.
func (w *NeighbourWatcher) tell() {
	if len(w.news) > 0 && !w.closed.Load() {
		w.report(w.news)
	}
	w.news = w.news[:0]
	w.mu.Lock()
	wanted := w.wanted
	w.wanted = nil
	w.mu.Unlock()
	for _, a := range wanted {
		w.send(neighbourAsked, 0, unix.RTM_GETNEIGH, a, 0, 0) // it does not go: asked for again in a second
	}
}

// heard takes apart what the kernel says of neighbours.
func (w *NeighbourWatcher) heard(b []byte) {
	w.all = w.all || b == nil
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return
	}
	for i := range msgs {
		switch m := &msgs[i]; m.Header.Type {
		case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
			w.neighbour(m)
		case unix.NLMSG_ERROR:
			w.refused(m)
		}
	}
	if len(w.news) >= neighboursTogether { // it may never be quiet while strangers flood the link
		w.tell()
	}
}

// Bits of the state of a neighbour whose address is good, and of one that is known to be there.
const (
	nudValid     = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY
	nudConnected = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE
)

// neighbour takes in one.
func (w *NeighbourWatcher) neighbour(m *syscall.NetlinkMessage) {
	if len(m.Data) < unix.SizeofNdMsg || m.Data[0] != unix.AF_INET && m.Data[0] != unix.AF_INET6 {
		return // a bridge's
	}
	k, err := netlink.NeighDeserialize(m.Data)
	if err != nil || k.LinkIndex != w.index || k.Flags&unix.NTF_PROXY != 0 {
		return
	}
	addr, ok := netip.AddrFromSlice(k.IP)
	if !ok || addr.IsMulticast() {
		return
	}
	n := Neighbour{Addr: addr, Confirmed: k.State&nudConnected != 0}
	switch {
	case m.Header.Type == unix.RTM_NEWNEIGH && k.State&nudValid != 0 && len(k.HardwareAddr) == len(n.MAC):
		copy(n.MAC[:], k.HardwareAddr)
	case m.Header.Type == unix.RTM_DELNEIGH, k.State == unix.NUD_FAILED:
		n = Neighbour{Addr: addr, Lost: true}
	default:
		n.Addr = netip.Addr{} // it is being asked for
	}
	if n.Addr.IsValid() {
		w.news = append(w.news, n)
	}
	if m.Header.Seq != neighbourAsked {
		return
	}
	switch k.State {
	case unix.NUD_STALE, unix.NUD_DELAY: // it is asked now, and not in the five seconds after the kernel has sent something there
		w.send(neighbourTold, unix.NLM_F_REPLACE, unix.RTM_NEWNEIGH, addr, unix.NUD_PROBE, 0)
	case unix.NUD_NONE, unix.NUD_FAILED:
		w.resolve(addr)
	}
}

// refused takes in an error. An unknown neighbour is resolved.
func (w *NeighbourWatcher) refused(m *syscall.NetlinkMessage) {
	const request = 4 + unix.SizeofNlMsghdr // after the error: the message that it is about
	if m.Header.Seq != neighbourAsked || len(m.Data) < request+unix.SizeofNdMsg ||
		-int32(binary.NativeEndian.Uint32(m.Data)) != int32(unix.ENOENT) {
		return
	}
	k, err := netlink.NeighDeserialize(m.Data[request:])
	if err != nil {
		return
	}
	if addr, ok := netip.AddrFromSlice(k.IP); ok {
		w.resolve(addr)
	}
}

// resolve has the kernel ask for a neighbour as if it had something to send there. It is not for one that is permanent,
// which NTF_USE would make an ordinary one.
func (w *NeighbourWatcher) resolve(a netip.Addr) {
	w.send(neighbourTold, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, unix.RTM_NEWNEIGH, a, unix.NUD_NONE, unix.NTF_USE)
}

// send makes a request about a neighbour, or about all.
func (w *NeighbourWatcher) send(number, flags, typ int, a netip.Addr, state uint16, ntf uint8) bool {
	r := nl.NewNetlinkRequest(typ, flags)
	r.Seq = uint32(number)
	msg := netlink.Ndmsg{Index: uint32(w.index), State: state, Flags: ntf}
	if a.IsValid() {
		msg.Family = unix.AF_INET6
		if a.Is4() {
			msg.Family = unix.AF_INET
		}
	}
	r.AddData(&msg)
	if a.IsValid() {
		r.AddData(nl.NewRtAttr(netlink.NDA_DST, a.AsSlice()))
	}
	err := unix.Sendto(w.fd, r.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	return err == nil || !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN)
}
