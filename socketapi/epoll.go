package socketapi

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: epoll(7), epoll_ctl(2); fs/eventpoll.c.
//
// An epoll is told by every file that it waits for when something may have changed, by a core with its
// lock held, and puts it on a list. Whoever calls epoll_wait asks those on the list what they have to
// say: nobody goes through all that are waited for. The list is in epoll_ready.go, descriptors of the kernel's are in epoll_kernel.go.

// An epoll is an epoll instance.
type epoll struct {
	of    *file      // what descriptors of it refer to
	ctl   sync.Mutex // changes of items, and whoever asks those on the list; before mu, and before that of one it waits for
	items map[epollKey]*epollItem

	mu     sync.Mutex // guards the list; the last lock of all but that of who and callers
	first  *epollItem
	last   *epollItem
	n      int
	kernel *epollItem // stands for all of the kernel's descriptors, nil: there have been none; written with ctl and mu held

	ended   atomic.Bool
	cores   map[*host.Core]int // how many items live on a core; guarded by ctl
	mostly  atomic.Pointer[host.Core]
	callers watchers // goroutines in epoll_wait
	who     watchers // those who poll the epoll itself
}

// epollKey is what items are found by: a descriptor, and what it referred to when it was added.
type epollKey struct {
	fd int
	f  *file
}

// An epollItem is a file that an epoll waits for.
type epollItem struct {
	ep   *epoll
	key  epollKey
	core *host.Core // counted in cores, nil: it lives on none yet, or on several; guarded by ep.ctl

	event unix.EpollEvent // guarded by ep.ctl
	bits  atomic.Uint32   // what is wanted now; 0: a one-shot that has been told
	fd    int             // of the kernel's: what its epoll knows it by

	prev, next *epollItem // guarded by ep.mu
	listed     bool
}

// epollItems are the items of a file.
type epollItems struct {
	mu   sync.Mutex
	list []*epollItem
	over bool // the file is closed
}

// epollFlags are how an item is waited for, beside what for.
const epollFlags = unix.EPOLLET | unix.EPOLLONESHOT | unix.EPOLLWAKEUP | unix.EPOLLEXCLUSIVE

// epollLoneBits is what EPOLLEXCLUSIVE may be asked with (EPOLLEXCLUSIVE_OK_BITS).
const epollLoneBits = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLWAKEUP | unix.EPOLLET | unix.EPOLLEXCLUSIVE

// EpollCreate is EpollCreate1; size has to be more than 0 and says nothing else.
func (t *Table) EpollCreate(size int) (fd int, err error) {
	if size <= 0 {
		return -1, unix.EINVAL
	}
	return t.EpollCreate1(0)
}

// EpollCreate1 makes an epoll, with EPOLL_CLOEXEC. It waits for sockets of the engine's and descriptors of
// the kernel's at once.
func (t *Table) EpollCreate1(flag int) (fd int, err error) {
	switch {
	case flag&^unix.EPOLL_CLOEXEC != 0:
		return -1, unix.EINVAL
	case t.host == nil:
		return -1, unix.ENETDOWN
	}
	f := &file{epoll: &epoll{items: make(map[epollKey]*epollItem), cores: make(map[*host.Core]int)}}
	f.epoll.of = f
	fd, errno := t.add(f)
	if errno != 0 {
		return -1, errno
	}
	t.setCloseOnExec(fd, flag&unix.EPOLL_CLOEXEC != 0)
	return fd, nil
}

