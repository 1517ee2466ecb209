package tcp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestScoreboardModel compares runs with one fate for each number.
func TestScoreboardModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		base := wire.SeqOf(rng.Uint32())
		una, nxt := 0, 0
		model := map[int]fate{}
		f := &flight{}
		c := &Conn{t: &TCP{}, flight: f}
		for step := range 400 {
			switch rng.IntN(6) {
			case 0, 1:
				n := 1 + rng.IntN(50)
				c.fly(base.Add(nxt), n, mono.Time(step/3))
				nxt += n
			case 2:
				if nxt > una {
					from := una + rng.IntN(nxt-una)
					to := from + 1 + rng.IntN(nxt-from)
					want := 0
					for i := from; i < to; i++ {
						if model[i]&sacked == 0 {
							want++
							model[i] = model[i]&twice | sacked
						}
					}
					if got, _, _ := f.sack(base.Add(from), base.Add(to)); got != want {
						t.Fatalf("seed %d: sack says %d are new, want %d", seed, got, want)
					}
				}
			case 3:
				if nxt > una {
					limit := una + rng.IntN(nxt-una+1)
					f.lose(base.Add(limit), 1)
					for i := una; i < limit; i++ {
						if model[i]&(sacked|lost) == 0 {
							model[i] |= lost
						}
					}
				}
			case 4:
				first := -1
				for i := una; i < nxt && first < 0; i++ {
					if model[i]&(lost|again) == lost {
						first = i
					}
				}
				r := f.nextLost()
				if (r == nil) != (first < 0) || r != nil && r.start != base.Add(first) {
					t.Fatalf("seed %d: nextLost is %v, want %d", seed, r, first)
				}
				if r != nil {
					n := 1 + rng.IntN(r.len())
					f.resend(n, mono.Time(step))
					for i := first; i < first+n; i++ {
						model[i] |= again | twice
					}
				}
			case 5:
				if nxt > una {
					to := una + rng.IntN(nxt-una+1)
					f.ackTo(base.Add(to))
					for ; una < to; una++ {
						delete(model, una)
					}
				}
				if rng.IntN(10) == 0 {
					reneged := rng.IntN(2) == 0
					f.loseAll(reneged)
					for i := una; i < nxt; i++ {
						if reneged {
							model[i] &^= sacked
						}
						if model[i]&sacked == 0 {
							model[i] = model[i]&twice | lost
						}
					}
				}
			}
			checkFlight(t, seed, f, model, base, una, nxt)
		}
	}
}

func checkFlight(t *testing.T, seed uint64, f *flight, model map[int]fate, base wire.Seq, una, nxt int) {
	t.Helper()
	at := una
	var sum flight
	for _, r := range f.runs[f.head:] {
		if r.start != base.Add(at) {
			t.Fatalf("seed %d: a run starts at %d, want %d", seed, r.start.Sub(base), at)
		}
		for ; base.Add(at) != r.end; at++ {
			if model[at] != r.is {
				t.Fatalf("seed %d: number %d has fate %b, want %b", seed, at, r.is, model[at])
			}
			sum.count(model[at], 1)
		}
	}
	if at != nxt || sum.sacked != f.sacked || sum.lost != f.lost || sum.again != f.again {
		t.Fatalf("seed %d: runs end at %d of %d, sums %d %d %d, want %d %d %d", seed, at, nxt, f.sacked, f.lost, f.again, sum.sacked, sum.lost, sum.again)
	}
}

