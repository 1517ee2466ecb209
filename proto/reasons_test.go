package proto

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A culprit is what has a stack drop something for a reason.
type culprit func(t *testing.T, s *Stack)

// frames are those that make a stack drop the last of them.
func frames(list ...[]byte) culprit {
	return func(_ *testing.T, s *Stack) {
		for _, f := range list {
			s.Input(0, f, 1)
		}
	}
}

// changed is a frame in which bytes are others, from an offset of the packet on. Checksums are made right,
// unless they are what is wrong.
func changed(frame []byte, at int, to ...byte) []byte {
	b := bytes.Clone(frame)
	copy(b[wire.EthernetLen+at:], to)
	reseal(b)
	return b
}

func damaged(frame []byte, at int) []byte {
	b := bytes.Clone(frame)
	b[wire.EthernetLen+at] ^= 0x55
	return b
}

// nobodyCounts are the reasons of TCP, whose tests ask for them, and two of package host: its test asks for one, and the other
// stands guard, since no frame that is handed over is longer than the memory for it.
func nobodyCounts(r drop.Reason) bool {
	return strings.HasPrefix(r.String(), "tcp-") || r == drop.FrameOversize || r == drop.InterfaceGone
}

// TestEveryReasonCanBe has a culprit for each reason to drop something below TCP.
func TestEveryReasonCanBe(t *testing.T) {
	culprits := map[drop.Reason]culprit{}
	for _, all := range []map[drop.Reason]culprit{culpritsOfLinks(), culprits4(), culprits6(), culpritsOfFragments(), culpritsOfGroups(), culpritsOnTheWayOut()} {
		for r, c := range all {
			culprits[r] = c
		}
	}
	for i := int(drop.None) + 1; i < drop.Reasons; i++ {
		r := drop.Reason(i)
		c, ok := culprits[r]
		switch {
		case nobodyCounts(r):
		case !ok:
			t.Errorf("%v: nothing is known to cause it", r)
		default:
			s := newHost(macB, ipB)
			s.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(ipB, 24), netip.PrefixFrom(ipB6, 64), LinkLocal(&s.ports[0].PortConfig)})
			s.SetRoutes(route.New([]route.Route{{Prefix: netip.PrefixFrom(ipB, 24)}, {Prefix: netip.PrefixFrom(ipB6, 64)}}))
			frames(forgeARP(macB, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: ipA, TargetIP: ipB}),
				discovery(ipA6, ipB6, solicitation(ipB6, macA)).frame())(t, s)
			drain(t, s, 1)
			if c(t, s); s.Count[r] == 0 {
				t.Errorf("%v: %v", r, drops(s))
			}
		}
	}
}

func culpritsOfLinks() map[drop.Reason]culprit {
	u := forgeUDP(portA, portB(7), "x")
	to := func(b []byte, mac wire.MAC) []byte { copy(b, mac[:]); return b }
	arp := func(op wire.ARPOp, mac wire.MAC, sender, target netip.Addr) []byte {
		return forgeARP(wire.Broadcast, &wire.ARPFields{Op: op, SenderMAC: mac, SenderIP: sender, TargetIP: target})
	}
	stranger := netip.MustParseAddr("10.9.0.50")
	request := arp(wire.ARPRequest, macA, ipA, ipB)
	return map[drop.Reason]culprit{
		drop.EthernetShort:       frames(u[:13]),
		drop.EthernetNotForUs:    frames(to(bytes.Clone(u), wire.MAC{2, 9, 9, 9, 9, 9})),
		drop.EthernetSource:      frames(append(append(bytes.Clone(u[:6]), 1, 0, 0, 0, 0, 0), u[12:]...)),
		drop.EthernetUnknownType: frames(append(bytes.Clone(u[:12]), 0x88, 0xcc, 0, 0)),
		drop.VLANShort:           frames(tagged(u)[1][:16]),
		drop.VLANNotForUs:        frames(tagged(u)[1]),
		drop.VLANTooDeep: func(t *testing.T, s *Stack) {
			v := newTrunk(1)
			inner := tagged(u)[1][12:]
			mac := v.Port(0).MAC
			v.Input(0, append(append(append(mac[:], u[6:12]...), 0x81, 0, 0, 100), inner...), 1)
			s.Count.Add(&v.Count)
		},
		drop.FrameTruncated: func(_ *testing.T, s *Stack) {
			tun := New(Config{Ports: []PortConfig{{MTU: 1500, RawIP: true}}})
			tun.Input(0, nil, 1)
			s.Count.Add(&tun.Count)
		},
		drop.ARPShort:       frames(request[:len(request)-1]),
		drop.ARPUnsupported: frames(changed(request, 1, 6)),
		drop.ARPBadOp:       frames(changed(request, 7, 3)),
		drop.ARPBadSender:   frames(changed(request, 8, 1)),
		drop.ARPNotForUs:    frames(arp(wire.ARPRequest, macA, stranger, directed)),
		drop.ARPUnsolicited: frames(arp(wire.ARPReply, macA, stranger, ipB)),
		drop.ARPConflict:    frames(arp(wire.ARPReply, macA, ipB, ipA)),
		drop.Looped:         frames(arp(wire.ARPRequest, macB, ipB, ipA)),
		drop.Martian:        frames(forgeUDP(portB(9), portB(7), "land")),
	}
}

