package xsk

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every frame that goes into one end comes out of the other, once, in order, whole.
func TestVethInOrder(t *testing.T) {
	w := newWire(t, 1)
	a, b := w.va.open(t, w.va.config()), w.vb.open(t, w.vb.config())
	const total = 20_000
	sent, got := 0, 0
	check := func(d []byte) {
		if n := binary.BigEndian.Uint32(d[14:]); len(d) != 100 || n != uint32(got) {
			t.Fatalf("packet %d has number %d and %d bytes", got, n, len(d))
		}
		got++
	}
	for got < total {
		eventually(t, "the next packet", func() bool {
			if sent < total && sent-got < 128 { // what fits into rx ring and veth's own
				sent += a.send(uint32(sent), min(32, total-sent), 100)
			} else {
				a.Kick()
			}
			return b.receive(check) > 0
		})
	}
	if st := a.Stats(); st.Busy != 0 || st.KickErrors != 0 || st.Refused != 0 || st.Kicks == 0 {
		t.Errorf("sender: %+v", st)
	}
	if k, err := b.KernelStats(); err != nil || k.RxDropped != 0 {
		t.Errorf("receiver: %+v, %v", k, err)
	}
	if i := a.Info(); i.ZeroCopy || !i.NeedWakeup || len(i.Refused) != 1 || !errors.Is(i.Refused[0].Err, unix.EOPNOTSUPP) {
		t.Errorf("veth has no zero-copy; got %+v", i)
	}
	a.close()
	b.close()
}

// Frames are everywhere when the sockets close: lent, in fill, unread in rx, unsent in tx.
func TestCloseWithFramesEverywhere(t *testing.T) {
	w := newWire(t, 1)
	a, b := w.va.open(t, w.va.config()), w.vb.open(t, w.vb.config())
	a.send(0, 40, 60)
	eventually(t, "packets", b.Ready)
	b.Release(b.Peek(7)) // seven stay lent for ever
	n := a.UMEM().Alloc(a.batch[:5])
	for i := range n {
		a.descs[i] = Desc{Addr: a.batch[i], Len: 60}
	}
	a.Submit(a.descs[:n]) // no kick: they stay in the tx ring
	if c := a.UMEM().Census(); c.Tx < 5 || c.Fill != 256 || c.Free+c.Tx+c.Fill != c.Frames {
		t.Error(c)
	}
	if c := b.UMEM().Census(); c.Lent != 7 || c.Fill != 249 {
		t.Error(c)
	}
	a.close()
	b.close()
}

// The kernel would never complete what it refuses: Submit must not let it through.
func TestSubmitRefuses(t *testing.T) {
	for _, want := range []Want{Off, Prefer} {
		w := newWire(t, 1)
		cfg := w.va.config()
		cfg.MultiBuffer = want
		a := w.va.open(t, cfg)
		submitRefuses(t, a)
		u := a.UMEM()
		var f [1]uint64
		u.Alloc(f[:])
		again := Desc{Addr: f[0], Len: 60}
		if n := a.Submit([]Desc{again}); n != 1 {
			t.Fatal("not taken")
		}
		misuses(t, u, "double submit", func() { a.Submit([]Desc{again}) })
		u.misused.Store(0)
		a.close()
	}
}

