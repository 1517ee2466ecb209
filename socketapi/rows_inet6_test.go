package socketapi

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// in6 is an IPv6 socket address; one of IPv4 stands as a mapped one.
func in6(addr string, port int) *unix.SockaddrInet6 {
	return &unix.SockaddrInet6{Addr: netip.MustParseAddr(addr).As16(), Port: port}
}

// inet6 opens a socket of AF_INET6.
func (s *side) inet6(typ int) int {
	s.e.t.Helper()
	fd, err := s.api.Socket(unix.AF_INET6, typ, 0)
	return s.keep(fd, err)
}

// port6 is the port that a socket of AF_INET6 has.
func (s *side) port6(fd int) int {
	s.e.t.Helper()
	sa, err := s.api.Getsockname(fd)
	s.e.must(err)
	return sa.(*unix.SockaddrInet6).Port
}

// noteNames writes down the addresses of a socket, whose ports differ between the stacks.
func (s *side) noteNames(what string, fd int) {
	host := func(sa unix.Sockaddr, err error) any {
		switch sa := sa.(type) {
		case *unix.SockaddrInet6:
			return &unix.SockaddrInet6{Addr: sa.Addr, ZoneId: sa.ZoneId}
		case *unix.SockaddrInet4:
			return &unix.SockaddrInet4{Addr: sa.Addr}
		}
		return err
	}
	s.e.note(what+": own name", host(s.api.Getsockname(fd)))
	s.e.note(what+": peer", host(s.api.Getpeername(fd)))
}

// tie says whether a socket is bound to no interface, or to the side's.
func (s *side) tie(fd int) string {
	switch n, err := s.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); {
	case err != nil:
		return err.Error()
	case n == 0:
		return "of no interface"
	case n == s.index:
		return "of the interface"
	}
	return "of another interface"
}

// onLink is the address that the side's interface has on its link, and that it sends to a group from.
func (s *side) onLink() (sa unix.SockaddrInet6) {
	s.e.t.Helper()
	group := in6("ff02::1:7", 7)
	group.ZoneId = uint32(s.index)
	s.e.until("the address", func() bool {
		fd := s.inet6(unix.SOCK_DGRAM)
		defer s.close(fd)
		if s.api.Connect(fd, group) != nil {
			return false
		}
		own, err := s.api.Getsockname(fd)
		s.e.must(err)
		sa.Addr = own.(*unix.SockaddrInet6).Addr
		return netip.AddrFrom16(sa.Addr).IsLinkLocalUnicast()
	})
	return sa
}

// noteLinkNames is noteNames with the addresses of the link, which differ between the stacks, as fe80::1 and fe80::2.
func (e *env) noteLinkNames(what string, fd int) {
	name := func(sa unix.Sockaddr, err error) any {
		at, ok := sa.(*unix.SockaddrInet6)
		if !ok {
			return err
		}
		at = &unix.SockaddrInet6{Addr: at.Addr, ZoneId: at.ZoneId}
		switch at.Addr {
		case e.me.onLink().Addr:
			at.Addr = in6("fe80::1", 0).Addr
		case e.peer.onLink().Addr:
			at.Addr = in6("fe80::2", 0).Addr
		}
		return at
	}
	e.note(what+": own name", name(e.me.api.Getsockname(fd)))
	e.note(what+": peer", name(e.me.api.Getpeername(fd)))
}

