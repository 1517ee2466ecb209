package socketapi

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// syn is what headers say that TCP_SAVED_SYN has told, but for what no two SYNs share.
func syn(b []byte) string {
	ip, ok := wire.ParseIPv4(b)
	link := 0
	if !ok && len(b) > wire.EthernetLen {
		link = wire.EthernetLen
		ip, ok = wire.ParseIPv4(b[link:])
	}
	segment := wire.TCP(nil)
	var said strings.Builder
	switch six, ok6 := wire.ParseIPv6(b); {
	case ok:
		fmt.Fprintf(&said, "link %d, IPv4 %v -> %v of %d bytes, ", link, ip.Src(), ip.Dst(), len(ip))
		segment = wire.TCP(ip.Payload())
	case ok6:
		fmt.Fprintf(&said, "IPv6 %v -> %v, ", six.Src(), six.Dst())
		segment = wire.TCP(six[wire.IPv6Len:])
	default:
		return fmt.Sprintf("%x", b)
	}
	o, ok := wire.ParseTCPOptions(segment.Options())
	fmt.Fprintf(&said, "%v, MSS %d, scale %d, SACK %v, timestamps %v, %v, %d bytes in all", segment.Flags(), o.MSS, o.WScale, o.SACKPermitted, o.TS, ok, len(b))
	return said.String()
}

// savedSYN notes TCP_SAVED_SYN, for which there are room bytes.
func (e *env) savedSYN(what string, fd, room int) {
	e.t.Helper()
	p := make([]byte, room)
	n, err := e.me.api.(interface {
		Getsockopt(fd, level, opt int, p []byte) (int, error)
	}).Getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, p)
	if err != nil || n == 0 {
		e.note(what, n, err)
		return
	}
	e.note(what, syn(p[:n]))
}

var tcpSYNRows = []row{
	{"tcp option: TCP_SAVE_SYN", func(e *env) {
		l, at := e.me.listener()
		e.tries(l, unix.TCP_SAVE_SYN, -1, 3, 0, 2, 1)
		e.note("TCP_SAVED_SYN cannot be set", e.me.api.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, 1))
		e.savedSYN("of a listener", l, 100)
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		mine := e.me.accept(l)
		e.note2(e.me.api.GetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN))
		e.savedSYN("too little room", mine, 59)
		e.savedSYN("from IP on", mine, 60)
		e.savedSYN("told once", mine, 100)
		e.savedSYN("of one that connects", e.me.tcp(), 100)
	}},
	{"tcp option: TCP_SAVE_SYN from the link's header on, and of who came before", func(e *env) {
		l, at := e.me.listener()
		before := e.peer.tcp()
		e.must(e.peer.api.Connect(before, at))
		e.me.set(l, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 2)
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		e.savedSYN("before", e.me.accept(l), 100)
		e.savedSYN("since", e.me.accept(l), 100)
	}},
	{"tcp option: TCP_INQ", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.tries(mine, unix.TCP_INQ, -1, 2, 1)
		e.sends("the peer sends", &e.peer, theirs, "abcdefghij", 0)
		e.arrived(&e.me, mine, 10)
		e.message("a part", &e.me, mine, 3, 64, 0)
		e.message("a look", &e.me, mine, 4, 64, unix.MSG_PEEK)
		e.message("without room", &e.me, mine, 1, 0, 0)
		e.message("the rest", &e.me, mine, 100, 64, 0)
		e.sends("the peer sends", &e.peer, theirs, "xy", 0)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		e.message("before the end", &e.me, mine, 1, 64, 0)
		e.message("the last", &e.me, mine, 100, 64, 0)
		e.message("the end", &e.me, mine, 100, 64, 0)
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_INQ, 0)
		e.message("not asked for", &e.me, mine, 100, 64, 0)
	}},
	{"tcp option: TCP_INFO's bit fields", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		p := make([]byte, unix.SizeofTCPInfo)
		n, err := e.me.api.(interface {
			Getsockopt(fd, level, opt int, p []byte) (int, error)
		}).Getsockopt(mine, unix.IPPROTO_TCP, unix.TCP_INFO, p)
		e.note("the first bytes", n > 200, err, fmt.Sprintf("%x", p[:6]))
		scale := p[infoBitsAt]
		e.note("the scales are there", scale&15 > 0, scale>>4 > 0)
		e.note("the MSS is where it belongs", p[16:20])
	}},
}
