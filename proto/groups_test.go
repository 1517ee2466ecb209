package proto

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// isMembership says whether a frame tells routers of groups.
func isMembership(frame []byte) bool {
	eth, ok := wire.ParseEthernet(frame)
	if !ok {
		return false
	}
	if ip, ok := wire.ParseIPv4(eth.Payload()); ok {
		return ip.Protocol() == wire.ProtoIGMP
	}
	ip, ok := wire.ParseIPv6(eth.Payload())
	return ok && wire.WalkExtensions(ip).RouterAlert
}

// groupFamily is what the tests below run over.
type groupFamily struct {
	a, b, any       netip.Addr
	group, other    netip.Addr
	routers, silent netip.Addr // where reports go; a group of which there are none
}

var groupFamilies = map[string]*groupFamily{
	"IPv4": {ipA, ipB, netip.IPv4Unspecified(), netip.MustParseAddr("239.1.1.1"), netip.MustParseAddr("239.1.1.2"), wire.AllIGMPv3, wire.AllSystems4},
	"IPv6": {ipA6, ipB6, netip.IPv6Unspecified(), netip.MustParseAddr("ff05::101"), netip.MustParseAddr("ff05::102"), wire.AllMLDv2, wire.AllNodes6},
}

func eachGroupFamily(t *testing.T, f func(t *testing.T, f *groupFamily)) {
	for name, family := range groupFamilies {
		t.Run(name, func(t *testing.T) { f(t, family) })
	}
}

// join joins a group with a socket, as socketapi does.
func join(t *testing.T, s *Stack, sock *udp.Socket, f func(*group.Set) (*group.Set, unix.Errno)) {
	t.Helper()
	next, errno := f(sock.Groups)
	if errno != 0 {
		t.Fatal(errno)
	}
	if !s.SetGroups(sock, next) {
		t.Fatal("the table has refused it")
	}
}

func joins(g netip.Addr) func(*group.Set) (*group.Set, unix.Errno) {
	return func(s *group.Set) (*group.Set, unix.Errno) { return s.Join(0, g) }
}

// settle lets what is said of memberships go by.
func settle(s *Stack, now mono.Time) {
	var buf [2048]byte
	for range 20 {
		s.Advance(now)
		for s.Output(0, buf[:], now) > 0 {
		}
		now = now.Add(time.Second)
	}
}

// hears says which of sockets have a datagram, and takes it.
func hears(sockets ...*udp.Socket) (which string) {
	var b [100]byte
	var m ring.Datagram
	for i, s := range sockets {
		for {
			if _, ok := s.Recv.Get(&m, b[:], false); !ok {
				break
			}
			which += string(rune('0' + i))
		}
	}
	return which
}

func TestGroupsReachWhoHasJoined(t *testing.T) { // RFC 1112 §7, RFC 3376 §3; IP_MULTICAST_ALL
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		a, b := newHost(macA, f.a), newHost(macB, f.b)
		from := newSocket(a, &a.UDP, at(f.any, 1000))
		joined := newSocket(b, &b.UDP, at(f.any, 7))
		other := newSocket(b, &b.UDP, at(f.any, 7)) // has joined nothing, and hears what others have
		only := newSocket(b, &b.UDP, at(f.any, 7))
		only.Multicast4.Joined, only.Multicast6.Joined = true, true
		bound := newSocket(b, &b.UDP, at(f.group, 7))
		mine := newSocket(b, &b.UDP, at(f.b, 7)) // at our own address, where no group goes
		all := []*udp.Socket{joined, other, only, bound, mine}
		sends := func(g netip.Addr, want string, reason drop.Reason) {
			t.Helper()
			before := b.Count[reason]
			if e := send(a, from, netip.AddrPortFrom(g, 7), []byte("x"), 1); e != 0 {
				t.Fatal(e)
			}
			exchange(t, a, b, 1)
			if got := hears(all...); got != want {
				t.Errorf("heard by %q, want %q", got, want)
			}
			if reason != drop.None && b.Count[reason] != before+1 {
				t.Errorf("not counted as %v: %v", reason, drops(b))
			}
		}
		unwanted := drop.IP4MulticastUnwanted
		if f.a.Is6() {
			unwanted = drop.IP6MulticastUnwanted
		}
		sends(f.group, "", unwanted)
		join(t, b, joined, joins(f.group))
		sends(f.group, "013", drop.None)
		sends(f.other, "", unwanted)
		join(t, b, only, joins(f.group))
		sends(f.group, "0123", drop.None)

		// Only from whom it wants: the socket's filter, then the interface's when no socket wants it.
		join(t, b, joined, func(s *group.Set) (*group.Set, unix.Errno) { return s.Block(0, f.group, f.a) })
		sends(f.group, "123", drop.None)
		join(t, b, only, func(s *group.Set) (*group.Set, unix.Errno) { return s.Block(0, f.group, f.a) })
		sends(f.group, "", unwanted)
		join(t, b, only, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		join(t, b, only, func(s *group.Set) (*group.Set, unix.Errno) { return s.JoinSource(0, f.group, f.a) })
		sends(f.group, "123", drop.None)
		join(t, b, only, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		join(t, b, joined, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		sends(f.group, "", unwanted)

		// The group of all hosts is heard without joining.
		sends(f.silent, "01", drop.None)
	})
}

func TestMulticastComesBackToMembers(t *testing.T) { // RFC 1112 §6.1; IP_MULTICAST_LOOP
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		a := newHost(macA, f.a)
		from := newSocket(a, &a.UDP, at(f.any, 7))
		member := newSocket(a, &a.UDP, at(f.any, 7))
		join(t, a, member, joins(f.group))
		settle(a, 1)
		var buf [2048]byte
		sends := func(want string, frames int) {
			t.Helper()
			if e := send(a, from, netip.AddrPortFrom(f.group, 7), []byte("echo"), 100e9); e != 0 {
				t.Fatal(e)
			}
			n := 0
			for a.Output(0, buf[:], 100e9) > 0 {
				n++
			}
			if got := hears(from, member); got != want || n != frames {
				t.Errorf("heard by %q and sent %d times, want %q and %d", got, n, want, frames)
			}
		}
		sends("01", 1)
		from.Multicast4.Quiet, from.Multicast6.Quiet = true, true
		sends("", 1)
		from.Multicast4.Quiet, from.Multicast6.Quiet = false, false
		join(t, a, member, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		settle(a, 110e9)
		sends("", 1)
	})
}

