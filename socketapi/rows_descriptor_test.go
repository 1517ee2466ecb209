package socketapi

import (
	"os"

	"golang.org/x/sys/unix"
)

var descriptorRows = []row{
	{"descriptor: dup2 and dup3", func(e *env) {
		a, b := e.me.udp(), e.me.udp()
		_, at := e.peer.datagram()
		e.must(e.me.api.Connect(a, at))
		e.note("onto itself", e.me.api.Dup2(a, a), e.me.api.Dup3(a, a, 0))
		e.note("onto another", e.me.api.Dup2(a, b))
		sa, err := e.me.api.Getpeername(b)
		e.note("the same socket", sa.(*unix.SockaddrInet4).Port == at.Port, err)
		e.note("with a flag", e.me.api.Dup3(a, b, unix.O_CLOEXEC))
		n, err := e.me.api.FcntlInt(uintptr(b), unix.F_GETFD, 0)
		e.note("F_GETFD", n, err)
		e.note("with another flag", e.me.api.Dup3(a, b, unix.O_NONBLOCK))
		e.me.close(a)
		_, err = e.me.api.Getpeername(b)
		e.note("it lives on", err)
		e.note("of nothing", e.me.api.Dup2(a, b), e.me.api.Dup2(a, a))
		e.note("onto a number that is none", e.me.api.Dup2(b, -1))
		_, err = e.me.api.Dup(a)
		e.note("dup", err)
	}},
	{"descriptor: of the standard ones", func(e *env) {
		for fd := range 3 {
			other, err := e.me.api.Dup(fd)
			e.me.keep(other, err)
			_, err = e.me.api.FcntlInt(uintptr(other), unix.F_GETFL, 0)
			e.note("dup", other > 2, err)
			e.me.close(other)
			n, err := e.me.api.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
			e.me.keep(n, err)
			flag, err := e.me.api.FcntlInt(uintptr(n), unix.F_GETFD, 0)
			e.note("F_DUPFD_CLOEXEC", flag, err)
			u := e.me.udp()
			e.note("dup2 over a socket", e.me.api.Dup2(fd, u))
			_, err = e.me.api.Getsockname(u)
			e.note("what it was is gone", err)
			_, err = e.me.api.FcntlInt(uintptr(u), unix.F_GETFL, 0)
			e.note("what it is", err)
			_, err = e.me.api.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			e.note("the other stays", err)
		}
	}},
	{"descriptor: close with several", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		other, err := e.me.api.Dup(mine)
		e.me.keep(other, err)
		e.me.close(mine)
		_, err = e.me.api.Write(mine, []byte("x"))
		e.note("closed", err, e.me.api.Close(mine))
		e.sends("the other", &e.me, other, "abc", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.me.close(other)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
	}},
	{"descriptor: fstat", func(e *env) {
		stat := func(what string, fd int, err error) unix.Stat_t {
			e.me.keep(fd, err)
			var st unix.Stat_t
			st.Size = -1
			err = e.me.api.Fstat(fd, &st)
			if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
				st.Atim, st.Mtim, st.Ctim = unix.Timespec{}, unix.Timespec{}, unix.Timespec{} // of all of the kernel's
			}
			e.note(what, err, st.Mode, st.Nlink, st.Uid, st.Gid, st.Rdev, st.Size, st.Blksize, st.Blocks, st.Atim, st.Mtim, st.Ctim)
			return st
		}
		listening, at := e.peer.listener()
		c := e.me.tcp()
		before := stat("tcp", c, nil)
		e.must(e.me.api.Connect(c, at))
		accepted, _, err := e.peer.api.Accept(listening)
		e.peer.keep(accepted, err)
		after := stat("connected", c, nil)
		e.note("the same", before.Ino == after.Ino, before.Dev == after.Dev)
		d, err := e.me.api.Dup(c)
		other, again := stat("udp", e.me.udp(), nil), stat("a copy", d, err)
		e.note("the same", again.Ino == after.Ino, other.Ino == after.Ino, other.Dev == after.Dev)
		raw, err := e.me.api.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		stat("raw", raw, err)
		ep, err := e.me.api.EpollCreate1(0)
		stat("an epoll", ep, err)
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[1], err)
		stat("a socket of the kernel's", pair[0], err)
		var st unix.Stat_t
		e.note("none", e.me.api.Fstat(1<<20, &st))
	}},
	{"descriptor: O_NONBLOCK is the socket's", func(e *env) {
		a := e.me.udp()
		b, err := e.me.api.Dup(a)
		e.me.keep(b, err)
		e.note("before", e.fcntl(a, unix.F_GETFL, 0), e.fcntl(b, unix.F_GETFL, 0))
		e.note("set", e.fcntl(a, unix.F_SETFL, unix.O_NONBLOCK))
		e.note("after", e.fcntl(a, unix.F_GETFL, 0), e.fcntl(b, unix.F_GETFL, 0))
		e.reads("read", &e.me, b, 1, 0)
		e.must(e.me.api.SetNonblock(b, false))
		e.note("back", e.fcntl(a, unix.F_GETFL, 0))
		e.note("with more", e.fcntl(a, unix.F_SETFL, unix.O_NONBLOCK|unix.O_CREAT|unix.O_RDONLY), e.fcntl(a, unix.F_GETFL, 0))
	}},
	{"descriptor: FD_CLOEXEC is the descriptor's", func(e *env) {
		a := e.me.socket(unix.SOCK_DGRAM | unix.SOCK_CLOEXEC)
		e.note("at first", e.fcntl(a, unix.F_GETFD, 0))
		b, err := e.me.api.Dup(a)
		e.me.keep(b, err)
		e.note("of a copy", e.fcntl(b, unix.F_GETFD, 0))
		e.note("set", e.fcntl(b, unix.F_SETFD, unix.FD_CLOEXEC), e.fcntl(b, unix.F_GETFD, 0))
		e.note("cleared", e.fcntl(a, unix.F_SETFD, 0), e.fcntl(a, unix.F_GETFD, 0), e.fcntl(b, unix.F_GETFD, 0))
		l, at := e.me.listener()
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		fd, _, err := e.me.api.Accept4(l, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		e.me.keep(fd, err)
		e.note("accept4", e.fcntl(fd, unix.F_GETFD, 0), e.fcntl(fd, unix.F_GETFL, 0))
	}},
	{"descriptor: F_DUPFD", func(e *env) {
		a := e.me.udp()
		for _, cmd := range []int{unix.F_DUPFD, unix.F_DUPFD_CLOEXEC} {
			b, err := e.me.api.FcntlInt(uintptr(a), cmd, a+100)
			e.me.keep(b, err)
			c, err := e.me.api.FcntlInt(uintptr(a), cmd, a+100)
			e.me.keep(c, err)
			e.note("from there on", b >= a+100, c > b, e.fcntl(b, unix.F_GETFD, 0))
		}
		e.note("less than nothing", e.fcntl(a, unix.F_DUPFD, -1))
		e.note("too much", e.fcntl(a, unix.F_DUPFD, 1<<30))
		e.note("of nothing", e.fcntl(1<<19, unix.F_DUPFD, 3))
		e.note("an unknown one", e.fcntl(a, 9999, 0))
	}},
	{"descriptor: F_SETOWN and F_SETSIG", func(e *env) {
		a := e.me.udp()
		e.note("at first", e.fcntl(a, unix.F_GETOWN, 0), e.fcntl(a, unix.F_GETSIG, 0))
		e.note("set", e.fcntl(a, unix.F_SETOWN, os.Getpid()) == "0", e.fcntl(a, unix.F_GETOWN, 0) == show(os.Getpid()))
		e.note("nobody", e.fcntl(a, unix.F_SETOWN, 1<<29))
		e.note("taken back", e.fcntl(a, unix.F_SETOWN, 0), e.fcntl(a, unix.F_GETOWN, 0))
		e.note("signal", e.fcntl(a, unix.F_SETSIG, 34), e.fcntl(a, unix.F_GETSIG, 0))
		e.note("signal 65", e.fcntl(a, unix.F_SETSIG, 65))
		e.note("signal -1", e.fcntl(a, unix.F_SETSIG, -1))
	}},
	{"descriptor: O_ASYNC", func(e *env) {
		a := e.me.udp()
		e.note("set", e.fcntl(a, unix.F_SETFL, unix.O_ASYNC), e.fcntl(a, unix.F_GETFL, 0))
		e.note("cleared", e.fcntl(a, unix.F_SETFL, 0), e.fcntl(a, unix.F_GETFL, 0))
	}},
}

// fcntl is what fcntl(2) says.
func (e *env) fcntl(fd, cmd, arg int) string {
	n, err := e.me.api.FcntlInt(uintptr(fd), cmd, arg)
	if err != nil {
		return show(err)
	}
	return show(n)
}
