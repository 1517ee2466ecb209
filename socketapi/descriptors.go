package socketapi

import (
	"math/bits"
	"reflect"

	"golang.org/x/sys/unix"
)

// Read first: dup(2), fcntl(2).

// Dup makes another descriptor of the same socket.
func (t *Table) Dup(oldfd int) (fd int, err error) { return t.dup(oldfd, 0, false) }

// dup is Dup to the lowest free number from least on.
func (t *Table) dup(oldfd, least int, closeOnExec bool) (fd int, err error) {
	f := t.lookup(oldfd)
	switch {
	case f == nil, oldfd >= lentBase:
		return -1, unix.EBADF
	case !t.own(oldfd):
		return t.dupForeign(oldfd, closeOnExec)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lookup(oldfd) != f {
		return -1, unix.EBADF
	}
	i, errno := t.reserveFrom(max(t.slot(least), 0))
	if errno != 0 {
		return -1, errno
	}
	t.fill(i, f)
	t.mark(i, closeOnExec)
	return t.number(i), nil
}

// Dup2 is Dup3 without flags. Both the same is EINVAL, as of the function of package unix and not as of dup2(2).
func (t *Table) Dup2(oldfd, newfd int) error { return t.Dup3(oldfd, newfd, 0) }

// Dup3 makes newfd another descriptor of what oldfd refers to, with O_CLOEXEC; what it was is closed. A newfd of 0 to
// 2 is EBADF: they are the kernel's. In the table of [Use] these, and all below 512, can be given what else is the kernel's.
func (t *Table) Dup3(oldfd, newfd, flags int) error {
	if flags&^unix.O_CLOEXEC != 0 || oldfd == newfd {
		return unix.EINVAL
	}
	if newfd >= 0 && t.slot(newfd) < 0 && t.base.Load() != descriptorBase { // the kernel's, as all below the table's are
		return t.WithKernel(oldfd, unix.EBADF, func(oldfd int) error { return unix.Dup3(oldfd, newfd, flags) })
	}
	if t.lookup(oldfd) != nil && t.slot(oldfd) < 0 { // the table's own of it comes there
		fd, err := t.dup(oldfd, 0, false)
		if err != nil {
			return err
		}
		defer t.Close(fd)
		oldfd = fd
	}
	old, errno := t.replace(oldfd, newfd, flags&unix.O_CLOEXEC != 0)
	if errno != 0 {
		return errno
	}
	if old != nil {
		old.shut()
	}
	return nil
}

// replace makes newfd refer to what oldfd does. It returns what that was the last descriptor of.
func (t *Table) replace(oldfd, newfd int, closeOnExec bool) (old *file, errno unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, i := t.lookup(oldfd), t.slot(newfd)
	if f == nil || !t.own(oldfd) || i < 0 || i >= t.limit {
		return nil, unix.EBADF
	}
	t.grow(i)
	slot := &(*t.slots.Load())[i]
	old = slot.Load()
	if old == nil && t.used[i/64]&(1<<(i%64)) != 0 {
		return nil, unix.EBUSY // a call under way is about to open it
	}
	t.used[i/64] |= 1 << (i % 64)
	t.fill(i, f)
	t.mark(i, closeOnExec)
	if old != nil {
		if old.refs--; old.refs > 0 {
			old = nil
		}
	}
	return old, 0
}

// reserveFrom takes the lowest free slot from least on. mu is held.
func (t *Table) reserveFrom(least int) (i int, errno unix.Errno) {
	if least <= t.first {
		return t.reserveLocked()
	}
	for i = least; i/64 < len(t.used); {
		if free := ^t.used[i/64] &^ (1<<(i%64) - 1); free != 0 {
			i = i&^63 + bits.TrailingZeros64(free)
			break
		}
		i = i&^63 + 64
	}
	if i >= t.limit {
		return -1, unix.EMFILE
	}
	t.grow(i)
	t.used[i/64] |= 1 << (i % 64)
	return i, 0
}

// mark says whether a slot is closed on exec. mu is held.
func (t *Table) mark(i int, closeOnExec bool) {
	t.closeOnExec[i/64] &^= 1 << (i % 64)
	if closeOnExec {
		t.closeOnExec[i/64] |= 1 << (i % 64)
	}
}

// setCloseOnExec is FD_CLOEXEC, if the descriptor is open.
func (t *Table) setCloseOnExec(fd int, on bool) {
	t.mu.Lock()
	if t.own(fd) && t.lookup(fd) != nil {
		t.mark(t.slot(fd), on)
	}
	t.mu.Unlock()
}

// SetNonblock says whether calls on the descriptor wait (O_NONBLOCK).
func (t *Table) SetNonblock(fd int, nonblocking bool) error {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return unix.EBADF
	case f.kernel != nil:
		return other{k: f.kernel}.do(func(fd int) error { return unix.SetNonblock(fd, nonblocking) })
	}
	f.nonblock.Store(nonblocking)
	return nil
}

