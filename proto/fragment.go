package proto

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.2; RFC 8200 §4.5; RFC 1122 §3.3.2; the rest is in package ip.

// inputFragment4 takes a fragment of an IPv4 packet.
func (s *Stack) inputFragment4(h wire.IPv4) drop.Reason {
	f := ip.Fragment4(h)
	whole, reason := s.inputFragment(&f)
	if whole == nil {
		return reason
	}
	again := s.handedOver
	s.handedOver = false // the whole has been nowhere yet
	h = wire.IPv4(whole)
	reason = s.transport4(h, h.Protocol(), h.PseudoSum())
	s.handedOver = again
	return reason
}

// inputFragment6 takes a fragment of an IPv6 packet.
func (s *Stack) inputFragment6(h wire.IPv6, e *wire.Extensions) drop.Reason {
	if s.in.fragment { // inside of one that has been put together
		return drop.IP6ExtensionOrder
	}
	f := ip.Fragment6(h, e)
	f.Dst, f.Src = s.in.dst, s.in.src
	if f.Src.IsLinkLocalUnicast() || f.Dst.IsLinkLocalUnicast() || f.Dst.IsMulticast() {
		f.Link = uint16(1 + s.in.port.number)
	}
	whole, reason := s.inputFragment(&f)
	switch reason { // RFC 8200 §4.5, errors
	case drop.FragmentBad:
		s.sendProblem6(wire.ICMP6BadField, 4)
	case drop.FragmentTooLong:
		s.sendProblem6(wire.ICMP6BadField, e.Offset+2)
	}
	if whole == nil {
		return reason
	}
	again := s.handedOver
	s.handedOver = false
	s.in.fragment = true
	reason = s.payload6(whole)
	s.handedOver = again
	return reason
}

// inputFragment takes a fragment, on the core that its datagram belongs to. If it completes that, the
// whole packet becomes the one in Input.
func (s *Stack) inputFragment(f *ip.Fragment) (whole []byte, reason drop.Reason) {
	in := &s.in
	if s.cores > 1 && !s.handedOver {
		if core := int(f.Hash(s.key) >> 32 % uint64(s.cores)); core != s.core {
			if !s.handOver(core) {
				return nil, drop.FragmentHandOver
			}
			return nil, drop.None
		}
	}
	f.Port, f.Group = in.port.number, in.group
	if whole, reason = s.reassembly.Input(f, in.now); whole == nil {
		return nil, reason
	}
	if whole[0]>>4 == 4 { // RFC 3168 §5.3, and what sockets hear of the packet
		in.ttl, in.tos = wire.IPv4(whole).TTL(), wire.IPv4(whole).TOS()
	} else {
		in.ttl, in.tos = wire.IPv6(whole).HopLimit(), wire.IPv6(whole).TrafficClass()
	}
	link := in.frame[:in.link] // of the fragment that came last
	in.ip, in.frame = whole, s.reassembly.Frame(whole, in.link)
	copy(in.frame, link)
	return whole, drop.None
}

// reassemblyTimedOut tells the sender of a packet whose first fragment has come that others have
// not (RFC 1122 §3.3.2, RFC 8200 §4.5).
func (s *Stack) reassemblyTimedOut(first []byte, port int, group bool, now mono.Time) {
	in := &s.in
	in.port, in.ip, in.group, in.now = &s.ports[port], first, group, now
	if first[0]>>4 == 4 {
		h := wire.IPv4(first)
		in.src, in.dst = h.Src(), h.Dst()
		s.sendError4(wire.ICMP4TimeExceeded, wire.ICMP4ReassemblyExceeded, 0)
		return
	}
	h := wire.IPv6(first)
	in.src, in.dst = in.port.scoped(h.Src()), in.port.scoped(h.Dst())
	s.sendError6(wire.ICMP6TimeExceeded, wire.ICMP6ReassemblyExceeded, 0, false)
}

// cutting is a packet that leaves by a port in fragments, with the link header of all of them.
type cutting struct {
	ip.Cursor
	link [wire.EthernetLen + 2*wire.VLANLen]byte // room for two tags
}

// cut begins to send the packet of n bytes in p.cutting's Room by w, in pieces of an MTU.
// What it begins with it ends with, whatever becomes of the path meanwhile.
func (s *Stack) cut(w *path, n, mtu int, now mono.Time) {
	c := &w.port.cutting
	var id uint32
	if h := wire.IPv4(c.Room()[:n]); h[0]>>4 == 4 {
		id = uint32(s.idents.Next4(h.Src(), h.Dst(), h.Protocol(), now))
	} else {
		id = s.idents.Next6()
	}
	if !c.Begin(n, mtu, id) {
		s.Count.Count(drop.TooBig)
		return
	}
	w.putLink(c.link[:], etherTypeOf(w.dst))
}

// outputFragment writes the next fragment of the packet that leaves by p.
func (s *Stack) outputFragment(p *port, buf []byte) int {
	n := copy(buf, p.cutting.link[:p.linkLen()])
	return n + p.cutting.Put(buf[n:])
}

// Cutting says whether a packet is being sent in fragments of which some are still to be pulled.
func (s *Stack) Cutting() bool {
	for i := range s.ports {
		if s.ports[i].cutting.Active() {
			return true
		}
	}
	return false
}
