package socketapi

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var nobodies atomic.Uint32

// nobody is an address of the link that no station has, and about which nobody has been asked for long: what is known of one
// that does not answer, 3 s after the first question, ends all attempts at once.
func (e *env) nobody() *unix.SockaddrInet4 {
	at := e.peer.at(7)
	at.Addr[3] = byte(100 + nobodies.Add(1)%100)
	return at
}

// refusing is an address of the peer where nobody listens.
func (e *env) refusing() *unix.SockaddrInet4 {
	fd := e.peer.tcp()
	e.must(e.peer.api.Bind(fd, e.peer.at(0)))
	at := e.peer.name(fd)
	e.peer.close(fd)
	return at
}

// refusing is an address of the side where no datagram socket is.
func (s *side) refusing() *unix.SockaddrInet4 {
	fd, at := s.datagram()
	s.close(fd)
	return at
}

// soError waits for SO_ERROR.
func (e *env) soError(fd int) (n int) {
	e.until("SO_ERROR", func() bool {
		var err error
		n, err = e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		e.must(err)
		return n != 0
	})
	return n
}

var connectRows = []row{
	{"connect: the same pair twice, one of an interface", func(e *env) {
		_, at := e.peer.listener()
		port := e.freePort()
		for _, name := range []string{"va", ""} {
			fd := e.me.tcp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.must(e.me.api.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name))
			e.must(e.me.api.Bind(fd, e.me.at(port)))
			e.must(e.me.api.SetNonblock(fd, true)) // of the same pair twice no handshake can end
			e.note("connect", e.me.api.Connect(fd, at))
		}
	}},
	{"connect: names of both ends", func(e *env) {
		l, at := e.peer.listener()
		c := e.me.tcp()
		e.note("connect", e.me.api.Connect(c, at))
		fd, from, err := e.peer.api.Accept(l)
		e.peer.keep(fd, err)
		e.note("accept", err)
		e.note("getsockname", show(from) == show(e.me.name(c)), e.me.name(c).Addr)
		peer, err := e.me.api.Getpeername(c)
		e.note("getpeername", show(peer) == show(at), err)
	}},
	{"connect: from a port that bind gave", func(e *env) {
		_, at := e.peer.listener()
		c, port := e.me.tcp(), e.freePort()
		e.must(e.me.api.Bind(c, &unix.SockaddrInet4{Port: port}))
		e.note("connect", e.me.api.Connect(c, at))
		e.note("getsockname", e.me.name(c))
	}},
	{"connect: refused, then again", func(e *env) {
		c := e.me.tcp()
		e.note("refused", e.me.api.Connect(c, e.refusing()))
		e.note2(e.me.api.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR))
		_, err := e.me.api.Getpeername(c)
		e.note("getpeername", err)
		_, err = e.me.api.Read(c, make([]byte, 1))
		e.note("read", err)
		_, err = e.me.api.SendmsgN(c, []byte("x"), nil, nil, 0)
		e.note("send", err)
		_, at := e.peer.listener()
		e.note("again", e.me.api.Connect(c, at))
		_, err = e.me.api.SendmsgN(c, []byte("x"), nil, nil, 0)
		e.note("send", err)
	}},
	{"connect: refused with a bound port, which stays", func(e *env) {
		c, port := e.me.tcp(), e.freePort()
		e.must(e.me.api.Bind(c, e.me.at(port)))
		e.note("refused", e.me.api.Connect(c, e.refusing()))
		e.note("getsockname", e.me.name(c))
		e.note("listen", e.me.api.Listen(c, 1))
	}},
	{"connect: to the unspecified address", func(e *env) {
		for _, bound := range []bool{false, true} {
			l, port := e.me.tcp(), e.freePort()
			e.must(e.me.api.Bind(l, &unix.SockaddrInet4{Port: port}))
			e.must(e.me.api.Listen(l, 1))
			c := e.me.tcp()
			if bound {
				e.must(e.me.api.Bind(c, e.me.at(0)))
			}
			e.note(fmt.Sprint("connect, bound ", bound), e.me.api.Connect(c, &unix.SockaddrInet4{Port: port}))
			e.me.noteNames("connected", c)
		}
	}},
	{"connect: twice", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.note("connected", e.me.api.Connect(mine, e.peer.at(7)))
	}},
	{"connect: an address of another family", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("connect", e.me.api.Connect(fd, &unix.SockaddrInet6{Port: 7}))
		}
	}},
	{"connect: no route", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("connect", e.me.api.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{203, 0, 113, 1}, Port: 7}))
		}
	}},
	{"connect: a neighbour that does not answer", func(e *env) {
		c := e.me.tcp()
		e.note("connect", e.me.api.Connect(c, e.nobody()))
		e.note2(e.me.api.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR))
	}},
	{"connect: to port 0", func(e *env) {
		for _, to := range []unix.Sockaddr{
			e.peer.at(0), &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}, &unix.SockaddrInet4{Addr: [4]byte{224, 0, 0, 1}},
			&unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}}, in6("ff02::1", 0), in6("2001:db8::1", 0), in6("fe80::1", 0), in6("::ffff:192.0.2.1", 0),
		} {
			family := unix.AF_INET
			if _, six := to.(*unix.SockaddrInet6); six {
				family = unix.AF_INET6
			}
			e.note("connect", e.me.api.Connect(e.me.open(family, unix.SOCK_STREAM, 0), to))
		}
	}},
	{"connect: to a group", func(e *env) {
		e.note("connect", e.me.api.Connect(e.me.tcp(), &unix.SockaddrInet4{Addr: [4]byte{224, 0, 0, 1}, Port: 7}))
		e.note("connect", e.me.api.Connect(e.me.tcp(), &unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}, Port: 7}))
		for _, group := range []string{"ff02::1", "ff01::1", "ff05::1", "::ffff:224.0.0.1", "fe80::1"} { // without a link
			e.note(group, e.me.api.Connect(e.me.open(unix.AF_INET6, unix.SOCK_STREAM, 0), in6(group, 7)))
		}
	}},
	{"connect: non-blocking, under way", func(e *env) {
		c := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.note("first", e.me.api.Connect(c, e.nobody()))
		e.note("second", e.me.api.Connect(c, e.nobody()))
		e.note("elsewhere", e.me.api.Connect(c, e.peer.at(7)))
		_, err := e.me.api.Getpeername(c)
		e.note("getpeername", err)
		e.note("getsockname", e.me.name(c).Addr)
		_, err = e.me.api.Read(c, make([]byte, 1))
		e.note("read", err)
		_, err = e.me.api.SendmsgN(c, []byte("x"), nil, nil, 0)
		e.note("send", err)
		e.note("listen", e.me.api.Listen(c, 1))
		e.note("bind", e.me.api.Bind(c, e.me.at(0)))
		e.note("state", e.me.state(c))
	}},
	{"connect: non-blocking, made", func(e *env) {
		_, at := e.peer.listener()
		c := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.note("first", e.me.api.Connect(c, at))
		e.until("established", func() bool { return e.me.state(c) == linuxEstablished })
		e.note2(e.me.api.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR))
		e.note("second", e.me.api.Connect(c, at))
		e.note("third", e.me.api.Connect(c, at))
	}},
	{"connect: non-blocking, refused, SO_ERROR", func(e *env) {
		at := e.refusing()
		c := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.note("first", e.me.api.Connect(c, at))
		e.note("SO_ERROR", unix.Errno(e.soError(c)))
		e.note2(e.me.api.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR))
		e.note("second", e.me.api.Connect(c, at))
		e.note("third", e.me.api.Connect(c, at))
	}},
	{"connect: non-blocking, refused, by connect", func(e *env) {
		at := e.refusing()
		c := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.note("first", e.me.api.Connect(c, at))
		e.until("the refusal", func() bool { return e.me.state(c) == linuxClose })
		e.note("second", e.me.api.Connect(c, at))
		e.note2(e.me.api.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR))
	}},
	{"connect: non-blocking, refused, by send", func(e *env) {
		c := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.note("first", e.me.api.Connect(c, e.refusing()))
		e.until("the refusal", func() bool { return e.me.state(c) == linuxClose })
		_, err := e.me.api.SendmsgN(c, []byte("x"), nil, nil, 0)
		e.note("send", err)
		_, err = e.me.api.SendmsgN(c, []byte("x"), nil, nil, 0)
		e.note("send", err)
		n, err := e.me.api.Read(c, make([]byte, 1))
		e.note("read", n, err)
	}},
	{"connect: SO_SNDTIMEO", func(e *env) {
		c := e.me.tcp()
		e.must(e.me.api.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 50000}))
		start := time.Now()
		e.note("first", e.me.api.Connect(c, e.nobody()))
		e.note("it waited", time.Since(start) > 40*time.Millisecond)
		e.note("second", e.me.api.Connect(c, e.nobody()))
	}},
	{"connect: shut down under way", func(e *env) {
		c := e.me.tcp()
		connected := in(func() error { return e.me.api.Connect(c, e.nobody()) })
		e.until("the attempt", func() bool { return e.me.state(c) == 2 })
		e.note("shutdown", e.me.api.Shutdown(c, unix.SHUT_RDWR))
		e.note("connect", <-connected)
		_, at := e.peer.listener()
		e.note("connect again", e.me.api.Connect(c, at))
	}},
	{"connect: each shutdown wakes who waits for it", func(e *env) {
		p := make([]byte, 9)
		twice := func(call func() error) string { // in any order
			first, second := in(call), in(call)
			said := []string{show(<-first), show(<-second)}
			slices.Sort(said)
			return fmt.Sprint(said)
		}
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_WR, unix.SHUT_RDWR} {
			for _, call := range []struct {
				name string
				wait func(fd int) string
			}{
				{"connect", func(fd int) string { return show(e.me.api.Connect(fd, e.nobody())) }},
				{"read", func(fd int) string { n, err := e.me.api.Read(fd, p[:1]); return fmt.Sprint(n, " ", show(err)) }},
				{"write", func(fd int) string { n, err := e.me.api.Write(fd, p[2:3]); return fmt.Sprint(n, " ", show(err)) }},
				{"connect twice", func(fd int) string {
					return twice(func() error { return e.me.api.Connect(fd, e.nobody()) })
				}},
				{"read twice", func(fd int) string {
					return twice(func() error { _, err := e.me.api.Read(fd, make([]byte, 1)); return err })
				}},
				{"write twice", func(fd int) string {
					return twice(func() error { _, err := e.me.api.Write(fd, []byte("ab")); return err })
				}},
				{"poll", func(fd int) string {
					n, events, err := e.me.poll1(fd, unix.POLLOUT, 10000)
					return fmt.Sprint(n, events, err)
				}},
			} {
				fd := e.connecting(e.nobody())
				e.must(e.me.api.SetNonblock(fd, false))
				w := e.waiting()
				w.add(call.name, func() string { return call.wait(fd) })
				w.none("before")
				e.note("shutdown "+show(how), e.me.api.Shutdown(fd, how))
				w.all()
				e.takenError(fd)
			}
		}
	}},
	{"connect: AF_UNSPEC wakes who waits", func(e *env) {
		p := make([]byte, 9)
		calls := func(fd int) {
			w := e.waiting()
			w.add("read", func() string { n, err := e.me.api.Read(fd, p[:1]); return fmt.Sprint(n, " ", show(err)) })
			w.add("peek", func() string {
				n, _, err := e.me.api.Recvfrom(fd, p[1:], unix.MSG_PEEK)
				return fmt.Sprint(n, " ", show(err))
			})
			if e.me.state(fd) == linuxSynSent {
				w.add("connect", func() string { return show(e.me.api.Connect(fd, e.nobody())) })
				w.add("write", func() string { n, err := e.me.api.Write(fd, []byte("ab")); return fmt.Sprint(n, " ", show(err)) })
			}
			w.none("before")
			e.note("AF_UNSPEC", e.me.api.Connect(fd, nil))
			w.sorted()
			e.takenError(fd)
		}
		mine, _ := e.me.connected(&e.peer)
		calls(mine)
		fd := e.connecting(e.nobody())
		e.must(e.me.api.SetNonblock(fd, false))
		calls(fd)
	}},
	{"connect: AF_UNSPEC", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.note("connect", e.me.api.Connect(mine, nil))
		_, err := e.peer.api.Read(theirs, make([]byte, 1))
		e.note("the peer reads", err)
		_, err = e.me.api.Getpeername(mine)
		e.note("getpeername", err)
		_, at := e.peer.listener()
		e.note("connect again", e.me.api.Connect(mine, at))
		e.note("fresh", e.me.api.Connect(e.me.tcp(), nil))
	}},
	{"connect: two from the same port to the same peer", func(e *env) {
		_, at := e.peer.listener()
		port := e.freePort()
		for _, name := range []string{"first", "second"} {
			c := e.me.tcp()
			e.me.set(c, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.must(e.me.api.Bind(c, e.me.at(port)))
			e.note(name, e.me.api.Connect(c, at))
		}
	}},
	{"connect: the pair of a connection that is closed here and not by the peer", func(e *env) {
		l, at := e.peer.listener()
		port := e.freePort()
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(port, " ", port)))
		open := func(bound bool) int {
			fd := e.me.tcp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			if bound {
				e.must(e.me.api.Bind(fd, e.me.at(port)))
			}
			e.must(e.me.api.SetNonblock(fd, true))
			return fd
		}
		first := open(true)
		e.note("the first", e.me.api.Connect(first, at))
		theirs := e.peer.accept(l)
		second, third := open(true), open(false)
		quiet := func() {
			e.until("the end", func() bool { return e.peer.polled(theirs)&unix.POLLIN != 0 })
			e.peer.set(theirs, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
			e.until("FIN-WAIT-2", func() bool { return !e.me.finWait1(port) })
		}
		e.must(e.me.api.Shutdown(first, unix.SHUT_WR))
		quiet()
		e.note("while it is only shut down", e.me.api.Connect(second, at))
		e.me.close(first)
		e.note("from a port that is chosen", e.me.api.Connect(third, at))
		e.note("from one that is bound", e.me.api.Connect(second, at))
		e.until("the connection", func() bool { return e.me.state(second) == linuxEstablished })
		_, err := e.peer.api.Read(theirs, make([]byte, 1))
		e.note("the peer reads of the first", err) // its end was there
		_, err = e.peer.api.Write(theirs, []byte("x"))
		e.note("and writes", err)
	}},
	{"connect: while another goroutine does", func(e *env) {
		c := e.me.tcp()
		first := in(func() error { return e.me.api.Connect(c, e.nobody()) })
		e.until("the attempt", func() bool { return e.me.state(c) == 2 })
		e.must(e.me.api.SetNonblock(c, true))
		e.note("second", e.me.api.Connect(c, e.nobody()))
		e.note("first", <-first)
	}},
}
