package engine

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/xsk"
)

// xdpPatience is how long a test waits for what must come: machines can be busy.
const xdpPatience = 30 * time.Second

// An xdpLink is a veth pair with all frames of both ends steered to AF_XDP.
type xdpLink struct {
	t    testing.TB
	ns   *netlab.NS
	veth *netlab.Veth
	a, b xdpEnd
}

type xdpEnd struct {
	*netlab.Link
	prog *bpf.Program
	mtu  int
	skb  bool

	noTrains bool
}

func newXDPLink(t testing.TB, queues, mtu int) *xdpLink {
	t.Helper()
	return newXDPLinkMode(t, queues, mtu, bpf.Native)
}

func newXDPLinkMode(t testing.TB, queues, mtu int, mode bpf.Mode) *xdpLink {
	t.Helper()
	netlab.RequireRoot(t)
	l := &xdpLink{t: t, ns: netlab.TestNS(t, netlab.NoIPv6())}
	l.veth = netlab.TestVeth(t, netlab.End{NS: l.ns, Queues: queues, MTU: mtu, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
		netlab.End{NS: l.ns, Queues: queues, MTU: mtu})
	l.a, l.b = l.end(l.veth.A, queues, mtu, mode), l.end(l.veth.B, queues, mtu, mode)
	return l
}

func (l *xdpLink) end(link *netlab.Link, queues, mtu int, mode bpf.Mode) xdpEnd {
	l.t.Helper()
	prog, err := bpf.Load(bpf.Config{Queues: queues, Frags: mtu > 3500})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { prog.Close() })
	if err := l.ns.Do(func() error { _, err := prog.Attach(link.Index, mode); return err }); err != nil {
		l.t.Fatal(err)
	}
	if err := prog.Everything(true); err != nil {
		l.t.Fatal(err)
	}
	return xdpEnd{Link: link, prog: prog, mtu: mtu, skb: mode == bpf.Generic}
}