// FcntlInt is fcntl(2): F_DUPFD and F_DUPFD_CLOEXEC, F_GETFD and F_SETFD, F_GETFL and F_SETFL with O_NONBLOCK
// and O_ASYNC (O_APPEND and O_NOATIME are remembered), F_GETOWN and F_SETOWN, F_GETSIG and F_SETSIG; F_GETOWN_EX, F_SETOWN_EX and
// F_GETOWNER_UIDS with the address of what the kernel reads or writes there, which must not move (what is on a goroutine's stack
// does). What else there is, is for descriptors of the kernel's alone.
func (t *Table) FcntlInt(fd uintptr, cmd, arg int) (int, error) {
	f := t.lookup(int(fd))
	if f == nil {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		t.mu.Lock()
		most := t.number(t.limit)
		t.mu.Unlock()
		if arg < 0 || arg >= most {
			return -1, unix.EINVAL
		}
		return t.dup(int(fd), arg, cmd == unix.F_DUPFD_CLOEXEC)
	case unix.F_GETFD, unix.F_SETFD:
		if t.isForeign(int(fd)) {
			return unix.FcntlInt(fd, cmd, arg)
		}
	}
	switch cmd {
	case unix.F_GETFD:
		t.mu.Lock()
		defer t.mu.Unlock()
		if i := t.slot(int(fd)); t.own(int(fd)) && t.closeOnExec[i/64]&(1<<(i%64)) != 0 {
			return unix.FD_CLOEXEC, nil
		}
		return 0, nil
	case unix.F_SETFD:
		t.setCloseOnExec(int(fd), arg&unix.FD_CLOEXEC != 0)
		return 0, nil
	}
	if f.kernel != nil {
		n, err := asks(other{k: f.kernel}, func(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), cmd, arg) })
		if err != nil {
			n = -1
		}
		return n, err
	}
	n, errno := f.fcntl(t, cmd, arg)
	return n, failure(errno)
}

// Fstat is fstat(2): a socket is S_IFSOCK with every right, an epoll no kind of file. The inode is its own while it is open, on a
// device that is none of the kernel's: 0.
func (t *Table) Fstat(fd int, stat *unix.Stat_t) error {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return unix.EBADF
	case f.kernel != nil:
		return other{k: f.kernel}.do(func(fd int) error { return unix.Fstat(fd, stat) })
	}
	*stat = unix.Stat_t{Nlink: 1, Blksize: 4096, Ino: uint64(reflect.ValueOf(f).Pointer())}
	if f.epoll != nil {
		stat.Mode = 0o600
		return nil
	}
	stat.Mode, stat.Gid = unix.S_IFSOCK|0o777, uint32(unix.Getegid())
	stat.Uid = f.common().user
	return nil
}

// muteFlags are the status flags that F_SETFL sets on a socket, and that mean nothing to it.
const muteFlags = unix.O_APPEND | unix.O_NOATIME

// getOwnerUIDs is F_GETOWNER_UIDS (include/uapi/linux/fcntl.h), which package unix does not name.
const getOwnerUIDs = 17

// fcntl is what concerns the file and not its descriptor.
func (f *file) fcntl(t *Table, cmd, arg int) (int, unix.Errno) {
	switch cmd {
	case unix.F_GETFL:
		flags := unix.O_RDWR | int(f.mute.Load())
		if f.nonblock.Load() {
			flags |= unix.O_NONBLOCK
		}
		if s := f.signals.Load(); s != nil && s.async.Load() {
			flags |= unix.O_ASYNC
		}
		return flags, 0
	case unix.F_SETFL:
		if arg&unix.O_DIRECT != 0 {
			return -1, unix.EINVAL
		}
		f.mute.Store(uint32(arg & muteFlags))
		f.nonblock.Store(arg&unix.O_NONBLOCK != 0)
		if arg&unix.O_ASYNC != 0 || f.signals.Load() != nil {
			return 0, f.setAsync(t, arg&unix.O_ASYNC != 0)
		}
		return 0, 0
	case unix.F_GETOWN:
		return f.owned()
	case unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_GETOWN_EX, getOwnerUIDs:
		return 0, f.owner(t, func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), cmd, arg)
			return err
		})
	case unix.F_GETSIG:
		if s := f.signals.Load(); s != nil {
			return int(s.number.Load()), 0
		}
		return 0, 0
	case unix.F_SETSIG:
		if arg < 0 || arg > signalMax {
			return -1, unix.EINVAL
		}
		s, errno := f.signalling(t)
		if errno == 0 {
			s.number.Store(int32(arg))
		}
		return 0, errno
	case unix.F_GETLEASE:
		return unix.F_UNLCK, 0
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		return -1, unix.EBADF
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
		unix.F_GET_RW_HINT, unix.F_SET_RW_HINT:
		return -1, unix.EFAULT // they want an address, which no number here is
	}
	return -1, unix.EINVAL
}
