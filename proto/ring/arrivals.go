package ring

import "sync/atomic"

// Arrivals says when the bytes of a stream came, for programs that ask (SO_TIMESTAMP on a stream). The core marks, one
// program at a time asks. The zero value knows nothing and takes no memory until the first mark.
type Arrivals struct{ list atomic.Pointer[arrivals] }

// arrivalsMax is how many segments are told apart that a program has not read. Those that come when there are
// more are one with the newest: its bytes came when the last of them did, as those of segments are that Linux has
// coalesced (tcp_try_coalesce).
const arrivalsMax = 64

type arrivals struct {
	marks      [arrivalsMax]arrival
	head, tail atomic.Uint32 // head is the program's, tail the core's
}

// An arrival is when the bytes up to an offset came, those after the arrival before.
type arrival struct{ end, at atomic.Uint64 }

// Mark notes that the bytes up to an offset of the stream came at a time. It comes before they are published.
func (a *Arrivals) Mark(end uint64, at int64) {
	l := a.list.Load()
	if l == nil {
		l = new(arrivals)
		a.list.Store(l)
	}
	tail := l.tail.Load()
	full := tail-l.head.Load() == arrivalsMax
	if full {
		tail--
	}
	m := &l.marks[tail%arrivalsMax]
	m.at.Store(uint64(at))
	m.end.Store(end)
	if !full {
		l.tail.Store(tail + 1)
	}
}

// At returns when the byte before an offset came, false if that is not known. With taken, those up to there
// are not asked for again.
func (a *Arrivals) At(offset uint64, taken bool) (at int64, ok bool) {
	l := a.list.Load()
	if l == nil {
		return 0, false
	}
	head := l.head.Load()
	for tail := l.tail.Load(); head != tail; head++ {
		if m := &l.marks[head%arrivalsMax]; m.end.Load() >= offset {
			at, ok = int64(m.at.Load()), true
			break
		}
	}
	if taken {
		l.head.Store(head)
	}
	return at, ok
}

// Forget makes a the zero value again. Neither side is at it.
func (a *Arrivals) Forget() { a.list.Store(nil) }
