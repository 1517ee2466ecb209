package socketapi

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// What ICMP says to a stream, and the error queue of one (IP_RECVERR, IPV6_RECVERR).

// deaf is a port of the peer's that hears SYNs and answers none: a listener whose filter lets nothing through. What
// comes there is read by the packet socket.
func (f ipFamily) deaf(e *env) (at unix.Sockaddr, packets int) {
	e.t.Helper()
	l := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
	e.must(e.peer.api.Bind(l, f.in(&e.peer, e.freePort())))
	nothing := [...]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	e.must(unix.SetsockoptSockFprog(l, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]}))
	e.must(e.peer.api.Listen(l, 4))
	packets = e.peer.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	e.must(e.peer.api.Bind(packets, &unix.SockaddrLinklayer{Protocol: networkOrder(uint16(f.pick(unix.ETH_P_IP, unix.ETH_P_IPV6))), Ifindex: e.peer.index}))
	e.must(e.peer.api.SetsockoptTimeval(packets, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return e.peer.sockname(l), packets
}

// headerLen is the length of the family's IP header without options.
func (f ipFamily) headerLen() int { return f.pick(wire.IPv4Len, wire.IPv6Len) }

// segment is the next one for a port that a packet socket sees.
func (f ipFamily) segment(e *env, packets, port int) []byte {
	e.t.Helper()
	for p := make([]byte, 2000); ; {
		n, _, err := e.peer.api.Recvfrom(packets, p, 0)
		e.must(err)
		at := f.headerLen()
		if n >= at+wire.TCPLen && p[f.pick(9, 6)] == unix.IPPROTO_TCP && int(wire.TCP(p[at:n]).DstPort()) == port {
			return slices.Clone(p[:n])
		}
	}
}

// complains has the peer send an ICMP error about a packet, of which it quotes so much.
func (f ipFamily) complains(e *env, typ, code uint8, packet []byte, quoted int) {
	e.t.Helper()
	raw := e.peer.open(f.domain, unix.SOCK_RAW, f.pick(unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6))
	m := append(make([]byte, 8), packet[:min(quoted, len(packet))]...)
	m[0], m[1] = typ, code
	if f.four() {
		binary.BigEndian.PutUint16(m[2:], wire.Checksum(m, 0))
	}
	e.must(e.peer.api.Sendto(raw, m, 0, f.in(&e.me, 0)))
	e.peer.close(raw)
}

// stamp writes down a message of the error queue, but the bytes of the packet that are in it.
func (e *env) stamp(fd int) {
	e.t.Helper()
	p, oob := make([]byte, 4000), make([]byte, 300)
	n, oobn, flags, from, err := e.me.api.Recvmsg(fd, p, oob, unix.MSG_ERRQUEUE)
	e.note("stamp", n, flags, from == nil, err)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	e.must(err)
	for _, m := range messages {
		e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
	}
}

var errqueueRows = slices.Concat(
	bothFamilies("errors: of a connection that is being opened", func(e *env, f ipFamily) {
		recvErr := f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR)
		unreachable, exceeded := uint8(f.pick(3, 1)), uint8(f.pick(11, 3))
		for _, c := range []struct {
			name      string
			asks      bool
			blocking  bool
			typ, code uint8
		}{
			{"nobody asked", false, true, unreachable, uint8(f.pick(3, 4))},
			{"the port, waited for", true, true, unreachable, uint8(f.pick(3, 4))},
			{"the port", true, false, unreachable, uint8(f.pick(3, 4))},
			{"the host", true, false, unreachable, uint8(f.pick(1, 3))},
			{"the hops", true, false, exceeded, 0},
			{"prohibited", true, true, unreachable, uint8(f.pick(13, 1))},
		} {
			at, packets := f.deaf(e)
			port := portOf(at)
			mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
			e.note(c.name, "at first", e.me.errqueue(mine))
			if c.asks {
				e.me.set(mine, f.level, recvErr, 1)
			}
			e.must(e.me.api.SetNonblock(mine, !c.blocking))
			connected := in(func() error { return e.me.api.Connect(mine, at) })
			syn := f.segment(e, packets, port)
			if !c.blocking {
				e.note("connect", <-connected)
			}
			f.complains(e, c.typ, c.code, syn, f.headerLen()+wire.TCPLen)
			if c.blocking {
				e.note("connect", <-connected)
			} else {
				e.awaits("poll", &e.me, mine, unix.POLLHUP) // it is in the queue a moment before the attempt is over
			}
			e.polls("poll", &e.me, mine)
			p, oob := make([]byte, 60), make([]byte, 200)
			n, oobn, flags, from, err := e.me.api.Recvmsg(mine, p, oob, unix.MSG_ERRQUEUE)
			e.note("the error", n, flags, from, err)
			if err == nil {
				e.note("its segment", wire.TCP(p[:n]).DstPort(), wire.TCP(p[:n]).SrcPort())
				messages, err := unix.ParseSocketControlMessage(oob[:oobn])
				e.must(err)
				for _, m := range messages {
					e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
				}
			}
			e.note("no more", e.me.errqueue(mine))
			e.polls("poll", &e.me, mine)
			n, err = e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
			e.note("SO_ERROR", n, err)
			e.must(e.me.api.SetNonblock(mine, true))
			e.note("connect", e.me.api.Connect(mine, at))
			e.me.close(mine)
		}
	}),
	bothFamilies("errors: longer than the path takes, by the queue", func(e *env, f ipFamily) {
		long := make([]byte, 3000)
		for _, connected := range []bool{false, true} {
			mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
			e.me.set(mine, f.level, f.pick(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER), unix.IP_PMTUDISC_DO)
			e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
			if connected {
				e.must(e.me.api.Connect(mine, f.in(&e.peer, 9)))
				n, err := e.me.api.Write(mine, long)
				e.note("write", n, err)
				e.message("error", &e.me, mine, 9, 200, unix.MSG_ERRQUEUE)
			}
			e.note("sendto", e.me.api.Sendto(mine, long, 0, f.in(&e.peer, 8)))
			e.message("error", &e.me, mine, 9, 200, unix.MSG_ERRQUEUE)
			e.note("no more", e.me.errqueue(mine))
		}
	}),
	bothFamilies("errors: of a connection that is open, and of none", func(e *env, f ipFamily) {
		l := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
		e.must(e.peer.api.Bind(l, f.in(&e.peer, e.freePort())))
		e.must(e.peer.api.Listen(l, 4))
		packets := e.peer.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Bind(packets, &unix.SockaddrLinklayer{Protocol: networkOrder(uint16(f.pick(unix.ETH_P_IP, unix.ETH_P_IPV6))), Ifindex: e.peer.index}))
		mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		e.must(e.me.api.Connect(mine, e.peer.sockname(l)))
		syn := f.segment(e, packets, portOf(e.peer.sockname(l)))
		f.complains(e, uint8(f.pick(3, 1)), uint8(f.pick(3, 4)), syn, len(syn)) // it is acknowledged: nobody believes that
		theirs, _, err := e.peer.api.Accept(l)
		e.peer.keep(theirs, err)
		e.polls("poll", &e.me, mine)
		e.note("queue", e.me.errqueue(mine))
		n, err := e.me.api.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_ERROR)
		e.note("SO_ERROR", n, err)
		e.sends("and it goes on", &e.me, mine, "hello", 0)
	}),
	bothFamilies("stamps: when a datagram was sent", func(e *env, f ipFamily) {
		_, at := f.bound(&e.peer)
		const sent, only, id, told = unix.SOF_TIMESTAMPING_TX_SOFTWARE, unix.SOF_TIMESTAMPING_OPT_TSONLY, unix.SOF_TIMESTAMPING_OPT_ID, unix.SOF_TIMESTAMPING_SOFTWARE
		for _, c := range []struct {
			name       string
			opt, flags int
			data       int
			cmsg       int
		}{
			{"sent", unix.SO_TIMESTAMPING_OLD, sent | told, 20, 0},
			{"sent, new", unix.SO_TIMESTAMPING_NEW, sent | only | told, 20, 0},
			{"sent, not told when", unix.SO_TIMESTAMPING_OLD, sent | only, 20, 0},
			{"scheduled and sent", unix.SO_TIMESTAMPING_OLD, unix.SOF_TIMESTAMPING_TX_SCHED | sent | only | id | told, 20, 0},
			{"numbered", unix.SO_TIMESTAMPING_OLD, sent | only | id | told, 20, 0},
			{"hardware alone", unix.SO_TIMESTAMPING_OLD, unix.SOF_TIMESTAMPING_TX_HARDWARE | told, 20, 0},
			{"in fragments", unix.SO_TIMESTAMPING_OLD, sent | only | id | told, 3000, 0},
			{"by the message", unix.SO_TIMESTAMPING_OLD, only | id | told, 20, sent},
			{"by the message, and wrong", unix.SO_TIMESTAMPING_OLD, told, 20, 1 << 20},
		} {
			mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
			e.note(c.name, e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, c.opt, c.flags))
			var oob []byte
			if c.cmsg != 0 {
				oob = intCmsg(unix.SOL_SOCKET, int32(c.opt), c.cmsg)
			}
			for range 2 {
				n, err := e.me.api.SendmsgN(mine, make([]byte, c.data), oob, at, 0)
				e.note("send", n, err)
			}
			waits := (c.flags|c.cmsg)&sent != 0 && c.cmsg != 1<<20
			for i := 0; waits && i < 2; i++ {
				e.awaits("poll", &e.me, mine, unix.POLLERR)
				e.stamp(mine)
				if c.flags&unix.SOF_TIMESTAMPING_TX_SCHED != 0 {
					e.stamp(mine)
				}
			}
			e.polls("no more", &e.me, mine)
			e.note("no more", e.me.errqueue(mine))
			e.me.close(mine)
		}
	}),
	[]row{{"errors: of IPv4, to an IPv6 socket", func(e *env) {
		f := ipFamilies[0]
		closed, at := f.bound(&e.peer)
		e.peer.close(closed)
		mine := e.me.open(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, &unix.SockaddrInet6{Port: e.freePort()}))
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		to := &unix.SockaddrInet6{Port: portOf(at), Addr: [16]byte{10: 0xff, 11: 0xff, 12: e.peer.ip[0], 13: e.peer.ip[1], 14: e.peer.ip[2], 15: e.peer.ip[3]}}
		e.must(e.me.api.Sendto(mine, []byte("where are you"), 0, to))
		e.awaits("poll", &e.me, mine, unix.POLLERR)
		e.message("the error", &e.me, mine, 5, 300, unix.MSG_ERRQUEUE)
	}}},
)

// portOf is the port of an address.
func portOf(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return 0
}
