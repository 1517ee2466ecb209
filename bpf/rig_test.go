package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// load loads a program for a test, or skips the test where that is forbidden.
func load(t testing.TB, cfg Config) *Program {
	t.Helper()
	p, err := Load(cfg)
	if errors.Is(err, ErrFrags) && !linux(t, 5, 18) {
		t.Skip(err)
	}
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: go test -exec sudo")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// linux says whether the kernel is at least that one.
func linux(t testing.TB, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var x, y int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &x, &y); err != nil {
		t.Fatal(err)
	}
	return x > major || x == major && y >= minor
}

// rig is the program and its model under the same rules.
type rig struct {
	p *Program
	m *model
}

func newRig(t testing.TB) *rig { return &rig{load(t, Config{Queues: 1}), newModel()} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) own(t testing.TB, addr string) {
	a := netip.MustParseAddr(addr)
	must(t, r.p.AddAddr(a))
	r.m.own[a] = true
}

func (r *rig) share(t testing.TB, addr string) {
	a := netip.MustParseAddr(addr)
	must(t, r.p.ShareAddr(a))
	r.m.shared[a] = true
}

// port adds a port rule; local without an address, as ":68", is for any.
func (r *rig) port(t testing.TB, proto Proto, local string) {
	a := addrPort(local)
	must(t, r.p.AddPort(proto, a))
	r.m.ports[modelPort{proto, a}] = true
}

func (r *rig) flow(t testing.TB, proto Proto, local, remote string) {
	l, rem := addrPort(local), addrPort(remote)
	must(t, r.p.AddFlow(proto, l, rem))
	r.m.flows[modelFlow{proto, l, rem}] = true
}

func (r *rig) block(t testing.TB, proto Proto, first, last uint16) {
	must(t, r.p.AddBlock(proto, first, last))
	r.m.blocks = append(r.m.blocks, modelBlock{proto, first, last})
}

func addrPort(s string) netip.AddrPort {
	if s[0] == ':' {
		return netip.AddrPortFrom(netip.Addr{}, netip.MustParseAddrPort("0.0.0.0"+s).Port())
	}
	return netip.MustParseAddrPort(s)
}

// Addresses of the rules below: of each family one of our own, one shared, one
// that a port rule names, one that flow rules name, one without rules, and the
// other end.
var (
	own     = [2]string{"10.0.0.1", "fd00::1"}
	shared  = [2]string{"10.0.0.2", "fd00::2"}
	named   = [2]string{"10.0.0.3", "fd00::3"}
	flowing = [2]string{"10.0.0.4", "fd00::4"}
	foreign = [2]string{"10.0.0.5", "fd00::5"}
	remote  = [2]string{"10.9.9.9", "fd09::9"}
)

// allRules sets one rule of each kind that goes by addresses.
func (r *rig) allRules(t testing.TB) {
	for _, a := range own {
		r.own(t, a)
	}
	for _, a := range shared {
		r.share(t, a)
	}
	r.port(t, UDP, "0.0.0.0:53")
	r.port(t, TCP, "[::]:443")
	r.port(t, TCP, "10.0.0.3:80")
	r.port(t, UDP, "[fd00::3]:80")
	r.flow(t, TCP, "10.0.0.4:5000", "10.9.9.9:80")
	r.flow(t, UDP, "[fd00::4]:5000", "[fd09::9]:80")
	r.block(t, TCP, 32770, 33000)
	r.block(t, UDP, 40000, 40063)
}

// forget empties the memory of first fragments, of both.
func (r *rig) forget(t testing.TB) {
	t.Helper()
	if len(r.m.led) == 0 {
		return
	}
	clear(r.m.led)
	var keys [][40]byte
	var key [40]byte
	var seen uint64
	for it := r.p.maps.Fragments.Iterate(); it.Next(&key, &seen); {
		keys = append(keys, key)
	}
	for _, k := range keys {
		if err := r.p.maps.Fragments.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
	}
}

// programVerdicts reads enum verdict in the program's header.
func programVerdicts(t testing.TB) []string {
	t.Helper()
	source, err := os.ReadFile("rules.h")
	must(t, err)
	enum := regexp.MustCompile(`(?s)enum verdict \{(.*?)\};`).FindSubmatch(source)
	if enum == nil {
		t.Fatal("rules.h has no enum verdict")
	}
	var names []string
	for _, n := range regexp.MustCompile(`(?m)^\t(\w+),`).FindAllSubmatch(enum[1], -1) {
		names = append(names, string(n[1]))
	}
	return names
}
