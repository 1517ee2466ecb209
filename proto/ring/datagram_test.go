package ring

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
)

func fill(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7)
	}
	return b
}

func TestDatagramsKeepOrderContentAndFacts(t *testing.T) {
	pool := NewPool(1 << 20)
	var d Datagrams
	d.Init(pool, 512<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	type sent struct {
		m    Datagram
		body []byte
	}
	var queue []sent
	buf := make([]byte, 70000)
	for i := range 20000 {
		if rng.IntN(2) == 0 {
			m := Datagram{
				From:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i)),
				To:    netip.MustParseAddrPort("[fd00::1]:7"),
				Iface: uint32(i), Time: int64(i), TTL: 64, TOS: byte(i),
			}
			n := rng.IntN(100)
			if rng.IntN(20) == 0 {
				n = rng.IntN(65536)
			}
			body := fill(n, byte(i))
			half := n / 3
			if rng.IntN(2) == 0 {
				m.To = netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, byte(i)}), 9)
			}
			if rng.IntN(9) == 0 {
				m.From = netip.AddrPort{}
			}
			put := func() bool { return d.Put(&m, body) }
			if rng.IntN(2) == 0 {
				put = func() bool { return d.PutParts(&m, body[:half], body[half:]) }
			}
			held := rng.IntN(3) == 0 && n > 2
			if held {
				put = func() bool {
					ok := d.Hold(&m, body[:half])
					for rest := body[half:]; ok && len(rest) > 0; {
						some := rest[:min(half, len(rest))]
						if before := d.Len(); !d.Join(some) {
							rest, n = nil, n-len(rest)
							if before != d.Len() {
								t.Fatal("what could not be joined is there")
							}
							break
						}
						rest = rest[len(some):]
					}
					body = body[:n]
					before := d.Len()
					if d.Release(); ok && d.Len() != before+1 {
						t.Fatal("what was held was seen, or is not released")
					}
					return ok
				}
			}
			if put() {
				m.Len = n
				if held && n > half {
					m.Segment = half
				}
				queue = append(queue, sent{m, body})
			} else if d.Room(n) && pool.Used()+n+2*chunkSize < pool.Limit() {
				t.Fatalf("refused %d bytes with room in queue and pool", n)
			}
			continue
		}
		var m Datagram
		peek := rng.IntN(4) == 0
		n, ok := d.Get(&m, buf, peek)
		if ok != (len(queue) > 0) {
			t.Fatalf("Get ok=%v with %d queued", ok, len(queue))
		}
		if !ok {
			continue
		}
		if m != queue[0].m || !bytes.Equal(buf[:n], queue[0].body) {
			t.Fatalf("record %d: got %+v, want %+v", i, m, queue[0].m)
		}
		if !peek {
			queue = queue[1:]
		}
		if d.Len() != len(queue) {
			t.Fatalf("Len %d, want %d", d.Len(), len(queue))
		}
	}
	d.Free()
	if pool.Used() != 0 {
		t.Fatalf("%d bytes of chunks not given back", pool.Used())
	}
}

func TestShortBufferTruncatesOneDatagram(t *testing.T) {
	var d Datagrams
	d.Init(NewPool(1<<20), 1<<20)
	d.Put(&Datagram{}, fill(5000, 1))
	d.Put(&Datagram{}, fill(10, 2))
	var m Datagram
	buf := make([]byte, 100)
	if n, ok := d.Get(&m, buf, false); !ok || n != 100 || m.Len != 5000 {
		t.Fatalf("first: n %d len %d ok %v", n, m.Len, ok)
	}
	if n, ok := d.Get(&m, buf, false); !ok || n != 10 || !bytes.Equal(buf[:10], fill(10, 2)) {
		t.Fatalf("second: n %d ok %v", n, ok)
	}
}

