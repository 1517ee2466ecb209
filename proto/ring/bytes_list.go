package ring

import "runtime"

// enterSlow waits for a core that is reclaiming.
func (b *Bytes) enterSlow() bool {
	for {
		if b.own.Load()&dropped != 0 {
			return false
		}
		if b.own.CompareAndSwap(0, held) {
			return true
		}
		runtime.Gosched()
	}
}

// begin makes the list's first chunk, that of tail. It is called by the producer.
func (b *Bytes) begin() bool {
	c := b.pool.get()
	if c == nil {
		return false
	}
	b.first = c
	b.wr = spot{c, b.tail.Load() / chunkSize}
	return true
}

// grow moves s, which the producer holds, to the next chunk and makes it if the
// list ends at s. It fails if the pool is exhausted.
func (b *Bytes) grow(s *spot) bool {
	next := s.c.next.Load()
	if next == nil {
		if next = b.pool.get(); next == nil {
			return false
		}
		s.c.next.Store(next)
	}
	*s = spot{next, s.n + 1}
	return true
}

// follow moves the consumer's spot to chunk n, which lies at or below the last published byte,
// and gives back those that it leaves.
func (b *Bytes) follow(n uint64) {
	if b.rd.c == nil {
		b.rd = spot{b.first, b.head.Load() / chunkSize}
	}
	for b.rd.n < n {
		c := b.rd.c
		b.rd = spot{c.next.Load(), b.rd.n + 1}
		b.pool.put(c)
	}
}

// reach returns chunk n, which is not before the core's own end of the list, end. As the producer
// it makes what is missing, and nil says that the pool is exhausted.
//
// The list is walked from the nearest spot below. Two are enough for any pattern
// that TCP makes: one moves ahead with new data while the other mends holes, in order of
// offsets; only a step back of the mending one starts over at the end.
func (b *Bytes) reach(end spot, n uint64, produce bool) *chunk {
	if n == end.n {
		return end.c
	}
	var s *spot
	switch {
	case b.far.c == nil:
		b.far = end
		s = &b.far
	case n >= b.far.n:
		s = &b.far
	case b.near.c != nil && n >= b.near.n:
		s = &b.near
	default:
		b.near = end
		s = &b.near
	}
	for s.n < n {
		if produce {
			if !b.grow(s) {
				return nil
			}
			continue
		}
		*s = spot{s.c.next.Load(), s.n + 1}
	}
	return s.c
}

// forget drops the short cuts to chunks up to n: the core's end of the list has
// come there, and the other side may free what lies before it.
func (b *Bytes) forget(n uint64) {
	if b.near.n <= n {
		b.near = spot{}
	}
	if b.far.n <= n {
		b.far = spot{}
	}
}
