package socketapi

import (
	"golang.org/x/sys/unix"
)

// orderRows are about which of several errors a call says, and what a call leaves for the next: what random sequences
// have found.
var orderRows = []row{
	{"order: bind when a connection is over", func(e *env) {
		fd, six := e.connecting(e.refusing()), e.me.inet6(unix.SOCK_STREAM)
		e.awaits("refused", &e.me, fd, unix.POLLHUP)
		e.note("nobody's", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 97, 0, 7}}))
		e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: e.freePort()}))
		e.note("getsockname", e.me.name(fd).Addr)
		e.note("twice", e.me.api.Bind(fd, &unix.SockaddrInet4{}))
		e.takenError(fd)
		e.must(e.me.api.SetNonblock(six, true))
		e.note("connect", e.me.api.Connect(six, &unix.SockaddrInet6{Addr: e.peer.ip6, Port: e.refusing().Port}))
		e.awaits("refused", &e.me, six, unix.POLLHUP)
		e.note("bind", e.me.api.Bind(six, in6("::", 0)))
		mine, theirs := e.me.connected(&e.peer)
		e.note("while it lives", e.me.api.Bind(mine, &unix.SockaddrInet4{}))
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.awaits("reset", &e.me, mine, unix.POLLHUP)
		e.note("after a reset", e.me.api.Bind(mine, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		e.note("connect", e.me.api.Connect(mine, e.refusing()))
	}},
	{"order: bind to what stands for several hosts", func(e *env) {
		all := [4]byte{255, 255, 255, 255}
		for _, to := range [][4]byte{all, {e.me.ip[0], e.me.ip[1], e.me.ip[2], 255}, {224, 0, 0, 7}} {
			for _, fd := range []int{e.me.tcp(), e.me.udp()} {
				e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: to}))
				e.note("again", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: to}))
				e.note("name", e.me.name(fd).Addr)
			}
		}
		fd := e.me.tcp()
		e.must(e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: all}))
		_, at := e.peer.listener()
		e.note("connect", e.me.api.Connect(fd, at))
		e.note("name", e.me.name(fd).Addr)
		udp := e.me.udp()
		e.must(e.me.api.Bind(udp, &unix.SockaddrInet4{}))
		e.note("a port of others", e.me.api.Bind(udp, &unix.SockaddrInet4{Addr: all, Port: e.me.name(fd).Port}))
		e.me.set(udp, unix.SOL_IP, unix.IP_FREEBIND, 1)
		e.note("nobody's address, bound", e.me.api.Bind(udp, &unix.SockaddrInet4{Addr: [4]byte{10, 97, 0, 7}}))
	}},
	{"order: control messages and not a byte", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			mine, theirs := e.me.connected(&e.peer)
			if typ == unix.SOCK_DGRAM {
				mine, theirs = e.peers()
				e.must(e.peer.api.Connect(theirs, &unix.SockaddrInet4{Addr: e.me.ip, Port: e.me.name(mine).Port}))
			}
			e.sends("the peer sends", &e.peer, theirs, "abc", 0)
			e.awaits("it", &e.me, mine, unix.POLLIN)
			n, _, flags, _, err := e.me.api.Recvmsg(mine, nil, make([]byte, 64), unix.MSG_CMSG_CLOEXEC)
			e.note("recvmsg", n, flags&^unix.MSG_TRUNC, err)
			e.must(e.me.api.SetNonblock(mine, true))
			e.reads("the rest", &e.me, mine, 9, 0)
			oob := unix.UnixRights()
			n, err = e.me.api.SendmsgN(mine, nil, oob, nil, 0)
			e.note("sendmsg", n, err)
			n, err = e.me.api.SendmsgBuffers(mine, pieces("", ""), oob, nil, 0)
			e.note("sendmsg of empty pieces", n, err)
			e.awaits("it", &e.peer, theirs, unix.POLLIN)
			e.reads("the peer reads", &e.peer, theirs, 1, 0)
		}
		fd := e.me.tcp()
		e.note("shutdown", e.me.api.Shutdown(fd, unix.SHUT_RD))
		n, _, flags, _, err := e.me.api.Recvmsg(fd, make([]byte, 1), nil, unix.MSG_CMSG_CLOEXEC)
		e.note("recvmsg", n, flags, err)
	}},
	{"order: IP_MULTICAST_ALL at first", func(e *env) {
		for _, fd := range []int{e.me.udp(), e.me.tcp(), e.me.inet6(unix.SOCK_DGRAM), e.me.inet6(unix.SOCK_STREAM)} {
			n, err := e.me.api.GetsockoptInt(fd, unix.SOL_IP, unix.IP_MULTICAST_ALL)
			e.note("IP_MULTICAST_ALL", n, err)
		}
	}},
	{"order: addresses of the other family", func(e *env) {
		mapped := &unix.SockaddrInet6{Addr: [16]byte{10: 0xff, 11: 0xff, 12: e.me.ip[0], 13: e.me.ip[1], 14: e.me.ip[2], 15: e.me.ip[3]}}
		for _, fd := range []int{e.me.open(unix.AF_INET6, unix.SOCK_RAW, 200), e.me.open(unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6)} {
			e.note("connect", e.me.api.Connect(fd, e.peer.at(1)))
			e.note("bind", e.me.api.Bind(fd, mapped))
			e.note("urgent", e.me.api.Sendto(fd, make([]byte, 100), unix.MSG_OOB, mapped))
			mapped.Port = 7
			e.note("urgent", e.me.api.Sendto(fd, make([]byte, 100), unix.MSG_OOB, mapped))
		}
		for _, fd := range []int{e.me.open(unix.AF_INET, unix.SOCK_RAW, 200), e.me.open(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)} {
			for _, port := range []int{0, 7, 0} {
				e.note("connect", e.me.api.Connect(fd, e.peer.at(port)))
				sa, err := e.me.api.Getpeername(fd)
				e.note("getpeername", sa, err)
			}
		}
		raw := e.me.open(unix.AF_INET, unix.SOCK_RAW, 200)
		e.note("connect", e.me.api.Connect(raw, e.peer.at(0)))
		e.note("bind", e.me.api.Bind(raw, in6("::", 0)))
		everyone := &unix.SockaddrInet4{Addr: [4]byte{e.me.ip[0], e.me.ip[1], e.me.ip[2], 255}, Port: 9}
		for _, on := range []int{0, 1} {
			fd := e.me.udp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, on)
			e.note("connect to everyone", e.me.api.Connect(fd, everyone))
		}
		udp := e.me.inet6(unix.SOCK_DGRAM)
		e.note("connect", e.me.api.Connect(udp, &unix.SockaddrInet6{Addr: e.peer.ip6, Port: 9}))
		e.note("connect over IPv4", e.me.api.Connect(udp, e.peer.at(9)))
	}},
	{"order: peers without a port", func(e *env) {
		fd := e.me.udp()
		e.note("connect", e.me.api.Connect(fd, e.peer.at(0)))
		sa, err := e.me.api.Getpeername(fd)
		e.note("getpeername", sa, err)
		raw := e.me.open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP) // the datagram is all the program's
		sink, at := e.peer.datagram()
		from, to := 7777, at.Port
		e.note("sendto", e.me.api.Sendto(raw, []byte{byte(from >> 8), byte(from), byte(to >> 8), byte(to), 0, 9, 0, 0, 'x'}, 0, e.peer.at(0)))
		e.awaits("it", &e.peer, sink, unix.POLLIN)
		e.reads("the peer reads", &e.peer, sink, 9, 0)
		e.note("connect", e.me.api.Connect(raw, e.peer.at(0)))
		e.note("bind to nobody's, connected", e.me.api.Bind(raw, &unix.SockaddrInet4{Addr: [4]byte{10, 97, 0, 7}}))
	}},
	{"order: MSG_DONTROUTE", func(e *env) {
		mine, theirs := e.peers()
		e.sends("to the peer", &e.me, mine, "x", unix.MSG_DONTROUTE)
		e.reads("it", &e.peer, theirs, 9, 0)
		fd := e.me.udp()
		for _, to := range [][4]byte{e.peer.ip, e.me.ip, {127, 0, 0, 1}, {10, 97, 0, 7}} {
			e.note("sendto", e.me.api.Sendto(fd, []byte("x"), unix.MSG_DONTROUTE, &unix.SockaddrInet4{Addr: to, Port: 9}))
			e.until("an error, if there is one", func() bool {
				n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
				return n == 0 && err == nil
			})
		}
		six, sink := e.me.inet6(unix.SOCK_DGRAM), e.peer.inet6(unix.SOCK_DGRAM)
		e.must(e.peer.api.Bind(sink, in6("::", 0)))
		e.note("IPv6", e.me.api.Sendto(six, []byte("x"), unix.MSG_DONTROUTE, &unix.SockaddrInet6{Addr: e.peer.ip6, Port: e.peer.port6(sink)}))
		e.reads("it", &e.peer, sink, 9, 0)
		c, other := e.me.connected(&e.peer)
		e.sends("a stream", &e.me, c, "x", unix.MSG_DONTROUTE)
		e.reads("it", &e.peer, other, 9, 0)
	}},
	{"order: shutdown of a connection that is being made", func(e *env) {
		fd := e.me.tcp()
		e.must(e.me.api.SetNonblock(fd, true))
		e.note("connect", e.me.api.Connect(fd, e.nobody()))
		e.note("shutdown", e.me.api.Shutdown(fd, unix.SHUT_RDWR))
		e.polls("poll", &e.me, fd)
		e.takenError(fd)
	}},
	{"order: connect when a shutdown has seen the connection", func(e *env) {
		l, at := e.peer.listener()
		fd := e.connecting(at)
		theirs := e.peer.accept(l)
		e.awaits("it", &e.me, fd, unix.POLLOUT)
		e.note("shutdown", e.me.api.Shutdown(fd, unix.SHUT_RD))
		e.note("connect", e.me.api.Connect(fd, at))
		e.peer.close(theirs)
	}},
	{"order: a second urgent byte where the first waits to be read", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "a", unix.MSG_OOB)
		e.announced(&e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "b", unix.MSG_OOB)
		e.until("the second", func() bool {
			p := make([]byte, 1)
			_, _, err := e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
			return err == nil && p[0] == 'b'
		})
		n, err := e.me.api.IoctlGetInt(mine, FIONREAD)
		e.note("FIONREAD", n, err)
		e.mark("at the mark", &e.me, mine)
	}},
	{"order: shutdown before listen, and of a listener", func(e *env) {
		for how := range 3 {
			fd := e.me.tcp()
			e.note("of nothing", e.me.api.Shutdown(fd, unix.SHUT_RDWR))
			e.must(e.me.api.Listen(fd, 1))
			e.note("of a listener", how, e.me.api.Shutdown(fd, how))
			e.polls("poll", &e.me, fd)
			_, err := e.me.api.Read(fd, make([]byte, 1))
			e.note("read", err)
		}
	}},
	{"order: an error that waits, and where to send", func(e *env) {
		fd := e.me.udp()
		e.must(e.me.api.Connect(fd, &unix.SockaddrInet4{Addr: e.peer.ip, Port: e.refusing().Port}))
		e.sends("send", &e.me, fd, "x", 0)
		e.awaits("refused", &e.me, fd, unix.POLLERR)
		e.note("to port 0", e.me.api.Sendto(fd, []byte("x"), 0, e.me.at(0)))
		e.note("to everyone", e.me.api.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{e.me.ip[0], e.me.ip[1], e.me.ip[2], 255}, Port: 7}))
		e.note("to the peer", e.me.api.Sendto(fd, []byte("x"), unix.MSG_DONTWAIT, nil))
	}},
	{"order: an error behind the first of several pieces", func(e *env) {
		for _, mm := range []bool{false, true} {
			mine, theirs := e.me.connected(&e.peer)
			e.sends("the peer sends", &e.peer, theirs, "abc", 0)
			e.arrived(&e.me, mine, 3)
			e.sends("send", &e.me, mine, "unread", 0)
			e.arrived(&e.peer, theirs, 6)
			e.peer.close(theirs) // a reset, since something is unread
			e.awaits("reset", &e.me, mine, unix.POLLERR)
			if mm {
				e.readv("readv", &e.me, mine, 3, 5)
			} else {
				e.readv("readv", &e.me, mine, 1, 1)
			}
			e.readv("the next", &e.me, mine, 1, 1)
			e.readv("after it", &e.me, mine, 1, 1)
		}
	}},
	{"order: an error that waits when a connection is undone", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.awaits("reset", &e.me, mine, unix.POLLERR)
		e.note("connect to nobody", e.me.api.Connect(mine, nil))
		e.takenError(mine)
		e.takenError(mine)
	}},
	{"order: bytes that were never sent", func(e *env) {
		ask := func(what string, fd int) {
			n, err := e.me.api.IoctlGetInt(fd, unix.SIOCOUTQNSD)
			e.note(what, n, err)
		}
		ask("fresh", e.me.tcp())
		l, _ := e.me.listener()
		ask("listener", l)
		ask("datagrams", e.me.udp())
		ask("raw", e.me.open(unix.AF_INET, unix.SOCK_RAW, 200))
		ask("ping", e.me.open(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP))
		mine, theirs := e.me.connected(&e.peer)
		ask("idle", mine)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		e.sends("write a little", &e.me, mine, "abc", 0)
		ask("corked", mine)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
		e.reads("the peer reads", &e.peer, theirs, 3, unix.MSG_WAITALL)
		e.until("all sent", func() bool { n, _ := e.me.api.IoctlGetInt(mine, unix.SIOCOUTQNSD); return n == 0 })
	}},
}
