package proto

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §7.1 (validation), §7.2.3-7.2.6 (solicitations and advertisements).

// ndpHopLimit proves that a message has crossed no router (RFC 4861 §3.1, §11.2).
const ndpHopLimit = 255

// inputNDP validates a message of neighbour discovery and acts on it.
func (s *Stack) inputNDP(icmp wire.ICMP6) drop.Reason {
	in := &s.in
	switch {
	case in.ttl != ndpHopLimit:
		return drop.NDPHopLimit
	case icmp.Code() != 0:
		return drop.NDPCode
	case in.port.RawIP: // no link-layer addresses, so nothing to find out
		return drop.ICMP6UnknownType
	}
	switch icmp.Type() {
	case wire.ICMP6NeighborSolicitation:
		return s.inputSolicitation(icmp)
	case wire.ICMP6NeighborAdvertisement:
		return s.inputAdvertisement(icmp)
	case wire.ICMP6RouterAdvertisement:
		return s.inputRouter(icmp)
	case wire.ICMP6Redirect:
		return s.inputRedirect6(icmp)
	}
	return drop.ICMP6UnknownType // router solicitations are for routers (§6.2.6)
}

// inputSolicitation answers who asks for an address of the port, and learns where he is.
func (s *Stack) inputSolicitation(icmp wire.ICMP6) drop.Reason {
	in := &s.in
	p := in.port
	m, ok := wire.ParseNeighborSolicitation(icmp)
	if !ok {
		return drop.NDPShort
	}
	probe := in.src.IsUnspecified() // duplicate address detection
	o := &s.ndp
	switch {
	case m.Target().IsMulticast():
		return drop.NDPBadTarget
	case !o.Parse(m.Options()), o.Source.IsMulticast(), probe && !o.Source.IsZero():
		return drop.NDPOptionBad
	case probe && in.dst != wire.SolicitedNode(m.Target()):
		return drop.NDPBadSource
	}
	target := p.scoped(m.Target())
	switch {
	case s.local(in.src):
		return s.ownNDP(o.Source)
	case probe && slices.Contains(p.tentative, m.Target()):
		return s.inputProbe(m.Target())
	case p.Resolve != nil, !p.owns(target):
		return drop.NDPNotForUs
	case probe && in.station() == p.MAC: // our own, of an address that stays in use while it is detected again
		s.inputProbe(m.Target())
		return drop.Looped
	case probe: // everyone is told, since he has no address yet (§7.2.4)
		s.advertise(p, wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), target, wire.NeighborOverride)
		return drop.None
	}
	flags := wire.NeighborSolicited | wire.NeighborOverride
	if o.Source.IsZero() {
		// He asks by unicast, so he knows us, and we him, or he is asked for (§7.2.4).
		return s.answerNDP(target, flags)
	}
	if s.onLink(p, in.src) { // only who is there is a neighbour (CVE-2008-2476)
		s.sighted(neigh.Sighting{Port: p.number, Addr: in.src, MAC: o.Source, Override: true, Create: true}, in.now)
	}
	s.advertise(p, in.src, o.Source, target, flags)
	return drop.None
}

// inputAdvertisement learns where a neighbour is, if it was asked for (§7.2.5).
func (s *Stack) inputAdvertisement(icmp wire.ICMP6) drop.Reason {
	in := &s.in
	p := in.port
	m, ok := wire.ParseNeighborAdvertisement(icmp)
	if !ok {
		return drop.NDPShort
	}
	o := &s.ndp
	switch {
	case m.Target().IsMulticast():
		return drop.NDPBadTarget
	case in.src.IsUnspecified():
		return drop.NDPBadSource
	case !o.Parse(m.Options()), o.Target.IsMulticast(), in.group && m.Solicited():
		return drop.NDPOptionBad
	}
	target := p.scoped(m.Target())
	switch {
	case slices.Contains(p.tentative, m.Target()):
		return s.inputClaim(m.Target())
	case p.owns(target):
		if r := s.ownNDP(o.Target); r != drop.NDPConflict {
			return r
		}
		return s.inputClaim(m.Target())
	case s.local(in.src):
		return s.ownNDP(o.Target)
	case s.Neigh.Lookup(p.number, target) == nil && s.peers == nil:
		return drop.NDPUnsolicited
	}
	s.sighted(neigh.Sighting{
		Port: p.number, Addr: target, MAC: o.Target, Solicited: m.Solicited(), Override: m.Override(),
	}, in.now)
	// One that has changed nothing, or comes from where the neighbour is not, says nothing of routers either.
	if e := s.Neigh.Lookup(p.number, target); !m.Router() && (e == nil || e.State() != neigh.Incomplete && (o.Target.IsZero() || o.Target == e.MAC)) {
		s.notRouter(m.Target())
	}
	return drop.None
}

