package engine

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// openTap is a device at the other end of a kernel's interface, which has
// 192.0.2.1 and 2001:db8::1 and believes the others to be at the device.
func openTap(t *testing.T, end netlab.End, cfg TapConfig) (kernel *netlab.NS, link *netlab.Tap, dev *Tap) {
	t.Helper()
	kernel = netlab.TestNS(t)
	end.NS = kernel
	end.Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	create := netlab.NewTap
	if cfg.TUN {
		create = netlab.NewTun
	}
	link, err := create(end)
	if err != nil {
		t.Fatal(err)
	}
	cfg.FD = link.FDs[0]
	link.FDs = link.FDs[1:]
	t.Cleanup(func() { link.Close() })
	err = kernel.Do(func() (err error) { dev, err = OpenTap(cfg); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	for _, a := range []string{"192.0.2.2", "2001:db8::2"} {
		if cfg.TUN {
			break
		}
		if err := link.AddNeigh(netip.MustParseAddr(a), dev.Info().Addr); err != nil {
			t.Fatal(err)
		}
	}
	return kernel, link, dev
}

func TestTapEcho(t *testing.T) {
	for _, row := range []struct {
		tun   bool
		first gopacket.Decoder
	}{{false, layers.LayerTypeEthernet}, {true, nil}} {
		kernel, link, dev := openTap(t, netlab.End{Name: "t0"}, TapConfig{TUN: row.tun})
		i := dev.Info()
		if i.Name != "t0" || i.MTU != 1500 || i.RawIP != row.tun || (i.Addr == nil) != row.tun || i.Mode != map[bool]string{true: "tun", false: "tap"}[row.tun] {
			t.Errorf("%+v", i)
		}
		if !row.tun && (bytes.Equal(i.Addr, link.MAC) || !bytes.Equal(i.Addr[:5], link.MAC[:5])) {
			t.Errorf("our address is %v, the kernel's %v", i.Addr, link.MAC)
		}
		for _, host := range []string{"192.0.2.2", "2001:db8::2"} {
			c, err := kernel.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(host), 7).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			first := row.first
			if first == nil {
				first = layers.LayerTypeIPv4
				if strings.Contains(host, ":") {
					first = layers.LayerTypeIPv6
				}
			}
			for i := range 100 {
				want := fmt.Sprintf("%s ping %d", host, i)
				if _, err := c.Write([]byte(want)); err != nil {
					t.Fatal(err)
				}
				sendFrames(t, dev, reply(t, next(t, dev, want, isUDP(want)), first, "re: "+want))
				buf := make([]byte, 100)
				c.SetReadDeadline(time.Now().Add(30 * time.Second))
				n, err := c.Read(buf)
				if err != nil || string(buf[:n]) != "re: "+want {
					t.Fatalf("%q, %v", buf[:n], err)
				}
			}
		}
		if s := dev.Stats(); s.TxPackets != 200 || s.RxPackets < 200 || s.TxInvalid != 0 || s.RxOversize != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestTapMakesAnInterface(t *testing.T) {
	ns := netlab.TestNS(t)
	exists := func(name string) bool {
		return ns.Do(func() error { _, err := interfaceMTU(name); return err }) == nil
	}
	err := ns.Do(func() error {
		dev, err := OpenTap(TapConfig{Name: "made%d", MultiQueue: true})
		if err != nil {
			return err
		}
		if dev.Info().Name != "made0" {
			return fmt.Errorf("named %q", dev.Info().Name)
		}
		second, err := OpenTap(TapConfig{Name: "made0", MultiQueue: true, Queue: 1, MTU: 900})
		if err != nil {
			return err
		}
		if i := second.Info(); i.Queue != 1 || i.MTU != 900 || i.Region == dev.Info().Region {
			return fmt.Errorf("%+v", i)
		}
		if err := dev.Close(); err != nil {
			return err
		}
		return second.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); exists("made0"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the interface has outlived its queues")
		}
	}
}

func TestTapOpenErrors(t *testing.T) {
	ns := netlab.TestNS(t)
	tap, err := netlab.NewTap(netlab.End{NS: ns, Name: "t0"})
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, row := range []struct {
		cfg  TapConfig
		want string
	}{
		{TapConfig{Name: "t0"}, "somebody has it open"},
		{TapConfig{Name: "t0", TUN: true}, "another kind"},
		{TapConfig{Name: "lo"}, "another kind"},
		{TapConfig{Name: "a name of more than 15 bytes"}, "a name of more"},
		{TapConfig{FD: int(null.Fd())}, "no attached tun device"},
		{TapConfig{FD: tap.FDs[0], TUN: true}, "is a TAP"},
		{TapConfig{FD: tap.FDs[0], MTU: 70000}, "70000"},
		{TapConfig{TUN: true, Addr: macE}, "no hardware address"},
	} {
		err := ns.Do(func() error {
			dev, err := OpenTap(row.cfg)
			if err == nil {
				dev.Close()
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v", row.cfg, err)
		}
	}
	if _, _, err := tunIdentity(tap.FDs[0]); err != nil {
		t.Errorf("a device that did not open has closed the descriptor: %v", err)
	}
}

func TestTapTooLongAndTooShort(t *testing.T) {
	kernel, link, dev := openTap(t, netlab.End{Name: "t0", MTU: 9000}, TapConfig{MTU: 1500})
	_ = link
	c, err := kernel.Dial("udp", "192.0.2.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{10, 5000, 8000, 20} {
		if _, err := c.Write(bytes.Repeat([]byte{'x'}, size)); err != nil {
			t.Fatal(err)
		}
	}
	c.Write([]byte("behind"))
	var lengths []int
	next(t, dev, "what came behind", func(f []byte) bool {
		if bytes.HasSuffix(f, []byte("xxx")) {
			lengths = append(lengths, len(f)-42)
		}
		return bytes.HasSuffix(f, []byte("behind"))
	})
	if fmt.Sprint(lengths) != "[10 20]" || dev.Stats().RxOversize != 2 {
		t.Errorf("lengths %v, %+v", lengths, dev.Stats())
	}

	frames := make([]Frame, 3)
	r := dev.Reserve(frames)
	frames[0].Data = frames[0].Data[:3] // no Ethernet header
	frames[1].Data = frames[1].Data[:0]
	frames[2].Data = frames[2].Data[:copy(frames[2].Data, string(link.MAC)+string(dev.Info().Addr)+"\x12\x34payload")]
	dev.Submit(frames, r)
	if s := dev.Stats(); s.TxInvalid != 2 || s.TxPackets != 1 || dev.Unsent() || dev.Err() != nil {
		t.Errorf("%+v, unsent %v, %v", s, dev.Unsent(), dev.Err())
	}
	checkLender(t, &dev.lender, 0)
}

func TestTapDownIsNoError(t *testing.T) {
	_, link, dev := openTap(t, netlab.End{Name: "t0"}, TapConfig{TUN: true})
	packet := append([]byte{0x45, 0, 0, 28}, make([]byte, 24)...)
	if err := link.SetDown(); err != nil {
		t.Fatal(err)
	}
	put(dev, string(packet), string(packet))
	get(dev)
	if !dev.Unsent() || dev.Err() != nil {
		t.Fatalf("unsent %v, %v, %+v", dev.Unsent(), dev.Err(), dev.Stats())
	}
	for range lenderTxMax {
		put(dev, string(packet))
	}
	if s := dev.Stats(); s.TxNoFrame == 0 {
		t.Errorf("more frames were taken than there are: %+v", s)
	}
	if err := link.SetUp(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, dev, "the packets to go out", func() bool { dev.Submit(nil, 0); return !dev.Unsent() })
	if s := dev.Stats(); s.TxPackets != lenderTxMax {
		t.Errorf("%+v", s)
	}
	checkLender(t, &dev.lender, 0)
}

func TestTapInterfaceDeleted(t *testing.T) {
	for _, asleep := range []bool{true, false} {
		_, link, dev := openTap(t, netlab.End{Name: "t0"}, TapConfig{})
		ended := make(chan struct{})
		if asleep {
			go func() {
				defer close(ended)
				for dev.Err() == nil {
					dev.Wait(SystemClock.Now().Add(time.Minute))
				}
			}()
			time.Sleep(5 * time.Millisecond)
		}
		if err := link.Delete(); err != nil {
			t.Fatal(err)
		}
		if asleep {
			<-ended
		} else {
			waitFor(t, dev, "the end", func() bool { get(dev); return dev.Err() != nil })
		}
		if err := dev.Err(); !errors.Is(err, unix.ENXIO) || !strings.Contains(err.Error(), "t0") {
			t.Errorf("asleep %v: %v", asleep, err)
		}
		put(dev, "after the end")
		if dev.Unsent() {
			t.Error("frames wait for an interface that is gone")
		}
		checkLender(t, &dev.lender, 0)
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTapReadyAndWake(t *testing.T) {
	kernel, _, dev := openTap(t, netlab.End{Name: "t0"}, TapConfig{})
	get(dev)
	done := make(chan struct{})
	go func() { dev.Wait(SystemClock.Now().Add(time.Hour)); close(done) }()
	dev.Wake()
	<-done
	c, err := kernel.Dial("udp", "192.0.2.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("one"))
	ready := false
	for range readyEvery {
		ready = ready || dev.Ready()
	}
	if !ready {
		t.Error("a frame waits, and none of 64 looks has seen it")
	}
}

func TestTapAllocatesNothing(t *testing.T) {
	kernel, link, dev := openTap(t, netlab.End{Name: "t0"}, TapConfig{})
	c, err := kernel.Dial("udp", "192.0.2.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	payload := make([]byte, 1000)
	frame := []byte(string(link.MAC) + string(dev.Info().Addr) + "\x12\x34payload")
	frames := make([]Frame, 16)
	got := 0
	turn := func() {
		for range 4 {
			c.Write(payload)
		}
		r := dev.Reserve(frames)
		for i := range frames[:r] {
			frames[i].Data = frames[i].Data[:copy(frames[i].Data, frame)]
		}
		dev.Submit(frames[:r], r)
		dev.Ready()
		dev.Wait(SystemClock.Now().Add(time.Millisecond))
		n := dev.Peek(frames)
		got += n
		dev.Release(frames[:n])
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got < 100 {
		t.Errorf("only %d frames came", got)
	}
}
