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
// and remove themselves. Of the locks that are taken while a core is locked it is the last but for an
// epoll's.
type watchers struct {
	mu   sync.Mutex
	list []watch
	over bool // nobody may come any more: the gate is about to become another's
}

// A watch is one who waits: a goroutine, or something that is told.
type watch struct {
	w    *engine.Waiter
	by   watcher // if w is nil
	ev   ring.Events
	lone bool // EPOLLEXCLUSIVE: of several such only one need hear
}

// lookAgain is told where it is not known what has happened, and no signal is sent for it.
const lookAgain = ^ring.Events(0)

// A watcher is told of events, with the lock of the watchers held, and says how many goroutines
// became runnable by it.
type watcher interface{ tell(ring.Events) int }

// Notify wakes those who wait for one of ev. Errors, hang-ups and changes of state concern everyone.
func (l *watchers) Notify(ev ring.Events) (woken int) {
	all := ev&(ring.Err|ring.Hup|ring.Change) != 0
	l.mu.Lock()
	served := false
	for _, x := range l.list {
		if !all && x.ev&ev == 0 || x.lone && served {
			continue
		}
		n := x.tell(ev)
		served = served || x.lone && n > 0
		woken += n
	}
	l.mu.Unlock()
	return woken
}

func (x *watch) tell(ev ring.Events) int {
	switch {
	case x.w == nil:
		return x.by.tell(ev)
	case x.w.Wake():
		return 1
	}
	return 0
}

func (l *watchers) add(w *engine.Waiter, ev ring.Events) {
	l.mu.Lock()
	l.list = append(l.list, watch{w: w, ev: ev})
	l.mu.Unlock()
}

func (l *watchers) remove(w *engine.Waiter) {
	l.mu.Lock()
	l.take(watch{w: w})
	l.mu.Unlock()
}

// take takes somebody out, if he is there. mu is held.
func (l *watchers) take(w watch) bool {
	i := slices.IndexFunc(l.list, func(x watch) bool { return x.w == w.w && x.by == w.by })
	if i < 0 {
		return false
	}
	last := len(l.list) - 1
	l.list[i] = l.list[last]
	l.list[last] = watch{}
	l.list = l.list[:last]
	return true
}

// A need narrows what a goroutine waits for. The zero value asks for anything: so does poll(2).
type need struct {
	call  bool // by a call that reads or writes, to which the error queue says nothing
	bytes int  // as much to read, or room for as much
	core  int  // on this core, counted from 1
}

// A waitable is what a goroutine can wait for.
type waitable interface {
	// ready returns what would not block now. It takes no lock of a core.
	ready(need) ring.Events
}

// waiting is the part of a socket that goroutines wait at.
type waiting struct {
	users
	host  *host.Host
	core  *host.Core // the one core that brings news; nil: several do
	gate  *ring.Gate
	who   watchers
	of    waitable      // the socket
	ended atomic.Uint32 // errno of every call from now on, 0: the socket lives
	read  deadline
	write deadline
}

// begin begins a call on the socket; leave ends it.
func (s *waiting) begin() unix.Errno {
	if !s.enter() {
		return s.why()
	}
	if errno := unix.Errno(s.ended.Load()); errno != 0 {
		s.leave()
		return errno
	}
	return 0
}

// why is the error of a call on a socket that is being closed.
func (s *waiting) why() unix.Errno {
	if errno := unix.Errno(s.ended.Load()); errno != 0 {
		return errno
	}
	return unix.EBADF
}

// setDeadline moves a deadline. Whoever waits looks again.
func (s *waiting) setDeadline(d *deadline, t time.Time) unix.Errno {
	if errno := unix.Errno(s.ended.Load()); errno != 0 {
		return errno
	}
	d.set(t, s.host.Clock())
	s.rouse()
	return 0
}

// rouse makes everyone who waits look again.
func (s *waiting) rouse() { s.who.Notify(lookAgain) }

// end makes every call fail with errno, those that wait included, now and later. The
// first end counts.
func (s *waiting) end(errno unix.Errno) {
	s.ended.CompareAndSwap(0, uint32(errno))
	s.rouse()
}

// again is what a call that moved nothing fails with instead of errno: "not yet" is ENETDOWN
// at a host that has ended. The socket is not ended by it: what has been received
// can still be read.
func (s *waiting) again(errno unix.Errno) unix.Errno {
	if (errno == unix.EAGAIN || errno == unix.EINPROGRESS) && s.host.Closed() {
		return unix.ENETDOWN
	}
	return errno
}

// wait returns when one of ev is ready as far as n needs it. It is EAGAIN if the deadline
// or until came first, and otherwise how the socket ended. The caller has begun a
// call, and looks itself at what there is.
func (s *waiting) wait(ev ring.Events, n need, d *deadline, until mono.Time) unix.Errno {
	c := conditions.Get().(*condition)
	c.s, c.ev, c.need, c.d, c.until, c.late = s, ev|ring.Err|ring.Hup, n, d, until, false
	open := false
	if s.core != nil {
		open = s.core.Wait(c.waiter, c)
	} else {
		open = c.park()
	}
	late := c.late
	c.s, c.d = nil, nil
	conditions.Put(c)
	if errno := unix.Errno(s.ended.Load()); errno != 0 {
		return errno
	}
	switch {
	case !open && (ev&ring.In == 0 || s.of.ready(n)&(ring.In|ring.Err|ring.Hup) == 0):
		return unix.ENETDOWN // the host has ended; what has been received can still be read
	case late && open:
		return unix.EAGAIN
	}
	return 0
}

// condition is one wait. They are pooled: a wait allocates nothing.
type condition struct {
	waiter *engine.Waiter
	s      *waiting
	ev     ring.Events
	need   need
	d      *deadline
	until  mono.Time
	late   bool // the wait ended by its deadline
}

var conditions = sync.Pool{New: func() any { return &condition{waiter: engine.NewWaiter()} }}

func (c *condition) Done(now mono.Time) bool {
	if c.s.ended.Load() != 0 || c.s.of.ready(c.need)&c.ev != 0 {
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

// park waits without driving, for a socket whose news may come from several cores. It says false
// if the host has ended.
func (c *condition) park() bool {
	h := c.s.host
	for {
		if h.Closed() {
			return false
		}
		c.waiter.Prepare()
		c.Arm(c.waiter)
		now := h.Clock().Now()
		if c.Done(now) {
			c.Disarm(c.waiter)
			c.waiter.Cancel()
			return true
		}
		var timer *time.Timer
		if at := c.Deadline(); at != mono.Never {
			timer = time.AfterFunc(at.Sub(now), c.s.rouse)
		}
		c.waiter.Park(h.Done())
		if timer != nil {
			timer.Stop()
		}
		c.Disarm(c.waiter)
	}
}
