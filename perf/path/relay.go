// Package path is a long way between two network interfaces of this kernel: a relay that
// loses, delays, reorders and queues the frames that pass between two TAP devices.
//
// In go frames that the kernel sends on one device; out come, on the other, those that a
// [simnet.Impairment] let through, when they are due on the machine's own clock. So the path is the very
// one that simulations have, with the same seeds, and a kernel can stand at either end. It must never
// change a frame but as the impairment says, and never hold one longer than the machine
// makes it: each has its own absolute time, and a late one makes none after it late.
package path

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

const (
	// frameMax is the longest frame that passes, in bytes: a TAP with the usual MTU, its header and VLAN tags.
	frameMax = 2048

	// burstMax is how many frames are taken from one device before the other has its turn, and what is due goes out.
	burstMax = 64

	// sleepMax bounds a sleep, so that a missed wake costs no more than this.
	sleepMax = 100 * time.Millisecond
)

// A Relay joins two TAP devices. Its methods may be called by anyone.
type Relay struct {
	taps   [2]*netlab.Tap
	closed atomic.Bool
	done   chan struct{}
	begun  time.Time

	mu    sync.Mutex // below, held while frames are moved and not while waiting
	clock simnet.Clock
	wire  *simnet.Wire
	buf   [frameMax]byte
	err   error
	late  time.Duration // the longest that a frame went out after its time
}

// New joins two devices of one queue each by a path that does nothing to frames yet. They stay their owner's.
func New(a, b *netlab.Tap) (*Relay, error) {
	for _, t := range []*netlab.Tap{a, b} {
		if len(t.FDs) != 1 {
			return nil, fmt.Errorf("path: %s has %d queues, want 1", t.Name, len(t.FDs))
		}
	}
	r := &Relay{taps: [2]*netlab.Tap{a, b}, done: make(chan struct{}), begun: time.Now()}
	if err := r.Impair(simnet.Config{}); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

// Impair makes the path another one. What is on its way is lost.
func (r *Relay) Impair(c simnet.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock, r.late = simnet.Clock{}, 0
	r.clock.MoveTo(mono.Time(time.Since(r.begun)))
	w, err := simnet.NewWire(&r.clock, c)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	r.wire = w
	return nil
}

// Late is the longest that a frame went out after its time since Impair: how far this run can be trusted.
func (r *Relay) Late() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late
}

// Stats counts what each end of the path has sent since Impair.
func (r *Relay) Stats() (a, b simnet.Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wire.A.Stats(), r.wire.B.Stats()
}

// Settle waits until nothing has passed for a while, or at most for long, so that the next path's losses do not fall on what the
// connections before it still have to say.
func (r *Relay) Settle(while, long time.Duration) {
	sent := func() uint64 {
		a, b := r.Stats()
		return a.Sent + b.Sent
	}
	end := time.Now().Add(long)
	for last := sent(); time.Now().Before(end); {
		time.Sleep(while)
		now := sent()
		if now == last {
			return
		}
		last = now
	}
}

// Close ends the relay, and says what went wrong with it. The devices stay.
func (r *Relay) Close() error {
	r.closed.Store(true)
	<-r.done
	return r.err
}

// run moves frames until Close. It has a thread of its own, whose timers are exact and which runs before any
// that is not real-time, where the process may ask for that: where it may not, Late tells what came of it.
func (r *Relay) run() {
	defer close(r.done)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its timer slack with it
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		r.err = fmt.Errorf("path: timer slack: %w", err)
		return
	}
	unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	fds := make([]unix.PollFd, len(r.taps))
	for i, t := range r.taps {
		fds[i] = unix.PollFd{Fd: int32(t.FDs[0]), Events: unix.POLLIN}
	}
	for !r.closed.Load() {
		sleep, err := r.turn()
		if err == nil && sleep > 0 {
			ts := unix.NsecToTimespec(int64(sleep))
			if _, err = unix.Ppoll(fds, &ts, nil); errors.Is(err, unix.EINTR) {
				err = nil
			}
		}
		if err != nil {
			r.err = fmt.Errorf("path: %w", err)
			return
		}
	}
}

// turn takes in what the devices have and lets out what is due. It returns how long nothing will be.
func (r *Relay) turn() (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	work := 0
	ends := [2]*simnet.End{r.wire.A, r.wire.B}
	for i, end := range ends {
		for range burstMax {
			n, err := unix.Read(r.taps[i].FDs[0], r.buf[:])
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", r.taps[i].Name, err)
			}
			r.clock.MoveTo(mono.Time(time.Since(r.begun)))
			end.Send(r.buf[:n])
			work++
		}
	}
	now := mono.Time(time.Since(r.begun))
	r.clock.MoveTo(now)
	for i, end := range ends {
		for end.Ready() {
			r.late = max(r.late, now.Sub(end.Next()))
			n, _ := end.Recv(r.buf[:])
			// A device that is down or full loses the frame, as a cable does.
			if _, err := unix.Write(r.taps[i].FDs[0], r.buf[:n]); err != nil && !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
				return 0, fmt.Errorf("write %s: %w", r.taps[i].Name, err)
			}
			work++
		}
	}
	if work > 0 {
		return 0, nil
	}
	return min(r.clock.Next().Sub(now), sleepMax), nil
}
