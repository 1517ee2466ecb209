package proto

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// kinds is a valid frame to b of every kind that a stack may meet, besides those of live
// conversations: what FuzzConversation changes.
func (f *family) kinds() [][]byte {
	if f == family4 {
		return append(kinds4(), tagged(kinds4()[0])...)
	}
	return append(kinds6(), tagged(kinds6()[0])...)
}

// tagged is a frame with a priority tag, a VLAN tag, and two tags.
func tagged(frame []byte) (list [][]byte) {
	for _, tags := range [][]uint16{{0}, {5}, {0, 0}, {7, 0}} {
		b := append([]byte{}, frame[:12]...)
		for i, id := range tags {
			outer := []byte{0x81, 0x00}
			if len(tags) == 2 && i == 0 {
				outer = []byte{0x88, 0xa8}
			}
			b = append(append(b, outer...), byte(id>>8), byte(id))
		}
		list = append(list, append(b, frame[12:]...))
	}
	return list
}

func kinds4() (list [][]byte) {
	add := func(frame []byte) { list = append(list, frame) }
	group := netip.MustParseAddr("224.0.0.1")
	toAll := func(frame []byte, mac wire.MAC) []byte { copy(frame, mac[:]); return frame }
	seven := netip.AddrPortFrom(ipB, 7)
	add(forgeUDP(portA, seven, "hello"))
	add(forgeUDP(portA, netip.AddrPortFrom(ipB, 9), "nobody"))
	add(toAll(forgeUDP(portA, netip.AddrPortFrom(directed, 7), "everyone"), wire.Broadcast))
	add(toAll(forgeUDP(portA, netip.AddrPortFrom(group, 7), "a group"), wire.MulticastMAC(group)))
	add(forgeTCP(portA, port80, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), ""))
	add(forgeTCP(portA, port80, wire.ACK, wire.SeqOf(1), wire.SeqOf(1), "of no connection"))
	add(forge(ipA, ipB, 99, []byte("unknown")))
	for _, op := range []wire.ARPOp{wire.ARPRequest, wire.ARPReply} {
		for _, sender := range []netip.Addr{ipA, ipB, netip.IPv4Unspecified(), netip.MustParseAddr("10.9.0.50")} {
			add(forgeARP(wire.Broadcast, &wire.ARPFields{Op: op, SenderMAC: macA, SenderIP: sender, TargetMAC: macB, TargetIP: ipB}))
		}
	}
	// Errors about a datagram, an echo request and a segment that b may have sent.
	add(forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, wire.ICMPEcho(1, 1), []byte("ping")))
	add(forgeICMP(ipA, ipB, wire.ICMP4EchoReply, 0, wire.ICMPEcho(77, 1), []byte("pong")))
	quotes := [][]byte{
		forgeUDP(netip.AddrPortFrom(ipB, 1001), netip.AddrPortFrom(ipA, 9), "anyone?")[wire.EthernetLen:],
		forgeICMP(ipB, ipA, wire.ICMP4Echo, 0, wire.ICMPEcho(77, 1), nil)[wire.EthernetLen:],
		forgeTCP(netip.AddrPortFrom(ipB, 2000), netip.AddrPortFrom(ipA, 80), wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")[wire.EthernetLen:],
	}
	for _, quoted := range quotes {
		for _, typ := range []wire.ICMP4Type{wire.ICMP4Unreachable, wire.ICMP4Redirect, wire.ICMP4TimeExceeded, wire.ICMP4ParamProblem} {
			for _, code := range []uint8{0, 1, 3, 4, 13} {
				add(forgeICMP(ipA, ipB, typ, code, 1400, quoted))
			}
		}
	}
	for _, typ := range []wire.ICMP4Type{4, 9, 10, 13, 14, 17} { // source quench, router discovery, timestamps, mask
		add(forgeICMP(ipA, ipB, typ, 0, 0, make([]byte, 12)))
	}
	// Fragments of one datagram, and options.
	for _, at := range []struct {
		offset int
		more   bool
	}{{0, true}, {8, true}, {16, false}, {65528, false}} {
		frame := forge(ipA, ipB, wire.ProtoUDP, forgeUDP(portA, seven, "0123456789abcdef")[34+at.offset%24:][:8])
		wire.IPv4(frame[wire.EthernetLen:]).SetFragment(at.offset, false, at.more)
		reseal(frame)
		add(frame)
	}
	for _, options := range [][]byte{
		{1, 1, 1, 0}, {7, 7, 4, 0, 0, 0, 0, 0}, {68, 8, 5, 0, 0, 0, 0, 0}, {68, 4, 5, 0xf0}, {131, 7, 4, 10, 9, 0, 1, 0}, {137, 7, 4, 10, 9, 0, 1, 0}, {148, 4, 0, 0}, {7, 0, 0, 0}, {130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		udp := make([]byte, wire.UDPLen)
		wire.PutUDP(udp, 4000, 7, 0)
		b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(options)+len(udp))
		n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: wire.ProtoUDP, Src: ipA, Dst: ipB, PayloadLen: len(udp), Options: options})
		copy(b[n:], udp)
		reseal(b)
		add(b)
	}
	for _, message := range igmps() {
		add(toAll(forge(ipA, group, wire.ProtoIGMP, message), wire.MulticastMAC(group)))
	}
	return list
}

