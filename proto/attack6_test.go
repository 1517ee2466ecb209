package proto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// The attacks of IPv6 alone, and those of IPv4 once more.

// A packet6 is an IPv6 packet to be forged.
type packet6 struct {
	src, dst netip.Addr
	hops     uint8         // 0: 64
	next     wire.Protocol // of what payload begins with
	payload  []byte
	mac      wire.MAC // of the destination, zero: macB
}

// frame is p in a frame from macA, its checksums right.
func (p packet6) frame() []byte {
	if p.hops == 0 {
		p.hops = 64
	}
	if p.mac.IsZero() {
		p.mac = macB
	}
	b := make([]byte, wire.EthernetLen+wire.IPv6Len+len(p.payload))
	n := wire.PutEthernet(b, p.mac, macA, wire.EtherTypeIPv6)
	n += wire.PutIPv6(b[n:], &wire.IPv6Fields{HopLimit: p.hops, NextHeader: p.next, Src: p.src, Dst: p.dst, PayloadLen: len(p.payload)})
	copy(b[n:], p.payload)
	reseal(b)
	return b
}

func tcp6(src, dst netip.AddrPort, flags wire.Flags) packet6 {
	b := make([]byte, wire.TCPLen)
	wire.PutTCP(b, &wire.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), Seq: wire.SeqOf(1), Flags: flags, Window: 1000})
	return packet6{src: src.Addr(), dst: dst.Addr(), next: wire.ProtoTCP, payload: b}
}

func udp6(src, dst netip.AddrPort, payload string) packet6 {
	b := make([]byte, wire.UDPLen)
	wire.PutUDP(b, src.Port(), dst.Port(), len(payload))
	return packet6{src: src.Addr(), dst: dst.Addr(), next: wire.ProtoUDP, payload: append(b, payload...)}
}

func icmp6(src, dst netip.Addr, t wire.ICMP6Type, code uint8, rest uint32, payload []byte) packet6 {
	b := make([]byte, wire.ICMP6Len)
	wire.PutICMP6(b, t, code, rest)
	return packet6{src: src, dst: dst, next: wire.ProtoICMPv6, payload: append(b, payload...)}
}

// discovery is a message of neighbour discovery as it should be sent.
func discovery(src, dst netip.Addr, message []byte) packet6 {
	return packet6{src: src, dst: dst, hops: ndpHopLimit, next: wire.ProtoICMPv6, payload: message}
}

// behind puts extension headers before what p carries. Each is told by its number, and its bytes
// behind the next-header field; the length field is the first of them.
func (p packet6) behind(headers ...extension) packet6 {
	var chain []byte
	for i, h := range headers {
		next := p.next
		if i+1 < len(headers) {
			next = headers[i+1].kind
		}
		chain = append(chain, uint8(next))
		chain = append(chain, h.rest...)
	}
	p.next, p.payload = headers[0].kind, append(chain, p.payload...)
	return p
}

type extension struct {
	kind wire.Protocol
	rest []byte
}

var (
	port80v6 = netip.AddrPortFrom(ipB6, 80)
	portA6   = netip.AddrPortFrom(ipA6, 4000)
	seven6   = netip.AddrPortFrom(ipB6, 7)
	far6     = netip.MustParseAddr("2001:db8::1")
)

