package proto

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/simnet"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Two whole stacks on a simulated wire, and the programs that use them. A run is a
// function of its seed: a test that fails prints the seed, and
//
//	go test ./proto -run NAME -seed N
//
// is the same run again, bit for bit.

var seedFlag = flag.Uint64("seed", 0, "run simulations with this seed instead of their own; 0: their own")

// A simHost is a stack and the programs on it, as a node of the net.
type simHost struct {
	*Stack
	mac      wire.MAC
	addr     netip.Addr
	params   tcp.Params
	programs []program
	nextPort uint16
	boots    uint64
	clock    *simnet.Clock
	seed     uint64
	mtu      int
}

// A program does what it can do at now and says how much that was. It runs whenever the
// host does.
type program interface{ run(now mono.Time) int }

func (h *simHost) Advance(now mono.Time) (work int) {
	work = h.Stack.Advance(now)
	for _, p := range h.programs {
		work += p.run(now)
	}
	h.Wakes.Flush()
	return work
}

// boot gives the host a new stack that knows nothing of what was before.
func (h *simHost) boot() {
	h.boots++
	h.Stack = New(Config{
		Ports: []PortConfig{{MAC: h.mac, MTU: h.mtu}}, Start: h.clock.Now(),
		Seed:   [2]uint64{h.seed, h.boots},
		Secret: [16]byte{byte(h.seed), byte(h.boots), h.mac[5]}, TCP: h.params,
	})
	setAddr(h.Stack, h.addr)
	h.programs = nil
}

// A sim is two hosts, a and b, and the wire between them: A is a's end.
type sim struct {
	t    testing.TB
	seed uint64
	rand *rand.Rand
	net  simnet.Net
	wire *simnet.Wire
	a, b *simHost
}

// trouble is what both directions of a sim's wire are.
type trouble = simnet.Impairment

func newSim(t testing.TB, seed uint64, p trouble, params tcp.Params, pcap *simnet.Pcap) *sim {
	t.Helper()
	return family4.sim(t, seed, p, params, pcap)
}

func (f *family) sim(t testing.TB, seed uint64, p trouble, params tcp.Params, pcap *simnet.Pcap) *sim {
	t.Helper()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	s := &sim{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 3))}
	s.net.Clock.MoveTo(mono.Time(seed%1000+1) * 1e9)
	s.a = s.host(macA, f.a, params)
	s.b = s.host(macB, f.b, params)
	w, err := s.net.Connect(s.a, 0, s.b, 0, simnet.Config{Seed: seed, AtoB: p, BtoA: p, Pcap: pcap})
	if err != nil {
		t.Fatal(err)
	}
	s.wire = w
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -seed %d", seed)
			t.Logf("a: %v, tcp %+v", drops(s.a.Stack), s.a.TCP.Stats())
			t.Logf("b: %v, tcp %+v", drops(s.b.Stack), s.b.TCP.Stats())
			t.Logf("wire: %+v and %+v", s.wire.A.Stats(), s.wire.B.Stats())
		}
	})
	return s
}

func (s *sim) host(mac wire.MAC, addr netip.Addr, params tcp.Params) *simHost {
	h := &simHost{mac: mac, addr: addr, params: params, nextPort: 1024, clock: &s.net.Clock, seed: s.seed, mtu: 1500}
	h.boot()
	s.net.Add(h)
	return h
}

func (s *sim) now() mono.Time { return s.net.Clock.Now() }

// impair changes both directions.
func (s *sim) impair(p trouble) {
	s.t.Helper()
	for _, end := range []*simnet.End{s.wire.A, s.wire.B} {
		if err := end.Impair(p); err != nil {
			s.t.Fatal(err)
		}
	}
}

// silence is a path on which nothing arrives.
var silence = trouble{Loss: 1}

