package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

// openFiles counts the descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// nicPair is a veth pair between two namespaces; the NIC is opened in b.
func nicPair(t *testing.T, queues int) (a, b *netlab.NS, v *netlab.Veth) {
	t.Helper()
	a, b = netlab.TestNS(t, netlab.NoIPv6()), netlab.TestNS(t, netlab.NoIPv6())
	v = netlab.TestVeth(t,
		netlab.End{NS: a, Name: "peer", Queues: queues, Addrs: []netip.Prefix{netip.MustParsePrefix("10.98.0.1/24")}},
		netlab.End{NS: b, Name: "nic", Queues: queues, Addrs: []netip.Prefix{netip.MustParsePrefix("10.98.0.2/24")}})
	return a, b, v
}

// openIn opens a NIC in a namespace; it is closed, with its devices, by the end of the test.
func openIn(t *testing.T, ns *netlab.NS, cfg NICConfig) (*NIC, error) {
	t.Helper()
	var n *NIC
	err := ns.Do(func() (err error) {
		n, err = OpenNIC(cfg)
		return err
	})
	if err != nil {
		if n != nil {
			t.Errorf("OpenNIC returned a NIC and %v", err)
		}
		return nil, err
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, nil
}

// attached is the XDP program on the NIC's link, 0: none.
func attached(t *testing.T, ns *netlab.NS) (id uint32) {
	t.Helper()
	if err := ns.Do(func() error {
		l, err := LinkByName("nic")
		id = l.XDP.Program
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// udpTo sends a datagram from a to an address that a's neighbour table knows as the NIC's.
func udpTo(t *testing.T, a *netlab.NS, v *netlab.Veth, to netip.AddrPort) {
	t.Helper()
	if err := v.A.AddNeigh(to.Addr(), v.B.MAC); err != nil {
		t.Fatal(err)
	}
	c, err := a.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("frame for the engine")); err != nil {
		t.Fatal(err)
	}
}

func TestOpenNIC(t *testing.T) {
	netlab.RequireRoot(t)
	ours := netip.MustParseAddr("10.98.0.77")
	for _, tt := range []struct {
		mode   Mode
		queues int
		want   string // Info.Mode
		opened int
	}{
		{ModeAuto, 1, "native copy", 1},
		{ModeAuto, 2, "native copy", 2},
		{ModeNative, 2, "native copy", 2},
		{ModeSKB, 1, "skb", 1},
		{ModePacket, 2, "packet", 1},
	} {
		t.Run(fmt.Sprint(tt.mode, tt.queues), func(t *testing.T) {
			a, b, v := nicPair(t, tt.queues)
			before := openFiles(t)
			n, err := openIn(t, b, NICConfig{Interface: "nic", Mode: tt.mode})
			if err != nil {
				t.Fatal(err)
			}
			info := n.Info()
			if info.Mode != tt.want || len(n.devices) != tt.opened || len(info.Queues) != tt.opened ||
				info.Driver != "veth" || !info.Virtual || info.MTU != 1500 || info.Addr.String() != v.B.MAC.String() {
				t.Errorf("%+v with %d devices", info, len(n.devices))
			}
			if tt.mode != ModePacket && (info.Program == 0 || attached(t, b) != info.Program) {
				t.Errorf("program %d is attached, Info says %d", attached(t, b), info.Program)
			}
			if tt.mode == ModeAuto && (len(info.Refused) == 0 || !strings.Contains(strings.Join(info.Refused, ";"), "zerocopy")) {
				t.Errorf("auto on a veth does not say why there is no zero-copy: %q", info.Refused)
			}

			// Nothing is ours before it is said to be.
			kernel, err := b.ListenPacket("udp", "10.98.0.2:99")
			if err != nil {
				t.Fatal(err)
			}
			defer kernel.Close()
			udpTo(t, a, v, netip.MustParseAddrPort("10.98.0.2:99"))
			buf := make([]byte, 100)
			within(t, "the kernel's datagram", func() { kernel.ReadFrom(buf) })

			if err := n.AddAddr(ours); err != nil {
				t.Fatal(err)
			}
			udpTo(t, a, v, netip.AddrPortFrom(ours, 99))
			eventually(t, "the frame for our address", func() bool { return anyFrame(n.devices, ours) })
			if err := n.RemoveAddr(ours); err != nil {
				t.Error(err)
			}
			if err := n.RemoveAddr(ours); !errors.Is(err, bpf.ErrNoRule) {
				t.Errorf("an address removed twice: %v", err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
			if id := attached(t, b); id != 0 {
				t.Errorf("program %d is attached after Close", id)
			}
			kernel.Close()
			if after := openFiles(t); after > before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
			n.devices, n.program, n.packet = nil, nil, nil // Close at the test's end has nothing to do
		})
	}
}

// anyFrame says whether a device has a frame to that IPv4 address, and takes what is there.
func anyFrame(devices []Device, to netip.Addr) (found bool) {
	var frames [8]Frame
	for _, d := range devices {
		if !d.Ready() {
			continue
		}
		n := d.Peek(frames[:])
		for i := range n {
			if f := frames[i].Data; len(f) >= 34 && net.IP(f[30:34]).Equal(to.AsSlice()) {
				found = true
			}
		}
		d.Release(frames[:n])
	}
	return found
}

// A kernel that knows XDP features (Linux 6.3) tells them each time it is asked.
func TestLinkTellsXDPFeatures(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.NeedLinux(t, 6, 3)
	_, b, _ := nicPair(t, 1)
	for range 50 {
		if err := b.Do(func() error {
			l, err := LinkByName("nic")
			if want := XDPBasic | XDPRedirect; !l.XDP.Known || l.XDP.Features&want != want || l.XDP.Features&XDPZeroCopy != 0 {
				t.Errorf("%+v, want basic and redirect, and no zero-copy", l.XDP)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// What is wrong is one line that says what to do, and nothing stays behind.
func TestOpenNICRefuses(t *testing.T) {
	netlab.RequireRoot(t)
	_, b, v := nicPair(t, 2)
	before := openFiles(t)
	for name, tt := range map[string]struct {
		cfg  NICConfig
		set  func() error
		want []string
	}{
		"no such interface": {NICConfig{Interface: "nosuch0"}, nil, []string{"nosuch0", "nic", "lo"}},
		"no such queue":     {NICConfig{Interface: "nic", Queues: []int{2}}, nil, []string{"no queue 2", "0 to 1", "ethtool -L nic"}},
		"negative queue":    {NICConfig{Interface: "nic", Queues: []int{-1}}, nil, []string{"no queue -1"}},
		"queue twice":       {NICConfig{Interface: "nic", Queues: []int{1, 1}}, nil, []string{"twice"}},
		"no queue at all":   {NICConfig{Interface: "nic", Queues: []int{}}, nil, []string{"no queue"}},
		"mode":              {NICConfig{Interface: "nic", Mode: "dpdk"}, nil, []string{"dpdk", "zerocopy", "packet"}},
		"zero-copy on veth": {NICConfig{Interface: "nic", Mode: ModeZeroCopy}, nil, []string{"zero-copy"}},
		"down":              {NICConfig{Interface: "nic"}, v.B.SetDown, []string{"nic is down", "ip link set nic up"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.set != nil {
				if err := tt.set(); err != nil {
					t.Fatal(err)
				}
				defer v.B.SetUp()
			}
			_, err := openIn(t, b, tt.cfg)
			if err == nil {
				t.Fatal("it opened")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if id := attached(t, b); id != 0 {
				t.Errorf("program %d is left attached", id)
			}
		})
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Another's program stays where it is, in every mode that would need its place, and
// auto does not hide it behind AF_PACKET.
func TestOpenNICOccupied(t *testing.T) {
	netlab.RequireRoot(t)
	_, b, _ := nicPair(t, 1)
	first, err := openIn(t, b, NICConfig{Interface: "nic"})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{ModeAuto, ModeNative, ModeSKB} {
		_, err := openIn(t, b, NICConfig{Interface: "nic", Mode: mode})
		var occupied *bpf.OccupiedError
		if !errors.As(err, &occupied) {
			t.Errorf("%s: %v, want an OccupiedError", mode, err)
		}
	}
	if id := attached(t, b); id != first.Info().Program {
		t.Errorf("program %d is attached, the first one was %d", id, first.Info().Program)
	}
	if _, err := openIn(t, b, NICConfig{Interface: "nic", Mode: ModePacket}); err != nil {
		t.Errorf("AF_PACKET beside a program: %v", err)
	}
}

// A veth's program is refused for the MTU of the other end as well: packets in several
// pieces are then taken.
func TestOpenNICLongPackets(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.NeedLinux(t, 6, 6) // XDP_USE_SG
	for name, set := range map[string]func(v *netlab.Veth) error{
		"ours":       func(v *netlab.Veth) error { return v.B.SetMTU(9000) },
		"the peer's": func(v *netlab.Veth) error { return v.A.SetMTU(9000) },
	} {
		t.Run(name, func(t *testing.T) {
			_, b, v := nicPair(t, 1)
			if err := set(v); err != nil {
				t.Fatal(err)
			}
			n, err := openIn(t, b, NICConfig{Interface: "nic", Mode: ModeNative})
			if err != nil {
				t.Fatal(err)
			}
			if n.Info().Mode != "native copy" {
				t.Errorf("mode %q", n.Info().Mode)
			}
		})
	}
}

// An interface without native XDP falls back, and says so.
func TestOpenNICFallsBack(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.NeedLinux(t, 6, 6) // lo has a large MTU: XDP_USE_SG
	ns := netlab.TestNS(t, netlab.NoIPv6())
	n, err := openIn(t, ns, NICConfig{Interface: "lo"})
	if err != nil {
		t.Fatal(err)
	}
	if n.Info().Mode != "skb" || !strings.Contains(strings.Join(n.Info().Refused, ";"), "native") {
		t.Errorf("lo: %+v", n.Info())
	}
	tun, err := netlab.NewTun(netlab.End{NS: ns, Name: "tun0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tun.Close() })
	n, err = openIn(t, ns, NICConfig{Interface: "tun0"}) // frames without a link header: the program cannot read them
	if err != nil {
		t.Fatal(err)
	}
	if n.Info().Mode != "packet" || len(n.Info().Refused) == 0 || !n.Devices()[0].Info().RawIP {
		t.Errorf("tun0: %+v, %+v", n.Info(), n.Devices()[0].Info())
	}
	if err := n.AddAddr(netip.MustParseAddr("10.98.0.77")); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "OpenTap") {
		t.Errorf("an address at tun0: %v", err)
	}
	if err := n.Devices()[0].Close(); err != nil {
		t.Error(err)
	}
	if _, err := openIn(t, ns, NICConfig{Interface: "tun0", Groups: true}); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "OpenTap") {
		t.Errorf("a stack's tun0: %v", err)
	}
}

// Devices that were handed over are their taker's to close.
func TestNICHandsDevicesOver(t *testing.T) {
	netlab.RequireRoot(t)
	_, b, _ := nicPair(t, 2)
	var n *NIC
	if err := b.Do(func() (err error) { n, err = OpenNIC(NICConfig{Interface: "nic"}); return err }); err != nil {
		t.Fatal(err)
	}
	h := &fakeHandler{}
	c, err := Open(Config{Devices: n.Devices(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if id := attached(t, b); id != 0 {
		t.Errorf("program %d is attached after Close", id)
	}
	c.Turn() // the devices are still open
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n, err = openIn(t, b, NICConfig{Interface: "nic"}); err != nil && !errors.Is(err, unix.EBUSY) {
		t.Error(err)
	}
}

// Who asks for busy polling gets it or an error, not AF_PACKET without.
func TestBusyPollIsNotLeftOut(t *testing.T) {
	_, b, _ := nicPair(t, 1)
	_, err := openIn(t, b, NICConfig{Interface: "nic", Mode: ModePacket, BusyPoll: true})
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "busy polling") {
		t.Error(err)
	}
	n, err := openIn(t, b, NICConfig{Interface: "nic", BusyPoll: true})
	switch {
	case err != nil && !strings.Contains(err.Error(), "needs Linux 5.11"):
		t.Error(err)
	case err == nil && n.Info().Mode == "packet":
		t.Errorf("%+v", n.Info())
	}
}
