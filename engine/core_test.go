package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// manual opens a core that only the test turns, over one virtual device.
func manual(t *testing.T, h *fakeHandler) (*Core, *virtualDevice, *virtualClock) {
	t.Helper()
	clock := &virtualClock{}
	dev := newVirtualDevice(t, clock)
	return openCore(t, Config{Devices: []Device{dev}, Handler: h, Clock: clock, Manual: true}), dev, clock
}

func TestOpenRefuses(t *testing.T) {
	dev := newVirtualDevice(t, &virtualClock{})
	h := &fakeHandler{}
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":             {Config{}, "needs a handler"},
		"no device":           {Config{Handler: h}, "at least one device"},
		"no handler":          {Config{Devices: []Device{dev}}, "needs a handler"},
		"batch too large":     {Config{Handler: h, Devices: []Device{dev}, Batch: 65}, "batch 65"},
		"negative batch":      {Config{Handler: h, Devices: []Device{dev}, Batch: -1}, "batch -1"},
		"negative pause":      {Config{Handler: h, Devices: []Device{dev}, Coalesce: -1}, "coalesce -1ns"},
		"pause too long":      {Config{Handler: h, Devices: []Device{dev}, Coalesce: time.Second}, "coalesce 1s"},
		"two without a descr": {Config{Handler: h, Devices: []Device{dev, dev}}, "only device"},
	} {
		if c, err := Open(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, tt.want)
			if c != nil {
				c.Close()
			}
		}
	}
	if dev.closed.Load() {
		t.Error("Open failed and closed a device that was not its own")
	}
}

func TestTurnOrder(t *testing.T) {
	h := &fakeHandler{logs: true}
	var ports []Device
	for i := range 2 {
		d := newEventDevice(t, fmt.Sprint("port", i))
		d.arrive([]byte{1}, []byte{2})
		ports = append(ports, d)
	}
	c := openCore(t, Config{Devices: ports, Handler: h, Manual: true})
	h.out[1] = [][]byte{{9}}
	if work := c.Turn(); work != 5 {
		t.Errorf("work %d, want 4 frames in and 1 out", work)
	}
	want := []string{
		"Input(0, 2)", "Input(1, 2)", "Advance",
		"Output(0, 1)",
		"Output(1, 1)", "Output(1, 8)", // one was taken of one: ask for more
		"Wake",
	}
	if !reflect.DeepEqual(h.log, want) {
		t.Errorf("order\n%q, want\n%q", h.log, want)
	}
	if got := c.Turns(); got != 1 {
		t.Errorf("Turns() = %d after one", got)
	}
}

func TestLendingCounts(t *testing.T) {
	frames := func(n int) (fs [][]byte) {
		for i := range n {
			fs = append(fs, []byte{byte(i), byte(i >> 8)})
		}
		return fs
	}
	for _, tt := range []struct {
		say, room, batch int
		want             []submit
	}{
		{0, -1, 0, nil},
		{1, -1, 0, []submit{{1, 1}}},
		{2, -1, 0, []submit{{1, 1}, {1, 8}}},
		{9, -1, 0, []submit{{1, 1}, {8, 8}}},
		{65, -1, 0, []submit{{1, 1}, {8, 8}, {56, 64}}},
		{80, -1, 0, []submit{{1, 1}, {8, 8}, {64, 64}}}, // the rest is the next turn's
		{70, 10, 0, []submit{{1, 1}, {8, 8}, {1, 1}}},
		{5, 1, 0, []submit{{1, 1}}},
		{5, 0, 0, nil},
		{9, -1, 4, []submit{{1, 1}, {4, 4}}},
		{9, -1, 1, []submit{{1, 1}}},
	} {
		t.Run(fmt.Sprintf("say %d room %d batch %d", tt.say, tt.room, tt.batch), func(t *testing.T) {
			h := &fakeHandler{}
			clock := &virtualClock{}
			dev := newVirtualDevice(t, clock)
			dev.room = tt.room
			c := openCore(t, Config{Devices: []Device{dev}, Handler: h, Clock: clock, Manual: true, Batch: tt.batch})
			h.out[0] = frames(tt.say)
			c.Turn()
			if !reflect.DeepEqual(dev.submits, tt.want) {
				t.Errorf("Submit calls (frames, reserved) %v, want %v", dev.submits, tt.want)
			}
			for i, f := range dev.sent {
				if f[0] != byte(i) {
					t.Fatalf("frame %d went out as number %d", f[0], i)
				}
			}
		})
	}
}

