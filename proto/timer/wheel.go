package timer

import (
	"math/bits"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Tick is the wheel's resolution in nanoseconds: 65.5 µs. A timer fires at the first tick that is
// not before its deadline, so at most this late. Below it lies what a sleeping
// core can keep anyway (ppoll(2) wakes 50 µs late); the shortest deadline of the
// protocols is a tail-loss probe's 2 ms.
const Tick = 1 << tickBits

const (
	tickBits  = 16
	slotBits  = 6
	slots     = 1 << slotBits // a level's occupancy fits one word
	levels    = 8             // 16 + 8*6 = 64 bits: every mono.Time has a place, so there is no overflow list
	slotDue   = levels * slots
	tickMax   = 1<<(levels*slotBits) - 1
	slotCount = slotDue + 1
)

// A Wheel is a hierarchical timing wheel. A timer sits at the level of the highest
// six-bit group in which its tick differs from the current one: level 0 holds the
// timers of this revolution by exact tick, level 1 those of the 63 revolutions
// after it, and so on. When the current tick enters a slot of a higher level,
// its timers move down. A timer moves at most [levels]-1 times in its life, and
// everything of a level is earlier than everything of the level above.
type Wheel struct {
	origin mono.Time // tick 0
	tick   uint64    // current: all timers of this tick and earlier ones have fired, but those in slotDue
	used   [levels]uint64
	due    int // timers in slotDue: armed for a moment that had passed, they fire at the next Advance
	slot   [slotCount]*Timer
}

// New returns an empty wheel whose time begins at start.
func New(start mono.Time) *Wheel { return &Wheel{origin: start} }

// Arm makes t fire at the first tick that is not before at. It moves a timer that
// is armed. A deadline of mono.Never disarms.
func (w *Wheel) Arm(t *Timer, at mono.Time) {
	w.Stop(t)
	if at == mono.Never {
		return
	}
	t.at = at
	w.place(t)
}

// Stop disarms t. It does nothing to a timer that is not armed.
func (w *Wheel) Stop(t *Timer) {
	if t.slot == 0 {
		return
	}
	s := int(t.slot) - 1
	t.slot = 0
	if t.next == t {
		w.slot[s] = nil
		if s != slotDue {
			w.used[s/slots] &^= 1 << (s % slots)
		}
	} else {
		t.next.prev, t.prev.next = t.prev, t.next
		if w.slot[s] == t {
			w.slot[s] = t.next
		}
	}
	t.next, t.prev = nil, nil
	if s == slotDue {
		w.due--
	}
}

// Deadline returns the moment from which Advance has something to do, mono.Never
// if no timer is armed. It is never later than the earliest timer's deadline
// rounded up to its tick. It may be earlier, when a slot of a higher level is
// to be entered, and then Advance at that moment moves it on: sleeping until
// Deadline in a loop always gets ahead.
func (w *Wheel) Deadline() mono.Time {
	if w.due > 0 {
		return w.time(w.tick)
	}
	at, _, ok := w.next()
	if !ok {
		return mono.Never
	}
	return w.time(at)
}

// Advance fires every timer whose tick is not after now and says how many. The
// clock does not go back: an earlier now than before fires only timers that were
// armed for the past. A timer that is armed for the past by an Expire fires at the next
// Advance, so that this one ends.
func (w *Wheel) Advance(now mono.Time) (fired int) {
	for n := w.due; n > 0 && w.due > 0; n-- {
		w.fire(slotDue, now)
		fired++
	}
	target := w.floor(now)
	for w.tick < target {
		at, s, ok := w.next()
		if !ok || at > target {
			w.tick = target
			break
		}
		w.tick = at
		if s >= slots {
			w.cascade(s)
			s = int(at % slots)
		}
		for w.slot[s] != nil {
			w.fire(s, now)
			fired++
		}
	}
	return fired
}

// next returns the tick at which the earliest used slot begins, and the slot.
func (w *Wheel) next() (at uint64, slot int, ok bool) {
	for level, used := range w.used {
		if used != 0 {
			i := bits.TrailingZeros64(used)
			shift := level * slotBits
			above := w.tick >> (shift + slotBits) << (shift + slotBits)
			return above | uint64(i)<<shift, level*slots + i, true
		}
	}
	return 0, 0, false
}

// cascade moves the timers of a slot that has begun to where they belong now.
// Those of the very tick land in slot tick%slots of level 0, which Advance fires next.
func (w *Wheel) cascade(s int) {
	t := w.slot[s]
	w.slot[s] = nil
	w.used[s/slots] &^= 1 << (s % slots)
	t.prev.next = nil // open the ring: the list ends with its newest
	for t != nil {
		next := t.next
		if tick := w.ceil(t.at); tick > w.tick {
			w.push(t, w.slotOf(tick))
		} else {
			w.push(t, int(w.tick%slots))
		}
		t = next
	}
}

// fire takes the oldest timer out of a slot and tells its owner.
func (w *Wheel) fire(s int, now mono.Time) {
	t := w.slot[s]
	w.Stop(t)
	t.expirer.Expire(t, now)
}

// place puts t, which is in no slot, where its deadline belongs.
func (w *Wheel) place(t *Timer) {
	tick := w.ceil(t.at)
	if tick <= w.tick {
		w.push(t, slotDue)
		w.due++
		return
	}
	w.push(t, w.slotOf(tick))
}

// slotOf returns the slot for a tick after the current one.
func (w *Wheel) slotOf(tick uint64) int {
	level := (63 - bits.LeadingZeros64(tick^w.tick)) / slotBits
	return level*slots + int(tick>>(level*slotBits)%slots)
}

// push appends t to a slot.
func (w *Wheel) push(t *Timer, s int) {
	t.slot = uint16(s) + 1
	first := w.slot[s]
	if first == nil {
		t.next, t.prev = t, t
		w.slot[s] = t
		if s != slotDue {
			w.used[s/slots] |= 1 << (s % slots)
		}
		return
	}
	t.next, t.prev = first, first.prev
	first.prev.next = t
	first.prev = t
}

// floor returns the tick that has begun at m.
func (w *Wheel) floor(m mono.Time) uint64 {
	if m <= w.origin {
		return 0
	}
	return (uint64(m) - uint64(w.origin)) >> tickBits
}

// ceil returns the first tick that is not before m.
func (w *Wheel) ceil(m mono.Time) uint64 {
	if m <= w.origin {
		return 0
	}
	return min((uint64(m)-uint64(w.origin)-1)>>tickBits+1, tickMax)
}

// time returns when a tick begins.
func (w *Wheel) time(tick uint64) mono.Time {
	return w.origin + mono.Time(tick<<tickBits)
}
