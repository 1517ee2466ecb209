package tcp

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// RFC 9293 §3.10.7.4, clause by clause in each of the states that it is about.

// A place is a synchronized state and the numbers in it: what is expected next, and what is sent next.
type place struct {
	state    State
	rcv, snd int
	reset    unix.Errno // of a program that is reset there; -1: it has left
}

var places = []place{
	{Established, 1, 1, unix.ECONNRESET},
	{FinWait1, 1, 2, unix.ECONNRESET},
	{FinWait2, 1, 2, unix.ECONNRESET},
	{CloseWait, 2, 1, unix.EPIPE},
	{Closing, 2, 2, 0},
	{LastAck, 2, 2, 0},
}

// eachPlace runs a test in each of the states.
func eachPlace(t *testing.T, test func(t *testing.T, s *script, p place)) {
	for _, p := range places {
		t.Run(p.state.String(), func(t *testing.T) {
			s := newScript(t, Params{}).established(5000)
			switch p.state {
			case FinWait1, FinWait2, Closing:
				s.c.Shutdown(unix.SHUT_WR, s.now)
				s.out("F. 1:1(0) ack 1")
			case CloseWait, LastAck:
				s.in("F. 1:1(0) ack 1 win 5000")
				s.out(". 1:1(0) ack 2")
			}
			switch p.state {
			case FinWait2:
				s.in(". 1:1(0) ack 2 win 5000")
			case Closing:
				s.in("F. 1:1(0) ack 1 win 5000")
				s.out(". 2:2(0) ack 2")
			case LastAck:
				s.c.Shutdown(unix.SHUT_WR, s.now)
				s.out("F. 1:1(0) ack 2")
			}
			s.state(p.state)
			test(t, s, p)
		})
	}
}

// acks expects the acknowledgement that tells how things are, in a state that is as it was.
func (s *script) acks(p place) {
	s.t.Helper()
	s.state(p.state)
	s.out(sprintf(". %d:%d(0) ack %d", p.snd, p.snd, p.rcv))
}

func (s *script) segment(flags string, at, n, ack int) string {
	return sprintf("%s %d:%d(%d) ack %d win 5000", flags, at, at+n, n, ack)
}

// First, check the sequence number: what is not acceptable is answered by an acknowledgement.
func TestRFC9293_3_10_7_4_First_Unacceptable(t *testing.T) {
	for _, off := range []int{-5000, -1, 70000, 1 << 30} {
		eachPlace(t, func(t *testing.T, s *script, p place) {
			s.in(s.segment("P.", p.rcv+off, 1, p.snd))
			s.acks(p)
		})
	}
}

// "unless the RST bit is set, if so drop the segment".
func TestRFC9293_3_10_7_4_First_UnacceptableReset(t *testing.T) {
	for _, off := range []int{-5000, -1, 70000, 1 << 30} {
		eachPlace(t, func(t *testing.T, s *script, p place) {
			s.drops(s.segment("R.", p.rcv+off, 0, p.snd), drop.TCPResetOutOfWindow)
			s.state(p.state)
			s.none()
		})
	}
}

// Second, check the RST bit, with RFC 5961 §3: one at the very edge ends the connection, another in the window is challenged.
func TestRFC9293_3_10_7_4_Second_Reset(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		s.in(s.segment("R.", p.rcv, 0, p.snd))
		s.state(Closed)
		if p.reset != 0 {
			if errno := s.c.TakeError(); errno != p.reset {
				t.Errorf("the program hears %v, want %v", errno, p.reset)
			}
		}
		s.none()
		s.c.Close(s.now)
		s.gone()
	})
}

func TestRFC9293_3_10_7_4_Second_ResetInWindow(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		s.drops(s.segment("R", p.rcv+1, 0, 0), drop.TCPResetInexact)
		s.acks(p)
	})
}

// Fourth, check the SYN bit, with RFC 5961 §4: a challenge, wherever it stands.
func TestRFC9293_3_10_7_4_Fourth_SYN(t *testing.T) {
	for _, flags := range []string{"S", "S."} {
		for _, off := range []int{0, 100} {
			eachPlace(t, func(t *testing.T, s *script, p place) {
				s.drops(s.segment(flags, p.rcv+off, 0, p.snd), drop.TCPSYNInWindow)
				s.acks(p)
			})
		}
	}
}

