package socketapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// How a host gets its addresses, with a Linux kernel at the other end of the link.

// A confLab is a veth pair, of whose ends the engine has none yet.
type confLab struct {
	t          *testing.T
	ours, peer *netlab.NS
	veth       *netlab.Veth
}

func newConfLab(t *testing.T, queues int, addrs ...string) *confLab {
	t.Helper()
	netlab.RequireRoot(t)
	l := &confLab{t: t, ours: netlab.TestNS(t), peer: netlab.TestNS(t)}
	theirs := netlab.End{NS: l.peer, Name: "vb", Queues: queues}
	for _, a := range addrs {
		theirs.Addrs = append(theirs.Addrs, netip.MustParsePrefix(a))
	}
	l.veth = netlab.TestVeth(t, netlab.End{NS: l.ours, Name: "va", Queues: queues}, theirs)
	return l
}

// open opens the engine's end.
func (l *confLab) open(in host.Interface) (st *Stack, err error) {
	in.Name = "va"
	err = l.ours.Do(func() error {
		st, err = Open(host.Config{Interfaces: []host.Interface{in}})
		return err
	})
	if err == nil {
		l.t.Cleanup(func() {
			if l.t.Failed() {
				stats := st.Host().Stats()
				for r, n := range stats.All() {
					l.t.Logf("dropped %d: %v", n, r)
				}
				l.t.Logf("addresses %v", st.Host().Addrs())
				l.t.Logf("routes %v", st.Host().Routes())
			}
			st.Close()
		})
	}
	return st, err
}

// eachMode runs a test for every way that frames may take, all at once: most of it is waiting.
func eachMode(t *testing.T, test func(t *testing.T, mode engine.Mode, queues int)) {
	netlab.RequireRoot(t)
	if testing.Short() {
		t.Skip("waits for probes that nobody answers, some ten seconds")
	}
	for _, row := range []struct {
		mode   engine.Mode
		queues int
	}{{engine.ModeNative, 2}, {engine.ModeSKB, 1}, {engine.ModePacket, 1}} {
		t.Run(string(row.mode), func(t *testing.T) {
			t.Parallel()
			test(t, row.mode, row.queues)
		})
	}
}

// An address that the kernel at the other end has is noticed before it is used, whichever family.
func TestAKernelsAddressIsNotTaken(t *testing.T) {
	eachMode(t, func(t *testing.T, mode engine.Mode, queues int) {
		l := newConfLab(t, queues, "10.99.0.1/24", "fd99::1/64")
		for _, a := range []string{"10.99.0.1/24", "fd99::1/64"} {
			_, err := l.open(host.Interface{Mode: mode, Detect: host.DetectAll, Addrs: []netip.Prefix{netip.MustParsePrefix(a)}})
			var duplicate *host.DuplicateError
			if !errors.As(err, &duplicate) || duplicate.Interface != "va" || duplicate.Addr != netip.MustParsePrefix(a).Addr() ||
				duplicate.Rival != wire.MAC(l.veth.B.MAC) {
				t.Errorf("%s of %v: %v", a, l.veth.B.MAC, err)
			}
		}
		st, err := l.open(host.Interface{Mode: mode, Detect: host.DetectAll, Addrs: enginePrefixes})
		if err != nil {
			t.Fatalf("addresses that nobody has: %v", err)
		}
		for _, f := range families {
			c, err := st.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(f.engine), 7))
			fatal(t, err)
			go echoUDP(c)
			l.echo(f.engine)
			c.Close()
		}
	})
}

// echo has a kernel socket send a datagram to port 7 of an address, and wants it back.
func (l *confLab) echo(addr string) {
	l.t.Helper()
	k, err := l.peer.Dial("udp", net.JoinHostPort(addr, "7"))
	fatal(l.t, err)
	defer k.Close()
	buf := make([]byte, 100)
	for try := range 20 { // the kernel's neighbour discovery may lose the first ones
		k.SetDeadline(time.Now().Add(time.Second))
		k.Write([]byte{byte(try)})
		if n, err := k.Read(buf); err == nil && n == 1 {
			return
		}
	}
	l.t.Errorf("no echo from %s", addr)
}

