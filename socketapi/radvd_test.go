package socketapi

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// radvdConf is radvd.conf(5) of a router at vb. At its end it takes back that it is a default router and a source of
// names, which RFC 4861 §6.2.5 and RFC 8106 §5.1 have it do, and that its prefix is preferred.
const radvdConf = `interface vb {
	AdvSendAdvert on;
	MinRtrAdvInterval 3;
	MaxRtrAdvInterval 4;
	AdvDefaultLifetime 9000;
	AdvLinkMTU 1400;
	AdvCurHopLimit 61;
	prefix 2001:db8:1::/64 { DeprecatePrefix on; };
	RDNSS 2001:db8:1::53 { FlushRDNSS on; };
	DNSSL example.org { FlushDNSSL on; };
};
`

// startRadvd has radvd(8) advertise a router in a namespace. stop ends it and waits for that.
func startRadvd(t *testing.T, router *netlab.NS) (stop func()) {
	t.Helper()
	radvd, err := exec.LookPath("radvd")
	if err != nil {
		t.Skip("there is no radvd(8), by which a router that runs Linux advertises itself: Debian's package radvd has it")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	fatal(t, os.WriteFile(conf, []byte(radvdConf), 0o600)) // it refuses one that others may write
	var log bytes.Buffer
	cmd := router.Command(radvd, "-n", "-C", conf, "-p", filepath.Join(dir, "pid"), "-m", "stderr", "-d", "1")
	cmd.Stderr = &log
	fatal(t, cmd.Start())
	stop = func() {
		cmd.Process.Signal(unix.SIGTERM) // to one that has ended already too
		cmd.Wait()
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("radvd: %s", log.Bytes())
		}
	})
	return stop
}

// A host that knows nothing gets an address, a default router, an MTU and a DNS server from a kernel that forwards and the
// daemon that routers run, and reaches who is behind it. When the daemon ends, the host has no router.
func TestARouterThatRunsRadvd(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, router, far := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	link := netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: router, Name: "vb", Addrs: prefixes("2001:db8:1::1/64")})
	netlab.TestVeth(t,
		netlab.End{NS: router, Name: "vc", Addrs: prefixes("fd66::1/64")}, netlab.End{NS: far, Name: "vd", Addrs: prefixes("fd66::2/64")})
	sysctl(t, router, "net.ipv6.conf.all.forwarding", "1")
	ip(t, far, "-6 route add default via fd66::1")
	stop := startRadvd(t, router)
	st := openAt(t, ours, host.Interface{Name: "va", Auto: true})
	addr := awaitAddr(t, st, netip.MustParsePrefix("2001:db8:1::/64"))

	routers := func() (list []netip.Addr) {
		for _, r := range st.Host().Routes() {
			if r.Prefix.Bits() == 0 && r.Gateway.Is6() {
				list = append(list, r.Gateway)
			}
		}
		return list
	}
	if list := routers(); !slices.Equal(list, []netip.Addr{wire.LinkLocal(wire.MAC(link.B.MAC))}) {
		t.Errorf("default routers %v", list)
	}
	server := netip.MustParseAddr("2001:db8:1::53")
	if servers, domains := st.Host().Resolver(0); !slices.Equal(servers, []netip.Addr{server}) || !slices.Equal(domains, []string{"example.org"}) {
		t.Errorf("resolver %v %v", servers, domains)
	}
	to := netip.MustParseAddrPort("[fd66::2]:7")
	c, err := st.DialUDP(netip.AddrPort{}, to)
	fatal(t, err)
	defer c.Close()
	fatal(t, c.RawConn().Control(func(fd uintptr) {
		if n, err := st.Table().GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU); n != 1400 || err != nil {
			t.Errorf("IPV6_MTU: %d, %v, want 1400", n, err)
		}
		if n, err := st.Table().GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS); n != 61 || err != nil {
			t.Errorf("IPV6_UNICAST_HOPS: %d, %v, want 61", n, err)
		}
	}))
	if c.local.Addr() != addr {
		t.Errorf("what is behind the router is reached from %v, want %v", c.local.Addr(), addr)
	}
	carry(t, st, far, "fd66::2", 100_000)

	stop()
	eventually(t, "no default router", func() bool { return len(routers()) == 0 })
	if _, err := st.DialUDP(netip.AddrPort{}, to); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("without a router: %v, want ENETUNREACH", err)
	}
	eventually(t, "no DNS server", func() bool { servers, domains := st.Host().Resolver(0); return len(servers)+len(domains) == 0 })
	eventually(t, "a deprecated address", func() bool {
		return slices.ContainsFunc(st.Host().Addrs(), func(a host.Addr) bool { return a.Prefix.Addr() == addr && a.State == route.Deprecated })
	})
}