// What comes back says of its hops and its class what others see of it (IP_RECVTTL, IP_RECVTOS).
func TestMulticastComesBackAsItLeaves(t *testing.T) {
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		a := newHost(macA, f.a)
		sock := newSocket(a, &a.UDP, at(f.any, 7))
		join(t, a, sock, joins(f.group))
		sock.TOS, sock.TClass = 0x20, 0x40
		sock.Multicast4.TTL, sock.Multicast4.HasTTL = 9, true
		sock.Multicast6.TTL, sock.Multicast6.HasTTL = 9, true
		class := map[bool]uint8{true: 0x20, false: 0x40}[f.a.Is4()]
		for _, m := range []*udp.Message{{}, {TTL: 3, HasTTL: true, TOS: 0x88, HasTOS: true}} {
			m.To, m.Payload = netip.AddrPortFrom(f.group, 7), []byte("x")
			ttl, tos := uint8(9), class
			if m.HasTTL {
				ttl, tos = m.TTL, m.TOS
			}
			if _, e := a.OfferMessage(wire.ProtoUDP, sock, m, 1); e != 0 {
				t.Fatal(e)
			}
			sayings(a, 1)
			var r ring.Datagram
			if _, ok := sock.Recv.Get(&r, make([]byte, 10), false); !ok || r.TTL != ttl || r.TOS != tos {
				t.Errorf("%v: TTL %d, TOS %#x; want %d, %#x", ok, r.TTL, r.TOS, ttl, tos)
			}
		}
	})
}

// A datagram that waits for room in the device comes back once, when it is taken.
func TestMulticastComesBackOnce(t *testing.T) {
	a := newHost(macA, ipA)
	g := groupFamilies["IPv4"].group
	member := newSocket(a, &a.UDP, at(netip.IPv4Unspecified(), 7))
	join(t, a, member, joins(g))
	settle(a, 1)
	offer := func() unix.Errno {
		_, e := a.Offer(wire.ProtoUDP, member, netip.AddrPortFrom(g, 7), bytes.Repeat([]byte("x"), 1000), 100e9)
		if e == 0 {
			e = a.Settle() // nothing has been pulled
		}
		return e
	}
	taken := 0
	for ; offer() == 0; taken++ {
	}
	if e := offer(); e != unix.EAGAIN {
		t.Fatal(e)
	}
	if got := len(hears(member)); got != taken {
		t.Errorf("%d datagrams were taken, %d came back", taken, got)
	}
}

