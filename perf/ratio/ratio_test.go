package ratio

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 2}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{1, 100, 2, 3}, 2.5},
	} {
		before := slices.Clone(c.in)
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(c.in, before) {
			t.Errorf("Median reordered its argument: %v", c.in)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v, want NaN", got)
	}
}

// One round that the machine spoiled moves the spread and not the ratio.
func TestCompareOutlier(t *testing.T) {
	r, err := Compare([]float64{150, 152, 15, 148, 151}, []float64{100, 100, 100, 100, 100})
	if err != nil {
		t.Fatal(err)
	}
	if r.Value != 1.5 || r.Min != 0.15 || r.Max != 1.52 || r.Rounds != 5 {
		t.Errorf("got %+v", r)
	}
}

// The ratio is that of the medians, not the median of the ratios.
func TestCompareOfMedians(t *testing.T) {
	r, err := Compare([]float64{10, 20, 30}, []float64{30, 10, 20})
	if err != nil {
		t.Fatal(err)
	}
	if r.Value != 1 || r.Subject != 20 || r.Base != 20 {
		t.Errorf("got %+v", r)
	}
	if want := 10.0 / 30; r.Min != want || r.Max != 2 {
		t.Errorf("spread %v..%v, want %v..2", r.Min, r.Max, want)
	}
}

func TestCompareRefuses(t *testing.T) {
	for name, c := range map[string]struct{ subject, base []float64 }{
		"none":     {nil, nil},
		"unequal":  {[]float64{1, 2}, []float64{1}},
		"zero":     {[]float64{1, 0}, []float64{1, 1}},
		"negative": {[]float64{1}, []float64{-1}},
		"NaN":      {[]float64{math.NaN()}, []float64{1}},
		"infinite": {[]float64{1}, []float64{math.Inf(1)}},
	} {
		if r, err := Compare(c.subject, c.base); err == nil {
			t.Errorf("%s: got %+v, want an error", name, r)
		}
	}
}

// Over n rounds everyone has run at every place once.
func TestOrder(t *testing.T) {
	const n = 3
	var seen [n][n]int
	for round := range n {
		for place, who := range Order(round, n) {
			seen[who][place]++
		}
	}
	for who := range seen {
		for place, count := range seen[who] {
			if count != 1 {
				t.Errorf("candidate %d ran %d times at place %d, want once", who, count, place)
			}
		}
	}
}
