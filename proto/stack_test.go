package proto

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 1}
	macB = wire.MAC{2, 0, 0, 0, 0, 2}
	ipA  = netip.MustParseAddr("10.9.0.1")
	ipB  = netip.MustParseAddr("10.9.0.2")
	ipA6 = netip.MustParseAddr("fd09::1")
	ipB6 = netip.MustParseAddr("fd09::2")
)

// newHost is a stack with one Ethernet port on 10.9.0.0/24 or fd09::/64.
func newHost(mac wire.MAC, addr netip.Addr) *Stack {
	s := New(Config{Ports: []PortConfig{{MAC: mac, MTU: 1500}}, Seed: [2]uint64{uint64(mac[5]), 2}})
	setAddr(s, addr)
	return s
}

// setAddr makes addr the address of a stack's one port, and its link's prefix the one route.
func setAddr(s *Stack, addr netip.Addr) {
	prefix := netip.PrefixFrom(addr, familyOf(addr).prefix)
	addrs := []netip.Prefix{prefix}
	if !addr.Is4() {
		addrs = append(addrs, LinkLocal(&s.ports[0].PortConfig))
	}
	s.SetAddrs(0, addrs)
	s.SetRoutes(route.New([]route.Route{{Prefix: prefix}}))
}

func newSocket(s *Stack, table *udp.Table, local string) *udp.Socket {
	sock := &udp.Socket{Local: netip.MustParseAddrPort(local), Gate: new(ring.Gate), Error: new(ring.Errno)}
	sock.Recv.Init(s.Pool, 1<<18)
	sock.Send.Init(s.Pool, 1<<18)
	table.Add(sock)
	return sock
}

// exchange carries frames between two stacks until both are silent.
func exchange(t *testing.T, a, b *Stack, now mono.Time) {
	t.Helper()
	var buf [2048]byte
	for quiet, i := 0, 0; quiet < 2; i++ {
		if i > 10000 {
			t.Fatal("the two never fall silent")
		}
		if n := a.Output(0, buf[:], now); n > 0 {
			b.Input(0, buf[:n], now)
			quiet = 0
		} else {
			quiet++
		}
		a, b = b, a
	}
}

// send is what a program's sendto does.
func send(s *Stack, sock *udp.Socket, to netip.AddrPort, payload []byte, now mono.Time) unix.Errno {
	_, errno := s.Offer(wire.ProtoUDP, sock, to, payload, now)
	if errno != 0 {
		return errno
	}
	return s.Settle()
}

func TestUDPBetweenTwoStacksResolvesAndAnswers(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		sa, sb := newSocket(a, &a.UDP, at(f.any, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		body := []byte("hello")
		if e := send(a, sa, netip.AddrPortFrom(f.b, 7), body, 1); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		var m ring.Datagram
		buf := make([]byte, 100)
		n, ok := sb.Recv.Get(&m, buf, false)
		if !ok || !bytes.Equal(buf[:n], body) || m.From != netip.AddrPortFrom(f.a, 1000) || m.To != netip.AddrPortFrom(f.b, 7) || m.TTL != 64 {
			t.Fatalf("got %q %+v %v; drops %v", buf[:n], m, ok, drops(b))
		}
		if e := send(b, sb, m.From, buf[:n], 2); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 2)
		if n, ok := sa.Recv.Get(&m, buf, false); !ok || !bytes.Equal(buf[:n], body) {
			t.Fatalf("no answer; drops %v", drops(a))
		}
	})
}

func drops(s *Stack) map[string]uint64 {
	m := map[string]uint64{}
	for r, n := range s.Count.All() {
		m[r.String()] = n
	}
	return m
}

func TestNobodyAtThePortIsConnectionRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		connected := newSocket(a, &a.UDP, at(f.a, 1000))
		connected.Remote = netip.AddrPortFrom(f.b, 9)
		open := newSocket(a, &a.UDP, at(f.a, 1001))
		for _, sock := range []*udp.Socket{connected, open} {
			if e := send(a, sock, netip.AddrPortFrom(f.b, 9), []byte("x"), 1); e != 0 {
				t.Fatal(e)
			}
		}
		exchange(t, a, b, 1)
		if e := unix.Errno(connected.Error.Take()); e != unix.ECONNREFUSED {
			t.Errorf("connected socket: %v", e)
		}
		if e := open.Error.Take(); e != 0 {
			t.Errorf("unconnected socket: %v", e)
		}
		if b.Count[drop.UDPNoSocket] != 2 {
			t.Errorf("drops %v", drops(b))
		}
	})
}

func TestDeadNeighbourDoesNotStopTheSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		sock := newSocket(a, &a.UDP, at(f.a, 1000))
		peer := newSocket(b, &b.UDP, at(f.b, 7))
		dead := newSocket(a, &a.UDP, at(f.a, 1001))
		dead.Remote = netip.AddrPortFrom(f.dead, 7)
		for range 1000 {
			if e := send(a, sock, netip.AddrPortFrom(f.dead, 7), make([]byte, 100), 1); e != 0 {
				t.Fatal(e)
			}
		}
		if e := send(a, dead, dead.Remote, []byte("x"), 1); e != 0 {
			t.Fatal(e)
		}
		if e := send(a, sock, netip.AddrPortFrom(f.b, 7), []byte("live"), 1); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		if peer.Recv.Len() != 1 {
			t.Fatalf("the live neighbour got %d datagrams", peer.Recv.Len())
		}
		if a.Count[drop.NeighbourParkingFull] == 0 {
			t.Error("a thousand datagrams were parked")
		}
		now := mono.Time(1)
		for range 10 {
			now = now.Add(time.Second + time.Millisecond)
			a.Advance(now)
			exchange(t, a, b, now)
		}
		if a.Neigh.Lookup(0, f.dead) != nil {
			t.Error("the dead neighbour is still in the table")
		}
		if used := a.Pool.Used(); used > 8192 { // the queues that were used hold a chunk each
			t.Errorf("%d bytes still parked", used)
		}
	})
}

func TestDeadNeighbourIsHostUnreachableForAConnectedSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		sock := newSocket(a, &a.UDP, at(f.a, 1001))
		sock.Remote = netip.AddrPortFrom(f.dead, 7)
		if e := send(a, sock, sock.Remote, []byte("x"), 1); e != 0 {
			t.Fatal(e)
		}
		now := mono.Time(1)
		asked := 0
		var buf [2048]byte
		for range 4 {
			for n := a.Output(0, buf[:], now); n > 0; n = a.Output(0, buf[:], now) {
				if !isMembership(buf[:n]) {
					asked++
				}
			}
			now = now.Add(time.Second + time.Millisecond)
			a.Advance(now)
		}
		if e := unix.Errno(sock.Error.Take()); e != unix.EHOSTUNREACH || asked != 3 {
			t.Errorf("error %v after %d questions", e, asked)
		}
		_ = b
	})
}

func TestEchoRequestIsAnsweredWithItsPayload(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		ping := newSocket(a, &a.Ping, at(f.any, 77))
		message := f.echoRequest(77, 5, streamBytes[:1000])
		if _, e := a.Offer(f.icmp, ping, netip.AddrPortFrom(f.b, 0), message, 1); e != 0 {
			t.Fatal(e)
		}
		if e := a.Settle(); e != 0 {
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		var m ring.Datagram
		buf := make([]byte, 2000)
		n, ok := ping.Recv.Get(&m, buf, false)
		if !ok || n != len(message) || !bytes.Equal(buf[8:n], message[8:]) || wire.ICMP4(buf).Seq() != 5 {
			t.Fatalf("%d bytes, %v; drops %v %v", n, ok, drops(a), drops(b))
		}
	})
}

// A stack that was asked by a neighbour which it does not know asks for its address first,
// and that question must not get into the answer.
func TestAnswerWaitsForItsNeighbourUnchanged(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		know := func(a *Stack) {
			a.Neigh.See(neigh.Sighting{Addr: f.b, MAC: macB, Solicited: true, Create: true}, 1)
		}
		t.Run("echo reply", func(t *testing.T) {
			a, b := f.hosts()
			know(a)
			ping := newSocket(a, &a.Ping, at(f.any, 77))
			message := f.echoRequest(77, 5, []byte("is it there?"))
			if _, e := a.Offer(f.icmp, ping, netip.AddrPortFrom(f.b, 0), message, 1); e != 0 {
				t.Fatal(e)
			}
			if e := a.Settle(); e != 0 {
				t.Fatal(e)
			}
			exchange(t, a, b, 1)
			var m ring.Datagram
			buf := make([]byte, 2000)
			n, ok := ping.Recv.Get(&m, buf, false)
			if !ok || !bytes.Equal(buf[8:n], message[8:]) {
				t.Errorf("%q, %v; drops %v %v", buf[:n], ok, drops(a), drops(b))
			}
		})
		t.Run("port unreachable", func(t *testing.T) {
			a, b := f.hosts()
			know(a)
			to := netip.AddrPortFrom(f.b, 9)
			sock := newSocket(a, &a.UDP, at(f.a, 1000))
			sock.Remote = to
			if e := send(a, sock, to, []byte("anybody?"), 1); e != 0 {
				t.Fatal(e)
			}
			exchange(t, a, b, 1)
			if errno := unix.Errno(sock.Error.Take()); errno != unix.ECONNREFUSED {
				t.Errorf("%v; drops %v %v", errno, drops(a), drops(b))
			}
		})
	})
}

func TestICMPErrorsAreRateLimited(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		sock := newSocket(a, &a.UDP, at(f.a, 1000))
		for range 200 {
			send(a, sock, netip.AddrPortFrom(f.b, 9), []byte("x"), 1)
			exchange(t, a, b, 1)
		}
		if got := b.Count[drop.ICMPRateLimited]; got != 194 {
			t.Errorf("%d errors held back of 200 to the same host, which has six at once", got)
		}
	})
}