func TestBroadcasts(t *testing.T) { // RFC 1122 §3.3.6, §4.1.3.5; RFC 2644
	a, b := newHost(macA, ipA), newHost(macB, ipB)
	from := newSocket(a, &a.UDP, at(netip.IPv4Unspecified(), 7))
	all := newSocket(b, &b.UDP, at(netip.IPv4Unspecified(), 7))
	mine := newSocket(b, &b.UDP, at(ipB, 7))
	everyone, link := netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("10.9.0.255")
	bound := newSocket(b, &b.UDP, at(link, 7))
	for _, c := range []struct {
		to   netip.Addr
		want string
	}{{everyone, "0"}, {link, "02"}} {
		if _, e := a.Offer(wire.ProtoUDP, from, netip.AddrPortFrom(c.to, 7), []byte("x"), 1); e != unix.EACCES {
			t.Errorf("%v without SO_BROADCAST: %v", c.to, e)
		}
		from.Broadcast = true
		if e := send(a, from, netip.AddrPortFrom(c.to, 7), []byte("x"), 1); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		if got := hears(all, mine, bound); got != c.want {
			t.Errorf("%v is heard by %q, want %q", c.to, got, c.want)
		}
		if got := hears(from); got != "0" { // on this host too (Linux ip_mc_output)
			t.Errorf("%v came back %q", c.to, got)
		}
		from.Broadcast = false
	}
	// To a link that is not there: nobody's, and nobody is told so.
	other := netip.MustParseAddr("10.77.0.255")
	frame := udp4(t, ipA, other, 7, wire.Broadcast, macA)
	if r := input(t, b, frame, 1); r != drop.IP4NotForUs {
		t.Errorf("a directed broadcast to another link: %v", r)
	}
	// Who has no address yet asks everyone for one, and no single host.
	frame = udp4(t, netip.IPv4Unspecified(), everyone, 7, wire.Broadcast, macA)
	if r := input(t, b, frame, 1); r != drop.None || hears(all) != "0" {
		t.Errorf("from 0.0.0.0 to everyone: %v", r)
	}
	frame = udp4(t, netip.IPv4Unspecified(), link, 7, wire.Broadcast, macA)
	if r := input(t, b, frame, 1); r != drop.IP4BadSource {
		t.Errorf("from 0.0.0.0 to the link: %v", r)
	}
}

// udp4 is an empty datagram.
func udp4(t *testing.T, src, dst netip.Addr, port uint16, to, from wire.MAC) []byte {
	t.Helper()
	b := make([]byte, 200)
	n := wire.PutEthernet(b, to, from, wire.EtherTypeIPv4)
	n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 9, Protocol: wire.ProtoUDP, Src: src, Dst: dst, PayloadLen: wire.UDPLen})
	n += wire.PutUDP(b[n:], 1000, port, 0)
	return b[:n]
}

// What routers are told is as the RFCs want it on the wire, and what they ask is answered.
func TestMembershipsOnTheWire(t *testing.T) {
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		s := newHost(macA, f.a)
		settle(s, 1)
		sock := newSocket(s, &s.UDP, at(f.any, 7))
		join(t, s, sock, joins(f.group))
		now := mono.Time(100e9)
		reads := func(what string) (records []wire.GroupRecordView) {
			t.Helper()
			var buf [2048]byte
			s.Advance(now)
			n := s.Output(0, buf[:], now)
			eth, ok := wire.ParseEthernet(buf[:n])
			if !ok || eth.Dst() != wire.MulticastMAC(f.routers) || eth.Src() != macA {
				t.Fatalf("%s: % x", what, buf[:n])
			}
			record := func(r wire.GroupRecordView) { records = append(records, r) }
			if ip, ok := wire.ParseIPv4(eth.Payload()); ok {
				o, ok := wire.ParseIPv4Options(ip.Options())
				m, good := wire.ParseIGMP(ip.Payload())
				if !ok || !good || !o.RouterAlert || ip.TTL() != 1 || ip.TOS() != 0xc0 || ip.Src() != f.a || ip.Dst() != f.routers || !ip.ChecksumOK() || !m.ChecksumOK() {
					t.Fatalf("%s: % x", what, buf[:n])
				}
				m.Records(record)
				return records
			}
			ip, _ := wire.ParseIPv6(eth.Payload())
			e := wire.WalkExtensions(ip)
			icmp, _ := wire.ParseICMP6(ip[e.Offset:])
			m, good := wire.ParseMLD(icmp)
			if !good || !e.RouterAlert || ip.HopLimit() != 1 || ip.Src() != LinkLocal(&s.ports[0].PortConfig).Addr() || ip.Dst() != f.routers ||
				icmp.Check(ip.PseudoSum(wire.ProtoICMPv6, len(icmp))) != wire.ChecksumGood {
				t.Fatalf("%s: % x", what, buf[:n])
			}
			m.Records(record)
			return records
		}
		if r := reads("joining"); len(r) != 1 || r[0].Group != f.group || r[0].Type != wire.ChangeToExclude {
			t.Errorf("%+v", r)
		}
		settle(s, now)
		now += 100e9
		if r := input(t, s, queryFrame(f), now); r != drop.None {
			t.Fatal(r)
		}
		now += 2e9
		r := reads("the answer")
		found := false
		for _, r := range r {
			found = found || r.Group == f.group && r.Type == wire.ModeIsExclude
		}
		if !found {
			t.Errorf("%+v", r)
		}
		settle(s, now)
		now += 100e9
		join(t, s, sock, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		if r := reads("leaving"); len(r) != 1 || r[0].Group != f.group || r[0].Type != wire.ChangeToInclude {
			t.Errorf("%+v", r)
		}
	})
}

