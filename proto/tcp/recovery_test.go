package tcp

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// sent opens a connection with SACK over a path with a round trip of 10 ms, sends n full segments,
// and lets that pass.
func (s *script) sent(n int) *script {
	s.t.Helper()
	s.establishedSACK(60000)
	s.flight(n)
	return s
}

// flight writes and sends n full segments, and lets a round trip pass.
func (s *script) flight(n int) {
	s.t.Helper()
	s.write(n * 1000)
	for range n {
		if s.pull() == nil {
			s.t.Fatal("less was sent")
		}
	}
	s.after(10 * ms)
}

// establishedAll is established with SACK and timestamps, in segments of 1000 bytes, over 10 ms.
func (s *script) establishedAll(win int) *script {
	s.t.Helper()
	s.listen(5)
	s.in(sprintf("S 0:0(0) win %d <mss 1012,sackOK,TS 5000 0>", win))
	s.out("S. 0:0(0) ack 1 <mss 1460,sackOK,TS _ 5000>")
	s.after(10 * ms)
	s.in(sprintf(". 1:1(0) ack 1 win %d <TS 5000 _>", win))
	s.accept()
	return s
}

// RFC 8985 §6.2 step 4: a segment may be a quarter of the least round trip later than the one sent after it. When
// it comes in that time nothing was lost, and the path is known to reorder.
func TestRACKWaitsForTheReordered(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
	s.after(2 * ms)
	s.in(". 1:1(0) ack 2001 win 60000")
	if !s.c.reordered || s.c.cc.cwnd != 10000+2000 {
		t.Errorf("reordered %v, cwnd %d", s.c.reordered, s.c.cc.cwnd)
	}
	// From now on not even many duplicates are a loss within that time (§6.2 step 4, reordering_seen).
	s.in(". 1:1(0) ack 2001 win 60000 <sack 3001:9001>")
	s.after(2400 * time.Microsecond)
	s.timeout(100 * time.Microsecond)
	s.out(". 2001:3001(1000) ack 1")
}

// RFC 8985 §6.3: and when it does not come, the timer says so, though there was but one duplicate.
func TestRACKReorderingTimer(t *testing.T) {
	s := newScript(t, Params{}).sent(3)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
	s.timeout(10 * ms / 4)
	s.out(". 1:1001(1000) ack 1")
	if s.c.flight.phase != phaseRecovery || s.h.tcp.Stats().Timeouts != 0 {
		t.Errorf("phase %d, %d timeouts", s.c.flight.phase, s.h.tcp.Stats().Timeouts)
	}
	s.in(". 1:1(0) ack 3001 win 60000")
}

// RFC 8985 §6.2 steps 2 and 5: what was sent again is lost again if something that was sent later has been
// delivered. Sequence numbers could not tell.
func TestRACKLostRetransmission(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:5001>")
	s.out(". 1:1001(1000) ack 1")
	s.after(ms)
	s.write(4000)
	for s.pull() != nil {
	}
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:9001>")
	for s.pull() != nil { // new data
	}
	if !s.c.snd.nxt.After(s.c.snd.una.Add(10000)) {
		t.Fatal("no new data was sent in recovery")
	}
	s.after(10 * ms)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:11001>")
	s.out(". 1:1001(1000) ack 1")
	if s.c.retrans != 2 || s.h.tcp.Stats().Timeouts != 0 {
		t.Errorf("%d sent again, %d timeouts", s.c.retrans, s.h.tcp.Stats().Timeouts)
	}
	for s.pull() != nil {
	}
}

// RFC 8985 §6.2, RACK_sent_after: on a clock that stands still while a window is sent, the order of the numbers
// is the order of sending. What lies above the newest that was delivered is not lost.
func TestRACKCoarseClock(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 2001:5001>")
	s.out(". 1:1001(1000) ack 1")
	s.out(". 1001:2001(1000) ack 1")
	s.none()
	if f := s.c.flight; f.lost != 2000 {
		t.Errorf("%d bytes are held for lost, want the 2000 below", f.lost)
	}
}

