package sysctl

import (
	"strings"
	"testing"
	"time"
)

type fields struct {
	n, a, b, c int
	no         bool
	wait       time.Duration
	name       string
	set        []Range
}

var knobs = []Knob[fields]{
	Number("net.x.n", "", 1, 9, "", func(f *fields) *int { return &f.n }),
	NotFlag("net.x.flag", "", func(f *fields) *bool { return &f.no }),
	Time("net.x.wait", time.Millisecond, 0, 1000, "", func(f *fields) *time.Duration { return &f.wait }),
	Word("net.x.name", "", []string{"one", "two"}, func(f *fields) string { return f.name }, func(f *fields, s string) { f.name = s }),
	Ranges("net.x.set", 0, 99, "", func(f *fields) *[]Range { return &f.set }),
	rising(Number("net.x.three", "", 0, 99, "", func(f *fields) *int { return &f.a }, func(f *fields) *int { return &f.b }, func(f *fields) *int { return &f.c })),
}

func rising[T any](k Knob[T]) Knob[T] { k.Rising = true; return k }

func TestSetAndGet(t *testing.T) {
	var f fields
	for _, c := range []struct{ name, value, is, fails string }{
		{"net.x.n", "3", "3", ""},
		{"n", " 9 ", "9", ""},
		{"net/x/n", "10", "9", "10 is not from 1 to 9"},
		{"n", "0", "9", "0 is not from 1 to 9"},
		{"n", "", "9", "has 0 numbers, and takes 1"},
		{"n", "1 2", "9", "has 2 numbers, and takes 1"},
		{"n", "0x3", "9", "not a whole number"},
		{"n", "99999999999999999999", "9", "not a whole number"},
		{"flag", "0", "0", ""},
		{"flag", "1", "1", ""},
		{"flag", "2", "1", "2 is not from 0 to 1"},
		{"wait", "250", "250", ""},
		{"name", "two\n", "two", ""},
		{"name", "three", "two", "none of one, two"},
		{"three", "1 2\t3", "1\t2\t3", ""},
		{"three", "4 3 5", "1\t2\t3", "3 is less than the number before it"},
		{"three", "4 5 100", "1\t2\t3", "100 is not from 0 to 99"},
		{"set", "", "", ""},
		{"set", "7,3-5,6,90,4-4,\n", "3-7,90", ""},
		{"set", "5-3", "3-7,90", `"5-3" ends before it begins`},
		{"set", "1,100", "3-7,90", "100 is not from 0 to 99"},
		{"set", "1 2", "3-7,90", `"1 2" is not a whole number`},
		{"set", "-4", "3-7,90", `"" is not a whole number`},
		{"set", "0-99", "0-99", ""},
	} {
		k := Find(knobs, c.name)
		if k == nil {
			t.Fatal(c.name)
		}
		err := k.Set(&f, c.value)
		switch {
		case c.fails == "" && err != nil, c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s = %q: %v, want %q", c.name, c.value, err, c.fails)
		case k.Get(&f) != c.is:
			t.Errorf("%s = %q: it is %q, want %q", c.name, c.value, k.Get(&f), c.is)
		}
	}
	if f.wait != 250*time.Millisecond || f.no || f.b != 2 {
		t.Errorf("%+v", f)
	}
	if Find(knobs, "x") != nil || Find(knobs, "") != nil {
		t.Error("found what there is not")
	}
}
