package engine

import (
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// leanDevice costs as little as a device can: rx frames arrive each time that more is
// called, and what is sent is forgotten.
type leanDevice struct {
	rx, tx  [batchMax]Frame
	waiting atomic.Int32
	lot     int32 // what Wait lets arrive
	efd     int
}

func newLean(t testing.TB) *leanDevice {
	d := &leanDevice{}
	mem := make([]byte, 2*batchMax*64)
	for i := range batchMax {
		d.rx[i].Data = mem[i*64 : i*64+64]
		d.tx[i].Data = mem[(batchMax+i)*64 : (batchMax+i)*64+64]
	}
	var err error
	if d.efd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(d.efd) })
	return d
}

func (d *leanDevice) Info() Info {
	return Info{Name: "lean", FrameLen: 64, KeepMax: batchMax, Region: 1}
}
func (d *leanDevice) Peek(frames []Frame) int {
	n := int(d.waiting.Load())
	if n == 0 {
		return 0
	}
	n = copy(frames, d.rx[:n])
	d.waiting.Store(0)
	return n
}
func (d *leanDevice) Release([]Frame)            {}
func (d *leanDevice) Reserve(frames []Frame) int { return copy(frames, d.tx[:]) }
func (d *leanDevice) Submit([]Frame, int)        {}
func (d *leanDevice) Unsent() bool               { return false }
func (d *leanDevice) Free(Frame)                 {}
func (d *leanDevice) Ready() bool                { return d.waiting.Load() > 0 }
func (d *leanDevice) Wait(mono.Time)             { d.waiting.Store(d.lot) }
func (d *leanDevice) Wake()                      {}
func (d *leanDevice) Err() error                 { return nil }
func (d *leanDevice) Stats() DeviceStats         { return DeviceStats{} }
func (d *leanDevice) Close() error               { return nil }
func (d *leanDevice) FD() int                    { return d.efd }

// leanHandler answers each frame with the frame itself.
type leanHandler struct {
	keep [batchMax]Frame
	kept int
	in   int
}

func (h *leanHandler) Input(_ int, frames []Frame, _ mono.Time) {
	for i := range frames {
		frames[i].Keep()
		h.keep[i] = frames[i]
	}
	h.kept = len(frames)
	h.in += len(frames)
}
func (h *leanHandler) Advance(mono.Time) int { return 0 }
func (h *leanHandler) Output(_ int, frames []Frame, _ mono.Time) int {
	n := copy(frames, h.keep[:h.kept])
	h.kept = copy(h.keep[:], h.keep[n:h.kept])
	return n
}
func (h *leanHandler) Deadline() mono.Time { return mono.Never }
func (h *leanHandler) Posted() bool        { return false }
func (h *leanHandler) Wake() int           { return 0 }

// leanWait is done when the handler has had n frames.
type leanWait struct {
	h *leanHandler
	n int
}

func (v *leanWait) Done(mono.Time) bool { return v.h.in >= v.n }
func (v *leanWait) Deadline() mono.Time { return mono.Never }
func (v *leanWait) Arm(*Waiter)         {}
func (v *leanWait) Disarm(*Waiter)      {}

func leanCore(t testing.TB, ports int) (*Core, []*leanDevice, *leanHandler) {
	h := &leanHandler{}
	var lean []*leanDevice
	var devices []Device
	for range ports {
		lean = append(lean, newLean(t))
		devices = append(devices, lean[len(lean)-1])
	}
	return openCore(t, Config{Devices: devices, Handler: h, Policy: Efficient, Manual: true}), lean, h
}

func TestNoAllocations(t *testing.T) {
	for _, ports := range []int{1, 3} {
		c, lean, h := leanCore(t, ports)
		for _, frames := range []int32{0, 1, batchMax} {
			if n := testing.AllocsPerRun(200, func() {
				lean[ports-1].waiting.Store(frames)
				c.Turn()
			}); n != 0 {
				t.Errorf("turn with %d frames, %d ports: %v allocations", frames, ports, n)
			}
		}
		w, v := NewWaiter(), &leanWait{h: h}
		if n := testing.AllocsPerRun(200, func() {
			lean[0].waiting.Store(1)
			v.n = h.in + 1
			c.Wait(w, v)
		}); n != 0 {
			t.Errorf("a wait that one turn serves, %d ports: %v allocations", ports, n)
		}
		if ports > 1 {
			continue
		}
		lean[0].lot = 1
		if n := testing.AllocsPerRun(200, func() {
			v.n = h.in + 1
			c.Wait(w, v)
		}); n != 0 {
			t.Errorf("a wait that sleeps: %v allocations", n)
		}
	}
}

// The sleep on several ports makes its system call without an allocation.
func TestPollAllocatesNothing(t *testing.T) {
	c, _, h := leanCore(t, 2)
	w, v := NewWaiter(), &timeout{h: h}
	if n := testing.AllocsPerRun(50, func() {
		v.deadline = c.Now().Add(1000)
		c.Wait(w, v)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// timeout is done at its deadline.
type timeout struct {
	h        *leanHandler
	deadline mono.Time
}

func (v *timeout) Done(now mono.Time) bool { return v.deadline.Due(now) }
func (v *timeout) Deadline() mono.Time     { return v.deadline }
func (v *timeout) Arm(*Waiter)             {}
func (v *timeout) Disarm(*Waiter)          {}

func BenchmarkTurn(b *testing.B) {
	for _, ports := range []int{1, 2} {
		for _, frames := range []int32{0, 1, batchMax} {
			b.Run(fmt.Sprintf("ports=%d/frames=%d", ports, frames), func(b *testing.B) {
				c, lean, _ := leanCore(b, ports)
				b.ReportAllocs()
				for b.Loop() {
					lean[0].waiting.Store(frames)
					c.Turn()
				}
			})
		}
	}
}

// BenchmarkWait is a call that one turn of its own serves.
func BenchmarkWait(b *testing.B) {
	c, lean, h := leanCore(b, 1)
	w, v := NewWaiter(), &leanWait{h: h}
	b.ReportAllocs()
	for b.Loop() {
		lean[0].waiting.Store(1)
		v.n = h.in + 1
		c.Wait(w, v)
	}
}

// BenchmarkPost is a request to a core that nobody holds.
func BenchmarkPost(b *testing.B) {
	c, _, _ := leanCore(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		c.Post()
	}
}

// BenchmarkHandOver is a frame for one of two callers in turn: a wake, a switch of
// goroutines and the role's way from one to the other.
func BenchmarkHandOver(b *testing.B) {
	h := &fakeHandler{}
	d := newEventDevice(b, "port")
	c := openCore(b, Config{Devices: []Device{d}, Handler: h})
	served := make(chan struct{})
	for i := range 2 {
		go func() {
			w := NewWaiter()
			for receive(c, w, &h.boxes[i], mono.Never) == got {
				served <- struct{}{}
			}
		}()
	}
	i := 0
	for b.Loop() {
		d.arrive([]byte{byte(i % 2)})
		<-served
		i++
	}
	h.boxes[0].shut()
	h.boxes[1].shut()
}
