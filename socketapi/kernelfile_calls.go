package socketapi

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
)

// other is what a descriptor is that is no socket of the engine's: its calls are the kernel's.
type other struct {
	k     *kernelFile
	errno unix.Errno // if it is none of the kernel's either
}

// other returns what to ask where sock has found nothing: the kernel, or nobody: EBADF, and ENOTSOCK
// of an epoll.
func (t *Table) other(fd int) other {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return other{errno: unix.EBADF}
	case f.kernel == nil:
		return other{errno: unix.ENOTSOCK}
	}
	return other{k: f.kernel}
}

// kernel returns the kernel's descriptor behind fd, nil if there is none.
func (t *Table) kernel(fd int) *kernelFile {
	if f := t.lookup(fd); f != nil {
		return f.kernel
	}
	return nil
}

// do makes a call with the kernel's descriptor, which stays open meanwhile. A call that a signal has
// ended is made again: the Go runtime sends itself some.
func (o other) do(call func(fd int) error) error {
	if o.errno != 0 {
		return o.errno
	}
	if !o.k.enter() {
		return unix.EBADF
	}
	defer o.k.leave()
	for {
		if err := call(o.k.fd); err != unix.EINTR {
			return err
		}
	}
}

// asks is do for a question.
func asks[T any](o other, call func(fd int) (T, error)) (v T, err error) {
	err = o.do(func(fd int) (err error) { v, err = call(fd); return err })
	return v, err
}

