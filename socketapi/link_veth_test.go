package socketapi

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// What changes about the link that the engine is on, with a kernel at the other end.

// TestTheLinksMTUChangesUnderWay: the MTU of the engine's own link becomes smaller and larger while streams go on;
// datagrams are cut at what it is then. What the memory has no room for is not used, and a link too narrow for IPv6 has none.
func TestTheLinksMTUChangesUnderWay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		mode   engine.Mode
		max    int // asked for
		widest int // of what can be had of an MTU of 3000
	}{{engine.ModeNative, 0, 2048 - 256 - 22}, {engine.ModeNative, 3000, 3000}, {engine.ModePacket, 0, 1500}} {
		t.Run(fmt.Sprintf("%s %d", row.mode, row.max), func(t *testing.T) {
			if testing.Short() && row.mode != engine.ModeNative {
				t.Skip("short: one kind of device")
			}
			netlab.RequireRoot(t)
			ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
			veth := netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: kernel, Name: "vb", Addrs: kernelPrefixes})
			st := openAt(t, ours, host.Interface{Name: "va", Mode: row.mode, MTUMax: row.max, Addrs: enginePrefixes, Detect: host.DetectNone})
			stop := make(chan struct{})
			p := &proof{st: st, peer: kernel, veth: veth}
			buf := make([]byte, 1<<16)
			both := func(mtu int, up bool) {
				t.Helper()
				order := []*netlab.Link{veth.A, veth.B} // who sends must not be ahead of who takes in
				if up {
					slices.Reverse(order)
				}
				for _, l := range order {
					fatal(t, l.SetMTU(mtu))
				}
			}
			for _, f := range families {
				p.serveEcho(t, f)
				end, result := streamOnPort(t, st, kernel, f, "9", stop)
				defer func() {
					if err := <-result; err != nil {
						t.Errorf("%s: %v", f.name, err)
					}
					end()
				}()
			}
			defer close(stop)
			last := 1500
			for _, mtu := range []int{1300, 1280, 1500, 3000, 1400} {
				both(mtu, mtu > last)
				last = mtu
				used := min(mtu, row.widest)
				eventually(t, fmt.Sprintf("MTU %d", mtu), func() bool {
					s, _ := st.Host().Link(0)
					return s == host.LinkState{Up: true, MTU: used, LinkMTU: mtu}
				})
				for _, f := range families {
					if got := pathMTU(t, st, f.kernel); got != used {
						t.Errorf("MTU %d: %s packets may have %d bytes, want %d", mtu, f.name, got, used)
					}
					k, err := kernel.Dial("udp", f.ours("7"))
					fatal(t, err)
					e, err := st.Dial("udp", f.theirs("7"))
					fatal(t, err)
					for _, size := range []int{1, used - f.header - 8, used - f.header - 7, 5000} {
						if size > used-f.header-8 && mtu > row.widest {
							continue // the kernel's pieces have no room
						}
						exchange(t, k, body(size), buf)
						exchange(t, e, body(size), buf)
					}
					k.Close()
					e.Close()
				}
			}
			fatal(t, veth.A.SetMTU(1000)) // the kernel's end has IPv6 still
			own := netip.MustParseAddr(engineAddr6)
			eventually(t, "no IPv6", func() bool { return !st.Host().Local(own) })
			fatal(t, st.Host().AddAddr(0, route.Addr{Prefix: netip.MustParsePrefix("10.99.0.7/24")})) // what is there does not stand in the way
			fatal(t, veth.A.SetMTU(1400))
			eventually(t, "IPv6 again", func() bool { return st.Host().Local(own) })
			k, err := kernel.Dial("udp", families[1].ours("7"))
			fatal(t, err)
			exchange(t, k, body(2000), buf)
			k.Close()
		})
	}
}

