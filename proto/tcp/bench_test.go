package tcp

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// pair connects two hosts without a path between: what one says goes straight into the other.
func pair(t testing.TB, p Params, opt Options) (a, b *host, ca, cb *Conn) {
	w := newWorld(t, 1, p)
	w.delay = 0
	w.check = false
	l, errno := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 1, Options: opt})
	if errno != 0 {
		t.Fatal(errno)
	}
	ca, cb = w.connectTo(l, 40000, opt)
	w.run(time.Second)
	return w.a, w.b, ca, cb
}

// exchange hands over everything that both have to say.
func exchange(a, b *host, buf []byte, now int64) {
	for {
		n := hand(a, b, buf, now) + hand(b, a, buf, now)
		if n == 0 {
			return
		}
	}
}

func hand(from, to *host, buf []byte, now int64) (segments int) {
	for c := from.tcp.Front(0); c != nil; c = from.tcp.Front(0) {
		if n := from.tcp.Output(c, buf, mtime(now)); n > 0 {
			if r := to.tcp.Input(to.addr, from.addr, buf[:n], wire.NotECT, mtime(now)); r != drop.None {
				panic(r.String())
			}
			segments++
		}
	}
	return segments
}

// TestNoAllocationPerSegment: data in and its acknowledgement out, data out and its acknowledgement in.
func TestNoAllocationPerSegment(t *testing.T) {
	a, b, ca, cb := pair(t, Params{}, Options{NoDelay: true})
	buf, data := make([]byte, 1480), make([]byte, 4000)
	now := int64(10e9)
	step := func() {
		now += 1e6
		a.advance(mtime(now))
		b.advance(mtime(now))
		ca.Write(data)
		ca.Kick(mtime(now))
		exchange(a, b, buf, now)
		for {
			if n, _, _ := cb.Read(data); n == 0 {
				break
			}
		}
		cb.Write(data[:100])
		cb.Kick(mtime(now))
		exchange(a, b, buf, now)
		ca.Read(data)
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for 4000 bytes one way and 100 back", n)
	}
	if cb.rx.Head() < 1000*4000 {
		t.Error("nothing moved")
	}
}

// BenchmarkRequestResponse is 64 bytes there and 64 back, two segments (four with delayed acknowledgements).
func BenchmarkRequestResponse(b *testing.B) {
	ha, hb, ca, cb := pair(b, Params{}, Options{NoDelay: true})
	buf, data := make([]byte, 1480), make([]byte, 64)
	now := int64(10e9)
	b.ReportAllocs()
	for range b.N {
		now += 20e3
		ha.advance(mtime(now))
		hb.advance(mtime(now))
		ca.Write(data)
		ca.Kick(mtime(now))
		hand(ha, hb, buf, now)
		cb.Read(data)
		cb.Write(data)
		cb.Kick(mtime(now))
		hand(hb, ha, buf, now)
		if n, errno, _ := ca.Read(data); n != 64 {
			b.Fatal(n, errno)
		}
	}
}

// BenchmarkBulk is one way, as fast as the windows allow, with both ends and their programs on one processor.
func BenchmarkBulk(b *testing.B) {
	for _, c := range []struct {
		name string
		p    Params
	}{{"timestamps", Params{}}, {"plain", Params{NoTimestamps: true}}} {
		b.Run(c.name, func(b *testing.B) {
			ha, hb, ca, cb := pair(b, c.p, Options{})
			buf, data, sink := make([]byte, 1480), make([]byte, 65536), make([]byte, 65536)
			now := int64(10e9)
			b.SetBytes(65536)
			b.ReportAllocs()
			for range b.N {
				now += 50e3
				ha.advance(mtime(now))
				hb.advance(mtime(now))
				for off := 0; off < len(data); {
					n, errno, _ := ca.Write(data[off:])
					if n == 0 && errno != unix.EAGAIN {
						b.Fatal(errno)
					}
					off += n
					ca.Kick(mtime(now))
					exchange(ha, hb, buf, now)
					for {
						n, _, tell := cb.Read(sink)
						if tell {
							cb.Kick(mtime(now))
						}
						if n == 0 {
							break
						}
					}
				}
			}
			b.ReportMetric(float64(ca.segsOut)/float64(b.N), "segs/op")
		})
	}
}

func BenchmarkConnectClose(b *testing.B) {
	w := newWorld(b, 1, Params{MaxTimeWait: 1 << 20})
	w.check = false
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 16})
	buf := make([]byte, 1480)
	both := func(now int64) {
		for {
			n := hand(w.a, w.b, buf, now) + hand(w.b, w.a, buf, now)
			for _, h := range []*host{w.a, w.b} {
				for {
					m, _, _ := h.tcp.Reply(buf, mtime(now))
					if m == 0 {
						break
					}
					h.peer.tcp.Input(h.peer.addr, h.addr, buf[:m], wire.NotECT, mtime(now))
					n++
				}
			}
			if n == 0 {
				return
			}
		}
	}
	now := int64(w.now)
	b.ReportAllocs()
	for i := range b.N {
		now += 100e3
		w.a.advance(mtime(now))
		w.b.advance(mtime(now))
		ca, errno := w.a.tcp.Connect(w.a.at(uint16(1024+i%60000)), w.b.at(80), Options{}, mtime(now))
		if errno != 0 {
			now += 2e9 // its pair is in TIME-WAIT: a second makes it free again
			continue
		}
		both(now)
		cb := l.Accept()
		cb.Close(mtime(now))
		ca.Close(mtime(now))
		both(now)
	}
}

func BenchmarkDemux(b *testing.B) {
	h := newHost(b, "192.0.2.1", 0, 1, Params{})
	keys := make([]key, 1<<17)
	for i := range keys {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		keys[i] = keyOf(h.addr, 80, a, uint16(i))
		if _, errno := h.tcp.newConn(&keys[i], &noOptions); errno != 0 {
			b.Fatal(errno)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		if h.tcp.find(&keys[i*7919%len(keys)]) == 0 {
			b.Fatal("not found")
		}
	}
}
