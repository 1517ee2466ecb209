package socketapi

import (
	"time"

	"golang.org/x/sys/unix"
)

// room is pieces of these lengths to read into.
func room(lengths ...int) (list [][]byte) {
	for _, n := range lengths {
		list = append(list, make([]byte, n))
	}
	return list
}

// pieces is texts to write.
func pieces(texts ...string) (list [][]byte) {
	for _, text := range texts {
		list = append(list, []byte(text))
	}
	return list
}

// readv notes what pieces bring.
func (e *env) readv(what string, s *side, fd int, lengths ...int) {
	e.t.Helper()
	list := room(lengths...)
	n, err := s.api.Readv(fd, list)
	notes := []any{n, err}
	for _, p := range list {
		notes = append(notes, p)
	}
	e.note(what, notes...)
}

// unread waits until there is so much to read, whatever poll(2) says.
func (e *env) unread(fd, n int) {
	e.t.Helper()
	e.until("bytes to read", func() bool {
		got, err := e.me.api.IoctlGetInt(fd, FIONREAD)
		e.must(err)
		return got == n
	})
}

var vectorRows = []row{
	{"vector: of a stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		n, err := e.me.api.Writev(mine, pieces("ab", "", "cde", "f"))
		e.note("writev", n, err)
		e.reads("the peer reads", &e.peer, theirs, 6, unix.MSG_WAITALL)
		e.sends("the peer sends", &e.peer, theirs, "abcdefgh", 0)
		e.arrived(&e.me, mine, 8)
		e.readv("readv", &e.me, mine, 2, 0, 3)
		e.readv("the rest", &e.me, mine, 2, 9)
		e.must(e.me.api.SetNonblock(mine, true))
		e.readv("nothing", &e.me, mine, 2, 2)
		e.readv("no room", &e.me, mine, 0, 0)
		e.readv("no pieces", &e.me, mine)
		n, err = e.me.api.Writev(mine, nil)
		e.note("no pieces", n, err)
		n, err = e.me.api.Writev(mine, make([][]byte, 1025))
		e.note("too many", n, err)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		e.readv("the end", &e.me, mine, 2, 2)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		n, err = e.me.api.SendmsgBuffers(mine, pieces("a", "b"), nil, nil, 0)
		e.note("after shutdown", n, err)
	}},
	{"vector: of datagrams", func(e *env) {
		mine, theirs := e.peers()
		n, err := e.me.api.Writev(mine, pieces("ab", "", "cde"))
		e.note("writev", n, err)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("abcdef"), 0, e.me.name(mine)))
		e.readv("readv", &e.me, mine, 2, 0, 3)
		n, err = e.me.api.Writev(mine, nil)
		e.note("of nothing", n, err)
		e.sends("something", &e.me, mine, "x", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("abcdef"), 0, e.me.name(mine)))
		list := room(2, 2)
		n, oobn, flags, _, err := e.me.api.RecvmsgBuffers(mine, list, nil, unix.MSG_TRUNC)
		e.note("cut off", n, oobn, flags, err, list[0], list[1])
	}},
	{"vector: all of it", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.beside(func() {
			for _, text := range []string{"ab", "cd", "ef"} {
				e.peer.api.Sendto(theirs, []byte(text), 0, nil)
				time.Sleep(10 * time.Millisecond)
			}
		})
		list := room(3, 3)
		n, _, _, _, err := e.me.api.RecvmsgBuffers(mine, list, nil, unix.MSG_WAITALL)
		e.note("receive", n, err, list[0], list[1])
	}},
	{"vector: SO_RCVLOWAT is of all pieces", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 5)
		list, n := room(2, 0, 19), 0
		for range 5 { // the kernel ends a read of a part where the Go runtime signals its thread
			var err error
			read := in(func() error { n, err = e.me.api.Readv(mine, list); return err })
			e.must(e.peer.api.Sendto(theirs, []byte("abcd"), 0, nil))
			time.Sleep(20 * time.Millisecond)
			e.must(e.peer.api.Sendto(theirs, []byte("efghij"), 0, nil)) // Linux wakes a reader for so much that is new
			e.must(<-read)
			e.unread(mine, 10-n)
			if n >= 5 {
				break
			}
			_, _, err = e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_DONTWAIT)
			e.must(err)
		}
		e.note("readv", n, list[0], list[2])
		e.sends("the peer sends", &e.peer, theirs, "ghij", 0)
		e.unread(mine, 4)
		e.readv("shorter than it", &e.me, mine, 2, 1)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		e.readv("not enough in time", &e.me, mine, 3, 9)
		e.must(e.me.api.SetNonblock(mine, true))
		e.sends("the peer sends", &e.peer, theirs, "kl", 0)
		e.unread(mine, 2)
		e.readv("without waiting", &e.me, mine, 3, 9)
	}},
	{"vector: of a socket pair", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		n, err := e.me.api.Writev(pair[0], pieces("ab", "", "cde"))
		e.note("writev", n, err)
		e.readv("readv", &e.me, pair[1], 2, 9)
	}},
	{"more: datagrams in pieces", func(e *env) {
		mine, theirs := e.peers()
		e.sends("a piece", &e.me, mine, "ab", unix.MSG_MORE)
		e.sends("another", &e.me, mine, "cd", unix.MSG_MORE)
		e.reads("the peer reads", &e.peer, theirs, 9, unix.MSG_DONTWAIT)
		e.sends("the last", &e.me, mine, "ef", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.sends("by itself", &e.me, mine, "gh", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_CORK, 1)
		e.note2(e.me.api.GetsockoptInt(mine, unix.IPPROTO_UDP, unix.UDP_CORK))
		e.sends("corked", &e.me, mine, "ij", 0)
		e.sends("corked", &e.me, mine, "kl", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, unix.MSG_DONTWAIT)
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_CORK, 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		p := make([]byte, 40000)
		n, err := e.me.api.SendmsgN(mine, p, nil, nil, unix.MSG_MORE)
		e.note("long", n, err)
		n, err = e.me.api.SendmsgN(mine, p, nil, nil, unix.MSG_MORE)
		e.note("too long", n, err)
		e.sends("then", &e.me, mine, "x", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		fresh := e.me.udp()
		e.sends("to nobody", &e.me, fresh, "x", unix.MSG_MORE)
		e.note("to somebody", e.me.api.Sendto(fresh, []byte("12"), unix.MSG_MORE, e.peer.name(theirs)))
		e.note("to somebody else", e.me.api.Sendto(fresh, []byte("34"), 0, e.peer.at(9)))
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
	}},
	{"more: of a stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		e.sends("a piece", &e.me, mine, "ab", unix.MSG_MORE)
		e.sends("another", &e.me, mine, "cd", unix.MSG_MORE)
		e.sends("the last", &e.me, mine, "ef", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0) // in one segment, so in one read
		e.sends("one that nothing follows", &e.me, mine, "gh", unix.MSG_MORE)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.sends("and one before the end", &e.me, mine, "ij", unix.MSG_MORE)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.reads("the peer reads", &e.peer, theirs, 2, unix.MSG_WAITALL)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
	}},
}
