package tcp

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// cutTrain is what becomes of a train: tcp_gso_segment of Linux. head is its header.
func cutTrain(t testing.TB, head []byte, tr *Train, local, remote netip.Addr) (segments [][]byte) {
	t.Helper()
	payload := slices.Concat(tr.Pieces...)
	h := wire.TCP(head)
	if len(payload) != tr.Len || tr.Len == 0 || tr.Len > max(tr.Most, tr.Segment) || len(tr.Pieces) > trainPieces || h.HeaderLen() != len(head) {
		t.Fatalf("a train of %d bytes in %d pieces, said to be %d of at most %d, behind a header of %d and %d bytes",
			len(payload), len(tr.Pieces), tr.Len, tr.Most, h.HeaderLen(), len(head))
	}
	if !wire.Unfinished(h.Checksum(), wire.PseudoSum(local, remote, wire.ProtoTCP, len(head)+tr.Len)) {
		t.Fatalf("checksum %#x is not that of the pseudo-header", h.Checksum())
	}
	for off := 0; off < len(payload); off += tr.Segment {
		p := payload[off:min(off+tr.Segment, len(payload))]
		seg := append(slices.Clone(head), p...)
		s := wire.TCP(seg)
		s.SetSeq(h.Seq().Add(off))
		if off > 0 {
			s.SetFlags(s.Flags() &^ wire.CWR)
		}
		if off+len(p) < len(payload) {
			s.SetFlags(s.Flags() &^ (wire.PSH | wire.FIN))
		}
		s.Seal(wire.PseudoSum(local, remote, wire.ProtoTCP, len(seg)))
		segments = append(segments, seg)
	}
	return segments
}

// output is Output, or OutputTrain with what becomes of it.
func (h *host) output(c *Conn, buf []byte, most int, now mono.Time) (segments [][]byte) {
	tr := Train{Most: most}
	local, remote := c.Local().Addr(), c.Remote().Addr()
	n := h.tcp.OutputTrain(c, buf, &tr, now)
	switch {
	case n == 0:
		return nil
	case tr.Segment == 0:
		return [][]byte{buf[:n]}
	}
	h.trains++
	return cutTrain(h.t, buf[:n], &tr, local, remote)
}

// trainPieces is how many pieces the longest train has: package engine takes 18.
var trainPieces = ring.PiecesMax(trainMost)

func TestTrainsDoNotAllocate(t *testing.T) {
	if trainPieces > 18 {
		t.Errorf("a train may have %d pieces", trainPieces)
	}
	a, b, ca, cb := pair(t, Params{}, Options{})
	buf, data := make([]byte, 1<<17), make([]byte, 1<<16)
	now, tr, trains := int64(10e9), Train{Most: trainMost}, 0
	step := func() {
		now += 1e6
		a.advance(mtime(now))
		b.advance(mtime(now))
		ca.Write(data[:20_000])
		ca.Kick(mtime(now))
		for c := a.tcp.Front(0); c != nil; c = a.tcp.Front(0) {
			n := a.tcp.OutputTrain(c, buf[:1480], &tr, mtime(now))
			if n > 0 && tr.Segment != 0 {
				trains++
				for _, piece := range tr.Pieces { // as a receiver has it that puts segments together
					n += copy(buf[n:], piece)
				}
			}
			b.tcp.Input(b.addr, a.addr, buf[:n], wire.NotECT, mtime(now))
		}
		for n := 1; n > 0; {
			n, _, _ = cb.Read(data)
		}
		cb.Kick(mtime(now))
		hand(b, a, buf[:1480], now)
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for 20 kB", n)
	}
	if cb.rx.Head() < 1000*20_000 || trains < 1000 {
		t.Errorf("%d bytes came in %d trains", cb.rx.Head(), trains)
	}
}

// A wire that carries trains sees the segments that it would see without them: the same ones at the same times, whatever the path does.
func TestTrainsChangeNothingOnTheWire(t *testing.T) {
	for _, bm := range []struct {
		name string
		p    Params
		opt  Options
	}{
		{"", Params{}, Options{}},
		{"nosack", Params{NoSACK: true}, Options{}},
		{"nots", Params{NoTimestamps: true, NoWindowScaling: true}, Options{}},
		{"nodelay", Params{}, Options{NoDelay: true}},
		{"ecn", Params{ECN: ECNAsk}, Options{}},
		{"cork", Params{}, Options{Cork: true}},
		{"mtuprobing", Params{MTUProbing: 2}, Options{}},
		{"small buffers", Params{}, Options{SndBuf: 9000, RcvBuf: 7000}},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(bm.name, "seed=", seed), func(t *testing.T) {
				sum := func(most int) (sum uint64, trains int) {
					var h maphash.Hash
					h.SetSeed(trainSeed)
					w := newWorld(t, seed, bm.p)
					w.loss = []float64{0, 0.001, 0.03}[seed%3]
					w.reorder = []time.Duration{0, 3 * time.Millisecond}[seed%2]
					w.delay = []time.Duration{50 * time.Microsecond, 10 * time.Millisecond}[seed/2%2]
					w.a.train, w.b.train = most, most
					w.seen = func(_ *host, seg wire.TCP, now mono.Time) {
						h.Write(seg)
						fmt.Fprint(&h, now)
					}
					l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 1, Options: bm.opt})
					ca, cb := w.connectTo(l, 40000, bm.opt)
					fs := []*flow{
						{w: w, src: ca, dst: cb, size: 300_000, close: true, chunk: 30_000, readEach: 50_000},
						{w: w, src: cb, dst: ca, size: 100_000, close: true, chunk: 1 + int(seed*577)%5000, readEach: 700},
					}
					w.work = func() {
						for _, f := range fs {
							f.pump()
						}
					}
					w.until(4000*time.Second, func() bool { return fs[0].ended && fs[1].ended })
					w.work = nil
					ca.Close(w.now)
					cb.Close(w.now)
					w.listenersClosed()
					w.noLeaks()
					return h.Sum64(), w.a.trains
				}
				plain, _ := sum(0)
				coupled, trains := sum(trainMost)
				if plain != coupled {
					t.Error("what was on the wire differs")
				}
				if trains == 0 && bm.p.MTUProbing == 0 {
					t.Error("there was no train")
				}
			})
		}
	}
}

