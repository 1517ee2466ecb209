package socketapi

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// How near what comes has to come from: IP_MINTTL, IPV6_MINHOPCOUNT (RFC 5082). The peer sends with 64 hops, if it does not say
// otherwise.

func (f ipFamily) nearest() int { return f.pick(unix.IP_MINTTL, unix.IPV6_MINHOPCOUNT) }
func (f ipFamily) hops() int    { return f.pick(unix.IP_TTL, unix.IPV6_UNICAST_HOPS) }

// listens is a listener of a side at a port of the row.
func (f ipFamily) listens(s *side) int {
	s.e.t.Helper()
	l := s.open(f.domain, unix.SOCK_STREAM, 0)
	s.e.must(s.api.Bind(l, f.in(s, s.e.freePort())))
	s.e.must(s.api.Listen(l, 4))
	return l
}

// silenceMin is how long a row listens for what must not come.
const silenceMin = 50 * time.Millisecond

var guardRows = slices.Concat(
	bothFamilies("nearest: what can be asked for", func(e *env, f ipFamily) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			fd := e.me.open(f.domain, typ, 0)
			for _, n := range []int{-1, 0, 1, 255, 256, 64} {
				err := e.me.api.SetsockoptInt(fd, f.level, f.nearest(), n)
				is, _ := e.me.api.GetsockoptInt(fd, f.level, f.nearest())
				e.note(fmt.Sprint(typ, n), err, is)
			}
			for _, p := range [][]byte{{}, {200}, {1, 2}, {9, 0, 0, 0, 0, 0, 0, 0}} {
				err := e.me.api.SetsockoptString(fd, f.level, f.nearest(), string(p))
				is, _ := e.me.api.GetsockoptInt(fd, f.level, f.nearest())
				e.note(fmt.Sprint(typ, p), err, is)
			}
		}
	}),
	bothFamilies("nearest: of a connection", func(e *env, f ipFamily) {
		l := f.listens(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.must(e.me.api.Connect(mine, e.peer.sockname(l)))
		theirs := e.peer.accept(l)
		e.me.set(mine, f.level, f.nearest(), 64)
		e.must(e.peer.api.Sendto(theirs, []byte("near"), 0, nil))
		e.message("near enough", &e.me, mine, 99, 0, 0)
		e.me.set(mine, f.level, f.nearest(), 65)
		e.must(e.peer.api.Sendto(theirs, []byte("far"), 0, nil))
		time.Sleep(silenceMin)
		n, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_DONTWAIT)
		e.note("too far", n, err)
		e.peer.set(theirs, f.level, f.hops(), 255) // what is sent again comes from here
		e.message("not any more", &e.me, mine, 99, 0, 0)
		e.me.set(mine, f.level, f.nearest(), 255)
		e.must(e.me.api.Sendto(mine, []byte("and back"), 0, nil))
		e.message("the answer", &e.peer, theirs, 99, 0, 0)
		e.peer.set(theirs, f.level, f.hops(), 254)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		time.Sleep(silenceMin)
		n, _, err = e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_DONTWAIT)
		e.note("the end, too far", n, err)
	}),
	bothFamilies("nearest: of a listener, and its connections", func(e *env, f ipFamily) {
		l := f.listens(&e.me)
		e.me.set(l, f.level, f.nearest(), 255)
		far := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
		e.must(e.peer.api.SetNonblock(far, true))
		e.note("from afar", e.peer.api.Connect(far, e.me.sockname(l)))
		time.Sleep(silenceMin)
		e.note("is not answered", e.peer.state(far) == linuxSynSent)
		near := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
		e.peer.set(near, f.level, f.hops(), 255)
		e.note("from near by", e.peer.api.Connect(near, e.me.sockname(l)))
		mine := e.me.accept(l)
		is, err := e.me.api.GetsockoptInt(mine, f.level, f.nearest())
		e.note("it is as near", is, err)
		e.peer.set(near, f.level, f.hops(), 64)
		e.must(e.peer.api.Sendto(near, []byte("moved"), 0, nil))
		time.Sleep(silenceMin)
		n, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_DONTWAIT)
		e.note("further away", n, err)
		e.me.set(mine, f.level, f.nearest(), 0)
		e.message("wherever", &e.me, mine, 99, 0, 0)
		e.me.set(mine, f.level, f.nearest(), 65)
		e.must(e.peer.api.SetsockoptLinger(near, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(near)
		time.Sleep(silenceMin)
		e.note("a reset from afar", e.me.state(mine) == linuxEstablished)
	}),
	bothFamilies("nearest: of a connection that is being opened", func(e *env, f ipFamily) {
		l := f.listens(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.me.set(mine, f.level, f.nearest(), 65)
		e.must(e.me.api.SetNonblock(mine, true))
		e.note("connect", e.me.api.Connect(mine, e.peer.sockname(l)))
		time.Sleep(silenceMin)
		e.note("the answer comes from afar", e.me.state(mine) == linuxSynSent)
		refused := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.me.set(refused, f.level, f.nearest(), 65)
		e.must(e.me.api.SetNonblock(refused, true))
		e.note("connect", e.me.api.Connect(refused, f.in(&e.peer, e.freePort())))
		time.Sleep(silenceMin)
		e.note("the refusal comes from afar", e.me.state(refused) == linuxSynSent)
	}),
	bothFamilies("nearest: of errors about a connection", func(e *env, f ipFamily) {
		at, packets := f.deaf(e)
		mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.me.set(mine, f.level, f.nearest(), 65)
		e.must(e.me.api.SetNonblock(mine, true))
		e.note("connect", e.me.api.Connect(mine, at))
		syn := f.segment(e, packets, portOf(at))
		complain := func() { f.complains(e, uint8(f.pick(3, 1)), uint8(f.pick(3, 4)), syn, f.headerLen()+wire.TCPLen) }
		complain()
		time.Sleep(silenceMin)
		e.note("from afar", e.me.state(mine) == linuxSynSent)
		e.me.set(mine, f.level, f.nearest(), 64)
		complain()
		e.awaits("poll", &e.me, mine, unix.POLLHUP)
		n, err := e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
		e.note("SO_ERROR", unix.Errno(n), err)
	}),
	bothFamilies("nearest: of a datagram", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		e.me.set(mine, f.level, f.nearest(), 255)
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Bind(theirs, f.in(&e.peer, e.freePort())))
		e.must(e.peer.api.Sendto(theirs, []byte("from afar"), 0, at))
		e.message("receive", &e.me, mine, 99, 0, 0)
	}),
)
