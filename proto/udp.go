package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
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
	if !in.port.TrustUnfinished || !wire.Unfinished(h.Checksum(), pseudo) {
		switch h.Check(pseudo) {
		case wire.ChecksumGood:
		case wire.ChecksumAbsent:
			if !in.src.Is4() {
				return drop.UDPChecksumMissing
			}
		default:
			return drop.UDPChecksum
		}
	}
	if h.DstPort() == 0 {
		return drop.UDPPortZero
	}
	local := netip.AddrPortFrom(in.dst, h.DstPort())
	remote := netip.AddrPortFrom(in.src, h.SrcPort())
	if in.group {
		return s.deliverGroup(local, remote, h.Payload())
	}
	sock := s.UDP.LookupAt(uint32(in.port.number+1), local, remote)
	if sock == nil {
		s.sendPortUnreachable() // RFC 1122 §4.1.3.1, RFC 4443 §3.1
		return drop.UDPNoSocket
	}
	return sock.Deliver(s.facts(local, remote), h.Payload(), s.Wakes)
}
