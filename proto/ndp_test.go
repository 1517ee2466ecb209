package proto

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var (
	linkA = LinkLocal(&PortConfig{MAC: macA}).Addr().WithZone("1")
	linkB = LinkLocal(&PortConfig{MAC: macB}).Addr().WithZone("1")
)

func TestUDPOverIPv6ResolvesAndAnswers(t *testing.T) {
	for _, row := range []struct {
		bound, to, from netip.AddrPort
	}{
		{netip.MustParseAddrPort("[::]:7"), netip.AddrPortFrom(ipB6, 7), netip.AddrPortFrom(ipA6, 1000)},
		{netip.AddrPortFrom(ipB6, 7), netip.AddrPortFrom(ipB6, 7), netip.AddrPortFrom(ipA6, 1000)},
		{netip.AddrPortFrom(linkB, 7), netip.AddrPortFrom(linkB, 7), netip.AddrPortFrom(linkA, 1000)},
	} {
		a, b := newHost(macA, ipA6), newHost(macB, ipB6)
		sa, sb := newSocket(a, &a.UDP, "[::]:1000"), newSocket(b, &b.UDP, row.bound.String())
		body := []byte("hello")
		if e := send(a, sa, row.to, body, 1); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		var m ring.Datagram
		buf := make([]byte, 100)
		n, ok := sb.Recv.Get(&m, buf, false)
		if !ok || !bytes.Equal(buf[:n], body) || m.From != row.from || m.To != row.to || m.TTL != 64 {
			t.Fatalf("to %v: got %q %+v %v; drops %v %v", row.to, buf[:n], m, ok, drops(a), drops(b))
		}
		if e := send(b, sb, m.From, buf[:n], 2); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 2)
		if n, ok := sa.Recv.Get(&m, buf, false); !ok || !bytes.Equal(buf[:n], body) || m.From != row.to {
			t.Fatalf("to %v: no answer; drops %v", row.to, drops(a))
		}
		if e := b.Neigh.Lookup(0, row.from.Addr()); e == nil || e.MAC != macA {
			t.Errorf("b does not know its neighbour: %+v", e)
		}
	}
}

// ndp is a message of discovery as station mac sends it.
type ndp struct {
	src, dst netip.Addr
	mac      wire.MAC // of the destination
	hops     uint8
	message  []byte
}

func (m ndp) frame() []byte {
	b := make([]byte, wire.EthernetLen+wire.IPv6Len+len(m.message))
	n := wire.PutEthernet(b, m.mac, macA, wire.EtherTypeIPv6)
	copy(b[n+wire.IPv6Len:], m.message)
	putNDP(b[n:], m.src, m.dst, len(m.message))
	b[n+7] = m.hops
	return b
}

func solicitation(target netip.Addr, source wire.MAC) []byte {
	b := make([]byte, wire.NeighborSolicitationLen+wire.LinkAddressOptionLen)
	return b[:wire.PutNeighborSolicitation(b, target, source)]
}

func advertisement(target netip.Addr, mac wire.MAC, flags wire.NeighborFlags) []byte {
	b := make([]byte, wire.NeighborAdvertisementLen+wire.LinkAddressOptionLen)
	return b[:wire.PutNeighborAdvertisement(b, target, mac, flags)]
}

// said is what a stack says, one message of discovery: who it is from and for, and the message.
func said(t *testing.T, s *Stack) (src, dst netip.Addr, mac wire.MAC, icmp wire.ICMP6) {
	t.Helper()
	buf := make([]byte, 2048)
	n := s.Output(0, buf, 1)
	for isMembership(buf[:n]) {
		n = s.Output(0, buf, 1)
	}
	if n == 0 {
		return
	}
	eth, _ := wire.ParseEthernet(buf[:n])
	ip, ok := wire.ParseIPv6(eth.Payload())
	if !ok || ip.HopLimit() != 255 || ip.NextHeader() != wire.ProtoICMPv6 {
		t.Fatalf("%x", buf[:n])
	}
	if icmp, ok = wire.ParseICMP6(ip.Payload()); !ok || icmp.Check(ip.PseudoSum(wire.ProtoICMPv6, len(icmp))) != wire.ChecksumGood {
		t.Fatalf("checksum: %x", buf[:n])
	}
	more := make([]byte, 2048)
	if n := s.Output(0, more, 1); n > 0 && !isMembership(more[:n]) {
		t.Fatal("more than one message")
	}
	return ip.Src(), ip.Dst(), eth.Dst(), icmp
}

