package socketapi

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

var socketRows = []row{
	{"socket: families, types and protocols", func(e *env) {
		for _, c := range [][3]int{
			{unix.AF_INET, unix.SOCK_STREAM, 0}, {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP},
			{unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
			{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_UDP}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_TCP},
			{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC, 0},
			{unix.AF_INET, unix.SOCK_SEQPACKET, 0}, {unix.AF_INET, unix.SOCK_RDM, 0},
			{unix.AF_INET, 0, 0}, {unix.AF_INET, 11, 0}, {unix.AF_INET, -1, 0},
			{unix.AF_INET, unix.SOCK_STREAM, -1}, {unix.AF_INET, unix.SOCK_STREAM, 261}, {unix.AF_INET, unix.SOCK_STREAM, 263},
			{9999, unix.SOCK_STREAM, 0}, {-1, unix.SOCK_STREAM, 0}, {45, unix.SOCK_STREAM, 0},
		} {
			fd, err := e.me.api.Socket(c[0], c[1], c[2])
			if err == nil {
				e.me.api.Close(fd)
			}
			e.note("socket "+show(c), err)
		}
	}},
	{"socket: SOCK_NONBLOCK does not wait", func(e *env) {
		fd := e.me.socket(unix.SOCK_DGRAM | unix.SOCK_NONBLOCK)
		_, _, err := e.me.api.Recvfrom(fd, make([]byte, 1), 0)
		e.note("recvfrom", err)
		e.must(e.me.api.SetNonblock(fd, false))
		e.must(e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}))
		_, _, err = e.me.api.Recvfrom(fd, make([]byte, 1), 0)
		e.note("recvfrom, blocking", err)
	}},
	{"close: every call on a closed descriptor", func(e *env) {
		const fd = 1 << 28 // beyond what either has
		a, p := e.me.api, make([]byte, 1)
		_, err := a.Read(fd, p)
		e.note("read", err)
		_, err = a.Write(fd, p)
		e.note("write", err)
		e.note("bind", a.Bind(fd, e.me.at(0)))
		e.note("listen", a.Listen(fd, 1))
		e.note("connect", a.Connect(fd, e.peer.at(1)))
		_, _, err = a.Accept(fd)
		e.note("accept", err)
		_, _, err = a.Accept4(fd, unix.SOCK_NONBLOCK)
		e.note("accept4", err)
		e.note("shutdown", a.Shutdown(fd, unix.SHUT_RD))
		_, err = a.Getsockname(fd)
		e.note("getsockname", err)
		_, err = a.Getpeername(fd)
		e.note("getpeername", err)
		_, err = a.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		e.note("getsockopt", err)
		e.note("setsockopt", a.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		e.note("sendto", a.Sendto(fd, p, 0, e.peer.at(1)))
		_, _, err = a.Recvfrom(fd, p, 0)
		e.note("recvfrom", err)
		_, err = a.Dup(fd)
		e.note("dup", err)
		e.note("close", a.Close(fd))
	}},
	{"dup: the socket lives until the last descriptor closes", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		again := e.me.keep(e.me.api.Dup(mine))
		e.me.close(mine)
		n, err := e.me.api.Write(again, []byte("x"))
		e.note("write by the other", n, err)
		p := make([]byte, 4)
		n, err = e.peer.api.Read(theirs, p)
		e.note("the peer reads", p[:max(n, 0)], err)
		e.must(e.me.api.SetNonblock(again, true))
		third := e.me.keep(e.me.api.Dup(again))
		_, err = e.me.api.Read(third, p)
		e.note("non-blocking is the socket's", err)
		e.me.close(again)
		e.me.close(third)
		n, err = e.peer.api.Read(theirs, p)
		e.note("the peer reads after the last", n, err)
	}},
}

// withoutRight runs f on a thread that lacks a capability.
func (e *env) withoutRight(capability int, f func()) {
	e.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has, less [2]unix.CapUserData
	e.must(unix.Capget(&head, &has[0]))
	less = has
	less[0].Effective &^= 1 << capability
	e.must(unix.Capset(&head, &less[0]))
	defer func() { e.must(unix.Capset(&head, &has[0])) }()
	f()
}

