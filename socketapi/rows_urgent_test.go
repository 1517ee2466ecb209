package socketapi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// urgent notes what a receive with MSG_OOB brings.
func (e *env) urgent(what string, s *side, fd, n, flags int) {
	p := make([]byte, n)
	n, _, got, _, err := s.api.Recvmsg(fd, p, nil, unix.MSG_OOB|flags)
	e.note(what, p[:max(min(n, len(p)), 0)], n, got&(unix.MSG_OOB|unix.MSG_TRUNC), err)
}

// announced waits until the urgent byte is there.
func (e *env) announced(s *side, fd int) {
	e.until("the urgent byte", func() bool {
		n, _, err := s.api.Recvfrom(fd, make([]byte, 1), unix.MSG_OOB|unix.MSG_PEEK)
		return err == nil && n == 1
	})
}

func (e *env) mark(what string, s *side, fd int) {
	at, err := s.api.Sockatmark(fd)
	e.note(what, at, err)
}

var urgentRows = []row{
	{"urgent: read by itself, and left out of the stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.urgent("before", &e.me, mine, 1, 0)
		e.mark("before", &e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "abc!", unix.MSG_OOB)
		e.announced(&e.me, mine)
		e.urgent("peek", &e.me, mine, 5, unix.MSG_PEEK)
		e.urgent("no room", &e.me, mine, 0, unix.MSG_PEEK)
		e.urgent("thrown away", &e.me, mine, 3, unix.MSG_PEEK|unix.MSG_TRUNC)
		e.urgent("read it", &e.me, mine, 5, 0)
		e.urgent("again", &e.me, mine, 5, 0)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.mark("in front of it", &e.me, mine)
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.mark("at it", &e.me, mine)
		e.reads("beyond it", &e.me, mine, 3, unix.MSG_WAITALL)
		e.mark("beyond it", &e.me, mine)
		e.urgent("beyond it", &e.me, mine, 1, 0)
	}},
	{"urgent: MSG_PEEK and MSG_WAITALL stop at the mark", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "abc!", unix.MSG_OOB)
		e.announced(&e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.reads("peek", &e.me, mine, 9, unix.MSG_PEEK)
		e.reads("read", &e.me, mine, 6, unix.MSG_WAITALL)
		e.mark("at it", &e.me, mine)
		e.arrived(&e.me, mine, 3)
		e.reads("peek", &e.me, mine, 9, unix.MSG_PEEK)
		e.reads("read", &e.me, mine, 9, 0)
	}},
	{"urgent: passed without being read", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "a!", unix.MSG_OOB)
		e.announced(&e.me, mine)
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.reads("only the urgent byte is there", &e.me, mine, 9, unix.MSG_DONTWAIT)
		e.mark("beyond it", &e.me, mine)
		e.urgent("beyond it", &e.me, mine, 1, 0)
	}},
	{"urgent: SO_OOBINLINE", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
		n, err := e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_OOBINLINE)
		e.note("SO_OOBINLINE", n, err)
		e.sends("the peer sends", &e.peer, theirs, "abc!", unix.MSG_OOB)
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.arrived(&e.me, mine, 3)
		e.urgent("by itself", &e.me, mine, 1, 0)
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.mark("at it", &e.me, mine)
		e.reads("from the mark on", &e.me, mine, 4, unix.MSG_WAITALL)
		e.mark("beyond it", &e.me, mine)
	}},
	{"urgent: the second overrides the first", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "ab1", unix.MSG_OOB)
		e.announced(&e.me, mine)
		e.sends("the peer sends", &e.peer, theirs, "cd2", unix.MSG_OOB)
		e.until("the second", func() bool {
			p := make([]byte, 1)
			e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
			return p[0] == '2'
		})
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.urgent("by itself", &e.me, mine, 1, 0)
	}},
	{"urgent: sent", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("send", &e.me, mine, "abc!", unix.MSG_OOB)
		e.announced(&e.peer, theirs)
		e.sends("send", &e.me, mine, "def", 0)
		e.urgent("the peer takes it", &e.peer, theirs, 1, 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.mark("the peer is at it", &e.peer, theirs)
		e.reads("the peer reads", &e.peer, theirs, 3, unix.MSG_WAITALL)
	}},
	{"urgent: at the end of the stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.sends("the peer sends", &e.peer, theirs, "ab!", unix.MSG_OOB)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.until("the end", func() bool { return e.me.state(mine) == linuxCloseWait })
		e.urgent("by itself", &e.me, mine, 1, 0)
		e.reads("to the mark", &e.me, mine, 9, 0)
		e.mark("at it", &e.me, mine)
		e.reads("the end", &e.me, mine, 9, 0)
	}},
	{"urgent: after a reset, and after both ends have said goodbye", func(e *env) {
		for _, reset := range []bool{true, false} {
			mine, theirs := e.me.connected(&e.peer)
			e.must(e.peer.api.Sendto(theirs, []byte("xy!"), unix.MSG_OOB, nil))
			e.until("the urgent byte", func() bool {
				_, _, err := e.me.api.Recvfrom(mine, make([]byte, 1), unix.MSG_OOB|unix.MSG_PEEK)
				return err == nil
			})
			if reset {
				e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
				e.peer.close(theirs)
				e.until("the reset", func() bool { return e.me.state(mine) == linuxClose })
			} else {
				e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
				e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
				e.until("the end", func() bool { return e.me.state(mine) == linuxClose || e.peer.state(theirs) == linuxClose })
			}
			for _, flags := range []int{unix.MSG_PEEK, 0, 0} {
				n, _, err := e.me.api.Recvfrom(mine, make([]byte, 1), unix.MSG_OOB|flags)
				e.note(fmt.Sprint(reset, flags), n, err)
			}
		}
	}},
	{"urgent: sockets that have none", func(e *env) {
		fd := e.me.tcp()
		e.urgent("fresh", &e.me, fd, 1, 0)
		e.sends("fresh", &e.me, fd, "x", unix.MSG_OOB)
		e.mark("fresh", &e.me, fd)
		l, _ := e.me.listener()
		e.urgent("listening", &e.me, l, 1, 0)
		e.mark("listening", &e.me, l)
		u := e.me.udp()
		e.note("datagram", e.me.api.Sendto(u, []byte("x"), unix.MSG_OOB, e.peer.at(9)))
		e.mark("datagram", &e.me, u)
	}},
}
