package socketapi

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var listenRows = []row{
	{"listen: without bind a port is chosen", func(e *env) {
		l := e.me.tcp()
		e.note("listen", e.me.api.Listen(l, 4))
		at := e.me.name(l)
		e.note("port", at.Addr, at.Port >= 1024)
		c := e.peer.tcp()
		e.note("the peer connects", e.peer.api.Connect(c, e.me.at(at.Port)))
		e.me.accept(l)
	}},
	{"listen: again, with any backlog", func(e *env) {
		l, _ := e.me.listener()
		for _, n := range []int{0, 1, -1, 1 << 20} {
			e.note("listen "+show(n), e.me.api.Listen(l, n))
		}
	}},
	{"listen: on a connected socket, and on datagrams", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.note("stream", e.me.api.Listen(mine, 1))
		d := e.me.udp()
		e.note("datagram", e.me.api.Listen(d, 1))
		_, _, err := e.me.api.Accept(d)
		e.note("accept", err)
	}},
	{"listen: SO_ACCEPTCONN", func(e *env) {
		l, mine := e.me.tcp(), e.me.udp()
		for _, fd := range []int{l, mine} {
			e.note2(e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN))
		}
		e.must(e.me.api.Listen(l, 1))
		e.note2(e.me.api.GetsockoptInt(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN))
	}},
	{"listen: data calls on a listener", func(e *env) {
		l, _ := e.me.listener()
		_, err := e.me.api.Read(l, make([]byte, 1))
		e.note("read", err)
		_, err = e.me.api.SendmsgN(l, []byte("x"), nil, nil, 0)
		e.note("send", err)
		_, err = e.me.api.Getpeername(l)
		e.note("getpeername", err)
		e.note("connect", e.me.api.Connect(l, e.peer.at(7)))
	}},
	{"listen: an error that waits does not end data calls", func(e *env) {
		l, at := e.peer.listener()
		mine := e.me.tcp()
		e.must(e.me.api.Connect(mine, at))
		e.peer.close(e.peer.accept(l))
		e.must(e.me.api.Connect(mine, nil))
		e.note("listen", e.me.api.Listen(mine, 1))
		for _, flags := range []int{0, unix.MSG_PEEK, unix.MSG_OOB} {
			_, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), flags)
			e.note("receive", flags, err)
		}
		n, err := e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
		e.note("SO_ERROR", unix.Errno(n), err)
	}},
	{"listen: the backlog is full", func(e *env) {
		l := e.me.tcp()
		e.must(e.me.api.Bind(l, e.me.at(0)))
		e.must(e.me.api.Listen(l, 0))
		at := e.me.name(l)
		first := e.peer.tcp()
		e.note("one fits", e.peer.api.Connect(first, at))
		second := e.peer.tcp()
		e.must(e.peer.api.SetsockoptTimeval(second, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 300000}))
		e.note("another does not", e.peer.api.Connect(second, at))
		e.me.accept(l)
	}},
	{"accept: not a listener", func(e *env) {
		fd := e.me.tcp()
		_, _, err := e.me.api.Accept(fd)
		e.note("fresh", err)
		e.must(e.me.api.Bind(fd, e.me.at(0)))
		_, _, err = e.me.api.Accept(fd)
		e.note("bound", err)
		mine, _ := e.me.connected(&e.peer)
		_, _, err = e.me.api.Accept(mine)
		e.note("connected", err)
	}},
	{"accept: nobody is there", func(e *env) {
		l, _ := e.me.listener()
		e.must(e.me.api.SetNonblock(l, true))
		_, _, err := e.me.api.Accept(l)
		e.note("non-blocking", err)
		e.must(e.me.api.SetNonblock(l, false))
		e.must(e.me.api.SetsockoptTimeval(l, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		start := time.Now()
		_, _, err = e.me.api.Accept(l)
		e.note("SO_RCVTIMEO", err, time.Since(start) > 40*time.Millisecond)
	}},
	{"accept: who it is", func(e *env) {
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		a, sa, err := e.me.api.Accept(l)
		a = e.me.keep(a, err)
		name := e.peer.name(c)
		e.note("the peer's name", show(sa) == show(name))
		peer, err := e.me.api.Getpeername(a)
		e.note("getpeername", show(peer) == show(name), err)
		e.note("getsockname is the listener's", show(e.me.name(a)) == show(at))
	}},
	{"accept4: flags", func(e *env) {
		l, at := e.me.listener()
		_, _, err := e.me.api.Accept4(l, 1<<20)
		e.note("unknown", err)
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		a, _, err := e.me.api.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		a = e.me.keep(a, err)
		_, err = e.me.api.Read(a, make([]byte, 1))
		e.note("non-blocking", err)
	}},
	{"accept: what the connection has of its listener", func(e *env) {
		l := e.me.tcp()
		ints := []struct{ level, opt, n int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 50000},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7777},
			{unix.IPPROTO_IP, unix.IP_TTL, 33}, {unix.IPPROTO_IP, unix.IP_TOS, 16}, {unix.IPPROTO_IP, unix.IP_MINTTL, 64},
		}
		for _, o := range ints {
			e.me.set(l, o.level, o.opt, o.n)
		}
		e.must(e.me.api.SetsockoptLinger(l, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3}))
		e.must(e.me.api.SetsockoptTimeval(l, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}))
		e.must(e.me.api.SetNonblock(l, true))
		e.must(e.me.api.Bind(l, e.me.at(0)))
		e.must(e.me.api.Listen(l, 4))
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, e.me.name(l)))
		a := -1
		e.until("the connection", func() (ok bool) {
			fd, _, err := e.me.api.Accept(l)
			if err == nil {
				a = e.me.keep(fd, nil)
			}
			return err == nil
		})
		for _, o := range ints {
			n, err := e.me.api.GetsockoptInt(a, o.level, o.opt)
			e.note("option "+show([2]int{o.level, o.opt}), n, err)
		}
		linger, err := e.me.api.GetsockoptLinger(a, unix.SOL_SOCKET, unix.SO_LINGER)
		e.note("SO_LINGER", *linger, err)
		tv, err := e.me.api.GetsockoptTimeval(a, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
		e.note("SO_RCVTIMEO", *tv, err)
		e.must(e.peer.api.Sendto(c, []byte("x"), 0, nil))
		n, err := e.me.api.Read(a, make([]byte, 1))
		e.note("it is blocking", n, err)
	}},
	{"accept: a connection that was reset before", func(e *env) {
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.must(e.peer.api.Connect(c, at))
		e.peer.close(c)
		second := e.peer.tcp() // what arrives after the reset shows that that has arrived
		e.must(e.peer.api.Connect(second, at))
		a := e.me.accept(l)
		_, err := e.me.api.Read(a, make([]byte, 1))
		e.note("read", err)
		n, err := e.me.api.Read(a, make([]byte, 1))
		e.note("read again", n, err)
		_, err = e.me.api.Getpeername(a)
		e.note("getpeername", err)
	}},
	{"shutdown: a listener", func(e *env) {
		l, at := e.me.tcp(), e.me.at(e.freePort()) // Linux gives a port back that bind has chosen
		e.must(e.me.api.Bind(l, at))
		e.must(e.me.api.Listen(l, 4))
		e.note("SHUT_WR", e.me.api.Shutdown(l, unix.SHUT_WR))
		e.note2(e.me.api.GetsockoptInt(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN))
		accepted := in(func() error { _, _, err := e.me.api.Accept(l); return err })
		time.Sleep(50 * time.Millisecond)
		e.note("SHUT_RD", e.me.api.Shutdown(l, unix.SHUT_RD))
		e.note("the accept under way", <-accepted)
		_, _, err := e.me.api.Accept(l)
		e.note("accept", err)
		e.note2(e.me.api.GetsockoptInt(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN))
		e.note("the peer connects", e.peer.api.Connect(e.peer.tcp(), at))
		e.note("the name stays", show(e.me.name(l)) == show(at))
		e.note("listen again", e.me.api.Listen(l, 4))
		e.note("the peer connects", e.peer.api.Connect(e.peer.tcp(), at))
	}},
	{"shutdown: a listener at which several wait", func(e *env) {
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR} {
			l, _ := e.me.listener()
			w := e.waiting()
			for range 3 {
				w.add("accept", func() string { _, _, err := e.me.api.Accept(l); return show(err) })
			}
			w.add("poll", func() string { n, events, err := e.me.poll1(l, unix.POLLIN, 10000); return fmt.Sprint(n, events, err) })
			w.none("before")
			e.note("shutdown "+show(how), e.me.api.Shutdown(l, how))
			w.all()
		}
	}},
	{"shutdown: SHUT_WR of a listener wakes nobody", func(e *env) {
		l, at := e.me.listener()
		w := e.waiting()
		w.add("accept", func() string { fd, _, err := e.me.api.Accept(l); e.me.api.Close(fd); return show(err) })
		w.none("before")
		e.note("shutdown", e.me.api.Shutdown(l, unix.SHUT_WR))
		w.none("after")
		e.note("the peer connects", e.peer.api.Connect(e.peer.tcp(), at))
		w.all()
	}},
	{"close: a listener with connections that nobody accepted", func(e *env) {
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		e.until("the connection is there", func() bool { return e.peer.state(c) == linuxEstablished })
		time.Sleep(20 * time.Millisecond)
		e.me.close(l)
		_, err := e.peer.api.Read(c, make([]byte, 1))
		e.note("the peer reads", err)
	}},
}

// note2 notes a number and an error.
func (e *env) note2(n int, err error) { e.note("is", n, err) }
