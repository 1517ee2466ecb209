package proto

import (
	"testing"
	"time"

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
