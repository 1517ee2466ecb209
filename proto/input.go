package proto

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 894; RFC 1122 §2.3, §3.3.6 on link-layer broadcasts.

// packet is what the layers below have found out about the packet in Input.
type packet struct {
	port     *port
	frame    []byte // as it came, for handing it over to another core
	src, dst netip.Addr
	ip       []byte // from the IP header on
	ttl, tos uint8  // or hop limit and traffic class
	group    bool   // sent to more than us, by address or by link
	alert    bool   // an IPv6 packet with a router alert
	link     int    // bytes of the link header of frame
	noSum    bool   // a datagram over IPv6 without a checksum
	fragment bool   // it was put together, or came with an IPv6 fragment header all the same
	lost     bool   // another core owns it, and had no room for it
	gone     bool   // another core has it, which counts it
	now      mono.Time
}

// Input takes a frame that arrived at a port. It is lent until Input returns.
func (s *Stack) Input(port int, frame []byte, now mono.Time) {
	if r := s.input(&s.ports[port], frame, now); r != drop.None || !s.in.gone {
		s.Count.Count(r)
	}
}

// InputHandedOver takes a frame that another core has received and whose connection
// lives here.
func (s *Stack) InputHandedOver(port int, frame []byte, now mono.Time) {
	s.handedOver = true
	s.Input(port, frame, now)
	s.handedOver = false
}

// handOver gives the packet in Input to another core, if that has room.
func (s *Stack) handOver(core int) bool {
	ok := s.peers.HandOver(core, s.in.port.number, s.in.frame)
	s.in.gone = s.in.gone || ok
	return ok
}

func (s *Stack) input(p *port, frame []byte, now mono.Time) drop.Reason {
	// Field by field: what input4 sets needs no clearing.
	in := &s.in
	in.port, in.frame, in.now = p, frame, now
	in.group, in.alert, in.lost, in.gone, in.fragment, in.noSum = false, false, false, false, false, false
	in.link = p.linkLen()
	if len(s.taps) > 0 {
		s.tapInput(p, frame, now)
	}
	if p.RawIP {
		return s.inputIP(frame)
	}
	eth, ok := wire.ParseEthernet(frame)
	if !ok {
		return drop.EthernetShort
	}
	if eth.Dst() != p.MAC {
		if !eth.Dst().IsMulticast() {
			return drop.EthernetNotForUs
		}
		in.group = true
	}
	if eth.Src().IsMulticast() {
		return drop.EthernetSource
	}
	etherType, payload := eth.Type(), eth.Payload()
	if etherType == wire.EtherTypeVLAN || etherType == wire.EtherTypeQinQ {
		l, ok := wire.ParseLink(frame)
		if !ok {
			return drop.VLANShort
		}
		if id := l.TCI[0].ID(); id != 0 && etherType == wire.EtherTypeVLAN {
			return s.inputVLAN(p, id, l.Tags, frame, now)
		}
		for _, tci := range l.TCI[:l.Tags] {
			if tci.ID() != 0 { // 0 is a priority tag: the frame is of no VLAN (IEEE 802.1Q §9.6)
				return drop.VLANNotForUs
			}
		}
		etherType, payload = l.Type, frame[l.HeaderLen:]
		in.link = l.HeaderLen
	}
	switch etherType {
	case wire.EtherTypeIPv4:
		return s.input4(payload)
	case wire.EtherTypeIPv6:
		return s.input6(payload)
	case wire.EtherTypeARP:
		return s.inputARP(payload)
	}
	return drop.EthernetUnknownType
}

// via is the port that the packet in Input has come by to sockets' eyes: of one from ourselves it is not
// the loop, but the port that has the address it is to (Linux: orig_oif in ip_route_output_key_hash_rcu,
// IP6CB(skb)->iif in ip6_rcv_core).
func (s *Stack) via() int {
	if s.in.port.Loop {
		return s.portOf(s.in.dst)
	}
	return s.in.port.number
}

// portOf returns the number of the port that has an address of ours, the loop's where none has.
func (s *Stack) portOf(a netip.Addr) int {
	for i := range s.ports {
		if s.ports[i].owns(a) {
			return i
		}
	}
	return s.loop.number
}

// inputIP is for links without a header, where the version says what it is.
func (s *Stack) inputIP(b []byte) drop.Reason {
	if len(b) == 0 {
		return drop.FrameTruncated
	}
	switch b[0] >> 4 {
	case 4:
		return s.input4(b)
	case 6:
		return s.input6(b)
	}
	return drop.EthernetUnknownType
}
