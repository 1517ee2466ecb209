package tcp

import (
	"testing"
	"time"
)

// fastTry connects with a cookie and ten bytes, and returns whether they went out with the SYN.
func (s *script) fastTry() bool {
	s.t.Helper()
	s.lport++
	c, n, errno := s.h.tcp.ConnectData(s.h.at(s.lport), s.remoteAt(), Options{FastOpenNoCookie: true}, make([]byte, 10), s.now)
	if errno != 0 {
		s.t.Fatal(errno)
	}
	s.c = s.h.own(c)
	return n > 0
}

// tcp_fastopen_blackhole_timeout_sec: a third timeout in a row has nobody send data with a SYN for a time, a second
// such has it last twice as long, and a connection that tried after it and ended well makes an end of it.
func TestFastOpenPausesAtABlackHole(t *testing.T) {
	s := newScript(t, Params{FastOpenPause: 100 * time.Second})
	swallowed := func(pause time.Duration) {
		t.Helper()
		if !s.fastTry() {
			t.Fatal("no data goes out with the SYN")
		}
		for i := 0; !s.h.tcp.fastPaused(s.now); i++ {
			if i > 3 {
				t.Fatal("no pause")
			}
			if s.pull() == nil {
				t.Fatal("no SYN")
			}
			s.timeout(time.Second)
		}
		s.drain()
		began := s.now
		s.c.Abort(s.now)
		s.drain()
		if s.fastTry() {
			t.Fatal("data goes out with the SYN in the pause")
		}
		s.out("S 0:0(0) <mss 1460,sackOK,TS _ 0,wscale 10>")
		s.c.Abort(s.now)
		s.now = began.Add(pause - time.Second)
		s.h.advance(s.now)
		s.drain()
		if !s.h.tcp.fastPaused(s.now) {
			t.Fatalf("the pause is shorter than %v", pause)
		}
		s.now = began.Add(pause + time.Second)
		s.h.advance(s.now)
		s.drain()
	}
	swallowed(100 * time.Second)
	swallowed(200 * time.Second)
	if !s.fastTry() {
		t.Fatal("no data goes out with the SYN after the pause")
	}
	s.pull()
	s.iss = s.c.snd.iss.Uint32()
	s.in("S. 0:0(0) ack 11 win 5000 <mss 1000>")
	s.out(". 11:11(0) ack 1")
	if i := s.c.Info(s.now); !i.SynData || i.FastFail != 0 {
		t.Errorf("SynData %v, FastFail %d", i.SynData, i.FastFail)
	}
	s.in("R. 1:1(0) ack 11 win 5000")
	swallowed(100 * time.Second)
	if n := s.h.tcp.Stats().FastOpenBlackHoles; n != 3 {
		t.Errorf("%d black holes", n)
	}
}

// A peer's FIN that comes alone, without what was before it, is a sign of one too.
func TestFastOpenPausesAtALoneFIN(t *testing.T) {
	s := newScript(t, Params{FastOpenPause: 100 * time.Second})
	s.fastTry()
	s.pull()
	s.iss = s.c.snd.iss.Uint32()
	s.in("S. 0:0(0) ack 11 win 5000 <mss 1000>")
	s.out(". 11:11(0) ack 1")
	s.in("F. 101:101(0) ack 11 win 5000")
	s.out(". 11:11(0) ack 1")
	if s.h.tcp.fastPaused(s.now) {
		t.Error("paused while the rest may come")
	}
	s.c.Abort(s.now)
	s.out("R. 11:11(0) ack 1")
	if !s.h.tcp.fastPaused(s.now) {
		t.Error("not paused")
	}
}

// tcpi_fastopen_client_fail says why the data of a SYN did not arrive with it.
func TestFastOpenFailureIsTold(t *testing.T) {
	for _, c := range []struct {
		name  string
		again bool
		ack   int
		want  int
	}{{"taken", false, 11, 0}, {"not acknowledged", false, 1, 2}, {"sent again without", true, 1, 3}} {
		s := newScript(t, Params{})
		s.fastTry()
		s.pull()
		s.iss = s.c.snd.iss.Uint32()
		if c.again {
			s.timeout(time.Second)
			s.out("S 0:0(0)")
		}
		s.in(sprintf("S. 0:0(0) ack %d win 5000 <mss 1000>", c.ack))
		if got := s.c.Info(s.now).FastFail; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		s.drain()
		s.c.Abort(s.now)
		s.drain()
	}
	s := newScript(t, Params{})
	s.lport++
	c, _, _ := s.h.tcp.ConnectData(s.h.at(s.lport), s.remoteAt(), Options{}, make([]byte, 10), s.now)
	s.c = s.h.own(c)
	s.pull()
	if got := s.c.Info(s.now).FastFail; got != 1 {
		t.Errorf("without a cookie: %d, want 1", got)
	}
}
