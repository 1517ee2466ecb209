package proto

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 1112 §6-7 (what a host does for groups); RFC 1122 §3.3.6, RFC 2644
// (broadcasts); RFC 4291 §2.8 (which IPv6 groups every node has); package group for what is said
// to routers.

// groupCore is the core that talks to the routers of groups. All cores know all memberships, since
// a datagram may arrive at any; the others hand over what routers and neighbours say of them.
const groupCore = 0

// inputIGMP takes what routers ask, and what others tell them.
func (s *Stack) inputIGMP(ip wire.IPv4) drop.Reason {
	o, ok := wire.ParseIPv4Options(ip.Options())
	if !ok {
		return drop.IP4OptionsBad
	}
	if r, done := s.toGroupCore(); done {
		return r
	}
	in := &s.in
	return s.Groups.InputIGMP(ip.Payload(), &group.Arrival{
		Port: in.port.number, Src: in.src, Dst: in.dst, TTL: in.ttl, RouterAlert: o.RouterAlert,
	}, in.now)
}

// inputMLD is the same over IPv6.
func (s *Stack) inputMLD(icmp wire.ICMP6) drop.Reason {
	if r, done := s.toGroupCore(); done {
		return r
	}
	in := &s.in
	return s.Groups.InputMLD(icmp, &group.Arrival{
		Port: in.port.number, Src: in.src, Dst: in.dst, TTL: in.ttl, RouterAlert: in.alert,
	}, in.now)
}

// toGroupCore hands the packet in Input over to groupCore, unless that is here; done says so.
func (s *Stack) toGroupCore() (r drop.Reason, done bool) {
	switch {
	case s.core == groupCore, s.peers == nil, s.handedOver:
		return drop.None, false
	case !s.handOver(groupCore):
		return drop.HandOverFull, true
	}
	return drop.None, true
}

// wanted4 says whether an IPv4 packet that is for more than us is for us too.
func (s *Stack) wanted4(protocol wire.Protocol) drop.Reason {
	in := &s.in
	switch {
	case in.port.broadcast4(in.dst):
	case !in.dst.IsMulticast():
		return drop.IP4NotForUs // a directed broadcast to another link among them (RFC 2644)
	case protocol == wire.ProtoIGMP && s.Groups.Member(in.port.number, in.dst): // from whomever the group is heard
	case !s.Groups.Hears(in.port.number, in.dst, in.src):
		return drop.IP4MulticastUnwanted
	}
	in.group = true
	return drop.None
}

// nobody4 says whether 0.0.0.0 may be the source of a packet: of who has no address yet and asks
// everyone for one (RFC 1122 §3.2.1.3 (a)), and of a querier that has none (RFC 4541 §2.1.1).
func nobody4(dst netip.Addr, protocol wire.Protocol) bool {
	return dst == limitedBroadcast || protocol == wire.ProtoIGMP && dst.IsLinkLocalMulticast()
}

// member6 says whether the port listens to an IPv6 group. From whom it hears it is for the
// datagram's protocol to ask, since what routers say about a group is no part of it.
func (s *Stack) member6(p *port, group netip.Addr) bool {
	if group == wire.AllNodes6 && len(p.solicited) == 0 {
		return false // it has no IPv6
	}
	return s.Groups.Member(p.number, group)
}

// ownGroups joins the solicited-node groups of a port's addresses, those that it is about to have
// among them, and leaves those of others (RFC 4291 §2.8, RFC 4861 §7.2.1, RFC 4862 §5.4.2). Where another stack answers for
// them it has joined.
func (s *Stack) ownGroups(p *port) {
	var want []netip.Addr
	for _, a := range slices.Concat(p.own, p.tentative) {
		if g := wire.SolicitedNode(a); !a.Is4() && p.Resolve == nil && !slices.Contains(want, g) {
			want = append(want, g)
		}
	}
	local := netip.Addr{}
	if i := slices.IndexFunc(p.own, func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }); i >= 0 {
		local = p.own[i]
	}
	for _, g := range want {
		if !slices.Contains(p.solicited, g) {
			s.Groups.Change(p.number, g, nil, &group.Everyone)
		}
	}
	for _, g := range p.solicited {
		if !slices.Contains(want, g) {
			s.Groups.Change(p.number, g, &group.Everyone, nil)
		}
	}
	p.solicited = want
	if local.IsValid() && local != p.linkLocal { // what was said without an address is said again (RFC 3810 §5.2.13)
		s.Groups.Refresh(p.number, true)
	}
	p.linkLocal = local
}

// PortTo returns the port that routes lead to dst by.
func (s *Stack) PortTo(dst netip.Addr) (port int, ok bool) {
	r, ok := s.route(dst)
	return r.Port, ok && r.Kind == route.Unicast
}

// Broadcast says whether a is for everyone, or for everyone of one of our links.
func (s *Stack) Broadcast(a netip.Addr) bool {
	for i := range s.ports {
		if s.ports[i].broadcast4(a) {
			return true
		}
	}
	return false
}

// SetGroups gives a socket other memberships than it had. One of them is new, gone or different, or
// all are gone. It is false, and nothing has changed, if the port has too many already.
func (s *Stack) SetGroups(sock *udp.Socket, next *group.Set) bool {
	for _, m := range next.Members() {
		var from *group.Filter
		if f, ok := sock.Groups.Filter(m.Port, m.Group); ok {
			if f.Mode == m.Mode && slices.Equal(f.Sources, m.Sources) {
				continue
			}
			from = &f
		}
		if !s.Groups.Change(m.Port, m.Group, from, &m.Filter) {
			return false
		}
	}
	for _, m := range sock.Groups.Members() {
		if _, ok := next.Filter(m.Port, m.Group); !ok {
			s.Groups.Change(m.Port, m.Group, &m.Filter, nil)
		}
	}
	sock.Groups = next
	return true
}

