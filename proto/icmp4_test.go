package proto

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// answer4 gives b, which knows its neighbour, a frame, and returns the IPv4 packet that it draws.
func answer4(t *testing.T, frame []byte) (b *Stack, ip wire.IPv4) {
	t.Helper()
	b = newHost(macB, ipB)
	input(t, b, forgeARP(macB, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: ipA, TargetIP: ipB}), 1)
	drain(t, b, 1)
	input(t, b, frame, 1)
	buf := make([]byte, 2048)
	n := b.Output(0, buf, 1)
	if n == 0 {
		return b, nil
	}
	ip, ok := wire.ParseIPv4(buf[wire.EthernetLen:n])
	if !ok || !ip.ChecksumOK() || len(ip) != n-wire.EthernetLen || drain(t, b, 1) > 0 {
		t.Fatalf("%x", buf[:n])
	}
	return b, ip
}

// optioned is a datagram with IPv4 options.
func optioned(options ...byte) []byte {
	plain := forgeUDP(portA, portB(7), "x")
	payload := wire.IPv4(plain[wire.EthernetLen:]).Payload()
	b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(options)+len(payload))
	n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
	n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: wire.ProtoUDP, Src: ipA, Dst: ipB, PayloadLen: len(payload), Options: options})
	copy(b[n:], payload)
	return b
}

// TestErrorsOverIPv4SayWhatIsWrong: type, code and pointer of each error that is sent, whom it is from and for,
// that it quotes the packet, and that routers may cut it.
func TestErrorsOverIPv4SayWhatIsWrong(t *testing.T) {
	for _, row := range []struct {
		clause string
		frame  []byte
		typ    wire.ICMP4Type
		code   uint8
		rest   uint32
	}{
		{"RFC 1122 §4.1.3.1: no port", forgeUDP(portA, portB(7), "x"), wire.ICMP4Unreachable, wire.ICMP4PortUnreachable, 0},
		{"RFC 1122 §3.2.2.1: unknown protocol", forge(ipA, ipB, 99, []byte("?")), wire.ICMP4Unreachable, wire.ICMP4ProtoUnreachable, 0},
		{"RFC 1122 §3.2.2.5: an option of one byte", optioned(1, 7, 1, 0), wire.ICMP4ParamProblem, 0, 21 << 24},
		{"RFC 1122 §3.2.2.5: an option beyond the header", optioned(1, 1, 7, 5), wire.ICMP4ParamProblem, 0, 22 << 24},
		{"RFC 1812 §4.3.2.3: no longer than 576 bytes", forgeUDP(portA, portB(7), string(make([]byte, 1400))), wire.ICMP4Unreachable, wire.ICMP4PortUnreachable, 0},
	} {
		_, ip := answer4(t, row.frame)
		if ip == nil {
			t.Errorf("%s: no answer", row.clause)
			continue
		}
		icmp, ok := wire.ParseICMP4(ip.Payload())
		if !ok || ip.Protocol() != wire.ProtoICMP || !icmp.ChecksumOK() {
			t.Fatalf("%s: %x", row.clause, []byte(ip))
		}
		if icmp.Type() != row.typ || icmp.Code() != row.code || icmp.Rest() != row.rest {
			t.Errorf("%s: %v code %d, %#x", row.clause, icmp.Type(), icmp.Code(), icmp.Rest())
		}
		if ip.Src() != ipB || ip.Dst() != ipA || ip.DF() {
			t.Errorf("%s: from %v to %v, DF %v", row.clause, ip.Src(), ip.Dst(), ip.DF())
		}
		about := row.frame[wire.EthernetLen:]
		if want := about[:min(len(about), 576-28)]; string(icmp.Payload()) != string(want) {
			t.Errorf("%s: quotes %d of %d bytes", row.clause, len(icmp.Payload()), len(about))
		}
	}
}

