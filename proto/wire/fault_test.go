package wire

import (
	"bytes"
	"testing"
)

// Each way in which a header can be refused has its name, and Parse and Fault agree.
func TestFaults(t *testing.T) {
	v4 := func(change func(b []byte)) []byte {
		b := make([]byte, IPv4Len+8)
		PutIPv4(b, &IPv4Fields{Protocol: ProtoUDP, Src: ip4A, Dst: ip4B, PayloadLen: 8})
		change(b)
		return b
	}
	v6 := func(change func(b []byte)) []byte {
		b := make([]byte, IPv6Len+8)
		PutIPv6(b, &IPv6Fields{NextHeader: ProtoUDP, Src: ip6A, Dst: ip6B, PayloadLen: 8})
		change(b)
		return b
	}
	udp := func(length int) []byte {
		b := make([]byte, UDPLen+4)
		PutUDP(b, 1, 2, length-UDPLen)
		return b
	}
	tcp := func(options int) []byte {
		b := make([]byte, TCPLen+8)
		PutTCP(b, &TCPFields{OptionsLen: options})
		return b
	}
	arp := make([]byte, ARPLen)
	PutARP(arp, &ARPFields{ARPReply, macA, ip4A, macB, ip4B})
	none := func([]byte) {}

	parseIPv4 := func(b []byte) ([]byte, bool) { h, ok := ParseIPv4(b); return h, ok }
	quotedIPv4 := func(b []byte) ([]byte, bool) { h, ok := ParseQuotedIPv4(b); return h, ok }
	parseIPv6 := func(b []byte) ([]byte, bool) { h, ok := ParseIPv6(b); return h, ok }
	quotedIPv6 := func(b []byte) ([]byte, bool) { h, ok := ParseQuotedIPv6(b); return h, ok }
	parseUDP := func(b []byte) ([]byte, bool) { h, ok := ParseUDP(b); return h, ok }
	parseTCP := func(b []byte) ([]byte, bool) { h, ok := ParseTCP(b); return h, ok }
	parseARP := func(b []byte) ([]byte, bool) { h, ok := ParseARP(b); return h, ok }

	for _, c := range []struct {
		name  string
		parse func([]byte) ([]byte, bool)
		fault func([]byte) Fault
		b     []byte
		want  Fault
		size  int // of the view
	}{
		{"ipv4", parseIPv4, FaultIPv4, v4(none), FaultNone, 28},
		{"ipv4 padded by the link", parseIPv4, FaultIPv4, append(v4(none), 0, 0, 0), FaultNone, 28},
		{"ipv4 of 19 bytes", parseIPv4, FaultIPv4, v4(none)[:19], FaultShort, 0},
		{"ipv4 of version 5", parseIPv4, FaultIPv4, v4(func(b []byte) { b[0] = 0x55 }), FaultVersion, 0},
		{"ipv4 of IHL 4", parseIPv4, FaultIPv4, v4(func(b []byte) { b[0] = 0x44 }), FaultHeaderLen, 0},
		{"ipv4 of IHL 8 in 28 bytes", parseIPv4, FaultIPv4, v4(func(b []byte) { b[0] = 0x48 }), FaultHeaderLen, 0},
		{"ipv4 of IHL 6 and 20 bytes in all", parseIPv4, FaultIPv4, v4(func(b []byte) { b[0], b[3] = 0x46, 20 }), FaultLength, 0},
		{"ipv4 without its last byte", parseIPv4, FaultIPv4, v4(none)[:27], FaultLength, 0},
		{"ipv4 quoted without its last byte", quotedIPv4, nil, v4(none)[:27], FaultNone, 27},
		{"ipv4 quoted without its options", quotedIPv4, nil, v4(func(b []byte) { b[0] = 0x47 })[:27], FaultHeaderLen, 0},
		{"ipv6", parseIPv6, FaultIPv6, v6(none), FaultNone, 48},
		{"ipv6 padded by the link", parseIPv6, FaultIPv6, append(v6(none), 0, 0, 0), FaultNone, 48},
		{"ipv6 of 39 bytes", parseIPv6, FaultIPv6, v6(none)[:39], FaultShort, 0},
		{"ipv6 of version 4", parseIPv6, FaultIPv6, v6(func(b []byte) { b[0] = 0x46 }), FaultVersion, 0},
		{"ipv6 without its last byte", parseIPv6, FaultIPv6, v6(none)[:47], FaultLength, 0},
		{"ipv6 quoted without its last byte", quotedIPv6, nil, v6(none)[:47], FaultNone, 47},
		{"udp", parseUDP, FaultUDP, udp(12), FaultNone, 12},
		{"udp with bytes behind it", parseUDP, FaultUDP, udp(10), FaultNone, 10},
		{"udp of 7 bytes", parseUDP, FaultUDP, udp(12)[:7], FaultShort, 0},
		{"udp of length 7", parseUDP, FaultUDP, udp(7), FaultLength, 0},
		{"udp of length 0", parseUDP, FaultUDP, udp(0), FaultLength, 0},
		{"udp without its last byte", parseUDP, FaultUDP, udp(13), FaultLength, 0},
		{"tcp", parseTCP, FaultTCP, tcp(8), FaultNone, 28},
		{"tcp of 19 bytes", parseTCP, FaultTCP, tcp(0)[:19], FaultShort, 0},
		{"tcp of offset 4", parseTCP, FaultTCP, tcp(-4), FaultHeaderLen, 0},
		{"tcp of offset 8 in 28 bytes", parseTCP, FaultTCP, tcp(12), FaultHeaderLen, 0},
		{"arp", parseARP, FaultARP, arp, FaultNone, 28},
		{"arp padded by the link", parseARP, FaultARP, append(bytes.Clone(arp), 0, 0), FaultNone, 28},
		{"arp of 27 bytes", parseARP, FaultARP, arp[:27], FaultShort, 0},
		{"arp of other hardware", parseARP, FaultARP, append([]byte{0, 6}, arp[2:]...), FaultVersion, 0},
	} {
		b := append(make([]byte, 0, len(c.b)+64), c.b...) // a frame has room behind the packet
		view, ok := c.parse(b)
		if ok != (c.want == FaultNone) || len(view) != c.size || cap(view) > 0 && len(view) < len(b) && cap(view) != len(view) {
			t.Errorf("%s: %v, a view of %d bytes", c.name, ok, len(view))
		}
		if c.fault != nil {
			if got := c.fault(b); got != c.want {
				t.Errorf("%s: fault %v, want %v", c.name, got, c.want)
			}
		}
	}
}

