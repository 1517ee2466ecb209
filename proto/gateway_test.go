package proto

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A lan is a stack with a virtual clock, and the stations of its link, which answer who asks for them and keep what
// is sent to them.
type lan struct {
	*Stack
	t     *testing.T
	f     *family
	now   mono.Time
	there map[netip.Addr]wire.MAC
	got   map[wire.MAC]int // packets, those of neighbour discovery aside
	asked int              // questions of neighbour discovery
}

func newLAN(t *testing.T, f *family, routes ...route.Route) *lan {
	l := &lan{t: t, f: f, now: mono.Time(time.Hour), there: map[netip.Addr]wire.MAC{}}
	l.Stack = New(Config{Ports: []PortConfig{{MAC: macA, MTU: 1500}}, Start: l.now, Seed: [2]uint64{7, 7}})
	setAddr(l.Stack, f.a)
	l.SetRoutes(route.New(append(routes, l.Routes.Routes()...)))
	l.forget()
	return l
}

// forget forgets what was sent.
func (l *lan) forget() { l.got, l.asked = map[wire.MAC]int{}, 0 }

// pass lets time go by, a tenth of a second after the other.
func (l *lan) pass(d time.Duration) {
	for end := l.now.Add(d); l.now < end; l.now = l.now.Add(100 * time.Millisecond) {
		l.Advance(l.now)
		l.carry()
	}
}

// carry takes what leaves to the stations, and their answers back.
func (l *lan) carry() {
	buf := make([]byte, 2048)
	for n := l.Output(0, buf, l.now); n > 0; n = l.Output(0, buf, l.now) {
		if isMembership(buf[:n]) {
			continue
		}
		eth, _ := wire.ParseEthernet(buf[:n])
		if !resolves(buf[:n]) {
			l.got[eth.Dst()]++
			continue
		}
		l.asked++
		if arp, ok := wire.ParseARP(eth.Payload()); ok && eth.Type() == wire.EtherTypeARP {
			l.answer(arp.TargetIP(), eth.Dst())
			continue
		}
		ip, _ := wire.ParseIPv6(eth.Payload())
		if m, ok := wire.ParseNeighborSolicitation(wire.ICMP6(ip.Payload())); ok {
			l.answer(m.Target(), eth.Dst())
		}
	}
}

// answer is what a station does that is asked for at a link address.
func (l *lan) answer(a netip.Addr, at wire.MAC) {
	mac, ok := l.there[a]
	if !ok || !at.IsMulticast() && at != mac {
		return
	}
	l.says(a, mac, l.f.a, wire.NeighborSolicited|wire.NeighborOverride)
}

// says has a station say where it is, to us, or with the address itself to all.
func (l *lan) says(a netip.Addr, mac wire.MAC, to netip.Addr, flags wire.NeighborFlags) {
	if l.f == family6 {
		dst, dstMAC := to, macA
		if to == a {
			dst, dstMAC = wire.AllNodes6, wire.MulticastMAC(wire.AllNodes6)
		}
		frame := ndp{a, dst, dstMAC, 255, advertisement(a, mac, flags|wire.NeighborRouter)}.frame()
		copy(frame[6:12], mac[:])
		l.Input(0, frame, l.now)
		return
	}
	frame := make([]byte, wire.EthernetLen+wire.ARPLen)
	fields := wire.ARPFields{Op: wire.ARPReply, SenderMAC: mac, SenderIP: a, TargetMAC: macA, TargetIP: to}
	dst := macA
	if to == a {
		fields.Op, fields.TargetMAC, dst = wire.ARPRequest, wire.MAC{}, wire.Broadcast
	}
	wire.PutEthernet(frame, dst, mac, wire.EtherTypeARP)
	wire.PutARP(frame[wire.EthernetLen:], &fields)
	l.Input(0, frame, l.now)
}

// talk sends a datagram each second, and says by whom the last one went.
func (l *lan) talk(to netip.Addr, d time.Duration) (by wire.MAC) {
	l.t.Helper()
	sock := newSocket(l.Stack, &l.UDP, at(l.f.any, 2000))
	defer l.UDP.Remove(sock)
	for end := l.now.Add(d); l.now < end; {
		before := map[wire.MAC]int{}
		for mac, n := range l.got {
			before[mac] = n
		}
		if e := send(l.Stack, sock, netip.AddrPortFrom(to, 7), []byte("x"), l.now); e != 0 {
			l.t.Fatal(e)
		}
		l.pass(time.Second)
		by = wire.MAC{}
		for mac, n := range l.got {
			if n > before[mac] {
				by = mac
			}
		}
	}
	return by
}

