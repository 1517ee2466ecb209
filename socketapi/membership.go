package socketapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: RFC 3678 (the calls); ip(7), ipv6(7); do_ip_setsockopt and ip_mcast_join_leave in
// net/ipv4/ip_sockglue.c, do_ipv6_setsockopt in net/ipv6/ipv6_sockglue.c.

// A joiner is a socket that can join groups.
type joiner interface {
	// setGroups changes what it has joined, on all cores. change may want a change and fail all
	// the same, as some of Linux's calls do.
	setGroups(change func(*group.Set) (*group.Set, unix.Errno)) unix.Errno
	// joined is what it has joined. Nobody writes to it.
	joined() *group.Set
}

// changeGroups is setGroups of a socket whose ends are ends and whose set groups holds, under its lock.
func changeGroups(h *host.Host, ends []*udp.Socket, groups **group.Set, change func(*group.Set) (*group.Set, unix.Errno)) unix.Errno {
	next, errno := change(*groups)
	if next == *groups {
		return errno
	}
	if errno := h.SetGroups(ends, *groups, next); errno != 0 {
		return errno
	}
	*groups = next
	return errno
}

func (s *datagram) setGroups(change func(*group.Set) (*group.Set, unix.Errno)) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	return changeGroups(s.host, s.ends, &s.groups, change)
}

func (s *datagram) joined() *group.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups
}

func (s *udpSocket) setGroups(change func(*group.Set) (*group.Set, unix.Errno)) unix.Errno {
	return s.d.setGroups(change)
}

func (s *udpSocket) joined() *group.Set { return s.d.joined() }

// setGroups of a stream has the host hear a group, which the stream itself never does. mu is held.
func (s *tcpSocket) setGroups(change func(*group.Set) (*group.Set, unix.Errno)) unix.Errno {
	if s.members == nil {
		for range s.host.Cores() {
			s.members = append(s.members, new(udp.Socket))
		}
	}
	return changeGroups(s.host, s.members, &s.groups, change)
}

func (s *tcpSocket) joined() *group.Set { return s.groups }

// A request is what the options that change memberships say, in whichever of their structures.
type request struct {
	group, source netip.Addr
	at            netip.Addr // of the interface: its address,
	index         int        // or its number; neither: as routed
	filter        group.Filter
}

// named says whether the request names an interface.
func (r *request) named() bool { return r.index != 0 || r.at.IsValid() && !r.at.IsUnspecified() }

// where is the port that a request is about. It is ENODEV if there is none.
func (s *settings) where(r *request) (port int, errno unix.Errno) {
	ok := false
	if r.index != 0 {
		port, ok = s.host.PortOf(r.index)
	} else {
		port, ok = s.host.GroupPort(r.group, r.at)
	}
	if !ok {
		return -1, unix.ENODEV
	}
	return port, 0
}

// Sizes of the structures. Those of RFC 3678 §5 hold sockaddr_storages, which are aligned as a word
// is, behind a number of 4 bytes.
const (
	storageLen = unix.SizeofSockaddrAny + 16 // struct sockaddr_storage: 128

	mreqLen   = unix.SizeofIPMreq
	mreqnLen  = unix.SizeofIPMreqn
	mreq6Len  = unix.SizeofIPv6Mreq
	sourceLen = 12 // struct ip_mreq_source: group, interface, source

	msfilterLen = 16 // struct ip_msfilter without sources: group, interface, mode, count

	groupReqLen    = wordLen + storageLen       // struct group_req
	groupSourceLen = wordLen + 2*storageLen     // struct group_source_req
	groupFilterLen = wordLen + storageLen + 2*4 // struct group_filter without sources
)

// readMreq reads a struct ip_mreqn, or one of its shorter forebears: an ip_mreq, and where that is allowed
// an address alone.
func readMreq(b string, addr bool) (r request, errno unix.Errno) {
	switch {
	case len(b) >= mreqnLen:
		r.group, r.at, r.index = addr4(b), addr4(b[4:]), int(int32(native32(b[8:])))
	case len(b) >= mreqLen:
		r.group, r.at = addr4(b), addr4(b[4:])
	case len(b) >= 4 && addr:
		r.at = addr4(b)
	default:
		return r, unix.EINVAL
	}
	return r, 0
}

