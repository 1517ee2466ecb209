package socketapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// One message that leaves as many datagrams: UDP_SEGMENT.

// segmentCmsg has a message cut into datagrams of so many bytes.
func segmentCmsg(size int) []byte {
	return cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, uint16(size)))
}

// cut notes what datagrams a message has become, the last of which is one of the peer's own.
func (e *env) cut(what string, fd int) {
	e.t.Helper()
	e.must(e.peer.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	var sizes []int
	var all []byte
	for p := make([]byte, 1<<16); ; {
		n, _, err := e.peer.api.Recvfrom(fd, p, 0)
		e.must(err)
		if string(p[:n]) == "that was it" {
			break
		}
		sizes, all = append(sizes, n), append(all, p[:n]...)
	}
	e.note(what, len(sizes), slices.Compact(sizes), bytes.Equal(all, numbered(len(all))))
}

// numbered is bytes that say where they are.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i / 7)
	}
	return b
}

// segmenting is a socket that sends to the peer's, and tells it when that was it.
func (f ipFamily) segmenting(e *env) (mine, theirs int, at unix.Sockaddr, done func(string)) {
	e.t.Helper()
	theirs, at = f.bound(&e.peer)
	e.peer.set(theirs, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	mine = e.me.open(f.domain, unix.SOCK_DGRAM, 0)
	e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
	e.must(e.me.api.Sendto(mine, []byte("that was it"), 0, at)) // its neighbour is known from here on
	e.cut("nothing", theirs)
	return mine, theirs, at, func(what string) {
		e.must(e.me.api.SetsockoptInt(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0))
		e.must(e.me.api.Sendto(mine, []byte("that was it"), 0, at))
		e.cut(what, theirs)
	}
}

// mtuOfRows is that of the wire.
const mtuOfRows = 1500

var segmentRows = slices.Concat(
	bothFamilies("segment: what can be asked for", func(e *env, f ipFamily) {
		for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			fd := e.me.open(f.domain, typ, 0)
			for _, n := range []int{-1, 1, 1472, 65535, 65536, 0} {
				err := e.me.api.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, n)
				is, got := e.me.api.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
				e.note(fmt.Sprint(typ, n), err, is, got)
			}
		}
	}),
	bothFamilies("segment: what becomes of a message", func(e *env, f ipFamily) {
		mine, _, at, done := f.segmenting(e)
		most := mtuOfRows - f.headerLen() - 8
		for _, c := range []struct{ size, len int }{
			{4, 10}, {4, 8}, {4, 4}, {4, 3}, {4, 0}, {1, 5}, {most, 3 * most}, {most, 3*most + 1}, {500, 20000}, {100, 12800}, {100, 12801}, {1, 128}, {1, 129},
			{most + 1, 10}, {most + 1, most}, {most + 1, most + 1}, {most + 1, 5000}, {65535, 10}, {65535, most}, {65535, most + 1}, {65535, 65000},
			{1400, f.pick(65507, 65527)}, {1400, f.pick(65508, 65528)}, {600, f.pick(65507, 65527)}, {600, f.pick(65508, 65528)}, {400, 65507}, {400, 65536}, {400, 65600},
		} {
			e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, c.size)
			n, err := e.me.api.SendmsgN(mine, numbered(c.len), nil, at, 0)
			what := fmt.Sprint(c.len, " bytes in pieces of ", c.size)
			e.note(what, n, err)
			done(what)
		}
	}),
	bothFamilies("segment: said of one message", func(e *env, f ipFamily) {
		mine, _, at, done := f.segmenting(e)
		long := cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, []byte{4, 0, 0, 0})
		hops := intCmsg(int32(f.level), int32(f.pick(unix.IP_TTL, unix.IPV6_HOPLIMIT)), 7)
		for _, c := range []struct {
			name string
			of   int // the socket's own
			oob  []byte
		}{
			{"pieces of 4", 0, segmentCmsg(4)}, {"pieces of 4 instead of 3", 3, segmentCmsg(4)}, {"no pieces instead of 3", 3, segmentCmsg(0)},
			{"an int", 0, long}, {"an int, of a socket with pieces", 3, long}, {"nothing", 3, cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, nil)},
			{"another", 3, intCmsg(unix.IPPROTO_UDP, unix.UDP_GRO, 1)}, {"twice", 0, append(segmentCmsg(4), segmentCmsg(5)...)},
			{"with hops", 0, append(segmentCmsg(4), hops...)}, {"behind hops", 0, append(slices.Clone(hops), segmentCmsg(4)...)},
			{"behind what is wrong", 0, append(intCmsg(int32(f.level), 9999, 1), segmentCmsg(4)...)},
			{"cut off", 0, segmentCmsg(4)[:unix.SizeofCmsghdr+1]}, {"behind what is cut off", 0, append(segmentCmsg(4), hops[:unix.SizeofCmsghdr+1]...)},
		} {
			e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, c.of)
			n, err := e.me.api.SendmsgN(mine, numbered(10), c.oob, at, 0)
			e.note(c.name, n, err)
			done(c.name)
		}
	}),
	bothFamilies("segment: in pieces that are held back", func(e *env, f ipFamily) {
		mine, _, at, done := f.segmenting(e)
		b := numbered(30)
		e.must(e.me.api.Connect(mine, at))
		n, err := e.me.api.SendmsgN(mine, b[:7], segmentCmsg(4), nil, unix.MSG_MORE)
		e.note("more", n, err)
		n, err = e.me.api.SendmsgN(mine, b[7:9], segmentCmsg(2), nil, unix.MSG_MORE)
		e.note("more, other pieces", n, err)
		n, err = e.me.api.SendmsgN(mine, b[9:11], nil, nil, 0)
		e.note("the end", n, err)
		done("by the first")
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 5)
		n, err = e.me.api.SendmsgN(mine, b[:7], nil, nil, unix.MSG_MORE)
		e.note("more", n, err)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
		n, err = e.me.api.SendmsgN(mine, b[7:11], nil, nil, 0)
		e.note("the end", n, err)
		done("by the socket, as it was")
		n, err = e.me.api.SendmsgN(mine, b[:7], nil, nil, unix.MSG_MORE)
		e.note("more, in one", n, err)
		n, err = e.me.api.SendmsgN(mine, b[7:11], segmentCmsg(2), nil, 0)
		e.note("the end, in pieces", n, err)
		done("in one")
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 4)
		for range 3 {
			n, err = e.me.api.SendmsgN(mine, make([]byte, 30000), nil, nil, unix.MSG_MORE)
			e.note("too much", n, err)
		}
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_CORK, 1)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_CORK, 0)
		done("after that")
	}),
	bothFamilies("segment: who may not", func(e *env, f ipFamily) {
		mine, _, at, done := f.segmenting(e)
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		for _, c := range []struct{ size, len int }{{2000, 2000}, {400, 65536}, {400, f.pick(65508, 65528)}} {
			n, err := e.me.api.SendmsgN(mine, numbered(c.len), segmentCmsg(c.size), at, 0)
			e.note(fmt.Sprint(c), n, err)
			e.note(fmt.Sprint("the error of ", c), e.me.errqueue(mine))
		}
		for _, opt := range []int{f.pick(unix.IP_PMTUDISC_DONT, unix.IPV6_PMTUDISC_DONT), f.pick(unix.IP_PMTUDISC_DO, unix.IPV6_PMTUDISC_DO), f.pick(unix.IP_PMTUDISC_PROBE, unix.IPV6_PMTUDISC_PROBE)} {
			e.me.set(mine, f.level, f.pick(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER), opt)
			n, err := e.me.api.SendmsgN(mine, numbered(5000), segmentCmsg(2000), at, 0)
			e.note("too long pieces", n, err)
			n, err = e.me.api.SendmsgN(mine, numbered(5000), segmentCmsg(1000), at, 0)
			e.note("pieces", n, err)
			done("of it")
		}
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
		for _, n := range []int{10, 4, 3} {
			n, err := e.me.api.SendmsgN(mine, numbered(n), segmentCmsg(4), at, 0)
			e.note("without checksums", n, err)
		}
		done("of those")
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_RAW} {
			fd := e.me.open(f.domain, typ, f.pick(0, 0)+map[int]int{unix.SOCK_RAW: testProtocol}[typ])
			n, err := e.me.api.SendmsgN(fd, numbered(8), segmentCmsg(4), at, unix.MSG_NOSIGNAL)
			e.note(fmt.Sprint("a socket of another kind ", typ), n, err)
		}
	}),
	bothFamilies("segment: to ourselves", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		from := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(from, f.in(&e.me, e.freePort())))
		n, err := e.me.api.SendmsgN(from, numbered(4000), segmentCmsg(1400), at, 0)
		e.note("send", n, err)
		for range 3 {
			n, _, err := e.me.api.Recvfrom(mine, make([]byte, 9000), 0)
			e.note("receive", n, err)
		}
		_, _, err = e.me.api.Recvfrom(mine, make([]byte, 9000), unix.MSG_DONTWAIT)
		e.note("no more", err)
	}),
	bothFamilies("segment: more than the send buffer holds", func(e *env, f ipFamily) {
		mine, theirs, at, _ := f.segmenting(e)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_SNDBUF, 0)
		for range 5 {
			n, err := e.me.api.SendmsgN(mine, numbered(50000), segmentCmsg(1400), at, 0)
			e.note("send", n, err)
		}
		for range 5 {
			got := 0
			for got < 50000 {
				n, _, err := e.peer.api.Recvfrom(theirs, make([]byte, 9000), 0)
				e.must(err)
				got += n
			}
			e.note("receive", got)
		}
	}),
)
