package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// batchMax is how many frames one port brings into one turn, at most. It bounds
// the time that the lock is held; 64 is what the kernel's NAPI takes at once.
const batchMax = 64

// Config is what a core is made of.
type Config struct {
	// Devices are the ports of the core, numbered in order. They belong to the core
	// from Open on and are closed with it. One that is neither [Pollable] nor a
	// loop ([Info.Loop]) must be the only one besides loops.
	Devices []Device
	Handler Handler
	Clock   Clock  // nil: SystemClock
	Policy  Policy // how to idle; the zero value is Balanced
	Batch   int    // frames a port and turn, at most 64; 0: 64

	// Coalesce is how long a driver leaves the rings alone after a turn that moved less
	// than half a batch; 0 (best for requests that wait for their answers) is not at all.
	// See coalesce.go. Devices without a descriptor to wait for are always looked at.
	Coalesce time.Duration

	// Manual leaves out the background poller: nothing happens but in calls of Turn
	// and Wait. It is for simulations that must replay exactly.
	Manual bool
}

// A Core turns ports and a handler. Its state, and the handler's, belongs to
// whoever holds its lock, for one turn or one short call, never in a sleep.
type Core struct {
	mu      sync.Mutex
	ports   []Device      // immutable after Open
	shut    bool          // the ports are closed: nothing of theirs may be called
	counted sync.RWMutex  // held to read what a port has counted, and to close them
	last    []DeviceStats // of the ports when they were closed, nil before; guarded by counted
	handler Handler
	clock   Clock
	policy  Policy
	rx, tx  []Frame // scratch of the turn
	lots    []int   // how many frames a turn first shows the handler, by port

	// Who turns the core while programs wait: drive.go. Guarded by mu.
	driver    *Waiter       // nil: nobody; &c.poller.role: the poller
	departs   atomic.Uint64 // how often the role was given up or changed hands; written with mu held
	woken     int           // goroutines that turns made runnable, by what they brought, since the driver last looked
	others    int           // of all those made runnable, who will not take the role
	full      bool          // the last output ended with a full batch: there may be more
	parked    waiterList
	deadlines waiterHeap
	closed    bool
	failed    []atomic.Bool // ports whose device has reported its end; written with mu held
	nowhere   []byte        // what their frames are written to

	// Sleeping: sleep.go.
	sleep    sleepState
	coalesce time.Duration // immutable after Open: coalesce.go

	poller pollerState

	turns  atomic.Uint64 // statistics
	batch  batch         // what is posted while the driver yields: batch.go
	coming atomic.Int32  // parked callers that were woken and do not run yet
	owed   atomic.Bool   // a driver that was served has woken others, who must run before it drives again
}

// Open makes a core and starts its poller.
func Open(cfg Config) (*Core, error) {
	if cfg.Handler == nil || len(cfg.Devices) == 0 {
		return nil, errors.New("engine: a core needs a handler and at least one device")
	}
	c := &Core{
		ports:   cfg.Devices,
		handler: cfg.Handler,
		clock:   cfg.Clock,
		policy:  cfg.Policy,
		failed:  make([]atomic.Bool, len(cfg.Devices)),
	}
	if c.clock == nil {
		c.clock = SystemClock
	}
	batch := cfg.Batch
	if batch == 0 {
		batch = batchMax
	}
	if batch < 1 || batch > batchMax {
		return nil, fmt.Errorf("engine: batch %d is not between 1 and %d", batch, batchMax)
	}
	if cfg.Coalesce < 0 || cfg.Coalesce > CoalesceMax {
		return nil, fmt.Errorf("engine: coalesce %v is not between 0 and %v", cfg.Coalesce, CoalesceMax)
	}
	c.rx, c.tx = make([]Frame, batch), make([]Frame, batch)
	c.lots = slices.Repeat([]int{1}, len(cfg.Devices))
	c.sleep.spinner = newSpinner(cfg.Policy)
	if err := c.sleep.open(c.ports); err != nil {
		return nil, err
	}
	if c.sleep.spins {
		c.coalesce = cfg.Coalesce
	}
	if !cfg.Manual {
		c.poller.start(c)
	}
	return c, nil
}

// turn takes what has arrived, does what is due, and sends what there is to say.
// It is called with the lock held and says how much it did.
func (c *Core) turn() (work int) {
	now := c.clock.Now()
	if c.shut {
		return c.down(now)
	}
	for i, dev := range c.ports {
		work += c.input(i, dev, now)
	}
	return work + c.down(now)
}

// input hands the handler what has arrived at one port.
func (c *Core) input(i int, dev Device, now mono.Time) int {
	n := dev.Peek(c.rx)
	if n > 0 {
		c.handler.Input(i, c.rx[:n], now)
		dev.Release(c.rx[:n])
	}
	return n
}

