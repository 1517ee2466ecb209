package socketapi

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: splice(2); do_splice in fs/splice.c.

// Splice moves up to len bytes from one descriptor to another. The kernel's are spliced in the kernel (one of them is
// a pipe); of the engine's stream sockets one can be spliced to another, or to or from a descriptor of the
// kernel's. Nothing is taken from where the other side does not take it. It returns 0 at the end of the
// stream. SPLICE_F_NONBLOCK does not wait; offsets are for files of the kernel's.
func (t *Table) Splice(rfd int, roff *int64, wfd int, woff *int64, len int, flags int) (n int64, err error) {
	r, w := t.lookup(rfd), t.lookup(wfd)
	switch {
	case len == 0:
		return 0, nil
	case flags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE|spliceGift) != 0:
		return -1, unix.EINVAL
	case r == nil || w == nil:
		return -1, unix.EBADF
	case r.kernel != nil && !r.kernel.mode(unix.O_RDONLY), w.kernel != nil && !w.kernel.mode(unix.O_WRONLY):
		return -1, unix.EBADF
	case r.kernel != nil && w.kernel != nil:
		return spliceKernel(r.kernel, roff, w.kernel, woff, len, flags)
	case roff != nil && r.kernel != nil && r.kernel.pipe, woff != nil && w.kernel != nil && w.kernel.pipe:
		return -1, unix.ESPIPE
	case roff != nil || woff != nil:
		return -1, unix.EINVAL
	case len < 0 || r.epoll != nil || w.epoll != nil || r == w:
		return -1, unix.EINVAL
	case r.ours() && r.common().kind != unix.SOCK_STREAM, w.ours() && w.common().kind != unix.SOCK_STREAM:
		return -1, unix.EINVAL
	}
	p := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(p)
	var m int
	if r.ours() {
		m, err = t.spliceFrom(r, w, p[:min(len, scratchLen)], flags)
	} else {
		m, err = t.spliceInto(r.kernel, w, p[:min(len, scratchLen)], flags)
	}
	if err != nil {
		return -1, err
	}
	return int64(m), nil
}

// spliceGift is SPLICE_F_GIFT, which says nothing to splice(2).
const spliceGift = 8

// spliceKernel splices in the kernel, and waits here.
func spliceKernel(r *kernelFile, roff *int64, w *kernelFile, woff *int64, len, flags int) (int64, error) {
	if !r.pipe && !w.pipe {
		return -1, unix.EINVAL
	}
	return asks(other{k: r}, func(from int) (n int64, err error) {
		return asks(other{k: w}, func(to int) (int64, error) {
			if flags&unix.SPLICE_F_NONBLOCK != 0 {
				return unix.Splice(from, roff, to, woff, len, flags)
			}
			try := flags | unix.SPLICE_F_NONBLOCK
			for {
				n, err := int64(-1), error(unix.EAGAIN)
				if r.kind == 0 || r.poll(unix.POLLIN) != 0 { // a socket does not look at SPLICE_F_NONBLOCK
					n, err = unix.Splice(from, roff, to, woff, len, try)
				}
				if err != unix.EAGAIN {
					return n, err
				}
				errno := unix.Errno(0)
				switch {
				case r.poll(unix.POLLIN) == 0:
					errno = r.until(unix.POLLIN, unix.SO_RCVTIMEO)
				case w.poll(unix.POLLOUT) == 0:
					errno = w.until(unix.POLLOUT, unix.SO_SNDTIMEO)
				default:
					try = flags // the kernel knows for what
				}
				if errno != 0 {
					return -1, errno
				}
			}
		})
	})
}

// spliceFrom gives away what a stream has.
func (t *Table) spliceFrom(r, w *file, p []byte, flags int) (n int, err error) {
	dontwait, more := 0, unix.MSG_DONTWAIT
	if flags&unix.SPLICE_F_NONBLOCK != 0 {
		dontwait = unix.MSG_DONTWAIT
	}
	if flags&unix.SPLICE_F_MORE != 0 {
		more |= unix.MSG_MORE
	}
	give := func(p []byte) (int, error) {
		if w.sock() {
			return t.send(w, p, nil, nil, more)
		}
		return w.kernel.writeNow(p)
	}
	for {
		seen, errno := r.recv(p[:1], r.flags(dontwait)|unix.MSG_PEEK)
		if errno != 0 || seen.n == 0 {
			return 0, failure(errno)
		}
		conn := r.socket.(*tcpSocket).conn.Load()
		if conn == nil {
			return 0, unix.ENOTCONN
		}
		if n, err = conn.pass(p, give); err != unix.EAGAIN || dontwait != 0 {
			return n, err
		}
		if errno := w.roomy(); errno != 0 {
			return 0, errno
		}
	}
}

