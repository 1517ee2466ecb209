package proto

import (
	"net/netip"
	"testing"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// A family is what a test of the whole stack needs to know of an address family, so that
// it can say the same of both.
type family struct {
	name    string
	a, b    netip.Addr // the two hosts
	dead    netip.Addr // nobody, on their link
	prefix  int        // of the link
	any     netip.Addr
	header  int // bytes of an IP header
	icmp    wire.Protocol
	request uint8 // type of an echo request
}

var (
	family4 = &family{
		name: "IPv4", a: ipA, b: ipB, dead: netip.MustParseAddr("10.9.0.77"), prefix: 24, any: netip.IPv4Unspecified(),
		header: wire.IPv4Len, icmp: wire.ProtoICMP, request: uint8(wire.ICMP4Echo),
	}
	family6 = &family{
		name: "IPv6", a: ipA6, b: ipB6, dead: netip.MustParseAddr("fd09::77"), prefix: 64, any: netip.IPv6Unspecified(),
		header: wire.IPv6Len, icmp: wire.ProtoICMPv6, request: uint8(wire.ICMP6Echo),
	}
	families = []*family{family4, family6}
)

// familyOf is the family of an address of one of the hosts.
func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return family4
	}
	return family6
}

// eachFamily runs a test for both.
func eachFamily(t *testing.T, test func(t *testing.T, f *family)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// hosts are a and b.
func (f *family) hosts() (a, b *Stack) { return newHost(macA, f.a), newHost(macB, f.b) }

// at is an address and a port as newSocket wants them.
func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// echoRequest is the message of an echo request; the checksum of ICMPv6 is the stack's business.
func (f *family) echoRequest(ident, seq uint16, payload []byte) []byte {
	b := make([]byte, wire.ICMP4Len+len(payload)) // of the same length in both
	wire.PutICMP4(b, wire.ICMP4Type(f.request), 0, wire.ICMPEcho(ident, seq))
	copy(b[wire.ICMP4Len:], payload)
	wire.ICMP4(b).Seal()
	return b
}
