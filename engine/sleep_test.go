package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// TestAttentionStates: whoever wants the driver finds it before its sleep, in it,
// and after it, and none of these is lost.
func TestAttentionIsNotLost(t *testing.T) {
	for _, ports := range []int{1, 2} {
		t.Run(fmt.Sprint(ports, " ports"), func(t *testing.T) {
			noLeak(t)
			h := &fakeHandler{}
			var devices []Device
			for i := range ports {
				devices = append(devices, newEventDevice(t, fmt.Sprint("port", i)))
			}
			c := openCore(t, Config{Devices: devices, Handler: h, Policy: Efficient, Manual: true})
			b := &h.boxes[1]
			_, result := goReceive(c, b, mono.Never)
			for i := range 500 {
				if i%3 == 0 {
					time.Sleep(time.Duration(i%50) * time.Microsecond)
				}
				b.put()
				want(t, "receive", result, got)
				_, result = goReceive(c, b, mono.Never)
			}
			b.shut()
			want(t, "the last", result, shut)
		})
	}
}

// A poller that was displaced on its way to sleep does not wait for the driver to get up:
// it would neither tick nor park meanwhile.
func TestDisplacedPollerDoesNotQueue(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	gen := c.departs.Load()
	c.Lock()
	c.take(NewWaiter())
	c.Unlock()
	c.sleep.mu.Lock() // the driver sleeps
	within(t, "the poller's way back", func() { c.doze(mono.Never, gen) })
	c.sleep.mu.Unlock()
	if len(dev.slept) != 0 || dev.awake.Load() {
		t.Error("the displaced poller slept, or woke the driver")
	}
	c.driver = nil // or Close would wait for it
}

// A core that has something to do does not sleep.
func TestNoSleepWhileThereIsWork(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	for i := range 200 {
		dev.at(0, []byte{byte(2 + i%2)})
	}
	for range 40 {
		h.out[0] = append(h.out[0], []byte{1})
	}
	dev.at(10, []byte{1})
	if o := receive(c, NewWaiter(), &h.boxes[1], mono.Never); o != got {
		t.Fatalf("%v, want got", o)
	}
	if len(dev.slept) != 1 || dev.slept[0] != mono.Never {
		t.Errorf("slept until %v, want once, for ever", dev.slept)
	}
	if n := h.boxes[2].full.Load() + h.boxes[3].full.Load(); n != 200 || len(dev.sent) != 40 {
		t.Errorf("%d frames in, %d out before the sleep, want 200 and 40", n, len(dev.sent))
	}
}

// The sleep ends at the earliest of the waiter's, the handler's and the parked ones' deadline.
func TestSleepEndsAtEarliestDeadline(t *testing.T) {
	h := &fakeHandler{}
	c, dev, clock := manual(t, h)
	fired := mono.Never
	h.timers = []timer{{700, func() { fired = clock.Now() }}}
	if o := receive(c, NewWaiter(), &h.boxes[1], 900); o != late {
		t.Fatalf("%v, want late", o)
	}
	if fired != 700 || clock.Now() != 900 {
		t.Errorf("timer at %d and return at %d, want 700 and 900", fired, clock.Now())
	}
	if len(dev.slept) != 2 || dev.slept[0] != 700 || dev.slept[1] != 900 {
		t.Errorf("slept until %v, want 700 and 900", dev.slept)
	}
}

// While the link keeps frames, the core tries again, less and less often.
func TestUnsentBackoff(t *testing.T) {
	h := &fakeHandler{}
	c, dev, clock := manual(t, h)
	dev.stuck = true
	h.out[0] = [][]byte{{1}}
	if o := receive(c, NewWaiter(), &h.boxes[1], mono.Time(time.Second)); o != late {
		t.Fatalf("%v, want late", o)
	}
	last := mono.Time(0)
	for i, until := range dev.slept[:12] {
		if gap, want := until.Sub(last), min(unsentBackoffMin<<i, unsentBackoffMax); gap != want {
			t.Errorf("try %d after %v, want %v", i, gap, want)
		}
		last = until
	}
	if n := len(dev.slept); n < 100 || n > 120 {
		t.Errorf("%d tries in a second, want one each %v", n, unsentBackoffMax)
	}
	dev.stuck = false
	dev.slept = nil
	if receive(c, NewWaiter(), &h.boxes[1], clock.Now().Add(time.Second)); len(dev.slept) != 1 {
		t.Errorf("%d sleeps after everything was sent, want 1", len(dev.slept))
	}
}