// RFC 8985 §6.2 step 4: duplicates widen the window by a quarter once a round trip, and sixteen recoveries
// without one make it narrow again. What the peer reports of segments that were sent once widens nothing.
func TestRACKWindowAdapts(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
	s.out(". 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 4001 win 60000 <sack 1:1001>")
	if s.c.reorderMult != 1 || s.c.reorderPersist != reorderPersist-1 {
		t.Errorf("mult %d, persist %d after the first duplicate", s.c.reorderMult, s.c.reorderPersist)
	}
	if got, want := s.c.reorderWindow(), 2*s.c.rtt.min.least()/4; got != want {
		t.Errorf("the window is %v, want %v", got, want)
	}
	s.in(". 1:1(0) ack 4001 win 60000 <sack 1:1001>")
	s.in(". 1:1(0) ack 4001 win 60000 <sack 2001:3001>")
	if s.c.reorderMult != 1 {
		t.Error("reports of what was not sent again, or was reported before, count")
	}
	for range reorderPersist - 1 {
		s.c.calmer()
	}
	if s.c.reorderMult != 0 {
		t.Errorf("mult %d after sixteen recoveries", s.c.reorderMult)
	}
}

// RFC 8985 §7.2-7.3: two round trips after the last segment it is sent again, or new data if there is some.
func TestTLPSendsTheTail(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(2500)
	s.out(". 1:1001(1000) ack 1")
	s.out(". 1001:2001(1000) ack 1")
	s.out("P. 2001:2501(500) ack 1")
	s.timeout(20*ms + probeMin)
	s.out("P. 2001:2501(500) ack 1")
	if got := s.h.tcp.Stats(); got.LossProbes != 1 || got.Timeouts != 0 {
		t.Errorf("%d probes, %d timeouts", got.LossProbes, got.Timeouts)
	}
	s.timeout(s.c.rto()) // the next is the timeout, counted from the probe
	s.out(". 1:1001(1000) ack 1")
}

func TestTLPSendsNewData(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(12000)
	for range 10 {
		s.pull()
	}
	s.none()
	s.timeout(20*ms + probeMin)
	s.out(". 10001:11001(1000) ack 1") // beyond the congestion window
	s.none()
	s.in(". 1:1(0) ack 11001 win 60000")
	if s.c.probe != probeNone || s.c.cc.ssthresh != infiniteWindow {
		t.Error("the answer to new data is an acknowledgement like any")
	}
	s.out("P. 11001:12001(1000) ack 1")
	s.in(". 1:1(0) ack 12001 win 60000")
}

// §7.2: the peer may wait for a second segment before it acknowledges.
func TestTLPAllowsForDelayedACK(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(100)
	s.out("P. 1:101(100) ack 1")
	s.timeout(s.c.rto()) // 10 ms and 200 are less than 20 and 200
	s.out("P. 1:101(100) ack 1")
	if s.h.tcp.Stats().LossProbes != 1 || s.c.cc.cwnd != 10000 {
		t.Errorf("%d probes, cwnd %d: the probe comes before the timeout", s.h.tcp.Stats().LossProbes, s.c.cc.cwnd)
	}
	s.in(". 1:1(0) ack 101 win 60000")
}

// §7.4: a tail that the probe has repaired was lost to congestion; one that came twice was not.
func TestTLPLossDetection(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer []string
		cwnd   int
	}{
		{"lost", []string{". 1:1(0) ack 3001 win 60000", ". 1:1(0) ack 4001 win 60000"}, 7000},
		{"DSACK", []string{". 1:1(0) ack 3001 win 60000", ". 1:1(0) ack 3001 win 60000 <sack 2001:3001>", ". 1:1(0) ack 4001 win 60000"}, 10000},
		{"duplicate", []string{". 1:1(0) ack 3001 win 60000", ". 1:1(0) ack 3001 win 60000", ". 1:1(0) ack 4001 win 60000"}, 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).establishedSACK(60000)
			s.write(3000)
			for range 3 {
				s.pull()
			}
			s.timeout(20*ms + probeMin)
			s.out("P. 2001:3001(1000) ack 1")
			last := len(c.answer) - 1
			for _, a := range c.answer[:last] {
				s.in(a)
			}
			s.write(1000)
			s.out("P. 3001:4001(1000) ack 1")
			s.in(c.answer[last])
			if s.c.probe != probeNone || int(s.c.cc.cwnd) != c.cwnd {
				t.Errorf("probe %d, cwnd %d, want %d", s.c.probe, s.c.cc.cwnd, c.cwnd)
			}
		})
	}
}