func testUMEM(t testing.TB, mtu, ports int) *xsk.UMEM {
	t.Helper()
	cfg, _ := UMEMFor(mtu, ports)
	u, err := xsk.OpenUMEM(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// open opens a queue of an end, on memory of its own if umem is nil.
func (l *xdpLink) open(e xdpEnd, queue int, umem *xsk.UMEM) *AFXDP {
	l.t.Helper()
	d, err := l.tryOpen(e, queue, umem)
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

func (l *xdpLink) tryOpen(e xdpEnd, queue int, umem *xsk.UMEM) (d *AFXDP, err error) {
	if umem == nil {
		umem = testUMEM(l.t, e.mtu, 1)
	}
	cfg := AFXDPConfig{
		UMEM: umem, CloseUMEM: true,
		Interface: e.Name, Index: e.Index, Queue: queue, Driver: "veth", Addr: e.MAC, MTU: e.mtu, Virtual: true,
		SKB: e.skb, Steer: e.prog.SetSocket, Trains: !e.noTrains,
	}
	if e.skb {
		cfg.MultiBuffer = xsk.Require
	}
	if _, multi := UMEMFor(e.mtu, 1); multi {
		cfg.MultiBuffer = xsk.Require
	}
	err = l.ns.Do(func() error { d, err = OpenAFXDP(cfg); return err })
	return d, err
}

// write sends n frames with consecutive numbers, and says how many there was room for.
func writeFrames(d Device, next uint32, n, length int) int {
	var slots [batchMax]Frame
	r := d.Reserve(slots[:min(n, batchMax)])
	for i := range r {
		f := &slots[i]
		f.Data = f.Data[:length]
		putHeader(f.Data, next+uint32(i))
	}
	d.Submit(slots[:r], r)
	return r
}

func putHeader(b []byte, number uint32) {
	copy(b, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
	binary.BigEndian.PutUint32(b[14:], number)
}

// read takes what has arrived and calls f with each.
func readFrames(d Device, f func(*Frame)) int {
	var slots [batchMax]Frame
	n := d.Peek(slots[:])
	for i := range n {
		f(&slots[i])
	}
	d.Release(slots[:n])
	return n
}

func comeTrue(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(xdpPatience); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

func closeDevice(t testing.TB, d Device) {
	t.Helper()
	if a, ok := d.(*AFXDP); ok {
		if n := a.umem.Misused(); n != 0 {
			t.Errorf("%d frames were given away twice", n)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// 100,000 frames go out and come back, each once, in order, whole; the reflector answers in place, by sending the
// frames it received.
func TestAFXDPEcho(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	const total = 100_000
	var scratch [2][batchMax]Frame
	sent, got := 0, 0
	for got < total {
		comeTrue(t, "an answer", func() bool {
			// What is on the way must fit into veth's ring of 256: it drops what does not.
			if n := min(batchMax, total-sent, 192-(sent-got)); n > 0 {
				sent += writeFrames(near, uint32(sent), n, 60+got%1000)
			}
			near.Submit(nil, 0)
			echoBack(far, &scratch)
			return readFrames(near, func(f *Frame) {
				if n := binary.BigEndian.Uint32(f.Data[14:]); n != uint32(got) {
					t.Fatalf("answer %d has number %d", got, n)
				}
				got++
			}) > 0
		})
	}
	for _, d := range []*AFXDP{near, far} {
		s := d.Stats()
		if s.RxPackets != total || s.TxPackets != total || s.RxBytes != s.TxBytes || s.TxBusy+s.TxInvalid+s.RxDropped+s.RxOversize+s.KickErrors != 0 {
			t.Errorf("%+v", s)
		}
		closeDevice(t, d)
	}
}

// echoBack sends back every frame that has arrived, from where it lies.
func echoBack(d Device, scratch *[2][batchMax]Frame) int {
	rx, tx := &scratch[0], &scratch[1]
	r := d.Reserve(tx[:])
	n := d.Peek(rx[:r]) // no more than can be answered
	for i := range n {
		rx[i].Keep()
		tx[i] = rx[i]
	}
	d.Release(rx[:n])
	d.Submit(tx[:n], r)
	return n
}

// Kept and reserved frames, in any mixture, leave in the order of the slots, and none is lost or sent twice.
func TestAFXDPMixedSlots(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	if writeFrames(near, 100, 8, 200) != 8 {
		t.Fatal("no room")
	}
	var kept []Frame
	comeTrue(t, "eight frames", func() bool {
		readFrames(far, func(f *Frame) { f.Keep(); kept = append(kept, *f) })
		return len(kept) == 8
	})
	far.Free(kept[7])
	var tx [batchMax]Frame
	r := far.Reserve(tx[:10])
	next := 0
	var want []uint32
	for i := range 9 { // nine of ten: three of its own, six kept
		want = append(want, uint32(i))
		if i%3 == 0 {
			tx[i].Data = tx[i].Data[:64]
		} else {
			kept[next].Data = kept[next].Data[100:] // not from the start
			tx[i] = kept[next]
			next++
		}
		putHeader(tx[i].Data, uint32(i))
	}
	tx[9].Data = []byte("not to be sent")
	far.Submit(tx[:9], r)
	var got []uint32
	comeTrue(t, "nine frames", func() bool {
		readFrames(near, func(f *Frame) {
			if n := binary.BigEndian.Uint32(f.Data[14:]); (n%3 == 0) != (len(f.Data) == 64) {
				t.Errorf("frame %d has %d bytes", n, len(f.Data))
			}
			got = append(got, binary.BigEndian.Uint32(f.Data[14:]))
		})
		return len(got) >= len(want)
	})
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("order %v", got)
		}
	}
	far.Free(kept[6]) // the one that was left
	// All frames are the device's again: none lent but what Reserve shows.
	comeTrue(t, "completions", func() bool { far.Reserve(tx[:]); return far.umem.Census().Tx == 0 })
	if c := far.umem.Census(); c.Lent != far.spares || c.Fill != far.target {
		t.Errorf("%v; %d shown, %d to be received into", c, far.spares, far.target)
	}
	closeDevice(t, near)
	closeDevice(t, far)
}

// Whatever a handler does that the contract allows, in whatever mixture, every frame stays accounted for, and the
// device goes on.
func TestAFXDPRandomHandler(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	var rx, tx [batchMax]Frame
	held := map[*AFXDP][]Frame{}
	for range 5000 {
		d := near
		if rng.IntN(2) == 0 {
			d = far
		}
		kept := held[d]
		n := d.Peek(rx[:rng.IntN(batchMax+1)])
		for i := range n {
			if len(kept) < d.Info().KeepMax && rng.IntN(3) == 0 {
				rx[i].Keep()
				kept = append(kept, rx[i])
			}
		}
		d.Release(rx[:n])
		for len(kept) > 0 && rng.IntN(3) == 0 {
			d.Free(kept[len(kept)-1])
			kept = kept[:len(kept)-1]
		}
		r := d.Reserve(tx[:rng.IntN(batchMax+1)])
		m := rng.IntN(r + 1)
		for i := range m {
			if len(kept) > 0 && rng.IntN(2) == 0 {
				last := kept[len(kept)-1]
				kept = kept[:len(kept)-1]
				tx[i] = last
				continue
			}
			tx[i].Data = tx[i].Data[:18+rng.IntN(1496)]
			putHeader(tx[i].Data, 0)
		}
		if m > 0 || rng.IntN(2) == 0 {
			d.Submit(tx[:m], r)
		}
		held[d] = kept
		if c := d.umem.Census(); c.Lent != len(kept)+d.spares || c.Free+c.Lent+c.Fill+c.Tx != c.Frames {
			t.Fatalf("%v; %d kept, %d shown", c, len(kept), d.spares)
		}
	}
	for _, d := range []*AFXDP{near, far} {
		s := d.Stats()
		if s.TxInvalid != 0 || s.RxPackets == 0 || s.TxPackets == 0 {
			t.Errorf("%+v", s)
		}
		for _, f := range held[d] {
			d.Free(f)
		}
		closeDevice(t, d)
	}
}

// What Submit cannot send is counted, and costs no frame.
func TestAFXDPInvalid(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	d := l.open(l.a, 0, nil)
	var tx [4]Frame
	r := d.Reserve(tx[:])
	tx[0].Data = nil              // nothing: refused
	tx[1].Data = tx[1].Data[:0]   // nothing, in its own frame: refused
	tx[2].Data = make([]byte, 60) // ordinary memory: copied
	tx[3].Data = make([]byte, 3000)
	d.Submit(tx[:], r)
	s := d.Stats()
	if s.TxInvalid != 3 || s.TxPackets != 1 {
		t.Errorf("%+v", s)
	}
	r = d.Reserve(tx[:])
	tx[0].Data = tx[1].Data // another slot's frame
	d.Submit(tx[:1], r)
	if s := d.Stats(); s.TxInvalid != 4 || s.TxPackets != 1 {
		t.Errorf("%+v", s)
	}
	comeTrue(t, "completions", func() bool { d.Reserve(tx[:]); return d.umem.Census().Tx == 0 })
	if c := d.umem.Census(); c.Lent != d.spares || c.Free+c.Fill+c.Lent != c.Frames {
		t.Error(c)
	}
	closeDevice(t, d)
}

// Two ports on one memory: a frame that one received leaves by the other, uncopied.
func TestAFXDPForward(t *testing.T) {
	l := newXDPLink(t, 2, 1500)
	umem := testUMEM(t, 1500, 2)
	in, out := l.open(l.b, 0, umem), l.open(l.b, 1, umem)
	source, sink := l.open(l.a, 0, nil), l.open(l.a, 1, nil)
	if in.Info().Region != out.Info().Region || in.Info().Region == source.Info().Region {
		t.Error("regions do not tell who shares memory")
	}
	const total = 5000
	sent, got := 0, 0
	var rx, tx [batchMax]Frame
	for got < total {
		comeTrue(t, "the next frame", func() bool {
			if sent-got < 128 && sent < total {
				sent += writeFrames(source, uint32(sent), min(32, total-sent), 90)
			}
			r := out.Reserve(tx[:])
			n := in.Peek(rx[:r])
			for i := range n {
				rx[i].Keep()
				tx[i] = rx[i]
			}
			in.Release(rx[:n])
			in.Reserve(nil) // its part of the turn: replaces the frames that went
			out.Submit(tx[:n], r)
			return readFrames(sink, func(f *Frame) {
				if n := binary.BigEndian.Uint32(f.Data[14:]); n != uint32(got) {
					t.Fatalf("frame %d has number %d", got, n)
				}
				got++
			}) > 0
		})
	}
	for _, d := range []Device{in, source, out, sink} { // the shared memory outlives the first of its two
		closeDevice(t, d)
	}
}

// Frames above a page come in several descriptors and are handed up in one piece; one that was kept goes
// out again, in several.
func TestAFXDPJumbo(t *testing.T) {
	netlab.NeedLinux(t, 6, 6) // XDP_USE_SG
	l := newXDPLink(t, 1, 9000)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	if !near.Socket().MultiBuffer {
		t.Fatal("opened without multi-buffer: ", near.Socket().Refused)
	}
	big := make([]byte, 9014)
	for i := range big {
		big[i] = byte(i * 7)
	}
	const total = 100
	for round := range total {
		putHeader(big, uint32(round))
		var tx [1]Frame
		r := near.Reserve(tx[:])
		tx[0].Data = big
		near.Submit(tx[:1], r)
		var kept Frame
		comeTrue(t, "the packet", func() bool {
			return readFrames(far, func(f *Frame) { f.Keep(); kept = *f }) == 1
		})
		far.Peek(nil)
		r = far.Reserve(tx[:])
		tx[0] = kept
		far.Submit(tx[:1], r)
		comeTrue(t, "its echo", func() bool {
			return readFrames(near, func(f *Frame) {
				if string(f.Data) != string(big) {
					t.Fatalf("round %d: %d bytes came back", round, len(f.Data))
				}
			}) == 1
		})
	}
	if s := far.Stats(); s.RxPackets != total || s.TxPackets != total || s.RxOversize != 0 {
		t.Errorf("%+v", s)
	}
	if far.big.age != 0 {
		t.Errorf("frames that were given back at once have cost %d new scratches", far.big.age)
	}
	// One that is held on to survives what comes after it.
	var held Frame
	for round := range 3 {
		putHeader(big, uint32(round))
		var tx [1]Frame
		r := near.Reserve(tx[:])
		tx[0].Data = big
		near.Submit(tx[:1], r)
		comeTrue(t, "the packet", func() bool {
			return readFrames(far, func(f *Frame) {
				if round == 0 {
					f.Keep()
					held = *f
				}
			}) == 1
		})
	}
	putHeader(big, 0)
	if string(held.Data) != string(big) || far.big.age != 1 {
		t.Errorf("a kept packet was written over (%d new scratches)", far.big.age)
	}
	far.Free(held)
	closeDevice(t, near)
	closeDevice(t, far)
}

// In generic mode the kernel hands up what its own stack left to hardware: a datagram of 20,000 bytes arrives
// as one packet of several descriptors.
func TestAFXDPGeneric(t *testing.T) {
	netlab.NeedLinux(t, 6, 6) // XDP_USE_SG
	l := newXDPLinkMode(t, 1, 1500, bpf.Generic)
	there := netip.MustParseAddr("192.0.2.2")
	if err := l.veth.A.AddRoute(netip.PrefixFrom(there, 32), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if err := l.veth.A.AddNeigh(there, l.veth.B.MAC); err != nil {
		t.Fatal(err)
	}
	d := l.open(l.b, 0, nil)
	if d.Info().Mode != "skb" {
		t.Error(d.Info())
	}
	const segment, payload = 1400, 20_000
	if err := l.ns.Do(func() error { return sendSegments(segment, make([]byte, payload)) }); err != nil {
		t.Fatal(err)
	}
	got, longest := 0, 0
	comeTrue(t, "the datagrams", func() bool {
		readFrames(d, func(f *Frame) {
			if n := len(f.Data) - 14 - 20 - 8; n > 0 && f.Data[12] == 8 && f.Data[23] == unix.IPPROTO_UDP {
				got, longest = got+n, max(longest, n)
			}
		})
		return got >= payload
	})
	if s := d.Stats(); got != payload || longest <= segment || s.RxDropped != 0 || s.RxOversize != 0 {
		t.Errorf("%d bytes, the longest packet %d: %+v", got, longest, s)
	}
	closeDevice(t, d)
}

// sendSegments sends a UDP datagram that the kernel, or the NIC, is to cut into segments (UDP GSO).
func sendSegments(segment int, payload []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, segment); err != nil {
		return err
	}
	return unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}})
}

func TestAFXDPDownUp(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	if err := l.veth.A.SetDown(); err != nil {
		t.Fatal(err)
	}
	closeDevice(t, near)
	near = l.open(l.a, 0, nil) // as well as when it is up
	writeFrames(near, 0, 3, 60)
	if !near.Unsent() || near.Stats().KickErrors == 0 {
		t.Errorf("a device that is down has sent: %+v", near.Stats())
	}
	if err := near.Probe(); err != nil {
		t.Error("down is not gone: ", err)
	}
	if err := l.veth.A.SetUp(); err != nil {
		t.Fatal(err)
	}
	got := 0
	comeTrue(t, "what was written while down", func() bool {
		near.Submit(nil, 0)
		got += readFrames(far, func(*Frame) {})
		return got == 3
	})
	if near.Unsent() {
		t.Error("frames are still unsent")
	}
	closeDevice(t, near)
	closeDevice(t, far)
}

// A deleted interface ends a sleep that has no end of its own, and says so.
func TestAFXDPDeleted(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	var found error
	slept := make(chan struct{})
	go func() {
		defer close(slept)
		for found == nil {
			far.Wait(mono.Never)
			found = far.Err()
		}
	}()
	if err := l.veth.A.Delete(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-slept:
	case <-time.After(xdpPatience):
		t.Fatal("asleep on a deleted interface")
	}
	if !errors.Is(found, unix.ENETDOWN) || !strings.Contains(found.Error(), "deleted") {
		t.Error(found)
	}
	writeFrames(near, 0, 3, 60) // its kick finds out
	if near.Err() == nil {
		t.Error("sending on a deleted interface works")
	}
	readFrames(near, func(*Frame) {})
	closeDevice(t, near)
	closeDevice(t, far)
}

func TestAFXDPReopen(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	far := l.open(l.b, 0, nil)
	for range 5 {
		d := l.open(l.a, 0, nil)
		if _, err := l.tryOpenOnce(l.a); !errors.Is(err, unix.EBUSY) {
			t.Error("a second device on one queue: ", err)
		}
		writeFrames(d, 7, 1, 60)
		comeTrue(t, "a frame", func() bool { return readFrames(far, func(*Frame) {}) == 1 })
		closeDevice(t, d)
	}
	closeDevice(t, far)
}

// tryOpenOnce opens a queue that is taken: the UMEM must be whole afterwards.
func (l *xdpLink) tryOpenOnce(e xdpEnd) (*AFXDP, error) {
	u := testUMEM(l.t, e.mtu, 1)
	d, err := l.tryOpen(e, 0, u)
	if c := u.Census(); err != nil && c.Free != c.Frames {
		l.t.Error("after a failed open: ", c)
	}
	if err != nil {
		err = errors.Join(err, u.Close())
	}
	return d, err
}

// A sleeper is woken by a frame, by Wake, by a Wake that came before, and by the time.
func TestAFXDPWait(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	far.Wake()
	far.Wait(mono.Never) // at once, or the test ends by timeout
	start := SystemClock.Now()
	for end := start.Add(3 * time.Millisecond); SystemClock.Now().Before(end); {
		far.Wait(end)
	}
	woken := make(chan int)
	go func() {
		for n := 1; ; n++ {
			for !far.Ready() {
				far.Wait(mono.Never)
			}
			if readFrames(far, func(*Frame) {}); n == 200 {
				break
			}
			woken <- n
		}
		close(woken)
	}()
	for n := range 200 {
		if n%2 == 0 {
			runtime.Gosched()
		}
		writeFrames(near, uint32(n), 1, 60)
		select {
		case <-woken:
		case <-time.After(xdpPatience):
			t.Fatalf("frame %d woke nobody", n)
		}
	}
	for range 100 { // against each other: no Wake may be lost
		done := make(chan struct{})
		go func() { far.Wait(SystemClock.Now().Add(xdpPatience)); close(done) }()
		far.Wake()
		<-done
	}
	if s := far.Stats(); s.Wakeups == 0 {
		t.Errorf("%+v", s)
	}
	closeDevice(t, near)
	closeDevice(t, far)
}

// A turn of a device allocates nothing, whether it carries frames or not.
func TestAFXDPAllocs(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	var rx, tx [batchMax]Frame
	var scratch [2][batchMax]Frame
	got := 0
	turn := func() {
		r := near.Reserve(tx[:])
		for i := range min(r, 8) {
			tx[i].Data = tx[i].Data[:60]
		}
		near.Submit(tx[:min(r, 8)], r)
		echoBack(far, &scratch)
		n := near.Peek(rx[:])
		near.Release(rx[:n])
		got += n
		far.Wait(0)
		far.Err()
	}
	if n := testing.AllocsPerRun(500, turn); n != 0 {
		t.Errorf("%v allocations a turn", n)
	}
	if got == 0 {
		t.Error("nothing came back: the measurement measured nothing")
	}
	closeDevice(t, near)
	closeDevice(t, far)
}

// One frame there and back through two devices, veth and the kernel's softirq.
func BenchmarkAFXDPEcho(b *testing.B) {
	l := newXDPLink(b, 1, 1500)
	near, far := l.open(l.a, 0, nil), l.open(l.b, 0, nil)
	var scratch [2][batchMax]Frame
	var rx, tx [batchMax]Frame
	b.ReportAllocs()
	for b.Loop() {
		r := near.Reserve(tx[:1])
		tx[0].Data = tx[0].Data[:60]
		near.Submit(tx[:1], r)
		for echoBack(far, &scratch) == 0 {
		}
		n := 0
		for n == 0 {
			n = near.Peek(rx[:])
		}
		near.Release(rx[:n])
	}
	closeDevice(b, near)
	closeDevice(b, far)
}

// A turn of a device with nothing to do: what an idle port costs.
func BenchmarkAFXDPIdleTurn(b *testing.B) {
	l := newXDPLink(b, 1, 1500)
	d := l.open(l.a, 0, nil)
	var rx, tx [batchMax]Frame
	for b.Loop() {
		if d.Peek(rx[:]) == 0 {
			d.Reserve(tx[:1])
		}
	}
	closeDevice(b, d)
}