// groupSender is the stack as the table of groups sees it.
type groupSender Stack

// GroupRoom is how long a message may be.
func (g *groupSender) GroupRoom(port int, six bool) int {
	s := (*Stack)(g)
	room := min(s.ports[port].MTU, len(s.scratch)-wire.EthernetLen)
	if six {
		return room - wire.IPv6Len - wire.RouterAlert6Len
	}
	return room - wire.IPv4Len - wire.RouterAlert4Len
}

// SendGroup queues a message as a whole frame. It is called by timers alone, so that scratch is free.
func (g *groupSender) SendGroup(port int, to netip.Addr, message []byte) {
	s := (*Stack)(g)
	p := &s.ports[port]
	if p.Loop {
		return // no router is there
	}
	b := s.scratch
	n := 0
	if !p.RawIP {
		n = wire.PutEthernet(b, wire.MulticastMAC(to), p.MAC, etherTypeOf(to))
	}
	if to.Is4() {
		n += p.putIGMP(b[n:], to, message)
	} else {
		n += p.putMLD(b[n:], to, message)
	}
	if !p.frames.Put(&s.record, b[:n]) {
		s.Count.Count(drop.OutboxFull)
	}
}

// putIGMP writes the packet of an IGMP message (RFC 3376 §4). A port without an address says
// 0.0.0.0 (§4.2.13).
func (p *port) putIGMP(b []byte, to netip.Addr, message []byte) int {
	src := netip.IPv4Unspecified()
	for _, a := range p.own {
		if a.Is4() {
			src = a
			break
		}
	}
	n := wire.PutIPv4(b, &wire.IPv4Fields{
		TOS: 0xc0, TTL: 1, DF: true, Protocol: wire.ProtoIGMP, Options: wire.RouterAlert4, // internetwork control
		Src: src, Dst: to, PayloadLen: len(message),
	})
	return n + copy(b[n:], message)
}

// putMLD writes the packet of an MLD message, from a link-local address, or from none as long as there
// is none (RFC 3810 §5, §5.2.13).
func (p *port) putMLD(b []byte, to netip.Addr, message []byte) int {
	src := netip.IPv6Unspecified()
	if p.linkLocal.IsValid() {
		src = p.linkLocal
	}
	n := wire.PutIPv6(b, &wire.IPv6Fields{
		HopLimit: 1, NextHeader: wire.ProtoHopByHop, Src: src, Dst: to, PayloadLen: wire.RouterAlert6Len + len(message),
	})
	n += wire.PutRouterAlert6(b[n:], wire.ProtoICMPv6)
	icmp := wire.ICMP6(b[n : n+copy(b[n:], message)])
	icmp.Seal(wire.PseudoSum(src, to, wire.ProtoICMPv6, len(icmp)))
	return n + len(icmp)
}

// comesBack says whether what is sent to dst, by w from a socket, is for members on this host too
// (RFC 1112 §6.1), or as a broadcast for everyone (RFC 1122 §3.3.6; Linux ip_mc_output).
func (s *Stack) comesBack(w *path, sock *udp.Socket, src, dst netip.Addr) bool {
	if dst.IsMulticast() {
		return !w.port.Loop && !sock.MulticastTo(dst).Quiet && s.Groups.Hears(w.port.number, dst.WithZone(""), src.WithZone(""))
	}
	return w.mac == wire.Broadcast
}

// staysHere says whether a datagram to a group is for members on this host alone: nobody else may have it
// (RFC 4291 §2.7), or it may cross no link (Linux ip_mc_output, ip6_finish_output2).
func staysHere(dst netip.Addr, ttl uint8) bool {
	return dst.IsMulticast() && (ttl == 0 || dst.IsInterfaceLocalMulticast())
}

// bringBack delivers the datagram that has just been taken from a program to the members on this
// host. Nothing is in Input meanwhile.
func (s *Stack) bringBack(d *direct) {
	in := &s.in
	in.port, in.frame, in.ip, in.src, in.dst, in.now = d.port, nil, nil, d.ip.src, d.ip.dst.WithZone(""), d.now
	in.ttl, in.tos, in.group, in.noSum = d.ip.ttl, d.ip.tos, true, !d.ip.dst.Is4() && d.noSum()
	s.deliverGroup(netip.AddrPortFrom(in.dst, d.to), netip.AddrPortFrom(in.src, d.from), d.payload) // what finds no room is the socket's to count
}

// deliverGroup queues a datagram to a group, or to everyone, at every socket that wants it.
func (s *Stack) deliverGroup(local, remote netip.AddrPort, payload []byte) drop.Reason {
	in := &s.in
	reason := drop.UDPNoSocket
	multicast, src := in.dst.IsMulticast(), in.src.WithZone("")
	if multicast && in.dst.Is6() && !s.Groups.Hears(in.port.number, in.dst, src) {
		return drop.IP6MulticastUnwanted
	}
	s.UDP.Each(uint32(s.in.port.number+1), local, remote, func(sock *udp.Socket) {
		r := drop.UDPFiltered
		if in.noSum && !sock.TakesNoSum {
			r = drop.UDPChecksumMissing
		} else if !multicast || sock.Hears(in.port.number, in.dst, src) {
			r = sock.Deliver(s.facts(local, remote), payload, s.Wakes)
		}
		if reason != drop.None {
			reason = r
		}
	})
	return reason
}
