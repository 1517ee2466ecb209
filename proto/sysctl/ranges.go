package sysctl

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Read first: proc_do_large_bitmap in kernel/sysctl.c.

// A Range is numbers, the last included.
type Range struct{ First, Last int }

// Ranges is a knob that is a set of numbers: "8080,9000-9100", or nothing. It is kept in order, without numbers twice; nobody changes
// what at points to.
func Ranges[T any](name string, min, max int64, doc string, at func(*T) *[]Range) Knob[T] {
	return Knob[T]{Name: name, Doc: doc, Min: min, Max: max, ranges: at}
}

func showRanges(list []Range) string {
	var words []string
	for _, r := range list {
		word := strconv.Itoa(r.First)
		if r.Last > r.First {
			word += "-" + strconv.Itoa(r.Last)
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

func (k *Knob[T]) parseRanges(value string) (list []Range, err error) {
	for word := range strings.SplitSeq(strings.TrimSpace(value), ",") {
		if word == "" { // as Linux passes over a comma too many
			continue
		}
		first, last, two := strings.Cut(word, "-")
		if !two {
			last = first
		}
		var r Range
		if r.First, err = k.member(value, first); err != nil {
			return nil, err
		}
		if r.Last, err = k.member(value, last); err != nil {
			return nil, err
		}
		if r.Last < r.First {
			return nil, fmt.Errorf("%s = %q: %q ends before it begins", k.Name, value, word)
		}
		list = append(list, r)
	}
	return merged(list), nil
}

// member is one number of a set.
func (k *Knob[T]) member(value, word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 63)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s = %q: %q is not a whole number", k.Name, value, word)
	case int64(n) < k.Min || int64(n) > k.Max:
		return 0, fmt.Errorf("%s = %q: %d is not from %d to %d", k.Name, value, n, k.Min, k.Max)
	}
	return int(n), nil
}

// merged is a set in order, ranges that touch as one.
func merged(list []Range) (out []Range) {
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range list {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}
