package socketapi

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// simWire is a simulated wire whose clock is moved to the machine's time by whoever looks at it: sockets that wait
// in goroutines of their own can stand at its ends, which [engine.Wire] leaves to one goroutine.
type simWire struct {
	mu    sync.Mutex // guards what follows
	clock simnet.Clock
	wire  *simnet.Wire
}

// simBatch is how many frames an end lends at once, in each direction.
const simBatch = 64

// simEnd is one end of it.
type simEnd struct {
	*simWire
	end     *simnet.End
	other   *simEnd
	info    engine.Info
	rx, tx  [simBatch][]byte
	lent    int // of rx
	wake    chan struct{}
	timer   *time.Timer // the sleeper's
	stats   engine.DeviceStats
	counted sync.Mutex // guards stats
	closed  atomic.Bool
}

// newSimWire makes a wire on which a frame takes delay, and perhaps as much again.
func newSimWire(t testing.TB, seed uint64, delay time.Duration) (a, b *simEnd) {
	t.Helper()
	w := new(simWire)
	way := simnet.Impairment{MTU: 1500, Delay: delay, Jitter: delay}
	var err error
	if w.wire, err = simnet.NewWire(&w.clock, simnet.Config{Seed: seed, AtoB: way, BtoA: way}); err != nil {
		t.Fatal(err)
	}
	mk := func(name string, last byte, end *simnet.End) *simEnd {
		e := &simEnd{simWire: w, end: end, wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
		e.timer.Stop()
		e.info = engine.Info{
			Name: name, Mode: "simulated", Addr: net.HardwareAddr{2, 0, 0, 0, 0, last}, MTU: 1500, FrameLen: pipeRoom,
		}
		for i := range simBatch {
			e.rx[i], e.tx[i] = make([]byte, pipeRoom), make([]byte, pipeRoom)
		}
		return e
	}
	a, b = mk("va", 1, w.wire.A), mk("vb", 2, w.wire.B)
	a.other, b.other = b, a
	return a, b
}

// now moves the wire's time. mu is held.
func (w *simWire) now() { w.clock.MoveTo(engine.SystemClock.Now()) }

func (e *simEnd) Info() engine.Info { return e.info }

func (e *simEnd) Peek(frames []engine.Frame) (n int) {
	e.mu.Lock()
	e.now()
	bytes := 0
	for n < len(frames) && e.lent < simBatch {
		frameLen, ok := e.end.Recv(e.rx[e.lent])
		if !ok {
			break
		}
		frames[n] = engine.Frame{Data: e.rx[e.lent][:frameLen]}
		bytes += frameLen
		e.lent++
		n++
	}
	e.mu.Unlock()
	e.counted.Lock()
	e.stats.RxPackets += uint64(n)
	e.stats.RxBytes += uint64(bytes)
	e.counted.Unlock()
	return n
}

func (e *simEnd) Release(frames []engine.Frame) { e.lent -= len(frames) }

func (e *simEnd) Reserve(frames []engine.Frame) int {
	n := min(len(frames), simBatch)
	for i := range n {
		frames[i] = engine.Frame{Data: e.tx[i]}
	}
	return n
}

func (e *simEnd) Submit(frames []engine.Frame, _ int) {
	e.mu.Lock()
	e.now()
	bytes := 0
	for i := range frames {
		e.end.Send(frames[i].Data)
		bytes += len(frames[i].Data)
	}
	e.mu.Unlock()
	e.counted.Lock()
	e.stats.TxPackets += uint64(len(frames))
	e.stats.TxBytes += uint64(bytes)
	e.counted.Unlock()
	if len(frames) > 0 {
		e.other.Wake() // it is to look when they come
	}
}

// busy says whether frames are on the wire, or at its other end before somebody has taken them.
func (e *simEnd) busy() bool {
	a, b := e.Stats(), e.other.Stats()
	return a.TxPackets != b.RxPackets || b.TxPackets != a.RxPackets
}

func (e *simEnd) Unsent() bool      { return false }
func (e *simEnd) Free(engine.Frame) { panic("a frame was kept, and Info said none may be") }

func (e *simEnd) Ready() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now()
	return e.end.Ready()
}

// Wait sleeps until a frame comes, or until, or Wake.
func (e *simEnd) Wait(until mono.Time) {
	if e.Ready() {
		return
	}
	e.mu.Lock()
	until = min(until, e.end.Next())
	e.mu.Unlock()
	if until == mono.Never {
		<-e.wake
		return
	}
	left := until.Sub(engine.SystemClock.Now())
	if left <= 0 {
		return
	}
	e.timer.Reset(left)
	select {
	case <-e.wake:
	case <-e.timer.C:
	}
	e.timer.Stop()
}

func (e *simEnd) Wake() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *simEnd) Err() error { return nil }

func (e *simEnd) Stats() engine.DeviceStats {
	e.counted.Lock()
	defer e.counted.Unlock()
	return e.stats
}

func (e *simEnd) Close() error {
	e.closed.Store(true)
	return nil
}

func (e *simEnd) isClosed() bool { return e.closed.Load() }

// The wire keeps its word on which the rows stand: everything arrives, in order, after the delay and within it and the jitter.
func TestSimWire(t *testing.T) {
	const delay = 2 * time.Millisecond
	a, b := newSimWire(t, 1, delay)
	out, in := make([]engine.Frame, 3), make([]engine.Frame, 8)
	began := time.Now()
	if n := a.Reserve(out); n != 3 {
		t.Fatalf("room for %d of 3", n)
	}
	for i := range out {
		out[i].Data = append(out[i].Data[:0], make([]byte, 60)...)
		out[i].Data[0] = byte(i)
	}
	a.Submit(out, 3)
	var got []byte
	for len(got) < 3 {
		b.Wait(mono.Never)
		n := b.Peek(in)
		if n > 0 && time.Since(began) < delay {
			t.Errorf("a frame came after %v", time.Since(began))
		}
		for _, f := range in[:n] {
			got = append(got, f.Data[0])
		}
		b.Release(in[:n])
	}
	if !slices.Equal(got, []byte{0, 1, 2}) {
		t.Errorf("they came as %v", got)
	}
}
