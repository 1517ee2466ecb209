package socketapi

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// mreq joins or leaves a group on this side's interface.
func (s *side) mreq(fd, opt int, group [4]byte) error {
	return s.api.SetsockoptIPMreq(fd, unix.IPPROTO_IP, opt, &unix.IPMreq{Multiaddr: group, Interface: s.ip})
}

// source is one of the options about one sender.
func (s *side) source(fd, opt int, group, src [4]byte) error {
	return s.api.SetsockoptString(fd, unix.IPPROTO_IP, opt, string(group[:])+string(s.ip[:])+string(src[:]))
}

// msfilter is IP_MSFILTER.
func (s *side) msfilter(fd int, group [4]byte, mode uint32, sources ...[4]byte) error {
	b := append(append([]byte{}, group[:]...), s.ip[:]...)
	b = binary.NativeEndian.AppendUint32(b, mode)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(sources)))
	for _, src := range sources {
		b = append(b, src[:]...)
	}
	return s.api.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_MSFILTER, string(b))
}

// storage4 is a struct sockaddr_storage.
func storage4(a [4]byte) string {
	b := make([]byte, storageLen)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	copy(b[4:], a[:])
	return string(b)
}

// padded is a number at the start of a structure with sockaddr_storages.
func padded(n int) string {
	b := make([]byte, wordLen)
	binary.NativeEndian.PutUint32(b, uint32(n))
	return string(b)
}

var (
	groupA = [4]byte{239, 1, 1, 1}
	groupB = [4]byte{239, 1, 1, 2}
	groupC = [4]byte{239, 1, 1, 3}
	src1   = [4]byte{10, 1, 1, 1}
	src2   = [4]byte{10, 1, 1, 2}
)

// hears notes what a socket receives of datagrams that the peer sends to groups, which come in
// order; the last of them must be heard.
func (e *env) hears(what string, fd int, from *side, sender int, port int, to ...[4]byte) {
	e.t.Helper()
	for i, group := range to {
		e.must(from.api.Sendto(sender, fmt.Appendf(nil, "%d", i), 0, &unix.SockaddrInet4{Addr: group, Port: port}))
	}
	got, b := "", make([]byte, 10)
	for last := fmt.Sprint(len(to) - 1); ; {
		n, _, err := e.me.api.Recvfrom(fd, b, 0)
		e.must(err)
		got += string(b[:n])
		if string(b[:n]) == last {
			break
		}
	}
	e.note(what, got)
}

// sender is a socket of this side that sends to groups by its interface.
func (s *side) sender() int {
	s.e.t.Helper()
	fd := s.udp()
	s.e.must(s.api.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, s.ip))
	return fd
}

// bound is a datagram socket at a port of all addresses.
func (s *side) bound(port int) int {
	s.e.t.Helper()
	fd := s.udp()
	s.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	s.e.must(s.api.Bind(fd, &unix.SockaddrInet4{Port: port}))
	return fd
}

