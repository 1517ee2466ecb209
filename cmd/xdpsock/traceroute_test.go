package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi"
)

// path is a lab with a kernel that forwards and a host behind it:
//
//	engine 10.99.0.3 ── server ═ client ── router ── near ═ far ── 10.98.0.2
type path struct {
	*lab
	far *netlab.NS
}

// family is the addresses of a path in one of the two.
type family struct {
	name                                   string
	engine, router, routerFar, far, nobody netip.Prefix
}

var families = []family{
	{"IPv4", netip.MustParsePrefix("10.99.0.3/24"), netip.MustParsePrefix("10.99.0.1/24"),
		netip.MustParsePrefix("10.98.0.1/24"), netip.MustParsePrefix("10.98.0.2/24"), netip.MustParsePrefix("10.98.0.77/24")},
	{"IPv6", netip.MustParsePrefix("fd99::3/64"), netip.MustParsePrefix("fd99::1/64"),
		netip.MustParsePrefix("fd98::1/64"), netip.MustParsePrefix("fd98::2/64"), netip.MustParsePrefix("fd98::77/64")},
}

func (f *family) flags() []string {
	return []string{"-i", "server", "-a", f.engine.String(), "--gateway", f.router.Addr().String()}
}

func newPath(t *testing.T) *path {
	t.Helper()
	p := &path{lab: &lab{client: netlab.TestNS(t), server: netlab.TestNS(t)}, far: netlab.TestNS(t)}
	var router, routerFar, far []netip.Prefix
	for _, f := range families {
		router, routerFar, far = append(router, f.router), append(routerFar, f.routerFar), append(far, f.far)
	}
	p.veth = netlab.TestVeth(t,
		netlab.End{NS: p.client, Name: "client", Addrs: router},
		netlab.End{NS: p.server, Name: "server"})
	behind := netlab.TestVeth(t,
		netlab.End{NS: p.client, Name: "near", Addrs: routerFar},
		netlab.End{NS: p.far, Name: "far", Addrs: far})
	for _, f := range families {
		if err := behind.B.AddRoute(f.router.Masked(), f.routerFar.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	// Errors are not to be rationed: the tests send many packets that draw one.
	err := p.client.Do(func() error {
		return sysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0")
	})
	if err == nil {
		err = p.far.Do(func() error { return sysctls("net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0") })
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sysctls sets values of the namespace of the calling thread.
func sysctls(list ...string) error {
	for _, s := range list {
		name, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

func TestTraceroute(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			f.traceroute(t, newPath(t))
		})
	}
}

func (f *family) traceroute(t *testing.T, p *path) {
	for _, how := range [][]string{{}, {"-I"}} {
		t.Run("hops"+strings.Join(how, ""), func(t *testing.T) {
			args := append(append([]string{"traceroute", "-w", "30s"}, f.flags()...), how...)
			code, stdout, stderr := ran(t, p.server, append(args, f.far.Addr().String())...)
			if code != exitOK || stderr != "" {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[0], "traceroute to "+f.far.Addr().String()+", 30 hops max, 60 byte packets") {
				t.Fatalf("%s", stdout)
			}
			for i, from := range []netip.Prefix{f.router, f.far} {
				got := strings.Fields(lines[1+i])
				// The number, who, and three times in ms.
				if len(got) != 8 || got[0] != string(rune('1'+i)) || got[1] != from.Addr().String() || got[3] != "ms" {
					t.Errorf("hop %d: %q", i+1, lines[1+i])
				}
			}
			code, stdout, _ = ran(t, p.server, append(args, "-q", "1", "--json", f.far.Addr().String())...)
			hops := objects[traceHop](t, stdout, "hop")
			if s := object[traceSummary](t, stdout, "summary"); code != exitOK || !s.Reached || s.Hops != 2 || len(hops) != 2 {
				t.Fatalf("exit code %d: %s", code, stdout)
			}
			for i, from := range []netip.Prefix{f.router, f.far} {
				if h := hops[i]; h.Hop != i+1 || len(h.Probes) != 1 || h.Probes[0].From != from.Addr().String() || h.Probes[0].RTT <= 0 || h.Probes[0].Note != "" {
					t.Errorf("%+v", h)
				}
			}
		})
	}
	t.Run("to nobody", func(t *testing.T) {
		code, stdout, _ := ran(t, p.server, append(append([]string{"traceroute", "-w", "30s", "-q", "1"}, f.flags()...), f.nobody.Addr().String())...)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		if code != exitFailed || len(lines) != 3 || !strings.HasSuffix(lines[2], " ms !H") || !strings.Contains(lines[2], f.router.Addr().String()) {
			t.Errorf("exit code %d:\n%s", code, stdout)
		}
	})
	t.Run("too far", func(t *testing.T) {
		code, stdout, _ := ran(t, p.server, append(append([]string{"traceroute", "-w", "30s", "-m", "1"}, f.flags()...), f.far.Addr().String())...)
		if lines := strings.Split(strings.TrimSpace(stdout), "\n"); code != exitFailed || len(lines) != 2 {
			t.Errorf("exit code %d:\n%s", code, stdout)
		}
	})
	// Ping through the router, and what the router says where it cannot.
	t.Run("ping", func(t *testing.T) {
		args := append([]string{"ping", "-c", "2", "-n", "10ms", "-W", "60s", "--json"}, f.flags()...)
		code, stdout, stderr := ran(t, p.server, append(args, f.far.Addr().String())...)
		if r := object[reply](t, stdout, "reply"); code != exitOK || r.TTL != 63 || r.From != f.far.Addr().String() {
			t.Errorf("exit code %d, %+v: %s", code, r, stderr)
		}
		code, stdout, _ = ran(t, p.server, append(args, "-t", "1", f.far.Addr().String())...)
		if e := object[unanswered](t, stdout, "error"); code != exitFailed || e.From != f.router.Addr().String() || e.Seq != 1 ||
			!strings.Contains(strings.ToLower(e.Reason), "exceeded") {
			t.Errorf("exit code %d, %+v", code, e)
		}
		code, stdout, _ = ran(t, p.server, append(args, f.nobody.Addr().String())...)
		if e := object[unanswered](t, stdout, "error"); code != exitFailed || e.From != f.router.Addr().String() || !strings.Contains(e.Reason, "nreachable") {
			t.Errorf("exit code %d, %+v", code, e)
		}
	})
}

func TestTracerouteWrongUse(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, "TARGET"},
		{[]string{"router"}, "router"},
		{[]string{"-m", "0", "10.98.0.2"}, "--max-hops"},
		{[]string{"-q", "11", "10.98.0.2"}, "--queries"},
		{[]string{"-w", "0", "10.98.0.2"}, "--wait"},
		{[]string{"-p", "65500", "10.98.0.2"}, "--port"},
	} {
		args := append([]string{"traceroute", "-i", "eth9", "-a", engineAddr.String()}, test.args...)
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, test.says)
	}
}

