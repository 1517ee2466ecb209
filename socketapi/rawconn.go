package socketapi

import (
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// lentBase is the lowest number that is lent to a socket of package net. It is beyond what the kernel gives (fs.nr_open
// is 1<<20, and with systemd 1<<30-8): a program that calls the kernel with it is told EBADF, and does not turn the
// knobs of somebody else's descriptor.
const lentBase = 1 << 30

// lending is the descriptors of sockets that are in no slot of a table. They can be used as others, but not
// closed or duplicated.
type lending struct {
	mu    sync.Mutex // guards what follows
	fds   map[*file]int
	of    map[int]*file
	given int // numbers so far: none is soon somebody else's
}

func (l *lending) next() int {
	l.given++
	return lentBase + l.given%lentBase
}

// lend returns the number of f, which it keeps until drop.
func (l *lending) lend(f *file) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd, ok := l.fds[f]; ok {
		return fd
	}
	if l.fds == nil {
		l.fds, l.of = map[*file]int{}, map[int]*file{}
	}
	fd := l.next()
	for l.of[fd] != nil { // the numbers have come round
		fd = l.next()
	}
	l.fds[f], l.of[fd] = fd, f
	return fd
}

func (l *lending) lookup(fd int) *file {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[fd]
}

func (l *lending) drop(f *file) {
	l.mu.Lock()
	if fd, ok := l.fds[f]; ok {
		delete(l.fds, f)
		delete(l.of, fd)
	}
	l.mu.Unlock()
}

// rawConn is a socket of package net as a descriptor.
type rawConn struct {
	s             *netSocket
	source, local net.Addr // of errors: source of those who read and write
	remote        net.Addr
	still         bool // a listener: there is nothing to read or write
}

// RawConn gives access to the socket's options and to the calls of package unix: the descriptors that the functions
// given to it get are numbers of the stack's [Table], non-blocking, and stay valid while the socket is open.
//
// It is deliberately not named SyscallConn: libraries that find a method of this name call the kernel with the
// number, and to the kernel it means nothing.
func (c *conn) RawConn() syscall.RawConn {
	return &rawConn{s: &c.netSocket, source: c.LocalAddr(), local: c.LocalAddr(), remote: c.RemoteAddr()}
}

// Control implements syscall.RawConn.
func (r *rawConn) Control(f func(fd uintptr)) error {
	fd, errno := r.lend()
	if errno != 0 {
		return opError("raw-control", r.s.network, "", nil, r.local, errno)
	}
	f(uintptr(fd))
	return nil
}

// Read implements syscall.RawConn: it calls f each time that there is something to read, until f says that it is done.
func (r *rawConn) Read(f func(fd uintptr) (done bool)) error {
	return r.each("raw-read", f, ring.In, func(w *waiting) *deadline { return &w.read })
}

// Write implements syscall.RawConn: it calls f each time that there is room, until f says that it is done.
func (r *rawConn) Write(f func(fd uintptr) (done bool)) error {
	return r.each("raw-write", f, ring.Out, func(w *waiting) *deadline { return &w.write })
}

// lend is the descriptor, EBADF if the socket is closed, EINVAL if there is none.
func (r *rawConn) lend() (int, unix.Errno) {
	if !r.s.ok() {
		return -1, unix.EINVAL
	}
	c := r.s.file.common()
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.s.file.closed.Load() {
		return -1, unix.EBADF
	}
	return r.s.st.table.lent.lend(&r.s.file), 0
}

func (r *rawConn) each(op string, f func(uintptr) bool, ev ring.Events, of func(*waiting) *deadline) error {
	if r.still {
		return unix.EINVAL
	}
	fail := func(errno unix.Errno) error {
		return opError(op, r.s.network, "", r.source, r.remote, errno)
	}
	for {
		fd, errno := r.lend()
		if errno != 0 {
			return fail(errno)
		}
		w := r.s.file.common().lookout.source()
		if w == nil {
			return fail(unix.ENOTCONN) // Control of a Dialer: there is no connection yet
		}
		if of(w).passed(r.s.st.host.Clock()) {
			return fail(unix.EAGAIN)
		}
		if f(uintptr(fd)) {
			return nil
		}
		if errno := w.await(ev, of(w), mono.Never); errno != 0 {
			return fail(errno)
		}
	}
}

// await waits until one of ev is ready, the deadline or until, for who does not otherwise call.
func (s *waiting) await(ev ring.Events, d *deadline, until mono.Time) unix.Errno {
	if errno := s.begin(); errno != 0 {
		return errno
	}
	defer s.leave()
	return s.wait(ev, need{}, d, until)
}
