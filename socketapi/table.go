package socketapi

import (
	"io"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A Table is a program's descriptors over one host. Its methods have the names, arguments
// and results of the functions of golang.org/x/sys/unix, and the behaviour of Linux; errors
// are unix.Errno values. They may be called by several goroutines. Other than in the
// kernel, closing a descriptor wakes everyone who waits at it: their calls are EBADF. (Not who waits for an AF_ALG socket: poll(2)
// says nothing of those, so that they wait in the kernel.)
//
// The numbers are the table's own and mean nothing to the kernel: each new descriptor has the
// lowest free one from 3 on (in the table that [Use] names from 512 on, see there), since 0 to 2 are taken in every program: they are the kernel's of
// these numbers, which can be read, written and waited for but not closed. Sockets of
// families that the engine does not speak are the kernel's, and other descriptors of its can be adopted
// ([Table.Adopt]): they live in the same table and are waited for by the same Poll, Select and EpollWait.
type Table struct {
	host  *host.Host
	asked io.Closer // answers questions about the host (Config.Control); nil: nobody does

	// slots is read without a lock. It is replaced by a longer one when it is full.
	slots atomic.Pointer[[]atomic.Pointer[file]]

	mu    sync.Mutex // guards what follows, and writing to slots
	used  []uint64   // bitmap of slots
	first int        // no slot below is free
	limit int        // of descriptors

	closeOnExec []uint64 // bitmap of slots: FD_CLOEXEC, which says nothing here and is remembered

	reserved int // slots in used that calls under way have taken and nothing fills yet

	base     atomic.Int32 // the number of the first slot
	standard [descriptorBase]*file
	lent     lending

	foreigners foreigners

	reporter reporter
	signals  signaller
	sigpipe  atomic.Bool // RaiseSigpipe
}

const (
	// descriptorBase is the lowest descriptor.
	descriptorBase = 3
	// defaultBase is that of the table of the package's functions: numbers below it are the kernel's, which files have that other packages
	// have opened, as long as there are fewer than so many. Numbers up to 1023 can be in a set of select(2).
	defaultBase = 512
	// descriptorsMax is how many descriptors a table has at most unless SetLimit says otherwise
	// (Linux: fs.nr_open). Some 300 bytes each, that is 300 MB.
	descriptorsMax = 1 << 20
)

// A file is what descriptors refer to (an open file description, in the words of POSIX).
//
// It is one of three: a socket of the engine's, a file of the kernel's, an epoll.
type file struct {
	socket
	kernel *kernelFile
	epoll  *epoll

	nonblock atomic.Bool   // of a socket
	mute     atomic.Uint32 // of its status flags those that say nothing: muteFlags
	closed   atomic.Bool   // the last descriptor has been closed
	refs     int           // descriptors; guarded by the table's mu

	waited  epollItems                // the epolls that wait for it
	signals atomic.Pointer[signalled] // F_SETOWN and the like, nil: nobody has set any
}

// shut ends what the last descriptor referred to. A socket that is closed already is EBADF.
func (f *file) shut() unix.Errno {
	f.closed.Store(true)
	f.waited.drop()
	if s := f.signals.Load(); s != nil {
		s.close(f)
	}
	switch {
	case f.kernel != nil:
		f.kernel.close()
	case f.epoll != nil:
		f.epoll.close()
	default:
		f.common().lookout.alarm()
		return f.socket.close()
	}
	return 0
}

// flags adds to a call's flags what the descriptor says.
func (f *file) flags(flags int) int {
	if f.nonblock.Load() {
		flags |= unix.MSG_DONTWAIT
	}
	return flags
}

func newTable(h *host.Host) *Table {
	t := &Table{host: h, limit: descriptorsMax}
	slots := make([]atomic.Pointer[file], 64)
	t.slots.Store(&slots)
	t.used = make([]uint64, 1)
	t.closeOnExec = make([]uint64, 1)
	t.base.Store(descriptorBase)
	t.standard = standard(t)
	return t
}

// SetLimit sets how many descriptors there may be at once: one more is EMFILE. Those
// that are open stay.
func (t *Table) SetLimit(n int) {
	t.mu.Lock()
	t.limit = n
	t.mu.Unlock()
}

// Len returns how many descriptors are open.
func (t *Table) Len() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.used {
		n += bits.OnesCount64(w)
	}
	return n - t.reserved
}

// lookup returns what fd refers to, nil if it is not open.
func (t *Table) lookup(fd int) *file {
	i := t.slot(fd)
	slots := *t.slots.Load()
	if i >= 0 && i < len(slots) {
		return slots[i].Load()
	}
	switch {
	case fd >= 0 && fd < descriptorBase:
		return t.standard[fd]
	case fd >= lentBase:
		return t.lent.lookup(fd)
	case t.isForeign(fd):
		return t.foreign(fd)
	}
	return nil
}

