package tcp

import (
	"flag"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"
)

var idleFlag = flag.Int("idle", 10_000, "how many idle ends of connections TestIdleConnectionsAreSmall holds")

// TestIdleConnectionsAreSmall opens many connections, lets each carry a request and an answer, and counts
// all memory that they hold when they are idle: connections, table, timers, buffers, records.
//
// The long form is a million of them: go test ./proto/tcp -run IdleConnections -idle 1000000 -timeout 0.
func TestIdleConnectionsAreSmall(t *testing.T) {
	n := *idleFlag / 2
	w := newWorld(t, 1, Params{MaxSynBacklog: n})
	w.check = false
	const ports = 60_000 // of one address and one listener
	var listeners []*Listener
	for i := 0; i < n; i += ports {
		l, _ := w.b.tcp.Listen(w.b.at(uint16(80+i/ports)), ListenConfig{Backlog: n})
		listeners = append(listeners, l)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	conns := make([]*Conn, 0, 2*n)
	for i := range n {
		ca, errno := w.a.tcp.Connect(w.a.at(uint16(1000+i%ports)), w.b.at(uint16(80+i/ports)), Options{}, w.now)
		if errno != 0 {
			t.Fatal(errno)
		}
		conns = append(conns, ca)
		if i%1000 == 999 {
			w.run(20 * time.Millisecond)
		}
	}
	w.run(time.Second)
	for _, l := range listeners {
		for c := l.Accept(); c != nil; c = l.Accept() {
			conns = append(conns, c)
		}
	}
	if len(conns) != 2*n {
		t.Fatal(len(conns))
	}
	buf := make([]byte, 5000)
	for range 2 {
		for some := range slices.Chunk(conns, 2000) {
			for _, c := range some {
				c.Write(buf)
				c.Kick(w.now)
			}
			w.run(100 * time.Millisecond)
			for _, c := range some {
				for m := 1; m > 0; m, _, _ = w.other(c).Read(buf) {
				}
			}
		}
	}
	w.run(300 * time.Second)
	if used := w.a.pool.Used() + w.b.pool.Used(); used != 0 {
		t.Errorf("%d bytes of buffers are lent", used)
	}
	w.a.pool, w.b.pool, w.a.tcp.cfg.Pool, w.b.tcp.cfg.Pool = nil, nil, nil, nil // what was in use at once before is the pool's, not theirs
	w.flying = nil
	for _, h := range []*host{w.a, w.b} { // nor are the records of what was on its way at once, sparesMax at most
		h.tcp.spareFlights, h.tcp.spareRepairs, h.tcp.spareHoles = nil, nil, nil
	}
	for _, c := range conns {
		c.rx.Init(nil, 0)
		c.tx.Init(nil, 0)
	}
	each := (heap() - before) / uint64(2*n)
	t.Logf("%d bytes each", each)
	if each > 1000 {
		t.Errorf("%d bytes each, want less than 1000 for the sockets' sake", each)
	}
	runtime.KeepAlive(conns)
	runtime.KeepAlive(w)
}

// other returns the other end of c.
func (w *world) other(c *Conn) *Conn {
	h := w.a
	if c.t == w.a.tcp {
		h = w.b
	}
	local, remote := c.Local(), c.Remote()
	k := keyOf(remote.Addr(), remote.Port(), local.Addr(), local.Port())
	return h.tcp.conn(uint32(h.tcp.find(&k)) - 1)
}

func TestSizes(t *testing.T) {
	// An idle established connection is its Conn, its table entry and nothing else. The sockets above need their
	// part of the kilobyte.
	conn, entry, tw := unsafe.Sizeof(Conn{}), unsafe.Sizeof(entry{}), unsafe.Sizeof(twEntry{})
	t.Logf("Conn %d, table entry %d, TIME-WAIT entry %d bytes", conn, entry, tw)
	if conn > 896 {
		t.Errorf("Conn is %d bytes, want at most 896", conn)
	}
	if entry > 8 || tw > 96 {
		t.Errorf("table entry %d bytes, TIME-WAIT entry %d", entry, tw)
	}
}
