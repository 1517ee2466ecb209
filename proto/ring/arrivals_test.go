package ring

import (
	"sync"
	"testing"
)

func TestArrivals(t *testing.T) {
	var a Arrivals
	if _, ok := a.At(1, true); ok {
		t.Error("a time of nothing")
	}
	is := func(offset uint64, taken bool, want int64) {
		t.Helper()
		if at, ok := a.At(offset, taken); !ok || at != want {
			t.Errorf("the byte before %d came at %d, %v; want %d", offset, at, ok, want)
		}
	}
	a.Mark(10, 1)
	a.Mark(30, 2)
	a.Mark(31, 3)
	is(1, false, 1)
	is(10, false, 1)
	is(11, false, 2)
	is(31, false, 3)
	is(5, true, 1)
	is(20, true, 2)
	is(30, true, 2)
	is(31, true, 3)
	if _, ok := a.At(32, true); ok {
		t.Error("a time of what has not come")
	}
	// A reader that is behind: the newest are one.
	for i := range uint64(arrivalsMax + 10) {
		a.Mark(100+i, int64(100+i))
	}
	is(100, false, 100)
	is(100+arrivalsMax-2, false, 100+arrivalsMax-2)
	for i := uint64(arrivalsMax) - 1; i < arrivalsMax+10; i++ {
		is(100+i, false, 100+arrivalsMax+9)
	}
	a.Forget()
	if _, ok := a.At(100, true); ok {
		t.Error("not forgotten")
	}
}

// A time is never from before the byte came, nor from after it was asked for.
func TestArrivalsAtOnce(t *testing.T) {
	var a Arrivals
	var tail Word
	const n = 20000
	var core sync.WaitGroup
	core.Go(func() {
		for i := uint64(1); i <= n; i++ {
			a.Mark(i, int64(i))
			tail.Store(i)
		}
	})
	for read := uint64(0); read < n; {
		now := tail.Load()
		if now == read {
			continue
		}
		at, ok := a.At(now, true)
		if latest := int64(tail.Load()) + 1; !ok || at < int64(now) || at > latest {
			t.Fatalf("%d came at %d, %v, and it is %d", now, at, ok, latest)
		}
		read = now
	}
	core.Wait()
}