// RFC 2883 §4.1.1-4.1.3: what came twice is told first, once, and the acknowledgement goes out at once.
func TestDSACKSent(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(9000)
	s.c.quick = 0
	s.in(". 1:1001(1000) ack 1 win 9000")
	s.in("P. 1001:2001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 2001 <>")
	s.in(". 1001:2001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 2001 <sack 1001:2001>")
	s.in(". 3001:4001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 2001 <sack 3001:4001>")
	s.in(". 5001:6001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 2001 <sack 5001:6001 3001:4001>")
	s.in(". 3001:4001(1000) ack 1 win 9000") // above: the block that holds it comes second
	s.out(". 1:1(0) ack 2001 <sack 3001:4001 3001:4001 5001:6001>")
	s.in(". 3501:4501(1000) ack 1 win 9000") // half of it
	s.out(". 1:1(0) ack 2001 <sack 3501:4001 3001:4501 5001:6001>")
	s.in(". 1501:2501(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 2501 <sack 1501:2001 3001:4501 5001:6001>")
	s.in(". 2501:3001(500) ack 1 win 9000")
	s.out(". 1:1(0) ack 4501 <sack 5001:6001>")
}

// A peer without SACK is told nothing.
func TestDSACKNotAgreedOn(t *testing.T) {
	s := newScript(t, Params{}).established(9000)
	s.in(". 1:1001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 1001 <>")
	s.in(". 1:1001(1000) ack 1 win 9000")
	s.out(". 1:1(0) ack 1001 <>")
}

// RFC 2883 §5, RFC 9438 §4.9: when each retransmission turns out to have been a duplicate the window is what it was,
// during the recovery and after it, also when nothing is on its way any more.
func TestUndoByDSACK(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newScript(t, Params{}).sent(10)
		s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
		s.out(". 1:1001(1000) ack 1")
		if s.c.cc.ssthresh != 7000 {
			t.Fatal("no recovery")
		}
		if late {
			s.in(". 1:1(0) ack 10001 win 60000")
			if s.c.cc.cwnd != 7000 || s.c.flight != nil {
				t.Errorf("cwnd %d, flight %v", s.c.cc.cwnd, s.c.flight)
			}
			s.in(". 1:1(0) ack 10001 win 60000 <sack 1:1001>")
		} else {
			s.in(". 1:1(0) ack 4001 win 60000 <sack 1:1001>")
			if s.c.flight.phase != phaseOpen {
				t.Error("the recovery goes on")
			}
		}
		if s.c.cc.cwnd != 10000 || s.c.cc.ssthresh != infiniteWindow || s.h.tcp.Stats().Undos != 1 || !s.c.reordered && !late {
			t.Errorf("late %v: cwnd %d, ssthresh %d", late, s.c.cc.cwnd, s.c.cc.ssthresh)
		}
	}
}

// One of two retransmissions was needed: nothing is taken back.
func TestNoUndoOfARealLoss(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 2001:5001>")
	s.out(". 1:1001(1000) ack 1")
	s.out(". 1001:2001(1000) ack 1")
	s.in(". 1:1(0) ack 5001 win 60000 <sack 1:1001>")
	s.in(". 1:1(0) ack 10001 win 60000")
	if s.c.cc.cwnd != 7000 || s.h.tcp.Stats().Undos != 0 {
		t.Errorf("cwnd %d, %d undone", s.c.cc.cwnd, s.h.tcp.Stats().Undos)
	}
}

