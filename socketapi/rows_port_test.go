package socketapi

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Read first: ip(7), ip-sysctl(7): ip_local_port_range, ip_local_reserved_ports, ip_unprivileged_port_start.

// sysctl sets a number of the side's host until the row is over. It says whether that can be.
func (s *side) sysctl(name, value string) bool {
	s.e.t.Helper()
	before, ok := s.setSysctl(name, value)
	if ok {
		s.e.after = append(s.e.after, func() { s.setSysctl(name, before) })
	}
	return ok
}

func (s *side) setSysctl(name, value string) (before string, ok bool) {
	s.e.t.Helper()
	switch api := s.stack().(type) {
	case *Table:
		now, err := api.host.Sysctl(name)
		s.e.must(err)
		return now.Value, api.host.SetSysctl(name, value) == nil
	case linux:
		var err error
		s.e.must(api.ns.Do(func() error {
			file := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
			text, failed := os.ReadFile(file)
			before = strings.TrimSpace(string(text))
			err = os.WriteFile(file, []byte(value+"\n"), 0)
			return failed
		}))
		return before, err == nil
	}
	s.e.t.Fatalf("%T has no sysctls", s.api)
	return "", false
}

// A portFamily is what the rows about ports are played with.
type portFamily struct {
	domain  int
	any, me func(port int) unix.Sockaddr
	peer    func(port int) unix.Sockaddr
}

func (e *env) portFamilies() []portFamily {
	at := func(a string) func(int) unix.Sockaddr {
		return func(port int) unix.Sockaddr { return sockaddrOf(a, port) }
	}
	return []portFamily{
		{unix.AF_INET, at("0.0.0.0"), at(engineAddr), at(kernelAddr)},
		{unix.AF_INET6, at("::"), at(engineAddr6), at(kernelAddr6)},
		{unix.AF_INET6, at("::ffff:0.0.0.0"), at("::ffff:" + engineAddr), at("::ffff:" + kernelAddr)},
	}
}

// portOf is the port of a socket's name.
func (s *side) portOf(fd int) int {
	s.e.t.Helper()
	sa, err := s.api.Getsockname(fd)
	s.e.must(err)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return -1
}

// chosen has sockets ask for a port until none is left, and notes which they got, in order, and what the last was told.
func (e *env) chosen(what string, first int, ask func() (fd int, err error)) {
	e.t.Helper()
	var ports, fds []int
	for len(ports) < 9 {
		fd, err := ask()
		fds = append(fds, fd)
		if err != nil {
			e.note(what, err)
			break
		}
		ports = append(ports, e.me.portOf(fd)-first)
	}
	slices.Sort(ports)
	e.note(what, ports)
	for _, fd := range fds {
		e.me.close(fd)
	}
}

// takers are the ways to a port that the host chooses.
var takers = []struct {
	name string
	typ  int
	ask  func(e *env, f portFamily, fd, to int) error
}{
	{"bind of a stream", unix.SOCK_STREAM, func(e *env, f portFamily, fd, _ int) error { return e.me.api.Bind(fd, f.me(0)) }},
	{"bind of a stream to all", unix.SOCK_STREAM, func(e *env, f portFamily, fd, _ int) error { return e.me.api.Bind(fd, f.any(0)) }},
	{"listen", unix.SOCK_STREAM, func(e *env, f portFamily, fd, _ int) error { return e.me.api.Listen(fd, 1) }},
	{"connect", unix.SOCK_STREAM, func(e *env, f portFamily, fd, to int) error { return e.me.api.Connect(fd, f.peer(to)) }},
	{"bind of datagrams", unix.SOCK_DGRAM, func(e *env, f portFamily, fd, _ int) error { return e.me.api.Bind(fd, f.me(0)) }},
	{"connect of datagrams", unix.SOCK_DGRAM, func(e *env, f portFamily, fd, to int) error { return e.me.api.Connect(fd, f.peer(to)) }},
	{"sendto", unix.SOCK_DGRAM, func(e *env, f portFamily, fd, to int) error {
		return e.me.api.Sendto(fd, []byte("x"), 0, f.peer(to))
	}},
}

