package proto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// longest is the longest UDP payload of a family.
func (f *family) longest() int {
	if f == family4 {
		return 65507
	}
	return 65527
}

// numbered is the payload of a datagram with a number, and how long it is.
func (f *family) numbered(number int) []byte {
	n := 4 + number*7919%(f.longest()-3)
	of := stream{key: uint64(number)}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(number))
	for len(b) < n {
		b = append(b, of.next(min(n-len(b), 1<<15))...)
	}
	return b
}

// TestLongDatagramsArriveWholeOrNotAtAll: whatever a path does to fragments, a datagram that arrives is
// one that was sent.
func TestLongDatagramsArriveWholeOrNotAtAll(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for seed, p := range []trouble{
			{},
			{Delay: time.Millisecond, Reorder: 0.2, ReorderDelay: 3 * time.Millisecond},
			{Delay: time.Millisecond, Duplicate: 0.2},
			{Delay: time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, ReorderDelay: time.Millisecond},
			{Delay: time.Millisecond, Corrupt: 0.02},
		} {
			s := f.sim(t, uint64(seed), p, tcp.Params{}, nil)
			from, to := newSocket(s.a.Stack, &s.a.UDP, at(f.a, 1000)), newSocket(s.b.Stack, &s.b.UDP, at(f.b, 7))
			to.Recv.SetLimit(1 << 20)
			const sent = 120
			came := map[int]int{}
			buf := make([]byte, 1<<16)
			look := func() {
				var m ring.Datagram
				for {
					n, ok := to.Recv.Get(&m, buf, false)
					if !ok {
						return
					}
					number := int(binary.BigEndian.Uint32(buf))
					if number >= sent || !bytes.Equal(buf[:n], f.numbered(number)) || m.From != netip.AddrPortFrom(f.a, 1000) {
						t.Fatalf("path %d: %d bytes from %v are not datagram %d", seed, n, m.From, number)
					}
					came[number]++
				}
			}
			for i := range sent {
				if e := send(s.a.Stack, from, netip.AddrPortFrom(f.b, 7), f.numbered(i), s.now()); e != 0 {
					t.Fatalf("path %d, datagram %d: %v", seed, i, e)
				}
				s.pass(20 * time.Millisecond)
				look()
			}
			s.pass(time.Second)
			look()
			least := sent // a duplicate or a detour of a fragment costs nothing
			if p.Loss > 0 || p.Corrupt > 0 {
				least = sent / 10
			}
			if len(came) < least {
				t.Errorf("path %d: %d of %d arrived; drops %v", seed, len(came), sent, drops(s.b.Stack))
			}
			// A packet is made of fragments once; the network may have doubled those that are whole.
			for n, times := range came {
				if times > 1 && p.Duplicate == 0 {
					t.Errorf("path %d: datagram %d came %d times", seed, n, times)
				}
			}
			closeSocket(s.a.Stack, from)
			closeSocket(s.b.Stack, to)
			s.pass(2 * time.Minute)
			if n, used := s.b.reassembly.Len(), s.b.reassembly.Used(); n != 0 || used != 0 {
				t.Errorf("path %d: %d datagrams and %d bytes of fragments are left", seed, n, used)
			}
			s.empty(10 * time.Minute)
		}
	})
}

// fragments of what a stack has to say, as frames.
func sayings(s *Stack, now mono.Time) (frames [][]byte) {
	buf := make([]byte, 2048)
	for n := s.Output(0, buf, now); n > 0; n = s.Output(0, buf, now) {
		frames = append(frames, bytes.Clone(buf[:n]))
	}
	return frames
}

// acquainted are two hosts that know each other's MAC.
func (f *family) acquainted() (a, b *Stack) {
	a, b = f.hosts()
	a.Neigh.See(neigh.Sighting{Addr: f.b, MAC: macB, Solicited: true, Create: true}, 1)
	b.Neigh.See(neigh.Sighting{Addr: f.a, MAC: macA, Solicited: true, Create: true}, 1)
	return a, b
}

