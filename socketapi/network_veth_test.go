package socketapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Addresses, routes and neighbours that change, with a kernel at the other end.

// ip runs ip(8) in a namespace.
func ip(t *testing.T, ns *netlab.NS, args string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip(8), by which this test changes the kernel's side")
	}
	if out, err := ns.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// sysctl sets one in a namespace.
func sysctl(t *testing.T, ns *netlab.NS, name, value string) {
	t.Helper()
	if err := ns.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	}); err != nil {
		t.Fatal(err)
	}
}

// flushNeighbours has the kernel forget its neighbours at vb, those that it has learned again meanwhile excepted: of
// which ip(8) complains.
func flushNeighbours(t *testing.T, ns *netlab.NS) {
	t.Helper()
	if out, err := ns.Command("ip", "neigh", "flush", "dev", "vb").CombinedOutput(); err != nil && !strings.Contains(string(out), "bailing out") {
		t.Fatalf("ip neigh flush: %v: %s", err, out)
	}
}

// eventually waits for something that a change brings about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, longest)
		}
	}
}

// openAt opens a stack in a namespace.
func openAt(t *testing.T, ns *netlab.NS, interfaces ...host.Interface) *Stack {
	t.Helper()
	var st *Stack
	if err := ns.Do(func() (err error) {
		st, err = Open(host.Config{Interfaces: interfaces})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			stats := st.Host().Stats()
			for r, n := range stats.All() {
				t.Logf("dropped %d: %v", n, r)
			}
			t.Logf("addresses: %+v\nroutes: %+v\nneighbours: %+v", st.Host().Addrs(), st.Host().Routes(), st.Host().Neighbours())
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// sourceTo is the address by which the host would speak to dst, not valid if it would not.
func sourceTo(st *Stack, dst string) netip.Addr {
	c := st.Host().Cores()[0]
	c.Lock()
	defer c.Unlock()
	src, _ := c.Stack.Source(0, netip.Addr{}, netip.MustParseAddr(dst), c.Now())
	return src
}

// answers says whether a kernel's socket can connect to an address of the engine's.
func answers(t *testing.T, kernel *netlab.NS, to string, wait time.Duration) bool {
	t.Helper()
	for end := time.Now().Add(wait); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), min(wait, time.Second))
		k, err := kernel.DialContext(ctx, "tcp", to)
		cancel()
		if err == nil {
			k.Close()
			return true
		}
	}
	return false
}

