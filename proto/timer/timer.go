// Package timer is the timing wheel of one core: a million timers that cost
// nothing until they are due.
//
// In come deadlines, on a [Timer] that is part of the thing that waits (a
// connection, a neighbour entry, a reassembly); out go calls of [Expirer.Expire]
// from [Wheel.Advance]. It never allocates, never reads a clock and never fires
// early. A wheel and its timers belong to one core; nothing here is safe for use
// by two goroutines at once.
package timer

import "github.com/xdpsock/xdpsock/proto/mono"

// An Expirer is told when its timer is due.
type Expirer interface {
	// Expire runs inside Advance with the timer disarmed. It may arm and stop any
	// timer, this one included.
	Expire(t *Timer, now mono.Time)
}

// A Timer is one deadline. It is embedded in what waits for it and must not be
// copied or moved while it is armed.
type Timer struct {
	next, prev *Timer // ring of its slot; the slot points at the oldest
	expirer    Expirer
	at         mono.Time
	slot       uint16 // 1 + number of its slot; 0: not armed
}

// Init says who hears of this timer. It must not be called while t is armed.
func (t *Timer) Init(e Expirer) { t.expirer = e }

// Armed says whether t is waiting for its deadline.
func (t *Timer) Armed() bool { return t.slot != 0 }

// At returns the deadline, [mono.Never] if t is not armed.
func (t *Timer) At() mono.Time {
	if t.slot == 0 {
		return mono.Never
	}
	return t.at
}