// What a packet begins with it ends with: an MTU, a neighbour, an identification, though all of them
// change under way. And what the link has to say does not wait for it.
func TestACutPacketEndsAsItBegan(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.acquainted()
		sock, peer := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		body := f.numbered(3)[:20_000]
		to := netip.AddrPortFrom(f.b, 7)
		if port, e := a.Offer(wire.ProtoUDP, sock, to, body, 1); port != 0 || e != 0 {
			t.Fatal(port, e)
		}
		a.Settle()
		clear(body) // the program's memory is its own again
		var frames [][]byte
		buf := make([]byte, 2048)
		for i := 0; a.Cutting(); i++ {
			n := a.Output(0, buf, 1)
			frames = append(frames, bytes.Clone(buf[:n]))
			switch i {
			case 2:
				a.Neigh.See(neigh.Sighting{Addr: f.b, MAC: wire.MAC{2, 9, 9, 9, 9, 9}, Override: true}, 1)
			case 4:
				if _, ok := a.tooBig(f.b, 1300, 1500, 1); !ok {
					t.Fatal("not believed")
				}
			case 6:
				closeSocket(a, sock)
				if !a.Busy() {
					t.Error("a stack in the middle of a packet says that it has nothing to send")
				}
			}
		}
		for i, frame := range frames {
			if eth := wire.Ethernet(frame); eth.Dst() != macB || len(frame) < 1480 && i < len(frames)-1 {
				t.Errorf("fragment %d: %d bytes to %v", i, len(frame), eth.Dst())
			}
			b.Input(0, frame, 1)
		}
		var m ring.Datagram
		got := make([]byte, 1<<16)
		n, ok := peer.Recv.Get(&m, got, false)
		if !ok || !bytes.Equal(got[:n], f.numbered(3)[:20_000]) {
			t.Errorf("%d bytes came, %v; drops %v", n, ok, drops(b))
		}
	})
}

// Long datagrams wait like any: for the device, for a neighbour.
func TestLongDatagramsWait(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.hosts() // strangers
		sock, peer := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		to := netip.AddrPortFrom(f.b, 7)
		first := f.numbered(5)[:9000]
		if e := send(a, sock, to, first, 1); e != 0 { // parked
			t.Fatal(e)
		}
		exchange(t, a, b, 1)
		sock.Send.SetLimit(100_000)
		sent := 1
		for ; send(a, sock, to, f.numbered(sent)[:min(9000, len(f.numbered(sent)))], 1) == 0; sent++ { // nobody pulls
			if sent > 100 {
				t.Fatal("no end")
			}
		}
		exchange(t, a, b, 1)
		if n := peer.Recv.Len(); n != sent {
			t.Errorf("%d of %d came; drops %v %v", n, sent, drops(a), drops(b))
		}
	})
}

// RFC 792 and RFC 4443: an echo reply is as long as its request.
func TestLongEchoes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.acquainted()
		sock := newSocket(a, &a.Ping, netip.AddrPortFrom(f.any, 77).String())
		for _, n := range []int{1472, 1473, 4000, 65000} {
			payload := f.numbered(n)[:0]
			for i := 0; len(payload) < n; i++ {
				payload = append(payload, f.numbered(i)...)
			}
			payload = payload[:n]
			if _, e := a.Offer(f.icmp, sock, netip.AddrPortFrom(f.b, 0), f.echoRequest(77, 5, payload), 1); e != 0 {
				t.Fatal(n, e)
			}
			if e := a.Settle(); e != 0 {
				t.Fatal(n, e)
			}
			exchange(t, a, b, 1)
			var m ring.Datagram
			got := make([]byte, 1<<16)
			if n, ok := sock.Recv.Get(&m, got, false); !ok || !bytes.Equal(got[wire.ICMP4Len:n], payload) {
				t.Errorf("%d bytes, %v; drops %v %v", n, ok, drops(a), drops(b))
			}
		}
	})
}