// acceptAll takes connections to port 7 of all addresses and closes them: an address that goes takes the
// peer's FIN along, so nobody waits for it.
func acceptAll(t *testing.T, st *Stack) {
	t.Helper()
	l, err := st.Listen("tcp", "[::]:7")
	fatal(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// TestAddressesOfARunningHost: a kernel reaches an address while the host has it.
func TestAddressesOfARunningHost(t *testing.T) {
	t.Parallel()
	st, kernel := lab(t, 1, "")
	acceptAll(t, st)
	for _, a := range []string{"10.99.0.7/24", "fd99::7/64"} {
		p := netip.MustParsePrefix(a)
		to := netip.AddrPortFrom(p.Addr(), 7).String()
		if answers(t, kernel, to, 200*time.Millisecond) {
			t.Fatalf("%s answers before the host has it", p.Addr())
		}
		fatal(t, st.Host().AddAddr(0, route.Addr{Prefix: p, State: route.Tentative}))
		if answers(t, kernel, to, 200*time.Millisecond) {
			t.Fatalf("%s answers while it is tentative", p.Addr())
		}
		fatal(t, st.Host().SetAddrState(0, p.Addr(), route.Preferred))
		if !answers(t, kernel, to, longest) {
			t.Fatalf("%s does not answer", p.Addr())
		}
		fatal(t, st.Host().RemoveAddr(0, p.Addr()))
		if answers(t, kernel, to, 200*time.Millisecond) {
			t.Fatalf("%s answers when the host has it no more", p.Addr())
		}
	}
	if !answers(t, kernel, engineAddr+":7", longest) || !answers(t, kernel, "["+engineAddr6+"]:7", longest) {
		t.Error("the addresses of before do not answer")
	}
}

// TestAnAddressGoesUnderItsSockets: sockets that are bound to an address, and connected from it, hear of it as those of
// the kernel do when it is taken away, and go on when it is back.
func TestAnAddressGoesUnderItsSockets(t *testing.T) {
	t.Parallel()
	st, enginePeer := lab(t, 1, engine.ModeAuto)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes}, netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes})
	for _, ns := range []*netlab.NS{enginePeer, peer} { // or the address is back before "port unreachable" is, now and then
		fatal(t, ns.Do(func() error {
			c, err := net.ListenPacket("udp", ":9")
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}))
	}
	for _, f := range []struct {
		domain int
		prefix string
		at, to unix.Sockaddr
	}{
		{unix.AF_INET, "10.99.0.22/24", &unix.SockaddrInet4{Addr: [4]byte{10, 99, 0, 22}}, &unix.SockaddrInet4{Addr: [4]byte{10, 99, 0, 1}, Port: 9}},
		{unix.AF_INET6, "fd99::22/64", in6("fd99::22", 0), in6(kernelAddr6, 9)},
	} {
		p := netip.MustParsePrefix(f.prefix)
		said := func(s berkeley, add, remove func()) (list []string) {
			note := func(what string, err error) { list = append(list, what+" "+show(err)) }
			add()
			var fds [2]int
			for i := range fds {
				fd, err := s.Socket(f.domain, unix.SOCK_DGRAM, 0)
				fatal(t, err)
				defer s.Close(fd)
				fatal(t, s.Bind(fd, f.at))
				fds[i] = fd
			}
			bound, connected := fds[0], fds[1]
			fatal(t, s.Connect(connected, f.to))
			for _, change := range []func(){remove, add} {
				change()
				note("sendto", s.Sendto(bound, []byte("x"), 0, f.to))
				_, err := s.Write(connected, []byte("x"))
				note("write", err)
				fd, err := s.Socket(f.domain, unix.SOCK_DGRAM, 0)
				fatal(t, err)
				note("bind", s.Bind(fd, f.at))
				s.Close(fd)
			}
			remove()
			note("connect", s.Connect(bound, f.to))
			return list
		}
		family := map[int]string{unix.AF_INET: "", unix.AF_INET6: "-6 "}[f.domain]
		nodad := map[int]string{unix.AF_INET6: " nodad"}[f.domain]
		want := said(linux{ours}, func() { ip(t, ours, family+"addr add "+f.prefix+" dev va"+nodad) }, func() { ip(t, ours, family+"addr del "+f.prefix+" dev va") })
		got := said(st.Table(), func() {
			fatal(t, st.Host().AddAddr(0, route.Addr{Prefix: p}))
			ctx, cancel := context.WithTimeout(context.Background(), longest)
			defer cancel()
			fatal(t, st.Host().Await(ctx, 0, func(list []route.Addr) bool {
				return slices.ContainsFunc(list, func(a route.Addr) bool { return a.Prefix == p && a.Usable() })
			}))
		}, func() { fatal(t, st.Host().RemoveAddr(0, p.Addr())) })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, and the kernel says %q", f.prefix, got, want)
		}
	}
}

