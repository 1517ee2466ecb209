package socketapi

import (
	"time"

	"golang.org/x/sys/unix"
)

// Read first: select(2); do_select in fs/select.c.

// What of poll(2) is which of the three sets.
const (
	selectIn     = unix.EPOLLRDNORM | unix.EPOLLRDBAND | unix.POLLIN | unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
	selectOut    = unix.EPOLLWRBAND | unix.EPOLLWRNORM | unix.POLLOUT | unix.POLLERR | unix.POLLNVAL
	selectExcept = unix.POLLPRI | unix.POLLNVAL
)

// Select waits until one of the descriptors below nfd that are in r can be read, in w written, or in e
// has urgent data, or for the timeout (nil: without end), which it leaves as it is, as the function of package
// unix does. The sets say which; n counts them, a descriptor in each set that it is in. One that is not open is
// EBADF, one of unix.FD_SETSIZE or more cannot be said: Poll has no such limit.
func (t *Table) Select(nfd int, r, w, e *unix.FdSet, timeout *unix.Timeval) (n int, err error) {
	if timeout == nil {
		return t.selectFor(nfd, r, w, e, -1)
	}
	return t.Pselect(nfd, r, w, e, &unix.Timespec{Sec: timeout.Sec, Nsec: timeout.Usec * 1000}, nil)
}

// Pselect is Select with a finer timeout, and a signal mask as Ppoll has it.
func (t *Table) Pselect(nfd int, r, w, e *unix.FdSet, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	d, errno := durationOf(timeout)
	if errno != 0 {
		return -1, errno
	}
	return masked(sigmask, func() (int, error) { return t.selectFor(nfd, r, w, e, d) })
}

func (t *Table) selectFor(nfd int, r, w, e *unix.FdSet, d time.Duration) (n int, err error) {
	switch {
	case nfd < 0:
		return -1, unix.EINVAL
	case t.host == nil:
		return -1, unix.ENETDOWN
	}
	nfd = min(nfd, unix.FD_SETSIZE) // as the kernel cuts it off at the process's table: programs pass all that there could be
	p := newPoller(t.host, t.untilOf(d))
	defer p.free()
	sets := [3]struct {
		set  *unix.FdSet
		bits uint32
	}{{r, selectIn}, {w, selectOut}, {e, selectExcept}}
	for fd := range nfd {
		var bits uint32
		for _, s := range sets {
			if s.set != nil && s.set.IsSet(fd) {
				bits |= s.bits
			}
		}
		if bits == 0 {
			continue
		}
		f := t.lookup(fd)
		if f == nil {
			p.unwant()
			return -1, unix.EBADF
		}
		p.want(f, bits)
		p.files[len(p.files)-1].bits = bits | unix.POLLNVAL // no more than what was asked for ends the wait
	}
	p.wait()
	var told [3]unix.FdSet
	for files := p.files; len(files) > 0; files = files[1:] {
		if files[0].got&unix.POLLNVAL != 0 {
			return -1, unix.EBADF
		}
	}
	files := p.files
	for fd := range nfd {
		asked := false
		for i, s := range sets {
			if s.set == nil || !s.set.IsSet(fd) {
				continue
			}
			asked = true
			if files[0].got&s.bits != 0 {
				told[i].Set(fd)
				n++
			}
		}
		if asked {
			files = files[1:]
		}
	}
	for i, s := range sets { // in whole words, as the kernel does
		if s.set != nil {
			copy(s.set.Bits[:(nfd+unix.NFDBITS-1)/unix.NFDBITS], told[i].Bits[:])
		}
	}
	return n, nil
}
