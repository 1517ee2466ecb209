package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// flooded is a listener whose half-open connections are as many as may be.
func (s *script) flooded() *script {
	s.t.Helper()
	s.listen(5)
	for range 6 { // one more than the backlog
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.pull()
		s.rport++
	}
	if n := s.h.tcp.Count(SynReceived); n != 6 {
		s.t.Fatal(n, "half-open connections")
	}
	return s
}

// RFC 4987 §3.6: beyond the SYN queue nothing is kept of a SYN, and what it said comes back by the
// acknowledgement: MSS by the number, window scale and SACK by the timestamp.
func TestSYNCookie(t *testing.T) {
	s := newScript(t, Params{}).flooded()
	s.in("S 0:0(0) win 5000 <mss 1400,sackOK,TS 5000 0,wscale 5>")
	s.out("S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS _ 5000,wscale 10>")
	if n := s.h.tcp.Len(); n != 6 {
		t.Fatalf("%d connections: the SYN was kept", n)
	}
	s.after(300 * time.Millisecond)
	for s.pull() != nil {
	}
	s.tsval = 5300
	s.in(". 1:1(0) ack 1 win 1000 <TS _ _>")
	c := s.accept()
	s.state(Established)
	if !c.sackOK || !c.tsOK || c.snd.scale != 5 || c.snd.wnd != 32000 || c.MSS() != 1388 {
		t.Errorf("SACK %v, timestamps %v, scale %d, window %d, MSS %d", c.sackOK, c.tsOK, c.snd.scale, c.snd.wnd, c.MSS())
	}
	if c.rtt.smooth != 0 || c.rto() != rtoFallback || c.retrans != 0 {
		t.Errorf("RTT %v: nobody has timed it", c.rtt.smooth)
	}
	s.write(1000)
	s.out("P. 1:1001(1000) ack 1")
	s.after(ms)
	s.in("P. 1:101(100) ack 1001 win 1000 <TS _ _>")
	if got := c.rtt.smooth; got < ms || got > 2*ms {
		t.Errorf("RTT %v, want 1 ms", got)
	}
	s.out(". 1001:1001(0) ack 101")
	s.read(100)
	if got := s.h.tcp.Stats(); got.CookiesSent != 1 || got.CookiesReceived != 1 || got.CookiesFailed != 0 {
		t.Errorf("%+v", got)
	}
}

// Without timestamps a cookie has room for the MSS alone. Data may come with the acknowledgement.
func TestSYNCookieWithoutTimestamps(t *testing.T) {
	s := newScript(t, Params{}).flooded()
	s.in("S 0:0(0) win 5000 <mss 1000,sackOK,wscale 5>")
	s.out("S. 0:0(0) ack 1 <mss 1460>")
	s.in("P. 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 11")
	c := s.accept()
	s.read(10)
	if c.sackOK || c.snd.scale != 0 || c.MSS() != 940 {
		t.Errorf("SACK %v, scale %d, MSS %d", c.sackOK, c.snd.scale, c.MSS())
	}
}

// An acknowledgement that is no cookie, of another's SYN, or of a cookie that is too old, draws a reset as ever; and no
// cookie is looked for where none was sent.
func TestSYNCookieForged(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	s.drops(". 1:1(0) ack 1 win 5000", drop.TCPNoConnection)
	s.out("R 1:1(0)")
	if s.h.tcp.Stats().CookiesFailed != 0 {
		t.Error("a cookie was looked for")
	}
	s.l.Close(s.now)
	s.flooded()
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.drops(". 1:1(0) ack 101 win 5000", drop.TCPSYNCookieBad)
	s.out("R 101:101(0)")
	s.drops(". 2:2(0) ack 1 win 5000", drop.TCPSYNCookieBad) // another SYN of the peer's
	s.out("R 1:1(0)")
	s.rport++
	s.drops(". 1:1(0) ack 1 win 5000", drop.TCPSYNCookieBad) // another connection's
	s.out("R 1:1(0)")
	s.rport--
	if n := s.h.tcp.Stats().CookiesFailed; n != 3 {
		t.Errorf("%d failed, want 3", n)
	}
	k := keyOf(s.h.addr, s.lport, s.remote, s.rport)
	irs := wire.SeqOf(s.irs)
	for minutes, want := range []drop.Reason{drop.None, drop.None, drop.TCPSYNCookieStale, drop.TCPSYNCookieStale} {
		if _, bad := s.h.tcp.cookieTold(&k, irs, wire.SeqOf(s.iss), s.now.Add(time.Duration(minutes)*time.Minute)); bad != want {
			t.Errorf("after %d minutes: %v, want %v", minutes, bad, want)
		}
	}
}