var bindRows = []row{
	{"bind: a low port, with the right to it and without", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			four, six := e.me.socket(typ), e.me.inet6(typ)
			bound := e.me.socket(typ)
			e.must(e.me.api.Bind(bound, e.me.at(0)))
			e.withoutRight(unix.CAP_NET_BIND_SERVICE, func() {
				for _, port := range []int{1, 1023} {
					e.note("bind", e.me.api.Bind(four, e.me.at(port)), e.me.api.Bind(six, in6("::", port)))
				}
				e.note("nobody's address", e.me.api.Bind(four, &unix.SockaddrInet4{Addr: [4]byte{10, 97, 0, 7}, Port: 7}))
				e.note("the first that is free to all", e.me.api.Bind(four, e.me.at(1024)))
			})
			e.note("with the right", e.me.api.Bind(six, in6("::", 1023)))
		}
	}},
	{"bind: nothing yet", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			sa, err := e.me.api.Getsockname(fd)
			e.note("getsockname", sa, err)
			sa, err = e.me.api.Getpeername(fd)
			e.note("getpeername", sa, err)
		}
	}},
	{"bind: port 0 is chosen", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("bind", e.me.api.Bind(fd, e.me.at(0)))
			sa := e.me.name(fd)
			e.note("getsockname", sa.Addr, sa.Port >= 1024)
		}
	}},
	{"bind: a given port", func(e *env) {
		port := e.freePort()
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet4{Port: port}))
			e.note("getsockname", e.me.name(fd))
		}
	}},
	{"bind: twice", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("first", e.me.api.Bind(fd, e.me.at(0)))
			e.note("second", e.me.api.Bind(fd, e.me.at(0)))
			e.note("foreign address before EINVAL", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}))
		}
	}},
	{"bind: an address of somebody else", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("bind", e.me.api.Bind(fd, e.peer.at(0)))
			e.note("bind later", e.me.api.Bind(fd, e.me.at(0)))
		}
	}},
	{"bind: an address of another family", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet6{}))
		}
	}},
	{"bind: an address of a family that is not the internet's", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, fd := range []int{e.me.socket(typ), e.me.inet6(typ)} {
				for i, sa := range []unix.Sockaddr{
					&unix.SockaddrUnix{Name: "/short"}, &unix.SockaddrUnix{Name: "/more/than/twenty-four/bytes"}, &unix.SockaddrUnix{Name: "/fourteen/byte"},
					&unix.SockaddrUnix{Name: "@fourteen/byte"}, &unix.SockaddrUnix{Name: "@fourteen/by"}, &unix.SockaddrUnix{Name: "/fourteen/by"},
					&unix.SockaddrLinklayer{Ifindex: e.me.index}, &unix.SockaddrNetlink{}, &unix.SockaddrVM{},
				} {
					e.note(fmt.Sprint("bind ", i), e.me.api.Bind(fd, sa))
					e.note(fmt.Sprint("connect ", i), e.me.api.Connect(fd, sa))
					if typ == unix.SOCK_DGRAM {
						e.note(fmt.Sprint("sendto ", i), e.me.api.Sendto(fd, []byte("x"), 0, sa))
					}
				}
			}
		}
	}},
	{"bind: a port that is taken", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			port := e.freePort()
			e.note("first", e.me.api.Bind(e.me.socket(typ), e.me.at(port)))
			e.note("second", e.me.api.Bind(e.me.socket(typ), e.me.at(port)))
			e.note("all addresses", e.me.api.Bind(e.me.socket(typ), &unix.SockaddrInet4{Port: port}))
		}
		port := e.freePort()
		e.note("all first", e.me.api.Bind(e.me.tcp(), &unix.SockaddrInet4{Port: port}))
		e.note("one then", e.me.api.Bind(e.me.tcp(), e.me.at(port)))
		e.note("another protocol", e.me.api.Bind(e.me.udp(), e.me.at(port)))
	}},
	{"bind: SO_REUSEADDR and SO_REUSEPORT, who may share", func(e *env) {
		opts := []struct {
			name string
			opt  int
		}{{"nothing", 0}, {"SO_REUSEADDR", unix.SO_REUSEADDR}, {"SO_REUSEPORT", unix.SO_REUSEPORT}}
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, first := range opts {
				for _, second := range opts {
					port := e.freePort()
					a, b := e.me.socket(typ), e.me.socket(typ)
					for fd, opt := range map[int]int{a: first.opt, b: second.opt} {
						if opt != 0 {
							e.me.set(fd, unix.SOL_SOCKET, opt, 1)
						}
					}
					e.must(e.me.api.Bind(a, e.me.at(port)))
					e.note(show(typ)+" "+first.name+", "+second.name, e.me.api.Bind(b, e.me.at(port)))
				}
			}
		}
	}},
	{"bind: SO_REUSEADDR and a listener", func(e *env) {
		port := e.freePort()
		fd := func() int {
			fd := e.me.tcp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			return fd
		}
		a, b, c := fd(), fd(), fd()
		e.note("first", e.me.api.Bind(a, e.me.at(port)))
		e.note("second", e.me.api.Bind(b, e.me.at(port)))
		e.note("first listens", e.me.api.Listen(a, 1))
		e.note("second listens", e.me.api.Listen(b, 1))
		e.note("third", e.me.api.Bind(c, e.me.at(port)))
		e.me.close(a)
		e.note("second listens then", e.me.api.Listen(b, 1))
	}},
	{"bind: SO_REUSEPORT and two listeners", func(e *env) {
		port := e.freePort()
		var ls [2]int
		for i := range ls {
			ls[i] = e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
			e.me.set(ls[i], unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			e.note("bind", e.me.api.Bind(ls[i], e.me.at(port)))
			e.note("listen", e.me.api.Listen(ls[i], 100))
		}
		const all = 64
		for range all {
			e.must(e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
		}
		var got [2]int
		e.until("all connections", func() bool {
			for i, l := range ls {
				for {
					fd, _, err := e.me.api.Accept(l)
					if err != nil {
						break
					}
					e.me.keep(fd, nil)
					got[i]++
				}
			}
			return got[0]+got[1] == all
		})
		e.note("both get some", got[0] > 0 && got[1] > 0)
		e.me.close(ls[0])
		e.note("one is enough", e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
		e.until("the connection", func() bool {
			fd, _, err := e.me.api.Accept(ls[1])
			if err == nil {
				e.me.keep(fd, nil)
			}
			return err == nil
		})
	}},
	{"bind: the port of a connection that has just been closed", func(e *env) {
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		a := e.me.accept(l)
		e.me.close(l)
		e.me.close(a)
		_, err := e.peer.api.Read(c, make([]byte, 1))
		e.must(err)
		e.peer.close(c)
		fd := e.me.tcp()
		e.note("without SO_REUSEADDR", e.me.api.Bind(fd, at))
	}},
	{"bind: after connect", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.note("stream", e.me.api.Bind(mine, e.me.at(0)))
		d := e.me.udp()
		_, at := e.peer.datagram()
		e.must(e.me.api.Connect(d, at))
		e.note("datagram", e.me.api.Bind(d, e.me.at(0)))
	}},
	{"bind: a listener's port while its connection lives", func(e *env) {
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		a := e.me.accept(l)
		e.me.close(l)
		fd := e.me.tcp()
		e.note("without SO_REUSEADDR", e.me.api.Bind(fd, at))
		e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		e.note("with it on one side", e.me.api.Bind(fd, at))
		e.me.set(a, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		e.note("with it on both", e.me.api.Bind(fd, at))
	}},
	{"bind: the port is free when its only socket closes", func(e *env) {
		port := e.freePort()
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for range 2 {
				fd := e.me.socket(typ)
				e.note("bind", e.me.api.Bind(fd, e.me.at(port)))
				e.me.close(fd)
			}
		}
	}},
}