// TestTheCarrierComesBack: routers are asked for, those on the link are told of our addresses, and an address that somebody
// has there by now is given up, while others stay in use.
func TestTheCarrierComesBack(t *testing.T) {
	t.Parallel() // it waits most of the time
	prefix := netip.MustParsePrefix("2001:db8:1::/64")
	l := newConfLab(t, 1, "2001:db8:1::1/64")
	l.router(routerMessage(l.veth.B.MAC, prefix))
	st, err := l.open(host.Interface{Auto: true, Addrs: prefixes("10.99.0.2/24", "fd99::2/64", "fd99::3/64")})
	fatal(t, err)
	awaitAddr(t, st, prefix)
	var fd int
	fatal(t, l.peer.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300) // ETH_P_ALL
		if err != nil {
			return err
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}))
	defer unix.Close(fd)
	fatal(t, l.veth.B.SetDown())
	eventually(t, "no carrier", func() bool { s, _ := st.Host().Link(0); return !s.Up })
	fatal(t, l.veth.B.SetUp())

	// What the kernel's end hears of us: an announcement over IPv4, and of fd99::2 a probe and an advertisement that
	// nobody has asked for.
	// Somebody there has fd99::3, and says so all the time: whoever reads this slowly would be late for the probe.
	announced, probed, advertised, asked := false, false, false, false
	own, theirs := netip.MustParseAddr("fd99::2"), netip.MustParseAddr("fd99::3")
	frame := make([]byte, 2000)
	eventually(t, "what is said when the carrier is back", func() bool {
		done := announced && probed && advertised && asked
		unix.Sendto(fd, claim(theirs), 0, &unix.SockaddrLinklayer{Ifindex: l.veth.B.Index})
		n, err := unix.Read(fd, frame)
		if done || err != nil {
			return done
		}
		eth, ok := wire.ParseEthernet(frame[:n])
		if !ok || eth.Src() == wire.MAC(l.veth.B.MAC) {
			return false
		}
		switch eth.Type() {
		case wire.EtherTypeARP:
			if arp, ok := wire.ParseARP(eth.Payload()); ok {
				announced = announced || arp.SenderIP() == netip.MustParseAddr("10.99.0.2") && arp.TargetIP() == arp.SenderIP()
			}
		case wire.EtherTypeIPv6:
			ip := eth.Payload()
			if len(ip) < 56 || ip[6] != unix.IPPROTO_ICMPV6 {
				break
			}
			asked = asked || wire.ICMP6Type(ip[40]) == wire.ICMP6RouterSolicitation
			if len(ip) < 64 {
				break
			}
			probe := wire.ICMP6Type(ip[40]) == wire.ICMP6NeighborSolicitation && bytes.Equal(ip[8:24], make([]byte, 16))
			if target, _ := netip.AddrFromSlice(ip[48:64]); target == own {
				probed = probed || probe
				advertised = advertised || wire.ICMP6Type(ip[40]) == wire.ICMP6NeighborAdvertisement && ip[24] == 0xff
			}
		}
		return done
	})
	state := func(a string) (state route.State) {
		for _, x := range st.Host().Addrs() {
			if x.Prefix.Addr() == netip.MustParseAddr(a) {
				state = x.State
			}
		}
		return state
	}
	eventually(t, "the address of another", func() bool { return state("fd99::3") == route.Duplicate })
	if a, b := state("fd99::2"), state("10.99.0.2"); a != route.Preferred || b != route.Preferred {
		t.Errorf("those of nobody else: %v, %v", a, b)
	}
	if s, _ := st.Host().Link(0); !s.Up || s.Ups != 1 {
		t.Errorf("link %+v", s)
	}
}

// claim is the frame by which another station says that an IPv6 address is its own.
func claim(a netip.Addr) []byte {
	mac := wire.MAC{2, 0, 0, 0, 0, 0x99}
	b := make([]byte, wire.EthernetLen+wire.IPv6Len+wire.NeighborAdvertisementLen+wire.LinkAddressOptionLen)
	n := wire.PutEthernet(b, wire.MulticastMAC(wire.AllNodes6), mac, wire.EtherTypeIPv6)
	message := wire.ICMP6(b[n+wire.IPv6Len:])
	wire.PutNeighborAdvertisement(message, a, mac, wire.NeighborOverride)
	wire.PutIPv6(b[n:], &wire.IPv6Fields{HopLimit: 255, NextHeader: wire.ProtoICMPv6, Src: a, Dst: wire.AllNodes6, PayloadLen: len(message)})
	message.Seal(wire.PseudoSum(a, wire.AllNodes6, wire.ProtoICMPv6, len(message)))
	return b
}

