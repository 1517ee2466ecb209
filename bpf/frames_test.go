package bpf

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Frames for the tests. What gopacket can build it builds, as a second opinion on
// the formats; headers that it cannot, or that must be wrong, are built by hand.

var (
	macOurs  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macPeer  = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	macAll   = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	macGroup = net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}
)

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func build(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func is4(addr string) bool { return netip.MustParseAddr(addr).Is4() }

// eth puts an Ethernet header, unicast to us, before an IPv4 or IPv6 packet.
func eth(packet []byte) []byte {
	kind := 0x0800
	if len(packet) > 0 && packet[0]>>4 == 6 {
		kind = 0x86dd
	}
	return join(macOurs, macPeer, be16(kind), packet)
}

// to sends a frame to another link address.
func to(mac net.HardwareAddr, frame []byte) []byte { return join(mac, frame[6:]) }

// tagged puts VLAN tags into a frame, outermost first.
func tagged(frame []byte, kinds ...int) []byte {
	b := join(frame[:12])
	for i, kind := range kinds {
		b = join(b, be16(kind), be16(100+i))
	}
	return join(b, frame[12:])
}

// ip4 is an IPv4 packet without options; later arguments edit its header.
func ip4(src, dst string, proto byte, payload []byte, edits ...func(h []byte)) []byte {
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	h := join([]byte{0x45, 0}, be16(20+len(payload)), be16(7), be16(0), []byte{64, proto, 0, 0}, s[:], d[:])
	for _, edit := range edits {
		edit(h)
	}
	return join(h, payload)
}

// withOptions makes ip4's packet one whose header has ihl words.
func withOptions(ihl int, packet []byte) []byte {
	options := make([]byte, max(0, (ihl-5)*4))
	for i := range options {
		options[i] = 1 // no operation
	}
	b := join(packet[:20], options, packet[20:])
	b[0] = 0x40 | byte(ihl)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// fragment sets the fragment fields of an IPv4 header.
func fragment(id int, more bool, offset int) func([]byte) {
	return func(h []byte) {
		binary.BigEndian.PutUint16(h[4:], uint16(id))
		v := offset / 8
		if more {
			v |= 0x2000
		}
		binary.BigEndian.PutUint16(h[6:], uint16(v))
	}
}

func ip6(src, dst string, next byte, payload []byte) []byte {
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	return join([]byte{0x60, 0, 0, 0}, be16(len(payload)), []byte{next, 64}, s[:], d[:], payload)
}

// ext is an extension header of 8+8*extra bytes (of AH: 8+4*extra).
func ext(next byte, extra int, more int) []byte {
	return join([]byte{next, byte(extra)}, make([]byte, 6+more*extra))
}

// fragment6 is a fragment header.
func fragment6(next byte, id uint32, more bool, offset int) []byte {
	v := offset &^ 7
	if more {
		v |= 1
	}
	return join([]byte{next, 0}, be16(v), be32(id))
}

// ip is ip4 or ip6, by its addresses.
func ip(src, dst string, proto byte, payload []byte) []byte {
	if is4(dst) {
		return ip4(src, dst, proto, payload)
	}
	return ip6(src, dst, proto, payload)
}

func udp(src, dst int) []byte { return join(be16(src), be16(dst), be16(12), be16(0), []byte("ping")) }

func tcp(src, dst int) []byte {
	return join(be16(src), be16(dst), be32(1), be32(2), []byte{0x50, 0x10}, be16(1000), be16(0), be16(0))
}

func icmp(kind, code byte, payload []byte) []byte {
	return join([]byte{kind, code, 0, 0, 0, 0, 0, 0}, payload)
}

// icmpError is the ICMP error, of its first type, that quotes a packet that we
// sent.
func icmpError(to string, quoted []byte) []byte {
	if is4(to) {
		return ip4(remote[0], to, 1, icmp(3, 4, quoted))
	}
	return ip6(remote[1], to, 58, icmp(2, 0, quoted))
}

func arp(t testing.TB, oper uint16, target string) []byte {
	a, r := netip.MustParseAddr(target).As4(), netip.MustParseAddr(remote[0]).As4()
	dst := macAll
	if oper == layers.ARPReply {
		dst = macOurs
	}
	return build(t, &layers.Ethernet{SrcMAC: macPeer, DstMAC: dst, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: oper, SourceHwAddress: macPeer, SourceProtAddress: r[:], DstHwAddress: make([]byte, 6), DstProtAddress: a[:]})
}

func solicit(t testing.TB, target string) []byte {
	ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255,
		SrcIP: net.ParseIP(remote[1]), DstIP: net.ParseIP("ff02::1:ff00:1")}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	icmp.SetNetworkLayerForChecksum(ip)
	return build(t, &layers.Ethernet{SrcMAC: macPeer, DstMAC: macGroup, EthernetType: layers.EthernetTypeIPv6}, ip, icmp,
		&layers.ICMPv6NeighborSolicitation{TargetAddress: net.ParseIP(target)})
}

// gopacketUDP is a UDP datagram as gopacket builds it.
func gopacketUDP(t testing.TB, src, dst string, sport, dport int) []byte {
	u := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	e := &layers.Ethernet{SrcMAC: macPeer, DstMAC: macOurs, EthernetType: layers.EthernetTypeIPv4}
	if is4(dst) {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
		must(t, u.SetNetworkLayerForChecksum(ip))
		return build(t, e, ip, u, gopacket.Payload("ping"))
	}
	e.EthernetType = layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
	must(t, u.SetNetworkLayerForChecksum(ip))
	return build(t, e, ip, u, gopacket.Payload("ping"))
}
