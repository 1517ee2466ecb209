package proto

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

func newPacketSocket(s *Stack, l udp.Link) *udp.Socket {
	sock := &udp.Socket{Gate: new(ring.Gate), Error: new(ring.Errno), Link: &l}
	sock.Recv.Init(s.Pool, 1<<16)
	sock.Send.Init(s.Pool, 1<<16)
	s.AddPacketSocket(sock)
	return sock
}

func TestWhichFramesAPacketSocketTakes(t *testing.T) {
	const ip, arp = wire.EtherTypeIPv4, wire.EtherTypeARP
	for _, row := range []struct {
		link udp.Link
		port int
		typ  wire.EtherType
		kind uint8
		want bool
	}{
		{udp.Link{Type: udp.AllTypes, Port: -1}, 3, ip, udp.PacketHost, true},
		{udp.Link{Type: udp.AllTypes, Port: -1}, 3, ip, udp.PacketOutgoing, true},
		{udp.Link{Type: udp.AllTypes, Port: -1, IgnoreOutgoing: true}, 3, ip, udp.PacketOutgoing, false},
		{udp.Link{Type: udp.AllTypes, Port: -1, IgnoreOutgoing: true}, 3, ip, udp.PacketHost, true},
		{udp.Link{Type: udp.AllTypes, Port: 2}, 3, ip, udp.PacketHost, false},
		{udp.Link{Type: udp.AllTypes, Port: 3}, 3, ip, udp.PacketOtherHost, true},
		{udp.Link{Type: ip, Port: -1}, 3, ip, udp.PacketHost, true},
		{udp.Link{Type: ip, Port: -1}, 3, ip, udp.PacketOutgoing, false},
		{udp.Link{Type: ip, Port: -1}, 3, arp, udp.PacketBroadcast, false},
		{udp.Link{Port: -1}, 3, ip, udp.PacketHost, false},
		{udp.Link{Port: -1}, 3, 0, udp.PacketHost, false},
	} {
		if got := row.link.Wants(row.port, row.typ, row.kind, false); got != row.want {
			t.Errorf("%+v: port %d, %v, kind %d: %v", row.link, row.port, row.typ, row.kind, got)
		}
		// A tagged frame comes by its VLAN's port too, where who wants one type of all ports has it.
		if want := row.want && (row.link.Port >= 0 || row.link.Type == udp.AllTypes); row.link.Wants(row.port, row.typ, row.kind, true) != want {
			t.Errorf("%+v: port %d, %v, kind %d, tagged: not %v", row.link, row.port, row.typ, row.kind, want)
		}
	}
}

func TestPacketSocketsSendPastTheStack(t *testing.T) {
	a, b := newHost(macA, ipA), newHost(macB, ipB)
	cooked := newPacketSocket(a, udp.Link{Type: udp.AllTypes, Port: -1, Cooked: true})
	other := newPacketSocket(a, udp.Link{Type: udp.AllTypes, Port: -1})
	there := newPacketSocket(b, udp.Link{Type: 0x88b5, Port: 0, Cooked: true})
	// The first goes straight into the frame, the others wait for room.
	texts := []string{"one", "two", "three"}
	for i, text := range texts {
		port, errno := a.OfferFrame(cooked, &LinkMessage{To: macB, Type: 0x88b5, Payload: []byte(text)})
		if i == 0 && (port != 0 || errno != 0) {
			t.Fatal(port, errno)
		}
		if i == 0 {
			var buf [2048]byte
			b.Input(0, buf[:a.Output(0, buf[:], 1)], 1)
		}
		if errno := a.Settle(); errno != 0 {
			t.Fatal(errno)
		}
	}
	exchange(t, a, b, 1)
	var m ring.Datagram
	buf := make([]byte, 100)
	for _, text := range texts {
		if n, ok := there.Recv.Get(&m, buf, false); !ok || string(buf[:n]) != text || m.TTL != udp.PacketHost || m.From.Port() != 0x88b5 {
			t.Errorf("the other end has %q %+v, want %q", buf[:n], m, text)
		}
		n, ok := other.Recv.Get(&m, buf, false)
		if want := append(bytes.Join([][]byte{macB[:], macA[:], {0x88, 0xb5}}, nil), text...); !ok || !bytes.Equal(buf[:n], want) || m.TTL != udp.PacketOutgoing {
			t.Errorf("a second socket sees %x %+v, want %x", buf[:n], m, want)
		}
	}
	if cooked.Recv.Len() != 0 {
		t.Error("a socket sees its own frames")
	}
	if cooked.Send.Len() != 0 || a.Busy() {
		t.Error("something is left")
	}
	for _, row := range []struct {
		sock *udp.Socket
		len  int
		want unix.Errno
	}{{cooked, 1500, 0}, {cooked, 1501, unix.EMSGSIZE}, {other, 1514, 0}, {other, 1515, unix.EMSGSIZE}, {other, 13, unix.EINVAL}} {
		if _, errno := a.OfferFrame(row.sock, &LinkMessage{Payload: make([]byte, row.len)}); errno != row.want {
			t.Errorf("%d bytes, cooked %v: %v", row.len, row.sock.Link.Cooked, errno)
		}
		a.direct.offered = false
	}
}

// A socket that nobody reads from loses frames, and nothing else does.
func TestFullPacketSocketLosesItsCopiesAlone(t *testing.T) {
	a, b := newHost(macA, ipA), newHost(macB, ipB)
	sa, sb := newSocket(a, &a.UDP, "10.9.0.1:1000"), newSocket(b, &b.UDP, "10.9.0.2:7")
	tap := newPacketSocket(b, udp.Link{Type: udp.AllTypes, Port: -1})
	const all = 200
	var got int
	for range all {
		if e := send(a, sa, netip.MustParseAddrPort("10.9.0.2:7"), make([]byte, 1000), 1); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		if _, ok := sb.Recv.Get(new(ring.Datagram), nil, false); ok {
			got++
		}
	}
	seen := tap.Recv.Len() + int(tap.Dropped)
	if got != all || tap.Dropped == 0 || seen != all+2 { // and ARP, both ways
		t.Errorf("%d of %d arrived; the packet socket has %d frames and lost %d", got, all, tap.Recv.Len(), tap.Dropped)
	}
	b.RemovePacketSocket(tap)
	before := tap.Dropped
	send(a, sa, netip.MustParseAddrPort("10.9.0.2:7"), nil, 1)
	exchange(t, a, b, 1)
	if tap.Dropped != before {
		t.Error("a socket that was removed is shown frames")
	}
}

func TestPacketSocketsAllocateNothing(t *testing.T) {
	a := newHost(macA, ipA)
	tap := newPacketSocket(a, udp.Link{Type: udp.AllTypes, Port: -1})
	frame := make([]byte, 100)
	wire.PutEthernet(frame, macA, macB, 0x88b5)
	var m ring.Datagram
	if n := testing.AllocsPerRun(1000, func() {
		a.Input(0, frame, 1)
		tap.Recv.Get(&m, frame[:0], false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