// down is the second half of a turn: from programs and timers to the NIC.
func (c *Core) down(now mono.Time) (work int) {
	c.batch.posts.Store(0)
	work = c.handler.Advance(now)
	c.sleep.held, c.full = false, false
	if !c.shut {
		for i, dev := range c.ports {
			work += c.output(i, dev, now)
		}
	}
	for len(c.deadlines) > 0 && c.deadlines[0].deadline.Due(now) {
		c.others += c.deadlines[0].expire(c)
	}
	// Who waits for several cores at once is woken by a turn too, and drives none.
	before := c.coming.Load()
	woken := c.handler.Wake()
	own := min(woken, int(c.coming.Load()-before))
	c.woken += own
	c.others += woken - own
	c.turns.Add(1)
	return work
}

// output pulls a batch for one port, in growing lots: most turns have one packet to
// say or none, and showing a whole batch of frames costs more than sending one. It
// begins with the lot that the last turn would have needed, since each lot is a
// Submit, and each Submit may be a system call.
func (c *Core) output(i int, dev Device, now mono.Time) (work int) {
	if c.failed[i].Load() {
		return c.discard(i, dev, now)
	}
	for lot, trains := c.lots[i], 0; ; {
		r := dev.Reserve(c.tx[:lot])
		m := 0
		if r > 0 {
			m = c.handler.Output(i, c.tx[:r], now)
		}
		if m > 0 {
			work += m
			c.sleep.backoff = 0
		}
		unsent := dev.Unsent()
		if m > 0 || unsent {
			dev.Submit(c.tx[:m], r)
			unsent = dev.Unsent()
		}
		if m > 0 && c.tx[m-1].Train != nil { // the handler has stopped there
			c.tx[m-1].Train = nil
			if trains++; trains < trainTurn {
				continue
			}
			c.full = true
		}
		if m < r || lot == len(c.tx) || r == 0 || trains == trainTurn {
			c.full = c.full || m == r && r > 0
			c.sleep.held = c.sleep.held || unsent || r == 0
			c.lots[i] = c.lotFor(work)
			return work
		}
		lot = min(8*lot, len(c.tx))
	}
}

// discard pulls what is to leave by a device that has come to its end, so that nothing waits there for ever: what has
// another way takes that when it is asked for.
func (c *Core) discard(i int, dev Device, now mono.Time) (work int) {
	if room := dev.Info().FrameLen; len(c.nowhere) < room {
		c.nowhere = make([]byte, room)
	}
	for range len(c.tx) {
		c.tx[0] = Frame{Data: c.nowhere[:dev.Info().FrameLen]}
		if c.handler.Output(i, c.tx[:1], now) == 0 {
			return work
		}
		if c.tx[0].Kept() {
			dev.Free(c.tx[0])
		}
		work++
	}
	c.full = true
	return work
}

// lotFor is the smallest lot that work frames fit into.
func (c *Core) lotFor(work int) int {
	lot := 1
	for lot < work {
		lot *= 8
	}
	return min(lot, len(c.tx))
}

// Lock takes the core, to touch what belongs to the handler.
func (c *Core) Lock() { c.mu.Lock() }

// Unlock lets the core go, and does what was posted while it was held.
func (c *Core) Unlock() {
	c.mu.Unlock()
	for c.handler.Posted() && !c.batch.open(&c.coming) && c.mu.TryLock() {
		c.Flush()
		c.mu.Unlock()
	}
}

// Flush does what was posted, sends what the handler has to say, and wakes whom
// it brought something. The lock is held. Whoever sleeps as driver is made to look
// again if there is now something to be done before it meant to wake.
func (c *Core) Flush() {
	c.down(c.clock.Now())
	for i := 0; i < flushMax && c.full; i++ {
		c.down(c.clock.Now())
	}
	c.turnLoops()
	c.rush()
}

// flushMax is how many full batches a caller sends beyond its first before it leaves the
// rest to the driver: a send buffer of 800 KB in packets of 1500 bytes.
const flushMax = 8

// Send pulls one packet for one port, without looking at timers or at other
// ports: the short way for a datagram that was written with the lock held.
func (c *Core) Send(port int) {
	if c.shut {
		return
	}
	c.full = false
	c.output(port, c.ports[port], c.clock.Now())
	c.turnLoops()
	c.rush()
}

// turnLoops brings what was sent to ourselves to whom it is for, and their answers
// likewise, so that it is there when the call that sent it returns, as with
// the kernel's own loopback. What is left after loopTurns is the driver's. The lock is held.
func (c *Core) turnLoops() {
	for i := 0; i < loopTurns && !c.shut && c.sleep.loopReady(); i++ {
		now := c.clock.Now()
		for port, dev := range c.ports {
			if dev.Info().Loop {
				c.input(port, dev, now)
			}
		}
		c.down(now)
	}
}

