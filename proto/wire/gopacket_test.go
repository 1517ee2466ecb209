package wire

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// gopacket is the second opinion: packets that it builds are read by the views, and packets that the
// encoders write are read by it.

var (
	macA, macB   = MAC{2, 0, 0, 0, 0, 0xa}, MAC{2, 0, 0, 0, 0, 0xb}
	ip4A, ip4B   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.77")
	ip6A, ip6B   = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::77")
	gopacketOpts = gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
)

func build(t testing.TB, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacketOpts, l...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

// gopacketFrames builds one frame of each kind that gopacket can write.
func gopacketFrames(t testing.TB) []frame {
	eth := func(e layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: macA[:], DstMAC: macB[:], EthernetType: e}
	}
	v4 := func(p layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, TOS: 0x2d, Id: 4711, Flags: layers.IPv4DontFragment, Protocol: p, SrcIP: ip4A.AsSlice(), DstIP: ip4B.AsSlice()}
	}
	v6 := func(p layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 255, TrafficClass: 0xb9, FlowLabel: 0xabcde, NextHeader: p, SrcIP: ip6A.AsSlice(), DstIP: ip6B.AsSlice()}
	}
	tcp := func(n gopacket.NetworkLayer, o ...layers.TCPOption) *layers.TCP {
		s := &layers.TCP{SrcPort: 443, DstPort: 50000, Seq: 0xfffffff0, Ack: 0x80000001, ACK: true, ECE: true, PSH: true, Window: 501, Urgent: 3, Options: o}
		if err := s.SetNetworkLayerForChecksum(n); err != nil {
			t.Fatal(err)
		}
		return s
	}
	udp := func(n gopacket.NetworkLayer) *layers.UDP {
		u := &layers.UDP{SrcPort: 53, DstPort: 40000}
		if err := u.SetNetworkLayerForChecksum(n); err != nil {
			t.Fatal(err)
		}
		return u
	}
	icmp6 := func(n gopacket.NetworkLayer, kind uint8) *layers.ICMPv6 {
		m := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
		if err := m.SetNetworkLayerForChecksum(n); err != nil {
			t.Fatal(err)
		}
		return m
	}
	opt := func(k layers.TCPOptionKind, data ...byte) layers.TCPOption {
		return layers.TCPOption{OptionType: k, OptionLength: uint8(2 + len(data)), OptionData: data}
	}
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	data := gopacket.Payload("an odd number of bytes.")
	i4, u4, g4, i6, u6, c6 := v4(layers.IPProtocolTCP), v4(layers.IPProtocolUDP), v4(layers.IPProtocolICMPv4), v6(layers.IPProtocolTCP), v6(layers.IPProtocolUDP), v6(layers.IPProtocolICMPv6)
	alert := v4(layers.IPProtocolUDP)
	alert.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	sack := []layers.TCPOption{nop, nop, opt(layers.TCPOptionKindTimestamps, 1, 2, 3, 4, 5, 6, 7, 8), nop, nop,
		opt(layers.TCPOptionKindSACK, 0, 0, 1, 0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9)}
	prefix := append([]byte{64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0}, ip6A.AsSlice()...)
	return []frame{
		{"arp", build(t, eth(layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPReply, SourceHwAddress: macA[:], SourceProtAddress: ip4A.AsSlice(), DstHwAddress: macB[:], DstProtAddress: ip4B.AsSlice()})},
		{"tcp4 sack", build(t, eth(layers.EthernetTypeIPv4), i4, tcp(i4, sack...), data)},
		{"tcp6", build(t, eth(layers.EthernetTypeIPv6), i6, tcp(i6), data)},
		{"udp4", build(t, eth(layers.EthernetTypeIPv4), u4, udp(u4), data)},
		{"udp4 router alert", build(t, eth(layers.EthernetTypeIPv4), alert, udp(alert), data)},
		{"udp6", build(t, eth(layers.EthernetTypeIPv6), u6, udp(u6), data)},
		{"vlan", build(t, eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{Priority: 5, VLANIdentifier: 0xabc, DropEligible: true, Type: layers.EthernetTypeIPv4}, u4, udp(u4), data)},
		{"qinq", build(t, eth(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 100, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv6}, u6, udp(u6), data)},
		{"echo4", build(t, eth(layers.EthernetTypeIPv4), g4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 77, Seq: 3}, data)},
		{"ns", build(t, eth(layers.EthernetTypeIPv6), c6, icmp6(c6, 135), &layers.ICMPv6NeighborSolicitation{TargetAddress: ip6B.AsSlice(), Options: layers.ICMPv6Options{{Type: 1, Data: macA[:]}}})},
		{"na", build(t, eth(layers.EthernetTypeIPv6), c6, icmp6(c6, 136), &layers.ICMPv6NeighborAdvertisement{Flags: 0xa0, TargetAddress: ip6B.AsSlice(), Options: layers.ICMPv6Options{{Type: 2, Data: macA[:]}}})},
		{"ra", build(t, eth(layers.EthernetTypeIPv6), c6, icmp6(c6, 134), &layers.ICMPv6RouterAdvertisement{HopLimit: 63, Flags: 0x48, RouterLifetime: 1800, ReachableTime: 30000, RetransTimer: 1000,
			Options: layers.ICMPv6Options{{Type: 5, Data: []byte{0, 0, 0, 0, 5, 0}}, {Type: 3, Data: prefix}}})},
		{"redirect", build(t, eth(layers.EthernetTypeIPv6), c6, icmp6(c6, 137), &layers.ICMPv6Redirect{TargetAddress: ip6A.AsSlice(), DestinationAddress: ip6B.AsSlice()})},
	}
}

