package socketapi

import "golang.org/x/sys/unix"

// opens notes what a send with MSG_FASTOPEN says.
func (e *env) opens(what string, fd int, text string, to unix.Sockaddr, flags int) {
	n, err := e.me.api.SendmsgN(fd, []byte(text), nil, to, flags|unix.MSG_FASTOPEN)
	e.note(what, n, err)
}

var fastOpenRows = []row{
	{"fastopen: connect and send in one", func(e *env) {
		l, at := e.peer.listener()
		fd := e.me.tcp()
		e.opens("send", fd, "hello", at, 0)
		theirs := e.peer.accept(l)
		e.reads("the peer reads", &e.peer, theirs, 5, unix.MSG_WAITALL)
		e.opens("when it is connected", fd, "x", at, 0)
		e.opens("when it is connected, to nobody", fd, "x", nil, 0)
		e.sends("without the flag", &e.me, fd, "y", 0)
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
		fd = e.me.tcp()
		n, err := e.me.api.SendmsgBuffers(fd, pieces("ab", "", "cd"), nil, at, unix.MSG_FASTOPEN)
		e.note("in pieces", n, err)
		e.reads("the peer reads", &e.peer, e.peer.accept(l), 4, unix.MSG_WAITALL)
		fd = e.me.tcp()
		long := [][]byte{body(50_000), body(50_000)}
		n, err = e.me.api.SendmsgBuffers(fd, long, nil, at, unix.MSG_FASTOPEN)
		e.note("long pieces", n, err)
		theirs = e.peer.accept(l)
		e.must(e.me.api.Shutdown(fd, unix.SHUT_WR))
		e.drains("the peer reads", &e.peer, theirs, 100_000)
		fd = e.me.tcp()
		e.opens("nothing", fd, "", at, 0)
		theirs = e.peer.accept(l)
		e.sends("then", &e.me, fd, "z", 0)
		e.reads("the peer reads", &e.peer, theirs, 1, 0)
		fd = e.me.tcp()
		e.opens("with more to come", fd, "12", at, unix.MSG_MORE)
		theirs = e.peer.accept(l)
		e.sends("then", &e.me, fd, "34", 0)
		e.reads("the peer reads", &e.peer, theirs, 4, unix.MSG_WAITALL)
	}},
	{"fastopen: without waiting", func(e *env) {
		l, at := e.peer.listener()
		fd := e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.opens("send", fd, "hello", at, 0)
		e.awaits("connected", &e.me, fd, unix.POLLOUT)
		e.note2(e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR))
		theirs := e.peer.accept(l)
		e.sends("send again", &e.me, fd, "hello", 0)
		e.reads("the peer reads", &e.peer, theirs, 5, unix.MSG_WAITALL)
		silent := &unix.SockaddrInet4{Addr: [4]byte{10, 99, 0, 77}, Port: 7}
		fd = e.me.socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.opens("to who does not answer", fd, "x", silent, 0)
		e.opens("again", fd, "x", silent, 0)
		e.note("connect", e.me.api.Connect(fd, silent))
		e.sends("without the flag", &e.me, fd, "x", 0)
	}},
	{"fastopen: what cannot be", func(e *env) {
		_, at := e.peer.listener()
		e.opens("to nobody", e.me.tcp(), "x", nil, 0)
		e.opens("to another family", e.me.tcp(), "x", &unix.SockaddrInet6{Port: at.Port}, 0)
		fd := e.me.tcp()
		e.opens("refused", fd, "x", e.refusing(), 0)
		e.polls("then", &e.me, fd)
		e.opens("and again", fd, "x", at, 0)
		l, _ := e.me.listener()
		e.opens("of a listener", l, "x", at, 0)
		e.opens("to port 0", e.me.tcp(), "x", e.peer.at(0), 0)
		u := e.me.udp()
		e.opens("a datagram", u, "x", at, 0)
		e.opens("a datagram to nobody", u, "x", nil, 0)
		e.opens("urgent", e.me.tcp(), "x", at, unix.MSG_OOB)
		bound := e.me.tcp()
		e.must(e.me.api.Bind(bound, e.me.at(0)))
		port := e.me.name(bound).Port
		e.opens("from a port", bound, "x", at, 0)
		e.note("the same", e.me.name(bound).Port == port)
	}},
	{"connect: of a socket that was shut down before", func(e *env) {
		_, at := e.peer.listener()
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_WR, unix.SHUT_RDWR} {
			fd := e.me.tcp()
			e.note("shut down", e.me.api.Shutdown(fd, how))
			e.note("connect", e.me.api.Connect(fd, at))
			e.polls("then", &e.me, fd)
			e.sends("send", &e.me, fd, "x", 0)
			e.note("shut down", e.me.api.Shutdown(fd, unix.SHUT_RDWR))
		}
	}},
	{"connect: of a socket that was shut down before, and what goes on then", func(e *env) {
		l, at := e.peer.listener()
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_WR, unix.SHUT_RDWR} {
			fd := e.me.tcp()
			e.note("shut down", e.me.api.Shutdown(fd, how))
			e.note("connect to who refuses", e.me.api.Connect(fd, e.refusing()))
			e.polls("then", &e.me, fd)
			e.note("shut down", e.me.api.Shutdown(fd, how))
			e.must(e.me.api.SetNonblock(fd, true))
			e.note("connect", e.me.api.Connect(fd, at))
			theirs := e.peer.accept(l)
			e.awaits("connected", &e.me, fd, unix.POLLOUT)
			e.must(e.me.api.SetNonblock(fd, false))
			e.sends("the peer sends", &e.peer, theirs, "abc", 0)
			e.arrived(&e.me, fd, 3)
			e.polls("data", &e.me, fd)
			e.reads("read", &e.me, fd, 9, 0)
			if how != unix.SHUT_WR {
				e.reads("no more", &e.me, fd, 9, 0)
			}
			e.sends("send", &e.me, fd, "x", 0)
			e.sends("nothing", &e.me, fd, "", 0)
			if how == unix.SHUT_RD {
				e.reads("the peer reads", &e.peer, theirs, 9, 0)
			}
			e.polls("the peer", &e.peer, theirs)
			e.note("AF_UNSPEC", e.me.api.Connect(fd, nil))
			e.note("connect", e.me.api.Connect(fd, at))
			theirs = e.peer.accept(l)
			e.sends("send", &e.me, fd, "x", 0)
			e.reads("the peer reads", &e.peer, theirs, 9, 0)
			e.note("shut down", e.me.api.Shutdown(fd, unix.SHUT_WR))
			e.reads("the end", &e.peer, theirs, 9, 0)
		}
		for _, how := range []int{unix.SHUT_WR, unix.SHUT_RDWR} {
			fd := e.me.tcp()
			e.note("shut down", e.me.api.Shutdown(fd, how))
			e.note("connect", e.me.api.Connect(fd, at))
			theirs := e.peer.accept(l)
			if how == unix.SHUT_WR {
				e.note("shut down", e.me.api.Shutdown(fd, unix.SHUT_WR))
			} else {
				e.me.close(fd)
			}
			e.reads("the peer reads the end", &e.peer, theirs, 9, 0)
		}
	}},
	{"fastopen: TCP_FASTOPEN_CONNECT", func(e *env) {
		l, at := e.peer.listener()
		fd := e.me.tcp()
		e.me.set(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		e.note("connect", e.me.api.Connect(fd, at))
		e.note("again", e.me.api.Connect(fd, at))
		e.sends("send", &e.me, fd, "hello", 0)
		e.reads("the peer reads", &e.peer, e.peer.accept(l), 5, unix.MSG_WAITALL)
		refused := e.me.tcp()
		e.me.set(refused, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		e.note("connect", e.me.api.Connect(refused, e.refusing()))
	}},
}