// IP_MTU_DISCOVER (ip(7)): what leaves, in how many pieces and with which flag.
func TestMTUDiscover(t *testing.T) {
	for _, row := range []struct {
		d        udp.Discovery
		small    int // packets of 1000 bytes leave in so many pieces
		path     int // those beyond a path's 1300
		link     int // those beyond the link's 1500; 0: EMSGSIZE
		df       bool
		dfOfPath bool // of 1400 bytes on that path
	}{
		{udp.DiscoverWant, 1, 2, 2, true, false},
		{udp.DiscoverDont, 1, 2, 2, false, false},
		{udp.DiscoverDo, 1, 0, 0, true, false},
		{udp.DiscoverProbe, 1, 1, 0, true, true},
		{udp.DiscoverInterface, 1, 1, 0, false, false},
		{udp.DiscoverOmit, 1, 1, 2, false, false},
	} {
		eachFamily(t, func(t *testing.T, f *family) {
			a, _ := f.acquainted()
			sock := newSocket(a, &a.UDP, at(f.a, 1000))
			sock.Errors.Init(a.Pool)
			sock.Discover, sock.Discover6, sock.RecvErr, sock.RecvErr6 = row.d, row.d, true, true
			to := netip.AddrPortFrom(f.b, 7)
			toldOf := to
			if f != family6 {
				toldOf = netip.AddrPortFrom(f.b, 0) // the socket is not connected
			}
			check := func(what string, length, pieces int, df bool, mtu uint32) {
				t.Helper()
				e := send(a, sock, to, make([]byte, length-f.header-wire.UDPLen), 1)
				frames := sayings(a, 1)
				if pieces == 0 {
					var x udp.ExtendedError
					_, _, told := sock.Errors.Get(&x, nil)
					if e != unix.EMSGSIZE || len(frames) != 0 || !told || x.Origin != udp.OriginLocal || x.Info != mtu || x.To != toldOf {
						t.Errorf("%v, %s: %v, %d frames, %+v", row.d, what, e, len(frames), x)
					}
					return
				}
				if e != 0 || len(frames) != pieces {
					t.Errorf("%v, %s: %v, %d frames", row.d, what, e, len(frames))
				}
				if f == family6 {
					return
				}
				for _, frame := range frames {
					h := wire.IPv4(frame[wire.EthernetLen:])
					if h.DF() != df || !df && h.ID() == 0 && len(frames) > 1 { // RFC 6864 §4
						t.Errorf("%v, %s: DF %v, identification %d", row.d, what, h.DF(), h.ID())
					}
				}
			}
			check("small", 1000, row.small, row.df, 0)
			check("beyond the link", 1501, row.link, false, 1500)
			if _, ok := a.tooBig(f.b, 1300, 1500, 1); !ok {
				t.Fatal("not believed")
			}
			check("as long as the path", 1300, 1, row.df, 0)
			check("beyond the path", 1400, row.path, row.dfOfPath, 1300)
		})
	}
}

// RFC 1122 §3.3.2, RFC 8200 §4.5: who has sent the first fragment is told that the others did not
// come in time; who has not is not.
func TestReassemblyTimeExceeded(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.acquainted()
		sock := newSocket(a, &a.UDP, at(f.a, 1000))
		sock.Remote = netip.AddrPortFrom(f.b, 7)
		for range 2 {
			send(a, sock, sock.Remote, make([]byte, 4000), 1)
		}
		frames := sayings(a, 1)
		if len(frames) != 6 {
			t.Fatalf("%d frames", len(frames))
		}
		b.Input(0, frames[0], 1) // of the first datagram, its first
		b.Input(0, frames[4], 1) // of the second, its second
		now := mono.Time(61 * time.Second)
		b.Advance(now)
		errors := 0
		for _, frame := range sayings(b, now) {
			p := frame[wire.EthernetLen:]
			var typ, code byte
			var quoted []byte
			if h, ok := wire.ParseIPv4(p); ok && h.Protocol() == wire.ProtoICMP {
				typ, code, quoted = p[20], p[21], wire.ICMP4(h.Payload()).Quoted()
				if len(p) > 576 {
					t.Errorf("an error of %d bytes", len(p))
				}
			} else if h, ok := wire.ParseIPv6(p); ok && p[40] == byte(wire.ICMP6TimeExceeded) {
				typ, code, quoted = p[40], p[41], wire.ICMP6(h.Payload()).Quoted()
				if len(p) > 1280 {
					t.Errorf("an error of %d bytes", len(p))
				}
			} else {
				continue
			}
			errors++
			if want := byte(map[*family]int{family4: 11, family6: 3}[f]); typ != want || code != 1 || !bytes.HasPrefix(frames[0][wire.EthernetLen:], quoted) {
				t.Errorf("type %d code %d, which quotes %x", typ, code, quoted)
			}
			a.Input(0, frame, now)
		}
		if errors != 1 || b.Count[drop.FragmentTimeout] != 2 {
			t.Errorf("%d errors; drops %v", errors, drops(b))
		}
		// A soft error: the socket hears of it only if it asks (udp_err).
		if e := sock.Error.Take(); e != 0 || a.Count.Dropped() != 0 {
			t.Errorf("the sender's socket has %v; drops %v", unix.Errno(e), drops(a))
		}
	})
}

