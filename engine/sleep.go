package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// sleepState is how a driver sleeps on the ports of its core, and how others make
// it look up.
type sleepState struct {
	// mu is held by the one that sleeps in the devices. A driver that has displaced
	// the sleeping poller wakes it and waits here.
	mu     sync.Mutex
	asleep atomic.Bool // by the sleeper, before its last look at wanted
	wanted atomic.Bool // somebody wants the driver to look again

	// Whoever saw somebody asleep may come to wake him after Close, when the
	// descriptor is a stranger's: rousing guards the way there.
	rousing sync.Mutex
	closed  bool // guarded by rousing

	till    mono.Time     // when the driver means to wake, 0 while it does not sleep; guarded by the core's mu
	backoff time.Duration // for frames that a device could not send yet; guarded by the core's mu

	spins bool          // the devices can change without the clock's help, so looking pays
	alone Device        // the only port
	fds   []unix.PollFd // several ports: their descriptors, then the wake descriptor
}

// How long a core with unsent frames sleeps before it tries again: an interface
// that is down keeps them.
const (
	unsentBackoffMin = 50 * time.Microsecond
	unsentBackoffMax = 10 * time.Millisecond
)

func (s *sleepState) open(ports []Device) error {
	if len(ports) == 1 {
		s.alone = ports[0]
		_, s.spins = ports[0].(Pollable)
		return nil
	}
	for _, dev := range ports {
		p, ok := dev.(Pollable)
		if !ok {
			return fmt.Errorf("engine: %s has no descriptor to wait for, so it must be the only device of its core", dev.Info().Name)
		}
		s.fds = append(s.fds, unix.PollFd{Fd: int32(p.FD()), Events: unix.POLLIN})
	}
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("engine: make the descriptor that wakes a core: %w", err)
	}
	s.fds = append(s.fds, unix.PollFd{Fd: int32(efd), Events: unix.POLLIN})
	s.spins = true
	return nil
}

// close is for when nobody sleeps any more.
func (s *sleepState) close() error {
	s.rousing.Lock()
	defer s.rousing.Unlock()
	s.closed = true
	if s.fds == nil {
		return nil
	}
	return unix.Close(int(s.fds[len(s.fds)-1].Fd))
}

// Attention makes the driver look at the core's state again. What it is to see has
// been set before. Anyone may call it.
func (c *Core) Attention() {
	if c.sleep.wanted.CompareAndSwap(false, true) && c.sleep.asleep.Load() {
		c.sleep.rouse()
	}
}

func (s *sleepState) rouse() {
	s.rousing.Lock()
	defer s.rousing.Unlock()
	if s.closed {
		return
	}
	if s.alone != nil {
		s.alone.Wake()
		return
	}
	one := [8]byte{0: 1}
	unix.Write(int(s.fds[len(s.fds)-1].Fd), one[:]) // EAGAIN: it is readable already
}

// await sleeps until a port is ready, somebody wants the driver, or until. The
// caller has the role; the lock is held before and after, not meanwhile.
func (c *Core) await(until mono.Time) {
	s := &c.sleep
	unsent := false
	for _, dev := range c.ports {
		unsent = unsent || dev.Unsent()
	}
	if unsent {
		s.backoff = min(max(2*s.backoff, unsentBackoffMin), unsentBackoffMax)
		until = min(until, c.clock.Now().Add(s.backoff))
	} else {
		s.backoff = 0
	}
	s.till = until
	gen := c.departs
	c.Unlock()
	if !s.spins || !c.look(until) {
		c.doze(until)
	}
	c.mu.Lock()
	if c.departs == gen { // else another has the role, and these are its own
		s.till = 0
		s.wanted.Store(false)
	}
	c.checkPorts()
}

// lookPause is after how many looks the clock is read: a look is some 2 ns, the
// clock 40 ns.
const lookPause = 16

// spinYield is how long a driver looks before it lets other goroutines run.
const spinYield = time.Millisecond

// look watches the rings for as long as the policy says, and says whether there is
// a reason not to sleep.
func (c *Core) look(until mono.Time) bool {
	spin := c.policy.spin()
	if spin == 0 {
		return false
	}
	start := c.clock.Now()
	yielded := start
	for i := 1; ; i++ {
		if c.rxReady() || c.sleep.wanted.Load() {
			return true
		}
		if i%lookPause != 0 {
			continue
		}
		now := c.clock.Now()
		if until.Due(now) {
			return true
		}
		if now.Sub(start) >= spin {
			return false
		}
		if now.Sub(yielded) >= spinYield {
			runtime.Gosched()
			yielded = now
		}
	}
}

// doze sleeps in the devices. It says that it is asleep first and looks at wanted
// once more after it; Attention does the two in the other order.
func (c *Core) doze(until mono.Time) {
	s := &c.sleep
	if !s.mu.TryLock() { // the displaced poller sleeps there
		s.rouse()
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	s.asleep.Store(true)
	defer s.asleep.Store(false)
	if s.wanted.Load() {
		return
	}
	if s.alone != nil {
		s.alone.Wait(until)
		return
	}
	if c.rxReady() {
		return
	}
	s.poll(until, c.clock)
}

// poll is ppoll(2) on all ports, which sleeps to the nanosecond where poll(2)
// rounds to milliseconds. EINTR is a wake without a reason.
func (s *sleepState) poll(until mono.Time, clock Clock) {
	var timeout *unix.Timespec
	if until != mono.Never {
		left := until.Sub(clock.Now())
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		timeout = &ts
	}
	n, err := unix.Ppoll(s.fds, timeout, nil)
	if err != nil {
		if !errors.Is(err, unix.EINTR) {
			time.Sleep(time.Millisecond) // ENOMEM: sleep all the same, or this would spin
		}
		return
	}
	wake := &s.fds[len(s.fds)-1]
	if n > 0 && wake.Revents != 0 {
		var b [8]byte
		unix.Read(int(wake.Fd), b[:])
	}
}