// TestErrorsThatAreNeverSent4 is RFC 1122 §3.2.2, clause by clause.
func TestErrorsThatAreNeverSent4(t *testing.T) {
	toAll := func(frame []byte) []byte { copy(frame, wire.Broadcast[:]); return frame }
	later := func(frame []byte, offset int) []byte {
		h := wire.IPv4(frame[wire.EthernetLen:])
		h.SetFragment(offset, false, true)
		h.Seal()
		return frame
	}
	odd := func(protocol wire.Protocol, payload []byte) []byte { // with an option that would be answered
		b := make([]byte, wire.EthernetLen+wire.IPv4Len+4+len(payload))
		n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: protocol, Src: ipA, Dst: ipB, PayloadLen: len(payload), Options: []byte{7, 1, 0, 0}})
		copy(b[n:], payload)
		return b
	}
	for name, row := range map[string]struct {
		frame []byte
		want  drop.Reason
	}{
		"about an error":                              {odd(wire.ProtoICMP, []byte{3, 3, 0, 0, 0, 0, 0, 0}), drop.IP4OptionsBad},
		"about a redirect":                            {odd(wire.ProtoICMP, []byte{5, 0, 0, 0, 0, 0, 0, 0}), drop.IP4OptionsBad},
		"about what may be an error":                  {odd(wire.ProtoICMP, nil), drop.IP4OptionsBad},
		"to a broadcast address":                      {forgeUDP(portA, netip.AddrPortFrom(directed, 7), "x"), drop.UDPNoSocket},
		"to a group":                                  {toAll(forge(ipA, netip.MustParseAddr("224.0.0.1"), 99, nil)), drop.IP4UnknownProtocol},
		"in a link-layer broadcast":                   {toAll(forgeUDP(portA, portB(7), "x")), drop.IP4BadDestination},
		"about a later fragment":                      {later(odd(wire.ProtoUDP, make([]byte, 16)), 16), drop.IP4OptionsBad},
		"from nobody":                                 {forgeUDP(netip.MustParseAddrPort("0.0.0.0:1"), portB(7), "x"), drop.IP4BadSource},
		"from a group":                                {forgeUDP(netip.MustParseAddrPort("224.0.0.9:1"), portB(7), "x"), drop.IP4BadSource},
		"a request for the time":                      {forgeICMP(ipA, ipB, wire.ICMP4Timestamp, 0, 1, make([]byte, 12)), drop.ICMP4UnknownType},
		"RFC 6633: a source quench":                   {forgeICMP(ipA, ipB, wire.ICMP4SourceQuench, 0, 0, forgeUDP(portB(1), portA, "x")[wire.EthernetLen:]), drop.ICMP4UnknownType},
		"a redirect by no router":                     {forgeICMP(ipA, ipB, wire.ICMP4Redirect, 1, 0, forgeUDP(portB(1), portA, "x")[wire.EthernetLen:]), drop.ICMP4RedirectRefused},
		"RFC 1122 §3.2.2.6: a broadcast echo request": {toAll(forgeICMP(ipA, directed, wire.ICMP4Echo, 0, 1, nil)), drop.ICMP4Broadcast},
		"a loose source route, RFC 7126 §4.3":         {optioned(131, 7, 4, 10, 9, 0, 9, 0), drop.IP4SourceRoute},
		"a strict one that has come to its end":       {optioned(137, 7, 8, 10, 9, 0, 2, 0), drop.IP4SourceRoute},
	} {
		b, ip := answer4(t, row.frame)
		if ip != nil {
			t.Errorf("%s: %x", name, []byte(ip))
		}
		if b.Count[row.want] != 1 {
			t.Errorf("%s: %v", name, drops(b))
		}
	}
}

// An echo reply has no socket that could be told that it was too big for the path, so routers may cut it, and what
// may be cut has an identification that does not come again soon (RFC 6864 §4.2).
func TestEchoRepliesMayBeCut(t *testing.T) {
	seen := map[uint16]bool{}
	b := newHost(macB, ipB)
	for i := range 20 {
		input(t, b, forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, uint32(i), make([]byte, 1400)), 1)
		if i == 0 { // who is asked for first
			drain(t, b, 1)
			input(t, b, forgeARP(macB, &wire.ARPFields{Op: wire.ARPReply, SenderMAC: macA, SenderIP: ipA, TargetMAC: macB, TargetIP: ipB}), 1)
		}
		frames := sayings(b, 1)
		ip, ok := wire.ParseIPv4(frames[len(frames)-1][wire.EthernetLen:])
		if !ok || ip.DF() || seen[ip.ID()] {
			t.Fatalf("reply %d: DF %v, identification %d", i, ip.DF(), ip.ID())
		}
		seen[ip.ID()] = true
	}
}

