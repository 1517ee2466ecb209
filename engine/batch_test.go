package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// While the driver lets those run whom it woke, what they post goes out together, and at the
// latest when one of them was at work for postGap or the first of it has waited for postAge.
func TestPostsOfWokenGoTogether(t *testing.T) {
	h := &fakeHandler{}
	c, _, clock := manual(t, h)
	c.batch.yielding.Store(true)
	c.coming.Store(9)
	for round := range 3 {
		for i := range postBatch - 1 {
			h.ask(c)
			c.Lock()
			c.Now() // a short use of the lock does not end the batch
			c.Unlock()
			if seen := h.seen.Load(); seen != int64(round*postBatch) {
				t.Fatalf("post %d of round %d: %d were seen", i, round, seen)
			}
		}
		h.ask(c)
		if seen := h.seen.Load(); seen != int64((round+1)*postBatch) {
			t.Fatalf("a full batch of round %d: %d were seen", round, seen)
		}
	}

	h.ask(c)
	before := h.seen.Load()
	h.boxes[1].put()
	receive(c, NewWaiter(), &h.boxes[1], mono.Never)
	if h.seen.Load() != before {
		t.Error("one that came at once ended the batch")
	}
	comes := func(later time.Duration) int64 {
		clock.now.Add(int64(later))
		h.boxes[1].put()
		receive(c, NewWaiter(), &h.boxes[1], mono.Never)
		return h.seen.Load()
	}
	if comes(postGap) != before+1 {
		t.Error("a batch was not sent by one that came late")
	}

	before = h.seen.Load()
	h.ask(c)
	waited := time.Duration(0)
	for ; waited+postGap-1 < postAge; waited += postGap - 1 {
		if comes(postGap-1) != before {
			t.Fatalf("a batch was sent after %v, by one that came in time", waited)
		}
	}
	if comes(postAge-waited) != before+1 {
		t.Error("a batch that had waited was not sent by one that came")
	}
	before = h.seen.Load()

	c.coming.Store(0) // the last of them
	h.ask(c)
	if h.seen.Load() != before+1 {
		t.Error("the last one to come left its post to the driver")
	}
	c.coming.Store(9)
	h.ask(c)
	c.batch.yielding.Store(false)
	c.Lock()
	c.Now()
	c.Unlock()
	if h.seen.Load() != before+2 {
		t.Error("a batch was left when its driver no longer yielded")
	}
	c.coming.Store(0)
}

// Each of many that are woken by one turn posts an answer. All answers go out without
// anything else happening.
func TestAnswersOfManyGoOut(t *testing.T) {
	const many = 40
	for _, policy := range []Policy{Balanced, Efficient} {
		t.Run(policy.String(), func(t *testing.T) {
			c, d, h := one(t, policy)
			var callers sync.WaitGroup
			for i := range many {
				callers.Go(func() {
					w := NewWaiter()
					for receive(c, w, &h.boxes[i], mono.Never) == got {
						h.ask(c)
					}
				})
			}
			for round := int64(1); round <= 30; round++ {
				frames := make([][]byte, many)
				for i := range frames {
					frames[i] = []byte{byte(i)}
				}
				d.arrive(frames...)
				eventually(t, "every answer is sent", func() bool { return h.seen.Load() == round*many })
			}
			for i := range many {
				h.boxes[i].shut()
			}
			within(t, "the end", callers.Wait)
		})
	}
}

// The first to run of those who were woken waits for what the others have to say, and none of it is left behind.
func TestFirstOfWokenGathers(t *testing.T) {
	h := &fakeHandler{}
	c, _, _ := manual(t, h)
	c.coming.Store(9) // they are still to run
	together := 0
	for round := int64(1); round <= 200; round++ {
		var other sync.WaitGroup
		var ready atomic.Bool
		other.Go(func() {
			ready.Store(true)
			for i := 0; i < 1000 && !c.batch.yielding.Load(); i++ {
				runtime.Gosched()
			}
			h.ask(c)
		})
		for !ready.Load() {
			runtime.Gosched()
		}
		turns := c.Turns()
		h.ask(c)
		other.Wait()
		if seen := h.seen.Load(); seen != 2*round {
			t.Fatalf("round %d: %d posts were seen", round, seen)
		}
		if c.Turns() == turns+1 {
			together++
		}
	}
	if together == 0 {
		t.Error("two posts never went out together")
	}
	if c.batch.yielding.Load() {
		t.Error("nobody posts, and one is said to yield")
	}
	c.coming.Store(0)
}
