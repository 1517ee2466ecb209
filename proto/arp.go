package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 826 ("Packet Reception"); RFC 5227 §2.4 on conflicts; RFC 1122 §2.3.2.

// inputARP answers questions about our addresses and learns who asks and who
// answers.
func (s *Stack) inputARP(b []byte) drop.Reason {
	arp, ok := wire.ParseARP(b)
	if !ok {
		if wire.FaultARP(b) == wire.FaultShort {
			return drop.ARPShort
		}
		return drop.ARPUnsupported
	}
	p, now := s.in.port, s.in.now
	sender, senderMAC := arp.SenderIP(), arp.SenderMAC()
	switch {
	case arp.Op() != wire.ARPRequest && arp.Op() != wire.ARPReply:
		return drop.ARPBadOp
	case !senderMAC.IsUnicast(), sender.IsMulticast(), p.broadcast4(sender):
		return drop.ARPBadSender
	case s.local(sender):
		if senderMAC == p.MAC {
			return drop.Looped
		}
		return drop.ARPConflict
	}
	ours := p.owns(arp.TargetIP())
	if sender.IsUnspecified() { // a probe (RFC 5227 §1.1): nothing to learn
		if !ours {
			return drop.ARPNotForUs
		}
		s.answerARP(p, arp)
		return drop.None
	}
	request := arp.Op() == wire.ARPRequest
	seen := neigh.Sighting{
		Port: p.number, Addr: sender, MAC: senderMAC,
		Solicited: !request && !s.in.group && ours,
		Override:  true,
		Create:    request && ours, // who asks for us is about to talk to us
	}
	if !ours && s.Neigh.Lookup(p.number, sender) == nil {
		return drop.ARPNotForUs
	}
	s.sighted(seen, now)
	if request && ours {
		s.answerARP(p, arp)
	}
	return drop.None
}

// sighted tells the neighbour tables of all cores: an answer reaches one core, and
// any may have asked.
func (s *Stack) sighted(seen neigh.Sighting, now mono.Time) {
	s.Neigh.See(seen, now)
	if s.peers != nil {
		s.peers.Sighted(seen)
	}
}

// owns says whether a is an address of this port: ARP answers for no other.
func (p *port) owns(a netip.Addr) bool {
	for _, prefix := range p.addrs {
		if prefix.Addr() == a {
			return true
		}
	}
	return false
}

func (s *Stack) answerARP(p *port, request wire.ARP) {
	s.sendARP(p, request.SenderMAC(), &wire.ARPFields{
		Op:        wire.ARPReply,
		SenderMAC: p.MAC, SenderIP: request.TargetIP(),
		TargetMAC: request.SenderMAC(), TargetIP: request.SenderIP(),
	})
}

func (s *Stack) sendARP(p *port, dst wire.MAC, f *wire.ARPFields) {
	// Not in scratch: a packet may be there whose way this asks for.
	var frame [wire.EthernetLen + wire.ARPLen]byte
	n := wire.PutEthernet(frame[:], dst, p.MAC, wire.EtherTypeARP)
	n += wire.PutARP(frame[n:], f)
	if !p.frames.Put(&ring.Datagram{}, frame[:n]) {
		s.Count.Count(drop.OutboxFull)
	}
}

// Announce tells the link of a port's IPv4 addresses (RFC 5227 §2.3), so that
// neighbours which knew another host by them forget it.
func (s *Stack) Announce(port int) {
	p := &s.ports[port]
	if p.RawIP {
		return
	}
	for _, prefix := range p.addrs {
		if a := prefix.Addr(); a.Is4() {
			s.sendARP(p, wire.Broadcast, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: p.MAC, SenderIP: a, TargetIP: a})
		}
	}
}

// link is the stack as the neighbour table sees it.
type link Stack

// Solicit asks for an address (RFC 826, "Packet Generation").
func (l *link) Solicit(e *neigh.Entry, unicast bool, now mono.Time) {
	s := (*Stack)(l)
	p := &s.ports[e.Port]
	f := wire.ARPFields{Op: wire.ARPRequest, SenderMAC: p.MAC, SenderIP: p.source(e.Addr), TargetIP: e.Addr}
	dst := wire.Broadcast
	if unicast {
		dst, f.TargetMAC = e.MAC, e.MAC
	}
	if !f.SenderIP.IsValid() {
		f.SenderIP = netip.IPv4Unspecified()
	}
	s.sendARP(p, dst, &f)
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

// Dropped makes all paths look the neighbour up again, and tells those who waited in
// vain.
func (l *link) Dropped(e *neigh.Entry, failed bool, now mono.Time) {
	s := (*Stack)(l)
	s.pathGen++
	p := &s.ports[e.Port]
	for i, r := range p.resolved {
		if r == e {
			p.resolved = append(p.resolved[:i], p.resolved[i+1:]...)
			break
		}
	}
	s.unreachableParked(e)
	if failed {
		s.failTCP(e, now)
	} else {
		s.unparkTCP(e) // they ask anew
	}
}