func culprits4() map[drop.Reason]culprit {
	u := forgeUDP(portA, portB(7), "x")
	icmp := func(t wire.ICMP4Type, quoted []byte) []byte { return forgeICMP(ipA, ipB, t, 3, 0, quoted) }
	own := forgeUDP(portB(1000), portA, "x")[wire.EthernetLen:]
	echo := forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, nil)
	return map[drop.Reason]culprit{
		drop.IP4Short:              frames(u[:wire.EthernetLen+19]),
		drop.IP4Version:            frames(changed(u, 0, 0x55)),
		drop.IP4HeaderLen:          frames(changed(u, 0, 0x44)),
		drop.IP4TotalLen:           frames(changed(u, 2, 0xff, 0xff)),
		drop.IP4Checksum:           frames(damaged(u, 10)),
		drop.IP4BadSource:          frames(forgeUDP(netip.MustParseAddrPort("224.0.0.1:1"), portB(7), "x")),
		drop.IP4BadDestination:     frames(append(bytes.Clone(wire.Broadcast[:]), u[6:]...)),
		drop.IP4NotForUs:           frames(forgeUDP(portA, netip.AddrPortFrom(elsewhere, 7), "x")),
		drop.IP4OptionsBad:         frames(optioned(7, 1, 0, 0)),
		drop.IP4SourceRoute:        frames(optioned(131, 3, 4, 0)),
		drop.IP4UnknownProtocol:    frames(forge(ipA, ipB, 99, nil)),
		drop.IP4MulticastUnwanted:  frames(forgeUDP(portA, netip.MustParseAddrPort("239.1.1.1:7"), "x")),
		drop.ICMP4Short:            frames(forge(ipA, ipB, wire.ProtoICMP, make([]byte, 7))),
		drop.ICMP4Checksum:         frames(damaged(echo, 22)),
		drop.ICMP4UnknownType:      frames(icmp(wire.ICMP4Timestamp, nil)),
		drop.ICMP4Broadcast:        frames(forgeICMP(ipA, directed, wire.ICMP4Echo, 0, 1, nil)),
		drop.ICMP4QuoteShort:       frames(icmp(wire.ICMP4Unreachable, own[:19])),
		drop.ICMP4QuoteUnknown:     frames(icmp(wire.ICMP4Unreachable, own)),
		drop.ICMP4QuoteImplausible: frames(icmp(wire.ICMP4Unreachable, forgeTCP(portB(9), portA, wire.ACK, wire.SeqOf(1), wire.SeqOf(1), "")[wire.EthernetLen:])),
		drop.ICMP4RedirectRefused:  frames(icmp(wire.ICMP4Redirect, own)),
		drop.ICMP4EchoUnmatched:    frames(icmp(wire.ICMP4EchoReply, nil)),
		drop.ICMPRateLimited: func(_ *testing.T, s *Stack) {
			for range errorsAtOnce + 1 {
				s.Input(0, u, 1)
			}
		},
		drop.ICMPSuppressed: frames(forge(ipA, directed, 99, nil)),
		drop.UDPShort:       frames(forge(ipA, ipB, wire.ProtoUDP, make([]byte, 7))),
		drop.UDPLength:      frames(changed(u, 24, 0xff, 0xff)),
		drop.UDPChecksum:    frames(damaged(u, 28)),
		drop.UDPPortZero:    frames(forgeUDP(portA, portB(0), "x")),
		drop.UDPNoSocket:    frames(u),
		drop.UDPSocketFull: func(_ *testing.T, s *Stack) {
			newSocket(s, &s.UDP, "10.9.0.2:7").Recv.SetLimit(1)
			frames(u, u)(nil, s)
		},
		drop.UDPSocketMemory: func(_ *testing.T, s *Stack) {
			s.Pool = ring.NewPool(8192)
			newSocket(s, &s.UDP, "10.9.0.2:7")
			for range 20 {
				s.Input(0, forgeUDP(portA, portB(7), string(streamBytes[:1000])), 1)
			}
		},
		drop.UDPErrorsFull: func(_ *testing.T, s *Stack) {
			sock := newSocket(s, &s.UDP, "10.9.0.2:1000")
			sock.RecvErr = true
			sock.Errors.Init(s.Pool)
			for range 1000 {
				s.Input(0, icmp(wire.ICMP4Unreachable, own), 1)
			}
		},
		drop.StampsFull: func(_ *testing.T, s *Stack) {
			sock := newSocket(s, &s.UDP, "10.9.0.2:1000")
			sock.Errors.Init(s.Pool)
			for range 1000 {
				port, _ := s.OfferMessage(wire.ProtoUDP, sock, &udp.Message{To: portA, Stamp: udp.StampSent}, 1)
				s.Output(port, make([]byte, 1514), 1)
			}
		},
		drop.UDPFiltered: func(t *testing.T, s *Stack) {
			g := netip.MustParseAddrPort("239.1.1.1:7")
			sock := newSocket(s, &s.UDP, "0.0.0.0:7")
			join(t, s, sock, joins(g.Addr()))
			newSocket(s, &s.UDP, "0.0.0.0:8").Multicast4.Joined = true
			s.Input(0, forgeUDP(portA, netip.AddrPortFrom(g.Addr(), 8), "x"), 1)
		},
	}
}

