package ring

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"
)

// pattern fills p with the bytes of a known stream from offset off.
func pattern(p []byte, off uint64) {
	for i := range p {
		o := off + uint64(i)
		p[i] = byte(o ^ o>>8 ^ o>>16)
	}
}

// check says where p differs from that stream, -1 if nowhere.
func check(p []byte, off uint64) int {
	for i, b := range p {
		o := off + uint64(i)
		if b != byte(o^o>>8^o>>16) {
			return i
		}
	}
	return -1
}

func newBytes(limit int) (*Bytes, *Pool) {
	p := NewPool(1 << 24)
	b := new(Bytes)
	b.Init(p, limit)
	return b, p
}

// wantUsed is the leak check: how many chunks the pool has lent.
func wantUsed(t *testing.T, p *Pool, chunks int) {
	t.Helper()
	if got := p.Used(); got != chunks*chunkSize {
		t.Errorf("%d chunks are lent, want %d", got/chunkSize, chunks)
	}
}

// TestReceiveModel writes a stream in pieces, ahead and out of order, and
// reads it in pieces, against the stream itself.
func TestReceiveModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			b, pool := newBytes(1 << 16)
			window := 1 + rng.IntN(1<<16)
			var have [1 << 17]bool // offsets stored, from tail on, modulo its length
			ahead := 0             // how many those are
			buf := make([]byte, 1<<16)
			for range 2000 {
				switch rng.IntN(6) {
				case 0, 1, 2: // a segment somewhere in the window
					room := window - b.Len()
					if room == 0 {
						continue
					}
					off := b.Tail()
					if rng.IntN(2) == 0 {
						off += uint64(rng.IntN(room))
					}
					n := 1 + rng.IntN(min(3000, room-int(off-b.Tail())))
					pattern(buf[:n], off)
					if got := b.WriteAt(off, buf[:n]); got != n {
						t.Fatalf("WriteAt stored %d of %d", got, n)
					}
					for i := range n {
						if h := &have[(off+uint64(i))%uint64(len(have))]; !*h {
							*h = true
							ahead++
						}
					}
					n = 0
					for h := b.Tail() % uint64(len(have)); have[h]; h = (h + 1) % uint64(len(have)) {
						have[h] = false
						n++
					}
					ahead -= n
					b.Publish(n)
				case 3:
					p := buf[:rng.IntN(9000)]
					skip := rng.IntN(2000)
					n := b.Peek(p, skip)
					if want := min(len(p), max(0, b.Len()-skip)); n != want {
						t.Fatalf("Peek(%d, %d) gave %d, want %d", len(p), skip, n, want)
					}
					if i := check(p[:n], b.Head()+uint64(skip)); i >= 0 {
						t.Fatalf("Peek at %d: byte %d is wrong", b.Head(), i)
					}
				case 4:
					off, want := b.Head(), b.Len()
					p := buf[:rng.IntN(9000)]
					n := b.Read(p)
					if n != min(len(p), want) || b.Head() != off+uint64(n) {
						t.Fatalf("Read(%d) of %d gave %d", len(p), want, n)
					}
					if i := check(p[:n], off); i >= 0 {
						t.Fatalf("Read at %d: byte %d is wrong", off, i)
					}
				case 5:
					if rng.IntN(4) == 0 {
						want := min(500, b.Len())
						if n := b.Discard(500); n != want {
							t.Fatalf("Discard gave %d, want %d", n, want)
						}
					}
					if ahead == 0 && b.Reclaim() {
						wantUsed(t, pool, 0)
					}
				}
			}
			for range 2 {
				if !b.Drop() {
					t.Error("Drop of an unused queue failed")
				}
			}
			wantUsed(t, pool, 0)
		})
	}
}

