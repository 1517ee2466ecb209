package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// RFC 9293 §3.10.7.2 third, RFC 7323 §2.2, §3.2: options are agreed on if both sides have them,
// in Linux's order.
func TestPassiveOpenWithAllOptions(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	s.in("S 0:0(0) win 65535 <mss 1460,sackOK,TS 700 0,wscale 9>")
	s.out("S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS _ 700,wscale 10>")
	if s.l.Pending() != 0 {
		t.Fatal("half-open and in the accept queue")
	}
	s.in(". 1:1(0) ack 1 win 1000 <TS 701 _>")
	s.accept()
	s.state(Established)
	if s.c.snd.wnd != 1000<<9 {
		t.Errorf("window is %d, want %d", s.c.snd.wnd, 1000<<9)
	}
	if s.c.MSS() != 1448 {
		t.Errorf("MSS is %d: timestamps take 12 of 1460", s.c.MSS())
	}
}

func TestPassiveOpenWithoutOptions(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	s.in("S 0:0(0) win 5000 <>")
	s.out("S. 0:0(0) ack 1 win 64240 <mss 1460>")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	want := 536 // MUST-15
	if s.h.addr.Is6() {
		want = 1220
	}
	if s.c.MSS() != want {
		t.Errorf("MSS is %d, want %d where the peer does not say", s.c.MSS(), want)
	}
}

func TestActiveOpen(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	s.out("S 0:0(0) win 64240 <mss 1460,sackOK,TS _ 0,wscale 10>")
	s.state(SynSent)
	s.readFails(unix.EAGAIN)
	s.writeFails(unix.EAGAIN)
	if s.c.Readiness() != 0 {
		t.Error("ready while it is being made:", s.c.Readiness())
	}
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,sackOK,TS 900 _,wscale 2>")
	s.out(". 1:1(0) ack 1 win 128 <TS _ 900>")
	s.state(Established)
	if s.c.Readiness() != ring.Out || !s.c.Connected() {
		t.Error("readiness", s.c.Readiness())
	}
	if s.c.snd.wnd != 5000 {
		t.Errorf("the window of a SYN is never scaled (RFC 7323 §2.2), took %d", s.c.snd.wnd)
	}
}

// RFC 9293 §3.5 figure 8.
func TestSimultaneousOpen(t *testing.T) {
	s := newScript(t, Params{NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	s.connect(Options{})
	s.out("S 0:0(0) win 64240 <mss 1460>")
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.state(SynReceived)
	s.out("S. 0:0(0) ack 1 <mss 1460>")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000>")
	s.state(Established)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.in(". 1:1(0) ack 11 win 5000")
}

// tcp_syn_retries with tcp_syn_linear_timeouts, RFC 6298 §2.1 and §5.5.
func TestSYNIsSentAgainAndThenTimesOut(t *testing.T) {
	s := newScript(t, Params{SynRetries: 3})
	s.connect(Options{})
	s.out("S 0:0(0)")
	for _, wait := range []time.Duration{1, 1, 1, 1, 1, 2, 4} {
		s.after(wait*time.Second + soon)
		s.out("S 0:0(0)")
	}
	s.after(8*time.Second + soon)
	s.state(Closed)
	if ev := s.c.Readiness(); !(ev&ring.Err != 0 && ev&ring.Hup != 0) {
		t.Error("readiness", ev)
	}
	s.writeFails(unix.ETIMEDOUT)
	s.writeFails(unix.EPIPE)
	s.readFails(0)
	s.c.Close(s.now)
	s.gone()
}

// TCP_SYNCNT also limits the time: to that of so many doublings (retransmits_timed_out of Linux).
func TestSYNCNTLimitsTheTime(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{SynCount: 1})
	s.out("S 0:0(0)")
	for range 2 {
		s.after(time.Second + soon)
		s.out("S 0:0(0)")
	}
	s.after(time.Second + soon)
	s.state(Closed)
	s.writeFails(unix.ETIMEDOUT)
	s.c.Close(s.now)
	s.gone()
}

// TCP_USER_TIMEOUT counts while a connection is opened, too.
func TestUserTimeoutOfAConnect(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{UserTimeout: 1500 * time.Millisecond})
	s.out("S 0:0(0)")
	s.after(time.Second + soon)
	s.out("S 0:0(0)")
	s.after(500*time.Millisecond + soon)
	s.state(Closed)
	s.writeFails(unix.ETIMEDOUT)
	s.c.Close(s.now)
	s.gone()
}

func TestSYNACKIsSentAgainAndThenForgotten(t *testing.T) {
	s := newScript(t, Params{SynAckRetries: 2})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.after(time.Second + soon)
	s.out("S. 0:0(0) ack 1")
	s.after(2*time.Second + soon)
	s.out("S. 0:0(0) ack 1")
	s.after(4*time.Second + soon)
	s.gone()
}

