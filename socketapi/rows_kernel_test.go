package socketapi

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What the kernel does with sockets of its families must come through unchanged.
var kernelRows = []row{
	{"family: what there is and what there is not", func(e *env) {
		for _, f := range []int{0, unix.AF_UNIX, unix.AF_AX25, unix.AF_IPX, unix.AF_APPLETALK, unix.AF_X25, unix.AF_KEY, unix.AF_NETLINK, unix.AF_CAN, unix.AF_BLUETOOTH, unix.AF_ALG, unix.AF_VSOCK, unix.AF_XDP, 99, -1} {
			for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_RDM, unix.SOCK_SEQPACKET, 0, 99, -1} {
				fd, err := e.me.api.Socket(f, typ, 0)
				if err == nil {
					e.me.keep(fd, nil)
				}
				e.note(fmt.Sprint(f, " ", typ), err)
			}
		}
	}},
	{"family: protocols that the engine does not speak", func(e *env) {
		for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
			for _, c := range [][2]int{
				{unix.SOCK_STREAM, unix.IPPROTO_SCTP}, {unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}, {unix.SOCK_DCCP, unix.IPPROTO_DCCP}, {unix.SOCK_STREAM, unix.IPPROTO_DCCP},
				{unix.SOCK_RDM, 0}, {unix.SOCK_SEQPACKET, 0}, {unix.SOCK_STREAM, unix.IPPROTO_UDP}, {unix.SOCK_DGRAM, unix.IPPROTO_TCP}, {unix.SOCK_RAW, 0}, {unix.SOCK_DGRAM, 300},
			} {
				_, err := e.me.api.Socket(f, c[0], c[1])
				e.note(fmt.Sprint(f, " ", c), err)
				_, err = e.me.api.Socketpair(f, c[0], c[1])
				e.note("a pair", err)
			}
			_, err := e.me.api.Socketpair(f, unix.SOCK_STREAM, 0)
			e.note("a pair", err)
		}
	}},
	{"unix: a stream", func(e *env) {
		at := &unix.SockaddrUnix{Name: filepath.Join(e.t.TempDir(), "s")}
		l := e.me.open(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.note("bind", e.me.api.Bind(l, at))
		e.note("bind again", e.me.api.Bind(l, at))
		e.note("listen", e.me.api.Listen(l, 4))
		e.polls("nobody", &e.me, l)
		c := e.me.open(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.soon(func() { e.me.api.Connect(c, at) })
		fd, _, err := e.me.api.Accept(l)
		e.me.keep(fd, err)
		sa, err := e.me.api.Getsockname(fd)
		e.note("name", filepath.Base(sa.(*unix.SockaddrUnix).Name), err)
		e.soon(func() { e.me.api.Write(c, []byte("hello")) })
		p := make([]byte, 9)
		n, err := e.me.api.Read(fd, p)
		e.note("read", p[:n], err)
		e.must(e.me.api.SetNonblock(fd, true))
		_, err = e.me.api.Read(fd, p)
		e.note("non-blocking", err)
		e.must(e.me.api.SetNonblock(fd, false))
		e.must(e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 30000}))
		_, err = e.me.api.Read(fd, p)
		e.note("SO_RCVTIMEO", err)
		e.must(e.me.api.Shutdown(c, unix.SHUT_WR))
		n, err = e.me.api.Read(fd, p)
		e.note("the end", n, err)
		e.me.close(c)
		_, err = e.me.api.SendmsgN(fd, p, nil, nil, 0)
		e.note("to nobody", err)
		n, err = e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		e.note("SO_DOMAIN", n, err)
	}},
	{"unix: a large write waits for its reader", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		sent := in(func() error {
			e.writes("write", pair[0], make([]byte, 1<<21))
			return e.me.api.Shutdown(pair[0], unix.SHUT_WR)
		})
		total, p := 0, make([]byte, 1<<16)
		for {
			n, err := e.me.api.Read(pair[1], p)
			e.must(err)
			if n == 0 {
				break
			}
			total += n
		}
		e.must(<-sent)
		e.note("read", total)
		other := in(func() error { _, err := e.me.api.Write(pair[1], []byte("abcdef")); return err })
		n, _, err := e.me.api.Recvfrom(pair[0], p[:6], unix.MSG_WAITALL)
		e.note("all of it", n, err, <-other)
	}},
	{"unix: datagrams and packets in order", func(e *env) {
		for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			pair, err := e.me.api.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK, 0)
			e.me.keep(pair[0], err)
			e.me.keep(pair[1], nil)
			e.note("nonblocking", e.fcntl(pair[0], unix.F_GETFL, 0))
			e.sends("one", &e.me, pair[0], "one", 0)
			e.sends("two", &e.me, pair[0], "twotwo", 0)
			e.reads("read", &e.me, pair[1], 9, 0)
			p := make([]byte, 3)
			n, _, flags, _, err := e.me.api.Recvmsg(pair[1], p, nil, 0)
			e.note("read", p[:n], flags, err)
			e.reads("read", &e.me, pair[1], 9, 0)
			full := 0
			for err == nil {
				_, err = e.me.api.Write(pair[0], make([]byte, 10000))
				full++
			}
			e.note("full", err, full > 2)
		}
	}},
	{"unix: a descriptor is passed", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		other, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		e.me.keep(other[0], err)
		e.me.keep(other[1], nil)
		n, err := e.me.api.SendmsgN(pair[0], []byte("x"), unix.UnixRights(other[0]), nil, 0)
		e.note("send", n, err)
		oob := make([]byte, 64)
		n, oobn, flags, _, err := e.me.api.Recvmsg(pair[1], make([]byte, 9), oob, 0)
		e.note("receive", n, oobn, flags&^unix.MSG_CMSG_CLOEXEC, err)
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.must(err)
		rights, err := unix.ParseUnixRights(&messages[0])
		e.must(err)
		e.me.keep(rights[0], nil)
		e.sends("by the passed one", &e.me, rights[0], "passed", 0)
		e.reads("read", &e.me, other[1], 9, 0)
		_, err = e.me.api.SendmsgN(pair[0], []byte("x"), unix.UnixRights(1<<19), nil, 0)
		e.note("one that is not open", err)
	}},
	{"netlink: a question and its answer", func(e *env) {
		fd := e.me.open(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		e.note("bind", e.me.api.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtGenmsg)
		request[0], request[4], request[6], request[7] = byte(len(request)), unix.RTM_GETLINK, unix.NLM_F_REQUEST, unix.NLM_F_DUMP>>8
		e.note("send", e.me.api.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		p := make([]byte, 1<<16)
		n, from, err := e.me.api.Recvfrom(fd, p, 0)
		e.note("receive", n > 100, p[4], show(from.(*unix.SockaddrNetlink).Pid), err)
	}},
	{"alg: a digest", func(e *env) {
		fd, err := e.me.api.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		if err != nil { // not every kernel has it
			e.note("socket", err)
			return
		}
		e.me.keep(fd, nil)
		if err := e.me.api.Bind(fd, &unix.SockaddrALG{Type: "hash", Name: "sha256"}); err != nil {
			e.note("bind", err)
			return
		}
		op, _, err := e.me.api.Accept(fd)
		e.me.keep(op, err)
		e.note2(e.me.api.Write(op, []byte("abc")))
		p := make([]byte, 64)
		n, err := e.me.api.Read(op, p)
		e.note("digest", fmt.Sprintf("%x", p[:max(n, 0)]), err)
	}},
	{"poll: the kernel's and ours at once", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		mine, theirs := e.me.connected(&e.peer)
		fds := []unix.PollFd{{Fd: int32(mine), Events: unix.POLLIN}, {Fd: int32(pair[0]), Events: unix.POLLIN | unix.POLLRDHUP}}
		for _, send := range []func(){
			func() { e.me.api.Write(pair[1], []byte("x")) },
			func() { e.peer.api.Sendto(theirs, []byte("x"), 0, nil) },
			func() { e.me.api.Shutdown(pair[1], unix.SHUT_RDWR) },
		} {
			e.soon(send)
			n, err := e.me.api.Poll(fds, 10000)
			e.note("poll", n, err)
			for _, x := range fds {
				e.note("says", pollNamed(uint32(uint16(x.Revents))))
			}
			e.me.api.Recvfrom(mine, make([]byte, 1), unix.MSG_DONTWAIT)
			e.me.api.Recvfrom(pair[0], make([]byte, 1), unix.MSG_DONTWAIT)
		}
		e.polls("the pair in the end", &e.me, pair[0])
	}},
	{"poll: states of a unix socket", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			e.polls("fresh", &e.me, e.me.open(unix.AF_UNIX, typ, 0))
			pair, err := e.me.api.Socketpair(unix.AF_UNIX, typ, 0)
			e.me.keep(pair[0], err)
			e.me.keep(pair[1], nil)
			e.polls("idle", &e.me, pair[0])
			e.sends("send", &e.me, pair[1], "x", 0)
			e.polls("to read", &e.me, pair[0])
			e.me.close(pair[1])
			e.polls("alone", &e.me, pair[0])
		}
	}},
}
