package engine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// settled waits until exactly this is so: who drives (nil: nobody, the poller's role:
// it), and how many are parked.
func settled(t *testing.T, c *Core, what string, drives func(*Waiter) bool, parked int) {
	t.Helper()
	eventually(t, what, func() bool {
		return locked(c, func() bool {
			n := 0
			for w := c.parked.head; w != nil; w = w.next {
				n++
			}
			return drives(c.driver) && n == parked
		})
	})
}

func is(w *Waiter) func(*Waiter) bool { return func(d *Waiter) bool { return d == w } }

// one opens a core with a poller over one device in real time.
func one(t *testing.T, policy Policy) (*Core, *eventDevice, *fakeHandler) {
	t.Helper()
	noLeak(t)
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	return openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: policy}), d, h
}

// goReceive starts a receive and returns its waiter and where its outcome comes.
func goReceive(c *Core, b *box, deadline mono.Time) (*Waiter, chan outcome) {
	w, result := NewWaiter(), make(chan outcome, 1)
	go func() { result <- receive(c, w, b, deadline) }()
	return w, result
}

// want waits for an outcome.
func want(t *testing.T, what string, result chan outcome, want outcome) {
	t.Helper()
	within(t, what, func() {
		if got := <-result; got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	})
}

func TestWaitForFrame(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, d, h := one(t, policy)
			for range 20 {
				_, result := goReceive(c, &h.boxes[1], mono.Never)
				d.arrive([]byte{1})
				want(t, "receive", result, got)
			}
		})
	}
}

// What is there already needs neither a turn nor the role.
func TestWaitAlreadyDone(t *testing.T) {
	h := &fakeHandler{}
	c, _, clock := manual(t, h)
	clock.now.Store(5)
	h.boxes[1].put()
	turns := c.Turns()
	if o := receive(c, NewWaiter(), &h.boxes[1], mono.Never); o != got {
		t.Errorf("%v, want got", o)
	}
	if o := receive(c, NewWaiter(), &h.boxes[1], 5); o != late {
		t.Errorf("%v, want late", o)
	}
	if c.Turns() != turns || c.driver != nil {
		t.Error("a wait that was over turned the core")
	}
}

// The baton goes with the data: a driver that woke others and got nothing itself
// parks, and the one that got the frame drives from then on.
func TestBatonGoesWithData(t *testing.T) {
	// Without the poller, which hands the role to whoever is parked when the one that was served does not come for a tick.
	noLeak(t)
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Manual: true})
	idle, idleResult := goReceive(c, &h.boxes[1], mono.Never)
	settled(t, c, "the first drives", is(idle), 0)

	var served atomic.Int64
	busy := NewWaiter()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for receive(c, busy, &h.boxes[2], mono.Never) == got {
			served.Add(1)
		}
	}()
	settled(t, c, "the second is parked", is(idle), 1)
	for i := int64(1); i <= 20; i++ {
		d.arrive([]byte{2})
		eventually(t, "the frame is served", func() bool { return served.Load() == i })
		settled(t, c, "the served one drives and the other is parked", is(busy), 1)
	}
	d.arrive([]byte{1})
	want(t, "the idle one", idleResult, got)
	settled(t, c, "nobody drives, and the busy one is parked", is(nil), 1)
	h.boxes[2].shut()
	within(t, "the end", func() { <-done })
}

// One that is served itself keeps the role if others were woken beside it, but lets
// them run before it drives again.
func TestServedAfterWakingOwesYield(t *testing.T) {
	c, d, h := one(t, Balanced)
	driver, first := goReceive(c, &h.boxes[1], mono.Never)
	settled(t, c, "the first drives", is(driver), 0)
	_, second := goReceive(c, &h.boxes[2], mono.Never)
	settled(t, c, "the second is parked", is(driver), 1)
	c.Lock() // both arrive in one turn
	d.arrive([]byte{2}, []byte{1})
	c.Unlock()
	want(t, "the driver", first, got)
	if !c.owed.Load() {
		// The second may have run, found nothing to wait for, and left; owed stays until somebody waits.
		t.Error("a driver that was served after it woke another owes nothing")
	}
	want(t, "the other", second, got)
	h.boxes[3].put()
	if receive(c, NewWaiter(), &h.boxes[3], mono.Never) != got || c.owed.Load() {
		t.Error("the next wait did not pay")
	}
}

