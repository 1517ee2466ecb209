package tcp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A follower is one end of a connection that a test sends trains to. What comes in one moment may follow what came before in it.
type follower struct {
	t       *testing.T
	h       *host
	c       *Conn
	remote  netip.Addr
	now     mono.Time
	apart   time.Duration // between the segments of a train
	read    int
	said    [][]byte
	options int // bytes
}

func newFollower(t *testing.T, timestamps bool, apart time.Duration) *follower {
	f := &follower{t: t, h: newHost(t, "192.0.2.1", 1e9, 1, Params{}), remote: netip.MustParseAddr("192.0.2.2"), now: 1e9, apart: apart}
	if timestamps {
		f.options = wire.TCPTimestampsLen
	}
	l, errno := f.h.tcp.Listen(f.h.at(80), ListenConfig{Backlog: 1, Options: Options{OOBInline: true}})
	if errno != 0 {
		t.Fatal(errno)
	}
	f.arrive(peerSegment{seq: 0, flags: wire.SYN, wnd: 5000})
	f.output()
	f.arrive(peerSegment{seq: 1, flags: wire.ACK, wnd: 5000})
	f.c = f.h.own(l.Accept())
	return f
}

// A peerSegment is one of the peer, with numbers that count from 0.
type peerSegment struct {
	seq, ack int
	flags    wire.Flags
	wnd      uint16
	n        int
}

func (f *follower) arrive(s peerSegment) {
	b := make([]byte, 100+s.n)
	fields := wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: wire.SeqOf(uint32(s.seq)), Flags: s.flags, Window: s.wnd, OptionsLen: f.options}
	if s.flags&wire.ACK != 0 {
		r := f.h.tcp.find(ptr(keyOf(f.h.addr, 80, f.remote, 5000)))
		if r == 0 || r&refTimeWait != 0 {
			return
		}
		fields.Ack = f.h.tcp.conn(uint32(r) - 1).snd.iss.Add(1 + s.ack)
	}
	if s.flags&wire.URG != 0 {
		fields.Urgent = uint16(s.n)
	}
	n := wire.PutTCP(b, &fields)
	if f.options != 0 {
		wire.PutTimestamps(b[wire.TCPLen:], tsClock(f.now), 0)
	}
	for i := range s.n {
		b[n+i] = peerByte(uint32(s.seq - 1 + i))
	}
	f.h.tcp.Input(f.h.addr, f.remote, b[:n+s.n], wire.NotECT, f.now)
	f.now = f.now.Add(f.apart)
}

func ptr[T any](v T) *T { return &v }

// output keeps what is said.
func (f *follower) output() {
	buf := make([]byte, 1480)
	for n, _, _ := f.h.tcp.Reply(buf, f.now); n > 0; n, _, _ = f.h.tcp.Reply(buf, f.now) {
		f.said = append(f.said, bytes.Clone(buf[:n]))
	}
	for c := f.h.tcp.Front(0); c != nil; c = f.h.tcp.Front(0) {
		if n := f.h.tcp.Output(c, buf, f.now); n > 0 {
			f.said = append(f.said, bytes.Clone(buf[:n]))
		}
	}
	f.h.wakes.Flush()
}

// reads takes all that has come.
func (f *follower) reads() {
	p := make([]byte, 1<<17)
	n, errno, tell := f.c.Read(p)
	for i, b := range p[:n] {
		if b != peerByte(uint32(f.read+i)) {
			f.t.Fatalf("byte %d is wrong", f.read+i)
		}
	}
	if f.read += n; n == 0 && errno != unix.EAGAIN && errno != 0 && errno != unix.ECONNRESET {
		f.t.Fatal(errno)
	}
	if tell {
		f.c.Kick(f.now)
	}
}

// TestTrainsFollow: what comes of segments of one moment is what comes of them a moment apart, where none follows another.
func TestTrainsFollow(t *testing.T) {
	followed := 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		timestamps := seed%2 == 0
		at, apart := newFollower(t, timestamps, 0), newFollower(t, timestamps, 1)
		both := [2]*follower{at, apart}
		next, wnd, wrote := 1, uint16(5000), 0
		for range 20 {
			for _, s := range train(rng, &next, &wnd, wrote) {
				tail, want := at.c.rx.Tail(), at.c.want
				for _, f := range both {
					f.arrive(s)
				}
				if at.c.rx.Tail() > tail && want&wantACK != 0 && s.flags == wire.ACK && s.n == int(at.c.rcv.mss) {
					followed++
				}
			}
			reads, writes, pause := rng.IntN(4) > 0, rng.IntN(4) == 0, time.Duration(rng.IntN(60))*time.Millisecond
			now := apart.now.Add(pause + time.Microsecond)
			for _, f := range both {
				if f.output(); reads {
					f.reads()
				}
				if writes {
					f.c.Write(make([]byte, 100))
					f.c.Kick(f.now)
				}
				f.output()
				f.now = now
				f.h.advance(now)
				f.output()
			}
			wrote = at.c.snd.nxt.Sub(at.c.snd.iss) - 1
			a, b := at.c, apart.c
			if a.state != b.state || a.rcv != b.rcv || a.snd != b.snd || a.want != b.want || a.quick != b.quick || a.segsIn != b.segsIn ||
				a.tally.dataIn != b.tally.dataIn || a.rx.Tail() != b.rx.Tail() || at.read != apart.read || a.lastSize != b.lastSize {
				t.Fatalf("seed %d: in one moment %v %+v %+v, apart %v %+v %+v", seed, a.state, a.rcv, a.snd, b.state, b.rcv, b.snd)
			}
			if len(at.said) != len(apart.said) {
				t.Fatalf("seed %d: %d segments in one moment, %d apart", seed, len(at.said), len(apart.said))
			}
			for i := range at.said {
				if !bytes.Equal(at.said[i], apart.said[i]) {
					t.Fatalf("seed %d: segment %d differs:\n%x\n%x", seed, i, at.said[i], apart.said[i])
				}
			}
			if at.c.state != Established {
				break
			}
		}
	}
	if followed < 10_000 {
		t.Errorf("only %d segments could follow", followed)
	}
}

// train is a burst of the peer: mostly full segments in order.
func train(rng *rand.Rand, next *int, wnd *uint16, wrote int) (segments []peerSegment) {
	const full = 536
	acked := max(0, wrote-100*rng.IntN(2))
	for range 1 + rng.IntN(40) {
		s := peerSegment{seq: *next, ack: acked, flags: wire.ACK, wnd: *wnd, n: full}
		switch rng.IntN(60) {
		case 0:
			s.n = 1 + rng.IntN(full)
		case 1:
			s.flags |= wire.PSH
		case 2:
			*wnd += uint16(rng.IntN(100))
			s.wnd = *wnd
		case 3: // a hole, which the next train fills
			s.seq += full
			segments = append(segments, s)
			s.seq -= full
			*next += full
		case 4:
			s.seq = max(1, s.seq-full)
			segments = append(segments, s)
			s.seq = *next
		case 5:
			s.n = 0
		case 6:
			s.flags |= wire.URG
		case 7:
			acked = wrote
			s.ack = acked
		case 8:
			if rng.IntN(20) == 0 {
				s.flags |= wire.FIN
			}
		}
		segments = append(segments, s)
		if *next += s.n; s.flags&wire.FIN != 0 {
			*next++
		}
	}
	return segments
}
