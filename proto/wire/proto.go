package wire

import "strconv"

// An EtherType says what an Ethernet frame or a VLAN tag carries (IEEE 802
// numbers). Below 0x600 it is the length of an 802.3 frame instead.
type EtherType uint16

const (
	EtherTypeIPv4 EtherType = 0x0800 // RFC 894
	EtherTypeARP  EtherType = 0x0806 // RFC 826
	EtherTypeVLAN EtherType = 0x8100 // IEEE 802.1Q customer tag
	EtherTypeIPv6 EtherType = 0x86dd // RFC 2464
	EtherTypeQinQ EtherType = 0x88a8 // IEEE 802.1ad service tag
)

func (t EtherType) String() string {
	switch t {
	case EtherTypeIPv4:
		return "IPv4"
	case EtherTypeARP:
		return "ARP"
	case EtherTypeVLAN:
		return "VLAN"
	case EtherTypeIPv6:
		return "IPv6"
	case EtherTypeQinQ:
		return "QinQ"
	}
	return "EtherType(0x" + strconv.FormatUint(uint64(t), 16) + ")"
}

// A Protocol is the protocol field of IPv4 and the next header field of IPv6,
// which share their numbers (IANA "Protocol Numbers").
type Protocol uint8

const (
	ProtoHopByHop Protocol = 0 // IPv6 alone, RFC 8200 §4.3
	ProtoICMP     Protocol = 1
	ProtoIGMP     Protocol = 2
	ProtoTCP      Protocol = 6
	ProtoUDP      Protocol = 17
	ProtoRouting  Protocol = 43 // RFC 8200 §4.4
	ProtoFragment Protocol = 44 // RFC 8200 §4.5
	ProtoESP      Protocol = 50
	ProtoAH       Protocol = 51
	ProtoICMPv6   Protocol = 58
	ProtoNoNext   Protocol = 59 // RFC 8200 §4.7
	ProtoDestOpts Protocol = 60 // RFC 8200 §4.6
	ProtoMobility Protocol = 135
	ProtoHIP      Protocol = 139
	ProtoShim6    Protocol = 140
)

func (p Protocol) String() string {
	switch p {
	case ProtoHopByHop:
		return "hop-by-hop"
	case ProtoICMP:
		return "ICMP"
	case ProtoIGMP:
		return "IGMP"
	case ProtoTCP:
		return "TCP"
	case ProtoUDP:
		return "UDP"
	case ProtoRouting:
		return "routing"
	case ProtoFragment:
		return "fragment"
	case ProtoESP:
		return "ESP"
	case ProtoAH:
		return "AH"
	case ProtoICMPv6:
		return "ICMPv6"
	case ProtoNoNext:
		return "no-next-header"
	case ProtoDestOpts:
		return "destination-options"
	case ProtoMobility:
		return "mobility"
	case ProtoHIP:
		return "HIP"
	case ProtoShim6:
		return "shim6"
	}
	return "Protocol(" + strconv.Itoa(int(p)) + ")"
}

// A Fault says why a Parse function refused its bytes. Parse itself returns a
// bool alone, so that the way of good packets stays short; who wants to count
// the bad ones by kind asks the Fault function of the same header afterwards.
type Fault uint8

const (
	FaultNone      Fault = iota // nothing is wrong: Parse would succeed
	FaultShort                  // fewer bytes than the fixed header
	FaultVersion                // the version field is another one
	FaultHeaderLen              // the header length is below the fixed header or beyond the packet
	FaultLength                 // the length of the whole is below the header or beyond the bytes
)

func (f Fault) String() string {
	switch f {
	case FaultNone:
		return "none"
	case FaultShort:
		return "short"
	case FaultVersion:
		return "version"
	case FaultHeaderLen:
		return "header length"
	case FaultLength:
		return "length"
	}
	return "Fault(" + strconv.Itoa(int(f)) + ")"
}