// Several wait for one box: each thing in it is taken once, and all are served.
func TestManyAtOneBox(t *testing.T) {
	c, d, h := one(t, Balanced)
	const callers, each = 6, 50
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			w := NewWaiter()
			for range each {
				if o := receive(c, w, &h.boxes[1], mono.Never); o != got {
					t.Errorf("receive: %v", o)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range callers * each {
			d.arrive([]byte{1})
			if i%7 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	within(t, "all", wg.Wait)
	if n := h.boxes[1].full.Load(); n != 0 {
		t.Errorf("%d are left in the box", n)
	}
}

func TestDeadlines(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, _, h := one(t, policy)
			var results []chan outcome
			start := c.Now()
			for i := range 6 { // one drives, five are parked; the earliest is not the first
				_, r := goReceive(c, &h.boxes[1], start.Add(time.Duration(30-5*i)*time.Millisecond))
				results = append(results, r)
			}
			for i := range results {
				want(t, fmt.Sprint("receive ", i), results[i], late)
				if now, due := c.Now(), start.Add(time.Duration(30-5*i)*time.Millisecond); now.Before(due) {
					t.Errorf("receive %d was late %v too early", i, due.Sub(now))
				}
			}
			if n := len(c.deadlines); n != 0 {
				t.Errorf("%d deadlines are left", n)
			}
		})
	}
}

// A parked waiter with a deadline makes a driver that means to sleep longer look up.
func TestDeadlineOfParkedBehindSleeper(t *testing.T) {
	c, d, h := one(t, Efficient)
	driver, _ := goReceive(c, &h.boxes[1], mono.Never)
	settled(t, c, "the driver drives", is(driver), 0)
	eventually(t, "the driver sleeps", func() bool { return d.sleeping.Load() == 1 })
	departs := c.departs.Load()
	_, result := goReceive(c, &h.boxes[2], c.Now().Add(5*time.Millisecond))
	want(t, "the parked one", result, late)
	settled(t, c, "the driver drives", is(driver), 0)
	if c.departs.Load() != departs { // the one who was late may never come back to drive
		t.Error("the role changed hands for a deadline")
	}
	h.boxes[1].shut()
}

// cancel ends a wait from outside, at once, wherever the waiter is.
func TestCancel(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, _, h := one(t, policy)
			for range 10 {
				driver, r1 := goReceive(c, &h.boxes[1], mono.Never)
				settled(t, c, "the first drives", is(driver), 0)
				_, r2 := goReceive(c, &h.boxes[2], mono.Never)
				settled(t, c, "the second is parked", is(driver), 1)
				h.boxes[2].shut()
				want(t, "the parked one", r2, shut)
				settled(t, c, "the first still drives", is(driver), 0)
				h.boxes[1].shut()
				want(t, "the driver", r1, shut)
				h.boxes[1].closed.Store(false)
				h.boxes[2].closed.Store(false)
			}
		})
	}
}

// A driver that was cancelled leaves a parked one behind: the poller gives it the role.
func TestRoleGoesOnAfterDriverLeft(t *testing.T) {
	c, d, h := one(t, Balanced)
	driver, r1 := goReceive(c, &h.boxes[1], mono.Never)
	settled(t, c, "the first drives", is(driver), 0)
	second, r2 := goReceive(c, &h.boxes[2], mono.Never)
	settled(t, c, "the second is parked", is(driver), 1)
	h.boxes[1].shut()
	want(t, "the driver", r1, shut)
	settled(t, c, "the second drives", is(second), 0)
	d.arrive([]byte{2})
	want(t, "the second", r2, got)
}

// A driver asleep does not stand in the way of one who has something to send, or to
// be done at a time that comes before its waking.
func TestPostWhileDriverSleeps(t *testing.T) {
	c, d, h := one(t, Efficient)
	h.onAsk = func(int64) { h.out[0] = append(h.out[0], []byte{1}) }
	goReceive(c, &h.boxes[1], mono.Never)
	eventually(t, "the driver sleeps", func() bool { return d.sleeping.Load() == 1 })
	h.ask(c)
	if d.sentCount() != 1 {
		t.Error("Post beside a sleeper sent nothing")
	}
	fired := make(chan struct{})
	h.onAsk = func(int64) {
		h.timers = append(h.timers, timer{c.Now().Add(2 * time.Millisecond), func() { close(fired) }})
	}
	h.ask(c)
	within(t, "the timer", func() { <-fired })
	h.boxes[1].shut()
}

