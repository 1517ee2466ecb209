package proto

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// A connection that waited for a neighbour may be gone when that fails, and its slot
// another connection's.
func TestFailedNeighbourLeavesTheSlotsNextConnectionAlone(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a := newHost(macA, f.a)
		now := mono.Time(1)
		dead, err := a.TCP.Connect(netip.AddrPortFrom(f.a, 1000), netip.AddrPortFrom(f.dead, 80), tcp.Options{}, now)
		if err != 0 {
			t.Fatal(err)
		}
		pull := func() {
			var buf [2048]byte
			for a.Output(0, buf[:], now) > 0 { // into the void
			}
		}
		step := func(d time.Duration) {
			for end := now.Add(d); now < end; {
				now = now.Add(50 * time.Millisecond)
				a.Advance(now)
				pull()
			}
		}
		pull() // asks, and parks the connection
		dead.Close(now)
		step(200 * time.Millisecond)
		a.Neigh.See(neigh.Sighting{Addr: f.b, MAC: macB, Create: true}, now)
		next, err := a.TCP.Connect(netip.AddrPortFrom(f.a, 1001), netip.AddrPortFrom(f.b, 80), tcp.Options{}, now)
		if err != 0 {
			t.Fatal(err)
		}
		if next != dead {
			t.Fatal("the slot was not used again, so this test shows nothing")
		}
		step(3500 * time.Millisecond)
		if a.Neigh.Lookup(0, f.dead) != nil {
			t.Fatal("the dead neighbour has not been given up")
		}
		if next.State() != tcp.SynSent {
			t.Errorf("state %v after another connection's neighbour failed, want SYN-SENT", next.State())
		}
	})
}

// What is queued before it is sent is as long as the MTU allows.
func TestLongDatagramWaitsForItsNeighbourWhole(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		for _, s := range []*Stack{a, b} {
			s.ports[0].MTU = 40000
			s.scratch = make([]byte, 40014)
		}
		c := New(Config{Ports: []PortConfig{{MAC: macA, MTU: 40000}}})
		if len(c.scratch) < 40014 {
			t.Fatalf("room for %d bytes under construction, MTU 40000", len(c.scratch))
		}
		sock, peer := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		a.Neigh.Want(0, f.b, 1)
		body := bytes.Repeat([]byte("0123456789"), 1200) // 12,000 bytes: a parking ring holds it
		if e := send(a, sock, netip.AddrPortFrom(f.b, 7), body, 1); e != 0 {
			t.Fatal(e)
		}
		buf := make([]byte, 41000)
		for range 6 {
			for n := a.Output(0, buf, 1); n > 0; n = a.Output(0, buf, 1) {
				b.Input(0, buf[:n], 1)
			}
			for n := b.Output(0, buf, 1); n > 0; n = b.Output(0, buf, 1) {
				a.Input(0, buf[:n], 1)
			}
		}
		var m ring.Datagram
		n, ok := peer.Recv.Get(&m, buf, false)
		if !ok || !bytes.Equal(buf[:n], body) {
			t.Fatalf("%d bytes arrived; drops %v %v", n, drops(a), drops(b))
		}
	})
}

// Sockets that hold all of the memory do not stop ARP and echo replies.
func TestFullMemoryDoesNotStopTheStacksOwnAnswers(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		for b.Pool.Used() < b.Pool.Limit() {
			hog := newSocket(b, &b.UDP, at(f.any, 9))
			hog.Recv.SetLimit(1 << 40)
			for hog.Recv.Put(&ring.Datagram{}, make([]byte, 60000)) {
			}
			for hog.Recv.Put(&ring.Datagram{}, nil) {
			}
		}
		a.Neigh.Want(0, f.b, 1)
		for range 200 { // more than fit into a chunk that was there already
			a.Neigh.Flush(0, 1)
			a.Neigh.Want(0, f.b, 1)
			exchange(t, a, b, 1)
		}
		if e := a.Neigh.Lookup(0, f.b); e == nil || e.State().String() != "REACHABLE" {
			t.Fatalf("no answer to ARP; drops %v", drops(b))
		}
	})
}
