package tcp

import (
	"testing"

	"github.com/xdpsock/xdpsock/proto/drop"
)

// from has the segments that come next have so many hops left.
func (s *script) from(hops uint8) { s.h.tcp.Arrives(0, hops) }

// dropsFar says that the segment that came last was dropped for where it came from.
func (s *script) dropsFar(reason drop.Reason) {
	s.t.Helper()
	if reason != drop.TCPMinTTL {
		s.t.Errorf("dropped: %v", reason)
	}
	s.none()
}

// guarded is a listener that hears its neighbours alone.
func guarded(t *testing.T) *script {
	s := newScript(t, Params{})
	s.listen(5)
	s.l.SetOptions(Options{MinTTL: 255, MinHops: 255})
	return s
}

func TestMinTTL(t *testing.T) {
	s := guarded(t)
	s.from(254)
	s.dropsFar(s.in("S 0:0(0) win 1000"))
	s.dropsFar(s.in(". 1:1(0) ack 1 win 1000"))
	s.dropsFar(s.in("R 1:1(0) win 0"))
	s.from(255)
	s.in("S 0:0(0) win 1000 <mss 1000>")
	s.out("S. 0:0(0) ack 1 <mss 1460>")
	s.from(1) // whoever knows our number has heard the SYN-ACK: as Linux
	s.in(". 1:1(0) ack 1 win 1000")
	s.accept()
	s.state(Established)
	s.dropsFar(s.in("P. 1:11(10) ack 1 win 1000"))
	s.dropsFar(s.in("R. 1:1(0) ack 1 win 0"))
	s.from(255)
	s.in("P. 1:11(10) ack 1 win 1000")
	s.out(". 1:1(0) ack 11")
}

func TestMinTTLIsOfOneFamily(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(5)
	if s.remote.Is4() {
		s.l.SetOptions(Options{MinHops: 255})
	} else {
		s.l.SetOptions(Options{MinTTL: 255})
	}
	s.from(1)
	s.in("S 0:0(0) win 1000 <mss 1000>")
	s.out("S. 0:0(0) ack 1 <mss 1460>")
}
