package socketapi

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: fcntl(2) on F_SETOWN, F_SETSIG and O_ASYNC, socket(7) on signals; sk_send_sigurg and sk_wake_async in
// net/core/sock.c and include/net/sock.h.

// signalMax is _NSIG: no signal has a greater number.
const signalMax = 64

// A signalled is whom a file tells of what happens by a signal. It watches the file from when anything of it is
// first set.
type signalled struct {
	table  *Table
	number atomic.Int32 // F_SETSIG, 0: SIGIO
	async  atomic.Bool  // O_ASYNC
	bell   bell         // which has the owner
}

// tell sends SIGURG for urgent data, and SIGIO for anything to a file that is O_ASYNC. What the program has done to the socket
// itself, and an end that both sides have agreed on, is no reason for one.
func (s *signalled) tell(ev ring.Events) int {
	if ev == lookAgain || ev&^ring.Change == 0 || !s.bell.hung.Load() {
		return 0
	}
	if ev&ring.Pri != 0 {
		s.table.signals.post(posted{bell: &s.bell, number: unix.SIGURG})
	}
	if s.async.Load() {
		s.table.signals.post(posted{bell: &s.bell, number: unix.Signal(s.number.Load())})
	}
	return 0
}

// close ends it with its file. What has happened before is still signalled.
func (s *signalled) close(f *file) {
	f.unwatch(watch{by: s})
	if s.bell.hung.Load() {
		s.table.signals.post(posted{bell: &s.bell, last: true})
	}
}

// signalling returns the file's signal, and makes it if there is none yet.
func (f *file) signalling(t *Table) (*signalled, unix.Errno) {
	if f.socket == nil {
		return nil, unix.EINVAL
	}
	s := &signalled{table: t}
	if !f.signals.CompareAndSwap(nil, s) {
		return f.signals.Load(), 0
	}
	f.watch(watch{by: s, ev: ^ring.Events(0)})
	if f.closed.Load() { // shut may have looked before
		s.close(f)
		return nil, unix.EBADF
	}
	return s, 0
}

func (f *file) setAsync(t *Table, on bool) unix.Errno {
	s, errno := f.signalling(t)
	if errno == 0 {
		s.async.Store(on)
	}
	return errno
}

// owner asks of the owner, or sets him, as the kernel does for files of its own.
func (f *file) owner(t *Table, call func(fd int) error) unix.Errno {
	s, errno := f.signalling(t)
	if errno != 0 {
		return errno
	}
	errno = s.bell.do(call)
	if f.closed.Load() { // shut may have found no bell
		s.close(f)
	}
	return errno
}

// owned is F_GETOWN: a process, or with a minus a group.
func (f *file) owned() (who int, errno unix.Errno) {
	s := f.signals.Load()
	if s == nil || !s.bell.hung.Load() {
		return 0, 0
	}
	return who, s.bell.do(func(fd int) (err error) { // fcntl(2) tells a group below 4096 from an error to nobody
		who, err = unix.IoctlGetInt(fd, FIOGETOWN)
		who = int(int32(who))
		return err
	})
}

// RaiseSigpipe says whether writing to a stream that takes no more, without MSG_NOSIGNAL, sends the process SIGPIPE
// beside being EPIPE. It does not at first, as Go programs have it; what C programs have is not one for the
// process to die of either, unless it asks for that by [os/signal].
func (t *Table) RaiseSigpipe(on bool) { t.sigpipe.Store(on) }

// broken is a write of some kind of socket that was EPIPE.
func (t *Table) broken(kind, flags int) {
	if kind == unix.SOCK_STREAM && flags&unix.MSG_NOSIGNAL == 0 && t.sigpipe.Load() {
		t.signals.post(posted{number: unix.SIGPIPE})
	}
}

// signaller sends signals, since whoever hears of a reason for one holds a core's lock. Its goroutine
// lives while there are some to send.
type signaller struct {
	mu      sync.Mutex
	list    []posted
	running bool
}

// posted is one signal.
type posted struct {
	bell   *bell       // which it is rung by; nil: it is for this process
	number unix.Signal // 0: SIGIO
	last   bool        // instead of a signal: nobody rings any more
}

// post sends a signal soon. One that is waiting to be sent already is not sent twice: the kernel
// makes one of them as well.
func (g *signaller) post(new posted) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.list {
		if p == new {
			return
		}
	}
	g.list = append(g.list, new)
	if !g.running {
		g.running = true
		go g.run()
	}
}

func (g *signaller) run() {
	for {
		g.mu.Lock()
		if len(g.list) == 0 {
			g.running = false
			g.mu.Unlock()
			return
		}
		p := g.list[0]
		g.list = g.list[1:]
		g.mu.Unlock()
		switch {
		case p.bell == nil:
			unix.Kill(os.Getpid(), p.number)
		case p.last:
			p.bell.close()
		default:
			p.bell.ring(p.number)
		}
	}
}
