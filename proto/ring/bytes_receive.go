package ring

// WriteAt stores p at offset off, at or beyond tail, where it stays invisible until
// Publish reaches it. It may be written again before that. It returns how many bytes found
// room: less than len(p) only if the pool is exhausted. The core calls it; it knows the
// window, so the limit is not looked at here.
func (b *Bytes) WriteAt(off uint64, p []byte) (n int) {
	if len(p) == 0 || b.wr.c == nil && !b.begin() {
		return 0
	}
	for n < len(p) {
		c := b.reach(b.wr, off/chunkSize, true)
		if c == nil {
			break
		}
		m := copy(c.buf[off%chunkSize:], p[n:])
		n += m
		off += uint64(m)
	}
	return n
}

// Publish makes the next n bytes readable, all of which WriteAt has stored.
func (b *Bytes) Publish(n int) {
	if n == 0 {
		return
	}
	tail := b.tail.Load() + uint64(n)
	if last := (tail - 1) / chunkSize; b.wr.n < last {
		for b.wr.n < last {
			b.wr = spot{b.wr.c.next.Load(), b.wr.n + 1}
		}
		// Before tail moves: the reader may free the chunks that it passes.
		b.forget(last)
	}
	b.tail.Store(tail)
}

// Read moves up to len(p) bytes to the program and returns how many: 0 if there
// are none, and then Ended says whether that is for good.
func (b *Bytes) Read(p []byte) (n int) {
	if !b.enter() {
		return 0
	}
	head, tail := b.head.Load(), b.tail.Load()
	for n < len(p) && head < tail {
		b.follow(head / chunkSize)
		at := head % chunkSize
		m := copy(p[n:], b.rd.c.buf[at:min(chunkSize, at+tail-head)])
		n += m
		head += uint64(m)
	}
	b.head.Store(head)
	b.exit()
	return n
}

// Peek copies up to len(p) bytes, beginning skip bytes after head, and leaves them
// there.
func (b *Bytes) Peek(p []byte, skip int) (n int) {
	if !b.enter() {
		return 0
	}
	off, tail := b.head.Load(), b.tail.Load()
	if off < tail {
		b.follow(off / chunkSize)
	}
	s := b.rd
	for off += uint64(skip); n < len(p) && off < tail; {
		for s.n < off/chunkSize {
			s = spot{s.c.next.Load(), s.n + 1}
		}
		at := off % chunkSize
		m := copy(p[n:], s.c.buf[at:min(chunkSize, at+tail-off)])
		n += m
		off += uint64(m)
	}
	b.exit()
	return n
}

// Discard releases up to n bytes unread and returns how many.
func (b *Bytes) Discard(n int) int {
	if !b.enter() {
		return 0
	}
	head, tail := b.head.Load(), b.tail.Load()
	n = int(min(uint64(n), tail-head))
	if n > 0 {
		head += uint64(n)
		b.follow((head - 1) / chunkSize)
		b.head.Store(head)
	}
	b.exit()
	return n
}