func (l *lan) state(a netip.Addr) neigh.State {
	if e := l.Neigh.Lookup(0, a); e != nil {
		return e.State()
	}
	return neigh.Failed
}

// RFC 7048 §3: a neighbour that falls silent and has no substitute is sent to where it was, however long, and whoever sends
// hears of no error and waits for nothing. When it is back it is found: at once if it says something, and within
// a minute if it has moved and says nothing.
func TestSilentNeighbourStaysInUse(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for name, back := range map[string]struct {
			mac    wire.MAC
			says   bool
			within time.Duration
		}{
			"where it was":                   {macB, false, 61 * time.Second},
			"elsewhere, without a word":      {wire.MAC{2, 0, 0, 0, 0, 3}, false, 61 * time.Second},
			"elsewhere, and says so to all":  {wire.MAC{2, 0, 0, 0, 0, 3}, true, time.Second},
			"where it was, and says so, too": {macB, true, 61 * time.Second},
		} {
			l := newLAN(t, f)
			l.there[f.b] = macB
			sock := newSocket(l.Stack, &l.UDP, at(f.a, 1001)) // one that would hear of an error
			sock.Remote = netip.AddrPortFrom(f.b, 9)
			l.talk(f.b, 2*time.Minute)
			delete(l.there, f.b)
			l.talk(f.b, time.Minute)
			if s := l.state(f.b); s != neigh.Unreachable {
				t.Fatalf("%s: after a minute of silence it is %v", name, s)
			}
			l.forget()
			if by := l.talk(f.b, 10*time.Minute); by != macB || l.got[macB] != 600 {
				t.Errorf("%s: %d of 600 datagrams were sent, the last one to %v", name, l.got[macB], by)
			}
			if l.asked < 9 || l.asked > 12 {
				t.Errorf("%s: asked %d times in ten minutes", name, l.asked)
			}
			send(l.Stack, sock, sock.Remote, []byte("x"), l.now)
			l.carry()
			if e := unix.Errno(sock.Error.Take()); e != 0 || sock.Send.Len() != 0 || l.Neigh.Parked() || l.got[macB] != 601 {
				t.Errorf("%s: error %v, %d are queued", name, e, sock.Send.Len())
			}
			l.there[f.b] = back.mac
			if back.says {
				l.says(f.b, back.mac, f.b, wire.NeighborOverride)
			}
			if by := l.talk(f.b, back.within); by != back.mac {
				t.Errorf("%s: it is back for %v, and packets go to %v", name, back.within, by)
			}
			if l.talk(f.b, time.Minute); l.state(f.b) != neigh.Reachable && l.state(f.b) != neigh.Delay && l.state(f.b) != neigh.Probe {
				t.Errorf("%s: it is back, and %v", name, l.state(f.b))
			}
		}
	})
}

// A neighbour that nobody has sent to for longer than a connection can have use for it is asked for anew, and whoever
// waits hears that it is not there.
func TestSilentNeighbourIsHostUnreachableForWhoComesLater(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		l := newLAN(t, f)
		l.there[f.b] = macB
		l.talk(f.b, time.Minute)
		delete(l.there, f.b)
		l.talk(f.b, time.Minute)
		l.pass(5 * time.Minute)
		if s := l.state(f.b); s != neigh.Failed {
			t.Fatalf("it is %v", s)
		}
		c := l.connect(f.b, 1000, tcp.Options{})
		sock := newSocket(l.Stack, &l.UDP, at(f.a, 1001))
		sock.Remote = netip.AddrPortFrom(f.b, 9)
		send(l.Stack, sock, sock.Remote, []byte("x"), l.now)
		l.pass(4 * time.Second)
		if e := unix.Errno(sock.Error.Take()); e != unix.EHOSTUNREACH || c.State() != tcp.Closed {
			t.Errorf("the datagram: %v; the connection is %v", e, c.State())
		}
	})
}

func (l *lan) connect(to netip.Addr, port uint16, o tcp.Options) *tcp.Conn {
	l.t.Helper()
	c, errno := l.TCP.Connect(netip.AddrPortFrom(l.f.a, port), netip.AddrPortFrom(to, 80), o, l.now)
	if errno != 0 {
		l.t.Fatal(errno)
	}
	c.Gate.Init(silent{})
	return c
}

