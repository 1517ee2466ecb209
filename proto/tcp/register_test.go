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

// A connection is registered from Connect, or from the end of its handshake, until TIME-WAIT is over, as its options say: the
// port that Connect was told is Bound whatever they are changed to.
func TestRegister(t *testing.T) {
	s := newScript(t, Params{})
	at := func(how Sharing, device uint32) int {
		return s.ledger.in[tenant{netip.AddrPortFrom(s.h.addr, s.lport), Tenure{device, how}}]
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
