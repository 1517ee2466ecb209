package socketapi

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: ep_insert, ep_poll_callback and ep_send_events in fs/eventpoll.c.
//
// What an epoll waits for of the kernel's descriptors it has an epoll of the kernel's wait for, with the same flags. Which wake-up is
// an edge, and that nobody has told of it yet, is known only where it happens: one who polls a descriptor when he hears of it may have
// seen before what he hears of, or hear of an event that was not asked for. The kernel's epoll is a kernelFile, watched by
// the reporter as any other, and one item on the list stands for all that is in it.
//
// EPOLLEXCLUSIVE wakes every epoll that waits for such a descriptor, which epoll_ctl(2) allows: between the epolls is the reporter, and who
// waits at it the kernel cannot see. And an edge of this epoll to another that waits for it is what the reporter says: it can come
// once more than were it told at once.

// kernelSide returns the item that stands for the kernel's descriptors. The first of them makes it. ctl is held.
func (e *epoll) kernelSide(t *Table) (*epollItem, unix.Errno) {
	if e.kernel != nil {
		return e.kernel, 0
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err.(unix.Errno)
	}
	k := newKernelFile(t, fd)
	item := &epollItem{ep: e, key: epollKey{fd: -1, f: &file{kernel: k}}}
	item.bits.Store(unix.POLLIN)
	item.key.f.watch(watch{by: item, ev: ^ring.Events(0)})
	if k.want(); !k.pollable() { // the reporter has no descriptors
		k.close()
		return nil, unix.EMFILE
	}
	e.mu.Lock()
	e.kernel = item
	e.mu.Unlock()
	return item, 0
}

// kernelCtl is epoll_ctl(2) in the kernel's epoll. ctl is held.
func (e *epoll) kernelCtl(op int, item *epollItem, event *unix.EpollEvent) error {
	err := unix.EpollCtl(e.kernel.key.f.kernel.fd, op, item.fd, event)
	if err == nil && event != nil {
		item.event = *event
	}
	return err
}

// addKernel has the kernel wait for a descriptor of its. ctl is held, and the file, which the item is noted at, stays open meanwhile: its
// close takes the item out first.
func (e *epoll) addKernel(t *Table, item *epollItem, event *unix.EpollEvent) unix.Errno {
	if _, errno := e.kernelSide(t); errno != 0 {
		return errno
	}
	item.fd = item.key.f.kernel.fd
	err := e.kernelCtl(unix.EPOLL_CTL_ADD, item, event)
	if err == unix.EEXIST { // by another descriptor of the table's, which is the same to the kernel
		if item.fd, err = unix.FcntlInt(uintptr(item.fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err.(unix.Errno)
		}
		if err = e.kernelCtl(unix.EPOLL_CTL_ADD, item, event); err != nil {
			unix.Close(item.fd)
		}
	}
	if err != nil {
		return err.(unix.Errno)
	}
	return 0
}

// removeKernel is the end of addKernel. ctl is held.
func (e *epoll) removeKernel(item *epollItem) {
	e.kernelCtl(unix.EPOLL_CTL_DEL, item, nil)
	if item.fd != item.key.f.kernel.fd {
		unix.Close(item.fd)
	}
}

// collectKernel writes what the kernel has to tell. If it was something it is asked again, behind the others: there may be more, and some of
// it is told as long as it is so. ctl is held.
func (e *epoll) collectKernel(events []unix.EpollEvent) int {
	if e.kernel == nil {
		return 0
	}
	n, err := unix.EpollWait(e.kernel.key.f.kernel.fd, events, 0)
	if n <= 0 || err != nil {
		return 0
	}
	e.mu.Lock()
	e.list(e.kernel)
	e.mu.Unlock()
	return n
}

// closeKernel gives the kernel's epoll up. ctl is held.
func (e *epoll) closeKernel() {
	if e.kernel == nil {
		return
	}
	k := e.kernel.key.f.kernel
	e.mu.Lock()
	e.unlist(e.kernel)
	e.kernel = nil
	e.mu.Unlock()
	k.close()
}
