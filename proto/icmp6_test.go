package proto

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// answer6 gives b, which knows its neighbour, a frame, and returns the IPv6 packet that it draws.
func answer6(t *testing.T, frame []byte) (b *Stack, ip wire.IPv6) {
	t.Helper()
	b = newHost(macB, ipB6)
	input(t, b, discovery(ipA6, ipB6, solicitation(ipB6, macA)).frame(), 1)
	drain(t, b, 1)
	input(t, b, frame, 1)
	buf := make([]byte, 2048)
	n := b.Output(0, buf, 1)
	if n == 0 {
		return b, nil
	}
	ip, ok := wire.ParseIPv6(buf[wire.EthernetLen:n])
	if !ok || len(ip) != n-wire.EthernetLen || drain(t, b, 1) > 0 {
		t.Fatalf("%x", buf[:n])
	}
	return b, ip
}

// TestErrorsSayWhatIsWrong: type, code and pointer of each error that is sent, whom it is from and for,
// and that it quotes the packet.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	u := udp6(portA6, netip.AddrPortFrom(ipB6, 7), "x")
	all := wire.AllNodes6
	toAll := func(p packet6) packet6 { p.dst, p.mac = all, wire.MulticastMAC(all); return p }
	pad := func(kind wire.Protocol) extension { return extension{kind, []byte{0, 1, 4, 0, 0, 0, 0}} }
	option := func(kind wire.Protocol, typ uint8) extension { return extension{kind, []byte{0, 1, 0, typ, 2, 3, 4}} }
	for _, row := range []struct {
		clause  string
		packet  packet6
		typ     wire.ICMP6Type
		code    uint8
		pointer uint32
	}{
		{"RFC 4443 §3.1: no port", u, wire.ICMP6Unreachable, wire.ICMP6PortUnreachable, 0},
		{"RFC 8200 §4: unknown next header", packet6{src: ipA6, dst: ipB6, next: 99, payload: []byte("?")}, wire.ICMP6ParamProblem, wire.ICMP6BadNextHeader, 6},
		{"RFC 8200 §4: unknown behind others", packet6{src: ipA6, dst: ipB6, next: 99}.behind(pad(wire.ProtoHopByHop), pad(wire.ProtoDestOpts)), wire.ICMP6ParamProblem, wire.ICMP6BadNextHeader, 48},
		{"RFC 8200 §4.1: hop-by-hop not first", u.behind(pad(wire.ProtoDestOpts), pad(wire.ProtoHopByHop)), wire.ICMP6ParamProblem, wire.ICMP6BadNextHeader, 40},
		{"RFC 8200 §4.2: action 10", u.behind(option(wire.ProtoHopByHop, 0x80)), wire.ICMP6ParamProblem, wire.ICMP6BadOption, 44},
		{"RFC 8200 §4.2: action 10, to a group too", toAll(u).behind(option(wire.ProtoDestOpts, 0x80)), wire.ICMP6ParamProblem, wire.ICMP6BadOption, 44},
		{"RFC 8200 §4.2: action 11", u.behind(option(wire.ProtoDestOpts, 0xc0)), wire.ICMP6ParamProblem, wire.ICMP6BadOption, 44},
		{"RFC 5095 §3: routing header type 0", u.behind(extension{wire.ProtoRouting, []byte{0, 0, 1, 0, 0, 0, 0}}), wire.ICMP6ParamProblem, wire.ICMP6BadField, 42},
		{"RFC 8200 §4.4: unknown routing type", u.behind(pad(wire.ProtoDestOpts), extension{wire.ProtoRouting, []byte{0, 77, 2, 0, 0, 0, 0}}), wire.ICMP6ParamProblem, wire.ICMP6BadField, 50},
		{"RFC 7112 §5: first fragment without its headers", packet6{src: ipA6, dst: ipB6, next: wire.ProtoUDP, payload: []byte{0, 7}}.behind(extension{wire.ProtoFragment, []byte{0, 0, 1, 0, 0, 0, 9}}), wire.ICMP6ParamProblem, wire.ICMP6FirstFragment, 0},
		{"RFC 4443 §2.4 (c): no longer than 1280 bytes", udp6(portA6, netip.AddrPortFrom(ipB6, 7), string(make([]byte, 1400))), wire.ICMP6Unreachable, wire.ICMP6PortUnreachable, 0},
	} {
		frame := row.packet.frame()
		_, ip := answer6(t, frame)
		if ip == nil {
			t.Errorf("%s: no answer", row.clause)
			continue
		}
		icmp, ok := wire.ParseICMP6(ip.Payload())
		if !ok || ip.NextHeader() != wire.ProtoICMPv6 || icmp.Check(ip.PseudoSum(wire.ProtoICMPv6, len(icmp))) != wire.ChecksumGood {
			t.Fatalf("%s: %x", row.clause, []byte(ip))
		}
		if icmp.Type() != row.typ || icmp.Code() != row.code || icmp.Pointer() != row.pointer {
			t.Errorf("%s: %v code %d pointer %d", row.clause, icmp.Type(), icmp.Code(), icmp.Pointer())
		}
		if ip.Src() != ipB6 || ip.Dst() != ipA6 {
			t.Errorf("%s: from %v to %v", row.clause, ip.Src(), ip.Dst())
		}
		about := frame[wire.EthernetLen:]
		if want := about[:min(len(about), 1280-48)]; !bytes.Equal(icmp.Quoted(), want) || len(ip) > 1280 {
			t.Errorf("%s: quotes %d of %d bytes, in all %d", row.clause, len(icmp.Quoted()), len(about), len(ip))
		}
	}
}

