package drop

import "iter"

// Counters counts packets by reason. It belongs to one core: whoever holds that
// core's lock writes and reads it, so there are no atomics. Copying it is taking
// a snapshot; take it under the lock.
//
// It is as long as a Reason has values, so that counting needs no bounds check and no
// value of a Reason can make it panic.
type Counters [256]uint64

// Count counts one packet. Counting [None] counts an accepted packet.
func (c *Counters) Count(r Reason) { c[r]++ }

// CountN counts n packets.
func (c *Counters) CountN(r Reason, n int) { c[r] += uint64(n) }

// Snapshot returns a copy.
func (c *Counters) Snapshot() Counters { return *c }

// Add adds what another core has counted.
func (c *Counters) Add(o *Counters) {
	for i := range c {
		c[i] += o[i]
	}
}

// Since returns what was counted after the snapshot before was taken.
func (c *Counters) Since(before *Counters) Counters {
	var d Counters
	for i := range c {
		d[i] = c[i] - before[i]
	}
	return d
}

// Dropped returns how many packets were dropped for any reason.
func (c *Counters) Dropped() uint64 {
	var n uint64
	for _, v := range c[1:] {
		n += v
	}
	return n
}

// All yields the reasons that have dropped something and how many packets each, in the
// order of the layers. None is left out.
func (c *Counters) All() iter.Seq2[Reason, uint64] {
	return func(yield func(Reason, uint64) bool) {
		for i, v := range c {
			if i != int(None) && v != 0 && !yield(Reason(i), v) {
				return
			}
		}
	}
}
