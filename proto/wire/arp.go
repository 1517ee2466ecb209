package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Read first: RFC 826, RFC 5227 §1.1.

// ARPLen is the length of an ARP packet for IPv4 over Ethernet.
const ARPLen = 28

// An ARPOp is what an ARP packet wants.
type ARPOp uint16

const (
	ARPRequest ARPOp = 1
	ARPReply   ARPOp = 2
)

func (o ARPOp) String() string {
	switch o {
	case ARPRequest:
		return "request"
	case ARPReply:
		return "reply"
	}
	return "ARPOp(" + strconv.Itoa(int(o)) + ")"
}

// arpPreamble is hardware Ethernet (1), protocol IPv4, and their address lengths.
const arpPreamble = 0x0001_0800_06_04

// ARP is an ARP packet for IPv4 over Ethernet.
type ARP []byte

// ParseARP says whether b is an ARP packet for IPv4 over Ethernet. Where it is
// not, FaultARP tells a short one from one about other addresses.
func ParseARP(b []byte) (ARP, bool) {
	if len(b) < ARPLen || binary.BigEndian.Uint64(b[0:8])>>16 != arpPreamble {
		return nil, false
	}
	return ARP(b[:ARPLen:ARPLen]), true
}

// FaultARP says why ParseARP refused b: FaultShort, or FaultVersion for other
// kinds of addresses.
func FaultARP(b []byte) Fault {
	switch {
	case len(b) < ARPLen:
		return FaultShort
	case binary.BigEndian.Uint64(b[0:8])>>16 != arpPreamble:
		return FaultVersion
	}
	return FaultNone
}

func (h ARP) Op() ARPOp            { return ARPOp(binary.BigEndian.Uint16(h[6:8])) }
func (h ARP) SenderMAC() MAC       { return MAC(h[8:14]) }
func (h ARP) SenderIP() netip.Addr { return netip.AddrFrom4([4]byte(h[14:18])) }
func (h ARP) TargetMAC() MAC       { return MAC(h[18:24]) }
func (h ARP) TargetIP() netip.Addr { return netip.AddrFrom4([4]byte(h[24:28])) }

// ARPFields are the fields of an ARP packet. A probe has 0.0.0.0 as its SenderIP
// (RFC 5227 §1.1); an announcement has the same address as sender and target.
type ARPFields struct {
	Op        ARPOp
	SenderMAC MAC
	SenderIP  netip.Addr // IPv4
	TargetMAC MAC        // zero in a request
	TargetIP  netip.Addr // IPv4
}

// PutARP writes an ARP packet and returns its length.
func PutARP(b []byte, f *ARPFields) int {
	_ = b[ARPLen-1]
	binary.BigEndian.PutUint64(b[0:8], arpPreamble<<16|uint64(f.Op))
	copy(b[8:14], f.SenderMAC[:])
	put4(b[14:18], f.SenderIP)
	copy(b[18:24], f.TargetMAC[:])
	put4(b[24:28], f.TargetIP)
	return ARPLen
}

// put4 writes an IPv4 address. An address that is none panics: addresses of another family
// are kept apart long before a header is written.
func put4(b []byte, a netip.Addr) {
	v := a.As4()
	copy(b, v[:])
}

// put16 writes an IPv6 address.
func put16(b []byte, a netip.Addr) {
	v := a.As16()
	copy(b, v[:])
}
