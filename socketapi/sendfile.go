package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Read first: sendfile(2), splice(2).

// Sendfile sends up to count bytes of a file, one of the kernel's that Adopt was given, on a socket. Without an
// offset it reads from where the file is and moves that on; with one it reads from there, leaves the file where
// it is, and moves the offset on. It returns how many bytes were sent: fewer than count at the end of the file, and
// where a non-blocking socket had no more room. A socket as the source is EINVAL.
func (t *Table) Sendfile(outfd, infd int, offset *int64, count int) (written int, err error) {
	in, out := t.lookup(infd), t.lookup(outfd)
	switch {
	case in == nil || out == nil:
		return -1, unix.EBADF
	case count < 0 || in.kernel == nil || in.kernel.kind != 0 || out.epoll != nil:
		return -1, unix.EINVAL
	case offset != nil && *offset < 0:
		return -1, unix.EINVAL
	}
	if out.kernel != nil {
		return asks(other{k: in.kernel}, func(from int) (int, error) {
			return asks(other{k: out.kernel}, func(to int) (int, error) { return unix.Sendfile(to, from, offset, count) })
		})
	}
	if !in.kernel.enter() {
		return -1, unix.EBADF
	}
	defer in.kernel.leave()
	at := int64(0)
	if offset != nil {
		at = *offset
	} else if at, err = unix.Seek(in.kernel.fd, 0, unix.SEEK_CUR); err != nil {
		return -1, unix.EINVAL // not a file: nothing to read again what was not sent
	}
	written, err = t.sendFrom(outfd, in.kernel.fd, at, count)
	if offset != nil {
		*offset = at + int64(written)
	} else if _, seek := unix.Seek(in.kernel.fd, at+int64(written), unix.SEEK_SET); err == nil {
		err = seek
	}
	if written == 0 && err != nil {
		return -1, err
	}
	return written, nil
}

// sendFrom sends of a file of the kernel's.
func (t *Table) sendFrom(outfd, from int, at int64, count int) (written int, err error) {
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	for written < count {
		want := min(count-written, scratchLen)
		n, err := unix.Pread(from, p[:want], at+int64(written))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return written, err
		}
		flags := 0
		if n == want && written+n < count {
			flags = unix.MSG_MORE
		}
		sent, err := t.send(outfd, p[:n], nil, nil, flags)
		if err != nil {
			return written, err
		}
		if written += sent; sent < n {
			break
		}
	}
	return written, nil
}

// Splice moves up to len bytes from one descriptor to another. The kernel's are spliced in the kernel (one of them is
// a pipe); of the engine's stream sockets one can be spliced to another, or to or from a descriptor of the
// kernel's. Nothing is taken from a socket that the other side does not take. It returns 0 at the end of the
// stream. SPLICE_F_NONBLOCK does not wait; offsets are for files (ESPIPE).
func (t *Table) Splice(rfd int, roff *int64, wfd int, woff *int64, len int, flags int) (n int64, err error) {
	r, w := t.lookup(rfd), t.lookup(wfd)
	switch {
	case r == nil || w == nil:
		return -1, unix.EBADF
	case flags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE) != 0 || len < 0 || r.epoll != nil || w.epoll != nil || r == w:
		return -1, unix.EINVAL
	case r.kernel != nil && w.kernel != nil:
		return asks(other{k: r.kernel}, func(from int) (int64, error) {
			return asks(other{k: w.kernel}, func(to int) (int64, error) {
				n, err := unix.Splice(from, roff, to, woff, len, flags)
				return int64(n), err
			})
		})
	case roff != nil || woff != nil:
		return -1, unix.ESPIPE
	case r.socket != nil && r.common().kind != unix.SOCK_STREAM, w.socket != nil && w.common().kind != unix.SOCK_STREAM:
		return -1, unix.EINVAL
	case len == 0:
		return 0, nil
	}
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	var m int
	if r.socket != nil {
		m, err = t.spliceFrom(r, rfd, w, wfd, p[:min(len, scratchLen)], flags)
	} else {
		m, err = t.spliceInto(rfd, wfd, p[:min(len, scratchLen)], flags)
	}
	if err != nil {
		return -1, err
	}
	return int64(m), nil
}

// spliceFrom looks at what a socket has, writes it, and takes what was written.
func (t *Table) spliceFrom(r *file, rfd int, w *file, wfd int, p []byte, flags int) (n int, err error) {
	dontwait := 0
	if flags&unix.SPLICE_F_NONBLOCK != 0 {
		dontwait = unix.MSG_DONTWAIT
	}
	seen, errno := r.recv(p, r.flags(dontwait)|unix.MSG_PEEK)
	if errno != 0 || seen.n == 0 {
		return 0, failure(errno)
	}
	if w.socket != nil {
		more := dontwait
		if flags&unix.SPLICE_F_MORE != 0 {
			more |= unix.MSG_MORE
		}
		n, err = t.send(wfd, p[:seen.n], nil, nil, more)
	} else {
		n, err = t.Write(wfd, p[:seen.n])
	}
	if err != nil {
		return 0, err
	}
	_, errno = r.recv(p[:n], unix.MSG_TRUNC|unix.MSG_DONTWAIT) // throws away what has been passed on
	return n, failure(errno)
}

// spliceInto reads of the kernel's and writes all of it, waiting for room whatever the socket's mode: there is
// no giving back.
func (t *Table) spliceInto(rfd, wfd int, p []byte, flags int) (n int, err error) {
	w := t.sock(wfd)
	if w == nil {
		return 0, unix.EBADF
	}
	if flags&unix.SPLICE_F_NONBLOCK != 0 {
		if k := t.kernel(rfd); k == nil || k.poll(unix.POLLIN) == 0 {
			return 0, unix.EAGAIN
		}
	}
	if n, err = t.Read(rfd, p); n <= 0 || err != nil {
		return max(n, 0), err
	}
	more := 0
	if flags&unix.SPLICE_F_MORE != 0 {
		more = unix.MSG_MORE
	}
	for sent := 0; sent < n; {
		m, errno := w.send(p[sent:n], nil, netip.AddrPort{}, more)
		if errno != 0 {
			return 0, errno
		}
		sent += m
	}
	return n, nil
}