func culprits6() map[drop.Reason]culprit {
	u := udp6(portA6, seven6, "x")
	frame := u.frame()
	all := wire.AllNodes6
	icmp := func(t wire.ICMP6Type, quoted []byte) []byte { return icmp6(ipA6, ipB6, t, 4, 0, quoted).frame() }
	own := udp6(netip.AddrPortFrom(ipB6, 1000), portA6, "x").frame()[wire.EthernetLen:]
	pad := extension{wire.ProtoDestOpts, []byte{0, 1, 4, 0, 0, 0, 0}}
	hop := extension{wire.ProtoHopByHop, pad.rest}
	options := extension{wire.ProtoDestOpts, append([]byte{8}, make([]byte, 70)...)}
	for i := range 9 {
		copy(options.rest[1+4*i:], []byte{0x1e, 2, 0, 0})
	}
	toAll := icmp6(ipA6, all, wire.ICMP6Unreachable, 4, 0, own)
	toAll.mac = wire.MulticastMAC(all)
	advert := make([]byte, 64)
	advert = advert[:wire.PutRouterAdvertisement(advert, &wire.RouterAdvertisementFields{Lifetime: time.Hour})]
	redirect := make([]byte, 64)
	redirect = redirect[:wire.PutRedirect(redirect, router6, far6)]
	ask, claim := solicitation(ipB6, macA), advertisement(ipB6, macA, 0)
	slow := discovery(ipA6, ipB6, ask)
	slow.hops = 64
	coded := bytes.Clone(ask)
	coded[1] = 1
	none := changed(frame, 40+6, 0, 0)
	copy(none[wire.EthernetLen+46:], []byte{0, 0})
	return map[drop.Reason]culprit{
		drop.IP6Short:              frames(frame[:wire.EthernetLen+39]),
		drop.IP6Version:            frames(append(append(bytes.Clone(frame[:wire.EthernetLen]), 0x50), frame[wire.EthernetLen+1:]...)),
		drop.IP6PayloadLen:         frames(frame[:len(frame)-1]),
		drop.IP6BadSource:          frames(packet6{src: all, dst: ipB6, next: u.next, payload: u.payload}.frame()),
		drop.IP6BadDestination:     frames(packet6{src: ipA6, dst: ipB6, next: u.next, payload: u.payload, mac: wire.MulticastMAC(all)}.frame()),
		drop.IP6NotForUs:           frames(packet6{src: ipA6, dst: far6, next: u.next, payload: u.payload}.frame()),
		drop.IP6UnknownNextHeader:  frames(packet6{src: ipA6, dst: ipB6, next: 99}.frame()),
		drop.IP6NoNextHeader:       frames(packet6{src: ipA6, dst: ipB6, next: wire.ProtoNoNext}.frame()),
		drop.IP6ExtensionShort:     frames(u.behind(extension{wire.ProtoDestOpts, []byte{200, 1, 4, 0, 0, 0, 0}}).frame()),
		drop.IP6ExtensionOrder:     frames(u.behind(pad, hop).frame()),
		drop.IP6ExtensionTooMany:   frames(u.behind(pad, pad, pad, pad, pad, pad, pad, pad, pad).frame()),
		drop.IP6OptionBad:          frames(u.behind(extension{wire.ProtoDestOpts, []byte{0, 0x1e, 200, 0, 0, 0, 0}}).frame()),
		drop.IP6OptionTooMany:      frames(u.behind(options).frame()),
		drop.IP6OptionUnknown:      frames(u.behind(extension{wire.ProtoDestOpts, []byte{0, 0x5e, 4, 0, 0, 0, 0}}).frame()),
		drop.IP6RoutingHeader:      frames(u.behind(extension{wire.ProtoRouting, []byte{0, 0, 1, 0, 0, 0, 0}}).frame()),
		drop.IP6MulticastUnwanted:  frames(udp6(portA6, netip.MustParseAddrPort("[ff05::66]:7"), "x").frame()),
		drop.ICMP6Short:            frames(packet6{src: ipA6, dst: ipB6, next: wire.ProtoICMPv6, payload: make([]byte, 7)}.frame()),
		drop.ICMP6Checksum:         frames(damaged(icmp(wire.ICMP6Echo, nil), 42)),
		drop.ICMP6UnknownType:      frames(icmp(200, nil)),
		drop.ICMP6Multicast:        frames(toAll.frame()),
		drop.ICMP6QuoteShort:       frames(icmp(wire.ICMP6Unreachable, own[:39])),
		drop.ICMP6QuoteUnknown:     frames(icmp(wire.ICMP6Unreachable, own)),
		drop.ICMP6QuoteImplausible: frames(icmp(wire.ICMP6Unreachable, tcp6(netip.AddrPortFrom(ipB6, 9), portA6, wire.ACK).frame()[wire.EthernetLen:])),
		drop.ICMP6RedirectRefused:  frames(discovery(router6, ipB6, redirect).frame()),
		drop.ICMP6EchoUnmatched:    frames(icmp(wire.ICMP6EchoReply, nil)),
		drop.UDPChecksumMissing:    frames(none),
		drop.NDPHopLimit:           frames(slow.frame()),
		drop.NDPCode:               frames(discovery(ipA6, ipB6, coded).frame()),
		drop.NDPShort:              frames(discovery(ipA6, ipB6, ask[:23]).frame()),
		drop.NDPOptionBad:          frames(discovery(ipA6, ipB6, append(bytes.Clone(ask), 1, 0, 0, 0, 0, 0, 0, 0)).frame()),
		drop.NDPBadTarget:          frames(discovery(ipA6, ipB6, solicitation(all, macA)).frame()),
		drop.NDPBadSource:          frames(discovery(ipA6, all, advert).frame()),
		drop.NDPNotForUs:           frames(discovery(ipA6, ipB6, solicitation(far6, macA)).frame()),
		drop.NDPUnsolicited:        frames(discovery(ipA6, ipB6, advertisement(family6.dead, macA, 0)).frame()),
		drop.NDPConflict:           frames(discovery(ipA6, ipB6, claim).frame()),
		drop.NDPFragment:           frames(discovery(ipA6, ipB6, ask).behind(extension{wire.ProtoFragment, make([]byte, 7)}).frame()),
		drop.NDPRouterRefused:      frames(discovery(router6, all, advert).frame()),
	}
}

