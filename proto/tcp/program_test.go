package tcp

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// A waiter is a goroutine's bed at a gate.
type waiter struct{ bell chan struct{} }

func (w *waiter) Notify(ring.Events) int {
	select {
	case w.bell <- struct{}{}:
		return 1
	default:
		return 0
	}
}

// TestProgramsWithoutTheLock runs readers and writers as goroutines that sleep at gates, beside a core that turns
// under its lock: every byte arrives, and nobody sleeps on while there is something for him. Small
// buffers make everybody wait for everybody.
func TestProgramsWithoutTheLock(t *testing.T) {
	w := newWorld(t, 1, Params{})
	w.check = false
	w.delay = 0
	l, _ := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 1, Options: Options{RcvBuf: 6000, SndBuf: 5000}})
	ca, errno := w.a.tcp.Connect(w.a.at(999), w.b.at(80), Options{RcvBuf: 7000, SndBuf: 4000}, w.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	w.run(time.Millisecond)
	cb := l.Accept()

	var core sync.Mutex // the lock of both cores
	turn := func() {    // what an engine does
		core.Lock()
		w.now += 20000
		w.turn()
		core.Unlock()
	}
	stop := make(chan struct{})
	var driver sync.WaitGroup
	driver.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				turn()
				runtime.Gosched()
			}
		}
	})
	kick := func(c *Conn) {
		core.Lock()
		c.Kick(w.now)
		core.Unlock()
	}
	const total = 300000
	sleep := func(c *Conn, b *waiter, want ring.Events) {
		c.Gate.Watch()
		defer c.Gate.Unwatch()
		for c.Readiness()&want == 0 {
			select {
			case <-b.bell:
			case <-time.After(20 * time.Second):
				t.Errorf("asleep for ever, ready %v, want %v", c.Readiness(), want)
				runtime.Goexit()
			}
		}
	}
	write := func(c *Conn, b *waiter) {
		buf := make([]byte, 3000)
		for off := uint64(0); off < total; {
			p := buf[:min(1+off*7%2999, total-off)]
			fill(p, off)
			n, errno, tell := c.Write(p)
			off += uint64(n)
			if tell {
				kick(c)
			}
			if n == 0 {
				if errno != unix.EAGAIN {
					t.Errorf("Write: %v", errno)
					return
				}
				sleep(c, b, ring.Out)
			}
		}
		core.Lock()
		c.Shutdown(unix.SHUT_WR, w.now)
		core.Unlock()
	}
	read := func(c *Conn, b *waiter) {
		buf := make([]byte, 5000)
		for off := uint64(0); ; {
			n, errno, tell := c.Read(buf[:1+off*11%4999])
			if i := wrongAt(buf[:n], off); i >= 0 {
				t.Errorf("byte %d is wrong", off+uint64(i))
				return
			}
			off += uint64(n)
			if tell {
				kick(c)
			}
			if n == 0 {
				if errno == 0 {
					if off != total {
						t.Errorf("read %d of %d", off, total)
					}
					return
				}
				if errno != unix.EAGAIN {
					t.Errorf("Read: %v", errno)
					return
				}
				sleep(c, b, ring.In)
			}
		}
	}
	// A reader and a writer sleep at each gate: its watcher rings both bells.
	both := func(c *Conn) (r, wr *waiter) {
		r, wr = &waiter{make(chan struct{}, 1)}, &waiter{make(chan struct{}, 1)}
		core.Lock()
		c.Gate.Init(pairOf{r, wr})
		core.Unlock()
		return r, wr
	}
	ra, sa := both(ca)
	rb, sb := both(cb)
	var programs sync.WaitGroup
	programs.Go(func() { write(ca, sa) })
	programs.Go(func() { write(cb, sb) })
	programs.Go(func() { read(ca, ra) })
	programs.Go(func() { read(cb, rb) })
	programs.Wait()
	close(stop)
	driver.Wait()
	ca.Close(w.now)
	cb.Close(w.now)
	w.listenersClosed()
	w.noLeaks()
}

// pairOf rings two bells.
type pairOf [2]*waiter

func (p pairOf) Notify(ev ring.Events) int { return p[0].Notify(ev) + p[1].Notify(ev) }
