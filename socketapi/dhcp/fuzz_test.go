package dhcp

import (
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzParseLease: whatever a server says, a lease is one that a host can do with, and not longer than its limits.
func FuzzParseLease(f *testing.F) {
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	_, ten, _ := net.ParseCIDR("10.0.0.0/8")
	for _, mods := range [][]dhcpv4.Modifier{
		{},
		{dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IP{192, 0, 2, 1}), dhcpv4.WithDNS(net.IP{192, 0, 2, 53})},
		{dhcpv4.WithNetmask(net.CIDRMask(8, 32)), dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: all, Router: net.IP{192, 0, 2, 1}}, &dhcpv4.Route{Dest: ten, Router: net.IP{0, 0, 0, 0}}))},
		{dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 220}), dhcpv4.WithDomainSearchList("example.org", "lan"), dhcpv4.WithOption(dhcpv4.OptDomainName("lan"))},
		{dhcpv4.WithLeaseTime(1<<32 - 1), dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, []byte{255, 255, 255, 255})},
		{dhcpv4.WithGeneric(dhcpv4.OptionSubnetMask, []byte{255, 0, 255, 0})},
		{dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4zero))},
	} {
		m, err := dhcpv4.New(append([]dhcpv4.Modifier{
			dhcpv4.WithYourIP(leased.Addr().AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverA.AsSlice())), dhcpv4.WithLeaseTime(800),
		}, mods...)...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.ToBytes())
	}
	now := time.Unix(1000, 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		l, err := parseLease(m, now)
		if err != nil {
			return
		}
		switch {
		case !l.Addr.IsValid() || !l.Addr.Addr().Is4() || l.Addr.Bits() < 8 || !ofHost(l.Addr.Addr()) || !ofHost(l.Server):
			t.Errorf("%v of %v", l.Addr, l.Server)
		case !now.Before(l.Renew) || !l.Renew.Before(l.Rebind) || !l.Rebind.Before(l.Expires):
			t.Errorf("from %v: %v, %v, %v", now, l.Renew, l.Rebind, l.Expires)
		case l.MTU != 0 && l.MTU < mtuLeast:
			t.Errorf("MTU %d", l.MTU)
		case len(l.Routers) > routersMax || len(l.Routes) > routesMax || len(l.DNS) > serversMax || len(l.Search) > serversMax:
			t.Errorf("%+v", l)
		case plain(l.Domain) != l.Domain:
			t.Errorf("domain %q", l.Domain)
		}
		for _, r := range l.Routes {
			if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() || !r.Gateway.Is4() || !r.Gateway.IsUnspecified() && !l.Addr.Masked().Contains(r.Gateway) {
				t.Errorf("route %+v", r)
			}
		}
		h := leaseOf(&l)
		for _, r := range h.Routes {
			if r.Metric < metric || r.Gateway.IsValid() && r.Gateway.IsUnspecified() {
				t.Errorf("the host's route %+v", r)
			}
		}
	})
}