// A link that is slow, not down, is not punished: when frames move, the pauses are
// short again.
func TestBackoffEndsWithProgress(t *testing.T) {
	h := &fakeHandler{}
	c, dev, clock := manual(t, h)
	dev.stuck = true
	h.out[0] = [][]byte{{1}}
	receive(c, NewWaiter(), &h.boxes[1], mono.Time(100*time.Millisecond))
	dev.slept = nil
	h.out[0] = [][]byte{{2}} // there is room again, but the new one is not sent either
	receive(c, NewWaiter(), &h.boxes[1], clock.Now().Add(time.Microsecond))
	h.out[0] = [][]byte{{3}}
	start := clock.Now()
	receive(c, NewWaiter(), &h.boxes[1], clock.Now().Add(time.Second))
	if gap := dev.slept[1].Sub(start); gap != unsentBackoffMin {
		t.Errorf("the first pause after progress is %v, want %v", gap, unsentBackoffMin)
	}
}

// A device without a free frame is asked again: in zero-copy mode nothing tells
// that frames have come back.
func TestNoRoomIsAskedAgain(t *testing.T) {
	h := &fakeHandler{}
	c, dev, clock := manual(t, h)
	dev.room = 0
	h.out[0] = [][]byte{{1}, {2}}
	dev.next = nil
	receive(c, NewWaiter(), &h.boxes[1], mono.Time(time.Millisecond))
	if n := len(dev.slept); n < 4 {
		t.Errorf("%d sleeps in a millisecond without room, want one each 50 us, doubling: %v", n, dev.slept)
	}
	dev.room = 2
	receive(c, NewWaiter(), &h.boxes[1], clock.Now().Add(time.Second))
	if len(dev.sent) != 2 {
		t.Errorf("%d frames sent when there was room, want 2", len(dev.sent))
	}
}

// What a poster could not send while the driver sleeps for ever is tried again.
func TestUnsentBesideSleeper(t *testing.T) {
	for name, post := range map[string]func(c *Core, h *fakeHandler){
		"Post": func(c *Core, h *fakeHandler) { h.ask(c) },
		"Send": func(c *Core, h *fakeHandler) {
			c.Lock()
			h.out[0] = append(h.out[0], []byte{1})
			c.Send(0)
			c.Unlock()
		},
	} {
		for _, why := range []string{"unsent", "no room"} {
			t.Run(name+" "+why, func(t *testing.T) {
				c, d, h := one(t, Efficient)
				h.onAsk = func(int64) { h.out[0] = append(h.out[0], []byte{1}) }
				_, result := goReceive(c, &h.boxes[1], mono.Never)
				eventually(t, "the driver sleeps", func() bool { return d.sleeping.Load() == 1 })
				if why == "unsent" {
					d.setStuck(true)
				} else {
					d.setRoom(0)
				}
				post(c, h)
				time.Sleep(2 * time.Millisecond)
				if d.sentCount() != 0 {
					t.Error("sent without the link's leave")
				}
				d.setStuck(false)
				d.setRoom(-1)
				eventually(t, "the frame is sent when the link takes it", func() bool { return d.sentCount() == 1 })
				h.boxes[1].shut()
				want(t, "the driver", result, shut)
			})
		}
	}
}

// Frames at each of several ports end the sleep on all of them, and so does Attention.
func TestSeveralPorts(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	var fakes []*eventDevice
	var devices []Device
	for i := range 4 {
		fakes = append(fakes, newEventDevice(t, fmt.Sprint("port", i)))
		devices = append(devices, fakes[i])
	}
	c := openCore(t, Config{Devices: devices, Handler: h})
	for i := range 40 {
		_, result := goReceive(c, &h.boxes[1], mono.Never)
		time.Sleep(time.Duration(i*5) * time.Microsecond)
		fakes[i%4].arrive([]byte{1})
		want(t, "receive", result, got)
	}
	for _, d := range fakes {
		if d.waits.Load() != 0 {
			t.Error("a core of several ports slept on one of them")
		}
	}
}

// brokenDevice is one whose descriptor reports an error for ever, as that of a
// deleted TAP does.
type brokenDevice struct {
	*eventDevice
	pipe [2]int
}

func (d *brokenDevice) FD() int { return d.pipe[1] }