// TestMirrorFollowsTheKernel: what ip(8) does to the interface holds for the engine.
func TestMirrorFollowsTheKernel(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes},
		netlab.End{NS: kernel, Name: "vb", Addrs: kernelPrefixes})
	st := openAt(t, ours, host.Interface{Name: "va", Mirror: host.MirrorAddrs | host.MirrorRoutes})
	acceptAll(t, st)
	for _, a := range []string{engineAddr + ":7", "[" + engineAddr6 + "]:7"} {
		if !answers(t, kernel, a, longest) {
			t.Errorf("%s does not answer", a)
		}
	}
	ip(t, ours, "addr add 10.77.0.1/24 dev va")
	ip(t, ours, "addr add fd77::1/64 dev va nodad")
	for dst, src := range map[string]string{"10.77.0.9": "10.77.0.1", "fd77::9": "fd77::1"} {
		eventually(t, src, func() bool { return sourceTo(st, dst) == netip.MustParseAddr(src) })
	}
	ip(t, kernel, "addr add 10.77.0.2/24 dev vb")
	if !answers(t, kernel, "10.77.0.1:7", longest) {
		t.Error("10.77.0.1 does not answer")
	}
	if src := sourceTo(st, "10.50.0.1"); src.IsValid() {
		t.Errorf("10.50.0.1 is reached from %v before there is a route", src)
	}
	ip(t, ours, "route add 10.50.0.0/16 via 10.99.0.1")
	ip(t, ours, "route add 10.50.1.0/24 via 10.77.0.2 src 10.77.0.1 metric 5 mtu 1400")
	ip(t, ours, "-6 route add fd9a::/64 via fd99::1")
	ip(t, ours, "route add default via 10.44.0.1 dev va onlink")
	for dst, src := range map[string]string{"10.50.0.1": engineAddr, "10.50.1.1": "10.77.0.1", "fd9a::1": engineAddr6, "9.9.9.9": engineAddr} {
		eventually(t, dst, func() bool { return sourceTo(st, dst) == netip.MustParseAddr(src) })
	}
	ip(t, ours, "route del 10.50.0.0/16")
	ip(t, ours, "route del default")
	ip(t, ours, "addr del 10.77.0.1/24 dev va") // and the route that prefers it
	for _, dst := range []string{"10.50.0.1", "10.50.1.1", "9.9.9.9", "10.77.0.9"} {
		eventually(t, "no way to "+dst, func() bool { return !sourceTo(st, dst).IsValid() })
	}
	ip(t, ours, "addr change fd77::1/64 dev va nodad preferred_lft 0")
	eventually(t, "deprecated", func() bool {
		for _, a := range st.Host().Addrs() {
			if a.Prefix.Addr() == netip.MustParseAddr("fd77::1") {
				return a.State == route.Deprecated
			}
		}
		return false
	})
	ip(t, ours, "addr flush dev va")
	eventually(t, "no address", func() bool { return !st.Host().Local(netip.MustParseAddr(engineAddr)) })
	if answers(t, kernel, engineAddr+":7", 200*time.Millisecond) {
		t.Error("an address that the kernel has no more answers")
	}
}

