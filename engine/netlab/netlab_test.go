package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pair is two namespaces joined by a veth pair.
func pair(t *testing.T, queues int) (a, b *NS, v *Veth) {
	t.Helper()
	a, b = TestNS(t), TestNS(t)
	v = TestVeth(t,
		End{NS: a, Name: "va", Queues: queues, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addrs: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
		End{NS: b, Name: "vb", Queues: queues, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Addrs: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}, Off: OnWire})
	return a, b, v
}

func inode(t testing.TB) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestVethCarriesTCPAndUDP(t *testing.T) {
	a, b, _ := pair(t, 1)
	for _, addr := range []string{"192.0.2.2:0", "[2001:db8::2]:0"} {
		l, err := b.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}()
		c, err := a.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q, %v", buf, err)
		}
		c.Close()
		l.Close()

		p, err := b.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		u, err := a.Dial("udp", p.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("datagram")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 16)
		p.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := p.ReadFrom(got)
		if err != nil || string(got[:n]) != "datagram" {
			t.Fatalf("%q, %v", got[:n], err)
		}
		u.Close()
		p.Close()
	}
	if _, err := a.Dial("tcp", "localhost:1"); err == nil || !strings.Contains(err.Error(), "literal") {
		t.Fatalf("dial a name: %v", err)
	}
}

