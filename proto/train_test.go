package proto

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/simnet"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// cutTrain is what a kernel makes of a train behind its headers (tcp_gso_segment, inet_gso_segment), but for the
// identification, which it counts up and nobody looks at in a packet that may not be cut.
func cutTrain(t testing.TB, head []byte, tr *Train) (frames [][]byte) {
	t.Helper()
	payload := slices.Concat(tr.Pieces...)
	for off := 0; off < len(payload); off += tr.Segment {
		p := payload[off:min(off+tr.Segment, len(payload))]
		frame := append(slices.Clone(head), p...)
		segment := wire.TCP(frame[tr.At:])
		pseudo, whole := ipOf(frame[wire.EthernetLen:], len(segment))
		if off == 0 && whole != len(head)-wire.EthernetLen+len(payload) {
			t.Fatalf("the IP header says %d bytes, there are %d and a payload of %d", whole, len(head)-wire.EthernetLen, len(payload))
		}
		if off > 0 {
			segment.SetFlags(segment.Flags() &^ wire.CWR)
		}
		if off+len(p) < len(payload) {
			segment.SetFlags(segment.Flags() &^ (wire.PSH | wire.FIN))
		}
		segment.SetSeq(segment.Seq().Add(off))
		segment.Seal(pseudo)
		frames = append(frames, frame)
	}
	return frames
}

// ipOf makes an IP header say that n bytes follow, and returns the sum of their pseudo-header and how long the packet
// was said to be before.
func ipOf(b []byte, n int) (pseudo wire.Sum, whole int) {
	if h := wire.IPv4(b); h[0]>>4 == 4 {
		whole = h.TotalLen()
		h.SetTotalLen(wire.IPv4Len + n)
		h.Seal()
		return h.PseudoSum(), whole
	}
	h := wire.IPv6(b)
	whole = wire.IPv6Len + h.PayloadLen()
	b[4], b[5] = byte(n>>8), byte(n)
	return h.PseudoSum(wire.ProtoTCP, n), whole
}

// A trainHost's link cuts trains.
type trainHost struct {
	*simHost
	t      testing.TB
	cut    [][]byte
	trains int
}

func (h *trainHost) Output(port int, buf []byte, now mono.Time) int {
	if len(h.cut) == 0 {
		n := h.simHost.Output(port, buf, now)
		tr := h.Train()
		if tr == nil {
			return n
		}
		if h.Train() != nil {
			h.t.Error("the train was told twice")
		}
		h.trains++
		h.cut = cutTrain(h.t, buf[:n], tr)
	}
	n := copy(buf, h.cut[0])
	h.cut = h.cut[1:]
	return n
}

// TestTrainsOnTheWire: over a link that cuts trains the same frames pass at the same times as over one that does not,
// of both families, on a rough path.
func TestTrainsOnTheWire(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, p := range []trouble{{Delay: 5 * time.Millisecond}, rough} {
			capture := func(most int) (passed []byte, trains int) {
				var out bytes.Buffer
				s := f.sim(t, 11, p, tcp.Params{}, nil)
				pcap := simnet.NewPcap(&out, false)
				a := &trainHost{simHost: s.a, t: t}
				s.a.ports[0].Trains = most
				s.net = simnet.Net{}
				s.net.Clock.MoveTo(12e9)
				s.net.Add(a)
				s.net.Add(s.b)
				var err error
				if s.wire, err = s.net.Connect(a, 0, s.b, 0, simnet.Config{Seed: 11, AtoB: p, BtoA: p, Pcap: pcap}); err != nil {
					t.Fatal(err)
				}
				c := s.listen(s.b, s.a, 80).dial(400_000, 30_000)
				s.until(300*time.Second, "transfer", c.over)
				s.empty(10 * time.Minute)
				return out.Bytes(), a.trains
			}
			plain, none := capture(0)
			cut, trains := capture(60000)
			if none != 0 || trains == 0 {
				t.Errorf("%d and %d trains", none, trains)
			}
			if !bytes.Equal(plain, cut) || len(plain) < 430_000 {
				t.Errorf("%d bytes passed without trains and %d other ones with them", len(plain), len(cut))
			}
		}
	})
}
