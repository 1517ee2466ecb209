package socketapi

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// watchers is who waits at a gate. A core notifies it with its lock held; programs add
// and remove themselves. Its lock is the innermost of all.
type watchers struct {
	mu   sync.Mutex
	list []watch
}

type watch struct {
	w  *engine.Waiter
	ev ring.Events
}

// Notify wakes those who wait for one of ev. Errors and hang-ups concern everyone.
func (l *watchers) Notify(ev ring.Events) (woken int) {
	if ev&(ring.Err|ring.Hup) != 0 {
		ev = ^ring.Events(0)
	}
	l.mu.Lock()
	for _, x := range l.list {
		if x.ev&ev != 0 && x.w.Wake() {
			woken++
		}
	}
	l.mu.Unlock()
	return woken
}

func (l *watchers) add(w *engine.Waiter, ev ring.Events) {
	l.mu.Lock()
	l.list = append(l.list, watch{w, ev})
	l.mu.Unlock()
}

func (l *watchers) remove(w *engine.Waiter) {
	l.mu.Lock()
	i := slices.IndexFunc(l.list, func(x watch) bool { return x.w == w })
	last := len(l.list) - 1
	l.list[i] = l.list[last]
	l.list[last] = watch{}
	l.list = l.list[:last]
	l.mu.Unlock()
}

// A waitable is what a goroutine can wait for.
type waitable interface {
	// ready returns what would not block now. It takes no lock of a core.
	ready() ring.Events
}

// waiting is the part of a socket that goroutines wait at.
type waiting struct {
	host  *host.Host
	core  *host.Core // the one core that brings news; nil: several do
	gate  *ring.Gate
	who   watchers
	of    waitable // the socket
	over  atomic.Bool
	read  deadline
	write deadline
}

// deadline is a moment after which calls in one direction give up. It may be moved
// while they wait.
type deadline struct{ at atomic.Int64 } // mono.Time; 0: none

func (d *deadline) time() mono.Time {
	if at := d.at.Load(); at != 0 {
		return mono.Time(at)
	}
	return mono.Never
}

// set makes t the deadline; the zero time is none. Whoever waits looks again.
func (s *waiting) set(d *deadline, t time.Time) {
	var at mono.Time
	if !t.IsZero() {
		// A deadline in the past is due now, and 0 is taken.
		at = max(s.host.Clock().Now().Add(time.Until(t)), 1)
	}
	d.at.Store(int64(at))
	s.rouse()
}

// rouse makes everyone who waits look again.
func (s *waiting) rouse() { s.who.Notify(^ring.Events(0)) }

// end makes every wait return, now and later.
func (s *waiting) end() {
	s.over.Store(true)
	s.rouse()
}

// wait returns when one of ev is ready, the socket has ended, or the deadline, at most
// until; it is EAGAIN then. The caller looks itself at what there is.
func (s *waiting) wait(ev ring.Events, d *deadline, until mono.Time) unix.Errno {
	c := conditions.Get().(*condition)
	c.s, c.ev, c.d, c.until, c.late = s, ev|ring.Err|ring.Hup, d, until, false
	if s.core != nil {
		if !s.core.Wait(c.waiter, c) {
			s.over.Store(true) // the host has been closed
		}
	} else {
		c.park()
	}
	late := c.late
	c.s, c.d = nil, nil
	conditions.Put(c)
	if late {
		return unix.EAGAIN
	}
	return 0
}

// condition is one wait. They are pooled: a wait allocates nothing.
type condition struct {
	waiter *engine.Waiter
	s      *waiting
	ev     ring.Events
	d      *deadline
	until  mono.Time
	late   bool // the wait ended by its deadline
}

var conditions = sync.Pool{New: func() any { return &condition{waiter: engine.NewWaiter()} }}

func (c *condition) Done(now mono.Time) bool {
	if c.s.over.Load() || c.s.of.ready()&c.ev != 0 {
		c.late = false
		return true
	}
	c.late = c.Deadline().Due(now)
	return c.late
}

func (c *condition) Deadline() mono.Time { return min(c.d.time(), c.until) }

func (c *condition) Arm(w *engine.Waiter) {
	c.s.who.add(w, c.ev)
	c.s.gate.Watch()
}

func (c *condition) Disarm(w *engine.Waiter) {
	c.s.gate.Unwatch()
	c.s.who.remove(w)
}

// park waits without driving, for a socket whose news may come from several cores.
func (c *condition) park() {
	clock := c.s.host.Clock()
	for {
		c.waiter.Prepare()
		c.Arm(c.waiter)
		now := clock.Now()
		if c.Done(now) {
			c.Disarm(c.waiter)
			c.waiter.Cancel()
			return
		}
		var timeout chan struct{}
		var timer *time.Timer
		if at := c.Deadline(); at != mono.Never {
			timeout = make(chan struct{})
			timer = time.AfterFunc(at.Sub(now), func() { close(timeout) })
		}
		c.waiter.Park(timeout)
		if timer != nil {
			timer.Stop()
		}
		c.Disarm(c.waiter)
	}
}
