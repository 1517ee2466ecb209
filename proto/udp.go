package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// inputUDP judges a datagram and queues it at its socket, or at all sockets that want
// it if it was sent to a group (RFC 1122 §4.1.3).
func (s *Stack) inputUDP(b []byte, pseudo wire.Sum) drop.Reason {
	h, ok := wire.ParseUDP(b)
	if !ok {
		if wire.FaultUDP(b) == wire.FaultShort {
			return drop.UDPShort
		}
		return drop.UDPLength
	}
	in := &s.in
	if len(h) != len(b) { // the sum counts the datagram's length, not the packet's
		pseudo = wire.PseudoSum(in.src, in.dst, wire.ProtoUDP, len(h))
	}
	ports := h.Ports()
	switch check := h.Checksum(); {
	case check == 0:
		in.noSum = !in.src.Is4()
	case in.port.TrustUnfinished && wire.Unfinished(check, pseudo):
	case !wire.SumOf(h).Add(pseudo).OK():
		return drop.UDPChecksum
	}
	r := &s.record
	r.To, r.From = netip.AddrPortFrom(in.dst, uint16(ports)), netip.AddrPortFrom(in.src, uint16(ports>>16))
	if r.To.Port() == 0 {
		if !in.group && !in.noSum {
			s.sendPortUnreachable() // nobody can be there
		}
		return drop.UDPPortZero
	}
	if in.group {
		return s.deliverGroup(r.To, r.From, h.Payload())
	}
	sock := s.UDP.LookupAt(uint32(s.via()+1), &r.To, &r.From)
	if in.noSum && (sock == nil || !sock.TakesNoSum) {
		return drop.UDPChecksumMissing // RFC 8200 §8.1
	}
	if sock == nil {
		s.sendPortUnreachable() // RFC 1122 §4.1.3.1, RFC 4443 §3.1
		return drop.UDPNoSocket
	}
	if sock.GRO != nil && h.Checksum() != 0 && !in.fragment {
		return s.gather(sock, h.Payload())
	}
	return sock.Deliver(s.arrival(), h.Payload(), s.Wakes)
}

// gather queues a datagram at a socket that takes several as one (UDP_GRO).
func (s *Stack) gather(sock *udp.Socket, payload []byte) drop.Reason {
	if !sock.Gathering() {
		s.gathering = append(s.gathering, sock)
	}
	return sock.Gather(s.arrival(), payload, headerLen(s.in.dst)+wire.UDPLen, s.Wakes)
}

// Gathered has programs see what the datagrams of a batch were put together to. It is called behind the last Input of a batch, with
// the lock held that was held before the first.
func (s *Stack) Gathered() {
	for i, sock := range s.gathering {
		sock.Release()
		s.gathering[i] = nil
	}
	s.gathering = s.gathering[:0]
}
