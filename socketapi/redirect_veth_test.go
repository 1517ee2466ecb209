package socketapi

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Two kernels that forward, on the engine's link, and a host behind them:
//
//	engine ═ bridge ═ first ── far   (the dearer way)
//	            ╚════ second ── far
//
// The engine knows the first alone: over IPv6 by its advertisement. That one redirects to the second.

// routers is that network. far has the same addresses by both ways.
type routers struct {
	ours, bridge, first, second, far *netlab.NS
	firstLink, secondLink            *netlab.Veth
}

func newRouters(t *testing.T) *routers {
	netlab.RequireRoot(t)
	r := &routers{ours: netlab.TestNS(t), bridge: netlab.TestNS(t), first: netlab.TestNS(t), second: netlab.TestNS(t), far: netlab.TestNS(t)}
	ip(t, r.bridge, "link add name br0 type bridge")
	ip(t, r.bridge, "link set br0 up")
	netlab.TestVeth(t, netlab.End{NS: r.ours, Name: "va"}, netlab.End{NS: r.bridge, Name: "b0"})
	r.firstLink = netlab.TestVeth(t, netlab.End{NS: r.first, Name: "vb", Addrs: prefixes("10.99.0.1/24", "fd99::1/64")}, netlab.End{NS: r.bridge, Name: "b1"})
	r.secondLink = netlab.TestVeth(t, netlab.End{NS: r.second, Name: "vb", Addrs: prefixes("10.99.0.3/24", "fd99::3/64")}, netlab.End{NS: r.bridge, Name: "b2"})
	netlab.TestVeth(t, netlab.End{NS: r.second, Name: "vc", Addrs: prefixes("10.66.0.1/24", "fd66::1/64")}, netlab.End{NS: r.far, Name: "vd", Addrs: prefixes("10.66.0.2/24", "fd66::2/64")})
	netlab.TestVeth(t, netlab.End{NS: r.first, Name: "vc", Addrs: prefixes("10.67.0.1/24", "fd67::1/64")}, netlab.End{NS: r.far, Name: "ve", Addrs: prefixes("10.67.0.2/24", "fd67::2/64")})
	for _, b := range []string{"b0", "b1", "b2"} {
		ip(t, r.bridge, "link set "+b+" master br0")
	}
	for _, ns := range []*netlab.NS{r.first, r.second} {
		sysctl(t, ns, "net.ipv4.ip_forward", "1")
		sysctl(t, ns, "net.ipv6.conf.all.forwarding", "1")
	}
	ip(t, r.far, "address add 10.88.0.2/32 dev lo")
	ip(t, r.far, "address add fd88::2/128 dev lo")
	ip(t, r.second, "route add 10.88.0.0/24 via 10.66.0.2")
	ip(t, r.second, "-6 route add fd88::/64 via fd66::2")
	ip(t, r.first, "route add 10.88.0.0/24 via 10.99.0.3")
	ip(t, r.first, fmt.Sprintf("-6 route add fd88::/64 via %v dev vb", wire.LinkLocal(wire.MAC(r.secondLink.A.MAC))))
	r.back(t, "66")
	return r
}

// back has what far answers go by one of its links.
func (r *routers) back(t *testing.T, by string) {
	ip(t, r.far, "route replace default via 10."+by+".0.1")
	ip(t, r.far, "-6 route replace default via fd"+by+"::1")
}

// A kernel that forwards advertises itself, forwards our packets to a kernel behind it, and redirects us to a better router,
// over both families; when that one does not answer, packets go by the first again.
func TestKernelRoutersRedirect(t *testing.T) {
	t.Parallel()
	r := newRouters(t)
	fd, err := -1, error(nil)
	fatal(t, r.first.Do(func() error {
		fd, err = rawICMPv6(r.firstLink.A.Index, 255)
		return err
	}))
	defer unix.Close(fd)
	prefix := netip.MustParsePrefix("fd99::/64")
	st := openAt(t, r.ours, host.Interface{
		Name: "va", Addrs: prefixes("10.99.0.2/24"), Gateways: []netip.Addr{netip.MustParseAddr("10.99.0.1")}, Auto: true,
	})
	fatal(t, sendICMPv6(fd, r.firstLink.A.Index, routerMessage(r.firstLink.A.MAC, prefix)))
	awaitAddr(t, st, prefix)

	targets := []string{"10.88.0.2", "fd88::2"}
	redirects := func() []host.Route {
		return slices.DeleteFunc(slices.Clone(st.Host().Routes()), func(r host.Route) bool { return !r.Redirected })
	}
	for _, a := range targets {
		carry(t, st, r.far, a, 1<<20)
	}
	eventually(t, "redirects of both families", func() bool { // each is sent about some packet
		for _, a := range targets {
			carry(t, st, r.far, a, 1000)
		}
		return len(redirects()) == 2
	})
	for _, to := range redirects() {
		if gw := to.Gateway; gw != netip.MustParseAddr("10.99.0.3") && gw != wire.LinkLocal(wire.MAC(r.secondLink.A.MAC)) {
			t.Errorf("redirected to %v", gw)
		}
	}

	// The first one forwards nothing more of this: it is the second that carries.
	ip(t, r.first, "route replace blackhole 10.88.0.0/24")
	ip(t, r.first, "-6 route replace blackhole fd88::/64")
	for _, a := range targets {
		carry(t, st, r.far, a, 1<<20)
	}

	// The second falls silent, and the first knows another way.
	ip(t, r.second, "link set vb down")
	ip(t, r.first, "route del blackhole 10.88.0.0/24")
	ip(t, r.first, "-6 route del blackhole fd88::/64")
	ip(t, r.first, "route replace 10.88.0.0/24 via 10.67.0.2")
	ip(t, r.first, "-6 route replace fd88::/64 via fd67::2")
	r.back(t, "67")
	st.Host().FlushNeighbours(0) // or it would be believed for half a minute more
	began := time.Now()
	for _, a := range targets {
		carry(t, st, r.far, a, 1<<20) // which waits for the second, and takes the first
	}
	t.Logf("by the first again after %v", time.Since(began))
}
