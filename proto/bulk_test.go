package proto

import (
	"bytes"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// bulkSegment is the payload of a full segment with timestamps on a link with an MTU of 1500.
const bulkSegment = 1448

// A forgery is a frame of one stack of a duo that is sent again and again with other numbers, which costs about nothing: so what bulk costs
// the sender and the receiver can be told apart.
type forgery struct {
	b   []byte
	tcp wire.TCP
}

func forged(frame []byte) forgery {
	b := bytes.Clone(frame)
	ip := wire.IPv4(b[wire.EthernetLen:])
	return forgery{b, wire.TCP(ip.Payload())}
}

// move sets sequence and acknowledgement numbers and keeps the checksum right.
func (f *forgery) move(seq, ack wire.Seq) {
	sum := wire.UpdateChecksum32(f.tcp.Checksum(), f.tcp.Seq().Uint32(), seq.Uint32())
	sum = wire.UpdateChecksum32(sum, f.tcp.Ack().Uint32(), ack.Uint32())
	f.tcp.SetSeq(seq)
	f.tcp.SetAck(ack)
	f.tcp.SetChecksum(sum)
}

// BenchmarkTCPBulkReceive is bursts of full segments in order, as a ring brings them, what they are answered by, and a program
// that reads them; a segment is the unit. With unfinished checksums nothing is summed.
func BenchmarkTCPBulkReceive(b *testing.B) {
	for _, bm := range []struct {
		name       string
		burst      int
		unfinished bool
	}{{"burst=1", 1, false}, {"burst=16", 16, false}, {"burst=64", 64, false}, {"burst=64/unfinished", 64, true}} {
		b.Run(bm.name, func(b *testing.B) {
			d := newDuo(b)
			body, got := make([]byte, 1<<20), make([]byte, 1<<17)
			for range 10 {
				d.bulk(b, body, got)
			}
			d.ca.Write(body[:bulkSegment])
			d.ca.Kick(d.now)
			f := forged(d.frame[:d.a.Output(0, d.frame[:], d.now)])
			f.tcp.SetFlags(wire.ACK)
			f.tcp.SetChecksum(0)
			pseudo := wire.IPv4(f.b[wire.EthernetLen:]).PseudoSum()
			if f.tcp.Seal(pseudo); bm.unfinished {
				d.b.ports[0].TrustUnfinished = true
				f.tcp.SetChecksum(pseudo.Fold())
			}
			seq, ack := f.tcp.Seq(), f.tcp.Ack()
			b.SetBytes(bulkSegment)
			b.ResetTimer()
			for i := 0; i < b.N; i += bm.burst {
				d.now = d.now.Add(100 * time.Microsecond)
				d.b.Advance(d.now)
				for range bm.burst {
					if bm.unfinished {
						f.tcp.SetSeq(seq)
					} else {
						f.move(seq, ack)
					}
					d.b.Input(0, f.b, d.now)
					seq = seq.Add(bulkSegment)
				}
				d.receive(b, got, bm.burst*bulkSegment)
			}
			d.pass(time.Second) // the last one may have been delayed
			if acked := d.answered(); acked != seq {
				b.Fatalf("%d bytes were not acknowledged", seq.Sub(acked))
			}
		})
	}
}

// receive reads what has arrived at b, n bytes, and lets it answer, into d.frame.
func (d *duo) receive(t testing.TB, got []byte, n int) {
	for d.b.Output(0, d.frame[:], d.now) > 0 {
	}
	for n > 0 {
		m, errno, tell := d.cb.Read(got)
		if m == 0 {
			t.Fatal(errno)
		}
		if n -= m; tell {
			d.cb.Kick(d.now)
		}
	}
	for d.b.Output(0, d.frame[:], d.now) > 0 {
	}
}

// answered is what b's last segment has acknowledged.
func (d *duo) answered() wire.Seq {
	d.b.Output(0, d.frame[:], d.now)
	return wire.TCP(d.frame[wire.EthernetLen+wire.IPv4Len:]).Ack()
}

// BenchmarkTCPBulkSend is a program that writes, bursts of full segments that go out, and acknowledgements of every
// second one, or of a burst, that arrive; a segment is the unit.
func BenchmarkTCPBulkSend(b *testing.B) {
	for _, bm := range []struct {
		name       string
		burst, ack int // segments
		trains     int // bytes
	}{
		{"burst=2/ack=2", 2, 2, 0}, {"burst=16/ack=2", 16, 2, 0}, {"burst=64/ack=2", 64, 2, 0}, {"burst=64/ack=64", 64, 64, 0},
		{"burst=64/ack=2/trains", 64, 2, 65000}, {"burst=4/ack=2/trains", 4, 2, 65000},
	} {
		b.Run(bm.name, func(b *testing.B) {
			d := newDuo(b)
			body, got := make([]byte, 1<<20), make([]byte, 1<<17)
			for range 10 {
				d.bulk(b, body, got)
			}
			d.ca.Write(body[:bulkSegment])
			d.ca.Kick(d.now)
			d.b.Input(0, d.frame[:d.a.Output(0, d.frame[:], d.now)], d.now)
			d.cb.Read(got)
			d.cb.Kick(d.now)
			f := forged(d.frame[:d.b.Output(0, d.frame[:], d.now)])
			d.a.Input(0, f.b, d.now)
			seq, ack := f.tcp.Seq(), f.tcp.Ack()
			d.a.ports[0].Trains = bm.trains
			b.SetBytes(bulkSegment)
			b.ResetTimer()
			for i := 0; i < b.N; i += bm.burst {
				d.now = d.now.Add(100 * time.Microsecond)
				d.a.Advance(d.now)
				if n, errno, tell := d.ca.Write(body[:bm.burst*bulkSegment]); n < bm.burst*bulkSegment {
					b.Fatal(n, errno)
				} else if tell {
					d.ca.Kick(d.now)
				}
				for j := 0; j < bm.burst; j++ {
					n := d.a.Output(0, d.frame[:], d.now)
					if tr := d.a.Train(); tr != nil {
						j += tr.Segments() - 1
					} else if n < bulkSegment {
						b.Fatalf("segment %d of a burst: %d bytes", j, n)
					}
				}
				for range bm.burst / bm.ack {
					ack = ack.Add(bm.ack * bulkSegment)
					f.move(seq, ack)
					d.a.Input(0, f.b, d.now)
				}
			}
			if n := d.ca.Unacked(); n != 0 {
				b.Fatalf("%d bytes are not acknowledged", n)
			}
		})
	}
}
