package socketapi

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// How names are resolved is a matter of files in /etc, which the C library and package net read once. A test that has files of its
// own is a process of its own.

const (
	aloneWhat = "XDPSOCK_TEST_ALONE"      // what the process is for
	aloneDir  = "XDPSOCK_TEST_ALONE_DIR"  // the files that it has in /etc
	aloneLibc = "XDPSOCK_TEST_ALONE_LIBC" // libcSource, compiled
)

// alone runs the test once more in a process that has these files in /etc, and nothing else there but the tables of services and
// protocols; own: with a network namespace of its own too, and a name of the host.
func alone(t *testing.T, what string, c *libc, files map[string]string, own bool, env ...string) {
	t.Helper()
	dir := t.TempDir()
	if _, ok := files["host.conf"]; !ok { // without it glibc has one line of /etc/hosts to a name
		fatal(t, os.WriteFile(filepath.Join(dir, "host.conf"), []byte("multi on\n"), 0o644))
	}
	for name, text := range files {
		fatal(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, name := range []string{"services", "protocols"} {
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		fatal(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	self := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=120s")
	self.Env = append(os.Environ(), aloneWhat+"="+what, aloneDir+"="+dir)
	if c != nil {
		self.Env = append(self.Env, aloneLibc+"="+c.program)
	}
	self.Env = append(self.Env, env...)
	self.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if own {
		self.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS
	}
	out, err := self.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Error(err)
	}
}

// isAlone says what for this process was started by alone, "" if it was not, and gives it its files.
func isAlone(t *testing.T) (what string, c *libc) {
	if what = os.Getenv(aloneWhat); what == "" {
		return "", nil
	}
	fatal(t, unix.Mount(os.Getenv(aloneDir), "/etc", "", unix.MS_BIND, ""))
	if program := os.Getenv(aloneLibc); program != "" {
		c = &libc{program}
	}
	return what, c
}

// Addresses of servers, at the stack's peer and at the kernel's loopback alike.
const (
	serverOther  = "10.98.0.3"
	serverSilent = "10.98.0.4"
	serverDeaf   = "10.98.0.5" // no socket has its port
	serverLink6  = "fe80::2"
	linkName     = "va"
)

// besideKernel is a stack and the kernel with the same addresses in their reach, the stack's at the stack b. For the kernel that is
// the network namespace of the process, in which they are its own.
func besideKernel(t *testing.T) (a, b *Stack) {
	t.Helper()
	return besideKernelOver(t, nil)
}

// besideKernelOver is besideKernel over a wire that loses what drop says, where b alone has more addresses.
func besideKernelOver(t *testing.T, drop func(frame []byte) bool, more ...string) (a, b *Stack) {
	t.Helper()
	fatal(t, unix.Sethostname([]byte("self"))) // of no domain, which would be searched
	pa, pb := newPipe()
	pa.name, pb.name = linkName, linkName
	pa.drop, pb.drop = drop, drop
	here := []string{addrB, serverOther, serverSilent, serverDeaf, serverRefuses, addrB6, serverLink6}
	a, b = openOver(t, pa, addrA, addrA6, "fe80::1"), openOver(t, pb, append(more, here...)...)
	end := netlab.End{Name: linkName}
	for _, s := range append(here, addrA, addrA6) {
		addr := netip.MustParseAddr(s)
		end.Addrs = append(end.Addrs, netip.PrefixFrom(addr, addr.BitLen()*3/4/8*8))
	}
	tap, err := netlab.NewTap(end)
	fatal(t, err)
	t.Cleanup(func() { tap.Close() })
	ns, err := netlab.Current()
	fatal(t, err)
	defer ns.Close()
	fatal(t, (&netlab.Link{NS: ns, Name: "lo"}).SetUp())
	return a, b
}
