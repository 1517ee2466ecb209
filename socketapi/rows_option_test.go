package socketapi

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A kindOfSocket is one that options are tried on.
type kindOfSocket struct {
	name               string
	domain, typ, proto int
	on                 class
}

var kindsOfSockets = []kindOfSocket{
	{"tcp", unix.AF_INET, unix.SOCK_STREAM, 0, onTCP},
	{"udp", unix.AF_INET, unix.SOCK_DGRAM, 0, onUDP},
	{"ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, onPing},
	{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, onRaw},
	{"tcp6", unix.AF_INET6, unix.SOCK_STREAM, 0, onTCP},
	{"udp6", unix.AF_INET6, unix.SOCK_DGRAM, 0, onUDP},
	{"ping6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, onPing},
	{"raw6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, onRaw},
	{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0, onPacket},
}

// has says whether a kind of socket has an option, by our own account.
func (k *kindOfSocket) has(o *option) bool {
	s := settings{family: k.domain, kind: k.typ, proto: k.proto}
	if k.on == onTCP {
		s.proto = unix.IPPROTO_TCP
	} else if k.on == onUDP {
		s.proto = unix.IPPROTO_UDP
	}
	return (o.on == 0 || o.on&k.on != 0) && s.speaks(o.level)
}

// optionRows makes two rows of each option that is a number, what it is and what it becomes by a
// list of values, on each kind of socket that has it; and one of the kinds that do not.
func optionRows() (rows []row) {
	values := []int{0, 1, 2, -1, -2, 60, 87, 88, 120, 121, 127, 128, 255, 256, 1000, 32767, 32768, 65536, 1 << 30, -1 << 31}
	for i := range options {
		o := &options[i]
		if o.kind != kindInt && o.kind != kindFlag || o.level == unix.IPPROTO_TCP && slices.Contains(notByValue, o.name) {
			continue
		}
		given := values
		switch {
		case o.set == nil:
			given = []int{1}
		case o.level == unix.SOL_SOCKET && slices.Contains([]int{unix.SO_BINDTOIFINDEX, unix.SO_TIMESTAMPING_OLD, unix.SO_TIMESTAMPING_NEW}, o.name):
			given = []int{0} // see the rows of their own
		}
		with := func(has bool, f func(e *env, name string, fd int)) func(e *env) {
			return func(e *env) {
				none := true
				for _, k := range kindsOfSockets {
					if k.has(o) == has {
						f(e, k.name, e.me.open(k.domain, k.typ, k.proto))
						none = false
					}
				}
				if none {
					e.note("all have it")
				}
			}
		}
		rows = append(rows,
			row{o.label + " is at first", with(true, func(e *env, name string, fd int) {
				n, err := e.me.api.GetsockoptInt(fd, o.level, o.name)
				e.note(name, n, err)
			})},
			row{o.label + " set", with(true, func(e *env, name string, fd int) {
				for _, n := range given {
					err := e.me.api.SetsockoptInt(fd, o.level, o.name, n)
					is, _ := e.me.api.GetsockoptInt(fd, o.level, o.name)
					e.note(name+" set "+show(n), err, is)
				}
			})},
			row{o.label + " where it is not", with(false, func(e *env, name string, fd int) {
				_, err := e.me.api.GetsockoptInt(fd, o.level, o.name)
				e.note(name, err, e.me.api.SetsockoptInt(fd, o.level, o.name, 1))
			})})
	}
	return append(rows, otherOptionRows...)
}

var otherOptionRows = []row{
	{"option: SO_TIMESTAMPING's flags", func(e *env) {
		for _, opt := range []int{unix.SO_TIMESTAMPING_OLD, unix.SO_TIMESTAMPING_NEW} {
			fd := e.me.udp()
			for _, n := range []int{
				unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE, unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE,
				0, 1 << 30, -1, unix.SOF_TIMESTAMPING_TX_SOFTWARE,
			} {
				err := e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, opt, n)
				is, _ := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
				e.note("set "+show(n), err, is)
			}
			stream := e.me.tcp()
			for _, n := range []int{unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE, 0, unix.SOF_TIMESTAMPING_TX_SOFTWARE} {
				err := e.me.api.SetsockoptInt(stream, unix.SOL_SOCKET, opt, n)
				is, _ := e.me.api.GetsockoptInt(stream, unix.SOL_SOCKET, opt)
				e.note("tcp set "+show(n), err, is)
			}
		}
	}},
	{"option: SO_BINDTODEVICE", func(e *env) {
		fd := e.me.udp()
		for _, name := range []string{"va", "nonesuch", ""} {
			e.note("set "+name, e.me.api.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name))
			is, err := e.me.api.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
			index, _ := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
			e.note("get", is, err, index == e.me.index)
		}
		e.note("by index", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, e.me.index))
		is, err := e.me.api.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		e.note("get", is, err)
		e.note("an index that is none", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 12345))
		e.note("less than none", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, -1))
	}},
	{"option: SO_BINDTODEVICE, the loopback", func(e *env) {
		const loopIndex = 1
		tied := func(fd int, how string) int {
			e.must(e.me.api.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, how))
			return fd
		}
		for _, fd := range []int{e.me.tcp(), e.me.udp(), e.me.inet6(unix.SOCK_STREAM), e.me.inet6(unix.SOCK_DGRAM)} {
			e.note("by name", e.me.api.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"))
			index, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
			e.note("get", index, err)
			e.note("none", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 0))
			e.note("by index", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, loopIndex))
			name, err := e.me.api.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
			e.note("get", name, err)
		}
		l, port := tied(e.me.tcp(), "lo"), e.freePort()
		e.must(e.me.api.Bind(l, &unix.SockaddrInet4{Port: port}))
		e.must(e.me.api.Listen(l, 8))
		e.note("the peer", e.peer.api.Connect(e.peer.tcp(), e.me.at(port)))
		to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
		e.note("connect", e.me.api.Connect(e.me.tcp(), to))
		name, err := e.me.api.GetsockoptString(e.me.accept(l), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		e.note("accepted", name, err)
		e.note("of the same interface", e.me.api.Connect(tied(e.me.tcp(), "lo"), to))
		d := tied(e.me.udp(), "lo")
		e.must(e.me.api.Bind(d, &unix.SockaddrInet4{Port: port}))
		e.note("a datagram", e.me.api.Sendto(e.me.udp(), []byte("x"), 0, to))
		e.note("one of the same interface", e.me.api.Sendto(tied(e.me.udp(), "lo"), []byte("y"), 0, to))
		for range 2 {
			p := make([]byte, 9)
			n, _, err := e.me.api.Recvfrom(d, p, 0)
			e.note("heard", string(p[:max(n, 0)]), err)
		}
	}},
	{"option: SO_BINDTODEVICE and SO_BINDTOIFINDEX of a thread without CAP_NET_RAW", func(e *env) {
		byName := func(fd int, name string) error {
			return e.me.api.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
		}
		byIndex := func(fd, index int) error {
			return e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
		}
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			e.withoutRight(unix.CAP_NET_RAW, func() {
				e.note("none of none", byName(fd, ""), byIndex(fd, 0), byIndex(fd, -1))
				e.note("the first", byName(fd, "va"))
				e.note("the same again", byName(fd, "va"), byIndex(fd, e.me.index))
				e.note("one that is none", byName(fd, "nonesuch"), byIndex(fd, -1))
				e.note("none any more", byName(fd, ""), byIndex(fd, 0))
				is, err := e.me.api.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
				e.note("get", is, err)
			})
			e.note("with the right", byName(fd, ""))
			e.withoutRight(unix.CAP_NET_RAW, func() { e.note("by index", byIndex(fd, e.me.index), byIndex(fd, 0)) })
		}
	}},
	{"option: unknown ones", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			for _, level := range []int{unix.SOL_SOCKET, unix.IPPROTO_IP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, 12345, -1} {
				_, err := e.me.api.GetsockoptInt(fd, level, 9999)
				e.note("get "+show(level), err)
				e.note("set "+show(level), e.me.api.SetsockoptInt(fd, level, 9999, 1))
			}
		}
	}},
	{"option: SO_LINGER", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			for _, l := range []unix.Linger{{}, {Onoff: 1}, {Onoff: 7, Linger: 5}, {Onoff: 0, Linger: 9}} {
				e.note("set "+show(l), e.me.api.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
				is, err := e.me.api.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
				e.note("get", *is, err)
			}
			e.note("as a number", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LINGER, 1))
		}
	}},
	{"option: SO_RCVTIMEO and SO_SNDTIMEO", func(e *env) {
		for _, fd := range []int{e.me.tcp(), e.me.udp()} {
			for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
				for _, tv := range []unix.Timeval{{}, {Sec: 1}, {Sec: 2, Usec: 500000}, {Usec: 1000000}, {Usec: -1}, {Sec: -1}, {Sec: 1 << 60}} {
					e.note("set "+show(tv), e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv))
					is, err := e.me.api.GetsockoptTimeval(fd, unix.SOL_SOCKET, opt)
					e.note("get", *is, err)
				}
				e.note("as a number", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1))
			}
		}
	}},
	{"option: a time that has passed", func(e *env) {
		fd := e.me.udp()
		e.must(e.me.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: -1}))
		_, _, err := e.me.api.Recvfrom(fd, make([]byte, 1), 0)
		e.note("recv", err)
	}},
	{"option: TCP_CONGESTION", func(e *env) {
		fd := e.me.tcp()
		for _, name := range []string{"reno", "cubic", "nonesuch"} {
			e.note("set "+name, e.me.api.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
			is, err := e.me.api.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			e.note("get", is, err)
		}
		for n := range 18 {
			e.note(fmt.Sprint("zeros: ", n), e.me.api.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, string(make([]byte, n))))
		}
	}},
	{"option: TCP_INFO's state", func(e *env) {
		e.note("fresh", e.me.state(e.me.tcp()))
		l, _ := e.me.listener()
		e.note("listening", e.me.state(l))
		mine, theirs := e.me.connected(&e.peer)
		e.note("connected", e.me.state(mine))
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.until("FIN-WAIT-2", func() bool { return e.me.state(mine) == linuxFinWait2 })
		e.note("half closed", e.me.state(mine))
		e.peer.close(theirs)
		mine, theirs = e.me.connected(&e.peer)
		e.peer.close(theirs)
		e.until("CLOSE-WAIT", func() bool { return e.me.state(mine) == linuxCloseWait })
		e.note("the peer has closed", e.me.state(mine))
		_, err := e.me.api.GetsockoptTCPInfo(e.me.udp(), unix.IPPROTO_TCP, unix.TCP_INFO)
		e.note("of a datagram socket", err)
	}},
	{"option: TCP_INFO's numbers", func(e *env) {
		l, at := e.peer.listener()
		mine := e.me.tcp()
		e.must(e.me.api.SetsockoptString(mine, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")) // the system's may be another
		e.must(e.me.api.Connect(mine, at))
		theirs := e.peer.accept(l)
		e.sends("send", &e.me, mine, "12345", 0)
		e.reads("the peer reads", &e.peer, theirs, 5, unix.MSG_WAITALL)
		e.sends("the peer sends", &e.peer, theirs, "123", 0)
		e.reads("read", &e.me, mine, 3, unix.MSG_WAITALL)
		var i *unix.TCPInfo
		e.until("the acknowledgement", func() (ok bool) {
			var err error
			i, err = e.me.api.GetsockoptTCPInfo(mine, unix.IPPROTO_TCP, unix.TCP_INFO)
			e.must(err)
			return i.Unacked == 0
		})
		e.note("options", i.Options&7)
		e.note("snd_mss", i.Snd_mss)
		e.note("bytes_received", i.Bytes_received)
		e.note("retransmits, lost, total_retrans", i.Retransmits, i.Lost, i.Total_retrans)
		e.note("rtt, rto", i.Rtt > 0 && i.Rtt < 1e6, i.Rto >= 200000)
		e.note("notsent", i.Notsent_bytes)
		e.note("ca_state", i.Ca_state)
		e.note("snd_cwnd", i.Snd_cwnd)
	}},
	{"option: TCP_MAXSEG of a connection", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.note2(e.me.api.GetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_MAXSEG))
		_, at := e.peer.listener()
		c := e.me.tcp()
		e.me.set(c, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 500)
		e.must(e.me.api.Connect(c, at))
		e.note2(e.me.api.GetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_MAXSEG))
	}},
	{"option: set on a connection, and read back", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		for _, o := range []struct{ level, opt, n int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.IPPROTO_TCP, unix.TCP_CORK, 1}, {unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 5}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 6}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 7},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_IP, unix.IP_TTL, 9}, {unix.IPPROTO_IP, unix.IP_TOS, 0x1b},
		} {
			e.note("set", e.me.api.SetsockoptInt(mine, o.level, o.opt, o.n))
			e.note2(e.me.api.GetsockoptInt(mine, o.level, o.opt))
		}
	}},
	{"option: TCP_CORK holds, and lets go", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		e.sends("send", &e.me, mine, "ab", 0)
		e.sends("send", &e.me, mine, "cd", 0)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
		e.reads("the peer reads", &e.peer, theirs, 4, 0)
	}},
	{"option: of a closed descriptor's number", func(e *env) {
		fd := e.me.tcp()
		e.me.close(fd)
		if _, isOurs := e.me.api.(*Table); isOurs {
			_, err := e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
			e.note("get", err)
			return
		}
		e.note("get", unix.EBADF) // the number may be another file's in this process
	}},
}
