package tcp

import "testing"

// drain takes all that there is to send and returns how many segments that was.
func (s *script) drain() (n int) {
	s.t.Helper()
	for s.pull() != nil {
		n++
	}
	return n
}

// RFC 6675 §5, RFC 5681 §4.3: what was sent in a recovery and is lost is a second window's loss. It is sent again at once,
// and when the first recovery has ended another one begins, which reduces the window again.
func TestLossInARecoveryIsTheNextOnes(t *testing.T) {
	s := newScript(t, Params{Congestion: NewReno}).sent(10)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
	s.out(". 1:1001(1000) ack 1")
	s.write(10_000)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:10001>")
	if n := s.drain(); n < 2 {
		t.Fatalf("%d new segments were sent in the recovery", n)
	}
	after := s.c.cc.ssthresh
	if after != 5000 {
		t.Fatalf("the first loss makes the threshold %d", after)
	}
	s.after(10 * ms)
	s.in(". 1:1(0) ack 1 win 60000 <sack 11001:12001 1001:10001>") // 10001 is missing, and so is the repair
	s.out(". 1:1001(1000) ack 1")
	s.out(". 10001:11001(1000) ack 1")
	s.drain()
	if f := s.c.flight; f.phase != phaseRecovery || s.h.tcp.Stats().FastRecoveries != 1 || s.c.cc.ssthresh != after {
		t.Fatalf("phase %d, %d recoveries, threshold %d", f.phase, s.h.tcp.Stats().FastRecoveries, s.c.cc.ssthresh)
	}
	s.in(". 1:1(0) ack 10001 win 60000 <sack 11001:12001>")
	if f := s.c.flight; f.phase != phaseRecovery || s.h.tcp.Stats().FastRecoveries != 2 || s.c.cc.ssthresh >= after {
		t.Errorf("after the recovery: phase %d, %d recoveries, threshold %d", f.phase, s.h.tcp.Stats().FastRecoveries, s.c.cc.ssthresh)
	}
	s.drain()
	nxt := s.c.snd.nxt.Sub(s.c.snd.iss)
	s.in(sprintf(". 1:1(0) ack %d win 60000", nxt))
	if n := s.h.tcp.Stats().FastRecoveries; n != 2 {
		t.Errorf("%d recoveries in all", n)
	}
	s.drain()
}

// RFC 5681 §4.3: what was sent again after a timeout and is lost once more is a second sign of congestion, and the window
// falls again (Linux: FLAG_LOST_RETRANS).
func TestLostRepairAfterATimeout(t *testing.T) {
	s := newScript(t, Params{Congestion: NewReno}).sent(10)
	for s.drain(); s.c.flight.phase != phaseLoss; s.drain() {
		s.now = s.h.deadline()
		s.h.advance(s.now)
	}
	threshold := s.c.cc.ssthresh
	again := s.c.retrans
	s.after(10 * ms)
	s.in(". 1:1(0) ack 1001 win 60000") // the timeout was real: what follows goes out slowly
	s.drain()
	s.in(". 1:1(0) ack 1001 win 60000 <sack 9001:10001>")
	s.drain()
	s.after(10 * ms)
	s.in(". 1:1(0) ack 2001 win 60000 <sack 9001:10001>")
	s.drain()
	s.after(10 * ms)
	if s.c.flight.phase != phaseLoss || s.c.retrans < again+4 || s.c.cc.ssthresh != threshold {
		t.Fatalf("phase %d, %d sent again, threshold %d", s.c.flight.phase, s.c.retrans, s.c.cc.ssthresh)
	}
	s.in(". 1:1(0) ack 2001 win 60000 <sack 3001:5001 9001:10001>") // 2001 was lost again
	if s.c.flight.phase != phaseRecovery || s.c.cc.ssthresh >= threshold {
		t.Errorf("phase %d, threshold %d, was %d", s.c.flight.phase, s.c.cc.ssthresh, threshold)
	}
	s.drain()
}

// RFC 6582 §3.2 step 2: without SACK, duplicates of what does not cover more than the last recovery, or timeout, has sent
// again are the answers to that. They begin no recovery.
func TestDuplicatesOfARepairAreNoLoss(t *testing.T) {
	s := newScript(t, Params{Congestion: NewReno}).established(60000)
	s.flight(10)
	for range 3 {
		s.in(". 1:1(0) ack 1 win 60000")
	}
	s.out(". 1:1001(1000) ack 1")
	s.drain()
	s.in(". 1:1(0) ack 10001 win 60000")
	cwnd := s.c.cc.cwnd
	s.flight(2)
	for range 4 {
		s.in(". 1:1(0) ack 10001 win 60000")
	}
	if f := s.c.flight; f.phase != phaseOpen || s.c.cc.cwnd != cwnd || s.h.tcp.Stats().FastRecoveries != 1 {
		t.Errorf("phase %d, cwnd %d, was %d; %d recoveries", f.phase, s.c.cc.cwnd, cwnd, s.h.tcp.Stats().FastRecoveries)
	}
	s.drain()
	s.in(". 1:1(0) ack 11001 win 60000")
	s.flight(4)
	for range 3 {
		s.in(". 1:1(0) ack 11001 win 60000")
	}
	s.out(". 11001:12001(1000) ack 1")
	if n := s.h.tcp.Stats().FastRecoveries; n != 2 {
		t.Errorf("%d recoveries: one of what was sent since is to begin", n)
	}
	s.drain()
}

// RFC 1191 §6.5, RFC 4821 §7.7: what is too long for the path is sent again in smaller pieces, and that is no sign of
// congestion, also when further acknowledgements come meanwhile.
func TestSmallerPiecesAreNoCongestion(t *testing.T) {
	s := newScript(t, Params{}).sent(10)
	cwnd, threshold := s.c.cc.cwnd, s.c.cc.ssthresh
	s.c.SetPMTU(s.mtu(540), s.now)
	s.out(". 1:501(500) ack 1")
	s.drain()
	s.after(10 * ms)
	s.in(". 1:1(0) ack 1 win 60000 <sack 9501:10001>")
	s.drain()
	s.in(". 1:1(0) ack 501 win 60000 <sack 9501:10001>")
	s.drain()
	if s.c.cc.cwnd < cwnd || s.c.cc.ssthresh != threshold || s.h.tcp.Stats().FastRecoveries != 0 {
		t.Errorf("cwnd %d, was %d; threshold %d, was %d; %d recoveries", s.c.cc.cwnd, cwnd, s.c.cc.ssthresh, threshold, s.h.tcp.Stats().FastRecoveries)
	}
	nxt := s.c.snd.nxt.Sub(s.c.snd.iss)
	s.in(sprintf(". 1:1(0) ack %d win 60000", nxt))
	if s.c.cc.cwnd < cwnd || s.c.cc.ssthresh != threshold {
		t.Errorf("cwnd %d, was %d; threshold %d, was %d", s.c.cc.cwnd, cwnd, s.c.cc.ssthresh, threshold)
	}
}