// EpollCtl adds, changes or removes what an epoll waits for of a descriptor: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI,
// with EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE; EPOLLERR and EPOLLHUP always. An epoll may wait for another, but not for one
// that waits for it, nor one below the other more than epollNestsMax times (ELOOP).
func (t *Table) EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error {
	ep, f := t.lookup(epfd), t.lookup(fd)
	switch {
	case event == nil && op != unix.EPOLL_CTL_DEL:
		return unix.EFAULT
	case ep == nil || f == nil:
		return unix.EBADF
	case f.kernel != nil && !f.kernel.pollable():
		return unix.EPERM
	case ep == f || ep.epoll == nil:
		return unix.EINVAL
	}
	if op != unix.EPOLL_CTL_DEL && event.Events&unix.EPOLLEXCLUSIVE != 0 {
		if op == unix.EPOLL_CTL_MOD || f.epoll != nil || event.Events&^epollLoneBits != 0 {
			return unix.EINVAL
		}
	}
	if f.epoll != nil && op == unix.EPOLL_CTL_ADD {
		nesting.Lock()
		defer nesting.Unlock()
		if f.epoll.hasBelow(ep.epoll) || f.epoll.below()+1+ep.above() > epollNestsMax {
			return unix.ELOOP
		}
	}
	e, key := ep.epoll, epollKey{fd, f}
	e.ctl.Lock()
	defer e.ctl.Unlock()
	item := e.items[key]
	switch op {
	case unix.EPOLL_CTL_ADD:
		if item != nil {
			return unix.EEXIST
		}
		return failure(e.add(t, key, event))
	case unix.EPOLL_CTL_MOD:
		switch {
		case item == nil:
			return unix.ENOENT
		case item.event.Events&unix.EPOLLEXCLUSIVE != 0:
			return unix.EINVAL
		case f.kernel != nil:
			return e.kernelCtl(op, item, event)
		}
		e.count(item.core, -1)
		item.core = f.core()
		e.count(item.core, 1)
		item.change(event)
		return nil
	case unix.EPOLL_CTL_DEL:
		if item == nil {
			return unix.ENOENT
		}
		e.remove(item)
		return nil
	}
	return unix.EINVAL
}

// epollNestsMax is how long a chain of epolls may be of which each waits for the next, its first one not counted: each link
// is one more to be told when something happens (EP_MAX_NESTS).
const epollNestsMax = 4

// nesting is held while an epoll is added to another, before ctl of either: so no two can close a circle together.
var nesting sync.Mutex

// hasBelow says whether an epoll is another, or waits for it by way of others. nesting is held.
func (e *epoll) hasBelow(other *epoll) bool {
	if e == other {
		return true
	}
	e.ctl.Lock()
	defer e.ctl.Unlock()
	for key := range e.items {
		if key.f.epoll != nil && key.f.epoll.hasBelow(other) {
			return true
		}
	}
	return false
}

// below is how long the longest chain is of epolls that it waits for. nesting is held.
func (e *epoll) below() (n int) {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	for key := range e.items {
		if key.f.epoll != nil {
			n = max(n, 1+key.f.epoll.below())
		}
	}
	return n
}

// above is how long the longest chain is of epolls that wait for a file. nesting is held.
func (f *file) above() (n int) {
	f.waited.mu.Lock()
	list := slices.Clone(f.waited.list)
	f.waited.mu.Unlock()
	for _, item := range list {
		n = max(n, 1+item.ep.of.above())
	}
	return n
}

// add makes an item. ctl is held.
func (e *epoll) add(t *Table, key epollKey, event *unix.EpollEvent) unix.Errno {
	item := &epollItem{ep: e, key: key, core: key.f.core()}
	if !key.f.waited.add(item) || e.ended.Load() {
		key.f.waited.remove(item)
		return unix.EBADF
	}
	if key.f.kernel != nil {
		if errno := e.addKernel(t, item, event); errno != 0 {
			key.f.waited.remove(item)
			return errno
		}
		e.items[key] = item
		return 0
	}
	e.items[key] = item
	e.count(item.core, 1)
	key.f.watch(watch{by: item, ev: ^ring.Events(0), lone: event.Events&unix.EPOLLEXCLUSIVE != 0})
	item.change(event)
	return 0
}