// ownNDP is a message that says it is of us, or is about an address of ours: one of our own that
// has come back, or that of another station.
func (s *Stack) ownNDP(mac wire.MAC) drop.Reason {
	in := &s.in
	if eth, ok := wire.ParseEthernet(in.frame); ok && eth.Src() == in.port.MAC && (mac.IsZero() || mac == in.port.MAC) {
		return drop.Looped
	}
	return drop.NDPConflict
}

// onLink says whether a may be a neighbour on p's link.
func (s *Stack) onLink(p *port, a netip.Addr) bool {
	r, ok := s.route(a)
	return ok && r.Port == p.number && !r.Gateway.IsValid()
}

// advertise tells a station, or all, that target is ours. It goes out by itself, since who asks has said
// where he is: no table can be too full for an answer.
func (s *Stack) advertise(p *port, dst netip.Addr, mac wire.MAC, target netip.Addr, flags wire.NeighborFlags) {
	var message [wire.NeighborAdvertisementLen + wire.LinkAddressOptionLen]byte
	n := wire.PutNeighborAdvertisement(message[:], target, p.MAC, flags)
	s.sendNDP(p, mac, target, dst, message[:n])
}

// answerNDP tells the sender of the message in Input that target is ours. He has not said where he
// is, so it takes the way of all packets to him.
func (s *Stack) answerNDP(target netip.Addr, flags wire.NeighborFlags) drop.Reason {
	in := &s.in
	var packet [wire.IPv6Len + wire.NeighborAdvertisementLen + wire.LinkAddressOptionLen]byte
	n := wire.PutNeighborAdvertisement(packet[wire.IPv6Len:], target, in.port.MAC, flags)
	putNDP(packet[:], target, in.src, n)
	return s.post(in.src, packet[:], in.now)
}

// solicitNDP asks for an IPv6 neighbour (§7.2.2), by multicast or where it is believed to be.
func (s *Stack) solicitNDP(e *neigh.Entry, unicast bool) {
	p := &s.ports[e.Port]
	src := s.sourceOn(p, e.Addr)
	if !src.IsValid() {
		return // it has lost its IPv6 addresses, and asks for nobody
	}
	dst, mac := e.Addr, e.MAC
	if !unicast {
		dst = wire.SolicitedNode(e.Addr)
		mac = wire.MulticastMAC(dst)
	}
	var message [wire.NeighborSolicitationLen + wire.LinkAddressOptionLen]byte
	n := wire.PutNeighborSolicitation(message[:], e.Addr, p.MAC)
	s.sendNDP(p, mac, src, dst, message[:n])
}

// sendNDP queues a message as a whole frame.
func (s *Stack) sendNDP(p *port, mac wire.MAC, src, dst netip.Addr, message []byte) {
	// Not in scratch: a packet may be there whose way this asks for.
	var frame [wire.EthernetLen + wire.IPv6Len + wire.NeighborSolicitationLen + wire.LinkAddressOptionLen]byte
	n := wire.PutEthernet(frame[:], mac, p.MAC, wire.EtherTypeIPv6)
	copy(frame[n+wire.IPv6Len:], message)
	n += putNDP(frame[n:], src, dst, len(message))
	if !p.frames.Put(&ring.Datagram{}, frame[:n]) {
		s.Count.Count(drop.OutboxFull)
	}
}

// putNDP writes the IPv6 header before a message of n bytes, which it seals, and returns the length of
// the packet.
func putNDP(b []byte, src, dst netip.Addr, n int) int {
	h := header{protocol: wire.ProtoICMPv6, src: src, dst: dst, ttl: ndpHopLimit, payload: n}
	at, pseudo := h.put(b)
	wire.ICMP6(b[at : at+n]).Seal(pseudo)
	return at + n
}