// noteTies has sockets of a type be bound and connected to addresses of a link, and writes down the interface that they are bound to.
func (e *env) noteTies(typ, protocol int) {
	api, raw := e.me.api, typ == unix.SOCK_RAW
	open := func() int { return e.me.open(unix.AF_INET6, typ, protocol) }
	own := e.me.onLink()
	own.ZoneId = uint32(e.me.index)
	fd := open()
	e.note("bind", api.Bind(fd, &own), e.me.tie(fd))
	e.noteLinkNames("bound", fd)
	if !raw {
		taken := own
		taken.Port = e.me.port6(fd)
		second := open()
		e.note("bind to the same", api.Bind(second, &taken), e.me.tie(second))
		e.note("and to all", api.Bind(second, in6("::", 0)), e.me.tie(second))
		plain := open()
		taken.ZoneId = 0
		e.note("bind without a link", api.Bind(plain, &taken), e.me.tie(plain))
	}
	nobodys, named := open(), open()
	e.note("bind to nobody's", api.Bind(nobodys, &unix.SockaddrInet6{Addr: in6("fe80::77", 0).Addr, ZoneId: own.ZoneId}), e.me.tie(nobodys))
	e.me.set(named, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, e.me.index)
	e.note("bind of one with an interface", api.Bind(named, &unix.SockaddrInet6{Addr: own.Addr}), e.me.tie(named))
	e.noteLinkNames("it", named)
	e.me.set(named, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 0)
	e.note("which is taken back", e.me.tie(named))
	e.noteLinkNames("then", named)

	to := e.peer.onLink()
	to.Port = 7
	if typ == unix.SOCK_STREAM {
		l := e.peer.inet6(typ)
		e.must(e.peer.api.Bind(l, in6("::", 0)))
		e.must(e.peer.api.Listen(l, 8))
		to.Port = e.peer.port6(l)
	}
	fd = open()
	e.note("connect without a link", api.Connect(fd, &to), e.me.tie(fd))
	to.ZoneId = uint32(e.me.index)
	e.note("connect", api.Connect(fd, &to), e.me.tie(fd))
	e.noteLinkNames("connected", fd)
	e.note("disconnect", api.Connect(fd, nil), e.me.tie(fd))
	e.noteLinkNames("disconnected", fd)
	e.note("connect to all the world", api.Connect(fd, &unix.SockaddrInet6{Addr: e.peer.ip6, Port: to.Port}), e.me.tie(fd))

	fd = open()
	e.must(api.Bind(fd, &own))
	other := to
	other.ZoneId += 1000
	e.note("connect by another link", api.Connect(fd, &other), e.me.tie(fd))
	e.note("connect by the own one", api.Connect(fd, &to), e.me.tie(fd))
	e.note("disconnect of one that was bound", api.Connect(fd, nil), e.me.tie(fd))
	e.noteLinkNames("it", fd)

	fd = open()
	e.me.set(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, e.me.index)
	to.ZoneId = 0
	e.note("connect of one with an interface", api.Connect(fd, &to), e.me.tie(fd))
	e.noteLinkNames("it", fd)
	if typ == unix.SOCK_STREAM {
		fd = open()
		to.Port, to.ZoneId = e.freePort(), uint32(e.me.index)
		e.note("connect where nobody listens", api.Connect(fd, &to), e.me.tie(fd))
		e.noteLinkNames("it", fd)
	}
}

