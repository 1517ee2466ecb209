package engine

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Patience is how long a test waits for what must happen. A busy machine may
// well need a second; only a lost wake-up needs thirty.
const patience = 30 * time.Second

// fakeDevice is a queue in memory. It holds the core to the contract: a call that
// must not run beside another, or not in that order, is noted in faults.
type fakeDevice struct {
	info Info

	busy   atomic.Int32 // a method that only one may be in
	closed atomic.Bool
	waits  atomic.Int64 // calls of Wait
	dead   atomic.Pointer[error]
	deaf   bool         // what has arrived is not seen, but keeps the descriptor readable
	errs   atomic.Int64 // calls of Err

	mu       sync.Mutex
	arrived  [][]byte
	lent     int // by Peek
	shown    int // by Reserve
	reserved bool
	kept     map[uint64]bool
	handle   uint64
	room     int // frames that Submit may still take; -1: no end
	stuck    bool
	unsent   [][]byte
	sent     [][]byte
	onSent   func(frame []byte) // with mu held
	onErr    func()
	submits  []submit
	faults   []string
}

// submit is one call of Submit.
type submit struct{ frames, reserved int }

func newFake(name string) *fakeDevice {
	return &fakeDevice{
		info: Info{Name: name, Mode: "fake", MTU: 1500, KeepMax: 8, Region: 1, FrameLen: 2048},
		kept: map[uint64]bool{},
		room: -1,
	}
}

// enter notes calls that overlap. The one who calls leaves by what it returns.
func (d *fakeDevice) enter(what string) func() {
	if d.closed.Load() {
		d.fault("%s after Close", what)
	}
	if d.busy.Add(1) != 1 {
		d.fault("%s beside another call", what)
	}
	return func() { d.busy.Add(-1) }
}

func (d *fakeDevice) fault(format string, args ...any) {
	d.mu.Lock()
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
	d.mu.Unlock()
}

func (d *fakeDevice) Info() Info { return d.info }

func (d *fakeDevice) Peek(frames []Frame) int {
	defer d.enter("Peek")()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf {
		return 0
	}
	if d.lent != 0 {
		d.faults = append(d.faults, "Peek before Release")
	}
	n := min(len(frames), len(d.arrived))
	for i := range n {
		d.handle++
		frames[i] = Frame{Data: d.arrived[i], Handle: d.handle}
	}
	d.arrived = d.arrived[n:]
	d.lent = n
	return n
}

func (d *fakeDevice) Release(frames []Frame) {
	defer d.enter("Release")()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(frames) != d.lent {
		d.faults = append(d.faults, fmt.Sprintf("Release of %d, lent were %d", len(frames), d.lent))
	}
	d.lent = 0
	for _, f := range frames {
		if f.Kept() {
			d.kept[f.Handle] = true
		}
	}
}

func (d *fakeDevice) Reserve(frames []Frame) int {
	defer d.enter("Reserve")()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(frames)
	if d.room >= 0 {
		n = min(n, d.room)
	}
	for i := range n {
		frames[i] = Frame{Data: make([]byte, d.info.FrameLen)}
	}
	d.shown, d.reserved = n, n > 0
	return n
}

func (d *fakeDevice) Submit(frames []Frame, reserved int) {
	defer d.enter("Submit")()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.submits = append(d.submits, submit{len(frames), reserved})
	if reserved != 0 && !d.reserved || reserved != d.shown && reserved != 0 || len(frames) > reserved {
		d.faults = append(d.faults, fmt.Sprintf("Submit(%d, %d), shown were %d", len(frames), reserved, d.shown))
	}
	d.shown, d.reserved = 0, false
	for _, f := range frames {
		if f.Kept() {
			if !d.kept[f.Handle] {
				d.faults = append(d.faults, "Submit of a kept frame that is not")
			}
			delete(d.kept, f.Handle)
		}
		d.unsent = append(d.unsent, bytes.Clone(f.Data))
		if d.room > 0 {
			d.room--
		}
	}
	if d.stuck {
		return
	}
	for _, f := range d.unsent {
		d.sent = append(d.sent, f)
		if d.onSent != nil {
			d.onSent(f)
		}
	}
	d.unsent = nil
}

