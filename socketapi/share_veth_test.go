package socketapi

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// An address that the kernel and the engine both use: host.Interface.Share.

// login is a connection of the kernel's to another kernel, like ssh's, which goes on whatever the engine does.
type login struct {
	t     *testing.T
	conn  net.Conn
	at    net.Listener // of its server
	turns atomic.Int64
	end   atomic.Bool
	done  chan struct{}
}

// loginFrom opens one from a namespace to a server of the kernel's in another.
func loginFrom(t *testing.T, from, server *netlab.NS, at string) *login {
	l, err := server.Listen("tcp", at)
	fatal(t, err)
	t.Cleanup(func() { l.Close() })
	go serveEcho(l)
	c, err := from.Dial("tcp", at)
	fatal(t, err)
	in := &login{t: t, conn: c, at: l, done: make(chan struct{})}
	go in.run()
	return in
}

func (l *login) run() {
	defer close(l.done)
	defer l.conn.Close()
	sent, got := make([]byte, 512), make([]byte, 512)
	for !l.end.Load() {
		rand.NewChaCha8([32]byte{byte(l.turns.Load())}).Read(sent)
		l.conn.SetDeadline(time.Now().Add(longest))
		_, err := l.conn.Write(sent)
		if err == nil {
			_, err = io.ReadFull(l.conn, got)
		}
		if err != nil || !bytes.Equal(sent, got) {
			l.t.Errorf("the login after %d turns: %v", l.turns.Load(), err)
			return
		}
		l.turns.Add(1)
	}
}

// goesOn waits until it has done some more.
func (l *login) goesOn(when string) {
	l.t.Helper()
	want := l.turns.Load() + 20
	eventually(l.t, "the login goes on "+when, func() bool {
		select {
		case <-l.done:
			l.t.Fatalf("the login does not go on %s", when)
		default:
		}
		return l.turns.Load() >= want
	})
}

func (l *login) stop() {
	l.end.Store(true)
	<-l.done
}

// TestSharedAddress: the engine serves and calls from the kernel's addresses, on two cores, and the kernel goes on to live there.
func TestSharedAddress(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	veth := netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes, Queues: 2},
		netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes, Queues: 2})
	in, out := loginFrom(t, peer, ours, engineAddr+":22"), loginFrom(t, ours, peer, "["+kernelAddr6+"]:22")
	in.goesOn("before")
	st := openAt(t, ours, host.Interface{Name: "va", Share: true})
	in.goesOn("with the engine")

	l, err := st.Listen("tcp", ":80")
	fatal(t, err)
	served := serveEcho(l)
	u, err := st.ListenUDP(netip.MustParseAddrPort("[::]:80"))
	fatal(t, err)
	go echoUDP(u)
	var all sync.WaitGroup
	for _, way := range []struct{ mine, theirs netip.Addr }{
		{netip.MustParseAddr(engineAddr), netip.MustParseAddr(kernelAddr)},
		{netip.MustParseAddr(engineAddr6), netip.MustParseAddr(kernelAddr6)},
		{linkLocalOf(t, ours, "va"), linkLocalOf(t, peer, "vb")},
	} {
		there := func(a netip.Addr, l *netlab.Link, port uint16) string { // as seen at the end l
			if a.IsLinkLocalUnicast() {
				a = wire.WithScope(a, uint32(l.Index))
			}
			return netip.AddrPortFrom(a, port).String()
		}
		all.Go(func() {
			for range 20 {
				c, err := peer.Dial("tcp", there(way.mine, veth.B, 80))
				if err != nil {
					t.Errorf("to %v: %v", way.mine, err)
					return
				}
				bulkEcho(t, c, 100_000, 3)
			}
		})
		all.Go(func() {
			l, err := peer.Listen("tcp", there(way.theirs, veth.B, 0))
			if err != nil {
				t.Error(err)
				return
			}
			served := serveEcho(l)
			port := l.Addr().(*net.TCPAddr).Port
			for range 20 {
				c, err := st.Dial("tcp", there(way.theirs, veth.A, uint16(port)))
				if err != nil {
					t.Errorf("from %v: %v", way.mine, err)
					return
				}
				bulkEcho(t, c, 100_000, 5)
			}
			l.Close()
			<-served
		})
		all.Go(func() { datagramsAcross(t, peer, there(way.mine, veth.B, 80)) })
		all.Go(func() { refusals(t, st, peer, there(way.mine, veth.B, 81), there(way.theirs, veth.A, 81)) })
	}
	all.Go(func() { groupsAndEveryone(t, st, peer) })
	all.Wait()
	in.goesOn("beside all that")
	out.goesOn("beside all that")

	for _, typ := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
		if _, err := st.table.Socket(unix.AF_INET, typ, unix.IPPROTO_ICMP); err != unix.EPROTONOSUPPORT {
			t.Errorf("a socket of ICMP, type %d: %v", typ, err)
		}
	}
	if _, err := st.ListenPing(netip.IPv4Unspecified()); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("a ping socket: %v", err)
	}

	besideALogin(t, st, ours, in)

	fatal(t, l.Close())
	fatal(t, u.Close())
	<-served
	fatal(t, st.Close())
	in.goesOn("after the engine")
	k, err := ours.Listen("tcp", engineAddr+":80")
	fatal(t, err)
	defer k.Close()
	c, err := peer.Dial("tcp", engineAddr+":80")
	fatal(t, err)
	c.Close()
	in.stop()
	out.stop()
	st = openAt(t, ours, host.Interface{Name: "va", Share: true})
	eventually(t, "the port of the login is free", func() bool { // in TIME-WAIT, which is nobody's
		l, err := st.Listen("tcp", ":22")
		if err == nil {
			l.Close()
		}
		return err == nil
	})
}

