package socketapi

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// An ipFamily is one of the two that rows are run for.
type ipFamily struct {
	name   string
	domain int
	level  int // of its options
}

var ipFamilies = []ipFamily{{"IPv4", unix.AF_INET, unix.IPPROTO_IP}, {"IPv6", unix.AF_INET6, unix.IPPROTO_IPV6}}

// bothFamilies makes a row for each.
func bothFamilies(name string, run func(e *env, f ipFamily)) (rows []row) {
	for _, f := range ipFamilies {
		rows = append(rows, row{name + ", " + f.name, func(e *env) { run(e, f) }})
	}
	return rows
}

func (f ipFamily) four() bool { return f.domain == unix.AF_INET }

// pick is one of two values by family.
func (f ipFamily) pick(four, six int) int {
	if f.four() {
		return four
	}
	return six
}

// in is an address of a side.
func (f ipFamily) in(s *side, port int) unix.Sockaddr {
	if f.four() {
		return &unix.SockaddrInet4{Addr: s.ip, Port: port}
	}
	return &unix.SockaddrInet6{Addr: s.ip6, Port: port}
}

// bound is a UDP socket at an address of a side.
func (f ipFamily) bound(s *side) (fd int, at unix.Sockaddr) {
	s.e.t.Helper()
	fd = s.open(f.domain, unix.SOCK_DGRAM, 0)
	s.e.must(s.api.Bind(fd, f.in(s, s.e.freePort())))
	return fd, s.sockname(fd)
}

func (s *side) sockname(fd int) unix.Sockaddr {
	s.e.t.Helper()
	sa, err := s.api.Getsockname(fd)
	s.e.must(err)
	return sa
}

// message writes down what one recvmsg brings, with its control messages.
func (e *env) message(what string, s *side, fd, room, oobRoom, flags int) {
	e.t.Helper()
	e.must(s.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	p, oob := make([]byte, room), make([]byte, oobRoom)
	n, oobn, rflags, from, err := s.api.Recvmsg(fd, p, oob, flags)
	if err != nil {
		e.note(what, err)
		return
	}
	e.note(what, p[:min(n, len(p))], n, fmt.Sprintf("flags %#x", rflags), from, oobn)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		e.note("control", fmt.Sprintf("%x", oob[:oobn]))
		return
	}
	for _, m := range messages {
		e.note("control", m.Header.Level, m.Header.Type, s.words(m))
	}
}

// words is what a control message says, the same on both stacks.
func (s *side) words(m unix.SocketControlMessage) string {
	index := func(at int) {
		if len(m.Data) >= at+4 && int(binary.NativeEndian.Uint32(m.Data[at:])) == s.index {
			copy(m.Data[at:], "mine")
		}
	}
	switch {
	case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
		index(0)
	case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
		index(16)
	case m.Header.Level == unix.SOL_SOCKET && m.Header.Type != unix.SO_RXQ_OVFL:
		sec := int64(binary.NativeEndian.Uint64(m.Data))
		fraction := binary.NativeEndian.Uint64(m.Data[8:])
		age := time.Since(time.Unix(sec, 0))
		second := uint64(1e9)
		if m.Header.Type == unix.SO_TIMESTAMP_OLD || m.Header.Type == unix.SO_TIMESTAMP_NEW {
			second = 1e6
		}
		return fmt.Sprint(len(m.Data), " bytes, now: ", age > -2*time.Second && age < 60*time.Second, ", less than a second more: ", fraction < second)
	}
	return fmt.Sprintf("%x", m.Data)
}

// cmsg is a control message.
func cmsg(level, typ int32, data []byte) []byte {
	c := control{b: make([]byte, 256)}
	c.put(level, typ, data)
	return c.b[:c.n]
}

