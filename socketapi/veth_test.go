package socketapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// The lab of these tests:
//
//	namespace "ours"                  namespace "peer"
//	engine 10.99.0.2 ── va ═════ vb ── 10.99.0.1 Linux sockets
//	       fd99::2                     fd99::1
//
// The kernel of "ours" has no address: all of 10.99.0.2 and fd99::2 is the engine's.
const (
	engineAddr  = "10.99.0.2"
	kernelAddr  = "10.99.0.1"
	engineAddr6 = "fd99::2"
	kernelAddr6 = "fd99::1"
)

var (
	enginePrefixes = []netip.Prefix{netip.MustParsePrefix(engineAddr + "/24"), netip.MustParsePrefix(engineAddr6 + "/64")}
	kernelPrefixes = []netip.Prefix{netip.MustParsePrefix(kernelAddr + "/24"), netip.MustParsePrefix(kernelAddr6 + "/64")}
)

// A family is one that a test says the same of as of the other: the addresses of the lab, and how
// long an IP header is.
type family struct {
	name           string
	engine, kernel string
	header         int // bytes
}

var families = []family{{"IPv4", engineAddr, kernelAddr, 20}, {"IPv6", engineAddr6, kernelAddr6, 40}}

// eachFamily runs a test for both.
func eachFamily(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// ours and theirs are a port of the engine and of the kernel.
func (f family) ours(port string) string   { return net.JoinHostPort(f.engine, port) }
func (f family) theirs(port string) string { return net.JoinHostPort(f.kernel, port) }

// lab opens a stack on a veth pair with that many queues, and returns it and the
// kernel's end.
func lab(t testing.TB, queues int, mode engine.Mode) (*Stack, *netlab.NS) {
	t.Helper()
	return labOf(t, queues, mode, 0)
}

// labOf is lab on a link of an MTU; 0 is the kernel's own, 1500.
func labOf(t testing.TB, queues int, mode engine.Mode, mtu int) (*Stack, *netlab.NS) {
	t.Helper()
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Queues: queues, MTU: mtu},
		netlab.End{NS: peer, Name: "vb", Queues: queues, MTU: mtu, Addrs: kernelPrefixes})
	var st *Stack
	err := ours.Do(func() (err error) {
		st, err = Open(host.Config{Interfaces: []host.Interface{{
			Name: "va", Mode: mode, Addrs: enginePrefixes, Detect: host.DetectNone,
		}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			stats := st.Host().Stats()
			for r, n := range stats.All() {
				t.Logf("dropped %d: %v", n, r)
			}
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, peer
}

func within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s: not done after %v", what, d)
	}
}

func echoUDP(c *UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(buf[:n], from)
	}
}

func TestUDPEchoToAKernelSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, queues := range []int{1, 2} {
			st, peer := lab(t, queues, engine.ModeAuto)
			c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("7")))
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() { defer close(served); echoUDP(c) }()
			for flow := range 8 {
				k, err := peer.Dial("udp", f.ours("7"))
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 2048)
				for i := flow; i < 200; i += 8 { // a round trip costs what the scheduler likes: each size by one flow
					k.SetDeadline(time.Now().Add(longest))
					body := bytes.Repeat([]byte{byte(i + flow)}, 1+i*7)
					if _, err := k.Write(body); err != nil {
						t.Fatal(err)
					}
					n, err := k.Read(buf)
					if err != nil || !bytes.Equal(buf[:n], body) {
						t.Fatalf("queues %d flow %d datagram %d: %d bytes, %v", queues, flow, i, n, err)
					}
				}
				k.Close()
			}
			c.Close()
			within(t, longest, "close wakes the reader", func() { <-served })
		}
	})
}

func TestTCPBothWaysWithAKernelSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, queues := range []int{1, 2} {
			st, peer := lab(t, queues, engine.ModeAuto)
			l, err := st.Listen("tcp", f.ours("7"))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { io.Copy(c, c); c.Close() }()
				}
			}()
			for i := range 4 {
				within(t, longest, "kernel to engine", func() {
					k, err := peer.Dial("tcp", f.ours("7"))
					if err != nil {
						t.Error(err)
						return
					}
					bulkEcho(t, k, 1<<20, uint64(i))
				})
			}
			kl, err := peer.Listen("tcp", f.theirs("7"))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					c, err := kl.Accept()
					if err != nil {
						return
					}
					go func() { io.Copy(c, c); c.Close() }()
				}
			}()
			for i := range 4 {
				within(t, longest, "engine to kernel", func() {
					c, err := st.Dial("tcp", f.theirs("7"))
					if err != nil {
						t.Error(err)
						return
					}
					bulkEcho(t, c, 1<<20, uint64(i))
				})
			}
			kl.Close()
			l.Close()
		}
	})
}

type halfCloser interface{ CloseWrite() error }

// bulkEcho sends size random bytes, closes its direction, and wants the same bytes
// back and then the end.
func bulkEcho(t testing.TB, c net.Conn, size int, seed uint64) {
	defer c.Close()
	body := make([]byte, size)
	chacha := rand.NewChaCha8([32]byte{byte(seed)})
	chacha.Read(body)
	go func() {
		if _, err := c.Write(body); err != nil {
			t.Error("write:", err)
		}
		if err := c.(halfCloser).CloseWrite(); err != nil {
			t.Error("close write:", err)
		}
	}()
	sum := sha256.New()
	n, err := io.Copy(sum, c)
	if err != nil || n != int64(size) {
		t.Errorf("read %d of %d bytes: %v", n, size, err)
		return
	}
	if want := sha256.Sum256(body); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("the bytes that came back are others")
	}
}

func TestEverythingFailsWhenTheInterfaceIsDeleted(t *testing.T) {
	t.Parallel()
	for _, queues := range []int{1, 2} {
		netlab.RequireRoot(t)
		ours, peer := netlab.TestNS(t), netlab.TestNS(t)
		v := netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Queues: queues},
			netlab.End{NS: peer, Name: "vb", Queues: queues, Addrs: kernelPrefixes})
		var st *Stack
		if err := ours.Do(func() (err error) {
			st, err = Open(host.Config{Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone}}})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		l, err := st.Listen("tcp", engineAddr+":7")
		if err != nil {
			t.Fatal(err)
		}
		u, err := st.ListenPacket("udp", engineAddr+":7")
		if err != nil {
			t.Fatal(err)
		}
		k, err := peer.Dial("tcp", engineAddr+":7")
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 3)
		go func() { _, err := l.Accept(); results <- err }()
		go func() { _, _, err := u.ReadFrom(make([]byte, 10)); results <- err }()
		go func() { _, err := c.Read(make([]byte, 10)); results <- err }()
		time.Sleep(50 * time.Millisecond) // so that they are asleep; either way they must fail
		if err := v.A.Delete(); err != nil {
			t.Fatal(err)
		}
		within(t, longest, "three blocked calls", func() {
			for range 3 {
				if err := <-results; !errors.Is(err, unix.ENETDOWN) {
					t.Errorf("queues %d: a blocked call ended with %v, want ENETDOWN", queues, err)
				}
			}
		})
		if _, err := u.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(kernelAddr+":9"))); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("a write afterwards: %v", err)
		}
		if _, err := st.ListenPacket("udp", engineAddr+":8"); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("a new socket afterwards: %v", err)
		}
		within(t, longest, "close", func() {
			c.Close()
			l.Close()
			u.Close()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
