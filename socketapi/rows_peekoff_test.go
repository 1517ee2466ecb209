package socketapi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// peekOff notes SO_PEEK_OFF.
func (e *env) peekOff(what string, fd int) {
	n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	e.note(what, n, err)
}

// looks notes what a receive brings, and where the next look begins.
func (e *env) looks(what string, fd, n, flags int) {
	p := make([]byte, n)
	n, _, got, _, err := e.me.api.Recvmsg(fd, p, nil, flags|unix.MSG_DONTWAIT)
	e.note(what, p[:max(min(n, len(p)), 0)], n, fmt.Sprintf("%#x", got), err)
	e.peekOff("the next look", fd)
}

var peekOffRows = []row{
	{"SO_PEEK_OFF: of each kind of socket", func(e *env) {
		for _, k := range kindsOfSockets {
			fd := e.me.open(k.domain, k.typ, k.proto)
			e.peekOff(k.name, fd)
			for _, n := range []int{5, 0, -1, -7, 1<<31 - 1, -1 << 31} {
				e.note(fmt.Sprint("set ", n), e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, n))
				e.peekOff("is", fd)
			}
		}
	}},
	{"SO_PEEK_OFF: of a stream", func(e *env) {
		l, at := e.me.listener()
		e.me.set(l, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 2)
		theirs := e.peer.tcp()
		e.must(e.peer.api.Connect(theirs, at))
		mine := e.me.accept(l)
		e.peekOff("accepted", mine)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
		e.sends("the peer sends", &e.peer, theirs, "abcdefghijklmnop", 0)
		e.arrived(&e.me, mine, 16)
		e.peekOff("reads leave it at nothing", mine)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 1)
		e.looks("look", mine, 3, unix.MSG_PEEK)
		e.looks("look on", mine, 3, unix.MSG_PEEK)
		e.looks("look, its length", mine, 2, unix.MSG_PEEK|unix.MSG_TRUNC)
		e.looks("of nothing", mine, 0, unix.MSG_PEEK)
		e.looks("read", mine, 2, 0)
		e.looks("look after reading", mine, 2, unix.MSG_PEEK)
		e.looks("throw away", mine, 3, unix.MSG_TRUNC)
		e.looks("read more than was looked at", mine, 6, 0)
		e.looks("look", mine, 2, unix.MSG_PEEK)
		e.looks("look to the end", mine, 99, unix.MSG_PEEK)
		e.looks("beyond it", mine, 9, unix.MSG_PEEK)
		e.polls("to be read all the same", &e.me, mine)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("more"), 0, nil) })
		p := make([]byte, 9)
		n, _, err := e.me.api.Recvfrom(mine, p, unix.MSG_PEEK)
		e.note("wait for more", p[:max(n, 0)], err)
		e.peekOff("the next look", mine)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 100)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		e.looks("far beyond the end", mine, 9, unix.MSG_PEEK)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1)
		e.looks("from the beginning", mine, 2, unix.MSG_PEEK)
		e.looks("again", mine, 2, unix.MSG_PEEK)
		e.looks("read", mine, 99, 0)
	}},
	{"SO_PEEK_OFF: of datagrams", func(e *env) {
		mine, theirs := e.peers()
		to := e.me.name(mine)
		texts := []string{"abcdef", "", "ghijkl", "mn"}
		send := func() {
			for _, text := range texts {
				e.must(e.peer.api.Sendto(theirs, []byte(text), 0, to))
			}
			e.must(e.peer.api.Sendto(theirs, []byte("last"), 0, to))
		}
		send()
		e.until("the first", func() bool {
			n, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return err == nil && n == 6
		})
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
		e.until("all", func() bool {
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 14)
			_, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return err == nil
		})
		for _, at := range []int{1, 5, 6, 7, 11, 12, 13, 14, 17, 18, 19} {
			for _, c := range []struct{ n, flags int }{{9, 0}, {2, 0}, {9, unix.MSG_TRUNC}, {1, unix.MSG_TRUNC}, {0, 0}, {6, 0}, {6 - min(at, 6), 0}} {
				e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, at)
				e.looks(fmt.Sprint("look at ", at, " ", c), mine, c.n, unix.MSG_PEEK|c.flags)
			}
		}
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 3)
		e.looks("look", mine, 2, unix.MSG_PEEK)
		e.looks("on", mine, 2, unix.MSG_PEEK)
		e.looks("on", mine, 2, unix.MSG_PEEK)
		e.looks("on", mine, 9, unix.MSG_PEEK)
		e.looks("read, cut off", mine, 2, 0)
		e.looks("read", mine, 9, 0)
		e.looks("look", mine, 9, unix.MSG_PEEK)
		e.looks("read, its length", mine, 2, unix.MSG_TRUNC)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1)
		e.looks("from the beginning", mine, 9, unix.MSG_PEEK)
		e.looks("again", mine, 9, unix.MSG_PEEK)
		e.looks("read", mine, 9, 0)
		e.looks("read", mine, 9, 0)
		e.looks("none", mine, 9, 0)
	}},
}