func TestReadsWhatGopacketWrites(t *testing.T) {
	for _, f := range gopacketFrames(t) {
		t.Run(f.name, func(t *testing.T) { sameAsGopacket(t, f.data) })
	}
	for _, f := range linuxFrames(t) {
		t.Run(f.name, func(t *testing.T) { sameAsGopacket(t, f.data) })
	}
}

// sameAsGopacket reads a good frame with both and compares every layer that both know.
func sameAsGopacket(t *testing.T, data []byte) {
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	known, icmp6 := 0, []byte(nil)
	for _, l := range p.Layers() {
		b := data[cap(data)-cap(l.LayerContents()):] // the layer is a slice of data
		if l.LayerType() == layers.LayerTypeICMPv6 {
			icmp6 = b
		}
		known += sameLayer(t, l, b) + sameNDP(t, l, icmp6)
	}
	if known < 2 {
		t.Errorf("only %d layers of %v were compared", known, p)
	}
}

func check[V comparable](t testing.TB, field string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, gopacket says %v", field, got, want)
	}
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}

// sameLayer compares one layer; b starts at it.
func sameLayer(t testing.TB, l gopacket.Layer, b []byte) int {
	t.Helper()
	switch l := l.(type) {
	case *layers.Ethernet:
		h, ok := ParseEthernet(b)
		check(t, "ok", ok, true)
		check(t, "dst", h.Dst().String(), l.DstMAC.String())
		check(t, "src", h.Src().String(), l.SrcMAC.String())
		check(t, "type", uint16(h.Type()), uint16(l.EthernetType))
	case *layers.Dot1Q:
		h, ok := ParseVLAN(b)
		check(t, "ok", ok, true)
		check(t, "TCI", h.TCI(), TCIOf(l.VLANIdentifier, l.Priority, l.DropEligible))
		check(t, "ID", h.TCI().ID(), l.VLANIdentifier)
		check(t, "priority", h.TCI().Priority(), l.Priority)
		check(t, "drop eligible", h.TCI().DropEligible(), l.DropEligible)
		check(t, "type", uint16(h.Type()), uint16(l.Type))
	case *layers.ARP:
		h, ok := ParseARP(b)
		check(t, "ok", ok, true)
		check(t, "op", uint16(h.Op()), l.Operation)
		check(t, "sender", h.SenderMAC().String()+h.SenderIP().String(), net.HardwareAddr(l.SourceHwAddress).String()+net.IP(l.SourceProtAddress).String())
		check(t, "target", h.TargetMAC().String()+h.TargetIP().String(), net.HardwareAddr(l.DstHwAddress).String()+net.IP(l.DstProtAddress).String())
	case *layers.IPv4:
		h, ok := ParseIPv4(b)
		check(t, "ok", ok, true)
		sameIPv4(t, h, l)
	case *layers.IPv6:
		h, ok := ParseIPv6(b)
		check(t, "ok", ok, true)
		sameIPv6(t, h, l)
	case *layers.UDP:
		h, ok := ParseUDP(b)
		if !ok {
			return 0 // a fragment
		}
		sameUDP(t, h, l)
	case *layers.TCP:
		h, ok := ParseTCP(b)
		check(t, "ok", ok, true)
		sameTCP(t, h, l)
	case *layers.ICMPv4:
		h, ok := ParseICMP4(b)
		check(t, "ok", ok, true)
		check(t, "type", uint8(h.Type()), l.TypeCode.Type())
		check(t, "code", h.Code(), l.TypeCode.Code())
		check(t, "checksum", h.Checksum(), l.Checksum)
		check(t, "ident", h.Ident(), l.Id)
		check(t, "seq", h.Seq(), l.Seq)
	case *layers.ICMPv6:
		h, ok := ParseICMP6(b)
		check(t, "ok", ok, true)
		check(t, "type", uint8(h.Type()), l.TypeCode.Type())
		check(t, "code", h.Code(), l.TypeCode.Code())
		check(t, "checksum", h.Checksum(), l.Checksum)
	default:
		return 0
	}
	return 1
}

