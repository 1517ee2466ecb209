package xsk

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringPair lays out one ring in ordinary memory, where the race detector sees it, and returns both of its ends.
func ringPair[T any](t *testing.T, size int, start uint32) (*producer[T], *consumer[T]) {
	t.Helper()
	off := unix.XDPRingOffset{Producer: 0, Consumer: 64, Flags: 128, Desc: 192}
	var entry T
	words := make([]uint64, (192+size*int(unsafe.Sizeof(entry)))/8)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
	open := func() ring[T] {
		r, err := ringOver[T](mem, off, size)
		if err != nil {
			t.Fatal(err)
		}
		r.producer.Store(start)
		r.consumer.Store(start)
		r.prod, r.cons = start, start
		return r
	}
	return &producer[T]{open()}, &consumer[T]{open()}
}

// The far end runs as the kernel does, on its own, with batches of other sizes than ours. Every entry
// must come out once, in order, whole. The indices start so that they wrap around 2^32 on the way.
func TestRingAgainstKernelSide(t *testing.T) {
	const total, size = 200_000, 64
	p, c := ringPair[Desc](t, size, 1<<32-total/2)
	entry := func(i uint32) Desc { return Desc{Addr: uint64(i) * 3, Len: i ^ 0x5a5a, Options: i & 1} }
	go func() {
		for next, want := uint32(0), uint32(1); next < total; want = want%7 + 1 {
			n := min(p.reserve(want), total-next)
			if n == 0 {
				runtime.Gosched()
				continue
			}
			for i := range n {
				p.set(i, entry(next+i))
			}
			p.submit(n)
			next += n
		}
	}()
	for next, want := uint32(0), uint32(1); next < total; want = want%11 + 1 {
		n := c.peek(want)
		if n > want || c.level() > size {
			t.Fatalf("peek(%d) = %d with %d in a ring of %d", want, n, c.level(), size)
		}
		if n == 0 {
			runtime.Gosched()
			continue
		}
		for i := range n {
			if got := c.at(i); got != entry(next+i) {
				t.Fatalf("entry %d is %+v, want %+v", next+i, got, entry(next+i))
			}
		}
		c.release(n)
		next += n
	}
	if n := c.peek(1); n != 0 || c.level() != 0 {
		t.Fatalf("%d entries are left over", n)
	}
}

func TestRingBounds(t *testing.T) {
	p, c := ringPair[uint64](t, 8, 0)
	if n := p.reserve(100); n != 8 {
		t.Fatalf("an empty ring of 8 gives room for %d", n)
	}
	if n := p.reserve(3); n != 3 {
		t.Fatalf("reserving took something: room for %d of 3", n)
	}
	for i := range uint32(8) {
		p.set(i, uint64(i))
	}
	if n := c.peek(8); n != 0 {
		t.Fatalf("%d entries seen before submit", n)
	}
	p.submit(8)
	if n := p.reserve(1); n != 0 {
		t.Fatalf("a full ring gives room for %d", n)
	}
	if n := c.peek(5); n != 5 {
		t.Fatalf("peek(5) of 8 = %d", n)
	}
	c.release(2)
	if got := c.at(0); got != 2 {
		t.Fatalf("after releasing 0 and 1 the next is %d", got)
	}
	if n := p.reserve(8); n != 2 {
		t.Fatalf("2 released, room for %d", n)
	}
}

func TestRingNeedWakeup(t *testing.T) {
	p, _ := ringPair[uint64](t, 8, 0)
	if p.needWakeup() {
		t.Fatal("need_wakeup before the kernel set it")
	}
	p.flags.Store(unix.XDP_RING_NEED_WAKEUP)
	if !p.needWakeup() {
		t.Fatal("need_wakeup is set and not seen")
	}
}

func TestRingOverShortMemory(t *testing.T) {
	off := unix.XDPRingOffset{Producer: 0, Consumer: 64, Flags: 128, Desc: 192}
	if _, err := ringOver[uint64](make([]byte, 200), off, 2); err == nil {
		t.Fatal("a ring that ends behind its mapping was accepted")
	}
}
