package proto

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// twoLinks is a host with a port on each of two links, whose interfaces have the indexes 7 and 900, and
// on each link a station that has the same link-local address there.
func twoLinks(t *testing.T) (s *Stack, stations [2]*Stack, theirs netip.Addr) {
	t.Helper()
	s = New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500, Index: 7}, {MAC: wire.MAC{2, 0, 0, 0, 0, 11}, MTU: 1500, Index: 900}}})
	for i := range s.ports {
		s.SetAddrs(i, []netip.Prefix{LinkLocal(&s.ports[i].PortConfig)})
	}
	theirs = netip.MustParseAddr("fe80::99")
	for i := range stations {
		stations[i] = New(Config{Ports: []PortConfig{{MAC: wire.MAC{2, 0, 0, 0, 1, byte(i)}, MTU: 1500}}, Seed: [2]uint64{uint64(i), 1}})
		stations[i].SetAddrs(0, []netip.Prefix{netip.PrefixFrom(theirs, 64)})
	}
	return s, stations, theirs
}

// carry takes what the host and the stations have to say to whom it is for.
func carry(s *Stack, stations [2]*Stack) {
	var buf [2048]byte
	for work := true; work; {
		work = false
		for i, station := range stations {
			for n := s.Output(i, buf[:], 1); n > 0; n = s.Output(i, buf[:], 1) {
				station.Input(0, buf[:n], 1)
				work = true
			}
			for n := station.Output(0, buf[:], 1); n > 0; n = station.Output(0, buf[:], 1) {
				s.Input(i, buf[:n], 1)
				work = true
			}
		}
	}
}

// TestZonesKeepLinksApart: an address of one link is another one on another link (RFC 4007 §6).
func TestZonesKeepLinksApart(t *testing.T) {
	s, stations, theirs := twoLinks(t)
	sock := newSocket(s, &s.UDP, "[::]:1000")
	for i, zone := range []string{"7", "900"} {
		to := netip.AddrPortFrom(theirs.WithZone(zone), 7)
		echo := newSocket(stations[i], &stations[i].UDP, "[::]:7")
		if e := send(s, sock, to, []byte(zone), 1); e != 0 {
			t.Fatal(e)
		}
		carry(s, stations)
		var m ring.Datagram
		buf := make([]byte, 100)
		n, ok := echo.Recv.Get(&m, buf, false)
		if !ok || string(buf[:n]) != zone {
			t.Fatalf("zone %s: %q arrived; drops %v", zone, buf[:n], drops(s))
		}
		send(stations[i], echo, m.From, buf[:n], 1)
		carry(s, stations)
		own := LinkLocal(&s.ports[i].PortConfig).Addr().WithZone(zone)
		if n, ok = sock.Recv.Get(&m, buf, false); !ok || m.From != to || m.To.Addr() != own || m.Iface != uint32(i) {
			t.Errorf("zone %s: the answer is %q of %+v; drops %v", zone, buf[:n], m, drops(s))
		}
	}
	if e := send(s, sock, netip.AddrPortFrom(theirs.WithZone("8"), 7), nil, 1); e != unix.ENETUNREACH {
		t.Errorf("a zone of no port: %v", e)
	}
	// A packet for the address of one link that comes by the other is for nobody.
	stray := udp6(netip.AddrPortFrom(theirs, 7), netip.AddrPortFrom(LinkLocal(&s.ports[1].PortConfig).Addr(), 1000), "stray").frame()
	copy(stray, s.ports[0].MAC[:])
	if r := input(t, s, stray, 1); r.String() != "ip6-not-for-us" {
		t.Errorf("by the wrong link: %v", r)
	}
}

// Two connections between the same ports and addresses are two if the links are.
// A socket that is bound to a group of one link hears what is sent to it there, and nothing of the other link's.
func TestGroupsOfLinksAreApart(t *testing.T) {
	s, _, _ := twoLinks(t)
	g := netip.MustParseAddr("ff02::1:7")
	sock := newSocket(s, &s.UDP, at(g, 7))
	sock.Device = 1
	both := newSocket(s, &s.UDP, at(g, 7))
	join(t, s, both, func(set *group.Set) (*group.Set, unix.Errno) { return set.Join(0, g) })
	join(t, s, both, func(set *group.Set) (*group.Set, unix.Errno) { return set.Join(1, g) })
	for port, want := range []string{"01", "1"} {
		p := udp6(netip.MustParseAddrPort("[fe80::9]:9"), netip.AddrPortFrom(g, 7), "x")
		p.mac = wire.MulticastMAC(g)
		s.Input(port, p.frame(), 1)
		if got := hears(sock, both); got != want {
			t.Errorf("on link %d it is heard by %q, want %q", port, got, want)
		}
	}
}

func TestConnectionsToOneAddressOnTwoLinks(t *testing.T) {
	s, stations, theirs := twoLinks(t)
	var conns [2]*tcp.Conn
	for i, zone := range []string{"7", "900"} {
		if _, e := stations[i].TCP.Listen(netip.MustParseAddrPort("[::]:80"), tcp.ListenConfig{Backlog: 1}); e != 0 {
			t.Fatal(e)
		}
		local := netip.AddrPortFrom(LinkLocal(&s.ports[i].PortConfig).Addr().WithZone(zone), 5000)
		c, e := s.TCP.Connect(local, netip.AddrPortFrom(theirs.WithZone(zone), 80), tcp.Options{}, 1)
		if e != 0 {
			t.Fatal(e)
		}
		c.Gate.Init(silent{})
		conns[i] = c
	}
	carry(s, stations)
	for i, c := range conns {
		if c.State() != tcp.Established || c.Remote().Addr().Zone() != s.ports[i].zone || c.Local().Addr().Zone() != s.ports[i].zone {
			t.Errorf("%v to %v is in %v; drops %v", c.Local(), c.Remote(), c.State(), drops(s))
		}
		if n := stations[i].TCP.Count(tcp.Established); n != 1 {
			t.Errorf("station %d has %d connections", i, n)
		}
	}
}

// A zone costs no allocation, however many digits its interface's index has.
func TestZonesDoNotAllocate(t *testing.T) {
	s, stations, theirs := twoLinks(t)
	sock := newSocket(s, &s.UDP, "[::]:1000")
	to := netip.AddrPortFrom(theirs.WithZone("900"), 7)
	newSocket(stations[1], &stations[1].UDP, "[::]:7")
	send(s, sock, to, []byte("x"), 1)
	carry(s, stations)
	frame := udp6(netip.AddrPortFrom(theirs, 7), netip.AddrPortFrom(LinkLocal(&s.ports[1].PortConfig).Addr(), 1000), "hello").frame()
	copy(frame, s.ports[1].MAC[:])
	payload, out := make([]byte, 100), make([]byte, 2048)
	if n := testing.AllocsPerRun(1000, func() {
		s.Input(1, frame, 1)
		var m ring.Datagram
		n, ok := sock.Recv.Get(&m, payload, false)
		if !ok {
			t.Fatal(drops(s))
		}
		s.Offer(wire.ProtoUDP, sock, m.From, payload[:n], 1)
		if s.Output(1, out, 1) == 0 {
			t.Fatal("no answer")
		}
		s.Settle()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
