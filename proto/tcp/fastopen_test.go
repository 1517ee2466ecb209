package tcp

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// fastServer listens with Fast Open and returns the cookie of the script's peer.
func fastServer(t *testing.T, p Params, n int) (*script, string) {
	if p.FastOpen == 0 {
		p.FastOpen = FastOpenClient | FastOpenServer
	}
	s := newScript(t, p)
	s.listen(5)
	s.l.SetFastOpen(n, nil)
	return s, s.cookie(s.l.fastKeysOf()[0])
}

func (s *script) cookie(key siphash.Key) string {
	k := keyOf(s.h.addr, s.lport, s.remote, s.rport)
	c := fastCookieOf(&key, &k)
	return hex.EncodeToString(c[:])
}

// RFC 7413 §4.2: a cookie is given, then data with it is taken before the handshake is over, and answered.
func TestRFC7413_4_2_Server(t *testing.T) {
	s, cookie := fastServer(t, Params{}, 5)
	s.in("S 0:0(0) win 5000 <mss 1000,fo>")
	s.out("S. 0:0(0) ack 1 <mss 1460,fo " + cookie + ">")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	s.c.Abort(s.now)
	s.out("R. 1:1(0) ack 1")

	s.rport++
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 11 <mss 1460>")
	s.accept()
	s.state(SynReceived)
	if ev := s.c.Readiness(); ev != ring.In|ring.Out {
		t.Errorf("readiness %b", ev)
	}
	s.read(10)
	s.wrote = 0
	s.write(3000)
	s.out(". 1:1001(1000) ack 11")
	s.out(". 1001:2001(1000) ack 11")
	s.out("P. 2001:3001(1000) ack 11")
	s.in(". 11:11(0) ack 1 win 5000")
	s.state(Established)
	s.in(". 11:11(0) ack 3001 win 5000")
	if s.l.fastPending != 0 || s.h.tcp.Stats().FastOpenPassive != 1 {
		t.Errorf("pending %d, %+v", s.l.fastPending, s.h.tcp.Stats())
	}
	s.c.Close(s.now)
	s.out("F. 3001:3001(0) ack 11")
	s.in("R. 11:11(0) ack 3002 win 0")
	s.gone()
}

// The SYN-ACK of such a connection is sent again, and what the program has said after the handshake; the program
// may have closed it meanwhile.
func TestRFC7413_ServerSendsAgain(t *testing.T) {
	s, cookie := fastServer(t, Params{}, 5)
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 11")
	s.accept()
	s.read(10)
	s.write(10)
	s.out("P. 1:11(10) ack 11")
	s.c.Close(s.now)
	s.out("F. 11:11(0) ack 11")
	s.timeout(time.Second)
	s.out("S. 0:0(0) ack 11")
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 11")
	s.in(". 11:11(0) ack 1 win 5000")
	for range 20 { // the data comes again, then the FIN
		if s.h.tcp.Front(0) == nil {
			s.now = max(s.now, s.h.deadline())
			s.h.advance(s.now)
		}
		h := s.pull()
		if h == nil {
			continue
		}
		if h.Flags().Has(wire.FIN) {
			s.in("F. 11:11(0) ack 12 win 5000")
			s.out(". 12:12(0) ack 12")
			s.gone()
			return
		}
	}
	t.Fatal("the FIN does not come")
}

// RFC 7413 §4.2: a cookie that is none, Fast Open that nobody asked for, and one that is not switched on.
func TestRFC7413_4_2_ServerRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		bits   int
		queue  int
		option string
		answer string // "C" is the cookie
	}{
		{"a cookie of somebody else", 3, 5, ",fo 0102030405060708", "fo C"},
		{"a cookie of another length", 3, 5, ",fo 01020304", "fo C"},
		{"without a cookie", 3, 5, "", ""},
		{"the listener has not asked for it", 3, 0, ",fo", ""},
		{"tcp_fastopen is 1", 1, 5, ",fo", ""},
		{"tcp_fastopen is 0", -1, 5, ",fo", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cookie := fastServer(t, Params{FastOpen: c.bits}, c.queue)
			s.in("S 0:10(10) win 5000 <mss 1000" + c.option + ">")
			if c.answer == "" {
				s.out("S. 0:0(0) ack 1 <mss 1460>")
			} else {
				s.out("S. 0:0(0) ack 1 <mss 1460,fo " + cookie + ">")
			}
			if s.l.Accept() != nil {
				t.Error("the program has it")
			}
			s.in("P. 1:11(10) ack 1 win 5000")
			s.out(". 1:1(0) ack 11")
			s.accept()
			s.read(10)
		})
	}
}

