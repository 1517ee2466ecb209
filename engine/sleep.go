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

	// Guarded by the core's mu.
	till    mono.Time     // when the driver means to wake, 0 while it does not sleep
	held    bool          // at the last look a device kept frames back, or had no room for more
	retries bool          // till heeds held
	backoff time.Duration // the pause before the last such try
	spinner spinner
	yielder yielder

	spins bool          // the devices can change without the clock's help, so looking pays
	alone Device        // the only port to wait for, which sleeps by its own Wait
	dead  atomic.Bool   // alone has failed: its Wait may not sleep; written by the sleeper before asleep
	waits []int         // ports to wait for
	fds   []unix.PollFd // if they are several: their descriptors in that order; then second ones of some; then the wake descriptor
	fdsOf []int         // the ports that they are of
	loops []Device      // ports that nobody waits for
}

// How long a core sleeps before it tries again to send what a device has kept, or
// looks again for room in it: an interface that is down keeps frames, and no
// descriptor says when a queue that was full has frames again.
const (
	unsentBackoffMin = 50 * time.Microsecond
	unsentBackoffMax = 10 * time.Millisecond
)

func (s *sleepState) open(ports []Device) error {
	for i, dev := range ports {
		if dev.Info().Loop {
			s.loops = append(s.loops, dev)
			continue
		}
		s.waits = append(s.waits, i)
		if _, ok := dev.(Pollable); ok {
			s.spins = true
		}
	}
	if len(s.waits) == 1 {
		s.alone = ports[s.waits[0]]
		if !s.spins { // it has a clock of its own: there is no other sleep
			return nil
		}
	} else if err := s.openPorts(ports); err != nil {
		return err
	}
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("engine: make the descriptor that wakes a core: %w", err)
	}
	s.fds = append(s.fds, unix.PollFd{Fd: int32(efd), Events: unix.POLLIN})
	return nil
}

// openPorts is for several ports to wait for.
func (s *sleepState) openPorts(ports []Device) error {
	for _, i := range s.waits {
		p, ok := ports[i].(Pollable)
		if !ok {
			return fmt.Errorf("engine: %s has no descriptor to wait for, so it must be the only device of its core", ports[i].Info().Name)
		}
		s.fds = append(s.fds, unix.PollFd{Fd: int32(p.FD()), Events: unix.POLLIN})
		s.fdsOf = append(s.fdsOf, i)
	}
	for _, i := range s.waits {
		if p, ok := ports[i].(AlsoPollable); ok {
			s.fds = append(s.fds, unix.PollFd{Fd: int32(p.AlsoFD()), Events: unix.POLLIN})
			s.fdsOf = append(s.fdsOf, i)
		}
	}
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
	if s.alone != nil && !s.dead.Load() {
		s.alone.Wake()
		return
	}
	one := [8]byte{0: 1}
	unix.Write(int(s.fds[len(s.fds)-1].Fd), one[:]) // EAGAIN: it is readable already
}

// loopReady says whether a port that nobody waits for has frames.
func (s *sleepState) loopReady() bool {
	for _, dev := range s.loops {
		if dev.Ready() {
			return true
		}
	}
	return false
}

// await sleeps until a port is ready, somebody wants the driver, or until. The
// caller has the role; the lock is held before and after, not meanwhile.
func (c *Core) await(until mono.Time) {
	s := &c.sleep
	if s.retries = s.held; s.held {
		s.backoff = min(max(2*s.backoff, unsentBackoffMin), unsentBackoffMax)
		until = min(until, c.clock.Now().Add(s.backoff))
	} else {
		s.backoff = 0
	}
	s.till = until
	gen := c.departs.Load()
	spin, began := s.spinner.spin(), c.clock.Now()
	polite := s.yielder.due(began)
	c.Unlock()
	var away time.Duration
	if polite {
		letRun()
		away = c.clock.Now().Sub(began)
	}
	if left := until.Sub(began); left <= napMin {
		spin = max(spin, left)
	}
	if !s.spins || !c.look(began.Add(away), spin, until, gen) {
		c.doze(until, gen)
	}
	c.mu.Lock()
	if c.departs.Load() == gen { // else another has the role, and these are its own
		s.till = 0
		s.wanted.Store(false)
		s.spinner.learn(c.clock.Now().Sub(began))
		if polite {
			s.yielder.learn(began, away)
		}
	}
	if !c.rxReady() { // a device that has died wakes its sleeper without a frame, if at all
		c.checkPorts(Device.Err)
	}
}

// lookPause is after how many looks the clock is read: a look is some 2 ns, the
// clock 40 ns.
const lookPause = 16

// napMin is the shortest sleep: falling asleep and waking take longer.
const napMin = 50 * time.Microsecond

// spinYield is how long a driver looks before it lets other goroutines run.
const spinYield = time.Millisecond

// look watches the rings for the time spin from start on, and says whether there is
// a reason not to sleep. It ends when another took the role that was of generation gen,
// or a displaced poller with the policy Latency would look for ever.
func (c *Core) look(start mono.Time, spin time.Duration, until mono.Time, gen uint64) bool {
	if spin == 0 {
		return false
	}
	yielded := start
	for i := 1; ; i++ {
		if c.rxReady() || c.sleep.wanted.Load() {
			return true
		}
		if i%lookPause != 0 {
			continue
		}
		now := c.clock.Now()
		if until.Due(now) || c.departs.Load() != gen {
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

// doze sleeps in the devices, unless another has taken the role. It says that it is
// asleep first and looks at wanted once more after it; Attention does the two in the
// other order.
func (c *Core) doze(until mono.Time, gen uint64) {
	s := &c.sleep
	if !s.mu.TryLock() {
		if c.departs.Load() != gen { // we are the displaced poller, and the driver sleeps there
			return
		}
		s.rouse() // the other way round
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.alone != nil && s.spins && c.failed[s.waits[0]].Load() {
		s.dead.Store(true)
	}
	s.asleep.Store(true)
	defer s.asleep.Store(false)
	if s.wanted.Load() || c.departs.Load() != gen {
		return
	}
	if s.alone != nil && !s.dead.Load() {
		s.alone.Wait(until)
		return
	}
	if c.rxReady() {
		return
	}
	for i, port := range s.fdsOf {
		if c.failed[port].Load() { // its descriptor may be ready for ever
			s.fds[i].Fd = -1
		}
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
	for i := len(s.waits); i < len(s.fdsOf); i++ {
		settle(&s.fds[i])
	}
	wake := &s.fds[len(s.fds)-1]
	if n > 0 && wake.Revents != 0 {
		var b [8]byte
		unix.Read(int(wake.Fd), b[:])
	}
}