// A dead port is left out of the sleep: its descriptor would end it at once, for ever.
func TestDeadPortDoesNotSpin(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	alive := newEventDevice(t, "alive")
	broken := &brokenDevice{eventDevice: newEventDevice(t, "broken")}
	if err := unix.Pipe2(broken.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(broken.pipe[1])
	c := openCore(t, Config{Devices: []Device{alive, broken}, Handler: h, Policy: Efficient, Manual: true})
	unix.Close(broken.pipe[0]) // poll(2) reports POLLERR from here on
	broken.die(errors.New("unplugged"))
	_, result := goReceive(c, &h.boxes[1], mono.Never)
	want(t, "the wait when the port fails", result, shut)
	h.boxes[1].closed.Store(false)
	turns := c.Turns()
	if o := receive(c, NewWaiter(), &h.boxes[1], c.Now().Add(50*time.Millisecond)); o != late {
		t.Errorf("%v, want late", o)
	}
	if n := c.Turns() - turns; n > 20 {
		t.Errorf("%d turns in 50 ms beside a dead port", n)
	}
	_, result = goReceive(c, &h.boxes[1], mono.Never)
	alive.arrive([]byte{1})
	want(t, "the port that lives", result, got)
}

// A port that was the only one, and is dead, leaves a core that keeps its timers, sleeps,
// and can be woken.
func TestDeadOnlyPortSleeps(t *testing.T) {
	c, d, h := one(t, Efficient)
	d.die(errors.New("unplugged"))
	c.CheckPorts()
	h.boxes[1].closed.Store(false)
	d.setDeaf()
	d.arrive([]byte{200}) // Wait returns at once from here on
	turns := c.Turns()
	if o := receive(c, NewWaiter(), &h.boxes[1], c.Now().Add(50*time.Millisecond)); o != late {
		t.Errorf("%v, want late", o)
	}
	if n := c.Turns() - turns; n > 40 {
		t.Errorf("%d turns in 50 ms on a dead port", n)
	}
	for range 50 {
		w, result := goReceive(c, &h.boxes[1], mono.Never)
		settled(t, c, "it drives", is(w), 0)
		h.boxes[1].put()
		want(t, "a wait at a dead core", result, got)
	}
}

// Err may be a system call: it is not asked when frames have come.
func TestErrIsAskedRarely(t *testing.T) {
	c, d, h := one(t, Balanced)
	w := NewWaiter()
	for range 100 {
		d.arrive([]byte{1})
		if o := receive(c, w, &h.boxes[1], mono.Never); o != got {
			t.Fatal(o)
		}
	}
	if n := d.errs.Load(); n > 50 {
		t.Errorf("Err was asked %d times for 100 frames", n)
	}
}

// loopDevice gives back what it is given: the host's own addresses.
type loopDevice struct{ *fakeDevice }

func newLoop(t testing.TB) *loopDevice {
	d := &loopDevice{newFake("loop")}
	d.info.Loop = true
	d.onSent = func(f []byte) { d.arrived = append(d.arrived, f) }
	t.Cleanup(func() { d.check(t) })
	return d
}

func (d *loopDevice) Wait(mono.Time) { d.fault("somebody waits for a loop") }
func (d *loopDevice) Wake()          { d.fault("somebody wakes a loop") }

// A loop needs no descriptor, beside a device in real time and beside one on a
// virtual clock; what is sent to it by another goroutine ends the driver's sleep.
func TestLoopPort(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	c := openCore(t, Config{Devices: []Device{newLoop(t), d}, Handler: h, Policy: Efficient, Manual: true})
	h.onAsk = func(int64) { h.out[0] = append(h.out[0], []byte{1}) }
	for range 20 {
		_, result := goReceive(c, &h.boxes[1], mono.Never)
		eventually(t, "the driver sleeps", func() bool { return d.sleeping.Load() == 1 })
		h.ask(c)
		want(t, "a frame to ourselves", result, got)
	}

	clock := &virtualClock{}
	v := newVirtualDevice(t, clock)
	h = &fakeHandler{}
	c = openCore(t, Config{Devices: []Device{v, newLoop(t)}, Handler: h, Clock: clock, Manual: true})
	h.out[1] = [][]byte{{2}}
	v.at(5, []byte{1})
	if o := receive(c, NewWaiter(), &h.boxes[1], mono.Never); o != got || clock.Now() != 5 || !h.boxes[2].take() {
		t.Errorf("beside a virtual device: %v at %d", o, clock.Now())
	}
}