// TestMirrorAnswersAsTheKernel: routes that lead nowhere, that share a prefix, of the table default, and with an MTU, in both
// families; a program of the kernel's hears the same of them.
func TestMirrorAnswersAsTheKernel(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: prefixes("10.99.0.3/24", "fd99::3/64")},
		netlab.End{NS: kernel, Name: "vb", Addrs: prefixes("10.99.0.1/24", "10.99.0.11/24", "fd99::1/64", "fd99::11/64")})
	st := openAt(t, ours, host.Interface{Name: "va", Addrs: prefixes("10.99.0.2/24", "fd99::2/64"), Mirror: host.MirrorRoutes, Detect: host.DetectNone})
	batch := func(lines ...string) {
		t.Helper()
		cmd := ours.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ip -batch: %v\n%s", err, out)
		}
	}
	var dsts []string
	for _, f := range []struct{ link, way, more, net, host string }{
		{"10.99.0.1", "10.99.0.11", "10.6%d.0.0/16", "10.6%d.7.0/24", "10.6%d.7.9"},
		{"fd99::1", "fd99::11", "fd6%d::/32", "fd6%d:0:7::/48", "fd6%d:0:7::9"},
	} {
		n := func(format string, i int) string { return fmt.Sprintf(format, i) }
		batch(
			"route add blackhole "+n(f.more, 1), "route add unreachable "+n(f.more, 2), "route add prohibit "+n(f.more, 3), "route add throw "+n(f.more, 4),
			"route add "+n(f.net, 1)+" via "+f.link, // a hole in what leads nowhere
			"route add "+n(f.more, 5)+" via "+f.link+" mtu 1300",
			"route add "+n(f.more, 6)+" via "+f.link+" table default", // which main says nothing about
			"route add "+n(f.net, 2)+" via "+f.link+" table default",  // and which it does
			"route add "+n(f.more, 7)+" nexthop via "+f.link+" dev va weight 1 nexthop via "+f.way+" dev va weight 3",
		)
		for i := 1; i <= 9; i++ {
			dsts = append(dsts, n(f.host, i))
			if i <= 4 {
				dsts = append(dsts, strings.Replace(n(f.host, i), "7", "8", 1))
			}
		}
	}
	batch("nexthop add id 1 via 10.99.0.1 dev va", "nexthop add id 2 via 10.99.0.11 dev va", "nexthop add id 9 group 1/2,5", "route add 10.68.0.0/16 nhid 9")
	// What a program of the kernel's hears when it connects, and the path's MTU.
	asked := func(dial func(network, to string) (net.Conn, error), dst string) string {
		c, err := dial("udp", net.JoinHostPort(dst, "9"))
		if err != nil {
			var errno unix.Errno
			errors.As(err, &errno)
			return errno.Error()
		}
		c.Close()
		return "ok"
	}
	for _, dst := range dsts {
		want := asked(ours.Dial, dst)
		got := ""
		for end := time.Now().Add(longest); got != want && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			got = asked(st.Dial, dst)
		}
		if got != want {
			t.Errorf("%s: %s, and the kernel says %s", dst, got, want)
		}
	}
	for _, dst := range []string{"10.65.7.9", "fd65:0:7::9"} {
		if mtu := pathMTU(t, st, dst); mtu != 1300 {
			t.Errorf("%s: MTU %d", dst, mtu)
		}
	}
	ways := func(prefix string) (list []string) {
		for _, r := range st.Host().Routes() {
			if r.Prefix == netip.MustParsePrefix(prefix) {
				list = append(list, fmt.Sprintf("%v/%d", r.Gateway, r.Weight))
			}
		}
		return list
	}
	for prefix, want := range map[string]string{
		"10.67.0.0/16": "[10.99.0.1/1 10.99.0.11/3]", "fd67::/32": "[fd99::1/1 fd99::11/3]", "10.68.0.0/16": "[10.99.0.1/1 10.99.0.11/5]",
	} {
		eventually(t, prefix+" "+want, func() bool { return fmt.Sprint(ways(prefix)) == want })
	}
	batch("nexthop replace id 9 group 2", "route del blackhole 10.61.0.0/16", "route del unreachable fd62::/32")
	eventually(t, "another group", func() bool { return fmt.Sprint(ways("10.68.0.0/16")) == "[10.99.0.11/0]" })
	eventually(t, "no blackhole", func() bool { return asked(st.Dial, "10.61.8.9") == asked(ours.Dial, "10.61.8.9") })
	if got := asked(st.Dial, "fd62:0:8::9"); got != unix.ENETUNREACH.Error() {
		t.Errorf("unreachable no more: %s", got)
	}
}

