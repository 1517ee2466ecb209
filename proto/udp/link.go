package udp

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: packet(7).

// A Link is what makes a socket a packet socket: which frames it takes. Such a socket is
// in no table: it has no port and no address.
type Link struct {
	// Type is the EtherType that it takes, from the network alone; [AllTypes]: every one, those
	// that leave as well; 0: none.
	Type wire.EtherType
	// Port is the port of the stack that it is bound to, -1: all.
	Port int
	// Cooked: frames without their link header (SOCK_DGRAM).
	Cooked bool
	// IgnoreOutgoing: PACKET_IGNORE_OUTGOING.
	IgnoreOutgoing bool
}

// AllTypes is the EtherType that stands for every one (ETH_P_ALL).
const AllTypes wire.EtherType = 3

// Where a frame was going (linux/if_packet.h), in the TTL of a packet socket's record. The
// record's From is the sender's MAC in the first bytes of an address, with the
// EtherType for a port.
const (
	PacketHost      = iota // to us
	PacketBroadcast        // to everyone
	PacketMulticast        // to a group
	PacketOtherHost        // to another station
	PacketOutgoing         // from us
)

// A Tag is the VLAN tag of a frame that is shown without it (tp_vlan_tpid, tp_vlan_tci of PACKET_AUXDATA);
// the zero value is none.
type Tag struct {
	Type wire.EtherType
	TCI  uint16
}

// Record is a tag as the To of a packet socket's record has it.
func (t Tag) Record() netip.AddrPort {
	if t == (Tag{}) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(t.Type >> 8), byte(t.Type)}), t.TCI)
}

// TagOf is the tag in a record's To.
func TagOf(to netip.AddrPort) (t Tag) {
	if to.Addr().Is4() {
		a := to.Addr().As4()
		t = Tag{wire.EtherType(a[0])<<8 | wire.EtherType(a[1]), to.Port()}
	}
	return t
}

// Wants says whether a packet socket takes a frame of a port. Who wants one type of all ports sees a
// tagged frame on the port of its VLAN.
func (l *Link) Wants(port int, typ wire.EtherType, kind uint8, tagged bool) bool {
	switch {
	case l.Port >= 0 && l.Port != port, tagged && l.Port < 0 && l.Type != AllTypes:
		return false
	case l.Type == AllTypes:
		return kind != PacketOutgoing || !l.IgnoreOutgoing
	}
	return l.Type == typ && typ != 0 && kind != PacketOutgoing
}