func TestLinkIsAsAsked(t *testing.T) {
	a, _, v := pair(t, 3)
	if v.A.MAC.String() != "02:00:00:00:00:01" || v.B.MAC.String() != "02:00:00:00:00:02" {
		t.Fatalf("MACs %v, %v", v.A.MAC, v.B.MAC)
	}
	for _, l := range []*Link{v.A, v.B} {
		err := l.NS.netlink(func(h *netlink.Handle) error {
			k, err := h.LinkByName(l.Name)
			if err != nil {
				return err
			}
			at := k.Attrs()
			if at.Index != l.Index || at.Flags&net.FlagUp == 0 || at.NumTxQueues != 3 || at.NumRxQueues != 3 {
				return fmt.Errorf("%s: index %d, want %d; flags %v; %d and %d queues", l.Name,
					at.Index, l.Index, at.Flags, at.NumTxQueues, at.NumRxQueues)
			}
			addrs, err := h.AddrList(k, netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, addr := range addrs {
				if !addr.IP.IsLinkLocalUnicast() && addr.Flags&unix.IFA_F_TENTATIVE != 0 {
					return fmt.Errorf("%s: %v is tentative", l.Name, addr.IPNet)
				}
			}
			if len(addrs) < 2 {
				return fmt.Errorf("%s: addresses %v", l.Name, addrs)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if on, err := v.B.Offloads(); err != nil || on&OnWire != 0 {
		t.Errorf("offloads of b: %b, %v", on, err)
	}
	if on, err := v.A.Offloads(); err != nil || on&TxChecksum == 0 {
		t.Errorf("offloads of a: %b, %v", on, err)
	}
	if err := v.A.SetOffload(TxChecksum|TSO, false); err != nil {
		t.Error(err)
	}
	if err := v.A.SetOffload(TxChecksum|TSO, false); err != nil {
		t.Errorf("off again: %v", err)
	}
	if err := v.A.SetMTU(9000); err != nil {
		t.Error(err)
	}
	err := a.Do(func() error {
		ifi, err := net.InterfaceByName("va")
		if err == nil && ifi.MTU != 9000 {
			err = fmt.Errorf("mtu %d", ifi.MTU)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDoLeavesThreadWhereItWas(t *testing.T) {
	ns := TestNS(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := inode(t)
	var inside uint64
	if err := ns.Do(func() error { inside = inode(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if inside == home {
		t.Error("Do did not enter")
	}
	if got := inode(t); got != home {
		t.Errorf("now in %d, came from %d", got, home)
	}

	want := errors.New("want")
	if err := ns.Do(func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		ns.Do(func() error { panic("boom") })
		t.Error("the panic did not reach the caller")
	}()
	exited := make(chan bool)
	go func() {
		defer close(exited)
		ns.Do(func() error { runtime.Goexit(); return nil })
		t.Error("Goexit did not reach the caller")
	}()
	<-exited
	if err := ns.Go(func() error { return want })(); err != want {
		t.Errorf("Go: %v", err)
	}
}

func TestTwentyGoroutines(t *testing.T) {
	RequireRoot(t)
	before := openFDs(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := useOne(i); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	// Every thread of the process is back where it belongs.
	home := inode(t)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var st unix.Stat_t
		if unix.Stat("/proc/self/task/"+task.Name()+"/ns/net", &st) == nil && st.Ino != home {
			t.Errorf("thread %s is still in namespace %d", task.Name(), st.Ino)
		}
	}
	// The runtime's own descriptors (epoll, eventfd) may have appeared meanwhile.
	if after := openFDs(t); after > before+3 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func useOne(i int) error {
	a, err := NewNS()
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := NewNS(NoIPv6())
	if err != nil {
		return err
	}
	defer b.Close()
	v, err := VethPair(
		End{NS: a, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		End{NS: b, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}})
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := b.ListenPacket("udp", "10.0.0.2:7000")
	if err != nil {
		return err
	}
	defer p.Close()
	c, err := a.Dial("udp", "10.0.0.2:7000")
	if err != nil {
		return err
	}
	defer c.Close()
	want := fmt.Sprint("number ", i)
	if _, err := c.Write([]byte(want)); err != nil {
		return err
	}
	buf := make([]byte, 64)
	p.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := p.ReadFrom(buf)
	if err != nil {
		return err
	}
	if string(buf[:n]) != want {
		return fmt.Errorf("got %q, want %q", buf[:n], want)
	}
	return nil
}

func TestNothingIsLeft(t *testing.T) {
	RequireRoot(t)
	links := func() string {
		ifs, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range ifs {
			names = append(names, i.Name)
		}
		return strings.Join(names, " ")
	}
	before := links()
	ns, err := NewNS()
	if err != nil {
		t.Fatal(err)
	}
	v, err := VethPair(End{Name: ""}, End{NS: ns, Name: "inside"}) // one end in the process's own
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(links(), v.A.Name) {
		t.Fatalf("%s is not among %s", v.A.Name, links())
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	if after := links(); after != before {
		t.Errorf("links: %s; before: %s", after, before)
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
	if _, err := VethPair(End{NS: ns}, End{NS: ns}); err == nil {
		t.Error("a veth in a closed namespace")
	}
}

func TestNamed(t *testing.T) {
	RequireRoot(t)
	name := fmt.Sprintf("netlab-test-%d", os.Getpid())
	ns, err := NewNS(Named(name))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var st, want unix.Stat_t
	if err := unix.Stat("/run/netns/"+name, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(ns.FD(), &want); err != nil || st.Ino != want.Ino {
		t.Errorf("the name leads to %d, want %d (%v)", st.Ino, want.Ino, err)
	}
	if _, err := NewNS(Named(name)); err == nil || !strings.Contains(err.Error(), "ip netns del") {
		t.Errorf("the same name again: %v", err)
	}
	if err := ns.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/run/netns/" + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
	for _, bad := range []string{"../x", "a/b", ".."} {
		if ns, err := NewNS(Named(bad)); err == nil {
			ns.Close()
			t.Errorf("name %q was taken", bad)
		}
	}
}

func TestTap(t *testing.T) {
	for _, queues := range []int{1, 2} {
		ns := TestNS(t, NoIPv6())
		tap, err := NewTap(End{NS: ns, Name: "tap0", Queues: queues, MTU: 1400,
			MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}})
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		if len(tap.FDs) != queues || tap.MAC.String() != "02:00:00:00:00:09" {
			t.Fatalf("%d descriptors, MAC %v", len(tap.FDs), tap.MAC)
		}
		c, err := ns.Dial("udp", "10.1.0.2:9")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("who has 10.1.0.2?"))
		c.Close()
		if frame := readAny(t, tap.FDs); len(frame) < 14 || frame[12] != 8 || frame[13] != 6 {
			t.Errorf("want an ARP request, got % x", frame)
		}
		for range 2 {
			if err := tap.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	ns := TestNS(t, NoIPv6())
	tun, err := NewTun(End{NS: ns, Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}})
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	c, err := ns.Dial("udp", "10.1.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("raw"))
	if p := readAny(t, tun.FDs); len(p) != 20+8+3 || p[0]>>4 != 4 {
		t.Errorf("want an IPv4 packet of 31 bytes, got % x", p)
	}
}

func readAny(t *testing.T, fds []int) []byte {
	t.Helper()
	var set []unix.PollFd
	for _, fd := range fds {
		set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	buf := make([]byte, 4096)
	for range 100 {
		if n, err := unix.Poll(set, 10_000); n == 0 || (err != nil && err != unix.EINTR) {
			t.Fatalf("poll: %d, %v", n, err)
		}
		for _, p := range set {
			if p.Revents&unix.POLLIN != 0 {
				n, err := unix.Read(int(p.Fd), buf)
				if err != nil {
					t.Fatal(err)
				}
				return buf[:n]
			}
		}
	}
	t.Fatal("nothing came")
	return nil
}

func TestCommand(t *testing.T) {
	ns := TestNS(t)
	out, err := ns.Command("readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(ns.FD(), &st); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(out)), fmt.Sprintf("net:[%d]", st.Ino); got != want {
		t.Errorf("the program is in %s, want %s", got, want)
	}
	sleeper := ns.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := sleeper.Wait(); !errors.As(err, &exit) || exit.Success() {
		t.Errorf("the program of a closed namespace ended with %v", err)
	}
	if err := ns.Command("true").Run(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a program in a closed namespace: %v", err)
	}
}

// TestIPv6IsUsableAtOnce writes the answer of a neighbour to a TAP the moment it
// has been made: for some ten microseconds after that the kernel would drop it.
func TestIPv6IsUsableAtOnce(t *testing.T) {
	ns := TestNS(t)
	for range 30 {
		tun, err := NewTun(End{NS: ns, Name: "t0", Addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := ns.ListenPacket("udp", "[2001:db8::1]:7")
		if err != nil {
			t.Fatal(err)
		}
		// IPv6, 9 bytes of UDP from port 9 to 7; the checksum is that of exactly this.
		packet := append([]byte{0x60, 0, 0, 0, 0, 9, 17, 64}, netip.MustParseAddr("2001:db8::2").AsSlice()...)
		packet = append(packet, netip.MustParseAddr("2001:db8::1").AsSlice()...)
		packet = append(packet, 0, 9, 0, 7, 0, 9, 0, 0, 'x')
		sum := uint32(9 + 17) // the pseudo header's length and next header
		for i := 8; i < len(packet); i += 2 {
			word := uint32(packet[i]) << 8
			if i+1 < len(packet) {
				word |= uint32(packet[i+1])
			}
			sum += word
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		packet[46], packet[47] = byte(^sum>>8), byte(^sum)
		if _, err := unix.Write(tun.FDs[0], packet); err != nil {
			t.Fatal(err)
		}
		p.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 10)
		if n, _, err := p.ReadFrom(buf); err != nil || string(buf[:n]) != "x" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		p.Close()
		if err := tun.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilled kills a process that holds a network and sees the network go.
func TestKilled(t *testing.T) {
	if name := os.Getenv("NETLAB_TEST_LINK"); name != "" {
		ns, err := NewNS()
		if err == nil {
			_, err = VethPair(End{Name: name}, End{NS: ns})
		}
		fmt.Println("made", err)
		select {}
	}
	ns := TestNS(t)
	cmd := ns.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "NETLAB_TEST_LINK=orphan0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "made <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	exists := func() bool {
		return ns.Do(func() error { _, err := net.InterfaceByName("orphan0"); return err }) == nil
	}
	if !exists() {
		t.Fatal("the link was not made")
	}
	cmd.Process.Kill()
	cmd.Wait()
	// The kernel takes a namespace down in the background.
	for range 3000 {
		if !exists() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the link outlived the process for half a minute")
}

func TestMissingCaps(t *testing.T) {
	if got := missingCaps([]byte("Name:\tx\nCapEff:\t000001ffffffffff\n")); got != "" {
		t.Errorf("root lacks %s", got)
	}
	if got := missingCaps([]byte("CapEff:\t0000000000001000\n")); strings.Contains(got, "CAP_NET_ADMIN") || !strings.Contains(got, "CAP_SYS_ADMIN") {
		t.Errorf("with CAP_NET_ADMIN alone: %s", got)
	}
	if got := missingCaps(nil); !strings.Contains(got, "CAP_NET_RAW") {
		t.Errorf("with nothing: %s", got)
	}
}
