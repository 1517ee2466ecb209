// Package ratio turns interleaved measurements into ratios of medians.
//
// One number for each candidate and round comes in; medians, their ratio, and
// how far single rounds strayed from it come out. It must never see a unit: an
// absolute time of a shared machine says more about its neighbours than about
// the program, and only a comparison made within minutes says something.
package ratio

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Median is the middle value, or the mean of the two in the middle. It is NaN
// of nothing. The argument is left as it is.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// A Ratio compares a subject with a base.
type Ratio struct {
	Subject float64 `json:"subject_median"`
	Base    float64 `json:"base_median"`
	Value   float64 `json:"ratio"`     // Subject / Base
	Min     float64 `json:"ratio_min"` // the lowest ratio of one round
	Max     float64 `json:"ratio_max"` // the highest
	Rounds  int     `json:"rounds"`
}

// Compare sets round i of the subject against round i of the base, which ran right
// before or after it. Both need the same number of rounds, at least one, and
// every value has to be a positive number: a round that failed is not a round.
func Compare(subject, base []float64) (Ratio, error) {
	if len(subject) != len(base) {
		return Ratio{}, fmt.Errorf("ratio: %d rounds against %d", len(subject), len(base))
	}
	if len(subject) == 0 {
		return Ratio{}, errors.New("ratio: no rounds")
	}
	r := Ratio{
		Subject: Median(subject), Base: Median(base),
		Min: math.Inf(1), Max: math.Inf(-1), Rounds: len(subject),
	}
	for i := range subject {
		for _, v := range []float64{subject[i], base[i]} {
			if !(v > 0) || math.IsInf(v, 0) {
				return Ratio{}, fmt.Errorf("ratio: round %d measured %v", i+1, v)
			}
		}
		one := subject[i] / base[i]
		r.Min, r.Max = min(r.Min, one), max(r.Max, one)
	}
	r.Value = r.Subject / r.Base
	return r, nil
}

// Order says in which order n candidates run in a round: each round begins with
// the next one, so that none is always the one that runs on a machine just
// warmed, or just tired, by another.
func Order(round, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (round + i) % n
	}
	return order
}
