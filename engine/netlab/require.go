package netlab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A TB is what this package uses of a testing.TB, so that a program which makes a
// network does not link package testing.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// needs names the capabilities (capabilities(7)) by their numbers.
var needs = []struct {
	bit  uint
	name string
	why  string
}{
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "make links and addresses"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "make and enter network namespaces"},
	{unix.CAP_NET_RAW, "CAP_NET_RAW", "open packet sockets"},
}

// RequireRoot skips the test, naming what is missing, where the process may not
// make networks.
func RequireRoot(t TB) {
	t.Helper()
	if err := Privileged(); err != nil {
		t.Skipf("%v", err)
	}
}

// NeedLinux skips a test of what older kernels have not got.
func NeedLinux(t TB, major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatalf("uname: %v", err)
	}
	var x, y int
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	if x < major || x == major && y < minor {
		t.Skipf("needs Linux %d.%d, this is %s", major, minor, release)
	}
}

// Privileged is nil where the process may make networks, and otherwise says what
// it lacks.
func Privileged() error {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("netlab: which capabilities there are: %w", err)
	}
	if missing := missingCaps(status); missing != "" {
		return fmt.Errorf("netlab: missing %s; run as root or with sudo", missing)
	}
	// Capabilities do not tell of a seccomp filter or a limit on namespaces.
	ns, err := NewNS()
	if err != nil {
		return err
	}
	return ns.Close()
}

// missingCaps reads CapEff of a /proc/PID/status.
func missingCaps(status []byte) string {
	var eff uint64
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			eff, _ = strconv.ParseUint(string(bytes.TrimSpace(rest)), 16, 64)
		}
	}
	var missing []string
	for _, n := range needs {
		if eff&(1<<n.bit) == 0 {
			missing = append(missing, n.name+" (to "+n.why+")")
		}
	}
	return strings.Join(missing, ", ")
}

// TestNS is NewNS for a test: it skips where the process may not, and closes the
// namespace at the test's end.
func TestNS(t TB, opts ...Option) *NS {
	t.Helper()
	RequireRoot(t)
	ns, err := NewNS(opts...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
	return ns
}

// TestVeth is VethPair for a test: it fails the test where the pair cannot be
// made, and closes the pair at the test's end.
func TestVeth(t TB, a, b End) *Veth {
	t.Helper()
	v, err := VethPair(a, b)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func literal(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
