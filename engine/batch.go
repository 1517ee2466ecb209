package engine

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A batch is what woken programs have posted (answers, most often) while the driver, or the first of
// them, lets them run. It is sent when they have all run, or when there are postBatch: the
// other end is woken once for them, and a system call goes out once.
type batch struct {
	yielding atomic.Bool  // somebody will send when it runs next
	posts    atomic.Int32 // left to it
	since    atomic.Int64 // mono.Time of the first of them
	came     atomic.Int64 // mono.Time of the last look of one who came back for more, or of the first of them
}

// postBatch is how many posts go out together. A program that is quick about its answers has the others
// wait for it, up to postAge; one that computes for longer than postGap sends what has gathered
// when it comes back, since the system call is little beside that. One that keeps its processor
// holds all of them up until it is preempted, after 10 ms.
//
// Measured with net/http, 64 connections, transactions to those of kernel sockets, medians of 8 rounds:
// 1.12 with 4 posts of 50 us at most, 1.40 with 16, 1.41 with 32 (processor time a request 0.74, 0.66, 0.64);
// with an echo instead, whose answers cost a tenth, 1.88, 1.77 and 1.74.
const (
	postBatch = 32
	postGap   = 50 * time.Microsecond
	postAge   = time.Millisecond
)

// open says whether the batch has begun and there is somebody to come who may add to it.
func (b *batch) open(coming *atomic.Int32) bool {
	return b.posts.Load() > 0 && b.yielding.Load() && coming.Load() > 0
}

// leave says whether what was posted is left to who yields. It was posted before: who yields says first
// that it no longer does, and looks at what is posted after it.
func (c *Core) leave() bool {
	b := &c.batch
	if !b.yielding.Load() || c.coming.Load() == 0 {
		return false
	}
	return b.add(c.clock) < postBatch
}

// gather begins a batch where the driver does not yield: the first to run of those who were woken lets the others
// run before what it has posted is sent, and they leave theirs to it. The lock is not held.
//
// Measured with net/http as above, 20 rounds, together with the driver's yield before its turn (drive.go): 1.09 times
// the rate, 0.87 of the processor time a request.
func (c *Core) gather() {
	b := &c.batch
	if c.coming.Load() > 0 && b.yielding.CompareAndSwap(false, true) {
		b.add(c.clock)
		runtime.Gosched()
		b.yielding.Store(false)
	}
}

// add counts a post, and says how many there are.
func (b *batch) add(clock Clock) int32 {
	n := b.posts.Add(1)
	if n == 1 {
		now := int64(clock.Now())
		b.since.Store(now)
		b.came.Store(now)
	}
	return n
}

// overdue says whether the batch has waited long enough, to one who comes back for more at now. The lock is held.
func (b *batch) overdue(now mono.Time) bool {
	if b.posts.Load() == 0 {
		return false
	}
	gap := now.Sub(mono.Time(b.came.Swap(int64(now))))
	return gap >= postGap || now.Sub(mono.Time(b.since.Load())) >= postAge
}
