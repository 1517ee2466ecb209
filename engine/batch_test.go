package engine

import (
	"sync"
	"testing"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// While the driver lets those run whom it woke, what they post goes out together, and at the
// latest when the first of it has waited for postAge.
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
	clock.now.Add(int64(postAge))
	h.boxes[1].put()
	receive(c, NewWaiter(), &h.boxes[1], mono.Never)
	if h.seen.Load() != before+1 {
		t.Error("a batch that had waited was not sent by one that came")
	}

	c.coming.Store(0) // the last of them
	h.ask(c)
	if h.seen.Load() != before+2 {
		t.Error("the last one to come left its post to the driver")
	}
	c.coming.Store(9)
	h.ask(c)
	c.batch.yielding.Store(false)
	c.Lock()
	c.Now()
	c.Unlock()
	if h.seen.Load() != before+3 {
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
