package socketapi

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// TestVLANs: two hosts on a wire of the kernel's, with two VLANs over it, of which they share one, and untagged
// frames beside it. (TestVLANWithAKernel has a kernel for a peer.)
func TestVLANs(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	for _, mode := range []engine.Mode{engine.ModeNative, engine.ModeSKB, engine.ModePacket} {
		t.Run(string(mode), func(t *testing.T) {
			if testing.Short() && mode != engine.ModeNative {
				t.Skip("short: one kind of device")
			}
			t.Parallel()
			left, right := netlab.TestNS(t), netlab.TestNS(t)
			netlab.TestVeth(t, netlab.End{NS: left, Name: "va"}, netlab.End{NS: right, Name: "vb"})
			a := openAt(t, left,
				host.Interface{Name: "va", Mode: mode, VLAN: 100, Addrs: prefixes("10.100.0.1/24", "fd64::1/64")},
				host.Interface{Name: "va", Mode: mode, Addrs: prefixes("10.99.0.1/24")},
				host.Interface{Name: "va", Mode: mode, VLAN: 200, Addrs: prefixes("10.200.0.1/24")})
			b := openAt(t, right,
				host.Interface{Name: "vb", Mode: mode, VLAN: 100, Addrs: prefixes("10.100.0.2/24", "fd64::2/64")},
				host.Interface{Name: "vb", Mode: mode, VLAN: 300, Addrs: prefixes("10.200.0.2/24")})
			if names := a.Host().Interfaces(); strings.Join(names, " ") != "va.100 va va.200" {
				t.Errorf("interfaces %v", names)
			}
			if names := b.Host().Interfaces(); strings.Join(names, " ") != "vb.100 vb.300 vb" {
				t.Errorf("interfaces %v", names)
			}
			l, err := b.Listen("tcp", "[::]:7")
			fatal(t, err)
			served := serveEcho(l)
			for _, to := range []string{"10.100.0.2:7", "[fd64::2]:7"} {
				c, err := a.Dial("tcp", to)
				fatal(t, err)
				within(t, longest, to, func() { bulkEcho(t, c, 1<<20, 3) })
			}
			u, err := b.ListenUDP(netip.MustParseAddrPort("10.100.0.2:8"))
			fatal(t, err)
			done := make(chan struct{})
			go func() { defer close(done); echoUDP(u) }()
			d, err := a.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort("10.100.0.2:8"))
			fatal(t, err)
			body := make([]byte, 1472) // fills the MTU, to which a tag does not count
			if _, err := d.Write(body); err != nil {
				t.Error(err)
			}
			p := make([]byte, 2000)
			within(t, longest, "a datagram", func() {
				if n, err := d.Read(p); err != nil || n != len(body) {
					t.Errorf("%d bytes came back, %v", n, err)
				}
			})
			d.Close()
			u.Close()
			<-done
			if _, err := a.Dial("tcp", "10.200.0.2:7"); !errors.Is(err, unix.EHOSTUNREACH) {
				t.Errorf("who is in another VLAN: %v, want EHOSTUNREACH", err)
			}
			fatal(t, l.Close())
			<-served
		})
	}
}

func TestVLANsThatCannotBe(t *testing.T) {
	for want, list := range map[string][]host.Interface{
		"between 1 and 4094":           {{Name: "eth9", VLAN: 4095}},
		"needs the name":               {{VLAN: 7, Devices: []engine.Device{engine.NewLoop()}}},
		"is there twice":               {{Name: "eth9", VLAN: 7}, {Name: "eth9", VLAN: 7}},
		"mirrored without a VLAN only": {{Name: "eth9", VLAN: 7, Mirror: host.MirrorRoutes}},
	} {
		if _, err := Open(host.Config{Interfaces: list}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
