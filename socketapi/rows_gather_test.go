package socketapi

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Many datagrams that are read as one: UDP_GRO. Between two sockets of one host Linux hands over what UDP_SEGMENT has sent as it is,
// and so does the engine, within the bounds of a batch; what comes over a wire either of them joins as it comes.

// gathering is two sockets of ours, the first of which reads many datagrams as one.
func (f ipFamily) gathering(e *env) (mine, from int) {
	e.t.Helper()
	mine, at := f.bound(&e.me)
	e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	from = e.me.open(f.domain, unix.SOCK_DGRAM, 0)
	e.must(e.me.api.Bind(from, f.in(&e.me, e.freePort())))
	e.must(e.me.api.Connect(from, at))
	return mine, from
}

// sendCut has a message sent in pieces.
func (e *env) sendCut(fd, n, size int) {
	e.t.Helper()
	sent, err := e.me.api.SendmsgN(fd, numbered(n), segmentCmsg(size), nil, 0)
	e.must(err)
	if sent != n {
		e.t.Fatal("sent ", sent)
	}
}

// gathered notes what one recvmsg brings: how much, whether it is what was sent, and how it came.
func (e *env) gathered(what string, fd, room, oobRoom, flags int) {
	e.t.Helper()
	p, oob := make([]byte, room), make([]byte, oobRoom)
	n, oobn, rflags, from, err := e.me.api.Recvmsg(fd, p, oob, flags|unix.MSG_DONTWAIT)
	if err != nil {
		e.note(what, err)
		return
	}
	some := min(n, room)
	e.note(what, n, bytes.Equal(p[:some], numbered(some)), rflags, from != nil, oobn)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		e.note("control", oob[:oobn])
	}
	for _, m := range messages {
		e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
	}
}

var gatherRows = slices.Concat(
	bothFamilies("gather: what can be asked for", func(e *env, f ipFamily) {
		for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			fd := e.me.open(f.domain, typ, 0)
			for _, n := range []int{1, 0, -1, 7} {
				err := e.me.api.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, n)
				is, got := e.me.api.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO)
				e.note(fmt.Sprint(typ, n), err, is, got)
			}
		}
	}),
	bothFamilies("gather: what was one message", func(e *env, f ipFamily) {
		mine, from := f.gathering(e)
		for _, c := range []struct{ size, len int }{
			{4, 10}, {4, 8}, {4, 5}, {4, 4}, {4, 3}, {4, 0}, {1, 2}, {1000, 20000}, {1400, 20001}, {1, 20},
		} {
			e.sendCut(from, c.len, c.size)
			e.gathered(fmt.Sprint(c.len, " bytes in pieces of ", c.size), mine, 1<<16, 200, 0)
		}
		e.gathered("no more", mine, 99, 200, 0)
		for _, n := range []int{8, 8, 3} { // each by itself
			e.must(e.me.api.Sendto(from, numbered(n), 0, nil))
		}
		e.sendCut(from, 8, 4)
		e.sendCut(from, 8, 4)
		for range 6 {
			e.gathered("by itself", mine, 99, 200, 0)
		}
	}),
	bothFamilies("gather: peeked, cut off, and what else is known", func(e *env, f ipFamily) {
		mine, from := f.gathering(e)
		e.sendCut(from, 2500, 1000)
		e.sendCut(from, 30, 8)
		n, err := e.me.api.IoctlGetInt(mine, FIONREAD)
		e.note("FIONREAD", n, err)
		e.gathered("peek", mine, 9000, 200, unix.MSG_PEEK)
		e.gathered("peek of a part", mine, 1500, 200, unix.MSG_PEEK)
		e.gathered("how long is it", mine, 0, 200, unix.MSG_PEEK|unix.MSG_TRUNC)
		e.gathered("cut off", mine, 1500, 200, unix.MSG_TRUNC)
		e.gathered("no room to say", mine, 99, 0, unix.MSG_PEEK)
		e.gathered("little room to say", mine, 99, unix.SizeofCmsghdr+2, unix.MSG_PEEK)
		e.gathered("the next", mine, 99, 200, 0)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
		e.sendCut(from, 10, 4)
		e.sendCut(from, 9, 3)
		for range 5 {
			p := make([]byte, 7)
			n, _, err := e.me.api.Recvfrom(mine, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			e.note("peek on", n, p[:max(n, 0)], err)
		}
		e.gathered("take", mine, 99, 200, 0)
		e.gathered("take", mine, 99, 200, 0)
		e.me.setAll(mine, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS)
		if f.four() {
			e.me.setAll(mine, f.level, unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS)
		} else {
			e.me.setAll(mine, f.level, unix.IPV6_RECVPKTINFO, unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS)
		}
		e.sendCut(from, 10, 4)
		e.gathered("everything", mine, 99, 300, 0)
		e.sendCut(from, 10, 4)
		n, _, err = e.me.api.Recvfrom(mine, make([]byte, 99), 0)
		e.note("recvfrom", n, err)
		e.sendCut(from, 10, 4)
		messages := []Message{{Buffers: [][]byte{make([]byte, 99)}, OOB: make([]byte, 300)}, {Buffers: [][]byte{make([]byte, 99)}}}
		n, err = e.me.api.Recvmmsg(mine, messages, unix.MSG_DONTWAIT, nil)
		e.note("recvmmsg", n, err, messages[0].N, messages[0].OOBN, messages[0].Flags)
	}),
	bothFamilies("gather: switched on and off while something waits", func(e *env, f ipFamily) {
		mine, from := f.gathering(e)
		e.sendCut(from, 10, 4)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_GRO, 0)
		e.sendCut(from, 10, 4)
		for range 4 {
			e.gathered("off", mine, 99, 200, 0)
		}
		e.sendCut(from, 10, 4)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		for range 4 {
			e.gathered("on", mine, 99, 200, 0)
		}
	}),
	bothFamilies("gather: what comes over the wire", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Bind(theirs, f.in(&e.peer, e.freePort())))
		const size, whole = 1000, 30 * 1000
		n, err := e.peer.api.SendmsgN(theirs, numbered(whole), segmentCmsg(size), at, 0)
		e.must(err)
		var got []byte
		for len(got) < n {
			p, oob := make([]byte, 1<<16), make([]byte, 200)
			n, oobn, _, _, err := e.me.api.Recvmsg(mine, p, oob, 0)
			e.must(err)
			if got = append(got, p[:n]...); n%size != 0 || n > size != (oobn > 0) {
				e.note("it says nothing of its pieces", n, oobn)
			}
		}
		e.note("all of it", len(got), bytes.Equal(got, numbered(whole)))
	}),
)