func (d *fakeDevice) Unsent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.unsent) > 0
}

func (d *fakeDevice) Free(f Frame) {
	defer d.enter("Free")()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.kept[f.Handle] {
		d.faults = append(d.faults, "Free of a frame that is not kept")
	}
	delete(d.kept, f.Handle)
}

func (d *fakeDevice) Ready() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.arrived) > 0 && !d.deaf
}

func (d *fakeDevice) Err() error {
	d.errs.Add(1)
	if f := d.onErr; f != nil {
		d.onErr = nil
		f()
	}
	if err := d.dead.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *fakeDevice) die(err error) { d.dead.Store(&err) }

func (d *fakeDevice) Stats() DeviceStats { return DeviceStats{} }

func (d *fakeDevice) Close() error {
	d.enter("Close")() // a second Close is noted too
	d.closed.Store(true)
	return nil
}

// setRoom, setStuck and setDeaf are the link's whims.
func (d *fakeDevice) setDeaf() { d.mu.Lock(); d.deaf = true; d.mu.Unlock() }

func (d *fakeDevice) setRoom(n int) { d.mu.Lock(); d.room = n; d.mu.Unlock() }

func (d *fakeDevice) setStuck(stuck bool) { d.mu.Lock(); d.stuck = stuck; d.mu.Unlock() }

func (d *fakeDevice) sentCount() int { d.mu.Lock(); defer d.mu.Unlock(); return len(d.sent) }

// check reports what the core did against the contract.
func (d *fakeDevice) check(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		t.Errorf("%s: %s", d.info.Name, f)
	}
}

// eventDevice is a fakeDevice that sleeps in real time, on an eventfd.
type eventDevice struct {
	*fakeDevice
	arrivals, wake int // eventfds; arrivals is readable while something has arrived
	sleeping       atomic.Int32
}

func newEventDevice(t testing.TB, name string) *eventDevice {
	t.Helper()
	d := &eventDevice{fakeDevice: newFake(name)}
	var err error
	for _, fd := range []*int{&d.arrivals, &d.wake} {
		if *fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		d.check(t)
		unix.Close(d.arrivals)
		unix.Close(d.wake)
	})
	return d
}

// arrive brings frames. Anyone may call it.
func (d *eventDevice) arrive(frames ...[]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.arrived) == 0 && len(frames) > 0 {
		signal(d.arrivals)
	}
	d.arrived = append(d.arrived, frames...)
}

func (d *eventDevice) Peek(frames []Frame) int {
	n := d.fakeDevice.Peek(frames)
	d.mu.Lock()
	if n > 0 && len(d.arrived) == 0 {
		drain(d.arrivals)
	}
	d.mu.Unlock()
	return n
}

func (d *eventDevice) FD() int { return d.arrivals }

func (d *eventDevice) Wait(until mono.Time) {
	if d.closed.Load() {
		d.fault("Wait after Close")
	}
	d.waits.Add(1)
	if d.sleeping.Add(1) != 1 {
		d.fault("two in Wait")
	}
	defer d.sleeping.Add(-1)
	fds := [2]unix.PollFd{{Fd: int32(d.arrivals), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	if until != mono.Never {
		left := until.Sub(SystemClock.Now())
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		timeout = &ts
	}
	unix.Ppoll(fds[:], timeout, nil)
	if fds[1].Revents != 0 {
		drain(d.wake)
	}
}

func (d *eventDevice) Wake() {
	if d.closed.Load() {
		d.fault("Wake after Close")
	}
	signal(d.wake)
}

// signal and drain are their own system calls with their own buffers, so that the
// race detector sees no sharing.
func signal(fd int) { b := [8]byte{0: 1}; unix.Write(fd, b[:]) }
func drain(fd int)  { var b [8]byte; unix.Read(fd, b[:]) }

// virtualClock is a time that devices move.
type virtualClock struct{ now atomic.Int64 }

func (c *virtualClock) Now() mono.Time { return mono.Time(c.now.Load()) }

// virtualDevice is a fakeDevice that sleeps by moving a clock to its next arrival.
type virtualDevice struct {
	*fakeDevice
	clock *virtualClock
	next  []arrival // in order of time
	awake atomic.Bool
	slept []mono.Time // what Wait was asked for
}

type arrival struct {
	at   mono.Time
	data []byte
}

func newVirtualDevice(t testing.TB, clock *virtualClock) *virtualDevice {
	d := &virtualDevice{fakeDevice: newFake("virtual"), clock: clock}
	t.Cleanup(func() { d.check(t) })
	return d
}

func (d *virtualDevice) at(when mono.Time, data []byte) {
	d.next = append(d.next, arrival{when, data})
}

// come moves what is due at the clock's time into the queue.
func (d *virtualDevice) come() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.next) > 0 && d.next[0].at.Due(d.clock.Now()) {
		d.arrived = append(d.arrived, d.next[0].data)
		d.next = d.next[1:]
	}
}