func TestLand6(t *testing.T) {
	v := family6.victim(t)
	v.want("TCP from itself", v.hit(tcp6(port80v6, port80v6, wire.SYN).frame()), drop.Martian, 0)
	v.want("UDP from itself", v.hit(udp6(seven6, seven6, "x").frame()), drop.Martian, 0)
	v.want("echo request from itself", v.hit(icmp6(ipB6, ipB6, wire.ICMP6Echo, 0, 1, nil).frame()), drop.Martian, 0)
	for _, row := range []struct {
		src  string
		want drop.Reason
	}{
		{"::1", drop.Martian}, {"ff02::1", drop.IP6BadSource}, {"::ffff:10.9.0.1", drop.Martian}, {"::", drop.IP6BadSource},
	} {
		src := netip.AddrPortFrom(netip.MustParseAddr(row.src), 80)
		v.want("from "+row.src, v.hit(tcp6(src, port80v6, wire.SYN).frame()), row.want, 0)
	}
	for _, row := range []struct {
		dst  string
		want drop.Reason
	}{
		{"::1", drop.Martian}, {"::", drop.IP6BadDestination}, {"::ffff:10.9.0.2", drop.Martian},
		{"fd09::66", drop.IP6NotForUs}, {"ff01::1", drop.Martian}, {"ff05::66", drop.IP6MulticastUnwanted},
	} {
		dst := netip.AddrPortFrom(netip.MustParseAddr(row.dst), 80)
		v.want("to "+row.dst, v.hit(tcp6(portA6, dst, wire.SYN).frame()), row.want, 0)
	}
	v.alive()
}

// Amplifiers: one forged request to a group must not draw an answer from every host, or no
// more than errors are sent.
func TestSmurf6(t *testing.T) {
	v := family6.victim(t)
	all := wire.AllNodes6
	group := wire.MulticastMAC(all)
	to := func(p packet6) []byte { p.mac = group; return p.frame() }
	v.want("fraggle", v.hit(to(udp6(portA6, netip.AddrPortFrom(all, 19), "x"))), drop.UDPNoSocket, 0)
	v.want("SYN to everyone", v.hit(to(tcp6(portA6, netip.AddrPortFrom(all, 80), wire.SYN))), drop.TCPNotUnicast, 0)
	v.want("unknown protocol to everyone", v.hit(to(packet6{src: ipA6, dst: all, next: 99})), drop.IP6UnknownNextHeader, 0)
	v.want("unicast to everyone's MAC", v.hit(to(udp6(portA6, seven6, "x"))), drop.IP6BadDestination, 0)
	answers := 0
	for range 1000 {
		v.hit(to(icmp6(ipA6, all, wire.ICMP6Echo, 0, 1, nil)))
		answers += v.draws()
	}
	if answers == 0 || answers > errorsAtOnce {
		t.Errorf("%d echo replies to a group", answers)
	}
	v.alive()
}

// Nothing that has crossed a router, or claims a neighbour who cannot be one, changes what the
// host knows of its link.
func TestDiscoveryFromOffLink(t *testing.T) {
	v := family6.victim(t)
	evil := wire.MAC{2, 6, 6, 6, 6, 6}
	router := netip.MustParseAddr("fe80::66")
	stranger := netip.MustParseAddr("fd09::50")
	neighbours := v.b.Neigh.Len()
	known := v.b.Neigh.Lookup(0, ipA6)
	if known == nil || known.MAC != macA {
		t.Fatal("the peer is no neighbour")
	}
	advert := make([]byte, 256)
	n := wire.PutRouterAdvertisement(advert, &wire.RouterAdvertisementFields{Lifetime: 1800e9})
	n += wire.PutSourceOption(advert[n:], evil)
	redirect := make([]byte, 256)
	m := wire.PutRedirect(redirect, router, ipA6)
	m += wire.PutTargetOption(redirect[m:], evil)
	messages := []struct {
		name string
		packet6
	}{
		{"solicitation", discovery(ipA6, ipB6, solicitation(ipB6, evil))},
		{"advertisement", discovery(ipA6, ipB6, advertisement(ipA6, evil, wire.NeighborOverride|wire.NeighborSolicited))},
		{"router advertisement", discovery(router, wire.AllNodes6, advert[:n])},
		{"redirect", discovery(router, ipB6, redirect[:m])},
	}
	for _, p := range messages {
		for _, hops := range []uint8{1, 64, 254} {
			p.hops = hops
			v.want(p.name+" from afar", v.hit(p.frame()), drop.NDPHopLimit, 0)
		}
	}
	v.want("advertisement of a stranger", v.hit(discovery(stranger, ipB6, advertisement(stranger, evil, wire.NeighborOverride)).frame()), drop.NDPUnsolicited, 0)
	v.want("our own address", v.hit(discovery(stranger, wire.AllNodes6, advertisement(ipB6, evil, wire.NeighborOverride)).frame()), drop.NDPConflict, 0)
	v.want("router advertisement by no link-local address", v.hit(discovery(ipA6, wire.AllNodes6, advert[:n]).frame()), drop.NDPBadSource, 0)
	v.want("redirect by no router", v.hit(discovery(router, ipB6, redirect[:m]).frame()), drop.ICMP6RedirectRefused, 0)
	// One that is not on the link gets an answer and no entry (CVE-2008-2476).
	v.want("solicitation by a global stranger", v.hit(discovery(far6, ipB6, solicitation(ipB6, evil)).frame()), drop.None, 1)
	if got := v.b.Neigh.Len(); got != neighbours {
		t.Errorf("%d neighbours, not %d", got, neighbours)
	}
	if known.MAC != macA {
		t.Errorf("the peer is at %v", known.MAC)
	}
	v.alive()
}