// RFC 3522 §3.2: what is acknowledged echoes a timestamp from before the retransmission, so the original
// has arrived.
func TestUndoByTimestamps(t *testing.T) {
	s := newScript(t, Params{}).establishedAll(60000)
	s.write(10000)
	for range 10 {
		s.pull()
	}
	s.after(10 * ms)
	echo := int(s.c.tsNow(s.now) - 10)
	s.in(sprintf(". 1:1(0) ack 1 win 60000 <TS _ %d,sack 1001:4001>", echo))
	s.out(". 1:1001(1000) ack 1")
	s.after(ms)
	s.in(sprintf(". 1:1(0) ack 4001 win 60000 <TS _ %d>", echo))
	if s.c.flight.phase != phaseOpen || s.c.cc.ssthresh != infiniteWindow || s.c.cc.cwnd != 10000 || !s.c.reordered {
		t.Errorf("phase %d, cwnd %d", s.c.flight.phase, s.c.cc.cwnd)
	}
}

// RFC 5682 §3.1: after a timeout the first acknowledgement lets new data out instead of repairs, and the second one, for
// what was sent only once, shows that the timeout came too early.
func TestFRTOSpurious(t *testing.T) {
	for _, sack := range []bool{true, false} {
		s := newScript(t, Params{})
		if sack {
			s.establishedSACK(60000)
		} else {
			s.established(60000)
		}
		s.write(20000)
		for range 10 {
			s.pull()
		}
		for s.h.tcp.Stats().Timeouts == 0 {
			s.now = max(s.now, s.h.deadline())
			s.h.advance(s.now)
			if s.h.tcp.Stats().LossProbes == 0 && s.h.tcp.Stats().Timeouts == 0 {
				s.pull() // the probe
			}
		}
		s.out(". 1:1001(1000) ack 1")
		s.none()
		nxt := s.c.snd.nxt.Sub(s.c.snd.iss)
		s.in(". 1:1(0) ack 1001 win 60000")
		s.out(sprintf(". %d:%d(1000) ack 1", nxt, nxt+1000))
		s.out(sprintf(". %d:%d(1000) ack 1", nxt+1000, nxt+2000))
		s.none()
		s.in(". 1:1(0) ack 2001 win 60000")
		if s.c.flight.phase != phaseOpen || s.c.flight.lost != 0 || s.c.cc.ssthresh != infiniteWindow || s.c.cc.cwnd < 10000 || s.c.backoff != 0 {
			t.Errorf("phase %d, lost %d, cwnd %d, ssthresh %d", s.c.flight.phase, s.c.flight.lost, s.c.cc.cwnd, s.c.cc.ssthresh)
		}
		for s.pull() != nil {
		}
	}
}

