package socketapi

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// What a program hears of its memory: SO_ZEROCOPY, MSG_ZEROCOPY.

// copied waits until the error queue has said of calls up to last that their memory is free, and notes from where on. It says once
// how the messages look.
func (e *env) copied(what string, fd, last int) {
	e.t.Helper()
	first, next := -1, -1
	e.until(what, func() bool {
		oob := make([]byte, 200)
		n, oobn, flags, from, err := e.me.api.Recvmsg(fd, make([]byte, 9), oob, unix.MSG_ERRQUEUE)
		if err != nil {
			return false
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.must(err)
		data := messages[len(messages)-1].Data
		lo, hi := int(int32(binary.NativeEndian.Uint32(data[8:]))), int(int32(binary.NativeEndian.Uint32(data[12:])))
		if first < 0 {
			first, next = lo, lo
			e.note(what, n, flags, from == nil, oobn)
			for _, m := range messages[:len(messages)-1] {
				e.note("before it", m.Header.Level, m.Header.Type, e.me.words(m))
			}
			m := messages[len(messages)-1]
			e.note("control", m.Header.Level, m.Header.Type, fmt.Sprintf("%x", slices.Concat(data[:8], data[16:])))
		}
		if lo != next {
			e.note("does not follow", lo, next)
		}
		next = hi + 1
		return hi >= last
	})
	e.note(what, "from", first, "to", next-1)
	e.note("no more", e.me.errqueue(fd))
}

// zeroCopying is a socket of a type that is connected to the peer's, and asks for it.
func (f ipFamily) zeroCopying(e *env, typ int) (mine, theirs int) {
	e.t.Helper()
	mine = e.me.open(f.domain, typ, 0)
	if typ == unix.SOCK_STREAM {
		l := f.listens(&e.peer)
		e.must(e.me.api.Connect(mine, e.peer.sockname(l)))
		theirs = e.peer.accept(l)
	} else {
		var at unix.Sockaddr
		theirs, at = f.bound(&e.peer)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		e.must(e.me.api.Connect(mine, at))
		e.must(e.me.api.Sendto(mine, []byte("hello"), 0, nil)) // its neighbour is known from here on
		_, _, err := e.peer.api.Recvfrom(theirs, make([]byte, 9), 0)
		e.must(err)
	}
	return mine, theirs
}

var zeroCopyRows = slices.Concat(
	bothFamilies("zero copy: what can be asked for", func(e *env, f ipFamily) {
		for _, k := range kindsOfSockets {
			if k.domain == f.domain || f.four() && k.on == onPacket {
				fd := e.me.open(k.domain, k.typ, k.proto)
				for _, n := range []int{1, 0, 2, -1, 1} {
					err := e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, n)
					is, got := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY)
					e.note(fmt.Sprint(k.name, n), err, is, got)
				}
			}
		}
		l := f.listens(&e.me)
		e.me.set(l, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
		e.must(e.peer.api.Connect(e.peer.open(f.domain, unix.SOCK_STREAM, 0), e.me.sockname(l)))
		is, err := e.me.api.GetsockoptInt(e.me.accept(l), unix.SOL_SOCKET, unix.SO_ZEROCOPY)
		e.note("of an accepted connection", is, err)
	}),
	bothFamilies("zero copy: of a stream", func(e *env, f ipFamily) {
		mine, theirs := f.zeroCopying(e, unix.SOCK_STREAM)
		n, err := e.me.api.SendmsgN(mine, []byte("nobody asked"), nil, nil, unix.MSG_ZEROCOPY)
		e.note("send", n, err)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
		e.polls("poll", &e.me, mine)
		e.note("nothing", e.me.errqueue(mine))
		e.must(e.me.api.Sendto(mine, []byte("without the flag"), 0, nil))
		e.must(e.me.api.Sendto(mine, nil, unix.MSG_ZEROCOPY, nil))
		e.note("nothing", e.me.errqueue(mine))
		n, err = e.me.api.SendmsgN(mine, []byte("first"), nil, nil, unix.MSG_ZEROCOPY)
		e.note("send", n, err)
		e.awaits("poll", &e.me, mine, unix.POLLERR)
		n, err = e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
		e.note("SO_ERROR", n, err)
		e.copied("one", mine, 0)
		e.polls("poll", &e.me, mine)
		for i := range 20 {
			n, err := e.me.api.SendmsgBuffers(mine, [][]byte{numbered(100 * i), numbered(9)}, nil, nil, unix.MSG_ZEROCOPY)
			e.note("send", n, err)
			if i%4 == 0 {
				e.must(e.me.api.Sendto(mine, []byte("without the flag"), 0, nil))
			}
		}
		e.copied("twenty", mine, 20)
		e.me.setAll(mine, unix.SOL_SOCKET, unix.SO_TIMESTAMP)
		e.must(e.me.api.Sendto(mine, []byte("x"), unix.MSG_ZEROCOPY, nil))
		e.copied("with a time", mine, 21)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 0)
		e.must(e.me.api.Sendto(mine, []byte("x"), unix.MSG_ZEROCOPY, nil))
		e.note("switched off", e.me.errqueue(mine))
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
		e.must(e.me.api.Sendto(mine, []byte("x"), unix.MSG_ZEROCOPY, nil))
		e.copied("and on", mine, 22)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		n, err = e.me.api.SendmsgN(mine, []byte("x"), nil, nil, unix.MSG_ZEROCOPY|unix.MSG_NOSIGNAL)
		e.note("a broken pipe", n, err)
		e.note("is no call", e.me.errqueue(mine))
		got := 0
		for p := make([]byte, 1<<16); ; {
			n, err := e.peer.api.Read(theirs, p)
			e.must(err)
			if got += n; n == 0 {
				break
			}
		}
		e.note("it has come", got)
	}),
	bothFamilies("zero copy: of a stream that is full", func(e *env, f ipFamily) {
		mine, theirs := f.zeroCopying(e, unix.SOCK_STREAM)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
		sent, calls := 0, 0
		for {
			n, err := e.me.api.SendmsgN(mine, make([]byte, 100000), nil, nil, unix.MSG_ZEROCOPY|unix.MSG_DONTWAIT)
			if err != nil {
				e.note("full", err)
				break
			}
			sent, calls = sent+n, calls+1
		}
		for got := 0; got < sent; {
			n, err := e.peer.api.Read(theirs, make([]byte, 1<<16))
			e.must(err)
			got += n
		}
		last := -1
		e.until("all calls", func() bool {
			oob := make([]byte, 200)
			if _, oobn, _, _, err := e.me.api.Recvmsg(mine, nil, oob, unix.MSG_ERRQUEUE); err == nil {
				messages, err := unix.ParseSocketControlMessage(oob[:oobn])
				e.must(err)
				last = int(binary.NativeEndian.Uint32(messages[0].Data[12:]))
			}
			return last == calls-1
		})
		e.note("what was refused has no number", e.me.errqueue(mine))
	}),
	bothFamilies("zero copy: of datagrams", func(e *env, f ipFamily) {
		mine, theirs := f.zeroCopying(e, unix.SOCK_DGRAM)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
		for _, n := range []int{0, 10, 1000, 5000} {
			n, err := e.me.api.SendmsgN(mine, numbered(n), nil, nil, unix.MSG_ZEROCOPY)
			e.note("send", n, err)
		}
		e.awaits("poll", &e.me, mine, unix.POLLERR)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, 1)
		e.polls("poll, urgent", &e.me, mine)
		for range 4 { // Linux has the last, which is put together of fragments, in the sender's memory until it is read
			e.message("receive", &e.peer, theirs, 9000, 0, 0)
		}
		e.copied("four", mine, 3)
		e.polls("poll", &e.me, mine)
		n, err := e.me.api.SendmsgN(mine, make([]byte, 70000), nil, nil, unix.MSG_ZEROCOPY)
		e.note("too long", n, err)
		n, err = e.me.api.SendmsgN(mine, numbered(10), intCmsg(unix.SOL_SOCKET, 9999, 1), nil, unix.MSG_ZEROCOPY)
		e.note("wrong", n, err)
		e.must(e.me.api.Sendto(mine, []byte("without the flag"), 0, nil))
		n, err = e.me.api.SendmsgN(mine, numbered(3000), segmentCmsg(1000), nil, unix.MSG_ZEROCOPY)
		e.note("in pieces", n, err)
		e.copied("one", mine, 4)
		n, err = e.me.api.SendmsgN(mine, []byte("held "), nil, nil, unix.MSG_ZEROCOPY|unix.MSG_MORE)
		e.note("more", n, err)
		n, err = e.me.api.SendmsgN(mine, []byte("back"), nil, nil, unix.MSG_ZEROCOPY)
		e.note("the end", n, err)
		e.copied("two", mine, 6)
		for range 5 {
			e.message("receive", &e.peer, theirs, 9000, 0, 0)
		}
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		e.must(e.me.api.Sendto(mine, []byte("x"), unix.MSG_ZEROCOPY, nil))
		e.awaits("poll", &e.me, mine, unix.POLLERR)
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 0) // forgets errors, and this is none
		e.copied("still there", mine, 7)
	}),
	bothFamilies("zero copy: epoll says so each time", func(e *env, f ipFamily) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			mine, _ := f.zeroCopying(e, typ)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)
			ep, err := e.me.api.EpollCreate1(0)
			ep = e.me.keep(ep, err)
			e.must(e.me.api.EpollCtl(ep, unix.EPOLL_CTL_ADD, mine, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}))
			events := make([]unix.EpollEvent, 2)
			for i := range 3 {
				e.must(e.me.api.Sendto(mine, []byte("x"), unix.MSG_ZEROCOPY, nil))
				n, err := e.me.api.EpollWait(ep, events, 10_000)
				e.note("epoll", n, err, pollNamed(events[0].Events))
				e.copied("one", mine, i)
			}
		}
	}),
)
