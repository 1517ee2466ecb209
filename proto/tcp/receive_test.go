package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// RFC 9293 §3.8.6.3, and quick acknowledgements at the start as Linux.
func TestQuickThenDelayedACK(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.c.quick = 1
	s.in("P. 1:101(100) ack 1 win 5000")
	s.out(". 1:1(0) ack 101")
	s.in("P. 101:201(100) ack 1 win 5000")
	s.after(39 * time.Millisecond)
	s.none()
	s.after(time.Millisecond + soon)
	s.out(". 1:1(0) ack 201")
	// every second full segment at once (MUST-58)
	s.in(". 201:1201(1000) ack 1 win 5000")
	s.in(". 1201:2201(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 2201")
	s.read(2200)
	s.readFails(unix.EAGAIN)
}

// Who sends again what has come may have a small window: the next segments are acknowledged at once, sixteen at most and no more
// than every second one that the window holds (tcp_enter_quickack_mode of Linux).
func TestQuickACKsAfterADuplicate(t *testing.T) {
	for _, c := range []struct {
		name, again string
		window      int
		quick       int
	}{
		{"the same again", ". 2001:3001(1000) ack 1 win 5000", 60000, 16},
		{"what came long ago", ". 1:1001(1000) ack 1 win 5000", 60000, 16},
		{"a small window", ". 2001:3001(1000) ack 1 win 5000", 10000, 3},
		{"the start of it is new", ". 2501:3501(1000) ack 1 win 5000", 60000, 0},
		{"a keepalive", ". 3000:3000(0) ack 1 win 5000", 60000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{})
			s.listen(1)
			s.l.SetOptions(Options{RcvBuf: c.window})
			s.in("S 0:0(0) win 5000 <mss 1000>")
			s.out("S. 0:0(0) ack 1")
			s.in(". 1:1(0) ack 1 win 5000")
			s.accept()
			s.in(". 1:1001(1000) ack 1 win 5000")
			s.out(". 1:1(0) ack 1001")
			s.c.quick, s.c.pingpong = 0, true
			s.in(". 1001:2001(1000) ack 1 win 5000")
			s.in(". 2001:3001(1000) ack 1 win 5000") // the second one
			s.out(". 1:1(0) ack 3001")
			s.read(3000)
			s.in(c.again)
			end := s.c.rcv.nxt.Sub(s.c.rcv.irs)
			if end > 3001 {
				s.after(delayedACK + soon)
			}
			s.out(sprintf(". 1:1(0) ack %d", end))
			quick := 0
			for ; quick < 20; quick++ {
				s.in(sprintf(". %d:%d(1000) ack 1 win 5000", end, end+1000))
				end += 1000
				s.read(s.c.rx.Len())
				got := s.pull()
				if got == nil {
					break
				}
			}
			if want := max(c.quick-1, 0); quick != want { // the first was for the duplicate
				t.Errorf("%d segments were acknowledged at once, want %d", quick, want)
			}
		})
	}
}

// So is the window's being closed, and a gap of more than a timeout between what comes in order.
func TestQuickACKsAfterASilence(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(5000)
	s.in(". 1:1001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 1001")
	s.c.quick = 0
	s.after(s.c.rto() / 2)
	s.in(". 2001:3001(1000) ack 1 win 5000") // beyond a hole: that does not count
	s.out(". 1:1(0) ack 1001 <sack 2001:3001>")
	s.after(s.c.rto()/2 + time.Millisecond)
	s.in(". 1001:2001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 3001")
	s.in(". 3001:4001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 4001")
	if s.c.quick != quickACKs-2 {
		t.Errorf("%d quick acknowledgements are left, want %d", s.c.quick, quickACKs-2)
	}
}

// A path that becomes narrower: every second full segment is acknowledged still (MUST-58), two of them having told how long
// they are (tcp_measure_rcv_mss of Linux).
func TestDelayedACKFollowsTheSegmentSize(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.c.quick = 0
	s.in(". 1:1001(1000) ack 1 win 5000")
	s.in(". 1001:2001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 2001")
	for i := range 4 { // the path's MTU falls
		s.in(sprintf(". %d:%d(600) ack 1 win 5000", 2001+1200*i, 2601+1200*i))
		s.none()
		s.in(sprintf(". %d:%d(600) ack 1 win 5000", 2601+1200*i, 3201+1200*i))
		s.out(sprintf(". 1:1(0) ack %d", 3201+1200*i))
	}
	if got := s.c.Info(s.now).RcvMSS; got != 600 {
		t.Errorf("RcvMSS is %d, want 600", got)
	}
	for i := range 2 { // and rises
		s.in(sprintf(". %d:%d(900) ack 1 win 5000", 6801+1800*i, 7701+1800*i))
		s.none()
		s.in(sprintf(". %d:%d(900) ack 1 win 5000", 7701+1800*i, 8601+1800*i))
		s.out(sprintf(". 1:1(0) ack %d", 8601+1800*i))
	}
}