// §3.1 step 3.a: duplicates instead mean that the loss was real, and the repair goes on.
func TestFRTOReal(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(20000)
	for range 10 {
		s.pull()
	}
	s.timeout(s.c.rto())
	s.out(". 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out(". 10001:11001(1000) ack 1")
	s.out(". 11001:12001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out(". 1001:2001(1000) ack 1")
	if s.c.flight.phase != phaseLoss || s.c.cc.ssthresh != 7000 {
		t.Errorf("phase %d, ssthresh %d", s.c.flight.phase, s.c.cc.ssthresh)
	}
	for s.pull() != nil {
	}
}

// §3.1 step 2.a: without new data there is nothing to find out with; the repair goes on at once.
func TestFRTOWithoutNewData(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(5000)
	for range 5 {
		s.pull()
	}
	s.timeout(s.c.rto())
	s.out(". 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out(". 1001:2001(1000) ack 1")
	s.out(". 2001:3001(1000) ack 1")
	s.none()
	s.in(". 1:1(0) ack 5001 win 60000")
}

// RFC 3042: each of the first two duplicates lets a new segment out, since one has left the network.
func TestLimitedTransmit(t *testing.T) {
	for _, sack := range []bool{true, false} {
		s := newScript(t, Params{})
		if sack {
			s.establishedSACK(60000)
		} else {
			s.established(60000)
		}
		s.write(20000)
		for range 10 {
			s.pull()
		}
		s.after(10 * ms)
		for i := range 2 {
			if sack {
				s.in(sprintf(". 1:1(0) ack 1 win 60000 <sack 1001:%d>", 2001+i*1000))
			} else {
				s.in(". 1:1(0) ack 1 win 60000")
			}
			s.out(sprintf(". %d:%d(1000) ack 1", 10001+i*1000, 11001+i*1000))
			s.none()
		}
		if s.c.cc.cwnd != 10000 {
			t.Errorf("cwnd is %d", s.c.cc.cwnd)
		}
	}
}

// RFC 9937 §6.2: the window comes down to the threshold by sending 7 for 10 delivered, and holds it there.
func TestPRR(t *testing.T) {
	for _, alg := range []Algorithm{CUBIC, NewReno} {
		s := newScript(t, Params{Congestion: alg}).establishedSACK(60000)
		s.c.cc.cwnd = 20000
		s.write(60000)
		for range 20 {
			s.pull()
		}
		s.after(10 * ms)
		s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
		target := int(s.c.cc.ssthresh)
		if want := map[Algorithm]int{CUBIC: 14000, NewReno: 10000}[alg]; target != want {
			t.Fatalf("%v: ssthresh %d", alg, target)
		}
		if got := s.c.flight.prrFlight; got != 20000 { // with what this acknowledgement delivered, without what others had
			t.Errorf("RecoverFS is %d", got)
		}
		out := 0
		for s.pull() != nil {
			out++
		}
		for i := range 16 {
			s.in(sprintf(". 1:1(0) ack 1 win 60000 <sack 1001:%d>", 5001+i*1000))
			for s.pull() != nil {
				out++
			}
			f := s.c.flight
			if most := (f.prrDelivered*target + f.prrFlight - 1) / f.prrFlight; s.c.inFlight() > target && f.prrOut > most+1000 {
				t.Fatalf("%v: %d went out for %d delivered", alg, f.prrOut, f.prrDelivered)
			}
		}
		if got := s.c.inFlight(); got < target-1000 || got > target {
			t.Errorf("%v: %d are in flight at the end, the threshold is %d; %d segments went out", alg, got, target, out)
		}
		s.in(sprintf(". 1:1(0) ack %d win 60000", s.c.snd.nxt.Sub(s.c.snd.iss)))
		if int(s.c.cc.cwnd) != target {
			t.Errorf("%v: cwnd is %d after the recovery", alg, s.c.cc.cwnd)
		}
		for s.pull() != nil {
		}
	}
}

// RFC 9937 §6.2: the timer of RACK has delivered nothing, so what it finds lost in a recovery lets nothing out beyond the
// window that the last acknowledgement has left.
func TestRFC9937_6_2_TimerDeliversNothing(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	s.c.reordered = true
	s.in(". 1:1(0) ack 1 win 60000 <sack 5001:8001>")
	s.timeout(10 * ms / 4)
	s.out(". 1:1001(1000) ack 1") // the first repair of all
	f := s.c.flight
	if f.phase != phaseRecovery || f.lost != 5000 {
		t.Fatalf("phase %d, %d lost", f.phase, f.lost)
	}
	for s.pull() != nil {
	}
	s.after(8 * ms)
	s.in(". 1:1(0) ack 1 win 60000 <sack 9001:10001 5001:8001>")
	for s.pull() != nil {
	}
	delivered, cwnd := f.prrDelivered, s.c.cc.cwnd
	s.timeout(10 * ms / 4)
	for s.pull() != nil {
	}
	if r := f.runs[f.search(s.c.snd.una.Add(8000))]; r.is&lost == 0 {
		t.Fatal("the second hole is not held for lost")
	}
	if f.prrDelivered != delivered || s.c.cc.cwnd != cwnd {
		t.Errorf("the timer has delivered %d bytes, and the window is %d, not %d", f.prrDelivered-delivered, s.c.cc.cwnd, cwnd)
	}
}

// RFC 5681 §3.1, RFC 3465 §2.3: slow start after a timeout counts what the acknowledgement has newly told to have arrived. What
// was sacked before left the network long ago, and counted once more it would let a whole window out as one burst.
func TestRFC5681_3_1_SackedBeforeATimeout(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.c.cc.cwnd = 40000
	s.flight(40)
	s.write(20000)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:40001>")
	for s.pull() != nil { // the repair, which is lost, and some that is new
	}
	for s.h.tcp.Stats().Timeouts == 0 {
		s.now = max(s.now, s.h.deadline())
		s.h.advance(s.now)
	}
	for s.pull() != nil {
	}
	s.in(". 1:1(0) ack 40001 win 60000")
	if s.c.cc.cwnd > 4000 {
		t.Errorf("the window is %d after one segment was delivered", s.c.cc.cwnd)
	}
	for s.pull() != nil {
	}
}

// RFC 5682 §3.1 step 2: with SACK a duplicate that comes before the answer to what was sent again ends nothing.
func TestRFC5682_3_1_DuplicateBeforeTheAnswer(t *testing.T) {
	for _, sack := range []bool{true, false} {
		s := newScript(t, Params{})
		if sack {
			s.establishedSACK(60000)
		} else {
			s.established(60000)
		}
		s.write(20000)
		for range 10 {
			s.pull()
		}
		for s.h.tcp.Stats().Timeouts == 0 {
			s.now = max(s.now, s.h.deadline())
			s.h.advance(s.now)
			if s.h.tcp.Stats().LossProbes == 0 && s.h.tcp.Stats().Timeouts == 0 {
				s.pull() // the probe
			}
		}
		s.out(". 1:1001(1000) ack 1")
		s.in(". 1:1(0) ack 1 win 60000") // the network repeats itself
		s.none()
		nxt := s.c.snd.nxt.Sub(s.c.snd.iss)
		s.in(". 1:1(0) ack 1001 win 60000")
		if sack {
			s.out(sprintf(". %d:%d(1000) ack 1", nxt, nxt+1000))
			s.out(sprintf(". %d:%d(1000) ack 1", nxt+1000, nxt+2000))
			s.in(". 1:1(0) ack 2001 win 60000")
		} else { // §2.1 step 2: it does, without
			s.out(". 1001:2001(1000) ack 1")
		}
		if undone := s.c.flight.phase == phaseOpen; undone != sack {
			t.Errorf("SACK %v: taken back %v", sack, undone)
		}
		for s.pull() != nil {
		}
	}
}

// RFC 8985 §7.4.2, RFC 3168 §6.1.2: what the peer tells of congestion in the round trip of the probe is the same as the loss that it
// may have repaired: one reduction.
func TestRFC8985_7_4_2_OneReduction(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	s.in("SEW 0:0(0) win 60000 <mss 1000,sackOK>")
	s.out("SE. 0:0(0) ack 1 <mss 1460,sackOK>")
	s.after(10 * ms)
	s.in(". 1:1(0) ack 1 win 60000")
	s.accept()
	s.write(3000)
	for range 3 {
		s.pull()
	}
	s.timeout(20*ms + probeMin)
	s.out("P. 2001:3001(1000) ack 1")
	s.in("E. 1:1(0) ack 2001 win 60000")
	if s.c.probe != probeNone || s.c.cc.ssthresh != 7000 {
		t.Fatalf("probe %d, ssthresh %d", s.c.probe, s.c.cc.ssthresh)
	}
	s.write(2000)
	for s.pull() != nil {
	}
	s.in(". 1:1(0) ack 5001 win 60000")
	if s.c.cc.ssthresh != 7000 {
		t.Errorf("reduced once more, to %d", s.c.cc.ssthresh)
	}
}