// besideALogin: a server that has gone leaves its logins, and their port is taken as long as they are.
func besideALogin(t *testing.T, st *Stack, ours *netlab.NS, in *login) {
	t.Helper()
	fatal(t, in.at.Close())
	in.goesOn("without its server")
	if err := ours.Do(func() error { _, err := engine.KernelConnections(22); return err }); err != nil {
		t.Logf("this kernel does not tell of connections (CONFIG_INET_DIAG): %v", err)
		return
	}
	for _, at := range []string{":22", engineAddr + ":22"} {
		if l, err := st.Listen("tcp", at); !errors.Is(err, unix.EADDRINUSE) { // though both have SO_REUSEADDR
			t.Errorf("listening at %s beside a login: %v, %v", at, l, err)
		}
	}
	in.goesOn("though somebody would have its port")
}

// datagramsAcross has datagrams echoed, some of them longer than the link takes.
func datagramsAcross(t *testing.T, from *netlab.NS, to string) {
	c, err := from.Dial("udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for _, n := range []int{1, 1400, 2000} {
		p := bytes.Repeat([]byte{byte(n)}, n)
		got := make([]byte, 3000)
		for try := 1; ; try++ {
			c.Write(p)
			c.SetReadDeadline(time.Now().Add(time.Second))
			m, err := c.Read(got)
			if err == nil && bytes.Equal(got[:m], p) {
				break
			}
			if try == 20 {
				t.Errorf("%d bytes to %s: %d, %v", n, to, m, err)
				return
			}
		}
	}
}

// refusals: who has no port is told by whoever has the address, and the errors reach the one whose datagram it was.
func refusals(t *testing.T, st *Stack, peer *netlab.NS, mine, theirs string) {
	e, err := st.Dial("udp", theirs)
	if err != nil {
		t.Error(err)
		return
	}
	defer e.Close()
	k, err := peer.Dial("udp", mine)
	if err != nil {
		t.Error(err)
		return
	}
	defer k.Close()
	for who, c := range map[string]net.Conn{"the engine": e, "the kernel": k} {
		for try := 1; ; try++ { // an ICMP error may be left out for there being so many
			c.Write([]byte("x"))
			c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err = c.Read(make([]byte, 1)); errors.Is(err, unix.ECONNREFUSED) {
				break
			}
			if try == 20 {
				t.Errorf("%s, a datagram to %v: %v", who, c.RemoteAddr(), err)
				break
			}
		}
	}
	if c, err := st.Dial("tcp", theirs); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the engine connects to %s: %v, %v", theirs, c, err)
	}
	if c, err := peer.Dial("tcp", mine); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the kernel connects to %s: %v, %v", mine, c, err)
	}
}

