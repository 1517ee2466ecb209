package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// executable is the command as a user has it.
var executable string

func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "xdpsock-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		executable = filepath.Join(dir, "xdpsock")
		args := []string{"build", "-o", executable}
		if raceEnabled {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, ".")...)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "go build:", err)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

// patience is how long anything may take on a machine that is busy with something else.
const patience = 60 * time.Second

// The addresses of a lab.
var (
	clientAddr = netip.MustParsePrefix("10.99.0.1/24")
	serverAddr = netip.MustParsePrefix("10.99.0.2/24") // the kernel's, at the engine's end
	engineAddr = netip.MustParsePrefix("10.99.0.3/24")
)

// lab is two namespaces and a veth pair; the command runs in server.
type lab struct {
	client, server *netlab.NS
	veth           *netlab.Veth // A at the client, B at the server
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{client: netlab.TestNS(t, netlab.NoIPv6()), server: netlab.TestNS(t, netlab.NoIPv6())}
	l.veth = netlab.TestVeth(t,
		netlab.End{NS: l.client, Name: "client", Addrs: []netip.Prefix{clientAddr}},
		netlab.End{NS: l.server, Name: "server", Addrs: []netip.Prefix{serverAddr}})
	return l
}

// A process is the command under test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout lines
	stderr lines
	done   chan struct{}
}

// lines collects what is written to it. It may be read meanwhile.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs the command, in a namespace if one is given. It is killed at the test's end.
func start(t *testing.T, ns *netlab.NS, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	var begin, wait func() error
	if ns != nil {
		c := ns.Command(executable, args...)
		p.cmd, begin, wait = c.Cmd, c.Start, c.Wait
	} else {
		p.cmd = exec.Command(executable, args...)
		begin, wait = p.cmd.Start, p.cmd.Wait
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	go func() {
		wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// ends waits for the command's end and returns its exit code.
func (p *process) ends() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Signal(unix.SIGQUIT)
		<-p.done
		p.t.Fatalf("%v did not end; it said:\n%s%s", p.cmd.Args[1:], &p.stdout, &p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// says waits until standard output has text in it.
func (p *process) says(text string) {
	p.t.Helper()
	p.awaits(&p.stdout, text)
}

func (p *process) awaits(where *lines, text string) {
	p.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(where.String(), text); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.done:
			p.t.Fatalf("%v ended before it said %q:\n%s%s", p.cmd.Args[1:], text, &p.stdout, &p.stderr)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("%v did not say %q:\n%s%s", p.cmd.Args[1:], text, &p.stdout, &p.stderr)
		}
	}
}

// signal asks the command to end.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ran is what a command said that ended by itself.
func ran(t *testing.T, ns *netlab.NS, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, ns, args...)
	code = p.ends()
	return code, p.stdout.String(), p.stderr.String()
}

// object reads the line of JSON whose "event" is as given.
func object[T any](t *testing.T, out, event string) (v T) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not JSON: %v: %s", err, line)
		}
		if e.Event != event {
			continue
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		return v
	}
	t.Fatalf("no %q in:\n%s", event, out)
	return v
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}} {
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitOK || stderr != "" || !strings.Contains(stdout, "xdpsock demo") {
			t.Errorf("%v: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
	// All commands, those of other files included.
	for _, c := range rootCommand().Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		code, stdout, stderr := ran(t, nil, c.Name(), "--help")
		if code != exitOK || stderr != "" {
			t.Errorf("%s --help: exit code %d, %s", c.Name(), code, stderr)
		}
		_, example, ok := strings.Cut(stdout, "Examples:")
		if !ok || !strings.Contains(example, "xdpsock "+c.Name()) {
			t.Errorf("%s --help has no example:\n%s", c.Name(), stdout)
		}
	}
}

func TestWrongUse(t *testing.T) {
	for _, test := range []struct {
		args []string
		says []string // all of it on one line
	}{
		{[]string{"srve"}, []string{"srve", "--help"}},
		{[]string{"--nope"}, []string{"nope", "--help"}},
		{[]string{"serve"}, []string{"interface", "-i"}},
		{[]string{"serve", "-i", "eth9"}, []string{"address", "-a"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "extra"}, []string{"extra", "--help"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3"}, []string{"10.99.0.3/24"}},
		{[]string{"serve", "-i", "eth9", "-a", "fd99::3"}, []string{"fd99::3/64"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.300/24"}, []string{"CIDR", "10.99.0.300/24"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/33"}, []string{"CIDR"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--gateway", "gw"}, []string{`gateway "gw"`}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--vlan", "4095"}, []string{"--vlan 4095", "4094"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--policy", "fast"}, []string{"latency", "balanced", "efficient"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--mode", "dpdk"}, []string{"zerocopy", "native", "skb"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--checksums", "maybe"}, []string{"verify", "trust"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--echo", "65536"}, []string{"65536"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--echo", "80", "--http", "80"}, []string{"--echo", "--http", "80"}},
		{[]string{"serve", "-i", "eth9", "-a", "10.99.0.3/24", "--echo", "0", "--discard", "0", "--chargen", "0", "--http", "0"}, []string{"--echo"}},
	} {
		code, stdout, stderr := ran(t, nil, test.args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d, want %d: %s%s", test.args, code, exitUsage, stdout, stderr)
		}
		oneLine(t, test.args, stdout, stderr, test.says...)
	}
}

// oneLine checks that an error is one line which says what it must.
func oneLine(t *testing.T, args []string, stdout, stderr string, says ...string) {
	t.Helper()
	if stdout != "" {
		t.Errorf("%v: an error, but on standard output: %s", args, stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "xdpsock") {
		t.Errorf("%v: not one line: %q", args, stderr)
	}
	for _, want := range says {
		if !strings.Contains(stderr, want) {
			t.Errorf("%v: %q does not say %q", args, stderr, want)
		}
	}
}

func TestMissingInterface(t *testing.T) {
	netlab.RequireRoot(t)
	for _, args := range [][]string{
		{"serve", "-i", "nosuch0", "-a", engineAddr.String()},
		{"run", "-i", "nosuch0", "-a", engineAddr.String(), "true"},
	} {
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitFailed {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, "nosuch0")
	}
}

// A process without capabilities says which it lacks.
func TestUnprivileged(t *testing.T) {
	netlab.RequireRoot(t)
	if err := os.Chmod(filepath.Dir(executable), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"serve", "-i", "lo", "-a", engineAddr.String()},
		{"demo"},
	} {
		cmd := exec.Command(executable, args...)
		cmd.SysProcAttr = nobody()
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Errorf("%v: %v, want exit code %d: %s", args, err, exitUsage, &stderr)
		}
		oneLine(t, args, stdout.String(), stderr.String(), "CAP_NET_ADMIN")
	}
}

func TestRunKeepsToItsWriters(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"serve", "--help"}, &stdout, &stderr); code != exitOK || stdout.Len() == 0 || stderr.Len() != 0 {
		t.Errorf("exit code %d, %d and %d bytes", code, stdout.Len(), stderr.Len())
	}
}

func TestExitCodes(t *testing.T) {
	for err, want := range map[error]int{
		io.EOF:                               exitFailed,
		usagef("no"):                         exitUsage,
		fmt.Errorf("open: %w", usagef("no")): exitUsage,
		fmt.Errorf("bind: %w", unix.EPERM):   exitUsage,
		silentError{context.Canceled}:        exitFailed,
		fmt.Errorf("bind: %w", unix.ENODEV):  exitFailed,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
