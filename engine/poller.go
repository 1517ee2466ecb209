package engine

import (
	"time"
)

// pollTick is how often the poller looks whether somebody drives: grace for a
// caller that is between two calls, and the bound on how long a core stands still.
const pollTick = time.Millisecond

// pollerState is the background goroutine that turns a core while no program does,
// so that ARP, acknowledgements, timers and retransmissions go on whatever the
// program is busy with. It is an ordinary goroutine: after a turn that woke somebody
// it yields, and the woken runs next on the same processor.
type pollerState struct {
	role   Waiter // stands for the poller in Core.driver
	parked bool   // a caller drives all the time; guarded by the core's mu
	away   bool   // looks or sleeps without the lock, displaced or not; guarded by the core's mu
	gate   chan struct{}
	now    chan struct{} // capacity 1: this tick ends
	done   chan struct{} // nil if there is no poller
}

func (p *pollerState) start(c *Core) {
	p.gate, p.now = make(chan struct{}, 1), make(chan struct{}, 1)
	p.done = make(chan struct{})
	go c.poll()
}

// stop joins the poller. The core is marked closed; its lock is not held.
func (p *pollerState) stop(c *Core) {
	if p.done == nil {
		return
	}
	for {
		c.mu.Lock()
		p.unpark()
		c.mu.Unlock()
		c.Attention()
		select {
		case <-p.done:
			return
		case <-time.After(pollTick):
		}
	}
}

// unpark lets the poller tick again. The core's lock is held.
func (p *pollerState) unpark() {
	if p.parked {
		p.parked = false
		p.gate <- struct{}{}
	}
}

// poll is the poller.
func (c *Core) poll() {
	p := &c.poller
	defer close(p.done)
	var last uint64 // departures at the last tick
	quiet := 0      // ticks without any
	tick := time.NewTimer(pollTick)
	defer tick.Stop()
	for {
		left := false
		select {
		case <-tick.C:
		case <-p.now:
			left = true
		}
		tick.Reset(pollTick)
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		switch {
		case left:
			if c.driver == nil && c.coming.Load() == 0 {
				quiet = 0
				c.takeOver()
			}
		case c.departs.Load() != last:
			quiet = 0
		case c.driver == nil:
			quiet = 0
			c.takeOver()
		default: // one caller has driven for the whole tick
			if quiet++; quiet >= c.policy.parkTicks() {
				quiet = 0
				p.parked = true
				c.Unlock()
				<-p.gate
				c.mu.Lock()
			}
		}
		last = c.departs.Load()
		c.Unlock()
	}
}

// takeOver is for a tick in which nobody drove: the longest-parked caller gets the
// role, since a driver that is served itself wakes nobody; without one, the poller
// drives until a caller displaces it. The lock is held.
func (c *Core) takeOver() {
	if c.handOver(c.parked.head) {
		return
	}
	p := &c.poller
	c.driver = &p.role
	gen := c.departs.Add(1)
	for quick := 0; c.departs.Load() == gen && !c.closed; {
		c.woken, c.others = 0, 0
		work := c.turn()
		switch {
		case c.woken+c.others > 0 || c.coming.Load() > 0:
			quick = 0
			c.yield()
		case work > 0:
			if quick++; quick%driverYield == 0 {
				c.yield()
			}
			c.pause(work)
		default:
			quick = 0
			p.away = true
			c.await(c.nextDeadline())
			p.away = false
		}
	}
	if c.departs.Load() == gen {
		c.driver = nil
		c.departs.Add(1)
	}
}

// handOver gives the role to a caller that is parked, if there is one. The lock is held.
func (c *Core) handOver(w *Waiter) bool {
	if w == nil {
		return false
	}
	c.driver = w // before it runs, so that nobody comes between
	c.departs.Add(1)
	w.Wake()
	return true
}

// Leave is for a caller that has closed what it waited for, and may never wait again: the one that parked last drives (a
// server's Accept, more often than not), or the poller if none is parked (who waits for several cores is not), instead of somebody from
// the poller's next tick on. The lock is not held.
func (c *Core) Leave() {
	c.mu.Lock()
	if !c.closed && c.driver == nil && c.coming.Load() == 0 && !c.handOver(c.parked.tail) {
		select {
		case c.poller.now <- struct{}{}: // of a core without a poller nobody takes it
		default:
		}
	}
	c.Unlock()
}
