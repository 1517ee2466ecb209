package engine

import (
	"sync/atomic"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// States of a waiter.
const (
	waiterIdle    = iota
	waiterParked  // on its channel, or on the way there; whoever makes it idle owes a token
	waiterDriving // holds the role
)

// A Waiter is one goroutine that waits. It is used for one Wait at a time, and may
// be used again.
type Waiter struct {
	state    atomic.Int32
	token    chan struct{} // capacity 1
	deadline mono.Time     // while parked; guarded by the core's mu
	heapAt   int           // index in the core's deadlines, -1: not there

	next, prev *Waiter // in the core's list of the parked
	listed     bool
	core       *Core // while it waits on one
}

// NewWaiter returns a waiter.
func NewWaiter() *Waiter {
	return &Waiter{token: make(chan struct{}, 1), heapAt: -1}
}

// Wake lets the goroutine look at its condition again and says whether it became
// runnable by this: a driver does not, it is only made to look. Whatever Arm gave
// the waiter to may call it, until Disarm; a waiter that does not wait is left
// alone.
func (w *Waiter) Wake() bool {
	switch {
	case w.state.CompareAndSwap(waiterParked, waiterIdle):
		if w.core != nil {
			w.core.coming.Add(1)
		}
		w.token <- struct{}{}
		return true
	case w.state.Load() == waiterDriving:
		w.core.Attention()
	}
	return false
}

// Park waits for Wake, and no longer than until the deadline of the channel. It
// is for a goroutine that waits for several cores at once and so drives none.
// Prepare must have been called before the last look at what is waited for.
func (w *Waiter) Park(timeout <-chan struct{}) {
	select {
	case <-w.token:
	case <-timeout:
		if !w.state.CompareAndSwap(waiterParked, waiterIdle) {
			<-w.token // Wake was faster: its token is on the way
		}
	}
}

// Prepare makes the next Wake count, before the look that decides to Park.
func (w *Waiter) Prepare() {
	w.core = nil
	w.state.Store(waiterParked)
}

// Cancel takes Prepare back without parking.
func (w *Waiter) Cancel() { w.cancel() }

// cancel says false if Wake was faster.
func (w *Waiter) cancel() bool {
	if w.state.CompareAndSwap(waiterParked, waiterIdle) {
		return true
	}
	<-w.token
	return false
}

// waiterList is the parked waiters, oldest first.
type waiterList struct{ head, tail *Waiter }

func (l *waiterList) add(w *Waiter) {
	w.prev, w.next, w.listed = l.tail, nil, true
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
}

func (l *waiterList) remove(w *Waiter) {
	if !w.listed {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.prev, w.next, w.listed = nil, nil, false
}

func (l *waiterList) wakeAll() {
	for w := l.head; w != nil; w = w.next {
		w.Wake()
	}
}

// waiterHeap is the parked waiters that have a deadline, the earliest on top.
type waiterHeap []*Waiter

func (h *waiterHeap) push(w *Waiter) {
	w.heapAt = len(*h)
	*h = append(*h, w)
	h.up(w.heapAt)
}

func (h *waiterHeap) remove(w *Waiter) {
	i := w.heapAt
	if i < 0 {
		return
	}
	last := len(*h) - 1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	w.heapAt = -1
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h waiterHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (h waiterHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].deadline <= h[i].deadline {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h waiterHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].deadline < h[least].deadline {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