var trainSeed = maphash.MakeSeed()

// One header stands for all: the sizes, who is pushed, where CWR and FIN are.
func TestTrainOfOneHeader(t *testing.T) {
	s := newScript(t, Params{})
	s.listen(1)
	s.in("S 0:0(0) win 50000 <mss 1000>")
	s.out("S. 0:0(0) ack 1")
	s.in(". 1:1(0) ack 1 win 50000")
	s.accept()
	buf := make([]byte, 1480)
	tr := Train{Most: trainMost}
	pull := func() wire.TCP {
		t.Helper()
		c := s.h.tcp.Front(0)
		if c == nil {
			t.Fatal("nothing to say")
		}
		return wire.TCP(buf[:s.h.tcp.OutputTrain(c, buf, &tr, s.now)])
	}
	s.write(9500)
	// All fits into the initial window: nine segments, and the small one, since nothing small is on its way.
	h := pull()
	if tr.Segment != 1000 || tr.Len != 9500 || tr.Segments() != 10 || len(tr.Pieces) != 3 || h.Flags() != wire.ACK|wire.PSH || len(h) != wire.TCPLen {
		t.Fatalf("%+v, flags %v", tr.Len, h.Flags())
	}
	if i := s.c.Info(s.now); i.SegsOut != 11 || i.DataSegsOut != 10 || s.h.tcp.Stats().SegsOut != 11 {
		t.Errorf("%d, %d and %d segments were counted", i.SegsOut, i.DataSegsOut, s.h.tcp.Stats().SegsOut)
	}
	// What follows goes the same way, be it one segment, until all is acknowledged.
	s.in(". 1:1(0) ack 1001 win 50000")
	s.write(1000)
	if h = pull(); tr.Segment != 1000 || tr.Len != 1000 || tr.Segments() != 1 || h.Seq() != s.c.snd.iss.Add(9501) {
		t.Fatalf("%d bytes of segments of %d", tr.Len, tr.Segment)
	}
	s.in(". 1:1(0) ack 10501 win 50000")
	s.write(1000)
	if h = pull(); tr.Segment != 0 || len(h) != 1020 {
		t.Fatalf("%d bytes of segments of %d", tr.Len, tr.Segment)
	}
	s.in(". 1:1(0) ack 11501 win 50000")
	// The last of a train has the FIN.
	s.write(2500)
	s.c.Shutdown(unix.SHUT_WR, s.now)
	if h = pull(); tr.Len != 2500 || h.Flags() != wire.ACK|wire.PSH|wire.FIN {
		t.Fatalf("%d bytes, %v", tr.Len, h.Flags())
	}
	s.in(". 1:1(0) ack 14002 win 50000")
	s.in("F. 1:1(0) ack 14002 win 50000")
	s.out(". 14002:14002(0) ack 2")
}

// A window that ends within a segment, Nagle and a limit each end a train with a whole segment.
func TestTrainEndsWithAWholeSegment(t *testing.T) {
	for _, c := range []struct {
		name         string
		window, most int
		write, again int // bytes
		want         int // of the second train
	}{
		{"the peer's window", 7300, trainMost, 20000, 0, 7000},
		{"most", 50000, 4500, 9500, 0, 4000},
		{"Nagle", 50000, trainMost, 500, 4500, 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, Params{})
			s.listen(1)
			s.in("S 0:0(0) win 50000 <mss 1000>")
			s.out("S. 0:0(0) ack 1")
			s.in(fmt.Sprintf(". 1:1(0) ack 1 win %d", c.window))
			s.accept()
			buf := make([]byte, 1480)
			tr := Train{Most: c.most}
			s.write(c.write)
			s.h.tcp.OutputTrain(s.h.tcp.Front(0), buf, &tr, s.now)
			if c.again > 0 {
				s.write(c.again)
				s.h.tcp.OutputTrain(s.h.tcp.Front(0), buf, &tr, s.now)
			}
			if tr.Len != c.want || tr.Segment != 1000 {
				t.Errorf("%d bytes of segments of %d, want %d", tr.Len, tr.Segment, c.want)
			}
			for s.h.tcp.Front(0) != nil {
				s.h.tcp.OutputTrain(s.h.tcp.Front(0), buf, &tr, s.now)
			}
			s.in("R 1:1(0)")
		})
	}
}