func submitRefuses(t *testing.T, a *port) {
	u := a.UMEM()
	var f [4]uint64
	for _, tc := range []struct {
		name  string
		descs func() []Desc
	}{
		{"empty", func() []Desc { return []Desc{{Addr: f[0]}} }},
		{"longer than its frame", func() []Desc { return []Desc{{Addr: f[0] + 1000, Len: 1049}} }},
		{"huge", func() []Desc { return []Desc{{Addr: f[0], Len: 1<<32 - 1}} }},
		{"with unknown options", func() []Desc { return []Desc{{Addr: f[0], Len: 60, Options: 8}} }},
		{"without an end", func() []Desc { return []Desc{{Addr: f[0], Len: 60, Options: Contd}} }},
		{"long and without an end", func() []Desc {
			return []Desc{{Addr: f[0], Len: 60, Options: Contd}, {Addr: f[1], Len: 60, Options: Contd}}
		}},
		{"with a bad end", func() []Desc { return []Desc{{Addr: f[0], Len: 60, Options: Contd}, {Addr: f[1], Len: 0}} }},
	} {
		u.Alloc(f[:])
		descs := append([]Desc{{Addr: f[3], Len: 60}}, tc.descs()...) // a good one before them
		before := a.Stats().Refused
		if n := a.Submit(descs); n != len(descs) {
			t.Errorf("%s: used up %d of %d", tc.name, n, len(descs))
		}
		if got := a.Stats().Refused - before; got != uint64(len(descs)-1) {
			t.Errorf("%s: refused %d frames", tc.name, got)
		}
		a.Kick()
		a.Complete()
		for _, addr := range f {
			if u.owner[addr>>u.shift] == lent {
				u.Free(addr)
			}
		}
	}
	if !a.Info().MultiBuffer { // valid elsewhere, not here
		u.Alloc(f[:2])
		a.Submit([]Desc{{Addr: f[0], Len: 60, Options: Contd}, {Addr: f[1], Len: 60}})
		a.Kick()
	}
	if k, err := a.KernelStats(); err != nil || k.TxInvalid != 0 {
		t.Errorf("%d invalid descriptors reached the kernel (%v)", k.TxInvalid, err)
	}
	eventually(t, "all frames", func() bool { a.Kick(); a.Complete(); return u.Census().Tx == 0 })
}

func TestBindBusy(t *testing.T) {
	w := newWire(t, 1)
	a := w.va.open(t, w.va.config())
	u := openUMEM(t, UMEMConfig{Frames: 1024, FrameSize: 2048})
	_, err := Open(u, w.va.config())
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "queue 0 of va in use") {
		t.Errorf("Open on a taken queue: %v", err)
	}
	if c := u.Census(); c.Free != c.Frames {
		t.Error("the failed Open kept frames: ", c)
	}
	// The same UMEM is good for another try, once the queue is free.
	a.close()
	s, err := Open(u, w.va.config())
	if err != nil {
		t.Fatal(err)
	}
	(&port{t: t, Socket: s}).close()
}

func TestReopenAtOnce(t *testing.T) {
	w := newWire(t, 1)
	for range 5 {
		w.va.open(t, w.va.config()).close()
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWire(t, 1)
	u := openUMEM(t, UMEMConfig{Frames: 64, FrameSize: 2048})
	for _, tc := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"odd ring", "power of two", func(c *Config) { c.RxSize = 100 }},
		{"no ring", "neither", func(c *Config) { c.RxSize, c.TxSize = 0, 0 }},
		{"too much prime", "fill ring has", func(c *Config) { c.Prime = 1000 }},
		{"prime beyond the umem", "free frames, for 64", func(c *Config) { c.Prime = 65 }},
		{"no queue", "no queue 7", func(c *Config) { c.Queue, c.Prime = 7, 0 }},
		{"no interface", "is gone", func(c *Config) { c.Index, c.Prime = 9999, 0 }},
		{"zero-copy", "no AF_XDP zero-copy", func(c *Config) { c.Mode, c.Prime = ZeroCopy, 0 }},
	} {
		cfg := w.va.config()
		tc.change(&cfg)
		s, err := Open(u, cfg)
		if err == nil {
			t.Errorf("%s: opened", tc.name)
			s.Close()
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v does not say %q", tc.name, err, tc.want)
		}
		if c := u.Census(); c.Free != c.Frames {
			t.Fatalf("%s: frames left behind: %v", tc.name, c)
		}
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}

