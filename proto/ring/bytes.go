package ring

import "sync/atomic"

// Bytes is a queue of bytes between a core and a program: a connection has one in
// each direction. It is a list of chunks from a [Pool], so it grows by one chunk,
// holds none when it is empty and idle, and its limit can move while it is used.
//
// A position in it is a stream offset: how many bytes came before. Offset o lives
// at o%chunkSize of the o/chunkSize-th chunk, whatever was reclaimed in between.
//
//	          head        tail
//	  released │  readable │  written ahead, unpublished, with holes (receive only)
//	───────────┼───────────┼──────────────────────────────────────►  stream offset
//	    chunks: [rd ...... wr] [ near ... far ]
//
// The receive ring's producer is the core (WriteAt, Publish, Seal) and its consumer
// the program (Read, Peek). The send ring's producer is the program (Write) and
// its consumer the core (CopyAt at any offset from head to tail, Release).
//
// Who touches what:
//   - tail and wr belong to the producer, head and rd to the consumer; each reads
//     the other's offset. Storing an offset publishes what was written before
//     it: bytes and links below tail to the consumer, free room below head to
//     the producer.
//   - A consumer leaves a chunk for the next one, and gives it back, only to reach an
//     offset below tail; by then the producer has left it too. So the last chunk
//     stays behind a drained queue, shared by both sides, and neither may free it
//     alone. That is what own is for.
//   - near and far belong to the core, on whichever side it is.
//
// The program is inside (own is held) for the time of one copy. The core never waits
// for it: it takes own only if it is free, to reclaim what a drained queue holds, and
// else leaves that for another time; and to drop the queue it sets a flag, and whoever is the last
// to leave frees the chunks. The program waits for a core that is reclaiming, which takes as
// long as giving back one chunk. Because everything behind own is exclusive, the
// reclaimer may clear wr and rd of either side.
type Bytes struct {
	pool *Pool

	own    atomic.Uint32 // held, dropped
	sealed atomic.Uint32 // 1: the producer has ended the stream at tail
	limit  atomic.Int64  // bytes between head and tail at most; the core writes it
	head   atomic.Uint64 // written by the consumer
	tail   atomic.Uint64 // written by the producer

	first *chunk // the chunk of head when the list was begun; written by the producer before tail
	wr    spot   // the producer's: the last chunk that it published bytes of
	rd    spot   // the consumer's: the chunk of head, or the one that ends there

	// Short cuts of the core into the list beyond its own end of it: far for what
	// moves ahead (new data sent, newest data received), near for what comes again (repairs).
	near, far spot
}

// A spot is a chunk and its number in the stream. It is nowhere if c is nil.
type spot struct {
	c *chunk
	n uint64
}

const (
	held    = 1 << iota // of own: the program copies, or the core reclaims
	dropped             // of own: no side will use the queue again
)

// Init makes b an empty queue of at most limit bytes. It must not be called on a queue that is in
// use, or that [Bytes.Drop] has not ended.
func (b *Bytes) Init(p *Pool, limit int) {
	*b = Bytes{pool: p}
	b.limit.Store(int64(limit))
}

// Head returns the offset of the first byte that was not released.
func (b *Bytes) Head() uint64 { return b.head.Load() }

// Tail returns the offset after the last byte that was published.
func (b *Bytes) Tail() uint64 { return b.tail.Load() }

// Len returns how many bytes can be read.
func (b *Bytes) Len() int {
	h := b.head.Load() // first: head only grows towards tail, so the difference is never negative
	return int(b.tail.Load() - h)
}

// Limit returns how many bytes the queue may hold.
func (b *Bytes) Limit() int { return int(b.limit.Load()) }

// SetLimit moves the limit. What is queued beyond a smaller one stays.
func (b *Bytes) SetLimit(limit int) { b.limit.Store(int64(limit)) }

// Room returns how many bytes may still be queued, 0 where a limit was lowered
// below what is there.
func (b *Bytes) Room() int { return max(0, int(b.limit.Load())-b.Len()) }

// Seal ends the stream: Write takes nothing more, and a reader that has drained
// the queue is at its end. The core calls it, on either side.
func (b *Bytes) Seal() { b.sealed.Store(1) }

// Sealed says whether the stream has been ended.
func (b *Bytes) Sealed() bool { return b.sealed.Load() != 0 }

// Ended says whether the stream has been ended and read to its end.
func (b *Bytes) Ended() bool { return b.sealed.Load() != 0 && b.Len() == 0 }

// Settled says whether the stream has been ended and no Write is under way that
// began before: tail is final. Such a Write finds the queue sealed when it
// returns, and its caller tells the core.
func (b *Bytes) Settled() bool {
	// A Write that starts after this load finds the seal; one that is inside is seen.
	return b.sealed.Load() != 0 && b.own.Load()&held == 0
}

// enter takes the queue for a copy by the program. It fails if the queue was dropped.
func (b *Bytes) enter() bool {
	return b.own.CompareAndSwap(0, held) || b.enterSlow()
}

// exit ends what enter began.
func (b *Bytes) exit() {
	if !b.own.CompareAndSwap(held, 0) {
		// Dropped meanwhile: the core left the chunks to us, and nobody can enter.
		b.freeAll()
		b.own.Store(dropped)
	}
}

// Reclaim gives back the chunks of a drained queue, if it is one and the program
// is not inside. The core calls it on idle connections, never while bytes are
// written ahead of tail. It says whether the queue holds nothing now.
func (b *Bytes) Reclaim() bool {
	if b.Len() != 0 || !b.own.CompareAndSwap(0, held) {
		return false
	}
	drained := b.Len() == 0 // a Write may have come before we took it
	if drained {
		b.freeAll()
	}
	b.exit()
	return drained
}

// Drop ends the queue: the program's calls do nothing from now on, and the chunks go back at
// once or, if the program is inside a copy, when that ends. It says whether they
// are back. The core calls it when both sides are done, and again until it is true; then
// Init may make a new queue of b.
func (b *Bytes) Drop() bool {
	for {
		switch s := b.own.Load(); {
		case s == dropped:
			return true
		case s == held|dropped:
			return false
		case s == held:
			if b.own.CompareAndSwap(held, held|dropped) {
				return false
			}
		case b.own.CompareAndSwap(0, held|dropped):
			b.freeAll()
			b.own.Store(dropped)
			return true
		}
	}
}

// freeAll gives back every chunk. The caller holds own.
func (b *Bytes) freeAll() {
	c := b.rd.c
	if c == nil {
		c = b.first
	}
	for c != nil {
		next := c.next.Load()
		b.pool.put(c)
		c = next
	}
	b.first, b.wr, b.rd, b.near, b.far = nil, spot{}, spot{}, spot{}, spot{}
}
