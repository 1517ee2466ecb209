package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// polls says whether the poller has the role.
func (c *Core) polls() bool { return locked(c, func() bool { return c.driver == &c.poller.role }) }

// Nobody waits: the poller turns the core, frame by frame, timer by timer.
func TestPollerDrivesAlone(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, d, h := one(t, policy)
			eventually(t, "the poller drives", c.polls)
			for i := int64(1); i <= 20; i++ {
				d.arrive([]byte{1})
				eventually(t, "the frame is taken", func() bool { return h.boxes[1].full.Load() == i })
			}
			fired := make(chan struct{})
			h.onAsk = func(int64) { c.handlerTimer(h, 2*time.Millisecond, func() { close(fired) }) }
			h.ask(c)
			within(t, "the timer", func() { <-fired })
		})
	}
}

// A caller displaces the poller at once, and is served by its own turns.
func TestPollerIsDisplaced(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, d, h := one(t, policy)
			for range 5 {
				eventually(t, "the poller drives", c.polls)
				w, result := goReceive(c, &h.boxes[1], mono.Never)
				settled(t, c, "the caller drives", is(w), 0)
				d.arrive([]byte{1})
				want(t, "receive", result, got)
			}
		})
	}
}

// While one caller drives on and on the poller costs nothing; when it stops, the poller
// is back.
func TestPollerParksAndComesBack(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, d, h := one(t, policy)
			for range 3 {
				_, result := goReceive(c, &h.boxes[1], mono.Never)
				eventually(t, "the poller parks", func() bool {
					return locked(c, func() bool { return c.poller.parked })
				})
				d.arrive([]byte{1})
				want(t, "receive", result, got)
				eventually(t, "the poller drives", c.polls)
				n := h.boxes[2].full.Load()
				d.arrive([]byte{2})
				eventually(t, "the poller takes a frame", func() bool { return h.boxes[2].full.Load() == n+1 })
			}
		})
	}
}

// A poller that would never come back to look is none: Manual leaves it out.
func TestManualHasNoPoller(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	d := newEventDevice(t, "port")
	c := openCore(t, Config{Devices: []Device{d}, Handler: h, Manual: true})
	d.arrive([]byte{1})
	time.Sleep(5 * pollTick)
	if c.Turns() != 0 || h.boxes[1].full.Load() != 0 {
		t.Error("a manual core turned by itself")
	}
}

// Close joins the poller in each of its states.
func TestCloseInEachStateOfPoller(t *testing.T) {
	for _, policy := range []Policy{Balanced, Latency, Efficient} {
		for _, state := range []string{"ticking", "driving", "busy", "parked", "displaced"} {
			t.Run(fmt.Sprint(policy, " ", state), func(t *testing.T) {
				c, d, h := one(t, policy)
				var result chan outcome
				switch state {
				case "driving":
					eventually(t, "the poller drives", c.polls)
				case "busy":
					c.Lock()
					h.onOutput = func(_ int, frames []Frame) int { // it never ends
						clear(frames[0].Data[:1])
						frames[0].Data = frames[0].Data[:1]
						return 1
					}
					d.onSent = func([]byte) { d.sent = d.sent[:0] }
					c.Unlock()
					eventually(t, "the poller drives", c.polls)
				case "parked":
					_, result = goReceive(c, &h.boxes[1], mono.Never)
					eventually(t, "the poller parks", func() bool { return locked(c, func() bool { return c.poller.parked }) })
				case "displaced":
					eventually(t, "the poller drives", c.polls)
					_, result = goReceive(c, &h.boxes[1], mono.Never)
				}
				within(t, "Close", func() { c.Close() })
				if result != nil {
					want(t, "the caller", result, gone)
				}
			})
		}
	}
}
