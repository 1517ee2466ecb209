package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Every value lies in the bucket it is put into, and bucket widths keep the promise.
func TestBuckets(t *testing.T) {
	last := -1
	for _, v := range []uint64{0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 15_400, 1 << 20, 1<<33 + 12345, histMax} {
		i := bucket(v)
		if i < last || i >= buckets {
			t.Fatalf("bucket(%d) = %d after %d, of %d", v, i, last, buckets)
		}
		last = i
		if up := upper(i); up < v || float64(up) > float64(v)*(1+1.0/sub) {
			t.Errorf("upper(bucket(%d)) = %d", v, up)
		}
		if i > 0 && upper(i-1) >= v {
			t.Errorf("%d is in bucket %d, but the one before reaches to %d", v, i, upper(i-1))
		}
	}
}

func TestQuantile(t *testing.T) {
	var h Hist
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing is not 0")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * 20_000)
		all = append(all, d)
		h.Add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/sub) {
			t.Errorf("Quantile(%v) = %v, want %v or a little more", q, got, want)
		}
	}
	h.Add(time.Hour)
	h.Add(-1)
	if h.Count() != 10_002 || h.Quantile(1) != histMax {
		t.Errorf("count %d, longest %v", h.Count(), h.Quantile(1))
	}
}