// TestSendModel is the other direction: the core reads anywhere between head and tail.
func TestSendModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 8))
			limit := 1 + rng.IntN(1<<16)
			b, pool := newBytes(limit)
			buf := make([]byte, 1<<17)
			var views [8][]byte
			for range 3000 {
				switch rng.IntN(6) {
				case 0, 1:
					p := buf[:rng.IntN(9000)]
					off, room := b.Tail(), b.Room()
					pattern(p, off)
					if n := b.Write(p); n != min(len(p), room) || b.Tail() != off+uint64(n) {
						t.Fatalf("Write(%d) with room for %d took %d", len(p), room, n)
					}
				case 2, 3:
					off := b.Head() + uint64(rng.IntN(b.Len()+1))
					p := buf[:rng.IntN(3000)]
					n := b.CopyAt(off, p)
					if want := min(len(p), int(b.Tail()-off)); n != want {
						t.Fatalf("CopyAt gave %d, want %d", n, want)
					}
					if i := check(p[:n], off); i >= 0 {
						t.Fatalf("CopyAt %d: byte %d is wrong", off, i)
					}
					pieces, m := b.View(views[:0], off, len(p))
					if all := slices.Concat(pieces...); m != n || !bytes.Equal(all, p[:n]) || len(pieces) > PiecesMax(n) {
						t.Fatalf("View gave %d bytes in %d pieces, want %d in at most %d", m, len(pieces), n, PiecesMax(n))
					}
				case 4:
					n := b.Len()
					if rng.IntN(3) > 0 {
						n = rng.IntN(n + 1)
					}
					b.Release(n)
				case 5:
					if b.Reclaim() {
						wantUsed(t, pool, 0)
					}
					limit = 1 + rng.IntN(1<<16)
					b.SetLimit(limit)
				}
			}
			b.Seal()
			if b.Write(buf[:1]) != 0 || !b.Settled() {
				t.Error("Write after Seal took something")
			}
			if b.Ended() != (b.Len() == 0) {
				t.Error("Ended before it was read to its end")
			}
			b.Release(b.Len())
			if !b.Ended() {
				t.Error("not Ended when drained")
			}
			b.Drop()
			wantUsed(t, pool, 0)
		})
	}
}

// TestDrainedChunksGoBack: a queue holds no more chunks than its bytes demand, but
// for the one that both sides stand on.
func TestDrainedChunksGoBack(t *testing.T) {
	b, pool := newBytes(1 << 20)
	p := make([]byte, 10*chunkSize)
	b.Write(p)
	wantUsed(t, pool, 10)
	b.Release(chunkSize)
	wantUsed(t, pool, 9)
	b.Release(8*chunkSize + 1)
	wantUsed(t, pool, 1)
	b.Release(chunkSize - 1)
	wantUsed(t, pool, 1) // head == tail at the end of a chunk: the producer is still there
	if !b.Reclaim() {
		t.Error("Reclaim of a drained queue failed")
	}
	wantUsed(t, pool, 0)
	if !b.Reclaim() {
		t.Error("Reclaim of an empty queue failed")
	}
	b.Write(p[:1])
	if b.Reclaim() {
		t.Error("reclaimed a queue with a byte in it")
	}
	b.Drop()
	wantUsed(t, pool, 0)
}

