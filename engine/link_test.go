package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

func linkIn(t *testing.T, ns *netlab.NS, name string) (l Link) {
	t.Helper()
	err := ns.Do(func() (err error) { l, err = LinkByName(name); return err })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// passProgram attaches a program that passes everything, until the test's end.
func passProgram(t *testing.T, ns *netlab.NS, index int, flags link.XDPAttachFlags) (id uint32, detach func()) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	if err != nil {
		t.Skipf("load an XDP program (CAP_BPF): %v", err)
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := info.ID()
	var l link.Link
	err = ns.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: flags})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return uint32(pid), func() { l.Close() }
}

func TestLinkVeth(t *testing.T) {
	a, b := netlab.TestNS(t), netlab.TestNS(t)
	v := netlab.TestVeth(t,
		netlab.End{NS: a, Name: "va", MAC: macK, Queues: 2, MTU: 1400, Addrs: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
		netlab.End{NS: b, Name: "vb", Queues: 2})
	for dst, via := range map[string]string{"0.0.0.0/0": "192.0.2.254", "10.0.0.0/8": "192.0.2.2", "::/0": "2001:db8::fe"} {
		if err := v.A.AddRoute(netip.MustParsePrefix(dst), netip.MustParseAddr(via)); err != nil {
			t.Fatal(err)
		}
	}
	l := linkIn(t, a, "va")
	if l.Name != "va" || l.Index != v.A.Index || l.MAC.String() != macK.String() || l.MTU != 1400 || l.Kind != "veth" || l.Driver != "veth" {
		t.Errorf("%+v", l)
	}
	if !l.Up || !l.Carrier || !l.Virtual || l.Loopback || l.Master != 0 || l.Usable() != nil {
		t.Errorf("%+v, usable: %v", l, l.Usable())
	}
	told := l.Channels != Channels{} // veth tells its channels since Linux 5.13
	if l.RXQueues != 2 || l.TXQueues != 2 || told && l.Channels.RX+l.Channels.Combined != 2 {
		t.Errorf("queues %d and %d, %+v", l.RXQueues, l.TXQueues, l.Channels)
	}
	if l.PeerIndex != v.B.Index || l.PeerNSID < 0 {
		t.Errorf("peer %d in %d, want %d", l.PeerIndex, l.PeerNSID, v.B.Index)
	}
	if l.XDP.Known && l.XDP.Features&(XDPBasic|XDPRedirect) != XDPBasic|XDPRedirect || l.XDP.Program != 0 || l.XDP.Mode != "" {
		t.Errorf("%+v", l.XDP)
	}
	for _, want := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		if !slices.Contains(l.Addrs, netip.MustParsePrefix(want)) {
			t.Errorf("%s is not in %v", want, l.Addrs)
		}
	}
	have := func(dst, via string) {
		t.Helper()
		for _, r := range l.Routes {
			if r.Dst == netip.MustParsePrefix(dst) && (via == "" && !r.Via.IsValid() || via != "" && r.Via == netip.MustParseAddr(via)) {
				return
			}
		}
		t.Errorf("no route to %s by way of %q in %v", dst, via, l.Routes)
	}
	have("0.0.0.0/0", "192.0.2.254")
	have("10.0.0.0/8", "192.0.2.2")
	have("192.0.2.0/24", "")
	have("2001:db8::/64", "")
	have("::/0", "2001:db8::fe")
	if same := linkIn(t, a, "lo"); !same.Loopback || !same.Virtual || same.Kind != "" || same.PeerIndex != 0 {
		t.Errorf("%+v", same)
	}
}

func TestLinkVethInOneNamespace(t *testing.T) {
	ns := netlab.TestNS(t)
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va"}, netlab.End{NS: ns, Name: "vb"})
	if l := linkIn(t, ns, "va"); l.PeerIndex != v.B.Index || l.PeerNSID != -1 || l.RXQueues != 1 || l.TXQueues != 1 {
		t.Errorf("%+v", l)
	}
}

