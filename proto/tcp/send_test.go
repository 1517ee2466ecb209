package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// RFC 6928, RFC 9293 §3.7.1: ten full segments, the last one pushed.
func TestInitialWindow(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(20000)
	for i := range 10 {
		s.out(sprintf(". %d:%d(1000) ack 1", 1+i*1000, 1001+i*1000))
	}
	s.none()
	s.in(". 1:1(0) ack 2001 win 60000") // slow start: two more for two
	for i := 10; i < 14; i++ {
		s.out(sprintf(". %d:%d(1000) ack 1", 1+i*1000, 1001+i*1000))
	}
	s.none()
}

// Full segments subtract the options that are there and no others.
func TestSegmentSizeWithTimestamps(t *testing.T) {
	s := newScript(t, Params{}).establishedTS(60000)
	s.write(1976)
	s.out(". 1:989(988) ack 1")
	s.out("P. 989:1977(988) ack 1")
	if s.c.MSS() != 988 {
		t.Error("MSS", s.c.MSS())
	}
}

// §3.4: numbers run in a circle. Four gigabytes later SND.UNA is ISS again; two later, what was small
// long ago would seem to be ahead.
func TestNumbersWrap(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.in(". 1:1(0) ack 11 win 60000")
	s.c.snd.iss = s.c.snd.una
	s.write(10)
	s.out("P. 11:21(10) ack 1")
	s.in(". 1:1(0) ack 21 win 60000")
	s.c.snd.small = s.c.snd.una.Add(-(1<<31 - 1500)) // as after that many bytes in full segments
	for range 2 {
		s.write(1000)
		s.pull()
		s.in(sprintf(". 1:1(0) ack %d win 60000", 1+s.wrote))
	}
	s.write(10)
	s.out("P. 2021:2031(10) ack 1")
}

// RFC 9293 §3.7.4, as Minshall modified it: one small segment at a time.
func TestNagle(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.write(10)
	s.write(10)
	s.none()
	s.write(1000) // a full segment goes, the rest waits
	s.out(". 11:1011(1000) ack 1")
	s.none()
	s.in(". 1:1(0) ack 11 win 60000")
	s.out("P. 1011:1031(20) ack 1") // the small one was acknowledged; the full one does not matter
	s.c.SetOptions(Options{NoDelay: true}, s.now)
	s.write(10)
	s.out("P. 1031:1041(10) ack 1")
	s.write(10)
	s.out("P. 1041:1051(10) ack 1")
}

func TestCork(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{Cork: true, NoDelay: true}, s.now)
	s.write(10)
	s.none()
	s.write(1000)
	s.out(". 1:1001(1000) ack 1")
	s.none()
	s.c.SetOptions(Options{NoDelay: true}, s.now)
	s.out("P. 1001:1011(10) ack 1")
	s.in(". 1:1(0) ack 1011 win 60000")
	s.c.SetOptions(Options{Cork: true}, s.now)
	s.write(10)
	s.after(200*time.Millisecond + soon) // tcp(7): 200 ms is the ceiling
	s.out("P. 1011:1021(10) ack 1")
	s.in(". 1:1(0) ack 1021 win 60000")
	s.write(10)
	s.none()
	s.c.Shutdown(unix.SHUT_WR, s.now) // a FIN pulls the cork
	s.out("FP. 1021:1031(10) ack 1")
}

func TestMaxSeg(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{MaxSeg: 500}, s.now)
	s.write(1000)
	s.out(". 1:501(500) ack 1")
	s.out("P. 501:1001(500) ack 1")
}