// Fifth, check the ACK field: without one the segment is dropped.
func TestRFC9293_3_10_7_4_Fifth_NoACK(t *testing.T) {
	for _, flags := range []string{"P", "F", "U", "PU"} {
		eachPlace(t, func(t *testing.T, s *script, p place) {
			s.drops(sprintf("%s %d:%d(5) win 5000", flags, p.rcv, p.rcv+5), drop.TCPNoACK)
			s.state(p.state)
			s.none()
		})
	}
}

// "If the ACK acks something not yet sent, then send an ACK, drop the segment"; and RFC 5961 §5 for what is too old.
func TestRFC9293_3_10_7_4_Fifth_UnsentAndTooOld(t *testing.T) {
	for _, off := range []int{1, 1000, 1 << 30, -100000} {
		eachPlace(t, func(t *testing.T, s *script, p place) {
			reason := drop.TCPACKUnsent
			if off < 0 {
				reason = drop.TCPACKTooOld
			}
			s.drops(s.segment("P.", p.rcv, 5, p.snd+off), reason)
			s.acks(p)
		})
	}
}

// "If the ACK is a duplicate it can be ignored": the state stays, and text with it counts.
func TestRFC9293_3_10_7_4_Fifth_Duplicate(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		s.in(s.segment(".", p.rcv, 0, 1))
		s.state(p.state)
		s.none()
	})
}

// The acknowledgement of our FIN: FIN-WAIT-1 → FIN-WAIT-2, CLOSING → TIME-WAIT, LAST-ACK → CLOSED.
func TestRFC9293_3_10_7_4_Fifth_OurFIN(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		want := p.state
		switch p.state {
		case FinWait1:
			want = FinWait2
		case Closing, LastAck:
			want = Closed
		}
		s.in(s.segment(".", p.rcv, 0, p.snd))
		s.state(want)
		if p.state == Closing {
			s.timeWait(1)
		} else {
			s.timeWait(0)
		}
	})
}

// Seventh, process the segment text: it is taken in ESTABLISHED, FIN-WAIT-1 and FIN-WAIT-2; after the peer's FIN "this should
// not occur", and is ignored: its numbers are beyond the FIN.
func TestRFC9293_3_10_7_4_Seventh_Text(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		s.in(s.segment("P.", p.rcv, 10, 1))
		s.state(p.state)
		if p.rcv == 2 {
			s.acks(p)
			s.readFails(0)
			return
		}
		s.out(sprintf(". %d:%d(0) ack 11", p.snd, p.snd))
		s.read(10)
	})
}

// Eighth, check the FIN bit.
func TestRFC9293_3_10_7_4_Eighth_FIN(t *testing.T) {
	eachPlace(t, func(t *testing.T, s *script, p place) {
		if p.rcv == 2 { // again: it remains in its state
			s.in(s.segment("F.", 1, 0, 1))
			s.acks(p)
			return
		}
		s.in(s.segment("F.", 1, 0, 1))
		want := map[State]State{Established: CloseWait, FinWait1: Closing, FinWait2: Closed}[p.state]
		s.state(want)
		s.out(sprintf(". %d:%d(0) ack 2", p.snd, p.snd))
		if p.state == FinWait2 {
			s.timeWait(1)
		}
		s.readFails(0)
	})
}

// TIME-WAIT: the peer's FIN again is acknowledged and begins the wait anew; RFC 1337: nothing else ends it.
func TestRFC9293_3_10_7_4_TimeWait(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"FIN again", "F. 1:1(0) ack 2 win 5000", ". 2:2(0) ack 2"},
		{"text again", "P. 1:2(1) ack 2 win 5000", ". 2:2(0) ack 2"},
		{"text beyond the FIN", "P. 2:12(10) ack 2 win 5000", ". 2:2(0) ack 2"},
		{"RST", "R. 2:2(0) ack 2 win 0", ""},
		{"RST in the window", "R. 50:50(0) ack 2 win 0", ""},
		{"an acknowledgement", ". 2:2(0) ack 2 win 5000", ""},
		{"SYN of an old number", "S 0:0(0) win 5000 <mss 1000>", ". 2:2(0) ack 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(5000)
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			s.in("F. 1:1(0) ack 2 win 5000")
			s.out(". 2:2(0) ack 2")
			s.timeWait(1)
			s.drops(c.in, drop.TCPTimeWait)
			if c.out != "" {
				s.out(c.out)
			}
			s.none()
			s.timeWait(1)
		})
	}
}

