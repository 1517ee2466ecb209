package socketapi

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// pipeSlots is how many frames are under way in one direction at most. Submit has nothing to
// drop: Reserve shows what the other end has room for.
const pipeSlots = 1024

// pipeRing is one direction of a pipe: the sender's free frames are the receiver's
// empty slots, so a packet is written once and read in place.
type pipeRing struct {
	frames  [pipeSlots][]byte
	lens    [pipeSlots]int
	head    atomic.Uint64 // by the receiver
	tail    atomic.Uint64 // by the sender
	starved atomic.Bool   // the sender found no room
}

// pipe is one end of a wire in memory, in real time: an engine.Device of this test's own,
// written against the contract in engine/device.go alone.
type pipe struct {
	name    string
	addr    net.HardwareAddr
	in, out *pipeRing
	other   *pipe
	wake    chan struct{} // holds one
	timer   *time.Timer   // the sleeper's
	closed  atomic.Bool
	lost    atomic.Uint64
	rx, tx  atomic.Uint64
	txBytes atomic.Uint64
	rxBytes atomic.Uint64
	lent    atomic.Int64            // frames that Peek has lent and Release has not had back
	drop    func(frame []byte) bool // what Submit loses; set before the device is used
}

const pipeRoom = 1514

func newPipe() (a, b *pipe) {
	ab, ba := new(pipeRing), new(pipeRing)
	for i := range pipeSlots {
		ab.frames[i], ba.frames[i] = make([]byte, pipeRoom), make([]byte, pipeRoom)
	}
	mk := func(name string, last byte, in, out *pipeRing) *pipe {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return &pipe{name: name, addr: net.HardwareAddr{2, 0, 0, 0, 0, last}, in: in, out: out, wake: make(chan struct{}, 1), timer: t}
	}
	a, b = mk("pipe a", 1, ba, ab), mk("pipe b", 2, ab, ba)
	a.other, b.other = b, a
	return a, b
}

func (p *pipe) Info() engine.Info {
	return engine.Info{Name: p.name, Mode: "pipe", Addr: p.addr, MTU: 1500, FrameLen: pipeRoom}
}

func (p *pipe) Peek(frames []engine.Frame) int {
	head := p.in.head.Load()
	n := min(int(p.in.tail.Load()-head), len(frames))
	for i := range n {
		at := (head + uint64(i)) % pipeSlots
		frames[i] = engine.Frame{Data: p.in.frames[at][:p.in.lens[at]], Handle: at}
		p.rxBytes.Add(uint64(p.in.lens[at]))
	}
	p.rx.Add(uint64(n))
	p.lent.Add(int64(n))
	return n
}

func (p *pipe) Release(frames []engine.Frame) {
	p.lent.Add(-int64(len(frames)))
	p.in.head.Add(uint64(len(frames)))
	if p.in.starved.Load() && p.in.starved.Swap(false) {
		p.other.Wake()
	}
}

func (p *pipe) Reserve(frames []engine.Frame) int {
	tail := p.out.tail.Load()
	n := min(pipeSlots-int(tail-p.out.head.Load()), len(frames))
	if n == 0 {
		p.out.starved.Store(true)
	}
	for i := range n {
		at := (tail + uint64(i)) % pipeSlots
		frames[i] = engine.Frame{Data: p.out.frames[at], Handle: at}
	}
	return n
}

func (p *pipe) Submit(frames []engine.Frame, _ int) {
	tail := p.out.tail.Load()
	sent := uint64(0)
	for i := range frames {
		if p.drop != nil && p.drop(frames[i].Data) {
			p.lost.Add(1)
			continue
		}
		at := (tail + sent) % pipeSlots
		if at != frames[i].Handle { // one before it was lost
			copy(p.out.frames[at], frames[i].Data)
		}
		p.out.lens[at] = len(frames[i].Data)
		p.txBytes.Add(uint64(len(frames[i].Data)))
		sent++
	}
	if sent > 0 {
		p.tx.Add(sent)
		p.out.tail.Add(sent)
		p.other.Wake()
	}
}

func (p *pipe) Unsent() bool      { return false }
func (p *pipe) Free(engine.Frame) { panic("a frame was kept, and Info said none may be") }
func (p *pipe) Ready() bool       { return p.in.tail.Load() != p.in.head.Load() }

func (p *pipe) Wait(until mono.Time) {
	if p.Ready() {
		return
	}
	if until == mono.Never {
		<-p.wake
		return
	}
	left := until.Sub(engine.SystemClock.Now())
	if left <= 0 {
		return
	}
	p.timer.Reset(left)
	select {
	case <-p.wake:
	case <-p.timer.C:
	}
	p.timer.Stop()
}

func (p *pipe) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) Err() error { return nil }

func (p *pipe) Stats() engine.DeviceStats {
	return engine.DeviceStats{RxPackets: p.rx.Load(), RxBytes: p.rxBytes.Load(), TxPackets: p.tx.Load(), TxBytes: p.txBytes.Load()}
}

func (p *pipe) Close() error {
	p.closed.Store(true)
	return nil
}

func (p *pipe) isClosed() bool { return p.closed.Load() }

// isWhole fails a test if a frame of the pipe's is still lent: all others lie in its rings.
func (p *pipe) isWhole(t testing.TB) {
	t.Helper()
	if n := p.lent.Load(); n != 0 {
		t.Errorf("%s: %d frames are still lent", p.name, n)
	}
}

// A memoryDevice is a device that says whether it was closed.
type memoryDevice interface {
	engine.Device
	isClosed() bool
}

// The two hosts at the ends of a pipe.
const (
	addrA  = "10.98.0.1"
	addrB  = "10.98.0.2"
	addrA6 = "2001:db8:98::1"
	addrB6 = "2001:db8:98::2"
)

// twoHosts opens two stacks that are joined by a pipe.
func twoHosts(t testing.TB) (a, b *Stack) {
	t.Helper()
	pa, pb := newPipe()
	return openOver(t, pa, addrA), openOver(t, pb, addrB)
}

// twoFamilies is twoHosts with addresses of both families, and a wire that loses what drop says.
func twoFamilies(t testing.TB, drop func(frame []byte) bool) (a, b *Stack) {
	t.Helper()
	pa, pb := newPipe()
	pa.drop, pb.drop = drop, drop
	return openOver(t, pa, addrA, addrA6), openOver(t, pb, addrB, addrB6)
}

// lowPorts is the knob by which tests in memory take the ports of services without a privilege.
const lowPorts = "net.ipv4.ip_unprivileged_port_start"

// openOver opens a stack over a device and checks at the end that nothing is left of it.
func openOver(t testing.TB, dev memoryDevice, addrs ...string) *Stack {
	t.Helper()
	in := host.Interface{Devices: []engine.Device{dev}, Detect: host.DetectNone}
	for _, s := range addrs {
		bits := 24
		a := netip.MustParseAddr(s)
		if a.Is6() {
			bits = 64
		}
		in.Addrs = append(in.Addrs, netip.PrefixFrom(a, bits))
	}
	st, err := Open(host.Config{
		Interfaces: []host.Interface{in},
		Sysctls:    map[string]string{"net.ipv4.icmp_ratelimit": "0", "net.ipv6.icmp.ratelimit": "0", lowPorts: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if !dev.isClosed() {
			t.Error("the device was not closed")
		}
	})
	return st
}