// The kernel notices as well: its duplicate address detection hears our answer, and an address of its
// own that we have is not usable.
func TestAKernelDoesNotTakeOurAddress(t *testing.T) {
	t.Parallel()
	l := newConfLab(t, 1)
	_, err := l.open(host.Interface{Addrs: enginePrefixes})
	fatal(t, err)
	err = l.peer.Do(func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv6/conf/vb/accept_dad", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/vb/dad_transmits", []byte("1"), 0))
	})
	fatal(t, err)
	cmd := l.peer.Command("ip", "-6", "address", "add", "fd99::2/64", "dev", "vb")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		out, err := l.peer.Command("ip", "-6", "address", "show", "dev", "vb").CombinedOutput()
		fatal(t, err)
		if strings.Contains(string(out), "dadfailed") {
			return
		}
		if time.Since(begun) > 20*time.Second || !strings.Contains(string(out), "tentative") {
			t.Fatalf("the kernel has taken it: %s", out)
		}
	}
}

// A router is a kernel that forwards, and a raw socket that says so.
type router struct {
	fd    int
	index int
}

// router makes the peer one. It answers solicitations with message until the test ends.
func (l *confLab) router(message []byte) *router {
	l.t.Helper()
	r := &router{index: l.veth.B.Index}
	fatal(l.t, l.peer.Do(func() (err error) {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
			return err
		}
		r.fd, err = rawICMPv6(r.index, 255)
		return err
	}))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2000)
		for !stop.Load() {
			n, _ := unix.Read(r.fd, b) // it times out
			if n >= 8 && wire.ICMP6Type(b[0]) == wire.ICMP6RouterSolicitation {
				r.send(message)
			}
		}
	}()
	l.t.Cleanup(func() { stop.Store(true); <-done; unix.Close(r.fd) })
	return r
}

// rawICMPv6 opens a raw socket; the kernel makes the checksums.
func rawICMPv6(index, hops int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hops))
}

func (r *router) send(message []byte) error { return sendICMPv6(r.fd, r.index, message) }

func sendICMPv6(fd, index int, message []byte) error {
	return unix.Sendto(fd, message, 0, &unix.SockaddrInet6{Addr: wire.AllNodes6.As16(), ZoneId: uint32(index)})
}

// routerMessage is an advertisement of a prefix, with an MTU and a DNS server.
func routerMessage(mac net.HardwareAddr, prefix netip.Prefix) []byte {
	b := make([]byte, 512)
	n := wire.PutRouterAdvertisement(b, &wire.RouterAdvertisementFields{CurHopLimit: 61, Lifetime: 30 * time.Minute})
	n += wire.PutSourceOption(b[n:], wire.MAC(mac))
	n += wire.PutMTUOption(b[n:], 1400)
	n += wire.PutPrefixOption(b[n:], &wire.NDPPrefix{Prefix: prefix, OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: 30 * time.Minute})
	n += wire.PutServersOption(b[n:], time.Hour, netip.MustParseAddr("fe80::53"))
	n += wire.PutDomainsOption(b[n:], time.Hour, "example.org")
	return b[:n]
}