var inet6Rows = []row{
	{"AF_INET6: a datagram socket connected over IPv4 after IPv6", func(e *env) {
		port := e.freePort()
		theirs := e.peer.inet6(unix.SOCK_DGRAM)
		e.must(e.peer.api.Bind(theirs, in6("::", port)))
		d := e.me.inet6(unix.SOCK_DGRAM)
		e.must(e.me.api.Bind(d, in6("::", port)))
		for _, to := range []string{kernelAddr6, "::ffff:" + kernelAddr} {
			e.note("connect "+to, e.me.api.Connect(d, in6(to, port)))
			e.me.noteNames("connected", d)
			another := e.me.udp()
			e.note("another at its address of IPv4", e.me.api.Bind(another, e.me.at(port)))
			e.me.close(another)
		}
		e.must(e.peer.api.Sendto(theirs, []byte("x"), 0, in6("::ffff:"+engineAddr, port)))
		n, _, _ := e.me.poll1(d, unix.POLLIN, 100)
		e.note("what the peer sends arrives", n)
	}},
	{"AF_INET6: connected over IPv6 after IPv4", func(e *env) {
		l := e.peer.inet6(unix.SOCK_STREAM)
		e.must(e.peer.api.Bind(l, in6("::", 0)))
		e.must(e.peer.api.Listen(l, 4))
		c := e.me.inet6(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		for _, to := range []string{"::ffff:" + kernelAddr, kernelAddr6} {
			e.note("connect "+to, e.me.api.Connect(c, sockaddrOf(to, e.peer.port6(l))))
			made := false
			for start := time.Now(); !made && time.Since(start) < 300*time.Millisecond; time.Sleep(time.Millisecond) {
				made = e.me.state(c) == linuxEstablished
			}
			e.note("made", made)
			e.note("disconnect", e.me.api.Connect(c, nil))
		}
	}},
	{"AF_INET6: types and protocols", func(e *env) {
		for _, c := range [][3]int{
			{unix.AF_INET6, unix.SOCK_STREAM, 0}, {unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP},
			{unix.AF_INET6, unix.SOCK_DGRAM, 0}, {unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
			{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_UDP}, {unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_TCP},
			{unix.AF_INET6, 0, 0}, {unix.AF_INET6, unix.SOCK_STREAM, -1}, {unix.AF_INET6, unix.SOCK_STREAM, 263},
		} {
			fd, err := e.me.api.Socket(c[0], c[1], c[2])
			e.note("socket "+show(c), err)
			if err != nil {
				continue
			}
			n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
			e.note("its domain", n, err)
			sa, err := e.me.api.Getsockname(fd)
			e.note("its name", sa, err)
			e.me.api.Close(fd)
		}
	}},
	{"AF_INET6: bind", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, a := range []string{
				"::", engineAddr6, "::1", "::ffff:" + engineAddr, "::ffff:0.0.0.0", "::ffff:127.0.0.1",
				"fd99::77", "2001:db8::1", "::ffff:10.99.0.77", "fe80::77",
			} {
				fd := e.me.inet6(typ)
				e.note("bind "+a, e.me.api.Bind(fd, in6(a, 0)))
				e.me.noteNames(a, fd)
				e.me.close(fd)
			}
			fd := e.me.inet6(typ)
			strange := in6("fe80::77", 0)
			strange.ZoneId = 9999
			e.note("bind to a link that is not there", e.me.api.Bind(fd, strange))
			e.note("bind to IPv4", e.me.api.Bind(fd, e.me.at(0)))
			e.note("bind", e.me.api.Bind(fd, in6("::", 0)))
			e.note("bind again", e.me.api.Bind(fd, in6("::", 0)))
			four := e.me.socket(typ)
			e.note("bind of AF_INET to IPv6", e.me.api.Bind(four, in6("::", 0)))
		}
	}},
	{"AF_INET6: a multicast address is no stream's", func(e *env) {
		e.note("bind", e.me.api.Bind(e.me.inet6(unix.SOCK_STREAM), in6("ff0e::7", 0)))
	}},
	{"AF_INET6: a group of a link is heard on that link alone", func(e *env) {
		device := func(fd int) any {
			n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
			return []any{n == e.me.index, n == 0, err}
		}
		group := in6("ff02::1:7", 0)
		fd := e.me.inet6(unix.SOCK_DGRAM)
		e.note("without its link", e.me.api.Bind(fd, group))
		group.ZoneId = uint32(e.me.index)
		e.note("with it", e.me.api.Bind(fd, group), device(fd))
		e.me.noteNames("with it", fd)
		named := e.me.inet6(unix.SOCK_DGRAM)
		group.ZoneId = 0
		e.me.set(named, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, e.me.index)
		e.note("which is named already", e.me.api.Bind(named, group), device(named))
		wide := e.me.inet6(unix.SOCK_DGRAM)
		group = in6("ff05::1:7", 0)
		group.ZoneId = uint32(e.me.index)
		e.note("of more than a link", e.me.api.Bind(wide, group), device(wide))
	}},
	{"AF_INET6: a socket at an address of a link is the link's interface's", func(e *env) {
		e.noteTies(unix.SOCK_STREAM, 0)
		e.noteTies(unix.SOCK_DGRAM, 0)
		e.noteTies(unix.SOCK_RAW, 253)
	}},
	{"AF_INET6: a connection that comes over a link is its interface's", func(e *env) {
		me := e.me.onLink()
		me.ZoneId = uint32(e.peer.index)
		l := e.me.inet6(unix.SOCK_STREAM)
		e.must(e.me.api.Bind(l, in6("::", 0)))
		e.must(e.me.api.Listen(l, 1))
		me.Port = e.me.port6(l)
		fd := e.peer.inet6(unix.SOCK_STREAM)
		e.must(e.peer.api.Connect(fd, &me))
		child := e.me.accept(l)
		e.note("it", e.me.tie(child))
		e.noteLinkNames("it", child)
		e.note("the listener", e.me.tie(l))
	}},
	{"AF_INET6: a datagram socket whose peer is a group of a link is the link's interface's", func(e *env) {
		group := in6("ff02::1:7", 7)
		fd := e.me.inet6(unix.SOCK_DGRAM)
		e.note("without its link", e.me.api.Connect(fd, group), e.me.tie(fd))
		e.me.set(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, e.me.index)
		e.note("where groups are reached by it", e.me.api.Connect(fd, group), e.me.tie(fd))
		e.noteLinkNames("then", fd)
		group.ZoneId = uint32(e.me.index)
		fd = e.me.inet6(unix.SOCK_DGRAM)
		e.note("with its link", e.me.api.Connect(fd, group), e.me.tie(fd))
		e.noteLinkNames("then", fd)
	}},
	{"AF_INET6: who may share a port with whom", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, pair := range [][2]string{
				{"::", "::"}, {"::", engineAddr6}, {engineAddr6, engineAddr6}, {engineAddr6, "::1"},
				{"::", "::ffff:" + engineAddr}, {"::ffff:" + engineAddr, "::"}, {"::ffff:" + engineAddr, engineAddr6}, {"::", "::ffff:0.0.0.0"},
			} {
				port := e.freePort()
				a, b := e.me.inet6(typ), e.me.inet6(typ)
				e.must(e.me.api.Bind(a, in6(pair[0], port)))
				e.note(pair[0]+" then "+pair[1], e.me.api.Bind(b, in6(pair[1], port)))
				four := e.me.socket(typ)
				e.note(pair[0]+" then IPv4", e.me.api.Bind(four, &unix.SockaddrInet4{Port: port}))
				e.me.close(a)
				e.me.close(b)
				e.me.close(four)
			}
		}
	}},
	{"AF_INET6: a stream over IPv6", func(e *env) {
		l := e.peer.inet6(unix.SOCK_STREAM)
		e.must(e.peer.api.Bind(l, in6(kernelAddr6, 0)))
		e.must(e.peer.api.Listen(l, 4))
		c := e.me.inet6(unix.SOCK_STREAM)
		e.note("connect", e.me.api.Connect(c, in6(kernelAddr6, e.peer.port6(l))))
		e.me.noteNames("connected", c)
		theirs := e.peer.accept(l)
		_, err := e.me.api.Write(c, []byte("over six"))
		e.must(err)
		p := make([]byte, 20)
		n, err := e.peer.api.Read(theirs, p)
		e.note("read", p[:max(n, 0)], err)
		e.note("connect again", e.me.api.Connect(c, in6(kernelAddr6, 9)))
	}},
	{"AF_INET6: a listener at :: takes both", func(e *env) {
		l := e.me.inet6(unix.SOCK_STREAM)
		e.must(e.me.api.Bind(l, in6("::", 0)))
		e.must(e.me.api.Listen(l, 4))
		e.me.noteNames("listening", l)
		for _, to := range []string{engineAddr6, "::ffff:" + engineAddr} {
			c := e.peer.inet6(unix.SOCK_STREAM)
			e.must(e.peer.api.Connect(c, in6(to, e.me.port6(l))))
			fd, from, err := e.me.api.Accept(l)
			fd = e.me.keep(fd, err)
			from.(*unix.SockaddrInet6).Port = 0
			e.note("accepted from", from)
			e.me.noteNames("accepted", fd)
			n, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
			e.note("its domain", n, err)
			_, err = e.peer.api.Write(c, []byte(to))
			e.must(err)
			p := make([]byte, 40)
			n, err = e.me.api.Read(fd, p)
			e.note("read", p[:max(n, 0)], err)
		}
	}},
	{"AF_INET6: connect to what cannot be", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, to := range []string{"fe80::77", "2001:db8::1", "::ffff:192.0.2.1"} {
				fd := e.me.inet6(typ)
				e.note("connect to "+to, e.me.api.Connect(fd, in6(to, 9)))
				e.me.close(fd)
			}
		}
		e.note("to a group", e.me.api.Connect(e.me.inet6(unix.SOCK_STREAM), in6("ff0e::1", 9)))
		e.note("a stream to AF_INET", e.me.api.Connect(e.me.inet6(unix.SOCK_STREAM), e.peer.at(9)))
		e.note("AF_INET to IPv6", e.me.api.Connect(e.me.tcp(), in6(kernelAddr6, 9)))
		e.note("nobody listens", e.me.api.Connect(e.me.inet6(unix.SOCK_STREAM), in6(kernelAddr6, 9)))
		e.note("nobody listens, IPv4", e.me.api.Connect(e.me.inet6(unix.SOCK_STREAM), in6("::ffff:"+kernelAddr, 9)))
		e.note("nobody listens here", e.me.api.Connect(e.me.inet6(unix.SOCK_STREAM), in6("::1", 9)))
	}},
	{"AF_INET6: from an address of one family to the other", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			four := e.me.inet6(typ)
			e.must(e.me.api.Bind(four, in6("::ffff:"+engineAddr, 0)))
			e.note("IPv4 to IPv6 fails", e.me.api.Connect(four, in6(kernelAddr6, 9)) != nil)
			six := e.me.inet6(typ)
			e.must(e.me.api.Bind(six, in6(engineAddr6, 0)))
			e.note("IPv6 to IPv4 fails", e.me.api.Connect(six, in6("::ffff:"+kernelAddr, 9)) != nil)
		}
	}},
	{"AF_INET6: the unspecified address is this host", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			for _, own := range []string{"", "::", "::ffff:0.0.0.0", "::ffff:" + engineAddr} {
				for _, to := range []string{"::", "::ffff:0.0.0.0"} {
					l := e.me.inet6(unix.SOCK_STREAM)
					e.must(e.me.api.Bind(l, in6("::", 0)))
					e.must(e.me.api.Listen(l, 1))
					c := e.me.inet6(typ)
					if own != "" {
						e.must(e.me.api.Bind(c, in6(own, 0)))
					}
					e.note(own+" connect to "+to, e.me.api.Connect(c, in6(to, e.me.port6(l))))
					e.me.noteNames(fmt.Sprint(own, " to ", to), c)
				}
			}
		}
	}},
	{"AF_INET6: from the loopback's address to another host", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		e.note("connect to this host", e.me.api.Connect(fd, in6("::1", 9)))
		e.note("then to the peer", e.me.api.Connect(fd, in6(kernelAddr6, 9)))
	}},
	{"AF_INET6: datagrams of both families by one socket", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		e.must(e.me.api.Bind(fd, in6("::", 0)))
		there := e.peer.inet6(unix.SOCK_DGRAM)
		e.must(e.peer.api.Bind(there, in6("::", 0)))
		p := make([]byte, 20)
		for _, to := range []string{kernelAddr6, "::ffff:" + kernelAddr} {
			e.note("sendto "+to, e.me.api.Sendto(fd, []byte("ask"), 0, in6(to, e.peer.port6(there))))
			n, from, err := e.peer.api.Recvfrom(there, p, 0)
			e.must(err)
			e.note("arrived", p[:n], in6(netip.AddrFrom16(from.(*unix.SockaddrInet6).Addr).String(), 0))
			e.must(e.peer.api.Sendto(there, []byte("answer"), 0, from))
			n, from, err = e.me.api.Recvfrom(fd, p, 0)
			e.must(err)
			e.note("came back", p[:n], in6(netip.AddrFrom16(from.(*unix.SockaddrInet6).Addr).String(), 0))
		}
	}},
	{"AF_INET6: nobody at the port", func(e *env) {
		for _, to := range []string{kernelAddr6, "::ffff:" + kernelAddr} {
			fd := e.me.inet6(unix.SOCK_DGRAM)
			e.must(e.me.api.Connect(fd, in6(to, 9)))
			e.me.noteNames("connected", fd)
			e.must(e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000}))
			var err error
			e.until("an error", func() bool { // the kernel sends few of them a second to one host
				if _, err = e.me.api.Write(fd, []byte("anybody?")); err == nil {
					_, err = e.me.api.Read(fd, make([]byte, 1))
				}
				return err != unix.EAGAIN
			})
			e.note("what came of it", err)
		}
	}},
}
