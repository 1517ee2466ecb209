package wire

import "encoding/binary"

// Read first: IEEE 802.1Q §9.

// VLANLen is the length of one tag: tag control information, and the EtherType of
// what follows. The tag's own EtherType stands in the header before it.
const VLANLen = 4

// VLANMax is how many tags [ParseLink] looks through: a service and a customer tag
// (IEEE 802.1ad). More are not in use, and the XDP program parses two as well.
const VLANMax = 2

// VLAN is a tag without its tag protocol identifier, and what follows it.
type VLAN []byte

// ParseVLAN says whether b holds a tag.
func ParseVLAN(b []byte) (VLAN, bool) {
	if len(b) < VLANLen {
		return nil, false
	}
	return VLAN(b), true
}

func (h VLAN) TCI() TCI        { return TCI(binary.BigEndian.Uint16(h[0:2])) }
func (h VLAN) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[2:4])) }
func (h VLAN) Payload() []byte { return h[VLANLen:] }

func (h VLAN) SetTCI(t TCI)        { binary.BigEndian.PutUint16(h[0:2], uint16(t)) }
func (h VLAN) SetType(t EtherType) { binary.BigEndian.PutUint16(h[2:4], uint16(t)) }

// TCI is the tag control information: 3 bits priority, 1 bit drop eligible, 12 bits ID.
type TCI uint16

// TCIOf puts a TCI together. Of id the low 12 bits count, of priority the low 3.
func TCIOf(id uint16, priority uint8, dropEligible bool) TCI {
	t := TCI(id&0xfff) | TCI(priority&7)<<13
	if dropEligible {
		t |= 1 << 12
	}
	return t
}

func (t TCI) ID() uint16         { return uint16(t & 0xfff) } // 0: a priority tag, no VLAN
func (t TCI) Priority() uint8    { return uint8(t >> 13) }
func (t TCI) DropEligible() bool { return t&(1<<12) != 0 }

// PutVLAN writes what follows the tag's own EtherType and returns its length. The
// header before it gets [EtherTypeVLAN] or [EtherTypeQinQ] as its type.
func PutVLAN(b []byte, t TCI, inner EtherType) int {
	_ = b[VLANLen-1]
	binary.BigEndian.PutUint16(b[0:2], uint16(t))
	binary.BigEndian.PutUint16(b[2:4], uint16(inner))
	return VLANLen
}

// Link is what the link layer says of a frame: the Ethernet header and its tags.
type Link struct {
	Type      EtherType    // of the packet after the tags; a tag's type if there are more than VLANMax
	HeaderLen int          // bytes before the packet
	Tags      int          // tags found, 0 to VLANMax
	TCI       [VLANMax]TCI // outermost first
}

// ParseLink looks through an Ethernet header and up to [VLANMax] tags. It is
// false if b ends inside them.
func ParseLink(b []byte) (l Link, ok bool) {
	if len(b) < EthernetLen {
		return Link{}, false
	}
	l.Type = Ethernet(b).Type()
	l.HeaderLen = EthernetLen
	for l.Type == EtherTypeVLAN || l.Type == EtherTypeQinQ {
		if l.Tags == VLANMax {
			return l, true
		}
		tag, ok := ParseVLAN(b[l.HeaderLen:])
		if !ok {
			return Link{}, false
		}
		l.TCI[l.Tags] = tag.TCI()
		l.Tags++
		l.Type = tag.Type()
		l.HeaderLen += VLANLen
	}
	return l, true
}