// A turn begins with the lot that the last one needed, so that a steady stream costs
// one Submit a turn.
func TestLotsFollowTheStream(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	var got [][]submit
	for _, say := range []int{1, 64, 64, 20, 8, 3, 1, 1, 0, 2, 2} {
		for range say {
			h.out[0] = append(h.out[0], []byte{1})
		}
		dev.submits = nil
		c.Turn()
		got = append(got, dev.submits)
	}
	want := [][]submit{
		{{1, 1}}, {{1, 1}, {8, 8}, {55, 64}}, {{64, 64}}, {{20, 64}}, {{8, 64}}, {{3, 8}}, {{1, 8}}, {{1, 1}}, nil, {{1, 1}, {1, 8}}, {{2, 8}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Submit calls (frames, reserved) of the turns\n%v, want\n%v", got, want)
	}
}

// A kept frame goes out in a reserved frame's slot, or back by Free; the others go
// back by Release.
func TestKeptFrames(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	var keep []Frame
	h.onInput = func(_ int, frames []Frame) {
		for i := range frames {
			if frames[i].Data[0] != 2 {
				frames[i].Keep()
				keep = append(keep, frames[i])
			}
		}
	}
	h.onOutput = func(_ int, frames []Frame) int {
		if len(keep) < 2 {
			return 0
		}
		frames[0], keep = keep[0], keep[1:]
		return 1
	}
	dev.at(0, []byte{1})
	dev.at(0, []byte{2})
	dev.at(0, []byte{3})
	c.Turn()
	if len(dev.sent) != 1 || dev.sent[0][0] != 1 {
		t.Errorf("sent %v, want frame 1", dev.sent)
	}
	if len(keep) != 1 || len(dev.kept) != 1 {
		t.Errorf("the handler keeps %d, the device knows %d, want 1 and 1", len(keep), len(dev.kept))
	}
	c.Lock()
	c.Port(0).Free(keep[0])
	c.Unlock()
	if len(dev.kept) != 0 {
		t.Errorf("%d frames are kept after Free", len(dev.kept))
	}
}

func TestUnsentIsSubmittedAgain(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	dev.stuck = true
	h.out[0] = [][]byte{{7}}
	c.Turn()
	for _, room := range []int{-1, 0} { // with frames to show, and without
		dev.submits, dev.room = nil, room
		c.Turn()
		if len(dev.submits) != 1 || dev.submits[0].frames != 0 {
			t.Errorf("room %d: Submit calls %v, want one of no frames while there are unsent ones", room, dev.submits)
		}
	}
	dev.stuck = false
	c.Turn()
	dev.submits = nil
	c.Turn()
	if len(dev.sent) != 1 || len(dev.submits) != 0 {
		t.Errorf("sent %v, and Submit calls %v after it, want one frame and none", dev.sent, dev.submits)
	}
}

func TestSendIsOneShortWay(t *testing.T) {
	h := &fakeHandler{logs: true}
	c, dev, _ := manual(t, h)
	c.Lock()
	h.out[0] = [][]byte{{1}}
	c.Send(0)
	c.Unlock()
	if len(dev.sent) != 1 || h.advances != 0 {
		t.Errorf("sent %d frames, advanced %d times, want 1 and 0", len(dev.sent), h.advances)
	}
}

// Post while the core is free does the work at once; while it is held, the holder
// does it when it lets go.
func TestPost(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	h.onAsk = func(n int64) { h.out[0] = append(h.out[0], []byte{byte(n)}) }
	h.ask(c)
	if len(dev.sent) != 1 {
		t.Fatal("Post at a free core sent nothing")
	}
	for name, release := range map[string]func(){"Unlock": c.Unlock, "CheckPorts": func() {
		c.mu.Unlock()
		hold := make(chan struct{})
		dev.fakeDevice.onErr = func() { h.ask(c); close(hold) }
		c.CheckPorts()
		<-hold
	}} {
		before := len(dev.sent)
		c.Lock()
		if name == "Unlock" {
			h.ask(c)
			if len(dev.sent) != before {
				t.Fatal("Post did the work beside the holder of the lock")
			}
		}
		release()
		if len(dev.sent) != before+1 {
			t.Errorf("%s left what was posted while the lock was held", name)
		}
	}
}

// Many post and lock at once: every request is seen, without anybody waiting for it.
func TestPostStress(t *testing.T) {
	for range 20 {
		h := &fakeHandler{}
		c, _, _ := manual(t, h)
		const each = 500
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range each {
					if i == 0 {
						c.Lock()
						c.Now() // any short use of the lock
						c.Unlock()
						continue
					}
					h.ask(c)
				}
			})
		}
		within(t, "posting", wg.Wait)
		if seen := h.seen.Load(); seen != 3*each {
			t.Fatalf("%d of %d requests were seen when everybody had gone", seen, 3*each)
		}
	}
}

