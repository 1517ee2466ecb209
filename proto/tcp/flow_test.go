package tcp

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConnectSendClose(t *testing.T) {
	w := newWorld(t, 1, Params{})
	ca, cb := w.connect()
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 20, close: true, chunk: 10000, readEach: 5000}
	w.work = f.pump
	w.until(60*time.Second, func() bool { return f.ended })
	if f.read != f.size {
		t.Fatalf("read %d of %d", f.read, f.size)
	}
	w.run(time.Second)
	if cb.State() != CloseWait || ca.State() != FinWait2 {
		t.Errorf("half closed: %v, %v", ca.State(), cb.State())
	}
	w.work = nil
	back := &flow{w: w, src: cb, dst: ca, size: 100000, close: true, chunk: 4096, readEach: 4096}
	w.work = back.pump
	w.until(60*time.Second, func() bool { return back.ended })
	w.run(time.Second)
	if w.a.tcp.Count(TimeWait) != 1 || cb.State() != Closed {
		t.Errorf("after both closed: %d in TIME-WAIT, b %v", w.a.tcp.Count(TimeWait), cb.State())
	}
	w.work = nil
	ca.Close(w.now)
	cb.Close(w.now)
	w.listenersClosed()
	w.noLeaks()
}

func (w *world) listenersClosed() {
	for _, h := range []*host{w.a, w.b} {
		for port := range h.tcp.listeners {
			for h.tcp.listeners[port] != nil {
				h.tcp.listeners[port].Close(w.now)
			}
		}
	}
}

// TestBadPath moves data both ways at once over paths that lose, duplicate and reorder.
func TestBadPath(t *testing.T) {
	for seed := range uint64(12) {
		for _, p := range []struct {
			name string
			p    Params
		}{{"", Params{}}, {"nosack", Params{NoSACK: true}}, {"nots", Params{NoTimestamps: true, NoWindowScaling: true}}, {"reno", Params{Congestion: NewReno}}} {
			t.Run(fmt.Sprint(p.name, "seed=", seed), func(t *testing.T) { badPath(t, seed, p.p) })
		}
	}
}

func badPath(t *testing.T, seed uint64, p Params) {
	w := newWorld(t, seed, p)
	w.loss = []float64{0, 0.01, 0.05, 0.2}[seed%4]
	w.dup = []float64{0, 0.02, 0.2}[seed%3]
	w.reorder = []time.Duration{0, 3 * time.Millisecond, 40 * time.Millisecond}[seed/2%3]
	w.delay = []time.Duration{50 * time.Microsecond, 10 * time.Millisecond}[seed/3%2]
	ca, cb := w.connect()
	size := uint64(300000)
	fs := []*flow{
		{w: w, src: ca, dst: cb, size: size, close: true, chunk: 3000, readEach: 1 + int(seed*977)%9000},
		{w: w, src: cb, dst: ca, size: size / 3, close: true, chunk: 1 + int(seed*577)%5000, readEach: 700},
	}
	w.work = func() {
		for _, f := range fs {
			f.pump()
		}
	}
	w.until(4000*time.Second, func() bool { return fs[0].ended && fs[1].ended })
	for i, f := range fs {
		if f.read != f.size {
			t.Errorf("flow %d read %d of %d", i, f.read, f.size)
		}
	}
	w.work = nil
	ca.Close(w.now)
	cb.Close(w.now)
	w.listenersClosed()
	w.loss = 0
	w.run(1000 * time.Second)
	w.noLeaks()
}

func TestRefused(t *testing.T) {
	w := newWorld(t, 3, Params{})
	c, errno := w.a.tcp.Connect(w.a.at(1), w.b.at(2), Options{}, w.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	w.a.own(c)
	w.run(time.Second)
	if c.State() != Closed || c.TakeError() != unix.ECONNREFUSED || c.TakeError() != 0 {
		t.Error("a refused connection is", c.State())
	}
	c.Close(w.now)
	w.noLeaks()
}
