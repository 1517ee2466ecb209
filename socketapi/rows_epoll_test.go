package socketapi

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// epoll makes an epoll.
func (s *side) epoll() int {
	s.e.t.Helper()
	fd, err := s.api.EpollCreate1(unix.EPOLL_CLOEXEC)
	return s.keep(fd, err)
}

// watches adds a descriptor that is known by a number.
func (s *side) watches(ep, fd int, events uint32, number int32) error {
	return s.api.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: number})
}

// epolls notes what an epoll says within some time.
func (e *env) epolls(what string, ep, room, timeout int) {
	e.t.Helper()
	events := make([]unix.EpollEvent, room)
	n, err := e.me.api.EpollWait(ep, events, timeout)
	list := []any{n, err}
	for _, ev := range events[:max(n, 0)] {
		list = append(list, fmt.Sprint(ev.Fd, pollNamed(ev.Events)))
	}
	e.note(what, list...)
}

const (
	epollLong  = 10000 // ms: it comes before that
	epollShort = 25    // ms: it does not come
)

var epollRows = []row{
	{"epoll: level", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, mine, unix.EPOLLIN, 1))
		e.epolls("nothing", ep, 4, epollShort)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("to read", ep, 4, epollLong)
		e.epolls("still", ep, 4, epollLong)
		e.reads("a part", &e.me, mine, 1, 0)
		e.epolls("still", ep, 4, epollLong)
		e.reads("the rest", &e.me, mine, 9, 0)
		e.epolls("nothing", ep, 4, epollShort)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.epolls("the end", ep, 4, epollLong)
	}},
	{"epoll: edge", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, mine, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, 1))
		e.epolls("room", ep, 4, epollLong)
		e.epolls("told already", ep, 4, epollShort)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("to read", ep, 4, epollLong)
		e.epolls("told already", ep, 4, epollShort)
		e.reads("a part", &e.me, mine, 1, 0)
		e.epolls("told already", ep, 4, epollShort)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.epolls("more", ep, 4, epollLong)
		e.arrived(&e.me, mine, 5)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.epolls("the end", ep, 4, epollLong)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.awaits("both ends", &e.me, mine, unix.POLLHUP)
		e.epolls("both ends", ep, 4, epollLong)
	}},
	{"epoll: edge, changed to the same", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, mine, unix.EPOLLIN|unix.EPOLLET, 1))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("to read", ep, 4, epollLong)
		e.epolls("told already", ep, 4, epollShort)
		e.note("change", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_MOD, mine, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: 2}))
		e.epolls("told again", ep, 4, epollLong)
	}},
	{"epoll: edge, room after none", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetNonblock(mine, true))
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<15)
		e.peer.set(theirs, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<15)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, mine, unix.EPOLLOUT|unix.EPOLLET, 1))
		e.epolls("room", ep, 4, epollLong)
		p := make([]byte, 1<<20)
		e.until("full for good", func() bool {
			_, err := e.me.api.Write(mine, p)
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				_, err = e.me.api.Write(mine, p)
			}
			return err != nil
		})
		e.beside(func() {
			for {
				if n, _, err := e.peer.api.Recvfrom(theirs, p, 0); n <= 0 || err != nil {
					return
				}
			}
		})
		e.epolls("room again", ep, 4, epollLong)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("the peer has all", func() bool { return e.peer.state(theirs) != linuxEstablished })
	}},
	{"epoll: once", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, mine, unix.EPOLLIN|unix.EPOLLONESHOT, 1))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("to read", ep, 4, epollLong)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.epolls("told already", ep, 4, epollShort)
		e.note("again", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_MOD, mine, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: 2}))
		e.epolls("told again", ep, 4, epollLong)
		e.epolls("told already", ep, 4, epollShort)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		e.epolls("not told of the end", ep, 4, epollShort)
	}},
	{"epoll: several, in turn", func(e *env) {
		ep := e.me.epoll()
		var theirs [3]int
		for i := range theirs {
			var mine int
			mine, theirs[i] = e.me.connected(&e.peer)
			e.must(e.me.watches(ep, mine, unix.EPOLLIN, int32(i)))
			e.sends("the peer sends", &e.peer, theirs[i], "abc", 0)
			// Poll asks the socket, which knows a moment before the epoll is told.
			e.until("the epoll is told", func() bool {
				n, err := e.me.api.EpollWait(ep, make([]unix.EpollEvent, 9), epollLong)
				return err != nil || n == i+1
			})
		}
		for range 4 {
			e.epolls("one at a time", ep, 1, epollLong)
		}
		e.epolls("all", ep, 9, epollLong)
	}},
	{"epoll: what it is told to do", func(e *env) {
		fd := e.me.udp()
		ep := e.me.epoll()
		ctl := e.me.api.EpollCtl
		e.note("change what is not there", ctl(ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{}))
		e.note("remove what is not there", ctl(ep, unix.EPOLL_CTL_DEL, fd, nil))
		e.note("add", ctl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
		e.note("add again", ctl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
		e.note("remove", ctl(ep, unix.EPOLL_CTL_DEL, fd, nil))
		e.note("something else", ctl(ep, 99, fd, &unix.EpollEvent{}))
		e.note("nothing", ctl(ep, unix.EPOLL_CTL_ADD, fd, nil))
		e.note("itself", ctl(ep, unix.EPOLL_CTL_ADD, ep, &unix.EpollEvent{}))
		e.note("not an epoll", ctl(fd, unix.EPOLL_CTL_ADD, ep, &unix.EpollEvent{}))
		e.note("exclusive", ctl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLEXCLUSIVE | unix.EPOLLIN}))
		e.note("changed", ctl(ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}))
		e.note("changed to it", ctl(ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLEXCLUSIVE}))
		e.must(ctl(ep, unix.EPOLL_CTL_DEL, fd, nil))
		e.note("exclusive once", ctl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT}))
		_, err := e.me.api.EpollWait(fd, make([]unix.EpollEvent, 1), 0)
		e.note("wait for a socket", err)
		_, err = e.me.api.EpollWait(ep, nil, 0)
		e.note("wait without room", err)
		_, err = e.me.api.EpollCreate1(1)
		e.note("create with flags", err)
		_, err = e.me.api.EpollCreate(0)
		e.note("create of nothing", err)
		e.me.close(fd)
		e.note("not open", ctl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
		e.note("not open", ctl(fd, unix.EPOLL_CTL_ADD, ep, &unix.EpollEvent{}))
		_, err = e.me.api.EpollWait(fd, make([]unix.EpollEvent, 1), 0)
		e.note("not open", err)
		_, err = e.me.api.Read(ep, make([]byte, 1))
		e.note("read", err)
		_, err = e.me.api.Getsockname(ep)
		e.note("getsockname", err)
		e.note("bind", e.me.api.Bind(ep, e.me.at(0)))
		n, err := e.me.api.FcntlInt(uintptr(ep), unix.F_GETFL, 0)
		e.note("F_GETFL", n, err)
	}},
	{"epoll: close takes it out", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, mine, unix.EPOLLIN, 1))
		other, err := e.me.api.Dup(mine)
		e.me.keep(other, err)
		e.me.close(mine)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("the other descriptor keeps it", ep, 4, epollLong)
		e.note("by the other's number", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_DEL, other, nil))
		e.me.close(other)
		e.epolls("gone", ep, 4, epollShort)
	}},
	{"epoll: before it is connected", func(e *env) {
		l, at := e.peer.listener()
		fd := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, 1))
		e.epolls("fresh", ep, 4, epollLong)
		e.note("connect", e.me.api.Connect(fd, at))
		e.epolls("connected", ep, 4, epollLong)
		theirs := e.peer.accept(l)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.epolls("to read", ep, 4, epollLong)
	}},
	{"epoll: before it listens", func(e *env) {
		l := e.me.tcp()
		ep := e.me.epoll()
		e.must(e.me.watches(ep, l, unix.EPOLLIN, 1))
		e.must(e.me.api.Bind(l, e.me.at(0)))
		e.must(e.me.api.Listen(l, 4))
		e.epolls("nobody", ep, 4, epollShort)
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, e.me.name(l)))
		e.epolls("somebody", ep, 4, epollLong)
	}},
	{"epoll: refused", func(e *env) {
		fd := e.connecting(e.peer.at(e.freePort()))
		ep := e.me.epoll()
		e.must(e.me.watches(ep, fd, unix.EPOLLOUT, 1))
		e.epolls("refused", ep, 4, epollLong)
		e.takenError(fd)
	}},
	{"epoll: the kernel's and ours", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.note("add", e.me.watches(ep, pair[0], unix.EPOLLIN|unix.EPOLLRDHUP, 1))
		e.note("add", e.me.watches(ep, mine, unix.EPOLLIN, 2))
		e.epolls("nothing", ep, 4, epollShort)
		e.soon(func() { e.me.api.Write(pair[1], []byte("x")) })
		e.epolls("the kernel's", ep, 4, epollLong)
		e.reads("read", &e.me, pair[0], 9, 0)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("y"), 0, nil) })
		e.epolls("ours", ep, 4, epollLong)
		e.reads("read", &e.me, mine, 9, 0)
		e.me.close(pair[1])
		e.epolls("the end of the kernel's", ep, 4, epollLong)
	}},
	{"epoll: edges of the kernel's", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, pair[0], unix.EPOLLIN|unix.EPOLLET, 1))
		e.me.api.Write(pair[1], []byte("abc"))
		e.epolls("to read", ep, 4, epollLong)
		e.epolls("told already", ep, 4, epollShort)
		e.me.api.Write(pair[1], []byte("def"))
		e.epolls("more", ep, 4, epollLong)
		other, err := e.me.api.Dup(pair[0])
		e.me.keep(other, err)
		e.note("by another descriptor", e.me.watches(ep, other, unix.EPOLLIN|unix.EPOLLONESHOT, 2))
		e.epolls("once", ep, 4, epollLong)
		e.note("changed", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_MOD, other, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: 3}))
		e.epolls("level", ep, 4, epollLong)
		e.epolls("level", ep, 4, epollLong)
		e.me.api.Write(pair[1], []byte("ghi"))
		e.epolls("one of two", ep, 1, epollLong)
		e.epolls("the rest", ep, 4, epollLong)
		e.note("delete", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_DEL, pair[0], nil))
		e.note("and again", e.me.api.EpollCtl(ep, unix.EPOLL_CTL_DEL, pair[0], nil))
		e.epolls("level", ep, 4, 0)
		e.note("add", e.me.watches(ep, pair[0], unix.EPOLLIN|unix.EPOLLET, 4))
		e.note("add again", e.me.watches(ep, pair[0], unix.EPOLLIN|unix.EPOLLET, 4))
		e.me.close(other)
		e.epolls("at once", ep, 4, 0)
		e.me.close(pair[0])
		e.epolls("closed", ep, 4, epollShort)
	}},
	{"epoll: polled itself", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, mine, unix.EPOLLIN, 1))
		e.polls("nothing", &e.me, ep)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("y"), 0, nil) })
		n, revents, err := e.me.poll1(ep, unix.POLLIN, 10000)
		e.note("poll", n, revents, err)
		e.reads("read", &e.me, mine, 9, 0)
		e.polls("nothing", &e.me, ep)
	}},
	{"epoll: of an epoll", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		inner, outer, edge, once := e.me.epoll(), e.me.epoll(), e.me.epoll(), e.me.epoll()
		e.note("exclusive", e.me.watches(outer, inner, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, 1))
		e.note("add", e.me.watches(outer, inner, unix.EPOLLIN, 1))
		e.note("twice", e.me.watches(outer, inner, unix.EPOLLIN, 1))
		e.note("add", e.me.watches(edge, inner, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, 2))
		e.note("add", e.me.watches(once, inner, unix.EPOLLIN|unix.EPOLLONESHOT, 3))
		e.epolls("empty", outer, 4, epollShort)
		e.note("add", e.me.watches(inner, mine, unix.EPOLLIN, 4))
		e.epolls("nothing", outer, 4, epollShort)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("abc"), 0, nil) })
		e.epolls("to read", outer, 4, epollLong)
		e.epolls("still", outer, 4, epollLong)
		e.epolls("edge", edge, 4, epollLong)
		e.epolls("told already", edge, 4, epollShort)
		e.epolls("once", once, 4, epollLong)
		e.epolls("told already", once, 4, epollShort)
		e.polls("poll", &e.me, outer)
		e.epolls("the inner one", inner, 4, epollLong)
		e.reads("read", &e.me, mine, 9, 0)
		e.epolls("nothing", outer, 4, epollShort)
		e.polls("poll", &e.me, outer)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.epolls("to read", outer, 4, epollLong)
		e.epolls("edge", edge, 4, epollLong)
		e.note("delete", e.me.api.EpollCtl(outer, unix.EPOLL_CTL_DEL, inner, nil))
		e.epolls("nothing", outer, 4, epollShort)
		e.note("add", e.me.watches(outer, inner, unix.EPOLLIN, 1))
		e.epolls("at once", outer, 4, epollLong)
		e.me.close(inner)
		e.epolls("closed", outer, 4, epollShort)
	}},
	{"epoll: of an epoll, with a descriptor of the kernel's", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		inner, outer := e.me.epoll(), e.me.epoll()
		e.must(e.me.watches(inner, pair[0], unix.EPOLLIN, 1))
		e.must(e.me.watches(outer, inner, unix.EPOLLIN, 2))
		e.epolls("nothing", outer, 4, epollShort)
		e.soon(func() { e.me.api.Write(pair[1], []byte("abc")) })
		e.epolls("to read", outer, 4, epollLong)
		e.reads("read", &e.me, pair[0], 9, 0)
		e.epolls("nothing", outer, 4, epollShort)
	}},
	{"epoll: circles and long chains", func(e *env) {
		var chain []int
		for range 7 {
			chain = append(chain, e.me.epoll())
		}
		e.note("itself", e.me.watches(chain[0], chain[0], unix.EPOLLIN, 1))
		for i := range 6 {
			e.note("the next", e.me.watches(chain[i], chain[i+1], unix.EPOLLIN, 1))
		}
		e.note("a circle", e.me.watches(chain[1], chain[0], unix.EPOLLIN, 1))
		e.note("a longer one", e.me.watches(chain[3], chain[0], unix.EPOLLIN, 1))
		e.note("before the first", e.me.watches(e.me.epoll(), chain[0], unix.EPOLLIN, 1))
		e.note("beside it", e.me.watches(chain[0], chain[2], unix.EPOLLIN, 1))
	}},
	{"epoll: EPOLLEXCLUSIVE wakes one of several", func(e *env) {
		const waiters = 4
		mine, theirs := e.me.connected(&e.peer)
		told := make(chan int, waiters)
		eps := make([]int, waiters)
		for i := range eps {
			eps[i] = e.me.epoll()
			e.must(e.me.watches(eps[i], mine, unix.EPOLLIN|unix.EPOLLEXCLUSIVE|unix.EPOLLET, 1))
			e.beside(func() {
				n, _ := e.me.api.EpollWait(eps[i], make([]unix.EpollEvent, 1), 400)
				told <- n
			})
		}
		time.Sleep(100 * time.Millisecond)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		sum := 0
		for range waiters {
			sum += <-told
		}
		e.note("somebody, and not all", sum > 0, sum < waiters)
	}},
	{"epoll: several goroutines, one event", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, mine, unix.EPOLLIN|unix.EPOLLET, 1))
		told := make(chan int, 4)
		for range 4 {
			e.beside(func() {
				n, _ := e.me.api.EpollWait(ep, make([]unix.EpollEvent, 4), 300)
				told <- n
			})
		}
		time.Sleep(30 * time.Millisecond)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		sum := 0
		for range 4 {
			sum += <-told
		}
		e.note("told", sum)
	}},
}