func (s *sim) until(limit time.Duration, what string, done func() bool) {
	s.t.Helper()
	if err := s.net.RunUntil(s.now().Add(limit), done); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func (s *sim) pass(d time.Duration) {
	s.t.Helper()
	if err := s.net.RunTo(s.now().Add(d)); err != nil {
		s.t.Fatal(err)
	}
}

// empty runs until nothing happens any more, and checks that nothing is left of what
// was: memory, connections, timers.
func (s *sim) empty(limit time.Duration) {
	s.t.Helper()
	for _, h := range []*simHost{s.a, s.b} {
		h.programs = nil
	}
	if err := s.net.RunIdle(s.now().Add(limit)); err != nil {
		s.t.Fatal(err)
	}
	for _, h := range []*simHost{s.a, s.b} {
		if n := h.TCP.Len(); n != 0 {
			s.t.Errorf("%v: %d connections are left", h.addr, n)
		}
		for st := tcp.Closed; st <= tcp.TimeWait; st++ {
			if n := h.TCP.Count(st); n != 0 {
				s.t.Errorf("%v: %d connections are in %v", h.addr, n, st)
			}
		}
		if d := h.Stack.Deadline(); d != mono.Never {
			s.t.Errorf("%v: a timer is left, for %v", h.addr, time.Duration(d))
		}
		if h.Busy() || h.TCP.Front(0) != nil || len(h.waiting) != 0 {
			s.t.Errorf("%v: busy %v, to send %v, waiting %d", h.addr, h.Busy(), h.TCP.Front(0), len(h.waiting))
		}
		// A queue that was used keeps the chunk that it ended in: two of the port's own,
		// and one for each neighbour that datagrams waited for.
		if used, keep := h.Pool.Used(), 4096*(2+h.Neigh.Len()); used > keep {
			s.t.Errorf("%v: %d bytes of the pool are lent, %d would be the queues of the port", h.addr, used, keep)
		}
	}
}

// A stream is an endless sequence of bytes that differs from those of other keys.
type stream struct {
	key uint64
	off int
}

// streamPeriod is a prime, so that a slip by any power of two shows.
const streamPeriod = 65521

var streamBytes = func() []byte {
	b := make([]byte, streamPeriod)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return append(b, b...)
}()

// next returns the next n bytes, at most streamPeriod, without moving on.
func (s *stream) next(n int) []byte {
	at := int((uint64(s.off) + s.key*7919) % streamPeriod)
	return streamBytes[at : at+min(n, streamPeriod)]
}

// A talker is a program with one end of a connection: it writes so many bytes, ends its
// side, reads to the end, and closes.
type talker struct {
	t    testing.TB
	h    *simHost
	c    *tcp.Conn
	out  stream
	in   stream
	size int // to write; -1: without end
	want int // to read; -1: whatever comes

	deaf   bool // does not read for now
	mute   bool // does not write for now
	stay   bool // ends its side only when the peer has
	eof    bool
	shut   bool
	closed bool
	errno  unix.Errno // how it ended, if that was not in good order
}

var talkBuf [1 << 15]byte // one goroutine runs a sim, and a read is looked at at once

type silent struct{}

func (silent) Notify(ring.Events) int { return 0 }

func (p *talker) run(now mono.Time) (work int) {
	if p.closed || p.c == nil {
		return 0
	}
	if !p.deaf && !p.eof && p.errno == 0 {
		work += p.read(now)
	}
	if !p.mute && !p.shut && p.errno == 0 && p.c.Connected() {
		work += p.write(now)
	}
	if p.errno != 0 || p.eof && p.shut {
		if p.errno == 0 && p.want >= 0 && p.in.off != p.want {
			p.t.Errorf("%v: the stream ended after %d of %d bytes", p.c.Local(), p.in.off, p.want)
		}
		p.c.Close(now)
		p.closed = true
		work++
	}
	return work
}

func (p *talker) read(now mono.Time) (work int) {
	for {
		n, errno, tell := p.c.Read(talkBuf[:])
		if tell {
			p.c.Kick(now)
		}
		if n > 0 && !bytes.Equal(talkBuf[:n], p.in.next(n)) {
			p.t.Fatalf("%v: wrong bytes within %d after %d", p.c.Local(), n, p.in.off)
		}
		p.in.off += n
		work += n
		switch {
		case n > 0:
			continue
		case errno == 0:
			p.eof = true
			return work + 1
		case errno != unix.EAGAIN:
			p.errno = errno
			return work + 1
		}
		return work
	}
}

func (p *talker) write(now mono.Time) (work int) {
	tellCore := false
	for p.size < 0 || p.out.off < p.size {
		chunk := p.out.next(1 << 15)
		if p.size >= 0 {
			chunk = chunk[:min(len(chunk), p.size-p.out.off)]
		}
		n, errno, tell := p.c.Write(chunk)
		p.out.off += n
		work += n
		tellCore = tellCore || tell
		if errno != 0 && errno != unix.EAGAIN {
			p.errno = errno
		}
		if n == 0 {
			break
		}
	}
	if tellCore {
		p.c.Kick(now)
	}
	if p.size >= 0 && p.out.off == p.size && (!p.stay || p.eof) {
		p.shut = true
		if errno := p.c.Shutdown(unix.SHUT_WR, now); errno != 0 && errno != unix.ENOTCONN {
			p.t.Errorf("shutdown: %v", errno)
		}
		work++
	}
	return work
}

// check looks for what never may be of a living connection.
func (p *talker) check(now mono.Time) {
	if p.closed || p.c == nil {
		return
	}
	i := p.c.Info(now)
	switch {
	case i.Unacked < 0, i.Sacked < 0, i.Lost < 0, i.Retrans < 0, i.Sacked+i.Lost > i.Unacked, i.Sacked+i.Retrans > i.Unacked:
		p.t.Fatalf("%v: the flight does not add up: %+v", p.c.Local(), i)
	// In a recovery the window is what is in flight and what may follow (RFC 9937 §6.2).
	case i.State >= tcp.Established && !i.Recovering && i.SndCwnd < i.SndMSS, i.SndCwnd > 1<<30:
		p.t.Fatalf("%v: congestion window %d at MSS %d", p.c.Local(), i.SndCwnd, i.SndMSS)
	case i.RTO < 0 || i.RTO > 120*time.Second, i.RTT < 0, i.RTTVar < 0:
		p.t.Fatalf("%v: RTO %v RTT %v±%v", p.c.Local(), i.RTO, i.RTT, i.RTTVar)
	case p.c.Buffered() > i.RcvSpace+i.RcvMSS:
		p.t.Fatalf("%v: %d bytes in a buffer of %d", p.c.Local(), p.c.Buffered(), i.RcvSpace)
	}
}

// connection is two talkers and the key of their bytes.
type connection struct{ client, server *talker }

func (c *connection) check(now mono.Time) {
	c.client.check(now)
	c.server.check(now)
	if c.server.in.off > c.client.out.off || c.client.in.off > c.server.out.off {
		c.client.t.Fatal("more was read than written")
	}
}

func (c *connection) over() bool { return c.client.closed && c.server.closed }

// dialer is a server on b that gives each connection to the talker that waits for it
// by its client's address.
type dialer struct {
	s       *sim
	l       *tcp.Listener
	on, off *simHost // listening, and connecting
	server  netip.AddrPort
	waiting map[netip.AddrPort]*talker
}

func (s *sim) listen(on, off *simHost, port uint16) *dialer {
	s.t.Helper()
	local := netip.AddrPortFrom(on.addr, port)
	l, errno := on.TCP.Listen(local, tcp.ListenConfig{Backlog: 1 << 14})
	if errno != 0 {
		s.t.Fatal(errno)
	}
	d := &dialer{s: s, l: l, on: on, off: off, server: local, waiting: map[netip.AddrPort]*talker{}}
	on.programs = append(on.programs, d)
	return d
}

func (d *dialer) run(now mono.Time) (work int) {
	for c := d.l.Accept(); c != nil; c = d.l.Accept() {
		c.Gate.Init(silent{})
		p := d.waiting[c.Remote()]
		if p == nil {
			d.s.t.Fatalf("a connection from %v, which did not dial", c.Remote())
		}
		delete(d.waiting, c.Remote())
		p.c = c
		work++
	}
	return work
}

// dial begins a connection on which up bytes go to the server and down bytes to the
// client.
func (d *dialer) dial(up, down int) *connection {
	d.s.t.Helper()
	var c *tcp.Conn
	local := netip.AddrPortFrom(d.off.addr, d.off.nextPort)
	for range 100 {
		local = netip.AddrPortFrom(d.off.addr, d.off.nextPort)
		if d.off.nextPort++; d.off.nextPort == 0 {
			d.off.nextPort = 1024
		}
		var errno unix.Errno
		if c, errno = d.off.TCP.Connect(local, d.server, tcp.Options{}, d.s.now()); errno == 0 {
			break
		} else if errno != unix.EADDRNOTAVAIL {
			d.s.t.Fatal(errno)
		}
	}
	if c == nil {
		d.s.t.Fatal("no port is free")
	}
	c.Gate.Init(silent{})
	key := uint64(local.Port())
	client := &talker{t: d.s.t, h: d.off, c: c, size: up, want: down, out: stream{key: key}, in: stream{key: key + 1<<20}}
	server := &talker{t: d.s.t, h: d.on, size: down, want: up, out: stream{key: key + 1<<20}, in: stream{key: key}}
	d.waiting[local] = server
	d.off.programs = append(d.off.programs, client)
	d.on.programs = append(d.on.programs, server)
	return &connection{client, server}
}
