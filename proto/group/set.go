package group

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Read first: RFC 3678 (the calls); Linux net/ipv4/igmp.c, ip_mc_source and
// ip_mc_msfilter, for their errnos.

// A Membership is one group that a socket has joined on one port.
type Membership struct {
	Port  int // of the stack
	Group netip.Addr
	Filter

	// listed says that there has been a list of sources: from then on the mode cannot change by
	// adding one.
	listed bool
}

// A Set is the memberships of one socket, in the order of joining. It does not change
// once it is made: what changes it returns another, since several cores may be reading
// this one. A nil Set is empty.
type Set struct{ all []Membership }

// Members returns the memberships. Nobody writes to them.
func (s *Set) Members() []Membership {
	if s == nil {
		return nil
	}
	return s.all
}

// find returns the index of a membership, -1 if the socket has not joined.
func (s *Set) find(port int, group netip.Addr) int {
	for i := range s.Members() {
		if m := &s.all[i]; m.Group == group && m.Port == port {
			return i
		}
	}
	return -1
}

// Filter returns what the socket hears of a group on a port; ok is false if it has not
// joined there.
func (s *Set) Filter(port int, group netip.Addr) (f Filter, ok bool) {
	i := s.find(port, group)
	if i < 0 {
		return f, false
	}
	return s.all[i].Filter, true
}

// Allows says whether the socket hears src. all is whether it hears groups that it has
// not joined but others of the host have (IP_MULTICAST_ALL).
func (s *Set) Allows(port int, group, src netip.Addr, all bool) bool {
	i := s.find(port, group)
	if i < 0 {
		return all
	}
	return s.all[i].Allows(src)
}

// with returns a copy in which membership i is m; i may be one past the end.
func (s *Set) with(i int, m Membership) *Set {
	all := slices.Clone(s.Members())
	if i == len(all) {
		all = append(all, m)
	} else {
		all[i] = m
	}
	return &Set{all}
}

// Join adds a group, from everyone: IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP. It is EINVAL if group is
// none, EADDRINUSE if the socket has joined, ENOBUFS if it has joined too many.
func (s *Set) Join(port int, group netip.Addr) (*Set, unix.Errno) {
	return s.join(port, group, Exclude)
}

func (s *Set) join(port int, group netip.Addr, mode Mode) (*Set, unix.Errno) {
	if !group.IsMulticast() {
		return s, unix.EINVAL
	}
	if s.find(port, group) >= 0 {
		return s, unix.EADDRINUSE
	}
	count, limit := 0, membershipsMax6
	if group.Is4() {
		limit = membershipsMax4
	}
	for _, m := range s.Members() {
		if m.Group.Is4() == group.Is4() {
			count++
		}
	}
	if count >= limit {
		return s, unix.ENOBUFS
	}
	return s.with(len(s.Members()), Membership{Port: port, Group: group, Filter: Filter{Mode: mode}}), 0
}

// Leave takes a group out: IP_DROP_MEMBERSHIP, MCAST_LEAVE_GROUP. It is EADDRNOTAVAIL if
// the socket has not joined.
func (s *Set) Leave(port int, group netip.Addr) (*Set, unix.Errno) {
	i := s.find(port, group)
	switch {
	case group.Is6() && !group.IsMulticast(): // over IPv4 Linux does not look
		return s, unix.EINVAL
	case i < 0:
		return s, unix.EADDRNOTAVAIL
	}
	return &Set{slices.Delete(slices.Clone(s.all), i, i+1)}, 0
}

// JoinSource adds one sender of a group, and the group if need be: IP_ADD_SOURCE_MEMBERSHIP,
// MCAST_JOIN_SOURCE_GROUP. It is EINVAL if the socket blocks senders of the group, EADDRNOTAVAIL if
// it hears that one already, ENOBUFS if it hears too many. As on Linux a group that was joined
// stays joined when its sender is refused, and from one whose every sender was heard only that
// one is, from then on.
func (s *Set) JoinSource(port int, group, src netip.Addr) (*Set, unix.Errno) {
	joined, errno := s.join(port, group, Include)
	if errno != 0 && errno != unix.EADDRINUSE {
		return s, errno
	}
	return joined.source(port, group, src, Include, true)
}

// LeaveSource undoes one JoinSource, and leaves the group with its last sender:
// IP_DROP_SOURCE_MEMBERSHIP, MCAST_LEAVE_SOURCE_GROUP.
func (s *Set) LeaveSource(port int, group, src netip.Addr) (*Set, unix.Errno) {
	return s.source(port, group, src, Include, false)
}

// Block stops hearing one sender of a group that was joined from everyone: IP_BLOCK_SOURCE,
// MCAST_BLOCK_SOURCE.
func (s *Set) Block(port int, group, src netip.Addr) (*Set, unix.Errno) {
	return s.source(port, group, src, Exclude, true)
}

// Unblock undoes one Block: IP_UNBLOCK_SOURCE, MCAST_UNBLOCK_SOURCE.
func (s *Set) Unblock(port int, group, src netip.Addr) (*Set, unix.Errno) {
	return s.source(port, group, src, Exclude, false)
}

// source adds a sender to the list of a membership, or takes it out.
func (s *Set) source(port int, group, src netip.Addr, mode Mode, add bool) (*Set, unix.Errno) {
	if !group.IsMulticast() {
		return s, unix.EINVAL
	}
	i := s.find(port, group)
	if i < 0 {
		return s, unix.EINVAL // a join must come first
	}
	m := s.all[i]
	if m.Mode != mode {
		if m.listed {
			return s, unix.EINVAL
		}
		m.Mode = mode // an empty list can be of either kind, whatever becomes of this call
		s = s.with(i, m)
	}
	at, listed := slices.BinarySearchFunc(m.Sources, src, netip.Addr.Compare)
	if listed == add {
		return s, unix.EADDRNOTAVAIL
	}
	if !add {
		if len(m.Sources) == 1 && mode == Include { // include none: not a member (RFC 3678 §4.1.3)
			return s.Leave(port, group)
		}
		m.Sources = slices.Delete(slices.Clone(m.Sources), at, at+1)
		return s.with(i, m), 0
	}
	if len(m.Sources) >= SourcesMax(group) {
		return s, unix.ENOBUFS
	}
	m.Sources = slices.Insert(slices.Clone(m.Sources), at, src)
	m.listed = true
	return s.with(i, m), 0
}

// SourcesMax is how many sources one filter of a group can list.
func SourcesMax(group netip.Addr) int {
	if group.Is4() {
		return sourcesMax4
	}
	return sourcesMax6
}

// SetFilter replaces the filter of a membership: IP_MSFILTER, MCAST_MSFILTER. To include
// none is to leave. It is EINVAL if the socket has not joined, ENOBUFS if there are too many sources.
func (s *Set) SetFilter(port int, group netip.Addr, f Filter) (*Set, unix.Errno) {
	switch i := s.find(port, group); {
	case len(f.Sources) > SourcesMax(group):
		return s, unix.ENOBUFS
	case !group.IsMulticast(), f.Mode > Exclude:
		return s, unix.EINVAL
	case f.Mode == Include && len(f.Sources) == 0:
		return s.Leave(port, group)
	case i < 0:
		return s, unix.EINVAL
	default:
		return s.with(i, Membership{Port: port, Group: group, Filter: f, listed: len(f.Sources) > 0}), 0
	}
}
