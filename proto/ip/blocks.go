package ip

import "bytes"

// blockSize is what a block counts for in the memory of a reassembly, in bytes. It holds a
// fragment of an Ethernet packet; a longer one takes several.
const blockSize = 2048

// blockSlab is how many blocks are asked of the allocator at once.
const blockSlab = 32

// A block is a fragment, or a further piece of one that is longer than a block.
type block struct {
	more          *block // the next piece of this fragment; of the free list
	before, after *block // fragments of the same datagram, by offset
	offset        int    // of the data in the datagram
	length        int    // of the data
	data          int    // bytes stored before the data: the headers, in a first fragment
	buf           [blockSize - 48]byte
}

func (b *block) end() int { return b.offset + b.length }

// copy fills p with what is stored from offset at on, and returns its length.
func (b *block) copy(p []byte, at int) (n int) {
	for n < len(p) {
		for at >= len(b.buf) {
			b, at = b.more, at-len(b.buf)
		}
		c := copy(p[n:], b.buf[at:])
		n += c
		at += c
	}
	return n
}

// same says whether the data of b are p, which is as long.
func (b *block) same(p []byte) bool {
	at := b.data
	for len(p) > 0 {
		for at >= len(b.buf) {
			b, at = b.more, at-len(b.buf)
		}
		n := min(len(p), len(b.buf)-at)
		if !bytes.Equal(b.buf[at:at+n], p[:n]) {
			return false
		}
		p = p[n:]
		at += n
	}
	return true
}

// blocks is the memory of a reassembly. It is as large as the most that it ever held.
type blocks struct {
	free  *block // by more
	used  int
	made  int
	limit int
}

// room is how many bytes can be stored in one piece of memory, whatever else is held.
func (m *blocks) room() int { return (m.limit - m.used) * len(block{}.buf) }

// store copies p, for which there is room, into blocks.
func (m *blocks) store(p []byte) (first *block) {
	end := &first
	for len(p) > 0 {
		b := m.get()
		n := copy(b.buf[:], p)
		p = p[n:]
		*end, end = b, &b.more
	}
	return first
}

func (m *blocks) get() *block {
	if m.free == nil {
		slab := make([]block, min(blockSlab, m.limit-m.made))
		for i := range slab {
			slab[i].more = m.free
			m.free = &slab[i]
		}
		m.made += len(slab)
	}
	b := m.free
	m.free, b.more = b.more, nil
	m.used++
	return b
}

// put gives a fragment's blocks back.
func (m *blocks) put(b *block) {
	b.before, b.after = nil, nil
	for b != nil {
		more := b.more
		b.more, m.free = m.free, b
		m.used--
		b = more
	}
}