var groupRows = []row{
	{"group: join and leave", func(e *env) {
		fd := e.me.udp()
		for _, opt := range []int{unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP} {
			e.note("once", e.me.mreq(fd, opt, groupA))
			e.note("twice", e.me.mreq(fd, opt, groupA))
			e.note("no group", e.me.mreq(fd, opt, e.me.ip))
			e.note("no interface", e.me.api.SetsockoptIPMreq(fd, unix.IPPROTO_IP, opt, &unix.IPMreq{Multiaddr: groupB, Interface: [4]byte{192, 0, 2, 99}}))
			e.note("no interface by number", e.me.api.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, opt, &unix.IPMreqn{Multiaddr: groupB, Ifindex: 9999}))
			e.note("by number", e.me.api.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, opt, &unix.IPMreqn{Multiaddr: groupB, Ifindex: int32(e.me.index)}))
			e.note("too short", e.me.api.SetsockoptString(fd, unix.IPPROTO_IP, opt, "1234567"))
			e.note("as a number", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IP, opt, 5))
			e.note("on a stream", e.me.mreq(e.me.tcp(), opt, groupA))
		}
	}},
	{"group: how many", func(e *env) {
		fd := e.me.udp()
		for i := range 22 {
			e.note(fmt.Sprint(i), e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, [4]byte{239, 2, 0, byte(i)}))
		}
		for i := range 12 {
			e.note("source", e.me.source(fd, unix.IP_BLOCK_SOURCE, [4]byte{239, 2, 0, 0}, [4]byte{10, 0, 0, byte(i)}))
		}
	}},
	{"group: senders", func(e *env) {
		fd := e.me.udp()
		add, drop, block, unblock := unix.IP_ADD_SOURCE_MEMBERSHIP, unix.IP_DROP_SOURCE_MEMBERSHIP, unix.IP_BLOCK_SOURCE, unix.IP_UNBLOCK_SOURCE
		for i, c := range []struct {
			opt   int
			group [4]byte
			src   [4]byte
		}{
			{block, groupA, src1}, {drop, groupA, src1}, {add, groupA, src1}, {add, groupA, src1}, {block, groupA, src2}, {add, groupA, src2},
			{drop, groupA, src1}, {drop, groupA, src1}, {drop, groupA, src2}, {drop, groupA, src2}, {add, e.me.ip, src1}, {block, e.me.ip, src1},
		} {
			e.note(fmt.Sprint(i), e.me.source(fd, c.opt, c.group, c.src))
		}
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupB))
		for i, c := range []struct {
			opt int
			src [4]byte
		}{
			{unblock, src1}, {block, src1}, {block, src1}, {add, src2}, {unblock, src1}, {unblock, src1}, {add, src2}, {drop, src2},
		} {
			e.note(fmt.Sprint("joined ", i), e.me.source(fd, c.opt, groupB, c.src))
		}
		e.note("left", e.me.mreq(fd, unix.IP_DROP_MEMBERSHIP, groupB))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.note("a sender of one that is heard whole", e.me.source(fd, add, groupC, src1))
		e.note("and another", e.me.source(fd, add, groupC, src2))
		e.note("too long", e.me.api.SetsockoptString(fd, unix.IPPROTO_IP, add, "1234567890123"))
		e.note("on a stream", e.me.source(e.me.tcp(), add, groupA, src1))
	}},
	{"group: filters", func(e *env) {
		fd := e.me.udp()
		e.note("not joined", e.me.msfilter(fd, groupA, unix.MCAST_EXCLUDE, src1))
		e.note("leave what was not joined", e.me.msfilter(fd, groupA, unix.MCAST_INCLUDE))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupA))
		e.note("include", e.me.msfilter(fd, groupA, unix.MCAST_INCLUDE, src1, src2))
		e.note("exclude", e.me.msfilter(fd, groupA, unix.MCAST_EXCLUDE, src1))
		e.note("exclude none", e.me.msfilter(fd, groupA, unix.MCAST_EXCLUDE))
		e.note("no mode", e.me.msfilter(fd, groupA, 7, src1))
		e.note("too many", e.me.msfilter(fd, groupA, unix.MCAST_EXCLUDE, make([][4]byte, 11)...))
		e.note("no group", e.me.msfilter(fd, e.me.ip, unix.MCAST_EXCLUDE, src1))
		e.note("too short", e.me.api.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_MSFILTER, "123456789012345"))
		e.note("include none", e.me.msfilter(fd, groupA, unix.MCAST_INCLUDE))
		e.note("which was to leave", e.me.mreq(fd, unix.IP_DROP_MEMBERSHIP, groupA))
	}},
	{"group: the calls of both families", func(e *env) {
		fd := e.me.udp()
		set := func(what string, opt int, s string) {
			e.note(what, e.me.api.SetsockoptString(fd, unix.IPPROTO_IP, opt, s))
		}
		here := padded(e.me.index)
		set("leave", unix.MCAST_LEAVE_GROUP, here+storage4(groupA))
		set("block", unix.MCAST_BLOCK_SOURCE, here+storage4(groupA)+storage4(src1))
		set("join", unix.MCAST_JOIN_GROUP, here+storage4(groupA))
		set("join twice", unix.MCAST_JOIN_GROUP, here+storage4(groupA))
		set("no interface", unix.MCAST_JOIN_GROUP, padded(9999)+storage4(groupB))
		set("short", unix.MCAST_JOIN_GROUP, here)
		set("another family", unix.MCAST_JOIN_GROUP, here+string(make([]byte, storageLen)))
		set("block", unix.MCAST_BLOCK_SOURCE, here+storage4(groupA)+storage4(src1))
		set("unblock", unix.MCAST_UNBLOCK_SOURCE, here+storage4(groupA)+storage4(src1))
		set("unblock", unix.MCAST_UNBLOCK_SOURCE, here+storage4(groupA)+storage4(src1))
		set("a source of another family", unix.MCAST_BLOCK_SOURCE, here+storage4(groupA)+string(make([]byte, storageLen)))
		set("join a source", unix.MCAST_JOIN_SOURCE_GROUP, here+storage4(groupB)+storage4(src1))
		set("leave the source", unix.MCAST_LEAVE_SOURCE_GROUP, here+storage4(groupB)+storage4(src1))
		set("leave", unix.MCAST_LEAVE_GROUP, here+storage4(groupB))
		count := make([]byte, 8)
		binary.NativeEndian.PutUint32(count, unix.MCAST_INCLUDE)
		binary.NativeEndian.PutUint32(count[4:], 1)
		set("filter", unix.MCAST_MSFILTER, here+storage4(groupA)+string(count)+storage4(src1))
		set("filter cut off", unix.MCAST_MSFILTER, here+storage4(groupA)+string(count))
		set("leave", unix.MCAST_LEAVE_GROUP, here+storage4(groupA))
		e.note("on a stream", e.me.api.SetsockoptString(e.me.tcp(), unix.IPPROTO_IP, unix.MCAST_JOIN_GROUP, here+storage4(groupA)))
	}},
	{"group: the interface to send by", func(e *env) {
		fd, opt := e.me.udp(), unix.IP_MULTICAST_IF
		get := func(what string) {
			a, err := e.me.api.GetsockoptInet4Addr(fd, unix.IPPROTO_IP, opt)
			e.note(what, a, err)
		}
		get("at first")
		e.note("an address", e.me.api.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, opt, e.me.ip))
		get("is")
		e.note("none of ours", e.me.api.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, opt, [4]byte{192, 0, 2, 99}))
		get("is")
		e.note("by number", e.me.api.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, opt, &unix.IPMreqn{Ifindex: int32(e.me.index)}))
		get("is")
		e.note("no such number", e.me.api.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, opt, &unix.IPMreqn{Ifindex: 9999}))
		e.note("a pair", e.me.api.SetsockoptIPMreq(fd, unix.IPPROTO_IP, opt, &unix.IPMreq{Multiaddr: e.me.ip}))
		e.note("none", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IP, opt, 0))
		get("is")
		e.note("short", e.me.api.SetsockoptString(fd, unix.IPPROTO_IP, opt, "123"))
		e.note("on a stream", e.me.api.SetsockoptInet4Addr(e.me.tcp(), unix.IPPROTO_IP, opt, e.me.ip))
	}},
	{"group: options of one byte", func(e *env) {
		fd := e.me.udp()
		for _, opt := range []int{unix.IP_MULTICAST_TTL, unix.IP_MULTICAST_LOOP, unix.IP_MULTICAST_ALL} {
			for _, n := range []byte{0, 1, 2, 255} {
				err := e.me.api.SetsockoptByte(fd, unix.IPPROTO_IP, opt, n)
				is, _ := e.me.api.GetsockoptInt(fd, unix.IPPROTO_IP, opt)
				e.note(fmt.Sprint(opt, n), err, is)
			}
		}
	}},
	{"group: who hears", func(e *env) {
		port := e.freePort()
		fd, sender := e.me.bound(port), e.peer.sender()
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.hears("not joined, joined", fd, &e.peer, sender, port, groupA, groupC)
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupA))
		e.hears("both", fd, &e.peer, sender, port, groupA, groupC)
		e.must(e.me.source(fd, unix.IP_BLOCK_SOURCE, groupA, e.peer.ip))
		e.hears("blocked", fd, &e.peer, sender, port, groupA, groupC)
		e.must(e.me.source(fd, unix.IP_UNBLOCK_SOURCE, groupA, e.peer.ip))
		e.hears("unblocked", fd, &e.peer, sender, port, groupA, groupC)
		e.must(e.me.mreq(fd, unix.IP_DROP_MEMBERSHIP, groupA))
		e.hears("left", fd, &e.peer, sender, port, groupA, groupC)
		e.must(e.me.source(fd, unix.IP_ADD_SOURCE_MEMBERSHIP, groupB, src1))
		e.hears("another sender", fd, &e.peer, sender, port, groupB, groupC)
		e.must(e.me.source(fd, unix.IP_ADD_SOURCE_MEMBERSHIP, groupB, e.peer.ip))
		e.hears("this one", fd, &e.peer, sender, port, groupB, groupC)
	}},
	{"group: what others of the host have joined", func(e *env) {
		port := e.freePort()
		fd, other, sender := e.me.bound(port), e.me.udp(), e.peer.sender()
		e.must(e.me.mreq(other, unix.IP_ADD_MEMBERSHIP, groupA))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.hears("all", fd, &e.peer, sender, port, groupA, groupC)
		e.me.set(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
		e.hears("its own", fd, &e.peer, sender, port, groupA, groupC)
	}},
	{"group: bound to one", func(e *env) {
		port := e.freePort()
		fd, sender := e.me.udp(), e.peer.sender()
		e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: groupC, Port: port}))
		e.note("name", e.me.name(fd).Addr)
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupA))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.hears("of both", fd, &e.peer, sender, port, groupA, groupC)
		b := e.me.udp()
		e.note("bind to everyone", e.me.api.Bind(b, &unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}, Port: port}))
		b = e.me.udp()
		broadcast := e.me.ip
		broadcast[3] = 255
		e.note("bind to the link", e.me.api.Bind(b, &unix.SockaddrInet4{Addr: broadcast, Port: port}))
	}},
	{"group: bound to one and connected", func(e *env) {
		port := e.freePort()
		fd, sender, other := e.me.udp(), e.peer.sender(), e.peer.sender()
		at := e.peer.at(e.freePort())
		e.must(e.peer.api.Bind(sender, at))
		e.must(e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: groupC, Port: port}))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.note("connect", e.me.api.Connect(fd, at))
		e.me.noteNames("connected", fd)
		e.must(e.peer.api.Sendto(sender, []byte("to the host"), 0, e.me.at(port)))
		e.must(e.peer.api.Sendto(other, []byte("of another"), 0, &unix.SockaddrInet4{Addr: groupC, Port: port}))
		e.hears("what the peer sends to the group", fd, &e.peer, sender, port, groupC)
		_, err := e.me.api.Write(fd, []byte("x"))
		e.must(err)
		_, from, err := e.peer.api.Recvfrom(sender, make([]byte, 9), 0)
		e.note("it sends from", from, err)
		e.note("disconnect", e.me.api.Connect(fd, nil))
		e.me.noteNames("then", fd)
		six := e.me.inet6(unix.SOCK_DGRAM)
		e.must(e.me.api.Bind(six, in6("::ffff:239.1.1.2", port)))
		e.note("of a socket for IPv6", e.me.api.Connect(six, in6("::ffff:"+kernelAddr, port)), e.me.api.Connect(six, in6(kernelAddr6, port)))
	}},
	{"group: bound to one by a socket of IPv6, and sent from there", func(e *env) {
		theirs, to := e.peer.datagram()
		e.must(e.peer.api.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}))
		for _, group := range [][4]byte{groupA, {255, 255, 255, 255}} {
			at := in6("::ffff:"+netip.AddrFrom4(group).String(), e.freePort())
			for _, connects := range []bool{false, true} {
				fd := e.me.inet6(unix.SOCK_DGRAM)
				e.me.set(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
				e.note("bind", e.me.api.Bind(fd, at))
				peer := in6("::ffff:"+netip.AddrFrom4(e.peer.ip).String(), to.Port)
				if connects {
					e.note("connect", e.me.api.Connect(fd, peer))
					e.me.noteNames("connected", fd)
					e.sends("send", &e.me, fd, "abc", 0)
				} else {
					e.note("sendto", e.me.api.Sendto(fd, []byte("abc"), 0, peer))
				}
				e.me.noteNames("sent", fd)
				e.receives("the peer receives", &e.peer, theirs, 9, 0, &unix.SockaddrInet4{Addr: e.me.ip, Port: at.Port})
				e.note("to one of IPv6", e.me.api.Sendto(fd, []byte("abc"), 0, in6(netip.AddrFrom16(e.peer.ip6).String(), to.Port)))
				e.me.close(fd)
			}
		}
	}},
	{"group: what is sent comes back", func(e *env) {
		port := e.freePort()
		fd, sender := e.me.bound(port), e.me.sender()
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupA))
		e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupC))
		e.hears("both", fd, &e.me, sender, port, groupA, groupC)
		e.me.set(sender, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
		e.must(e.me.api.Sendto(sender, []byte("quiet"), 0, &unix.SockaddrInet4{Addr: groupA, Port: port}))
		e.me.set(sender, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1)
		e.hears("but what was sent quietly", fd, &e.me, sender, port, groupC)
	}},
	{"group: the kernel hears", func(e *env) {
		port := e.freePort()
		theirs, sender := e.peer.bound(port), e.me.sender()
		e.must(e.peer.mreq(theirs, unix.IP_ADD_MEMBERSHIP, groupA))
		for i := range 3 {
			e.must(e.me.api.Sendto(sender, fmt.Appendf(nil, "%d", i), 0, &unix.SockaddrInet4{Addr: groupA, Port: port}))
			e.reads("it reads", &e.peer, theirs, 10, 0)
		}
	}},
	{"group of IPv6: join and leave", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		group := in6("ff05::1:1", 0).Addr
		for _, opt := range []int{unix.IPV6_JOIN_GROUP, unix.IPV6_LEAVE_GROUP} {
			join := func(what string, fd int, group [16]byte, index int) {
				e.note(what, e.me.api.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, opt, &unix.IPv6Mreq{Multiaddr: group, Interface: uint32(index)}))
			}
			join("once", fd, group, e.me.index)
			join("twice", fd, group, e.me.index)
			join("no group", fd, e.me.ip6, e.me.index)
			join("no interface", fd, in6("ff05::1:2", 0).Addr, 9999)
			join("on a stream", e.me.inet6(unix.SOCK_STREAM), group, e.me.index)
			join("on a socket of IPv4", e.me.udp(), group, e.me.index)
			e.note("too short", e.me.api.SetsockoptString(fd, unix.IPPROTO_IPV6, opt, "1234567890123456789"))
		}
	}},
	{"group of IPv6: options of what is sent", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		for _, opt := range []int{unix.IPV6_MULTICAST_HOPS, unix.IPV6_MULTICAST_LOOP, unix.IPV6_MULTICAST_ALL} {
			for _, n := range []int{-2, -1, 0, 1, 2, 255, 256} {
				err := e.me.api.SetsockoptInt(fd, unix.IPPROTO_IPV6, opt, n)
				is, _ := e.me.api.GetsockoptInt(fd, unix.IPPROTO_IPV6, opt)
				e.note(fmt.Sprint(opt, " ", n), err, is)
			}
		}
		e.note("no interface", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, 9999))
		e.note("ours", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, e.me.index))
		is, err := e.me.api.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
		e.note("is ours", is == e.me.index, err)
		e.note("none", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, 0))
	}},
	{"group of IPv6: both ways", func(e *env) {
		port := e.freePort()
		for _, dir := range []struct {
			name     string
			from, to *side
		}{{"the kernel sends", &e.peer, &e.me}, {"the kernel hears", &e.me, &e.peer}, {"to ourselves", &e.me, &e.me}} {
			for _, group := range []string{"ff05::1:1", "ff02::1:1"} {
				fd, sender := dir.to.inet6(unix.SOCK_DGRAM), dir.from.inet6(unix.SOCK_DGRAM)
				dir.to.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				e.must(dir.to.api.Bind(fd, in6("::", port)))
				e.must(dir.to.api.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
					&unix.IPv6Mreq{Multiaddr: in6(group, 0).Addr, Interface: uint32(dir.to.index)}))
				e.must(dir.from.api.SetsockoptInt(sender, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, dir.from.index))
				e.must(dir.from.api.Sendto(sender, []byte("hello"), 0, in6(group, port)))
				e.reads(dir.name+" "+group, dir.to, fd, 10, 0)
				dir.to.close(fd)
			}
		}
	}},
	{"broadcast: to everyone and to the link", func(e *env) {
		port := e.freePort()
		mine, theirs := e.me.bound(port), e.peer.bound(port)
		link := e.me.ip
		link[3] = 255
		for _, to := range [][4]byte{link} {
			e.note("without SO_BROADCAST", e.me.api.Sendto(mine, []byte("x"), 0, &unix.SockaddrInet4{Addr: to, Port: port}))
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			e.note("with it", e.me.api.Sendto(mine, []byte("ours"), 0, &unix.SockaddrInet4{Addr: to, Port: port}))
			e.reads("the peer", &e.peer, theirs, 10, 0)
			e.reads("ourselves", &e.me, mine, 10, 0)
			e.peer.set(theirs, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			e.must(e.peer.api.Sendto(theirs, []byte("theirs"), 0, &unix.SockaddrInet4{Addr: to, Port: port}))
			e.reads("from the peer", &e.me, mine, 10, 0)
		}
	}},
}
