package socketapi

import (
	"time"

	"golang.org/x/sys/unix"
)

// connecting begins a connection to an address without waiting for it.
func (e *env) connecting(to *unix.SockaddrInet4) int {
	fd := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
	e.note("connect", e.me.api.Connect(fd, to))
	return fd
}

// poll1 is poll(2) of one descriptor.
func (s *side) poll1(fd int, events int16, timeout int) (n int, revents string, err error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err = s.api.Poll(fds, timeout)
	return n, pollNamed(uint32(uint16(fds[0].Revents))), err
}

// takenError notes SO_ERROR.
func (e *env) takenError(fd int) {
	e.t.Helper()
	n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	e.note("SO_ERROR", unix.Errno(n), err)
}

var pollRows = concatRows([]row{
	{"poll: a stream socket before it is connected", func(e *env) {
		fd := e.me.tcp()
		e.polls("fresh", &e.me, fd)
		e.must(e.me.api.Bind(fd, e.me.at(0)))
		e.polls("bound", &e.me, fd)
		e.must(e.me.api.Listen(fd, 1))
		e.polls("listening", &e.me, fd)
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, e.me.name(fd)))
		e.awaits("somebody waits", &e.me, fd, unix.POLLIN)
		e.me.accept(fd)
		e.polls("accepted", &e.me, fd)
		e.note("shutdown", e.me.api.Shutdown(fd, unix.SHUT_RDWR))
		e.polls("no listener any more", &e.me, fd)
	}},
	{"poll: a connection", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.polls("idle", &e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.awaits("to read", &e.me, mine, unix.POLLIN)
		e.reads("a part", &e.me, mine, 2, 0)
		e.polls("the rest", &e.me, mine)
		e.reads("the rest", &e.me, mine, 2, 0)
		e.polls("nothing", &e.me, mine)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the peer says no more", &e.me, mine, unix.POLLRDHUP)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("the end", func() bool { return e.me.polled(mine)&unix.POLLHUP != 0 })
		e.polls("nor do we", &e.me, mine)
	}},
	{"poll: an accepted connection", func(e *env) {
		theirs, mine := e.peer.connected(&e.me)
		e.polls("idle", &e.me, mine)
		e.peer.close(theirs)
		e.awaits("the peer has closed", &e.me, mine, unix.POLLRDHUP)
	}},
	{"poll: shutdown of each side", func(e *env) {
		for how := range 3 {
			mine, theirs := e.me.connected(&e.peer)
			e.must(e.me.api.Shutdown(mine, how))
			e.polls("after shutdown "+show(how), &e.me, mine)
			if how == unix.SHUT_RD {
				e.sends("the peer sends", &e.peer, theirs, "abc", 0)
				e.arrived(&e.me, mine, 3) // what comes later is answered by a reset
				e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
				e.polls("and SHUT_WR", &e.me, mine)
			}
		}
	}},
	{"poll: a reset", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.awaits("reset", &e.me, mine, unix.POLLERR)
		e.takenError(mine)
		e.polls("the error is taken", &e.me, mine)
		e.reads("read", &e.me, mine, 1, 0)
	}},
	{"poll: a reset is told to a reader", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.awaits("reset", &e.me, mine, unix.POLLERR)
		e.reads("read", &e.me, mine, 1, 0)
		e.polls("the error is taken", &e.me, mine)
		e.reads("read", &e.me, mine, 1, 0)
	}},
	{"poll: connecting", func(e *env) {
		l, at := e.peer.listener()
		fd := e.connecting(at)
		e.awaits("connected", &e.me, fd, unix.POLLOUT)
		e.takenError(fd)
		e.note("connect again", e.me.api.Connect(fd, at))
		e.peer.accept(l)
	}},
	{"poll: nobody answers", func(e *env) {
		fd := e.connecting(e.nobody())
		e.polls("on the way", &e.me, fd)
		n, revents, err := e.me.poll1(fd, unix.POLLIN|unix.POLLOUT, 30)
		e.note("poll for 30 ms", n, revents, err)
	}},
	{"poll: refused", func(e *env) {
		fd := e.connecting(e.peer.at(e.freePort()))
		e.awaits("refused", &e.me, fd, unix.POLLERR)
		e.takenError(fd)
		e.polls("the error is taken", &e.me, fd)
		l, at := e.peer.listener()
		e.note("connect again", e.me.api.Connect(fd, at))
		e.until("an answer", func() bool { return e.me.polled(fd)&unix.POLLOUT != 0 })
		e.polls("then", &e.me, fd)
		e.peer.close(l)
	}},
	{"poll: refused, and connect told", func(e *env) {
		fd := e.me.tcp()
		e.note("connect", e.me.api.Connect(fd, e.peer.at(e.freePort())))
		e.polls("afterwards", &e.me, fd)
	}},
	{"poll: AF_UNSPEC", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.note("connect", e.me.api.Connect(mine, nil))
		e.polls("disconnected", &e.me, mine)
		e.takenError(mine)
		e.polls("the error is taken", &e.me, mine)
		for _, call := range []func(fd int, at *unix.SockaddrInet4){
			func(fd int, _ *unix.SockaddrInet4) { e.reads("read", &e.me, fd, 1, 0) },
			func(fd int, _ *unix.SockaddrInet4) { e.sends("send", &e.me, fd, "x", 0) },
			func(fd int, at *unix.SockaddrInet4) { e.note("connect", e.me.api.Connect(fd, at)) },
			func(fd int, at *unix.SockaddrInet4) { e.note("listen", e.me.api.Listen(fd, 1)) },
		} {
			l, at := e.peer.listener()
			fd := e.me.tcp()
			e.must(e.me.api.Connect(fd, at))
			e.must(e.me.api.Connect(fd, nil))
			call(fd, at)
			e.polls("then", &e.me, fd)
			e.peer.close(l)
		}
		fd := e.connecting(e.nobody())
		e.note("disconnect", e.me.api.Connect(fd, nil))
		e.takenError(fd)
	}},
	{"poll: SO_RCVLOWAT is set while it waits", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 6)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, mine, unix.EPOLLIN|unix.EPOLLET, 1))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.epolls("less than that", ep, 1, epollShort)
		lower := func(n int) { e.soon(func() { e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) }) }
		lower(4)
		e.epolls("still less", ep, 1, 2*epollShort)
		lower(3)
		e.epolls("enough", ep, 1, epollLong)
		e.epolls("told already", ep, 1, epollShort)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 6)
		e.epolls("no longer", ep, 1, epollShort)
		lower(1)
		start := time.Now()
		n, err := e.me.api.Poll([]unix.PollFd{{Fd: int32(mine), Events: unix.POLLIN}}, epollLong)
		e.note("enough", n, err)
		e.note("in time", time.Since(start) < epollLong/2*time.Millisecond)
	}},
	{"poll: SO_RCVLOWAT", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 6)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.polls("too little", &e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.awaits("as much", &e.me, mine, unix.POLLIN)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 7)
		e.polls("more is asked for", &e.me, mine)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("no more will come", &e.me, mine, unix.POLLIN)
		e.note("SO_SNDLOWAT", e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_SNDLOWAT, 9))
		e.note2(e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_SNDLOWAT))
	}},
	{"poll: no room to write", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetNonblock(mine, true))
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<15)
		e.peer.set(theirs, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<15)
		p := make([]byte, 1<<20)
		e.until("full for good", func() bool {
			_, err := e.me.api.Write(mine, p)
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				_, err = e.me.api.Write(mine, p)
			}
			return err != nil
		})
		e.polls("full", &e.me, mine)
		waited := in(func() error {
			n, revents, err := e.me.poll1(mine, unix.POLLOUT, 10000)
			e.note("room", n, revents)
			return err
		})
		for empty := false; !empty; {
			n, _, err := e.peer.api.Recvfrom(theirs, p, unix.MSG_DONTWAIT)
			if n <= 0 || err != nil {
				select {
				case err := <-waited:
					e.must(err)
					empty = true
				case <-time.After(time.Millisecond):
				}
			}
		}
	}},
	{"poll: several, and which", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		other, _ := e.me.connected(&e.peer)
		d, at := e.me.datagram()
		u := e.peer.udp()
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.must(e.peer.api.Sendto(u, []byte("x"), 0, at))
		e.awaits("the datagram", &e.me, d, unix.POLLIN)
		e.awaits("the stream", &e.me, mine, unix.POLLIN)
		fds := []unix.PollFd{
			{Fd: int32(mine), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}, {Fd: int32(other), Events: unix.POLLIN},
			{Fd: int32(d), Events: unix.POLLIN}, {Fd: int32(d), Events: unix.POLLOUT}, {Fd: 1 << 19, Events: unix.POLLIN}, {Fd: int32(other)},
		}
		n, err := e.me.api.Poll(fds, -1)
		e.note("poll", n, err)
		for _, x := range fds {
			e.note("says", pollNamed(uint32(uint16(x.Revents))))
		}
	}},
	{"poll: nothing but time", func(e *env) {
		start := time.Now()
		n, err := e.me.api.Poll(nil, 30)
		e.note("poll", n, err, time.Since(start) >= 30*time.Millisecond)
		n, err = e.me.api.Ppoll(nil, &unix.Timespec{Nsec: 5e6}, nil)
		e.note("ppoll", n, err)
		_, err = e.me.api.Ppoll(nil, &unix.Timespec{Nsec: -1}, nil)
		e.note("ppoll with a time that is none", err)
		_, err = e.me.api.Ppoll(nil, &unix.Timespec{Sec: -1}, nil)
		e.note("ppoll with a time before", err)
	}},
	{"poll: woken by what comes", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		l, at := e.me.listener()
		d, dat := e.me.datagram()
		u, c := e.peer.udp(), e.peer.tcp()
		fds := []unix.PollFd{{Fd: int32(mine), Events: unix.POLLIN}, {Fd: int32(l), Events: unix.POLLIN}, {Fd: int32(d), Events: unix.POLLIN}}
		for _, send := range []func(){
			func() { e.peer.api.Sendto(theirs, []byte("x"), 0, nil) },
			func() { e.peer.api.Sendto(u, []byte("x"), 0, dat) },
			func() { e.peer.api.Connect(c, at) },
		} {
			e.soon(send)
			n, err := e.me.api.Poll(fds, 10000)
			e.note("poll", n, err)
			for _, x := range fds {
				e.note("says", pollNamed(uint32(uint16(x.Revents))))
			}
			e.me.api.Recvfrom(mine, make([]byte, 1), unix.MSG_DONTWAIT)
			e.me.api.Recvfrom(d, make([]byte, 1), unix.MSG_DONTWAIT)
		}
	}},
	{"poll: asked for nothing, told of the end", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.soon(func() { e.peer.api.Shutdown(theirs, unix.SHUT_WR) })
		n, revents, err := e.me.poll1(mine, 0, 10000)
		e.note("poll", n, revents, err)
	}},
	{"poll: shutdown by another goroutine", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.soon(func() { e.me.api.Shutdown(mine, unix.SHUT_RD) })
		n, revents, err := e.me.poll1(mine, unix.POLLRDHUP, 10000)
		e.note("poll", n, revents, err)
		e.soon(func() { e.me.api.Shutdown(mine, unix.SHUT_WR) })
		n, revents, err = e.me.poll1(mine, 0, 10000)
		e.note("poll", n, revents, err)
	}},
	{"poll: shutdown of datagrams", func(e *env) {
		for how := range 3 {
			mine := e.me.udp()
			e.must(e.me.api.Connect(mine, e.peer.at(9)))
			e.must(e.me.api.Shutdown(mine, how))
			e.polls("after shutdown "+show(how), &e.me, mine)
		}
		mine := e.me.udp()
		e.note("without a peer", e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		e.polls("then", &e.me, mine)
	}},
	{"poll: an ICMP error", func(e *env) {
		mine := e.me.udp()
		e.must(e.me.api.Connect(mine, e.peer.at(e.freePort())))
		e.sends("send", &e.me, mine, "x", 0)
		e.awaits("refused", &e.me, mine, unix.POLLERR)
		e.takenError(mine)
		e.polls("the error is taken", &e.me, mine)
	}},
	{"poll: the error queue", func(e *env) {
		mine := e.me.udp()
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		e.must(e.me.api.Connect(mine, e.peer.at(e.freePort())))
		e.sends("send", &e.me, mine, "x", 0)
		e.awaits("refused", &e.me, mine, unix.POLLERR)
		e.takenError(mine)
		e.polls("the queue has it still", &e.me, mine)
		_, _, flags, _, err := e.me.api.Recvmsg(mine, make([]byte, 9), make([]byte, 99), unix.MSG_ERRQUEUE)
		e.note("the error", flags, err)
		e.polls("the queue is empty", &e.me, mine)
	}},
	{"poll: raw, ping and packet sockets", func(e *env) {
		for _, s := range [][3]int{
			{unix.AF_INET, unix.SOCK_RAW, 200}, {unix.AF_INET6, unix.SOCK_RAW, 200}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
			{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6}, {unix.AF_PACKET, unix.SOCK_RAW, 0}, {unix.AF_INET6, unix.SOCK_DGRAM, 0},
		} {
			e.polls(show(s), &e.me, e.me.open(s[0], s[1], s[2]))
		}
	}},
	{"poll: urgent data", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc", unix.MSG_OOB)
		e.awaits("urgent", &e.me, mine, unix.POLLPRI)
		e.awaits("and the rest", &e.me, mine, unix.POLLIN)
		var x unix.FdSet
		x.Set(mine)
		n, err := e.me.api.Select(mine+1, nil, nil, &x, nil)
		e.note("select", n, err)
		e.reads("the byte", &e.me, mine, 9, unix.MSG_OOB)
		e.polls("taken", &e.me, mine)
		e.reads("the rest", &e.me, mine, 9, 0)
		e.polls("nothing", &e.me, mine)
	}},
	{"poll: urgent data that is announced, inline, and passed", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		ep := e.me.epoll()
		e.must(e.me.watches(ep, mine, unix.EPOLLPRI, 1))
		e.must(e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
		e.sends("the peer sends", &e.peer, theirs, "ab", unix.MSG_OOB)
		e.awaits("urgent", &e.me, mine, unix.POLLIN) // with the byte, which may come after what announces it
		e.epolls("epoll", ep, 4, epollLong)
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.polls("at the mark", &e.me, mine)
		e.reads("the byte", &e.me, mine, 9, 0)
		e.polls("passed", &e.me, mine)
		e.epolls("epoll has nothing", ep, 4, 0)
		e.sends("the peer sends", &e.peer, theirs, "c", unix.MSG_OOB)
		e.awaits("urgent again", &e.me, mine, unix.POLLIN)
		e.epolls("epoll again", ep, 4, epollLong)
		e.must(e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_OOBINLINE, 0))
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end too", &e.me, mine, unix.POLLRDHUP)
	}},
	{"select: which set says what", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		over, gone := e.me.connected(&e.peer)
		e.peer.close(gone)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.awaits("to read", &e.me, mine, unix.POLLIN)
		e.awaits("the end", &e.me, over, unix.POLLIN)
		fresh, l := e.me.tcp(), 0
		l, _ = e.me.listener()
		var r, w, x unix.FdSet
		nfd := 0
		for _, fd := range []int{mine, over, fresh, l} {
			r.Set(fd)
			w.Set(fd)
			x.Set(fd)
			nfd = max(nfd, fd+1)
		}
		n, err := e.me.api.Select(nfd, &r, &w, &x, nil)
		e.note("select", n, err)
		for _, fd := range []int{mine, over, fresh, l} {
			e.note("in", r.IsSet(fd), w.IsSet(fd), x.IsSet(fd))
		}
		// An end is nothing that the set of exceptions tells of.
		r, w, x = unix.FdSet{}, unix.FdSet{}, unix.FdSet{}
		x.Set(over)
		timeout := unix.Timeval{Usec: 20000}
		n, err = e.me.api.Select(nfd, nil, nil, &x, &timeout)
		e.note("select", n, err, x.IsSet(over), timeout.Nano())
	}},
	{"select: times", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.awaits("to read", &e.me, mine, unix.POLLIN)
		var r unix.FdSet
		r.Set(mine)
		timeout := unix.Timeval{Sec: 30}
		n, err := e.me.api.Select(mine+1, &r, nil, nil, &timeout)
		e.note("select", n, err, timeout.Sec)
		ts := unix.Timespec{Sec: 30}
		n, err = e.me.api.Pselect(mine+1, &r, nil, nil, &ts, nil)
		e.note("pselect", n, err, ts.Sec)
		_, err = e.me.api.Select(mine+1, &r, nil, nil, &unix.Timeval{Sec: -1})
		e.note("a time before", err)
		_, err = e.me.api.Select(-1, &r, nil, nil, nil)
		e.note("a number that is none", err)
		var sets [3]unix.FdSet
		sets[0].Set(mine)
		n, err = e.me.api.Select(1<<20, &sets[0], &sets[1], &sets[2], &timeout)
		e.note("more than there can be", n, err, sets[0].IsSet(mine))
		n, err = e.me.api.Select(0, nil, nil, nil, &unix.Timeval{Usec: 5000})
		e.note("nothing but time", n, err)
	}},
	{"select: a descriptor that is not open", func(e *env) {
		fd := e.me.tcp()
		e.me.close(fd)
		var r unix.FdSet
		r.Set(fd)
		n, err := e.me.api.Select(fd+1, &r, nil, nil, nil)
		e.note("select", n, err, r.IsSet(fd))
	}},
},
	bothFamilies("poll: datagrams", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		e.polls("bound", &e.me, mine)
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, at))
		e.awaits("one", &e.me, mine, unix.POLLIN)
		e.reads("it", &e.me, mine, 9, 0)
		e.polls("none", &e.me, mine)
	}),
)