// RFC 6298 §5: one timer, restarted by acknowledgements, doubled by timeouts; RFC 5681 §3.1: one segment
// after it, then slow start.
func TestRetransmissionTimeout(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(3000)
	s.out(". 1:1001(1000) ack 1")
	s.out(". 1001:2001(1000) ack 1")
	s.out("P. 2001:3001(1000) ack 1")
	rto := s.c.rto()
	if rto < rtoMin || rto > rtoMin+time.Millisecond {
		t.Fatalf("RTO is %v after a round trip of nothing", rto)
	}
	for i := range 4 {
		s.after(rto<<i + soon)
		s.out(". 1:1001(1000) ack 1")
	}
	if s.c.cc.cwnd != 1000 {
		t.Errorf("cwnd is %d after timeouts, want one segment", s.c.cc.cwnd)
	}
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out(". 1001:2001(1000) ack 1")
	s.out("P. 2001:3001(1000) ack 1")
	s.in(". 1:1(0) ack 3001 win 60000")
	if s.c.backoff == 0 || s.c.rtt.smooth > time.Millisecond {
		t.Errorf("backoff %d, rtt %v: Karn's algorithm takes no sample of what was sent twice", s.c.backoff, s.c.rtt.smooth)
	}
	s.write(10)
	s.out("P. 3001:3011(10) ack 1")
	s.in(". 1:1(0) ack 3011 win 60000")
	if s.c.backoff != 0 {
		t.Error("the backoff stays though a round trip was measured")
	}
	s.after(time.Second)
}

// tcp_retries2: data is given up when no answer comes for as long as Linux waits.
func TestRetransmissionGivesUp(t *testing.T) {
	s := newScript(t, Params{Retries2: 4}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	start := s.now
	for s.c.State() == Established && s.now < start.Add(time.Hour) {
		s.now = max(s.now, s.h.deadline())
		s.h.advance(s.now)
		s.pull()
	}
	s.state(Closed)
	if d := s.now.Sub(start); d < 6*time.Second || d > 13*time.Second {
		t.Errorf("gave up after %v, want 6.2 s and what is left of the last timeout", d)
	}
	s.readFails(unix.ETIMEDOUT)
	s.c.Close(s.now)
	s.gone()
}

func TestRetryLimit(t *testing.T) {
	for _, c := range []struct {
		retries int
		want    time.Duration
	}{{3, 3 * time.Second}, {8, 102200 * time.Millisecond}, {15, 924600 * time.Millisecond}} { // ip-sysctl: "924.6 seconds"
		if got := retryLimit(c.retries, 120*time.Second); got != c.want {
			t.Errorf("retryLimit(%d) = %v, want %v", c.retries, got, c.want)
		}
	}
}

func TestUserTimeout(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{UserTimeout: time.Second}, s.now)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.after(200*time.Millisecond + soon)
	s.out("P. 1:11(10) ack 1")
	s.after(400*time.Millisecond + soon)
	s.out("P. 1:11(10) ack 1")
	s.after(800*time.Millisecond + soon)
	s.state(Closed)
	s.writeFails(unix.ETIMEDOUT)
}

// RFC 6675: three segments sacked above a hole are a loss; all holes of a window are one recovery.
func TestFastRetransmitWithSACK(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(10000)
	for i := range 9 {
		s.out(sprintf(". %d:%d(1000) ack 1", 1+i*1000, 1001+i*1000))
	}
	s.out("P. 9001:10001(1000) ack 1")
	s.after(10 * time.Millisecond)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:3001>")
	s.none()
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
	s.out(". 1:1001(1000) ack 1")
	s.none() // 6 are in flight, the window is 7
	if s.c.cc.cwnd != 7000 {
		t.Errorf("cwnd is %d, want CUBIC's 0.7 of 10000", s.c.cc.cwnd)
	}
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:4001 5001:8001>") // another hole, 4001:5001
	s.out(". 4001:5001(1000) ack 1")
	s.in(". 1:1(0) ack 4001 win 60000 <sack 5001:8001>") // partial
	s.write(3000)
	s.out(". 10001:11001(1000) ack 1")
	s.out(". 11001:12001(1000) ack 1")
	s.out("P. 12001:13001(1000) ack 1")
	s.in(". 1:1(0) ack 10001 win 60000")
	if s.c.cc.cwnd != 7000 || s.c.flight.phase != phaseOpen || s.h.tcp.Stats().FastRecoveries != 1 {
		t.Errorf("cwnd %d, phase %d, %d recoveries: want one", s.c.cc.cwnd, s.c.flight.phase, s.h.tcp.Stats().FastRecoveries)
	}
	s.in(". 1:1(0) ack 13001 win 60000")
}

