package socketapi

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Options that few programs ask for: SO_DONTROUTE, SO_PRIORITY, UDP_NO_CHECK6_TX and its kin.

var seldomRows = slices.Concat(
	[]row{
		{"seldom: SO_DONTROUTE", func(e *env) {
			beyond := [4]byte{10, 97, 0, 7}
			for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
				for _, to := range [][4]byte{e.peer.ip, e.me.ip, {127, 0, 0, 1}, beyond} {
					fd := e.me.socket(typ)
					e.must(e.me.api.SetNonblock(fd, true))
					e.me.set(fd, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
					at := &unix.SockaddrInet4{Addr: to, Port: 9}
					if typ == unix.SOCK_DGRAM {
						e.note(fmt.Sprint("sendto ", to), e.me.api.Sendto(fd, []byte("x"), 0, at))
						e.until("an error, if there is one", func() bool {
							n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
							return n == 0 && err == nil
						})
					}
					e.note(fmt.Sprint("connect ", typ, to), e.me.api.Connect(fd, at))
					e.me.close(fd)
				}
			}
			mine, theirs := e.peers()
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
			e.sends("to the peer", &e.me, mine, "x", 0)
			e.reads("it", &e.peer, theirs, 9, 0)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_DONTROUTE, 0)
			e.note("beyond, if it may", e.me.api.Sendto(e.me.udp(), []byte("x"), 0, &unix.SockaddrInet4{Addr: beyond, Port: 9}))
			l := e.me.tcp()
			e.me.set(l, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
			e.me.set(l, unix.SOL_SOCKET, unix.SO_PRIORITY, 5)
			e.must(e.me.api.Bind(l, e.me.at(e.freePort())))
			e.must(e.me.api.Listen(l, 1))
			e.note("the peer connects", e.peer.api.Connect(e.peer.tcp(), e.me.name(l)))
			a := e.me.accept(l)
			for _, opt := range []int{unix.SO_DONTROUTE, unix.SO_PRIORITY} {
				n, err := e.me.api.GetsockoptInt(a, unix.SOL_SOCKET, opt)
				e.note("of the connection", n, err)
			}
		}},
	},
	bothFamilies("seldom: SO_PRIORITY", func(e *env, f ipFamily) {
		for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			fd := e.me.open(f.domain, typ, 0)
			priority := func(what string, err error) {
				n, got := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY)
				e.note(what, err, n, got)
			}
			for _, n := range []int{0, 6, 7, -1, 1 << 30, 3} {
				priority(fmt.Sprint(n), e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, n))
			}
			for _, tos := range []int{0, 4, 8, 0x10, 0x18, 0xb8, 0xe0, 0xff, 0xff, 2, 0} {
				priority(fmt.Sprint("TOS ", tos), e.me.api.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, tos))
			}
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
			priority("the same TOS", e.me.api.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0))
			e.withoutRight(unix.CAP_NET_RAW, func() {
				priority("without one right", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7))
				e.withoutRight(unix.CAP_NET_ADMIN, func() {
					priority("without both", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 8))
				})
			})
		}
		theirs, at := f.bound(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		for _, oob := range [][]byte{intCmsg(unix.SOL_SOCKET, unix.SO_PRIORITY, 6), intCmsg(unix.SOL_SOCKET, unix.SO_PRIORITY, 7), cmsg(unix.SOL_SOCKET, unix.SO_PRIORITY, []byte{1})} {
			n, err := e.me.api.SendmsgN(mine, []byte("x"), oob, at, 0)
			e.note("of one message", n, err)
		}
		for range 2 {
			e.message("receive", &e.peer, theirs, 9, 0, 0)
		}
	}),
	bothFamilies("seldom: datagrams without checksums", func(e *env, f ipFamily) {
		sink, at := f.bound(&e.me)
		e.must(e.me.api.SetNonblock(sink, true))
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		try := func(what string) {
			e.note(what, e.me.api.Sendto(mine, []byte(what), 0, at))
			n, _, err := e.me.api.Recvfrom(sink, make([]byte, 99), 0)
			e.note("it comes", n, err)
			n, err = e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
			e.note("SO_ERROR", n, err)
		}
		try("with")
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, 1)
		try("without")
		e.note("nor pieces", e.me.api.Sendto(mine, []byte("x"), 0, at), sendError(e.me.api.SendmsgN(mine, []byte("xyz"), segmentCmsg(1), at, 0)))
		n, _, err := e.me.api.Recvfrom(sink, make([]byte, 99), 0)
		e.note("they come", n, err)
		e.me.set(sink, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, 7)
		is, err := e.me.api.GetsockoptInt(sink, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX)
		e.note("is", is, err)
		for range 5 { // IPv4 has let all of it through
			if _, _, err := e.me.api.Recvfrom(sink, make([]byte, 99), 0); err != nil {
				break
			}
		}
		try("without, to who takes it")
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, 0)
		try("with, to who would take it")
		e.me.set(mine, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, 1)
		nobody := f.in(&e.me, e.freePort())
		e.must(e.me.api.Connect(mine, nobody))
		e.note("to nobody", e.me.api.Sendto(mine, []byte("x"), 0, nil))
		n, err = e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
		e.note("SO_ERROR", unix.Errno(n), err)
		// Over the wire.
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Bind(theirs, f.in(&e.peer, e.freePort())))
		e.peer.set(theirs, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, 1)
		e.must(e.peer.api.Sendto(theirs, []byte("from the peer"), 0, at))
		e.must(e.me.api.SetNonblock(sink, false))
		e.message("receive", &e.me, sink, 99, 0, 0)
	}),
)

func sendError(_ int, err error) error { return err }
