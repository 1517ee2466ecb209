package socketapi

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: poll(2); do_poll in fs/select.c.
//
// A poller is a goroutine that waits as those in recv do: it turns a core if nobody else does, that of
// the first socket that lives on one. The others' cores, and the reporter of the kernel's descriptors,
// make it look up as a driver or wake it where it is parked.

// events is what poll(2) says of a file.
func (f *file) events(wanted uint32) uint32 {
	switch {
	case f.closed.Load():
		return unix.POLLNVAL
	case f.kernel != nil:
		return f.kernel.poll(wanted)
	case f.epoll != nil:
		return pollBits(f.epoll.polled(), true)
	}
	return pollBits(f.polled(), f.common().kind == unix.SOCK_STREAM)
}

// watch has w told of what happens to the file, until unwatch.
func (f *file) watch(w watch) {
	switch {
	case f.kernel != nil:
		f.kernel.who.mu.Lock()
		f.kernel.who.list = append(f.kernel.who.list, w)
		f.kernel.who.mu.Unlock()
	case f.epoll != nil:
		f.epoll.who.mu.Lock()
		f.epoll.who.list = append(f.epoll.who.list, w)
		f.epoll.who.mu.Unlock()
	default:
		f.common().lookout.add(w)
	}
}

func (f *file) unwatch(w watch) {
	switch {
	case f.kernel != nil:
		f.kernel.who.mu.Lock()
		f.kernel.who.take(w)
		f.kernel.who.mu.Unlock()
	case f.epoll != nil:
		f.epoll.who.mu.Lock()
		f.epoll.who.take(w)
		f.epoll.who.mu.Unlock()
	default:
		f.common().lookout.remove(w)
	}
}

// core is the core that brings a file's news, nil if there is no one such.
func (f *file) core() *host.Core {
	switch {
	case f.epoll != nil:
		return f.epoll.core()
	case f.socket != nil:
		if s := f.common().lookout.source(); s != nil {
			return s.core
		}
	}
	return nil
}

// A polled is one descriptor that a poller waits for.
type polled struct {
	f    *file
	bits uint32 // wanted, and what is told unasked
	got  uint32
	seen uint64 // of a kernelFile: its news when it was last asked
}

// A poller is one goroutine in poll, select or epoll_wait.
type poller struct {
	host   *host.Host
	waiter *engine.Waiter
	until  mono.Time
	files  []polled
	ep     *epoll   // of epoll_wait, instead of files
	alarm  watchers // where no core keeps the time: who is to look at it
}

var pollers = sync.Pool{New: func() any { return &poller{waiter: engine.NewWaiter()} }}

func newPoller(h *host.Host, until mono.Time) *poller {
	p := pollers.Get().(*poller)
	p.host, p.until = h, until
	return p
}

func (p *poller) free() {
	clear(p.files)
	p.files, p.ep, p.host = p.files[:0], nil, nil
	pollers.Put(p)
}

// want adds a file to wait for.
func (p *poller) want(f *file, bits uint32) {
	if f.kernel != nil {
		f.kernel.want()
	}
	p.files = append(p.files, polled{f: f, bits: bits | pollAlways})
}

// wait waits until one of the files has something to say or the time is up, and says which.
func (p *poller) wait() (n int) {
	for {
		if n = p.ask(); n > 0 || p.until.Due(p.host.Clock().Now()) {
			break
		}
		p.sleep()
	}
	p.unwant()
	return n
}

func (p *poller) unwant() {
	for i := range p.files {
		if k := p.files[i].f.kernel; k != nil {
			k.unwant()
		}
	}
}

// ask asks every file. No lock is held: the kernel's take a system call.
func (p *poller) ask() (n int) {
	for i := range p.files {
		x := &p.files[i]
		if x.f.kernel != nil {
			x.seen = x.f.kernel.news.Load()
		}
		if x.got = x.f.events(x.bits) & x.bits; x.got != 0 {
			n++
		}
	}
	return n
}

// sleep returns when something may have changed.
func (p *poller) sleep() {
	core := p.host.Cores()[0]
	if p.ep != nil {
		if c := p.ep.core(); c != nil {
			core = c
		}
	}
	for i := range p.files {
		if c := p.files[i].f.core(); c != nil {
			core = c
			break
		}
	}
	if !core.Wait(p.waiter, p) {
		p.park()
	}
}

