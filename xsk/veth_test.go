package xsk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A wire is a veth pair, va and vb, in a network namespace of its own, with a program on each end
// that redirects everything into xsks.
type wire struct {
	va, vb end
}

type end struct {
	name  string
	index int
	xsks  *ebpf.Map
}

// newWire makes a wire of that many queues. The namespace belongs to the thread, and the thread to the
// test's goroutine: both end, and the pair with them, when the test does.
func newWire(t testing.TB, queues int) *wire {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread must not go back to others
	ns, err := netns.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: run as root")
	}
	if err != nil {
		t.Fatal("new network namespace: ", err)
	}
	t.Cleanup(func() { ns.Close() })
	// No IPv6, or the kernel's own router solicitations would come down the wire.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		t.Fatal("disable IPv6: ", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.NumTxQueues, attrs.NumRxQueues = "va", queues, queues
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "vb", PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal("add veth pair: ", err)
	}
	w := &wire{}
	for _, e := range []struct {
		end  *end
		name string
	}{{&w.va, "va"}, {&w.vb, "vb"}} {
		l, err := netlink.LinkByName(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		*e.end = end{name: e.name, index: l.Attrs().Index, xsks: redirect(t, l.Attrs().Index, queues)}
	}
	return w
}

func redirect(t testing.TB, index, queues int) *ebpf.Map {
	t.Helper()
	xsks, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(queues)})
	if err != nil {
		t.Fatal("make an XSKMAP: ", err)
	}
	t.Cleanup(func() { xsks.Close() })
	const rxQueueIndex, xdpDrop = 16, 1
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, rxQueueIndex, asm.Word),
		asm.LoadMapPtr(asm.R1, xsks.FD()),
		asm.Mov.Imm(asm.R3, xdpDrop),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal("load the program: ", err)
	}
	t.Cleanup(func() { prog.Close() })
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: index})
	if err != nil {
		t.Fatal("attach the program: ", err)
	}
	t.Cleanup(func() { l.Close() })
	return xsks
}

// port is a UMEM with one socket.
type port struct {
	t testing.TB
	*Socket
	batch [64]uint64
	descs [64]Desc
}

func (e *end) config() Config {
	return Config{Interface: e.name, Index: e.index, RxSize: 256, TxSize: 256, FillSize: 512, Prime: 256}
}

func (e *end) open(t testing.TB, cfg Config) *port {
	t.Helper()
	u := openUMEM(t, UMEMConfig{Frames: 1024, FrameSize: 2048})
	s, err := Open(u, cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.steer(t, s)
	return &port{t: t, Socket: s}
}

func (e *end) steer(t testing.TB, s *Socket) {
	t.Helper()
	if err := e.xsks.Update(uint32(s.cfg.Queue), uint32(s.FD()), ebpf.UpdateAny); err != nil {
		t.Fatal("put the socket into the XSKMAP: ", err)
	}
}

// close closes both and holds the book to account.
func (p *port) close() {
	p.t.Helper()
	u := p.UMEM()
	if err := p.Close(); err != nil {
		p.t.Error(err)
	}
	if c := u.Census(); c.Free+c.Lent+c.Parked != c.Frames {
		p.t.Error("after Close: ", c)
	}
	if u.Misused() != 0 {
		p.t.Errorf("%d frames misused", u.Misused())
	}
	if err := u.Close(); err != nil {
		p.t.Error(err)
	}
}

// send submits up to n frames with consecutive numbers, from next on, and says how many.
func (p *port) send(next uint32, n, length int) int {
	p.Complete()
	n = p.UMEM().Alloc(p.batch[:min(n, len(p.batch), p.Room(n))])
	for i, addr := range p.batch[:n] {
		d := p.UMEM().Data(addr, length)
		copy(d, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
		binary.BigEndian.PutUint32(d[14:], next+uint32(i))
		p.descs[i] = Desc{Addr: addr, Len: uint32(length)}
	}
	if got := p.Submit(p.descs[:n]); got != n {
		p.t.Fatalf("Submit took %d of %d", got, n)
	}
	p.Kick()
	return n
}

// receive takes what has arrived, calls f with each packet and gives the frames back.
func (p *port) receive(f func(data []byte)) int {
	n := p.Peek(len(p.batch))
	for i := range n {
		d := p.Rx(i)
		f(p.UMEM().Data(d.Addr, int(d.Len)))
		p.batch[i] = d.Addr
	}
	p.Release(n)
	if got := p.Fill(p.batch[:n]); got != n {
		p.t.Fatalf("Fill took %d of %d", got, n)
	}
	p.WakeRx()
	return n
}

// needLinux skips a test of what older kernels have not got.
func needLinux(t testing.TB, major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var x, y int
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	if x < major || x == major && y < minor {
		t.Skipf("needs Linux %d.%d, this is %s", major, minor, release)
	}
}

// patience is how long a test waits for what must come: long, since machines can be busy.
const patience = 20 * time.Second

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}
