package socketapi

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// waiter is the calls of both stacks that wait for several descriptors, and those on descriptors.
type waiter interface {
	Poll(fds []unix.PollFd, timeout int) (int, error)
	Ppoll(fds []unix.PollFd, timeout *unix.Timespec, sigmask *unix.Sigset_t) (int, error)
	Select(nfd int, r, w, e *unix.FdSet, timeout *unix.Timeval) (int, error)
	Pselect(nfd int, r, w, e *unix.FdSet, timeout *unix.Timespec, sigmask *unix.Sigset_t) (int, error)
	EpollCreate(size int) (int, error)
	EpollCreate1(flag int) (int, error)
	EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error
	EpollWait(epfd int, events []unix.EpollEvent, msec int) (int, error)
	Dup2(oldfd, newfd int) error
	Dup3(oldfd, newfd, flags int) error
	FcntlInt(fd uintptr, cmd, arg int) (int, error)
	Fstat(fd int, stat *unix.Stat_t) error
	Socketpair(domain, typ, proto int) ([2]int, error)
	IoctlGetInt(fd int, req uint) (int, error)
	IoctlSetInt(fd int, req uint, value int) error
	IoctlSetPointerInt(fd int, req uint, value int) error
	IoctlIfreq(fd int, req uint, value *unix.Ifreq) error
	Readv(fd int, iovs [][]byte) (int, error)
	Writev(fd int, iovs [][]byte) (int, error)
	SendmsgBuffers(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (int, error)
	RecvmsgBuffers(fd int, buffers [][]byte, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error)
	Sendmmsg(fd int, messages []Message, flags int) (int, error)
	Recvmmsg(fd int, messages []Message, flags int, timeout *unix.Timespec) (int, error)
	Sendfile(outfd, infd int, offset *int64, count int) (int, error)
	Splice(rfd int, roff *int64, wfd int, woff *int64, len, flags int) (int64, error)
	Adopt(kernelFD int) (int, error)
}

func (linux) Poll(fds []unix.PollFd, timeout int) (n int, err error) {
	err = restart(func() error { n, err = unix.Poll(fds, timeout); return err })
	return n, err
}

func (linux) Ppoll(fds []unix.PollFd, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	err = restart(func() error { n, err = unix.Ppoll(fds, timeout, sigmask); return err })
	return n, err
}

func (linux) Select(nfd int, r, w, e *unix.FdSet, timeout *unix.Timeval) (n int, err error) {
	err = restart(func() error { n, err = unix.Select(nfd, r, w, e, timeout); return err })
	return n, err
}

func (linux) Pselect(nfd int, r, w, e *unix.FdSet, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	err = restart(func() error { n, err = unix.Pselect(nfd, r, w, e, timeout, sigmask); return err })
	return n, err
}

func (linux) EpollCreate(size int) (int, error)  { return unix.EpollCreate(size) }
func (linux) EpollCreate1(flag int) (int, error) { return unix.EpollCreate1(flag) }
func (linux) EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error {
	return unix.EpollCtl(epfd, op, fd, event)
}

func (linux) EpollWait(epfd int, events []unix.EpollEvent, msec int) (n int, err error) {
	err = restart(func() error { n, err = unix.EpollWait(epfd, events, msec); return err })
	return n, err
}

func (linux) Dup2(oldfd, newfd int) error        { return unix.Dup2(oldfd, newfd) }
func (linux) Dup3(oldfd, newfd, flags int) error { return unix.Dup3(oldfd, newfd, flags) }

func (linux) Fstat(fd int, stat *unix.Stat_t) error { return unix.Fstat(fd, stat) }

func (linux) FcntlInt(fd uintptr, cmd, arg int) (int, error) { return unix.FcntlInt(fd, cmd, arg) }

func (k linux) Socketpair(domain, typ, proto int) (fds [2]int, err error) {
	err = k.ns.Do(func() error { fds, err = unix.Socketpair(domain, typ, proto); return err })
	var errno unix.Errno
	if errors.As(err, &errno) {
		return fds, errno
	}
	return fds, err
}

func (linux) IoctlGetInt(fd int, req uint) (int, error)     { return unix.IoctlGetInt(fd, req) }
func (linux) IoctlSetInt(fd int, req uint, value int) error { return unix.IoctlSetInt(fd, req, value) }
func (linux) IoctlSetPointerInt(fd int, req uint, value int) error {
	return unix.IoctlSetPointerInt(fd, req, value)
}
func (linux) IoctlIfreq(fd int, req uint, value *unix.Ifreq) error {
	return unix.IoctlIfreq(fd, req, value)
}

func (linux) Readv(fd int, iovs [][]byte) (n int, err error) {
	err = restart(func() error { n, err = unix.Readv(fd, iovs); return err })
	return n, err
}

func (linux) Writev(fd int, iovs [][]byte) (n int, err error) {
	err = restart(func() error { n, err = unix.Writev(fd, iovs); return err })
	return n, err
}

func (linux) SendmsgBuffers(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	err = restart(func() error {
		n, err = unix.SendmsgBuffers(fd, buffers, oob, to, flags|unix.MSG_NOSIGNAL)
		return err
	})
	return n, err
}

func (linux) RecvmsgBuffers(fd int, buffers [][]byte, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error) {
	err = restart(func() error {
		n, oobn, recvflags, from, err = unix.RecvmsgBuffers(fd, buffers, oob, flags)
		return err
	})
	return n, oobn, recvflags, from, err
}

func (linux) Sendfile(outfd, infd int, offset *int64, count int) (n int, err error) {
	err = restart(func() error { n, err = unix.Sendfile(outfd, infd, offset, count); return err })
	return n, err
}

func (linux) Splice(rfd int, roff *int64, wfd int, woff *int64, len, flags int) (n int64, err error) {
	err = restart(func() error { n, err = unix.Splice(rfd, roff, wfd, woff, len, flags); return err })
	return n, err
}

// Adopt is of descriptors that are the kernel's already.
func (linux) Adopt(fd int) (int, error) { return fd, nil }

var pollNames = []struct {
	bit  uint32
	name string
}{
	{unix.POLLIN, "IN"}, {unix.POLLPRI, "PRI"}, {unix.POLLOUT, "OUT"}, {unix.POLLERR, "ERR"}, {unix.POLLHUP, "HUP"}, {unix.POLLNVAL, "NVAL"},
	{unix.EPOLLRDNORM, "RDNORM"}, {unix.EPOLLRDBAND, "RDBAND"}, {unix.EPOLLWRNORM, "WRNORM"}, {unix.EPOLLWRBAND, "WRBAND"},
	{unix.POLLRDHUP, "RDHUP"}, {unix.EPOLLET, "ET"}, {unix.EPOLLONESHOT, "ONESHOT"},
}

// pollNamed names the bits of poll(2).
func pollNamed(n uint32) string {
	var list []string
	for _, b := range pollNames {
		if n&b.bit != 0 {
			list = append(list, b.name)
			n &^= b.bit
		}
	}
	if n != 0 {
		list = append(list, "others")
	}
	return "[" + strings.Join(list, " ") + "]"
}

// everyPoll asks for all that there is.
const everyPoll = unix.POLLIN | unix.POLLPRI | unix.POLLOUT | unix.EPOLLRDNORM | unix.EPOLLRDBAND | unix.EPOLLWRNORM | unix.EPOLLWRBAND | unix.POLLRDHUP

// polled is all that poll(2) says now.
func (s *side) polled(fd int) uint32 {
	s.e.t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: everyPoll}}
	_, err := s.api.Poll(fds, 0)
	s.e.must(err)
	return uint32(uint16(fds[0].Revents))
}

// polls notes what poll(2) says now.
func (e *env) polls(what string, s *side, fd int) {
	e.t.Helper()
	e.note(what, pollNamed(s.polled(fd)))
}

// awaits waits until poll(2) says one of the bits, and notes what it says then.
func (e *env) awaits(what string, s *side, fd int, bit uint32) {
	e.t.Helper()
	e.until(what, func() bool { return s.polled(fd)&bit != 0 })
	e.polls(what, s, fd)
}
