package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Read first: RFC 4861 §4.

// Lengths of the messages without options, ICMPv6 header included.
const (
	RouterSolicitationLen    = 8
	RouterAdvertisementLen   = 16
	NeighborSolicitationLen  = 24
	NeighborAdvertisementLen = 24
	RedirectLen              = 40
)

// NeighborSolicitation asks who has an address (RFC 4861 §4.3).
type NeighborSolicitation []byte

// ParseNeighborSolicitation says whether the message is as long as it must be.
func ParseNeighborSolicitation(m ICMP6) (NeighborSolicitation, bool) {
	if len(m) < NeighborSolicitationLen {
		return nil, false
	}
	return NeighborSolicitation(m), true
}

func (h NeighborSolicitation) Target() netip.Addr { return netip.AddrFrom16([16]byte(h[8:24])) }
func (h NeighborSolicitation) Options() []byte    { return h[NeighborSolicitationLen:] }

// NeighborFlags are those of a neighbor advertisement.
type NeighborFlags uint8

const (
	NeighborRouter    NeighborFlags = 0x80 // R: the sender is a router
	NeighborSolicited NeighborFlags = 0x40 // S: this answers a solicitation
	NeighborOverride  NeighborFlags = 0x20 // O: the address given replaces a known one
)

// NeighborAdvertisement tells who has an address (RFC 4861 §4.4).
type NeighborAdvertisement []byte

// ParseNeighborAdvertisement says whether the message is as long as it must be.
func ParseNeighborAdvertisement(m ICMP6) (NeighborAdvertisement, bool) {
	if len(m) < NeighborAdvertisementLen {
		return nil, false
	}
	return NeighborAdvertisement(m), true
}

func (h NeighborAdvertisement) Flags() NeighborFlags {
	return NeighborFlags(h[4]) & (NeighborRouter | NeighborSolicited | NeighborOverride)
}
func (h NeighborAdvertisement) Router() bool       { return h[4]&uint8(NeighborRouter) != 0 }
func (h NeighborAdvertisement) Solicited() bool    { return h[4]&uint8(NeighborSolicited) != 0 }
func (h NeighborAdvertisement) Override() bool     { return h[4]&uint8(NeighborOverride) != 0 }
func (h NeighborAdvertisement) Target() netip.Addr { return netip.AddrFrom16([16]byte(h[8:24])) }
func (h NeighborAdvertisement) Options() []byte    { return h[NeighborAdvertisementLen:] }

// RouterSolicitation asks for routers (RFC 4861 §4.1).
type RouterSolicitation []byte

// ParseRouterSolicitation says whether the message is as long as it must be.
func ParseRouterSolicitation(m ICMP6) (RouterSolicitation, bool) {
	if len(m) < RouterSolicitationLen {
		return nil, false
	}
	return RouterSolicitation(m), true
}

func (h RouterSolicitation) Options() []byte { return h[RouterSolicitationLen:] }

// RouterAdvertisement tells of a router and its link (RFC 4861 §4.2).
type RouterAdvertisement []byte

// ParseRouterAdvertisement says whether the message is as long as it must be.
func ParseRouterAdvertisement(m ICMP6) (RouterAdvertisement, bool) {
	if len(m) < RouterAdvertisementLen {
		return nil, false
	}
	return RouterAdvertisement(m), true
}

func (h RouterAdvertisement) CurHopLimit() uint8 { return h[4] } // 0: not specified
func (h RouterAdvertisement) Managed() bool      { return h[5]&0x80 != 0 }
func (h RouterAdvertisement) OtherConfig() bool  { return h[5]&0x40 != 0 }

// Preference is the router's preference, 1 high, 0 medium, -1 low (RFC 4191 §2.2). The
// reserved value counts as medium.
func (h RouterAdvertisement) Preference() int {
	switch h[5] >> 3 & 3 {
	case 1:
		return 1
	case 3:
		return -1
	}
	return 0
}

// Lifetime is how long the router is a default router; 0: it is none.
func (h RouterAdvertisement) Lifetime() time.Duration {
	return time.Duration(binary.BigEndian.Uint16(h[6:8])) * time.Second
}