// RFC 6582: without SACK, each partial acknowledgement is one more retransmission.
func TestNewRenoPartialACK(t *testing.T) {
	s := newScript(t, Params{Congestion: NewReno}).established(60000)
	s.write(10000)
	for range 10 {
		s.pull()
	}
	s.in(". 1:1(0) ack 1 win 60000")
	s.in(". 1:1(0) ack 1 win 60000")
	s.none()
	s.in(". 1:1(0) ack 1 win 60000")
	s.out(". 1:1001(1000) ack 1")
	if s.c.cc.ssthresh != 5000 {
		t.Errorf("ssthresh is %d, want half of 10000", s.c.cc.ssthresh)
	}
	s.in(". 1:1(0) ack 3001 win 60000") // 3001:4001 is lost too
	s.out(". 3001:4001(1000) ack 1")
	s.in(". 1:1(0) ack 10001 win 60000")
	if s.c.cc.cwnd != 5000 {
		t.Errorf("cwnd is %d after the recovery, want 5000", s.c.cc.cwnd)
	}
}

// A duplicate with data, or with another window, is no duplicate (RFC 5681 §2).
func TestNotDuplicates(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10000)
	for range 10 {
		s.pull()
	}
	s.c.quick = 0
	for i := range 5 {
		s.in(sprintf(". 1:1(0) ack 1 win %d", 60001+i))
	}
	s.in(". 1:501(500) ack 1 win 60004")
	s.in(". 501:502(1) ack 1 win 60004")
	s.none()
	s.after(40*time.Millisecond + soon)
	s.out(". 10001:10001(0) ack 502")
}