func (d *virtualDevice) Peek(frames []Frame) int { d.come(); return d.fakeDevice.Peek(frames) }
func (d *virtualDevice) Ready() bool             { d.come(); return d.fakeDevice.Ready() }
func (d *virtualDevice) Wake()                   { d.awake.Store(true) }

func (d *virtualDevice) Wait(until mono.Time) {
	d.waits.Add(1)
	d.slept = append(d.slept, until)
	if d.awake.Swap(false) {
		return
	}
	if len(d.next) > 0 {
		until = min(until, d.next[0].at)
	}
	if until == mono.Never {
		d.fault("sleeps for ever")
		panic("a virtual device was asked to sleep for ever")
	}
	if until > d.clock.Now() {
		d.clock.now.Store(int64(until))
	}
}

// fakeHandler is boxes in which goroutines find what arrived: a frame's first
// byte names the box. It answers nothing by itself; out is what it has to say.
type fakeHandler struct {
	boxes [256]box

	// With the core's lock held.
	out      [8][][]byte // what to say, by port
	onInput  func(port int, frames []Frame)
	onWake   func() int
	onOutput func(port int, frames []Frame) int
	touched  []*box
	timers   []timer
	advances int
	log      []string // what was called, while logs is set
	logs     bool
	failures []string

	asked atomic.Int64 // requests that no Advance has seen
	seen  atomic.Int64 // requests that an Advance has seen
	onAsk func(n int64)
}

type timer struct {
	at mono.Time
	f  func()
}

// box is a gate and a count behind it.
type box struct {
	mu      sync.Mutex
	full    atomic.Int64
	closed  atomic.Bool
	waiters []*Waiter
}

func (h *fakeHandler) note(format string, args ...any) {
	if h.logs {
		h.log = append(h.log, fmt.Sprintf(format, args...))
	}
}

func (h *fakeHandler) Input(port int, frames []Frame, now mono.Time) {
	h.note("Input(%d, %d)", port, len(frames))
	if h.onInput != nil {
		h.onInput(port, frames)
	}
	for i := range frames {
		if len(frames[i].Data) > 0 {
			h.fill(&h.boxes[frames[i].Data[0]])
		}
	}
}

// fill puts one into a box: for handler code.
func (h *fakeHandler) fill(b *box) {
	b.full.Add(1)
	h.touched = append(h.touched, b)
}

func (h *fakeHandler) Advance(now mono.Time) (work int) {
	h.note("Advance")
	h.advances++
	if n := h.asked.Swap(0); n > 0 {
		h.seen.Add(n)
		if h.onAsk != nil {
			h.onAsk(n)
		}
		work = int(n)
	}
	for i := 0; i < len(h.timers); {
		t := h.timers[i]
		if !t.at.Due(now) {
			i++
			continue
		}
		h.timers = append(h.timers[:i], h.timers[i+1:]...)
		t.f()
		work++
	}
	return work
}