// What a driver could do nothing about when it left (a timer that its own turn
// armed, a deadline of one that it leaves parked) is done although the poller, which it
// displaced, sleeps for ever.
func TestDriverLeavesTimersToSleepingPoller(t *testing.T) {
	for _, policy := range []Policy{Efficient, Balanced} {
		for range 20 {
			h := &fakeHandler{}
			d := newEventDevice(t, "port")
			c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: policy})
			eventually(t, "the poller sleeps", func() bool { return d.sleeping.Load() == 1 })
			fired := make(chan struct{})
			c.Lock()
			h.onInput = func(int, []Frame) {}
			c.Unlock()
			var once sync.Once
			v := &hooked{visit: visit{&h.boxes[1], mono.Never}, done: func() {
				// The caller's first turn brings it what it waits for and arms a timer.
				once.Do(func() {
					c.handlerTimer(h, 3*time.Millisecond, func() { close(fired) })
					h.boxes[1].full.Add(1)
				})
			}}
			within(t, "the wait", func() { c.Wait(NewWaiter(), v) })
			within(t, "the timer that the driver left", func() { <-fired })
		}
	}
}

// hooked is a visit whose second look does something first: it stands for what a
// turn brings.
type hooked struct {
	visit
	looks int
	done  func()
}

func (v *hooked) Done(now mono.Time) bool {
	if v.looks++; v.looks == 2 {
		v.done()
	}
	return v.visit.Done(now)
}

// handlerTimer arms a timer of the fake handler: the lock is held.
func (c *Core) handlerTimer(h *fakeHandler, after time.Duration, f func()) {
	h.timers = append(h.timers, timer{c.Now().Add(after), f})
}

// The same, with a waiter that parks while the poller sleeps displaced.
func TestDriverLeavesParkedToSleepingPoller(t *testing.T) {
	for range 20 {
		h := &fakeHandler{}
		d := newEventDevice(t, "port")
		c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: Efficient})
		eventually(t, "the poller sleeps", func() bool { return d.sleeping.Load() == 1 })
		inTurn, goOn := make(chan struct{}), make(chan struct{})
		v := &hooked{visit: visit{&h.boxes[1], mono.Never}, done: func() {
			close(inTurn)
			<-goOn
			h.boxes[1].full.Add(1)
		}}
		left := make(chan struct{})
		go func() { c.Wait(NewWaiter(), v); close(left) }()
		<-inTurn
		_, result := goReceive(c, &h.boxes[2], c.Now().Add(5*time.Millisecond))
		close(goOn)
		<-left
		want(t, "the parked one", result, late)
	}
}

// With several callers and the poller about, none may sleep through what came for it.
// Everybody does everything at random; a watchdog looks for a second without progress.
func TestNoWakeupIsLost(t *testing.T) {
	for _, ports := range []int{1, 3} {
		for _, policy := range []Policy{Balanced, Efficient} {
			t.Run(fmt.Sprintf("%d ports %v", ports, policy), func(t *testing.T) {
				stress(t, ports, policy, 300*time.Millisecond)
			})
		}
	}
}

func stress(t *testing.T, ports int, policy Policy, lasts time.Duration) {
	noLeak(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := &fakeHandler{}
	var fakes []*eventDevice
	var devices []Device
	for i := range ports {
		fakes = append(fakes, newEventDevice(t, fmt.Sprint("port", i)))
		devices = append(devices, fakes[i])
	}
	c := openCore(t, Config{Devices: devices, Handler: h, Policy: policy})

	// Whatever is asked for, the handler puts into box 7 a little later.
	h.onAsk = func(n int64) {
		for range n {
			c.handlerTimer(h, time.Duration(n)*100*time.Microsecond, func() { h.fill(&h.boxes[7]) })
		}
	}
	var stop atomic.Bool
	var progress, asked, answered, put, taken atomic.Int64
	var wg, callers sync.WaitGroup

	for i := range 8 { // those who wait; boxes 0..3, two each
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			w, b := NewWaiter(), &h.boxes[i%4]
			for {
				deadline := mono.Never
				if rnd.IntN(3) == 0 {
					deadline = c.Now().Add(time.Duration(rnd.IntN(3000)) * time.Microsecond)
				}
				switch receive(c, w, b, deadline) {
				case got:
					taken.Add(1)
				case shut:
					return
				case gone:
					t.Error("the core is closed")
					return
				}
				progress.Add(1)
				if rnd.IntN(50) == 0 {
					time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
				}
			}
		})
	}
	for i := range 2 { // those who bring frames
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for !stop.Load() {
				for range 1 + rnd.IntN(4) {
					put.Add(1)
					fakes[rnd.IntN(ports)].arrive([]byte{byte(rnd.IntN(4))})
				}
				time.Sleep(time.Duration(rnd.IntN(400)) * time.Microsecond)
			}
		})
	}
	wg.Go(func() { // one who fills boxes past the core
		rnd := rand.New(rand.NewPCG(seed, 200))
		for !stop.Load() {
			put.Add(1)
			h.boxes[rnd.IntN(4)].put()
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Microsecond)
		}
	})
	for i := range 2 { // those who ask and wait for the answer
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(300+i)))
			w := NewWaiter()
			for !stop.Load() {
				asked.Add(1)
				h.ask(c)
				if receive(c, w, &h.boxes[7], mono.Never) != got {
					t.Error("no answer")
				}
				answered.Add(1)
				progress.Add(1)
				time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
			}
		})
	}
	wg.Go(func() { // one who touches the state
		for !stop.Load() {
			c.Lock()
			c.Send(0)
			c.Unlock()
			c.Attention()
			c.CheckPorts()
			time.Sleep(100 * time.Microsecond)
		}
	})

	for end := time.Now().Add(lasts); time.Now().Before(end); {
		before := progress.Load()
		eventually(t, "progress", func() bool { return progress.Load() != before })
	}
	stop.Store(true)
	within(t, "those who bring", wg.Wait)
	eventually(t, "all that was brought is taken", func() bool { return taken.Load() == put.Load() })
	for i := range 4 {
		h.boxes[i].shut()
	}
	within(t, "those who wait", callers.Wait)
	if asked.Load() != answered.Load() {
		t.Errorf("asked %d, answered %d", asked.Load(), answered.Load())
	}
	if t.Failed() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
	}
	t.Logf("%d taken, %d answers, %d turns", taken.Load(), answered.Load(), c.Turns())
}

