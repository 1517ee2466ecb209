package socketapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// longest is the longest UDP payload of a family.
func (f family) longest() int {
	if f.header == 20 {
		return 65535 - 20 - 8
	}
	return 65535 - 8
}

// interesting are payload lengths around all that changes with length: one packet, so many full
// fragments, powers of two, the end.
func (f family) interesting() (sizes []int) {
	add := func(n int) {
		for d := -2; d <= 2; d++ {
			if n+d >= 0 && n+d <= f.longest() {
				sizes = append(sizes, n+d)
			}
		}
	}
	piece := 1480
	if f.header == 40 {
		piece = 1448
	}
	add(1500 - f.header - 8)
	for _, k := range []int{1, 2, 3, 10, 22, 43, 44, 45} {
		add(k*piece - 8)
	}
	for _, n := range []int{0, 4096, 8192, 16384, 32768, 65000, f.longest()} {
		add(n)
	}
	return sizes
}

// body is a payload that no other has.
func body(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+4 <= n; i += 4 {
		binary.LittleEndian.PutUint32(b[i:], uint32(i)*0x9e3779b1^uint32(n)<<8)
	}
	return b
}

// Each datagram is cut by the kernel and put together here, and back the other way.
func TestLongDatagramsOfAKernelSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, queues := range []int{1, 2} {
			st, peer := lab(t, queues, engine.ModeAuto)
			c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("7")))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() {
				buf := make([]byte, 1<<16)
				for {
					n, from, err := c.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
						t.Errorf("%d bytes: %v", n, err)
					}
				}
			}()
			for flow := range 3 {
				k, err := peer.Dial("udp", f.ours("7"))
				if err != nil {
					t.Fatal(err)
				}
				defer k.Close()
				k.SetDeadline(time.Now().Add(60 * time.Second))
				buf := make([]byte, 1<<16)
				for _, size := range f.interesting() {
					if _, err := k.Write(body(size)); err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
					n, err := k.Read(buf)
					if err != nil || !bytes.Equal(buf[:n], body(size)) {
						t.Fatalf("queues %d, flow %d, %d bytes: %d came back, or others, %v", queues, flow, size, n, err)
					}
				}
			}
		}
	})
}

