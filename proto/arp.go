package proto

import (
	"net/netip"
	"slices"

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
	case !senderMAC.IsUnicast(), sender.IsMulticast(), sender.IsLoopback(), p.broadcast4(sender):
		return drop.ARPBadSender
	case s.local(sender), slices.Contains(p.tentative, sender),
		sender.IsUnspecified() && slices.Contains(p.tentative, arp.TargetIP()):
		if senderMAC == p.MAC {
			return drop.Looped
		}
		return s.inputARPConflict(arp)
	}
	ours := p.Resolve == nil && p.owns(arp.TargetIP()) // and for no other does ARP answer
	if sender.IsUnspecified() {                        // a probe (RFC 5227 §1.1): nothing to learn
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
		// An announcement (RFC 5227 §3), or who asks us: he wants the answer where he is now.
		Override: sender == arp.TargetIP() || request && ours,
		Create:   request && ours && s.onLink(p, sender), // who asks for us is about to talk to us
	}
	switch known := s.Neigh.Lookup(p.number, sender) != nil; {
	case known:
	case !ours:
		return drop.ARPNotForUs
	case !request && s.peers == nil: // of several cores another may have asked
		return drop.ARPUnsolicited
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

// solicitARP asks for an IPv4 neighbour (RFC 826, "Packet Generation").
func (s *Stack) solicitARP(e *neigh.Entry, unicast bool) {
	p := &s.ports[e.Port]
	f := wire.ARPFields{Op: wire.ARPRequest, SenderMAC: p.MAC, SenderIP: s.sourceOn(p, e.Addr), TargetIP: e.Addr}
	dst := wire.Broadcast
	if unicast {
		dst, f.TargetMAC = e.MAC, e.MAC
	}
	if !f.SenderIP.IsValid() {
		f.SenderIP = netip.IPv4Unspecified()
	}
	s.sendARP(p, dst, &f)
}