// A SYN that comes again asks for the SYN-ACK again.
func TestSYNAgain(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.TCPOldDuplicate)
	s.out("S. 0:0(0) ack 1")
}

// RFC 7323 §3.2, leniently: a handshake's acknowledgement without the timestamps that were agreed on.
func TestHandshakeACKWithoutTimestamps(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000,TS 5000 0>")
	s.out("S. 0:0(0) ack 1 <mss 1460,TS _ 5000>")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.state(Established)
	s.drops("P. 1:11(10) ack 1 win 5000", drop.TCPTimestampMissing) // but afterwards they are missed
	s.in("P. 1:11(10) ack 1 win 5000 <TS 5001 _>")
	s.out(". 1:1(0) ack 11 <TS _ 5001>")
}

// §3.10.7.3 first: an acknowledgement of what was never sent draws a reset.
func TestBadACKInSynSent(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	s.out("S 0:0(0)")
	s.drops("S. 0:0(0) ack 2 win 5000", drop.TCPACKUnacceptable)
	s.out("R 2:2(0)")
	s.after(synAgain + soon) // the old connection that the peer has is over now
	s.out("S 0:0(0)")
	s.drops(". 0:0(0) ack 0 win 5000", drop.TCPACKUnacceptable)
	s.out("R 0:0(0)")
	s.after(synAgain + soon) // once is enough
	s.drops("R. 0:0(0) ack 2 win 0", drop.TCPACKUnacceptable)
	s.state(SynSent)
	s.drops("R 0:0(0) win 0", drop.TCPResetOutOfWindow)
	s.state(SynSent)
	s.in("R. 0:0(0) ack 1 win 0")
	s.state(Closed)
	s.readFails(unix.ECONNREFUSED)
	s.c.Close(s.now)
	s.gone()
}

// §3.10.7.4 fifth in SYN-RECEIVED.
func TestBadACKInSynReceived(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.drops(". 1:1(0) ack 2 win 5000", drop.TCPACKUnacceptable)
	s.out("R 2:2(0)")
	s.drops(". 1:1(0) ack 0 win 5000", drop.TCPACKUnacceptable)
	s.out("R 0:0(0)")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
}

// §3.10.7.4 second in SYN-RECEIVED: back to LISTEN, without a word to the program.
func TestResetInSynReceived(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in("R 1:1(0) win 0")
	if s.l.Accept() != nil || s.l.half.n != 0 {
		t.Error("a reset handshake is still known")
	}
	s.gone()
}

// A zombie in SYN-RECEIVED: the peer is reset when nobody takes what was accepted.
func TestListenerClosesWithHalfOpenAndWaiting(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.rport++
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.l.Close(s.now)
	s.out("R. 1:1(0) ack 1")
	s.rport--
	if h := s.pull(); h == nil || h.DstPort() != 5000 || h.Flags().String() != "RST|ACK" {
		t.Error("the waiting connection was not reset")
	}
	s.gone()
}

// listen(2): when the accept queue is full, a SYN is dropped and so is the end of a handshake.
func TestBacklog(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(0) // one, as on Linux
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	first := s.iss
	s.rport++
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	second := s.iss
	s.rport--
	s.iss = first
	s.in(". 1:1(0) ack 1 win 5000")
	s.rport++
	s.iss = second
	s.drops(". 1:1(0) ack 1 win 5000", drop.TCPBacklogFull)
	s.rport++
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.TCPBacklogFull)
	s.rport--
	s.accept()
	s.in("P. 1:11(10) ack 1 win 5000") // the peer thinks it is connected and sends
	s.out(". 1:1(0) ack 11")
	s.accept()
	s.read(10)
	if s.h.tcp.Stats().ListenOverflows != 2 {
		t.Error("overflows:", s.h.tcp.Stats().ListenOverflows)
	}
}

// As many handshakes are under way as the backlog says, and one more (counted on Linux 6.18 by its first cookie).
// tcp_max_syn_backlog says less only without cookies.
func TestSYNQueueLimit(t *testing.T) {
	for _, c := range []struct {
		p       Params
		backlog int
		want    int
	}{
		{Params{NoSynCookies: true}, 0, 1},
		{Params{NoSynCookies: true}, 5, 6},
		{Params{NoSynCookies: true, MaxSynBacklog: 3}, 5, 3},
		{Params{}, 0, 1},
		{Params{MaxSynBacklog: 3}, 16, 17},
	} {
		s := newScript(t, c.p)
		s.listen(c.backlog)
		for range c.want {
			s.in("S 0:0(0) win 5000 <mss 1000>")
			s.out("S. 0:0(0) ack 1")
			s.rport++
		}
		if n := s.h.tcp.Count(SynReceived); n != c.want || s.h.tcp.Stats().CookiesSent != 0 {
			t.Errorf("backlog %d: %d half-open, %d cookies", c.backlog, n, s.h.tcp.Stats().CookiesSent)
		}
		if c.p.NoSynCookies {
			s.drops("S 0:0(0) win 5000 <mss 1000>", drop.TCPSYNQueueFull)
			continue
		}
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		if n := s.h.tcp.Stats().CookiesSent; n != 1 {
			t.Errorf("backlog %d: %d cookies for one SYN more", c.backlog, n)
		}
	}
}

