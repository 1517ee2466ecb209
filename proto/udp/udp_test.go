package udp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

func ap(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

func TestTheSocketThatSaysMostGetsTheDatagram(t *testing.T) {
	var table Table
	add := func(local, remote string, only6 bool) *Socket {
		s := &Socket{Local: ap(local), Remote: ap(remote), Only6: only6}
		table.Add(s)
		return s
	}
	any4 := add("0.0.0.0:7", "", false)
	own := add("10.0.0.1:7", "", false)
	connected := add("10.0.0.1:7", "10.0.0.9:1000", false)
	host := add("10.0.0.1:7", "10.0.0.8:0", false)
	hostPort := add("10.0.0.1:7", "10.0.0.8:1000", false)
	dual := add("[::]:9", "", false)
	only6 := add("[::]:10", "", true)
	for _, tc := range []struct {
		name          string
		local, remote string
		want          *Socket
	}{
		{"its peer reaches the connected socket", "10.0.0.1:7", "10.0.0.9:1000", connected},
		{"another peer reaches the socket of the address", "10.0.0.1:7", "10.0.0.9:1001", own},
		{"any port of its peer reaches a socket that is connected to port 0", "10.0.0.1:7", "10.0.0.8:1001", host},
		{"one that is connected to the port comes before it", "10.0.0.1:7", "10.0.0.8:1000", hostPort},
		{"another address reaches the socket of all addresses", "10.0.0.2:7", "10.0.0.9:1000", any4},
		{"IPv4 reaches a dual-stack socket", "10.0.0.1:9", "10.0.0.9:1", dual},
		{"IPv6 reaches a dual-stack socket", "[fd00::1]:9", "[fd00::2]:1", dual},
		{"IPv4 does not reach an IPv6-only socket", "10.0.0.1:10", "10.0.0.9:1", nil},
		{"IPv6 reaches an IPv6-only socket", "[fd00::1]:10", "[fd00::2]:1", only6},
		{"IPv6 does not reach an IPv4 socket", "[fd00::1]:7", "[fd00::2]:1", nil},
		{"another port reaches nobody", "10.0.0.1:8", "10.0.0.9:1000", nil},
	} {
		if got := table.Lookup(ap(tc.local), ap(tc.remote)); got != tc.want {
			t.Errorf("%s: got %+v", tc.name, got)
		}
	}
	for _, s := range []*Socket{own, any4, connected, host, hostPort, dual, only6} {
		table.Remove(s)
		table.Remove(s)
	}
	if table.Len() != 0 || table.Lookup(ap("10.0.0.1:7"), ap("10.0.0.9:1000")) != nil {
		t.Error("a removed socket is still found")
	}
}

func TestFullSocketDropsAndCounts(t *testing.T) {
	var gate ring.Gate
	var wakes ring.Wakes
	s := &Socket{Gate: &gate, Error: new(ring.Errno)}
	s.Recv.Init(ring.NewPool(1<<20), 2*(ring.DatagramOverhead+10))
	m := ring.Datagram{}
	for i, want := range []drop.Reason{drop.None, drop.None, drop.UDPSocketFull} {
		if got := s.Deliver(&m, make([]byte, 10), &wakes); got != want {
			t.Errorf("datagram %d: %v, want %v", i, got, want)
		}
	}
	if s.Dropped != 1 || s.Recv.Len() != 2 {
		t.Errorf("dropped %d, queued %d", s.Dropped, s.Recv.Len())
	}
	s.Fail(unix.ECONNREFUSED, &wakes)
	if e := s.Error.Take(); unix.Errno(e) != unix.ECONNREFUSED || s.Error.Take() != 0 {
		t.Errorf("error %d", e)
	}
}