// What the sender of a bad IPv6 fragment is told (RFC 8200 §4.5), and which fragments nobody is.
func TestBadFragments6(t *testing.T) {
	f := family6
	_, b := f.acquainted()
	fragment := func(next wire.Protocol, offset int, more bool, data []byte) []byte {
		frame := make([]byte, wire.EthernetLen+wire.IPv6Len+wire.FragmentLen+len(data))
		n := wire.PutEthernet(frame, macB, macA, wire.EtherTypeIPv6)
		n += wire.PutIPv6(frame[n:], &wire.IPv6Fields{HopLimit: 255, NextHeader: wire.ProtoFragment, Src: f.a, Dst: f.b, PayloadLen: wire.FragmentLen + len(data)})
		n += wire.PutFragment(frame[n:], next, offset, more, 9)
		copy(frame[n:], data)
		return frame
	}
	solicitation := make([]byte, 24)
	solicitation[0] = byte(wire.ICMP6NeighborSolicitation)
	target := f.b.As16()
	copy(solicitation[8:], target[:])
	wire.ICMP6(solicitation).Seal(wire.PseudoSum(f.a, f.b, wire.ProtoICMPv6, len(solicitation)))
	nested := make([]byte, 24)
	wire.PutFragment(nested, wire.ProtoUDP, 8, true, 10)
	for _, row := range []struct {
		what    string
		frame   []byte
		want    drop.Reason
		code    int // of the parameter problem; -1: none
		pointer uint32
	}{
		{"no multiple of 8", fragment(wire.ProtoUDP, 0, true, make([]byte, 20)), drop.FragmentBad, wire.ICMP6BadField, 4},
		{"too long", fragment(wire.ProtoUDP, 65528, false, make([]byte, 20)), drop.FragmentTooLong, wire.ICMP6BadField, 42},
		{"a first one without its header", fragment(wire.ProtoTCP, 0, true, make([]byte, 16)), drop.FragmentHeaders, wire.ICMP6FirstFragment, 0},
		{"neighbour discovery, atomic", fragment(wire.ProtoICMPv6, 0, false, solicitation), drop.NDPFragment, -1, 0},
		{"neighbour discovery, first half", fragment(wire.ProtoICMPv6, 0, true, solicitation[:16]), drop.None, -1, 0},
		{"second half", fragment(wire.ProtoICMPv6, 16, false, solicitation[16:]), drop.NDPFragment, -1, 0},
		{"fragments of fragments", fragment(wire.ProtoFragment, 8, false, make([]byte, 16)), drop.None, -1, 0},
		{"which are whole", fragment(wire.ProtoFragment, 0, true, nested[:8]), drop.IP6ExtensionOrder, -1, 0},
	} {
		before := len(sayings(b, 1))
		if got := input(t, b, row.frame, 1); got != row.want {
			t.Errorf("%s: %v, not %v", row.what, got, row.want)
		}
		answers := sayings(b, 1)
		if row.code < 0 {
			if len(answers) != 0 {
				t.Errorf("%s: answered", row.what)
			}
			continue
		}
		if len(answers) != 1 || before != 0 {
			t.Errorf("%s: %d answers", row.what, len(answers))
			continue
		}
		h, _ := wire.ParseIPv6(answers[0][wire.EthernetLen:])
		icmp := wire.ICMP6(h.Payload())
		if icmp.Type() != wire.ICMP6ParamProblem || int(icmp.Code()) != row.code || icmp.Pointer() != row.pointer {
			t.Errorf("%s: %v code %d pointer %d", row.what, icmp.Type(), icmp.Code(), icmp.Pointer())
		}
	}
}