// §3.10.7.1: what belongs to nothing draws a reset, but no reset does.
func TestNoConnection(t *testing.T) {
	s := newScript(t, Params{})
	s.drops("S 7:7(0) win 5000", drop.TCPNoListener)
	s.out("R. 0:0(0) ack 8")
	s.drops("F 7:17(10) win 5000", drop.TCPNoConnection)
	s.out("R. 0:0(0) ack 18")
	s.drops(". 7:7(0) ack 33 win 5000", drop.TCPNoConnection)
	s.out("R 33:33(0)")
	s.drops("R 7:7(0) win 0", drop.TCPNoConnection)
	s.drops("R. 7:7(0) ack 3 win 0", drop.TCPNoConnection)
	s.listen(1)
	s.drops("R 7:7(0) win 0", drop.TCPNoConnection) // §3.10.7.2 first
	s.drops("S. 7:7(0) ack 3 win 0", drop.TCPNoConnection)
	s.out("R 3:3(0)")
	s.drops("P 7:8(1) win 0", drop.TCPFlagsBad)
	s.drops("SF 7:7(0) win 0", drop.TCPFlagsBad)
}

// RFC 6528: numbers of the same pair grow with time, those of other pairs tell nothing.
func TestInitialSequenceNumbers(t *testing.T) {
	s := newScript(t, Params{})
	k := keyOf(s.h.addr, 1, s.remote, 2)
	k2 := keyOf(s.h.addr, 1, s.remote, 3)
	a, b := s.h.tcp.isn(&k, s.now), s.h.tcp.isn(&k, s.now.Add(time.Second))
	if d := b.Sub(a); d < 240000 || d > 250000 {
		t.Errorf("a second moves the number by %d, want 244140 (4.096 µs)", d)
	}
	if s.h.tcp.isn(&k2, s.now) == a {
		t.Error("another port has the same number")
	}
}

func TestConnectErrors(t *testing.T) {
	s := newScript(t, Params{MaxConns: 1})
	s.connect(Options{})
	s.out("S 0:0(0)")
	if _, errno := s.h.tcp.Connect(s.c.Local(), s.c.Remote(), Options{}, s.now); errno != unix.EADDRNOTAVAIL {
		t.Error("the same pair again:", errno)
	}
	if _, errno := s.h.tcp.Connect(s.h.at(99), s.c.Remote(), Options{}, s.now); errno != unix.ENOBUFS {
		t.Error("beyond MaxConns:", errno)
	}
	if _, errno := s.h.tcp.Connect(s.h.at(0), s.c.Remote(), Options{}, s.now); errno != unix.EINVAL {
		t.Error("port 0:", errno)
	}
	if _, errno := s.h.tcp.Listen(s.h.at(0), ListenConfig{}); errno != unix.EINVAL {
		t.Error("listen at port 0:", errno)
	}
}

// TCP_DEFER_ACCEPT: an acknowledgement without data makes no connection, data does; and when the time is over a last
// SYN-ACK asks for either.
func TestDeferAccept(t *testing.T) {
	deferred := func() *script {
		s := newScript(t, Params{})
		s.listen(1)
		s.l.SetOptions(Options{DeferAccept: 3})
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		s.drops(". 1:1(0) ack 1 win 5000", drop.TCPDeferred)
		s.none()
		if s.l.Pending() != 0 {
			t.Fatal("it waits for accept")
		}
		return s
	}
	s := deferred()
	s.after(2 * time.Second) // the SYN-ACK is not sent again meanwhile
	s.in("P. 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 11")
	s.accept()
	s.read(10)

	s = deferred()
	s.timeout((1 + 2 + 4) * time.Second)
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.state(Established)

	s = deferred()
	for range 200 {
		s.now = s.now.Add(time.Second)
		s.h.advance(s.now)
		for s.pull() != nil {
		}
	}
	s.gone()

	s = newScript(t, Params{}) // a cookie remembers nothing of it, as on Linux
	s.listen(0)
	s.l.SetOptions(Options{DeferAccept: 3})
	s.rport = 4999
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.rport = 5000
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
}
