package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

func (s *script) ecn(want bool) {
	s.t.Helper()
	if got := s.c.Info(s.now).ECN; got != want {
		s.t.Fatalf("ECN is %v, want %v", got, want)
	}
}

// RFC 3168 §6.1.1: who is asked. tcp_ecn is 2 unless told otherwise. A SYN with any ECN bits gets a SYN-ACK, never a
// reset.
func TestRFC3168_6_1_1_PassiveOpen(t *testing.T) {
	for _, c := range []struct {
		name, syn, answer string
		mode              int
		want              bool
	}{
		{"asked", "SEW 0:0(0) win 5000 <mss 1000>", "SE. 0:0(0) ack 1", ECNAccept, true},
		{"asked, tcp_ecn = 1", "SEW 0:0(0) win 5000 <mss 1000>", "SE. 0:0(0) ack 1", ECNAsk, true},
		{"asked, tcp_ecn = 0", "SEW 0:0(0) win 5000 <mss 1000>", "S. 0:0(0) ack 1", -1, false},
		{"not asked", "S 0:0(0) win 5000 <mss 1000>", "S. 0:0(0) ack 1", ECNAccept, false},
		{"ECE alone", "SE 0:0(0) win 5000 <mss 1000>", "S. 0:0(0) ack 1", ECNAccept, false},
		{"CWR alone", "SW 0:0(0) win 5000 <mss 1000>", "S. 0:0(0) ack 1", ECNAccept, false},
		{"asked by an ECT packet, which is none of RFC 3168", "SEW 0:0(0) win 5000 ecn ect0 <mss 1000>", "S. 0:0(0) ack 1", ECNAccept, false},
		{"asked for AccECN, by an ECT packet (RFC 9768 §3.1.2)", "SEW 0:0(0) win 5000 ecn ect0 reserved 1 <mss 1000>", "SE. 0:0(0) ack 1", ECNAccept, true},
		{"asked for AccECN", "SEW 0:0(0) win 5000 reserved 1 <mss 1000>", "SE. 0:0(0) ack 1", ECNAccept, true},
		{"AE alone", "S 0:0(0) win 5000 reserved 1 <mss 1000>", "S. 0:0(0) ack 1", ECNAccept, false},
		{"all reserved bits", "SEW 0:0(0) win 5000 ecn ce reserved 15 <mss 1000>", "SE. 0:0(0) ack 1", ECNAccept, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{ECN: c.mode})
			s.listen(1)
			s.in(c.syn)
			s.out(c.answer)
			s.in(". 1:1(0) ack 1 win 5000")
			s.accept()
			s.ecn(c.want)
			s.write(10)
			if c.want {
				s.out("P. 1:11(10) ack 1 ecn ect0")
			} else {
				s.out("P. 1:11(10) ack 1")
			}
			s.in(". 1:1(0) ack 11 win 5000")
		})
	}
}

func TestRFC3168_6_1_1_ActiveOpen(t *testing.T) {
	for _, c := range []struct {
		name, syn, answer string
		mode              int
		want              bool
	}{
		{"agreed", "SEW 0:0(0)", "SE. 0:0(0) ack 1 win 5000 <mss 1000>", ECNAsk, true},
		{"refused", "SEW 0:0(0)", "S. 0:0(0) ack 1 win 5000 <mss 1000>", ECNAsk, false},
		{"a peer that sends back what it gets", "SEW 0:0(0)", "SEW. 0:0(0) ack 1 win 5000 <mss 1000>", ECNAsk, false},
		{"not asked, and answered all the same", "S 0:0(0)", "SE. 0:0(0) ack 1 win 5000 <mss 1000>", ECNAccept, false},
		{"off", "S 0:0(0)", "SE. 0:0(0) ack 1 win 5000 <mss 1000>", -1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{ECN: c.mode})
			s.connect(Options{})
			s.out(c.syn)
			s.in(c.answer)
			s.out(". 1:1(0) ack 1")
			s.ecn(c.want)
		})
	}
}

