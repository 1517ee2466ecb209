package engine

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/mono"
)

// groupsNet is a kernel's end of a wire, a socket that sends frames there, and the device of a NIC
// at the other end that has 192.0.2.2 and 2001:db8::2.
func groupsNet(t *testing.T, mode Mode, mtu int) (ours *netlab.NS, tx *Packet, n *NIC, dev Device) {
	t.Helper()
	netlab.RequireRoot(t)
	kernel := netlab.TestNS(t)
	ours = netlab.TestNS(t)
	v := netlab.TestVeth(t, netlab.End{NS: kernel, Name: "va", MAC: macK}, netlab.End{NS: ours, Name: "vb", MAC: macE})
	if mtu > 0 {
		for _, l := range []*netlab.Link{v.A, v.B} {
			if err := l.SetMTU(mtu); err != nil {
				t.Fatal(err)
			}
		}
	}
	tx = openPacket(t, kernel, PacketConfig{Interface: "va"})
	n, err := openIn(t, ours, NICConfig{Interface: "vb", Mode: mode, Groups: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.2", "2001:db8::2"} {
		if err := n.AddAddr(netip.MustParseAddr(a)); err != nil {
			t.Fatal(err)
		}
	}
	return ours, tx, n, n.devices[0]
}

// groupFrame writes frames for the rows below.
func groupFrame(dst net.HardwareAddr, kind uint16, rest ...byte) []byte {
	f := append(append(append([]byte{}, dst...), macK...), byte(kind>>8), byte(kind))
	return append(append(f, rest...), make([]byte, 64)...)
}

func v4To(dst string) []byte {
	a := netip.MustParseAddr(dst).As4()
	return append(append([]byte{0x45, 0, 0, 60}, make([]byte, 12)...), a[:]...)
}

func v6To(dst string) []byte {
	a := netip.MustParseAddr(dst).As16()
	return append(append([]byte{0x60, 0, 0, 0, 0, 20, 17, 1}, make([]byte, 16)...), a[:]...)
}

// solicitation is a neighbour solicitation for target, as far as steering looks.
func solicitation(target string) []byte {
	a := netip.MustParseAddr(target)
	group, to := solicitedNode(a).As16(), a.As16()
	b := append(append([]byte{0x60, 0, 0, 0, 0, 24, 58, 255}, make([]byte, 16)...), group[:]...)
	return append(append(b, 135, 0, 0, 0, 0, 0, 0, 0), to[:]...)
}

func arpFrom(op byte, sender, target string) []byte {
	s, a := netip.MustParseAddr(sender).As4(), netip.MustParseAddr(target).As4()
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, macK...)
	return append(append(append(b, s[:]...), make([]byte, 6)...), a[:]...)
}