// everyTaker plays all of them, with sockets that are prepared first.
func (e *env) everyTaker(what string, first int, prepare func(fd int)) {
	e.t.Helper()
	for _, f := range e.portFamilies() {
		l := e.peer.inet6(unix.SOCK_STREAM)
		e.must(e.peer.api.Bind(l, in6("::", 0)))
		e.must(e.peer.api.Listen(l, 64))
		to := e.peer.port6(l)
		for _, k := range takers {
			e.chosen(fmt.Sprint(what, ": ", k.name, " ", show(f.me(0))), first, func() (int, error) {
				fd := e.me.open(f.domain, k.typ, 0)
				e.must(e.me.api.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
				prepare(fd)
				return fd, k.ask(e, f, fd, to)
			})
		}
		e.peer.close(l)
	}
}

const (
	portRange    = "net.ipv4.ip_local_port_range"
	reserved     = "net.ipv4.ip_local_reserved_ports"
	unprivileged = "net.ipv4.ip_unprivileged_port_start"
)

var portRows = []row{
	{"port: the range of the host", func(e *env) {
		for _, n := range []int{1, 2, 3, 4} {
			first := e.freePort()
			e.port += n
			e.note("set", e.me.sysctl(portRange, fmt.Sprint(first, " ", first+n-1)))
			e.everyTaker(fmt.Sprint("a range of ", n), first, func(int) {})
		}
		for _, value := range []string{"2000 1999", "0 2000", "2000 70000", "2000 x"} {
			e.note("set "+value, e.me.sysctl(portRange, value))
		}
	}},
	{"port: reserved ones", func(e *env) {
		first := e.freePort()
		e.port += 3
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(first, " ", first+3)), e.me.sysctl(reserved, fmt.Sprint(first, ",", first+2)))
		e.everyTaker("of two", first, func(int) {})
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			e.note("who asks for one", e.me.api.Bind(e.me.socket(typ), e.me.at(first)))
			fd := e.me.socket(typ)
			e.me.set(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, first<<16|first)
			e.note("out of a range of its own", e.me.api.Bind(fd, e.me.at(0)))
		}
		e.note("set to nonsense", e.me.sysctl(reserved, "5-4"), e.me.sysctl(reserved, "70000"))
	}},
	{"port: IP_LOCAL_PORT_RANGE", func(e *env) {
		first := e.freePort()
		e.port += 8
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(first, " ", first+7)))
		e.everyTaker("its own", first, func(fd int) { e.me.set(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, (first+3)<<16|first+1) })
		e.everyTaker("from one on", first, func(fd int) { e.me.set(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, first+6) })
		e.everyTaker("up to one", first, func(fd int) { e.me.set(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, (first+1)<<16) })
		e.everyTaker("one end outside", first, func(fd int) { e.me.set(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, (first+1)<<16|1) })
		for _, fd := range []int{e.me.tcp(), e.me.udp(), e.me.inet6(unix.SOCK_STREAM)} {
			for _, n := range []int{first<<16 | first, first<<16 | (first + 1), first, first << 16, 0, 1, -1} {
				e.note("set", n-first*(n>>16), e.me.api.SetsockoptInt(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, n))
				got, err := e.me.api.GetsockoptInt(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE)
				e.note("get", got, err)
			}
		}
	}},
	{"port: IP_BIND_ADDRESS_NO_PORT", func(e *env) {
		first := e.freePort()
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(first, " ", first)))
		for _, f := range e.portFamilies() {
			for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				var fds []int
				for range 3 {
					l := e.peer.inet6(typ)
					e.must(e.peer.api.Bind(l, in6("::", 0)))
					if typ == unix.SOCK_STREAM {
						e.must(e.peer.api.Listen(l, 4))
					}
					fd := e.me.open(f.domain, typ, 0)
					fds = append(fds, fd)
					e.must(e.me.api.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
					e.me.set(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
					e.note("bind", e.me.api.Bind(fd, f.me(0)), e.me.portOf(fd))
					e.note("bind again", e.me.api.Bind(fd, f.me(0)), e.me.portOf(fd))
					e.note("connect", e.me.api.Connect(fd, f.peer(e.peer.port6(l))), e.me.portOf(fd))
				}
				for _, fd := range fds {
					e.me.close(fd)
				}
				fd := e.me.open(f.domain, typ, 0)
				e.me.set(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
				e.note("bind with a port", e.me.api.Bind(fd, f.me(first)), e.me.portOf(fd))
				e.me.close(fd)
			}
			l := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.me.set(l, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			e.note("bind", e.me.api.Bind(l, f.me(0)), e.me.portOf(l))
			e.note("listen", e.me.api.Listen(l, 1), e.me.portOf(l))
			e.me.close(l)
		}
	}},
	{"port: one that is bound where a connection was whose port was chosen", func(e *env) {
		port := e.freePort()
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(port, " ", port)))
		l, at := e.peer.listener()
		open := func() int {
			fd := e.me.tcp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			return fd
		}
		chosen, bound := open(), open()
		e.note("chosen", e.me.api.Connect(chosen, at))
		theirs := e.peer.accept(l)
		e.me.close(chosen)
		e.until("the end", func() bool { return e.peer.polled(theirs)&unix.POLLIN != 0 })
		e.peer.set(theirs, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		e.until("FIN-WAIT-2", func() bool { return !e.me.finWait1(port) })
		e.note("bound", e.me.api.Bind(bound, &unix.SockaddrInet4{Port: port}))
		_, other := e.peer.listener()
		e.note("chosen beside it", e.me.api.Connect(open(), other))
		e.note("the bound one follows", e.me.api.Connect(bound, at))
		e.note("chosen then", e.me.api.Connect(open(), other))
	}},
	{"port: one that came to a listener where a connection is whose port was chosen", func(e *env) {
		port := e.freePort()
		e.note("set", e.me.sysctl(portRange, fmt.Sprint(port, " ", port)))
		_, at := e.peer.listener()
		_, other := e.peer.listener()
		open := func() int {
			fd := e.me.tcp()
			e.me.set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			return fd
		}
		e.note("chosen", e.me.api.Connect(open(), at))
		l := open()
		e.note("bound", e.me.api.Bind(l, &unix.SockaddrInet4{Port: port}))
		e.note("listen", e.me.api.Listen(l, 5))
		e.note("beside it", e.me.api.Connect(open(), other))
		e.note("incoming", e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
		e.me.accept(l)
		e.me.close(l)
		e.note("chosen then", e.me.api.Connect(open(), other))
	}},
	{"port: which want a right", func(e *env) {
		bind := func(typ int, sa unix.Sockaddr) error {
			domain := unix.AF_INET6
			if _, four := sa.(*unix.SockaddrInet4); four {
				domain = unix.AF_INET
			}
			fd := e.me.open(domain, typ, 0)
			defer e.me.close(fd)
			return e.me.api.Bind(fd, sa)
		}
		for _, start := range []int{0, 80, 1024, 2000} {
			e.note("set", start, e.me.sysctl(unprivileged, fmt.Sprint(start)))
			e.withoutRight(unix.CAP_NET_BIND_SERVICE, func() {
				for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
					for _, f := range e.portFamilies() {
						for _, port := range []int{1, 79, 80, 1023, 1024, 1999, 2000} {
							e.note(fmt.Sprint("bind ", show(f.me(port))), bind(typ, f.me(port)), bind(typ, f.any(port)))
						}
					}
				}
			})
		}
		for _, value := range []string{"70000", "-1", "x"} {
			e.note("set "+value, e.me.sysctl(unprivileged, value))
		}
	}},
	{"port: the range and those which want a right do not meet", func(e *env) {
		e.note("a range", e.me.sysctl(portRange, "5000 6000"))
		for _, start := range []int{4999, 5000, 5001, 65535, 1024} {
			e.note("a right below", start, e.me.sysctl(unprivileged, fmt.Sprint(start)))
		}
		for _, first := range []int{1, 1023, 1024} {
			e.note("from", first, e.me.sysctl(portRange, fmt.Sprint(first, " 6000")))
		}
	}},
	{"port: what is looked at before the right to it", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			bound := e.me.inet6(typ)
			e.must(e.me.api.Bind(bound, in6("::", 0)))
			bound4 := e.me.socket(typ)
			e.must(e.me.api.Bind(bound4, e.me.at(0)))
			only := e.me.inet6(typ)
			e.me.set(only, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			e.withoutRight(unix.CAP_NET_BIND_SERVICE, func() {
				for _, a := range []string{"2001:db8::7", "::ffff:192.0.2.7", "ff0e::1", "fe80::1"} {
					fd := e.me.inet6(typ)
					e.note("bind "+a, e.me.api.Bind(fd, in6(a, 7)))
				}
				for _, a := range []string{"192.0.2.7", "239.1.1.1"} {
					e.note("bind "+a, e.me.api.Bind(e.me.socket(typ), sockaddrOf(a, 7)))
				}
				e.note("one that is bound", e.me.api.Bind(bound, in6("::", 7)), e.me.api.Bind(bound4, e.me.at(7)))
				e.note("mapped, for IPv6 alone", e.me.api.Bind(only, in6("::ffff:"+engineAddr, 7)))
				tied := e.me.inet6(typ)
				link := e.me.onLink()
				link.Port = 7
				e.note("of a link", e.me.api.Bind(tied, &link), e.me.tie(tied))
			})
		}
	}},
	{"port: at an address of a link that is none", func(e *env) {
		fd, link := e.me.inet6(unix.SOCK_STREAM), e.me.onLink()
		link.ZoneId = 9999
		e.note("bind", e.me.api.Bind(fd, &link), e.me.tie(fd))
		link.ZoneId = 0
		e.note("without a link", e.me.api.Bind(fd, &link), e.me.tie(fd))
	}},
	{"memory: of control messages", func(e *env) {
		_, at := e.peer.datagram()
		d := e.me.udp()
		tcp, _ := e.me.connected(&e.peer)
		one := controlMessage(unix.IPPROTO_IP, unix.IP_TTL, 9)
		for _, n := range []int{1, 5000, (128<<10)/len(one) - 1, (128 << 10) / len(one), 200 << 10 / len(one)} {
			many := bytes.Repeat(one, n)
			sent, err := e.me.api.SendmsgN(d, []byte("x"), many, at, 0)
			e.note(fmt.Sprint(len(many), " bytes"), sent, err)
			sent, err = e.me.api.SendmsgN(tcp, []byte("x"), many, nil, 0)
			e.note("of a stream", sent, err)
		}
	}},
	{"port: more than ten datagram sockets", func(e *env) {
		port := e.freePort()
		for i := range 12 {
			fd := e.me.udp()
			e.note("bind", e.me.api.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i)}, Port: port}))
			e.note("the same again", e.me.api.Bind(e.me.udp(), &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i)}, Port: port}))
			all := e.me.udp()
			e.note("all", e.me.api.Bind(all, &unix.SockaddrInet4{Port: port}))
			e.me.close(all)
		}
	}},
}
