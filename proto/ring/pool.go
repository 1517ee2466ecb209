package ring

import (
	"sync"
	"sync/atomic"
)

// chunkSize is how much of a queue one chunk holds, in bytes. A page: small
// enough that a connection with one request outstanding costs little, large
// enough that the lock of the pool is taken once in three full segments.
const chunkSize = 4096

// slabChunks is how many chunks the pool asks of the allocator at once.
const slabChunks = 16

// A chunk is a piece of a queue. next is written by the producer and read by the
// consumer.
type chunk struct {
	next atomic.Pointer[chunk]
	buf  [chunkSize]byte
}

// A Pool lends the chunks that a core's queues are made of. Producers take, the
// consumer gives back, each on its own goroutine: so it has a lock, held for a few
// instructions and taken once a chunk.
//
// Chunks are never given back to the allocator: a pool is as large as the most
// that was ever queued at once, and at most its limit.
type Pool struct {
	mu    sync.Mutex
	free  *chunk       // linked by next
	used  int          // chunks lent
	made  int          // chunks in existence
	limit atomic.Int64 // chunks at most; the core writes it
}

// NewPool returns a pool that lends at most limit bytes (the kernel's word for
// it is tcp_mem).
func NewPool(limit int) *Pool {
	p := new(Pool)
	p.SetLimit(limit)
	return p
}

// SetLimit moves the limit. What is lent beyond a lower one stays lent.
func (p *Pool) SetLimit(limit int) { p.limit.Store(int64(max(1, limit/chunkSize))) }

// get lends a chunk, nil if the limit is reached.
func (p *Pool) get() *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := int(p.limit.Load())
	if p.used >= limit {
		return nil
	}
	if p.free == nil {
		slab := make([]chunk, min(slabChunks, limit-p.made))
		for i := range slab {
			slab[i].next.Store(p.free)
			p.free = &slab[i]
		}
		p.made += len(slab)
	}
	c := p.free
	p.free = c.next.Load()
	c.next.Store(nil)
	p.used++
	return c
}

// put takes a chunk back.
func (p *Pool) put(c *chunk) {
	p.mu.Lock()
	c.next.Store(p.free)
	p.free = c
	p.used--
	p.mu.Unlock()
}

// Used returns how many bytes are lent.
func (p *Pool) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used * chunkSize
}

// Made returns how many bytes p holds, lent or not: what was lent at once at most.
func (p *Pool) Made() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made * chunkSize
}

// Limit returns how many bytes may be lent.
func (p *Pool) Limit() int { return int(p.limit.Load()) * chunkSize }
