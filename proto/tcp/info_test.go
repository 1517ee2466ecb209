package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpi_delivered_ce: what was acknowledged with ECE, in segments.
func TestDeliveredCE(t *testing.T) {
	s := withECN(t, 60000)
	s.write(6000)
	for range 6 {
		s.pull()
	}
	s.after(10 * ms)
	s.in(". 1:1(0) ack 2001 win 60000")
	s.in("E. 1:1(0) ack 5001 win 60000")
	s.in("E. 1:1(0) ack 5001 win 60000")
	s.in(". 1:1(0) ack 6001 win 60000")
	if i := s.c.Info(s.now); i.DeliveredCE != 3 || i.Delivered != 7 {
		t.Errorf("%d of %d delivered met with congestion, want 3 of 7", i.DeliveredCE, i.Delivered)
	}
}

// What was sent and what of it was acknowledged stays known when a connection has ended, by whichever end: bytes that never
// went out, or were not acknowledged, are not counted for it.
func TestInfoOfAnEndedConnection(t *testing.T) {
	for _, c := range []struct {
		name        string
		end         func(s *script)
		sent, acked uint64
	}{
		{"reset by the peer", func(s *script) { s.in("R. 1:1(0) ack 1001 win 2000"); s.readFails(unix.ECONNRESET) }, 3000, 1000},
		{"in good order", func(s *script) {
			s.in(". 1:1(0) ack 3001 win 60000")
			s.out(". 3001:4001(1000) ack 1")
			s.out("P. 4001:5001(1000) ack 1")
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 5001:5001(0) ack 1")
			s.in("F. 1:1(0) ack 5002 win 60000")
			s.out(". 5002:5002(0) ack 2")
		}, 5000, 5000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(2000)
			s.write(5000)
			s.out(". 1:1001(1000) ack 1")
			s.out(". 1001:2001(1000) ack 1")
			s.in(". 1:1(0) ack 1001 win 2000")
			s.out(". 2001:3001(1000) ack 1")
			if i := s.c.Info(s.now); i.BytesSent != 3000 || i.BytesAcked != 1000 {
				t.Errorf("before: %d sent, %d acknowledged", i.BytesSent, i.BytesAcked)
			}
			c.end(s)
			s.state(Closed)
			if i := s.c.Info(s.now); i.BytesSent != c.sent || i.BytesAcked != c.acked {
				t.Errorf("%d sent, %d acknowledged; want %d, %d", i.BytesSent, i.BytesAcked, c.sent, c.acked)
			}
		})
	}
}

// TCP_KEEPIDLE of a connection that has been silent counts from when it fell silent, SO_KEEPALIVE from when it is asked for
// (Linux: tcp_sock_set_keepidle_locked, tcp_set_keepalive).
func TestKeepIdleCountsTheSilence(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.after(30 * time.Second)
	s.c.SetOptions(Options{KeepAlive: true, KeepIdle: 60 * time.Second}, s.now)
	s.after(40 * time.Second)
	s.c.SetOptions(Options{KeepAlive: true, KeepIdle: 80 * time.Second}, s.now)
	s.timeout(10 * time.Second)
	s.out(". 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 60000")
	s.after(20 * time.Second)
	s.c.SetOptions(Options{KeepAlive: true, KeepIdle: 5 * time.Second}, s.now)
	s.timeout(0)
	s.out(". 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 60000")
}

// A user timeout ends a connection that keepalive asks in vain at the first question after it, whatever TCP_KEEPCNT says.
func TestKeepaliveUserTimeout(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.c.SetOptions(Options{KeepAlive: true, KeepIdle: 10 * time.Second, KeepInterval: 3 * time.Second, KeepCount: 100, UserTimeout: 15 * time.Second}, s.now)
	s.timeout(10 * time.Second)
	s.out(". 0:0(0) ack 1")
	s.timeout(3 * time.Second)
	s.out(". 0:0(0) ack 1")
	s.timeout(3 * time.Second)
	s.out("R. 1:1(0) ack 1")
	s.readFails(unix.ETIMEDOUT)
}