// TestErrorsThatAreNeverSent is RFC 4443 §2.4 (e), clause by clause.
func TestErrorsThatAreNeverSent(t *testing.T) {
	bad := extension{wire.ProtoDestOpts, []byte{0, 0x80, 4, 0, 0, 0, 0}} // would be answered
	all := wire.AllNodes6
	nobody := netip.IPv6Unspecified()
	none := udp6(portA6, netip.AddrPortFrom(ipB6, 7), "x")
	for name, row := range map[string]struct {
		packet packet6
		want   drop.Reason
	}{
		"(e.1) about an error":                            {icmp6(ipA6, ipB6, wire.ICMP6Unreachable, 0, 0, nil).behind(bad), drop.IP6OptionUnknown},
		"(e.1) about an error of an unknown type":         {icmp6(ipA6, ipB6, 127, 0, 0, nil).behind(bad), drop.IP6OptionUnknown},
		"(e.1) about what may be one":                     {packet6{src: ipA6, dst: ipB6, next: wire.ProtoICMPv6}.behind(bad), drop.IP6OptionUnknown},
		"(e.1) about a later fragment of what may be one": {packet6{src: ipA6, dst: ipB6, next: wire.ProtoICMPv6, payload: make([]byte, 9)}.behind(extension{wire.ProtoFragment, []byte{0, 0, 9, 0, 0, 0, 9}}), drop.FragmentBad},
		"(e.2) about a redirect":                          {icmp6(ipA6, ipB6, wire.ICMP6Redirect, 0, 0, nil).behind(bad), drop.IP6OptionUnknown},
		"(e.3) no port of a group":                        {packet6{src: ipA6, dst: all, mac: wire.MulticastMAC(all), next: none.next, payload: none.payload}, drop.UDPNoSocket},
		"(e.3) action 11 to a group":                      {packet6{src: ipA6, dst: all, mac: wire.MulticastMAC(all), next: none.next, payload: none.payload}.behind(extension{wire.ProtoDestOpts, []byte{0, 0xc0, 4, 0, 0, 0, 0}}), drop.IP6OptionUnknown},
		"(e.3) routing header to a group":                 {packet6{src: ipA6, dst: all, mac: wire.MulticastMAC(all), next: none.next, payload: none.payload}.behind(extension{wire.ProtoRouting, []byte{0, 0, 1, 0, 0, 0, 0}}), drop.IP6RoutingHeader},
		"from nobody":                                     {packet6{src: nobody, dst: ipB6, next: none.next, payload: none.payload}, drop.IP6BadSource},
		"an answer to an echo request from nobody":        {icmp6(nobody, ipB6, wire.ICMP6Echo, 0, 1, nil), drop.IP6BadSource},
		"RFC 8200 §4.2: action 01":                        {none.behind(extension{wire.ProtoDestOpts, []byte{0, 0x40, 4, 0, 0, 0, 0}}), drop.IP6OptionUnknown},
		"RFC 8200 §4.7: no next header":                   {packet6{src: ipA6, dst: ipB6, next: wire.ProtoNoNext, payload: []byte("ignored")}, drop.IP6NoNextHeader},
		"RFC 8200 §8.1: a datagram without checksum":      {none, drop.UDPChecksumMissing},
		"RFC 4443 §2.4 (a): an error of an unknown type":  {icmp6(ipA6, ipB6, 100, 0, 0, make([]byte, 60)), drop.ICMP6QuoteShort},
		"RFC 4443 §2.4 (b): a message of an unknown type": {icmp6(ipA6, ipB6, 200, 0, 0, nil), drop.ICMP6UnknownType},
	} {
		frame := row.packet.frame()
		if row.want == drop.UDPChecksumMissing {
			copy(frame[wire.EthernetLen+wire.IPv6Len+6:], []byte{0, 0})
		}
		b, ip := answer6(t, frame)
		if ip != nil {
			t.Errorf("%s: %x", name, []byte(ip))
		}
		if b.Count[row.want] != 1 {
			t.Errorf("%s: %v", name, drops(b))
		}
	}
}

