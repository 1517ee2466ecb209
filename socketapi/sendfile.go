package socketapi

import (
	"golang.org/x/sys/unix"
)

// Read first: sendfile(2); do_sendfile in fs/read_write.c.

// Sendfile sends up to count bytes of a file, one of the kernel's that Adopt was given, on a socket, or writes them to
// another of the kernel's. Without an offset it reads from where the file is and moves that on; with one it reads from there,
// leaves the file where it is, and moves the offset on. It returns how many bytes were sent: fewer than count at the end of
// the file, and where a non-blocking socket had no more room. What is no file that can be read anew is EINVAL, with an offset
// ESPIPE.
func (t *Table) Sendfile(outfd, infd int, offset *int64, count int) (written int, err error) {
	in, out := t.lookup(infd), t.lookup(outfd)
	switch {
	case in == nil || in.kernel != nil && !in.kernel.mode(unix.O_RDONLY):
		return -1, unix.EBADF
	case offset != nil && (in.kernel == nil || in.kernel.kind != 0):
		return -1, unix.ESPIPE
	case offset != nil && *offset < 0 || count < 0:
		return -1, unix.EINVAL
	case out == nil || out.kernel != nil && !out.kernel.mode(unix.O_WRONLY):
		return -1, unix.EBADF
	case in.kernel == nil || in.kernel.kind != 0 || out.epoll != nil:
		return -1, unix.EINVAL
	}
	from := in.kernel
	if !from.enter() {
		return -1, unix.EBADF
	}
	defer from.leave()
	if out.kernel != nil && !out.sock() && !out.kernel.pipe {
		return asks(other{k: out.kernel}, func(to int) (int, error) { return unix.Sendfile(to, from.fd, offset, count) })
	}
	at := int64(0)
	if offset != nil {
		at = *offset
	} else if at, err = unix.Seek(from.fd, 0, unix.SEEK_CUR); err != nil {
		return -1, unix.EINVAL // not a file: nothing to read again what was not sent
	}
	written, err = t.sendFrom(out, from.fd, at, count)
	if offset != nil {
		*offset = at + int64(written)
	} else if _, seek := unix.Seek(from.fd, at+int64(written), unix.SEEK_SET); err == nil {
		err = seek
	}
	if written == 0 && err != nil {
		return -1, err
	}
	return written, nil
}

// sendFrom sends of a file of the kernel's.
func (t *Table) sendFrom(out *file, from int, at int64, count int) (written int, err error) {
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	for written < count {
		want := min(count-written, scratchLen)
		n, err := unix.Pread(from, p[:want], at+int64(written))
		switch err {
		case unix.EINTR:
			continue
		case unix.EISDIR:
			err = unix.EINVAL // nothing that splice(2) could take from
		}
		if err != nil || n == 0 {
			return written, err
		}
		flags := 0
		if n == want && written+n < count {
			flags = unix.MSG_MORE
		}
		sent := 0
		if out.sock() {
			sent, err = t.send(out, p[:n], nil, nil, flags)
		} else {
			sent, err = out.other().write(p[:n])
		}
		if err != nil {
			return written, err
		}
		if written += sent; sent < n {
			break
		}
	}
	return written, nil
}

// mode says whether a descriptor is open for O_RDONLY or O_WRONLY.
func (k *kernelFile) mode(way int) bool {
	flags, err := unix.FcntlInt(uintptr(k.fd), unix.F_GETFL, 0)
	return err == nil && (flags&unix.O_ACCMODE == way || flags&unix.O_ACCMODE == unix.O_RDWR)
}