// ReachableTime and RetransTimer are 0 where not specified.
func (h RouterAdvertisement) ReachableTime() time.Duration {
	return time.Duration(binary.BigEndian.Uint32(h[8:12])) * time.Millisecond
}
func (h RouterAdvertisement) RetransTimer() time.Duration {
	return time.Duration(binary.BigEndian.Uint32(h[12:16])) * time.Millisecond
}
func (h RouterAdvertisement) Options() []byte { return h[RouterAdvertisementLen:] }

// Redirect names a better first hop (RFC 4861 §4.5).
type Redirect []byte

// ParseRedirect says whether the message is as long as it must be.
func ParseRedirect(m ICMP6) (Redirect, bool) {
	if len(m) < RedirectLen {
		return nil, false
	}
	return Redirect(m), true
}

func (h Redirect) Target() netip.Addr { return netip.AddrFrom16([16]byte(h[8:24])) }
func (h Redirect) Dst() netip.Addr    { return netip.AddrFrom16([16]byte(h[24:40])) }
func (h Redirect) Options() []byte    { return h[RedirectLen:] }

// PutNeighborSolicitation writes a solicitation and returns its length. With the zero MAC it has
// no source option, as in duplicate address detection. [ICMP6.Seal] makes the checksum.
func PutNeighborSolicitation(b []byte, target netip.Addr, source MAC) int {
	PutICMP6(b, ICMP6NeighborSolicitation, 0, 0)
	put16(b[8:24], target)
	if source.IsZero() {
		return NeighborSolicitationLen
	}
	return NeighborSolicitationLen + PutSourceOption(b[NeighborSolicitationLen:], source)
}

// PutNeighborAdvertisement writes an advertisement that target is at mac, and returns its
// length. [ICMP6.Seal] makes the checksum.
func PutNeighborAdvertisement(b []byte, target netip.Addr, mac MAC, flags NeighborFlags) int {
	PutICMP6(b, ICMP6NeighborAdvertisement, 0, uint32(flags)<<24)
	put16(b[8:24], target)
	return NeighborAdvertisementLen + PutTargetOption(b[NeighborAdvertisementLen:], mac)
}

// PutRouterSolicitation writes a solicitation and returns its length. With the zero MAC it
// has no source option, as when the source address is unspecified. [ICMP6.Seal] makes the checksum.
func PutRouterSolicitation(b []byte, source MAC) int {
	PutICMP6(b, ICMP6RouterSolicitation, 0, 0)
	if source.IsZero() {
		return RouterSolicitationLen
	}
	return RouterSolicitationLen + PutSourceOption(b[RouterSolicitationLen:], source)
}

// RouterAdvertisementFields are the fields of a router advertisement.
type RouterAdvertisementFields struct {
	CurHopLimit          uint8
	Managed, OtherConfig bool
	Lifetime             time.Duration // whole seconds
	ReachableTime        time.Duration // whole milliseconds
	RetransTimer         time.Duration // whole milliseconds
}

// PutRouterAdvertisement writes an advertisement without options and returns its length. A host sends
// none; a simulated router does. [ICMP6.Seal] makes the checksum.
func PutRouterAdvertisement(b []byte, f *RouterAdvertisementFields) int {
	rest := uint32(f.CurHopLimit)<<24 | uint32(uint16(f.Lifetime/time.Second))
	if f.Managed {
		rest |= 0x80 << 16
	}
	if f.OtherConfig {
		rest |= 0x40 << 16
	}
	PutICMP6(b, ICMP6RouterAdvertisement, 0, rest)
	binary.BigEndian.PutUint32(b[8:12], uint32(f.ReachableTime/time.Millisecond))
	binary.BigEndian.PutUint32(b[12:16], uint32(f.RetransTimer/time.Millisecond))
	return RouterAdvertisementLen
}

// PutRedirect writes a redirect without options and returns its length. A host sends
// none; a simulated router does. [ICMP6.Seal] makes the checksum.
func PutRedirect(b []byte, target, dst netip.Addr) int {
	PutICMP6(b, ICMP6Redirect, 0, 0)
	put16(b[8:24], target)
	put16(b[24:40], dst)
	return RedirectLen
}
