package socketapi

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// bytesOf notes what getsockopt(2) writes into room bytes that begin as in does.
func (e *env) bytesOf(what string, s *side, fd, level, opt, room int, in string) {
	e.t.Helper()
	p := make([]byte, room)
	copy(p, in)
	n, err := s.api.Getsockopt(fd, level, opt, p)
	if err != nil {
		e.note(what, err)
		return
	}
	if len(in) >= 4 && binary.NativeEndian.Uint32([]byte(in)) == uint32(s.index) {
		copy(p, "mine")
	}
	e.note(what, n, fmt.Sprintf("%x", p))
}

var getsockoptRows = concatRows(
	[]row{
		{"getsockopt: as many bytes as there is room for", func(e *env) {
			fd := e.me.udp()
			for room := range 9 {
				for _, o := range [][2]int{
					{unix.SOL_SOCKET, unix.SO_TYPE}, {unix.IPPROTO_IP, unix.IP_TTL}, {unix.IPPROTO_IP, unix.IP_TOS}, {unix.SOL_SOCKET, unix.SO_LINGER},
					{unix.IPPROTO_IP, unix.IP_MULTICAST_IF}, {unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}, {unix.IPPROTO_IP, 9999}, {12345, 1},
				} {
					e.bytesOf(fmt.Sprint(room, o), &e.me, fd, o[0], o[1], room, "")
				}
			}
			six := e.me.inet6(unix.SOCK_DGRAM)
			for room := range 6 {
				e.bytesOf(fmt.Sprint(room, " hops"), &e.me, six, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, room, "")
			}
		}},
		{"getsockopt: IP_MULTICAST_IF in all its forms", func(e *env) {
			fd := e.me.udp()
			for _, set := range []func() error{
				func() error { return nil },
				func() error {
					return e.me.api.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, e.me.ip)
				},
				func() error {
					return e.me.api.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(e.me.index)})
				},
			} {
				e.must(set())
				for _, room := range []int{4, 8, 12, 13} {
					e.bytesOf(fmt.Sprint("room for ", room), &e.me, fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, room, "")
				}
			}
		}},
		{"getsockopt: IP_MSFILTER", func(e *env) {
			fd := e.me.udp()
			ask := func(what string, group [4]byte, at [4]byte, count uint32, room int) {
				in := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(append(group[:], at[:]...), 99), count)
				e.bytesOf(what, &e.me, fd, unix.IPPROTO_IP, unix.IP_MSFILTER, room, string(in))
			}
			ask("not joined", groupA, e.me.ip, 9, 60)
			ask("no group", e.me.ip, e.me.ip, 9, 60)
			ask("no interface", groupA, [4]byte{192, 0, 2, 9}, 9, 60)
			ask("short", groupA, e.me.ip, 9, 15)
			e.must(e.me.mreq(fd, unix.IP_ADD_MEMBERSHIP, groupA))
			ask("everyone", groupA, e.me.ip, 9, 60)
			e.must(e.me.msfilter(fd, groupA, unix.MCAST_EXCLUDE, src1, src2))
			for count := range uint32(4) {
				ask(fmt.Sprint("room for ", count), groupA, e.me.ip, count, 60)
			}
		}},
	},
	bothFamilies("getsockopt: MCAST_MSFILTER", func(e *env, f ipFamily) {
		fd := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		storageOf := func(a [4]byte) string {
			if f.four() {
				return storage4(a)
			}
			b := make([]byte, storageLen)
			binary.NativeEndian.PutUint16(b, unix.AF_INET6)
			copy(b[8:], []byte{0xff, 5})
			copy(b[20:], a[:])
			return string(b)
		}
		count := func(mode, n uint32) string {
			return string(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, mode), n))
		}
		here := padded(e.me.index)
		const whole = groupFilterLen + 3*storageLen
		ask := func(what, in string, room int) { e.bytesOf(what, &e.me, fd, f.level, unix.MCAST_MSFILTER, room, in) }
		ask("not joined", here+storageOf(groupA)+count(9, 3), whole)
		ask("no group", here+storageOf([4]byte{})+count(9, 3), whole)
		ask("another family", here+string(make([]byte, storageLen))+count(9, 3), whole)
		ask("short", here+storageOf(groupA)+count(9, 3), groupFilterLen-1)
		e.must(e.me.api.SetsockoptString(fd, f.level, unix.MCAST_JOIN_GROUP, here+storageOf(groupA)))
		ask("everyone", here+storageOf(groupA)+count(9, 3), whole)
		ask("by no interface", padded(0)+storageOf(groupA)+count(9, 3), whole)
		e.must(e.me.api.SetsockoptString(fd, f.level, unix.MCAST_MSFILTER, here+storageOf(groupA)+count(unix.MCAST_EXCLUDE, 2)+storageOf(src1)+storageOf(src2)))
		for n := range uint32(4) {
			ask(fmt.Sprint("room for ", n), here+storageOf(groupA)+count(9, n), whole)
		}
		stream := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.note("on a stream", e.me.api.SetsockoptString(stream, f.level, unix.MCAST_JOIN_GROUP, here+storageOf(groupB)))
		e.bytesOf("on a stream", &e.me, stream, f.level, unix.MCAST_MSFILTER, whole, here+storageOf(groupB)+count(9, 3))
		e.note("left", e.me.api.SetsockoptString(stream, f.level, unix.MCAST_LEAVE_GROUP, here+storageOf(groupB)))
		e.must(e.me.api.SetsockoptString(stream, f.level, unix.MCAST_JOIN_GROUP, here+storageOf(groupB))) // and closed so
	}),
	bothFamilies("option: IP_FREEBIND, and a datagram from nobody's address", func(e *env, f ipFamily) {
		strange := f.in(&e.me, e.freePort())
		switch sa := strange.(type) {
		case *unix.SockaddrInet4:
			sa.Addr[3] = 55
		case *unix.SockaddrInet6:
			sa.Addr[15] = 55
		}
		theirs, at := f.bound(&e.peer)
		e.must(e.peer.api.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			fd := e.me.open(f.domain, typ|unix.SOCK_NONBLOCK, 0)
			e.note("without", e.me.api.Bind(fd, strange))
			e.me.set(fd, f.level, f.pick(unix.IP_FREEBIND, unix.IPV6_FREEBIND), 1)
			e.note("with", e.me.api.Bind(fd, strange))
			e.note("name", e.me.sockname(fd))
			if typ == unix.SOCK_DGRAM {
				err := e.me.api.Sendto(fd, []byte("x"), 0, at)
				e.note("send", err)
				if err == nil {
					n, from, err := e.peer.api.Recvfrom(theirs, make([]byte, 9), 0)
					e.note("the peer receives", n, from, err)
				}
			}
			e.note("connect", e.me.api.Connect(fd, at))
		}
	}),
	[]row{
		{"option: IPV6_MTU bounds what is sent", func(e *env) {
			f := ipFamilies[1]
			theirs, at := f.bound(&e.peer)
			watch := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ALL)))
			e.must(e.me.api.Bind(watch, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ALL)}))
			e.must(e.me.api.SetsockoptTimeval(watch, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
			mine := e.me.inet6(unix.SOCK_DGRAM)
			for _, n := range []int{1279, -1, 0, 1280, 70000, 1300} {
				e.note(fmt.Sprint("set ", n), e.me.api.SetsockoptInt(mine, unix.IPPROTO_IPV6, unix.IPV6_MTU, n))
			}
			e.must(e.me.api.Connect(mine, at))
			n, err := e.me.api.GetsockoptInt(mine, unix.IPPROTO_IPV6, unix.IPV6_MTU)
			e.note("get", n, err)
			for _, size := range []int{1400, 3000} {
				n, err = e.me.api.Write(mine, make([]byte, size))
				e.note("send", n, err)
				n, _, err = e.peer.api.Recvfrom(theirs, make([]byte, 4000), 0)
				e.note("the peer receives", n, err)
			}
			for p, left := make([]byte, 2000), 3; left > 0; {
				n, from, err := e.me.api.Recvfrom(watch, p, 0)
				e.must(err)
				if ip, ok := wire.ParseIPv6(p[:n]); ok && from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING && ip.NextHeader() == wire.ProtoFragment {
					e.note("a fragment of", n)
					left--
				}
			}
			e.me.set(mine, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
			_, err = e.me.api.Write(mine, make([]byte, 1300))
			e.note("too long for it", err)
		}},
		{"option: IP_TRANSPARENT", func(e *env) {
			e.note("udp", e.me.api.SetsockoptInt(e.me.udp(), unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1))
			e.note("udp6", e.me.api.SetsockoptInt(e.me.inet6(unix.SOCK_DGRAM), unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1))
		}},
	},
	bothFamilies("errors: what waits in the error queue is ready", func(e *env, f ipFamily) {
		closed, at := f.bound(&e.peer)
		e.peer.close(closed)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		e.must(e.me.api.Sendto(mine, []byte("x"), 0, at))
		e.until("the error", func() bool { return e.soError(mine) != 0 }) // which takes it from SO_ERROR, and not from the queue
		e.note("ready", e.me.readyFor(mine))
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		start := time.Now()
		_, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), 0)
		e.note("recv waits all the same", err, time.Since(start) > 40*time.Millisecond)
		e.must(e.me.errqueue(mine))
		e.note("ready for nothing any more", e.me.readyFor(mine))
	}),
	bothFamilies("errors: MSG_ERRQUEUE, cut off and empty", func(e *env, f ipFamily) {
		closed, at := f.bound(&e.peer)
		e.peer.close(closed)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		for _, c := range []struct{ room, oob, flags int }{{5, 300, unix.MSG_TRUNC}, {0, 0, 0}, {9, 20, 0}, {99, 300, unix.MSG_DONTWAIT}} {
			e.must(e.me.api.Sendto(mine, []byte("where are you"), 0, at))
			e.until("the error", func() bool { return e.soError(mine) != 0 })
			e.message(fmt.Sprint(c), &e.me, mine, c.room, c.oob, unix.MSG_ERRQUEUE|c.flags)
		}
		e.note("none", e.me.errqueue(mine))
		e.note("of a stream", e.me.errqueue(e.me.open(f.domain, unix.SOCK_STREAM, 0)))
	}),
)

// readyFor is what poll(2) says of a socket.
func (s *side) readyFor(fd int) string {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}
	var err error
	if tb, ok := s.api.(*Table); ok {
		_, err = tb.Poll(p, 0)
	} else {
		_, err = unix.Poll(p, 0)
	}
	return fmt.Sprintf("%#x %v", p[0].Revents, err)
}
