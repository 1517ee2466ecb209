package simnet

import "github.com/xdpsock/xdpsock/proto/mono"

// A Clock is a time that stands still until somebody moves it. The zero Clock
// begins at 0.
type Clock struct {
	now     mono.Time
	sources []func() mono.Time
}

// Now is the virtual time.
func (c *Clock) Now() mono.Time { return c.now }

// MoveTo moves the clock forward to t. A time that has passed, or Never, moves nothing.
func (c *Clock) MoveTo(t mono.Time) {
	if t > c.now && t != mono.Never {
		c.now = t
	}
}

// Watch has Next heed another source of events: next says when its next one is,
// Never if it has none. A wire watches itself; whoever turns several cores on
// one clock adds their deadlines, or one core's sleep would pass over another's.
func (c *Clock) Watch(next func() mono.Time) { c.sources = append(c.sources, next) }

// Next is when the earliest event of all sources is due, which may have passed,
// and Never if there is none.
func (c *Clock) Next() mono.Time {
	next := mono.Never
	for _, source := range c.sources {
		next = min(next, source())
	}
	return next
}
