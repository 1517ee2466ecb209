package socketapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// What a host must do for its peer, shown against Linux on a veth pair, over both families.

// proofPatience bounds each step on a machine that is busy with something else.
const proofPatience = time.Minute

// A proof is a lab whose links the test can reach.
type proof struct {
	st   *Stack
	peer *netlab.NS
	veth *netlab.Veth // A is the engine's end
}

func newProof(t *testing.T) *proof {
	t.Helper()
	netlab.RequireRoot(t)
	ours := netlab.TestNS(t)
	p := &proof{peer: netlab.TestNS(t)}
	// An address of the kernel's stays when its link goes down, as an IPv4 one does.
	if err := p.peer.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/keep_addr_on_down", []byte("1"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	p.veth = netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: p.peer, Name: "vb", Addrs: kernelPrefixes})
	if err := ours.Do(func() (err error) {
		p.st, err = Open(host.Config{Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			stats := p.st.Host().Stats()
			for r, n := range stats.All() {
				t.Logf("dropped %d: %v", n, r)
			}
		}
		if err := p.st.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// pingFromKernel returns a function that has the engine echo a payload to the kernel. It asks again
// after a second, since a packet may be lost with its neighbour's question.
func (p *proof) pingFromKernel(t *testing.T, f family) func(seq uint16, payload []byte) {
	t.Helper()
	six := f.header == wire.IPv6Len
	c := pingKernel(t, p.peer, f)
	to := &net.IPAddr{IP: net.ParseIP(f.engine)}
	buf := make([]byte, 1<<16)
	return func(seq uint16, payload []byte) {
		t.Helper()
		request := make([]byte, wire.ICMP4Len+len(payload))
		copy(request[wire.ICMP4Len:], payload)
		reply := uint8(wire.ICMP4EchoReply)
		if six {
			wire.PutICMP6(request, wire.ICMP6Echo, 0, wire.ICMPEcho(77, seq)) // the kernel seals it
			reply = uint8(wire.ICMP6EchoReply)
		} else {
			wire.PutICMP4(request, wire.ICMP4Echo, 0, wire.ICMPEcho(77, seq))
			wire.ICMP4(request).Seal()
		}
		for end := time.Now().Add(proofPatience); time.Now().Before(end); {
			if _, err := c.WriteTo(request, to); err != nil {
				t.Fatalf("%d bytes: %v", len(payload), err)
			}
			c.SetReadDeadline(time.Now().Add(time.Second))
			for {
				n, _, err := c.ReadFrom(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if n < wire.ICMP4Len || buf[0] != reply || wire.ICMP4(buf[:n]).Seq() != seq || wire.ICMP4(buf[:n]).Ident() != 77 {
					continue
				}
				if !bytes.Equal(buf[wire.ICMP4Len:n], payload) {
					t.Fatalf("%d bytes came back as %d others", len(payload), n-wire.ICMP4Len)
				}
				return
			}
		}
		t.Fatalf("%d bytes: no reply", len(payload))
	}
}

// exchange sends a datagram until its echo comes, and checks it.
func exchange(t *testing.T, c net.Conn, payload, buf []byte) {
	t.Helper()
	for end := time.Now().Add(proofPatience); time.Now().Before(end); {
		if _, err := c.Write(payload); err != nil && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
			t.Fatalf("%d bytes: %v", len(payload), err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		for {
			n, err := c.Read(buf)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.EHOSTUNREACH) {
				t.Fatalf("%d bytes: %v", len(payload), err)
			}
			if err != nil {
				break
			}
			if n != len(payload) {
				continue // of one that was asked for twice
			}
			if !bytes.Equal(buf[:n], payload) {
				t.Fatalf("%d bytes came back as others", n)
			}
			return
		}
	}
	t.Fatalf("%d bytes: no echo", len(payload))
}

// serveEcho answers datagrams and streams at port 7 of the engine, and datagrams at port 7 of the kernel.
func (p *proof) serveEcho(t *testing.T, f family) {
	t.Helper()
	u, err := p.st.ListenUDP(netip.MustParseAddrPort(f.ours("7")))
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.st.Listen("tcp", f.ours("7"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.peer.ListenPacket("udp", f.theirs("7"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); l.Close(); k.Close() })
	for _, c := range []net.PacketConn{u, k} {
		go func() {
			buf := make([]byte, 1<<16)
			for {
				n, from, err := c.ReadFrom(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					c.WriteTo(buf[:n], from)
				}
			}
		}()
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
}

// A link that goes down and comes back, at either end, costs what was on its way and nothing else: the
// connection goes on, datagrams and pings pass.
func TestLinkDownAndUp(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	eachFamily(t, func(t *testing.T, f family) {
		p.serveEcho(t, f)
		ping := p.pingFromKernel(t, f)
		buf := make([]byte, 1<<16)
		k, err := p.peer.Dial("udp", f.ours("7"))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		e, err := p.st.Dial("udp", f.theirs("7"))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		c, err := p.peer.Dial("tcp", f.ours("7"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * proofPatience))
		all := func(round int) {
			t.Helper()
			want := body(1000 + round)
			if _, err := io.ReadFull(c, buf[:len(want)]); err != nil || !bytes.Equal(buf[:len(want)], want) {
				t.Fatalf("round %d: the connection: %v", round, err)
			}
			exchange(t, k, want, buf)
			exchange(t, e, want, buf)
			ping(uint16(round), want)
		}
		c.Write(body(1000))
		all(0)
		for i, link := range []*netlab.Link{p.veth.B, p.veth.A, p.veth.B} { // carrier lost, down, carrier lost once more
			if err := link.SetDown(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(body(1001 + i)); err != nil { // into the dark
				t.Fatal(err)
			}
			e.Write([]byte("lost"))
			time.Sleep(50 * time.Millisecond)
			if err := link.SetUp(); err != nil {
				t.Fatal(err)
			}
			all(1 + i)
		}
		if p.st.Host().Closed() {
			t.Error("the host has ended")
		}
	})
}

// Looking at a host while it works costs nobody anything but time: several cores, sockets that come and
// go, and one who asks all the while.
func TestSnapshotsUnderTraffic(t *testing.T) {
	st, peer := lab(t, 2, engine.ModeAuto)
	f := families[0]
	l, err := st.Listen("tcp", f.ours("7"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	over := make(chan struct{})
	seen := make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-over:
				seen <- most
				return
			default:
			}
			list, _ := st.Host().Sockets(1000)
			most = max(most, len(list))
			st.Host().Neighbours()
			st.Host().Addrs()
			st.Host().Routes()
		}
	}()
	for i := range 20 {
		k, err := peer.Dial("tcp", f.ours("7"))
		if err != nil {
			t.Fatal(err)
		}
		bulkEcho(t, k, 100_000, uint64(i))
	}
	close(over)
	if most := <-seen; most < 2 {
		t.Errorf("%d sockets were seen at most", most)
	}
}