// igmps are the messages of the three versions.
func igmps() (list [][]byte) {
	mine := netip.MustParseAddr("239.1.2.3")
	source := netip.MustParseAddr("10.9.0.9")
	for _, t := range []wire.IGMPType{wire.IGMPQuery, wire.IGMPv1Report, wire.IGMPv2Report, wire.IGMPv2Leave} {
		b := make([]byte, 64)
		list = append(list, b[:wire.PutIGMP(b, t, time.Second, mine)])
	}
	b := make([]byte, 64)
	list = append(list, b[:wire.PutIGMPv3Query(b, &wire.GroupQuery{Group: mine, MaxResponse: time.Second, Sources: []netip.Addr{source}})])
	b = make([]byte, 64)
	return append(list, b[:wire.PutIGMPv3Report(b, []wire.GroupRecord{{Group: mine, Sources: []netip.Addr{source}}})])
}

func kinds6() (list [][]byte) {
	add := func(p packet6) { list = append(list, p.frame()) }
	all := wire.AllNodes6
	local, mine := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("ff15::1234")
	to := func(p packet6) packet6 { p.mac = wire.MulticastMAC(p.dst); return p }
	add(udp6(portA6, seven6, "hello"))
	add(udp6(portA6, netip.AddrPortFrom(ipB6, 9), "nobody"))
	add(to(udp6(portA6, netip.AddrPortFrom(all, 7), "everyone")))
	add(tcp6(portA6, port80v6, wire.SYN))
	add(tcp6(portA6, port80v6, wire.ACK))
	add(packet6{src: ipA6, dst: ipB6, next: 99, payload: []byte("unknown")})
	add(packet6{src: ipA6, dst: ipB6, next: wire.ProtoNoNext})
	add(icmp6(ipA6, ipB6, wire.ICMP6Echo, 0, wire.ICMPEcho(1, 1), []byte("ping")))
	add(to(icmp6(ipA6, all, wire.ICMP6Echo, 0, wire.ICMPEcho(1, 1), []byte("ping"))))
	add(icmp6(ipA6, ipB6, wire.ICMP6EchoReply, 0, wire.ICMPEcho(77, 1), []byte("pong")))
	quotes := [][]byte{
		udp6(netip.AddrPortFrom(ipB6, 1001), netip.AddrPortFrom(ipA6, 9), "anyone?").frame()[wire.EthernetLen:],
		icmp6(ipB6, ipA6, wire.ICMP6Echo, 0, wire.ICMPEcho(77, 1), nil).frame()[wire.EthernetLen:],
		tcp6(netip.AddrPortFrom(ipB6, 2000), netip.AddrPortFrom(ipA6, 80), wire.SYN).frame()[wire.EthernetLen:],
	}
	for _, quoted := range quotes {
		for typ := wire.ICMP6Type(1); typ < 6; typ++ {
			for code := range uint8(5) {
				add(icmp6(ipA6, ipB6, typ, code, 1400, quoted))
			}
		}
	}
	for i, message := range discoveries() {
		add(discovery(local, ipB6, message))
		if i != solicited {
			add(to(discovery(local, all, message)))
		}
	}
	add(to(discovery(netip.IPv6Unspecified(), wire.SolicitedNode(ipB6), solicitation(ipB6, wire.MAC{}))))
	// Group membership comes behind a router alert.
	alert := extension{wire.ProtoHopByHop, []byte{0, 5, 2, 0, 0, 1, 0}}
	for _, message := range mlds(mine) {
		p := packet6{src: local, dst: all, hops: 1, next: wire.ProtoICMPv6, payload: message}
		add(to(p.behind(alert)))
	}
	// Extension headers, fragments, and an atomic fragment.
	u := udp6(portA6, seven6, "0123456789abcdef")
	add(u.behind(alert, extension{wire.ProtoDestOpts, []byte{0, 0x1e, 4, 0, 0, 0, 0}}, extension{wire.ProtoRouting, []byte{0, 0, 0, 0, 0, 0, 0}}))
	for _, at := range []uint16{0, 0 | 1, 8 | 1, 16, 65528 &^ 7} {
		add(u.behind(extension{wire.ProtoFragment, []byte{0, byte(at >> 8), byte(at), 0, 0, 0, 9}}))
	}
	return list
}