// An answer of the program carries the acknowledgement.
func TestACKRidesOnData(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.c.quick = 0
	s.in("P. 1:101(100) ack 1 win 5000")
	s.write(50)
	s.out("P. 1:51(50) ack 101")
	s.in(". 101:101(0) ack 51 win 5000")
	s.after(time.Second)
}

// Where the quick acknowledgements at the start may wait a moment, they go out with what the program answers then.
func TestQuickACKRidesOnData(t *testing.T) {
	const moment = 40 * time.Microsecond
	s := newScript(t, Params{Piggyback: moment}).established(60000)
	s.in("P. 1:101(100) ack 1 win 60000")
	s.none()
	s.read(100) // the window is no reason for a segment of its own
	s.none()
	s.write(50)
	s.out("P. 1:51(50) ack 101")
	s.after(10 * moment)
	s.none()

	s.c.pingpong = false
	s.in("P. 101:201(100) ack 51 win 60000") // no answer
	s.after(moment)
	s.out(". 51:51(0) ack 201")
	s.in("P. 201:301(100) ack 51 win 60000")
	s.none()
	s.in("P. 301:401(100) ack 51 win 60000") // the second one waits for nobody
	s.out(". 51:51(0) ack 401")
	s.in(". 401:1401(1000) ack 51 win 60000") // nor does one that more is to follow
	s.out(". 51:51(0) ack 1401")
	s.in("P. 1401:1501(100) ack 51 win 60000")
	s.c.QuickACK(1, s.now) // nor what the program wants acknowledged
	s.out(". 51:51(0) ack 1501")
	s.read(1400)

	s.in("P. 1501:1601(100) ack 51 win 60000")
	s.in("F. 1601:1601(0) ack 51 win 60000")
	s.none()
	s.read(100)
	s.readFails(0)
	s.c.Close(s.now)
	s.out("F. 51:51(0) ack 1602")
	s.in(". 1602:1602(0) ack 52 win 60000")
	s.gone()
	s.after(10 * moment)
}

// A FIN that the program does not answer is acknowledged after the moment, one that ends the connection at once.
func TestACKOfAFINThatMayWait(t *testing.T) {
	const moment = 40 * time.Microsecond
	s := newScript(t, Params{Piggyback: moment}).established(60000)
	s.in("F. 1:1(0) ack 1 win 60000")
	s.after(moment)
	s.out(". 1:1(0) ack 2")
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 2")
	s.in(". 2:2(0) ack 2 win 60000")
	s.gone()

	s = newScript(t, Params{Piggyback: moment}).established(60000)
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	s.timeWait(1)
	s.gone()
}

// A FIN is no answer of the program's: it does not have acknowledgements wait for more of them (tcp_event_data_sent of Linux is not
// called for it).
func TestFINIsNoAnswer(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("P. 1:101(100) ack 1 win 60000")
	s.out(". 1:1(0) ack 101")
	s.c.Shutdown(unix.SHUT_WR, s.now)
	s.out("F. 1:1(0) ack 101")
	if !s.c.InQuickACK() {
		t.Error("the FIN has begun to delay acknowledgements")
	}
	s.in("P. 101:201(100) ack 2 win 60000")
	s.out(". 2:2(0) ack 201")
	s.read(200)
}

func TestOutOfOrderDataAndSACK(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(5000)
	s.in(". 1001:2001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 1 <sack 1001:2001>")
	s.in(". 3001:4001(1000) ack 1 win 5000") // RFC 2018 §4: the newest block first
	s.out(". 1:1(0) ack 1 <sack 3001:4001 1001:2001>")
	s.in(". 2001:2501(500) ack 1 win 5000")
	s.out(". 1:1(0) ack 1 <sack 1001:2501 3001:4001>")
	s.readFails(unix.EAGAIN)
	s.in(". 1:1001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 2501 <sack 3001:4001>")
	s.in(". 2401:3101(700) ack 1 win 5000") // overlaps on both sides
	s.out(". 1:1(0) ack 4001 <sack 2401:2501>")
	s.read(4000)
	if s.c.holes != nil {
		t.Error("the map of holes was kept")
	}
}

