package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Bugs that other stacks had. Each has its test here.

// ESTABLISHED for ever while the peer keeps its window at 0 and answers every probe: TCP_USER_TIMEOUT ends it, and where the
// program has left, the orphan's retries do.
func TestBugEstablishedForEverAtWindowZero(t *testing.T) {
	for _, c := range []struct {
		name  string
		opt   Options
		close bool
		limit time.Duration
	}{
		{"TCP_USER_TIMEOUT", Options{UserTimeout: 10 * time.Second}, false, 11 * time.Second},
		{"closed", Options{}, true, 3 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(1000)
			s.c.SetOptions(c.opt, s.now)
			s.write(2000)
			s.out(". 1:1001(1000) ack 1")
			s.in(". 1:1(0) ack 1001 win 0")
			start, probes := s.now, 0
			if c.close {
				s.c.Close(s.now)
			}
			for {
				s.now = max(s.now, s.h.deadline())
				s.h.advance(s.now)
				h := s.pull()
				if h == nil {
					continue
				}
				if h.Flags().Has(wire.RST) {
					break
				}
				if probes++; s.now.Sub(start) > c.limit {
					t.Fatalf("it is %v after %v", s.c.State(), s.now.Sub(start))
				}
				s.in(". 1:1(0) ack 1001 win 0")
			}
			if probes < 3 {
				t.Errorf("%d probes", probes)
			}
			if !c.close {
				s.writeFails(unix.ETIMEDOUT)
				s.c.Close(s.now)
			}
			s.gone()
		})
	}
}

// Half-open connections that nothing ends: the peer is silent, or goes on acknowledging while the accept queue is full, or sends
// its SYN again and again.
func TestBugSynReceivedZombies(t *testing.T) {
	for _, c := range []struct{ name, again string }{
		{"silent", ""}, {"acknowledges", ". 1:1(0) ack 1 win 5000"}, {"sends its SYN again", "S 0:0(0) win 5000 <mss 1000>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{})
			s.listen(0)
			s.in("S 0:0(0) win 5000 <mss 1000>") // fills the accept queue
			s.out("S. 0:0(0) ack 1")
			s.in(". 1:1(0) ack 1 win 5000")
			s.rport++
			s.l.SetBacklog(1)
			s.in("S 0:0(0) win 5000 <mss 1000>")
			s.out("S. 0:0(0) ack 1")
			s.l.SetBacklog(0)
			for end := s.now.Add(5 * time.Minute); s.now < end; {
				s.now = s.now.Add(700 * time.Millisecond)
				s.h.advance(s.now)
				for s.pull() != nil {
				}
				if c.again != "" && s.h.tcp.Count(SynReceived) > 0 {
					s.in(c.again)
				}
				for s.pull() != nil {
				}
			}
			if n := s.h.tcp.Count(SynReceived); n != 0 || s.l.half.n != 0 {
				t.Errorf("%d are half-open, %d are listed", n, s.l.half.n)
			}
		})
	}
}

// A FIN that is lost while the other side closes as well: both ends come to their end, whichever of the FINs and their
// acknowledgements are lost.
func TestBugFINLostInARaceWithClose(t *testing.T) {
	for lost := range 32 { // by a bit each: which of the first segments after the closes are lost
		w := newWorld(t, uint64(lost), Params{})
		ca, cb := w.connect()
		w.run(time.Second)
		n := 0
		w.drop = func(*host, wire.TCP) bool { n++; return n <= 5 && lost>>(n-1)&1 != 0 }
		ca.Write([]byte("last words"))
		ca.Kick(w.now)
		if lost%2 == 0 {
			ca.Close(w.now)
			w.run(time.Duration(lost) * time.Millisecond)
			if cb.Readiness() == 0 { // the words must not be unread, or it is a reset
				w.run(time.Minute)
			}
			cb.Read(make([]byte, 20))
			cb.Close(w.now)
		} else {
			cb.Shutdown(unix.SHUT_WR, w.now)
			ca.Shutdown(unix.SHUT_WR, w.now)
			w.run(time.Minute)
			buf := make([]byte, 20)
			if m, errno, _ := cb.Read(buf); string(buf[:m]) != "last words" || errno != 0 {
				t.Fatalf("lost %05b: read %q, %v", lost, buf[:m], errno)
			}
			if m, errno, _ := cb.Read(buf); m != 0 || errno != 0 {
				t.Fatalf("lost %05b: at the end %d, %v", lost, m, errno)
			}
			ca.Close(w.now)
			cb.Close(w.now)
		}
		for port, l := range w.b.tcp.listeners {
			_ = port
			l.Close(w.now)
		}
		w.noLeaks()
		if t.Failed() {
			t.Fatalf("lost %05b", lost)
		}
	}
}

