package tcp

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A host is one TCP with what a core lends it.
type host struct {
	t     testing.TB
	tcp   *TCP
	wheel *timer.Wheel
	wakes ring.Wakes
	pool  *ring.Pool
	drops drop.Counters
	addr  netip.Addr
	peer  *host
	watch *watcher

	train  int // what Train.Most is; 0: there are no trains
	trains int // how many there were
}

// advance is what a stack does first in its turn.
func (h *host) advance(now mono.Time) int { return h.tcp.Advance(now) + h.wheel.Advance(now) }

func (h *host) deadline() mono.Time { return min(h.tcp.Deadline(), h.wheel.Deadline()) }

// watcher is a program that never sleeps.
type watcher struct{}

func (w *watcher) Notify(ring.Events) int { return 0 }

func newHost(t testing.TB, addr string, start mono.Time, seed uint64, p Params) *host {
	h := &host{t: t, addr: netip.MustParseAddr(addr), wheel: timer.New(start), pool: ring.NewPool(64 << 20), watch: &watcher{}}
	h.tcp = New(Config{
		Pool: h.pool, Wheel: h.wheel, Wakes: &h.wakes, Count: &h.drops,
		Secret: [16]byte{byte(seed), 1, 2, 3}, Rand: rand.New(rand.NewPCG(seed, seed)), Params: p,
		MSS: func(local, _ netip.Addr) uint16 {
			if local.Is4() {
				return 1460
			}
			return 1440
		},
	})
	return h
}

func (h *host) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.addr, port) }

// own does what a socket does first.
func (h *host) own(c *Conn) *Conn {
	c.Gate.Init(h.watch)
	c.Gate.Watch()
	return c
}

// A packet is a segment on its way.
type packet struct {
	at   mono.Time
	n    uint64 // order of sending
	to   *host
	data []byte
}

// flying is a heap by time of arrival.
type flying []packet

func (f flying) Len() int { return len(f) }
func (f flying) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].n < f[j].n
}
func (f flying) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flying) Push(p any)   { *f = append(*f, p.(packet)) }
func (f *flying) Pop() any {
	last := (*f)[len(*f)-1]
	(*f)[len(*f)-1] = packet{}
	*f = (*f)[:len(*f)-1]
	return last
}

// A world is two hosts and a path between them, with a clock that jumps.
type world struct {
	t    testing.TB
	now  mono.Time
	a, b *host
	rng  *rand.Rand

	delay   time.Duration
	loss    float64
	dup     float64
	reorder time.Duration // a packet may be this much later than it should
	rate    float64       // bytes a second each way, 0: none
	queue   int           // bytes that wait for the rate at most
	drop    func(h *host, seg wire.TCP) bool
	seen    func(from *host, seg wire.TCP, now mono.Time)

	flying flying
	sent   uint64
	busy   [2]mono.Time // when each direction's link is free again
	work   func()       // the programs
	check  bool
}

func newWorld(t testing.TB, seed uint64, p Params) *world {
	start := mono.Time(1e9 + seed*12345678)
	w := &world{t: t, now: start, rng: rand.New(rand.NewPCG(seed, 99)), delay: 5 * time.Millisecond, check: true}
	w.a = newHost(t, "192.0.2.1", start, seed*2+1, p)
	w.b = newHost(t, "192.0.2.2", start, seed*2+2, p)
	w.a.peer, w.b.peer = w.b, w.a
	return w
}

// turn lets everything that can happen now happen.
func (w *world) turn() {
	for again := true; again; {
		again = false
		for len(w.flying) > 0 && w.flying[0].at <= w.now {
			p := heap.Pop(&w.flying).(packet)
			p.to.tcp.Input(p.to.addr, p.to.peer.addr, p.data, wire.NotECT, w.now)
			w.verify(p.to)
			again = true
		}
		for _, h := range []*host{w.a, w.b} {
			if h.advance(w.now) > 0 {
				w.verify(h)
				again = true
			}
		}
		if w.work != nil {
			w.work()
		}
		for _, h := range []*host{w.a, w.b} {
			if w.transmit(h) {
				again = true
			}
			h.wakes.Flush()
		}
	}
}

// transmit takes everything that h has to say.
func (w *world) transmit(h *host) (any bool) {
	buf := make([]byte, 1480)
	for {
		n, _, _ := h.tcp.Reply(buf, w.now)
		if n == 0 {
			break
		}
		any = true
		w.send(h, buf[:n])
	}
	for steps := 0; ; steps++ {
		c := h.tcp.Front(0)
		if c == nil {
			return any
		}
		segments := h.output(c, buf, h.train, w.now)
		w.verify(h)
		for _, seg := range segments {
			any = true
			w.send(h, seg)
		}
		if steps > 1e6 {
			w.t.Fatal("Output never ends")
		}
	}
}