func (h *fakeHandler) Output(port int, frames []Frame, now mono.Time) int {
	h.note("Output(%d, %d)", port, len(frames))
	if h.onOutput != nil {
		return h.onOutput(port, frames)
	}
	n := min(len(frames), len(h.out[port]))
	for i := range n {
		frames[i].Data = frames[i].Data[:copy(frames[i].Data, h.out[port][i])]
	}
	h.out[port] = h.out[port][n:]
	return n
}

func (h *fakeHandler) Deadline() mono.Time {
	at := mono.Never
	for _, t := range h.timers {
		at = min(at, t.at)
	}
	return at
}

func (h *fakeHandler) Posted() bool { return h.asked.Load() > 0 }

func (h *fakeHandler) Wake() (woken int) {
	h.note("Wake")
	for _, b := range h.touched {
		woken += b.wake()
	}
	h.touched = h.touched[:0]
	if h.onWake != nil {
		woken += h.onWake()
	}
	return woken
}

func (h *fakeHandler) PortFailed(port int, err error) {
	h.failures = append(h.failures, fmt.Sprintf("%d: %v", port, err))
	for i := range h.boxes {
		if b := &h.boxes[i]; !b.closed.Swap(true) {
			h.touched = append(h.touched, b)
		}
	}
}

// ask is a program's request: what Post is for.
func (h *fakeHandler) ask(c *Core) { h.asked.Add(1); c.Post() }

// wake wakes all who wait at the box.
func (b *box) wake() (woken int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.waiters {
		if w.Wake() {
			woken++
		}
	}
	return woken
}

// put fills the box from anywhere, as a lock-free ring would be filled.
func (b *box) put() { b.full.Add(1); b.wake() }

// shut closes the box from anywhere.
func (b *box) shut() { b.closed.Store(true); b.wake() }

// take takes one out, if there is one.
func (b *box) take() bool {
	for {
		n := b.full.Load()
		if n == 0 {
			return false
		}
		if b.full.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// visit is one goroutine's wait at a box.
type visit struct {
	b        *box
	deadline mono.Time
}

func (v *visit) Done(now mono.Time) bool {
	return v.b.full.Load() > 0 || v.b.closed.Load() || v.deadline.Due(now)
}

func (v *visit) Deadline() mono.Time { return v.deadline }

func (v *visit) Arm(w *Waiter) {
	v.b.mu.Lock()
	v.b.waiters = append(v.b.waiters, w)
	v.b.mu.Unlock()
}

func (v *visit) Disarm(w *Waiter) {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	for i := range v.b.waiters {
		if v.b.waiters[i] == w {
			v.b.waiters = append(v.b.waiters[:i], v.b.waiters[i+1:]...)
			return
		}
	}
	panic("Disarm without Arm")
}

// What a receive ended with.
type outcome int

const (
	got outcome = iota
	late
	shut
	gone // the core was closed
)

func (o outcome) String() string { return [...]string{"got", "late", "shut", "gone"}[o] }

// receive takes one out of a box, waiting for it until the deadline.
func receive(c *Core, w *Waiter, b *box, deadline mono.Time) outcome {
	v := visit{b, deadline}
	for {
		if !c.Wait(w, &v) {
			return gone
		}
		switch {
		case b.take():
			return got
		case b.closed.Load():
			return shut
		case deadline.Due(c.Now()):
			return late
		}
	}
}

// openCore opens a core that the end of the test closes.
func openCore(t testing.TB, cfg Config) *Core {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		within(t, "Close", func() {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	})
	return c
}

// within fails the test, with all goroutines, if f does not return in time.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		t.Fatalf("%s did not come to an end in %v", what, patience)
	}
}

// eventually waits for cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// locked looks at the core's state.
func locked(c *Core, f func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

// noLeak fails the test if goroutines of this package outlive it. It is called first.
func noLeak(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var buf []byte
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			buf = make([]byte, 1<<20)
			buf = buf[:runtime.Stack(buf, true)]
			n := 0
			for _, g := range bytes.Split(buf, []byte("\n\n")) {
				if bytes.Contains(g, []byte("engine.(*Core)")) && !bytes.Contains(g, []byte("noLeak")) {
					n++
				}
			}
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines of cores are left:\n%s", n, buf)
			}
		}
	})
}