// sameNDP compares what gopacket has as a layer of its own behind ICMPv6.
func sameNDP(t testing.TB, l gopacket.Layer, message ICMP6) int {
	t.Helper()
	switch l := l.(type) {
	case *layers.ICMPv6NeighborSolicitation:
		h, ok := ParseNeighborSolicitation(message)
		check(t, "ok", ok, true)
		check(t, "target", h.Target(), addrOf(l.TargetAddress))
		sameNDPOptions(t, h.Options(), l.Options)
	case *layers.ICMPv6NeighborAdvertisement:
		h, ok := ParseNeighborAdvertisement(message)
		check(t, "ok", ok, true)
		check(t, "target", h.Target(), addrOf(l.TargetAddress))
		check(t, "router", h.Router(), l.Router())
		check(t, "solicited", h.Solicited(), l.Solicited())
		check(t, "override", h.Override(), l.Override())
		sameNDPOptions(t, h.Options(), l.Options)
	case *layers.ICMPv6RouterSolicitation:
		h, ok := ParseRouterSolicitation(message)
		check(t, "ok", ok, true)
		sameNDPOptions(t, h.Options(), l.Options)
	case *layers.ICMPv6RouterAdvertisement:
		h, ok := ParseRouterAdvertisement(message)
		check(t, "ok", ok, true)
		check(t, "hop limit", h.CurHopLimit(), l.HopLimit)
		check(t, "managed", h.Managed(), l.ManagedAddressConfig())
		check(t, "other", h.OtherConfig(), l.OtherConfig())
		check(t, "lifetime", uint16(h.Lifetime().Seconds()), l.RouterLifetime)
		check(t, "reachable time", uint32(h.ReachableTime().Milliseconds()), l.ReachableTime)
		check(t, "retrans timer", uint32(h.RetransTimer().Milliseconds()), l.RetransTimer)
		sameNDPOptions(t, h.Options(), l.Options)
	case *layers.ICMPv6Redirect:
		h, ok := ParseRedirect(message)
		check(t, "ok", ok, true)
		check(t, "target", h.Target(), addrOf(l.TargetAddress))
		check(t, "dst", h.Dst(), addrOf(l.DestinationAddress))
	default:
		return 0
	}
	return 1
}

func sameNDPOptions(t testing.TB, b []byte, options layers.ICMPv6Options) {
	t.Helper()
	var o NDPOptions
	if !o.Parse(b) {
		t.Errorf("options %x are refused", b)
	}
	prefixes := 0
	for _, g := range options {
		switch g.Type {
		case layers.ICMPv6OptSourceAddress:
			check(t, "source option", o.Source, MAC(g.Data))
		case layers.ICMPv6OptTargetAddress:
			check(t, "target option", o.Target, MAC(g.Data))
		case layers.ICMPv6OptPrefixInfo:
			check(t, "prefix", o.Prefixes[prefixes].Prefix, netip.PrefixFrom(netip.AddrFrom16([16]byte(g.Data[14:])), int(g.Data[0])).Masked())
			prefixes++
		case layers.ICMPv6OptMTU:
			check(t, "MTU", o.MTU, uint32(g.Data[2])<<24|uint32(g.Data[3])<<16|uint32(g.Data[4])<<8|uint32(g.Data[5]))
		}
	}
	check(t, "prefixes", o.PrefixCount, prefixes)
}