// Close at any moment ends all waits.
func TestCloseAtAnyMoment(t *testing.T) {
	noLeak(t)
	for round := range 150 {
		h := &fakeHandler{}
		ports := 1 + round%2
		var devices []Device
		var last *eventDevice
		for i := range ports {
			last = newEventDevice(t, fmt.Sprint("port", i))
			devices = append(devices, last)
		}
		c, err := Open(Config{Devices: devices, Handler: h, Policy: Policy(round % 3)})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range round % 5 {
			wg.Go(func() {
				w := NewWaiter()
				for receive(c, w, &h.boxes[i%2], c.Now().Add(time.Second)) != gone {
				}
			})
		}
		wg.Go(func() {
			for i := range round % 7 {
				last.arrive([]byte{byte(i % 2)})
				h.ask(c)
				time.Sleep(100 * time.Microsecond)
			}
		})
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
		within(t, "Close", func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		within(t, "the callers", wg.Wait)
		for _, d := range devices {
			if !d.(*eventDevice).closed.Load() {
				t.Error("a device is open after Close")
			}
		}
	}
}

// Park, Prepare and Cancel: for those who wait for several cores.
func TestParkWithoutCore(t *testing.T) {
	w := NewWaiter()
	if w.Wake() {
		t.Error("Wake of one who does not wait made it runnable")
	}
	w.Prepare()
	if !w.Wake() || w.Wake() {
		t.Error("Wake after Prepare: want true once")
	}
	within(t, "Park after Wake", func() { w.Park(nil) })

	w.Prepare()
	w.Cancel()
	w.Prepare()
	w.Wake()
	w.Cancel()
	if len(w.token) != 0 {
		t.Error("Cancel left a token")
	}

	timeout := make(chan struct{})
	close(timeout)
	for range 2000 { // Wake and the timeout at once leave no token either
		w.Prepare()
		woken := make(chan bool)
		go func() { woken <- w.Wake() }()
		w.Park(timeout)
		<-woken
		if len(w.token) != 0 || w.state.Load() != waiterIdle {
			t.Fatal("Park left a token or a state")
		}
	}
}

func TestWaiterHeap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var h waiterHeap
		var in []*Waiter
		for range rnd.IntN(40) {
			w := NewWaiter()
			w.deadline = mono.Time(rnd.IntN(20))
			h.push(w)
			in = append(in, w)
		}
		rnd.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		out := in[:len(in)/3]
		for _, w := range out {
			h.remove(w)
			h.remove(w) // twice is harmless
			if w.heapAt != -1 {
				t.Fatal("removed, and still has an index")
			}
		}
		var want, got []mono.Time
		for _, w := range in[len(out):] {
			want = append(want, w.deadline)
		}
		slices.Sort(want)
		for len(h) > 0 {
			got = append(got, h[0].deadline)
			h.remove(h[0])
		}
		if !slices.Equal(got, want) {
			t.Fatalf("out came %v, want %v", got, want)
		}
	}
}