// queryFrame is a general query of a router.
func queryFrame(f *groupFamily) []byte {
	b, m := make([]byte, 200), make([]byte, 100)
	q := wire.GroupQuery{Group: f.any, MaxResponse: time.Second}
	n := wire.PutEthernet(b, wire.MulticastMAC(f.silent), macB, etherTypeOf(f.any))
	if f.any.Is4() {
		m = m[:wire.PutIGMPv3Query(m, &q)]
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 1, Protocol: wire.ProtoIGMP, Src: netip.IPv4Unspecified(), Dst: f.silent, Options: wire.RouterAlert4, PayloadLen: len(m)})
		return b[:n+copy(b[n:], m)]
	}
	m = m[:wire.PutMLDv2Query(m, &q)]
	src := netip.MustParseAddr("fe80::9")
	wire.ICMP6(m).Seal(wire.PseudoSum(src, f.silent, wire.ProtoICMPv6, len(m)))
	n += wire.PutIPv6(b[n:], &wire.IPv6Fields{HopLimit: 1, NextHeader: wire.ProtoHopByHop, Src: src, Dst: f.silent, PayloadLen: wire.RouterAlert6Len + len(m)})
	n += wire.PutRouterAlert6(b[n:], wire.ProtoICMPv6)
	return b[:n+copy(b[n:], m)]
}

func TestSolicitedNodeGroupsAreReported(t *testing.T) { // RFC 4861 §7.2.1, RFC 3810 §5.2.13
	s := New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500}}, Start: 1})
	tentative := wire.LinkLocal(macA)
	node := wire.SolicitedNode(tentative)
	s.PutAddrs(0, []route.Addr{{Prefix: netip.PrefixFrom(tentative, 64), State: route.Tentative}})
	var buf [2048]byte
	report := func(now mono.Time) (src netip.Addr, groups []netip.Addr) {
		t.Helper()
		s.Advance(now)
		n := s.Output(0, buf[:], now)
		eth, _ := wire.ParseEthernet(buf[:n])
		ip, ok := wire.ParseIPv6(eth.Payload())
		if !ok {
			return src, nil
		}
		e := wire.WalkExtensions(ip)
		icmp, _ := wire.ParseICMP6(ip[e.Offset:])
		m, ok := wire.ParseMLD(icmp)
		if !ok || icmp.Check(ip.PseudoSum(wire.ProtoICMPv6, len(icmp))) != wire.ChecksumGood {
			t.Fatalf("% x", buf[:n])
		}
		m.Records(func(r wire.GroupRecordView) { groups = append(groups, r.Group) })
		return ip.Src(), groups
	}
	if src, groups := report(1e9); !src.IsUnspecified() || len(groups) != 1 || groups[0] != node {
		t.Errorf("while the address is tentative: %v from %v", groups, src)
	}
	settle(s, 2e9)
	s.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(tentative, 64)})
	if src, groups := report(100e9); src != tentative || len(groups) != 1 || groups[0] != node {
		t.Errorf("when the address is ours: %v from %v", groups, src)
	}
	if !s.Groups.Member(0, node) {
		t.Error("the group is not listened to")
	}
	settle(s, 101e9)
	s.SetAddrs(0, nil)
	if s.Groups.Member(0, node) {
		t.Error("the group of an address that is gone is listened to")
	}
}

func TestQueriesGoToTheGroupCore(t *testing.T) {
	for name, f := range groupFamilies {
		peers := &handingPeers{}
		s := New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500}}, Start: 1, Peers: peers, Core: 1})
		s.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(f.a, 24)})
		sock := newSocket(s, &s.UDP, at(f.any, 7))
		join(t, s, sock, joins(f.group))
		before := s.Count
		if s.Input(0, queryFrame(f), 1); peers.handed != 1 || s.Count != before {
			t.Errorf("%s: handed over %d times, and counted here", name, peers.handed)
		}
		settle(s, 1)
		if d := s.Deadline(); d != mono.Never {
			t.Errorf("%s: a core that does not talk to routers has a timer", name)
		}
		if !s.Groups.Hears(0, f.group, f.b) {
			t.Errorf("%s: the core does not hear the group", name)
		}
	}
}

