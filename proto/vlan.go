package proto

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: IEEE 802.1Q §6.9, §9.6.

// A VLAN is a port of its own whose frames go by another port, which puts the tag in and takes it out.
// Everything else sees frames without one. A frame of VLAN 0 has a tag for its priority alone and
// belongs to the port itself. Two tags in one frame (802.1ad) are nobody's.

// inputVLAN takes a frame of a VLAN, which is made one without a tag in place.
func (s *Stack) inputVLAN(p *port, id uint16, tags int, frame []byte, now mono.Time) drop.Reason {
	for _, q := range p.vlans {
		if q.VLAN != id {
			continue
		}
		if tags > 1 {
			return drop.VLANTooDeep
		}
		copy(frame[wire.VLANLen:], frame[:2*len(wire.MAC{})])
		return s.input(q, frame[wire.VLANLen:], now)
	}
	return drop.VLANNotForUs
}

// outputVLANs writes the next frame of a port or of the VLANs that it carries, which take turns.
func (s *Stack) outputVLANs(p *port, buf []byte, now mono.Time) int {
	if q := s.direct.port; s.direct.offered && q.over == p {
		return s.outputTagged(q, buf, now)
	}
	for range len(p.vlans) + 1 {
		n := 0
		if p.asked < len(p.vlans) {
			n = s.outputTagged(p.vlans[p.asked], buf, now)
		} else {
			n = s.outputPort(p, buf, now)
		}
		if p.asked++; p.asked > len(p.vlans) {
			p.asked = 0
		}
		if n > 0 {
			return n
		}
	}
	return 0
}

// outputTagged writes the next frame of a VLAN, with its tag.
func (s *Stack) outputTagged(p *port, buf []byte, now mono.Time) int {
	untagged := buf[wire.VLANLen:]
	n := s.outputPort(p, untagged, now)
	if n == 0 {
		return 0
	}
	tci := wire.TCIOf(p.VLAN, 0, false)
	if len(s.taps) > 0 {
		s.tap(p.over, untagged[:n], udp.PacketOutgoing, s.tapped, udp.Tag{Type: wire.EtherTypeVLAN, TCI: uint16(tci)}, now)
	}
	inner := wire.Ethernet(untagged).Type()
	copy(buf, untagged[:2*len(wire.MAC{})])
	wire.Ethernet(buf).SetType(wire.EtherTypeVLAN)
	wire.PutVLAN(buf[wire.EthernetLen:], tci, inner)
	return n + wire.VLANLen
}
