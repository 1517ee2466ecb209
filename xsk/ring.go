package xsk

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A ring is one single-producer single-consumer queue in memory that we share
// with the kernel: two free-running indices and a power of two of entries.
// One side advances producer after it has written entries, the other consumer
// after it has read them; the atomic store is the release, the atomic load the
// acquire that pair them.
//
// Each of our sides keeps copies of both indices, so that it touches the kernel's
// cache line only when its copy says that there is not enough.
type ring[T any] struct {
	producer *atomic.Uint32 // shared; written by whoever produces
	consumer *atomic.Uint32 // shared; written by whoever consumes
	flags    *atomic.Uint32 // shared; written by the kernel: XDP_RING_NEED_WAKEUP
	entries  []T
	mask     uint32

	prod uint32 // producer: where we have written to; consumer: the kernel's index when last read
	cons uint32 // consumer: where we have read to; producer: the kernel's index when last read

	mem []byte // the mapping that all of this lies in; nil: the ring does not exist
}

// needWakeup says whether the kernel waits for a system call before it looks at
// the ring again. It means something only if the socket was bound with
// XDP_USE_NEED_WAKEUP.
func (r *ring[T]) needWakeup() bool { return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0 }

// level is how many entries are in the ring now. Anyone may ask.
func (r *ring[T]) level() uint32 {
	// consumer first: it never passes producer, so the difference is never negative.
	cons := r.consumer.Load()
	return r.producer.Load() - cons
}

// A producer is our end of the fill and tx rings.
type producer[T any] struct{ ring[T] }

// reserve returns how many entries, up to want, can be written. Reserving takes
// nothing: what is not submitted is free again.
func (r *producer[T]) reserve(want uint32) uint32 {
	free := uint32(len(r.entries)) - (r.prod - r.cons)
	if free < want {
		r.cons = r.consumer.Load()
		free = uint32(len(r.entries)) - (r.prod - r.cons)
	}
	return min(free, want)
}

// set writes the i-th reserved entry.
func (r *producer[T]) set(i uint32, entry T) { r.entries[(r.prod+i)&r.mask] = entry }

// submit shows the first n reserved entries to the kernel.
func (r *producer[T]) submit(n uint32) {
	r.prod += n
	r.producer.Store(r.prod)
}

// A consumer is our end of the rx and completion rings.
type consumer[T any] struct{ ring[T] }

// peek returns how many entries, up to want, can be read.
func (r *consumer[T]) peek(want uint32) uint32 {
	ready := r.prod - r.cons
	if ready < want {
		r.prod = r.producer.Load()
		ready = r.prod - r.cons
	}
	return min(ready, want)
}

// at returns the i-th peeked entry.
func (r *consumer[T]) at(i uint32) T { return r.entries[(r.cons+i)&r.mask] }

// release gives the first n peeked entries back to the kernel.
func (r *consumer[T]) release(n uint32) {
	r.cons += n
	r.consumer.Store(r.cons)
}
