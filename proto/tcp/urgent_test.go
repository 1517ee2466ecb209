package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// urgent is what send does with MSG_OOB.
func (s *script) urgent(n int) {
	s.t.Helper()
	p := make([]byte, n)
	fill(p, s.wrote)
	if got, errno, _ := s.c.Write(p); got != n {
		s.t.Fatalf("Write took %d of %d: %v", got, n, errno)
	}
	s.wrote += uint64(n)
	s.c.MarkUrgent(s.now)
	s.c.Kick(s.now)
}

// takes expects MSG_OOB to give the byte at a place of the peer's stream, or to fail.
func (s *script) takes(peek bool, at uint64, want unix.Errno) {
	s.t.Helper()
	b, ok, errno := s.c.Urgent(peek)
	if errno != want || ok != (want == 0) || ok && wrongAt([]byte{b}, at) >= 0 {
		s.t.Fatalf("MSG_OOB gave %#x, %v, %v; want the byte at %d, %v", b, ok, errno, at, want)
	}
}

// reads expects a read of up to n bytes to give those of the peer's stream from a place on.
func (s *script) reads(n int, from uint64, want int) {
	s.t.Helper()
	p := make([]byte, n)
	got, errno, _ := s.c.Read(p)
	if got != want || got > 0 && wrongAt(p[:got], from) >= 0 || got == 0 && errno != unix.EAGAIN {
		s.t.Fatalf("Read gave %d, %v; want %d bytes from %d on", got, errno, want, from)
	}
}

func (s *script) mark(want bool) {
	s.t.Helper()
	if got := s.c.AtMark(); got != want {
		s.t.Fatalf("AtMark is %v, want %v", got, want)
	}
}

// RFC 6093 §2, RFC 9293 §3.8.5: the pointer is that of the byte behind, on all segments before it, until it is acknowledged.
func TestRFC9293_3_8_5_UrgentSent(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.write(10)
	s.out("P. 1:11(10) ack 1")
	s.urgent(3) // not held by Nagle's algorithm
	s.out("PU. 11:14(3) ack 1 urg 3")
	s.write(5)
	s.out("P. 14:19(5) ack 1") // this is not before the urgent byte, but nothing is held until that is acknowledged
	s.in(". 1:1(0) ack 14 win 60000")
	s.write(1)
	s.none()
	s.in(". 1:1(0) ack 19 win 60000")
	s.out("P. 19:20(1) ack 1")
}

// The pointer of a segment sent again is counted from there; a later mark takes the place of an earlier one; pure
// acknowledgements tell of one that is yet to be sent.
func TestRFC9293_3_8_5_UrgentSentAgain(t *testing.T) {
	s := newScript(t, Params{}).established(1200)
	s.write(500)
	s.out("P. 1:501(500) ack 1")
	s.urgent(500)
	s.out("PU. 501:1001(500) ack 1 urg 500")
	s.urgent(400) // beyond the window
	s.none()
	s.in("P. 1:2(1) ack 1 win 1200")
	s.out("U. 1001:1001(0) ack 2 urg 400")
	s.timeout(s.c.rto())
	s.out("U. 1:1001(1000) ack 2 urg 1400")
	s.in(". 2:2(0) ack 1001 win 1200")
	s.out("PU. 1001:1401(400) ack 2 urg 400")
	s.in(". 2:2(0) ack 1401 win 1200")
}

// RFC 9293 §3.8.5, MUST-31: of a length that the pointer cannot say.
func TestRFC9293_3_8_5_UrgentFarAway(t *testing.T) {
	s := newScript(t, Params{}).established(65535)
	s.urgent(70000)
	s.out("U. 1:1001(1000) ack 1 urg 65535")
	for s.pull() != nil {
	}
}

// A closed window does not keep urgent data from being announced (RFC 9293 §3.8.5, MUST-62 is of the receiver; Linux: tcp_write_wakeup).
func TestRFC9293_3_8_5_UrgentProbe(t *testing.T) {
	s := newScript(t, Params{}).established(0)
	s.urgent(1)
	s.timeout(s.c.rto())
	s.out("U. 1:1(0) ack 1 urg 1")
	s.out("U. 0:0(0) ack 1 urg 2")
}