// spliceInto takes what there is room for.
func (t *Table) spliceInto(r *kernelFile, w *file, p []byte, flags int) (n int, err error) {
	more := 0
	if flags&unix.SPLICE_F_MORE != 0 {
		more = unix.MSG_MORE
	}
	for {
		conn := w.socket.(*tcpSocket).conn.Load()
		if conn == nil {
			_, err := t.send(w, nil, nil, nil, 0)
			return 0, err
		}
		n, err = conn.fill(p, more, r.readNow)
		if err == unix.EPIPE {
			t.broken(unix.SOCK_STREAM, 0)
		}
		if err != unix.EAGAIN || flags&unix.SPLICE_F_NONBLOCK != 0 {
			return n, err
		}
		errno := unix.Errno(0)
		switch r.poll(unix.POLLIN) {
		case 0:
			errno = r.until(unix.POLLIN, unix.SO_RCVTIMEO)
		case unix.POLLHUP: // the end of a pipe, room or not
			return 0, nil
		default:
			errno = w.roomy()
		}
		if errno != 0 {
			return 0, errno
		}
	}
}

// roomy waits until a descriptor takes something, as a call on it would.
func (w *file) roomy() unix.Errno {
	if w.kernel != nil {
		return w.kernel.until(unix.POLLOUT, unix.SO_SNDTIMEO)
	}
	s := w.socket.(*tcpSocket)
	conn := s.conn.Load()
	switch {
	case w.nonblock.Load():
		return unix.EAGAIN
	case conn == nil:
		return 0 // the call says what is wrong
	}
	return conn.waiting.await(ring.Out, &conn.waiting.write, s.sndTimeo.until(s.host))
}

// until waits as a call of one direction does: not if the descriptor does not wait.
func (k *kernelFile) until(events uint32, opt int) unix.Errno {
	at, waits := k.patience(opt)
	if !waits {
		return unix.EAGAIN
	}
	return k.wait(events, at)
}

// pass gives away what is read next, up to len(p) bytes of it, and takes as much as give says. Nobody else reads
// meanwhile: give does not wait.
func (s *stream) pass(p []byte, give func([]byte) (int, error)) (n int, err error) {
	if errno := s.begin(); errno != 0 {
		return 0, errno
	}
	defer s.leave()
	s.reading.Lock()
	seen, errno := s.conn.Peek(p, 0)
	if seen == 0 {
		s.reading.Unlock()
		return 0, failure(errno)
	}
	tell := false
	if n, err = give(p[:seen]); n > 0 {
		_, _, tell = s.conn.Discard(n)
	}
	s.reading.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	return max(n, 0), err
}

// fill writes what take brings, no more than there is room for. Nobody else writes meanwhile: take does not wait. Where the
// core's memory is used up before the room is, what has been taken waits for more, whatever the socket's mode.
func (s *stream) fill(p []byte, flags int, take func([]byte) (int, error)) (n int, err error) {
	if errno := s.beginWrite(); errno != 0 {
		return 0, errno
	}
	defer s.leave()
	s.writing.Lock()
	room, errno := s.conn.Room()
	if errno != 0 {
		s.writing.Unlock()
		return 0, errno
	}
	if n, err = take(p[:min(len(p), room)]); n <= 0 || err != nil {
		s.writing.Unlock()
		return 0, err
	}
	s.conn.Hold(flags&unix.MSG_MORE != 0)
	m, errno, tell := s.conn.Write(p[:n])
	s.writing.Unlock()
	if tell {
		s.core.Post(&s.post)
	}
	if m < n && (errno == 0 || errno == unix.EAGAIN) {
		_, errno = s.write(p[m:n], flags, mono.Never)
	}
	if errno != 0 {
		s.postpone(errno)
	}
	return n, nil
}
