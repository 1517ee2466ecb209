// Package sysctl is tables of numbers that an operator can turn, with the names, ranges and
// spellings of Linux's sysctls.
//
// In come a name and a text, out goes a changed field or an error that says what would be right; and the
// other way round, a field comes out as a text. A table knows no socket and no file: who owns the fields
// says when a change takes effect. It must never take a value that its owner cannot work with.
package sysctl

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Knob is one row of a table: one or several fields of a T.
type Knob[T any] struct {
	Name     string   // as in /proc/sys, with dots: "net.ipv4.tcp_sack"
	Doc      string   // one or two sentences
	Unit     string   // "seconds", "bytes", ...; "" for a plain number
	Words    []string // the values that a word can have; nil: it is numbers
	Min, Max int64    // of each number
	Rising   bool     // no number is less than the one before it

	numbers []number[T]
	getWord func(*T) string
	setWord func(*T, string)

	ranges func(*T) *[]Range // of a knob that is a set of numbers; nil: it is not
}

// number is how one number is read and written.
type number[T any] struct {
	get func(*T) int64
	set func(*T, int64)
}

// Number is a knob of integers, one for each place.
func Number[T any](name, unit string, min, max int64, doc string, places ...func(*T) *int) Knob[T] {
	k := Knob[T]{Name: name, Doc: doc, Unit: unit, Min: min, Max: max}
	for _, at := range places {
		k.numbers = append(k.numbers, number[T]{
			func(t *T) int64 { return int64(*at(t)) },
			func(t *T, n int64) { *at(t) = int(n) },
		})
	}
	return k
}

// Number32 is a knob of one number of 32 bits.
func Number32[T any](name, unit, doc string, at func(*T) *uint32) Knob[T] {
	return Knob[T]{Name: name, Doc: doc, Unit: unit, Max: math.MaxUint32, numbers: []number[T]{{
		func(t *T) int64 { return int64(*at(t)) },
		func(t *T, n int64) { *at(t) = uint32(n) },
	}}}
}

// Flag is a knob that is 0 or 1.
func Flag[T any](name, doc string, at func(*T) *bool) Knob[T] {
	return flag(name, doc, at, false)
}

// NotFlag is a knob that is 0 or 1, of a field that says that something is left out.
func NotFlag[T any](name, doc string, at func(*T) *bool) Knob[T] {
	return flag(name, doc, at, true)
}

func flag[T any](name, doc string, at func(*T) *bool, not bool) Knob[T] {
	get := func(t *T) int64 {
		if *at(t) != not {
			return 1
		}
		return 0
	}
	set := func(t *T, n int64) { *at(t) = (n != 0) != not }
	return Knob[T]{Name: name, Doc: doc, Max: 1, numbers: []number[T]{{get, set}}}
}

// Time is a knob that counts units of time.
func Time[T any](name string, unit time.Duration, min, max int64, doc string, at func(*T) *time.Duration) Knob[T] {
	return Knob[T]{Name: name, Doc: doc, Unit: units[unit], Min: min, Max: max, numbers: []number[T]{{
		func(t *T) int64 { return int64(*at(t) / unit) },
		func(t *T, n int64) { *at(t) = time.Duration(n) * unit },
	}}}
}

var units = map[time.Duration]string{time.Second: "seconds", time.Millisecond: "milliseconds", time.Microsecond: "microseconds"}

// Word is a knob that is one of several words.
func Word[T any](name, doc string, words []string, get func(*T) string, set func(*T, string)) Knob[T] {
	return Knob[T]{Name: name, Doc: doc, Words: words, getWord: get, setWord: set}
}

// Within is a knob of a larger table, one of whose fields has what the knob is about.
func Within[T, U any](k Knob[U], of func(*T) *U) Knob[T] {
	in := Knob[T]{Name: k.Name, Doc: k.Doc, Unit: k.Unit, Words: k.Words, Min: k.Min, Max: k.Max, Rising: k.Rising}
	for _, n := range k.numbers {
		in.numbers = append(in.numbers, number[T]{
			func(t *T) int64 { return n.get(of(t)) },
			func(t *T, v int64) { n.set(of(t), v) },
		})
	}
	if k.ranges != nil {
		in.ranges = func(t *T) *[]Range { return k.ranges(of(t)) }
	}
	if k.Words != nil {
		in.getWord = func(t *T) string { return k.getWord(of(t)) }
		in.setWord = func(t *T, w string) { k.setWord(of(t), w) }
	}
	return in
}

// Get returns what a knob is in t: numbers with a tab between them, as Linux prints them.
func (k *Knob[T]) Get(t *T) string {
	if k.Words != nil {
		return k.getWord(t)
	}
	if k.ranges != nil {
		return showRanges(*k.ranges(t))
	}
	var list []string
	for _, n := range k.numbers {
		list = append(list, strconv.FormatInt(n.get(t), 10))
	}
	return strings.Join(list, "\t")
}

// Set changes t, or leaves it alone and says what is wrong with the value.
func (k *Knob[T]) Set(t *T, value string) error {
	if k.Words != nil {
		w := strings.TrimSpace(value)
		if !slices.Contains(k.Words, w) {
			return fmt.Errorf("%s = %q is none of %s", k.Name, w, strings.Join(k.Words, ", "))
		}
		k.setWord(t, w)
		return nil
	}
	if k.ranges != nil {
		list, err := k.parseRanges(value)
		if err == nil {
			*k.ranges(t) = list
		}
		return err
	}
	fields := strings.Fields(value)
	if len(fields) != len(k.numbers) {
		return fmt.Errorf("%s = %q has %s, and takes %d", k.Name, value, count(len(fields)), len(k.numbers))
	}
	var list []int64
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		switch {
		case err != nil:
			return fmt.Errorf("%s = %q: %q is not a whole number", k.Name, value, f)
		case n < k.Min || n > k.Max:
			return fmt.Errorf("%s = %q: %d is not from %d to %d", k.Name, value, n, k.Min, k.Max)
		case k.Rising && len(list) > 0 && n < list[len(list)-1]:
			return fmt.Errorf("%s = %q: %d is less than the number before it", k.Name, value, n)
		}
		list = append(list, n)
	}
	for i, n := range list {
		k.numbers[i].set(t, n)
	}
	return nil
}

func count(n int) string {
	if n == 1 {
		return "one number"
	}
	return strconv.Itoa(n) + " numbers"
}

// Range says in words what a knob takes.
func (k *Knob[T]) Range() string {
	switch {
	case k.Words != nil:
		return strings.Join(k.Words, ", ")
	case k.ranges != nil:
		return fmt.Sprintf("numbers and ranges, %d to %d", k.Min, k.Max)
	case len(k.numbers) > 1:
		return fmt.Sprintf("%d numbers, %d to %d", len(k.numbers), k.Min, k.Max)
	}
	return fmt.Sprintf("%d to %d", k.Min, k.Max)
}

// Find returns the knob of a table by its name, whole or, where it is the only one, from the last dot on, with dots or
// slashes; nil if there is none.
func Find[T any](table []Knob[T], name string) *Knob[T] {
	name = strings.ReplaceAll(name, "/", ".")
	var found *Knob[T]
	several := false
	for i := range table {
		full := table[i].Name
		if full == name {
			return &table[i]
		}
		if full[strings.LastIndexByte(full, '.')+1:] == name {
			found, several = &table[i], found != nil
		}
	}
	if several {
		return nil
	}
	return found
}
