package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// source is what each core of a host says of a destination; all must say the same.
func source(t *testing.T, h *Host, local, dst string) (netip.Addr, unix.Errno) {
	t.Helper()
	var from netip.Addr
	if local != "" {
		from = netip.MustParseAddr(local)
	}
	var first netip.Addr
	var firstErr unix.Errno
	for i, c := range h.Cores() {
		c.Lock()
		a, errno := c.Stack.Source(0, from, netip.MustParseAddr(dst), c.Now())
		c.Unlock()
		if i == 0 {
			first, firstErr = a, errno
		} else if a != first || errno != firstErr {
			t.Errorf("to %s: core 0 says %v %v, core %d says %v %v", dst, first, firstErr, i, a, errno)
		}
	}
	return first, firstErr
}

// wants checks what a socket that is bound to local, or to nothing, hears of dst.
func wants(t *testing.T, h *Host, local, dst, src string, errno unix.Errno) {
	t.Helper()
	a, got := source(t, h, local, dst)
	if got != errno || errno == 0 && a.String() != src {
		t.Errorf("from %q to %s: %v %v, want %s %v", local, dst, a, got, src, errno)
	}
}

func has(t *testing.T, err error, errno error) {
	t.Helper()
	if errno == nil && err != nil || errno != nil && !errors.Is(err, errno) {
		t.Errorf("%v, want %v", err, errno)
	}
}

// openTwo opens a host of two interfaces and two cores.
func openTwo(t *testing.T) *Host {
	var clock simnet.Clock
	clock.MoveTo(1e9)
	in := make([]Interface, 2)
	for i := range in {
		in[i].Devices = []engine.Device{pollable{&queue{clock: &clock}}, pollable{&queue{number: 1, clock: &clock}}}
	}
	in[0].Addrs = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}
	in[1].Addrs = []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}
	in[0].Gateways = []netip.Addr{netip.MustParseAddr("10.1.0.254")}
	h, err := Open(Config{Interfaces: in, Clock: &clock, Manual: true, Seed: &[2]uint64{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// pollable is a queue that stands beside another. Nobody sleeps in a simulation, so its descriptor is
// none.
type pollable struct{ *queue }

func (pollable) FD() int { return -1 }

func addr(prefix string, state route.State) route.Addr {
	return route.Addr{Prefix: netip.MustParsePrefix(prefix), State: state}
}

func TestAddressesComeAndGo(t *testing.T) {
	h := openTwo(t)
	wants(t, h, "", "10.1.0.9", "10.1.0.1", 0)
	wants(t, h, "", "10.9.0.9", "10.1.0.1", 0) // by the gateway
	a := netip.MustParseAddr("10.3.0.1")
	if h.Local(a) {
		t.Error("10.3.0.1 is there before it was added")
	}
	has(t, h.AddAddr(1, addr("10.3.0.1/24", route.Tentative)), nil)
	wants(t, h, "", "10.3.0.9", "10.1.0.1", 0) // nobody's yet, so the default route counts
	if h.Local(a) {
		t.Error("a tentative address can be bound to")
	}
	has(t, h.SetAddrState(1, a, route.Preferred), nil)
	wants(t, h, "", "10.3.0.9", "10.3.0.1", 0)
	wants(t, h, "", "10.3.0.1", "10.3.0.1", 0)
	if !h.Local(a) {
		t.Error("10.3.0.1 cannot be bound to")
	}
	has(t, h.AddAddr(1, addr("10.3.0.2/24", route.Preferred)), nil)
	has(t, h.SetAddrState(1, a, route.Deprecated), nil)
	wants(t, h, "", "10.3.0.9", "10.3.0.2", 0) // rather than the deprecated one
	wants(t, h, "10.3.0.1", "10.3.0.9", "10.3.0.1", 0)

	has(t, h.AddAddr(1, addr("10.3.0.1/16", route.Preferred)), unix.EEXIST)
	has(t, h.AddAddr(2, addr("10.4.0.1/16", route.Preferred)), unix.ENODEV)
	has(t, h.AddAddr(-1, addr("10.4.0.1/16", route.Preferred)), unix.ENODEV)
	for _, bad := range []string{"224.0.0.1/4", "0.0.0.0/0", "127.0.0.2/8", "255.255.255.255/32", "::1/128", "ff02::1/64", "::ffff:10.0.0.1/120"} {
		has(t, h.AddAddr(1, addr(bad, route.Preferred)), unix.EINVAL)
	}
	has(t, h.AddAddr(1, route.Addr{}), unix.EINVAL)
	has(t, h.SetAddrState(0, a, route.Preferred), unix.EADDRNOTAVAIL)
	has(t, h.RemoveAddr(0, a), unix.EADDRNOTAVAIL)

	has(t, h.RemoveAddr(1, a), nil)
	has(t, h.RemoveAddr(1, a), unix.EADDRNOTAVAIL)
	wants(t, h, "10.3.0.1", "10.3.0.9", "", unix.ENETUNREACH) // a socket that is bound to it
	if h.Local(a) {
		t.Error("10.3.0.1 can still be bound to")
	}
	has(t, h.RemoveAddr(1, netip.MustParseAddr("10.3.0.2")), nil)
	wants(t, h, "", "10.3.0.9", "10.1.0.1", 0) // its link went with it
	for i := range addrsMax {
		has(t, h.AddAddr(0, route.Addr{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5, byte(i >> 8), byte(i)}), 32)}), map[bool]error{true: unix.ENOSPC}[i == addrsMax-1])
	}
}