func intCmsg(level, typ int32, n int) []byte {
	return cmsg(level, typ, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

func (s *side) setAll(fd, level int, opts ...int) {
	s.e.t.Helper()
	for _, opt := range opts {
		s.set(fd, level, opt, 1)
	}
}

var messageRows = concatRows(
	bothFamilies("message: what is known of a datagram", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		if f.four() {
			e.me.setAll(mine, f.level, unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVORIGDSTADDR)
		} else {
			e.me.setAll(mine, f.level, unix.IPV6_RECVPKTINFO, unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS)
		}
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Bind(theirs, f.in(&e.peer, e.freePort())))
		e.peer.set(theirs, f.level, f.pick(unix.IP_TTL, unix.IPV6_UNICAST_HOPS), 33)
		e.peer.set(theirs, f.level, f.pick(unix.IP_TOS, unix.IPV6_TCLASS), 0x48)
		port := e.freePort()
		again := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(again, f.in(&e.me, port)))
		for range 10 {
			e.must(e.peer.api.Sendto(theirs, []byte("hello"), 0, at))
		}
		for _, room := range []int{0, 8, 16, 20, 24, 32, 40, 48, 200} {
			e.message(fmt.Sprint("room for ", room), &e.me, mine, 99, room, 0)
		}
		e.message("cut off", &e.me, mine, 3, 200, unix.MSG_TRUNC)
	}),
	bothFamilies("message: of a datagram from ourselves", func(e *env, f ipFamily) {
		mine, at := f.bound(&e.me)
		e.me.set(mine, f.level, f.pick(unix.IP_PKTINFO, unix.IPV6_RECVPKTINFO), 1)
		e.must(e.me.api.SetsockoptString(mine, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "va"))
		sender := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(sender, f.in(&e.me, e.freePort())))
		e.note("send", e.me.api.Sendto(sender, []byte("hello"), 0, at))
		e.message("receive", &e.me, mine, 99, 300, 0)
	}),
	[]row{{"message: IPv4 at an IPv6 socket", func(e *env) {
		mine := e.me.open(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		port := e.freePort()
		e.must(e.me.api.Bind(mine, &unix.SockaddrInet6{Port: port}))
		e.me.setAll(mine, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS)
		e.me.setAll(mine, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS)
		theirs := e.peer.udp()
		e.must(e.peer.api.Bind(theirs, e.peer.at(e.freePort())))
		e.must(e.peer.api.Sendto(theirs, []byte("four"), 0, e.me.at(port)))
		e.message("receive", &e.me, mine, 99, 300, 0)
	}}},
	bothFamilies("message: what a sender says of one", func(e *env, f ipFamily) {
		theirs, at := f.bound(&e.peer)
		if f.four() {
			e.peer.setAll(theirs, f.level, unix.IP_RECVTTL, unix.IP_RECVTOS)
		} else {
			e.peer.setAll(theirs, f.level, unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS)
		}
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		level := int32(f.level)
		hops, class := int32(f.pick(unix.IP_TTL, unix.IPV6_HOPLIMIT)), int32(f.pick(unix.IP_TOS, unix.IPV6_TCLASS))
		info := make([]byte, unix.SizeofInet6Pktinfo)
		copy(info, e.me.ip6[:])
		binary.NativeEndian.PutUint32(info[16:], uint32(e.me.index))
		if f.four() {
			info = make([]byte, unix.SizeofInet4Pktinfo)
			binary.NativeEndian.PutUint32(info, uint32(e.me.index))
			copy(info[4:], e.me.ip[:])
		}
		pktinfo := int32(f.pick(unix.IP_PKTINFO, unix.IPV6_PKTINFO))
		for _, c := range []struct {
			name string
			oob  []byte
		}{
			{"nothing", nil},
			{"hops", intCmsg(level, hops, 7)},
			{"class", intCmsg(level, class, 0xb8)},
			{"both", append(intCmsg(level, hops, 9), intCmsg(level, class, 0x20)...)},
			{"interface and source", cmsg(level, pktinfo, info)},
			{"of the other family", intCmsg(int32(f.pick(unix.IPPROTO_IPV6, unix.IPPROTO_IP)), 99, 1)},
		} {
			n, err := e.me.api.SendmsgN(mine, []byte(c.name), c.oob, at, 0)
			e.note(c.name, n, err)
			e.message("the peer receives", &e.peer, theirs, 99, 200, 0)
		}
		bad := append([]byte(nil), info...)
		copy(bad[f.pick(4, 0):], []byte{192, 0, 2, 1})
		nowhere := append([]byte(nil), info...)
		binary.NativeEndian.PutUint32(nowhere[f.pick(0, 16):], 12345)
		for _, c := range []struct {
			name string
			oob  []byte
		}{
			{"hops 256", intCmsg(level, hops, 256)}, {"hops -2", intCmsg(level, hops, -2)}, {"class 256", intCmsg(level, class, 256)},
			{"an unknown one", intCmsg(level, 9999, 1)}, {"an unknown one of the socket's level", intCmsg(unix.SOL_SOCKET, 9999, 1)},
			{"too short", cmsg(level, hops, []byte{1, 2})}, {"information too short", cmsg(level, pktinfo, info[:8])},
			{"an address of nobody", cmsg(level, pktinfo, bad)}, {"an interface that is none", cmsg(level, pktinfo, nowhere)},
			{"a length of 1", []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
			{"a length beyond the end", []byte{99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
			{"less than a header", []byte{1, 2, 3}},
		} {
			n, err := e.me.api.SendmsgN(mine, []byte("x"), c.oob, at, 0)
			e.note(c.name, n, err)
		}
	}),
	[]row{{"message: IPv6's source to an address of IPv4", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		_, at := e.peer.datagram()
		to := &unix.SockaddrInet6{Port: at.Port, Addr: netip.AddrFrom4(at.Addr).As16()}
		for _, source := range []netip.Addr{netip.AddrFrom16(e.me.ip6), netip.IPv6Unspecified(), netip.MustParseAddr("::ffff:0.0.0.0"), netip.AddrFrom16(netip.AddrFrom4(e.me.ip).As16())} {
			info := make([]byte, unix.SizeofInet6Pktinfo)
			b := source.As16()
			copy(info, b[:])
			n, err := e.me.api.SendmsgN(fd, []byte("x"), cmsg(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info), to, 0)
			e.note("send", n, err)
		}
	}}, {"message: when it came", func(e *env) {
		for _, opt := range []int{unix.SO_TIMESTAMP_OLD, unix.SO_TIMESTAMPNS_OLD, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW} {
			mine, at := e.me.datagram()
			theirs := e.peer.udp()
			e.me.set(mine, unix.SOL_SOCKET, opt, 1)
			e.must(e.peer.api.Connect(theirs, at))
			e.sends("the peer sends", &e.peer, theirs, "x", 0)
			p, oob := make([]byte, 9), make([]byte, 99)
			n, oobn, flags, _, err := e.me.api.Recvmsg(mine, p, oob, 0)
			e.note("receive", n, flags, err)
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			e.must(err)
			for _, m := range messages {
				e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
			}
		}
	}},
		{"message: when the bytes of a stream came", func(e *env) {
			for _, opt := range []int{unix.SO_TIMESTAMP_OLD, unix.SO_TIMESTAMPNS_OLD, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW, unix.SO_TIMESTAMPING_OLD, unix.SO_TIMESTAMPING_NEW} {
				l, at := e.me.listener()
				e.me.set(l, unix.SOL_SOCKET, opt, unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE)
				theirs := e.peer.tcp()
				e.must(e.peer.api.Connect(theirs, at))
				mine := e.me.accept(l)
				e.until("stamps", func() bool { // Linux begins to take them when it has found the time to
					_, err := e.peer.api.Write(theirs, []byte("x"))
					e.must(err)
					_, oobn, _, _, err := e.me.api.Recvmsg(mine, make([]byte, 1), make([]byte, 99), 0)
					e.must(err)
					return oobn > 0
				})
				e.sends("the peer sends", &e.peer, theirs, "abcdef", 0)
				e.message("look", &e.me, mine, 2, 99, unix.MSG_PEEK)
				e.message("read", &e.me, mine, 4, 99, 0)
				e.message("no room", &e.me, mine, 1, 9, 0)
				e.reads("without", &e.me, mine, 9, 0)
				p, oob := make([]byte, 9), make([]byte, 99)
				_, oobn, flags, _, err := e.me.api.Recvmsg(mine, p, oob, unix.MSG_DONTWAIT)
				e.note("nothing", oobn, flags, err)
				e.sends("the peer sends", &e.peer, theirs, "ghi", 0)
				e.me.set(mine, unix.SOL_SOCKET, opt, 0)
				e.message("switched off", &e.me, mine, 9, 99, 0)
				e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
				e.message("the end", &e.me, mine, 9, 99, 0)
				e.me.close(mine)
				e.me.close(l)
			}
		}},
		{"message: how many were lost", func(e *env) {
			mine, at := e.me.datagram()
			theirs := e.peer.udp()
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
			e.must(e.peer.api.Connect(theirs, at))
			for range 50 {
				e.must(e.peer.api.Sendto(theirs, make([]byte, 1000), 0, nil))
			}
			last := uint32(0)
			e.until("a datagram that tells of a loss", func() bool {
				p, oob := make([]byte, 2000), make([]byte, 99)
				e.must(e.peer.api.Sendto(theirs, make([]byte, 1000), 0, nil))
				for {
					_, oobn, _, _, err := e.me.api.Recvmsg(mine, p, oob, unix.MSG_DONTWAIT)
					if err != nil {
						return last > 0
					}
					if messages, _ := unix.ParseSocketControlMessage(oob[:oobn]); len(messages) == 1 {
						last = binary.NativeEndian.Uint32(messages[0].Data)
					}
				}
			})
			e.note("lost", last > 0 && last < 100000)
		}},
		{"message: in pieces", func(e *env) {
			mine, theirs := e.peers()
			if tb, ok := e.me.api.(*Table); ok {
				n, err := tb.SendmsgBuffers(mine, [][]byte{[]byte("ab"), nil, []byte("cde")}, nil, nil, 0)
				e.note("send", n, err)
			} else {
				n, err := unix.SendmsgBuffers(mine, [][]byte{[]byte("ab"), nil, []byte("cde")}, nil, nil, 0)
				e.note("send", n, err)
			}
			e.receives("the peer receives", &e.peer, theirs, 99, 0, nil)
			e.must(e.peer.api.Sendto(theirs, []byte("fghij"), 0, e.me.name(mine)))
			parts := [][]byte{make([]byte, 2), make([]byte, 1), make([]byte, 9)}
			var n int
			var err error
			if tb, ok := e.me.api.(*Table); ok {
				n, _, _, _, err = tb.RecvmsgBuffers(mine, parts, nil, 0)
			} else {
				n, _, _, _, err = unix.RecvmsgBuffers(mine, parts, nil, 0)
			}
			e.note("receive", n, err, parts[0], parts[1], parts[2])
		}}},
	bothFamilies("unspecified: a destination that is this host", func(e *env, f ipFamily) {
		nobody := func(port int) unix.Sockaddr {
			if f.four() {
				return &unix.SockaddrInet4{Port: port}
			}
			return &unix.SockaddrInet6{Port: port}
		}
		l, port := e.me.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
		e.must(e.me.api.Bind(l, nobody(port)))
		e.must(e.me.api.Listen(l, 4))
		c := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.note("tcp, connect", e.me.api.Connect(c, nobody(port)))
		e.me.noteNames("tcp", c)
		d := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(d, nobody(port)))
		e.must(e.me.api.SetsockoptTimeval(d, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		from := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.note("udp, sendto", e.me.api.Sendto(from, []byte("to nobody"), 0, nobody(port)))
		n, sa, err := e.me.api.Recvfrom(d, make([]byte, 99), 0)
		if four, ok := sa.(*unix.SockaddrInet4); ok {
			four.Port = 0
		} else if six, ok := sa.(*unix.SockaddrInet6); ok {
			six.Port = 0
		}
		e.note("receive", n, sa, err)
		e.note("udp, connect", e.me.api.Connect(from, nobody(port)))
		e.me.noteNames("udp", from)
		raw := f.raw(&e.me, testProtocol)
		e.note("raw, sendto", e.me.api.Sendto(raw, []byte("raw to nobody"), 0, nobody(0)))
		e.packet("raw, receive", f, &e.me, raw)
		e.note("raw, connect", e.me.api.Connect(raw, nobody(0)))
		e.note("name", e.me.sockname(raw))
	}),
	bothFamilies("datagram: connected, flags, shut down", func(e *env, f ipFamily) {
		theirs, at := f.bound(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		e.note("connect", e.me.api.Connect(mine, at))
		e.me.noteNames("connected", mine)
		me := e.me.sockname(mine)
		stranger := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Sendto(stranger, []byte("stranger"), 0, me))
		for _, text := range []string{"abcdef", "ghijkl", "mnopqr", "stuvwx"} {
			e.must(e.peer.api.Sendto(theirs, []byte(text), 0, me))
		}
		e.receives("peek", &e.me, mine, 3, unix.MSG_PEEK, nil)
		e.receives("peek, whole length", &e.me, mine, 0, unix.MSG_PEEK|unix.MSG_TRUNC, nil)
		e.receives("all of one", &e.me, mine, 99, unix.MSG_WAITALL, nil)
		e.receives("cut off", &e.me, mine, 4, 0, nil)
		e.receives("cut off, whole length", &e.me, mine, 4, unix.MSG_TRUNC, nil)
		e.awaits("the last has come", &e.me, mine, unix.POLLIN)
		e.receives("last", &e.me, mine, 99, unix.MSG_DONTWAIT, nil)
		e.receives("none", &e.me, mine, 99, unix.MSG_DONTWAIT, nil)
		ping, _ := f.ping(&e.me)
		for _, fd := range []int{mine, f.raw(&e.me, testProtocol), ping} {
			e.receives("urgent", &e.me, fd, 99, unix.MSG_DONTWAIT|unix.MSG_OOB, nil)
			e.receives("no such flag", &e.me, fd, 99, unix.MSG_DONTWAIT|1<<27, nil)
		}
		e.note("AF_UNSPEC", e.me.api.Connect(mine, nil))
		e.me.noteNames("not connected", mine)
		e.sends("send", &e.me, mine, "x", 0)
		e.note("port 0", e.me.api.Sendto(mine, []byte("x"), 0, f.in(&e.peer, 0)))
		e.note("shutdown", e.me.api.Shutdown(mine, unix.SHUT_RD))
		e.must(e.me.api.Connect(mine, at))
		e.note("connected, shutdown", e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		e.sends("send", &e.me, mine, "x", 0)
		e.receives("receive", &e.me, mine, 9, 0, nil)
	}),
	bothFamilies("message: the largest", func(e *env, f ipFamily) {
		theirs, at := f.bound(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
		e.must(e.me.api.Connect(mine, at))
		most := f.pick(65507, 65527)
		for _, n := range []int{1473, 20000, most} {
			got, err := e.me.api.Write(mine, make([]byte, n))
			e.note(fmt.Sprint("send ", n), got, err)
			got, _, err = e.peer.api.Recvfrom(theirs, make([]byte, 1<<17), 0)
			e.note("the peer receives", got, err)
			e.must(e.peer.api.Sendto(theirs, make([]byte, n), 0, e.me.sockname(mine)))
			got, _, err = e.me.api.Recvfrom(mine, make([]byte, 1<<17), 0)
			e.note("receive", got, err)
		}
		_, err := e.me.api.Write(mine, make([]byte, most+1))
		e.note("one more", err)
	}),
	bothFamilies("message: a port shared by SO_REUSEPORT", func(e *env, f ipFamily) {
		var mine [4]int
		port := e.freePort()
		for i := range mine {
			mine[i] = e.me.open(f.domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
			e.me.set(mine[i], unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			e.must(e.me.api.Bind(mine[i], f.in(&e.me, port)))
		}
		// A burst to a neighbour that is not known yet is parked, up to a limit: one that arrives makes it known.
		e.must(e.peer.api.Sendto(e.peer.open(f.domain, unix.SOCK_DGRAM, 0), []byte("x"), 0, f.in(&e.me, port)))
		e.until("the first", func() bool {
			for _, fd := range mine {
				if _, _, err := e.me.api.Recvfrom(fd, make([]byte, 9), 0); err == nil {
					return true
				}
			}
			return false
		})
		const all = 200
		for range all {
			theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
			for range 2 {
				e.must(e.peer.api.Sendto(theirs, []byte("x"), 0, f.in(&e.me, port)))
			}
		}
		var got [4]int
		of := map[string]int{} // by sender, who has it
		split := false
		e.until("all", func() bool {
			for i, fd := range mine {
				for {
					_, from, err := e.me.api.Recvfrom(fd, make([]byte, 9), 0)
					if err != nil {
						break
					}
					got[i]++
					if who, ok := of[show(from)]; ok && who != i {
						split = true
					}
					of[show(from)] = i
				}
			}
			return got[0]+got[1]+got[2]+got[3] == 2*all
		})
		even := true
		for _, n := range got {
			even = even && n > all/4 && n < all // a quarter of 400 is 100; a share of 50 is six deviations away
		}
		e.note("even", even)
		e.note("a sender has several", split)
	}),
)

func concatRows(all ...[]row) (rows []row) {
	for _, r := range all {
		rows = append(rows, r...)
	}
	return rows
}