// A peer that takes back what it said it had (RFC 2018 §8): after a timeout it is sent all.
func TestReneging(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(3000)
	for range 3 {
		s.pull()
	}
	s.after(10 * time.Millisecond)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:3001>")
	s.timeout(s.c.rtt.min.least() / 4)
	s.out(". 1:1001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.none()
	s.after(s.c.rto() + soon)
	s.out(". 1001:2001(1000) ack 1")
	s.in(". 1:1(0) ack 2001 win 60000")
	s.out("P. 2001:3001(1000) ack 1")
	s.in(". 1:1(0) ack 3001 win 60000")
}

// §3.8.6.2.1, the sender's silly-window avoidance: a small window is not filled at once.
func TestSenderSWS(t *testing.T) {
	s := newScript(t, Params{}).established(4000)
	s.write(6000)
	for range 4 {
		s.pull()
	}
	s.in(". 1:1(0) ack 4001 win 300") // less than a segment, less than half of 4000
	s.none()
	s.after(s.c.rto() + soon) // the override
	s.out(". 4001:4301(300) ack 1")
	s.in(". 1:1(0) ack 4301 win 2000")
	s.out(". 4301:5301(1000) ack 1")
	s.out("P. 5301:6001(700) ack 1")
}

// §3.8.6.1, MUST-36 and MUST-37: a window that stays closed is probed, ever more slowly, and for as long as the
// peer answers.
func TestZeroWindowForEver(t *testing.T) {
	s := newScript(t, Params{}).established(4000)
	s.write(6000)
	for range 4 {
		s.pull()
	}
	s.in(". 1:1(0) ack 4001 win 0")
	wait := s.c.rto()
	for range 30 {
		s.timeout(wait)
		s.out(". 4000:4000(0) ack 1")
		s.in(". 1:1(0) ack 4001 win 0")
		wait = min(2*wait, 120*time.Second)
	}
	s.state(Established)
	s.in(". 1:1(0) ack 4001 win 4000")
	s.out(". 4001:5001(1000) ack 1")
	s.out("P. 5001:6001(1000) ack 1")
	s.in(". 1:1(0) ack 6001 win 4000")
}

// But a peer that does not answer is given up like any other.
func TestZeroWindowUnanswered(t *testing.T) {
	s := newScript(t, Params{Retries2: 3}).established(1000)
	s.write(2000)
	s.pull()
	s.in(". 1:1(0) ack 1001 win 0")
	wait := s.c.rto()
	for range 3 {
		s.after(wait + soon)
		s.out(". 1000:1000(0) ack 1")
		wait *= 2
	}
	s.after(wait + soon)
	s.out("R. 1001:1001(0) ack 1")
	s.writeFails(unix.ETIMEDOUT)
}

// A connection whose program has left does not stay for ever because the peer keeps its window closed.
func TestZeroWindowOrphan(t *testing.T) {
	s := newScript(t, Params{OrphanRetries: 3}).established(1000)
	s.write(2000)
	s.pull()
	s.in(". 1:1(0) ack 1001 win 0")
	s.c.Close(s.now)
	wait := s.c.rto()
	for range 3 {
		s.after(wait + soon)
		s.out(". 1000:1000(0) ack 1")
		s.in(". 1:1(0) ack 1001 win 0")
		wait *= 2
	}
	s.after(wait + soon)
	s.out("R. 1001:1001(0) ack 1")
	s.gone()
}

// A window that is taken back: what is beyond it waits, the first piece goes on asking.
func TestShrunkWindow(t *testing.T) {
	s := newScript(t, Params{}).established(4000)
	s.write(4000)
	for range 4 {
		s.pull()
	}
	s.in(". 1:1(0) ack 1001 win 0")
	s.after(s.c.rto() + soon)
	s.out(". 1001:2001(1000) ack 1")
	s.in(". 1:1(0) ack 1001 win 3000")
	s.none()
	s.in(". 1:1(0) ack 2001 win 3000")
	s.out(". 2001:3001(1000) ack 1")
	s.out("P. 3001:4001(1000) ack 1")
	s.in(". 1:1(0) ack 4001 win 3000")
}

// §3.8.6, MUST-35 and MUST-37: a window that is taken back whole is probed by what is beyond it, for as long as the peer
// answers; a peer that does not is given up. A program that has set a user timeout has it, whatever the peer says.
func TestRFC9293_3_8_6_ShrunkToNothing(t *testing.T) {
	for _, c := range []struct {
		answers bool
		opt     Options
		end     State
	}{{true, Options{}, Established}, {false, Options{}, Closed}, {true, Options{UserTimeout: time.Minute}, Closed}} {
		s := newScript(t, Params{Retries2: 10}).established(4000)
		s.c.SetOptions(c.opt, s.now)
		s.write(2000)
		s.pull()
		s.pull()
		s.in(". 1:1(0) ack 1001 win 0")
		for end := s.now.Add(2 * time.Hour); s.now < end && s.c.State() == Established; {
			s.now = max(s.now, s.h.deadline())
			s.h.advance(s.now)
			for s.pull() != nil {
				if c.answers && s.c.State() == Established {
					s.in(". 1:1(0) ack 1001 win 0")
				}
			}
		}
		if s.c.State() != c.end {
			t.Fatalf("answers %v: %v, want %v", c.answers, s.c.State(), c.end)
		}
		if c.end == Closed {
			s.readFails(unix.ETIMEDOUT)
			continue
		}
		s.in(". 1:1(0) ack 1001 win 4000")
		s.timeout(s.c.flight.rtoAt.Sub(s.now))
		s.out("P. 1001:2001(1000) ack 1")
		s.in(". 1:1(0) ack 2001 win 4000")
	}
}

// RFC 6298 §5.7: where the SYN went twice nothing was timed, and the first timeout of data is three seconds.
func TestRFC6298_5_7_SYNSentTwice(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	s.out("S 0:0(0)")
	s.after(rtoInitial + soon)
	s.out("S 0:0(0)")
	s.in("S. 0:0(0) ack 1 win 60000 <mss 1000>")
	s.out(". 1:1(0) ack 1")
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.timeout(rtoFallback)
	s.out("P. 1:11(10) ack 1")
	s.in(". 1:1(0) ack 11 win 60000")
	s.write(10)
	s.out("P. 11:21(10) ack 1")
	s.after(10 * time.Millisecond)
	s.in(". 1:1(0) ack 21 win 60000")
	if rto := s.c.rto(); rto > 300*time.Millisecond {
		t.Errorf("the timeout is %v after a round trip was timed", rto)
	}
}

// send(2): the buffer fills, poll says when there is room again, a third of it.
func TestSendBufferFills(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.l.SetOptions(Options{SndBuf: 3000})
	s.in("S 0:0(0) win 60000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 60000")
	s.accept()
	s.write(3000)
	s.writeFails(unix.EAGAIN)
	if s.c.Readiness()&ring.Out != 0 {
		t.Error("Out, and the buffer is full")
	}
	s.h.wakes.Flush()
	for range 3 {
		s.pull()
	}
	s.in(". 1:1(0) ack 501 win 60000")
	if !s.h.wakes.Empty() {
		t.Error("woken for a sixth of the buffer")
	}
	s.in(". 1:1(0) ack 1001 win 60000")
	if s.h.wakes.Empty() || s.c.Readiness()&ring.Out == 0 {
		t.Error("not woken for a third of the buffer")
	}
	s.write(1000)
	s.out("P. 3001:4001(1000) ack 1")
	if n, errno, tell := s.c.Write(make([]byte, 5)); n != 0 || errno != unix.EAGAIN || tell {
		t.Error("full again:", n, errno, tell)
	}
}

// A writer that finds the core's memory used up is woken by time.
func TestWriteWithoutMemory(t *testing.T) {
	s := newScript(t, Params{})
	s.h.pool = ring.NewPool(4096)
	s.h.tcp.cfg.Pool = s.h.pool
	s.established(60000)
	n, errno, tell := s.c.Write(make([]byte, 5000))
	if n != 4096 || errno != 0 || !tell {
		t.Fatal(n, errno, tell)
	}
	s.c.Kick(s.now)
	for range 5 {
		s.pull()
	}
	s.h.wakes.Flush()
	s.after(memoryRetry + soon)
	if s.h.wakes.Empty() {
		t.Error("the writer was not woken")
	}
}

func TestKeepalive(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{KeepAlive: true, KeepIdle: 10 * time.Second, KeepInterval: time.Second, KeepCount: 2}, s.now)
	s.after(10*time.Second + soon)
	s.out(". 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 60000")
	s.after(time.Second + soon) // looked at again, not asked again
	s.after(9 * time.Second)
	for range 2 {
		s.out(". 0:0(0) ack 1")
		s.after(time.Second + soon)
	}
	s.out("R. 1:1(0) ack 1")
	s.readFails(unix.ETIMEDOUT)
	s.c.Close(s.now)
	s.gone()
}