// handingPeers are other cores that take what is handed over.
type handingPeers struct {
	Peers
	handed int
}

func (p *handingPeers) HandOver(core, port int, frame []byte) bool { p.handed++; return core == 0 }

func TestTTLZeroStaysOnTheHost(t *testing.T) { // Linux ip_mc_output
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		a := newHost(macA, f.a)
		s := newSocket(a, &a.UDP, at(f.any, 7))
		s.Multicast4.HasTTL, s.Multicast6.HasTTL = true, true
		join(t, a, s, joins(f.group))
		settle(a, 1)
		port, e := a.Offer(wire.ProtoUDP, s, netip.AddrPortFrom(f.group, 7), []byte("x"), 100e9)
		if port != -1 || e != 0 || hears(s) != "0" {
			t.Errorf("port %d, %v", port, e)
		}
		var buf [2048]byte
		if n := a.Output(0, buf[:], 100e9); n > 0 {
			t.Errorf("sent % x", buf[:n])
		}
	})
}

func TestMulticastHops(t *testing.T) { // RFC 1112 §6.1: 1, unless the program says otherwise
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		a := newHost(macA, f.a)
		s := newSocket(a, &a.UDP, at(f.any, 7))
		s.TTL = 99 // is for unicast
		settle(a, 1)
		ttl := func() uint8 {
			t.Helper()
			var buf [2048]byte
			if _, e := a.Offer(wire.ProtoUDP, s, netip.AddrPortFrom(f.group, 7), []byte("x"), 100e9); e != 0 {
				t.Fatal(e)
			}
			n := a.Output(0, buf[:], 100e9)
			a.Settle()
			eth, _ := wire.ParseEthernet(buf[:n])
			if eth.Dst() != wire.MulticastMAC(f.group) {
				t.Errorf("to %v", eth.Dst())
			}
			if ip, ok := wire.ParseIPv4(eth.Payload()); ok {
				return ip.TTL()
			}
			ip, _ := wire.ParseIPv6(eth.Payload())
			return ip.HopLimit()
		}
		if got := ttl(); got != 1 {
			t.Errorf("TTL %d, want 1", got)
		}
		s.Multicast4.HasTTL, s.Multicast6.HasTTL = true, true
		s.Multicast4.TTL, s.Multicast6.TTL = 5, 5
		if got := ttl(); got != 5 {
			t.Errorf("TTL %d, want 5", got)
		}
	})
}

// Of two links the one that the socket names, with that link's address.
func TestMulticastLeavesByTheNamedPort(t *testing.T) { // IP_MULTICAST_IF
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		s := New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500}, {MAC: macB, MTU: 1500}}, Start: 1})
		s.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(f.a, 24)})
		second := netip.MustParseAddr("10.9.9.9")
		if f.a.Is6() {
			second = netip.MustParseAddr("fd99::9")
		}
		s.SetAddrs(1, []netip.Prefix{netip.PrefixFrom(second, 24)})
		for port := range 2 {
			for settled := mono.Time(1); settled < 20e9; settled += 1e9 {
				s.Advance(settled)
				var buf [2048]byte
				for s.Output(port, buf[:], settled) > 0 {
				}
			}
		}
		sock := newSocket(s, &s.UDP, at(f.any, 7))
		for want, src := range []netip.Addr{f.a, second} {
			sock.Multicast4.Port, sock.Multicast6.Port = uint32(want+1), uint32(want+1)
			port, e := s.Offer(wire.ProtoUDP, sock, netip.AddrPortFrom(f.group, 7), []byte("x"), 100e9)
			if port != want || e != 0 {
				t.Fatalf("port %d, %v, want %d", port, e, want)
			}
			var buf [2048]byte
			n := s.Output(port, buf[:], 100e9)
			s.Settle()
			eth, _ := wire.ParseEthernet(buf[:n])
			got := netip.Addr{}
			if ip, ok := wire.ParseIPv4(eth.Payload()); ok {
				got = ip.Src()
			} else if ip, ok := wire.ParseIPv6(eth.Payload()); ok {
				got = ip.Src()
			}
			if got != src {
				t.Errorf("from %v, want %v", got, src)
			}
		}
	})
}
