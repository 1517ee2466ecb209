package socketapi

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Read first: pselect(2), signal(7); minitSignalMask in package runtime.

// masked calls f on a thread whose signals are blocked as mask says and no other, as pselect, ppoll and epoll_pwait have
// them while they wait; nil leaves them as they are. A signal that comes meanwhile runs its handler, which in a Go program
// is package os/signal's, on this thread or another; other than in C it does not end the call with EINTR.
func masked(mask *unix.Sigset_t, f func() (int, error)) (n int, err error) {
	if mask == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, mask, &before); err != nil {
		return -1, err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // it cannot fail
	return f()
}