// slot is the slot that a number stands for, negative if none; number is its opposite.
func (t *Table) slot(fd int) int  { return fd - int(t.base.Load()) }
func (t *Table) number(i int) int { return i + int(t.base.Load()) }

// rebase moves the numbers of a table in which nothing is open yet.
func (t *Table) rebase(base int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.ContainsFunc(t.used, func(w uint64) bool { return w != 0 }) {
		t.base.Store(int32(base))
	}
}

// own says whether fd is a number that a slot can stand for: not one of the standard three, nor lent.
func (t *Table) own(fd int) bool { return t.slot(fd) >= 0 && fd < lentBase }

// sock returns the socket of the engine's that fd refers to, nil if it is not open or is something
// else, whose calls other has.
func (t *Table) sock(fd int) *file {
	if f := t.lookup(fd); f != nil && f.socket != nil {
		return f
	}
	return nil
}

// ours says whether f is a socket of the engine's, sock whether it is a socket at all. No file is neither.
func (f *file) ours() bool { return f != nil && f.socket != nil }
func (f *file) sock() bool { return f.ours() || f != nil && f.kernel != nil && f.kernel.kind != 0 }

// add gives f the lowest free descriptor.
func (t *Table) add(f *file) (fd int, errno unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, errno := t.reserveLocked()
	if errno == 0 {
		t.fill(i, f)
	}
	return t.number(i), errno
}

// reserve takes the lowest free descriptor before there is anything for it to refer to: to
// every other call it is not open. It is given to fulfil or cancel.
func (t *Table) reserve() (fd int, errno unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, errno := t.reserveLocked()
	if errno == 0 {
		t.reserved++
	}
	return t.number(i), errno
}

// fulfil opens a descriptor that was reserved.
func (t *Table) fulfil(fd int, f *file) {
	t.mu.Lock()
	t.reserved--
	t.fill(t.slot(fd), f)
	t.mu.Unlock()
}

// cancel frees a descriptor that was reserved.
func (t *Table) cancel(fd int) {
	t.mu.Lock()
	t.reserved--
	t.release(t.slot(fd))
	t.mu.Unlock()
}

// reserveLocked takes the lowest free slot. mu is held.
func (t *Table) reserveLocked() (i int, errno unix.Errno) {
	i = t.free()
	if i >= t.limit {
		return t.slot(-1), unix.EMFILE
	}
	t.grow(i)
	t.used[i/64] |= 1 << (i % 64)
	t.first = i + 1
	return i, 0
}

// grow makes room for a slot. mu is held.
func (t *Table) grow(i int) {
	slots := *t.slots.Load()
	n := len(slots)
	for n <= i {
		n *= 2
	}
	if n == len(slots) {
		return
	}
	// Readers of the old array miss what is added from here on, which is not their
	// descriptor, and may find what is closed from here on, as if they had come earlier.
	more := make([]atomic.Pointer[file], n)
	for j := range slots {
		more[j].Store(slots[j].Load())
	}
	t.slots.Store(&more)
	t.used = append(t.used, make([]uint64, n/64-len(t.used))...)
	t.closeOnExec = append(t.closeOnExec, make([]uint64, n/64-len(t.closeOnExec))...)
}

// fill lets a slot that is taken refer to f. mu is held.
func (t *Table) fill(i int, f *file) {
	(*t.slots.Load())[i].Store(f)
	f.refs++
}

// release frees a slot. mu is held.
func (t *Table) release(i int) {
	t.used[i/64] &^= 1 << (i % 64)
	t.closeOnExec[i/64] &^= 1 << (i % 64)
	t.first = min(t.first, i)
}

// free returns the lowest free slot, which may be one beyond the last. mu is held.
func (t *Table) free() int {
	for w := t.first / 64; w < len(t.used); w++ {
		free := ^t.used[w]
		if w == t.first/64 {
			free &= ^uint64(0) << (t.first % 64)
		}
		if free != 0 {
			return w*64 + bits.TrailingZeros64(free)
		}
	}
	return len(t.used) * 64
}

// remove frees fd. It returns what it referred to, and whether it was the last
// descriptor of that; nil if fd is not open.
func (t *Table) remove(fd int) (f *file, last bool) {
	i := t.slot(fd)
	t.mu.Lock()
	defer t.mu.Unlock()
	slots := *t.slots.Load()
	if i < 0 || i >= len(slots) {
		return nil, false
	}
	if f = slots[i].Swap(nil); f == nil {
		return nil, false
	}
	t.release(i)
	f.refs--
	return f, f.refs == 0
}
