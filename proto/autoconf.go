package proto

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/autoconf"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §6.1.2, §8.1 (what makes advertisements valid); RFC 4862
// §5.4.3-5.4.4; package autoconf for all the rest.
//
// The machines of package autoconf live in the stack of one core, [AutoconfCore]. What
// they find out comes back to the stacks of all cores by PutAddrs, SetRoutes and SetLink6.

// AutoconfCore is the core that owns the machines of all ports. The others hand over
// to it what concerns them.
const AutoconfCore = 0

// AutoconfConfig says how a port gets its addresses.
type AutoconfConfig struct {
	Name      string   // of the interface: its stable addresses depend on it
	Secret    [16]byte // and on this, which is to be the same whenever the host starts
	Auto      bool     // routers are believed
	Transmits int      // probes of duplicate address detection over IPv6; 0: 1, below: none

	// Changed is told that one of the machines has news. It is called with the core's lock
	// held, in the middle of Input or Advance.
	Changed func(now mono.Time)
}

// Autoconf is what a port finds out about its addresses by itself. Whoever calls its
// methods holds the lock of [AutoconfCore].
type Autoconf struct {
	V6 *autoconf.Interface6
	V4 *autoconf.Interface4

	stack   *Stack
	port    *port
	changed func(mono.Time)
}

// SetAutoconf gives a port the machines. It is called once, on AutoconfCore. A port whose frames
// have no link header has nobody to detect, and one whose addresses are another stack's too leaves it to that: they get none.
func (s *Stack) SetAutoconf(port int, cfg *AutoconfConfig) *Autoconf {
	p := &s.ports[port]
	if p.RawIP || p.Resolve != nil {
		return nil
	}
	a := &Autoconf{stack: s, port: p, changed: cfg.Changed}
	a.V6 = autoconf.NewInterface6(autoconf.Config6{
		Link: (*link6)(a), Wheel: s.wheel, Rand: s.rand, Name: cfg.Name, Secret: cfg.Secret,
		MTU: p.MTU, Transmits: cfg.Transmits, Auto: cfg.Auto,
	})
	a.V4 = autoconf.NewInterface4(autoconf.Config4{Link: (*link4)(a), Wheel: s.wheel, Rand: s.rand, MAC: p.MAC})
	p.conf = a
	return a
}

// SetLink6 tells a port what its routers say of the link. Zeroes are the constants of RFC 4861
// §10; an MTU of 0 is the port's own.
func (s *Stack) SetLink6(port int, mtu int, hopLimit uint8, reachable, retrans time.Duration) {
	p := &s.ports[port]
	p.mtu6, p.hopLimit = mtu, hopLimit
	s.Neigh.SetTimes(port, reachable, retrans)
	s.pathGen++
}

// elsewhere hands the packet in Input over to the core with the port's machines, unless they are
// here. done says that it did, or that there are none.
func (s *Stack) elsewhere(refused drop.Reason) (r drop.Reason, done bool) {
	in := &s.in
	switch {
	case in.port.conf != nil:
		return drop.None, false
	case s.peers == nil || s.handedOver:
		return refused, true
	case !s.handOver(AutoconfCore):
		return drop.HandOverFull, true
	}
	return drop.None, true
}

// inputProbe takes another station's probe for a tentative address, or one of our own that has come
// back.
func (s *Stack) inputProbe(target netip.Addr) drop.Reason {
	if r, done := s.elsewhere(drop.NDPNotForUs); done {
		return r
	}
	if s.in.port.conf.V6.Probed(target, s.ndp.Nonce, s.in.station(), s.in.now) {
		return drop.NDPConflict
	}
	return drop.Looped
}

// inputClaim takes another station's advertisement of an address that is ours, or about to be.
func (s *Stack) inputClaim(target netip.Addr) drop.Reason {
	if r, done := s.elsewhere(drop.NDPConflict); done {
		return r
	}
	s.in.port.conf.V6.Claimed(target, s.in.station(), s.in.now)
	return drop.NDPConflict
}