// TestErrorsReachConnectedSockets: what each ICMPv6 error is to a program (icmpv6_err_convert), and that
// soft ones are nothing to a datagram socket.
func TestErrorsReachConnectedSockets(t *testing.T) {
	for _, row := range []struct {
		typ  wire.ICMP6Type
		code uint8
		want unix.Errno
	}{
		{wire.ICMP6Unreachable, wire.ICMP6NoRoute, 0},
		{wire.ICMP6Unreachable, wire.ICMP6AdminProhibited, unix.EACCES},
		{wire.ICMP6Unreachable, wire.ICMP6BeyondScope, 0},
		{wire.ICMP6Unreachable, wire.ICMP6AddrUnreachable, 0},
		{wire.ICMP6Unreachable, wire.ICMP6PortUnreachable, unix.ECONNREFUSED},
		{wire.ICMP6Unreachable, wire.ICMP6SourcePolicy, unix.EACCES},
		{wire.ICMP6Unreachable, wire.ICMP6RejectRoute, unix.EACCES},
		{wire.ICMP6Unreachable, 7, unix.EPROTO},
		{wire.ICMP6TimeExceeded, 0, 0},
		{wire.ICMP6ParamProblem, wire.ICMP6BadNextHeader, unix.EPROTO},
	} {
		b := newHost(macB, ipB6)
		sock := newSocket(b, &b.UDP, at(ipB6, 1000))
		sock.Remote = netip.AddrPortFrom(ipA6, 9)
		sent := udp6(netip.AddrPortFrom(ipB6, 1000), sock.Remote, "sent").behind(extension{wire.ProtoDestOpts, []byte{0, 1, 4, 0, 0, 0, 0}})
		quoted := sent.frame()[wire.EthernetLen:]
		if r := input(t, b, icmp6(far6, ipB6, row.typ, row.code, 0, quoted).frame(), 1); r != drop.None {
			t.Errorf("%v code %d: %v", row.typ, row.code, r)
		}
		if errno := unix.Errno(sock.Error.Take()); errno != row.want {
			t.Errorf("%v code %d: %v, want %v", row.typ, row.code, errno, row.want)
		}
		sent.src = ipA6 // of somebody else
		if r := input(t, b, icmp6(far6, ipB6, row.typ, row.code, 0, sent.frame()[wire.EthernetLen:]).frame(), 1); r != drop.ICMP6QuoteUnknown {
			t.Errorf("%v code %d about another's packet: %v", row.typ, row.code, r)
		}
	}
}

// TestFlowLabels is RFC 6437 §3: one label for a flow, another for others, never none, and none that can be
// known without the host's secret.
func TestFlowLabels(t *testing.T) {
	s := New(Config{Ports: []PortConfig{{MTU: 1500}}, Secret: [16]byte{1, 2, 3}})
	other := New(Config{Ports: []PortConfig{{MTU: 1500}}, Secret: [16]byte{1, 2, 4}})
	seen := map[uint32]int{}
	differ := 0
	const flows = 20_000
	for i := range flows {
		remote := netip.AddrPortFrom(ipB6, uint16(i))
		label := s.flowLabel(wire.ProtoUDP, netip.AddrPortFrom(ipA6, 1000), remote)
		if label == 0 || label >= 1<<20 {
			t.Fatalf("label %#x", label)
		}
		if label != s.flowLabel(wire.ProtoUDP, netip.AddrPortFrom(ipA6, 1000), remote) {
			t.Fatal("another label for the same flow")
		}
		seen[label]++
		for _, l := range []uint32{
			s.flowLabel(wire.ProtoTCP, netip.AddrPortFrom(ipA6, 1000), remote),
			s.flowLabel(wire.ProtoUDP, netip.AddrPortFrom(ipA6, 1001), remote),
			other.flowLabel(wire.ProtoUDP, netip.AddrPortFrom(ipA6, 1000), remote),
		} {
			if l != label {
				differ++
			}
		}
	}
	// Of random labels some 190 pairs would be alike.
	if n := flows - len(seen); n > 400 {
		t.Errorf("%d flows share a label", n)
	}
	if differ < 3*flows-10 {
		t.Errorf("%d of %d differ by protocol, port or secret", differ, 3*flows)
	}
}

// Every segment of a connection has its label, those of no connection's too.
func TestConnectionKeepsItsFlowLabel(t *testing.T) {
	labels := map[[2]uint16]map[uint32]bool{}
	path := trouble{Loss: 0.05, Drop: func(_ int, frame []byte) bool {
		if ip, ok := wire.ParseIPv6(frame[wire.EthernetLen:]); ok && ip.NextHeader() == wire.ProtoTCP {
			h := wire.TCP(ip.Payload())
			flow := [2]uint16{h.SrcPort(), h.DstPort()}
			if labels[flow] == nil {
				labels[flow] = map[uint32]bool{}
			}
			labels[flow][ip.FlowLabel()] = true
		}
		return false
	}}
	s := family6.sim(t, 5, path, tcp.Params{}, nil)
	c := s.listen(s.b, s.a, 80).dial(100_000, 100_000)
	s.until(300e9, "transfer", c.over)
	s.empty(600e9)
	if len(labels) != 2 {
		t.Fatalf("%d flows", len(labels))
	}
	for flow, of := range labels {
		if len(of) != 1 || of[0] {
			t.Errorf("%v has the labels %v", flow, of)
		}
	}
}