func TestPortFailed(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	d0, d1 := newEventDevice(t, "port0"), newEventDevice(t, "port1")
	c := openCore(t, Config{Devices: []Device{d0, d1}, Handler: h})
	result := make(chan outcome, 2)
	for range 2 { // one drives, one is parked
		go func() { result <- receive(c, NewWaiter(), &h.boxes[1], mono.Never) }()
	}
	eventually(t, "both wait", func() bool {
		return locked(c, func() bool { return c.parked.head != nil && c.driver != nil })
	})
	d1.die(fmt.Errorf("port1: %w", unix.ENETDOWN))
	c.CheckPorts()
	c.CheckPorts()
	for range 2 {
		within(t, "a wait at a dead port", func() {
			if got := <-result; got != shut {
				t.Errorf("the wait ended with %v, want shut", got)
			}
		})
	}
	locked(c, func() bool {
		if want := []string{"1: port1: network is down"}; !reflect.DeepEqual(h.failures, want) {
			t.Errorf("PortFailed heard %q, want %q", h.failures, want)
		}
		return true
	})
}

// What is to leave by a device that has died goes nowhere, and does not wait there: the device has no room, and frames
// of before that it never sends.
func TestADeadPortHoldsNothingUp(t *testing.T) {
	h := &fakeHandler{}
	d0, d1 := newEventDevice(t, "port0"), newEventDevice(t, "port1")
	c := openCore(t, Config{Devices: []Device{d0, d1}, Handler: h, Manual: true})
	d1.setRoom(0)
	d1.setStuck(true)
	h.out[0], h.out[1] = nil, [][]byte{{1}, {2}, {3}}
	if c.Turn(); len(h.out[1]) != 3 || !c.sleep.held {
		t.Fatalf("%d wait for room", len(h.out[1]))
	}
	d1.die(unix.ENETDOWN)
	c.CheckPorts()
	h.out[0] = [][]byte{{1}}
	if c.Turn(); len(h.out[1]) != 0 || c.sleep.held || d0.sentCount() != 1 || d1.sentCount() != 0 {
		t.Errorf("%d wait, held %v, %d and %d were sent", len(h.out[1]), c.sleep.held, d0.sentCount(), d1.sentCount())
	}
}

// probedDevice knows that it has died only when it is asked in earnest.
type probedDevice struct{ *eventDevice }

func (d *probedDevice) Err() error   { return nil }
func (d *probedDevice) Probe() error { return d.eventDevice.Err() }