// TestHolesModel compares spans with a set of numbers.
func TestHolesModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		base := wire.SeqOf(rng.Uint32())
		have := map[int]bool{}
		nxt := 0
		h := &holes{}
		for range 200 {
			from := nxt + 1 + rng.IntN(300)
			to := from + 1 + rng.IntN(40)
			if rng.IntN(8) == 0 {
				h.add(span{base.Add(from), base.Add(to)})
				for i := from; i < to; i++ {
					have[i] = true
				}
				var out [wire.SACKBlocksMax][2]wire.Seq
				if n := h.blocks(&out); n == 0 || out[0][0].After(base.Add(from)) || out[0][1].Before(base.Add(to)) {
					t.Fatalf("seed %d: the first block %v is not the newest segment's %d-%d", seed, out[:n], from, to)
				} else {
					for i, b := range out[:n] {
						for _, o := range out[:i] {
							if o == b {
								t.Fatalf("seed %d: block %v twice", seed, b)
							}
						}
					}
				}
			} else {
				nxt += rng.IntN(30)
				for have[nxt] {
					nxt++
				}
				if got := h.fill(base.Add(nxt)); got.Sub(base) != nxt {
					t.Fatalf("seed %d: fill goes to %d, want %d", seed, got.Sub(base), nxt)
				}
			}
			n := 0
			for _, s := range h.spans {
				n += s.end.Sub(s.start)
				for i := s.start.Sub(base); i < s.end.Sub(base); i++ {
					if !have[i] {
						t.Fatalf("seed %d: %d is in a span and did not come", seed, i)
					}
				}
			}
			for i := range have {
				if i < nxt {
					delete(have, i)
				}
			}
			if n != len(have) {
				t.Fatalf("seed %d: spans have %d numbers, want %d", seed, n, len(have))
			}
		}
	}
}

// TestTableModel compares the table with a map, through growth and removal.
func TestTableModel(t *testing.T) {
	h := newHost(t, "192.0.2.1", 0, 1, Params{})
	rng := rand.New(rand.NewPCG(1, 1))
	model := map[key]*Conn{}
	var list []key
	for range 20000 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(8))})
		k := keyOf(h.addr, uint16(1+rng.IntN(3)), a, uint16(1+rng.IntN(400)))
		if rng.IntN(2) == 0 {
			a6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(rng.IntN(8))})
			k = keyOf(netip.AddrFrom16([16]byte{0: 0x20, 15: 1}), 7, a6, uint16(1+rng.IntN(400)))
		}
		var got *Conn
		if r := h.tcp.find(&k); r != 0 {
			got = h.tcp.conn(uint32(r) - 1)
		}
		if got != model[k] {
			t.Fatalf("found %p, want %p", got, model[k])
		}
		switch {
		case got == nil:
			c, errno := h.tcp.newConn(&k, &noOptions)
			if errno != 0 {
				t.Fatal(errno)
			}
			model[k] = c
			list = append(list, k)
		case rng.IntN(3) > 0:
			h.tcp.table.remove(&k, ref(got.index+1))
			delete(model, k)
		}
	}
	for _, k := range list {
		if r := h.tcp.find(&k); (r != 0) != (model[k] != nil) {
			t.Fatal("a key is lost, or one too many")
		}
	}
	if h.tcp.table.used != len(model) {
		t.Errorf("used is %d of %d", h.tcp.table.used, len(model))
	}
}

func TestKeyKeepsAddresses(t *testing.T) {
	for _, c := range [][2]string{{"192.0.2.1", "198.51.100.7"}, {"2001:db8::1", "2001:db8::2"}, {"fe80::1%3", "fe80::2%3"}} {
		l, r := netip.MustParseAddr(c[0]), netip.MustParseAddr(c[1])
		k := keyOf(l, 80, r, 443)
		if gl, gr := k.addrs(); gl != l || gr != r || k.localPort() != 80 || k.remotePort() != 443 {
			t.Errorf("%v %v became %v %v", l, r, gl, gr)
		}
	}
	a, b := netip.MustParseAddr("fe80::1%3"), netip.MustParseAddr("fe80::1%4")
	peer := netip.MustParseAddr("fe80::9")
	if keyOf(a, 1, peer, 2) == keyOf(b, 1, peer, 2) {
		t.Error("two links' addresses are one")
	}
}

// TestIPv6 is a whole connection over the other family.
func TestIPv6(t *testing.T) {
	w := newWorld(t, 1, Params{})
	w.a.addr, w.b.addr = netip.MustParseAddr("fe80::1%2"), netip.MustParseAddr("fe80::2%2")
	l, _ := w.b.tcp.Listen(netip.MustParseAddrPort("[::]:80"), ListenConfig{Backlog: 1})
	ca, cb := w.connectTo(l, 5000, Options{})
	f := &flow{w: w, src: ca, dst: cb, size: 100000, close: true, chunk: 10000, readEach: 10000}
	w.work = f.pump
	w.until(time.Minute, func() bool { return f.ended })
	if ca.MSS() != 1428 || cb.Remote().Addr() != w.a.addr {
		t.Errorf("MSS %d, remote %v", ca.MSS(), cb.Remote())
	}
	w.work = nil
	ca.Close(w.now)
	cb.Close(w.now)
	w.listenersClosed()
	w.noLeaks()
}