// remove ends an item. ctl is held.
func (e *epoll) remove(item *epollItem) {
	if e.items[item.key] != item {
		return
	}
	delete(e.items, item.key)
	item.key.f.waited.remove(item)
	if item.key.f.kernel != nil {
		e.removeKernel(item)
		return
	}
	item.bits.Store(0)
	item.key.f.unwatch(watch{by: item})
	e.count(item.core, -1)
	e.mu.Lock()
	e.unlist(item)
	e.mu.Unlock()
}

// count notes where items live. ctl is held.
func (e *epoll) count(c *host.Core, n int) {
	if c == nil {
		return
	}
	if e.cores[c] += n; e.cores[c] == 0 {
		delete(e.cores, c)
	}
	most := (*host.Core)(nil)
	for c, n := range e.cores {
		if n > e.cores[most] {
			most = c
		}
	}
	e.mostly.Store(most)
}

// change sets what is waited for, and lists the item if there is some of it. ctl is held.
func (item *epollItem) change(event *unix.EpollEvent) {
	item.event = *event
	item.bits.Store(event.Events&^epollFlags | unix.POLLERR | unix.POLLHUP)
	if item.key.f.events(item.bits.Load())&item.bits.Load() != 0 {
		item.tell(^ring.Events(0))
	}
}

// core is the core that most of the items live on, nil if none does.
func (e *epoll) core() *host.Core { return e.mostly.Load() }

// close ends the epoll: whoever waits is EBADF.
func (e *epoll) close() {
	e.ended.Store(true)
	e.ctl.Lock()
	for _, item := range e.items {
		e.remove(item)
	}
	e.closeKernel()
	e.ctl.Unlock()
	e.callers.Notify(^ring.Events(0))
	e.who.Notify(^ring.Events(0))
}

// add notes an item. It says no once the file is closed.
func (l *epollItems) add(item *epollItem) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.list = append(l.list, item)
	}
	return !l.over
}

func (l *epollItems) remove(item *epollItem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.list, item); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
	}
}

// drop takes a file that is closed out of every epoll.
func (l *epollItems) drop() {
	l.mu.Lock()
	l.over = true
	list := l.list
	l.list = nil
	l.mu.Unlock()
	for _, item := range list {
		item.ep.ctl.Lock()
		item.ep.remove(item)
		item.ep.ctl.Unlock()
	}
}

// EpollWait waits until some of what the epoll waits for is so, or for msec milliseconds; less than 0: without
// end. It writes at most len(events) of them.
func (t *Table) EpollWait(epfd int, events []unix.EpollEvent, msec int) (n int, err error) {
	return t.epollWait(epfd, events, time.Duration(msec)*time.Millisecond)
}

// EpollPwait is EpollWait with a signal mask as Ppoll has it.
func (t *Table) EpollPwait(epfd int, events []unix.EpollEvent, msec int, sigmask *unix.Sigset_t) (n int, err error) {
	return masked(sigmask, func() (int, error) { return t.EpollWait(epfd, events, msec) })
}

// EpollPwait2 is EpollPwait with a finer timeout, nil: without end.
func (t *Table) EpollPwait2(epfd int, events []unix.EpollEvent, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	d, errno := durationOf(timeout)
	if errno != 0 {
		return -1, errno
	}
	return masked(sigmask, func() (int, error) { return t.epollWait(epfd, events, d) })
}

func (t *Table) epollWait(epfd int, events []unix.EpollEvent, d time.Duration) (n int, err error) {
	f := t.lookup(epfd)
	switch {
	case len(events) == 0:
		return -1, unix.EINVAL
	case f == nil:
		return -1, unix.EBADF
	case f.epoll == nil:
		return -1, unix.EINVAL
	}
	e := f.epoll
	p := newPoller(t.host, t.untilOf(d))
	defer p.free()
	p.ep = e
	for {
		if n = e.collect(events); n > 0 {
			break
		}
		if e.ended.Load() {
			return -1, unix.EBADF
		}
		if p.until.Due(t.host.Clock().Now()) {
			break
		}
		p.sleep()
	}
	if e.listed() { // there is more, or still the same: another may see to it
		e.callers.wakeOne()
	}
	return n, nil
}
