package socketapi

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Read first: socket(7) on SO_REUSEPORT, setfsuid(2).

// userRows are about whose the sockets are that share a port by SO_REUSEPORT.
var userRows = []row{
	{"port: SO_REUSEPORT of another user", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			port := e.freePort()
			open := func(uid int) int { return e.me.sharer(uid, typ) }
			mine, again := open(0), open(0)
			others := [2]int{open(1234), open(1234)}
			e.note("mine", e.me.api.Bind(mine, e.me.at(port)), e.me.api.Bind(again, e.me.at(port)))
			e.note("another's", e.me.api.Bind(others[0], e.me.at(port)))
			e.note("another's, at all", e.me.api.Bind(others[0], &unix.SockaddrInet4{Port: port}))
			e.me.close(mine)
			e.me.close(again)
			e.note("another's alone", e.me.api.Bind(others[0], e.me.at(port)), e.me.api.Bind(others[1], e.me.at(port)))
			mine = open(0)
			e.note("mine then", e.me.api.Bind(mine, e.me.at(port)))
			e.me.set(others[0], unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.me.set(others[1], unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.note("mine with SO_REUSEADDR", e.me.api.Bind(mine, e.me.at(port)))
		}
	}},
	{"port: SO_REUSEPORT of another user, beside a connection", func(e *env) {
		port := e.freePort()
		l := e.me.sharer(0, unix.SOCK_STREAM)
		e.must(e.me.api.Bind(l, e.me.at(port)))
		e.must(e.me.api.Listen(l, 1))
		e.must(e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
		e.me.accept(l)
		e.me.shares("beside the listener", port)
		e.me.close(l)
		e.me.shares("beside the connection", port)
	}},
	{"port: SO_REUSEPORT of another user, beside a connection in every state", func(e *env) { e.besideAccepted(0) }},
	{"port: SO_REUSEPORT of another user, beside a connection in every state of his listener", func(e *env) { e.besideAccepted(1234) }},
	{"port: SO_REUSEPORT of another user, beside one that connects", func(e *env) {
		l, at := e.peer.listener()
		for _, user := range twoUsers {
			for _, s := range leaving {
				port := e.freePort()
				mine := e.me.sharer(user, unix.SOCK_STREAM)
				e.must(e.me.api.Bind(mine, e.me.at(port)))
				e.must(e.me.api.Connect(mine, at))
				theirs := e.peer.accept(l)
				s.leave(e, port, mine, theirs)
				e.me.shares(s.name, port)
			}
		}
		slow := e.me.sharer(1234, unix.SOCK_STREAM)
		port := e.freePort()
		e.must(e.me.api.Bind(slow, e.me.at(port)))
		e.must(e.me.api.SetNonblock(slow, true))
		e.note("connect", e.me.api.Connect(slow, &unix.SockaddrInet4{Addr: [4]byte{10, 99, 0, 77}, Port: 7}))
		e.me.shares("while it connects", port)
		e.note("disconnect", e.me.api.Connect(slow, nil))
		e.me.shares("after it", port)
	}},
	{"port: SO_REUSEPORT of another user, set or taken back later", func(e *env) {
		for _, accepting := range twoUsers {
			port := e.freePort()
			l := e.me.openAs(0, unix.AF_INET6, unix.SOCK_STREAM)
			e.must(e.me.api.Bind(l, in6("::", port)))
			e.must(e.me.api.Listen(l, 1))
			e.must(e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
			mine := 0
			e.as(accepting, func() { mine = e.me.accept(l) })
			e.me.close(l)
			e.me.shares("without", port)
			e.as(4321, func() { e.me.set(mine, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }) // who does that does not count
			e.me.shares("set later", port)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0)
			e.me.shares("taken back", port)
		}
	}},
	{"port: SO_REUSEPORT of another user, datagrams that are connected", func(e *env) {
		_, at := e.peer.datagram()
		for _, user := range twoUsers {
			port := e.freePort()
			mine := e.me.sharer(user, unix.SOCK_DGRAM)
			e.must(e.me.api.Bind(mine, e.me.at(port)))
			e.must(e.me.api.Connect(mine, at))
			for _, other := range twoUsers {
				fd := e.me.sharer(other, unix.SOCK_DGRAM)
				e.note("beside one of", user, "one of", other, e.me.api.Bind(fd, e.me.at(port)))
				e.me.close(fd)
			}
		}
	}},
	{"port: SO_REUSEPORT of another user, a port that is chosen again", func(e *env) {
		const first = 35000
		e.note("range", e.me.sysctl("net.ipv4.ip_local_port_range", "35000 35000"))
		e.note("scarce", e.me.sysctl("net.ipv4.ip_autobind_reuse", "1"))
		l, at := e.peer.listener()
		for _, user := range twoUsers {
			mine := e.me.sharer(user, unix.SOCK_STREAM)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			e.must(e.me.api.Bind(mine, e.me.at(first)))
			e.must(e.me.api.Connect(mine, at))
			theirs := e.peer.accept(l)
			chosen := func(what string) {
				for _, other := range twoUsers {
					fd := e.me.sharer(other, unix.SOCK_STREAM)
					e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
					e.note(what, "of", user, "one of", other, e.me.api.Bind(fd, e.me.at(0)))
					e.me.close(fd)
				}
			}
			chosen("connected")
			e.me.close(mine)
			e.until("FIN-WAIT-2", func() bool { return !e.me.finWait1(first) })
			chosen("closed")
			e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
			e.peer.close(theirs)
			e.until("the end", func() bool {
				fd := e.me.tcp()
				defer e.me.close(fd)
				return e.me.api.Bind(fd, e.me.at(first)) == nil
			})
		}
	}},
}

// twoUsers are whose sockets are.
var twoUsers = []int{0, 1234}

// leaving is how connections end, or do not.
var leaving = []struct {
	name  string
	leave func(e *env, port, mine, theirs int)
}{
	{"connected", func(*env, int, int, int) {}},
	{"the peer has ended", func(e *env, _, mine, theirs int) {
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.until("its end", func() bool { return e.me.state(mine) == linuxCloseWait })
	}},
	{"shut down", func(e *env, _, mine, theirs int) {
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
	}},
	{"shut down, then closed", func(e *env, _, mine, theirs int) {
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
		e.me.close(mine)
	}},
	{"closed", func(e *env, port, mine, theirs int) {
		e.me.close(mine)
		e.until("FIN-WAIT-2", func() bool { return !e.me.finWait1(port) })
	}},
	{"closed, to be kept for long", func(e *env, port, mine, theirs int) {
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_LINGER2, 100)
		e.me.close(mine)
		e.until("FIN-WAIT-2", func() bool { return !e.me.finWait1(port) })
	}},
	{"in TIME-WAIT", func(e *env, _, mine, theirs int) {
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
		e.peer.close(theirs)
		e.until("TIME-WAIT", func() bool { return e.me.state(mine) == linuxClose })
	}},
	{"closed, in TIME-WAIT", func(e *env, _, mine, theirs int) {
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
		e.peer.close(theirs)
		e.until("TIME-WAIT", func() bool { return e.me.state(mine) == linuxClose })
		e.me.close(mine)
	}},
}

// besideAccepted notes who shares the port of a user's listener that is no more, whose connection each user has accepted.
func (e *env) besideAccepted(user int) {
	for _, accepting := range twoUsers {
		for _, s := range leaving {
			port := e.freePort()
			l := e.me.sharer(user, unix.SOCK_STREAM)
			e.must(e.me.api.Bind(l, e.me.at(port)))
			e.must(e.me.api.Listen(l, 1))
			theirs := e.peer.tcp()
			e.must(e.peer.api.Connect(theirs, e.me.at(port)))
			mine := 0
			e.as(accepting, func() { mine = e.me.accept(l) })
			e.me.close(l)
			s.leave(e, port, mine, theirs)
			e.me.shares(fmt.Sprint("accepted by ", accepting, ", ", s.name), port)
		}
	}
}

// shares notes who may bind a socket with SO_REUSEPORT to a port.
func (s *side) shares(what string, port int) {
	s.e.t.Helper()
	for _, user := range twoUsers {
		fd := s.sharer(user, unix.SOCK_STREAM)
		s.e.note(what, "one of", user, s.api.Bind(fd, s.at(port)))
		s.close(fd)
	}
}

// sharer is a socket of a user's with SO_REUSEPORT.
func (s *side) sharer(user, typ int) int {
	s.e.t.Helper()
	fd := s.openAs(user, unix.AF_INET, typ)
	s.set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	return fd
}

// openAs opens a socket of a user's.
func (s *side) openAs(user, domain, typ int) (fd int) {
	s.e.t.Helper()
	if k, ok := s.api.(linux); ok {
		s.e.must(k.ns.Do(func() (err error) {
			s.e.as(user, func() { fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0) })
			return err
		}))
		return s.keep(fd, nil)
	}
	var err error
	s.e.as(user, func() { fd, err = s.api.Socket(domain, typ, 0) })
	return s.keep(fd, err)
}

// as calls f on a thread whose files are a user's.
func (e *env) as(user int, f func()) {
	e.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SetfsuidRetUid(user)
	e.must(err)
	defer unix.Setfsuid(before)
	f()
}
