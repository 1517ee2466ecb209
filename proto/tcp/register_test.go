package tcp

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A ledger is a Register that says who is wrong.
type ledger struct {
	t     testing.TB
	h     *host
	in    map[tenant]int
	n     int
	taken bool // the port has been bound to by others
}

type tenant struct {
	local netip.AddrPort
	how   Tenure
}

// account has h keep a ledger.
func account(t testing.TB, h *host) *ledger {
	l := &ledger{t: t, h: h, in: map[tenant]int{}}
	h.tcp.cfg.Register = l
	return l
}

func (l *ledger) Enter(local netip.AddrPort, how Tenure) bool {
	if l.taken && how.Sharing&Bound == 0 {
		return false
	}
	l.in[tenant{local, how}]++
	l.n++
	return true
}

func (l *ledger) Change(local netip.AddrPort, from, to Tenure) {
	l.Leave(local, from)
	l.Enter(local, to)
}

func (l *ledger) Leave(local netip.AddrPort, how Tenure) {
	if l.in[tenant{local, how}]--; l.in[tenant{local, how}] < 0 {
		l.t.Errorf("%v leaves as %v, and has not entered", local, how)
	}
	l.n--
}

// check wants as many connections in it as there are, but for those that are half-open.
func (l *ledger) check() {
	l.t.Helper()
	half := 0
	for _, first := range l.h.tcp.listeners {
		for at := first; at != nil; at = at.next {
			half += at.half.n
		}
	}
	if want := l.h.tcp.table.used - half; l.n != want {
		l.t.Errorf("%d connections are registered, and there are %d, and %d half-open", l.n, want, half)
	}
}

// With ReusePort a connection is its user's, and anybody's when it waits for its end alone: Linux asks an entry in TIME-WAIT for no user, and keeps
// what is closed in FIN-WAIT-2 as one, unless it is to last for longer.
func TestRegisterUser(t *testing.T) {
	const user = 1234
	for _, c := range []struct {
		what    string
		how     Sharing
		timeout time.Duration
		end     func(s *script)
		want    uint32
	}{
		{"open", ReusePort, 0, func(*script) {}, user},
		{"shut down", ReusePort, 0, func(s *script) {
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			s.in(". 1:1(0) ack 2 win 60000")
			s.state(FinWait2)
		}, user},
		{"shut down, then closed", ReusePort, 0, func(s *script) {
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
			s.in(". 1:1(0) ack 2 win 60000")
			s.c.Close(s.now)
			s.state(FinWait2)
		}, Anybody},
		{"closed, in FIN-WAIT-1", ReusePort, 0, func(s *script) {
			s.c.Close(s.now)
			s.out("F. 1:1(0) ack 1")
		}, user},
		{"closed, in FIN-WAIT-2", ReusePort, 0, closeHalf, Anybody},
		{"closed, in FIN-WAIT-2 for long", ReusePort, 100 * time.Second, closeHalf, user},
		{"closed, in FIN-WAIT-2 for long, later", ReusePort, 100 * time.Second, func(s *script) {
			closeHalf(s)
			s.after(40*time.Second + soon)
			s.state(FinWait2)
		}, Anybody},
		{"in TIME-WAIT", ReusePort, 0, closeWhole, Anybody},
		{"in TIME-WAIT after FIN-WAIT-2", ReusePort, 0, func(s *script) {
			closeHalf(s)
			s.in("F. 1:1(0) ack 2 win 60000")
			s.out(". 2:2(0) ack 2")
			s.timeWait(1)
		}, Anybody},
		{"without ReusePort, in TIME-WAIT", ReuseAddr, 0, closeWhole, 0},
		{"without ReusePort, in FIN-WAIT-2", ReuseAddr, 0, closeHalf, 0},
	} {
		s := newScript(t, Params{FinTimeout: c.timeout}).established(60000)
		o := Options{Sharing: c.how}
		if c.how&ReusePort != 0 {
			o.User = user
		}
		s.c.SetOptions(o, s.now)
		c.end(s)
		if want := (tenant{netip.AddrPortFrom(s.h.addr, s.lport), Tenure{User: c.want, Sharing: Bound | c.how}}); s.ledger.in[want] != 1 {
			t.Errorf("%s: %v, want %v", c.what, s.ledger.in, want)
		}
		if c.want == user {
			s.c.Abort(s.now)
			s.pull() // the reset
		}
		s.after(3 * time.Minute)
		if s.ledger.n != 0 {
			t.Errorf("%s, at the end: %v", c.what, s.ledger.in)
		}
	}
}

// closeHalf closes a connection whose peer does not, closeWhole one whose peer does.
func closeHalf(s *script) {
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in(". 1:1(0) ack 2 win 60000")
	s.state(FinWait2)
}

func closeWhole(s *script) {
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	s.timeWait(1)
}

// A connection is registered from Connect, or from the end of its handshake, until TIME-WAIT is over, as its options say: the
// port that Connect was told is Bound whatever they are changed to.
func TestRegister(t *testing.T) {
	s := newScript(t, Params{})
	at := func(how Sharing, device uint32) int {
		return s.ledger.in[tenant{netip.AddrPortFrom(s.h.addr, s.lport), Tenure{Device: device, Sharing: how}}]
	}
	s.listen(5)
	s.in("S 0:0(0) win 60000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	if s.ledger.n != 0 {
		t.Error("a half-open connection is registered")
	}
	s.in(". 1:1(0) ack 1 win 60000")
	if at(Bound, 0) != 1 {
		t.Error("before accept:", s.ledger.in)
	}
	s.accept()
	s.c.SetOptions(Options{Sharing: ReuseAddr | Only6, Device: 2}, s.now)
	if at(Bound, 0) != 0 || at(Bound|ReuseAddr|Only6, 2) != 1 {
		t.Error("with other options:", s.ledger.in)
	}
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 60000")
	s.out(". 2:2(0) ack 2")
	s.timeWait(1)
	s.after(59 * time.Second)
	if at(Bound|ReuseAddr|Only6, 2) != 1 {
		t.Error("in TIME-WAIT:", s.ledger.in)
	}
	s.after(2 * time.Second)
	if s.ledger.n != 0 {
		t.Error("after it:", s.ledger.in)
	}
	for _, how := range []Sharing{0, Bound} {
		for _, taken := range []bool{false, true} {
			s.ledger.taken = taken
			c, errno := s.h.tcp.Connect(netip.AddrPortFrom(s.h.addr, 4000), netip.AddrPortFrom(s.remote, 5000), Options{Sharing: how}, s.now)
			if taken && how == 0 {
				if errno != unix.EADDRNOTAVAIL {
					t.Error("from a port that others are bound to:", errno)
				}
				continue
			}
			if errno != 0 {
				t.Fatal(errno)
			}
			c.SetOptions(Options{Sharing: ReusePort}, s.now)
			if s.ledger.in[tenant{c.Local(), Tenure{Sharing: how | ReusePort}}] != 1 {
				t.Error("of Connect:", s.ledger.in)
			}
			c.Abort(s.now)
		}
	}
	s.ledger.check()
	s.gone()
}