// Done says whether there is something to see: of the kernel's descriptors it knows only whether they
// have been reported on since they were asked.
func (p *poller) Done(now mono.Time) bool {
	if p.until.Due(now) {
		return true
	}
	if p.ep != nil {
		return p.ep.listed()
	}
	for i := range p.files {
		x := &p.files[i]
		if k := x.f.kernel; k != nil {
			if k.news.Load() != x.seen || x.f.closed.Load() {
				return true
			}
		} else if x.f.events(x.bits)&x.bits != 0 {
			return true
		}
	}
	return false
}

func (p *poller) Deadline() mono.Time { return p.until }

func (p *poller) Arm(w *engine.Waiter) {
	if p.ep != nil {
		p.ep.callers.add(w, ^ring.Events(0))
		return
	}
	for i := range p.files {
		x := &p.files[i]
		x.f.watch(watch{w: w, ev: pollWants(x.bits)})
	}
}

func (p *poller) Disarm(w *engine.Waiter) {
	if p.ep != nil {
		p.ep.callers.remove(w)
	}
	for i := range p.files {
		p.files[i].f.unwatch(watch{w: w})
	}
}

// park waits without a core: the host has ended, which its sockets say of themselves, but others may
// still have something to tell.
func (p *poller) park() {
	p.waiter.Prepare()
	p.Arm(p.waiter)
	p.alarm.add(p.waiter, ^ring.Events(0))
	defer func() {
		p.Disarm(p.waiter)
		p.alarm.remove(p.waiter)
	}()
	now := engine.SystemClock.Now()
	if p.until != mono.Never {
		now = p.host.Clock().Now()
	}
	if p.Done(now) {
		p.waiter.Cancel()
		return
	}
	var timer *time.Timer
	if p.until != mono.Never {
		timer = time.AfterFunc(p.until.Sub(now), func() { p.alarm.Notify(^ring.Events(0)) })
	}
	p.waiter.Park(nil)
	if timer != nil {
		timer.Stop()
	}
}

// Poll waits until one of fds has something of its Events to say, or an error, or for timeout
// milliseconds; less than 0: without end. It returns how many have, and says what in their Revents. A negative
// descriptor is passed over; one that is not open is POLLNVAL, also when it is closed meanwhile.
func (t *Table) Poll(fds []unix.PollFd, timeout int) (n int, err error) {
	return t.poll(fds, time.Duration(timeout)*time.Millisecond)
}

// Ppoll is Poll with a finer timeout, nil: without end. With a signal mask the calling goroutine waits on a thread that has
// it. Signals do not end the wait (EINTR): they are for package os/signal.
func (t *Table) Ppoll(fds []unix.PollFd, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	d, errno := durationOf(timeout)
	if errno != 0 {
		return -1, errno
	}
	return masked(sigmask, func() (int, error) { return t.poll(fds, d) })
}

// durationOf is a time to wait; nil is -1, without end.
func durationOf(ts *unix.Timespec) (time.Duration, unix.Errno) {
	switch {
	case ts == nil:
		return -1, 0
	case ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9:
		return 0, unix.EINVAL
	case ts.Sec >= timeoutMax:
		return -1, 0
	}
	return time.Duration(ts.Nano()), 0
}

// untilOf is when a wait of d is over.
func (t *Table) untilOf(d time.Duration) mono.Time {
	if d < 0 {
		return mono.Never
	}
	return t.host.Clock().Now().Add(d)
}

func (t *Table) poll(fds []unix.PollFd, d time.Duration) (n int, err error) {
	if t.host == nil {
		return -1, unix.ENETDOWN
	}
	p := newPoller(t.host, t.untilOf(d))
	defer p.free()
	for i := range fds {
		fds[i].Revents = 0
		if fds[i].Fd < 0 {
			continue
		}
		if f := t.lookup(int(fds[i].Fd)); f != nil {
			p.want(f, uint32(uint16(fds[i].Events)))
			continue
		}
		fds[i].Revents = unix.POLLNVAL
		n++
	}
	if n > 0 { // somebody has an answer already: nobody waits
		p.until = p.host.Clock().Now()
	}
	n += p.wait()
	files := p.files
	for i := range fds {
		if fds[i].Fd >= 0 && fds[i].Revents == 0 {
			fds[i].Revents = int16(files[0].got)
			files = files[1:]
		}
	}
	return n, nil
}
