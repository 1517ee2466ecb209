package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/control"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// controlDir is a place for control sockets of this test's own, which does not exist yet.
func controlDir(t *testing.T) string { return filepath.Join(t.TempDir(), "c") }

// objects reads the lines of JSON whose "event" is as given.
func objects[T any](t *testing.T, out, event string) (list []T) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e struct {
			Event string `json:"event"`
		}
		var v T
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not JSON: %v: %s", err, line)
		}
		if e.Event != event {
			continue
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

func TestAskARunningEngine(t *testing.T) {
	l := newLab(t)
	dir := controlDir(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--gateway", clientAddr.Addr().String(), "--control", dir, "--json", "--sysctl", "tcp_fin_timeout=31")
	p.says("ready")
	c, err := l.client.Dial("tcp", at(echoPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := exchange(t, c, "hello"); got != "hello" {
		t.Fatal(got)
	}
	closed, err := l.client.Dial("udp", at(9999))
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	closed.Write([]byte("nobody"))
	closed.SetReadDeadline(time.Now().Add(patience))
	if _, err := closed.Read(make([]byte, 1)); err == nil {
		t.Fatal("an answer from a closed port")
	}

	// People get a table, machines an object a row. Neither needs to be in the engine's namespace.
	ask := func(what string, args ...string) (text, objects string) {
		t.Helper()
		for _, asJSON := range []bool{false, true} {
			args := append([]string{what, "--control", dir, "-i", "server"}, args...)
			if asJSON {
				args = append(args, "--json")
			}
			code, stdout, stderr := ran(t, nil, args...)
			if code != exitOK || stderr != "" {
				t.Fatalf("%v: exit code %d: %s", args, code, stderr)
			}
			if asJSON {
				objects = stdout
			} else {
				text = stdout
			}
		}
		return text, objects
	}
	mac := l.veth.A.MAC.String()
	text, list := ask("neigh")
	hasRow(t, text, clientAddr.Addr().String(), "server", mac)
	if rows := objects[control.Neighbour](t, list, "neighbour"); !slices.ContainsFunc(rows, func(n control.Neighbour) bool {
		return n.Addr == clientAddr.Addr().String() && n.MAC == mac && n.Interface == "server"
	}) {
		t.Errorf("%+v", rows)
	}
	text, list = ask("route")
	hasRow(t, text, "10.99.0.0/24", "unicast", "-", "server", engineAddr.Addr().String(), "0", "-")
	if rows := objects[control.Route](t, list, "route"); !slices.ContainsFunc(rows, func(r control.Route) bool {
		return r.Prefix == "0.0.0.0/0" && r.Gateway == clientAddr.Addr().String()
	}) {
		t.Errorf("%+v", rows)
	}
	text, list = ask("addr")
	hasRow(t, text, engineAddr.String(), "server")
	if rows := objects[control.Addr](t, list, "address"); !slices.ContainsFunc(rows, func(a control.Addr) bool { return a.Addr == engineAddr.String() }) {
		t.Errorf("%+v", rows)
	}
	text, list = ask("sockets")
	hasRow(t, text, "tcp", "ESTABLISHED", "0", "0", at(echoPort), c.LocalAddr().String())
	hasRow(t, text, "tcp", "LISTEN")
	if rows := objects[control.Socket](t, list, "socket"); len(rows) != 7 { // six services, one connection
		t.Errorf("%d sockets: %+v", len(rows), rows)
	}
	text, list = ask("drops")
	hasRow(t, text, "1", "udp-no-socket", "No", "UDP", "socket")
	if rows := objects[traffic.Drop](t, list, "drop"); !slices.ContainsFunc(rows, func(d traffic.Drop) bool { return d.Reason == "udp-no-socket" && d.Packets == 1 }) {
		t.Errorf("%+v", rows)
	}
	text, _ = ask("drops", "--all")
	hasRow(t, text, "0", "tcp-paws")
	text, list = ask("sysctl")
	hasRow(t, text, "net.ipv4.tcp_fin_timeout", "=", "31") // as serve was told
	if rows := objects[control.Sysctl](t, list, "sysctl"); len(rows) < 20 {
		t.Errorf("%d sysctls: %+v", len(rows), rows)
	}
	text, _ = ask("sysctl", "tcp_keepalive_time=60", "net.ipv4.tcp_rmem=4096 8192 16384", "tcp_keepalive_time")
	if want := "net.ipv4.tcp_keepalive_time = 60\nnet.ipv4.tcp_rmem = 4096 8192 16384\nnet.ipv4.tcp_keepalive_time = 60\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	text, _ = ask("sysctl", "--describe", "tcp_sack")
	hasRow(t, text, "net.ipv4.tcp_sack", "1", "-", "0", "to", "1", "Whether")
	for _, bad := range []string{"tcp_sack=2", "nonesuch", "tcp_autocorking=1"} {
		if code, _, stderr := ran(t, nil, "sysctl", "--control", dir, bad); code != exitFailed || !strings.Contains(stderr, "sysctl: ") {
			t.Errorf("%s: exit code %d: %s", bad, code, stderr)
		}
	}

	p.signal(unix.SIGTERM)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// hasRow checks that a table has a row that begins with these cells.
func hasRow(t *testing.T, table string, cells ...string) {
	t.Helper()
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) >= len(cells) && slices.Equal(f[:len(cells)], cells) {
			return
		}
	}
	t.Errorf("no row %q in:\n%s", cells, table)
}

func TestAskNobody(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no engine":   {[]string{"neigh", "--control", controlDir(t)}, exitFailed, "xdpsock serve"},
		"an argument": {[]string{"drops", "eth0"}, exitUsage, "eth0"},
		"no flag":     {[]string{"route", "--all"}, exitUsage, "--all"},
	} {
		code, stdout, stderr := ran(t, nil, test.args...)
		if code != test.code {
			t.Errorf("%s: exit code %d, want %d", name, code, test.code)
		}
		oneLine(t, test.args, stdout, stderr, test.says)
	}
}

// Two engines in one namespace: each on its interface, told apart by that; a second one on the same is refused with
// who is there.
func TestAskTwoOfOneNamespace(t *testing.T) {
	l := newLab(t)
	dir := controlDir(t)
	netlab.TestVeth(t, netlab.End{NS: l.client, Name: "client2"}, netlab.End{NS: l.server, Name: "server2"})
	other := "10.98.0.3/24"
	start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", dir).says("Ctrl-C")
	start(t, l.server, "serve", "-i", "server2", "-a", other, "--control", dir).says("Ctrl-C")
	for iface, addr := range map[string]string{"server": engineAddr.String(), "server2": other} {
		code, stdout, stderr := ran(t, nil, "addr", "--control", dir, "-i", iface)
		if code != exitOK {
			t.Errorf("%s: exit code %d: %s", iface, code, stderr)
		}
		hasRow(t, stdout, addr, iface)
	}
	args := []string{"drops", "--control", dir}
	code, stdout, stderr := ran(t, nil, args...)
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "several", "server (process", "server2 (process", "-i")
	args = []string{"serve", "-i", "server2", "-a", "10.98.0.4/24", "--control", dir}
	code, stdout, stderr = ran(t, l.server, args...)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "another XDP program is attached to server2", "xdpsock_steer")
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d sockets", len(left))
	}
}