var (
	macG = [3]wire.MAC{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}, {2, 0, 0, 0, 1, 3}}
	far  = map[*family]netip.Addr{family4: netip.MustParseAddr("192.0.2.7"), family6: netip.MustParseAddr("2001:db8:99::7")}
)

// gateways are three of a family, and routes to everywhere by the first two; the second is the dearer one.
func (f *family) gateways() (g [3]netip.Addr, routes []route.Route) {
	for i := range g {
		b := f.b.AsSlice()
		b[len(b)-1] = byte(10 + i)
		g[i], _ = netip.AddrFromSlice(b)
	}
	everywhere := netip.PrefixFrom(f.any, 0)
	return g, []route.Route{{Prefix: everywhere, Gateway: g[0], Metric: 10}, {Prefix: everywhere, Gateway: g[1], Metric: 20}}
}

// RFC 1122 §3.3.1.4, RFC 4861 §6.3.6: a gateway that falls silent is left for the next one, whoever gave the routes; it is
// asked once a minute whether it is back, and then it is taken again. When none answers they are tried in turns.
func TestAnotherGatewayTakesOver(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		g, routes := f.gateways()
		l := newLAN(t, f, routes...)
		l.there[g[0]], l.there[g[1]] = macG[0], macG[1]
		if by := l.talk(far[f], time.Minute); by != macG[0] || l.got[macG[1]] != 0 {
			t.Fatalf("at first: by %v", by)
		}
		delete(l.there, g[0])
		l.talk(far[f], time.Minute)
		l.forget()
		if by := l.talk(far[f], 10*time.Minute); by != macG[1] || l.got[macG[0]] != 0 {
			t.Errorf("the first is silent: by %v, %d by the first", by, l.got[macG[0]])
		}
		if asked := l.asked; asked < 9 || asked > 60 { // the second one is asked now and then as well
			t.Errorf("asked %d times in ten minutes", asked)
		}
		l.there[g[0]] = macG[2] // a new machine with its address
		if by := l.talk(far[f], 62*time.Second); by != macG[2] {
			t.Errorf("the first is back: by %v", by)
		}
		delete(l.there, g[0])
		delete(l.there, g[1])
		l.talk(far[f], time.Minute)
		l.forget()
		l.talk(far[f], 5*time.Minute)
		if l.got[macG[1]]+l.got[macG[2]] != 300 {
			t.Errorf("none answers: %v", l.got) // each where it was (RFC 7048)
		}
		l.there[g[1]] = macG[1]
		if by := l.talk(far[f], 2*time.Minute); by != macG[1] {
			t.Errorf("the second one is back: by %v", by)
		}
		l.SetRoutes(route.New(nil))
		if len(l.silent) != 0 {
			t.Errorf("%v are remembered without routes", l.silent)
		}
	})
}

// What waits for a gateway that is not there goes by the next one: connections and datagrams. With none left they
// hear of it.
func TestWhatWaitsForADeadGatewayTakesTheNext(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		g, routes := f.gateways()
		for _, pinned := range []uint32{0, 1} {
			l := newLAN(t, f, routes...)
			l.there[g[1]] = macG[1]
			c := l.connect(far[f], 1000, tcp.Options{Device: pinned})
			sock := newSocket(l.Stack, &l.UDP, at(f.a, 1001))
			sock.Remote, sock.Device = netip.AddrPortFrom(far[f], 9), pinned
			for range 5 {
				if e := send(l.Stack, sock, sock.Remote, make([]byte, 1200), l.now); e != 0 {
					t.Fatal(e)
				}
			}
			l.pass(4 * time.Second)
			if c.State() != tcp.SynSent || l.got[macG[1]] < 6 || sock.Error.Take() != 0 {
				t.Errorf("the connection is %v, and %d packets went by the second", c.State(), l.got[macG[1]])
			}
			delete(l.there, g[1])
			l.Neigh.Flush(0, l.now)
			last := l.connect(far[f], 1002, tcp.Options{Device: pinned})
			send(l.Stack, sock, sock.Remote, []byte("x"), l.now)
			l.pass(8 * time.Second)
			if e := unix.Errno(sock.Error.Take()); e != unix.EHOSTUNREACH || last.State() != tcp.Closed {
				t.Errorf("none is there: the datagram %v, the connection %v", e, last.State())
			}
			for _, q := range []*ring.Datagrams{&l.ports[0].packets, &l.ports[0].frames} {
				if q.Len() != 0 {
					t.Errorf("%d packets are left", q.Len())
				}
			}
		}
	})
}