func TestFullDeviceLeavesDatagramsInTheSocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts()
		sock, peer := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		to := netip.AddrPortFrom(f.b, 7)
		send(a, sock, to, []byte("first"), 1)
		exchange(t, a, b, 1)
		sock.Send.SetLimit(4000)
		sent := 1
		for send(a, sock, to, make([]byte, 500), 1) == 0 { // nobody pulls
			sent++
		}
		if sent < 4 || sent > 8 {
			t.Errorf("%d datagrams fit", sent)
		}
		exchange(t, a, b, 1)
		if peer.Recv.Len() != sent {
			t.Errorf("%d of %d arrived", peer.Recv.Len(), sent)
		}
		sock.Discover, sock.Discover6 = udp.DiscoverDo, udp.DiscoverDo
		if e := send(a, sock, to, make([]byte, 1500-f.header-wire.UDPLen+1), 1); e != unix.EMSGSIZE {
			t.Errorf("a byte more than the MTU, where nothing may be cut: %v", e)
		}
	})
}

// FuzzInput: no frame makes a stack of both families panic, and each is counted once, as it is and with
// its checksums made right.
func FuzzInput(f *testing.F) {
	for _, of := range families {
		for _, frame := range of.kinds() {
			f.Add(frame)
		}
		a, b := of.hosts()
		newSocket(b, &b.UDP, at(of.b, 7))
		send(a, newSocket(a, &a.UDP, at(of.a, 1000)), netip.AddrPortFrom(of.b, 7), []byte("hello"), 1)
		var buf [2048]byte
		for x, y, quiet := a, b, 0; quiet < 2; x, y = y, x {
			quiet++
			for n := x.Output(0, buf[:], 1); n > 0; n = x.Output(0, buf[:], 1) {
				f.Add(bytes.Clone(buf[:n]))
				y.Input(0, buf[:n], 1)
				quiet = 0
			}
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, sealed := range []bool{false, true} {
			if sealed {
				frame = bytes.Clone(frame)
				reseal(frame)
			}
			h := newHost(macB, ipB)
			h.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(ipB, 24), netip.PrefixFrom(ipB6, 64), LinkLocal(&h.ports[0].PortConfig)})
			h.SetRoutes(route.New([]route.Route{{Prefix: netip.PrefixFrom(ipB, 24)}, {Prefix: netip.PrefixFrom(ipB6, 64)}}))
			newSocket(h, &h.UDP, "[::]:7")
			drain(t, h, 1)
			input(t, h, frame, 1)
			var out [2048]byte
			for i := 0; h.Output(0, out[:], 1) > 0; i++ {
				if i > 4 {
					t.Fatal("one frame draws more than four")
				}
			}
		}
	})
}

// echoRig is a host with an echo socket and a request for it.
func (f *family) echoRig() (host *Stack, sock *udp.Socket, request []byte) {
	a, b := f.hosts()
	sa, sb := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
	to := netip.AddrPortFrom(f.b, 7)
	var buf [2048]byte
	send(a, sa, to, make([]byte, 64), 1)
	for range 4 {
		for n := a.Output(0, buf[:], 1); n > 0; n = a.Output(0, buf[:], 1) {
			b.Input(0, buf[:n], 1)
			request = bytes.Clone(buf[:n])
		}
		for n := b.Output(0, buf[:], 1); n > 0; n = b.Output(0, buf[:], 1) {
			a.Input(0, buf[:n], 1)
		}
	}
	var m ring.Datagram
	sb.Recv.Get(&m, buf[:], false)
	return b, sb, request
}

func echo(s *Stack, sock *udp.Socket, request, payload, out []byte, now mono.Time) int {
	s.Input(0, request, now)
	var m ring.Datagram
	n, _ := sock.Recv.Get(&m, payload, false)
	s.Offer(wire.ProtoUDP, sock, m.From, payload[:n], now)
	n = s.Output(0, out, now)
	s.Settle()
	return n
}

func TestEchoDoesNotAllocate(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s, sock, request := f.echoRig()
		payload, out := make([]byte, 2048), make([]byte, 2048)
		if n := echo(s, sock, request, payload, out, 2); n != 14+f.header+8+64 {
			t.Fatalf("answer of %d bytes; drops %v", n, drops(s))
		}
		if n := testing.AllocsPerRun(1000, func() { echo(s, sock, request, payload, out, 2) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// BenchmarkUDPEcho is a 64-byte datagram from Input through a socket to Output.
func BenchmarkUDPEcho(b *testing.B) {
	for _, f := range families {
		b.Run(f.name, func(b *testing.B) {
			s, sock, request := f.echoRig()
			payload, out := make([]byte, 2048), make([]byte, 2048)
			for b.Loop() {
				if echo(s, sock, request, payload, out, 2) == 0 {
					b.Fatal("no answer")
				}
			}
		})
	}
}