func TestSACKBlocksBesideTimestamps(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000,sackOK,TS 5000 0>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000 <TS 5000 _>")
	s.accept()
	for _, in := range []string{"101:111(10)", "201:211(10)", "301:311(10)", "401:411(10)"} {
		s.in(". " + in + " ack 1 win 5000 <TS _ _>")
		if in == "401:411(10)" {
			s.out(". 1:1(0) ack 1 <TS _ 5000,sack 401:411 301:311 201:211>")
		} else {
			s.out(". 1:1(0) ack 1")
		}
	}
}

// A FIN that overtakes data counts when the data has come.
func TestFINOutOfOrder(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("F. 1001:1101(100) ack 1 win 5000")
	s.out(". 1:1(0) ack 1")
	s.state(Established)
	s.in(". 1:1001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 1102")
	s.state(CloseWait)
	s.read(1100)
	s.readFails(0)
}

// A FIN alone beyond a hole.
func TestEmptyFINOutOfOrder(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("F. 11:11(0) ack 1 win 5000")
	s.out(". 1:1(0) ack 1")
	s.drops(". 1:12(11) ack 1 win 5000", drop.TCPAfterFIN) // data where the FIN was
	s.out(". 1:1(0) ack 1")
	s.in(". 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 12")
	s.state(CloseWait)
}

// §3.10.7.4 first: outside of the window, answered; data that is old too, without limit.
func TestSequenceCheck(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.drops(". 200000:200010(10) ack 1 win 5000", drop.TCPOutOfWindow)
	s.out(". 1:1(0) ack 1")
	s.in("P. 1:101(100) ack 1 win 5000")
	s.out(". 1:1(0) ack 101")
	for range 3 {
		s.drops("P. 1:101(100) ack 1 win 5000", drop.TCPOldDuplicate)
		s.out(". 1:1(0) ack 101")
	}
	s.drops(". 0:0(0) ack 1 win 5000", drop.TCPOldDuplicate) // a keepalive
	s.out(". 1:1(0) ack 101")
	s.drops(". 0:0(0) ack 1 win 5000", drop.TCPOldDuplicate) // answered seldom
	s.none()
	s.after(time.Second)
	s.drops(". 0:0(0) ack 1 win 5000", drop.TCPOldDuplicate)
	s.out(". 1:1(0) ack 101")
	s.in("P. 51:151(100) ack 1 win 5000") // half old: the rest is taken
	s.out(". 1:1(0) ack 151")
	s.read(150)
}

// RFC 5961 §3: only an exact reset ends the connection.
func TestReset(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("P. 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 11")
	s.drops("R 5:5(0) win 0", drop.TCPResetOutOfWindow)
	s.drops("R 200000:200000(0) win 0", drop.TCPResetOutOfWindow)
	s.drops("R 12:12(0) win 0", drop.TCPResetInexact)
	s.out(". 1:1(0) ack 11")
	s.state(Established)
	s.in("R 11:11(0) win 0")
	s.state(Closed)
	s.read(10) // what had come is still there
	if ev := s.c.Readiness(); ev != ring.In|ring.Out|ring.Err|ring.Hup {
		t.Error("readiness", ev)
	}
	s.readFails(unix.ECONNRESET)
	s.readFails(0)
	s.writeFails(unix.EPIPE)
	s.c.Close(s.now)
	s.gone()
}

// RFC 5961 §4.
func TestSYNOnEstablished(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.drops("S 1:1(0) win 5000", drop.TCPSYNInWindow)
	s.out(". 1:1(0) ack 1")
	s.drops("S 0:0(0) win 5000", drop.TCPOldDuplicate) // the old SYN once more
	s.none()                                           // within half a second of the last one
	s.after(time.Second)
	s.drops("S 100:100(0) win 5000", drop.TCPSYNInWindow)
	s.out(". 1:1(0) ack 1")
	s.state(Established)
}

// RFC 5961 §7: challenges of all connections together have a limit.
func TestChallengeLimit(t *testing.T) {
	s := newScript(t, Params{ChallengeACKs: 1})
	s.listen(5)
	open := func() {
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		s.in(". 1:1(0) ack 1 win 5000")
	}
	open()
	s.drops("S 1:1(0) win 5000", drop.TCPSYNInWindow)
	s.out(". 1:1(0) ack 1")
	s.rport++
	open()
	s.drops("S 1:1(0) win 5000", drop.TCPSYNInWindow)
	s.none()
	if s.h.drops[drop.TCPChallengeLimited] != 1 {
		t.Error("a challenge that was not sent is not counted")
	}
	s.after(time.Second)
	s.drops("S 1:1(0) win 5000", drop.TCPSYNInWindow)
	s.out(". 1:1(0) ack 1")
}