// TestMirrorOfRoutesAlone: the engine has an address of its own beside the kernel's, and leaves by the
// kernel's router.
func TestMirrorOfRoutesAlone(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: prefixes("10.99.0.3/24")},
		netlab.End{NS: kernel, Name: "vb", Addrs: prefixes("10.99.0.1/24", "10.50.0.1/32")})
	ip(t, ours, "route add default via 10.99.0.1 src 10.99.0.3")
	st := openAt(t, ours, host.Interface{Name: "va", Addrs: prefixes("10.99.0.2/24"), Mirror: host.MirrorRoutes})
	if src := sourceTo(st, "10.50.0.1"); src != netip.MustParseAddr("10.99.0.2") {
		t.Errorf("10.50.0.1 is reached from %v", src)
	}
	if st.Host().Local(netip.MustParseAddr("10.99.0.3")) {
		t.Error("the kernel's address was taken")
	}
	carry(t, st, kernel, "10.50.0.1", 100_000)
	if k, err := ours.Dial("udp", "10.99.0.1:9"); err != nil { // the kernel's own life goes on
		t.Error(err)
	} else {
		k.Close()
	}
}

// carry sends a stream to a kernel's address and back.
func carry(t *testing.T, st *Stack, kernel *netlab.NS, to string, size int) {
	t.Helper()
	l, err := kernel.Listen("tcp", net.JoinHostPort(to, "0"))
	fatal(t, err)
	served := serveEcho(l)
	c, err := st.Dial("tcp", l.Addr().String())
	fatal(t, err)
	within(t, longest, "stream to "+to, func() { bulkEcho(t, c, size, 7) })
	fatal(t, l.Close())
	<-served
}

// TestGatewayIsAKernelRouter: three namespaces, the middle one of which forwards.
func TestGatewayIsAKernelRouter(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, router, far := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: router, Name: "vb", Addrs: kernelPrefixes})
	netlab.TestVeth(t,
		netlab.End{NS: router, Name: "vc", Addrs: prefixes("10.66.0.1/24", "fd66::1/64")},
		netlab.End{NS: far, Name: "vd", Addrs: prefixes("10.66.0.2/24", "fd66::2/64")})
	sysctl(t, router, "net.ipv4.ip_forward", "1")
	sysctl(t, router, "net.ipv6.conf.all.forwarding", "1")
	ip(t, far, "route add default via 10.66.0.1")
	ip(t, far, "-6 route add default via fd66::1")
	st := openAt(t, ours, host.Interface{
		Name: "va", Addrs: enginePrefixes, Gateways: []netip.Addr{netip.MustParseAddr(kernelAddr), netip.MustParseAddr(kernelAddr6)},
	})
	carry(t, st, far, "10.66.0.2", 1<<20)
	carry(t, st, far, "fd66::2", 1<<20)
	// A route that is more specific, to a router that is not there.
	fatal(t, st.Host().AddRoute(route.Route{Prefix: netip.MustParsePrefix("10.66.0.0/24"), Gateway: netip.MustParseAddr("10.99.0.77")}))
	if _, err := st.Dial("tcp", "10.66.0.2:9"); !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("by a router that does not answer: %v, want EHOSTUNREACH", err)
	}
	fatal(t, st.Host().AddRoute(route.Route{Prefix: netip.MustParsePrefix("10.66.0.2/32"), Kind: route.Prohibit}))
	if _, err := st.Dial("tcp", "10.66.0.2:9"); !errors.Is(err, unix.EACCES) {
		t.Errorf("prohibited: %v, want EACCES", err)
	}
	fatal(t, st.Host().RemoveRoute(route.Route{Prefix: netip.MustParsePrefix("10.66.0.2/32"), Kind: route.Prohibit}))
	fatal(t, st.Host().RemoveRoute(route.Route{Prefix: netip.MustParsePrefix("10.66.0.0/24"), Gateway: netip.MustParseAddr("10.99.0.77")}))
	carry(t, st, far, "10.66.0.2", 1000)
}