// Look sees every byte where Get would find it, and takes nothing.
func TestLookSeesFromAnyByteOn(t *testing.T) {
	pool := NewPool(1 << 20)
	var d Datagrams
	d.Init(pool, 512<<10)
	lengths := []int{5, 0, 9000, 1, 0, 3000, chunkSize, 7}
	var all []byte
	for i, n := range lengths {
		m := Datagram{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("[fd00::1]:7"), Iface: uint32(i)}
		body := fill(n, byte(i))
		all = append(all, body...)
		if !d.Put(&m, body) {
			t.Fatal("no room")
		}
	}
	buf := make([]byte, 1<<16)
	for skip := range len(all) + 3 {
		var m Datagram
		n, into, ok := d.Look(&m, buf, skip)
		if !ok {
			if skip < len(all) || into != skip-len(all) {
				t.Fatalf("nothing %d bytes in, %d beyond", skip, into)
			}
			continue
		}
		if n != m.Len-into || !bytes.Equal(buf[:n], all[skip:skip+n]) || m.Len != lengths[m.Iface] {
			t.Fatalf("%d bytes in: %d of datagram %d, which is of %d, from its byte %d", skip, n, m.Iface, m.Len, into)
		}
	}
	for i := range lengths {
		var m Datagram
		if _, ok := d.Get(&m, buf, false); !ok || int(m.Iface) != i {
			t.Fatalf("datagram %d: %d, %v", i, m.Iface, ok)
		}
	}
	for _, want := range []bool{true, false} { // an empty one is seen once
		if want && !d.Put(&Datagram{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.1:1")}, nil) {
			t.Fatal("no room")
		}
		if _, _, ok := d.Look(new(Datagram), buf, 0); ok != want {
			t.Errorf("an empty datagram is seen: %v, want %v", ok, want)
		}
	}
	var m Datagram
	if _, ok := d.Get(&m, buf, false); !ok || m.Len != 0 {
		t.Errorf("an empty datagram of %d bytes, %v", m.Len, ok)
	}
	if _, into, ok := d.Look(new(Datagram), buf, 4); ok || into != 4 {
		t.Error("an empty queue has something")
	}
}

func TestEmptyDatagramsAreCharged(t *testing.T) {
	var d Datagrams
	d.Init(NewPool(1<<20), 10*DatagramOverhead)
	n := 0
	for d.Put(&Datagram{}, nil) {
		n++
	}
	if n != 10 {
		t.Fatalf("took %d empty datagrams, want 10", n)
	}
}

func TestPoolLimitRefusesWholeDatagram(t *testing.T) {
	pool := NewPool(4 * chunkSize)
	var d Datagrams
	d.Init(pool, 1<<20)
	if d.Put(&Datagram{}, fill(5*chunkSize, 0)) {
		t.Fatal("took more than the pool holds")
	}
	if pool.Used() != 0 {
		t.Fatalf("%d bytes kept by a refused datagram", pool.Used())
	}
	if !d.Put(&Datagram{}, fill(3*chunkSize, 0)) {
		t.Fatal("refused what the pool holds")
	}
}

func TestDatagramsBetweenTwoGoroutines(t *testing.T) {
	pool := NewPool(1 << 20)
	var d Datagrams
	d.Init(pool, 64<<10)
	const count = 50000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; i < count; {
			m := Datagram{Iface: uint32(i)}
			if d.Put(&m, fill(i%700, byte(i))) {
				i++
			} else {
				runtime.Gosched()
			}
		}
	})
	buf := make([]byte, 1000)
	for i := 0; i < count; {
		var m Datagram
		n, ok := d.Get(&m, buf, false)
		if !ok {
			runtime.Gosched()
			continue
		}
		if m.Iface != uint32(i) || n != i%700 || !bytes.Equal(buf[:n], fill(n, byte(i))) {
			t.Fatalf("record %d: got %d with %d bytes", i, m.Iface, n)
		}
		i++
	}
	wg.Wait()
	d.Free()
	if pool.Used() != 0 {
		t.Fatalf("%d bytes not given back", pool.Used())
	}
}

func TestDatagramsDoNotAllocate(t *testing.T) {
	var d Datagrams
	d.Init(NewPool(1<<20), 1<<18)
	body, buf := fill(64, 1), make([]byte, 64)
	m := Datagram{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.2:2")}
	d.Put(&m, body)
	d.Get(&m, buf, false)
	if n := testing.AllocsPerRun(1000, func() {
		d.Put(&m, body)
		d.Get(&m, buf, false)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkDatagram64(b *testing.B) {
	var d Datagrams
	d.Init(NewPool(1<<20), 1<<18)
	body, buf := fill(64, 1), make([]byte, 64)
	m := Datagram{From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.2:2")}
	for b.Loop() {
		d.Put(&m, body)
		d.Get(&m, buf, false)
	}
}