// Over IPv6 only its sender cuts a packet: who is pinged through a narrow path has to believe the
// router that says so (RFC 8201 §4), or no long echo request would ever be answered.
func TestEchoRepliesOverIPv6FollowThePath(t *testing.T) {
	b := newHost(macB, ipB6)
	input(t, b, discovery(ipA6, ipB6, solicitation(ipB6, macA)).frame(), 1)
	drain(t, b, 1)
	request := icmp6(ipA6, ipB6, wire.ICMP6Echo, 0, 1, make([]byte, 1400)).frame()
	input(t, b, request, 1)
	reply := sayings(b, 1)[0]
	report := icmp6(far6, ipB6, wire.ICMP6PacketTooBig, 0, 1300, reply[wire.EthernetLen:][:1200]).frame()
	if r := input(t, b, report, 1); r != drop.None {
		t.Fatal(r)
	}
	input(t, b, request, 1)
	for _, frame := range sayings(b, 1) {
		if n := len(frame) - wire.EthernetLen; n > 1300 {
			t.Errorf("a reply of %d bytes leaves for a path of 1300", n)
		}
	}
	low := icmp6(far6, ipB6, wire.ICMP6PacketTooBig, 0, 1279, reply[wire.EthernetLen:][:1200]).frame()
	if r := input(t, b, low, 1); r != drop.ICMP6QuoteImplausible {
		t.Errorf("a path of 1279 bytes: %v", r)
	}
	// Of no other error about a reply is anything to be learnt.
	gone := icmp6(far6, ipB6, wire.ICMP6Unreachable, 0, 0, reply[wire.EthernetLen:][:1200]).frame()
	if r := input(t, b, gone, 1); r != drop.ICMP6QuoteUnknown {
		t.Errorf("unreachable: %v", r)
	}
}

// What a host sends to itself meets no router, and an error has one addressee.
func TestErrorsFromOutsideAboutOurselves(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		b := New(Config{Ports: []PortConfig{{MAC: macB, MTU: 1500}, {MTU: 65536, Loop: true}}})
		setAddr(b, f.b)
		loopback := netip.MustParseAddr("127.0.0.1")
		if f == family6 {
			loopback = netip.IPv6Loopback()
		}
		all := map[*family]netip.Addr{family4: directed, family6: wire.AllNodes6}[f]
		hit := func(to, from, about netip.Addr) drop.Reason {
			src, dst := netip.AddrPortFrom(from, 1000), netip.AddrPortFrom(about, 9)
			if f == family4 {
				frame := forgeICMP(ipA, to, wire.ICMP4Unreachable, wire.ICMP4PortUnreachable, 0, forgeUDP(src, dst, "x")[wire.EthernetLen:])
				return input(t, b, frame, 1)
			}
			p := icmp6(ipA6, to, wire.ICMP6Unreachable, wire.ICMP6PortUnreachable, 0, udp6(src, dst, "x").frame()[wire.EthernetLen:])
			if to.IsMulticast() {
				p.mac = wire.MulticastMAC(to)
			}
			return input(t, b, p.frame(), 1)
		}
		unknown, group := drop.ICMP4QuoteUnknown, drop.ICMP4Broadcast
		if f == family6 {
			unknown, group = drop.ICMP6QuoteUnknown, drop.ICMP6Multicast
		}
		for name, row := range map[string]struct {
			to, from, about netip.Addr
			want            drop.Reason
			errno           unix.Errno
		}{
			"between our own addresses": {f.b, f.b, f.b, unknown, 0},
			"of the loopback address":   {f.b, loopback, loopback, unknown, 0},
			"to everyone":               {all, f.b, f.a, group, 0},
			"of the peer":               {f.b, f.b, f.a, drop.None, unix.ECONNREFUSED},
		} {
			sock := newSocket(b, &b.UDP, at(row.from, 1000))
			sock.Remote = netip.AddrPortFrom(row.about, 9)
			if r := hit(row.to, row.from, row.about); r != row.want {
				t.Errorf("%s: %v, want %v", name, r, row.want)
			}
			if e := unix.Errno(sock.Error.Take()); e != row.errno {
				t.Errorf("%s: the socket has %v", name, e)
			}
			b.UDP.Remove(sock)
		}
	})
}