// A listener at an address is asked before one at any, and "::" takes IPv4 where nobody else does.
func TestListenerChoice(t *testing.T) {
	h := newHost(t, "192.0.2.1", 0, 1, Params{})
	listen := func(at string) *Listener {
		l, errno := h.tcp.Listen(netip.MustParseAddrPort(at), ListenConfig{})
		if errno != 0 {
			t.Fatal(errno)
		}
		return l
	}
	choice := func(at string) *Listener {
		a := netip.MustParseAddrPort(at)
		return h.tcp.listening(a.Addr(), a.Port())
	}
	any6 := listen("[::]:80")
	if choice("192.0.2.1:80") != any6 || choice("[2001:db8::1]:80") != any6 || choice("192.0.2.1:81") != nil {
		t.Error("[::] alone")
	}
	any4, one := listen("0.0.0.0:80"), listen("192.0.2.1:80")
	if choice("192.0.2.1:80") != one || choice("192.0.2.9:80") != any4 || choice("[2001:db8::1]:80") != any6 {
		t.Error("the nearest is not chosen")
	}
	if _, errno := h.tcp.Listen(one.Local(), ListenConfig{}); errno == 0 {
		t.Error("the same address twice")
	}
	any4.Close(0)
	any4.Close(0)
	if choice("192.0.2.9:80") != any6 {
		t.Error("a closed listener is chosen")
	}
	any6.Close(0)
	one.Close(0)
	if len(h.tcp.listeners) != 0 {
		t.Error("listeners are left")
	}
}

// TestSeveralCores: another core's segments are handed over before anything is answered, and the
// directory hears of every beginning and end.
func TestSeveralCores(t *testing.T) {
	s := newScript(t, Params{})
	directory := map[netip.AddrPort]int{}
	elsewhere := true
	s.h.tcp.cfg.Miss = func(_, remote netip.AddrPort) bool { return elsewhere }
	s.h.tcp.cfg.Claim = func(_, remote netip.AddrPort) bool {
		directory[remote]++
		return directory[remote] == 1
	}
	s.h.tcp.cfg.Disclaim = func(_, remote netip.AddrPort) { directory[remote]-- }
	s.listen(1)
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.None)
	s.drops(". 5:5(0) ack 7 win 5000", drop.None)
	s.none()
	elsewhere = false
	s.in("S 0:0(0) win 5000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 5000")
	s.accept()
	if directory[s.c.Remote()] != 1 {
		t.Error("claimed", directory)
	}
	remote := s.c.Remote()
	s.c.Close(s.now)
	s.out("F. 1:1(0) ack 1")
	s.in("F. 1:1(0) ack 2 win 5000")
	s.out(". 2:2(0) ack 2")
	if directory[remote] != 1 {
		t.Error("disclaimed while in TIME-WAIT")
	}
	s.gone()
	if directory[remote] != 0 {
		t.Error("not disclaimed at the end")
	}
	s.l = nil
	s.listen(1)
	directory[remote] = 1
	s.drops("S 0:0(0) win 5000 <mss 1000>", drop.TCPDirectoryFull)
}

// What a peer's queue of answers cannot hold is dropped and counted.
func TestReplyQueueLimit(t *testing.T) {
	s := newScript(t, Params{})
	seg := make([]byte, 20)
	for i := range repliesMax + 10 {
		wire.PutTCP(seg, &wire.TCPFields{SrcPort: uint16(i + 1), DstPort: 9, Flags: wire.SYN})
		s.h.tcp.Input(s.h.addr, s.remote, seg, s.now)
	}
	n := 0
	for s.pull() != nil {
		n++
	}
	if n != repliesMax || s.h.drops[drop.OutboxFull] != 10 {
		t.Errorf("%d replies, %d dropped", n, s.h.drops[drop.OutboxFull])
	}
}

