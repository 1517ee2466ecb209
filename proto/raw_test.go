package proto

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A router's word about a packet of a raw socket is believed as that about any other's (raw_err, rawv6_err), by a
// socket that discovers MTUs, and lowers the path for all.
func TestPacketTooBigForARawSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		const protocol = 200
		for name, row := range map[string]struct {
			discover udp.Discovery
			from     netip.Addr
			mtu      uint32
			want     int
		}{
			"as it is":                   {udp.DiscoverWant, f.b, 1400, 1400},
			"always":                     {udp.DiscoverDo, f.b, 1400, 1400},
			"a socket that believes not": {udp.DiscoverInterface, f.b, 1400, 1500},
			"what another has sent":      {udp.DiscoverWant, f.a, 1400, 1500},
			"more than the link has":     {udp.DiscoverWant, f.b, 9000, 1500},
		} {
			_, b := f.acquainted()
			sock := newSocket(b, &b.Raw, at(f.any, protocol))
			sock.Raw, sock.Discover, sock.Discover6 = new(udp.Raw), row.discover, row.discover
			var frame []byte
			if f == family4 {
				quoted := forge(row.from, f.a, protocol, make([]byte, 1480))[wire.EthernetLen:]
				frame = forgeICMP(f.a, f.b, wire.ICMP4Unreachable, wire.ICMP4FragNeeded, row.mtu, quoted[:100])
			} else {
				quoted := packet6{src: row.from, dst: f.a, next: protocol, payload: make([]byte, 1460)}.frame()[wire.EthernetLen:]
				frame = icmp6(f.a, f.b, wire.ICMP6PacketTooBig, 0, row.mtu, quoted[:100]).frame()
			}
			r := input(t, b, frame, 1)
			if believed := row.from == f.b && row.mtu < 1500; (r == drop.None) != believed {
				t.Errorf("%s: %v", name, r)
			}
			if mtu, errno := b.MTU(f.a, 1); errno != 0 || mtu != row.want {
				t.Errorf("%s: the path's MTU is %d, want %d; %v", name, mtu, row.want, drops(b))
			}
			if e := unix.Errno(sock.Error.Take()); e != 0 { // it is not connected, and did not ask
				t.Errorf("%s: the socket has %v", name, e)
			}
		}
	})
}

// Each raw socket has a copy of what it wants, whatever the protocols do with the packet.
func TestRawSocketsHaveCopies(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		_, b := f.acquainted()
		echo, other := newSocket(b, &b.Raw, at(f.any, uint16(f.icmp))), newSocket(b, &b.Raw, at(f.any, 200))
		echo.Raw, other.Raw = new(udp.Raw), new(udp.Raw)
		request := forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, nil)
		unknown := forge(ipA, ipB, 200, []byte("x"))
		if f == family6 {
			request = icmp6(ipA6, ipB6, wire.ICMP6Echo, 0, 1, nil).frame()
			unknown = packet6{src: ipA6, dst: ipB6, next: 200, payload: []byte("x")}.frame()
		}
		if r := input(t, b, request, 1); r != drop.None || drain(t, b, 1) != 1 {
			t.Errorf("an echo request: %v", r)
		}
		if r := input(t, b, unknown, 1); r != drop.None || drain(t, b, 1) != 0 {
			t.Errorf("a protocol that a raw socket speaks: %v", r)
		}
		if got := hears(echo, other); got != "01" {
			t.Errorf("heard by %q", got)
		}
		b.Raw.Remove(other)
		if r := input(t, b, unknown, 1); r == drop.None || drain(t, b, 1) != 1 {
			t.Errorf("a protocol that nobody speaks: %v", r)
		}
	})
}
