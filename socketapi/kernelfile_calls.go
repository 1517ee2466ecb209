package socketapi

import (
	"sync"
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
func (t *Table) other(fd int) other { return t.lookup(fd).other() }

func (f *file) other() other {
	switch {
	case f == nil:
		return other{errno: unix.EBADF}
	case f.kernel == nil:
		return other{errno: unix.ENOTSOCK}
	}
	return other{k: f.kernel}
}

// why is the errno of a call for sockets where there is none.
func (o other) why() unix.Errno {
	if o.errno == 0 && o.k.kind == 0 {
		return unix.ENOTSOCK
	}
	return o.errno
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

// sendAgain is how soon a message is tried again that the kernel has no room for though poll(2) sees some, which looks at the
// sender's buffer alone and not at the receiver's queue (unix_poll); and a peek that is to see more than there is.
const sendAgain = time.Millisecond

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
			}
			errno := unix.Errno(0)
			if asked && o.k.poll(events) != 0 {
				errno = o.k.pause(until)
			} else {
				errno = o.k.wait(events, until)
			}
			if errno != 0 {
				return errno
			}
		}
	})
}

// pause waits for what poll(2) does not tell: a little, or until the descriptor is closed.
func (k *kernelFile) pause(until mono.Time) unix.Errno {
	again := engine.SystemClock.Now().Add(sendAgain)
	if errno := k.wait(0, min(until, again)); errno != unix.EAGAIN || until <= again {
		return errno
	}
	return 0
}

// now makes a call that waits in the kernel where it would not wait; EAGAIN where it would. Nobody else of
// this table makes one like it meanwhile.
func (k *kernelFile) now(one *sync.Mutex, events uint32, call func() (int, error)) (n int, err error) {
	if !k.enter() {
		return -1, unix.EBADF
	}
	defer k.leave()
	one.Lock()
	defer one.Unlock()
	if !k.mute && k.poll(events) == 0 {
		return -1, unix.EAGAIN
	}
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = call()
	}
	return n, err
}

// readNow is read(2) that does not wait.
func (k *kernelFile) readNow(p []byte) (n int, err error) {
	return k.now(&k.taking, unix.POLLIN, func() (int, error) { return unix.Read(k.fd, p) })
}

// writeNow is write(2) that does not wait. A pipe that poll(2) says has room has room for pipeLeast bytes.
func (k *kernelFile) writeNow(p []byte) (n int, err error) {
	if k.pipe {
		p = p[:min(len(p), pipeLeast)]
	}
	return k.now(&k.giving, unix.POLLOUT, func() (int, error) { return unix.Write(k.fd, p) })
}

// pipeLeast is PIPE_BUF.
const pipeLeast = 4096

// patiently makes a call that does not wait until it need not.
func (o other) patiently(events uint32, opt int, call func() (int, error)) (n int, err error) {
	err = o.do(func(int) (err error) {
		until, waits := o.k.patience(opt)
		for {
			if n, err = call(); err != unix.EAGAIN || !waits {
				return err
			}
			if errno := o.k.wait(events, until); errno != 0 {
				return errno
			}
		}
	})
	return n, err
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

// connectSlice is how long a connect of AF_UNIX waits in the kernel at once for room in a backlog: as long as close may need to reach it.
const connectSlice = 10 * time.Millisecond

// connect waits in slices where a listener's backlog is full, since poll(2) does not tell when it is not (unix_stream_connect): the time that
// the kernel waits is SO_SNDTIMEO, which says nothing else of a socket that has no connection.
func (o other) connect(sa unix.Sockaddr) error {
	if o.errno != 0 || !o.k.unix {
		return o.named(sa, unix.Connect)
	}
	until, waits := o.k.patience(unix.SO_SNDTIMEO)
	if !waits {
		return o.named(sa, unix.Connect)
	}
	return o.named(sa, func(fd int, sa unix.Sockaddr) error {
		whole, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
		if err != nil {
			return err
		}
		defer unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, whole)
		for {
			slice := connectSlice
			if until != mono.Never {
				slice = max(min(slice, until.Sub(engine.SystemClock.Now())), time.Microsecond)
			}
			tv := unix.NsecToTimeval(int64(slice))
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
			err := unix.Connect(fd, sa)
			switch {
			case err != unix.EAGAIN && err != unix.EINTR:
				return err
			case o.k.ended.Load():
				return unix.EBADF
			case until.Due(engine.SystemClock.Now()):
				return unix.EAGAIN
			}
		}
	})
}

