package proto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// mark sets CE in a frame of a sender that does ECN.
func mark(frame []byte) bool {
	packet := frame[wire.EthernetLen:]
	if h, ok := wire.ParseIPv4(packet); ok && h.ECN() != wire.NotECT {
		h.SetECN(wire.CE)
		h.Seal()
		return true
	}
	if h, ok := wire.ParseIPv6(packet); ok && h.ECN() != wire.NotECT {
		h.SetECN(wire.CE)
		return true
	}
	return false
}

// RFC 3168 on a path whose queue marks: a transfer fills the path, and the queue stays where the marks hold it, without
// a single packet lost or sent again. Without ECN the same queue overflows.
func TestMarkingQueue(t *testing.T) {
	for _, f := range []*family{family4, family6} {
		for _, mode := range []int{tcp.ECNAsk, -1} {
			p := trouble{Rate: 20 * mbit, Delay: 10 * time.Millisecond, QueuePackets: 120, MarkPackets: 25, Mark: mark} // slow start ends a round trip after the first mark
			s := f.sim(t, 7, p, tcp.Params{ECN: mode}, nil)
			k := s.listen(s.b, s.a, 80).dial(20<<20, 0)
			start := s.now()
			s.until(time.Minute, "the transfer", k.over)
			rate := 20 << 20 * 8 / s.now().Sub(start).Seconds()
			way, stats := s.wire.A.Stats(), s.a.TCP.Stats()
			t.Logf("%v, mode %d: %.1f Mbit/s, %d marked, %d dropped, %d sent again", f.a, mode, rate/mbit, way.Marked, way.QueueFull, stats.Retransmits)
			if rate < 0.9*20*mbit {
				t.Errorf("%v, mode %d: %.1f Mbit/s of 20", f.a, mode, rate/mbit)
			}
			switch {
			case mode == tcp.ECNAsk && (way.Marked == 0 || way.QueueFull > 0 || stats.Retransmits > 0):
				t.Errorf("%v with ECN: %d marked, %d dropped, %d sent again", f.a, way.Marked, way.QueueFull, stats.Retransmits)
			case mode < 0 && (way.Marked > 0 || way.QueueFull == 0):
				t.Errorf("%v without ECN: %d marked, %d dropped", f.a, way.Marked, way.QueueFull)
			}
		}
	}
}

// RFC 3168 §5.3: a segment whose fragments have met with congestion has met with it, whichever of them it was; one of
// which some were not marked as ECN's at all is none.
func TestCongestionOfAFragment(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, c := range []struct {
			marks [3]wire.ECN
			echo  bool
			lost  bool
		}{
			{[3]wire.ECN{wire.ECT0, wire.ECT0, wire.ECT0}, false, false},
			{[3]wire.ECN{wire.CE, wire.ECT0, wire.ECT0}, true, false},
			{[3]wire.ECN{wire.ECT0, wire.CE, wire.ECT0}, true, false},
			{[3]wire.ECN{wire.ECT0, wire.ECT0, wire.CE}, true, false},
			{[3]wire.ECN{wire.CE, wire.NotECT, wire.CE}, false, true},
		} {
			for _, order := range [][3]int{{0, 1, 2}, {2, 0, 1}} {
				a, b := f.acquainted()
				p := a.TCP.Params()
				p.ECN = tcp.ECNAsk
				a.TCP.SetParams(p)
				l, _ := b.TCP.Listen(netip.AddrPortFrom(f.b, 80), tcp.ListenConfig{Backlog: 1})
				client, errno := a.TCP.Connect(netip.AddrPortFrom(f.a, 1000), netip.AddrPortFrom(f.b, 80), tcp.Options{}, 1)
				if errno != 0 {
					t.Fatal(errno)
				}
				exchange(t, a, b, 1)
				server := l.Accept()
				client.Write(make([]byte, 1300))
				client.Kick(1)
				frame := sayings(a, 1)[0]
				var cut ip.Cursor
				n := copy(cut.Room(), frame[wire.EthernetLen:])
				if !cut.Begin(n, 600, 7) {
					t.Fatal("it cannot be cut")
				}
				var fragments [][]byte
				for cut.Active() {
					piece := make([]byte, 600+wire.EthernetLen)
					copy(piece, frame[:wire.EthernetLen])
					piece = piece[:wire.EthernetLen+cut.Put(piece[wire.EthernetLen:])]
					if h, ok := wire.ParseIPv4(piece[wire.EthernetLen:]); ok {
						h.SetECN(c.marks[len(fragments)])
						h.Seal()
					} else {
						wire.IPv6(piece[wire.EthernetLen:]).SetECN(c.marks[len(fragments)])
					}
					fragments = append(fragments, piece)
				}
				for _, i := range order {
					b.Input(0, fragments[i], 2)
				}
				if got := server.Buffered(); (got == 0) != c.lost {
					t.Errorf("%v: %d bytes arrived", c.marks, got)
					continue
				}
				if c.lost {
					continue
				}
				exchange(t, a, b, 2)
				if got := client.Info(2).InCWR || client.Info(2).DeliveredCE > 0; got != c.echo {
					t.Errorf("%v, order %v: the sender hears of congestion: %v", c.marks, order, got)
				}
			}
		}
	})
}