// The receiver: reads stop at the mark, the byte is read by itself, and it is left out of the stream.
func TestRFC6093_UrgentReceived(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.takes(false, 0, unix.EINVAL)
	s.mark(false)
	s.in("PU. 1:11(10) ack 1 win 5000 urg 5")
	s.out(". 1:1(0) ack 11")
	if ev := s.c.Readiness(); ev&(ring.Pri|ring.In) != ring.Pri|ring.In {
		t.Fatalf("readiness %b", ev)
	}
	if n := s.c.Buffered(); n != 4 {
		t.Errorf("Buffered is %d, to the mark", n)
	}
	s.takes(true, 4, 0)
	s.takes(false, 4, 0)
	s.takes(false, 4, unix.EINVAL)
	s.reads(9, 0, 4)
	s.mark(true)
	if ev := s.c.Readiness(); ev&ring.Pri != 0 || ev&ring.In == 0 {
		t.Fatalf("readiness %b", ev)
	}
	s.reads(9, 5, 5)
	s.mark(false)
	s.takes(false, 4, unix.EINVAL)
	s.reads(9, 0, 0)
}

// A mark that nobody read is passed by reading on, and lost.
func TestRFC6093_UrgentNotRead(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("PU. 1:4(3) ack 1 win 5000 urg 3")
	s.out(". 1:1(0) ack 4")
	s.reads(9, 0, 2)
	s.mark(true)
	if ev := s.c.Readiness(); ev&ring.In != 0 || ev&ring.Pri == 0 {
		t.Errorf("only the urgent byte is there, and readiness is %b", ev)
	}
	if n, errno := s.c.Peek(make([]byte, 3), 0); n != 0 || errno != unix.EAGAIN {
		t.Errorf("Peek gave %d, %v", n, errno)
	}
	s.reads(9, 3, 0)
	s.takes(false, 2, unix.EINVAL)
	s.in("P. 4:6(2) ack 1 win 5000")
	s.out(". 1:1(0) ack 6")
	s.reads(9, 3, 2)
}

// Marks one after the other, each announced while the program is at the one before: none of their bytes is read with the
// others, to a limit, and a program that looks finds only what it can read.
func TestRFC6093_MarksInARow(t *testing.T) {
	for _, marks := range []int{2, 5, 16, 20} {
		s := newScript(t, Params{}).established(5000)
		s.c.quick = 0
		s.in("P. 1:2(1) ack 1 win 5000")
		s.reads(9, 0, 1)
		for i := range marks {
			s.in(sprintf("PU. %d:%d(1) ack 1 win 5000 urg 1", 2+i, 3+i))
		}
		s.mark(marks <= 16)
		if ev := s.c.Readiness(); (ev&ring.In != 0) != (marks > 16) || ev&ring.Pri == 0 {
			t.Errorf("%d marks: readiness %b", marks, ev)
		}
		s.takes(false, uint64(marks), 0)
		s.in(sprintf("P. %d:%d(9) ack 1 win 5000", 2+marks, 11+marks))
		first := marks - 16 // what stood too far behind is read as it is, to the mark
		if first > 0 {
			s.reads(99, 16, first)
		}
		s.reads(99, uint64(1+marks), 9)
		for s.pull() != nil {
		}
	}
}

func TestRFC6093_UrgentInline(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.c.SetOptions(Options{OOBInline: true}, s.now)
	s.in("PU. 1:11(10) ack 1 win 5000 urg 5")
	s.out(". 1:1(0) ack 11")
	s.takes(false, 4, unix.EINVAL)
	if n := s.c.Buffered(); n != 10 {
		t.Errorf("Buffered is %d", n)
	}
	s.reads(9, 0, 4)
	s.mark(true)
	if ev := s.c.Readiness(); ev&(ring.Pri|ring.In) != ring.Pri|ring.In {
		t.Errorf("readiness %b", ev)
	}
	s.reads(9, 4, 6)
	s.mark(false)
}

