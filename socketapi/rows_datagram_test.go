package socketapi

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// receives notes what a recvmsg brings, and whether it is from whom it should be.
func (e *env) receives(what string, s *side, fd, n, flags int, from *unix.SockaddrInet4) {
	p := make([]byte, n)
	n, _, rflags, sa, err := s.api.Recvmsg(fd, p, nil, flags)
	e.note(what, p[:max(min(n, len(p)), 0)], n, rflags&unix.MSG_TRUNC != 0, err, from == nil || show(sa) == show(from))
}

// peers is a datagram socket on either side, ours connected to the other.
func (e *env) peers() (mine, theirs int) {
	theirs, at := e.peer.datagram()
	mine = e.me.udp()
	e.must(e.me.api.Connect(mine, at))
	return mine, theirs
}

var datagramRows = []row{
	{"datagram: there and back", func(e *env) {
		theirs, at := e.peer.datagram()
		mine := e.me.udp()
		e.note("sendto", e.me.api.Sendto(mine, []byte("hello"), 0, at))
		me := e.me.name(mine)
		e.note("a port was chosen", me.Addr, me.Port >= 1024)
		me.Addr = e.me.ip
		e.receives("the peer receives", &e.peer, theirs, 99, 0, me)
		e.must(e.peer.api.Sendto(theirs, []byte("world"), 0, me))
		e.receives("receive", &e.me, mine, 99, 0, at)
	}},
	{"datagram: no destination", func(e *env) {
		fd := e.me.udp()
		e.sends("send", &e.me, fd, "x", 0)
		_, err := e.me.api.Write(fd, []byte("x"))
		e.note("write", err)
		e.note("port 0", e.me.api.Sendto(fd, []byte("x"), 0, e.peer.at(0)))
		e.note("another family", e.me.api.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet6{Port: 7}))
		e.note("no route", e.me.api.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{203, 0, 113, 1}, Port: 7}))
	}},
	{"datagram: connected", func(e *env) {
		mine, theirs := e.peers()
		sa, err := e.me.api.Getpeername(mine)
		e.note("getpeername", show(sa) == show(e.peer.name(theirs)), err)
		e.note("getsockname", e.me.name(mine).Addr)
		e.sends("send", &e.me, mine, "abc", 0)
		e.receives("the peer receives", &e.peer, theirs, 9, 0, e.me.name(mine))
	}},
	{"datagram: connected, hears its peer alone", func(e *env) {
		mine, theirs := e.peers()
		stranger, _ := e.peer.datagram()
		e.must(e.peer.api.Sendto(stranger, []byte("stranger"), 0, e.me.name(mine)))
		e.must(e.peer.api.Sendto(theirs, []byte("peer"), 0, e.me.name(mine)))
		e.receives("receive", &e.me, mine, 99, 0, e.peer.name(theirs))
		e.receives("no more", &e.me, mine, 99, unix.MSG_DONTWAIT, nil)
	}},
	{"datagram: connected, sent elsewhere", func(e *env) {
		mine, _ := e.peers()
		other, at := e.peer.datagram()
		e.note("sendto", e.me.api.Sendto(mine, []byte("x"), 0, at))
		e.receives("the other receives", &e.peer, other, 9, 0, nil)
	}},
	{"datagram: connected anew", func(e *env) {
		mine, theirs := e.peers()
		before := e.me.name(mine)
		other, at := e.peer.datagram()
		e.note("connect", e.me.api.Connect(mine, at))
		e.note("the name stays", show(e.me.name(mine)) == show(before))
		e.sends("send", &e.me, mine, "x", 0)
		e.receives("the other receives", &e.peer, other, 9, 0, before)
		e.must(e.peer.api.Sendto(theirs, []byte("x"), 0, before))
		e.receives("the first is a stranger now", &e.me, mine, 9, unix.MSG_DONTWAIT, nil)
	}},
	{"datagram: AF_UNSPEC", func(e *env) {
		mine, theirs := e.peers()
		e.note("connect", e.me.api.Connect(mine, nil))
		_, err := e.me.api.Getpeername(mine)
		e.note("getpeername", err)
		e.note("getsockname", e.me.name(mine))
		e.sends("send", &e.me, mine, "x", 0)
		e.note("sendto", e.me.api.Sendto(mine, []byte("y"), 0, e.peer.name(theirs)))
		e.receives("the peer receives", &e.peer, theirs, 9, 0, nil)
		bound := e.me.udp()
		port := e.freePort()
		e.must(e.me.api.Bind(bound, e.me.at(port)))
		e.must(e.me.api.Connect(bound, e.peer.name(theirs)))
		e.note("bound, connect", e.me.api.Connect(bound, nil))
		e.note("bound, getsockname", e.me.name(bound))
		e.note("fresh", e.me.api.Connect(e.me.udp(), nil))
	}},
	{"datagram: port unreachable", func(e *env) {
		at := func() *unix.SockaddrInet4 {
			fd, at := e.peer.datagram()
			e.peer.close(fd)
			return at
		}
		mine := e.me.udp()
		e.must(e.me.api.Connect(mine, at()))
		e.sends("send", &e.me, mine, "x", 0)
		e.reads("connected, recv", &e.me, mine, 1, 0)
		e.reads("once", &e.me, mine, 1, unix.MSG_DONTWAIT)
		e.sends("send", &e.me, mine, "x", 0)
		e.note("SO_ERROR", unix.Errno(e.soError(mine)))
		e.note2(e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR))
		free := e.me.udp()
		e.must(e.me.api.SetsockoptTimeval(free, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000}))
		e.must(e.me.api.Sendto(free, []byte("x"), 0, at()))
		e.reads("not connected, recv", &e.me, free, 1, 0)
	}},
	{"datagram: port unreachable, heard by a reader and by send", func(e *env) {
		fd, at := e.peer.datagram()
		e.peer.close(fd)
		mine := e.me.udp()
		e.must(e.me.api.Connect(mine, at))
		read := in(func() error { _, _, err := e.me.api.Recvfrom(mine, make([]byte, 1), 0); return err })
		time.Sleep(50 * time.Millisecond)
		e.sends("send", &e.me, mine, "x", 0)
		e.note("the recv under way", <-read)
		e.sends("send", &e.me, mine, "x", 0)
		var err error
		e.until("send fails", func() bool { err = e.me.api.Sendto(mine, []byte("x"), 0, nil); return err != nil })
		e.note("send", err)
	}},
	{"datagram: empty", func(e *env) {
		mine, theirs := e.peers()
		e.sends("send", &e.me, mine, "", 0)
		e.receives("the peer receives", &e.peer, theirs, 9, 0, nil)
		e.must(e.peer.api.Sendto(theirs, nil, 0, e.me.name(mine)))
		e.must(e.peer.api.Sendto(theirs, []byte("next"), 0, e.me.name(mine)))
		e.receives("receive", &e.me, mine, 9, 0, nil)
		e.receives("receive", &e.me, mine, 9, 0, nil)
	}},
	{"datagram: cut off", func(e *env) {
		mine, theirs := e.peers()
		me := e.me.name(mine)
		for _, text := range []string{"abcdef", "ghijkl", "mnopqr"} {
			e.must(e.peer.api.Sendto(theirs, []byte(text), 0, me))
		}
		e.receives("short", &e.me, mine, 4, 0, nil)
		e.receives("short, MSG_TRUNC", &e.me, mine, 4, unix.MSG_TRUNC, nil)
		e.receives("whole, MSG_TRUNC", &e.me, mine, 99, unix.MSG_TRUNC, nil)
		e.receives("nothing is left", &e.me, mine, 99, unix.MSG_DONTWAIT, nil)
	}},
	{"datagram: MSG_PEEK", func(e *env) {
		mine, theirs := e.peers()
		e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, e.me.name(mine)))
		e.must(e.peer.api.Sendto(theirs, []byte("def"), 0, e.me.name(mine)))
		e.receives("peek", &e.me, mine, 2, unix.MSG_PEEK, nil)
		e.receives("peek, MSG_TRUNC", &e.me, mine, 0, unix.MSG_PEEK|unix.MSG_TRUNC, nil)
		e.receives("receive", &e.me, mine, 9, 0, nil)
		e.receives("receive", &e.me, mine, 9, 0, nil)
	}},
	{"datagram: as much as fits one packet, and too much", func(e *env) {
		mine, theirs := e.peers()
		n, err := e.me.api.Write(mine, make([]byte, 1472))
		e.note("1472", n, err)
		n, _, err = e.peer.api.Recvfrom(theirs, make([]byte, 2000), 0)
		e.note("the peer receives", n, err)
		_, err = e.me.api.Write(mine, make([]byte, 65508))
		e.note("65508", err)
	}},
	{"datagram: larger than a packet", func(e *env) {
		mine, _ := e.peers()
		n, err := e.me.api.Write(mine, make([]byte, 1473))
		e.note("1473", n, err)
	}},
	{"datagram: broadcast wants SO_BROADCAST", func(e *env) {
		port := e.freePort()
		theirs := e.peer.udp()
		e.must(e.peer.api.Bind(theirs, &unix.SockaddrInet4{Port: port}))
		mine := e.me.udp()
		to := &unix.SockaddrInet4{Addr: [4]byte{10, 99, 0, 255}, Port: port}
		e.note("without", e.me.api.Sendto(mine, []byte("x"), 0, to))
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
		e.note("with", e.me.api.Sendto(mine, []byte("y"), 0, to))
		e.receives("the peer receives", &e.peer, theirs, 9, 0, nil)
	}},
	{"datagram: IP_TTL and IP_TOS do not get in the way", func(e *env) {
		mine, theirs := e.peers()
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_TTL, 1)
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_TOS, 0xb8)
		e.sends("send", &e.me, mine, "x", 0)
		e.receives("the peer receives", &e.peer, theirs, 9, 0, nil)
	}},
	{"datagram: nothing is there", func(e *env) {
		mine, _ := e.me.datagram()
		e.receives("MSG_DONTWAIT", &e.me, mine, 9, unix.MSG_DONTWAIT, nil)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		start := time.Now()
		e.receives("SO_RCVTIMEO", &e.me, mine, 9, 0, nil)
		e.note("it waited", time.Since(start) > 40*time.Millisecond)
	}},
	{"datagram: shut down, not connected", func(e *env) {
		mine, _ := e.me.datagram()
		read := in(func() error { _, _, err := e.me.api.Recvfrom(mine, make([]byte, 1), 0); return err })
		time.Sleep(50 * time.Millisecond)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RD))
		e.note("the recv under way", <-read)
		e.receives("receive", &e.me, mine, 9, 0, nil)
		e.receives("MSG_DONTWAIT", &e.me, mine, 9, unix.MSG_DONTWAIT, nil)
	}},
	{"datagram: shut down, connected", func(e *env) {
		mine, theirs := e.peers()
		e.note("SHUT_WR", e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.sends("send", &e.me, mine, "x", 0)
		e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, e.me.name(mine)))
		e.receives("receive", &e.me, mine, 9, 0, nil)
		e.note("SHUT_RD", e.me.api.Shutdown(mine, unix.SHUT_RD))
		e.receives("receive", &e.me, mine, 9, 0, nil)
	}},
	{"datagram: longer than SO_SNDBUF", func(e *env) {
		_, at := e.peer.datagram()
		fd := e.me.udp()
		e.must(e.me.api.Connect(fd, at))
		e.me.set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
		for _, n := range []int{1400, 1472, 65507} {
			e.note(fmt.Sprint(n, " bytes"), e.me.api.Sendto(fd, make([]byte, n), 0, nil))
		}
	}},
	{"datagram: a shutdown wakes all who receive", func(e *env) {
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR} {
			mine, _ := e.peers()
			p := make([]byte, 9)
			w := e.waiting()
			for i := range 3 {
				w.add("recv", func() string {
					n, _, err := e.me.api.Recvfrom(mine, p[i:i+1], 0)
					return fmt.Sprint(n, " ", show(err))
				})
			}
			w.none("before")
			e.note("SHUT_WR", e.me.api.Shutdown(mine, unix.SHUT_WR))
			w.none("after")
			e.note("shutdown "+show(how), e.me.api.Shutdown(mine, how))
			w.all()
		}
	}},
	{"datagram: who gets it", func(e *env) {
		port := e.freePort()
		all, one := e.me.udp(), e.me.udp()
		for _, fd := range []int{all, one} {
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}
		e.must(e.me.api.Bind(all, &unix.SockaddrInet4{Port: port}))
		e.must(e.me.api.Bind(one, e.me.at(port)))
		theirs, from := e.peer.datagram()
		e.must(e.peer.api.Sendto(theirs, []byte("a"), 0, e.me.at(port)))
		e.receives("the one with the address", &e.me, one, 9, 0, from)
		e.receives("not the other", &e.me, all, 9, unix.MSG_DONTWAIT, nil)
		e.me.close(one)
		e.must(e.peer.api.Sendto(theirs, []byte("b"), 0, e.me.at(port)))
		e.receives("then the other", &e.me, all, 9, 0, from)
	}},
	{"datagram: the unspecified address is this host", func(e *env) {
		any := func(port int) unix.Sockaddr { return &unix.SockaddrInet4{Port: port} }
		port := e.freePort()
		all := e.me.udp()
		e.must(e.me.api.Bind(all, any(port)))
		heard := func(what string) {
			_, from, err := e.me.api.Recvfrom(all, make([]byte, 9), 0)
			e.must(err)
			e.note(what+" comes from", from.(*unix.SockaddrInet4).Addr)
		}
		fd := e.me.udp()
		e.note("send", e.me.api.Sendto(fd, []byte("x"), 0, any(port)))
		heard("what no address sent")
		e.note("connect", e.me.api.Connect(fd, any(port)))
		e.me.noteNames("without an address", fd)
		fd = e.me.udp()
		e.note("connect to the peer", e.me.api.Connect(fd, e.peer.at(9)))
		e.note("send", e.me.api.Sendto(fd, []byte("x"), 0, any(port)))
		heard("what a connected socket sent")
		e.note("connect", e.me.api.Connect(fd, any(port)))
		e.me.noteNames("connected before", fd)
		fd, _ = e.me.datagram()
		e.note("send", e.me.api.Sendto(fd, []byte("x"), 0, any(port)))
		heard("what a bound socket sent")
		e.note("connect", e.me.api.Connect(fd, any(port)))
		e.me.noteNames("bound", fd)
	}},
	{"datagram: connected to port 0, hears every port of its peer", func(e *env) {
		mine, at := e.me.datagram()
		e.note("connect", e.me.api.Connect(mine, e.peer.at(0)))
		_, err := e.me.api.Getpeername(mine)
		e.note("getpeername", err)
		for range 2 {
			theirs, from := e.peer.datagram()
			e.must(e.peer.api.Sendto(theirs, []byte("x"), 0, at))
			e.receives("receive", &e.me, mine, 9, 0, from)
		}
		own := e.me.udp()
		e.must(e.me.api.Sendto(own, []byte("x"), 0, at))
		refused := e.me.refusing()
		e.note("connect", e.me.api.Connect(mine, e.me.at(0)))
		e.receives("not what another sent before", &e.me, mine, 9, unix.MSG_DONTWAIT, nil)
		e.note("send where nobody is", e.me.api.Sendto(mine, []byte("x"), 0, refused))
		e.note("SO_ERROR", unix.Errno(e.soError(mine)))
		e.note("to port 0", e.me.api.Sendto(mine, []byte("x"), 0, e.me.at(0)))
		for _, to := range []*side{&e.peer, &e.me} {
			e.note("connect", e.me.api.Connect(mine, to.at(0)))
			e.sends("to a peer without a port", &e.me, mine, "x", 0)
			e.awaits("refused", &e.me, mine, unix.POLLERR)
			e.sends("to a peer without a port", &e.me, mine, "", 0)
			e.sends("and again", &e.me, mine, "", 0)
			e.awaits("refused", &e.me, mine, unix.POLLERR)
			e.note("SO_ERROR", unix.Errno(e.soError(mine)))
		}
	}},
}