func TestSolicitationIsAnsweredWithTheFlagsThatFit(t *testing.T) {
	group := wire.SolicitedNode(ipB6)
	for name, row := range map[string]struct {
		in       ndp
		dst      netip.Addr
		mac      wire.MAC
		flags    wire.NeighborFlags
		learns   bool
		resolves bool
	}{
		"by multicast": {
			in:  ndp{ipA6, group, wire.MulticastMAC(group), 255, solicitation(ipB6, macA)},
			dst: ipA6, mac: macA, flags: wire.NeighborSolicited | wire.NeighborOverride, learns: true,
		},
		"by unicast": {
			in:  ndp{ipA6, ipB6, macB, 255, solicitation(ipB6, macA)},
			dst: ipA6, mac: macA, flags: wire.NeighborSolicited | wire.NeighborOverride, learns: true,
		},
		"duplicate address detection": {
			in:  ndp{netip.IPv6Unspecified(), group, wire.MulticastMAC(group), 255, solicitation(ipB6, wire.MAC{})},
			dst: wire.AllNodes6, mac: wire.MulticastMAC(wire.AllNodes6), flags: wire.NeighborOverride,
		},
		"from off the link": { // CVE-2008-2476: answered, not believed
			in:  ndp{netip.MustParseAddr("2001:db8::1"), group, wire.MulticastMAC(group), 255, solicitation(ipB6, macA)},
			dst: netip.MustParseAddr("2001:db8::1"), mac: macA, flags: wire.NeighborSolicited | wire.NeighborOverride,
		},
	} {
		b := newHost(macB, ipB6)
		if r := input(t, b, row.in.frame(), 1); r != drop.None {
			t.Errorf("%s: %v", name, r)
		}
		src, dst, mac, icmp := said(t, b)
		na, ok := wire.ParseNeighborAdvertisement(icmp)
		if !ok || icmp.Type() != wire.ICMP6NeighborAdvertisement || icmp.Code() != 0 {
			t.Fatalf("%s: %x", name, []byte(icmp))
		}
		var o wire.NDPOptions
		if src != ipB6 || dst != row.dst || mac != row.mac || na.Flags() != row.flags || na.Target() != ipB6 || !o.Parse(na.Options()) || o.Target != macB {
			t.Errorf("%s: from %v to %v %v flags %x: %x", name, src, dst, mac, na.Flags(), []byte(icmp))
		}
		e := b.Neigh.Lookup(0, row.in.src)
		if (e != nil) != row.learns || e != nil && (e.State() != neigh.Stale || e.MAC != macA) {
			t.Errorf("%s: learnt %+v", name, e)
		}
	}
}

// A solicitation by unicast may leave its sender's address out (RFC 4861 §4.3): the answer waits
// until that is known.
func TestAnswerToAnUnknownNeighbourAsksBack(t *testing.T) {
	b := newHost(macB, ipB6)
	if r := input(t, b, ndp{ipA6, ipB6, macB, 255, solicitation(ipB6, wire.MAC{})}.frame(), 1); r != drop.None {
		t.Fatal(r)
	}
	_, dst, _, icmp := said(t, b)
	if icmp.Type() != wire.ICMP6NeighborSolicitation || dst != wire.SolicitedNode(ipA6) {
		t.Fatalf("to %v: %x", dst, []byte(icmp))
	}
	input(t, b, ndp{ipA6, ipB6, macB, 255, advertisement(ipA6, macA, wire.NeighborSolicited|wire.NeighborOverride)}.frame(), 1)
	if _, dst, mac, icmp := said(t, b); icmp.Type() != wire.ICMP6NeighborAdvertisement || dst != ipA6 || mac != macA {
		t.Errorf("to %v %v: %x", dst, mac, []byte(icmp))
	}
}

