package wire

import "net/netip"

// Read first: RFC 1112 §6.4, RFC 2464 §7, RFC 4291 §2.7.1.

// A MAC is the 48-bit address of an Ethernet station or group.
type MAC [6]byte

// Broadcast is the address of every station.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsMulticast says whether m names a group, the broadcast address included.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// IsBroadcast says whether m is [Broadcast].
func (m MAC) IsBroadcast() bool { return m == Broadcast }

// IsZero says whether m is unset. No station has this address.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsUnicast says whether m can be the address of a station.
func (m MAC) IsUnicast() bool { return m[0]&1 == 0 && m != MAC{} }

// String returns m as "02:00:00:00:00:01".
func (m MAC) String() string {
	const hex = "0123456789abcdef"
	var s [17]byte
	for i, b := range m {
		s[3*i], s[3*i+1] = hex[b>>4], hex[b&15]
		if i < 5 {
			s[3*i+2] = ':'
		}
	}
	return string(s[:])
}

// MACOf returns the first six bytes of b, such as a net.HardwareAddr; ok is false
// unless b has six.
func MACOf(b []byte) (m MAC, ok bool) {
	if len(b) != len(m) {
		return MAC{}, false
	}
	return MAC(b), true
}

// MulticastMAC returns the group address that packets to the IP multicast address
// group go to: 01:00:5e and the low 23 bits (RFC 1112 §6.4), or 33:33 and the
// low 32 bits (RFC 2464 §7). An address that is not multicast gives the zero MAC.
func MulticastMAC(group netip.Addr) MAC {
	if !group.IsMulticast() {
		return MAC{}
	}
	if group.Is4() {
		a := group.As4()
		return MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// SolicitedNode returns the solicited-node multicast address of an IPv6 address,
// ff02::1:ff and its low 24 bits (RFC 4291 §2.7.1).
func SolicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// LinkLocal returns the link-local address of a station, fe80:: and its modified
// EUI-64 (RFC 4291 §2.5.6 and appendix A).
func LinkLocal(m MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// Groups that a host has to do with (RFC 1112 §4, RFC 3376 §4, RFC 4291 §2.7.1, RFC 3810 §5).
var (
	AllSystems4      = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	AllRouters4      = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	AllIGMPv3        = netip.AddrFrom4([4]byte{224, 0, 0, 22})
	AllNodes6        = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 0x01})
	AllRouters6      = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 0x02})
	AllMLDv2         = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 0x16})
	LimitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)