// loopTurns is how often a caller turns what it has sent to ourselves around: the
// handshake, request, answer and close of a connection are six.
const loopTurns = 8

// rush makes a sleeping driver look again if somebody else has left something to do
// before it means to wake: a timer, frames to be tried again, frames to ourselves, or more
// to send than one call does.
// The lock is held.
func (c *Core) rush() {
	s := &c.sleep
	if s.till != 0 && (c.handler.Deadline().Before(s.till) || s.held && !s.retries || s.loopReady() || c.full) {
		c.Attention()
	}
}

// Post sees to what a program has just given the handler to be done, at once if
// the core is free, else by the one who holds it; or, where a turn has woken several
// programs that are still to run, with the answers of some others (postBatch). The lock is not
// held.
func (c *Core) Post() {
	if c.leave() {
		return
	}
	c.gather()
	if c.mu.TryLock() {
		c.Flush()
		c.Unlock()
	}
}

// Now reads the core's clock. Whoever passes it to the handler reads it after
// taking the lock, so that time never runs backwards there.
func (c *Core) Now() mono.Time { return c.clock.Now() }

// Turn turns the core once, for those who drive it themselves.
func (c *Core) Turn() (work int) {
	c.mu.Lock()
	work = c.turn()
	c.Unlock()
	return work
}

// Port returns a device of the core.
func (c *Core) Port(i int) Device { return c.ports[i] }

// PortStats returns what a device has counted. Unlike the device's own Stats, it may be called
// when the core has been closed as well.
func (c *Core) PortStats(i int) DeviceStats {
	c.counted.RLock()
	defer c.counted.RUnlock()
	if c.last != nil {
		return c.last[i]
	}
	return c.ports[i].Stats()
}

// Ports returns how many devices the core has.
func (c *Core) Ports() int { return len(c.ports) }

// Turns returns how often the core was turned.
func (c *Core) Turns() uint64 { return c.turns.Load() }

// PortFailer is a [Handler] that wants to hear when a device has come to its end:
// the interface was deleted or moved away. It is called once a port, with the lock
// held.
type PortFailer interface {
	PortFailed(port int, err error)
}

// A Prober is a [Device] whose Err asks the kernel only now and then. Probe is Err by
// the kernel's answer now.
type Prober interface {
	Probe() error
}

// CheckPorts looks for devices that have died: it is for whoever hears from the
// kernel that a link has gone, since a sleeping core does not.
func (c *Core) CheckPorts() {
	c.mu.Lock()
	if !c.shut {
		c.checkPorts(func(dev Device) error {
			if p, ok := dev.(Prober); ok {
				return p.Probe()
			}
			return dev.Err()
		})
	}
	c.Unlock()
}

// checkPorts is CheckPorts with the lock held, by that question.
func (c *Core) checkPorts(ask func(Device) error) {
	for i, dev := range c.ports {
		if c.failed[i].Load() {
			continue
		}
		if err := ask(dev); err != nil {
			c.failed[i].Store(true)
			if h, ok := c.handler.(PortFailer); ok {
				h.PortFailed(i, err)
				c.woken += c.handler.Wake()
			}
		}
	}
}

// Close ends the core: it stops the poller, wakes everyone who waits, and closes the
// devices. It does not wait for what is still to be sent. Wait at a closed core
// returns false, and nothing reaches a device any more.
func (c *Core) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.parked.wakeAll()
	c.mu.Unlock()
	c.poller.stop(c)

	// A driver may still be in its turn or asleep: it sees closed once it has the lock.
	for deadline := time.Now().Add(closeWait); ; {
		c.Attention()
		c.mu.Lock()
		if c.driver == nil {
			break
		}
		c.mu.Unlock()
		if time.Now().After(deadline) {
			return fmt.Errorf("engine: a caller has not left the core for %v: its devices stay open", closeWait)
		}
		time.Sleep(100 * time.Microsecond)
	}
	defer c.mu.Unlock()
	c.shut = true
	errs := []error{c.sleep.close()} // nobody is woken by way of a device from here on
	c.counted.Lock()
	defer c.counted.Unlock()
	for _, dev := range c.ports {
		c.last = append(c.last, dev.Stats())
		errs = append(errs, dev.Close())
	}
	return errors.Join(errs...)
}

// closeWait is how long Close waits for a driver to leave: far longer than a turn.
// A device that does not heed Wake is no reason to pull its memory away from under it.
const closeWait = 5 * time.Second
