package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

func TestWhichAddressesAnInterfaceMayHave(t *testing.T) {
	for _, row := range []struct {
		addrs, gateways string
		mtu             int
		want            string // in the error; "": none
	}{
		{"10.0.0.2/24 fd00::2/64", "10.0.0.1 fd00::1", 1500, ""},
		{"fd00::2/64", "fe80::1", 1500, ""},
		{"fe80::2/64", "fe80::1", 1500, ""},
		{"10.0.0.2/24 fd00::2/64", "10.0.0.1 fd00::1 10.0.0.3 fd00::3", 1500, ""},
		{"10.0.0.2/24", "10.0.0.1 10.0.0.1", 1500, "twice"},
		{"10.0.0.2/24", "fe80::1", 1500, "gateway fe80::1"},
		{"fd00::2/64", "fd01::1", 1500, "gateway fd01::1"},
		{"ff02::1/64", "", 1500, "not an address"},
		{"::/64", "", 1500, "not an address"},
		{"::1/128", "", 1500, "not an address"},
		{"::ffff:10.0.0.2/120", "", 1500, "write it as 10.0.0.2"},
		{"fd00::2/64", "", 1279, "MTU of 1280"},
		{"10.0.0.2/24", "", 1279, ""},
		{"10.0.0.0/24", "", 1500, "whole network 10.0.0.0/24"},
		{"10.0.0.255/24", "", 1500, "whole network"},
		{"10.0.1.255/23", "", 1500, "whole network"},
		{"10.0.0.255/23 10.1.0.0/31 10.1.0.3/31 10.2.0.0/32", "", 1500, ""},
	} {
		in := &Interface{}
		for _, s := range strings.Fields(row.addrs) {
			in.Addrs = append(in.Addrs, netip.MustParsePrefix(s))
		}
		for _, s := range strings.Fields(row.gateways) {
			in.Gateways = append(in.Gateways, netip.MustParseAddr(s))
		}
		err := checkAddrs(in, engine.Info{Name: "eth1", MTU: row.mtu})
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s by %s, MTU %d: %v, want %q", row.addrs, row.gateways, row.mtu, err, row.want)
		}
	}
}

// An interface with IPv6 has one link-local address: its own if it is given, and never the one that
// the kernel makes of the same MAC address.
func TestLinkLocalAddress(t *testing.T) {
	port := proto.PortConfig{MAC: wire.MAC{2, 0, 0, 0, 0, 1}}
	for _, row := range []struct {
		addrs string
		raw   bool
		more  int
	}{
		{"10.0.0.2/24", false, 0}, {"fd00::2/64", false, 1}, {"10.0.0.2/24 fd00::2/64 fd01::2/64", false, 1},
		{"fd00::2/64 fe80::2/64", false, 0}, {"fe80::2/64", false, 0}, {"fd00::2/64", true, 0}, {"169.254.1.1/16 fd00::2/64", false, 1},
	} {
		var given []route.Addr
		for _, s := range strings.Fields(row.addrs) {
			given = append(given, route.Addr{Prefix: netip.MustParsePrefix(s)})
		}
		port.RawIP = row.raw
		got := withLinkLocal(given, port)
		if len(got)-len(given) != row.more {
			t.Errorf("%s, without MAC addresses %v: %v", row.addrs, row.raw, got)
		}
		if row.more > 0 {
			if last := got[len(got)-1].Prefix; !last.Addr().IsLinkLocalUnicast() || last.Bits() != 64 || last.Addr() == wire.LinkLocal(port.MAC) {
				t.Errorf("%s: %v", row.addrs, last)
			}
		}
	}
}
