package host

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// find returns the only socket of a protocol, state and local port.
func find(t *testing.T, list []Socket, protocol wire.Protocol, state tcp.State, port uint16) (found Socket) {
	t.Helper()
	n := 0
	for _, s := range list {
		if s.Protocol == protocol && s.State == state && s.Local.Port() == port {
			found = s
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d sockets of protocol %v in %v at port %d in %+v", n, protocol, state, port, list)
	}
	return found
}

func TestSnapshot(t *testing.T) {
	r := newRig(t, 2)
	var gates [2]ring.Gate // of a listener and of a datagram socket, each on both cores
	var queued ring.Word
	for _, c := range r.h.Cores() {
		if _, errno := c.Stack.TCP.Listen(netip.AddrPortFrom(ourAddr, 80), tcp.ListenConfig{Backlog: 9, Queued: &queued, Gate: &gates[0]}); errno != 0 {
			t.Fatal(errno)
		}
		end := &udp.Socket{Local: netip.AddrPortFrom(ourAddr, 53), Gate: &gates[1], Error: new(ring.Errno)}
		end.Recv.Init(c.Stack.Pool, 1<<16)
		end.Send.Init(c.Stack.Pool, 1<<16)
		end.Recv.Put(&ring.Datagram{}, make([]byte, 100))
		end.Dropped = 3
		c.Stack.UDP.Add(end)
	}
	r.alternate(1)
	waits := r.dialFromPeer(1000, 80, 5000) // and nobody accepts it
	out := r.dialFromCore(1, 2000, 81, 0)   // to where nobody listens, and nobody answers
	r.toPeer = func(frame []byte) bool {
		return protocolOf(frame) != wire.ProtoTCP || wire.TCP(frame[34:]).DstPort() != 81
	}
	r.pass(2 * time.Second)

	list, more := r.h.Sockets(1000)
	if more {
		t.Error("some were left out")
	}
	if s := find(t, list, wire.ProtoTCP, tcp.Listen, 80); s.RecvQ != 1 || s.SendQ != 9 || s.Core != -1 || s.Remote.IsValid() {
		t.Errorf("listener: %+v", s)
	}
	if s := find(t, list, wire.ProtoTCP, tcp.CloseWait, 80); s.RecvQ != 5000 || s.Remote != waits.c.Local() {
		t.Errorf("connection: %+v", s)
	}
	if s := find(t, list, wire.ProtoTCP, tcp.SynSent, 2000); s.Core != 1 || s.Remote != out.c.Remote() {
		t.Errorf("attempt: %+v", s)
	}
	if s := find(t, list, wire.ProtoUDP, tcp.Closed, 53); s.RecvQ != 2*(100+ring.DatagramOverhead) || s.SendQ != 0 || s.Dropped != 6 || s.Core != -1 {
		t.Errorf("datagram socket: %+v", s)
	}
	if len(list) != 4 || list[0].State != tcp.Listen {
		t.Errorf("%+v", list)
	}
	if few, more := r.h.Sockets(2); len(few) != 2 || !more {
		t.Errorf("at most 2: %d, more: %v", len(few), more)
	}

	seen := map[int]bool{}
	for _, n := range r.h.Neighbours() {
		if n.Addr != peerAddr || n.MAC != peerMAC || n.Interface != "queue" || n.State == neigh.Incomplete {
			t.Errorf("neighbour: %+v", n)
		}
		seen[n.Core] = true
	}
	if !seen[1] {
		t.Errorf("core 1 has no neighbour: %v", seen)
	}
	if routes := r.h.Routes(); len(routes) != 1 || routes[0].Interface != "queue" || routes[0].Prefix != netip.MustParsePrefix("10.97.0.0/24") {
		t.Errorf("routes: %+v", routes)
	}
	if addrs := r.h.Addrs(); len(addrs) != 1 || addrs[0] != (Addr{route.Addr{Prefix: netip.PrefixFrom(ourAddr, 24)}, "queue"}) {
		t.Errorf("addresses: %+v", addrs)
	}
}

// An unanswered question shows who was asked for, and what waits for the answer.
func TestSnapshotOfAnIncompleteNeighbour(t *testing.T) {
	r := newRig(t, 1)
	c := r.h.Cores()[0]
	end := &udp.Socket{Local: netip.AddrPortFrom(ourAddr, 53), Gate: new(ring.Gate), Error: new(ring.Errno)}
	end.Send.Init(c.Stack.Pool, 1<<16)
	nobody := netip.MustParseAddr("10.97.0.77")
	if _, errno := c.Stack.Offer(wire.ProtoUDP, end, netip.AddrPortFrom(nobody, 9), []byte("x"), r.clock.Now()); errno != 0 {
		t.Fatal(errno)
	}
	c.Stack.Settle()
	list := r.h.Neighbours()
	if len(list) != 1 || list[0] != (Neighbour{Interface: "queue", Addr: nobody, State: neigh.Incomplete, Waiting: 1}) {
		t.Errorf("%+v", list)
	}
}

// Sockets that are neither of TCP nor UDP are known by their kind.
func TestSnapshotOfOtherSockets(t *testing.T) {
	r := newRig(t, 2)
	var gates [4]ring.Gate
	for _, c := range r.h.Cores() {
		for i, row := range []struct {
			table *udp.Table
			local string
		}{{&c.Stack.Ping, "0.0.0.0:77"}, {&c.Stack.Ping, "[::]:78"}, {&c.Stack.Raw, "0.0.0.0:89"}} {
			row.table.Add(&udp.Socket{Local: netip.MustParseAddrPort(row.local), Gate: &gates[i], Raw: &udp.Raw{}})
		}
		c.Stack.AddPacketSocket(&udp.Socket{Link: &udp.Link{Type: wire.EtherTypeARP, Port: 0}, Gate: &gates[3]})
	}
	list, _ := r.h.Sockets(10)
	if len(list) != 4 {
		t.Fatalf("%+v", list)
	}
	for i, want := range []struct {
		kind     Kind
		protocol wire.Protocol
		port     uint16
	}{{Datagram, wire.ProtoICMP, 77}, {Datagram, wire.ProtoICMPv6, 78}, {Raw, 89, 89}, {Packet, 0, 0}} {
		if s := list[i]; s.Kind != want.kind || s.Protocol != want.protocol || s.Local.Port() != want.port || s.Core != -1 {
			t.Errorf("%+v, want %+v", s, want)
		}
	}
	if s := list[3]; s.Interface != "queue" || s.EtherType != wire.EtherTypeARP {
		t.Errorf("%+v", s)
	}
	for _, c := range r.h.Cores() { // for the end of the test, which nobody closes them for
		c.Stack.Raw, c.Stack.Ping = udp.Table{}, udp.Table{}
	}
}

// A connection that is over is shown in TIME-WAIT, and then no more.
func TestSnapshotOfTimeWait(t *testing.T) {
	r := newRig(t, 1)
	r.mirrorAtPeer(80)
	k := r.dialFromCore(0, 2000, 80, 100)
	r.until(time.Minute, "the exchange", func() bool { return k.done })
	r.pass(time.Second)
	list, _ := r.h.Sockets(10)
	find(t, list, wire.ProtoTCP, tcp.TimeWait, 2000)
	r.work = nil
	r.pass(5 * time.Minute)
	if list, _ := r.h.Sockets(10); len(list) != 0 {
		t.Errorf("afterwards: %+v", list)
	}
}

// Walking in steps finds what is there between them, wherever it stands.
func TestSnapshotOfManySockets(t *testing.T) {
	r := newRig(t, 1)
	c := r.h.Cores()[0]
	const count = 3000
	c.Lock()
	for i := range count {
		c.Stack.UDP.Add(&udp.Socket{Local: netip.AddrPortFrom(ourAddr, uint16(1+i*21)), Gate: new(ring.Gate)})
		if _, errno := c.Stack.TCP.Connect(netip.AddrPortFrom(ourAddr, uint16(1+i)), netip.AddrPortFrom(peerAddr, 80), tcp.Options{}, mono.Time(1e9)); errno != 0 {
			t.Fatal(errno)
		}
	}
	c.Unlock()
	list, more := r.h.Sockets(1 << 20)
	if len(list) != 2*count || more {
		t.Errorf("%d sockets, more: %v", len(list), more)
	}
}

// People know an interface by its name, and not by the number in a zone.
func TestNamed(t *testing.T) {
	h := newRig(t, 1).h
	for _, row := range [][2]string{
		{"fe80::1%" + strconv.Itoa(h.Index(0)), "fe80::1%queue"}, {"fe80::1%" + strconv.Itoa(loopIndex), "fe80::1%lo"},
		{"fe80::1%4711", "fe80::1%4711"}, {"fe80::1", "fe80::1"}, {"192.0.2.1", "192.0.2.1"},
	} {
		if got := h.Named(netip.MustParseAddr(row[0])).String(); got != row[1] {
			t.Errorf("%s: %s, want %s", row[0], got, row[1])
		}
	}
}
