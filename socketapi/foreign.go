package socketapi

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// foreigners are the descriptors that other packages have of the kernel (os.File.Fd, net.Conn's File): in a table whose numbers
// begin above theirs they are what they are in the kernel, like the first three, and calls on them are the kernel's. Nothing tells
// when one is closed and its number is another's, so that each call looks whether it is still the same.
type foreigners struct {
	mu sync.Mutex
	of map[int]*foreigner // by number; nil: none yet
}

type foreigner struct {
	file     *file
	dev, ino uint64
}

// foreign returns what the kernel has at a number below the table's, nil if nothing.
func (t *Table) foreign(fd int) *file {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	t.foreigners.mu.Lock()
	defer t.foreigners.mu.Unlock()
	known := t.foreigners.of[fd]
	if known != nil && err == nil && known.dev == uint64(st.Dev) && known.ino == st.Ino {
		return known.file
	}
	if known != nil {
		delete(t.foreigners.of, fd)
		known.file.kernel.forget()
		known.file.waited.drop()
	}
	if err != nil {
		return nil
	}
	k := newKernelFile(t, fd)
	k.standard = true
	if t.foreigners.of == nil {
		t.foreigners.of = map[int]*foreigner{}
	}
	f := &file{kernel: k}
	t.foreigners.of[fd] = &foreigner{f, uint64(st.Dev), st.Ino}
	return f
}

// isForeign says whether a number is below those of the table, and not one of the first three.
func (t *Table) isForeign(fd int) bool { return fd >= descriptorBase && t.slot(fd) < 0 }

// closeForeign closes a descriptor that the program has from another package, as it would without a table.
func (t *Table) closeForeign(fd int) error {
	f := t.foreign(fd)
	if f == nil {
		return unix.EBADF
	}
	t.foreigners.mu.Lock()
	known := t.foreigners.of[fd]
	mine := known != nil && known.file == f // and no other goroutine's that closes it too
	if mine {
		delete(t.foreigners.of, fd)
	}
	t.foreigners.mu.Unlock()
	if !mine {
		return unix.EBADF
	}
	f.shut()
	return nil
}

// dupForeign gives the table a descriptor of its own for what another package has.
func (t *Table) dupForeign(fd int, closeOnExec bool) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, descriptorBase)
	if err != nil {
		return -1, err
	}
	return t.take(n, closeOnExec)
}

// forget lets go of a number that has become another's: it is not closed.
func (k *kernelFile) forget() {
	k.ended.Store(true)
	k.who.Notify(^ring.Events(0))
	k.table.reporter.remove(k)
}
