package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/sysctl"
)

// A path of 200 ms and 1 Gbit/s has 25 MB on its way. With room in tcp_rmem and tcp_wmem both buffers grow to what it takes, in the time
// that slow start does, and then the path is full.
func TestBuffersGrowToALongFatPath(t *testing.T) {
	most := Memory{Max: 64 << 20}
	w := newWorld(t, 11, Params{Rmem: most, Wmem: most})
	w.check = false
	rate := 1e9 / 8 // and a queue without end: losses are another test's
	if testing.Short() {
		rate /= 8
	}
	w.delay, w.rate = 100*time.Millisecond, rate
	w.a.pool.SetLimit(256 << 20) // the default of a core
	w.b.pool.SetLimit(256 << 20)
	ca, cb := w.connect()
	before := ca.tx.Limit() + cb.rx.Limit()
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 18, readEach: 1 << 18}
	w.work = f.pump
	w.run(4 * time.Second) // eleven round trips of slow start, and CUBIC's way to the top
	read, start := f.read, w.now
	w.run(500 * time.Millisecond)
	got := float64(f.read-read) / w.now.Sub(start).Seconds() / rate
	t.Logf("%.3f of the rate; buffers of %d and %d bytes, grown from %d together", got, ca.tx.Limit(), cb.rx.Limit(), before)
	if got < 0.94 { // headers are 0.047
		t.Errorf("%.3f of the rate: %+v", got, ca.Info(w.now))
	}
	if path := int(rate * 0.2); ca.tx.Limit() < path || cb.rx.Limit() < path {
		t.Errorf("the buffers are of %d and %d bytes", ca.tx.Limit(), cb.rx.Limit())
	}
}

// A program that does not read has a small buffer, and one that a program has fixed stays (SO_RCVBUF, SO_SNDBUF;
// tcp_moderate_rcvbuf = 0).
func TestBuffersThatDoNotGrow(t *testing.T) {
	for _, c := range []struct {
		name     string
		p        Params
		rcv, snd int // fixed
		slow     bool
		most     int
	}{
		{"fixed", Params{}, 40000, 40000, false, 40000},
		{"tcp_moderate_rcvbuf = 0", Params{NoTuning: true}, 0, 0, false, 128 << 10},
		{"a slow reader", Params{}, 0, 0, true, 128 << 10},
		{"tcp_rmem", Params{Rmem: Memory{Default: 64 << 10, Max: 200_000}}, 0, 0, false, 200_000},
	} {
		w := newWorld(t, 3, c.p)
		w.delay, w.rate = 10*time.Millisecond, 10e6
		ca, cb := w.connect()
		cb.SetOptions(Options{RcvBuf: c.rcv}, w.now)
		ca.SetOptions(Options{SndBuf: c.snd}, w.now)
		f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 14, readEach: 1 << 14}
		if c.slow {
			f.readEach = 0
		}
		w.work = f.pump
		w.run(2 * time.Second)
		if got := cb.rx.Limit(); got > c.most {
			t.Errorf("%s: the receive buffer is %d", c.name, got)
		}
		if got := ca.tx.Limit(); c.snd != 0 && got != c.snd {
			t.Errorf("%s: the send buffer is %d", c.name, got)
		}
	}
}

// tcp_mem: from its second number on buffers do not grow, until less than the first is held.
func TestBuffersUnderMemoryPressure(t *testing.T) {
	w := newWorld(t, 3, Params{})
	p := w.b.tcp.Params()
	if err := sysctl.Find(Knobs, "tcp_mem").Set(&p, "4 8 4096"); err != nil {
		t.Fatal(err)
	}
	w.b.tcp.SetParams(p)
	w.delay, w.rate = 10*time.Millisecond, 10e6
	ca, cb := w.connect()
	hog, hogged := w.connectTo(w.b.tcp.listening(w.b.addr, 80), 40001, Options{})
	hog.Write(make([]byte, 64<<10)) // nobody reads it
	hog.Kick(w.now)
	w.run(time.Second)
	if !w.b.tcp.pressed() {
		t.Fatalf("%d bytes are no pressure", w.b.pool.Used())
	}
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 14, readEach: 1 << 14}
	w.work = f.pump
	w.run(2 * time.Second)
	if got := cb.rx.Limit(); got != 128<<10 {
		t.Errorf("under pressure the buffer has grown to %d", got)
	}
	if f.read < 1e6 {
		t.Errorf("under pressure %d bytes came through", f.read)
	}
	for n := 1; n > 0; n, _, _ = hogged.Read(make([]byte, 1<<16)) {
	}
	hogged.Kick(w.now)
	w.b.tcp.SetParams(w.a.tcp.Params())
	w.run(2 * time.Second)
	if got := cb.rx.Limit(); got <= 128<<10 {
		t.Errorf("without pressure the buffer is still %d", got)
	}
}