// inputRouter takes a router advertisement (RFC 4861 §6.1.2).
func (s *Stack) inputRouter(icmp wire.ICMP6) drop.Reason {
	in := &s.in
	m, ok := wire.ParseRouterAdvertisement(icmp)
	switch {
	case !ok:
		return drop.NDPShort
	case !in.src.IsLinkLocalUnicast():
		return drop.NDPBadSource
	case !s.ndp.Parse(m.Options()), s.ndp.Source.IsMulticast():
		return drop.NDPOptionBad
	case s.local(in.src):
		return s.ownNDP(s.ndp.Source)
	}
	if r, done := s.elsewhere(drop.NDPRouterRefused); done {
		return r
	}
	r := in.port.conf.V6.Advertised(in.src.WithZone(""), m, &s.ndp, in.now)
	if r == drop.None && !s.ndp.Source.IsZero() {
		s.sighted(neigh.Sighting{Port: in.port.number, Addr: in.src, MAC: s.ndp.Source, Override: true, Create: true}, in.now)
	}
	return r
}

// notRouter is told that target does not say it is a router (RFC 4861 §7.2.5): if it is a default
// router of ours, it is one no longer.
func (s *Stack) notRouter(target netip.Addr) {
	in := &s.in
	if in.port.conf != nil {
		in.port.conf.V6.NotRouter(target, in.now)
		return
	}
	router := func(r route.Route) bool { return r.Gateway == target && r.Port == in.port.number }
	if s.peers != nil && !s.handedOver && slices.ContainsFunc(s.Routes.Defaults(target), router) {
		s.handOver(AutoconfCore) // no room: it will say so again
	}
}

// inputARPConflict takes ARP of another station about an address that is ours, or about to be.
func (s *Stack) inputARPConflict(arp wire.ARP) drop.Reason {
	if r, done := s.elsewhere(drop.ARPConflict); done {
		return r
	}
	if !s.in.port.conf.V4.Heard(arp, s.in.now) {
		return drop.ARPNotForUs
	}
	return drop.ARPConflict
}

// station is who sent the frame in Input.
func (in *packet) station() wire.MAC {
	eth, _ := wire.ParseEthernet(in.frame)
	return eth.Src()
}

// link6 is a port as the IPv6 machine sees it.
type link6 Autoconf

// Probe asks everyone whether target is taken (RFC 4862 §5.4.2).
func (l *link6) Probe(target netip.Addr, nonce [6]byte) {
	var message [wire.NeighborSolicitationLen + wire.NonceOptionLen]byte
	n := wire.PutNeighborSolicitation(message[:], target, wire.MAC{})
	n += wire.PutNonceOption(message[n:], nonce)
	dst := wire.SolicitedNode(target)
	l.stack.sendNDP(l.port, wire.MulticastMAC(dst), netip.IPv6Unspecified(), dst, message[:n])
}

// SolicitRouters asks for routers (RFC 4861 §4.1).
func (l *link6) SolicitRouters(source netip.Addr) {
	var message [wire.RouterSolicitationLen + wire.LinkAddressOptionLen]byte
	mac := l.port.MAC
	if !source.IsValid() {
		source, mac = netip.IPv6Unspecified(), wire.MAC{}
	}
	n := wire.PutRouterSolicitation(message[:], mac)
	l.stack.sendNDP(l.port, wire.MulticastMAC(wire.AllRouters6), source, wire.AllRouters6, message[:n])
}

// FirstHop is where packets to dst go now.
func (l *link6) FirstHop(dst netip.Addr) netip.Addr {
	return l.stack.firstHop(l.port, dst).WithZone("")
}

func (l *link6) Changed(now mono.Time) { l.changed(now) }

// link4 is a port as the IPv4 machine sees it.
type link4 Autoconf

// Probe asks everyone whether a is taken (RFC 5227 §2.1.1).
func (l *link4) Probe(a netip.Addr) {
	l.stack.sendARP(l.port, wire.Broadcast, &wire.ARPFields{
		Op: wire.ARPRequest, SenderMAC: l.port.MAC, SenderIP: netip.IPv4Unspecified(), TargetIP: a,
	})
}

// Announce tells everyone that a is ours (RFC 5227 §2.3).
func (l *link4) Announce(a netip.Addr) {
	l.stack.sendARP(l.port, wire.Broadcast, &wire.ARPFields{
		Op: wire.ARPRequest, SenderMAC: l.port.MAC, SenderIP: a, TargetIP: a,
	})
}

func (l *link4) Changed(now mono.Time) { l.changed(now) }