// groupsAndEveryone: what is sent to a group that was joined, and to everyone, comes to the engine as a copy.
func groupsAndEveryone(t *testing.T, st *Stack, from *netlab.NS) {
	c, err := st.ListenUDP(netip.MustParseAddrPort("0.0.0.0:5000"))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	group := netip.MustParseAddr("239.1.1.1")
	if err := c.JoinGroup(group, 0); err != nil {
		t.Error(err)
	}
	k, err := from.ListenPacket("udp", kernelAddr+":5000") // package net sets SO_BROADCAST
	if err != nil {
		t.Error(err)
		return
	}
	defer k.Close()
	for _, to := range []string{group.String(), "10.99.0.255", "255.255.255.255"} {
		want, got := []byte(to), make([]byte, 100)
		if _, err := k.(*net.UDPConn).WriteToUDPAddrPort(want, netip.AddrPortFrom(netip.MustParseAddr(to), 5000)); err != nil {
			t.Errorf("to %s: %v", to, err)
			continue
		}
		c.SetReadDeadline(time.Now().Add(longest))
		if n, _, err := c.ReadFromUDPAddrPort(got); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("to %s: %q, %v", to, got[:n], err)
		}
	}
}

// TestSharedAddressBehindARouter: routes and neighbours are the kernel's. The router gets another MAC address, a path turns out to be
// narrow, and who is not there is reported as by any engine.
func TestSharedAddressBehindARouter(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, router, far := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes}, netlab.End{NS: router, Name: "vb", Addrs: kernelPrefixes})
	netlab.TestVeth(t,
		netlab.End{NS: router, Name: "vc", Addrs: prefixes("10.66.0.1/24", "fd66::1/64")},
		netlab.End{NS: far, Name: "vd", Addrs: prefixes("10.66.0.2/24", "fd66::2/64")})
	sysctl(t, router, "net.ipv4.ip_forward", "1")
	sysctl(t, router, "net.ipv6.conf.all.forwarding", "1")
	ip(t, far, "route add default via 10.66.0.1")
	ip(t, far, "-6 route add default via fd66::1")
	ip(t, ours, "route add default via "+kernelAddr)
	st := openAt(t, ours, host.Interface{Name: "va", Share: true, Addrs: enginePrefixes})
	ip(t, ours, "-6 route add default via "+kernelAddr6) // the engine hears of it
	eventually(t, "the route", func() bool { return sourceTo(st, "fd66::2").IsValid() })
	both := func(size int) {
		for _, to := range []string{"10.66.0.2", "fd66::2"} {
			carry(t, st, far, to, size)
		}
	}
	both(300_000)

	// Too narrow from now on, for what comes from our side: the router says so in ICMP errors, which quote what we sent.
	ip(t, router, "route replace 10.66.0.2/32 dev vc mtu lock 1300")
	ip(t, router, "-6 route replace fd66::2/128 dev vc mtu 1300")
	both(300_000)
	for _, to := range []string{"10.66.0.2", "fd66::2"} {
		if got := pathMTU(t, st, to); got != 1300 {
			t.Errorf("the path to %s has an MTU of %d", to, got)
		}
	}

	// The router is at another address. It says so to the kernel, whom it asks for its own.
	l, err := ours.Listen("tcp", ":22")
	fatal(t, err)
	defer l.Close()
	ip(t, router, "link set vb address 02:00:00:00:00:07")
	flushNeighbours(t, router)
	for _, to := range []string{engineAddr, engineAddr6} {
		c, err := router.Dial("tcp", net.JoinHostPort(to, "22"))
		fatal(t, err)
		c.Close()
	}
	both(300_000)

	var all sync.WaitGroup
	for _, nobody := range []string{"10.99.0.77", "fd99::77"} {
		all.Go(func() {
			began := time.Now()
			if _, err := st.Dial("tcp", net.JoinHostPort(nobody, "9")); !errors.Is(err, unix.EHOSTUNREACH) {
				t.Errorf("to %s: %v after %v, want EHOSTUNREACH", nobody, err, time.Since(began))
			}
		})
	}
	all.Wait()
}