func TestMalformed(t *testing.T) {
	s := newScript(t, Params{})
	for _, c := range []struct {
		b    []byte
		want drop.Reason
	}{
		{nil, drop.TCPShort},
		{make([]byte, 19), drop.TCPShort},
		{make([]byte, 20), drop.TCPOffset},
		{append(make([]byte, 12), 0xf0, 0, 0, 0, 0, 0, 0, 0), drop.TCPOffset},
		{append(make([]byte, 12), 0x50, 2, 0, 0, 0, 0, 0, 0), drop.TCPPortZero},
	} {
		if got := s.h.tcp.Input(s.h.addr, s.remote, c.b, s.now); got != c.want {
			t.Errorf("%x: %v, want %v", c.b, got, c.want)
		}
	}
	seg := make([]byte, 20)
	wire.PutTCP(seg, &wire.TCPFields{SrcPort: 1, DstPort: 2, Flags: wire.SYN})
	if got := s.h.tcp.Input(s.h.addr, netip.MustParseAddr("224.0.0.1"), seg, s.now); got != drop.TCPNotUnicast {
		t.Error("from a group:", got)
	}
}

// A connection that is parked says nothing, keeps its timers, and ends if nothing can be sent (RFC 1122 §4.2.3.9).
func TestParkAndFail(t *testing.T) {
	s := newScript(t, Params{})
	s.connect(Options{})
	if s.h.tcp.Front() != s.c {
		t.Fatal("not ready")
	}
	s.h.tcp.Park(s.c)
	s.none()
	s.after(3 * time.Second)
	s.none()
	s.h.tcp.Unpark(s.c)
	s.out("S 0:0(0)")
	s.none()
	s.h.tcp.Fail(s.c, 113, s.now)
	s.state(Closed)
	s.writeFails(113)
}

// CUBIC's curve (RFC 9438 §4.2): back at the old window after K seconds, concave before, convex after.
func TestCubicCurve(t *testing.T) {
	var g congestion
	g.choose(CUBIC)
	g.start(1000)
	g.cwnd = 1_000_000
	g.lost(1000, 0)
	if g.cwnd != 700_000 {
		t.Fatalf("cwnd is %d after a loss, want 0.7 of 1000000", g.cwnd)
	}
	rtt := 50 * time.Millisecond
	k := 9.086 // cbrt(300/0.4)
	var atK, half uint32
	for now := mono.Time(1); now < 14e9; now = now.Add(rtt) {
		if now.Sub(0).Seconds() < k/2 {
			half = g.cwnd
		}
		if now.Sub(0).Seconds() < k {
			atK = g.cwnd
		}
		for range g.cwnd / 2000 {
			g.acked(2000, 1000, true, rtt, now)
		}
	}
	if half < 955_000 || half > 970_000 {
		t.Errorf("cwnd is %d after K/2, want 7/8 of the way", half)
	}
	if atK < 995_000 || atK > 1_001_000 {
		t.Errorf("cwnd is %d after K, want 1000000", atK)
	}
	if g.cwnd < 1_040_000 || g.cwnd > 1_060_000 { // 0.4*(14-K)^3 = 47
		t.Errorf("cwnd is %d at 14 s", g.cwnd)
	}
}

func TestNewRenoGrowth(t *testing.T) {
	var g congestion
	g.choose(NewReno)
	g.start(1000)
	if g.cwnd != 10_000 {
		t.Fatal("initial window", g.cwnd)
	}
	for range 10 {
		g.acked(1000, 1000, true, 0, 0)
	}
	if g.cwnd != 20_000 {
		t.Error("slow start:", g.cwnd)
	}
	g.lost(1000, 0)
	for range 10 {
		g.acked(1000, 1000, true, 0, 0)
	}
	if g.cwnd != 11_000 {
		t.Error("congestion avoidance adds a segment a round trip:", g.cwnd)
	}
	g.acked(100_000, 1000, false, 0, 0)
	if g.cwnd != 11_000 {
		t.Error("a window that limits nobody grew:", g.cwnd)
	}
	g.timeout(1000, 0)
	if g.cwnd != 1000 || g.ssthresh != 5500 {
		t.Error("after a timeout:", g.cwnd, g.ssthresh)
	}
}
