package proto

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// newTrunk returns a stack with an untagged link, 10.0.0.host, and the VLANs 100 and 200 over it, 10.0.100.host
// and 10.0.200.host.
func newTrunk(host byte) *Stack {
	mac := wire.MAC{2, 0, 0, 0, 5, host}
	s := New(Config{Ports: []PortConfig{
		{MAC: mac, MTU: 1500}, {MAC: mac, MTU: 1500, VLAN: 100}, {MAC: mac, MTU: 1500, VLAN: 200},
	}, Seed: [2]uint64{1, uint64(host)}})
	var routes []route.Route
	for port := range 3 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(100 * port), host}), 24)
		s.SetAddrs(port, []netip.Prefix{p})
		routes = append(routes, route.Route{Prefix: p, Port: port})
	}
	s.SetRoutes(route.New(routes))
	return s
}

// trade carries frames between two stacks until they have nothing more to say, and counts the frames of each VLAN,
// -1 for those without a tag.
func trade(t *testing.T, a, b *Stack, now mono.Time) map[int]int {
	t.Helper()
	seen := map[int]int{}
	carry := func(from, to *Stack) (n int) {
		buf := make([]byte, 1518)
		for ; n < 1000; n++ {
			size := from.Output(0, buf, now)
			if size == 0 {
				return n
			}
			l, ok := wire.ParseLink(buf[:size])
			if !ok || l.Tags > 1 {
				t.Fatalf("%x", buf[:size])
			}
			id := -1
			if l.Tags == 1 {
				id = int(l.TCI[0].ID())
			}
			seen[id]++
			to.Input(0, bytes.Clone(buf[:size]), now)
		}
		return n
	}
	for carry(a, b)+carry(b, a) > 0 {
	}
	return seen
}

// TestConnectionsOfVLANs: each goes by its own tag, and so does what ARP says on the way.
func TestConnectionsOfVLANs(t *testing.T) {
	a, b := newTrunk(1), newTrunk(2)
	for port, id := range []int{-1, 100, 200} {
		local := netip.AddrFrom4([4]byte{10, 0, byte(100 * port), 1})
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(100 * port), 2}), 80)
		if _, errno := b.TCP.Listen(remote, tcp.ListenConfig{Backlog: 1}); errno != 0 {
			t.Fatal(errno)
		}
		c, errno := a.TCP.Connect(netip.AddrPortFrom(local, 1000), remote, tcp.Options{}, 1)
		if errno != 0 {
			t.Fatal(errno)
		}
		seen := trade(t, a, b, 1)
		if !c.Connected() || seen[id] < 5 || len(seen) != 1 { // a question and its answer, and three segments
			t.Errorf("VLAN %d: %v, frames %v", id, c.State(), seen)
		}
		body := make([]byte, 5000)
		c.Write(body)
		c.Kick(1)
		if seen := trade(t, a, b, 2); seen[id] < 4 || len(seen) != 1 {
			t.Errorf("VLAN %d: frames %v for 5000 bytes", id, seen)
		}
	}
}

// TestTagsThatAreNobodys (IEEE 802.1Q §6.9): another VLAN, two tags, a service tag, a cut one. A priority tag
// is no VLAN.
func TestTagsThatAreNobodys(t *testing.T) {
	s := newTrunk(1)
	var arp [64]byte
	n := wire.PutARP(arp[:], &wire.ARPFields{
		Op: wire.ARPRequest, SenderMAC: macB, SenderIP: netip.MustParseAddr("10.0.0.9"), TargetIP: netip.MustParseAddr("10.0.0.1"),
	})
	frame := func(tags ...uint16) []byte {
		f := make([]byte, wire.EthernetLen)
		wire.PutEthernet(f, wire.Broadcast, macB, wire.EtherTypeARP)
		for i, id := range tags {
			wire.Ethernet(f).SetType(wire.EtherTypeVLAN)
			inner := wire.EtherTypeARP
			if i < len(tags)-1 {
				inner = wire.EtherTypeVLAN
			}
			tag := make([]byte, wire.VLANLen)
			wire.PutVLAN(tag, wire.TCIOf(id, 5, false), inner)
			f = append(f, tag...)
		}
		return append(f, arp[:n]...)
	}
	service := frame(100)
	wire.Ethernet(service).SetType(wire.EtherTypeQinQ)
	for name, row := range map[string]struct {
		frame []byte
		want  drop.Reason
	}{
		"another VLAN": {frame(300), drop.VLANNotForUs}, "two tags": {frame(100, 200), drop.VLANTooDeep},
		"priority, then another VLAN": {frame(0, 100), drop.VLANNotForUs}, "service tag": {service, drop.VLANNotForUs},
		"cut": {frame(100)[:16], drop.VLANShort}, "priority": {frame(0), drop.None}, "none": {frame(), drop.None},
		"that of 10.0.100.1": {frame(100), drop.ARPNotForUs},
	} {
		before := s.Count[row.want]
		s.Input(0, row.frame, 1)
		if s.Count[row.want] != before+1 {
			t.Errorf("%s: not %v: %v", name, row.want, drops(s))
		}
	}
}

// TestPacketSocketsOfVLANs: on the port that carries them a frame of a VLAN is shown without its tag, which is
// told beside it, in and out; on the VLAN's own port it has none.
func TestPacketSocketsOfVLANs(t *testing.T) {
	a, b := newTrunk(1), newTrunk(2)
	base := newPacketSocket(b, udp.Link{Type: udp.AllTypes, Port: 0})
	of100 := newPacketSocket(b, udp.Link{Type: udp.AllTypes, Port: 1})
	arp := newPacketSocket(b, udp.Link{Type: wire.EtherTypeARP, Port: -1})
	local, remote := netip.MustParseAddr("10.0.100.1"), netip.MustParseAddrPort("10.0.100.2:80")
	if _, errno := a.TCP.Connect(netip.AddrPortFrom(local, 1000), remote, tcp.Options{}, 1); errno != 0 {
		t.Fatal(errno)
	}
	trade(t, a, b, 1) // a question and its answer, a SYN and its refusal
	kinds := func(sock *udp.Socket, want udp.Tag) (in, out int) {
		var m ring.Datagram
		frame := make([]byte, 1600)
		for {
			n, ok := sock.Recv.Get(&m, frame, false)
			if !ok {
				return in, out
			}
			if typ := wire.Ethernet(frame[:n]).Type(); typ != wire.EtherTypeARP && typ != wire.EtherTypeIPv4 || uint16(typ) != m.From.Port() {
				t.Errorf("type %v, and %#x is said", typ, m.From.Port())
			}
			if got := udp.TagOf(m.To); got != want {
				t.Errorf("tag %+v, want %+v", got, want)
			}
			if m.TTL == udp.PacketOutgoing {
				out++
			} else {
				in++
			}
		}
	}
	if in, out := kinds(base, udp.Tag{Type: wire.EtherTypeVLAN, TCI: 100}); in != 2 || out != 2 {
		t.Errorf("the trunk: %d in, %d out", in, out)
	}
	if in, out := kinds(of100, udp.Tag{}); in != 2 || out != 2 {
		t.Errorf("the VLAN: %d in, %d out", in, out)
	}
	if in, out := kinds(arp, udp.Tag{}); in != 1 || out != 0 {
		t.Errorf("ARP of all ports: %d in, %d out", in, out)
	}
}
