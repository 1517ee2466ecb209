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
	n, err := e.me.api.Getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, p)
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
	{"tcp option: TCP_INFO of both sides of a transfer", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		const up, down = 60_000, 30_000
		e.must(e.me.api.Sendto(mine, make([]byte, up), 0, nil))
		e.reads("", &e.peer, theirs, up, unix.MSG_WAITALL)
		e.must(e.peer.api.Sendto(theirs, make([]byte, down), 0, nil))
		e.reads("", &e.me, mine, down, unix.MSG_WAITALL)
		e.notes = nil
		info := func(s *side, fd int) *unix.TCPInfo {
			i, err := s.api.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			e.must(err)
			return i
		}
		e.until("the acknowledgements", func() bool { return info(&e.me, mine).Unacked+info(&e.peer, theirs).Unacked == 0 })
		i, j := info(&e.me, mine), info(&e.peer, theirs)
		e.note("what one sent is what the other received", i.Bytes_sent-i.Bytes_retrans == j.Bytes_received, j.Bytes_sent-j.Bytes_retrans == i.Bytes_received, i.Bytes_received, j.Bytes_received)
		e.note("acknowledged, but for a SYN", i.Bytes_acked-up <= 1, j.Bytes_acked-down <= 1)
		e.note("no more segments came than were sent", i.Data_segs_out >= j.Data_segs_in, j.Data_segs_out >= i.Data_segs_in, i.Segs_out >= j.Segs_in, j.Segs_out >= i.Segs_in)
		e.note("all were delivered", i.Delivered+i.Total_retrans >= i.Data_segs_out, i.Delivered <= i.Data_segs_out+1)
		e.note("segments", i.Snd_mss, j.Rcv_mss, i.Rcv_mss, j.Snd_mss, i.Advmss, j.Advmss, i.Pmtu, j.Pmtu)
		e.note("agreed on", i.State, j.State, i.Options, j.Options)
		e.note("round trips", i.Rtt > 0, i.Rto >= 200_000, i.Min_rtt > 0, i.Min_rtt <= i.Rtt+4*i.Rttvar)
		e.note("nothing is on its way", i.Sacked, i.Lost, i.Retrans, i.Notsent_bytes, i.Probes, i.Backoff, i.Retransmits)
		e.note("windows", i.Snd_wnd > 0, i.Rcv_wnd > 0, i.Snd_cwnd >= 10, i.Rcv_space > 0)
		e.note("the time that was spent on it", i.Busy_time >= i.Rwnd_limited+i.Sndbuf_limited)
	}},
	{"tcp option: TCP_INFO's bit fields", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		p := make([]byte, unix.SizeofTCPInfo)
		n, err := e.me.api.Getsockopt(mine, unix.IPPROTO_TCP, unix.TCP_INFO, p)
		e.note("the first bytes", n > 200, err, fmt.Sprintf("%x", p[:6]))
		scale := p[infoBitsAt]
		e.note("the scales are there", scale&15 > 0, scale>>4 > 0)
		e.note("the MSS is where it belongs", p[16:20])
	}},
}
