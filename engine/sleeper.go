package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A sleeper is how one goroutine sleeps on a descriptor until a time, and how anybody
// wakes it: the Wait and Wake of a device that has a descriptor.
//
// The two agree as Dekker's algorithm does. The sleeper writes asleep and then
// reads woken; who wakes writes woken and then reads asleep. One of them sees the
// other, so either the sleeper does not go to sleep or the descriptor is written.
// Waking who is awake costs no system call.
type sleeper struct {
	woken  atomic.Bool // by wake; taken back by wait
	asleep atomic.Bool // by wait

	fds     [3]unix.PollFd // the device's descriptor, the eventfd, and perhaps another descriptor; the sleeper's alone
	used    int            // of fds
	timeout unix.Timespec  // the sleeper's alone

	slept atomic.Uint64 // times that wait went to sleep: DeviceStats.Wakeups
}

// open makes the descriptor that wake writes. fd is what wait waits for POLLIN on.
func (s *sleeper) open(fd int) error {
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("engine: make the descriptor that wakes a device: %w", err)
	}
	s.fds = [3]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(efd), Events: unix.POLLIN}}
	s.used = 2
	return nil
}

// also makes wait end when another descriptor, a socket, is readable too. It is called
// before the first wait.
func (s *sleeper) also(fd int) {
	s.fds[2] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	s.used = 3
}

// close gives the eventfd back. Nobody waits and nobody wakes any more. It may
// follow an open that failed or was never called.
func (s *sleeper) close() error {
	efd := int(s.fds[1].Fd)
	if efd == 0 {
		return nil
	}
	s.fds[1].Fd = 0
	return unix.Close(efd)
}

// wait sleeps until the descriptor is readable or in error, until wake, or until
// that time of clock. A wake that came before it ends it at once. ready is asked last before
// the sleep, nil where the descriptor tells all. What poll(2) said of the
// descriptor is returned, 0 if nothing: POLLERR is the device's to look into,
// or the next wait would not sleep.
func (s *sleeper) wait(until mono.Time, clock Clock, ready func() bool) (revents int16) {
	s.asleep.Store(true)
	if !s.woken.Load() && (ready == nil || !ready()) {
		revents = s.poll(until, clock)
	}
	s.asleep.Store(false)
	s.woken.Store(false)
	return revents
}

// wake ends a wait that is under way, or the next one.
func (s *sleeper) wake() {
	if s.woken.Swap(true) || !s.asleep.Load() {
		return // others have seen to it, or the sleeper will look at woken before it sleeps
	}
	one := [8]byte{0: 1}
	unix.Write(int(s.fds[1].Fd), one[:]) // EAGAIN: it is readable already
}

// poll is ppoll(2), which sleeps to the nanosecond where poll(2) has milliseconds.
func (s *sleeper) poll(until mono.Time, clock Clock) int16 {
	var timeout *unix.Timespec
	if until != mono.Never {
		left := until.Sub(clock.Now())
		if left <= 0 {
			return 0
		}
		s.timeout = unix.NsecToTimespec(int64(left))
		timeout = &s.timeout
	}
	s.slept.Add(1)
	for i := range s.fds {
		s.fds[i].Revents = 0
	}
	if _, err := unix.Ppoll(s.fds[:s.used], timeout, nil); err != nil {
		if !errors.Is(err, unix.EINTR) { // EINTR is a wake without a reason
			time.Sleep(time.Millisecond) // ENOMEM: sleep all the same, or the caller would spin
		}
		return 0
	}
	if s.fds[1].Revents != 0 {
		var b [8]byte
		unix.Read(int(s.fds[1].Fd), b[:])
	}
	settle(&s.fds[2])
	return s.fds[0].Revents
}

// settle takes an error from a socket, or every later poll would end at once: ENETDOWN,
// when its interface has gone down or away.
func settle(fd *unix.PollFd) {
	if fd.Revents&unix.POLLERR != 0 {
		unix.GetsockoptInt(int(fd.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
	}
}
