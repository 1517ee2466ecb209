package host

import (
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// groups is who has joined which groups, over all sockets: a NIC is told of the first and of the
// last, and all cores hear of each.
type groups struct {
	mu     sync.Mutex // held for a whole change, so that all cores see all changes in one order; before a core's lock
	joined map[joined]int
}

type joined struct {
	port  int
	group netip.Addr
}

// SetGroups gives a socket other memberships than it had, ends being its end on each core. One
// membership is new, gone or different, or all are gone. It is ENOBUFS if an interface has too
// many, and then nothing has changed. The reports to routers have left when it returns.
func (h *Host) SetGroups(ends []*udp.Socket, old, next *group.Set) unix.Errno {
	g := &h.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	var fresh []joined
	for _, m := range next.Members() {
		if _, had := old.Filter(m.Port, m.Group); !had {
			fresh = append(fresh, joined{m.Port, m.Group})
		}
	}
	for i, j := range fresh {
		if errno := h.open(j); errno != 0 {
			h.shut(fresh[:i])
			return errno
		}
	}
	for i, c := range h.cores {
		c.Lock()
		ok := c.Stack.SetGroups(ends[i], next)
		c.Flush()
		c.Unlock()
		if !ok { // the first core says so, since all have the same
			h.shut(fresh)
			return unix.ENOBUFS
		}
	}
	var gone []joined
	for _, m := range old.Members() {
		if _, has := next.Filter(m.Port, m.Group); !has {
			gone = append(gone, joined{m.Port, m.Group})
		}
	}
	h.shut(gone)
	return 0
}

// open counts one more who has joined, and has the NIC pass the group's frames with the first.
// groups.mu is held.
func (h *Host) open(j joined) unix.Errno {
	g := &h.groups
	if nic := h.nicOf(j.port); nic != nil && g.joined[j] == 0 {
		if nic.JoinGroup(j.group) != nil {
			return unix.ENOBUFS // the kernel has no memory, or the NIC is gone
		}
	}
	if g.joined == nil {
		g.joined = make(map[joined]int)
	}
	g.joined[j]++
	return 0
}

// shut undoes open.
func (h *Host) shut(all []joined) {
	g := &h.groups
	for _, j := range all {
		if g.joined[j]--; g.joined[j] > 0 {
			continue
		}
		delete(g.joined, j)
		if nic := h.nicOf(j.port); nic != nil {
			nic.LeaveGroup(j.group) // fails when the NIC is gone, and its memberships with it
		}
	}
}

// nicOf is the NIC of a port, nil if it is none that was opened by name.
func (h *Host) nicOf(port int) *engine.NIC {
	if port < len(h.byPort) {
		return h.byPort[port]
	}
	return nil
}

// GroupPort returns the port on which to join a group where a program names neither an
// interface nor an address: the one that routes lead to it by (Linux: ip_mc_find_dev). With an
// address it is the one that has it.
func (h *Host) GroupPort(g, at netip.Addr) (port int, ok bool) {
	c := h.cores[0]
	c.Lock()
	defer c.Unlock()
	if !at.IsValid() || at.IsUnspecified() {
		return c.Stack.PortTo(g)
	}
	if at.IsLoopback() {
		return h.ports, true
	}
	for port := range h.ports {
		if slices.ContainsFunc(c.Stack.Addrs(port), func(a route.Addr) bool { return a.Prefix.Addr() == at }) {
			return port, true
		}
	}
	return -1, false
}

// IsGroup says whether a stands for several hosts: a group, everyone, or everyone of a link. A datagram
// socket can be bound to it, to receive what is sent there and nothing else.
func (h *Host) IsGroup(a netip.Addr) bool {
	if a.IsMulticast() {
		return true
	}
	c := h.cores[0]
	c.Lock()
	defer c.Unlock()
	return a.Is4() && c.Stack.Broadcast(a)
}