// solicited is which of discoveries is an answer to one host alone.
const solicited = 2

// discoveries are the messages of neighbour discovery.
func discoveries() (list [][]byte) {
	advert := make([]byte, 512)
	n := wire.PutRouterAdvertisement(advert, &wire.RouterAdvertisementFields{CurHopLimit: 64, Lifetime: time.Hour, RetransTimer: time.Second})
	n += wire.PutSourceOption(advert[n:], macA)
	n += wire.PutMTUOption(advert[n:], 1400)
	n += wire.PutPrefixOption(advert[n:], &wire.NDPPrefix{Prefix: netip.MustParsePrefix("fd0a::/64"), OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Hour})
	n += wire.PutServersOption(advert[n:], time.Hour, ipA6)
	n += wire.PutDomainsOption(advert[n:], time.Hour, "example.net")
	redirect := make([]byte, 128)
	m := wire.PutRedirect(redirect, ipA6, far6)
	m += wire.PutTargetOption(redirect[m:], macA)
	router := make([]byte, 64)
	return [][]byte{
		solicitation(ipB6, macA), solicitation(ipA6, macA), advertisement(ipA6, macA, wire.NeighborSolicited|wire.NeighborOverride),
		advertisement(ipB6, macA, wire.NeighborOverride), advert[:n], redirect[:m], router[:wire.PutRouterSolicitation(router, macA)],
	}
}

// mlds are the messages of both versions.
func mlds(group netip.Addr) (list [][]byte) {
	for _, t := range []wire.ICMP6Type{wire.ICMP6MLDQuery, wire.ICMP6MLDReport, wire.ICMP6MLDDone} {
		b := make([]byte, 64)
		list = append(list, b[:wire.PutMLD(b, t, time.Second, group)])
	}
	b := make([]byte, 64)
	list = append(list, b[:wire.PutMLDv2Query(b, &wire.GroupQuery{Group: group, MaxResponse: time.Second, Sources: []netip.Addr{ipA6}})])
	b = make([]byte, 64)
	return append(list, b[:wire.PutMLDv2Report(b, []wire.GroupRecord{{Group: group, Sources: []netip.Addr{ipA6}}})])
}