// §3.10.7.1 and §3.10.7.2: what finds no connection, and what a listener answers.
func TestRFC9293_3_10_7_1_Closed(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"RST", "R 100:100(0) win 0", ""},
		{"without ACK: sequence number 0, and all of it acknowledged", "PF 100:110(10) win 0", "R. 0:0(0) ack 111"},
		{"with ACK: at the number that it acknowledges", "P. 100:110(10) ack 500 win 0", "R 500:500(0)"},
		{"SYN", "S 100:100(0) win 0", "R. 0:0(0) ack 101"},
		{"nothing", "P 100:100(0) win 0", "R. 0:0(0) ack 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{})
			s.in(c.in)
			if c.out != "" {
				s.out(c.out)
			}
			s.none()
		})
	}
}

func TestRFC9293_3_10_7_2_Listen(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"first: RST", "R 100:100(0) win 0", ""},
		{"second: ACK", ". 100:100(0) ack 500 win 0", "R 500:500(0)"},
		{"second: SYN-ACK", "S. 100:100(0) ack 500 win 0", "R 500:500(0)"},
		{"third: SYN", "S 0:0(0) win 500 <mss 1000>", "S. 0:0(0) ack 1"},
		{"third: SYN with text, which may be sent again", "S 0:10(10) win 500 <mss 1000>", "S. 0:0(0) ack 1"},
		{"fourth: FIN", "F 100:100(0) win 0", ""},
		{"fourth: nothing", "P 100:110(10) win 0", ""},
		{"SYN and FIN: no opening", "SF 0:0(0) win 500 <mss 1000>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{})
			s.listen(5)
			s.in(c.in)
			if c.out != "" {
				s.out(c.out)
			}
			s.none()
		})
	}
}

// §3.10.7.3, step by step.
func TestRFC9293_3_10_7_3_SynSent(t *testing.T) {
	for _, c := range []struct {
		name, in, out string
		state         State
	}{
		{"first: an acknowledgement of what was not sent", ". 100:100(0) ack 2 win 500", "R 2:2(0)", SynSent},
		{"first: one of nothing", "S. 0:0(0) ack 0 win 500 <mss 1000>", "R 0:0(0)", SynSent},
		{"first: and with RST no answer", "R. 100:100(0) ack 2 win 500", "", SynSent},
		{"second: RST", "R. 0:0(0) ack 1 win 0", "", Closed},
		{"second: RST without ACK", "R 0:0(0) win 0", "", SynSent},
		{"fourth: SYN-ACK", "S. 0:0(0) ack 1 win 500 <mss 1000>", ". 1:1(0) ack 1", Established},
		{"fourth: SYN", "S 0:0(0) win 500 <mss 1000>", "S. 0:0(0) ack 1", SynReceived},
		{"fifth: neither", ". 0:0(0) ack 1 win 500", "", SynSent},
		{"fifth: FIN", "F. 0:0(0) ack 1 win 500", "", SynSent},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{NoTimestamps: true, NoSACK: true, NoWindowScaling: true})
			s.connect(Options{})
			s.out("S 0:0(0)")
			iss := s.iss
			s.in(c.in)
			if c.out == "R 0:0(0)" { // at the number that it acknowledges, which is our SYN's
				if h := s.pull(); h == nil || h.Flags() != wire.RST || h.Seq().Uint32() != iss {
					t.Errorf("sent %v", h)
				}
			} else if c.out != "" {
				s.out(c.out)
			}
			s.none()
			s.state(c.state)
		})
	}
}