// A host that knows nothing solicits, is told by a router that is a kernel, and has an address that
// answers, a way to where it has no address, and the link's parameters.
func TestAHostConfiguresItselfFromAKernelRouter(t *testing.T) {
	eachMode(t, func(t *testing.T, mode engine.Mode, queues int) {
		prefix := netip.MustParsePrefix("2001:db8:1::/64")
		l := newConfLab(t, queues, "2001:db8:1::1/64")
		behind := l.peer.Command("ip", "-6", "address", "add", "2001:db8:99::1/128", "dev", "lo")
		if out, err := behind.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		l.router(routerMessage(l.veth.B.MAC, prefix))
		st, err := l.open(host.Interface{Mode: mode, Auto: true})
		fatal(t, err)
		addr := awaitAddr(t, st, prefix)
		c, err := st.ListenUDP(netip.MustParseAddrPort("[::]:7"))
		fatal(t, err)
		go echoUDP(c)
		l.echo(addr.String())

		far, err := l.peer.ListenPacket("udp", "[2001:db8:99::1]:7")
		fatal(t, err)
		d, err := st.Dial("udp", "[2001:db8:99::1]:7")
		fatal(t, err)
		far.SetDeadline(time.Now().Add(longest))
		if _, err := d.Write([]byte("hello")); err != nil {
			t.Fatalf("to behind the router: %v", err)
		}
		buf := make([]byte, 100)
		if _, from, err := far.ReadFrom(buf); err != nil || from.(*net.UDPAddr).AddrPort().Addr() != addr {
			t.Errorf("behind the router from %v: %v", from, err)
		}
		servers, domains := st.Host().Resolver(0)
		if len(servers) != 1 || servers[0].WithZone("") != netip.MustParseAddr("fe80::53") || len(domains) != 1 || domains[0] != "example.org" {
			t.Errorf("resolver %v %v", servers, domains)
		}
		far.Close()
		d.Close()
		c.Close()

		// The same again, after a new start: the address is the same (RFC 7217).
		st.Close()
		again, err := l.open(host.Interface{Mode: mode, Auto: true})
		fatal(t, err)
		if a := awaitAddr(t, again, prefix); a != addr {
			t.Errorf("%v, and after a new start %v", addr, a)
		}
	})
}

// awaitAddr waits for an address of a prefix that can be used.
func awaitAddr(t *testing.T, st *Stack, prefix netip.Prefix) (addr netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := st.Host().Await(ctx, 0, func(list []route.Addr) bool {
		i := slices.IndexFunc(list, func(a route.Addr) bool { return a.Usable() && prefix.Contains(a.Prefix.Addr()) })
		if i >= 0 {
			addr = list[i].Prefix.Addr()
		}
		return i >= 0
	})
	if err != nil {
		t.Fatalf("no address of %v: %v", prefix, err)
	}
	return addr
}

// Advertisements that have crossed a router, or come from no router's address, are drops with a counter, and
// believed by nobody.
func TestForgedAdvertisements(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix("2001:db8:1::/64")
	l := newConfLab(t, 1, "2001:db8:1::1/64")
	st, err := l.open(host.Interface{Auto: true, Addrs: []netip.Prefix{netip.MustParsePrefix("fd99::2/64")}})
	fatal(t, err)
	message := routerMessage(l.veth.B.MAC, prefix)
	forge := func(hops int, source string) {
		t.Helper()
		fatal(t, l.peer.Do(func() error {
			fd, err := rawICMPv6(l.veth.B.Index, hops)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if source != "" {
				if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr(source).As16()}); err != nil {
					return fmt.Errorf("bind: %w", err)
				}
			}
			return sendICMPv6(fd, l.veth.B.Index, message)
		}))
	}
	counted := func(r drop.Reason) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			stats := st.Host().Stats()
			if stats[r] > 0 {
				return
			}
			if time.Since(begun) > 10*time.Second {
				t.Fatalf("no %v", r)
			}
		}
	}
	forge(254, "")
	counted(drop.NDPHopLimit)
	forge(255, "2001:db8:1::1")
	counted(drop.NDPBadSource)
	for _, a := range st.Host().Addrs() {
		if prefix.Contains(a.Prefix.Addr()) {
			t.Errorf("a forged advertisement gave %v", a.Prefix)
		}
	}
	forge(255, "") // and the real one is taken
	awaitAddr(t, st, prefix)
}

// An IPv4 link-local address (RFC 3927) is there after a while, and a kernel on the link talks to it.
func TestALinkLocalAddress4(t *testing.T) {
	t.Parallel()
	l := newConfLab(t, 1, "169.254.0.1/16")
	st, err := l.open(host.Interface{LinkLocal: true})
	fatal(t, err)
	addr := awaitAddr(t, st, netip.MustParsePrefix("169.254.0.0/16"))
	c, err := st.ListenUDP(netip.AddrPortFrom(addr, 7))
	fatal(t, err)
	go echoUDP(c)
	l.echo(addr.String())
	c.Close()
}