// A redirected destination whose new first hop does not answer goes by the router again (RFC 4861 §7.3.3), and whoever waits
// does not hear of it.
func TestRedirectToASilentHop(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		g, routes := f.gateways()
		for name, to := range map[string]netip.Addr{"a router": g[2], "the link": {}} {
			l := newLAN(t, f, append(slices.Clone(routes), route.Route{
				Prefix: netip.PrefixFrom(far[f], far[f].BitLen()), Gateway: to, Redirected: true,
			})...)
			l.there[g[0]] = macG[0]
			c := l.connect(far[f], 1000, tcp.Options{})
			l.pass(2 * time.Second)
			if len(l.got) != 0 {
				t.Fatalf("to %s: there is no redirect", name)
			}
			l.pass(2 * time.Second)
			if c.State() != tcp.SynSent || l.got[macG[0]] == 0 {
				t.Errorf("to %s: the connection is %v, sent %v", name, c.State(), l.got)
			}
			l.there[to], l.there[far[f]] = macG[2], macG[2]
			if by := l.talk(far[f], 2*time.Minute); by != macG[2] {
				t.Errorf("to %s: it answers now, and packets go by %v", name, by)
			}
			delete(l.there, to)
			delete(l.there, far[f])
			if by := l.talk(far[f], 2*time.Minute); by != macG[0] {
				t.Errorf("to %s: it has stopped answering, and packets go by %v", name, by)
			}
		}
	})
}

// What is remembered of dead gateways has a bound.
func TestSilentGatewaysAreBounded(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		var routes []route.Route
		for i := range 4 * silentMax {
			b := f.b.AsSlice()
			b[len(b)-1] = byte(10 + i)
			gw, _ := netip.AddrFromSlice(b)
			routes = append(routes, route.Route{Prefix: netip.PrefixFrom(f.any, 0), Gateway: gw, Metric: i})
		}
		l := newLAN(t, f, routes...)
		l.talk(far[f], 10*time.Minute)
		if n := len(l.silent); n != silentMax {
			t.Errorf("%d are remembered, want %d", n, silentMax)
		}
	})
}

// To ask for one dead gateway may push another one out of a full table.
func TestSilentGatewaysInAFullTable(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		g, routes := f.gateways()
		l := newLAN(t, f, routes...)
		l.there[g[1]] = macG[1]
		l.talk(far[f], 10*time.Second)
		delete(l.there, g[1])
		l.talk(far[f], time.Minute)
		if len(l.silent) != 2 {
			t.Fatalf("%d are silent", len(l.silent))
		}
		for end := l.now.Add(5 * time.Minute); l.Neigh.Lookup(0, g[0]) != nil && l.now < end; {
			l.pass(100 * time.Millisecond)
		}
		if l.Neigh.Lookup(0, g[0]) != nil || l.state(g[1]) != neigh.Unreachable {
			t.Fatalf("%v and %v", l.state(g[0]), l.state(g[1]))
		}
		full := 0
		for i := 0; l.Neigh.Len() != full; i++ { // stations that are there, and known to be
			full = l.Neigh.Len()
			b := f.b.AsSlice()
			b[len(b)-1], b[len(b)-2] = byte(i), byte(100+i>>8)
			a, _ := netip.AddrFromSlice(b)
			if full < 1024 {
				l.Neigh.See(neigh.Sighting{Addr: a, MAC: macB, Create: true}, l.now)
				l.Neigh.See(neigh.Sighting{Addr: a, MAC: macB, Solicited: true}, l.now)
			}
		}
		slices.SortFunc(l.silent, func(a, b hop) int { return a.addr.Compare(b.addr) }) // the one that pushes the other out first
		for i := range l.silent {
			l.silent[i].ask = 0
		}
		l.pathGen++
		if _, errno := l.path(far[f], l.now); errno != 0 && errno != unix.ENOBUFS {
			t.Error(errno)
		}
		if l.Neigh.Lookup(0, g[0]) == nil || l.Neigh.Lookup(0, g[1]) != nil {
			t.Error("the second one's entry was not the one to go: this test shows nothing")
		}
	})
}