func TestPoolExhausted(t *testing.T) {
	pool := NewPool(4 * chunkSize)
	var b, c, d Bytes
	b.Init(pool, 1<<20)
	c.Init(pool, 1<<20)
	d.Init(pool, 1<<20)
	p := make([]byte, 5*chunkSize)
	pattern(p, 0)
	if n := b.Write(p); n != 3*chunkSize {
		t.Errorf("Write took %d from a pool of %d: a quarter is for what arrives", n, 4*chunkSize)
	}
	if n := c.Write(p); n != 0 {
		t.Errorf("Write took %d from an empty pool", n)
	}
	if n := c.WriteAt(0, p); n != chunkSize {
		t.Errorf("WriteAt stored %d, want a quarter of the pool", n)
	}
	if n := d.WriteAt(100000, p); n != 0 {
		t.Errorf("WriteAt stored %d from an empty pool", n)
	}
	c.Drop()
	d.Drop()
	b.Release(chunkSize + 1)
	if n := b.Write(p); n != chunkSize {
		t.Errorf("Write took %d, want a chunk's worth", n)
	}
	b.Drop()
	wantUsed(t, pool, 0)

	// Ahead, but not all the way: what was stored counts, the rest can come again.
	pool = NewPool(2 * chunkSize)
	var r Bytes
	r.Init(pool, 1<<20)
	if n := r.WriteAt(10, p[10:]); n != 2*chunkSize-10 {
		t.Errorf("WriteAt stored %d", n)
	}
	if n := r.WriteAt(0, p[:10]); n != 10 {
		t.Errorf("filling the hole stored %d", n)
	}
	r.Publish(2 * chunkSize)
	got := make([]byte, 2*chunkSize)
	if n := r.Read(got); n != len(got) || check(got, 0) >= 0 {
		t.Error("wrong bytes after the pool ran out")
	}
	if n := r.WriteAt(r.Tail(), p[:1]); n != 1 {
		t.Error("no room after a chunk was read")
	}
	r.Drop()
	wantUsed(t, pool, 0)
}

// TestHammerReceive runs both sides at full speed, with the core reclaiming whenever
// it sees the queue drained. Under -race it is the proof of the handshake.
func TestHammerReceive(t *testing.T) {
	const total = 2 << 20
	b, pool := newBytes(3 * chunkSize)
	done := make(chan int)
	go func() { // the program
		buf := make([]byte, 5000)
		off, reads := uint64(0), 0
		for !b.Ended() {
			n := b.Read(buf[:1+(off*7)%4999])
			if i := check(buf[:n], off); i >= 0 {
				t.Errorf("byte %d of a read at %d is wrong", i, off)
				break
			}
			off += uint64(n)
			reads++
			if n == 0 {
				runtime.Gosched()
			}
		}
		if off != total {
			t.Errorf("read %d of %d", off, total)
		}
		done <- reads
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 3000)
	reclaimed := 0
	for b.Tail() < total {
		if rng.IntN(8) == 0 { // let it run dry
			for b.Len() > 0 {
				runtime.Gosched()
			}
		}
		if b.Reclaim() {
			reclaimed++
		}
		n := min(rng.IntN(3000), b.Room(), int(total-b.Tail()))
		if n == 0 {
			runtime.Gosched()
			continue
		}
		off, cut := b.Tail(), rng.IntN(n+1)
		pattern(buf[:n], off)
		b.WriteAt(off+uint64(cut), buf[cut:n]) // the second half first
		b.WriteAt(off, buf[:cut])
		b.Publish(n)
	}
	b.Seal()
	reads := <-done
	for !b.Reclaim() {
		runtime.Gosched()
	}
	wantUsed(t, pool, 0)
	if reclaimed == 0 {
		t.Error("the queue was never reclaimed under the reader")
	}
	t.Logf("%d reads, reclaimed %d times", reads, reclaimed)
}

func TestHammerSend(t *testing.T) {
	b, pool := newBytes(3 * chunkSize)
	var wrote atomic.Uint64
	done := make(chan struct{})
	go func() { // the program
		buf := make([]byte, 5000)
		off := uint64(0)
		for !b.Sealed() {
			p := buf[:1+(off*11)%4999]
			pattern(p, off)
			n := b.Write(p)
			off += uint64(n)
			if n == 0 {
				runtime.Gosched()
			}
		}
		wrote.Store(off)
		close(done)
	}()
	rng := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 4000)
	reclaimed := 0
	for !b.Settled() || b.Len() > 0 {
		for range 2 { // some is sent twice
			off := b.Head() + uint64(rng.IntN(b.Len()+1))
			n := b.CopyAt(off, buf[:rng.IntN(4000)])
			if i := check(buf[:n], off); i >= 0 {
				t.Fatalf("byte %d of a copy at %d is wrong", i, off)
			}
		}
		b.Release(rng.IntN(b.Len() + 1))
		if b.Len() < 100 {
			b.Release(b.Len())
		}
		if b.Reclaim() {
			reclaimed++
		}
		if b.Tail() > 2<<20 {
			b.Seal()
		}
		if b.Len() == 0 {
			runtime.Gosched()
		}
	}
	<-done
	if b.Tail() != wrote.Load() {
		t.Errorf("the program wrote %d, the core saw %d", wrote.Load(), b.Tail())
	}
	for !b.Reclaim() {
		runtime.Gosched()
	}
	wantUsed(t, pool, 0)
	t.Logf("reclaimed %d times", reclaimed)
}