// pingKernel is an ICMP socket of the kernel at peer.
func pingKernel(t *testing.T, peer *netlab.NS, f family) net.PacketConn {
	t.Helper()
	network := "ip4:icmp"
	if f.header == 40 {
		network = "ip6:ipv6-icmp"
	}
	var c net.PacketConn
	if err := peer.Do(func() (err error) {
		c, err = net.ListenPacket(network, f.kernel)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The lab of these tests has a router between the engine and the host that it talks to:
//
//	engine 10.99.0.2 ── va ═ ra ── router ── rb ═ vb ── 10.98.0.1 Linux sockets
//	       fd99::2               forwards               fd98::1
//	                              no limit to ICMP errors     and 10.98.0.10.. fd98::10..
func routedLab(t *testing.T) (st *Stack, far *netlab.NS, second *netlab.Veth) {
	t.Helper()
	ours, far, _, second := routedNets(t, false)
	if err := ours.Do(func() (err error) {
		st, err = Open(host.Config{Interfaces: []host.Interface{{
			Name: "va", Addrs: enginePrefixes, Gateways: []netip.Addr{netip.MustParseAddr(kernelAddr), netip.MustParseAddr(kernelAddr6)},
		}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			stats := st.Host().Stats()
			for r, n := range stats.All() {
				t.Logf("dropped %d: %v", n, r)
			}
		}
		st.Close()
	})
	return st, far, second
}

// routedNets makes the namespaces. With kernel the one where the engine would be has its addresses and
// routes instead.
func routedNets(t *testing.T, kernel bool) (ours, far *netlab.NS, first, second *netlab.Veth) {
	t.Helper()
	netlab.RequireRoot(t)
	ours, router, far := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	va := netlab.End{NS: ours, Name: "va"}
	if kernel {
		va.Addrs = enginePrefixes
	}
	first = netlab.TestVeth(t, va, netlab.End{NS: router, Name: "ra", Addrs: kernelPrefixes})
	vb := netlab.End{NS: far, Name: "vb", Addrs: []netip.Prefix{netip.MustParsePrefix("10.98.0.1/24"), netip.MustParsePrefix("fd98::1/64")}}
	for i := range 10 {
		vb.Addrs = append(vb.Addrs, netip.MustParsePrefix(fmt.Sprintf("10.98.0.1%d/24", i)), netip.MustParsePrefix(fmt.Sprintf("fd98::1%d/64", i)))
	}
	second = netlab.TestVeth(t,
		netlab.End{NS: router, Name: "rb", Addrs: []netip.Prefix{netip.MustParsePrefix("10.98.0.2/24"), netip.MustParsePrefix("fd98::2/64")}}, vb)
	if err := router.Do(func() error {
		for name, value := range map[string]string{
			"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
		} {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	routes := map[*netlab.Link]map[string]string{second.B: {"10.99.0.0/24": "10.98.0.2", "fd99::/64": "fd98::2"}}
	if kernel {
		routes[first.A] = map[string]string{"10.98.0.0/24": kernelAddr, "fd98::/64": kernelAddr6}
	}
	for link, to := range routes {
		for prefix, via := range to {
			if err := link.AddRoute(netip.MustParsePrefix(prefix), netip.MustParseAddr(via)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ours, far, first, second
}

// narrow gives both ends of the second link an MTU.
func narrow(t *testing.T, link *netlab.Veth, mtu int) {
	t.Helper()
	for _, end := range []*netlab.Link{link.A, link.B} {
		if err := end.SetMTU(mtu); err != nil {
			t.Fatal(err)
		}
	}
}

var farFamilies = []family{{"IPv4", engineAddr, "10.98.0.1", 20}, {"IPv6", engineAddr6, "fd98::1", 40}}

// The MTU of a link beyond a router becomes smaller under way: datagrams get through in pieces
// that fit once the router has said so, and a connection goes on.
func TestPathMTUChangesUnderWay(t *testing.T) {
	t.Parallel()
	for _, f := range farFamilies {
		t.Run(f.name, func(t *testing.T) {
			st, far, link := routedLab(t)
			k, err := far.ListenPacket("udp", f.theirs("7"))
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			c, err := st.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort(f.theirs("7")))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			buf := make([]byte, 1<<16)
			for i, mtu := range []int{1500, 1400, 1300, 1280} {
				narrow(t, link, mtu)
				for _, size := range []int{10, mtu - f.header - 8, mtu - f.header - 7, 1500 - f.header - 8, 5000, 60000} {
					told := 0
					for try := 0; ; try++ {
						if try == 20 {
							t.Fatalf("MTU %d, %d bytes: never arrived", mtu, size)
						}
						if _, err := c.Write(body(size)); err != nil {
							told++ // EMSGSIZE, of the datagram before (udp(7))
							continue
						}
						k.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
						n, _, err := k.ReadFrom(buf)
						if err == nil && bytes.Equal(buf[:n], body(size)) {
							break
						}
					}
					if told > 0 && (i == 0 || told > 1) {
						t.Errorf("MTU %d, %d bytes: %d errors", mtu, size, told)
					}
				}
				if got := pathMTU(t, st, f.kernel); got != mtu {
					t.Errorf("the path's MTU is taken for %d, and is %d", got, mtu)
				}
			}
		})
	}
}

// pathMTU is what the stack knows of a path.
func pathMTU(t *testing.T, st *Stack, dst string) int {
	t.Helper()
	c := st.Host().Cores()[0]
	c.Lock()
	defer c.Unlock()
	mtu, errno := c.Stack.MTU(netip.MustParseAddr(dst), c.Now())
	if errno != 0 {
		t.Fatal(errno)
	}
	return mtu
}

func TestConnectionOutlivesAPathThatNarrows(t *testing.T) {
	t.Parallel()
	for _, f := range farFamilies {
		t.Run(f.name, func(t *testing.T) {
			st, far, link := routedLab(t)
			l, err := far.Listen("tcp", f.theirs("80"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			const total = 8 << 20
			received := make(chan error, 1)
			go func() {
				k, err := l.Accept()
				if err != nil {
					received <- err
					return
				}
				defer k.Close()
				k.SetDeadline(time.Now().Add(60 * time.Second))
				n, err := io.Copy(io.Discard, k)
				if err == nil && n != total {
					err = fmt.Errorf("%d bytes", n)
				}
				received <- err
			}()
			conn, err := st.Dial("tcp", f.theirs("80"))
			if err != nil {
				t.Fatal(err)
			}
			c := conn.(*TCPConn)
			defer c.Close()
			c.SetDeadline(time.Now().Add(60 * time.Second))
			for i := range 8 {
				if i == 2 {
					narrow(t, link, 1400)
				}
				if i == 5 {
					narrow(t, link, 1280)
				}
				if _, err := c.Write(body(total / 8)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := <-received; err != nil {
				t.Fatal(err)
			}
			if got := pathMTU(t, st, f.kernel); got != 1280 {
				t.Errorf("the path's MTU is taken for %d", got)
			}
		})
	}
}