// RFC 7323 §5.3: an old timestamp is a late duplicate, but a reset is believed without one.
func TestPAWS(t *testing.T) {
	s := newScript(t, Params{}).establishedTS(5000)
	s.in("P. 1:11(10) ack 1 win 5000 <TS 5010 _>")
	s.out(". 1:1(0) ack 11 <TS _ 5010>")
	s.drops("P. 11:21(10) ack 1 win 5000 <TS 5008 _>", drop.TCPPAWS)
	s.out(". 1:1(0) ack 11 <TS _ 5010>")
	s.in("P. 11:21(10) ack 1 win 5000 <TS 5010 _>")
	s.out(". 1:1(0) ack 21")
	s.after(25 * 24 * time.Hour) // §5.5: too long ago to compare
	s.in("P. 21:31(10) ack 1 win 5000 <TS 4000 _>")
	s.out(". 1:1(0) ack 31 <TS _ 4000>")
	s.in("R 31:31(0) win 0 <TS 1 0>")
	s.state(Closed)
}

// §5.3, with the grace of Linux (TCP_PAWS_WINDOW): what the path has brought late by a tick, behind the repair of a hole, is data
// like any; and it does not turn the timestamp back that is echoed.
func TestPAWSAllowsATick(t *testing.T) {
	s := newScript(t, Params{}).establishedTS(5000)
	s.in("P. 1:11(10) ack 1 win 5000 <TS 5010 _>")
	s.out(". 1:1(0) ack 11 <TS _ 5010>")
	s.in("P. 11:21(10) ack 1 win 5000 <TS 5009 _>")
	s.out(". 1:1(0) ack 21 <TS _ 5010>")
}

// RFC 7323 §4.3: what is echoed is the timestamp of the segment that the last acknowledgement waited for.
func TestTimestampToEcho(t *testing.T) {
	s := newScript(t, Params{}).establishedTS(5000)
	s.c.quick = 0
	s.in("P. 1:11(10) ack 1 win 5000 <TS 5001 _>")
	s.in("P. 11:21(10) ack 1 win 5000 <TS 5002 _>") // delayed: (A) the earlier one
	s.after(40*time.Millisecond + soon)
	s.out(". 1:1(0) ack 21 <TS _ 5001>")
	s.in("P. 31:41(10) ack 1 win 5000 <TS 5003 _>") // (B) beyond a hole: the one before it
	s.out(". 1:1(0) ack 21 <TS _ 5001>")
	s.in("P. 21:31(10) ack 1 win 5000 <TS 5004 _>") // (C) the one that filled it
	s.out(". 1:1(0) ack 41 <TS _ 5004>")
}

// §3.10.7.4 fifth: without ACK nothing counts.
func TestNoACKFlag(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.drops("P 1:11(10) win 5000", drop.TCPNoACK)
	s.readFails(unix.EAGAIN)
}

// RFC 5961 §5.2.
func TestACKRange(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.drops("P. 1:11(10) ack 2 win 5000", drop.TCPACKUnsent)
	s.out(". 1:1(0) ack 1")
	s.after(time.Second)
	s.drops("P. 1:11(10) ack -5000 win 5000", drop.TCPACKTooOld)
	s.out(". 1:1(0) ack 1")
	s.readFails(unix.EAGAIN)
	s.in("P. 1:11(10) ack -4000 win 5000") // old, but within the largest window: its text counts
	s.out(". 1:1(0) ack 11")
	s.read(10)
}

// §3.8.6.2.2: the window closes with the buffer, never moves back, and opens by a good piece
// at once; whoever emptied the buffer is told to say so.
func TestReceiveWindow(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.l.SetOptions(Options{RcvBuf: 4000, MaxSeg: 1000})
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1 win 4000")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.in(". 1:2001(2000) ack 1 win 5000")
	s.out(". 1:1(0) ack 2001 win 2000")
	s.in(". 2001:4001(2000) ack 1 win 5000")
	s.out(". 1:1(0) ack 4001 win 0")
	s.drops(". 4001:4002(1) ack 1 win 5000", drop.TCPWindowClosed) // a probe with a byte
	s.out(". 1:1(0) ack 4001 win 0")
	s.read(500) // too little to tell (receiver's silly-window avoidance)
	s.none()
	s.drops(". 4001:4002(1) ack 1 win 5000", drop.TCPWindowClosed)
	s.out(". 1:1(0) ack 4001 win 0")
	s.read(2000)
	s.out(". 1:1(0) ack 4001 win 2500")
	s.in(". 4001:6001(2000) ack 1 win 5000")
	s.out(". 1:1(0) ack 6001 win 500")
	s.c.SetOptions(Options{RcvBuf: 2304}, s.now) // smaller: what was offered stays (SHLD-14)
	s.in(". 6001:6501(500) ack 1 win 5000")
	s.after(delayedACK + soon)
	s.out(". 1:1(0) ack 6501 win 0")
	s.read(4000)
	s.out(". 1:1(0) ack 6501 win 2304")
}