func (w *world) send(from *host, seg []byte) {
	w.sent++
	if wire.TCP(seg).Check(wire.PseudoSum(from.addr, from.peer.addr, wire.ProtoTCP, len(seg))) != wire.ChecksumGood {
		w.t.Fatalf("bad checksum in %v", wire.TCP(seg).Flags())
	}
	if w.seen != nil {
		w.seen(from, wire.TCP(seg), w.now)
	}
	if w.drop != nil && w.drop(from, wire.TCP(seg)) || w.rng.Float64() < w.loss {
		return
	}
	at := w.now
	if w.rate > 0 {
		free := &w.busy[0]
		if from == w.b {
			free = &w.busy[1]
		}
		if w.queue > 0 && float64(max(*free, w.now)-w.now)/1e9*w.rate > float64(w.queue) {
			return
		}
		*free = max(*free, w.now).Add(time.Duration(float64(len(seg)+40) / w.rate * 1e9))
		at = *free
	}
	copies := 1
	if w.rng.Float64() < w.dup {
		copies = 2
	}
	for range copies {
		late := time.Duration(0)
		if w.reorder > 0 && w.rng.IntN(4) == 0 {
			late = time.Duration(w.rng.Int64N(int64(w.reorder)))
		}
		heap.Push(&w.flying, packet{at.Add(w.delay + late), w.sent, from.peer, append([]byte(nil), seg...)})
	}
}

// step jumps to the next moment at which something happens; false if nothing ever will, before until.
func (w *world) step(until mono.Time) bool {
	w.turn()
	next := min(w.a.deadline(), w.b.wheel.Deadline())
	if len(w.flying) > 0 {
		next = min(next, w.flying[0].at)
	}
	if next > until {
		w.now = until
		w.turn()
		return false
	}
	w.now = max(w.now, next)
	return true
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for w.step(until) {
	}
}

// until runs until cond holds, at most d.
func (w *world) until(d time.Duration, cond func() bool) {
	w.t.Helper()
	end := w.now.Add(d)
	w.turn()
	for !cond() {
		if !w.step(end) && !cond() {
			w.t.Fatalf("nothing came of it in %v", d)
		}
	}
}

// connect makes a connection from a to b and returns both ends.
func (w *world) connect() (ca, cb *Conn) {
	w.t.Helper()
	l, errno := w.b.tcp.Listen(w.b.at(80), ListenConfig{Backlog: 16})
	if errno != 0 {
		w.t.Fatal(errno)
	}
	return w.connectTo(l, 40000, Options{})
}

func (w *world) connectTo(l *Listener, port uint16, opt Options) (ca, cb *Conn) {
	w.t.Helper()
	ca, errno := w.a.tcp.Connect(w.a.at(port), w.b.at(l.Local().Port()), opt, w.now)
	if errno != 0 {
		w.t.Fatal(errno)
	}
	w.a.own(ca)
	w.until(200*time.Second, func() bool {
		if cb == nil {
			if cb = l.Accept(); cb != nil {
				w.b.own(cb)
			}
		}
		return cb != nil && ca.State() == Established
	})
	return ca, cb
}

// verify checks what must hold at every moment.
func (w *world) verify(h *host) {
	if !w.check {
		return
	}
	for _, slab := range h.tcp.slabs {
		for i := range slab {
			if c := &slab[i]; c.t != nil && c.state != Closed {
				verifyConn(w.t, c)
			}
		}
	}
}

// verifyConn checks one connection's invariants.
func verifyConn(t testing.TB, c *Conn) {
	t.Helper()
	if c.snd.una.After(c.snd.nxt) {
		t.Fatalf("%v: una %v is after nxt %v", c.state, c.snd.una, c.snd.nxt)
	}
	if c.state >= Established && (c.snd.up.Before(c.snd.una) || c.snd.up.After(c.snd.una.Add(c.tx.Len()))) {
		t.Fatalf("%v: the urgent byte ends at %v, una is %v, and %d bytes are queued", c.state, c.snd.up, c.snd.una, c.tx.Len())
	}
	if c.state >= Established && c.rcv.nxt.After(c.rcv.adv.Add(1)) { // the FIN takes no room
		t.Fatalf("%v: rcv.nxt %v is beyond what was offered, %v", c.state, c.rcv.nxt, c.rcv.adv)
	}
	if (c.prev != 0 || c.next != 0) && !c.listed {
		t.Fatal("linked but not listed")
	}
	if n := c.snd.nxt.Sub(c.snd.una); c.state >= Established && (n == 0) != (c.flight == nil) {
		t.Fatalf("%v: %d outstanding, flight %v", c.state, n, c.flight)
	}
	if c.flight != nil {
		verifyFlight(t, c)
		if c.due[timerRetransmit] == mono.Never {
			t.Fatalf("%v: data is outstanding and no timer is armed", c.state)
		}
	}
	for _, at := range c.due {
		if at != mono.Never && c.tm.At() > at && c.tm.Armed() {
			t.Fatalf("a deadline at %d, the timer at %d", at, c.tm.At())
		}
		if at != mono.Never && !c.tm.Armed() {
			t.Fatal("a deadline and no timer")
		}
	}
	if c.holes != nil {
		last := c.rcv.nxt
		for _, s := range c.holes.spans {
			if !s.start.After(last) || !s.end.After(s.start) || s.end.After(c.rcv.adv) {
				t.Fatalf("spans %v after rcv.nxt %v, adv %v", c.holes.spans, c.rcv.nxt, c.rcv.adv)
			}
			last = s.end
		}
	}
}