// Two queues of one interface, and a queue of another one, on one memory: a frame received on one
// is sent on the other without a copy.
func TestSharedUMEM(t *testing.T) {
	w := newWire(t, 2)
	u := openUMEM(t, UMEMConfig{Frames: 2048, FrameSize: 2048})
	var ports []*port
	for _, e := range []struct {
		end   *end
		queue int
	}{{&w.va, 0}, {&w.va, 1}, {&w.vb, 0}} {
		cfg := e.end.config()
		cfg.Queue = e.queue
		s, err := Open(u, cfg)
		if err != nil {
			t.Fatal(err)
		}
		e.end.steer(t, s)
		ports = append(ports, &port{t: t, Socket: s})
	}
	other := w.vb.config()
	other.Queue = 1
	far := w.vb.open(t, other)

	ports[0].send(41, 1, 80) // va 0 → vb 0
	eventually(t, "a packet on vb", ports[2].Ready)
	n := ports[2].Peek(8)
	d := ports[2].Rx(0)
	ports[2].Release(n)
	if got := ports[1].Submit([]Desc{d}); n != 1 || got != 1 { // as it lies: va 1 → vb 1
		t.Fatalf("received %d, forwarded %d", n, got)
	}
	ports[1].Kick()
	eventually(t, "the forwarded packet", far.Ready)
	far.receive(func(data []byte) {
		if len(data) != 80 || binary.BigEndian.Uint32(data[14:]) != 41 {
			t.Errorf("%d bytes, number %d", len(data), binary.BigEndian.Uint32(data[14:]))
		}
	})
	// The socket that registered the memory goes first: the others must live on, and a new one find them.
	for i := range ports {
		if err := ports[i].Close(); err != nil {
			t.Error(err)
		}
		if i == 0 {
			s, err := Open(u, w.va.config())
			if err != nil {
				t.Fatal("reopen on the shared umem: ", err)
			}
			ports[0].Socket = s
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if c := u.Census(); c.Free != c.Frames {
		t.Error(c)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	far.close()
}

// Two sockets on one queue share its fill and completion rings.
func TestSharedQueue(t *testing.T) {
	w := newWire(t, 1)
	first := w.va.open(t, w.va.config())
	cfg := w.va.config()
	cfg.Prime = 0
	s, err := Open(first.UMEM(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := &port{t: t, Socket: s}
	b := w.vb.open(t, w.vb.config())
	second.send(7, 3, 60)
	got := 0
	eventually(t, "three packets", func() bool { got += b.receive(func([]byte) {}); return got == 3 })
	eventually(t, "completions", func() bool { first.Complete(); return first.UMEM().Census().Tx == 0 })
	if err := first.Close(); err == nil || !strings.Contains(err.Error(), "share its fill ring") {
		t.Fatal("closing the first of two: ", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	first.close()
	b.close()
}

// A packet of several descriptors goes out, and comes in, as one.
func TestMultiBuffer(t *testing.T) {
	needLinux(t, 6, 6)
	w := newWire(t, 1)
	cfg := w.va.config()
	cfg.MultiBuffer = Require
	a := w.va.open(t, cfg)
	b := w.vb.open(t, w.vb.config())
	u := a.UMEM()
	u.Alloc(a.batch[:3])
	for i, n := range []int{60, 500, 300} {
		d := u.Data(a.batch[i], n)
		for j := range d {
			d[j] = byte(i + 1)
		}
		a.descs[i] = Desc{Addr: a.batch[i], Len: uint32(n), Options: Contd}
	}
	a.descs[2].Options = 0
	if n := a.Submit(a.descs[:3]); n != 3 {
		t.Fatal("took ", n)
	}
	a.Kick()
	eventually(t, "the packet", b.Ready)
	b.receive(func(d []byte) {
		if len(d) != 860 || d[59] != 1 || d[60] != 2 || d[559] != 2 || d[560] != 3 {
			t.Errorf("%d bytes", len(d))
		}
	})
	eventually(t, "three completions", func() bool { a.Complete(); return u.Census().Tx == 0 })
	a.close()
	b.close()
}

// Down keeps what is in the ring, up sends it; deleted ends the socket.
func TestDownUpDeleted(t *testing.T) {
	w := newWire(t, 1)
	a, b := w.va.open(t, w.va.config()), w.vb.open(t, w.vb.config())
	la, err := netlink.LinkByName("va")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(la); err != nil {
		t.Fatal(err)
	}
	a.send(1, 3, 60)
	if errno := a.Kick(); errno != unix.ENETDOWN || !a.Unsent() || a.Stats().LastErrno != unix.ENETDOWN {
		t.Fatalf("Kick on a device that is down: %v, unsent %v", errno, a.Unsent())
	}
	if err := a.Err(); err != nil {
		t.Fatal("down is not dead: ", err)
	}
	if err := netlink.LinkSetUp(la); err != nil {
		t.Fatal(err)
	}
	got := 0
	eventually(t, "what was sent while down", func() bool {
		a.Kick()
		got += b.receive(func([]byte) {})
		return got == 3
	})
	if err := netlink.LinkDel(la); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the death", func() bool { return a.Err() != nil && b.Err() != nil })
	for range 2 { // the kernel says it once, we say it always
		if err := a.Err(); !errors.Is(err, unix.ENETDOWN) {
			t.Error(err)
		}
	}
	a.send(9, 1, 60)
	if errno := a.Kick(); errno != unix.ENXIO && errno != unix.ENETDOWN {
		t.Error("Kick on a dead device: ", errno)
	}
	a.close()
	b.close()
}

// A memory whose first interface is gone serves others all the same.
func TestSharedWithTheDead(t *testing.T) {
	w := newWire(t, 1)
	a := w.va.open(t, w.va.config())
	la, err := netlink.LinkByName("va")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(la); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the death", func() bool { return a.Err() != nil })
	w2 := newWire(t, 1)
	cfg := w2.va.config()
	cfg.Index, cfg.Queue = w2.va.index, 0
	if cfg.Index == w.va.index { // indices are a namespace's own: vb's is another one
		cfg = w2.vb.config()
		w2.va, w2.vb = w2.vb, w2.va
	}
	s, err := Open(a.UMEM(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w2.va.steer(t, s)
	next := &port{t: t, Socket: s}
	far := w2.vb.open(t, w2.vb.config())
	next.send(1, 1, 60)
	eventually(t, "a frame", func() bool { return far.receive(func([]byte) {}) == 1 })
	far.close()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	next.close()
}

// A frame that the device drops is counted and comes back; it is not sent again.
func TestBusyIsCountedAndCompleted(t *testing.T) {
	w := newWire(t, 1)
	a := w.va.open(t, w.va.config())
	lb, err := netlink.LinkByName("vb")
	if err != nil {
		t.Fatal(err)
	}
	// A frame longer than the peer's MTU is dropped by veth: EBUSY.
	if err := netlink.LinkSetMTU(lb, 500); err != nil {
		t.Fatal(err)
	}
	a.send(0, 4, 1400)
	eventually(t, "completions", func() bool { a.Kick(); a.Complete(); return a.UMEM().Census().Tx == 0 })
	if st := a.Stats(); st.Busy != 4 {
		t.Errorf("%+v", st)
	}
	a.close()
}

func TestOptionsWanted(t *testing.T) {
	w := newWire(t, 1)
	cfg := w.va.config()
	cfg.BusyPoll, cfg.TxBudget, cfg.MultiBuffer, cfg.Mode = Prefer, 64, Prefer, Copy
	a := w.va.open(t, cfg)
	i := a.Info()
	told := ""
	for _, r := range i.Refused {
		told += r.String() + "\n"
	}
	if !i.BusyPoll && !strings.Contains(told, "SO_PREFER_BUSY_POLL") {
		t.Errorf("busy polling is neither had nor refused: %+v", i)
	}
	if i.TxBudget != 64 && !strings.Contains(told, "XDP_MAX_TX_SKB_BUDGET") {
		t.Errorf("the budget is neither had nor refused: %+v", i)
	}
	if !i.MultiBuffer && !strings.Contains(told, "copy,sg") {
		t.Errorf("multi-buffer is neither had nor refused: %+v", i)
	}
	a.WakeRx()
	if i.BusyPoll && a.Stats().Wakes != 1 {
		t.Error("busy polling makes no system call")
	}
	a.close()

	cfg.TxBudget = 7 // below what any kernel takes: a wish refused, with its reason
	a = w.va.open(t, cfg)
	if i := a.Info(); i.TxBudget != 0 || len(i.Refused) == 0 {
		t.Errorf("%+v", i)
	}
	a.close()
}

func TestPathAllocs(t *testing.T) {
	w := newWire(t, 1)
	a, b := w.va.open(t, w.va.config()), w.vb.open(t, w.vb.config())
	got := 0
	if n := testing.AllocsPerRun(200, func() {
		a.send(0, 16, 60)
		for range 100 {
			if got += b.receive(func([]byte) {}); !b.Ready() {
				break
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	if got == 0 {
		t.Error("nothing arrived: the measurement measured nothing")
	}
	a.close()
	b.close()
}

// One batch of 32 through both sockets and the wire between them; the kernel's part is nearly all of it.
func BenchmarkVeth(b *testing.B) {
	w := newWire(b, 1)
	x, y := w.va.open(b, w.va.config()), w.vb.open(b, w.vb.config())
	b.ReportAllocs()
	got := 0
	for b.Loop() {
		x.send(0, 32, 60)
		for y.Ready() {
			got += y.receive(func([]byte) {})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(got, 1)), "ns/packet")
	x.close()
	y.close()
}