func TestLinkTap(t *testing.T) {
	ns := netlab.TestNS(t)
	for queues := range 3 {
		tap, err := netlab.NewTap(netlab.End{NS: ns, Name: "t0", Queues: queues + 1})
		if err != nil {
			t.Fatal(err)
		}
		l := linkIn(t, ns, "t0")
		if l.Kind != "tun" || l.Driver != "tun" || !l.Virtual || l.MAC.String() != tap.MAC.String() || l.Usable() != nil {
			t.Errorf("%+v, usable: %v", l, l.Usable())
		}
		// The kernel tells the queues of a TAP from 6.8 on.
		if _, _, told := genlQueuesIn(t, ns, l.Index); told && (l.RXQueues != queues+1 || l.TXQueues != queues+1) {
			t.Errorf("%d and %d queues, want %d", l.RXQueues, l.TXQueues, queues+1)
		}
		if err := tap.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tun, err := netlab.NewTun(netlab.End{NS: ns, Name: "u0", Down: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	if l := linkIn(t, ns, "u0"); l.MAC != nil || l.Kind != "tun" || l.Up {
		t.Errorf("%+v", l)
	}
}

func genlQueuesIn(t *testing.T, ns *netlab.NS, index int) (rx, tx int, ok bool) {
	t.Helper()
	if err := ns.Do(func() error { rx, tx, ok = genlQueues(index); return nil }); err != nil {
		t.Fatal(err)
	}
	return rx, tx, ok
}

func TestLinkXDPProgram(t *testing.T) {
	ns := netlab.TestNS(t)
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va"}, netlab.End{NS: ns, Name: "vb"})
	for _, row := range []struct {
		flags link.XDPAttachFlags
		mode  string
	}{{link.XDPDriverMode, "native"}, {link.XDPGenericMode, "skb"}} {
		id, detach := passProgram(t, ns, v.A.Index, row.flags)
		if x := linkIn(t, ns, "va").XDP; x.Program != id || x.Mode != row.mode {
			t.Errorf("%+v, want program %d in %s mode", x, id, row.mode)
		}
		detach()
	}
	if x := linkIn(t, ns, "va").XDP; x.Program != 0 || x.Mode != "" {
		t.Errorf("after all: %+v", x)
	}
}

func TestSingleBufferMTU(t *testing.T) {
	ns := netlab.TestNS(t)
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va"}, netlab.End{NS: ns, Name: "vb"})
	_, _ = passProgram(t, ns, v.B.Index, link.XDPDriverMode)
	if err := v.A.SetMTU(SingleBufferMTU()); err != nil {
		t.Errorf("the largest: %v", err)
	}
	if err := v.A.SetMTU(SingleBufferMTU() + 1); err == nil {
		t.Error("one byte more is possible")
	}
}

func TestLinkErrors(t *testing.T) {
	ns := netlab.TestNS(t)
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va", Down: true}, netlab.End{NS: ns, Name: "vb", Down: true})
	err := ns.Do(func() error { _, err := LinkByName("eth9"); return err })
	if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), `"eth9"`) || !strings.Contains(err.Error(), "lo, vb, va") && !strings.Contains(err.Error(), "lo, va, vb") {
		t.Errorf("got %v", err)
	}
	if err := ns.Do(func() error { _, err := LinkByName(""); return err }); err == nil {
		t.Error("a link without a name")
	}
	l := linkIn(t, ns, "va")
	if err := l.Usable(); !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "ip link set va up") {
		t.Errorf("got %v", err)
	}
	if err := v.A.SetUp(); err != nil {
		t.Fatal(err)
	}
	l = linkIn(t, ns, "va")
	if err := l.Usable(); !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), fmt.Sprint("link ", v.B.Index)) {
		t.Errorf("got %v", err)
	}
	if err := v.B.SetUp(); err != nil {
		t.Fatal(err)
	}
	if l = linkIn(t, ns, "va"); l.Usable() != nil {
		t.Errorf("got %v", l.Usable())
	}
}

func TestXDPFeaturesString(t *testing.T) {
	for f, want := range map[XDPFeatures]string{
		0:                         "none",
		XDPBasic | XDPRxSG:        "basic rx-sg",
		XDPNdoXmitSG | 1<<40:      "ndo-xmit-sg bit40",
		XDPZeroCopy:               "xsk-zerocopy",
		XDPNdoXmit | XDPHWOffload: "ndo-xmit hw-offload",
	} {
		if got := f.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint64(f), got, want)
		}
	}
}

// events collects what a watcher reports.
type events struct {
	mu  sync.Mutex
	all []LinkEvent
}

func (e *events) report(ev LinkEvent) {
	e.mu.Lock()
	e.all = append(e.all, ev)
	e.mu.Unlock()
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.all)
}

// await waits for an event behind the first `from`.
func (e *events) await(t *testing.T, what string, from int, match func(LinkEvent) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		i := slices.IndexFunc(e.all[from:], match)
		e.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within half a minute: %+v", what, e.all)
		}
	}
}