// RFC 3168 §6.1.1 in a simultaneous open: both have asked.
func TestRFC3168_SimultaneousOpen(t *testing.T) {
	s := newScript(t, Params{ECN: ECNAsk, NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	s.connect(Options{})
	s.out("SEW 0:0(0)")
	s.in("SEW 0:0(0) win 5000 <mss 1000>")
	s.out("SE. 0:0(0) ack 1")
	s.in("SE. 0:0(0) ack 1 win 5000 <mss 1000>")
	s.state(Established)
	s.ecn(true)
}

// RFC 3168 §6.1.1.1: asking may be what loses the SYN (tcp_ecn_fallback).
func TestRFC3168_6_1_1_1_Fallback(t *testing.T) {
	s := newScript(t, Params{ECN: ECNAsk})
	s.connect(Options{})
	s.out("SEW 0:0(0)")
	s.after(time.Second + soon)
	s.out("S 0:0(0)")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000>")
	s.out(". 1:1(0) ack 1")
	s.ecn(false)

	s = newScript(t, Params{ECN: ECNAsk, NoECNFallback: true})
	s.connect(Options{})
	s.out("SEW 0:0(0)")
	s.after(time.Second + soon)
	s.out("SEW 0:0(0)")
}

// withECN opens a connection that does ECN, with SACK; TOS 0xb8 is a DSCP of the program's.
func withECN(t *testing.T, win int) *script {
	s := newScript(t, Params{})
	s.l, _ = s.h.tcp.Listen(s.h.at(s.lport), ListenConfig{Backlog: 5, Options: Options{TOS: 0xb8}})
	s.in(sprintf("SEW 0:0(0) win %d <mss 1000,sackOK>", win))
	s.out("SE. 0:0(0) ack 1")
	s.after(10 * time.Millisecond)
	s.in(sprintf(". 1:1(0) ack 1 win %d", win))
	s.accept()
	return s
}

// RFC 3168 §6.1.3: ECE answers CE until CWR comes, on all that is sent; CE in the segment with CWR begins anew. The
// acknowledgements are at once.
func TestRFC3168_6_1_3_Receiver(t *testing.T) {
	s := withECN(t, 5000)
	s.in("P. 1:101(100) ack 1 win 5000 ecn ect0")
	s.out(". 1:1(0) ack 101")
	s.c.QuickACK(0, s.now)
	s.in("P. 101:201(100) ack 1 win 5000 ecn ce")
	s.out("E. 1:1(0) ack 201")
	s.in("P. 201:301(100) ack 1 win 5000 ecn ect0")
	s.out("E. 1:1(0) ack 301")
	s.write(10)
	s.out("PE. 1:11(10) ack 301 ecn ect0")
	s.in("W. 301:301(0) ack 11 win 5000") // an acknowledgement is no data: its CWR counts for nothing (§6.1.2)
	s.in("PW. 301:401(100) ack 11 win 5000 ecn ect0")
	s.out(". 11:11(0) ack 401")
	s.in("PW. 401:501(100) ack 11 win 5000 ecn ce")
	s.out("E. 11:11(0) ack 501")
	s.in("PW. 601:701(100) ack 11 win 5000 ecn ect0") // beyond a hole
	s.out(". 11:11(0) ack 501 <sack 601:701>")
	if i := s.c.Info(s.now); !i.ECNSeen {
		t.Error("ECNSeen is false")
	}
}

// RFC 3168 §6.1.2, §6.1.4, §6.1.5, §6.1.6: the window falls once a round trip; CWR is on the next new data; what is sent again,
// acknowledgements and probes are not ECT; the DSCP is left alone.
func TestRFC3168_6_1_2_Sender(t *testing.T) {
	s := withECN(t, 60000)
	s.write(10000)
	for i := range 10 {
		flags := "."
		if i == 9 {
			flags = "P."
		}
		s.out(sprintf("%s %d:%d(1000) ack 1 ecn ect0", flags, 1+i*1000, 1001+i*1000))
		if s.tos != 0xb8|uint8(wire.ECT0) {
			t.Fatalf("the traffic class is %#x", s.tos)
		}
	}
	s.after(10 * time.Millisecond)
	s.in("E. 1:1(0) ack 1001 win 60000")
	info := s.c.Info(s.now)
	if !info.InCWR || info.SndSsthresh != 7000 { // CUBIC's 0.7 of ten segments, as after a loss
		t.Fatalf("InCWR %v, ssthresh %d", info.InCWR, info.SndSsthresh)
	}
	s.write(20000)
	s.out("W. 10001:11001(1000) ack 1 ecn ect0") // PRR: one for one at first, rounded up
	s.in("E. 1:1(0) ack 2001 win 60000")         // the same congestion
	if got := s.c.Info(s.now).SndSsthresh; got != 7000 {
		t.Fatalf("ssthresh fell again in the same round trip, to %d", got)
	}
	for s.pull() != nil {
	}
	s.in(". 1:1(0) ack 10001 win 60000")
	for s.pull() != nil {
	}
	if !s.c.Info(s.now).InCWR {
		t.Error("CWR has not arrived yet, and the reduction is over")
	}
	s.in(". 1:1(0) ack 11001 win 60000")
	if i := s.c.Info(s.now); i.InCWR || i.SndCwnd != 7000 {
		t.Errorf("InCWR %v, cwnd %d, want 7000", i.InCWR, i.SndCwnd)
	}
	for s.pull() != nil {
	}
	s.after(10 * time.Millisecond)
	s.in("E. 1:1(0) ack 12001 win 60000") // congestion again, a round trip later
	if got := s.c.Info(s.now).SndSsthresh; got != 4900 {
		t.Errorf("ssthresh is %d, want 4900", got)
	}
	for s.pull() != nil {
	}
	s.in(". 1:1(0) ack 12001 win 60000 <sack 13001:16001>")
	s.out(". 12001:13001(1000) ack 1") // sent again: not ECT
	if i := s.c.Info(s.now); i.SndSsthresh != 4900 || !i.Recovering {
		t.Errorf("a loss in the same round trip: ssthresh %d, recovering %v", i.SndSsthresh, i.Recovering)
	}
	for s.pull() != nil {
	}
	s.in("P. 1:2(1) ack 12001 win 0 ecn ect0")
	s.out(". 19001:19001(0) ack 2")
}

// §6.1.2: congestion that is told with data of the peer's counts as well, though nothing more is acknowledged.
func TestRFC3168_6_1_2_EchoWithData(t *testing.T) {
	s := withECN(t, 60000)
	s.write(3000)
	for s.pull() != nil {
	}
	s.in("PE. 1:101(100) ack 1 win 60000 ecn ect0")
	if i := s.c.Info(s.now); !i.InCWR {
		t.Fatal("ECE was not seen")
	}
	s.out(". 3001:3001(0) ack 101")
	s.read(100)
	s.in(". 101:101(0) ack 3001 win 60000")
	s.write(500)
	s.out("PW. 3001:3501(500) ack 101 ecn ect0")
}

// RFC 3168 §6.1.2: every reduction is told by CWR, that of a retransmission timeout too.
func TestRFC3168_6_1_2_TimeoutTellsCWR(t *testing.T) {
	s := withECN(t, 60000)
	s.write(1000)
	s.out("P. 1:1001(1000) ack 1 ecn ect0")
	s.timeout(s.c.rto())
	s.out("P. 1:1001(1000) ack 1") // the probe of the tail
	s.timeout(s.c.rto())
	s.out("P. 1:1001(1000) ack 1") // the timeout
	s.write(500)
	s.in(". 1:1(0) ack 1001 win 60000")
	s.out("PW. 1001:1501(500) ack 1 ecn ect0")
	s.in(". 1:1(0) ack 1501 win 60000")
}

// Where ECN was not agreed on, its bits mean nothing (RFC 3168 §6.1).
func TestRFC3168_NotAgreedOn(t *testing.T) {
	s := newScript(t, Params{}).established(60000)
	s.in("PEW. 1:101(100) ack 1 win 60000 ecn ce")
	s.out(". 1:1(0) ack 101")
	s.write(3000)
	for s.pull() != nil {
	}
	s.in("E. 101:101(0) ack 1001 win 60000")
	if i := s.c.Info(s.now); i.InCWR || i.ECN || i.ECNSeen {
		t.Errorf("%+v", i)
	}
}

// ECN by way of a SYN cookie: in the timestamp, so without one there is none (Linux: TS_OPT_ECN).
func TestSYNCookieKeepsECN(t *testing.T) {
	for _, c := range []struct {
		options, answer string
		mode            int
		want            bool
	}{
		{"mss 1000,sackOK,TS 700 0,wscale 3", "SE. 0:0(0) ack 1", ECNAccept, true},
		{"mss 1000,TS 700 0", "SE. 0:0(0) ack 1", ECNAccept, true},
		{"mss 1000,TS 700 0", "S. 0:0(0) ack 1", -1, false},
		{"mss 1000", "S. 0:0(0) ack 1", ECNAccept, false},
	} {
		s := newScript(t, Params{ECN: c.mode})
		s.listen(0)
		s.rport = 4999
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		s.rport = 5000
		s.in(sprintf("SEW 0:0(0) win 5000 <%s>", c.options))
		s.out(c.answer)
		if s.h.tcp.Stats().CookiesSent != 1 {
			t.Fatal("no cookie was sent")
		}
		last := ". 1:1(0) ack 1 win 5000 <TS 701 _>"
		if c.options == "mss 1000" {
			last = ". 1:1(0) ack 1 win 5000"
		}
		if got := s.in(last); got != drop.None {
			t.Fatal(got)
		}
		s.accept()
		s.ecn(c.want)
	}
}
