package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// link is the stack as the neighbour table sees it.
type link Stack

// Solicit asks for an address.
func (l *link) Solicit(e *neigh.Entry, unicast bool, _ mono.Time) {
	s := (*Stack)(l)
	switch resolve := s.ports[e.Port].Resolve; {
	case resolve != nil:
		resolve(e.Addr)
	case e.Addr.Is4():
		s.solicitARP(e, unicast)
	default:
		s.solicitNDP(e, unicast)
	}
}

// Resolved lets what waited for the neighbour go.
func (l *link) Resolved(e *neigh.Entry, now mono.Time) {
	s := (*Stack)(l)
	if e.Parked.Len() > 0 {
		p := &s.ports[e.Port]
		p.resolved = append(p.resolved, e)
	}
	s.unparkTCP(e)
}

// Confirmed has the neighbour used by whom it is the first hop of.
func (l *link) Confirmed(e *neigh.Entry, _ mono.Time) { (*Stack)(l).speaks(e) }

// Doubted has those take another way who have one.
func (l *link) Doubted(e *neigh.Entry, now mono.Time) { (*Stack)(l).fallSilent(e, now) }

// Dropped makes all paths look the neighbour up again, and tells those who waited in
// vain.
func (l *link) Dropped(e *neigh.Entry, failed bool, now mono.Time) {
	s := (*Stack)(l)
	if !e.Wanted() {
		return // a stranger's, of whom there may be a flood: no path leads there
	}
	s.pathGen++
	p := &s.ports[e.Port]
	for i, r := range p.resolved {
		if r == e {
			p.resolved = append(p.resolved[:i], p.resolved[i+1:]...)
			break
		}
	}
	if failed {
		s.fallSilent(e, now)
	} else {
		s.unknown(e)
	}
	s.dropParked(e, failed, now)
	if failed {
		s.failTCP(e, now)
	} else {
		s.unparkTCP(e) // they ask anew
	}
}

// Announce tells the link of a port of one of its addresses (RFC 5227 §2.3, RFC 4861 §7.2.6), so that
// neighbours which knew another host by them forget it.
func (s *Stack) Announce(port int, a netip.Addr) {
	p := &s.ports[port]
	switch {
	case p.RawIP, p.Resolve != nil:
	case a.Is4():
		s.sendARP(p, wire.Broadcast, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: p.MAC, SenderIP: a, TargetIP: a})
	default:
		s.advertise(p, wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), a, wire.NeighborOverride)
	}
}