func watchIn(t *testing.T, ns *netlab.NS, report func(LinkEvent)) (w *LinkWatcher) {
	t.Helper()
	err := ns.Do(func() (err error) { w, err = WatchLinks(report); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func TestWatchLinks(t *testing.T) {
	ns, other := netlab.TestNS(t), netlab.TestNS(t)
	var e events
	w := watchIn(t, ns, e.report)
	e.await(t, "lo, which was there", 0, func(ev LinkEvent) bool { return ev.Link.Name == "lo" && !ev.Deleted })
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va", MAC: macK}, netlab.End{NS: other, Name: "vb"})
	e.await(t, "va made and up", 0, func(ev LinkEvent) bool {
		return ev.Link.Name == "va" && ev.Link.Carrier && ev.Link.Kind == "veth" && ev.Link.Index == v.A.Index && ev.Link.MTU == 1500
	})
	step := func(what string, do func() error, match func(LinkEvent) bool) {
		t.Helper()
		from := e.count()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		e.await(t, what, from, match)
	}
	step("another MTU", func() error { return v.A.SetMTU(1300) }, func(ev LinkEvent) bool { return ev.Link.MTU == 1300 })
	step("the carrier lost", v.B.SetDown, func(ev LinkEvent) bool { return ev.Link.Name == "va" && ev.Link.Up && !ev.Link.Carrier })
	step("down", v.A.SetDown, func(ev LinkEvent) bool { return ev.Link.Name == "va" && !ev.Link.Up })
	e.mu.Lock()
	for _, ev := range e.all {
		if ev.Link.Name == "va" && ev.Link.MAC.String() != v.A.MAC.String() {
			t.Errorf("va's address is now %v, was %v", ev.Link.MAC, v.A.MAC)
		}
	}
	e.mu.Unlock()
	step("deleted", v.Close, func(ev LinkEvent) bool { return ev.Link.Name == "va" && ev.Deleted && ev.Link.Index == v.A.Index })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := e.count()
	netlab.TestVeth(t, netlab.End{NS: ns, Name: "vc"}, netlab.End{NS: other, Name: "vd"})
	time.Sleep(20 * time.Millisecond)
	if e.count() != before {
		t.Error("a report after Close")
	}
}

// TestWatchLinksOverflow makes more changes than the socket holds while the report is stuck,
// and one of them deletes a link: it must be reported all the same.
func TestWatchLinksOverflow(t *testing.T) {
	ns := netlab.TestNS(t, netlab.NoIPv6())
	var e events
	stuck, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := watchIn(t, ns, func(ev LinkEvent) {
		e.report(ev)
		if ev.Link.Name == "va" {
			once.Do(func() { close(stuck); <-let })
		}
	})
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4096); err != nil {
		t.Fatal(err)
	}
	doomed := netlab.TestVeth(t, netlab.End{NS: ns, Name: "doomed"}, netlab.End{NS: ns, Name: "doomed2"})
	e.await(t, "doomed", 0, func(ev LinkEvent) bool { return ev.Link.Name == "doomed" })
	va := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va"}, netlab.End{NS: ns, Name: "vb"})
	<-stuck
	for i := range 50 {
		if err := va.A.SetMTU(1000 + i); err != nil {
			t.Fatal(err)
		}
	}
	if err := doomed.Close(); err != nil {
		t.Fatal(err)
	}
	from := e.count()
	close(let)
	e.await(t, "the end of doomed", from, func(ev LinkEvent) bool { return ev.Link.Name == "doomed" && ev.Deleted })
	e.await(t, "the last MTU", from, func(ev LinkEvent) bool { return ev.Link.Name == "va" && ev.Link.MTU == 1049 })
}

// TestWatchKernelOverflow makes more changes than the socket holds while the report is stuck: all of them are
// known in the end.
func TestWatchKernelOverflow(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("no ip(8) to make routes with")
	}
	ns := netlab.TestNS(t, netlab.NoIPv6())
	va := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va", Addrs: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")}}, netlab.End{NS: ns, Name: "vb"})
	const routes = 300
	stuck, let, all := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	var once sync.Once
	var w *KernelWatcher
	first := true
	if err := ns.Do(func() (err error) {
		w, err = WatchKernel(va.A.Index, func(k Kernel) {
			if first {
				first = false
				return
			}
			if len(k.Routes) == routes+1 { // that of the link as well
				once.Do(func() { close(all) })
			}
			select {
			case stuck <- struct{}{}:
			default:
			}
			<-let
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4096); err != nil {
		t.Fatal(err)
	}
	add := func(from, to int) {
		var lines strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&lines, "route add 10.5.%d.%d/32 via 10.99.0.9\n", i>>8, i&255)
		}
		cmd := ns.Command(ip, "-batch", "-")
		cmd.Stdin = strings.NewReader(lines.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	add(0, 1)
	<-stuck
	add(1, routes)
	if _, _, err := unix.Recvfrom(w.fd, make([]byte, 1), unix.MSG_PEEK); err != unix.ENOBUFS {
		t.Errorf("the socket holds it all: %v", err)
	}
	close(let)
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		t.Error("not all routes are known")
	}
}

func TestWatchLinksIgnoresBridgePorts(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("no ip(8) to make a bridge with")
	}
	ns := netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ns, Name: "va"}, netlab.End{NS: ns, Name: "vb"})
	var e events
	watchIn(t, ns, e.report)
	for _, args := range [][]string{
		{"link", "add", "br0", "type", "bridge"}, {"link", "set", "va", "master", "br0"}, {"link", "set", "va", "nomaster"}, {"link", "set", "va", "mtu", "1234"},
	} {
		if out, err := ns.Command(ip, args...).CombinedOutput(); err != nil {
			t.Skipf("%v: %s", args, out)
		}
	}
	e.await(t, "the last change", 0, func(ev LinkEvent) bool { return ev.Link.MTU == 1234 })
	e.mu.Lock()
	defer e.mu.Unlock()
	inBridge := false
	for _, ev := range e.all {
		if ev.Deleted {
			t.Errorf("%s left its bridge and was reported deleted", ev.Link.Name)
		}
		inBridge = inBridge || ev.Link.Master != 0
	}
	if !inBridge {
		t.Error("the port was never reported to be in the bridge")
	}
}