// An ICMP error makes packets smaller only if it quotes what is on its way, and never smaller than a
// link may be.
func TestForgedPacketTooBig(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			v := f.victim(t)
			server, client := v.c.server.c.Local(), v.c.client.c.Local()
			before := v.c.server.c.MSS()
			hit := func(protocol wire.Protocol, transport []byte, mtu uint32) drop.Reason {
				if f == family4 {
					quoted := forge(server.Addr(), client.Addr(), protocol, transport)[wire.EthernetLen:]
					return v.hit(forgeICMP(elsewhere, ipB, wire.ICMP4Unreachable, wire.ICMP4FragNeeded, mtu, quoted))
				}
				quoted := packet6{src: server.Addr(), dst: client.Addr(), next: protocol, payload: transport}.frame()[wire.EthernetLen:]
				return v.hit(icmp6(far6, ipB6, wire.ICMP6PacketTooBig, 0, mtu, quoted).frame())
			}
			segment := func(seq uint32) []byte {
				b := make([]byte, wire.TCPLen)
				wire.PutTCP(b, &wire.TCPFields{SrcPort: server.Port(), DstPort: client.Port(), Seq: wire.SeqOf(seq), Flags: wire.ACK})
				return b
			}
			implausible, unknown := drop.ICMP4QuoteImplausible, drop.ICMP4QuoteUnknown
			if f == family6 {
				implausible, unknown = drop.ICMP6QuoteImplausible, drop.ICMP6QuoteUnknown
			}
			// Nothing is on its way, so no number can be right.
			for i := range uint32(5000) {
				if r := hit(wire.ProtoTCP, segment(i*858_993), 576); r != implausible {
					t.Fatalf("a guessed number: %v", r)
				}
			}
			datagram := make([]byte, wire.UDPLen)
			wire.PutUDP(datagram, 9999, client.Port(), 0)
			v.want("of no socket", hit(wire.ProtoUDP, datagram, 576), unknown, 0)
			if got := v.c.server.c.MSS(); got != before {
				t.Errorf("the MSS was %d and is %d", before, got)
			}
			v.alive()
		})
	}
}