func culpritsOfFragments() map[drop.Reason]culprit {
	const tcp, udp = wire.ProtoTCP, wire.ProtoUDP
	ect := func(b []byte, tos byte) []byte { return changed(b, 1, tos) }
	return map[drop.Reason]culprit{
		drop.FragmentBad:       frames(fragment(1, udp, 8, 9, true)),
		drop.FragmentTooLong:   frames(fragment(1, udp, 65528, 100, false)),
		drop.FragmentOverlap:   frames(fragment(1, udp, 0, 40, true), fragment(1, udp, 24, 4, false)),
		drop.FragmentHeaders:   frames(fragment(1, tcp, 0, 8, true)),
		drop.FragmentDuplicate: frames(fragment(1, udp, 0, 40, true), fragment(1, udp, 0, 40, true)),
		drop.FragmentECN:       frames(ect(fragment(1, udp, 0, 40, true), 0), ect(fragment(1, udp, 40, 8, false), 2)),
		drop.FragmentTimeout: func(_ *testing.T, s *Stack) {
			frames(fragment(1, udp, 0, 40, true))(nil, s)
			s.Advance(mono.Time(31 * time.Second))
		},
		drop.FragmentTableFull: func(_ *testing.T, s *Stack) {
			for i := range 1025 {
				s.Input(0, fragment(uint16(i), udp, 8, 8, true), 1)
			}
		},
		drop.FragmentTooMany: func(_ *testing.T, s *Stack) {
			for i := range 129 {
				s.Input(0, fragment(1, udp, 16*i, 8, true), 1)
			}
		},
		drop.FragmentMemory: func(_ *testing.T, s *Stack) {
			for i := range 4096 {
				s.Input(0, fragment(uint16(i/100), udp, 16*(i%100), 8, true), 1)
			}
		},
		drop.FragmentHandOver: func(t *testing.T, s *Stack) {
			var list [][]byte
			for i := range 20 { // half of them are of the other core
				list = append(list, fragment(uint16(i), udp, 0, 40, true))
			}
			crowded(t, s, list...)
		},
		drop.HandOverFull: func(t *testing.T, s *Stack) { crowded(t, s, queryFrame(groupFamilies["IPv4"])) },
	}
}