// patience is how long a call of one direction waits at most, and whether it does.
func (k *kernelFile) patience(opt int) (until mono.Time, waits bool) {
	if flags, err := unix.FcntlInt(uintptr(k.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		return 0, false
	}
	if k.kind != 0 {
		if tv, err := unix.GetsockoptTimeval(k.fd, unix.SOL_SOCKET, opt); err == nil && tv.Nano() != 0 {
			return engine.SystemClock.Now().Add(time.Duration(tv.Nano())), true
		}
	}
	return mono.Never, true
}

// blocking makes a call that may wait. It is tried without waiting; a goroutine that has to wait does
// so here and not in the kernel, so that close reaches it and no thread is held.
func (o other) blocking(flags int, events uint32, opt int, call func(fd, flags int) error) error {
	return o.do(func(fd int) error {
		if o.k.mute || flags&unix.MSG_DONTWAIT != 0 {
			return call(fd, flags)
		}
		var until mono.Time
		for asked := false; ; asked = true {
			err := call(fd, flags|unix.MSG_DONTWAIT)
			if err != unix.EAGAIN {
				return err
			}
			if !asked {
				waits := false
				if until, waits = o.k.patience(opt); !waits {
					return unix.EAGAIN
				}
			} else if events == unix.POLLOUT {
				return call(fd, flags) // there is room, but not for this: the kernel knows when
			}
			if errno := o.k.wait(events, until); errno != 0 {
				return errno
			}
		}
	})
}

// ready waits until a call that cannot be told not to wait would not.
func (o other) ready(fd int, events uint32, opt int) error {
	if o.k.mute {
		return nil
	}
	if until, waits := o.k.patience(opt); waits {
		return failure(o.k.wait(events, until))
	}
	return nil
}

// named is a call with an address. Without one it is EINVAL: package unix cannot say AF_UNSPEC.
func (o other) named(sa unix.Sockaddr, call func(fd int, sa unix.Sockaddr) error) error {
	return o.do(func(fd int) error {
		if sa == nil {
			return unix.EINVAL
		}
		return call(fd, sa)
	})
}

func (o other) accept(t *Table, flags int) (nfd int, sa unix.Sockaddr, err error) {
	var accepted int
	if o.errno == 0 && o.k.kind == 0 {
		o.errno = unix.ENOTSOCK
	}
	err = o.do(func(fd int) (err error) {
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens != 0 {
			if err := o.ready(fd, unix.POLLIN, unix.SO_RCVTIMEO); err != nil {
				return err
			}
		}
		accepted, sa, err = unix.Accept4(fd, flags|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return -1, nil, err
	}
	nfd, err = t.take(accepted, flags&unix.SOCK_CLOEXEC != 0)
	return nfd, sa, err
}

// plain is o for read and write, which an epoll has and refuses.
func (o other) plain() other {
	if o.errno == unix.ENOTSOCK {
		o.errno = unix.EINVAL
	}
	return o
}

func (o other) read(p []byte) (n int, err error) {
	o = o.plain()
	if o.errno == 0 && o.k.kind != 0 && len(p) > 0 {
		n, _, _, _, err = o.recvmsg([][]byte{p}, nil, 0)
		return n, err
	}
	err = o.do(func(fd int) (err error) {
		if err := o.ready(fd, unix.POLLIN, 0); err != nil {
			return err
		}
		n, err = unix.Read(fd, p)
		return err
	})
	if err != nil {
		n = -1
	}
	return n, err
}

func (o other) recvmsg(buffers [][]byte, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error) {
	events := uint32(unix.POLLIN)
	switch {
	case flags&unix.MSG_ERRQUEUE != 0:
		flags |= unix.MSG_DONTWAIT
	case flags&unix.MSG_OOB != 0:
		events = unix.POLLPRI
	}
	err = o.blocking(flags, events, unix.SO_RCVTIMEO, func(fd, flags int) (err error) {
		if flags&unix.MSG_WAITALL != 0 && flags&unix.MSG_DONTWAIT != 0 { // look first, then wait for all of it
			if _, _, _, _, err := unix.RecvmsgBuffers(fd, buffers, nil, flags&^unix.MSG_WAITALL|unix.MSG_PEEK); err != nil {
				return err
			}
			if _, waits := o.k.patience(unix.SO_RCVTIMEO); waits {
				flags &^= unix.MSG_DONTWAIT
			}
		}
		n, oobn, recvflags, from, err = unix.RecvmsgBuffers(fd, buffers, oob, flags|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return -1, 0, 0, nil, err
	}
	if oobn > 0 {
		o.k.table.adoptRights(oob[:oobn], &recvflags)
	}
	return n, oobn, recvflags &^ unix.MSG_CMSG_CLOEXEC, from, nil
}

func (o other) write(p []byte) (n int, err error) {
	o = o.plain()
	if o.errno == 0 && o.k.kind != 0 {
		return o.sendmsg([][]byte{p}, nil, nil, 0)
	}
	n, err = asks(o, func(fd int) (int, error) {
		if err := o.ready(fd, unix.POLLOUT, 0); err != nil {
			return -1, err
		}
		return unix.Write(fd, p)
	})
	if err != nil {
		n = -1
	}
	return n, err
}

// sendmsg sends all of a message, of which a stream may take the first part alone.
func (o other) sendmsg(buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	if len(oob) > 0 && o.errno == 0 {
		if oob, err = o.k.table.kernelRights(oob); err != nil {
			return -1, err
		}
	}
	whole := 0
	for _, b := range buffers {
		whole += len(b)
	}
	for {
		m := 0
		err = o.blocking(flags|unix.MSG_NOSIGNAL, unix.POLLOUT, unix.SO_SNDTIMEO, func(fd, flags int) (err error) {
			m, err = unix.SendmsgBuffers(fd, buffers, oob, to, flags)
			return err
		})
		if err != nil {
			if n > 0 {
				return n, nil
			}
			if err == unix.EPIPE {
				o.k.table.broken(o.k.kind, flags)
			}
			return -1, err
		}
		n += m
		if n >= whole || m == 0 || flags&unix.MSG_DONTWAIT != 0 || o.k.kind != unix.SOCK_STREAM {
			return n, nil
		}
		if _, waits := o.k.patience(unix.SO_SNDTIMEO); !waits {
			return n, nil
		}
		buffers, oob = skip(buffers, m), nil
	}
}

// skip is a message without its first n bytes.
func skip(buffers [][]byte, n int) [][]byte {
	for len(buffers) > 0 && n >= len(buffers[0]) {
		n -= len(buffers[0])
		buffers = buffers[1:]
	}
	if n == 0 {
		return buffers
	}
	rest := append([][]byte(nil), buffers...)
	rest[0] = rest[0][n:]
	return rest
}
