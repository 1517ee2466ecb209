package proto

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestConnectionsOfTwoPortsDoNotWaitForEachOther: a port whose device takes nothing
// stops only the connections that leave by it.
func TestConnectionsOfTwoPortsDoNotWaitForEachOther(t *testing.T) {
	left, right := netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("10.8.0.1/24")
	s := New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500, RawIP: true}, {MAC: macB, MTU: 1500, RawIP: true}}})
	s.SetAddrs(0, []netip.Prefix{left})
	s.SetAddrs(1, []netip.Prefix{right})
	s.SetRoutes(route.New([]route.Route{{Prefix: left, Port: 0}, {Prefix: right, Port: 1}}))
	connect := func(local netip.Prefix, remote string, port uint16) {
		t.Helper()
		if _, errno := s.TCP.Connect(netip.AddrPortFrom(local.Addr(), port), netip.MustParseAddrPort(remote), tcp.Options{}, 1); errno != 0 {
			t.Fatal(errno)
		}
	}
	for i := range uint16(3) { // interleaved, those of the stopped port first
		connect(left, "10.9.0.2:80", 1000+i)
		connect(right, "10.8.0.2:80", 1000+i)
	}
	var buf [1500]byte
	ask := func(port int, want string) (n int) {
		t.Helper()
		for {
			size := s.Output(port, buf[:], mono.Time(1))
			if size == 0 {
				return n
			}
			ip, ok := wire.ParseIPv4(buf[:size])
			if !ok || ip.Dst().String() != want {
				t.Fatalf("port %d sent %d bytes to %v", port, size, ip.Dst())
			}
			n++
		}
	}
	if n := ask(1, "10.8.0.2"); n != 3 {
		t.Errorf("port 1 sent %d SYNs while port 0 was stopped, want 3", n)
	}
	if n := ask(0, "10.9.0.2"); n != 3 {
		t.Errorf("port 0 sent %d SYNs afterwards, want 3", n)
	}
	if s.Count[drop.NoRoute] != 0 {
		t.Errorf("%d packets had no route", s.Count[drop.NoRoute])
	}
	if _, errno := s.TCP.Connect(netip.MustParseAddrPort("10.9.0.1:2000"), netip.MustParseAddrPort("10.7.0.1:80"), tcp.Options{}, 1); errno != 0 && errno != unix.ENETUNREACH {
		t.Error(errno)
	}
	if n := ask(0, "") + ask(1, ""); n != 0 {
		t.Errorf("%d packets went somewhere without a route", n)
	}
}