// A cookie tells the largest MSS that the peer takes, for each that it can have.
func TestSYNCookieMSS(t *testing.T) {
	s := newScript(t, Params{})
	k := keyOf(s.h.addr, 80, s.remote, 5000)
	for told := uint16(mssMin); told < 10000; told += 7 {
		cookie := s.h.tcp.cookie(&k, wire.SeqOf(77), told, s.now)
		got, bad := s.h.tcp.cookieTold(&k, wire.SeqOf(77), cookie, s.now)
		if bad != drop.None || got > told || int(told)-int(got) > 5000 {
			t.Fatalf("a cookie for %d tells %d, %v", told, got, bad)
		}
	}
}

// With cookies a flood does not stop a new connection: the queue is full all the time, and each
// handshake ends.
func TestConnectDuringFlood(t *testing.T) {
	w := newWorld(t, 3, Params{})
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 16})
	buf := make([]byte, 64)
	flood := func() {
		for i := range 64 {
			f := wire.TCPFields{SrcPort: uint16(20000 + i), DstPort: 80, Flags: wire.SYN, Seq: wire.SeqOf(w.rng.Uint32()), Window: 1000}
			n := wire.PutTCP(buf, &f)
			w.b.tcp.Input(w.b.addr, w.a.addr, buf[:n], wire.NotECT, w.now)
		}
	}
	w.drop = func(h *host, seg wire.TCP) bool { return h == w.b && seg.DstPort() >= 20000 && seg.DstPort() < 20064 } // to nobody
	flood()
	for i := range 20 {
		flood()
		ca, cb := w.connectTo(l, uint16(1000+i), Options{})
		f := &flow{w: w, src: ca, dst: cb, size: 10000, close: true, chunk: 1000, readEach: 1000}
		w.work = f.pump
		w.until(10*time.Second, func() bool { return f.ended })
		w.work = nil
	}
	if got := w.b.tcp.Stats(); got.CookiesReceived != 20 {
		t.Errorf("%d connections by cookies, want all 20", got.CookiesReceived)
	}
}

// A flood of SYNs does not stop a connection that there is.
func TestEstablishedDuringFlood(t *testing.T) {
	w := newWorld(t, 4, Params{})
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 16})
	ca, cb := w.connectTo(l, 4000, Options{})
	w.drop = func(h *host, seg wire.TCP) bool { return h == w.b && seg.DstPort() >= 20000 } // to nobody
	up := &flow{w: w, src: ca, dst: cb, size: 1 << 20, close: true, chunk: 10000, readEach: 10000}
	down := &flow{w: w, src: cb, dst: ca, size: 1 << 20, close: true, chunk: 10000, readEach: 10000}
	buf, port, last := make([]byte, 64), uint16(0), w.now
	w.work = func() {
		up.pump()
		down.pump()
		if w.now == last { // a SYN at each moment
			return
		}
		last = w.now
		port++
		f := wire.TCPFields{SrcPort: 20000 + port%40000, DstPort: 80, Flags: wire.SYN, Seq: wire.SeqOf(w.rng.Uint32()), Window: 1000}
		n := wire.PutTCP(buf, &f)
		w.b.tcp.Input(w.b.addr, w.a.addr, buf[:n], wire.NotECT, w.now)
	}
	w.until(10*time.Minute, func() bool { return up.ended && down.ended })
	if up.read != up.size || down.read != down.size {
		t.Errorf("%d and %d bytes arrived", up.read, down.read)
	}
	if st := w.b.tcp.Stats(); st.CookiesSent == 0 || st.Retransmits+w.a.tcp.Stats().Retransmits > 0 {
		t.Errorf("%d cookies, %d and %d segments sent again", st.CookiesSent, st.Retransmits, w.a.tcp.Stats().Retransmits)
	}
}
