package socketapi

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// A kernelFile is a descriptor of the kernel's that the table has in its care: a socket of a family
// that the engine does not speak, or what Adopt was given. It stays open while calls on it
// are under way, whoever closes it meanwhile.
type kernelFile struct {
	fd       int
	table    *Table
	kind     int  // SO_TYPE, 0: not a socket
	pipe     bool // a pipe or FIFO
	mute     bool // poll(2) says nothing of it (AF_ALG): calls wait in the kernel
	unix     bool // of AF_UNIX, and connects: not for datagrams
	standard bool // one of the first three, or a foreigner: it may not end with the table
	users    atomic.Int64
	ended    atomic.Bool

	// Held from poll(2) to the call that it lets not wait, which cannot be told not to: of the goroutines that what
	// comes wakes, one finds it.
	taking, giving sync.Mutex

	who    watchers
	news   atomic.Uint64 // how often the kernel has reported it; what was polled before may have changed
	listen struct {
		sync.Mutex
		wanted     int  // how many want reports
		registered bool // with the reporter
	}
}

// newKernelFile takes a descriptor of the kernel's into care.
func newKernelFile(t *Table, fd int) *kernelFile {
	k := &kernelFile{fd: fd, table: t}
	k.users.Store(1)
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		k.kind = kind
		family, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		k.mute = family == unix.AF_ALG
		k.unix = family == unix.AF_UNIX && kind != unix.SOCK_DGRAM
		return k
	}
	var st unix.Stat_t
	k.pipe = unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
	return k
}

// standard are the descriptors 0 to 2: what they are in the kernel.
func standard(t *Table) (list [descriptorBase]*file) {
	for fd := range list {
		k := newKernelFile(t, fd)
		k.standard = true
		list[fd] = &file{kernel: k}
	}
	return list
}

