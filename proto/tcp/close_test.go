package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// RFC 9293 §3.6 case 1, figure 12: we close first.
func TestActiveClose(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Shutdown(unix.SHUT_WR, s.now)
	s.state(FinWait1)
	s.out("F. 1:1(0) ack 1")
	s.writeFails(unix.EPIPE)
	s.in(". 1:1(0) ack 2 win 60000")
	s.state(FinWait2)
	s.in("P. 1:11(10) ack 2 win 60000") // half-closed: the peer goes on
	s.out(". 2:2(0) ack 11")
	s.in("F. 11:11(0) ack 2 win 60000")
	s.timeWait(1)
	s.out(". 2:2(0) ack 12")
	if ev := s.c.Readiness(); ev&ring.Hup == 0 {
		t.Error("readiness", ev)
	}
	s.read(10)
	s.readFails(0)
	s.c.Close(s.now)
	s.gone()
}

// §3.6 case 2: the peer closes first; what it is told still arrives.
func TestPassiveClose(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("F. 1:1(0) ack 1 win 60000")
	s.out(". 1:1(0) ack 2")
	s.state(CloseWait)
	s.readFails(0)
	if ev := s.c.Readiness(); ev != ring.In|ring.Out {
		t.Error("readiness", ev)
	}
	s.write(10)
	s.out("P. 1:11(10) ack 2")
	s.c.Close(s.now)
	s.out("F. 11:11(0) ack 2")
	s.state(LastAck)
	s.in(". 2:2(0) ack 11 win 60000") // the data but not the FIN
	s.state(LastAck)
	s.in(". 2:2(0) ack 12 win 60000")
	s.gone()
}

// §3.6 case 3, figure 13.
func TestSimultaneousClose(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 1 win 60000")
	s.state(Closing)
	s.out(". 2:2(0) ack 2")
	s.in(". 2:2(0) ack 2 win 60000")
	s.timeWait(1)
	s.gone()
}

// FIN-WAIT-1 straight to TIME-WAIT: the peer's FIN acknowledges ours.
func TestFINACKsOurFIN(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	s.timeWait(1)
	s.gone()
}

// What was written before close goes out before the FIN, which rides on the last of it.
func TestCloseSendsWhatWasWritten(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(1500)
	s.c.Close(s.now)
	s.out(". 1:1001(1000) ack 1")
	s.out("FP. 1001:1501(500) ack 1")
	s.after(s.c.rto() + soon)
	s.out(". 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out("FP. 1001:1501(500) ack 1")
	s.in("F. 1:1(0) ack 1502 win 60000")
	s.out(". 1502:1502(0) ack 2")
	s.gone()
}

// A FIN that is lost is sent again, whoever has closed (a FIN was once lost in a race with close).
func TestFINIsSentAgain(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("F. 1:1(0) ack 1 win 60000")
	s.out(". 1:1(0) ack 2")
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 2")
	s.after(s.c.rto() + soon)
	s.out("F. 1:1(0) ack 2")
	s.in(". 2:2(0) ack 2 win 60000")
	s.gone()
}

// A FIN waits for a closed window, and is asked for.
func TestFINBehindZeroWindow(t *testing.T) {
	s := newScript(t, Params{}).established(1000)
	s.write(1000)
	s.out("P. 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 0")
	s.c.Close(s.now)
	s.timeout(s.c.rto())
	s.out(". 1000:1000(0) ack 1")
	s.in(". 1:1(0) ack 1001 win 1000")
	s.out("F. 1001:1001(0) ack 1")
	s.in("F. 1:1(0) ack 1002 win 0")
	s.out(". 1002:1002(0) ack 2")
	s.gone()
}

// RFC 2525 §2.17: data that nobody read is told by a reset.
func TestCloseWithUnreadData(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("P. 1:11(10) ack 1 win 60000")
	s.out(". 1:1(0) ack 11")
	s.c.Close(s.now)
	s.out("R. 1:1(0) ack 11")
	s.gone()
}

// And so is data that comes after the close.
func TestDataAfterClose(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in(". 1:1(0) ack 2 win 60000")
	s.drops("P. 1:11(10) ack 2 win 60000", drop.TCPAfterClose)
	s.out("R 2:2(0)")
	s.gone()
}

// §3.10.5: ABORT.
func TestAbort(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.c.Abort(s.now)
	s.out("R. 11:11(0) ack 1")
	s.gone()
}

// RFC 9293 §3.10.5: where both FINs have gone out there is nothing to reset (Linux: tcp_need_reset); where ours has not, there is.
func TestRFC9293_3_10_5_AbortAfterTheFINs(t *testing.T) {
	for _, c := range []struct {
		name  string
		state State
		sent  bool
		want  string
	}{
		{"LAST-ACK", LastAck, true, ""},
		{"CLOSING", Closing, true, ""},
		{"LAST-ACK, the FIN waits for the window", LastAck, false, "R. 1:1(0) ack 2"},
		{"CLOSE-WAIT", CloseWait, false, "R. 1:1(0) ack 2"},
		{"FIN-WAIT-1", FinWait1, true, "R. 2:2(0) ack 1"},
		{"FIN-WAIT-2", FinWait2, true, "R. 2:2(0) ack 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(5000)
			if c.state == CloseWait || c.state == LastAck {
				wnd := 5000
				if !c.sent {
					wnd = 0
				}
				s.in(sprintf("F. 1:1(0) ack 1 win %d", wnd))
				s.out(". 1:1(0) ack 2")
			}
			if c.state != CloseWait {
				if !c.sent {
					s.write(10)
				}
				s.c.Shutdown(unix.SHUT_WR, s.now)
			}
			if c.sent {
				s.pull()
			}
			switch c.state {
			case Closing:
				s.in("F. 1:1(0) ack 1 win 5000")
				s.out(". 2:2(0) ack 2")
			case FinWait2:
				s.in(". 1:1(0) ack 2 win 5000")
			}
			s.state(c.state)
			s.c.Abort(s.now)
			if c.want != "" {
				s.out(c.want)
			}
			s.none()
			s.state(Closed)
		})
	}
}

