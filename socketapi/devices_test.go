package socketapi

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// What a host has to carry, over each kind of device that there is, with a kernel at
// the other end.

// A deviceRow is one way to a kernel: link makes the kernel's end, and what returns an
// interface of the host's end. The latter runs in the namespace that it returns.
type deviceRow struct {
	name string
	link func(t *testing.T) (at, kernel *netlab.NS, open func() (host.Interface, error))
}

var deviceRows = []deviceRow{
	vethRow("native", engine.ModeNative), vethRow("skb", engine.ModeSKB), vethRow("packet", engine.ModePacket),
	tapRow("tap", false), tapRow("tun", true),
}

func vethRow(name string, mode engine.Mode) deviceRow {
	return deviceRow{name, func(t *testing.T) (*netlab.NS, *netlab.NS, func() (host.Interface, error)) {
		ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
		netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"},
			netlab.End{NS: kernel, Name: "vb", Addrs: kernelPrefixes})
		return ours, kernel, func() (host.Interface, error) {
			return host.Interface{Name: "va", Mode: mode, Detect: host.DetectNone}, nil
		}
	}}
}

func tapRow(name string, tun bool) deviceRow {
	return deviceRow{name, func(t *testing.T) (*netlab.NS, *netlab.NS, func() (host.Interface, error)) {
		kernel := netlab.TestNS(t)
		create := netlab.NewTap
		if tun {
			create = netlab.NewTun
		}
		link, err := create(netlab.End{NS: kernel, Name: "t0", Addrs: kernelPrefixes})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { link.Close() })
		return kernel, kernel, func() (host.Interface, error) {
			dev, err := engine.OpenTap(engine.TapConfig{FD: link.FDs[0], TUN: tun})
			if err != nil {
				return host.Interface{}, err
			}
			link.FDs = link.FDs[1:] // the device's now
			return host.Interface{Devices: []engine.Device{dev}, Checksums: host.ChecksumsVerify}, nil
		}
	}}
}

// held is how many descriptors and goroutines the process has.
func held(t *testing.T) (fds, goroutines int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all), runtime.NumGoroutine()
}

func TestEveryDevice(t *testing.T) {
	netlab.RequireRoot(t)
	for _, row := range deviceRows {
		t.Run(row.name, func(t *testing.T) {
			at, kernel, open := row.link(t)
			if warm, err := kernel.ListenPacket("udp", kernelAddr+":0"); err == nil {
				warm.Close() // the runtime's poller has descriptors of its own from here on
			}
			fds, goroutines := held(t)
			var st *Stack
			err := at.Do(func() error {
				in, err := open()
				if err != nil {
					return err
				}
				in.Addrs = enginePrefixes
				st, err = Open(host.Config{Interfaces: []host.Interface{in}})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if t.Failed() {
					stats := st.Host().Stats()
					for r, n := range stats.All() {
						t.Logf("%d: %v", n, r)
					}
				}
				if !closed {
					st.Close()
				}
			}()
			eachFamily(t, func(t *testing.T, f family) {
				t.Run("udp", func(t *testing.T) { carriesUDP(t, f, st, kernel) })
				t.Run("tcp", func(t *testing.T) { carriesTCP(t, f, st, kernel) })
			})
			t.Run("ping", func(t *testing.T) { carriesPing(t, st, kernel) })
			within(t, longest, "close", func() {
				closed = true
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			})
			leftNothing(t, fds, goroutines, row.name)
		})
	}
}

// leftNothing waits until what was there before is all that there is. The device
// of a TAP took a descriptor over that was there before.
func leftNothing(t *testing.T, fds, goroutines int, name string) {
	t.Helper()
	if name == "tap" || name == "tun" {
		fds--
	}
	var nowFDs, nowGoroutines int
	for range 500 {
		runtime.GC() // the pipes by which net splices between kernel sockets end with their pool
		if nowFDs, nowGoroutines = held(t); nowFDs <= fds && nowGoroutines <= goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d descriptors and %d goroutines before, %d and %d after", fds, goroutines, nowFDs, nowGoroutines)
	all, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range all {
		what, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		t.Logf("descriptor %s: %s", fd.Name(), what)
	}
}

func carriesUDP(t *testing.T, f family, st *Stack, kernel *netlab.NS) {
	c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("7")))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); echoUDP(c) }()
	k, err := kernel.Dial("udp", f.ours("7"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.SetDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 2048)
	for i := range 100 {
		body := bytes.Repeat([]byte{byte(i)}, 1500-f.header-8-i*14) // the first fills the MTU
		if _, err := k.Write(body); err != nil {
			t.Fatal(err)
		}
		if n, err := k.Read(buf); err != nil || !bytes.Equal(buf[:n], body) {
			t.Fatalf("datagram %d of %d bytes: %d bytes, %v", i, len(body), n, err)
		}
	}
	c.Close()
	within(t, longest, "close wakes the reader", func() { <-served })
}

// serveEcho mirrors connections until the listener is closed and the last has ended.
func serveEcho(l net.Listener) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		ended := make(chan struct{})
		n := 0
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			n++
			go func() { io.Copy(c, c); c.Close(); ended <- struct{}{} }()
		}
		for range n {
			<-ended
		}
	}()
	return done
}

func carriesTCP(t *testing.T, f family, st *Stack, kernel *netlab.NS) {
	ours, err := st.Listen("tcp", f.ours("7"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := kernel.Listen("tcp", f.theirs("7"))
	if err != nil {
		t.Fatal(err)
	}
	ourEcho, theirEcho := serveEcho(ours), serveEcho(theirs)
	within(t, time.Minute, "kernel to engine", func() {
		k, err := kernel.Dial("tcp", f.ours("7"))
		if err != nil {
			t.Error(err)
			return
		}
		bulkEcho(t, k, 1<<20, 1)
	})
	within(t, time.Minute, "engine to kernel", func() {
		c, err := st.Dial("tcp", f.theirs("7"))
		if err != nil {
			t.Error(err)
			return
		}
		bulkEcho(t, c, 1<<20, 2)
	})
	ours.Close()
	theirs.Close()
	within(t, longest, "servers end", func() { <-ourEcho; <-theirEcho })
}

func carriesPing(t *testing.T, st *Stack, kernel *netlab.NS) {
	c, err := st.ListenPing(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for seq, size := range []int{0, 56, 1472} {
		payload := bytes.Repeat([]byte{byte(seq + 1)}, size)
		if e := echo(t, c, netip.MustParseAddr(kernelAddr), uint16(seq), payload); !bytes.Equal(e.Payload, payload) {
			t.Errorf("%d bytes: another payload of %d bytes", size, len(e.Payload))
		}
	}
	if _, err := exec.LookPath("ping"); err != nil {
		t.Log("there is no ping: the kernel's side is not asked")
		return
	}
	for _, f := range families {
		if out, err := kernel.Command("ping", "-c", "3", "-i", "0.1", "-W", "10", "-s", strconv.Itoa(1500-f.header-8), "-M", "do", f.engine).CombinedOutput(); err != nil {
			t.Errorf("ping: %v\n%s", err, out)
		}
	}
}
