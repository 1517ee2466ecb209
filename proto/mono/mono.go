// Package mono is time as the stack sees it: nanoseconds on one clock that never
// goes back. Whoever turns a core reads the clock once and passes the number
// down; nothing under proto ever asks what time it is.
package mono

import "time"

// Time is a moment in nanoseconds since an origin that the clock's owner chose.
// It is an instant, not a wall-clock date: only differences mean something.
type Time int64

// Never is later than any moment: the deadline of what has none.
const Never Time = 1<<63 - 1

// Add returns t moved by d. Never stays Never, and a sum that would pass it is Never.
func (t Time) Add(d time.Duration) Time {
	if t == Never {
		return Never
	}
	sum := t + Time(d)
	if d > 0 && sum < t {
		return Never
	}
	return sum
}

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Before says whether t is earlier than u.
func (t Time) Before(u Time) bool { return t < u }

// Due says whether the deadline t has come at now.
func (t Time) Due(now Time) bool { return t <= now }
