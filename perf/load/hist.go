package load

import (
	"math/bits"
	"time"
)

const (
	// subBits makes 32 buckets of each power of two: a quantile is at most 1/32
	// (3 %) too high, which is well below what a shared machine's noise adds.
	subBits = 5
	sub     = 1 << subBits

	// histMax is about 17 s; what is longer counts as that long.
	histMax = 1<<34 - 1
	buckets = (34 - subBits + 1) * sub
)

// A Hist counts durations in buckets whose width grows with the value, as an HDR
// histogram does. The zero value is empty and ready.
type Hist struct {
	count [buckets]uint64
	total uint64
	max   time.Duration
}

// bucket is exact below 2*sub, then sub buckets a power of two.
func bucket(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*sub + int(v>>shift) - sub
}

// upper is the largest value in bucket i.
func upper(i int) uint64 {
	if i < sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return (uint64(i%sub+sub)+1)<<shift - 1
}

// Add counts one duration. A negative one counts as 0.
func (h *Hist) Add(d time.Duration) {
	d = min(max(d, 0), histMax)
	h.count[bucket(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// Count is how many were added.
func (h *Hist) Count() uint64 { return h.total }

// Quantile is the duration that a share q (0 to 1) of all stays within, rounded
// up by at most 1/32; 0 if there is none.
func (h *Hist) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.total)), h.total-1) // 0 is the shortest
	for i, n := range h.count {
		if rank < n {
			return min(time.Duration(upper(i)), h.max)
		}
		rank -= n
	}
	return h.max
}