// TestDropDuringCopies ends queues while the other side is inside and makes new ones of the
// same chunks: nobody may ever see another stream's bytes, and no chunk is lost.
func TestDropDuringCopies(t *testing.T) {
	pool := NewPool(64 * chunkSize)
	for round := range 200 {
		var b Bytes
		b.Init(pool, 4*chunkSize)
		mark := byte(round)
		p := bytes.Repeat([]byte{mark}, 4*chunkSize)
		var started atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			got := make([]byte, 3*chunkSize)
			for i := 0; i < 50; i++ {
				started.Store(true)
				n := b.Peek(got, i)
				for _, x := range got[:n] {
					if x != mark {
						t.Errorf("round %d read a byte of round %d", round, x)
						return
					}
				}
				b.Read(got[:10])
			}
		}()
		b.WriteAt(0, p)
		b.Publish(len(p))
		for !started.Load() {
			runtime.Gosched()
		}
		for !b.Drop() {
			runtime.Gosched()
		}
		wantUsed(t, pool, 0)
		if b.Read(p) != 0 || b.Write(p) != 0 || b.Peek(p, 0) != 0 || b.Discard(1) != 0 {
			t.Error("a dropped queue still moves bytes")
		}
		<-done
	}
}

func TestBytesSize(t *testing.T) {
	// Two of them are in every connection, whose budget is a kilobyte.
	if size := unsafe.Sizeof(Bytes{}); size > 128 {
		t.Errorf("Bytes is %d bytes, want at most 128", size)
	}
}

func TestBytesNoAllocation(t *testing.T) {
	b, _ := newBytes(1 << 16)
	p := make([]byte, 6000)
	b.WriteAt(0, p) // the pool makes its first chunks
	b.Publish(len(p))
	if n := testing.AllocsPerRun(1000, func() {
		b.WriteAt(b.Tail(), p)
		b.Publish(len(p))
		for b.Len() > 0 {
			b.Read(p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReceive1448(b *testing.B) {
	q, _ := newBytes(1 << 20)
	p := make([]byte, 1448)
	big := make([]byte, 1<<16)
	b.SetBytes(1448)
	b.ReportAllocs()
	for range b.N {
		q.WriteAt(q.Tail(), p)
		q.Publish(len(p))
		if q.Len() > 1<<16 {
			q.Read(big)
		}
	}
}

func BenchmarkSend1448(b *testing.B) {
	q, _ := newBytes(1 << 20)
	p := make([]byte, 1448)
	big := make([]byte, 1<<16)
	b.SetBytes(1448)
	b.ReportAllocs()
	for range b.N {
		if q.Len() < 1448 {
			q.Write(big)
		}
		q.CopyAt(q.Head(), p)
		q.Release(len(p))
	}
}

// BenchmarkReceiveMessage is a small request on an otherwise idle connection.
func BenchmarkReceiveMessage(b *testing.B) {
	q, _ := newBytes(1 << 20)
	p := make([]byte, 64)
	b.ReportAllocs()
	for range b.N {
		q.WriteAt(q.Tail(), p)
		q.Publish(len(p))
		q.Read(p)
	}
}
