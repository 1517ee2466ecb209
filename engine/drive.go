package engine

import (
	"runtime"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// This file is who turns a core while programs wait.
//
// A goroutine that waits for something (Recv, Accept, Connect, Poll) turns the core
// itself: it holds the role of the driver, also while it sleeps on the devices,
// when the lock is free. The rules, each with what it is for:
//
//   - One driver. Others park on a channel of their own.
//   - The baton goes with the data: a driver whose turn woke others and brought
//     itself nothing gives the role up and parks. The woken goroutine is next to run
//     on this processor, so parking is the switch to it, and it drives next. An idle
//     Accept thus never drives for busy connections.
//   - A driver that was served after it woke others yields once before it drives
//     again, or the woken would wait behind it.
//   - Nobody wakes a goroutine and spins on: the woken one sits in the run queue of
//     the spinner's processor, and a thief waits some 50 us before it takes it. A turn
//     may wake many, and the first of them to run drives next: it yields until the
//     others have come, before it turns and after.
//   - A deadline is no data, and who waits for several cores drives none: a driver whose
//     turn woke only such yields once and keeps the role, since they will not take it.
//   - A driver leaves no frame behind that woke it: if a port has some it turns once
//     more before it leaves.
//   - The poller (poller.go) takes the role when nobody has had it for a tick.

// A Condition is what a goroutine waits for. Its methods are called with the
// core's lock held.
type Condition interface {
	// Done says whether the wait is over at now: there is what was waited for, or
	// there is a reason to give up (closed, the deadline has come).
	Done(now mono.Time) bool

	// Deadline is when Done says true by itself; mono.Never if it does not.
	Deadline() mono.Time

	// Arm makes whatever brings what is waited for call w.Wake. It looks for nothing:
	// Done is asked once more after it. Disarm ends that: when it returns, no call of
	// w.Wake is under way. Arm and Disarm come in pairs.
	Arm(w *Waiter)
	Disarm(w *Waiter)
}

// Wait returns when cond is done, turning the core meanwhile if nobody else does.
// It says false if the core was closed before.
func (c *Core) Wait(w *Waiter, cond Condition) bool {
	if c.owed.Load() && c.owed.Swap(false) {
		c.coming.Add(1) // or who takes the role meanwhile would sleep with the processor that we wait for
		letRun()
		c.coming.Add(-1)
	}
	c.mu.Lock()
	w.core = c
	for quick := 0; ; {
		now := c.clock.Now()
		if c.batch.overdue(now) {
			c.Flush()
		}
		if c.closed || cond.Done(now) {
			c.finish(w)
			open := !c.closed
			c.Unlock()
			return open
		}
		if c.driver != nil && c.driver != w && c.driver != &c.poller.role {
			c.park(w, cond)
			continue
		}
		if c.driver != w {
			c.take(w)
			if c.coming.Load() > 0 { // what they have to say is sent by this turn
				c.yield()
				continue
			}
		}
		c.woken, c.others = 0, 0
		work := c.turn()
		if cond.Done(now) {
			continue
		}
		if c.woken > 0 { // the baton goes with the data
			c.drop(w)
			c.park(w, cond)
			quick = 0
			continue
		}
		if coming := c.coming.Load() > 0; work > 0 || coming || c.others > 0 {
			if quick++; quick%driverYield == 0 || coming || c.others > 0 {
				c.yield()
			}
			c.pause(work)
			continue
		}
		quick = 0
		cond.Arm(w)
		if !cond.Done(now) {
			c.await(min(cond.Deadline(), c.nextDeadline()))
		}
		cond.Disarm(w)
	}
}

// letRun lets those run that this processor has in its queue. Now and then (each 61st time) the runtime looks into the queue of those
// who have yielded first, and so does not come to the others: hence twice.
func letRun() {
	runtime.Gosched()
	runtime.Gosched()
}

// Owe has the next wait begin with a yield: what the program has been given (a connection) it most often hands to a goroutine
// that it starts, which must not wait until its starter has looked for more and sleeps.
func (c *Core) Owe() { c.owed.Store(true) }

// driverYield is after how many turns without a pause a driver lets other
// goroutines run: a turn is at most some 100 us, and a goroutine that uses its
// processor for 10 ms is preempted with the role in its hand.
const driverYield = 16

// yield lets those run whom turns have woken. They need the lock, so a driver that took
// it for a turn in between would only be in their way. The lock is held before and
// after.
func (c *Core) yield() {
	c.batch.yielding.Store(true)
	c.Unlock()
	runtime.Gosched()
	for i := 0; i < yieldMax && c.coming.Load() > 0; i++ {
		runtime.Gosched()
	}
	c.batch.yielding.Store(false)
	c.mu.Lock()
}

// yieldMax is how often a driver yields to those it has woken before it looks at the
// ports again: they may be held up elsewhere. A yield to nobody is some 150 ns.
const yieldMax = 64

// finish ends a wait: it gives the role up if w has it. The lock is held.
func (c *Core) finish(w *Waiter) {
	if c.driver != w {
		w.state.Store(waiterIdle)
		return
	}
	if !c.closed && c.rxReady() {
		c.turn()
	}
	c.owed.Store(c.woken+c.others > 0)
	c.drop(w)
}

// take gives w the role, from nobody or from the poller, which sees it at its next
// wake: at the latest when w drops the role. The lock is held.
func (c *Core) take(w *Waiter) {
	c.driver = w
	c.departs.Add(1)
	w.state.Store(waiterDriving)
}

// drop gives the role up. The lock is held.
func (c *Core) drop(w *Waiter) {
	c.driver = nil
	c.departs.Add(1)
	w.state.Store(waiterIdle)
	c.poller.unpark()
	if c.poller.away { // displaced, and asleep for longer than what w leaves behind allows
		c.Attention()
	}
}

// park waits until somebody wakes w. The lock is held before and after, not
// meanwhile.
func (c *Core) park(w *Waiter, cond Condition) {
	w.state.Store(waiterParked)
	cond.Arm(w)
	if cond.Done(c.clock.Now()) {
		cond.Disarm(w)
		if !w.cancel() {
			c.coming.Add(-1)
		}
		return
	}
	w.deadline = cond.Deadline()
	c.parked.add(w)
	if w.deadline != mono.Never {
		c.deadlines.push(w)
		if w.deadline.Before(c.sleep.till) {
			c.Attention()
		}
	}
	if c.driver == nil {
		c.poller.unpark()
	}
	c.owed.Store(false) // parking lets the woken run
	c.Unlock()
	<-w.token
	c.mu.Lock()
	c.coming.Add(-1)
	c.parked.remove(w)
	c.deadlines.remove(w)
	cond.Disarm(w)
	if c.driver == w { // the poller has handed the role over
		w.state.Store(waiterDriving)
	}
}

// expire wakes a waiter whose deadline has come. The lock is held.
func (w *Waiter) expire(c *Core) (woken int) {
	c.deadlines.remove(w)
	if w.Wake() {
		woken = 1
	}
	return woken
}

// nextDeadline is when the core has something to do for others than the driver.
func (c *Core) nextDeadline() mono.Time {
	until := c.handler.Deadline()
	if len(c.deadlines) > 0 {
		until = min(until, c.deadlines[0].deadline)
	}
	return until
}

// rxReady says whether a port has frames.
func (c *Core) rxReady() bool {
	for _, dev := range c.ports {
		if dev.Ready() {
			return true
		}
	}
	return false
}
