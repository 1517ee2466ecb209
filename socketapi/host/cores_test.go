package host

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/simnet"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A queue is a device in memory: what the rig puts in arrives, what is submitted is
// for the rig to fetch.
type queue struct {
	number  int
	clock   *simnet.Clock
	in, out [][]byte
	room    [][]byte
	sink    bool // what is submitted is only counted
	sunk    int
	closed  bool
}

func (q *queue) Info() engine.Info {
	return engine.Info{Name: "queue", Mode: "memory", Queue: q.number, Addr: net.HardwareAddr(ourMAC[:]), MTU: 1500, FrameLen: 1514}
}

func (q *queue) Peek(frames []engine.Frame) int {
	n := min(len(frames), len(q.in))
	for i := range n {
		frames[i] = engine.Frame{Data: q.in[i]}
	}
	return n
}

func (q *queue) Release(frames []engine.Frame) { q.in = q.in[len(frames):] }

func (q *queue) Reserve(frames []engine.Frame) int {
	for len(q.room) < len(frames) {
		q.room = append(q.room, make([]byte, 1514))
	}
	for i := range frames {
		frames[i] = engine.Frame{Data: q.room[i]}
	}
	return len(frames)
}

func (q *queue) Submit(frames []engine.Frame, _ int) {
	if q.sink {
		q.sunk += len(frames)
		return
	}
	for i := range frames {
		q.out = append(q.out, bytes.Clone(frames[i].Data))
	}
}

func (q *queue) Wait(until mono.Time)      { q.clock.MoveTo(until) }
func (q *queue) Unsent() bool              { return false }
func (q *queue) Free(engine.Frame)         { panic("a frame was kept") }
func (q *queue) Ready() bool               { return len(q.in) > 0 }
func (q *queue) Wake()                     {}
func (q *queue) Err() error                { return nil }
func (q *queue) Stats() engine.DeviceStats { return engine.DeviceStats{} }
func (q *queue) Close() error              { q.closed = true; return nil }

var (
	ourMAC, peerMAC   = wire.MAC{2, 0, 0, 0, 1, 1}, wire.MAC{2, 0, 0, 0, 1, 2}
	ourAddr, peerAddr = netip.MustParseAddr("10.97.0.1"), netip.MustParseAddr("10.97.0.2")
)

// A rig is a host of several cores and a peer of one stack. The test decides which core each
// frame of the peer's arrives at. One goroutine turns them all, on a clock of their own.
type rig struct {
	t      *testing.T
	clock  simnet.Clock
	h      *Host
	queues []*queue
	peer   *proto.Stack
	steer  func(frame []byte) int  // the core that a frame arrives at; -1: none
	work   []func(mono.Time)       // programs
	toPeer func(frame []byte) bool // false: lost
}