// Text beyond the window is cut off.
func TestTextBeyondTheWindow(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.l.SetOptions(Options{RcvBuf: 4000, MaxSeg: 1000})
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1 win 4000")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.in("F. 1:5001(5000) ack 1 win 5000")
	s.out(". 1:1(0) ack 4001 win 0")
	s.state(Established)
	s.read(4000)
	s.out(". 1:1(0) ack 4001 win 4000")
	s.in("F. 4001:5001(1000) ack 1 win 5000")
	s.out(". 1:1(0) ack 5002")
	s.state(CloseWait)
	s.read(1000)
	s.readFails(0)
}

// A path that coalesces segments on their way makes ones larger than the MSS: they are taken.
func TestSegmentLargerThanMSS(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("P. 1:60001(60000) ack 1 win 5000")
	s.out(". 1:1(0) ack 60001")
	s.read(60000)
}

// When the core's memory is used up, data is not acknowledged and comes again.
func TestNoMemory(t *testing.T) {
	s := newScript(t, Params{})
	s.h.pool = ring.NewPool(4096)
	s.h.tcp.cfg.Pool = s.h.pool
	s.established(5000)
	s.drops("F. 1:5001(5000) ack 1 win 5000", drop.TCPReceiveMemory)
	s.out(". 1:1(0) ack 4097")
	s.state(Established)
	s.drops(". 5001:6001(1000) ack 1 win 5000", drop.TCPReceiveMemory)
	s.out(". 1:1(0) ack 4097 <>")
	s.read(4096)
	s.in("F. 4097:5001(904) ack 1 win 5000")
	s.out(". 1:1(0) ack 5002")
	s.read(904)
	s.readFails(0)
}

func TestHolesLimit(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	for i := range holesMax {
		seq := 11 + 20*i
		s.in(sprintf(". %d:%d(10) ack 1 win 5000", seq, seq+10))
		s.out(". 1:1(0) ack 1")
	}
	seq := 11 + 20*holesMax
	s.drops(sprintf(". %d:%d(10) ack 1 win 5000", seq, seq+10), drop.TCPHolesFull)
	s.out(". 1:1(0) ack 1")
	s.in(". 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 21")
}

// An idle connection holds no buffer, whatever it carried; one that is unread keeps its data.
func TestIdleHoldsNothing(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("P. 1:11(10) ack 1 win 5000")
	s.out(". 1:1(0) ack 11")
	s.write(10)
	s.out("P. 1:11(10) ack 11")
	s.in(". 11:11(0) ack 11 win 5000")
	s.after(5 * time.Second)
	if s.h.pool.Used() != 4096 {
		t.Errorf("%d bytes are held, want a chunk of unread data", s.h.pool.Used())
	}
	s.read(10)
	s.after(70 * time.Second)
	if s.h.pool.Used() != 0 || s.h.deadline() < s.now.Add(time.Hour) {
		t.Errorf("%d bytes are held, the next timer is in %v", s.h.pool.Used(), s.h.deadline().Sub(s.now))
	}
	s.in("P. 11:21(10) ack 11 win 5000")
	s.read(10)
	s.write(5)
	s.out("P. 11:16(5) ack 21")
	s.in(". 21:21(0) ack 16 win 5000")
}

// What lies beyond a hole stays as long as the hole does: the last eighth of the memory is for
// what arrives in order.
func TestOutOfOrderDataLeavesMemoryForWhatIsInOrder(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(5000)
	var hog ring.Datagrams
	hog.Init(s.h.pool, 1<<40)
	for s.h.pool.Used() <= s.h.pool.Limit()/8*7 {
		if !hog.Put(&ring.Datagram{}, make([]byte, 60000)) {
			t.Fatal("the pool was full before seven eighths")
		}
	}
	s.in("P. 101:201(100) ack 1 win 5000")
	if s.last != drop.TCPReceiveMemory {
		t.Errorf("out of order: %v, want %v", s.last, drop.TCPReceiveMemory)
	}
	s.out(". 1:1(0) ack 1")
	s.in("P. 1:101(100) ack 1 win 5000")
	if s.last != drop.None {
		t.Errorf("in order: %v", s.last)
	}
	s.out(". 1:1(0) ack 101 <>")
	s.read(100)
	hog.Free()
}
