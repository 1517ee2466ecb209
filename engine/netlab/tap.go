package netlab

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Tap is an interface whose other end is descriptors of this process.
type Tap struct {
	*Link
	// FDs are nonblocking, one a queue: a write is a frame that the kernel
	// receives, a read one that it sent. They are raw descriptors, unknown to
	// the runtime's poller. The link lives as long as one of them is open.
	FDs []int

	here   *NS // what stood for a nil NS, ours to close
	closed atomic.Bool
}

// NewTap makes a TAP interface (frames begin with an Ethernet header).
func NewTap(e End) (*Tap, error) { return newTap(e, unix.IFF_TAP) }

// NewTun makes a TUN interface (packets begin with an IP header). It has no MAC.
func NewTun(e End) (*Tap, error) { return newTap(e, unix.IFF_TUN) }

func newTap(e End, kind uint16) (t *Tap, err error) {
	if e.Name == "" {
		e.Name = fmt.Sprintf("lab%x", serial())
	}
	t = &Tap{}
	defer func() {
		if err != nil {
			t.Close()
			t = nil
		}
	}()
	if e.NS == nil {
		if t.here, err = Current(); err != nil {
			return t, err
		}
		e.NS = t.here
	}
	t.Link = &Link{NS: e.NS, Name: e.Name}
	flags := kind | unix.IFF_NO_PI
	if e.queues() > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	err = e.NS.Do(func() error {
		for range e.queues() {
			fd, err := openTap(e.Name, flags)
			if err != nil {
				return fmt.Errorf("netlab: tap %s: %w", e.Name, err)
			}
			t.FDs = append(t.FDs, fd)
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	if e.MAC != nil && kind == unix.IFF_TAP {
		if err := t.setMAC(e.MAC); err != nil {
			return t, err
		}
	}
	if e.MTU != 0 {
		if err := t.SetMTU(e.MTU); err != nil {
			return t, err
		}
	}
	if err := t.configure(e); err != nil {
		return t, err
	}
	return t, cmp.Or(t.bringUp(e), t.settle(e))
}

// Close closes the descriptors, which removes the link. Closing twice is harmless.
func (t *Tap) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, fd := range t.FDs {
		errs = append(errs, unix.Close(fd))
	}
	if t.here != nil {
		t.here.Close()
	}
	return errors.Join(errs...)
}

// openTap attaches one descriptor to the interface of that name, which it makes
// if need be, in the namespace of the calling thread.
func openTap(name string, flags uint16) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("TUNSETIFF: %w", err)
	}
	return fd, nil
}