// TCP_LINGER2 below 0: once the program has left nobody waits for the peer's FIN, and the peer is told.
func TestFinWait2IsNotWaitedIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		before bool // the FIN is acknowledged before the close
		want   string
	}{{"the close comes last", true, "R. 2:2(0) ack 1"}, {"the acknowledgement comes last", false, "R 2:2(0)"}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(5000)
			s.c.SetOptions(Options{Linger2: -1}, s.now)
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			if !c.before {
				s.c.Close(s.now)
			}
			s.in(". 1:1(0) ack 2 win 5000")
			if c.before {
				s.state(FinWait2)
				s.c.Close(s.now)
			}
			s.out(c.want)
			s.state(Closed)
		})
	}
}

func TestAbortInSynSent(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	s.out("S 0:0(0)")
	s.c.Abort(s.now)
	s.gone()
}

// tcp_fin_timeout: a peer that never closes its side does not hold a connection that nobody has.
func TestFinWait2Timeout(t *testing.T) {
	s := newScript(t, Params{FinTimeout: 5 * time.Second}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in(". 1:1(0) ack 2 win 60000")
	s.state(FinWait2)
	s.after(5*time.Second + soon)
	s.state(Closed)
	s.gone()
}

// As on Linux it is kept for two losses of the FIN at least, and one that is to last for longer than TIME-WAIT lasts for twice as much as
// it would be longer (tcp_fin_time, tcp_keepalive_timer).
func TestFinWait2Lasts(t *testing.T) {
	for _, c := range []struct{ timeout, rto, want time.Duration }{
		{5 * time.Second, 0, 5 * time.Second},
		{time.Second, time.Second, 3500 * time.Millisecond},
		{5 * time.Second, 3 * time.Second, 10500 * time.Millisecond},
		{timeWait, 0, timeWait},
		{61 * time.Second, time.Second, 4500 * time.Millisecond},
		{100 * time.Second, 0, 80 * time.Second},
		{120 * time.Second, 0, 120 * time.Second},
	} {
		s := newScript(t, Params{FinTimeout: c.timeout}).established(60000)
		s.c.SetOptions(Options{RTOMin: c.rto}, s.now)
		closeHalf(s)
		s.after(c.want - soon)
		s.state(FinWait2)
		s.after(2 * soon)
		s.state(Closed)
		s.gone()
	}
}

// What waits for the peer's FIN alone is among what is in TIME-WAIT, and not among the orphans.
func TestFinWait2IsCounted(t *testing.T) {
	s := newScript(t, Params{MaxOrphans: 1, MaxTimeWait: 2}).established(60000)
	for i := range 4 {
		if i > 0 {
			s.rport++
			s.in("S 0:0(0) win 5000 <mss 1000>")
			s.out("S. 0:0(0) ack 1")
			s.in(". 1:1(0) ack 1 win 5000")
			s.accept()
		}
		if i < 3 {
			s.c.Close(s.now)
		} else {
			s.c.Shutdown(unix.SHUT_WR, s.now)
		}
		s.out("F. 1:1(0) ack 1")
		s.in(". 1:1(0) ack 2 win 60000")
		if i == 3 {
			s.state(FinWait2)
			s.c.Close(s.now)
		}
		if i == 1 {
			s.in("F. 1:1(0) ack 2 win 60000") // which has its place
			s.out(". 2:2(0) ack 2")
			s.timeWait(1)
		}
		if s.h.tcp.orphans != 0 || s.h.tcp.lapsing+s.h.tcp.tw.n != min(i+1, 2) {
			t.Errorf("%d: %d orphans, %d that lapse, %d in TIME-WAIT", i, s.h.tcp.orphans, s.h.tcp.lapsing, s.h.tcp.tw.n)
		}
		if i >= 2 { // there is no place for it
			s.state(Closed)
		}
	}
	s.after(time.Minute + soon)
	if s.h.tcp.lapsing+s.h.tcp.tw.n != 0 {
		t.Errorf("%d lapse, %d are in TIME-WAIT for ever", s.h.tcp.lapsing, s.h.tcp.tw.n)
	}
	s.gone()
}

// But half-closed it may last.
func TestFinWait2WithProgram(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Shutdown(unix.SHUT_WR, s.now)
	s.out("F. 1:1(0) ack 1")
	s.in(". 1:1(0) ack 2 win 60000")
	s.after(time.Hour)
	s.state(FinWait2)
	s.in("P. 1:11(10) ack 2 win 60000")
	s.out(". 2:2(0) ack 11")
	s.read(10)
}

// §3.10.7.4 eighth in TIME-WAIT: a FIN again begins the wait anew; RFC 1337: a reset does not end it.
func TestTimeWait(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	s.after(40 * time.Second)
	s.drops("F. 1:1(0) ack 2 win 60000", drop.TCPTimeWait)
	s.out(". 2:2(0) ack 2")
	s.drops("R 2:2(0) win 0", drop.TCPTimeWait)
	s.drops(". 2:2(0) ack 2 win 60000", drop.TCPTimeWait) // an acknowledgement that fits: no answer
	s.drops("P. 2:12(10) ack 2 win 60000", drop.TCPTimeWait)
	s.out(". 2:2(0) ack 2")
	s.after(59 * time.Second)
	s.timeWait(1)
	s.after(time.Second + soon)
	s.timeWait(0)
	s.gone()
}

// RFC 6191, MUST-9: a newer SYN opens the pair again; an old one is answered.
func TestTimeWaitReuse(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	old := s.iss
	s.drops("S 1:1(0) win 60000 <mss 1000>", drop.TCPTimeWait)
	s.out(". 2:2(0) ack 2")
	s.irs += 1000
	s.in("S 0:0(0) win 60000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	if d := s.iss - old; d < timeWaitGap || d > 1<<31 {
		t.Errorf("the new number is %d beyond the old one's", int32(d))
	}
	s.in(". 1:1(0) ack 1 win 60000")
	s.accept()
	s.timeWait(0)
	s.c.Abort(s.now)
	s.out("R. 1:1(0) ack 1")
	s.gone()
}

// With timestamps a SYN is newer by its timestamp, whatever its number.
func TestTimeWaitReuseByTimestamp(t *testing.T) {
	s := newScript(t, Params{}).establishedTS(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000 <TS 6000 _>")
	s.out(". 2:2(0) ack 2 <TS _ 6000>")
	s.irs -= 100000
	s.drops("S 0:0(0) win 60000 <mss 1000,TS 5999 0>", drop.TCPTimeWait)
	s.irs += 100000
	s.out(". 2:2(0) ack 2 <TS _ 6000>")
	s.irs -= 100000
	s.in("S 0:0(0) win 60000 <mss 1000,TS 6001 0>")
	s.out("S. 0:0(0) ack 1 <mss 1460,TS _ 6001>")
}

// tcp_tw_reuse: Connect takes a pair from TIME-WAIT where timestamps make it safe, by Linux's default over the loopback alone. From a
// port that the program is bound to it takes it at once (tcp_twsk_unique).
func TestConnectFromTimeWait(t *testing.T) {
	const loop = 3
	closed := func(reuse int, timestamps bool, device uint32) (*script, func(Sharing) unix.Errno) {
		s := newScript(t, Params{TimeWaitReuse: reuse})
		s.h.tcp.cfg.Loop = loop
		ts := ""
		if timestamps {
			s.establishedTS(60000)
			ts = " <TS 6000 _>"
		} else {
			s.established(60000)
		}
		local, remote := s.c.Local(), s.c.Remote()
		s.c.SetOptions(Options{Device: device}, s.now)
		s.c.Close(s.now)
		s.out("F. 1:1(0) ack 1")
		s.in("F. 1:1(0) ack 2 win 60000" + ts)
		s.out(". 2:2(0) ack 2")
		return s, func(how Sharing) unix.Errno {
			_, errno := s.h.tcp.Connect(local, remote, Options{Sharing: how}, s.now)
			return errno
		}
	}
	for _, c := range []struct {
		reuse             int
		bound, timestamps bool
		device            uint32 // of what is in TIME-WAIT
		now, later        unix.Errno
	}{
		{1, false, true, 0, unix.EADDRNOTAVAIL, 0},
		{1, false, false, 0, unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL},
		{0, false, true, 0, unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL}, // 0: the default, 2
		{0, false, true, loop, unix.EADDRNOTAVAIL, 0},
		{0, false, true, loop - 1, unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL},
		{0, true, true, 0, 0, unix.EADDRNOTAVAIL},
		{0, true, false, 0, unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL},
	} {
		how := Sharing(0)
		if c.bound {
			how = Bound
		}
		s, connect := closed(c.reuse, c.timestamps, c.device)
		if errno := connect(how); errno != c.now {
			t.Errorf("%+v: at once: %v", c, errno)
		}
		if c.now == 0 {
			s.out("S 0:0(0)")
			s.timeWait(0)
			continue
		}
		s.after(time.Second + soon)
		if errno := connect(how); errno != c.later {
			t.Errorf("%+v: after a second: %v", c, errno)
		}
		if c.later == 0 {
			s.out("S 0:0(0)")
			s.timeWait(0)
		}
	}
}

// A connection that its program has closed and whose peer has not is in nobody's way whose port is bound: Linux keeps it as it
// keeps TIME-WAIT, unless it is to last for longer than that.
func TestConnectFromFinWait2(t *testing.T) {
	const tooLong = 100 * time.Second
	for _, c := range []struct {
		what                             string
		how                              Sharing
		timestamps, closed, acknowledged bool
		timeout, after                   time.Duration
		want                             unix.Errno
	}{
		{"bound", Bound, true, true, true, 0, 0, 0},
		{"chosen", 0, true, true, true, 0, 2 * time.Second, unix.EADDRNOTAVAIL},
		{"without timestamps", Bound, false, true, true, 0, 0, unix.EADDRNOTAVAIL},
		{"with a program", Bound, true, false, true, 0, 0, unix.EADDRNOTAVAIL},
		{"in FIN-WAIT-1", Bound, true, true, false, 0, 0, unix.EADDRNOTAVAIL},
		{"for long", Bound, true, true, true, tooLong, tooLong - timeWait - soon, unix.EADDRNOTAVAIL},
		{"for long, later", Bound, true, true, true, tooLong, tooLong - timeWait + soon, 0},
	} {
		s := newScript(t, Params{FinTimeout: c.timeout, TimeWaitReuse: 1})
		ts := ""
		if c.timestamps {
			s.establishedTS(60000)
			ts = " <TS 6000 _>"
		} else {
			s.established(60000)
		}
		old, iss, local, remote := s.c, s.iss, s.c.Local(), s.c.Remote()
		if c.closed {
			s.c.Close(s.now)
		} else {
			s.c.Shutdown(unix.SHUT_WR, s.now)
		}
		s.out("F. 1:1(0) ack 1")
		if c.acknowledged {
			s.in(". 1:1(0) ack 2 win 60000" + ts)
			s.state(FinWait2)
		}
		s.after(c.after)
		fresh, errno := s.h.tcp.Connect(local, remote, Options{Sharing: c.how}, s.now)
		if errno != c.want {
			t.Errorf("%s: %v, want %v", c.what, errno, c.want)
		}
		if errno != 0 {
			continue
		}
		s.c = s.h.own(fresh)
		s.out("S 0:0(0)")
		if d := s.iss - iss; d < timeWaitGap || d > 1<<31 {
			t.Errorf("%s: the new number is %d beyond the old one's", c.what, int32(d))
		}
		if old.State() != Closed {
			t.Errorf("%s: the old connection is in %v", c.what, old.State())
		}
		// The peer acknowledges what it knows; a reset says that it knows an old one.
		s.iss = iss
		s.in(". 1:1(0) ack 2 win 60000" + ts)
		s.out("R 2:2(0)")
		s.after(synAgain + soon)
		s.out("S 0:0(0)")
		s.irs += 1000
		s.in("S. 0:0(0) ack 1 win 60000 <mss 1000>")
		s.out(". 1:1(0) ack 1")
		s.state(Established)
		s.c.Abort(s.now)
		s.out("R. 1:1(0) ack 1")
	}
}

func TestTimeWaitLimit(t *testing.T) {
	s := newScript(t, Params{MaxTimeWait: 1})
	for range 2 {
		if s.l == nil {
			s.listen(5)
		}
		s.in("S 0:0(0) win 60000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		s.in(". 1:1(0) ack 1 win 60000")
		s.accept()
		s.c.Close(s.now)
		s.out("F. 1:1(0) ack 1")
		s.in("F. 1:1(0) ack 2 win 60000")
		s.timeWait(1)
		if s.rport == 5000 {
			s.out(". 2:2(0) ack 2")
		}
		s.rport++
	}
	s.gone()
}

// A reset in each of the closing states.
func TestResetWhileClosing(t *testing.T) {
	for name, c := range map[string]struct {
		steps func(s *script)
		seq   int
		errno unix.Errno
	}{
		"FIN-WAIT-1": {func(s *script) { s.c.Shutdown(unix.SHUT_WR, s.now); s.out("F. 1:1(0) ack 1") }, 1, unix.ECONNRESET},
		"FIN-WAIT-2": {func(s *script) {
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			s.in(". 1:1(0) ack 2 win 60000")
		}, 1, unix.ECONNRESET},
		"CLOSE-WAIT": {func(s *script) { s.in("F. 1:1(0) ack 1 win 60000"); s.out(". 1:1(0) ack 2") }, 2, unix.EPIPE},
		"CLOSING": {func(s *script) {
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			s.in("F. 1:1(0) ack 1 win 60000")
			s.out(". 2:2(0) ack 2")
		}, 2, 0},
		"LAST-ACK": {func(s *script) {
			s.in("F. 1:1(0) ack 1 win 60000")
			s.out(". 1:1(0) ack 2")
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 2")
		}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, Params{}).established(60000)
			c.steps(s)
			if s.c.State().String() != name {
				t.Fatal("state is", s.c.State())
			}
			s.in(sprintf("R %d:%d(0) win 0", c.seq, c.seq))
			s.state(Closed)
			if got := s.c.TakeError(); got != c.errno {
				t.Errorf("error %v, want %v", got, c.errno)
			}
			s.c.Close(s.now)
			s.gone()
		})
	}
}

// shutdown(2).
func TestShutdownRead(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("P. 1:11(10) ack 1 win 60000")
	s.out(". 1:1(0) ack 11")
	s.c.Shutdown(unix.SHUT_RD, s.now)
	s.read(10)
	s.readFails(0)
	s.write(10)
	s.out("P. 1:11(10) ack 11")
	if s.c.Shutdown(7, s.now) != unix.EINVAL {
		t.Error("how = 7 is taken")
	}
	s.in("R 11:11(0) win 0")
	if s.c.Shutdown(unix.SHUT_WR, s.now) != unix.ENOTCONN {
		t.Error("shutdown of what is no more")
	}
}

// A write under way while the other goroutine shuts down: the FIN comes after its bytes.
func TestShutdownDuringWrite(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.in(". 1:1(0) ack 11 win 60000")
	s.c.Shutdown(unix.SHUT_WR, s.now)
	if n, errno, _ := s.c.Write(make([]byte, 3)); n != 0 || errno != unix.EPIPE {
		t.Error(n, errno)
	}
	s.out("F. 11:11(0) ack 1")
}

// tcp_max_orphans: what is closed beyond the limit is reset, and there is room again when one has ended.
func TestOrphanLimit(t *testing.T) {
	s := newScript(t, Params{MaxOrphans: 1}).established(5000)
	first := s.c
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.rport++
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.c.Close(s.now)
	s.out("R. 1:1(0) ack 1")
	s.rport--
	s.iss = first.snd.iss.Uint32()
	s.in("R. 1:1(0) ack 2 win 0")
	if n := s.h.tcp.orphans; n != 0 {
		t.Errorf("%d orphans are counted", n)
	}
	s.gone()
}