// Twenty connections at once, at a listener whose queues are shorter than that: each gets through and none hangs. (With SYN cookies a
// connection that the full accept queue has kept out may be reset by what comes behind its first data, as by Linux.)
func TestBugTwentyConnectionsAtOnce(t *testing.T) {
	w := newWorld(t, 1, Params{NoSynCookies: true})
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 3})
	var flows []*flow
	byPort := map[uint16]*flow{}
	for i := range 20 {
		c, errno := w.a.tcp.Connect(w.a.at(uint16(3000+i)), w.b.at(80), Options{}, w.now)
		if errno != 0 {
			t.Fatal(errno)
		}
		w.a.own(c)
		f := &flow{w: w, src: c, size: 50000, close: true, chunk: 4000}
		flows, byPort[uint16(3000+i)] = append(flows, f), f
	}
	w.work = func() {
		if c := l.Accept(); c != nil {
			w.b.own(c)
			f := byPort[c.Remote().Port()]
			f.dst, f.readEach, f.buf = c, 3000, nil
		}
		for _, f := range flows {
			f.pump() // the client speaks first: what a full queue or a cookie has forgotten comes by its data again
		}
	}
	w.until(5*time.Minute, func() bool {
		for _, f := range flows {
			if !f.ended || f.read != f.size {
				return false
			}
		}
		return true
	})
}

// A write to a connection that has ended succeeds: never, whichever way it ended.
func TestBugWriteToAClosedConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *script)
		want unix.Errno // of the first write; the next is EPIPE
	}{
		{"reset by the peer", func(s *script) { s.in("R. 1:1(0) ack 1 win 0") }, unix.ECONNRESET},
		{"reset after the peer's FIN", func(s *script) {
			s.in("F. 1:1(0) ack 1 win 5000")
			s.out(". 1:1(0) ack 2")
			s.in("R. 2:2(0) ack 1 win 0")
		}, unix.EPIPE},
		{"shut down", func(s *script) {
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 1")
		}, unix.EPIPE},
		{"closed by both", func(s *script) {
			s.in("F. 1:1(0) ack 1 win 5000")
			s.out(". 1:1(0) ack 2")
			s.c.Shutdown(unix.SHUT_WR, s.now)
			s.out("F. 1:1(0) ack 2")
			s.in(". 2:2(0) ack 2 win 5000")
		}, unix.EPIPE},
		{"timed out", func(s *script) {
			s.c.SetOptions(Options{KeepAlive: true, KeepIdle: time.Second, KeepInterval: time.Second, KeepCount: 1}, s.now)
			s.timeout(time.Second)
			s.out(". 0:0(0) ack 1")
			s.timeout(time.Second)
			s.out("R. 1:1(0) ack 1")
		}, unix.ETIMEDOUT},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{}).established(5000)
			c.end(s)
			s.writeFails(c.want)
			s.writeFails(unix.EPIPE)
			if s.c.tx.Len() != 0 && s.c.state == Closed {
				t.Error("and it is queued")
			}
		})
	}
}

// A SYN with any of ECN's bits, or any that are reserved, answered by a reset.
func TestBugSYNWithECNBitsIsReset(t *testing.T) {
	for bits := range 256 {
		for _, ip := range []string{"none", "ect0", "ect1", "ce"} {
			s := newScript(t, Params{})
			s.listen(1)
			flags := "S"
			if bits&1 != 0 {
				flags += "E"
			}
			if bits&2 != 0 {
				flags += "W"
			}
			if bits&4 != 0 {
				flags += "P"
			}
			if bits&8 != 0 {
				flags += "U"
			}
			if reason := s.in(sprintf("%s 0:0(0) win 5000 ecn %s reserved %d <mss 1000>", flags, ip, bits>>4)); reason != drop.None {
				t.Fatalf("%s, %s, reserved %d: dropped for %v", flags, ip, bits>>4, reason)
			}
			if h := s.pull(); h == nil || h.Flags()&^wire.ECE != wire.SYN|wire.ACK {
				t.Fatalf("%s, %s, reserved %d: answered by %v", flags, ip, bits>>4, h)
			}
		}
	}
}

