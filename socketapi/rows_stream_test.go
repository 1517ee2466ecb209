package socketapi

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// reads notes what a read of up to n bytes brings.
func (e *env) reads(what string, s *side, fd, n, flags int) {
	p := make([]byte, n)
	n, _, err := s.api.Recvfrom(fd, p, flags)
	e.note(what, p[:max(min(n, len(p)), 0)], n, err)
}

func (e *env) sends(what string, s *side, fd int, text string, flags int) {
	n, err := s.api.SendmsgN(fd, []byte(text), nil, nil, flags)
	e.note(what, n, err)
}

// arrived waits until a stream has so many bytes to read.
func (e *env) arrived(s *side, fd, n int) {
	p := make([]byte, n)
	e.until("bytes to read", func() bool {
		m, _, _ := s.api.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return m == n
	})
}

var streamRows = []row{
	{"stream: there and back, in pieces", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("send", &e.me, mine, "hello", 0)
		e.reads("the peer reads", &e.peer, theirs, 5, unix.MSG_WAITALL)
		e.sends("the peer sends", &e.peer, theirs, "abcdef", 0)
		e.arrived(&e.me, mine, 6)
		e.reads("read 4", &e.me, mine, 4, 0)
		e.reads("read 4", &e.me, mine, 4, 0)
		e.reads("non-blocking", &e.me, mine, 4, unix.MSG_DONTWAIT)
	}},
	{"stream: recvfrom says nobody", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.Sendto(theirs, []byte("x"), 0, nil))
		n, from, err := e.me.api.Recvfrom(mine, make([]byte, 1), 0)
		e.note("recvfrom", n, from == nil, err)
	}},
	{"stream: the address of sendto is ignored", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.note("sendto", e.me.api.Sendto(mine, []byte("x"), 0, e.peer.at(9)))
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
	}},
	{"stream: not connected", func(e *env) {
		fd := e.me.tcp()
		e.reads("read", &e.me, fd, 1, 0)
		e.sends("send", &e.me, fd, "x", 0)
		e.note("sendto", e.me.api.Sendto(fd, []byte("x"), 0, e.peer.at(9)))
		for how := range 3 {
			e.note("shutdown", e.me.api.Shutdown(e.me.tcp(), how))
		}
	}},
	{"stream: nothing to read or write", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		n, err := e.me.api.Read(mine, nil)
		e.note("read", n, err)
		n, err = e.me.api.Write(mine, nil)
		e.note("write", n, err)
	}},
	{"stream: MSG_PEEK", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.reads("peek 2", &e.me, mine, 2, unix.MSG_PEEK)
		e.reads("peek 9", &e.me, mine, 9, unix.MSG_PEEK)
		e.reads("read", &e.me, mine, 9, 0)
		e.reads("peek", &e.me, mine, 9, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}},
	{"stream: MSG_WAITALL", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.beside(func() {
			for _, text := range []string{"ab", "cd", "ef"} {
				e.peer.api.Sendto(theirs, []byte(text), 0, nil)
				time.Sleep(20 * time.Millisecond)
			}
			e.peer.api.Shutdown(theirs, unix.SHUT_WR)
		})
		e.reads("4 of 6", &e.me, mine, 4, unix.MSG_WAITALL)
		e.reads("the end comes first", &e.me, mine, 9, unix.MSG_WAITALL)
	}},
	{"stream: MSG_WAITALL and a time limit", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000}))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.reads("read", &e.me, mine, 9, unix.MSG_WAITALL)
		e.reads("read", &e.me, mine, 9, unix.MSG_WAITALL)
	}},
	{"stream: less comes than a read waits for", func(e *env) {
		limit := func(fd int) {
			e.must(e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}))
		}
		for _, flags := range []int{0, unix.MSG_WAITALL, unix.MSG_WAITALL | unix.MSG_PEEK} {
			mine, theirs := e.me.connected(&e.peer)
			limit(mine)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 9)
			e.soon(func() { e.peer.api.Sendto(theirs, []byte("abc"), 0, nil) })
			e.reads("within the time", &e.me, mine, 9, flags)
			e.reads("then", &e.me, mine, 9, unix.MSG_DONTWAIT)
			n, err := e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
			e.note("SO_ERROR", n, err)
		}
		mine, theirs := e.me.connected(&e.peer)
		limit(mine)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("abcde"), 0, nil) })
		n, err := e.me.api.Readv(mine, [][]byte{make([]byte, 2), make([]byte, 2)})
		e.note("in pieces", n, err)
		e.soon(func() {
			e.peer.api.Sendto(theirs, []byte("fgh"), 0, nil)
			time.Sleep(20 * time.Millisecond)
			e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			e.peer.close(theirs)
		})
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		e.reads("before a reset", &e.me, mine, 9, unix.MSG_WAITALL)
		e.reads("then", &e.me, mine, 9, 0)
		e.reads("then", &e.me, mine, 9, 0)
	}},
	{"stream: MSG_TRUNC throws away", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abcdef", 0)
		e.arrived(&e.me, mine, 6)
		n, _, err := e.me.api.Recvfrom(mine, make([]byte, 4), unix.MSG_TRUNC)
		e.note("recvfrom", n, err)
		e.reads("the rest", &e.me, mine, 9, 0)
	}},
	{"stream: SO_RCVTIMEO", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		start := time.Now()
		e.reads("read", &e.me, mine, 1, 0)
		e.note("it waited", time.Since(start) > 40*time.Millisecond)
	}},
	{"stream: SO_SNDTIMEO and a peer that does not read", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 100000}))
		p := make([]byte, 1<<20)
		var n int
		var err error
		short := false
		for err == nil {
			n, err = e.me.api.SendmsgN(mine, p, nil, nil, 0)
			short = short || err == nil && n < len(p)
		}
		e.note("in the end", err)
		e.note("a part before it", short)
	}},
	{"stream: a non-blocking write takes what fits", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.must(e.me.api.SetNonblock(mine, true))
		p := make([]byte, 64<<20)
		n, err := e.me.api.Write(mine, p)
		e.note("write", n > 0 && n < len(p), err)
		e.until("full", func() bool { _, err = e.me.api.Write(mine, p); return err != nil })
		e.note("full", err)
	}},
	{"stream: a megabyte arrives whole", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		p := bytes.Repeat([]byte("0123456789abcde"), 1<<16)
		sent := in(func() error {
			_, err := e.whole(len(p), func(n int) (int, error) { return e.me.api.SendmsgN(mine, p[n:], nil, nil, 0) })
			return err
		})
		q := make([]byte, len(p))
		n, _, err := e.peer.api.Recvfrom(theirs, q, unix.MSG_WAITALL)
		e.note("the peer reads", n, err, bytes.Equal(p, q))
		e.note("send", <-sent)
	}},
	{"shutdown: SHUT_WR", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("send", &e.me, mine, "last", 0)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.note("again", e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.sends("send", &e.me, mine, "x", 0)
		e.sends("send", &e.me, mine, "x", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, unix.MSG_WAITALL)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.sends("the peer sends", &e.peer, theirs, "answer", 0)
		e.reads("read", &e.me, mine, 6, unix.MSG_WAITALL)
		_, err := e.me.api.Getpeername(mine)
		e.note("getpeername", err)
	}},
	{"shutdown: SHUT_RD", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "before", 0)
		e.arrived(&e.me, mine, 6)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RD))
		e.reads("read", &e.me, mine, 9, 0)
		e.reads("read", &e.me, mine, 9, 0)
		e.sends("the peer sends", &e.peer, theirs, "after", 0)
		e.until("what came later", func() bool {
			n, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_PEEK)
			return err == nil && n == 5
		})
		e.reads("read", &e.me, mine, 9, 0)
		e.sends("send", &e.me, mine, "x", 0)
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
	}},
	{"shutdown: SHUT_RD wakes a reader", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		read := in(func() error { _, err := e.me.api.Read(mine, make([]byte, 1)); return err })
		time.Sleep(50 * time.Millisecond)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RD))
		e.note("the read under way", <-read)
	}},
	{"shutdown: wakes all who wait", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		poll := func(events int16) func() string {
			return func() string { n, revents, err := e.me.poll1(mine, events, 10000); return fmt.Sprint(n, revents, err) }
		}
		epoll := func(events uint32) func() string {
			ep := e.me.epoll()
			e.must(e.me.watches(ep, mine, events, 1))
			return func() string {
				list := make([]unix.EpollEvent, 1)
				n, err := e.me.api.EpollWait(ep, list, 10000)
				return fmt.Sprint(n, pollNamed(list[0].Events), err)
			}
		}
		shutdown := func(how int, calls ...func() string) {
			said := make([]chan string, len(calls))
			for i, call := range calls {
				said[i] = make(chan string, 1)
				e.beside(func() { said[i] <- call() })
			}
			time.Sleep(50 * time.Millisecond)
			e.note("shutdown "+show(how), e.me.api.Shutdown(mine, how))
			for i := range calls {
				e.note(fmt.Sprint("call ", i), <-said[i])
			}
		}
		p := make([]byte, 1<<16)
		shutdown(unix.SHUT_RD, poll(unix.POLLIN), poll(unix.POLLRDHUP), epoll(unix.EPOLLIN), epoll(unix.EPOLLRDHUP|unix.EPOLLET),
			func() string { n, err := e.me.api.Read(mine, p[:1]); return fmt.Sprint(n, err) },
			func() string {
				n, _, err := e.me.api.Recvfrom(mine, p[1:9], unix.MSG_PEEK|unix.MSG_WAITALL)
				return fmt.Sprint(n, err)
			},
			func() string {
				var in unix.FdSet
				in.Set(mine)
				n, err := e.me.api.Select(mine+1, &in, nil, nil, &unix.Timeval{Sec: 10})
				return fmt.Sprint(n, in.IsSet(mine), err)
			})
		write := func(write func() error) func() string { // until the buffer is full, and on
			return func() string {
				for {
					if err := write(); err != nil {
						return err.Error()
					}
				}
			}
		}
		data := make([]byte, 1<<16)
		shutdown(unix.SHUT_WR, poll(0), epoll(0), epoll(unix.EPOLLET),
			write(func() error { _, err := e.me.api.Write(mine, data); return err }),
			write(func() error { return e.me.api.Sendto(mine, data, 0, nil) }))
	}},
	{"shutdown: SHUT_RDWR wakes both directions", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		p, q := make([]byte, 1), make([]byte, 1<<16)
		w := e.waiting()
		w.add("read", func() string { n, err := e.me.api.Read(mine, p); return fmt.Sprint(n, " ", show(err)) })
		w.add("send", func() string {
			for {
				if err := e.me.api.Sendto(mine, q, 0, nil); err != nil {
					return show(err)
				}
			}
		})
		w.none("before")
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		w.all()
	}},
	{"shutdown: a way that there is not", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		for _, how := range []int{-1, 3, 99} {
			e.note("stream", e.me.api.Shutdown(mine, how))
			e.note("datagram", e.me.api.Shutdown(e.me.udp(), how))
		}
	}},
	{"shutdown: after both ends", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.reads("the end", &e.me, mine, 1, 0)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("closed", func() bool { return e.me.state(mine) == linuxClose })
		e.note("again", e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		e.reads("read", &e.me, mine, 1, 0)
		e.sends("send", &e.me, mine, "x", 0)
		_, err := e.me.api.Getpeername(mine)
		e.note("getpeername", err)
	}},
	{"close: the peer reads what was sent, and the end", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("send", &e.me, mine, "last words", 0)
		e.me.close(mine)
		e.reads("the peer reads", &e.peer, theirs, 99, unix.MSG_WAITALL)
		e.reads("the peer reads", &e.peer, theirs, 99, 0)
	}},
	{"close: with data unread the peer gets a reset", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "unread", 0)
		e.arrived(&e.me, mine, 6)
		e.me.close(mine)
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
	}},
	{"close: SO_LINGER of 0 resets", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.me.close(mine)
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
	}},
	{"close: SO_LINGER waits until all has arrived", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 10}))
		e.sends("send", &e.me, mine, "all of it", 0)
		e.me.close(mine)
		n, _, err := e.peer.api.Recvfrom(theirs, make([]byte, 99), unix.MSG_DONTWAIT)
		e.note("it is there", n, err)
		n, _, err = e.peer.api.Recvfrom(theirs, make([]byte, 99), unix.MSG_DONTWAIT)
		e.note("and the end", n, err)
	}},
	{"close: SO_LINGER waits though the socket does not block", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: -1}))
		e.must(e.me.api.SetNonblock(mine, true))
		e.sends("send", &e.me, mine, "all of it", 0)
		e.me.close(mine)
		n, _, err := e.peer.api.Recvfrom(theirs, make([]byte, 99), unix.MSG_DONTWAIT)
		e.note("it is there", n, err)
		n, _, err = e.peer.api.Recvfrom(theirs, make([]byte, 99), unix.MSG_DONTWAIT)
		e.note("and the end", n, err)
	}},
	{"close: SO_LINGER waits for nothing with data unread", func(e *env) {
		for _, flags := range []int{0, unix.MSG_OOB} {
			mine, theirs := e.me.connected(&e.peer)
			e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 100}))
			e.sends("the peer sends", &e.peer, theirs, "x", flags)
			if flags == 0 {
				e.arrived(&e.me, mine, 1)
			} else {
				e.awaits("urgent", &e.me, mine, unix.POLLPRI)
			}
			start := time.Now()
			e.me.close(mine)
			e.note("at once", time.Since(start) < 50*time.Second)
			e.reads("the peer reads", &e.peer, theirs, 1, 0)
		}
	}},
	{"close: SO_LINGER and a peer that sends meanwhile", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 100}))
		e.must(e.me.api.SetNonblock(mine, true))
		for full := 0; full < 5; full++ { // the peer reads nothing, so that there is something to wait for
			for err := error(nil); err == nil; {
				_, err = e.me.api.SendmsgN(mine, make([]byte, 1<<16), nil, nil, 0)
			}
			time.Sleep(10 * time.Millisecond)
		}
		sent := in(func() error {
			time.Sleep(200 * time.Millisecond)
			return e.peer.api.Sendto(theirs, []byte("x"), 0, nil)
		})
		start := time.Now()
		e.me.close(mine)
		e.note("not for all its time", time.Since(start) < 50*time.Second)
		e.note("the peer sends", <-sent)
		e.until("the reset", func() bool { return e.peer.state(theirs) == linuxClose })
	}},
	{"close: TCP_LINGER2 below 0", func(e *env) {
		for _, shut := range []bool{false, true} {
			mine, theirs := e.me.connected(&e.peer)
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_LINGER2, -1)
			if shut {
				e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
				e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
			}
			e.me.close(mine)
			e.until("the reset", func() bool { return e.peer.state(theirs) == linuxClose })
			e.sends("the peer sends", &e.peer, theirs, "x", 0)
		}
	}},
	{"reset: what the calls say", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.until("the reset", func() bool { return e.me.state(mine) == linuxClose })
		e.reads("read", &e.me, mine, 1, 0)
		e.reads("read", &e.me, mine, 1, 0)
		e.sends("send", &e.me, mine, "x", 0)
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		e.note("connect", e.me.api.Connect(mine, e.peer.at(7)))
		e.note2(e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR))
	}},
	{"reset: the sender hears it first", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.until("the reset", func() bool { return e.me.state(mine) == linuxClose })
		e.sends("send", &e.me, mine, "x", 0)
		e.sends("send", &e.me, mine, "x", 0)
		e.reads("read", &e.me, mine, 1, 0)
	}},
	{"reset: SO_ERROR takes it", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.until("the reset", func() bool { return e.me.state(mine) == linuxClose })
		e.note("SO_ERROR", unix.Errno(e.soError(mine)))
		e.reads("read", &e.me, mine, 1, 0)
	}},
	{"reset: data that came before it", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.until("the reset", func() bool { return e.me.state(mine) == linuxClose })
		e.reads("read", &e.me, mine, 9, 0)
		e.reads("read", &e.me, mine, 9, 0)
	}},
	{"stream: flags that are not", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.reads("MSG_OOB", &e.me, mine, 1, unix.MSG_OOB)
		e.reads("MSG_ERRQUEUE", &e.me, mine, 1, unix.MSG_ERRQUEUE)
	}},
}
