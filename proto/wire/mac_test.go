package wire

import (
	"net"
	"net/netip"
	"testing"
)

func TestMAC(t *testing.T) {
	m := MAC{0x02, 0xab, 0, 0xf, 0xf0, 0xff}
	if got := m.String(); got != net.HardwareAddr(m[:]).String() {
		t.Errorf("%q, net says %q", got, net.HardwareAddr(m[:]))
	}
	if got, ok := MACOf(net.HardwareAddr(m[:])); !ok || got != m {
		t.Errorf("MACOf: %v %v", got, ok)
	}
	if _, ok := MACOf(m[:5]); ok {
		t.Error("five bytes are a MAC")
	}
	for _, c := range []struct {
		m                           MAC
		multicast, unicast, isBcast bool
	}{{m, false, true, false}, {MAC{}, false, false, false}, {Broadcast, true, false, true}, {MAC{0x33, 0x33}, true, false, false}} {
		if c.m.IsMulticast() != c.multicast || c.m.IsUnicast() != c.unicast || c.m.IsBroadcast() != c.isBcast {
			t.Errorf("%v: multicast %v unicast %v broadcast %v", c.m, c.m.IsMulticast(), c.m.IsUnicast(), c.m.IsBroadcast())
		}
	}
}

func TestGroupMapping(t *testing.T) {
	for addr, want := range map[string]MAC{
		"224.0.0.1":                 {0x01, 0x00, 0x5e, 0, 0, 1},
		"239.255.1.2":               {0x01, 0x00, 0x5e, 0x7f, 1, 2}, // 23 bits alone
		"ff02::1":                   {0x33, 0x33, 0, 0, 0, 1},
		"ff15::dead:beef:1234:5678": {0x33, 0x33, 0x12, 0x34, 0x56, 0x78},
		"10.0.0.1":                  {},
		"2001:db8::1":               {},
	} {
		if got := MulticastMAC(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s maps to %v, want %v", addr, got, want)
		}
	}
	// RFC 4291 §2.7.1 has this example.
	if got := SolicitedNode(netip.MustParseAddr("4037::01:800:200e:8c6c")); got != netip.MustParseAddr("ff02::1:ff0e:8c6c") {
		t.Errorf("solicited-node address %v", got)
	}
}

func TestLinkStopsAtTwoTags(t *testing.T) {
	var b [EthernetLen + 3*VLANLen]byte
	n := PutEthernet(b[:], macB, macA, EtherTypeQinQ)
	for i := range 3 {
		n += PutVLAN(b[n:], TCIOf(uint16(100+i), 0, false), EtherTypeVLAN)
	}
	l, ok := ParseLink(b[:])
	if !ok || l.Tags != VLANMax || l.Type != EtherTypeVLAN || l.HeaderLen != EthernetLen+2*VLANLen || l.TCI[0].ID() != 100 || l.TCI[1].ID() != 101 {
		t.Errorf("%+v %v", l, ok)
	}
	for n := range EthernetLen + 2*VLANLen {
		if _, ok := ParseLink(b[:n]); ok {
			t.Errorf("a frame of %d bytes with two tags is taken", n)
		}
	}
}
