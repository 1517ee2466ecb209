package tcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestIPv6 is a whole connection over the other family.
func TestIPv6(t *testing.T) {
	w := newWorld(t, 1, Params{})
	w.a.addr, w.b.addr = netip.MustParseAddr("fe80::1%2"), netip.MustParseAddr("fe80::2%2")
	l, _ := w.b.tcp.Listen(netip.MustParseAddrPort("[::]:80"), ListenConfig{Backlog: 1})
	ca, cb := w.connectTo(l, 5000, Options{})
	f := &flow{w: w, src: ca, dst: cb, size: 100000, close: true, chunk: 10000, readEach: 10000}
	w.work = f.pump
	w.until(time.Minute, func() bool { return f.ended })
	if ca.MSS() != 1428 || cb.Remote().Addr() != w.a.addr {
		t.Errorf("MSS %d, remote %v", ca.MSS(), cb.Remote())
	}
	w.work = nil
	ca.Close(w.now)
	cb.Close(w.now)
	w.listenersClosed()
	w.noLeaks()
}

// A listener at an address is asked before one at any, and "::" takes IPv4 where nobody else does.
func TestListenerChoice(t *testing.T) {
	h := newHost(t, "192.0.2.1", 0, 1, Params{})
	listen := func(at string) *Listener {
		l, errno := h.tcp.Listen(netip.MustParseAddrPort(at), ListenConfig{})
		if errno != 0 {
			t.Fatal(errno)
		}
		return l
	}
	choice := func(at string) *Listener {
		a := netip.MustParseAddrPort(at)
		return h.tcp.listening(a.Addr(), a.Port())
	}
	any6 := listen("[::]:80")
	if choice("192.0.2.1:80") != any6 || choice("[2001:db8::1]:80") != any6 || choice("192.0.2.1:81") != nil {
		t.Error("[::] alone")
	}
	any6.cfg.Only6 = true
	if choice("192.0.2.1:80") != nil || choice("[2001:db8::1]:80") != any6 {
		t.Error("[::] for IPv6 alone")
	}
	any6.cfg.Only6 = false
	any4, one := listen("0.0.0.0:80"), listen("192.0.2.1:80")
	if choice("192.0.2.1:80") != one || choice("192.0.2.9:80") != any4 || choice("[2001:db8::1]:80") != any6 {
		t.Error("the nearest is not chosen")
	}
	if _, errno := h.tcp.Listen(one.Local(), ListenConfig{}); errno == 0 {
		t.Error("the same address twice")
	}
	any4.Close(0)
	any4.Close(0)
	if choice("192.0.2.9:80") != any6 {
		t.Error("a closed listener is chosen")
	}
	any6.Close(0)
	one.Close(0)
	if len(h.tcp.listeners) != 0 {
		t.Error("listeners are left")
	}
}

// TestSeveralCores: another core's segments are handed over before anything is answered, and the
// directory hears of every beginning and end.
func TestSeveralCores(t *testing.T) {
	s := newScript(t, Params{})
	directory := map[netip.AddrPort]int{}
	elsewhere := true
	s.h.tcp.cfg.Miss = func(_, remote netip.AddrPort) bool { return elsewhere }
	s.h.tcp.cfg.Claim = func(_, remote netip.AddrPort) bool {
		directory[remote]++
		return directory[remote] == 1
	}
	s.h.tcp.cfg.Disclaim = func(_, remote netip.AddrPort) { directory[remote]-- }
	s.listen(1)
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.None)
	s.drops(". 5:5(0) ack 7 win 5000", drop.None)
	s.none()
	elsewhere = false
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	if directory[s.c.Remote()] != 1 {
		t.Error("claimed", directory)
	}
	remote := s.c.Remote()
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 5000")
	s.out(". 2:2(0) ack 2")
	if directory[remote] != 1 {
		t.Error("disclaimed while in TIME-WAIT")
	}
	s.gone()
	if directory[remote] != 0 {
		t.Error("not disclaimed at the end")
	}
	s.l = nil
	s.listen(1)
	directory[remote] = 1
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.TCPDirectoryFull)
}

// What a peer's queue of answers cannot hold is dropped and counted.
func TestReplyQueueLimit(t *testing.T) {
	s := newScript(t, Params{})
	seg := make([]byte, 20)
	for i := range repliesMax + 10 {
		wire.PutTCP(seg, &wire.TCPFields{SrcPort: uint16(i + 1), DstPort: 9, Flags: wire.SYN})
		s.h.tcp.Input(s.h.addr, s.remote, seg, wire.NotECT, s.now)
	}
	n := 0
	for s.pull() != nil {
		n++
	}
	if n != repliesMax || s.h.drops[drop.OutboxFull] != 10 {
		t.Errorf("%d replies, %d dropped", n, s.h.drops[drop.OutboxFull])
	}
}

func TestMalformed(t *testing.T) {
	s := newScript(t, Params{})
	for _, c := range []struct {
		b    []byte
		want drop.Reason
	}{
		{nil, drop.TCPShort},
		{make([]byte, 19), drop.TCPShort},
		{make([]byte, 20), drop.TCPOffset},
		{append(make([]byte, 12), 0xf0, 0, 0, 0, 0, 0, 0, 0), drop.TCPOffset},
		{append(make([]byte, 12), 0x50, 2, 0, 0, 0, 0, 0, 0), drop.TCPPortZero},
	} {
		if got := s.h.tcp.Input(s.h.addr, s.remote, c.b, wire.NotECT, s.now); got != c.want {
			t.Errorf("%x: %v, want %v", c.b, got, c.want)
		}
	}
	seg := make([]byte, 20)
	wire.PutTCP(seg, &wire.TCPFields{SrcPort: 1, DstPort: 2, Flags: wire.SYN})
	if got := s.h.tcp.Input(s.h.addr, netip.MustParseAddr("224.0.0.1"), seg, wire.NotECT, s.now); got != drop.TCPNotUnicast {
		t.Error("from a group:", got)
	}
}

// A connection that is parked says nothing, keeps its timers, and ends if nothing can be sent (RFC 1122 §4.2.3.9).
func TestParkAndFail(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	if s.h.tcp.Front(0) != s.c {
		t.Fatal("not ready")
	}
	s.h.tcp.Park(s.c)
	s.none()
	s.after(3 * time.Second)
	s.none()
	s.h.tcp.Unpark(s.c)
	s.out("S 0:0(0)")
	s.none()
	s.h.tcp.Fail(s.c, 113, s.now)
	s.state(Closed)
	s.writeFails(113)
}

// CUBIC's curve (RFC 9438 §4.2): back at the old window after K seconds, concave before, convex after.