// TestTwoInterfaces: one host on two links, one of which goes.
func TestTwoInterfaces(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, left, right := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: left, Name: "vb", Addrs: prefixes("10.99.0.1/24", "10.55.0.1/32")})
	gone := netlab.TestVeth(t, netlab.End{NS: ours, Name: "vc"}, netlab.End{NS: right, Name: "vd", Addrs: prefixes("10.66.0.1/24", "fd66::1/64")})
	st := openAt(t, ours,
		host.Interface{Name: "va", Addrs: prefixes("10.99.0.2/24")},
		host.Interface{Name: "vc", Addrs: prefixes("10.66.0.2/24", "fd66::2/64")})
	acceptAll(t, st)
	for _, row := range []struct {
		at *netlab.NS
		to string
	}{{left, "10.99.0.1"}, {right, "10.66.0.1"}, {right, "fd66::1"}} {
		carry(t, st, row.at, row.to, 1<<20)
	}
	if !answers(t, left, "10.99.0.2:7", longest) || !answers(t, right, "10.66.0.2:7", longest) {
		t.Error("an interface does not answer")
	}
	// The right way is preferred where there are two, until it is gone.
	far := route.Route{Prefix: netip.MustParsePrefix("10.55.0.0/16"), Gateway: netip.MustParseAddr("10.66.0.1"), Port: 1}
	fatal(t, st.Host().AddRoute(far))
	far.Gateway, far.Port, far.Metric = netip.MustParseAddr("10.99.0.1"), 0, 10
	fatal(t, st.Host().AddRoute(far))
	if src := sourceTo(st, "10.55.0.1"); src != netip.MustParseAddr("10.66.0.2") {
		t.Errorf("10.55.0.1 is reached from %v", src)
	}
	fatal(t, gone.A.Delete())
	eventually(t, "the other way", func() bool { return sourceTo(st, "10.55.0.1") == netip.MustParseAddr("10.99.0.2") })
	carry(t, st, left, "10.55.0.1", 100_000)
	for _, dst := range []string{"10.66.0.1:7", "[fd66::1]:7"} {
		if _, err := st.Dial("tcp", dst); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("%s by an interface that is gone: %v, want ENETUNREACH", dst, err)
		}
	}
	if st.Host().Local(netip.MustParseAddr("10.66.0.2")) {
		t.Error("the address of an interface that is gone is still there")
	}
}