func TestCheckPortsProbes(t *testing.T) {
	h := &fakeHandler{}
	d := &probedDevice{newEventDevice(t, "port")}
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Manual: true})
	d.die(unix.ENETDOWN)
	c.CheckPorts()
	if len(h.failures) != 1 {
		t.Errorf("PortFailed heard %q, want one failure", h.failures)
	}
}

// A device that ends by itself while a driver sleeps on it is heard of without
// anybody's CheckPorts, when the sleep ends; and asking it costs nothing while it works.
func TestPortFailedIsSeenBySleeper(t *testing.T) {
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Policy: Efficient})
	result := make(chan outcome, 1)
	go func() { result <- receive(c, NewWaiter(), &h.boxes[1], mono.Never) }()
	eventually(t, "the driver sleeps", func() bool { return d.sleeping.Load() == 1 })
	d.die(errors.New("unplugged"))
	d.Wake()
	within(t, "the wait", func() {
		if got := <-result; got != shut {
			t.Errorf("the wait ended with %v, want shut", got)
		}
	})
}

func TestCloseTwiceAndAfter(t *testing.T) {
	h := &fakeHandler{}
	d0, d1 := newEventDevice(t, "port0"), newEventDevice(t, "port1")
	c := openCore(t, Config{Devices: []Device{d0, d1}, Handler: h})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	// Nobody knows that the core is closed: all of it is harmless.
	if receive(c, NewWaiter(), &h.boxes[1], mono.Never) != gone {
		t.Error("Wait at a closed core waited")
	}
	h.ask(c)
	c.Lock()
	c.Send(1)
	c.Flush()
	c.Unlock()
	c.Turn()
	c.CheckPorts()
	c.Attention()
	if c.Ports() != 2 || c.Port(1).Info().Name != "port1" {
		t.Error("a closed core has forgotten its ports")
	}
	if !d0.closed.Load() || !d1.closed.Load() {
		t.Error("a device is still open")
	}
}

// Somebody may be about to wake a sleeper whose device is closed meanwhile: the
// descriptor may be a stranger's by then.
func TestAttentionBesideClose(t *testing.T) {
	for range 200 {
		h := &fakeHandler{}
		n := 1 + int(time.Now().UnixNano()%2)
		var ports []Device
		for i := range n {
			ports = append(ports, newEventDevice(t, fmt.Sprint("port", i)))
		}
		c, err := Open(Config{Devices: ports, Handler: h, Policy: Efficient, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { receive(c, NewWaiter(), &h.boxes[1], mono.Never) })
		for range 2 {
			wg.Go(func() {
				for !locked(c, func() bool { return c.closed }) {
					c.Attention()
				}
				for range 20 {
					c.sleep.asleep.Store(true) // as it was when the caller looked
					c.sleep.wanted.Store(false)
					c.Attention()
				}
			})
		}
		within(t, "Close", func() { c.Close() })
		within(t, "the rest", wg.Wait)
	}
}

// A frame that comes just after a turn of few waits for the pause, whoever drives.
func TestCoalesce(t *testing.T) {
	h := &fakeHandler{}
	dev := newEventDevice(t, "port")
	var turns []time.Time
	done := make(chan struct{})
	h.onInput = func(_ int, frames []Frame) {
		if turns = append(turns, time.Now()); len(turns) < 4 {
			dev.arrive([]byte{1})
		} else if len(turns) == 4 {
			close(done)
		}
	}
	c := openCore(t, Config{Devices: []Device{dev}, Handler: h, Coalesce: CoalesceMax})
	dev.arrive([]byte{1})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the frames did not come")
	}
	c.Lock()
	defer c.Unlock()
	for i := range turns[1:] {
		if gap := turns[i+1].Sub(turns[i]); gap < CoalesceMax {
			t.Errorf("turn %d came %v after the one before, want %v at least", i+1, gap, CoalesceMax)
		}
	}
}
