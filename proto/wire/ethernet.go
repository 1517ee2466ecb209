package wire

import "encoding/binary"

// Read first: RFC 894, IEEE 802.3 §3.

// EthernetLen is the length of an Ethernet header, without tags and without the
// frame check sequence, which devices take off.
const EthernetLen = 14

// Ethernet is a frame that starts with an Ethernet header.
type Ethernet []byte

// ParseEthernet says whether b holds an Ethernet header.
func ParseEthernet(b []byte) (Ethernet, bool) {
	if len(b) < EthernetLen {
		return nil, false
	}
	return Ethernet(b), true
}

func (h Ethernet) Dst() MAC        { return MAC(h[0:6]) }
func (h Ethernet) Src() MAC        { return MAC(h[6:12]) }
func (h Ethernet) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[12:14])) }

// Payload is what follows the header; a VLAN tag's remainder, if Type says so. It
// may be longer than its protocol says, for short frames are padded to 60 bytes.
func (h Ethernet) Payload() []byte { return h[EthernetLen:] }

func (h Ethernet) SetDst(m MAC)        { copy(h[0:6], m[:]) }
func (h Ethernet) SetSrc(m MAC)        { copy(h[6:12], m[:]) }
func (h Ethernet) SetType(t EtherType) { binary.BigEndian.PutUint16(h[12:14], uint16(t)) }

// PutEthernet writes an Ethernet header and returns its length.
func PutEthernet(b []byte, dst, src MAC, t EtherType) int {
	_ = b[EthernetLen-1]
	copy(b[0:6], dst[:])
	copy(b[6:12], src[:])
	binary.BigEndian.PutUint16(b[12:14], uint16(t))
	return EthernetLen
}