// TCP_FASTOPEN_NO_COOKIE, and bits 0x200 and 0x400 of tcp_fastopen.
func TestFastOpenServerWithoutCookies(t *testing.T) {
	for _, c := range []struct {
		bits, queue int
		opt         Options
	}{{3, 5, Options{FastOpenNoCookie: true}}, {0x203, 5, Options{}}, {0x603, 0, Options{}}} {
		s, _ := fastServer(t, Params{FastOpen: c.bits}, c.queue)
		s.l.SetOptions(c.opt)
		s.in("S 0:10(10) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 11 <mss 1460>")
		s.accept()
		s.read(10)
		s.in(". 11:11(0) ack 1 win 5000")
		s.state(Established)
	}
}

// TCP_FASTOPEN_KEY: what the second key made is taken, and changed for one of the first.
func TestFastOpenKeys(t *testing.T) {
	s, _ := fastServer(t, Params{}, 5)
	first, second := [16]byte{1}, [16]byte{2}
	s.l.SetFastOpen(5, [][16]byte{first, second})
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + s.cookie(s.l.fastKeys[1]) + ">")
	s.out("S. 0:0(0) ack 11 <mss 1460,fo " + s.cookie(s.l.fastKeys[0]) + ">")
	s.accept()
	s.read(10)
}

// RFC 7413 §5.1: so many are pending at most, and one that was reset counts for a minute.
func TestRFC7413_5_1_PendingLimit(t *testing.T) {
	s, cookie := fastServer(t, Params{}, 1)
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 11")
	s.rport++
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 1 <mss 1460>")
	s.in("R. 1:1(0) ack 1 win 0")
	s.rport--
	s.in("R. 11:11(0) ack 1 win 0")
	s.accept()
	s.read(10) // what came before the reset
	s.readFails(unix.ECONNRESET)
	s.c.Close(s.now)
	for i, want := range []string{"S. 0:0(0) ack 1", "S. 0:0(0) ack 11"} {
		s.rport++
		s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
		s.out(want)
		s.in("R. " + []string{"1:1(0)", "11:11(0)"}[i] + " ack 1 win 0")
		s.after(fastOpenReset + time.Second)
	}
	if s.h.tcp.Stats().FastOpenOverflows != 2 {
		t.Errorf("%+v", s.h.tcp.Stats())
	}
}

// fastConnect is a connect with n bytes of data, of which taken went with it.
func (s *script) fastConnect(n, taken int) {
	s.t.Helper()
	p := make([]byte, n)
	fill(p, 0)
	s.rport, s.lport, s.iss = 80, s.lport+1, 0
	c, got, errno := s.h.tcp.ConnectData(s.h.at(s.lport), netip.AddrPortFrom(s.remote, s.rport), Options{}, p, s.now)
	if errno != 0 || got != taken {
		s.t.Fatalf("%d of %d bytes are taken, %v; want %d", got, n, errno, taken)
	}
	s.c, s.wrote = s.h.own(c), uint64(got)
}