// The last segment of a handshake without the timestamps that were agreed on is dropped, and with it the connection.
func TestBugHandshakeACKWithoutTimestamps(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 5000 <mss 1000,TS 5000 0>")
	s.out("S. 0:0(0) ack 1 <mss 1460,TS _ 5000>")
	if reason := s.in("P. 1:11(10) ack 1 win 5000"); reason != drop.None {
		t.Fatal(reason)
	}
	s.out(". 1:1(0) ack 11 <TS _ 5000>")
	s.accept()
	s.read(10)
}

// Slow start that overshoots a small receive buffer: nothing is sent beyond the window, and the congestion window
// does not grow beyond what the peer's lets be used.
func TestBugSlowStartOvershootsASmallBuffer(t *testing.T) {
	w := newWorld(t, 3, Params{})
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 1, Options: Options{RcvBuf: 8000}})
	ca, cb := w.connectTo(l, 4000, Options{})
	var edge wire.Seq
	w.seen = func(from *host, seg wire.TCP, _ mono.Time) {
		switch {
		case from == w.b:
			edge = edge.Max(seg.Ack().Add(int(seg.Window()) << cb.rcv.scale))
		case seg.Seq().Add(len(seg.Payload())).After(edge) && edge != (wire.Seq{}):
			t.Fatalf("%d bytes beyond the window", seg.Seq().Add(len(seg.Payload())).Sub(edge))
		}
	}
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 20, close: true, chunk: 16000, readEach: 1000}
	w.work = f.pump
	w.until(10*time.Minute, func() bool { return f.ended })
	if n := w.a.tcp.Stats().Retransmits; n != 0 {
		t.Errorf("%d segments were sent again", n)
	}
	if cwnd := int(ca.cc.cwnd); cwnd > initialWindow*1460+2*8000 {
		t.Errorf("the congestion window is %d, the peer's never was above 8000", cwnd)
	}
}

// RACK on a clock that stands still within a burst: what was sent at the same moment is told apart by its number, and a reordered
// segment is not lost (RFC 8985 §5.2: RACK_sent_after).
func TestBugRACKOnACoarseClock(t *testing.T) {
	s := newScript(t, Params{}).establishedSACK(60000)
	s.write(5000)
	for range 5 {
		s.pull()
	}
	s.after(10 * time.Millisecond)
	s.in(". 1:1(0) ack 1 win 60000 <sack 1001:2001>") // the first is late by one
	s.none()
	s.in(". 1:1(0) ack 2001 win 60000")
	s.none()
	s.in(". 1:1(0) ack 2001 win 60000 <sack 3001:5001>") // the third is lost: a quarter of a round trip later
	s.timeout(s.c.rtt.min.least() / 4)
	s.out(". 2001:3001(1000) ack 1")
	s.in(". 1:1(0) ack 5001 win 60000")
}

// A receiver that takes its window back: what is beyond is kept and goes out when there is room, the connection goes on;
// and ours never does that.
func TestBugWindowMovesBack(t *testing.T) {
	s := newScript(t, Params{}).established(8000)
	s.write(8000)
	for range 8 {
		s.pull()
	}
	s.in(". 1:1(0) ack 1001 win 1000") // 6000 less
	s.timeout(s.c.rto())
	s.out(". 1001:2001(1000) ack 1")
	s.in(". 1:1(0) ack 2001 win 0") // and the rest: the first piece goes on asking
	s.out(". 2001:3001(1000) ack 1")
	s.none()
	s.in(". 1:1(0) ack 3001 win 8000")
	for next := 3001; next < 8001; {
		h := s.pull()
		if h == nil {
			s.in(sprintf(". 1:1(0) ack %d win 8000", next))
			if h = s.pull(); h == nil {
				t.Fatalf("nothing comes after %d", next)
			}
		}
		if at := int(h.Seq().Uint32() - s.iss); at != next || len(h.Payload()) != 1000 {
			t.Fatalf("%d bytes from %d on, want those from %d on", len(h.Payload()), at, next)
		}
		next += 1000
	}
	s.in(". 1:1(0) ack 8001 win 8000")

	edge := s.c.rcv.adv
	s.c.SetOptions(Options{RcvBuf: 3000}, s.now)
	s.in("P. 1:5001(5000) ack 8001 win 8000") // what was offered is taken
	s.out(". 8001:8001(0) ack 5001 win 60535")
	if s.c.rcv.adv.Before(edge) {
		t.Error("our window moved back")
	}
}