// TestDiscoveryValidation is RFC 4861 §7.1.1, §7.1.2, clause by clause.
func TestDiscoveryValidation(t *testing.T) {
	group := wire.SolicitedNode(ipB6)
	groupMAC := wire.MulticastMAC(group)
	other := netip.MustParseAddr("fd09::3")
	ns, na := solicitation(ipB6, macA), advertisement(ipA6, macA, wire.NeighborSolicited|wire.NeighborOverride)
	with := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }
	for name, row := range map[string]struct {
		m    ndp
		want drop.Reason
	}{
		"hop limit 254":                      {ndp{ipA6, group, groupMAC, 254, ns}, drop.NDPHopLimit},
		"hop limit 64, advertisement":        {ndp{ipA6, ipB6, macB, 64, na}, drop.NDPHopLimit},
		"code":                               {ndp{ipA6, group, groupMAC, 255, with(ns, 1, 1)}, drop.NDPCode},
		"short":                              {ndp{ipA6, group, groupMAC, 255, ns[:23]}, drop.NDPShort},
		"short advertisement":                {ndp{ipA6, ipB6, macB, 255, na[:23]}, drop.NDPShort},
		"multicast target":                   {ndp{ipA6, group, groupMAC, 255, solicitation(group, macA)}, drop.NDPBadTarget},
		"multicast target, advertisement":    {ndp{ipA6, ipB6, macB, 255, advertisement(group, macA, 0)}, drop.NDPBadTarget},
		"option of length 0":                 {ndp{ipA6, group, groupMAC, 255, with(ns, 25, 0)}, drop.NDPOptionBad},
		"option beyond the end":              {ndp{ipA6, group, groupMAC, 255, with(ns, 25, 2)}, drop.NDPOptionBad},
		"option of length 0, advertisement":  {ndp{ipA6, ipB6, macB, 255, with(na, 25, 0)}, drop.NDPOptionBad},
		"group as source link address":       {ndp{ipA6, group, groupMAC, 255, solicitation(ipB6, groupMAC)}, drop.NDPOptionBad},
		"group as target link address":       {ndp{ipA6, ipB6, macB, 255, advertisement(ipA6, groupMAC, 0)}, drop.NDPOptionBad},
		"probe with a source link address":   {ndp{netip.IPv6Unspecified(), group, groupMAC, 255, ns}, drop.NDPOptionBad},
		"probe to unicast":                   {ndp{netip.IPv6Unspecified(), ipB6, macB, 255, solicitation(ipB6, wire.MAC{})}, drop.NDPBadSource},
		"probe to all nodes":                 {ndp{netip.IPv6Unspecified(), wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), 255, solicitation(ipB6, wire.MAC{})}, drop.NDPBadSource},
		"solicited advertisement to a group": {ndp{ipA6, wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), 255, na}, drop.NDPOptionBad},
		"advertisement from nobody":          {ndp{netip.IPv6Unspecified(), ipB6, macB, 255, na}, drop.NDPBadSource},
		"not our address":                    {ndp{ipA6, group, groupMAC, 255, solicitation(other, macA)}, drop.NDPNotForUs},
		"not asked for":                      {ndp{ipA6, ipB6, macB, 255, na}, drop.NDPUnsolicited},
		"another station with our address":   {ndp{ipB6, wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), 255, advertisement(ipB6, macA, wire.NeighborOverride)}, drop.NDPConflict},
		"another station asks as us":         {ndp{ipB6, group, groupMAC, 255, ns}, drop.NDPConflict},
		"to a group that is none of ours":    {ndp{ipA6, wire.AllRouters6, wire.MulticastMAC(wire.AllRouters6), 255, ns}, drop.IP6MulticastUnwanted},
	} {
		b := newHost(macB, ipB6)
		if r := input(t, b, row.m.frame(), 1); r != row.want {
			t.Errorf("%s: %v, want %v", name, r, row.want)
		}
		if n := b.Output(0, make([]byte, 2048), 1); n > 0 {
			t.Errorf("%s: answered", name)
		}
		if b.Neigh.Len() > 0 {
			t.Errorf("%s: a neighbour was learnt", name)
		}
	}
	// The checksum is judged before all of that.
	b := newHost(macB, ipB6)
	frame := ndp{ipA6, group, groupMAC, 255, ns}.frame()
	frame[len(frame)-1] ^= 1
	if r := input(t, b, frame, 1); r != drop.ICMP6Checksum {
		t.Errorf("damaged: %v", r)
	}
	// What we have said ourselves is no conflict.
	frame = ndp{ipB6, wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6), 255, advertisement(ipB6, macB, wire.NeighborOverride)}.frame()
	copy(frame[6:12], macB[:])
	if r := input(t, b, frame, 1); r != drop.Looped {
		t.Errorf("our own: %v", r)
	}
}

