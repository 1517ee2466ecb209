package socketapi

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Every bit of the flags of a send and of a receive, on every kind of socket, by the calls that take an address and those that take
// a message.

// flagBits are all bits, and none.
var flagBits = func() (bits []int) {
	bits = []int{0}
	for i := range 32 {
		bits = append(bits, int(int32(uint32(1)<<i)))
	}
	return bits
}()

// flagNamed is a bit as linux/socket.h has it.
func flagNamed(bit int) string {
	names := [...]string{
		"MSG_OOB", "MSG_PEEK", "MSG_DONTROUTE", "MSG_CTRUNC", "MSG_PROBE", "MSG_TRUNC", "MSG_DONTWAIT", "MSG_EOR", "MSG_WAITALL", "MSG_FIN", "MSG_SYN", "MSG_CONFIRM",
		"MSG_RST", "MSG_ERRQUEUE", "MSG_NOSIGNAL", "MSG_MORE", "MSG_WAITFORONE", "MSG_SENDPAGE_NOPOLICY", "MSG_BATCH", "MSG_NO_SHARED_FRAGS", "MSG_SENDPAGE_DECRYPTED",
		"bit 21", "bit 22", "bit 23", "bit 24", "MSG_SOCK_DEVMEM", "MSG_ZEROCOPY", "MSG_SPLICE_PAGES", "bit 28", "MSG_FASTOPEN", "MSG_CMSG_CLOEXEC", "MSG_CMSG_COMPAT",
	}
	for i, name := range names {
		if uint32(bit) == 1<<i {
			return name
		}
	}
	return "none"
}

// A flagged is a socket that flags are tried on.
type flagged struct {
	fd   int
	to   unix.Sockaddr // where what it sends goes; nil: its peer
	text string        // what it sends
	then string        // what it sends after that without a flag, which says that the first has come or does not come
	fill func()        // has something come to it
	took func()        // notes what the peer has of it

	stays bool // it is for all bits
}

// done closes it.
func (s *flagged) done(e *env) {
	if !s.stays {
		e.me.close(s.fd)
	}
}

// trySends tries a send with each bit, on a socket of its own.
func (e *env) trySends(make func() flagged) {
	for _, bit := range flagBits {
		for _, call := range []string{"sendto", "sendmsg"} {
			s := make()
			e.must(e.me.api.SetNonblock(s.fd, true))
			what := call + " " + flagNamed(bit)
			var err error
			if n := 0; call == "sendto" {
				err = e.me.api.Sendto(s.fd, []byte(s.text), bit, s.to)
				e.note(what, err)
			} else {
				n, err = e.me.api.SendmsgN(s.fd, []byte(s.text), nil, s.to, bit)
				e.note(what, n, err)
			}
			if s.took != nil && err == nil {
				if s.then != "" {
					e.note("then", e.me.api.Sendto(s.fd, []byte(s.then), 0, s.to))
				}
				s.took()
			}
			s.done(e)
		}
	}
}

// tryReceives tries a receive with each bit, of what is there and of nothing.
func (e *env) tryReceives(make func() flagged) {
	for _, there := range []bool{true, false} {
		for _, bit := range flagBits {
			for _, call := range []string{"recvfrom", "recvmsg"} {
				s := make()
				e.must(e.me.api.SetNonblock(s.fd, true))
				if there {
					s.fill()
				}
				e.tryReceive(fmt.Sprint(call, " ", flagNamed(bit), ", something: ", there), call, s.fd, bit)
				if there {
					e.tryReceive("what is left", "recvmsg", s.fd, 0)
				}
				s.done(e)
			}
		}
	}
}

func (e *env) tryReceive(what, call string, fd, flags int) {
	p := make([]byte, 4)
	if call == "recvfrom" {
		n, _, err := e.me.api.Recvfrom(fd, p, flags)
		e.note(what, n, p, err)
		return
	}
	n, _, got, _, err := e.me.api.Recvmsg(fd, p, nil, flags)
	if err != nil {
		n, got = -1, 0
	}
	e.note(what, n, p, fmt.Sprintf("%#x", got), err)
}

