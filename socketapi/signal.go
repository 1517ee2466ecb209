package socketapi

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: fcntl(2) on F_SETOWN, F_SETSIG and O_ASYNC, socket(7) on signals; sk_send_sigurg in
// net/core/sock.c.

// signalMax is _NSIG: no signal has a greater number.
const signalMax = 64

// A signalled is whom a file tells of what happens by a signal. It watches the file from when anything of it is
// first set.
type signalled struct {
	table  *Table
	owner  atomic.Int32 // F_SETOWN: a process, or with a minus a group; 0: nobody
	number atomic.Int32 // F_SETSIG, 0: SIGIO
	async  atomic.Bool  // O_ASYNC
}

// tell sends SIGURG for urgent data, and SIGIO for anything to a file that is O_ASYNC.
func (s *signalled) tell(ev ring.Events) int {
	owner := int(s.owner.Load())
	if owner == 0 {
		return 0
	}
	if ev&ring.Pri != 0 && ev != ^ring.Events(0) {
		s.table.signals.post(owner, unix.SIGURG)
	}
	if s.async.Load() {
		number := unix.Signal(s.number.Load())
		if number == 0 {
			number = unix.SIGIO
		}
		s.table.signals.post(owner, number)
	}
	return 0
}

// close ends it with its file.
func (s *signalled) close(f *file) { f.unwatch(watch{by: s}) }

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

// setOwner is F_SETOWN: ESRCH if there is no such process or group. The group of init's is EPERM: it cannot be said to kill(2),
// which takes -1 for everyone.
func (f *file) setOwner(t *Table, owner int) unix.Errno {
	switch {
	case owner != int(int32(owner)) || int32(owner) == -1<<31:
		return unix.EINVAL
	case owner == -1:
		return unix.EPERM
	}
	if owner != 0 && unix.Kill(owner, 0) == unix.ESRCH {
		return unix.ESRCH
	}
	s, errno := f.signalling(t)
	if errno == 0 {
		s.owner.Store(int32(owner))
	}
	return errno
}

// RaiseSigpipe says whether writing to a stream that takes no more, without MSG_NOSIGNAL, sends the process SIGPIPE
// beside being EPIPE. It does not at first, as Go programs have it; what C programs have is not one for the
// process to die of either, unless it asks for that by [os/signal].
func (t *Table) RaiseSigpipe(on bool) { t.sigpipe.Store(on) }

// broken is a write of some kind of socket that was EPIPE.
func (t *Table) broken(kind, flags int) {
	if kind == unix.SOCK_STREAM && flags&unix.MSG_NOSIGNAL == 0 && t.sigpipe.Load() {
		t.signals.post(os.Getpid(), unix.SIGPIPE)
	}
}

// signaller sends signals, since whoever hears of a reason for one holds a core's lock. Its goroutine
// lives while there are some to send.
type signaller struct {
	mu      sync.Mutex
	list    []posted
	running bool
}

type posted struct {
	owner  int
	number unix.Signal
}

// post sends a signal soon. One that is waiting to be sent already is not sent twice: the kernel
// makes one of them as well.
func (g *signaller) post(owner int, number unix.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.list {
		if p.owner == owner && p.number == number {
			return
		}
	}
	g.list = append(g.list, posted{owner, number})
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
		unix.Kill(p.owner, p.number) // whoever has gone is not told
	}
}