// TestAdvertisementsMoveTheNeighbour is RFC 4861 §7.2.5 over the state machine.
func TestAdvertisementsMoveTheNeighbour(t *testing.T) {
	const s, o = wire.NeighborSolicited, wire.NeighborOverride
	macC := wire.MAC{2, 0, 0, 0, 0, 3}
	bare := func(flags wire.NeighborFlags) []byte {
		return advertisement(ipA6, macA, flags)[:wire.NeighborAdvertisementLen]
	}
	for name, row := range map[string]struct {
		messages [][]byte
		state    neigh.State
		mac      wire.MAC
	}{
		"answered":                         {[][]byte{advertisement(ipA6, macA, s|o)}, neigh.Reachable, macA},
		"told, not answered":               {[][]byte{advertisement(ipA6, macA, o)}, neigh.Stale, macA},
		"without an address":               {[][]byte{bare(s | o)}, neigh.Incomplete, wire.MAC{}},
		"moved, no override":               {[][]byte{advertisement(ipA6, macA, s|o), advertisement(ipA6, macC, s)}, neigh.Stale, macA},
		"moved":                            {[][]byte{advertisement(ipA6, macA, s|o), advertisement(ipA6, macC, o)}, neigh.Stale, macC},
		"moved and answered":               {[][]byte{advertisement(ipA6, macA, s|o), advertisement(ipA6, macC, s|o)}, neigh.Reachable, macC},
		"confirmed without an address":     {[][]byte{advertisement(ipA6, macA, o), bare(s)}, neigh.Reachable, macA},
		"told again":                       {[][]byte{advertisement(ipA6, macA, s|o), advertisement(ipA6, macA, o)}, neigh.Reachable, macA},
		"stale and another, no override":   {[][]byte{advertisement(ipA6, macA, o), advertisement(ipA6, macC, s)}, neigh.Stale, macA},
		"told nothing about where it is":   {[][]byte{advertisement(ipA6, macA, s|o), bare(o)}, neigh.Reachable, macA},
		"incomplete, then without address": {[][]byte{bare(o), advertisement(ipA6, macA, s)}, neigh.Reachable, macA},
	} {
		b := newHost(macB, ipB6)
		b.Neigh.Want(0, ipA6, 1)
		for _, m := range row.messages {
			if r := input(t, b, ndp{ipA6, ipB6, macB, 255, m}.frame(), 1); r != drop.None {
				t.Errorf("%s: %v", name, r)
			}
		}
		if e := b.Neigh.Lookup(0, ipA6); e == nil || e.State() != row.state || e.MAC != row.mac {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestProbesOfReachabilityGoByUnicast: first to the group, then to the station (§7.2.2, §7.3.3).
func TestProbesOfReachabilityGoByUnicast(t *testing.T) {
	b := newHost(macB, ipB6)
	e := b.Neigh.Want(0, linkA, 1)
	group := wire.SolicitedNode(linkA)
	src, dst, mac, icmp := said(t, b)
	ns, ok := wire.ParseNeighborSolicitation(icmp)
	var o wire.NDPOptions
	if !ok || src != linkB.WithZone("") || dst != group || mac != wire.MulticastMAC(group) || ns.Target() != linkA.WithZone("") || !o.Parse(ns.Options()) || o.Source != macB {
		t.Errorf("from %v to %v %v: %x", src, dst, mac, []byte(icmp))
	}
	b.Neigh.See(neigh.Sighting{Addr: linkA, MAC: macA}, 1)
	e.Use(1)
	b.Advance(sceneStart * 6)
	src, dst, mac, icmp = said(t, b)
	if ns, ok = wire.ParseNeighborSolicitation(icmp); !ok || src != linkB.WithZone("") || dst != linkA.WithZone("") || mac != macA || ns.Target() != linkA.WithZone("") {
		t.Errorf("%v: from %v to %v %v: %x", e.State(), src, dst, mac, []byte(icmp))
	}
}

// TestTakingAnAddressIsAnnounced (§7.2.6).
func TestTakingAnAddressIsAnnounced(t *testing.T) {
	b := newHost(macB, ipB6)
	b.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(ipB6, 64)})
	b.Announce(0, ipB6)
	src, dst, mac, icmp := said(t, b)
	na, ok := wire.ParseNeighborAdvertisement(icmp)
	if !ok || src != ipB6 || dst != wire.AllNodes6 || mac != wire.MulticastMAC(wire.AllNodes6) || na.Flags() != wire.NeighborOverride || na.Target() != ipB6 {
		t.Errorf("from %v to %v %v: %x", src, dst, mac, []byte(icmp))
	}
}