// RFC 5681 §4.1: after a silence longer than a timeout the window begins anew.
func TestRestartAfterIdle(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.cc.cwnd = 40000
	s.write(10)
	s.pull()
	s.in(". 1:1(0) ack 11 win 60000")
	s.after(time.Minute)
	s.write(10)
	s.pull()
	if s.c.cc.cwnd != 10000 {
		t.Errorf("cwnd is %d after a minute of silence, want 10 segments", s.c.cc.cwnd)
	}
}

// RFC 5927 §4, RFC 1122 §4.2.3.9: an ICMP error ends an opening, and is only remembered afterwards.
func TestICMP(t *testing.T) {
	s := newScript(t, Params{SynRetries: 1, Retries2: 1}).established(60000)
	local, remote := s.c.Local(), s.c.Remote()
	if s.h.tcp.Unreachable(local, remote, s.c.snd.nxt, unix.EHOSTUNREACH, s.now) {
		t.Error("an error about nothing in flight was believed")
	}
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	if !s.h.tcp.Unreachable(local, remote, s.c.snd.una, unix.EHOSTUNREACH, s.now) {
		t.Error("not believed")
	}
	s.state(Established)
	for s.c.State() == Established {
		s.now = max(s.now, s.h.deadline())
		s.h.advance(s.now)
		s.pull()
	}
	s.readFails(unix.EHOSTUNREACH)

	s.lport = 81
	s.connect(Options{})
	s.out("S 0:0(0)")
	if !s.h.tcp.Unreachable(s.c.Local(), s.c.Remote(), s.c.snd.iss, unix.ENETUNREACH, s.now) {
		t.Error("not believed")
	}
	s.state(Closed)
	s.writeFails(unix.ENETUNREACH)
}

