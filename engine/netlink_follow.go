package engine

// Read first: netlink(7), rtnetlink(7).

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A follower hears what the kernel tells groups of rtnetlink about one network namespace, on a goroutine
// of its own. [LinkWatcher] and [KernelWatcher] are each one with what they make of it.
type follower struct {
	fd      int
	ask     *netlink.Handle // for questions about the same namespace
	sleeper sleeper
	closed  atomic.Bool
	done    chan struct{}
}

// A listener is whom a follower tells, always on its goroutine.
type listener interface {
	// heard is told what one recvmsg gave; nil: something was lost.
	heard(b []byte)
	// quiet is told that there is nothing more. It does what is due, and returns when it is to be asked
	// again if nothing happens before.
	quiet(now mono.Time) (again mono.Time)
}

const (
	// followBuffer is the socket's receive buffer in bytes: a link's message takes about 4 KiB of
	// it, so it holds some five hundred. Who hears that more were lost asks for everything.
	followBuffer = 2 << 20

	// followMessageMax is the longest the kernel sends at once (NLMSG_GOODSIZE and more,
	// as recvmsg's callers are told to expect).
	followMessageMax = 64 << 10
)

// open opens the sockets, in the calling thread's namespace. What it has opened is closed if it fails.
func (f *follower) open(groups ...uint) (err error) {
	runtime.LockOSThread() // both sockets in one namespace
	defer runtime.UnlockOSThread()
	f.fd, f.done = -1, make(chan struct{})
	defer func() {
		if err != nil {
			err = errors.Join(err, f.release())
		}
	}()
	f.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	// SO_RCVBUFFORCE needs CAP_NET_ADMIN; without it the system's limit holds.
	if unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, followBuffer) != nil {
		unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, followBuffer)
	}
	var set uint32
	for _, group := range groups {
		set |= 1 << (group - 1)
	}
	if err := unix.Bind(f.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: set}); err != nil {
		return fmt.Errorf("netlink socket: bind: %w", err)
	}
	if f.ask, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	return f.sleeper.open(f.fd)
}

// follow tells l until Close. The socket is read empty before l may ask for anything: it does not
// say ENOBUFS again before it was empty, so what is lost while l asks is heard of afterwards.
func (f *follower) follow(l listener) {
	defer close(f.done)
	buf := make([]byte, followMessageMax)
	for !f.closed.Load() {
		n, from, err := unix.Recvfrom(f.fd, buf, 0)
		switch {
		case err == nil:
			if k, ok := from.(*unix.SockaddrNetlink); ok && k.Pid == 0 { // the kernel and no other process
				l.heard(buf[:n])
			}
		case err == unix.ENOBUFS:
			l.heard(nil)
		default: // EAGAIN; nothing else is known to happen
			f.sleeper.wait(l.quiet(SystemClock.Now()), SystemClock, nil)
		}
	}
}

// Close ends the watching. When it returns no report is under way and none will come.
// Closing twice is harmless.
func (f *follower) Close() error {
	if f.closed.Swap(true) {
		<-f.done
		return nil
	}
	f.sleeper.wake()
	<-f.done
	return f.release()
}

func (f *follower) release() error {
	if f.ask != nil {
		f.ask.Close()
	}
	err := f.sleeper.close()
	if f.fd >= 0 {
		err = errors.Join(err, unix.Close(f.fd))
	}
	return err
}