func TestAskOneOfSeveral(t *testing.T) {
	dir := controlDir(t)
	var processes []*process
	for range 2 { // of one name, in two namespaces
		l := newLab(t)
		p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", dir)
		p.says("Ctrl-C")
		processes = append(processes, p)
	}
	args := []string{"addr", "--control", dir, "-i", "server"}
	code, stdout, stderr := ran(t, nil, args...)
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "several", "--pid")
	code, stdout, stderr = ran(t, nil, "addr", "--control", dir, "--pid", fmt.Sprint(processes[1].cmd.Process.Pid))
	if code != exitOK || !strings.Contains(stdout, engineAddr.String()) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	// One that was killed is not there any more, though its socket is.
	processes[0].signal(unix.SIGKILL)
	<-processes[0].done
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d sockets", len(left))
	}
	if code, _, stderr := ran(t, nil, args...); code != exitOK {
		t.Errorf("after one was killed: exit code %d: %s", code, stderr)
	}
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", dir)
	p.says("Ctrl-C")
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d sockets: the stale one was not removed", len(left))
	}
}

// Others may neither ask nor look, and are told so.
func TestAskWithoutPermission(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "c")
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", dir)
	p.says("Ctrl-C")
	for _, d := range []string{filepath.Dir(executable), filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"neigh", "--control", dir}
	cmd := exec.Command(executable, args...)
	cmd.SysProcAttr = nobody()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout.String(), stderr.String(), "permission", "sudo")
}

// A place that the user names must be had; the usual one is done without.
func TestServeWithoutControlSocket(t *testing.T) {
	l := newLab(t)
	args := []string{"serve", "-i", "server", "-a", engineAddr.String(), "--control", filepath.Join(t.TempDir(), "no", "such")}
	code, stdout, stderr := ran(t, l.server, args...)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "no such file")
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", "")
	p.says("Ctrl-C")
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	l.clean(t)
}
