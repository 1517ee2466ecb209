package socketapi

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// ping is a ping socket at an address of a side, and its identifier.
func (f ipFamily) ping(s *side) (fd, ident int) {
	s.e.t.Helper()
	fd = s.open(f.domain, unix.SOCK_DGRAM, f.icmp())
	s.e.must(s.api.Bind(fd, f.in(s, s.e.freePort())))
	s.e.must(s.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return fd, s.e.port
}

func (f ipFamily) icmp() int { return f.pick(unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6) }

// request is an echo request.
func (f ipFamily) request(ident, seq uint16, text string) []byte {
	b := append(make([]byte, wire.ICMP4Len), text...)
	b[0] = byte(f.pick(int(wire.ICMP4Echo), int(wire.ICMP6Echo)))
	binary.BigEndian.PutUint16(b[4:], ident)
	binary.BigEndian.PutUint16(b[6:], seq)
	return b
}

// raw is a raw socket of a side.
func (f ipFamily) raw(s *side, proto int) int {
	s.e.t.Helper()
	fd := s.open(f.domain, unix.SOCK_RAW, proto)
	s.e.must(s.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return fd
}

// packet notes a packet as a raw socket receives it: over IPv4 its header, but for the
// identification and the checksum, which differ, and what comes behind it.
func (e *env) packet(what string, f ipFamily, s *side, fd int) {
	e.t.Helper()
	p := make([]byte, 2000)
	n, from, err := s.api.Recvfrom(fd, p, 0)
	if err != nil {
		e.note(what, n, err)
		return
	}
	p = p[:n]
	if f.four() && n >= wire.IPv4Len {
		ip := wire.IPv4(p)
		e.note(what, from, fmt.Sprintf("% x", p[:4]), ip.DF(), ip.TTL(), ip.Protocol(), ip.Src(), ip.Dst(), ip.ChecksumOK())
		p = ip.Payload()
	} else {
		e.note(what, from)
	}
	e.note("payload", p)
}

// testProtocol is a number for experiments (RFC 3692).
const testProtocol = 253

var rawRows = concatRows(
	bothFamilies("ping: there and back", func(e *env, f ipFamily) {
		fd, ident := f.ping(&e.me)
		e.note("name", e.me.sockname(fd))
		e.note("send", e.me.api.Sendto(fd, f.request(1, 7, "hello"), 0, f.in(&e.peer, 99)))
		p := make([]byte, 99)
		n, from, err := e.me.api.Recvfrom(fd, p, 0)
		e.note("receive", err, from, n)
		e.note("reply", p[0], p[1], int(binary.BigEndian.Uint16(p[4:])) == ident, p[6:max(n, 6)])
		e.must(e.me.api.Connect(fd, f.in(&e.peer, 99)))
		e.sends("connected, send", &e.me, fd, string(f.request(1, 8, "x")), 0)
		n, err = e.me.api.Read(fd, p)
		e.note("receive", n, err)
		e.note("bound again", e.me.api.Bind(fd, f.in(&e.me, 0)))
		for _, c := range []struct {
			what string
			b    []byte
		}{{"7 bytes", make([]byte, 7)}, {"a reply", append([]byte{byte(f.pick(0, 129))}, make([]byte, 9)...)},
			{"a code", append([]byte{f.request(0, 0, "")[0], 1}, make([]byte, 9)...)}, {"65536 bytes", make([]byte, 65536)}} {
			e.note(c.what, e.me.api.Sendto(fd, c.b, 0, f.in(&e.peer, 0)))
		}
		for _, flags := range []int{unix.MSG_TRUNC | unix.MSG_PEEK, unix.MSG_TRUNC} {
			if flags&unix.MSG_PEEK != 0 {
				e.must(e.me.api.Sendto(fd, f.request(1, 9, "hello"), 0, nil))
			}
			n, _, err := e.me.api.Recvfrom(fd, p[:9], flags)
			e.note("cut off", flags, n, err)
		}
		several := [2][]unix.Sockaddr{
			{&unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}}, &unix.SockaddrInet4{Addr: [4]byte{e.me.ip[0], e.me.ip[1], e.me.ip[2], 255}}, &unix.SockaddrInet4{Addr: [4]byte{224, 0, 0, 7}}},
			{in6("ff02::1", 0), in6("ff05::1", 0), &unix.SockaddrInet6{Addr: in6("ff02::1", 0).Addr, ZoneId: uint32(e.me.index)}, in6("fe80::1", 0)},
		}
		for i, to := range several[f.pick(0, 1)] {
			several := e.me.open(f.domain, unix.SOCK_DGRAM, f.icmp())
			e.note("bound to several", i, e.me.api.Bind(several, to))
			if f.domain == unix.AF_INET6 && i != 1 {
				e.note("sent to several", i, e.me.api.Sendto(several, f.request(1, 1, ""), 0, to))
			}
		}
		fresh := e.me.open(f.domain, unix.SOCK_DGRAM, f.icmp())
		e.note("no destination", e.me.api.Sendto(fresh, f.request(1, 1, ""), 0, nil))
		e.note("chosen", e.me.api.Sendto(fresh, f.request(1, 1, ""), 0, f.in(&e.peer, 0)))
		n, _, err = e.me.api.Recvfrom(fresh, p, 0)
		e.note("receive", n, err)
	}),
	bothFamilies("errors: port unreachable, by the queue", func(e *env, f ipFamily) {
		for _, connected := range []bool{false, true} {
			closed, at := f.bound(&e.peer)
			e.peer.close(closed)
			mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
			e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
			e.note("nothing", e.me.errqueue(mine))
			e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
			e.me.set(mine, f.level, f.pick(unix.IP_RECVTTL, unix.IPV6_RECVHOPLIMIT), 1)
			e.note("nothing yet", e.me.errqueue(mine))
			if connected {
				e.must(e.me.api.Connect(mine, at))
			}
			for range 2 {
				to := at
				if connected {
					to = nil
				}
				e.must(e.me.api.Sendto(mine, []byte("where are you"), 0, to))
				_, _, err := e.me.api.Recvfrom(mine, make([]byte, 9), 0)
				e.note("recv", err)
				e.message("the error", &e.me, mine, 5, 300, unix.MSG_ERRQUEUE)
				e.note("no more", e.me.errqueue(mine))
			}
			for range 3 {
				e.must(e.me.api.Sendto(mine, []byte("x"), 0, at))
				e.until("the error", func() bool { return e.soError(mine) != 0 })
			}
			e.message("one of three", &e.me, mine, 5, 300, unix.MSG_ERRQUEUE)
			e.note("SO_ERROR is that of the next", unix.Errno(e.soError(mine)))
			e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 0)
			e.note("switched off", e.me.errqueue(mine))
		}
	}),
	bothFamilies("errors: longer than the path takes", func(e *env, f ipFamily) {
		_, at := f.bound(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Connect(mine, at))
		e.me.set(mine, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		e.me.set(mine, f.level, f.pick(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER), unix.IP_PMTUDISC_DO)
		n, err := e.me.api.GetsockoptInt(mine, f.level, f.pick(unix.IP_MTU, unix.IPV6_MTU))
		e.note("MTU", n, err)
		_, err = e.me.api.Write(mine, make([]byte, 2000))
		e.note("send", err)
		p, oob := make([]byte, 9), make([]byte, 200)
		_, oobn, flags, _, err := e.me.api.Recvmsg(mine, p, oob, unix.MSG_ERRQUEUE)
		e.note("the error", fmt.Sprintf("%#x", flags), err)
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.must(err)
		for _, m := range messages {
			e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
		}
	}),
	bothFamilies("errors: a neighbour that does not answer", func(e *env, f ipFamily) {
		dead := f.in(&e.me, 0)
		switch sa := dead.(type) {
		case *unix.SockaddrInet4:
			sa.Addr[3] = 77
		case *unix.SockaddrInet6:
			sa.Addr[15] = 77
		}
		ping, _ := f.ping(&e.me)
		e.me.set(ping, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
		e.must(e.me.api.Sendto(ping, f.request(1, 1, "dead?"), 0, dead))
		_, _, err := e.me.api.Recvfrom(ping, make([]byte, 99), 0)
		e.note("ping, recv", err)
		p, oob := make([]byte, 99), make([]byte, 200)
		n, oobn, flags, _, err := e.me.api.Recvmsg(ping, p, oob, unix.MSG_ERRQUEUE)
		e.note("the error", n, fmt.Sprintf("%#x", flags), err)
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.must(err)
		for _, m := range messages {
			e.note("control", m.Header.Level, m.Header.Type, e.me.words(m))
		}
	}),
	bothFamilies("raw: names", func(e *env, f ipFamily) {
		fd := f.raw(&e.me, testProtocol)
		e.note("name", e.me.sockname(fd))
		e.note("bind", e.me.api.Bind(fd, f.in(&e.me, 77)))
		e.note("name", e.me.sockname(fd))
		e.note("bind again", e.me.api.Bind(fd, f.in(&e.me, 0)))
		e.note("somebody else's", e.me.api.Bind(fd, f.in(&e.peer, 0)))
		e.note("connect", e.me.api.Connect(fd, f.in(&e.peer, 0)))
		sa, err := e.me.api.Getpeername(fd)
		e.note("getpeername", sa, err)
		e.note("listen", e.me.api.Listen(fd, 1))
		e.note("no destination", e.me.api.Sendto(f.raw(&e.me, testProtocol), []byte("x"), 0, nil))
	}),
	bothFamilies("raw: a protocol of its own", func(e *env, f ipFamily) {
		mine, theirs := f.raw(&e.me, testProtocol), f.raw(&e.peer, testProtocol)
		e.me.set(mine, f.level, f.pick(unix.IP_TTL, unix.IPV6_UNICAST_HOPS), 9)
		e.note("send", e.me.api.Sendto(mine, []byte("question"), 0, f.in(&e.peer, 0)))
		e.packet("the peer receives", f, &e.peer, theirs)
		e.note("the peer sends", e.peer.api.Sendto(theirs, []byte("answer"), 0, f.in(&e.me, 0)))
		e.packet("receive", f, &e.me, mine)
		second := f.raw(&e.me, testProtocol)
		elsewhere := f.raw(&e.me, testProtocol+1)
		e.must(e.peer.api.Sendto(theirs, []byte("both"), 0, f.in(&e.me, 0)))
		e.packet("one", f, &e.me, mine)
		e.packet("the other", f, &e.me, second)
		e.receives("one of another protocol", &e.me, elsewhere, 99, unix.MSG_DONTWAIT, nil)
		stranger := f.in(&e.peer, 0)
		if sa, ok := stranger.(*unix.SockaddrInet4); ok {
			sa.Addr[3]++
		} else {
			stranger.(*unix.SockaddrInet6).Addr[15]++
		}
		e.must(e.me.api.Connect(second, f.in(&e.peer, 0)))
		e.sends("connected, send", &e.me, second, "third", 0)
		e.packet("the peer receives", f, &e.peer, theirs)
	}),
	bothFamilies("raw: echo replies beside ping, and filters", func(e *env, f ipFamily) {
		raw := f.raw(&e.me, f.icmp())
		e.note("send", e.me.api.Sendto(raw, sealed(f, f.request(4242, 1, "raw")), 0, f.in(&e.peer, 0)))
		p := make([]byte, 200)
		body := func() []byte {
			for {
				n, _, err := e.me.api.Recvfrom(raw, p, 0)
				if err != nil {
					return []byte(err.Error())
				}
				b := p[:n]
				if f.four() {
					b = wire.IPv4(b).Payload()
				}
				if len(b) >= 8 && binary.BigEndian.Uint16(b[4:]) == 4242 {
					return append([]byte{b[0], b[1]}, b[4:]...)
				}
			}
		}
		e.note("the reply", body())
		if f.four() {
			e.me.set(raw, unix.SOL_RAW, icmpFilterName, 1<<wire.ICMP4EchoReply)
		} else {
			var filter unix.ICMPv6Filter
			filter.Data[129/32] = 1 << (129 % 32)
			if s, ok := e.me.api.(*Table); ok {
				e.must(s.SetsockoptICMPv6Filter(raw, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter))
			} else {
				e.must(unix.SetsockoptICMPv6Filter(raw, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter))
			}
		}
		ping, _ := f.ping(&e.me)
		e.must(e.me.api.Sendto(raw, sealed(f, f.request(4242, 2, "filtered")), 0, f.in(&e.peer, 0)))
		e.must(e.me.api.Sendto(ping, f.request(1, 3, "marker"), 0, f.in(&e.peer, 0)))
		n, _, err := e.me.api.Recvfrom(ping, p, 0)
		e.note("ping still hears", n, err)
		filtered := true
		for {
			n, _, err := e.me.api.Recvfrom(raw, p, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			b := p[:n]
			if f.four() {
				b = wire.IPv4(b).Payload()
			}
			filtered = filtered && !(len(b) >= 8 && b[0] == byte(f.pick(0, 129)))
		}
		e.note("no replies", filtered)
	}),
	bothFamilies("stream: IP_MTU_DISCOVER, an interface of its own", func(e *env, f ipFamily) {
		watch := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ALL)))
		e.must(e.me.api.Bind(watch, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ALL)}))
		e.must(e.me.api.SetsockoptTimeval(watch, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		l, port := e.peer.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
		e.must(e.peer.api.Bind(l, f.in(&e.peer, port)))
		e.must(e.peer.api.Listen(l, 9))
		for discover := range 6 {
			c := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.me.set(c, f.level, f.pick(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER), discover)
			e.must(e.me.api.SetsockoptString(c, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "va"))
			_, err := e.me.api.GetsockoptInt(c, f.level, f.pick(unix.IP_MTU, unix.IPV6_MTU))
			e.note("the path's MTU before", err)
			e.must(e.me.api.Connect(c, f.in(&e.peer, port)))
			n, err := e.me.api.GetsockoptInt(c, f.level, f.pick(unix.IP_MTU, unix.IPV6_MTU))
			e.note("and behind", n, err)
			for p := make([]byte, 2000); ; {
				n, from, err := e.me.api.Recvfrom(watch, p, 0)
				e.must(err)
				if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING {
					continue
				}
				if ip, ok := wire.ParseIPv4(p[:n]); ok && f.four() && ip.Protocol() == wire.ProtoTCP {
					e.note("DF", ip.DF())
					break
				}
				if ip, ok := wire.ParseIPv6(p[:n]); ok && !f.four() && ip.NextHeader() == wire.ProtoTCP {
					break
				}
			}
			e.must(e.me.api.Close(c))
			delete(e.me.fds, c)
		}
		mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		port = e.freePort()
		e.must(e.me.api.SetsockoptString(mine, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "va"))
		e.must(e.me.api.Bind(mine, f.in(&e.me, port)))
		e.must(e.me.api.Listen(mine, 9))
		e.note("the peer connects", e.peer.api.Connect(e.peer.open(f.domain, unix.SOCK_STREAM, 0), f.in(&e.me, port)))
		a := e.me.accept(mine)
		is, err := e.me.api.GetsockoptString(a, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		e.note("of the connection", is, err)
		e.note("from ourselves", e.me.api.Connect(e.me.open(f.domain, unix.SOCK_STREAM, 0), f.in(&e.me, port)))
	}),
	bothFamilies("packet: how far the segments of a stream go", func(e *env, f ipFamily) {
		watch := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ALL)))
		e.must(e.me.api.Bind(watch, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ALL)}))
		l, port := e.peer.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
		e.must(e.peer.api.Bind(l, f.in(&e.peer, port)))
		e.must(e.peer.api.Listen(l, 1))
		c := e.me.open(f.domain, unix.SOCK_STREAM, 0)
		e.me.set(c, f.level, f.pick(unix.IP_TTL, unix.IPV6_UNICAST_HOPS), 7)
		e.me.set(c, f.level, f.pick(unix.IP_TOS, unix.IPV6_TCLASS), 0x48)
		e.note("connect", e.me.api.Connect(c, f.in(&e.peer, port)))
		e.until("a segment that leaves", func() bool {
			p := make([]byte, 2000)
			n, from, err := e.me.api.Recvfrom(watch, p, unix.MSG_DONTWAIT)
			if err != nil || from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING {
				return false
			}
			if ip, ok := wire.ParseIPv4(p[:n]); ok && f.four() && ip.Protocol() == wire.ProtoTCP {
				e.note("segment", ip.TTL(), ip.TOS())
				return true
			}
			if ip, ok := wire.ParseIPv6(p[:n]); ok && !f.four() && ip.NextHeader() == wire.ProtoTCP {
				e.note("segment", ip.HopLimit(), ip.TrafficClass())
				return true
			}
			return false
		})
	}),
	[]row{
		{"raw: sends when it is shut down", func(e *env) {
			for _, f := range ipFamilies { // a protocol that the peer has is not answered with an error
				f.raw(&e.peer, testProtocol)
			}
			for _, header := range []int{0, 1} {
				for _, f := range ipFamilies {
					fd := f.raw(&e.me, testProtocol)
					e.must(e.me.api.Connect(fd, f.in(&e.peer, 0)))
					e.must(e.me.api.Shutdown(fd, unix.SHUT_RDWR))
					if f.four() {
						e.me.set(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, header)
					}
					p := make([]byte, 40)
					p[0], p[9] = 0x45, testProtocol
					copy(p[16:], e.peer.ip[:])
					e.note(fmt.Sprint("send with a header: ", header), e.me.api.Sendto(fd, p, 0, nil))
				}
			}
		}},
		{"raw: IP_HDRINCL", func(e *env) {
			f := ipFamilies[0]
			theirs, at := f.bound(&e.peer)
			fd := f.raw(&e.me, unix.IPPROTO_RAW)
			n, err := e.me.api.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL)
			e.note("it is on", n, err)
			b := make([]byte, wire.IPv4Len+wire.UDPLen+5)
			wire.PutUDP(b[wire.IPv4Len:], 1234, uint16(at.(*unix.SockaddrInet4).Port), 5)
			copy(b[wire.IPv4Len+wire.UDPLen:], "hello")
			b[0], b[8], b[9] = 0x45, 5, byte(wire.ProtoUDP)
			copy(b[16:], e.peer.ip[:])
			e.note("send", e.me.api.Sendto(fd, b, 0, at))
			e.receives("the peer receives", &e.peer, theirs, 99, 0, &unix.SockaddrInet4{Addr: e.me.ip, Port: 1234})
			e.note("less than a header", e.me.api.Sendto(fd, b[:19], 0, at))
			b[0] = 0x4f
			e.note("a header longer than the packet", e.me.api.Sendto(fd, b, 0, at))
			b[0] = 0x44
			e.note("a header shorter than one", e.me.api.Sendto(fd, b, 0, at))
			e.note("that, and longer than the MTU", e.me.api.Sendto(fd, make([]byte, 1501), 0, at))
			e.note("nothing", e.me.api.Sendto(fd, nil, 0, at))
			e.note("longer than the MTU", e.me.api.Sendto(fd, append([]byte{0x45}, make([]byte, 1500)...), 0, at))
			e.receives("receives nothing", &e.me, fd, 9, unix.MSG_DONTWAIT, nil)
		}},
		{"raw: IPV6_CHECKSUM", func(e *env) {
			f := ipFamilies[1]
			mine, theirs := f.raw(&e.me, testProtocol), f.raw(&e.peer, testProtocol)
			for _, s := range []struct {
				s  *side
				fd int
			}{{&e.me, mine}, {&e.peer, theirs}} {
				e.note("set", s.s.api.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, 2))
			}
			e.note("send", e.me.api.Sendto(mine, []byte("abxxef"), 0, f.in(&e.peer, 0)))
			e.packet("the peer receives", f, &e.peer, theirs)
			e.must(e.peer.api.Sendto(theirs, []byte("ghxxkl"), 0, f.in(&e.me, 0)))
			e.packet("receive", f, &e.me, mine)
			e.note("no room for it", e.me.api.Sendto(mine, []byte("abc"), 0, f.in(&e.peer, 0)))
			bad := f.raw(&e.peer, testProtocol)
			e.must(e.peer.api.Sendto(bad, []byte("wrong sum"), 0, f.in(&e.me, 0)))
			e.must(e.peer.api.Sendto(theirs, []byte("mnxxop"), 0, f.in(&e.me, 0)))
			e.packet("not the one with a wrong sum", f, &e.me, mine)
			icmp := f.raw(&e.me, unix.IPPROTO_ICMPV6)
			for _, level := range []int{unix.IPPROTO_IPV6, unix.SOL_RAW} {
				for _, at := range []int{2, 3, 4, 1 << 20, -1, -2, 0} {
					n, err := e.me.api.GetsockoptInt(icmp, level, unix.IPV6_CHECKSUM)
					e.note(fmt.Sprint("of ICMPv6 at level ", level, " ", at), e.me.api.SetsockoptInt(icmp, level, unix.IPV6_CHECKSUM, at), n, err)
				}
			}
			e.must(e.me.api.SetsockoptInt(icmp, unix.SOL_RAW, unix.IPV6_CHECKSUM, 1<<20))
			e.note("of a place beyond the packet", e.me.api.Sendto(icmp, []byte("\xfe\x00xx"), 0, f.in(&e.peer, 0)))
			e.must(e.me.api.SetsockoptInt(icmp, unix.SOL_RAW, unix.IPV6_CHECKSUM, -1))
			e.note("without a sum", e.me.api.Sendto(icmp, []byte("\xfe\x00xx"), 0, f.in(&e.peer, 0)))
		}},
		{"raw: a protocol that nobody else speaks", func(e *env) {
			for _, f := range ipFamilies {
				theirs := f.raw(&e.peer, testProtocol+1)
				e.peer.set(theirs, f.level, f.pick(unix.IP_RECVERR, unix.IPV6_RECVERR), 1)
				e.must(e.peer.api.Connect(theirs, f.in(&e.me, 0)))
				e.sends("the peer sends", &e.peer, theirs, "eight bytes, or the quote is too short", 0)
				_, err := e.peer.api.Read(theirs, make([]byte, 9))
				e.note("and hears", err)
			}
		}},
		{"packet: names", func(e *env) {
			fd := e.me.open(unix.AF_PACKET, unix.SOCK_RAW, 0)
			link := func(sa unix.Sockaddr, err error) string {
				l, ok := sa.(*unix.SockaddrLinklayer)
				if !ok {
					return show(err)
				}
				return fmt.Sprint(networkOrder(l.Protocol), l.Ifindex == e.me.index, l.Hatype, l.Pkttype, l.Halen, string(l.Addr[:6]) == string(e.me.mac))
			}
			e.note("name", link(e.me.api.Getsockname(fd)))
			e.note("bind", e.me.api.Bind(fd, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ARP)}))
			e.note("name", link(e.me.api.Getsockname(fd)))
			e.note("bind again", e.me.api.Bind(fd, &unix.SockaddrLinklayer{Ifindex: e.me.index}))
			e.note("name", link(e.me.api.Getsockname(fd)))
			e.note("no such interface", e.me.api.Bind(fd, &unix.SockaddrLinklayer{Ifindex: 12345}))
			e.note("another family", e.me.api.Bind(fd, e.me.at(0)))
			_, err := e.me.api.Getpeername(fd)
			e.note("getpeername", err)
			e.note("connect", e.me.api.Connect(fd, &unix.SockaddrLinklayer{Ifindex: e.me.index}))
			e.note("listen", e.me.api.Listen(fd, 1))
			e.note("shutdown", e.me.api.Shutdown(fd, unix.SHUT_RDWR))
			for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, 77} {
				_, err := e.me.api.Socket(unix.AF_PACKET, typ, 0)
				e.note("type "+show(typ), err)
			}
		}},
		{"packet: there and back", func(e *env) {
			const typ = 0x88b5 // local experimental (IEEE 802)
			theirs := e.peer.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(typ)))
			e.must(e.peer.api.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
			to := &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(typ), Halen: 6}
			copy(to.Addr[:], e.peer.mac)
			mine := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
			e.note("send", e.me.api.Sendto(mine, []byte("question"), 0, to))
			p := make([]byte, 2000)
			n, from, err := e.peer.api.Recvfrom(theirs, p, 0)
			e.must(err)
			e.note("the peer receives", p[:n], from.(*unix.SockaddrLinklayer).Pkttype, string(from.(*unix.SockaddrLinklayer).Addr[:6]) == string(e.me.mac))
			e.note("without an address", e.me.api.Sendto(mine, []byte("x"), 0, nil))
			e.note("without a station", e.me.api.Sendto(mine, []byte("x"), 0, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(typ)}))
			e.note("without an interface", e.me.api.Sendto(mine, []byte("x"), 0, &unix.SockaddrLinklayer{Halen: 6}))
			e.note("an address longer than there is room for", e.me.api.Sendto(mine, []byte("x"), 0, &unix.SockaddrLinklayer{Ifindex: e.me.index, Halen: 9}))
			e.note("too long", e.me.api.Sendto(mine, make([]byte, 1501), 0, to))
			raw := e.me.open(unix.AF_PACKET, unix.SOCK_RAW, 0)
			e.note("less than a header", e.me.api.Sendto(raw, make([]byte, 13), 0, to))
			e.note("too long", e.me.api.Sendto(raw, make([]byte, 1515), 0, to))
			frame := append(append(append([]byte(nil), e.peer.mac...), e.me.mac...), 0x88, 0xb5, 'r', 'a', 'w')
			e.note("send", e.me.api.Sendto(raw, frame, 0, to))
			n, _, err = e.peer.api.Recvfrom(theirs, p, 0)
			e.note("the peer receives", p[:max(n, 0)], err)
		}},
		{"packet: PACKET_AUXDATA, and a priority tag", func(e *env) {
			all := int(networkOrder(unix.ETH_P_ALL))
			theirs := e.peer.open(unix.AF_PACKET, unix.SOCK_RAW, 0)
			for _, typ := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
				mine := e.me.open(unix.AF_PACKET, typ, all)
				e.must(e.me.api.Bind(mine, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ALL)}))
				e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
				e.me.set(mine, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
				for _, tag := range [][]byte{nil, {0x81, 0, 0xa0, 0}} {
					ip := make([]byte, wire.IPv4Len+wire.UDPLen+20)
					copy(ip, []byte{0x45, 0, 0, byte(len(ip)), 0, 1, 0, 0, 9, byte(wire.ProtoUDP), 0, 0})
					copy(ip[12:], append(append([]byte(nil), e.peer.ip[:]...), e.me.ip[:]...))
					wire.IPv4(ip).Seal()
					wire.PutUDP(ip[wire.IPv4Len:], 1, uint16(e.port), len(ip)-wire.IPv4Len-wire.UDPLen)
					frame := append(append(append(append([]byte(nil), e.me.mac...), e.peer.mac...), tag...), 8, 0)
					frame = append(frame, ip...)
					e.must(e.peer.api.Sendto(theirs, frame, 0, &unix.SockaddrLinklayer{Ifindex: e.peer.index}))
					e.until("the frame", func() bool {
						p, oob := make([]byte, 2000), make([]byte, 200)
						n, oobn, flags, from, err := e.me.api.Recvmsg(mine, p, oob, 0)
						e.must(err)
						at := 0
						if typ == unix.SOCK_RAW {
							at = wire.EthernetLen
						}
						if n < at+len(ip) || string(p[at:at+len(ip)]) != string(ip) {
							return false
						}
						l := from.(*unix.SockaddrLinklayer)
						e.note("frame", n, p[max(at-2, 0):at], flags, networkOrder(l.Protocol), l.Pkttype)
						messages, err := unix.ParseSocketControlMessage(oob[:oobn])
						e.must(err)
						for _, m := range messages {
							const checksums = unix.TP_STATUS_CSUMNOTREADY | unix.TP_STATUS_CSUM_VALID
							m.Data[0] &^= checksums & 0xff
							e.note("control", m.Header.Level, m.Header.Type, fmt.Sprintf("%x", m.Data))
						}
						return true
					})
				}
			}
		}},
		{"packet: PACKET_STATISTICS", func(e *env) {
			stats := func(fd int) string {
				var s *unix.TpacketStats
				var err error
				if tb, ok := e.me.api.(*Table); ok {
					s, err = tb.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				} else {
					s, err = unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				}
				e.must(err)
				return fmt.Sprint(s.Packets, " and ", s.Drops)
			}
			watch := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
			e.note("at first", stats(watch))
			e.must(e.me.api.Bind(watch, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_IP)}))
			mine, at := e.me.datagram()
			theirs := e.peer.udp()
			e.must(e.peer.api.Connect(theirs, at))
			for range 7 {
				e.sends("the peer sends", &e.peer, theirs, "x", 0)
				e.reads("read", &e.me, mine, 1, 0)
			}
			e.note("seven", stats(watch))
			e.note("and none since", stats(watch))
		}},
		{"packet: what goes out and comes in", func(e *env) {
			mine := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ALL)))
			e.must(e.me.api.Bind(mine, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_ALL)}))
			ip4 := e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_IP)))
			e.must(e.me.api.Bind(ip4, &unix.SockaddrLinklayer{Ifindex: e.me.index, Protocol: networkOrder(unix.ETH_P_IP)}))
			ping, _ := ipFamilies[0].ping(&e.me)
			e.must(e.me.api.Sendto(ping, ipFamilies[0].request(1, 1, "watch me"), 0, e.peer.at(0)))
			_, err := e.me.api.Read(ping, make([]byte, 99))
			e.must(err)
			for _, fd := range []int{mine, ip4} {
				var seen []string
				e.until("the reply", func() bool {
					p := make([]byte, 2000)
					n, from, err := e.me.api.Recvfrom(fd, p, unix.MSG_DONTWAIT)
					if err != nil {
						return len(seen) > 0 && seen[len(seen)-1][0] == '0'
					}
					if ip, ok := wire.ParseIPv4(p[:n]); ok && ip.Protocol() == wire.ProtoICMP {
						l := from.(*unix.SockaddrLinklayer)
						seen = append(seen, fmt.Sprint(l.Pkttype, ip.Payload()[0], networkOrder(l.Protocol), l.Halen))
					}
					return false
				})
				e.note("seen", seen)
			}
		}},
	},
)

// sealed is a message with its checksum where the program computes it.
func sealed(f ipFamily, b []byte) []byte {
	if f.four() {
		wire.ICMP4(b).Seal()
	}
	return b
}

// errqueue is the errno of asking for an error without waiting.
func (s *side) errqueue(fd int) error {
	time.Sleep(time.Millisecond)
	_, _, _, _, err := s.api.Recvmsg(fd, make([]byte, 9), make([]byte, 99), unix.MSG_ERRQUEUE)
	return err
}
