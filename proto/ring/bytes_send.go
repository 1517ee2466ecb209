package ring

// Write takes as much of p as the limit and the pool have room for and returns
// how much that is: 0 also once the queue is sealed. The program calls it.
func (b *Bytes) Write(p []byte) (n int) {
	if !b.enter() {
		return 0
	}
	tail := b.tail.Load()
	if b.sealed.Load() == 0 {
		p = p[:min(len(p), b.Room())]
		for n < len(p) && b.writable(tail/chunkSize) {
			m := copy(b.wr.c.buf[tail%chunkSize:], p[n:])
			n += m
			tail += uint64(m)
		}
		b.tail.Store(tail)
	}
	b.exit()
	return n
}

// writable moves the producer's spot to chunk n, the one it is at or the next.
//
// What programs write may fill the pool to three quarters: the rest is for what arrives. Two hosts
// whose pools were full of data for each other would have no room to take it, and stay so.
func (b *Bytes) writable(n uint64) bool {
	if b.wr.c != nil && b.wr.n == n {
		return true
	}
	if b.pool.Used() >= max(b.pool.Limit()/4*3, chunkSize) {
		return false
	}
	if b.wr.c == nil {
		return b.begin()
	}
	return b.grow(&b.wr)
}

// CopyAt copies up to len(p) bytes from offset off, which is not below head, and leaves them
// there. It returns how many there were. The core calls it, for what it sends and
// sends again.
func (b *Bytes) CopyAt(off uint64, p []byte) (n int) {
	tail := b.tail.Load()
	if off >= tail {
		return 0
	}
	if b.rd.c == nil {
		b.rd = spot{b.first, b.head.Load() / chunkSize}
	}
	for n < len(p) && off < tail {
		c := b.reach(b.rd, off/chunkSize, false)
		at := off % chunkSize
		m := copy(p[n:], c.buf[at:min(chunkSize, at+tail-off)])
		n += m
		off += uint64(m)
	}
	return n
}

// View appends to pieces the next n bytes from offset off as they lie in the queue, and returns how many there were.
// They are to be read until Release has passed them or the core does anything else with the queue, whichever is
// first. off is not below head. The core calls it.
func (b *Bytes) View(pieces [][]byte, off uint64, n int) ([][]byte, int) {
	end := min(off+uint64(n), b.tail.Load())
	if off >= end {
		return pieces, 0
	}
	if b.rd.c == nil {
		b.rd = spot{b.first, b.head.Load() / chunkSize}
	}
	from := off
	for off < end {
		c := b.reach(b.rd, off/chunkSize, false)
		at := off % chunkSize
		piece := c.buf[at:min(chunkSize, at+end-off)]
		pieces = append(pieces, piece)
		off += uint64(len(piece))
	}
	return pieces, int(end - from)
}

// PiecesMax is how many pieces View makes of n bytes at most.
func PiecesMax(n int) int { return (n+chunkSize-2)/chunkSize + 1 }

// Release gives up the first n bytes: the peer has them. The core calls it.
func (b *Bytes) Release(n int) {
	if n == 0 {
		return
	}
	head := b.head.Load() + uint64(n)
	// The chunk of the last released byte stays where the producer may still be at
	// it; where head has come to another one, that is below tail.
	last := (head - 1) / chunkSize
	if head < b.tail.Load() {
		last = head / chunkSize
	}
	if b.rd.c == nil || b.rd.n < last {
		b.follow(last)
		b.forget(last)
	}
	b.head.Store(head)
}