func TestRoutesComeAndGo(t *testing.T) {
	h := openTwo(t)
	r := func(prefix, gateway string, port int) route.Route {
		r := route.Route{Prefix: netip.MustParsePrefix(prefix), Port: port}
		if gateway != "" {
			r.Gateway = netip.MustParseAddr(gateway)
		}
		return r
	}
	far := r("10.7.0.0/16", "10.2.0.254", 1)
	has(t, h.AddRoute(far), nil)
	wants(t, h, "", "10.7.1.1", "10.2.0.1", 0)
	has(t, h.AddRoute(far), unix.EEXIST)
	far.Metric = 5
	has(t, h.AddRoute(far), nil)
	for kind, errno := range []unix.Errno{
		route.Blackhole: unix.EINVAL, route.Unreachable: unix.EHOSTUNREACH, route.Prohibit: unix.EACCES, route.Throw: unix.ENETUNREACH,
	} {
		if errno == 0 {
			continue
		}
		none := route.Route{Prefix: netip.MustParsePrefix("10.7.8.0/24"), Kind: route.Kind(kind), Port: -1}
		has(t, h.AddRoute(none), nil)
		wants(t, h, "", "10.7.8.1", "", errno)
		wants(t, h, "", "10.7.9.1", "10.2.0.1", 0)
		has(t, h.RemoveRoute(none), nil)
		wants(t, h, "", "10.7.8.1", "10.2.0.1", 0)
	}
	sourced := r("10.8.0.0/16", "10.2.0.254", 1)
	sourced.Source = netip.MustParseAddr("10.2.0.7")
	has(t, h.AddRoute(sourced), unix.EADDRNOTAVAIL)
	has(t, h.AddAddr(1, addr("10.2.0.7/24", route.Preferred)), nil)
	has(t, h.AddRoute(sourced), nil)
	wants(t, h, "", "10.8.0.1", "10.2.0.7", 0)
	has(t, h.RemoveAddr(1, sourced.Source), nil) // takes the route along
	wants(t, h, "", "10.8.0.1", "10.1.0.1", 0)
	has(t, h.RemoveRoute(sourced), unix.ESRCH)

	has(t, h.AddRoute(r("10.9.0.0/16", "10.99.0.1", 1)), unix.ENETUNREACH)
	has(t, h.AddRoute(r("10.9.0.0/16", "10.1.0.1", 0)), unix.EINVAL) // ourselves
	has(t, h.AddRoute(r("10.9.0.0/16", "10.1.0.9", 1)), unix.ENETUNREACH)
	has(t, h.AddRoute(r("10.9.0.0/16", "fe80::1", 1)), unix.EINVAL)
	has(t, h.AddRoute(r("10.9.0.0/16", "", 7)), unix.ENODEV)
	has(t, h.AddRoute(route.Route{}), unix.EINVAL)
	onlink := r("10.9.0.0/16", "10.99.0.1", 1)
	onlink.OnLink = true
	has(t, h.AddRoute(onlink), nil)
	wants(t, h, "", "10.9.0.1", "10.2.0.1", 0)
	has(t, h.AddRoute(r("10.99.0.1/32", "", 1)), nil)
	has(t, h.AddRoute(r("10.98.0.0/16", "10.99.0.1", 1)), nil) // which is on the link now

	small := r("10.6.0.0/16", "10.2.0.254", 1)
	small.MTU = 67
	has(t, h.AddRoute(small), unix.EINVAL)
	small.MTU = 68
	has(t, h.AddRoute(small), nil)
	has(t, h.RemoveRoute(r("10.7.0.0/16", "10.2.0.254", 0)), unix.ESRCH)
	has(t, h.RemoveRoute(r("10.7.0.0/16", "10.2.0.254", 1)), nil)
	has(t, h.RemoveRoute(far), nil)
	wants(t, h, "", "10.7.1.1", "10.1.0.1", 0)
	has(t, h.RemoveRoute(route.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.254")}), nil)
	wants(t, h, "", "10.7.1.1", "", unix.ENETUNREACH)
}

// TestOwnersDoNotTakeFromEachOther: what two of them give stays until both have taken it away.
func TestOwnersDoNotTakeFromEachOther(t *testing.T) {
	h := openTwo(t)
	a, link := netip.MustParseAddr("10.3.0.1"), "10.3.0.9"
	has(t, h.AddAddr(1, addr("10.3.0.1/24", route.Preferred)), nil)
	has(t, h.ReplaceAddrs(Kernel, 1, []route.Addr{addr("10.3.0.1/24", route.Deprecated), addr("10.2.0.1/24", route.Preferred)}), nil)
	if addrs := h.Addrs(); len(addrs) != 3 || addrs[2].State != route.Preferred {
		t.Errorf("%+v", addrs)
	}
	gw := route.Route{Prefix: netip.MustParsePrefix("10.7.0.0/16"), Gateway: netip.MustParseAddr("10.3.0.254"), Port: 1, Source: a}
	lost := route.Route{Prefix: netip.MustParsePrefix("10.8.0.0/16"), Gateway: netip.MustParseAddr("10.44.0.254"), Port: 1}
	has(t, h.ReplaceRoutes(Kernel, []route.Route{gw, lost, {}}), nil)
	wants(t, h, "", "10.7.0.1", "10.3.0.1", 0)
	wants(t, h, "", "10.8.0.1", "10.1.0.1", 0) // left out
	has(t, h.RemoveAddr(1, a), nil)
	wants(t, h, "", link, "10.3.0.1", 0) // still the kernel's
	wants(t, h, "", "10.7.0.1", "10.3.0.1", 0)
	has(t, h.ReplaceAddrs(Kernel, 1, nil), nil)
	wants(t, h, "", link, "10.1.0.1", 0)
	wants(t, h, "", "10.7.0.1", "10.1.0.1", 0)
	wants(t, h, "", "10.2.0.9", "10.2.0.1", 0)
	h.Close()
	has(t, h.AddAddr(0, addr("10.3.0.1/24", route.Preferred)), unix.ENETDOWN)
}

// Of several gateways the first of each family is the best, over all interfaces.
func TestGatewaysInOrder(t *testing.T) {
	var clock simnet.Clock
	clock.MoveTo(1e9)
	gateways := func(list ...string) (all []netip.Addr) {
		for _, s := range list {
			all = append(all, netip.MustParseAddr(s))
		}
		return all
	}
	h, err := Open(Config{Interfaces: []Interface{
		{
			Devices: []engine.Device{pollable{&queue{clock: &clock}}}, Gateways: gateways("10.1.0.3", "fd01::9", "10.1.0.2"),
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("fd01::1/64")},
		},
		{
			Devices: []engine.Device{pollable{&queue{clock: &clock}}}, Gateways: gateways("10.2.0.2", "fe80::9"), Auto: true,
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")},
		},
	}, Clock: &clock, Manual: true, Seed: &[2]uint64{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var got []string
	for _, r := range h.Routes() {
		if r.Prefix.Bits() == 0 {
			got = append(got, fmt.Sprint(r.Gateway, " ", r.Metric))
		}
	}
	if want := []string{"10.1.0.3 0", "10.1.0.2 1", "10.2.0.2 2", "fd01::9 0", "fe80::9 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// However many redirects come to one core, few wait for the one that keeps them.
func TestRedirectsThatWaitAreFew(t *testing.T) {
	h := openTwo(t)
	from, gateway := netip.MustParseAddr("10.1.0.254"), netip.MustParseAddr("10.1.0.253")
	for i := range 10 * sightingsMax {
		(*peers)(h.cores[1]).Redirected(0, from, netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), gateway)
	}
	c := h.cores[proto.AutoconfCore]
	if n := len(c.mail.ways); n != sightingsMax || c.inbox.head.Load() != nil {
		t.Errorf("%d redirects wait, want %d", n, sightingsMax)
	}
	c.Lock()
	defer c.Unlock()
	if work := (*handler)(c).readMail(c.Now()); work != sightingsMax || len(c.mail.ways) != 0 {
		t.Errorf("%d were taken, %d are left", work, len(c.mail.ways))
	}
}

// dying is a device whose interface is deleted.
type dying struct {
	pollable
	err error
}

func (d *dying) Err() error { return d.err }

// What was to leave by an interface that has gone is accounted for, and nothing waits for it.
func TestWhatHasNoInterfaceIsCounted(t *testing.T) {
	var clock simnet.Clock
	clock.MoveTo(1e9)
	d := &dying{pollable: pollable{&queue{clock: &clock}}}
	h, err := Open(Config{Interfaces: []Interface{
		{Devices: []engine.Device{pollable{&queue{clock: &clock}}}},
		{Devices: []engine.Device{d}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}},
	}, Clock: &clock, Manual: true, Seed: &[2]uint64{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	c := h.cores[0]
	c.Turn() // announces the address
	d.err = unix.ENETDOWN
	c.CheckPorts()
	h.ending.Wait() // it has no address any more
	c.Lock()
	defer c.Unlock()
	before := c.Stack.Count[drop.InterfaceGone]
	c.Stack.Announce(1, netip.MustParseAddr("10.2.0.1"))
	c.Flush()
	if n := c.Stack.Count[drop.InterfaceGone] - before; n != 1 || c.Stack.Busy() {
		t.Errorf("%d were counted, busy %v", n, c.Stack.Busy())
	}
}