func newRig(t *testing.T, cores int) *rig {
	t.Helper()
	r := &rig{t: t, steer: func([]byte) int { return 0 }, toPeer: func([]byte) bool { return true }}
	r.clock.MoveTo(1e9)
	var devices []engine.Device
	for i := range cores {
		r.queues = append(r.queues, &queue{number: i, clock: &r.clock})
		devices = append(devices, r.queues[i])
	}
	h, err := Open(Config{
		Interfaces: []Interface{{Devices: devices, Addrs: []netip.Prefix{netip.PrefixFrom(ourAddr, 24)}}},
		Clock:      &r.clock, Manual: true, Seed: &[2]uint64{1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	r.peer = proto.New(proto.Config{
		Ports: []proto.PortConfig{{MAC: peerMAC, MTU: 1500}}, Start: r.clock.Now(), Seed: [2]uint64{3, 4},
	})
	r.peer.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(peerAddr, 24)})
	r.peer.SetRoutes(route.New([]route.Route{{Prefix: netip.PrefixFrom(peerAddr, 24)}}))
	t.Cleanup(func() {
		if t.Failed() {
			for i, c := range h.cores {
				for reason, n := range c.Stack.Count.All() {
					t.Logf("core %d: %d %v", i, n, reason)
				}
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		for _, q := range r.queues {
			if !q.closed {
				t.Errorf("queue %d was not closed", q.number)
			}
		}
	})
	return r
}

// settle lets everything happen that can happen now.
func (r *rig) settle() {
	var buf [2048]byte
	for round := 0; ; round++ {
		if round > 100_000 {
			r.t.Fatal("time does not move")
		}
		now := r.clock.Now()
		for _, f := range r.work {
			f(now)
		}
		work := r.peer.Advance(now)
		for n := r.peer.Output(0, buf[:], now); n > 0; n = r.peer.Output(0, buf[:], now) {
			work++
			if i := r.steer(buf[:n]); i >= 0 {
				r.queues[i].in = append(r.queues[i].in, bytes.Clone(buf[:n]))
			}
		}
		for i, c := range r.h.cores {
			work += c.Turn()
			for _, frame := range r.queues[i].out {
				work++
				if r.toPeer(frame) {
					r.peer.Input(0, frame, now)
				}
			}
			r.queues[i].out = nil
		}
		if work == 0 {
			return
		}
	}
}

// until lets time pass until done, at most limit.
func (r *rig) until(limit time.Duration, what string, done func() bool) {
	r.t.Helper()
	end := r.clock.Now().Add(limit)
	for r.settle(); !done(); r.settle() {
		next := r.peer.Deadline()
		for _, c := range r.h.cores {
			next = min(next, c.Stack.Deadline())
		}
		if next > end {
			r.t.Fatalf("%s: not by %v", what, limit)
		}
		r.clock.MoveTo(next)
	}
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end, over := r.clock.Now().Add(d), false
	for r.settle(); !over; r.settle() {
		next := r.peer.Deadline()
		for _, c := range r.h.cores {
			next = min(next, c.Stack.Deadline())
		}
		over = next >= end
		r.clock.MoveTo(min(next, end))
	}
}

// entries returns how many connections the directory knows.
func (r *rig) entries() (n int) {
	for i := range r.h.directory.shards {
		n += len(r.h.directory.shards[i].cores)
	}
	return n
}

// empty checks that nothing is left of any connection.
func (r *rig) empty() {
	r.t.Helper()
	r.work = nil
	r.pass(10 * time.Minute)
	if n := r.entries(); n != 0 {
		r.t.Errorf("the directory still knows %d connections", n)
	}
	for i, c := range r.h.cores {
		if c.Stack.TCP.Len() != 0 || c.Stack.TCP.Count(tcp.TimeWait) != 0 {
			r.t.Errorf("core %d: %d connections, %d in TIME-WAIT", i, c.Stack.TCP.Len(), c.Stack.TCP.Count(tcp.TimeWait))
		}
	}
}

// alternate sends every n-th TCP segment to the next core, and everything else to core 0.
func (r *rig) alternate(n int) {
	seen := 0
	r.steer = func(frame []byte) int {
		if protocolOf(frame) != wire.ProtoTCP {
			return 0
		}
		seen++
		return seen / n % len(r.queues)
	}
}

// protocolOf is the protocol of a frame's IPv4 packet, 0 if it is none.
func protocolOf(frame []byte) wire.Protocol {
	if len(frame) < 34 || frame[12] != 8 || frame[13] != 0 {
		return 0
	}
	return wire.Protocol(frame[23])
}

type deaf struct{}

func (deaf) Notify(ring.Events) int { return 0 }

// mirror is a program that sends back what it reads, and ends when its peer does.
func mirror(c *tcp.Conn) func(mono.Time) {
	c.Gate.Init(deaf{})
	var held []byte
	var buf [8192]byte
	over := false
	return func(now mono.Time) {
		for !over {
			if len(held) == 0 {
				n, errno, _ := c.Read(buf[:])
				held = buf[:n]
				if n == 0 {
					if over = errno != unix.EAGAIN; over {
						c.Close(now)
					}
					return
				}
			}
			n, errno, _ := c.Write(held)
			held = held[n:]
			c.Kick(now)
			if over = errno != 0 && errno != unix.EAGAIN; over {
				c.Close(now)
			}
			if n == 0 {
				return
			}
		}
	}
}

// caller is a program that sends bytes and wants them back.
type caller struct {
	c         *tcp.Conn
	body, got []byte
	sent      int
	shut      bool
	done      bool
	errno     unix.Errno
}

func newCaller(c *tcp.Conn, size int) *caller {
	c.Gate.Init(deaf{})
	k := &caller{c: c, body: make([]byte, size)}
	rand.NewChaCha8([32]byte{byte(size)}).Read(k.body)
	return k
}

func (k *caller) run(now mono.Time) {
	var buf [8192]byte
	for !k.done {
		n, errno, _ := k.c.Read(buf[:])
		k.got = append(k.got, buf[:n]...)
		w := 0
		if k.sent < len(k.body) {
			w, _, _ = k.c.Write(k.body[k.sent:])
			k.sent += w
		}
		if k.sent == len(k.body) && !k.shut && k.c.Connected() {
			k.shut = true
			k.c.Shutdown(unix.SHUT_WR, now)
		}
		k.c.Kick(now)
		if n == 0 && errno != unix.EAGAIN {
			k.done, k.errno = true, errno
			k.c.Close(now)
		}
		if n == 0 && w == 0 {
			return
		}
	}
}

func (k *caller) check(t *testing.T) {
	t.Helper()
	if k.errno != 0 || !bytes.Equal(k.got, k.body) {
		t.Errorf("%d of %d bytes came back, %v", len(k.got), len(k.body), k.errno)
	}
}

// serve listens on all cores, as a socket does, and mirrors what it accepts. accepted counts
// by core.
func (r *rig) serve(port uint16) (accepted []int) {
	accepted = make([]int, len(r.h.cores))
	var queued ring.Word
	for i, c := range r.h.cores {
		l, errno := c.Stack.TCP.Listen(netip.AddrPortFrom(ourAddr, port), tcp.ListenConfig{Backlog: 100, Queued: &queued})
		if errno != 0 {
			r.t.Fatal(errno)
		}
		r.work = append(r.work, func(mono.Time) {
			for conn := l.Accept(); conn != nil; conn = l.Accept() {
				accepted[i]++
				r.work = append(r.work, mirror(conn))
			}
		})
	}
	return accepted
}

// dialFromPeer begins a connection from the peer to the host.
func (r *rig) dialFromPeer(local, remote uint16, size int) *caller {
	r.t.Helper()
	c, errno := r.peer.TCP.Connect(netip.AddrPortFrom(peerAddr, local), netip.AddrPortFrom(ourAddr, remote), tcp.Options{}, r.clock.Now())
	if errno != 0 {
		r.t.Fatal(errno)
	}
	k := newCaller(c, size)
	r.work = append(r.work, k.run)
	return k
}

// dialFromCore begins a connection from a core to the peer.
func (r *rig) dialFromCore(core int, local, remote uint16, size int) *caller {
	r.t.Helper()
	c, errno := r.h.cores[core].Stack.TCP.Connect(netip.AddrPortFrom(ourAddr, local), netip.AddrPortFrom(peerAddr, remote), tcp.Options{}, r.clock.Now())
	if errno != 0 {
		r.t.Fatal(errno)
	}
	k := newCaller(c, size)
	r.work = append(r.work, k.run)
	return k
}

// mirrorAtPeer has the peer listen and mirror.
func (r *rig) mirrorAtPeer(port uint16) {
	l, errno := r.peer.TCP.Listen(netip.AddrPortFrom(peerAddr, port), tcp.ListenConfig{Backlog: 100})
	if errno != 0 {
		r.t.Fatal(errno)
	}
	r.work = append(r.work, func(mono.Time) {
		for c := l.Accept(); c != nil; c = l.Accept() {
			r.work = append(r.work, mirror(c))
		}
	})
}

func TestFlowThatChangesItsQueueIsServedByItsOwner(t *testing.T) {
	for _, cores := range []int{2, 4} {
		for _, every := range []int{1, 2, 7, 100} {
			r := newRig(t, cores)
			r.alternate(every)
			accepted := r.serve(7)
			r.mirrorAtPeer(8)
			in := r.dialFromPeer(1000, 7, 300_000)
			out := r.dialFromCore(1, 2000, 8, 300_000)
			r.until(time.Minute, "both", func() bool { return in.done && out.done })
			in.check(t)
			out.check(t)
			if s := r.peer.TCP.Stats(); s.EstabResets != 0 {
				t.Errorf("%d cores, every %d: %d resets", cores, every, s.EstabResets)
			}
			sum := 0
			for _, n := range accepted {
				sum += n
			}
			if sum != 1 {
				t.Errorf("accepted %v", accepted)
			}
			r.empty()
		}
	}
}

func TestSYNAgainAtAnotherCoreMakesNoSecondConnection(t *testing.T) {
	r := newRig(t, 2)
	accepted := r.serve(7)
	syns := 0
	r.steer = func(frame []byte) int {
		if protocolOf(frame) != wire.ProtoTCP {
			return 0
		}
		if frame[14+20+13] == byte(wire.SYN) {
			syns++
		}
		return min(max(syns-1, 0), 1) // the first SYN to core 0, the second and all after it to core 1
	}
	lost := 0
	r.toPeer = func(frame []byte) bool {
		if protocolOf(frame) == wire.ProtoTCP && lost < 1 {
			lost++
			return false
		}
		return true
	}
	k := r.dialFromPeer(1000, 7, 50_000)
	r.until(time.Minute, "transfer", func() bool { return k.done })
	k.check(t)
	if syns < 2 || accepted[0] != 1 || accepted[1] != 0 {
		t.Errorf("%d SYNs, accepted %v", syns, accepted)
	}
	if n := r.h.cores[1].Stack.TCP.Stats().PassiveOpens; n != 0 {
		t.Errorf("core 1 opened %d", n)
	}
	r.empty()
}

func TestSYNACKAtTheWrongCore(t *testing.T) {
	r := newRig(t, 2)
	r.mirrorAtPeer(8)
	r.steer = func([]byte) int { return 1 } // ARP answers as well
	k := r.dialFromCore(0, 2000, 8, 50_000)
	r.until(time.Minute, "transfer", func() bool { return k.done })
	k.check(t)
	if r.h.cores[0].Stack.Neigh.Lookup(0, peerAddr) == nil {
		t.Error("core 0 does not know the neighbour")
	}
	if e := r.peer.TCP.Stats().EstabResets + r.peer.TCP.Stats().AttemptFails; e != 0 {
		t.Errorf("%d resets", e)
	}
	r.empty()
}

// TestARPReplyAtTheWrongCore: every core that has asked hears of an answer to any.
func TestARPReplyAtTheWrongCore(t *testing.T) {
	r := newRig(t, 4)
	r.mirrorAtPeer(8)
	r.steer = func(frame []byte) int {
		if protocolOf(frame) == 0 {
			return 3
		}
		return 0
	}
	var all []*caller
	for core := range 4 {
		all = append(all, r.dialFromCore(core, uint16(2000+core), 8, 1000))
	}
	r.until(900*time.Millisecond, "all, before a question is repeated", func() bool {
		for _, k := range all {
			if !k.done {
				return false
			}
		}
		return true
	})
	for _, k := range all {
		k.check(t)
	}
	r.empty()
}

// icmpAbout is an ICMP error of the peer's about a frame that it got.
func icmpAbout(frame []byte, typ wire.ICMP4Type, code uint8, rest uint32) []byte {
	quote := frame[14 : 14+20+8]
	b := make([]byte, 14+20+8+len(quote))
	n := wire.PutEthernet(b, ourMAC, peerMAC, wire.EtherTypeIPv4)
	ip := wire.IPv4(frame[14:])
	n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: wire.ProtoICMP, Src: peerAddr, Dst: ip.Src(), PayloadLen: 8 + len(quote)})
	m := n
	n += wire.PutICMP4(b[n:], typ, code, rest)
	copy(b[n:], quote)
	wire.ICMP4(b[m:]).Seal()
	return b
}

func TestICMPErrorAtTheWrongCoreReachesTheConnection(t *testing.T) {
	r := newRig(t, 2)
	r.toPeer = func(frame []byte) bool {
		if protocolOf(frame) != wire.ProtoTCP {
			return true
		}
		r.queues[1].in = append(r.queues[1].in, icmpAbout(frame, wire.ICMP4Unreachable, wire.ICMP4HostProhibited, 0))
		return false
	}
	k := r.dialFromCore(0, 2000, 8, 100)
	r.until(time.Second, "refusal", func() bool { return k.done })
	if k.errno != unix.EHOSTUNREACH {
		t.Errorf("%v", k.errno)
	}
	r.empty()
}

func TestPacketTooBigAtTheWrongCoreMakesSegmentsSmaller(t *testing.T) {
	r := newRig(t, 2)
	r.mirrorAtPeer(8)
	const mtu = 700
	large := 0
	r.toPeer = func(frame []byte) bool {
		if len(frame) <= 14+mtu {
			return true
		}
		large++
		r.queues[1].in = append(r.queues[1].in, icmpAbout(frame, wire.ICMP4Unreachable, wire.ICMP4FragNeeded, mtu))
		return false
	}
	k := r.dialFromCore(0, 2000, 8, 100_000)
	r.until(time.Minute, "transfer", func() bool { return k.done })
	k.check(t)
	if large == 0 || large > 40 {
		t.Errorf("%d frames were too big", large)
	}
	r.empty()
}

func TestICMPErrorAtAnyCoreReachesAConnectedDatagramSocket(t *testing.T) {
	for at := range 2 {
		r := newRig(t, 2)
		r.steer = func(frame []byte) int { return at }
		var gate ring.Gate
		var soErr ring.Errno
		gate.Init(deaf{})
		to := netip.AddrPortFrom(peerAddr, 9) // nobody is there
		var ends []*udp.Socket
		for _, c := range r.h.cores {
			end := &udp.Socket{Local: netip.AddrPortFrom(ourAddr, 5000), Remote: to, Gate: &gate, Error: &soErr}
			end.Recv.Init(c.Stack.Pool, 1<<16)
			end.Send.Init(c.Stack.Pool, 1<<16)
			c.Stack.UDP.Add(end)
			ends = append(ends, end)
		}
		for range 2 { // the first waits for its neighbour
			c := r.h.cores[0]
			c.Stack.Offer(wire.ProtoUDP, ends[0], to, []byte("hello"), r.clock.Now())
			c.Stack.Settle()
			r.settle()
		}
		if e := unix.Errno(soErr.Take()); e != unix.ECONNREFUSED {
			t.Errorf("at core %d: %v", at, e)
		}
	}
}

// TestConnectionsLandOnAllCores: a listener accepts what each core has, and what a core has not
// is not taken from it.
func TestConnectionsLandOnAllCores(t *testing.T) {
	r := newRig(t, 4)
	r.steer = func(frame []byte) int {
		if protocolOf(frame) != wire.ProtoTCP {
			return 0
		}
		return int(wire.TCP(frame[34:]).SrcPort()) % 4
	}
	accepted := r.serve(7)
	var all []*caller
	for i := range 64 {
		all = append(all, r.dialFromPeer(uint16(1000+i), 7, 10_000))
	}
	r.until(time.Minute, "all", func() bool {
		for _, k := range all {
			if !k.done {
				return false
			}
		}
		return true
	})
	for _, k := range all {
		k.check(t)
	}
	for i, n := range accepted {
		if n != 16 {
			t.Errorf("core %d accepted %d", i, n)
		}
	}
	r.empty()
}

// TestHandOverIsBounded: a core that is not turned does not make another's memory grow, and
// what is too much is counted.
func TestHandOverIsBounded(t *testing.T) {
	r := newRig(t, 2)
	r.serve(7)
	var frame []byte // a segment of the connection
	r.steer = func(f []byte) int {
		if len(f) > 1000 {
			frame = bytes.Clone(f)
		}
		return 0
	}
	k := r.dialFromPeer(1000, 7, 100_000)
	k.shut = true // not yet
	r.until(time.Minute, "a transfer", func() bool { return len(k.got) == len(k.body) })
	// Core 1 gets it very often while core 0 stands still.
	for range 100 {
		for range 64 {
			r.queues[1].in = append(r.queues[1].in, frame)
		}
		r.h.cores[1].Turn()
	}
	if used := r.h.cores[0].mail.frames.Len() * len(frame); used > mailMax || used < mailMax/2 {
		t.Errorf("%d bytes wait", used)
	}
	full, none := r.h.cores[1].Stack.Count[drop.HandOverFull], r.h.cores[1].Stack.Count[drop.None]
	if waits := r.h.cores[0].mail.frames.Len(); full == 0 || int(full)+waits != 6400 || none != 0 {
		t.Errorf("%d wait, %d were too many and %d are not counted by whom they are for, of 6400", waits, full, none)
	}
	k.shut = false
	r.until(time.Minute, "the end", func() bool { return k.done })
	k.check(t)
	if n := r.peer.TCP.Stats().EstabResets; n != 0 {
		t.Error("the connection was reset")
	}
	r.empty()
}

// TestConnectionOfAClosedListenerGoesOn and is still found from any core.
func TestConnectionOfAClosedListenerGoesOn(t *testing.T) {
	r := newRig(t, 2)
	var listeners []*tcp.Listener
	var conn *tcp.Conn
	for _, c := range r.h.cores {
		l, errno := c.Stack.TCP.Listen(netip.AddrPortFrom(ourAddr, 7), tcp.ListenConfig{Backlog: 10})
		if errno != 0 {
			t.Fatal(errno)
		}
		listeners = append(listeners, l)
	}
	k := r.dialFromPeer(1000, 7, 50_000)
	late := r.dialFromPeer(1001, 7, 50_000)
	r.until(time.Second, "accept", func() bool { conn = listeners[0].Accept(); return conn != nil })
	for _, l := range listeners {
		l.Close(r.clock.Now())
	}
	r.work = append(r.work, mirror(conn))
	r.alternate(3)
	r.until(time.Minute, "both", func() bool { return k.done && late.done })
	k.check(t)
	if late.errno != unix.ECONNRESET {
		t.Errorf("the one that nobody accepted: %v", late.errno)
	}
	r.empty()
}

// TestTurnDoesNotAllocate: a whole turn, with a ping that is answered and a datagram that
// is read.
func TestTurnDoesNotAllocate(t *testing.T) {
	for _, cores := range []int{1, 2} {
		r := newRig(t, cores)
		var seen [][]byte
		r.steer = func(frame []byte) int {
			seen = append(seen, bytes.Clone(frame))
			return 0
		}
		var gate ring.Gate
		gate.Init(deaf{})
		open := func(s *proto.Stack, table *udp.Table, local netip.AddrPort) *udp.Socket {
			sock := &udp.Socket{Local: local, Gate: &gate, Error: new(ring.Errno)}
			sock.Recv.Init(s.Pool, 1<<16)
			sock.Send.Init(s.Pool, 1<<16)
			table.Add(sock)
			return sock
		}
		core := r.h.cores[0]
		reader := open(core.Stack, &core.Stack.UDP, netip.AddrPortFrom(ourAddr, 7))
		asker := open(r.peer, &r.peer.UDP, netip.AddrPortFrom(peerAddr, 1000))
		pinger := open(r.peer, &r.peer.Ping, netip.AddrPortFrom(peerAddr, 77))
		message := make([]byte, 64)
		wire.PutICMP4(message, wire.ICMP4Echo, 0, wire.ICMPEcho(77, 1))
		wire.ICMP4(message).Seal()
		for range 2 { // the first asks for the neighbour
			seen = nil
			r.peer.Offer(wire.ProtoUDP, asker, netip.AddrPortFrom(ourAddr, 7), message, r.clock.Now())
			r.peer.Settle()
			r.settle()
			r.peer.Offer(wire.ProtoICMP, pinger, netip.AddrPortFrom(ourAddr, 0), message, r.clock.Now())
			r.peer.Settle()
			r.settle()
		}
		if len(seen) != 2 {
			t.Fatalf("%d frames", len(seen))
		}
		q := r.queues[0]
		q.sink = true
		buf := make([]byte, 2048)
		var m ring.Datagram
		read := 0
		turn := func() {
			q.in = seen
			core.Turn()
			for {
				if _, ok := reader.Recv.Get(&m, buf, false); !ok {
					return
				}
				read++
			}
		}
		turn()
		q.sunk, read = 0, 0
		if n := testing.AllocsPerRun(100, turn); n != 0 {
			t.Errorf("%d cores: %v allocations", cores, n)
		}
		if q.sunk != 101 || read != 101 {
			t.Errorf("%d cores: %d answers and %d datagrams in 101 turns", cores, q.sunk, read)
		}
	}
}

// All cores take from one right to send ICMP errors, which the knobs turn.
func TestCoresShareTheRightToReport(t *testing.T) {
	h, err := Open(Config{Manual: true, Interfaces: []Interface{{Devices: []engine.Device{engine.NewLoop(), engine.NewLoop()}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	sent := func(dst netip.Addr) (n int) {
		for range 10 {
			for _, c := range h.cores {
				if (*peers)(c).MayReport(dst, c.Now()) {
					n++
				}
			}
		}
		return n
	}
	if n := sent(peerAddr); n != 6 {
		t.Errorf("%d errors to one destination at once, want 6", n)
	}
	if err := h.SetSysctl("net.ipv4.icmp_ratelimit", "0"); err != nil {
		t.Fatal(err)
	}
	if n := sent(peerAddr); n != 20 {
		t.Errorf("%d of 20 without a limit", n)
	}
}