// enter begins a call. It fails once the descriptor is closed.
func (k *kernelFile) enter() bool {
	for {
		n := k.users.Load()
		if n == 0 || k.ended.Load() {
			return false
		}
		if k.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends a call. The last closes the descriptor.
func (k *kernelFile) leave() {
	if k.users.Add(-1) == 0 {
		k.table.reporter.remove(k)
		unix.Close(k.fd)
	}
}

// close gives the descriptor up: calls that wait at it are EBADF.
func (k *kernelFile) close() {
	k.ended.Store(true)
	k.who.Notify(^ring.Events(0))
	k.leave()
}

// pollable says whether the kernel reports on the descriptor: not on a regular file, which is always
// ready.
func (k *kernelFile) pollable() bool {
	k.want()
	defer k.unwant()
	k.listen.Lock()
	defer k.listen.Unlock()
	return k.listen.registered || k.ended.Load()
}

// want asks for reports, until unwant: from now on the kernel's news reach those in who.
func (k *kernelFile) want() {
	k.listen.Lock()
	k.listen.wanted++
	if !k.listen.registered && k.enter() { // or the number may be another's already
		k.listen.registered = k.table.reporter.add(k)
		k.leave()
	}
	k.listen.Unlock()
}

// unwant takes a want back. The registration stays until the next report, for who waits again before that, and ends with the file; that of
// one that does not end must not keep the reporter.
func (k *kernelFile) unwant() {
	k.listen.Lock()
	k.listen.wanted--
	if k.standard {
		k.ignore()
	}
	k.listen.Unlock()
}

// report tells everyone who waits that something has happened. Where nobody waits any more it
// asks for no more reports.
func (k *kernelFile) report() {
	k.news.Add(1)
	k.who.Notify(^ring.Events(0))
	k.listen.Lock()
	k.ignore()
	k.listen.Unlock()
}

// ignore ends the registration if nobody wants it. listen is locked.
func (k *kernelFile) ignore() {
	if k.listen.wanted == 0 && k.listen.registered {
		k.listen.registered = false
		k.table.reporter.remove(k)
	}
}

// poll asks the kernel what would not wait.
func (k *kernelFile) poll(events uint32) uint32 {
	if !k.enter() {
		return unix.POLLNVAL
	}
	defer k.leave()
	fds := [1]unix.PollFd{{Fd: int32(k.fd), Events: int16(events)}}
	for {
		n, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n == 0:
			return 0
		}
		return uint32(uint16(fds[0].Revents))
	}
}

// wait returns when the kernel says one of events, or errors or hang-ups. It is EAGAIN if until
// came first, and EBADF if the descriptor was closed.
func (k *kernelFile) wait(events uint32, until mono.Time) unix.Errno {
	k.want()
	defer k.unwant()
	w := engine.NewWaiter()
	for {
		seen := k.news.Load()
		if k.poll(events) != 0 {
			if k.ended.Load() {
				return unix.EBADF
			}
			return 0
		}
		w.Prepare()
		k.who.add(w, ^ring.Events(0))
		left := time.Duration(-1)
		if until != mono.Never {
			left = max(until.Sub(engine.SystemClock.Now()), 0)
		}
		switch {
		case k.ended.Load():
			k.who.remove(w)
			w.Cancel()
			return unix.EBADF
		case left == 0:
			k.who.remove(w)
			w.Cancel()
			return unix.EAGAIN
		case k.news.Load() != seen:
			w.Cancel()
		default:
			var timer *time.Timer
			if left > 0 {
				timer = time.AfterFunc(left, func() { k.who.Notify(^ring.Events(0)) })
			}
			w.Park(nil)
			if timer != nil {
				timer.Stop()
			}
		}
		k.who.remove(w)
	}
}

// A reporter tells kernelFiles what the kernel has to say of them: one goroutine for a table, while
// anybody wants to hear, asleep in epoll_wait(2). Each is registered once and edge-triggered: a report says
// that there is something new, and those who hear it ask what.
type reporter struct {
	mu    sync.Mutex
	files map[int32]*kernelFile // by descriptor; nil: no goroutine
	epfd  int
	wake  int // eventfd: the last has gone
}

// add registers a file. It says no for one that the kernel does not report on, since it is always
// ready.
func (r *reporter) add(k *kernelFile) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil && !r.start() {
		return false
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(k.fd)}
	if err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_ADD, k.fd, &ev); err != nil {
		r.stopLocked()
		return false
	}
	r.files[int32(k.fd)] = k
	return true
}

// remove ends a registration, if there is one.
func (r *reporter) remove(k *kernelFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[int32(k.fd)] == k {
		delete(r.files, int32(k.fd))
		unix.EpollCtl(r.epfd, unix.EPOLL_CTL_DEL, k.fd, nil)
		r.stopLocked()
	}
}

// start makes the descriptors and the goroutine. mu is held.
func (r *reporter) start() bool {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		if err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
			unix.Close(wake)
		}
	}
	if err != nil {
		unix.Close(epfd)
		return false
	}
	r.epfd, r.wake, r.files = epfd, wake, make(map[int32]*kernelFile)
	go r.run(epfd, wake)
	return true
}

// stopLocked sends the goroutine home if nobody is left. mu is held.
func (r *reporter) stopLocked() {
	if len(r.files) == 0 {
		r.files = nil
		unix.Write(r.wake, []byte{0: 1, 7: 0})
	}
}

// run reports until it is sent home.
func (r *reporter) run(epfd, wake int) {
	defer unix.Close(epfd)
	defer unix.Close(wake)
	var events [64]unix.EpollEvent
	var files []*kernelFile
	for {
		n, err := unix.EpollWait(epfd, events[:], -1)
		if err != nil && err != unix.EINTR {
			return // not one of its errors: the descriptor is gone
		}
		files = files[:0]
		r.mu.Lock()
		over := r.files == nil || r.epfd != epfd
		for _, ev := range events[:max(n, 0)] {
			if k := r.files[ev.Fd]; !over && k != nil {
				files = append(files, k)
			}
		}
		r.mu.Unlock()
		if over {
			return
		}
		for _, k := range files {
			k.report()
		}
		clear(files)
		runtime.Gosched() // they run before this processor goes to sleep with epoll_wait
	}
}