func TestTracerouteNotes(t *testing.T) {
	for _, test := range []struct {
		e    socketapi.PacketError
		want string
	}{
		{socketapi.PacketError{Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4NetUnreachable}, "!N"},
		{socketapi.PacketError{Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4HostUnreachable}, "!H"},
		{socketapi.PacketError{Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4ProtoUnreachable}, "!P"},
		{socketapi.PacketError{Type: uint8(wire.ICMP4Unreachable), Code: wire.ICMP4AdminProhibited}, "!X"},
		{socketapi.PacketError{Type: uint8(wire.ICMP4Unreachable), Code: 14}, "!14"},
		{socketapi.PacketError{Type: uint8(wire.ICMP4ParamProblem), Code: 1}, "!<12-1>"},
		{socketapi.PacketError{V6: true, Type: uint8(wire.ICMP6Unreachable), Code: wire.ICMP6NoRoute}, "!N"},
		{socketapi.PacketError{V6: true, Type: uint8(wire.ICMP6Unreachable), Code: wire.ICMP6AddrUnreachable}, "!H"},
		{socketapi.PacketError{V6: true, Type: uint8(wire.ICMP6Unreachable), Code: wire.ICMP6RejectRoute}, "!X"},
	} {
		if got := note(&test.e); got != test.want {
			t.Errorf("%+v: %q, want %q", test.e, got, test.want)
		}
	}
}