// TestGroupsWithTwoCores: a datagram of the kernel's to a group, or to everyone, comes to the first core as a copy, and from
// there to every socket, once; one of ours to a group reaches the kernel's member; what neighbours say by whichever queue is
// known to every core.
func TestGroupsWithTwoCores(t *testing.T) {
	t.Parallel()
	st, kernel := lab(t, 2, engine.ModeNative)
	scatter(t, kernel, "vb")
	const datagrams = 50
	for _, row := range []struct {
		to   string
		port uint16
	}{{"239.1.1.1", 7000}, {"ff05::7", 7000}, {"10.99.0.255", 7100}} {
		group := netip.MustParseAddr(row.to).IsMulticast()
		var socks []*UDPConn
		for i := range 3 {
			var c *UDPConn
			var err error
			if group {
				c, err = st.ListenMulticastUDP(netip.AddrPortFrom(netip.MustParseAddr(row.to), row.port), st.Host().Index(0))
			} else { // everyone's port is shared by none
				c, err = st.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), row.port+uint16(i)))
			}
			fatal(t, err)
			defer c.Close()
			socks = append(socks, c)
		}
		for i := range datagrams {
			for j := range socks {
				if !group || j == 0 {
					sendToAll(t, kernel, netip.AddrPortFrom(netip.MustParseAddr(row.to), row.port+uint16(j)), []byte{byte(i)})
				}
			}
		}
		for j, c := range socks {
			seen := map[byte]int{}
			c.SetReadDeadline(time.Now().Add(longest))
			b := make([]byte, 100)
			for len(seen) < datagrams {
				n, _, err := c.ReadFromUDPAddrPort(b)
				if err != nil || n != 1 {
					t.Fatalf("%s: socket %d: %d bytes, %v; so far %d", row.to, j, n, err, len(seen))
				}
				seen[b[0]]++
			}
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, _, err := c.ReadFromUDPAddrPort(b); err == nil {
				t.Errorf("%s: socket %d: %d bytes more", row.to, j, n)
			}
		}
	}
	for _, row := range []struct{ network, to, from string }{{"udp4", "239.1.1.9:7200", "0.0.0.0:0"}, {"udp6", "[ff05::9]:7200", "[::]:0"}} {
		to := netip.MustParseAddrPort(row.to)
		var k *net.UDPConn
		fatal(t, kernel.Do(func() error {
			ifi, err := net.InterfaceByName("vb")
			if err == nil {
				k, err = net.ListenMulticastUDP(row.network, ifi, net.UDPAddrFromAddrPort(to))
			}
			return err
		}))
		defer k.Close()
		e, err := st.ListenUDP(netip.MustParseAddrPort(row.from))
		fatal(t, err)
		defer e.Close()
		if _, err := e.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
			t.Errorf("%s: %v", row.to, err)
		}
		k.SetReadDeadline(time.Now().Add(longest))
		if n, from, err := k.ReadFromUDPAddrPort(make([]byte, 100)); err != nil || n != 5 || !st.Host().Local(from.Addr().Unmap().WithZone("")) {
			t.Errorf("%s: the kernel's member hears %d bytes of %v, %v", row.to, n, from, err)
		}
	}
	for _, f := range families { // who asks for us says where he is, to one core
		c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("9")))
		fatal(t, err)
		defer c.Close()
		st.Host().FlushNeighbours(0)
		flushNeighbours(t, kernel)
		k, err := kernel.Dial("udp", f.ours("9"))
		fatal(t, err)
		defer k.Close()
		eventually(t, f.name+": both cores know the neighbour", func() bool {
			k.Write([]byte("x"))
			known := 0
			for _, n := range st.Host().Neighbours() {
				if n.Addr == netip.MustParseAddr(f.kernel) {
					known++
				}
			}
			return known == 2
		})
	}
}

// sendToAll sends a datagram to a group or a broadcast address by a socket of its own, so that each is another flow.
func sendToAll(t *testing.T, ns *netlab.NS, to netip.AddrPort, payload []byte) {
	t.Helper()
	fatal(t, ns.Do(func() error {
		if to.Addr().Is4() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, netip.MustParseAddr(kernelAddr).As4())
			return unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		index, err := net.InterfaceByName("vb")
		if err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index.Index)
		return unix.Sendto(fd, payload, 0, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())})
	}))
}

// TestNoCarrierAtFirst: a host that is opened on a link without a carrier has a tentative address, which is detected and taken
// into use when it comes.
func TestNoCarrierAtFirst(t *testing.T) {
	t.Parallel()
	l := newConfLab(t, 1)
	fatal(t, l.veth.B.SetDown())
	st, err := l.open(host.Interface{Addrs: prefixes("10.99.0.2/24", "fd99::2/64")})
	fatal(t, err)
	states := func() (s string) {
		for _, a := range st.Host().Addrs() {
			if a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Prefix.Addr().IsLoopback() {
				s += fmt.Sprint(a.Prefix.Addr(), " ", a.State, "; ")
			}
		}
		return s
	}
	time.Sleep(2500 * time.Millisecond) // longer than detection takes
	if s := states(); s != "fd99::2 tentative; " {
		t.Errorf("without a carrier: %s", s)
	}
	fatal(t, l.veth.B.SetUp())
	eventually(t, "detected with one", func() bool { return states() == "fd99::2 preferred; " })
}