// The mark is announced before its byte comes, in a segment without data or one that is beyond a hole.
func TestRFC6093_UrgentAnnounced(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("U. 1:1(0) ack 1 win 5000 urg 3")
	s.takes(false, 2, unix.EAGAIN)
	if s.c.Readiness()&ring.Pri != 0 {
		t.Error("ready before the byte is there")
	}
	s.in("P. 1:3(2) ack 1 win 5000")
	s.out(". 1:1(0) ack 3")
	s.takes(false, 2, unix.EAGAIN)
	s.reads(9, 0, 2)
	s.mark(true)
	s.in("P. 3:5(2) ack 1 win 5000")
	s.out(". 1:1(0) ack 5")
	s.takes(false, 2, 0)
	s.reads(9, 3, 1)

	s.in("PU. 10:20(10) ack 1 win 5000 urg 5")
	s.out(". 1:1(0) ack 5")
	s.takes(false, 13, 0) // out of order, as Linux
	s.in("P. 5:10(5) ack 1 win 5000")
	s.out(". 1:1(0) ack 20")
	s.reads(20, 4, 9)
	s.reads(20, 14, 5)
}

// Of a pointer at what has arrived, or again at the same place, there is nothing new; a later one overrides, and the byte of the earlier
// one is read like any other, unless the program had come to it.
func TestRFC6093_UrgentAgain(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("PU. 1:4(3) ack 1 win 5000 urg 3")
	s.out(". 1:1(0) ack 4")
	s.in("PU. 4:7(3) ack 1 win 5000 urg 3")
	s.out(". 1:1(0) ack 7")
	s.takes(false, 5, 0)
	s.in("U. 7:7(0) ack 1 win 5000 urg 0") // at the next byte to come, since 0 is not counted back
	s.reads(20, 0, 6)                      // the mark at 5 was not come to
	s.mark(true)
	s.in("P. 7:8(1) ack 1 win 5000")
	s.out(". 1:1(0) ack 8")
	s.takes(false, 6, 0)
	s.reads(20, 0, 0)

	s.in("PU. 8:11(3) ack 1 win 5000 urg 2")
	s.out(". 1:1(0) ack 11")
	s.reads(20, 7, 1)
	s.mark(true)
	s.in("PU. 11:13(2) ack 1 win 5000 urg 2")
	s.out(". 1:1(0) ack 13")
	s.reads(20, 9, 2) // not the byte at 8, to which the program had come
	s.takes(false, 11, 0)
}

// tcp_stdurg: RFC 1122 §4.2.2.4, which RFC 6093 §4 takes back.
func TestStdUrg(t *testing.T) {
	s := newScript(t, Params{StdURG: true}).established(5000)
	s.in("PU. 1:11(10) ack 1 win 5000 urg 5")
	s.out(". 1:1(0) ack 11")
	s.takes(false, 5, 0)
	s.reads(20, 0, 5)
}

// At the end of the stream there is no urgent byte to wait for.
func TestUrgentAtTheEnd(t *testing.T) {
	s := newScript(t, Params{}).established(5000)
	s.in("FU. 1:1(0) ack 1 win 5000 urg 9")
	s.out(". 1:1(0) ack 2")
	if _, ok, errno := s.c.Urgent(false); ok || errno != 0 {
		t.Errorf("MSG_OOB gave %v, %v at the end", ok, errno)
	}
	s.readFails(0)
	s.after(time.Millisecond)
}

// An urgent byte that the program has come to is not to be read any more once there is a later one: it is behind the program for
// SIOCATMARK, FIONREAD and a close too, which resets nothing for its sake (tcp_check_urg of Linux moves copied_seq).
func TestRFC6093_OldMarkIsBehindTheProgram(t *testing.T) {
	for _, read := range []bool{false, true} {
		s := newScript(t, Params{}).established(5000)
		s.in("PU. 1:2(1) ack 1 win 5000 urg 1")
		s.out(". 1:1(0) ack 2")
		if !s.c.AtMark() || s.c.Buffered() != 0 {
			t.Fatal("not at the mark,", s.c.Buffered())
		}
		s.in("U. 2:2(0) ack 1 win 5000 urg 1")
		if !s.c.AtMark() || s.c.Buffered() != 0 {
			t.Fatal("not at the later mark,", s.c.Buffered())
		}
		if read {
			s.readFails(unix.EAGAIN)
		}
		s.c.Close(s.now)
		s.out("F. 1:1(0) ack 2")
		s.state(FinWait1)
	}
}