// What ends the opening of a connection has a place to be told, which an open one does not keep.
func TestTelling(t *testing.T) {
	var errors ring.Late
	s := newScript(t, Params{})
	s.connect(Options{Errors: &errors})
	want := &errors
	if !s.c.key.is4() {
		want = nil // nobody has asked
	}
	if s.c.Telling() != want {
		t.Error("an opening tells of errors elsewhere than it should")
	}
	s.out("S 0:0(0)")
	s.in("S. 0:0(0) ack 1 win 5000")
	s.out(". 1:1(0) ack 1")
	s.state(Established)
	if s.c.Telling() != nil || s.c.opt != &noOptions {
		t.Errorf("an open connection tells of errors: %+v", s.c.opt)
	}
}

// IP_RECVERR: an ICMP error about an established connection is the next call's, once, and the connection
// goes on.
func TestICMPWanted(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{RecvErr: true}, s.now)
	tell := func() {
		t.Helper()
		if !s.h.tcp.Unreachable(s.c.Local(), s.c.Remote(), s.c.snd.una, unix.EHOSTUNREACH, s.now) {
			t.Error("not believed")
		}
	}
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	tell()
	if ev := s.c.Readiness(); ev&ring.Err == 0 {
		t.Errorf("ready for %v, and an error waits", ev)
	}
	s.readFails(unix.EHOSTUNREACH)
	s.readFails(unix.EAGAIN)
	tell()
	s.writeFails(unix.EHOSTUNREACH)
	s.in(". 1:1(0) ack 11 win 60000")
	s.write(10)
	s.out("P. 11:21(10) ack 1")
	s.state(Established)
}

// RFC 1191 §6.4, RFC 8201 §4: what is too large is sent again at once, smaller.
func TestPathMTU(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(2000)
	s.out(". 1:1001(1000) ack 1")
	s.out("P. 1001:2001(1000) ack 1")
	if !s.h.tcp.TooBig(s.c.Local(), s.c.Remote(), s.c.snd.una, s.mtu(640), s.now) {
		t.Fatal("not believed")
	}
	s.out(". 1:601(600) ack 1")
	s.out(". 601:1001(400) ack 1")
	s.in(". 1:1(0) ack 1001 win 60000")
	s.write(1000)
	s.out(". 2001:2601(600) ack 1")
	s.out("P. 2601:3001(400) ack 1")
}

// tcp_slow_start_after_idle = 0: the window outlives a silence.
func TestNoRestartAfterIdle(t *testing.T) {
	s := newScript(t, Params{NoSlowStartIdle: true}).established(60000)
	s.c.cc.cwnd = 40000
	s.write(10)
	s.pull()
	s.in(". 1:1(0) ack 11 win 60000")
	s.after(time.Minute)
	s.write(10)
	s.pull()
	if s.c.cc.cwnd != 40000 {
		t.Errorf("cwnd is %d after a minute of silence", s.c.cc.cwnd)
	}
}

// RFC 6298 §5.5 and §2.5: each timeout doubles the next, up to rtoMax.
func TestBackoffHasALimit(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	wait := s.c.rto()
	for range 12 {
		s.timeout(wait)
		s.out("P. 1:11(10) ack 1")
		wait = min(2*wait, 120*time.Second)
	}
	if s.c.rto() != 120*time.Second {
		t.Errorf("the timeout is %v", s.c.rto())
	}
}

// RFC 7661 §4.1, RFC 9293 §3.8.2: what the program sends less than the window allows does not make it grow.
func TestWindowGrowsOnlyWhenUsed(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	for range 30 {
		s.write(2000)
		s.pull()
		s.pull()
		s.in(sprintf(". 1:1(0) ack %d win 60000", 1+s.wrote))
	}
	if s.c.cc.cwnd != 10000 {
		t.Errorf("cwnd is %d though a fifth of it was used", s.c.cc.cwnd)
	}
}