// TestSharedAddressesComeAndGo: an address that the kernel gets or loses is the engine's, or is not, with what sockets hold there.
func TestSharedAddressesComeAndGo(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes}, netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes})
	st := openAt(t, ours, host.Interface{Name: "va", Share: true})
	engine, kernel := &sharedSide{t: t, api: st.table}, &sharedSide{t: t, ns: ours}
	const more = "10.99.0.9"
	later := netip.MustParseAddr(more)
	l, err := st.Listen("tcp", ":80")
	fatal(t, err)
	served := serveEcho(l)
	if _, err := engine.bind(unix.SOCK_STREAM, more, 90, false); err != unix.EADDRNOTAVAIL {
		t.Errorf("before there is such an address: %v", err)
	}
	besides := connectionsBesides(t, st, peer)
	for range 2 {
		ip(t, ours, "addr add "+more+"/24 dev va")
		eventually(t, "the address is the engine's", func() bool { return st.Host().Local(later) })
		c, err := peer.Dial("tcp", net.JoinHostPort(more, "80")) // a wildcard hears there too
		fatal(t, err)
		bulkEcho(t, c, 100_000, 1)
		fd, err := engine.bind(unix.SOCK_STREAM, more, 90, false)
		fatal(t, err)
		if _, err := kernel.bind(unix.SOCK_STREAM, more, 90, true); err != unix.EADDRINUSE {
			t.Errorf("the port in the kernel: %v", err)
		}
		ip(t, ours, "addr del "+more+"/24 dev va")
		eventually(t, "the address is the engine's no more", func() bool { return !st.Host().Local(later) })
		if _, err := engine.bind(unix.SOCK_STREAM, more, 91, false); err != unix.EADDRNOTAVAIL {
			t.Errorf("after: %v", err)
		}
		engine.close(fd)
		carry(t, st, peer, kernelAddr, 1000)
	}
	besides()
	if err := st.Host().AddAddr(0, route.Addr{Prefix: netip.MustParsePrefix("10.99.0.8/24")}); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("an address of the engine's own beside them: %v", err)
	}
	fatal(t, l.Close())
	<-served
}

// connectionsBesides opens connections to a kernel that must not notice what becomes of other addresses: all are waited for by end.
func connectionsBesides(t *testing.T, st *Stack, peer *netlab.NS) (end func()) {
	l, err := peer.Listen("tcp", kernelAddr+":0")
	fatal(t, err)
	served := serveEcho(l)
	var over atomic.Bool
	var all sync.WaitGroup
	for range 20 {
		c, err := st.Dial("tcp", l.Addr().String())
		fatal(t, err)
		all.Go(func() {
			defer c.Close()
			b := make([]byte, 100)
			for last := false; !last; {
				last = over.Load()
				c.SetDeadline(time.Now().Add(longest))
				_, err := c.Write(b)
				if err == nil {
					_, err = io.ReadFull(c, b)
				}
				if err != nil {
					t.Errorf("a connection while other addresses come and go: %v", err)
					return
				}
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
		l.Close()
		<-served
	}
}

// TestTwoSharedInterfaces: a wildcard hears by both, an address by the one that has it, or by both, and a link-local one that both have is each link's own.
func TestTwoSharedInterfaces(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, left, right := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	va := netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: prefixes("10.99.0.2/24", "fe80::7/64", "10.55.0.5/32")}, netlab.End{NS: left, Name: "vb", Addrs: kernelPrefixes})
	vc := netlab.TestVeth(t, netlab.End{NS: ours, Name: "vc", Addrs: prefixes("10.66.0.2/24", "fe80::7/64", "10.55.0.5/32")}, netlab.End{NS: right, Name: "vd", Addrs: prefixes("10.66.0.1/24")})
	ip(t, left, "route add 10.55.0.5 via 10.99.0.2")
	ip(t, right, "route add 10.55.0.5 via 10.66.0.2")
	st := openAt(t, ours, host.Interface{Name: "va", Share: true}, host.Interface{Name: "vc", Share: true})
	echo := func(listen func(network, address string) (net.Listener, error), at string) {
		t.Helper()
		l, err := listen("tcp", at)
		fatal(t, err)
		served := serveEcho(l)
		t.Cleanup(func() { l.Close(); <-served })
	}
	scoped := func(l *netlab.Link, port uint16) string {
		return netip.AddrPortFrom(wire.WithScope(netip.MustParseAddr("fe80::7"), uint32(l.Index)), port).String()
	}
	echo(st.Listen, ":80")
	echo(st.Listen, "10.66.0.2:81")
	echo(st.Listen, "10.55.0.5:83")
	echo(st.Listen, scoped(va.A, 82))
	echo(ours.Listen, scoped(vc.A, 82)) // the kernel's, by the other one
	for _, row := range []struct {
		from *netlab.NS
		to   string
	}{
		{left, "10.99.0.2:80"}, {right, "10.66.0.2:80"}, {right, "10.66.0.2:81"}, {left, "10.55.0.5:83"}, {right, "10.55.0.5:83"},
		{left, scoped(va.B, 80)}, {right, scoped(vc.B, 80)}, {left, scoped(va.B, 82)}, {right, scoped(vc.B, 82)},
	} {
		c, err := row.from.Dial("tcp", row.to)
		if err != nil {
			t.Errorf("%s: %v", row.to, err)
			continue
		}
		bulkEcho(t, c, 10_000, 4)
	}
	if c, err := left.Dial("tcp", "10.99.0.2:81"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a port of the other address: %v, %v", c, err)
	}
}