func sameIPv4(t testing.TB, h IPv4, l *layers.IPv4) {
	t.Helper()
	check(t, "header length", h.HeaderLen(), int(l.IHL)*4)
	check(t, "TOS", h.TOS(), l.TOS)
	check(t, "total length", h.TotalLen(), int(l.Length))
	check(t, "ID", h.ID(), l.Id)
	check(t, "DF", h.DF(), l.Flags&layers.IPv4DontFragment != 0)
	check(t, "MF", h.MF(), l.Flags&layers.IPv4MoreFragments != 0)
	check(t, "fragment offset", h.FragmentOffset(), int(l.FragOffset)*8)
	check(t, "TTL", h.TTL(), l.TTL)
	check(t, "protocol", uint8(h.Protocol()), uint8(l.Protocol))
	check(t, "checksum", h.Checksum(), l.Checksum)
	check(t, "src", h.Src(), addrOf(l.SrcIP))
	check(t, "dst", h.Dst(), addrOf(l.DstIP))
	check(t, "payload", string(h.Payload()), string(l.Payload))
}

func sameIPv6(t testing.TB, h IPv6, l *layers.IPv6) {
	t.Helper()
	check(t, "traffic class", h.TrafficClass(), l.TrafficClass)
	check(t, "flow label", h.FlowLabel(), l.FlowLabel)
	check(t, "payload length", h.PayloadLen(), int(l.Length))
	check(t, "next header", uint8(h.NextHeader()), uint8(l.NextHeader))
	check(t, "hop limit", h.HopLimit(), l.HopLimit)
	check(t, "src", h.Src(), addrOf(l.SrcIP))
	check(t, "dst", h.Dst(), addrOf(l.DstIP))
}

func sameUDP(t testing.TB, h UDP, l *layers.UDP) {
	t.Helper()
	check(t, "src port", h.SrcPort(), uint16(l.SrcPort))
	check(t, "dst port", h.DstPort(), uint16(l.DstPort))
	check(t, "length", h.Length(), int(l.Length))
	check(t, "checksum", h.Checksum(), l.Checksum)
	check(t, "payload", string(h.Payload()), string(l.Payload))
}

func sameTCP(t testing.TB, h TCP, l *layers.TCP) {
	t.Helper()
	check(t, "src port", h.SrcPort(), uint16(l.SrcPort))
	check(t, "dst port", h.DstPort(), uint16(l.DstPort))
	check(t, "seq", h.Seq(), SeqOf(l.Seq))
	check(t, "ack", h.Ack(), SeqOf(l.Ack))
	check(t, "header length", h.HeaderLen(), int(l.DataOffset)*4)
	check(t, "window", h.Window(), l.Window)
	check(t, "checksum", h.Checksum(), l.Checksum)
	check(t, "urgent", h.Urgent(), l.Urgent)
	check(t, "payload", string(h.Payload()), string(l.Payload))
	for _, f := range []struct {
		flag Flags
		set  bool
	}{{FIN, l.FIN}, {SYN, l.SYN}, {RST, l.RST}, {PSH, l.PSH}, {ACK, l.ACK}, {URG, l.URG}, {ECE, l.ECE}, {CWR, l.CWR}} {
		check(t, f.flag.String(), h.Flags().Has(f.flag), f.set)
	}
	sameTCPOptions(t, h.Options(), l)
}

func sameTCPOptions(t testing.TB, b []byte, l *layers.TCP) {
	t.Helper()
	o, ok := ParseTCPOptions(b)
	check(t, "options ok", ok, true)
	want := NoTCPOptions
	for _, g := range l.Options {
		if g.OptionType != tcpOptEnd && g.OptionType != tcpOptNOP {
			want.parse(uint8(g.OptionType), g.OptionData)
		}
	}
	check(t, "fast open", string(o.FastOpen), string(want.FastOpen))
	o.FastOpen, want.FastOpen = nil, nil
	if !equalOptions(&o, &want) {
		t.Errorf("options are %+v, gopacket says %+v", o, want)
	}
}

func equalOptions(a, b *TCPOptions) bool {
	return a.MSS == b.MSS && a.WScale == b.WScale && a.SACKPermitted == b.SACKPermitted && a.TS == b.TS && a.TSVal == b.TSVal &&
		a.TSEcr == b.TSEcr && a.SACKCount == b.SACKCount && a.SACK == b.SACK && bytes.Equal(a.FastOpen, b.FastOpen) && (a.FastOpen == nil) == (b.FastOpen == nil)
}
