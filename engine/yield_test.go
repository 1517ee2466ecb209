package engine

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// sleepWatch is a device that calls asleep before it sleeps.
type sleepWatch struct {
	*eventDevice
	asleep func()
}

func (d *sleepWatch) Wait(until mono.Time) {
	d.asleep()
	d.eventDevice.Wait(until)
}

// What a program has started runs before the driver sleeps with the only processor: after Owe, and else when it is time to try.
func TestStartedRunsBeforeTheDriverSleeps(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, owes := range []bool{true, false} {
		noLeak(t)
		h := &fakeHandler{}
		d := &sleepWatch{eventDevice: newEventDevice(t, "port")}
		c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: Efficient, Manual: true})
		var ran, slept atomic.Bool
		d.asleep = func() {
			if !slept.Swap(true) && !ran.Load() {
				t.Errorf("owes %v: the driver sleeps, and who was started has not run", owes)
			}
		}
		if owes {
			c.sleep.yielder.tried = c.Now() // it is no time to try
			c.Owe()
		} else {
			c.sleep.yielder.tried = c.Now().Add(-yieldTry)
		}
		done := make(chan struct{})
		go func() { ran.Store(true); close(done) }()
		receive(c, NewWaiter(), &h.boxes[1], c.Now().Add(5*time.Millisecond))
		<-done
		if !slept.Load() {
			t.Errorf("owes %v: the driver did not sleep", owes)
		}
	}
}

// One that yields as it owes is waited for by who drives meanwhile, instead of with its processor in the kernel.
func TestWhoYieldsIsComing(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	noLeak(t)
	h := &fakeHandler{}
	d := &sleepWatch{eventDevice: newEventDevice(t, "port")}
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: Efficient, Manual: true})
	accepting := NewWaiter()
	var slept atomic.Bool
	d.asleep = func() {
		if !slept.Swap(true) && accepting.state.Load() != waiterParked {
			t.Error("the second sleeps, and the first has not parked")
		}
	}
	c.sleep.yielder.tried = c.Now()
	c.Owe()
	first, second := make(chan outcome, 1), make(chan outcome, 1)
	go func() {
		go func() { second <- receive(c, NewWaiter(), &h.boxes[2], c.Now().Add(20*time.Millisecond)) }()
		first <- receive(c, accepting, &h.boxes[1], mono.Never)
	}()
	<-second
	h.boxes[1].shut()
	<-first
	if !slept.Load() {
		t.Error("nobody slept")
	}
}

// Who has closed what it waited for leaves the core to one that is parked, and not to the poller's next tick.
func TestLeaveGivesTheRoleToOneThatIsParked(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Manual: true}) // no poller
	accepting, accepted := goReceive(c, &h.boxes[1], mono.Never)
	settled(t, c, "the first drives", is(accepting), 0)
	_, served := goReceive(c, &h.boxes[2], mono.Never)
	settled(t, c, "the second is parked", is(accepting), 1)
	d.arrive([]byte{2})
	want(t, "the second", served, got)
	settled(t, c, "nobody drives", is(nil), 1)
	c.Leave()
	settled(t, c, "the first drives again", is(accepting), 0)
	c.Leave() // changes nothing
	if locked(c, func() bool { return c.driver != accepting }) {
		t.Error("the role was taken from who drives")
	}
	d.arrive([]byte{1})
	want(t, "the first", accepted, got)
	c.Leave() // nobody is parked, and there is no poller
	c.poller.now = make(chan struct{}, 1)
	for range 2 { // a second one finds the poller called already
		c.Leave()
	}
	if len(c.poller.now) != 1 {
		t.Error("nobody is parked, and the poller is not called")
	}
}

// A yielder goes on while it pays, and tries now and then.
func TestYielder(t *testing.T) {
	var y yielder
	now := mono.Time(time.Hour)
	if !y.due(now) {
		t.Fatal("it does not try at first")
	}
	y.learn(now, yieldRan-1)
	if y.due(now.Add(yieldTry - 1)) {
		t.Error("it goes on although nobody ran")
	}
	now = now.Add(yieldTry)
	if !y.due(now) {
		t.Error("it does not try again")
	}
	y.learn(now, yieldRan)
	for i := range yieldCredit {
		if !y.due(now) {
			t.Fatalf("it ends after %d times", i)
		}
		y.learn(now, 0)
	}
	if y.due(now) {
		t.Error("it goes on for ever")
	}
	for range 100 { // one in three that wait brings something: it goes on
		y.learn(now, yieldRan)
		y.learn(now, 0)
		y.learn(now, 0)
		if !y.due(now) {
			t.Fatal("it ends although it pays")
		}
	}
	for range yieldCreditMax {
		y.learn(now, 0)
	}
	if y.due(now) {
		t.Error("it goes on for longer than its credit")
	}
}