// RFC 7413 §4.2.1: the client asks for a cookie, and sends data with it the next time.
func TestRFC7413_4_2_1_Client(t *testing.T) {
	s := newScript(t, Params{NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	s.fastConnect(10, 0)
	s.out("S 0:0(0) <mss 1460,fo>")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,fo 0102030405060708>")
	s.out(". 1:1(0) ack 1")
	s.write(10)
	s.out("P. 1:11(10) ack 1")

	s.fastConnect(2000, 1420) // one packet of the path, with room for all options
	s.out("S 0:1420(1420) <mss 1460,fo 0102030405060708>")
	s.in("S. 0:0(0) ack 1421 win 5000 <mss 1000>")
	s.out(". 1421:1421(0) ack 1")
	s.state(Established)
	s.write(10)
	s.out("P. 1421:1431(10) ack 1")
	s.in(". 1:1(0) ack 1431 win 5000")

	s.fastConnect(2000, 1420)
	s.out("S 0:1420(1420) <mss 1460,fo 0102030405060708>")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,fo 1112131415161718>") // a new cookie, and the data not taken
	s.out(". 1:1001(1000) ack 1")
	s.out("P. 1001:1421(420) ack 1")
	s.in(". 1:1(0) ack 1421 win 5000")

	s.fastConnect(10, 10)
	s.out("S 0:10(10) <mss 1460,fo 1112131415161718>")
	s.in("S. 0:5(5) ack 11 win 5000 <mss 1000>") // data with the SYN-ACK
	s.out(". 11:11(0) ack 6")
	s.read(5)
	if st := s.h.tcp.Stats(); st.FastOpenActive != 2 || st.FastOpenActiveFails != 1 {
		t.Errorf("%+v", st)
	}
}

// RFC 7413 §4.1.3: a SYN is sent again plainly, and data that was lost with one is not sent that way for a while.
func TestRFC7413_4_1_3_LostSYN(t *testing.T) {
	s := newScript(t, Params{NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	s.fastConnect(0, 0)
	s.out("S 0:0(0) <mss 1460,fo>")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,fo 0102030405060708>")
	s.out(". 1:1(0) ack 1")
	for _, wait := range []time.Duration{time.Minute, 2 * time.Minute} {
		s.fastConnect(10, 10)
		s.out("S 0:10(10) <mss 1460,fo 0102030405060708>")
		s.timeout(time.Second)
		s.out("S 0:0(0) <mss 1460>")
		s.in("S. 0:0(0) ack 1 win 5000 <mss 1000>")
		s.out("P. 1:11(10) ack 1")
		s.in(". 1:1(0) ack 11 win 5000")
		s.after(wait - time.Second)
		if s.h.tcp.FastOpenReady(s.remote, &Options{}, s.now) {
			t.Fatalf("data goes with SYNs again before %v", wait)
		}
		s.after(2 * time.Second)
	}
	s.fastConnect(10, 10)
	s.out("S 0:10(10) <mss 1460,fo 0102030405060708>")
	s.in("R. 0:0(0) ack 1 win 0")
	s.state(Closed)
}

// TCP_FASTOPEN_CONNECT: the SYN waits for the first Write if there is a cookie.
func TestFastOpenConnectLater(t *testing.T) {
	s := newScript(t, Params{NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	later := func(want bool) {
		t.Helper()
		s.rport, s.lport, s.iss, s.wrote = 80, s.lport+1, 0, 0
		c, waits, errno := s.h.tcp.ConnectLater(s.h.at(s.lport), netip.AddrPortFrom(s.remote, s.rport), Options{}, s.now)
		if errno != 0 || waits != want {
			t.Fatalf("waits %v, %v", waits, errno)
		}
		s.c = s.h.own(c)
	}
	later(false)
	s.out("S 0:0(0) <mss 1460,fo>")
	s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,fo 0102030405060708>")
	s.out(". 1:1(0) ack 1")
	s.c.Abort(s.now)
	s.out("R. 1:1(0) ack 1")
	later(true)
	s.after(time.Hour)
	if ev := s.c.Readiness(); ev != ring.Out {
		t.Errorf("readiness %b", ev)
	}
	s.write(2000)
	s.out("S 0:1420(1420) <mss 1460,fo 0102030405060708>")
	s.writeFails(unix.EAGAIN)
	s.in("S. 0:0(0) ack 1421 win 5000 <mss 1000>")
	s.out("P. 1421:2001(580) ack 1")
	s.c.Abort(s.now)
	s.out("R. 2001:2001(0) ack 1")
	later(true)
	s.c.Close(s.now)
	s.gone()
}

func TestFastOpenClientSwitches(t *testing.T) {
	s := newScript(t, Params{FastOpen: -1})
	if _, _, errno := s.h.tcp.ConnectData(s.h.at(1000), netip.AddrPortFrom(s.remote, s.rport), Options{}, []byte("x"), s.now); errno != unix.EOPNOTSUPP {
		t.Errorf("tcp_fastopen = 0: %v", errno)
	}
	s = newScript(t, Params{FastOpen: FastOpenClient | FastOpenClientNoCookie, NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
	s.fastConnect(10, 10)
	s.out("S 0:10(10) <mss 1460>")
	s.in("S. 0:0(0) ack 11 win 5000 <mss 1000>")
	s.out(". 11:11(0) ack 1")
}

// Whatever is lost, and however the program hurries, every byte arrives once, both ways, and nothing is left.
func TestFastOpenBothWaysWithLoss(t *testing.T) {
	early := uint64(0)
	for seed := range uint64(40) {
		w := newWorld(t, seed, Params{FastOpen: FastOpenClient | FastOpenServer})
		l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 16})
		l.SetFastOpen(16, nil)
		for i := range 8 {
			if i > 1 {
				w.loss = 0.2
			}
			p := make([]byte, 3000)
			fill(p, 0)
			ca, n, errno := w.a.tcp.ConnectData(w.a.at(uint16(2000+i)), w.b.at(80), Options{}, p, w.now)
			if errno != 0 {
				t.Fatal(errno)
			}
			w.a.own(ca)
			var cb *Conn
			up := &flow{w: w, src: ca, size: 3000, wrote: uint64(n), close: true, chunk: 700, readEach: 500}
			down := &flow{w: w, dst: ca, size: 5000, close: true, chunk: 900, readEach: 500}
			w.work = func() {
				if cb == nil {
					if cb = l.Accept(); cb == nil {
						return
					}
					w.b.own(cb)
					up.dst, down.src = cb, cb
				}
				up.pump()
				down.pump()
			}
			w.until(time.Hour, func() bool { return up.ended && down.ended })
			if up.read != 3000 || down.read != 5000 {
				t.Fatalf("seed %d: %d and %d bytes arrived", seed, up.read, down.read)
			}
			w.work = nil
			ca.Close(w.now)
			cb.Close(w.now)
			w.run(time.Second)
		}
		early += w.b.tcp.Stats().FastOpenPassive
		w.loss = 0
		l.Close(w.now)
		w.noLeaks()
		if l.fastPending != 0 {
			t.Fatalf("seed %d: %d are pending", seed, l.fastPending)
		}
	}
	if early < 40 {
		t.Errorf("%d connections were opened by their SYN", early)
	}
}

// Linux tcp_v4_err: an ICMP error does not end one that its program has already, though the handshake is not over.
func TestFastOpenTakenIsAsGoodAsOpen(t *testing.T) {
	s, cookie := fastServer(t, Params{}, 5)
	s.in("S 0:10(10) win 5000 <mss 1000,fo " + cookie + ">")
	s.out("S. 0:0(0) ack 11 <mss 1460>")
	s.accept()
	s.read(10)
	s.wrote = 0
	s.write(100)
	s.out("P. 1:101(100) ack 11")
	if believed := s.h.tcp.Unreachable(s.c.Local(), s.c.Remote(), s.c.snd.una, unix.EHOSTUNREACH, s.now); !believed || s.c.Telling() != nil {
		t.Errorf("believed %v; told of %v; %d to %d", believed, s.c.Telling() != nil, s.c.snd.una, s.c.snd.nxt)
	}
	s.state(SynReceived)
}

// Both ends send a SYN at once, ours with data: the peer's acknowledgement may cover it (RFC 9293 §3.5, RFC 7413 §4.2.1), and what
// it does not cover is sent again.
func TestFastOpenSimultaneousOpen(t *testing.T) {
	for _, c := range []struct{ ack, left int }{{1, 300}, {101, 200}, {301, 0}} {
		s := newScript(t, Params{NoSACK: true, NoTimestamps: true, NoWindowScaling: true})
		s.fastConnect(0, 0)
		s.out("S 0:0(0) <mss 1460,fo>")
		s.in("S. 0:0(0) ack 1 win 5000 <mss 1000,fo 0102030405060708>")
		s.out(". 1:1(0) ack 1")
		s.fastConnect(300, 300)
		s.out("S 0:300(300)")
		s.in("S 0:0(0) win 5000 <mss 1000>")
		s.out("S. 0:0(0) ack 1")
		s.in(sprintf(". 1:1(0) ack %d win 5000", c.ack))
		s.state(Established)
		if c.left > 0 {
			s.out(sprintf("P. %d:301(%d) ack 1", c.ack, c.left))
			s.in(". 1:1(0) ack 301 win 5000")
		}
		s.none()
	}
}