// A setter changes its own field and no other bit.
func TestSetters(t *testing.T) {
	for _, fill := range []byte{0, 0xff} {
		b := bytes.Repeat([]byte{fill}, 60)
		h4, h6, s, u, e, g := IPv4(b), IPv6(b), TCP(b), UDP(b), Ethernet(b), VLAN(b)
		for name, c := range map[string]struct {
			set      func()
			ok       func() bool
			from, to int // bytes that may change
		}{
			"IPv4 TOS":         {func() { h4.SetTOS(0x5a) }, func() bool { return h4.TOS() == 0x5a }, 1, 2},
			"IPv4 total":       {func() { h4.SetTotalLen(0x1234) }, func() bool { return h4.TotalLen() == 0x1234 }, 2, 4},
			"IPv4 ID":          {func() { h4.SetID(0x1234) }, func() bool { return h4.ID() == 0x1234 }, 4, 6},
			"IPv4 fragment":    {func() { h4.SetFragment(184, true, false) }, func() bool { return h4.FragmentOffset() == 184 && h4.DF() && !h4.MF() }, 6, 8},
			"IPv4 TTL":         {func() { h4.SetTTL(9) }, func() bool { return h4.TTL() == 9 }, 8, 9},
			"IPv4 checksum":    {func() { h4.SetChecksum(0x1234) }, func() bool { return h4.Checksum() == 0x1234 }, 10, 12},
			"IPv4 src":         {func() { h4.SetSrc(ip4A) }, func() bool { return h4.Src() == ip4A }, 12, 16},
			"IPv4 dst":         {func() { h4.SetDst(ip4B) }, func() bool { return h4.Dst() == ip4B }, 16, 20},
			"IPv6 payload":     {func() { h6.SetPayloadLen(0x1234) }, func() bool { return h6.PayloadLen() == 0x1234 }, 4, 6},
			"IPv6 next header": {func() { h6.SetNextHeader(ProtoTCP) }, func() bool { return h6.NextHeader() == ProtoTCP }, 6, 7},
			"IPv6 hop limit":   {func() { h6.SetHopLimit(9) }, func() bool { return h6.HopLimit() == 9 }, 7, 8},
			"IPv6 src":         {func() { h6.SetSrc(ip6A) }, func() bool { return h6.Src() == ip6A }, 8, 24},
			"IPv6 dst":         {func() { h6.SetDst(ip6B) }, func() bool { return h6.Dst() == ip6B }, 24, 40},
			"TCP seq":          {func() { s.SetSeq(SeqOf(7)) }, func() bool { return s.Seq() == SeqOf(7) }, 4, 8},
			"TCP ack":          {func() { s.SetAck(SeqOf(7)) }, func() bool { return s.Ack() == SeqOf(7) }, 8, 12},
			"TCP flags":        {func() { s.SetFlags(SYN | ECE) }, func() bool { return s.Flags() == SYN|ECE }, 13, 14},
			"TCP window":       {func() { s.SetWindow(7) }, func() bool { return s.Window() == 7 }, 14, 16},
			"TCP checksum":     {func() { s.SetChecksum(7) }, func() bool { return s.Checksum() == 7 }, 16, 18},
			"TCP urgent":       {func() { s.SetUrgent(7) }, func() bool { return s.Urgent() == 7 }, 18, 20},
			"UDP src port":     {func() { u.SetSrcPort(7) }, func() bool { return u.SrcPort() == 7 }, 0, 2},
			"UDP dst port":     {func() { u.SetDstPort(7) }, func() bool { return u.DstPort() == 7 }, 2, 4},
			"UDP length":       {func() { u.SetLength(7) }, func() bool { return u.Length() == 7 }, 4, 6},
			"UDP checksum":     {func() { u.SetChecksum(7) }, func() bool { return u.Checksum() == 7 }, 6, 8},
			"Ethernet dst":     {func() { e.SetDst(macA) }, func() bool { return e.Dst() == macA }, 0, 6},
			"Ethernet src":     {func() { e.SetSrc(macA) }, func() bool { return e.Src() == macA }, 6, 12},
			"Ethernet type":    {func() { e.SetType(EtherTypeARP) }, func() bool { return e.Type() == EtherTypeARP }, 12, 14},
			"VLAN TCI":         {func() { g.SetTCI(TCIOf(7, 3, false)) }, func() bool { return g.TCI() == TCIOf(7, 3, false) }, 0, 2},
			"VLAN type":        {func() { g.SetType(EtherTypeARP) }, func() bool { return g.Type() == EtherTypeARP }, 2, 4},
		} {
			for i := range b {
				b[i] = fill
			}
			c.set()
			if !c.ok() {
				t.Errorf("%s over %#x: another value comes back", name, fill)
			}
			for i, v := range b {
				if v != fill && (i < c.from || i >= c.to) {
					t.Errorf("%s over %#x changes byte %d", name, fill, i)
				}
			}
		}
		for _, mark := range []ECN{NotECT, ECT1, ECT0, CE} {
			for i := range b {
				b[i] = fill
			}
			if h4.SetECN(mark); h4.ECN() != mark || h4.TOS()&^3 != fill&^3 {
				t.Errorf("IPv4 ECN %v over %#x: %#x", mark, fill, h4.TOS())
			}
			b[1] = fill
			if h6.SetECN(mark); h6.ECN() != mark || h6.TrafficClass()&^3 != fill&^3 || b[1]&0xf != fill&0xf {
				t.Errorf("IPv6 ECN %v over %#x: %#x", mark, fill, h6.TrafficClass())
			}
		}
	}
}