func verifyFlight(t testing.TB, c *Conn) {
	t.Helper()
	f := c.flight
	at := c.snd.una
	var sum flight
	for i, r := range f.runs[f.head:] {
		if r.start != at || !r.end.After(r.start) {
			t.Fatalf("run %d is %v-%v, expected to start at %v", i, r.start, r.end, at)
		}
		if r.is&sacked != 0 && r.is&(lost|again) != 0 || r.is&again != 0 && r.is&twice == 0 {
			t.Fatalf("run %d has fate %b", i, r.is)
		}
		sum.count(r.is, r.len())
		if r.is&(lost|again) == lost && f.head+i < f.hint {
			t.Fatalf("run %d is lost, the hint is %d", i, f.hint-f.head)
		}
		at = r.end
	}
	if f.fack.Before(c.snd.una) || f.fack.After(c.snd.nxt) {
		t.Fatalf("fack is %v, of %v-%v", f.fack, c.snd.una, c.snd.nxt)
	}
	if c.state != SynReceived && c.due[timerRetransmit] > min(f.rtoAt, f.probeAt, f.reorderAt) || f.rtoAt == mono.Never {
		t.Fatalf("the timer is at %v, the deadlines at %v %v %v", c.due[timerRetransmit], f.rtoAt, f.probeAt, f.reorderAt)
	}
	if at != c.snd.nxt {
		t.Fatalf("runs end at %v, nxt is %v", at, c.snd.nxt)
	}
	if sum.lost != f.lost || sum.again != f.again || c.sackOK && sum.sacked != f.sacked {
		t.Fatalf("sums are %d %d %d, should be %d %d %d", f.sacked, f.lost, f.again, sum.sacked, sum.lost, sum.again)
	}
}

// A flow is a program that sends a known stream one way and one that reads it.
type flow struct {
	w        *world
	src, dst *Conn
	size     uint64
	wrote    uint64
	read     uint64
	ended    bool
	close    bool // shut down after the last byte
	chunk    int  // bytes a call
	readEach int  // bytes the reader takes a call; 0: it does not read
	buf      []byte
}

func (f *flow) pump() {
	if f.buf == nil {
		f.buf = make([]byte, max(f.chunk, f.readEach))
	}
	buf := f.buf[:f.chunk]
	for f.wrote < f.size {
		p := buf[:min(uint64(len(buf)), f.size-f.wrote, uint64(f.src.tx.Room()))]
		if len(p) == 0 {
			p = buf[:1]
		}
		fill(p, f.wrote)
		n, errno, tell := f.src.Write(p)
		f.wrote += uint64(n)
		if tell {
			f.src.Kick(f.w.now)
		}
		if n < len(p) {
			if errno != 0 && errno != unix.EAGAIN {
				f.w.t.Fatalf("Write: %v after %d", errno, f.wrote)
			}
			break
		}
		if f.wrote == f.size && f.close {
			f.src.Shutdown(unix.SHUT_WR, f.w.now)
		}
	}
	if f.readEach == 0 {
		return
	}
	buf = f.buf[:f.readEach]
	for {
		n, errno, tell := f.dst.Read(buf)
		if i := wrongAt(buf[:n], f.read); i >= 0 {
			f.w.t.Fatalf("byte %d of the stream is wrong", f.read+uint64(i))
		}
		f.read += uint64(n)
		if tell {
			f.dst.Kick(f.w.now)
		}
		if n == 0 {
			if errno == 0 {
				f.ended = true
			} else if errno != unix.EAGAIN {
				f.w.t.Fatalf("Read: %v after %d", errno, f.read)
			}
			return
		}
	}
}

// fill and wrongAt are a stream in which every place is known.
func fill(p []byte, off uint64) {
	for i := range p {
		o := off + uint64(i)
		p[i] = byte(o ^ o>>8 ^ o>>16)
	}
}

func wrongAt(p []byte, off uint64) int {
	for i, b := range p {
		o := off + uint64(i)
		if b != byte(o^o>>8^o>>16) {
			return i
		}
	}
	return -1
}

// noLeaks checks that nothing is left when all is over.
func (w *world) noLeaks() {
	w.t.Helper()
	w.run(200 * time.Second)
	for _, h := range []*host{w.a, w.b} {
		if n := h.tcp.Len(); n != 0 {
			w.t.Errorf("%v: %d connections are left: %v", h.addr, n, h.states())
		}
		if n := h.tcp.table.used; n != 0 {
			w.t.Errorf("%v: %d table entries are left", h.addr, n)
		}
		if n := h.pool.Used(); n != 0 {
			w.t.Errorf("%v: %d bytes of buffers are left", h.addr, n)
		}
		if d := h.deadline(); d != mono.Never {
			w.t.Errorf("%v: a timer is left", h.addr)
		}
	}
}

func (h *host) states() (s string) {
	for i, n := range h.tcp.states {
		if n != 0 {
			s += fmt.Sprintf("%v:%d ", State(i), n)
		}
	}
	return s
}

func mtime(ns int64) mono.Time { return mono.Time(ns) }