// Chains of extension headers: each is refused for what is wrong with it, answered where RFC
// 8200 says so, and no more often than errors are sent.
func TestExtensionHeaderChains(t *testing.T) {
	v := family6.victim(t)
	pad := func(kind wire.Protocol) extension { return extension{kind, []byte{0, 1, 4, 0, 0, 0, 0}} }
	option := func(kind wire.Protocol, typ uint8) extension { return extension{kind, []byte{0, typ, 4, 1, 2, 3, 4}} }
	routing := func(typ, left uint8) extension { return extension{wire.ProtoRouting, []byte{0, typ, left, 0, 0, 0, 0}} }
	many := func(n int, h extension) (list []extension) {
		for range n {
			list = append(list, h)
		}
		return list
	}
	options := extension{wire.ProtoDestOpts, append([]byte{8}, make([]byte, 70)...)} // 9 unknown options that may be skipped
	for i := range 9 {
		copy(options.rest[1+4*i:], []byte{0x1e, 2, 0, 0})
	}
	u := udp6(portA6, seven6, "x")
	for _, row := range []struct {
		name   string
		packet packet6
		want   drop.Reason
		frames int
	}{
		{"one of each that may be", u.behind(pad(wire.ProtoHopByHop), pad(wire.ProtoDestOpts), routing(0, 0), pad(wire.ProtoDestOpts)), drop.None, 0},
		{"too many", u.behind(many(9, pad(wire.ProtoDestOpts))...), drop.IP6ExtensionTooMany, 0},
		{"a hundred", u.behind(many(100, pad(wire.ProtoDestOpts))...), drop.IP6ExtensionTooMany, 0},
		{"hop-by-hop second", u.behind(pad(wire.ProtoDestOpts), pad(wire.ProtoHopByHop)), drop.IP6ExtensionOrder, 1},
		{"hop-by-hop twice", u.behind(pad(wire.ProtoHopByHop), pad(wire.ProtoHopByHop)), drop.IP6ExtensionOrder, 1},
		{"routing header type 0", u.behind(routing(0, 1)), drop.IP6RoutingHeader, 1},
		{"routing header unknown", u.behind(routing(99, 200)), drop.IP6RoutingHeader, 1},
		{"option to skip", u.behind(option(wire.ProtoDestOpts, 0x1e)), drop.None, 0},
		{"option to discard", u.behind(option(wire.ProtoDestOpts, 0x5e)), drop.IP6OptionUnknown, 0},
		{"option to report", u.behind(option(wire.ProtoHopByHop, 0x9e)), drop.IP6OptionUnknown, 1},
		{"option to report to unicast", u.behind(option(wire.ProtoDestOpts, 0xde)), drop.IP6OptionUnknown, 1},
		{"option beyond its header", u.behind(extension{wire.ProtoDestOpts, []byte{0, 0x1e, 200, 0, 0, 0, 0}}), drop.IP6OptionBad, 0},
		{"padding that says something", u.behind(extension{wire.ProtoDestOpts, []byte{0, 1, 4, 'e', 'v', 'i', 'l'}}), drop.IP6OptionBad, 0},
		{"too many options", u.behind(options), drop.IP6OptionTooMany, 0},
		{"header beyond the packet", u.behind(extension{wire.ProtoDestOpts, []byte{200, 1, 4, 0, 0, 0, 0}}), drop.IP6ExtensionShort, 0},
		{"nothing behind", packet6{src: ipA6, dst: ipB6, next: wire.ProtoNoNext}, drop.IP6NoNextHeader, 0},
		{"unknown behind", packet6{src: ipA6, dst: ipB6, next: 99}.behind(pad(wire.ProtoDestOpts)), drop.IP6UnknownNextHeader, 1},
		{"jumbogram", packet6{src: ipA6, dst: ipB6, next: wire.ProtoHopByHop, payload: nil}, drop.IP6ExtensionShort, 0},
	} {
		v.pass(2 * time.Second) // so that an error may be sent again
		v.want(row.name, v.hit(row.packet.frame()), row.want, row.frames)
	}
	answers := 0
	for range 5000 {
		v.hit(u.behind(routing(0, 1)).frame())
		answers += v.draws()
	}
	if answers > errorsAtOnce {
		t.Errorf("5000 bad packets drew %d errors", answers)
	}
	if n := v.b.TCP.Count(tcp.SynReceived); n != 0 {
		t.Errorf("%d half-open connections", n)
	}
	v.alive()
}