// Each frame comes once, by the program or as a copy, and what is nobody's does not.
func TestGroupFramesComeOnce(t *testing.T) {
	everyone := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	mac := func(group string) net.HardwareAddr { return groupMAC(netip.MustParseAddr(group)) }
	rows := []struct {
		frame []byte
		want  int
	}{
		{groupFrame(everyone, 0x0800, v4To("255.255.255.255")...), 1},
		{groupFrame(everyone, 0x0800, v4To("192.0.2.255")...), 1},
		{groupFrame(mac("224.0.0.1"), 0x0800, v4To("224.0.0.1")...), 1},
		{groupFrame(mac("239.1.1.1"), 0x0800, v4To("239.1.1.1")...), 1},
		{groupFrame(mac("239.1.1.1"), 0x0800, v4To("239.129.1.1")...), 0}, // another group of the same MAC
		{groupFrame(mac("239.1.1.2"), 0x0800, v4To("239.1.1.2")...), 0},
		{groupFrame(mac("ff02::1"), 0x86dd, v6To("ff02::1")...), 1},
		{groupFrame(mac("ff05::101"), 0x86dd, v6To("ff05::101")...), 1},
		{groupFrame(mac("ff05::102"), 0x86dd, v6To("ff05::102")...), 0},
		{groupFrame(mac("ff02::1:ff00:2"), 0x86dd, solicitation("2001:db8::2")...), 1}, // by the program
		{groupFrame(mac("ff02::1:ff00:2"), 0x86dd, solicitation("2001:db8:1::2")...), 1},
		{groupFrame(mac("ff02::1:ff00:3"), 0x86dd, solicitation("2001:db8::3")...), 0},
		{groupFrame(everyone, 0x0806, arpFrom(1, "192.0.2.1", "192.0.2.2")...), 1}, // by the program
		{groupFrame(everyone, 0x0806, arpFrom(1, "192.0.2.1", "192.0.2.3")...), 0},
		{groupFrame(everyone, 0x0806, arpFrom(1, "192.0.2.1", "192.0.2.1")...), 1}, // an announcement
		{groupFrame(everyone, 0x0806, arpFrom(1, "192.0.2.2", "192.0.2.9")...), 1}, // a conflict
		{groupFrame(macE, 0x0806, arpFrom(2, "192.0.2.2", "0.0.0.0")...), 1},       // the answer to a probe
		{groupFrame(macE, 0x0800, v4To("192.0.2.2")...), 1},                        // by the program
		{groupFrame(macE, 0x0800, v4To("192.0.2.3")...), 0},
		{groupFrame(macE, 0x86dd, v6To("2001:db8::3")...), 0},
		{groupFrame(everyone, 0x88cc), 0},
		{groupFrame(mac("239.1.1.1"), 0x8100, append([]byte{0, 5, 8, 0}, v4To("239.1.1.1")...)...), 1},
		{groupFrame(mac("239.1.1.1"), 0x8100, append([]byte{0, 5, 8, 0}, v4To("239.1.1.2")...)...), 0},
	}
	for _, mode := range []Mode{ModeNative, ModeSKB} {
		t.Run(string(mode), func(t *testing.T) {
			_, tx, n, dev := groupsNet(t, mode, 0)
			for _, g := range []string{"239.1.1.1", "ff05::101"} {
				if err := n.JoinGroup(netip.MustParseAddr(g)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range rows { // each frame is its own, and the kernel's end is not silent
				mark := fmt.Appendf(nil, "row %d.", i)
				rows[i].frame = append(rows[i].frame[:len(rows[i].frame)-len(mark)], mark...)
				sendFrames(t, tx, rows[i].frame)
			}
			last := groupFrame(macE, 0x0800, append(v4To("192.0.2.2"), []byte("the end")...)...)
			lastCopy := groupFrame(everyone, 0x0800, append(v4To("255.255.255.255"), []byte("the end")...)...)
			sendFrames(t, tx, last, lastCopy)
			came := make([]int, len(rows))
			ends := 0
			frames := make([]Frame, 8)
			waitFor(t, dev, "the ends of both ways", func() bool {
				k := dev.Peek(frames)
				for _, f := range frames[:k] {
					for i := range rows {
						if bytes.Equal(f.Data, rows[i].frame) {
							came[i]++
						}
					}
					if bytes.Equal(f.Data, last) || bytes.Equal(f.Data, lastCopy) {
						ends++
					}
				}
				dev.Release(frames[:k])
				return ends == 2
			})
			for i, row := range rows {
				if came[i] != row.want {
					t.Errorf("row %d came %d times, want %d", i, came[i], row.want)
				}
			}
			// After leaving it is as before.
			if err := n.LeaveGroup(netip.MustParseAddr("239.1.1.1")); err != nil {
				t.Fatal(err)
			}
			if err := n.LeaveGroup(netip.MustParseAddr("239.1.1.1")); err == nil {
				t.Error("left twice")
			}
			sendFrames(t, tx, rows[3].frame, lastCopy)
			next(t, dev, "the end", func(f []byte) bool {
				if bytes.Equal(f, rows[3].frame) {
					t.Error("a group that was left still comes")
				}
				return bytes.Equal(f, lastCopy)
			})
		})
	}
}

// A frame to a group ends the sleep of its device, and of a core that has several.
func TestGroupFrameWakes(t *testing.T) {
	_, tx, _, dev := groupsNet(t, ModeNative, 0)
	frame := groupFrame(net.HardwareAddr{255, 255, 255, 255, 255, 255}, 0x0800, v4To("255.255.255.255")...)
	frames := make([]Frame, 8)
	for range 5 {
		for dev.Ready() {
			dev.Release(frames[:dev.Peek(frames)])
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			time.Sleep(5 * time.Millisecond)
			sendFrames(t, tx, frame)
		}()
		start := time.Now()
		for !dev.Ready() { // others send to groups too, and a wait may end early
			dev.Wait(SystemClock.Now().Add(10 * time.Second))
			if time.Since(start) > 8*time.Second {
				t.Fatal("nobody woke the device")
			}
		}
		next(t, dev, "the frame", func(f []byte) bool { return bytes.Equal(f, frame) })
		<-sent
	}
}

// alsoDevice is ready by a second descriptor.
type alsoDevice struct {
	*eventDevice
	pair [2]int
}

func (d *alsoDevice) AlsoFD() int { return d.pair[0] }

func (d *alsoDevice) Peek(frames []Frame) int {
	var b [1]byte
	if n, _ := unix.Read(d.pair[0], b[:]); n == 1 {
		d.eventDevice.arrive([]byte{b[0]})
	}
	return d.eventDevice.Peek(frames)
}

func TestSecondDescriptorWakesACoreOfSeveralPorts(t *testing.T) {
	noLeak(t)
	h := &fakeHandler{}
	d := &alsoDevice{eventDevice: newEventDevice(t, "second")}
	var err error
	if d.pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(d.pair[0])
	defer unix.Close(d.pair[1])
	c := openCore(t, Config{Devices: []Device{newEventDevice(t, "first"), d}, Handler: h, Policy: Efficient})
	for range 20 {
		_, result := goReceive(c, &h.boxes[1], mono.Never)
		time.Sleep(time.Millisecond)
		if _, err := unix.Write(d.pair[1], []byte{1}); err != nil {
			t.Fatal(err)
		}
		want(t, "receive", result, got)
	}
}

// The NIC's filter is open for what was joined, and shut when the NIC is closed.
func TestGroupMembershipsEndWithTheNIC(t *testing.T) {
	ours, _, n, dev := groupsNet(t, ModeNative, 0)
	members := func() (s string) {
		t.Helper()
		if err := ours.Do(func() error {
			b, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
			s = string(b)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	has := func(mac string) bool { return strings.Contains(members(), mac) }
	group := netip.MustParseAddr("239.7.7.7")
	if has("01005e070707") {
		t.Fatal("a group is open before it was joined")
	}
	for range 2 {
		if err := n.JoinGroup(group); err != nil {
			t.Fatal(err)
		}
	}
	if !has("01005e070707") || !has("3333ff000002") {
		t.Errorf("not open: %s", members())
	}
	if err := n.RemoveAddr(netip.MustParseAddr("2001:db8::2")); err != nil {
		t.Fatal(err)
	}
	if err := n.LeaveGroup(group); err != nil {
		t.Fatal(err)
	}
	if !has("01005e070707") || has("3333ff000002") {
		t.Errorf("after one of two has left, and the address has gone: %s", members())
	}
	n.Devices()
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if has("01005e070707") {
		t.Errorf("open after the end: %s", members())
	}
	if err := n.JoinGroup(group); err == nil {
		t.Error("joined by a device that is closed")
	}
}

// More groups than the filter lists are all taken.
func TestManyGroups(t *testing.T) {
	_, tx, n, dev := groupsNet(t, ModeNative, 0)
	for i := range groupFilterMax + 1 {
		if err := n.JoinGroup(netip.AddrFrom4([4]byte{239, 2, byte(i >> 8), byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range []string{"239.2.0.0", "239.2.1.0", "239.99.0.1"} {
		frame := groupFrame(groupMAC(netip.MustParseAddr(g)), 0x0800, v4To(g)...)
		sendFrames(t, tx, frame)
		next(t, dev, g, func(f []byte) bool { return bytes.Equal(f, frame) })
	}
}

// A flood of copies neither loses slots nor keeps what the program brings from coming, and
// frames that are kept stay as they are.
func TestFloodOfGroupFrames(t *testing.T) {
	_, tx, _, dev := groupsNet(t, ModeNative, 0)
	everyone := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	frames := make([]Frame, 64)
	var kept []Frame
	sent, came, unicast := 0, 0, 0
	for sent < 3000 {
		for range 50 {
			sendFrames(t, tx, groupFrame(everyone, 0x0800, append(v4To("255.255.255.255"), byte(sent>>8), byte(sent))...))
			sent++
		}
		sendFrames(t, tx, groupFrame(macE, 0x0800, v4To("192.0.2.2")...))
		for dev.Ready() {
			k := dev.Peek(frames)
			for i := range frames[:k] {
				f := &frames[i]
				if f.Data[0] != 0xff {
					unicast++
					continue
				}
				if at := int(f.Data[34])<<8 | int(f.Data[35]); at < came {
					t.Fatalf("frame %d comes after %d", at, came)
				} else {
					came = at
				}
				if came%100 == 0 && len(kept) < 20 {
					f.Keep()
					kept = append(kept, *f)
				}
			}
			dev.Release(frames[:k])
		}
	}
	last := groupFrame(everyone, 0x0800, append(v4To("255.255.255.255"), 0xff, 0xff)...)
	sendFrames(t, tx, last)
	next(t, dev, "the last", func(f []byte) bool { return bytes.Equal(f, last) })
	if unicast < 50 {
		t.Errorf("%d of 60 frames came beside the flood", unicast)
	}
	for i, f := range kept {
		if at := int(f.Data[34])<<8 | int(f.Data[35]); at%100 != 0 {
			t.Errorf("kept frame %d has become %d", i, at)
		}
		dev.Free(f)
	}
}

func TestGroupFramesOfAnInterfaceThatGoesDown(t *testing.T) {
	ours, tx, _, dev := groupsNet(t, ModeNative, 0)
	down := func(verb string) {
		t.Helper()
		if out, err := ours.Command("ip", "link", "set", "vb", verb).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	down("down")
	// The socket's error is taken: the device sleeps, and does not spin on it.
	before := dev.Stats().Wakeups
	for end := SystemClock.Now().Add(100 * time.Millisecond); !end.Due(SystemClock.Now()); {
		dev.Wait(end)
	}
	if n := dev.Stats().Wakeups - before; n > 10 {
		t.Errorf("woke %d times in 100 ms while the interface is down", n)
	}
	down("up")
	frame := groupFrame(net.HardwareAddr{255, 255, 255, 255, 255, 255}, 0x0800, v4To("255.255.255.255")...)
	frames := make([]Frame, 8)
	came := false
	waitFor(t, dev, "a frame after the interface came up", func() bool {
		sendFrames(t, tx, frame)
		k := dev.Peek(frames)
		for _, f := range frames[:k] {
			came = came || bytes.Equal(f.Data, frame)
		}
		dev.Release(frames[:k])
		return came
	})
}

func TestLongGroupFrames(t *testing.T) {
	_, tx, _, dev := groupsNet(t, ModeSKB, 3000)
	frame := append(groupFrame(net.HardwareAddr{255, 255, 255, 255, 255, 255}, 0x0800, v4To("255.255.255.255")...), bytes.Repeat([]byte{7}, 2800)...)
	sendFrames(t, tx, frame)
	next(t, dev, "the frame", func(f []byte) bool { return bytes.Equal(f, frame) })
}

func TestPeekWithoutCopiesAllocatesNothing(t *testing.T) {
	_, tx, _, dev := groupsNet(t, ModeNative, 0)
	frame := groupFrame(net.HardwareAddr{255, 255, 255, 255, 255, 255}, 0x0800, v4To("255.255.255.255")...)
	frames := make([]Frame, 8)
	sendFrames(t, tx, frame) // so that there is a scratch
	next(t, dev, "the frame", func(f []byte) bool { return bytes.Equal(f, frame) })
	if n := testing.AllocsPerRun(200, func() {
		sendFrames2(tx, frame)
		dev.Release(frames[:dev.Peek(frames)])
	}); n > 0 {
		t.Errorf("%v allocations a turn", n)
	}
}

// sendFrames2 sends one frame and allocates nothing.
func sendFrames2(tx *Packet, frame []byte) {
	var slot [1]Frame
	if tx.Reserve(slot[:]) == 1 {
		slot[0].Data = slot[0].Data[:copy(slot[0].Data, frame)]
		tx.Submit(slot[:], 1)
	}
}
