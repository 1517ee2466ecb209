package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Read first: RFC 2131 §4.4.1, RFC 2132 §3-5, §9; RFC 3442.

// A Lease is what a server has given.
type Lease struct {
	Addr    netip.Prefix // the address, with the prefix of its link
	Server  netip.Addr
	Routers []netip.Addr // default routers, the best first; none where Routes has what there is
	Routes  []Route
	MTU     int // bytes of an IP packet; 0: the server did not say
	DNS     []netip.Addr
	Domain  string // may be ""
	Search  []string

	From    time.Time // when it began
	Renew   time.Time // T1: when its server is asked to prolong it
	Rebind  time.Time // T2: when any server is
	Expires time.Time // when it is over
}

// A Route is a way that a server has told of (RFC 3442). One to 0.0.0.0/0 is a default route.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr // unspecified: the prefix is on the link
}

// Limits on what a lease may bring: a server with more of it is mistaken, or no server.
const (
	routersMax = 4
	routesMax  = 64
	serversMax = 8
	mtuLeast   = 576 // RFC 791 §3.1: what every host takes; RFC 2132 §5.1 allows 68, of which no use is known
)

// parseLease makes a lease of an acknowledgement that came at now.
func parseLease(ack *dhcpv4.DHCPv4, now time.Time) (l Lease, err error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || !ofHost(addr) {
		return l, fmt.Errorf("the server offers %v, which is no address for a host", ack.YourIPAddr)
	}
	ones, size := ack.SubnetMask().Size()
	switch {
	case ack.SubnetMask() == nil: // RFC 2131 has no rule for it, RFC 950 §2 the classes: a host alone is safest
		ones = 32
	case size != 32 || ones < 8:
		return l, fmt.Errorf("the server's subnet mask %v is none", net.IP(ack.SubnetMask()))
	}
	l.Addr = netip.PrefixFrom(addr, ones)
	if l.Server, ok = netip.AddrFromSlice(ack.ServerIdentifier().To4()); !ok || !ofHost(l.Server) {
		return l, errors.New("the server does not say who it is (option 54)")
	}
	if err := l.times(ack, now); err != nil {
		return l, err
	}
	l.ways(ack)
	if v := ack.GetOneOption(dhcpv4.OptionInterfaceMTU); len(v) == 2 {
		if mtu := int(v[0])<<8 | int(v[1]); mtu >= mtuLeast {
			l.MTU = mtu
		}
	}
	l.DNS = addrs(ack.DNS(), serversMax)
	l.Domain = plain(ack.DomainName())
	if s := ack.DomainSearch(); s != nil {
		for _, name := range s.Labels[:min(len(s.Labels), serversMax)] {
			if name = plain(name); name != "" {
				l.Search = append(l.Search, name)
			}
		}
	}
	return l, nil
}

// ofHost says whether an address of IPv4 can be that of one host.
func ofHost(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224 // RFC 1122 §3.2.1.3
}

// forever is a lease without end (RFC 2131 §3.3), as the library has it.
const forever = (1<<32 - 1) * time.Second

// times sets when the lease is to be renewed. T1 and T2 that make no sense are those of RFC 2131 §4.4.5.
func (l *Lease) times(ack *dhcpv4.DHCPv4, now time.Time) error {
	life := ack.IPAddressLeaseTime(0)
	if life < leaseLeast {
		return fmt.Errorf("the server's lease lasts %v, which is too short to be used: at least %v", life, leaseLeast)
	}
	t2 := ack.IPAddressRebindingTime(0)
	if t2 <= 0 || t2 >= life {
		t2 = life - life/8
	}
	t1 := ack.IPAddressRenewalTime(0)
	if t1 <= 0 || t1 >= t2 {
		t1 = min(life/2, t2/2+t2/4)
	}
	l.From, l.Renew, l.Rebind, l.Expires = now, now.Add(t1), now.Add(t2), now.Add(life)
	return nil
}

// Forever says whether the lease does not end.
func (l *Lease) Forever() bool { return l.Expires.Sub(l.From) >= forever }

// ways sets routers and routes: where there are classless routes, the others do not count
// (RFC 3442, "DHCP Client Behavior"). One whose router is not on the link is of no use.
func (l *Lease) ways(ack *dhcpv4.DHCPv4) {
	link := l.Addr.Masked()
	routes := ack.ClasslessStaticRoute()
	for _, r := range routes[:min(len(routes), routesMax)] {
		gw, ok := netip.AddrFromSlice(r.Router.To4())
		dst, ok2 := netip.AddrFromSlice(r.Dest.IP.To4())
		ones, _ := r.Dest.Mask.Size()
		if ok && ok2 && (gw.IsUnspecified() || link.Contains(gw) && gw != l.Addr.Addr()) {
			l.Routes = append(l.Routes, Route{netip.PrefixFrom(dst, ones).Masked(), gw})
		}
	}
	if len(l.Routes) > 0 {
		return
	}
	for _, gw := range addrs(ack.Router(), routersMax) {
		if link.Contains(gw) && gw != l.Addr.Addr() {
			l.Routers = append(l.Routers, gw)
		}
	}
}

// addrs returns at most max addresses of a list.
func addrs(list []net.IP, max int) (all []netip.Addr) {
	for _, ip := range list[:min(len(list), max)] {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && !a.IsUnspecified() {
			all = append(all, a)
		}
	}
	return all
}

// plain is a name, or nothing if it has characters that no name has: it ends up in files
// and on terminals, and whoever is on the link can be a server.
func plain(name string) string {
	if len(name) > 253 {
		return ""
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return ""
		}
	}
	return name
}