// crowded gives frames to the second of two cores, the first of which has no room for what is handed over.
func crowded(t *testing.T, s *Stack, list ...[]byte) {
	c := &crowd{t: t, full: true}
	core := New(Config{Ports: []PortConfig{{MAC: macB, MTU: 1500}}, Peers: &member{c, 1}, Core: 1, Cores: 2})
	setAddr(core, ipB)
	for _, f := range list {
		core.Input(0, f, 1)
	}
	s.Count.Add(&core.Count)
}

func culpritsOfGroups() map[drop.Reason]culprit {
	g := netip.MustParseAddr("239.1.1.1")
	igmp := func(ttl uint8, options, message []byte) culprit {
		b := make([]byte, 200)
		n := wire.PutEthernet(b, wire.MulticastMAC(wire.AllSystems4), macA, wire.EtherTypeIPv4)
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: ttl, Protocol: wire.ProtoIGMP, Src: ipA, Dst: wire.AllSystems4, Options: options, PayloadLen: len(message)})
		return frames(b[:n+copy(b[n:], message)])
	}
	message := func(typ wire.IGMPType, group netip.Addr) []byte {
		b := make([]byte, 8)
		wire.PutIGMP(b, typ, time.Second, group)
		return b
	}
	broken := message(wire.IGMPQuery, g)
	broken[7] ^= 1
	local := netip.MustParseAddr("fe80::a")
	g6 := netip.MustParseAddr("ff05::1:1")
	mld := func(src netip.Addr, hops uint8, alert bool, message []byte) culprit {
		p := packet6{src: src, dst: wire.AllNodes6, hops: hops, next: wire.ProtoICMPv6, payload: message, mac: wire.MulticastMAC(wire.AllNodes6)}
		if alert {
			p = p.behind(extension{wire.ProtoHopByHop, []byte{0, 5, 2, 0, 0, 1, 0}})
		}
		return frames(p.frame())
	}
	message6 := func(typ wire.ICMP6Type, group netip.Addr) []byte {
		b := make([]byte, 24)
		wire.PutMLD(b, typ, time.Second, group)
		return b
	}
	query6 := message6(wire.ICMP6MLDQuery, g6)
	return map[drop.Reason]culprit{
		drop.IGMPShort:       igmp(1, wire.RouterAlert4, message(wire.IGMPQuery, g)[:7]),
		drop.IGMPChecksum:    igmp(1, wire.RouterAlert4, broken),
		drop.IGMPTTL:         igmp(2, wire.RouterAlert4, message(wire.IGMPQuery, g)),
		drop.IGMPUnknownType: igmp(1, wire.RouterAlert4, message(wire.IGMPv2Leave, g)),
		drop.IGMPBadGroup:    igmp(1, wire.RouterAlert4, message(wire.IGMPQuery, ipA)),
		drop.IGMPRouterAlert: igmp(1, nil, message(wire.IGMPQuery, g)),
		drop.MLDShort:        mld(local, 1, true, query6[:20]),
		drop.MLDBadSource:    mld(ipA6, 1, true, query6),
		drop.MLDHopLimit:     mld(local, 2, true, query6),
		drop.MLDBadGroup:     mld(local, 1, true, message6(wire.ICMP6MLDQuery, ipA6)),
		drop.MLDRouterAlert:  mld(local, 1, false, query6),
		drop.MLDUnknownType:  mld(local, 1, true, message6(wire.ICMP6MLDDone, g6)),
	}
}