func (o other) accept(t *Table, flags int) (nfd int, sa unix.Sockaddr, err error) {
	if errno := o.why(); errno != 0 {
		return -1, nil, errno
	}
	nfd, errno := t.reserve() // first, as on Linux: EMFILE loses no connection
	if errno != 0 {
		return -1, nil, errno
	}
	accept := func() (fd int, err error) {
		fd, sa, err = unix.Accept4(o.k.fd, flags|unix.SOCK_CLOEXEC)
		return fd, err
	}
	accepted := -1
	if listens, _ := asks(o, func(fd int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN) }); listens == 0 || o.k.mute {
		accepted, err = asks(o, func(int) (int, error) { return accept() }) // it does not wait
	} else {
		accepted, err = o.patiently(unix.POLLIN, unix.SO_RCVTIMEO, func() (int, error) { return o.k.now(&o.k.taking, unix.POLLIN, accept) })
	}
	if err != nil {
		t.cancel(nfd)
		return -1, nil, err
	}
	t.fulfil(nfd, &file{kernel: newKernelFile(t, accepted)})
	t.setCloseOnExec(nfd, flags&unix.SOCK_CLOEXEC != 0)
	return nfd, sa, nil
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
	switch {
	case len(p) == 0: // which waits for nothing
		n, err = asks(o, func(fd int) (int, error) { return unix.Read(fd, p) })
	case o.errno == 0 && o.k.kind != 0:
		n, _, _, _, err = o.recvmsg([][]byte{p}, nil, 0)
	default:
		n, err = o.patiently(unix.POLLIN, 0, func() (int, error) { return o.k.readNow(p) })
	}
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
	all := flags&unix.MSG_WAITALL != 0 && flags&unix.MSG_DONTWAIT == 0 && o.errno == 0 && o.k.kind == unix.SOCK_STREAM
	whole, peek := sum(buffers), flags&unix.MSG_PEEK != 0
	err = o.blocking(flags&^unix.MSG_WAITALL, events, unix.SO_RCVTIMEO, func(fd, flags int) error {
		for {
			m, controls, got, sa, err := unix.RecvmsgBuffers(fd, buffers, oob, flags|unix.MSG_CMSG_CLOEXEC)
			if err != nil {
				return err
			}
			n, oobn, recvflags, from = n+m, controls, got, sa
			if peek {
				n = m
			}
			switch {
			case !all || m == 0 || n >= whole || controls > 0:
				return nil
			case peek && o.k.poll(unix.POLLRDHUP) != 0: // no more comes
				return nil
			case peek:
				return unix.EAGAIN
			}
			buffers = skip(buffers, m)
		}
	})
	if err != nil && n <= 0 {
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
	for {
		m := 0
		if len(p) == 0 || o.errno == 0 && !o.k.waits() { // the kernel does not wait either
			m, err = asks(o, func(fd int) (int, error) { return unix.Write(fd, p) })
		} else {
			m, err = o.patiently(unix.POLLOUT, 0, func() (int, error) { return o.k.writeNow(p) })
		}
		switch {
		case err != nil && n > 0:
			return n, nil
		case err != nil:
			return -1, err
		}
		n, p = n+m, p[m:]
		if len(p) == 0 || m == 0 || !o.k.pipe || !o.k.waits() {
			return n, nil
		}
	}
}

// waits says whether calls wait: O_NONBLOCK is not set.
func (k *kernelFile) waits() bool {
	_, waits := k.patience(0)
	return waits
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