// TestInterfaceGoesUnderWay: what was about to leave by an interface that is deleted leaves by the other one.
func TestInterfaceGoesUnderWay(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: kernel, Name: "vb", Addrs: prefixes("10.99.0.1/24", "10.55.0.1/32")})
	gone := netlab.TestVeth(t, netlab.End{NS: ours, Name: "vc"}, netlab.End{NS: kernel, Name: "vd", Addrs: prefixes("10.66.0.1/24")})
	st := openAt(t, ours, host.Interface{Name: "va", Addrs: prefixes("10.99.0.2/24")}, host.Interface{Name: "vc", Addrs: prefixes("10.66.0.2/24")})
	way := route.Route{Prefix: netip.MustParsePrefix("10.55.0.0/16"), Gateway: netip.MustParseAddr("10.66.0.1"), Port: 1}
	fatal(t, st.Host().AddRoute(way))
	way.Gateway, way.Port, way.Metric = netip.MustParseAddr("10.99.0.1"), 0, 10
	fatal(t, st.Host().AddRoute(way))
	l, err := kernel.Listen("tcp", "10.55.0.1:0")
	fatal(t, err)
	served := serveEcho(l)
	u, err := st.ListenUDP(netip.MustParseAddrPort("10.99.0.2:99"))
	fatal(t, err)
	defer u.Close()
	const streams = 4
	var deleted atomic.Bool
	within(t, 2*longest, "streams and datagrams", func() {
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for range 20_000 {
					if _, err := u.WriteToUDPAddrPort(make([]byte, 1400), netip.MustParseAddrPort("10.55.0.1:99")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
						t.Error("datagram:", err)
						return
					}
				}
			})
		}
		for range streams {
			all.Go(func() {
				d := Dialer{Stack: st, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 99, 0, 2)}}
				for !deleted.Load() {
					c, err := d.Dial("tcp", l.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					bulkEcho(t, c, 4<<20, 7)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		deleted.Store(true)
		if err := gone.A.Delete(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	fatal(t, l.Close())
	<-served
	eventually(t, "nothing is left to send", func() bool {
		c := st.Host().Cores()[0]
		c.Lock()
		defer c.Unlock()
		return !c.Stack.Busy()
	})
}

// TestLinkTroubleMidStream: what happens to a link does not end a connection: neighbours forgotten on either side,
// another MAC address at the other end with and without a word, the link down and up.
func TestLinkTroubleMidStream(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		trouble func(t *testing.T, st *Stack, ours, kernel *netlab.NS)
	}{
		{"our neighbours flushed", func(_ *testing.T, st *Stack, _, _ *netlab.NS) { st.Host().FlushNeighbours(0) }},
		{"the kernel's neighbours flushed", func(t *testing.T, _ *Stack, _, kernel *netlab.NS) { flushNeighbours(t, kernel) }},
		{"moved to another MAC address", func(t *testing.T, _ *Stack, _, kernel *netlab.NS) {
			ip(t, kernel, "link set vb address 02:00:00:00:77:01") // it says nothing: its next question tells
			flushNeighbours(t, kernel)
		}},
		{"carrier lost", func(t *testing.T, _ *Stack, _, kernel *netlab.NS) {
			ip(t, kernel, "link set vb down")
			time.Sleep(300 * time.Millisecond)
			ip(t, kernel, "link set vb up")
		}},
		{"down and up", func(t *testing.T, _ *Stack, ours, _ *netlab.NS) {
			ip(t, ours, "link set va down")
			time.Sleep(300 * time.Millisecond)
			ip(t, ours, "link set va up")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			netlab.RequireRoot(t)
			if testing.Short() && strings.HasPrefix(row.name, "our") {
				t.Skip("short: the kernel's side is flushed")
			}
			t.Parallel()
			ours, kernel := netlab.TestNS(t), netlab.TestNS(t)
			sysctl(t, kernel, "net.ipv6.conf.default.keep_addr_on_down", "1") // as an IPv4 address does
			netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: kernel, Name: "vb", Addrs: kernelPrefixes})
			st := openAt(t, ours, host.Interface{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone})
			var ends []func()
			var results []chan error
			stop := make(chan struct{})
			for _, f := range families {
				end, result := streamOnPort(t, st, kernel, f, "7", stop)
				ends, results = append(ends, end), append(results, result)
			}
			row.trouble(t, st, ours, kernel)
			close(stop)
			for i, f := range families {
				select {
				case err := <-results[i]:
					if err != nil {
						t.Errorf("%s: %v", f.name, err)
					}
				case <-time.After(2 * longest):
					t.Fatalf("%s: the stream stands still", f.name)
				}
				ends[i]()
			}
		})
	}
}

// streamOnPort has a kernel's socket send back what a connection sends to it, again and again until stop is closed, and once
// more then. The result is what went wrong.
func streamOnPort(t *testing.T, st *Stack, kernel *netlab.NS, f family, port string, stop <-chan struct{}) (end func(), result chan error) {
	t.Helper()
	l, err := kernel.Listen("tcp", f.theirs(port))
	fatal(t, err)
	served := serveEcho(l)
	c, err := st.Dial("tcp", f.theirs(port))
	fatal(t, err)
	body := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{9}).Read(body)
	got := make([]byte, len(body))
	turn := func() error {
		c.SetDeadline(time.Now().Add(longest))
		if _, err := c.Write(body); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !bytes.Equal(got, body) {
			return fmt.Errorf("other bytes came back")
		}
		return nil
	}
	fatal(t, turn())
	result = make(chan error, 1)
	go func() {
		for {
			if err := turn(); err != nil {
				result <- err
				return
			}
			select {
			case <-stop:
				result <- turn() // once after all is over
				return
			default:
			}
		}
	}()
	return func() {
		c.Close()
		l.Close()
		<-served
	}, result
}