func culpritsOnTheWayOut() map[drop.Reason]culprit {
	ping := func(s *Stack, src netip.Addr) { s.Input(0, forgeICMP(src, ipB, wire.ICMP4Echo, 0, 1, nil), 1) }
	towards := func(r route.Route) culprit { // an answer that takes a route
		return func(_ *testing.T, s *Stack) {
			r.Prefix = netip.PrefixFrom(elsewhere, 24)
			s.SetRoutes(route.New([]route.Route{r}))
			ping(s, elsewhere)
		}
	}
	dead := netip.AddrPortFrom(family4.dead, 9)
	return map[drop.Reason]culprit{
		drop.NoRoute:         func(_ *testing.T, s *Stack) { ping(s, elsewhere) },
		drop.RouteProhibited: towards(route.Route{Kind: route.Blackhole}),
		drop.NoSourceAddress: func(t *testing.T, s *Stack) { // it lost its addresses while the datagram waited
			sock := newSocket(s, &s.UDP, "0.0.0.0:9")
			if _, errno := s.Offer(wire.ProtoUDP, sock, netip.AddrPortFrom(ipA, 9), []byte("x"), 1); errno != 0 {
				t.Fatal(errno)
			}
			s.Settle()
			s.SetAddrs(0, nil)
			drain(t, s, 1)
		},
		drop.NeighbourTableFull: func(t *testing.T, s *Stack) {
			for i := range 250 {
				ping(s, netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 3)}))
				drain(t, s, 1)
			}
		},
		drop.NeighbourFailed: func(t *testing.T, s *Stack) {
			send(s, newSocket(s, &s.UDP, "0.0.0.0:9"), dead, []byte("x"), 1)
			s.Neigh.Flush(0, 1)
		},
		drop.NeighbourParkingFull: func(t *testing.T, s *Stack) {
			sock := newSocket(s, &s.UDP, "0.0.0.0:9")
			for range 100 {
				send(s, sock, dead, make([]byte, 1000), 1)
			}
		},
		drop.OutboxFull: func(_ *testing.T, s *Stack) {
			for range 1000 {
				s.Input(0, forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, make([]byte, 1000)), 1)
			}
		},
		drop.TooBig: func(t *testing.T, s *Stack) { // the path has become narrower while it waited
			sock := newSocket(s, &s.UDP, "10.9.0.2:9")
			sock.Discover = udp.DiscoverDo
			_, errno := s.Offer(wire.ProtoUDP, sock, netip.AddrPortFrom(ipA, 9), make([]byte, 1400), 1)
			if errno != 0 || s.Settle() != 0 {
				t.Fatal(errno)
			}
			if _, ok := s.tooBig(ipA, 600, 1428, 1); !ok {
				t.Fatal(unix.EMSGSIZE)
			}
			drain(t, s, 1)
		},
	}
}
