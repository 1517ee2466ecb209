package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

const (
	itsImport = `"golang.org/x/sys/unix"`
	ourImport = `"github.com/xdpsock/xdpsock/socketapi/unix"`
)

// imports builds the program of testdata with its own import and with ours.
func imports(t *testing.T) (its, ours string) {
	t.Helper()
	source, err := os.ReadFile("testdata/oneimport/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(itsImport)); n != 1 {
		t.Fatalf("%d imports to change, want one", n)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "main.go")
	if err := os.WriteFile(changed, bytes.Replace(source, []byte(itsImport), []byte(ourImport), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	its, ours = filepath.Join(dir, "its"), filepath.Join(dir, "ours")
	for program, from := range map[string]string{its: "testdata/oneimport/main.go", ours: changed} {
		if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, from).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return its, ours
}

// begin starts a program in a namespace. It is killed at the test's end.
func begin(t *testing.T, ns *netlab.NS, environment []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	c := ns.Command(args[0], args[1:]...)
	p.cmd = c.Cmd
	c.Stdout, c.Stderr, c.Env = &p.stdout, &p.stderr, append(os.Environ(), environment...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-p.done
	})
	return p
}

// TestRun runs one program on the kernel's sockets, and by another import on the engine's, at an address of its own and at the kernel's. It says the same, and a peer that is
// the kernel hears the same.
func TestRun(t *testing.T) {
	netlab.RequireRoot(t)
	its, ours := imports(t)
	const serverPort = "1100"
	l, dir := newLab(t), controlDir(t)
	heard := map[string]string{}
	said := map[string]string{}
	for _, c := range []struct {
		addr string
		args []string
	}{
		{serverAddr.Addr().String(), []string{its}},
		{engineAddr.Addr().String(), []string{executable, "run", "-i", "server", "--control", dir, "-a", engineAddr.String(), ours}},
		{serverAddr.Addr().String(), []string{executable, "run", "-i", "server", "--control", dir, "--share", ours}},
	} {
		p := begin(t, l.server, nil, c.args...)
		p.says("ready")
		p.says("environment")
		var b strings.Builder
		for _, network := range []string{"udp", "tcp"} {
			conn, err := l.client.Dial(network, net.JoinHostPort(c.addr, serverPort))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				fmt.Fprintln(&b, network, exchange(t, conn, fmt.Sprint("message ", i)))
			}
			conn.Close()
		}
		how := strings.Join(c.args, " ")
		heard[how], said[how] = b.String(), p.stdout.String()
		if p.stderr.String() != "" {
			t.Errorf("%v: %s", c.args, &p.stderr)
		}
		if c.args[0] == executable {
			code, list, stderr := ran(t, nil, "sockets", "--control", dir)
			if code != exitOK || !strings.Contains(list, ":"+serverPort) {
				t.Errorf("its sockets: exit code %d: %s%s", code, list, stderr)
			}
			second(t, l, c.args)
			if l.program(t) == 0 {
				t.Error("no XDP program: were the sockets the kernel's?")
			}
		}
		p.cmd.Process.Kill()
		<-p.done
		if heard[how] != heard[its] || strings.Count(heard[its], "\n") != 40 {
			t.Errorf("on the kernel's sockets the peer heard\n%sby %s\n%s", heard[its], how, heard[how])
		}
		if a, b := sorted(said[its]), sorted(said[how]); a != b || !strings.Contains(a, "file 5 ello hello") {
			t.Errorf("on the kernel's sockets the program said\n%sby %s\n%s", a, how, b)
		}
	}
}

// second starts a program on an interface that another one has: it is told so, and the first goes on.
func second(t *testing.T, l *lab, args []string) {
	t.Helper()
	p := begin(t, l.server, nil, args...)
	if code := p.ends(); code != 1 || !strings.Contains(p.stderr.String(), "network is down") {
		t.Errorf("a second one: exit code %d\n%s", code, &p.stderr)
	}
	t.Logf("a second one: %s", &p.stderr)
}

// sorted is lines in the order of their letters: what is ready at once is found in any.
func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestRunWithPrivilegesOfItsOwn: who starts a set-user-ID program does not say which interfaces it takes.
func TestRunWithPrivilegesOfItsOwn(t *testing.T) {
	netlab.RequireRoot(t)
	_, ours := imports(t)
	for dir := filepath.Dir(ours); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(ours, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(ours, &fs); err != nil || fs.Flags&unix.ST_NOSUID != 0 {
		t.Skipf("set-user-ID does nothing in %s (%v)", filepath.Dir(ours), err)
	}
	c := exec.Command(ours)
	c.Env = append(os.Environ(), "XDPSOCK_HOST="+`{"interfaces":[{"name":"nosuch0","addrs":["10.99.0.3/24"]}]}`)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "XDPSOCK_HOST: not heeded by a program with privileges of its own") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRunWithoutAStack: what is wrong is said once, and the program is given an errno.
func TestRunWithoutAStack(t *testing.T) {
	netlab.RequireRoot(t)
	_, ours := imports(t)
	l := newLab(t)
	for _, c := range []struct {
		environment string
		says        string
	}{
		{"", "no stack: start the program by 'xdpsock run"},
		{`{"interfaces":[{"nam":"server"}]}`, `XDPSOCK_HOST: configuration of a host: json: unknown field "nam"`},
		{`{"interfaces":[{"name":"server","addrs":["10.99.0.3"]}]}`, "10.99.0.3"},
		{`{"interfaces":[{"name":"nosuch0","addrs":["10.99.0.3/24"]}]}`, "nosuch0"},
		{`{"interfaces":[{"name":"server","addrs":["10.99.0.3/24"]}],"sysctls":{"nosuch":"1"}}`, "nosuch"},
	} {
		var environment []string
		if c.environment != "" {
			environment = []string{"XDPSOCK_HOST=" + c.environment}
		}
		p := begin(t, l.server, environment, ours)
		code := p.ends()
		if says := p.stderr.String(); code != 1 || !strings.Contains(says, c.says) || strings.Count(says, "\n") != 2 || !strings.Contains(says, "epoll_create1: network is down\n") {
			t.Errorf("%s: exit code %d\n%s", c.environment, code, says)
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"run", "-i", "server", "-a", engineAddr.String()}, "PROGRAM is missing"},
		{[]string{"run", "-i", "server", "-a", engineAddr.String(), "nosuchprogram"}, "nosuchprogram"},
		{[]string{"run", "-i", "server", "-a", "dhcp", ours}, "-a dhcp"},
		{[]string{"run", "-i", "server", "-a", serverAddr.String(), ours}, "address of the kernel's own"},
		{[]string{"run", ours}, "no interface"},
	} {
		if code, _, stderr := ran(t, l.server, c.args...); code == 0 || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit code %d, %s", c.args, code, stderr)
		}
	}
	// Arguments are the program's, and so is the exit code.
	if code, stdout, stderr := ran(t, l.server, "run", "-i", "server", "-a", engineAddr.String(), "sh", "-c", `echo "$@" "${XDPSOCK_HOST%%,*}"; exit 7`, "-", "-i", "--json"); code != 7 || !strings.HasPrefix(stdout, `-i --json {"Interfaces":[{"Name":"server"`) {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}