// readSource reads a struct ip_mreq_source.
func readSource(b string) (r request, errno unix.Errno) {
	if len(b) != sourceLen {
		return r, unix.EINVAL
	}
	r.group, r.at, r.source = addr4(b), addr4(b[4:]), addr4(b[8:])
	return r, 0
}

// readMreq6 reads a struct ipv6_mreq.
func readMreq6(b string) (r request, errno unix.Errno) {
	if len(b) < mreq6Len {
		return r, unix.EINVAL
	}
	r.group, r.index = netip.AddrFrom16([16]byte([]byte(b[:16]))), int(int32(native32(b[16:])))
	return r, 0
}

// readGroup reads a struct group_req of a family.
func readGroup(b string, level int) (r request, errno unix.Errno) {
	if len(b) < groupReqLen {
		return r, unix.EINVAL
	}
	r.index = int(int32(native32(b)))
	if r.group = storage(b[wordLen:], level); !r.group.IsValid() {
		return r, unix.EINVAL
	}
	return r, 0
}

// readGroupSource reads a struct group_source_req of a family.
func readGroupSource(b string, level int) (r request, errno unix.Errno) {
	if len(b) < groupSourceLen {
		return r, unix.EINVAL
	}
	r.index = int(int32(native32(b)))
	r.group, r.source = storage(b[wordLen:], level), storage(b[wordLen+storageLen:], level)
	if !r.group.IsValid() || !r.source.IsValid() {
		return r, unix.EADDRNOTAVAIL
	}
	return r, 0
}

// readFilter reads a struct ip_msfilter.
func readFilter(b string) (r request, errno unix.Errno) {
	if len(b) < msfilterLen {
		return r, unix.EINVAL
	}
	r.group, r.at = addr4(b), addr4(b[4:])
	return r, r.readSources(b[8:], 4, func(b string) netip.Addr { return addr4(b) })
}

// readGroupFilter reads a struct group_filter of a family.
func readGroupFilter(b string, level int) (r request, errno unix.Errno) {
	if len(b) < groupFilterLen {
		return r, unix.EINVAL
	}
	r.index = int(int32(native32(b)))
	if r.group = storage(b[wordLen:], level); !r.group.IsValid() {
		return r, unix.EINVAL
	}
	return r, r.readSources(b[wordLen+storageLen:], storageLen, func(b string) netip.Addr { return storage(b, level) })
}

// readSources reads the mode, the count and as many sources of size bytes.
func (r *request) readSources(b string, size int, read func(string) netip.Addr) unix.Errno {
	mode, count := native32(b), native32(b[4:])
	b = b[8:]
	switch {
	case count > uint32(group.SourcesMax(r.group)):
		return unix.ENOBUFS
	case len(b) < int(count)*size:
		return unix.EINVAL
	}
	list := make([]netip.Addr, count)
	for i := range list {
		if list[i] = read(b[i*size:]); !list[i].IsValid() {
			return unix.EADDRNOTAVAIL
		}
	}
	switch mode {
	case unix.MCAST_INCLUDE:
		r.filter = group.NewFilter(group.Include, list)
	case unix.MCAST_EXCLUDE:
		r.filter = group.NewFilter(group.Exclude, list)
	default:
		return unix.EINVAL
	}
	return 0
}

func addr4(b string) netip.Addr { return netip.AddrFrom4([4]byte([]byte(b[:4]))) }

func native32(b string) uint32 { return binary.NativeEndian.Uint32([]byte(b[:4])) }

// storage reads the address in a struct sockaddr_storage, of the family that a level of options is of; it is
// not valid if it is of another.
func storage(b string, level int) netip.Addr {
	switch family := binary.NativeEndian.Uint16([]byte(b[:2])); {
	case level == unix.IPPROTO_IP && family == unix.AF_INET:
		return addr4(b[4:])
	case level == unix.IPPROTO_IPV6 && family == unix.AF_INET6:
		return netip.AddrFrom16([16]byte([]byte(b[8:24])))
	}
	return netip.Addr{}
}