// flaggedStream is a connection.
func (e *env) flaggedStream() flagged {
	mine, theirs := e.me.connected(&e.peer)
	e.must(e.peer.api.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return flagged{
		fd: mine, text: "abcdef",
		fill: func() {
			e.must(e.peer.api.Sendto(theirs, []byte("ghijkl"), 0, nil))
			e.arrived(&e.me, mine, 6)
		},
		took: func() {
			e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
			got := []byte(nil)
			for p := make([]byte, 9); ; {
				n, err := e.peer.api.Read(theirs, p)
				if n <= 0 || err != nil {
					e.note("the peer has", got, err)
					break
				}
				got = append(got, p[:n]...)
			}
			e.peer.close(theirs)
		},
	}
}

// hearsUntil notes what comes, without so much of a header, until it is the last.
func (e *env) hearsUntil(s *side, fd, header int, last string) {
	e.must(s.api.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	var heard []any
	for p := make([]byte, 99); ; {
		n, err := s.api.Read(fd, p)
		got := slices.Clone(p[min(header, max(n, 0)):max(n, 0)])
		heard = append(heard, got, err)
		if err != nil || strings.HasSuffix(string(got), last) {
			e.note("heard", heard...)
			return
		}
	}
}

// flaggedDatagrams is a socket of UDP that has a peer.
func (e *env) flaggedDatagrams(f ipFamily, connected bool) flagged {
	theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
	e.must(e.peer.api.Bind(theirs, f.in(&e.peer, 0)))
	mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
	e.must(e.me.api.Bind(mine, f.in(&e.me, 0)))
	s := flagged{fd: mine, text: "abcdef", then: "the last", to: e.peer.sockname(theirs)}
	at := e.me.sockname(mine)
	if connected {
		e.must(e.me.api.Connect(mine, s.to))
		s.to = nil
	}
	s.fill = func() {
		e.must(e.peer.api.Sendto(theirs, []byte("ghijkl"), 0, at))
		e.until("a datagram", func() bool { return e.me.polled(mine)&unix.POLLIN != 0 })
	}
	s.took = func() {
		e.hearsUntil(&e.peer, theirs, 0, s.then)
		e.peer.close(theirs)
	}
	return s
}

// flaggedRaw is a raw socket of a protocol.
func (e *env) flaggedRaw(f ipFamily) flagged {
	theirs, mine := f.raw(&e.peer, testProtocol), f.raw(&e.me, testProtocol)
	e.must(e.me.api.Bind(mine, f.in(&e.me, 0)))
	return flagged{
		fd: mine, text: "abcdef", then: "the last", to: f.in(&e.peer, 0),
		fill: func() {
			e.must(e.peer.api.Sendto(theirs, []byte("ghijkl"), 0, f.in(&e.me, 0)))
			e.until("a packet", func() bool { return e.me.polled(mine)&unix.POLLIN != 0 })
		},
		took: func() {
			e.hearsUntil(&e.peer, theirs, f.pick(20, 0), "the last")
			e.peer.close(theirs)
		},
	}
}

// flaggedPing is a ping socket, whose peer is the stack of the other side.
func (e *env) flaggedPing(f ipFamily, ident int) flagged {
	mine := e.me.open(f.domain, unix.SOCK_DGRAM, f.icmp())
	e.must(e.me.api.Bind(mine, f.in(&e.me, ident)))
	request, last := string(f.request(0, 1, "ab")), string(f.request(0, 2, "the last"))
	return flagged{
		fd: mine, text: request, then: last, to: f.in(&e.peer, 0),
		fill: func() {
			e.must(e.me.api.Sendto(mine, []byte(request), 0, f.in(&e.peer, 0)))
			e.until("an answer", func() bool { return e.me.polled(mine)&unix.POLLIN != 0 })
		},
		took: func() {
			e.must(e.me.api.SetNonblock(mine, false))
			e.hearsUntil(&e.me, mine, 8, "the last")
		},
	}
}

// flaggedPacket is a packet socket, one for all bits: Linux takes long to close one. It sends frames of a type of its own to everyone,
// and is sent packets of IPv4.
func (e *env) flaggedPacket() func() flagged {
	const experimental = 0x88b5
	f := ipFamilies[0]
	open := func(s *side, typ uint16) int {
		fd := s.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		e.must(s.api.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(typ), Ifindex: s.index}))
		return fd
	}
	everyone := &unix.SockaddrLinklayer{Protocol: networkOrder(experimental), Ifindex: e.me.index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	mine, theirs, raw := open(&e.me, unix.ETH_P_IP), open(&e.peer, experimental), f.raw(&e.peer, testProtocol)
	return func() flagged {
		for err := error(nil); err == nil; {
			_, _, err = e.me.api.Recvfrom(mine, make([]byte, 9), unix.MSG_DONTWAIT)
		}
		return flagged{
			fd: mine, text: "abcdef", then: "the last", to: everyone, stays: true,
			fill: func() {
				e.must(e.peer.api.Sendto(raw, []byte("ghijkl"), 0, f.in(&e.me, 0)))
				e.until("a packet", func() bool { return e.me.polled(mine)&unix.POLLIN != 0 })
			},
			took: func() { e.hearsUntil(&e.peer, theirs, 0, "the last") },
		}
	}
}

var flagStreamRows = []row{
	{"flag: every one, sent by a stream", func(e *env) { e.trySends(e.flaggedStream) }},
	{"flag: every one, received by a stream", func(e *env) { e.tryReceives(e.flaggedStream) }},
	{"flag: every one, of a stream without a connection", func(e *env) {
		fresh := func() flagged { return flagged{fd: e.me.tcp(), text: "abcdef"} }
		listening := func() flagged {
			l, _ := e.me.listener()
			return flagged{fd: l, text: "abcdef", to: e.peer.at(9), fill: func() {}}
		}
		for _, make := range []func() flagged{fresh, listening} {
			e.trySends(make)
			for _, bit := range flagBits {
				s := make()
				e.must(e.me.api.SetNonblock(s.fd, true))
				e.tryReceive("recvfrom "+flagNamed(bit), "recvfrom", s.fd, bit)
				e.tryReceive("recvmsg "+flagNamed(bit), "recvmsg", s.fd, bit)
				e.me.close(s.fd)
			}
		}
	}},
}

var flagRows = slices.Concat(
	flagStreamRows,
	[]row{
		{"flag: every one, sent by a packet socket", func(e *env) { e.trySends(e.flaggedPacket()) }},
		{"flag: every one, received by a packet socket", func(e *env) { e.tryReceives(e.flaggedPacket()) }},
	},
	bothFamilies("flag: every one, sent by UDP", func(e *env, f ipFamily) {
		e.trySends(func() flagged { return e.flaggedDatagrams(f, true) })
		e.trySends(func() flagged { return e.flaggedDatagrams(f, false) })
		e.trySends(func() flagged { return flagged{fd: e.me.open(f.domain, unix.SOCK_DGRAM, 0), text: "to nobody"} })
	}),
	bothFamilies("flag: every one, received by UDP", func(e *env, f ipFamily) {
		e.tryReceives(func() flagged { return e.flaggedDatagrams(f, true) })
	}),
	bothFamilies("flag: every one, sent by a raw socket", func(e *env, f ipFamily) {
		e.trySends(func() flagged { return e.flaggedRaw(f) })
	}),
	bothFamilies("flag: every one, received by a raw socket", func(e *env, f ipFamily) {
		e.tryReceives(func() flagged { return e.flaggedRaw(f) })
	}),
	bothFamilies("flag: every one, sent by a ping socket", func(e *env, f ipFamily) {
		ident := e.freePort()
		e.trySends(func() flagged { return e.flaggedPing(f, ident) })
	}),
	bothFamilies("flag: every one, received by a ping socket", func(e *env, f ipFamily) {
		ident := e.freePort()
		e.tryReceives(func() flagged { return e.flaggedPing(f, ident) })
	}),
)
