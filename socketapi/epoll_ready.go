package socketapi

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// This file is the list of what an epoll may have to tell: who puts an item there, and what it says when it is asked.

// tell puts the item on the list, if it may have what it is waited for, and wakes one who waits.
func (item *epollItem) tell(ev ring.Events) (woken int) {
	if pollWants(item.bits.Load())&ev == 0 || item.bits.Load() == 0 {
		return 0
	}
	e := item.ep
	e.mu.Lock()
	e.list(item)
	e.mu.Unlock()
	return e.callers.wakeOne() + e.who.Notify(ring.In)
}

// wakeOne wakes one of those who wait. A driver is made to look as well, and does not count.
func (l *watchers) wakeOne() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i].tell(ring.In) > 0 {
			return 1
		}
	}
	return 0
}

// list puts an item at the end. mu is held.
func (e *epoll) list(item *epollItem) {
	if item.listed {
		return
	}
	item.listed, item.prev, item.next = true, e.last, nil
	if e.last != nil {
		e.last.next = item
	} else {
		e.first = item
	}
	e.last = item
	e.n++
}

// unlist takes an item off. mu is held.
func (e *epoll) unlist(item *epollItem) {
	if !item.listed {
		return
	}
	if item.prev != nil {
		item.prev.next = item.next
	} else {
		e.first = item.next
	}
	if item.next != nil {
		item.next.prev = item.prev
	} else {
		e.last = item.prev
	}
	item.prev, item.next, item.listed = nil, nil, false
	e.n--
}

// pop takes the first of the list, nil if there is none.
func (e *epoll) pop() *epollItem {
	e.mu.Lock()
	defer e.mu.Unlock()
	item := e.first
	if item != nil {
		e.unlist(item)
	}
	return item
}

// listed says whether there is somebody to ask, or no reason to wait.
func (e *epoll) listed() bool {
	if e.ended.Load() {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n > 0
}

// collect asks those on the list, once each, and writes what they say. One that is told of as long as
// it is so stays on the list, behind the others. The kernel is asked also where it is not on the list, but
// the others say nothing: what has just happened there is not reported yet.
func (e *epoll) collect(events []unix.EpollEvent) (n int) {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	e.mu.Lock()
	left := e.n
	e.mu.Unlock()
	for ; left > 0 && n < len(events); left-- {
		item := e.pop()
		if item == nil {
			break
		}
		if item == e.kernel {
			n += e.collectKernel(events[n:])
			continue
		}
		got := item.key.f.events(item.bits.Load()) & item.bits.Load()
		if got == 0 {
			continue
		}
		events[n] = item.event
		events[n].Events = got
		n++
		switch {
		case item.event.Events&unix.EPOLLONESHOT != 0:
			item.bits.Store(0)
		case item.event.Events&unix.EPOLLET == 0:
			e.mu.Lock()
			e.list(item)
			e.mu.Unlock()
		}
	}
	if n == 0 {
		n = e.collectKernel(events)
	}
	return n
}

// polled is what poll(2) says of the epoll itself.
func (e *epoll) polled() ring.Events {
	if e.ended.Load() {
		return gone
	}
	e.mu.Lock()
	kernel := e.kernel
	for item := e.first; item != nil; item = item.next {
		if item != kernel && item.key.f.events(item.bits.Load())&item.bits.Load() != 0 {
			e.mu.Unlock()
			return ring.In
		}
	}
	e.mu.Unlock()
	if kernel != nil && kernel.key.f.events(unix.POLLIN)&unix.POLLIN != 0 { // a system call
		return ring.In
	}
	return 0
}
