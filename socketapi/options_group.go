package socketapi

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: ip(7), ipv6(7); do_ip_setsockopt in net/ipv4/ip_sockglue.c, do_ipv6_setsockopt in
// net/ipv6/ipv6_sockglue.c.

// groupOptions are those that are about groups.
var groupOptions = slices.Concat(familyGroupOptions, protocolIndependent(unix.IPPROTO_IP), protocolIndependent(unix.IPPROTO_IPV6))

var familyGroupOptions = []option{
	membership("IP_ADD_MEMBERSHIP", unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, readJoin, (*group.Set).Join),
	membership("IP_DROP_MEMBERSHIP", unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, readJoin, (*group.Set).Leave),
	sourceOf("IP_ADD_SOURCE_MEMBERSHIP", unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP, readSource, (*group.Set).JoinSource),
	sourceOf("IP_DROP_SOURCE_MEMBERSHIP", unix.IPPROTO_IP, unix.IP_DROP_SOURCE_MEMBERSHIP, readSource, (*group.Set).LeaveSource),
	sourceOf("IP_BLOCK_SOURCE", unix.IPPROTO_IP, unix.IP_BLOCK_SOURCE, readSource, (*group.Set).Block),
	sourceOf("IP_UNBLOCK_SOURCE", unix.IPPROTO_IP, unix.IP_UNBLOCK_SOURCE, readSource, (*group.Set).Unblock),
	changes("IP_MSFILTER", unix.IPPROTO_IP, unix.IP_MSFILTER, readFilter, setSourceFilter).with(getFilter4),
	multicastIf, multicastTTL,
	multicastFlag("IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, func(m *udp.Multicast) *bool { return &m.Quiet }),
	multicastFlag("IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, func(m *udp.Multicast) *bool { return &m.Joined }).strict(),

	membership("IPV6_JOIN_GROUP", unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, readMreq6, (*group.Set).Join),
	membership("IPV6_LEAVE_GROUP", unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, readMreq6, (*group.Set).Leave),
	multicastIf6, multicastHops,
	multicastFlag("IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, func(m *udp.Multicast) *bool { return &m.Quiet }).strict(),
	multicastFlag("IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, func(m *udp.Multicast) *bool { return &m.Joined }),
}

// protocolIndependent are those of RFC 3678 §5, the same for both families.
func protocolIndependent(level int) []option {
	one := func(b string) (request, unix.Errno) { return readGroup(b, level) }
	two := func(b string) (request, unix.Errno) { return readGroupSource(b, level) }
	all := func(b string) (request, unix.Errno) { return readGroupFilter(b, level) }
	return []option{
		membership("MCAST_JOIN_GROUP", level, unix.MCAST_JOIN_GROUP, one, (*group.Set).Join),
		membership("MCAST_LEAVE_GROUP", level, unix.MCAST_LEAVE_GROUP, one, (*group.Set).Leave),
		sourceOf("MCAST_JOIN_SOURCE_GROUP", level, unix.MCAST_JOIN_SOURCE_GROUP, two, (*group.Set).JoinSource),
		sourceOf("MCAST_LEAVE_SOURCE_GROUP", level, unix.MCAST_LEAVE_SOURCE_GROUP, two, (*group.Set).LeaveSource),
		sourceOf("MCAST_BLOCK_SOURCE", level, unix.MCAST_BLOCK_SOURCE, two, (*group.Set).Block),
		sourceOf("MCAST_UNBLOCK_SOURCE", level, unix.MCAST_UNBLOCK_SOURCE, two, (*group.Set).Unblock),
		changes("MCAST_MSFILTER", level, unix.MCAST_MSFILTER, all, setSourceFilter).
			with(func(s socket, v *value) unix.Errno { return getGroupFilter(s, v, level) }),
	}
}

// notOfStreams are the options that a stream (IS_ICSK) has not.
var notOfStreams = []int{unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP, unix.IPV6_JOIN_GROUP, unix.IPV6_LEAVE_GROUP}

func readJoin(b string) (request, unix.Errno) { return readMreq(b, false) }

// changes is an option that changes memberships by what read makes of its value. Of a stream it is EPROTO,
// by those of the options alone that Linux asks what they are set on.
func changes(label string, level, name int, read func(string) (request, unix.Errno),
	change func(s *group.Set, port int, r *request) (*group.Set, unix.Errno)) option {
	return option{level: level, name: name, label: label, kind: kindBytes,
		set: func(s socket, v *value) unix.Errno {
			of, ok := s.(joiner)
			r, errno := read(v.text)
			switch {
			case !ok:
				return unix.ENOPROTOOPT
			case errno != 0 && level == unix.IPPROTO_IPV6: // which looks at the length first
				return errno
			case s.common().kind == unix.SOCK_STREAM && slices.Contains(notOfStreams, name):
				return unix.EPROTO
			}
			if errno != 0 {
				return errno
			}
			port, errno := s.common().where(&r)
			switch {
			case errno == 0, !r.group.IsMulticast(): // which is EINVAL, before all else
			case r.named() && (name == unix.IP_DROP_MEMBERSHIP || name == unix.IPV6_LEAVE_GROUP || name == unix.MCAST_LEAVE_GROUP):
				return unix.EADDRNOTAVAIL // it has not joined there
			default:
				return errno
			}
			return of.setGroups(func(set *group.Set) (*group.Set, unix.Errno) { return change(set, port, &r) })
		},
	}
}

// membership is an option that joins or leaves a group.
func membership(label string, level, name int, read func(string) (request, unix.Errno),
	change func(*group.Set, int, netip.Addr) (*group.Set, unix.Errno)) option {
	return changes(label, level, name, read, func(s *group.Set, port int, r *request) (*group.Set, unix.Errno) {
		return change(s, port, r.group)
	})
}

// sourceOf is one that is about a sender of a group.
func sourceOf(label string, level, name int, read func(string) (request, unix.Errno),
	change func(s *group.Set, port int, group, src netip.Addr) (*group.Set, unix.Errno)) option {
	return changes(label, level, name, read, func(s *group.Set, port int, r *request) (*group.Set, unix.Errno) {
		return change(s, port, r.group, r.source)
	})
}

func setSourceFilter(s *group.Set, port int, r *request) (*group.Set, unix.Errno) {
	return s.SetFilter(port, r.group, r.filter)
}

// with is an option that can be got besides, by get: the value says what is asked for and how much room
// there is, and becomes the answer.
func (o option) with(get func(s socket, v *value) unix.Errno) option {
	o.get = get
	return o
}

// getFilter4 is IP_MSFILTER: a struct ip_msfilter whose count says how many senders there is room for, and
// behind it how many there are (ip_mc_msfget in net/ipv4/igmp.c).
func getFilter4(s socket, v *value) unix.Errno {
	if len(v.text) < msfilterLen {
		return unix.EINVAL
	}
	r := request{group: addr4(v.text), at: addr4(v.text[4:])}
	if !r.group.IsMulticast() {
		return unix.EINVAL
	}
	port, errno := s.common().where(&r)
	if errno != 0 {
		return errno
	}
	f, errno := filterOf(s, port, r.group)
	if errno != 0 {
		return errno
	}
	v.text = v.text[:8] + filterText(f, native32(v.text[12:]), func(a netip.Addr) string { return string(a.AsSlice()) })
	return 0
}

// getGroupFilter is MCAST_MSFILTER: likewise with a struct group_filter (ip_mc_gsfget, and ip6_mc_msfget in
// net/ipv6/mcast.c).
func getGroupFilter(s socket, v *value, level int) unix.Errno {
	if len(v.text) < groupFilterLen {
		return unix.EINVAL
	}
	g := storage(v.text[wordLen:], level)
	switch {
	case !g.IsValid() && level == unix.IPPROTO_IPV6:
		return unix.EADDRNOTAVAIL
	case !g.IsValid() || !g.IsMulticast():
		return unix.EINVAL
	}
	port, ok := s.common().host.PortOf(int(int32(native32(v.text))))
	if !ok {
		return unix.EADDRNOTAVAIL
	}
	f, errno := filterOf(s, port, g)
	if errno != 0 {
		return errno
	}
	const at = wordLen + storageLen
	v.text = v.text[:at] + filterText(f, native32(v.text[at+4:]), func(a netip.Addr) string {
		var b [storageLen]byte
		if a.Is4() {
			putSockaddr4(b[:], netip.AddrPortFrom(a, 0))
		} else {
			putSockaddr6(b[:], netip.AddrPortFrom(a, 0))
		}
		return string(b[:])
	})
	return 0
}

// filterOf is what a socket hears of a group. It is EADDRNOTAVAIL if it has not joined.
func filterOf(s socket, port int, g netip.Addr) (group.Filter, unix.Errno) {
	of, ok := s.(joiner)
	if !ok {
		return group.Filter{}, unix.ENOPROTOOPT
	}
	f, ok := of.joined().Filter(port, g)
	if !ok {
		return f, unix.EADDRNOTAVAIL
	}
	return f, 0
}

// filterText is the mode, the number of senders, and as many of them as there is room for.
func filterText(f group.Filter, room uint32, write func(netip.Addr) string) string {
	mode := uint32(unix.MCAST_INCLUDE)
	if f.Mode == group.Exclude {
		mode = unix.MCAST_EXCLUDE
	}
	b := binary.NativeEndian.AppendUint32(nil, mode)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(f.Sources)))
	for _, a := range f.Sources[:min(len(f.Sources), int(room))] {
		b = append(b, write(a)...)
	}
	return string(b)
}

// multicast is what a socket says of groups, of the family of a level of options.
func (s *settings) multicast(level int) *udp.Multicast {
	if level == unix.IPPROTO_IP {
		return &s.multicast4
	}
	return &s.multicast6
}

// multicastFlag is an option that is on at first, kept as its opposite.
func multicastFlag(label string, level, name int, off func(*udp.Multicast) *bool) option {
	return option{level: level, name: name, label: label, kind: kindFlag,
		get: func(s socket, v *value) unix.Errno { v.n = number(!*off(s.common().multicast(level))); return 0 },
		set: func(s socket, v *value) unix.Errno { *off(s.common().multicast(level)) = v.n == 0; return 0 },
	}
}

// strict is an option that is 0 or 1 and nothing else.
func (o option) strict() option {
	set := o.set
	o.set = func(s socket, v *value) unix.Errno {
		if v.n != 0 && v.n != 1 {
			return unix.EINVAL
		}
		return set(s, v)
	}
	return o
}

// multicastDefault is the TTL and hop limit of datagrams to groups that nobody has set (RFC 1112 §6.1).
const multicastDefault = 1

func getMulticastTTL(level int) func(s socket, v *value) unix.Errno {
	return func(s socket, v *value) unix.Errno {
		v.n = multicastDefault
		if m := s.common().multicast(level); m.HasTTL {
			v.n = int(m.TTL)
		}
		return 0
	}
}

// setMulticastTTL sets it; none is the errno on a stream, which sends to no group.
func setMulticastTTL(level int, none unix.Errno) func(s socket, v *value) unix.Errno {
	return func(s socket, v *value) unix.Errno {
		m := s.common().multicast(level)
		switch {
		case s.common().kind == unix.SOCK_STREAM:
			return none
		case v.n < -1 || v.n > 255:
			return unix.EINVAL
		}
		m.TTL, m.HasTTL = uint8(max(v.n, 0)), v.n >= 0
		return 0
	}
}

var multicastTTL = option{level: unix.IPPROTO_IP, name: unix.IP_MULTICAST_TTL, label: "IP_MULTICAST_TTL",
	get: getMulticastTTL(unix.IPPROTO_IP), set: setMulticastTTL(unix.IPPROTO_IP, unix.EINVAL)}

var multicastHops = option{level: unix.IPPROTO_IPV6, name: unix.IPV6_MULTICAST_HOPS, label: "IPV6_MULTICAST_HOPS",
	get: getMulticastTTL(unix.IPPROTO_IPV6), set: setMulticastTTL(unix.IPPROTO_IPV6, unix.ENOPROTOOPT)}

// multicastIf is the interface, and the source, of datagrams to groups: by an address or a number; neither
// takes it back. What is read back is the address.
var multicastIf = option{level: unix.IPPROTO_IP, name: unix.IP_MULTICAST_IF, label: "IP_MULTICAST_IF", kind: kindBytes,
	get: func(s socket, v *value) unix.Errno {
		a := s.common().multicast4.Source
		if !a.IsValid() {
			a = netip.IPv4Unspecified()
		}
		v.text = string(a.AsSlice())
		return 0
	},
	set: func(s socket, v *value) unix.Errno {
		c := s.common()
		if c.kind == unix.SOCK_STREAM {
			return unix.EINVAL
		}
		r, errno := readMreq(v.text, true)
		if errno != 0 {
			return errno
		}
		m := &c.multicast4
		if r.index == 0 && r.at.IsUnspecified() {
			m.Port, m.Source = 0, netip.Addr{}
			return 0
		}
		port, errno := c.where(&r)
		if errno != 0 {
			return unix.EADDRNOTAVAIL
		}
		if m.Port, m.Source = uint32(port+1), r.at; r.at.IsUnspecified() {
			m.Source = netip.Addr{}
		}
		return 0
	},
}

// multicastIf6 is the same by the number alone.
var multicastIf6 = option{level: unix.IPPROTO_IPV6, name: unix.IPV6_MULTICAST_IF, label: "IPV6_MULTICAST_IF",
	get: func(s socket, v *value) unix.Errno {
		if m := s.common().multicast6; m.Port != 0 {
			v.n = s.common().host.Index(int(m.Port - 1))
		}
		return 0
	},
	set: func(s socket, v *value) unix.Errno {
		c := s.common()
		if c.kind == unix.SOCK_STREAM {
			return unix.ENOPROTOOPT
		}
		if v.n == 0 {
			c.multicast6.Port = 0
			return 0
		}
		port, ok := c.host.PortOf(v.n)
		if !ok {
			return unix.ENODEV
		}
		c.multicast6.Port = uint32(port + 1)
		return 0
	},
}
