package xsk

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openUMEM(t testing.TB, cfg UMEMConfig) *UMEM {
	t.Helper()
	u, err := OpenUMEM(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUMEMConfig(t *testing.T) {
	for _, cfg := range []UMEMConfig{
		{Frames: 0, FrameSize: 2048},
		{Frames: 16, FrameSize: 1024},
		{Frames: 16, FrameSize: 3000},
		{Frames: 16, FrameSize: 8192},
		{Frames: 16, FrameSize: 2048, Headroom: 1792},
		{Frames: 16, FrameSize: 2048, Headroom: -1},
		{Frames: 1 << 30, FrameSize: 2048},
	} {
		if u, err := OpenUMEM(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
			u.Close()
		}
	}
}

func TestUMEMAllocFree(t *testing.T) {
	u := openUMEM(t, UMEMConfig{Frames: 8, FrameSize: 2048})
	var a [16]uint64
	if n := u.Alloc(a[:5]); n != 5 {
		t.Fatalf("Alloc(5) of 8 = %d", n)
	}
	if n := u.Alloc(a[5:]); n != 3 {
		t.Fatalf("Alloc(11) of the 3 left = %d", n)
	}
	seen := map[uint64]bool{}
	for _, addr := range a[:8] {
		if addr%2048 != 0 || addr >= 8*2048 || seen[addr] {
			t.Fatalf("frame %#x is unaligned, outside or twice", addr)
		}
		seen[addr] = true
	}
	u.Free(a[3] + 300) // any address in the frame names it
	var again [1]uint64
	if u.Alloc(again[:]); again[0] != a[3] {
		t.Fatalf("the frame freed last is %#x, the next is %#x", a[3], again[0])
	}
	for _, addr := range a[:8] {
		u.Free(addr)
	}
	if c := u.Census(); c != (Census{Frames: 8, Free: 8}) {
		t.Fatal(c)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err == nil {
		t.Fatal("closing twice went unnoticed")
	}
}

// misuses runs what must be refused: a panic under xdpdebug, a count without.
func misuses(t *testing.T, u *UMEM, what string, do func()) {
	t.Helper()
	before := u.Misused()
	func() {
		defer func() {
			if r := recover(); (r != nil) != debug {
				t.Errorf("%s: panic %v, debug is %v", what, r, debug)
			}
		}()
		do()
	}()
	if u.Misused() != before+1 {
		t.Errorf("%s was not counted", what)
	}
}

func TestUMEMDoubleFree(t *testing.T) {
	u := openUMEM(t, UMEMConfig{Frames: 4, FrameSize: 4096})
	var a [2]uint64
	u.Alloc(a[:])
	u.Free(a[0])
	misuses(t, u, "double free", func() { u.Free(a[0]) })
	misuses(t, u, "free outside", func() { u.Free(1 << 40) })
	if c := u.Census(); c.Free != 3 || c.Lent != 1 || u.Avail() != 3 {
		t.Fatalf("%v, %d available", c, u.Avail())
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
}

// A table that does not add up must be reported by Close with its numbers.
func TestUMEMAudit(t *testing.T) {
	u := openUMEM(t, UMEMConfig{Frames: 4, FrameSize: 2048})
	u.owner[2] = 7<<2 | sideTx // a frame of a queue that does not exist
	err := u.Close()
	if err == nil || !strings.Contains(err.Error(), "4 frames: 3 free, 0 lent, 0 fill and rx, 1 tx") {
		t.Fatalf("Close = %v", err)
	}
}

func TestUMEMData(t *testing.T) {
	u := openUMEM(t, UMEMConfig{Frames: 4, FrameSize: 2048})
	defer u.Close()
	d := u.Data(2048+256, 100)
	if len(d) != 100 || cap(d) != 2048-256 {
		t.Fatalf("len %d cap %d", len(d), cap(d))
	}
	for _, bad := range []struct {
		addr uint64
		n    int
	}{{2048 + 2000, 49}, {4 * 2048, 1}, {1 << 50, 1}, {0, -1}, {^uint64(0), 1}} {
		if u.Data(bad.addr, bad.n) != nil {
			t.Errorf("Data(%#x, %d) is not nil", bad.addr, bad.n)
		}
	}
	if addr, ok := u.Addr(d[14:]); !ok || addr != 2048+256+14 {
		t.Fatalf("Addr = %#x, %v", addr, ok)
	}
	if _, ok := u.Addr(make([]byte, 10)); ok {
		t.Fatal("foreign memory has an address")
	}
	if _, ok := u.Addr(nil); ok {
		t.Fatal("nil has an address")
	}
}

func TestUMEMHugePages(t *testing.T) {
	u, err := OpenUMEM(UMEMConfig{Frames: 64, FrameSize: 2048, HugePages: Prefer})
	if err != nil {
		t.Fatal(err)
	}
	if why := u.HugePagesRefused(); why != nil {
		if !errors.Is(why, unix.ENOMEM) || !strings.Contains(why.Error(), "vm.nr_hugepages") {
			t.Errorf("refused with %v, which does not say what to do", why)
		}
		if _, err := OpenUMEM(UMEMConfig{Frames: 64, FrameSize: 2048, HugePages: Require}); err == nil {
			t.Error("required huge pages were not had, and nobody said so")
		}
	} else if len(u.mapped)%hugePageLen != 0 {
		t.Errorf("huge pages had, but %d bytes mapped", len(u.mapped))
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUMEMAllocs(t *testing.T) {
	u := openUMEM(t, UMEMConfig{Frames: 64, FrameSize: 2048})
	defer u.Close()
	var a [32]uint64
	if n := testing.AllocsPerRun(100, func() {
		for _, addr := range a[:u.Alloc(a[:])] {
			u.Free(addr)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