// A crowd is the cores of a host without a host: what one hands over the other gets at once.
type crowd struct {
	cores []*Stack
	t     *testing.T
	moved int
	full  bool
}

type member struct {
	c  *crowd
	at int
}

func (m *member) Owner(_, _ netip.AddrPort) (int, bool)        { return 0, false }
func (m *member) Claim(_, _ netip.AddrPort) bool               { return true }
func (m *member) Disclaim(_, _ netip.AddrPort)                 {}
func (m *member) Sighted(neigh.Sighting)                       {}
func (m *member) MayReport(dst netip.Addr, now mono.Time) bool { return true }
func (m *member) Redirected(port int, from, dst, gateway netip.Addr) {
	m.c.cores[AutoconfCore].Redirected(port, from, dst, gateway, 1)
}
func (m *member) PathMTU(dst netip.Addr, p ip.PathMTU) {
	for i, s := range m.c.cores {
		if i != m.at {
			s.LearnPathMTU(dst, p)
		}
	}
}
func (m *member) HandOver(core, port int, frame []byte) bool {
	if m.c.full {
		return false
	}
	m.c.moved++
	m.c.cores[core].InputHandedOver(port, bytes.Clone(frame), 1)
	return true
}

// The fragments of a datagram meet on one core wherever they come in, and what one core hears of a
// path all of them know.
func TestFragmentsMeetOnOneCore(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		const cores = 4
		c := &crowd{t: t}
		for i := range cores {
			s := New(Config{Ports: []PortConfig{{MAC: macB, MTU: 1500}}, Seed: [2]uint64{7, uint64(i)}, Secret: [16]byte{5}, Peers: &member{c, i}, Core: i, Cores: cores})
			setAddr(s, f.b)
			c.cores = append(c.cores, s)
		}
		var socks []*udp.Socket
		for _, s := range c.cores {
			sock := newSocket(s, &s.UDP, at(f.b, 7))
			sock.Recv.SetLimit(4 << 20)
			socks = append(socks, sock)
		}
		a, _ := f.acquainted()
		sock := newSocket(a, &a.UDP, at(f.a, 1000))
		next := 0
		for i := range 40 {
			send(a, sock, netip.AddrPortFrom(f.b, 7), f.numbered(i), 1)
			for _, frame := range sayings(a, 1) {
				c.cores[next%cores].Input(0, frame, 1)
				next++
			}
		}
		got, used := 0, 0
		for _, s := range socks {
			got += s.Recv.Len()
			if s.Recv.Len() > 0 {
				used++
			}
		}
		if got != 40 || used < 2 || c.moved == 0 {
			t.Errorf("%d of 40 datagrams came, at %d cores", got, used)
		}
		counted := uint64(0)
		for _, s := range c.cores {
			counted += s.Count[drop.None] + s.Count.Dropped()
		}
		if counted != uint64(next) {
			t.Errorf("%d frames came in, %d were counted", next, counted)
		}
		c.full = true
		send(a, sock, netip.AddrPortFrom(f.b, 7), make([]byte, 60_000), 1)
		for i, frame := range sayings(a, 1) {
			c.cores[i%cores].Input(0, frame, 1)
		}
		lost := uint64(0)
		for _, s := range c.cores {
			lost += s.Count[drop.FragmentHandOver]
		}
		if lost == 0 {
			t.Error("no fragment was lost on the way to a core that has no room")
		}
		if _, ok := c.cores[2].tooBig(f.a, 1400, 1500, 1); !ok {
			t.Fatal("not believed")
		}
		for i, s := range c.cores {
			if mtu, _ := s.MTU(f.a, 1); mtu != 1400 {
				t.Errorf("core %d takes the path's MTU for %d", i, mtu)
			}
		}
	})
}
