package proto

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
)

// A stack beside another one that has its addresses too (PortConfig.Resolve) asks that one for neighbours, and says nothing on the link itself: no
// question, no answer to one, no report of a group of its addresses.
func TestResolvedByAnotherStack(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		var asked []netip.Addr
		s := New(Config{Seed: [2]uint64{1, 2}, Ports: []PortConfig{{
			MAC: macA, MTU: 1500, Resolve: func(a netip.Addr) { asked = append(asked, a) },
		}}})
		setAddr(s, f.a)
		if s.SetAutoconf(0, &AutoconfConfig{}) != nil {
			t.Error("it would find out about its addresses")
		}
		s.Announce(0, f.a)
		b := newHost(macB, f.b)
		sock, peer := newSocket(s, &s.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		to := netip.AddrPortFrom(f.b, 7)
		var frame [2048]byte
		now := mono.Time(1)
		pass := func(d time.Duration) {
			for end := now.Add(d); now < end; {
				now = now.Add(100 * time.Millisecond)
				s.Advance(now)
				if n := s.Output(0, frame[:], now); n > 0 {
					t.Errorf("at %v: %x", now, frame[:n])
				}
			}
		}

		// Nobody knows: it is asked for three times, and that was it.
		dead := newSocket(s, &s.UDP, at(f.a, 1001))
		dead.Remote = netip.AddrPortFrom(f.dead, 7)
		if e := send(s, dead, dead.Remote, []byte("x"), now); e != 0 {
			t.Fatal(e)
		}
		pass(3500 * time.Millisecond)
		if e := unix.Errno(dead.Error.Take()); e != unix.EHOSTUNREACH || !slices.Equal(asked, []netip.Addr{f.dead, f.dead, f.dead}) {
			t.Errorf("error %v after the questions %v", e, asked)
		}

		// The answer lets what waits go.
		asked = nil
		if e := send(s, sock, to, []byte("hello"), now); e != 0 {
			t.Fatal(e)
		}
		if !slices.Equal(asked, []netip.Addr{f.b}) {
			t.Errorf("asked for %v", asked)
		}
		answer := neigh.Sighting{Addr: f.b, MAC: macB, Solicited: true, Override: true}
		s.Neigh.See(answer, now)
		n := s.Output(0, frame[:], now)
		b.Input(0, frame[:n], now)
		if peer.Recv.Len() != 1 {
			t.Fatalf("the neighbour got %d datagrams; drops %v", peer.Recv.Len(), drops(b))
		}

		// B asks for A and hears nothing.
		if e := send(b, peer, netip.AddrPortFrom(f.a, 1000), []byte("x"), now); e != 0 {
			t.Fatal(e)
		}
		questions := 0
		for n := b.Output(0, frame[:], now); n > 0; n = b.Output(0, frame[:], now) {
			questions++
			s.Input(0, frame[:n], now)
		}
		if questions == 0 {
			t.Error("it did not ask")
		}
		pass(time.Second)

		// The other stack forgets it. It is used on and asked for when it has not been heard of for five seconds, and if nothing is
		// said it is doubted.
		asked = nil
		s.Neigh.Doubt(0, f.b)
		if e := send(s, sock, to, []byte("again"), now); e != 0 {
			t.Fatal(e)
		}
		if n := s.Output(0, frame[:], now); n == 0 {
			t.Error("what is in doubt is not used")
		}
		pass(5200 * time.Millisecond)
		if !slices.Equal(asked, []netip.Addr{f.b}) {
			t.Errorf("in doubt, asked for %v", asked)
		}
		s.Neigh.See(answer, now)
		if e := s.Neigh.Lookup(0, f.b); e == nil || e.State() != neigh.Reachable {
			t.Errorf("after the answer: %+v", e)
		}
	})
}
