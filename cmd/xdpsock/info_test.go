package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

func TestInfo(t *testing.T) {
	l := newLab(t)
	code, stdout, stderr := ran(t, l.server, "info", "--json")
	if code != exitOK || stderr != "" || strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, `"lo"`) {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	// The XDP features of an interface are known where netdev-genl is there.
	k := object[kernelFacts](t, stdout, "kernel")
	lacksGenl := slices.ContainsFunc(k.Lacks, func(l lack) bool { return l.Name == "netdev-genl" && l.Since == "6.3" && l.Reason != "" })
	if k.Release == "" || len(k.Unknown) != 0 || lacksGenl != (object[facts](t, stdout, "interface").Features == nil) {
		t.Errorf("%+v", k)
	}
	code, stdout, stderr = ran(t, l.server, "info", "server", "--json")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	f := object[facts](t, stdout, "interface")
	if f.Interface != "server" || !f.Up || !f.Carrier || f.Kind != "veth" || f.Driver != "veth" || !f.Virtual || f.MTU != 1500 ||
		f.RxQueues != 1 || f.TxQueues != 1 || f.Addr != l.veth.B.MAC.String() || !slices.Contains(f.Addrs, serverAddr.String()) || f.Gets.Mode != "" && !slices.Contains(f.Shareable, serverAddr.String()) ||
		len(f.Programs) != 0 || len(f.Missing) != 0 || f.Gets.Probed {
		t.Errorf("%+v", f)
	}
	// What was concluded is what one gets, where the kernel tells enough to conclude.
	_, stdout, stderr = ran(t, l.server, "info", "server", "--probe", "--json")
	probed := object[facts](t, stdout, "interface")
	if stderr != "" || !probed.Gets.Probed || probed.Gets.Mode != "native" || len(probed.Gets.Why) == 0 {
		t.Errorf("%+v: %s", probed.Gets, stderr)
	}
	if f.Features != nil && f.Gets.Mode != probed.Gets.Mode {
		t.Errorf("concluded %+v, got %+v", f.Gets, probed.Gets)
	}
	l.clean(t)
}

func TestInfoForPeople(t *testing.T) {
	l := newLab(t)
	if err := l.veth.B.SetDown(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := ran(t, l.server, "info", "server")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"Linux ", "  lacks ", "server (link ", "state      down", "veth", "MTU        1500", "1 that receive", "ip link set server up"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

func TestInfoNamesProgram(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "rxdrop", "-i", "server", "-p")
	p.says("running...")
	_, stdout, _ := ran(t, l.server, "info", "server", "--json")
	f := object[facts](t, stdout, "interface")
	if len(f.Programs) != 1 || f.Programs[0].ID != l.program(t) || f.Gets.Mode != "" || !strings.Contains(strings.Join(f.Gets.Why, ""), "attached") {
		t.Errorf("%+v", f)
	}
	args := []string{"info", "server", "--probe"}
	code, stdout, stderr := ran(t, l.server, args...)
	if code != exitFailed {
		t.Errorf("%v: exit code %d", args, code)
	}
	oneLine(t, args, stdout, stderr, "another XDP program")
}

func TestInfoMissingInterface(t *testing.T) {
	args := []string{"info", "nosuch0"}
	code, stdout, stderr := ran(t, nil, args...)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "nosuch0", "there are")
}

// Anybody may ask; it says what is missing to do more.
func TestInfoUnprivileged(t *testing.T) {
	if err := os.Chmod(filepath.Dir(executable), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "info", "lo")
	cmd.SysProcAttr = nobody()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_SETUID and CAP_SETGID, to be somebody else: run as root")
	}
	if err != nil || stderr.Len() != 0 {
		t.Fatalf("%v: %s", err, &stderr)
	}
	for _, want := range []string{"unknown    ", "XDP_USE_SG", "lo (link 1)", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in:\n%s", want, &stdout)
		}
	}
}

// Each rung of the ladder, by what a kernel may tell.
func TestForecast(t *testing.T) {
	mac := []byte{2, 0, 0, 0, 0, 1}
	some := engine.XDPBasic | engine.XDPRedirect
	for _, test := range []struct {
		link     engine.Link
		occupied bool
		mode     string
		why      string
	}{
		{engine.Link{MAC: mac}, false, "", "ip link set"},
		{engine.Link{MAC: mac, Up: true}, true, "", "attached already"},
		{engine.Link{Up: true}, false, "packet", "Ethernet"},
		{engine.Link{MAC: mac, Up: true}, false, "unknown", "--probe"},
		{engine.Link{MAC: mac, Up: true, XDP: engine.XDP{Known: true}}, false, "skb", "has no XDP"},
		{engine.Link{MAC: mac, Up: true, XDP: engine.XDP{Known: true, Features: engine.XDPBasic}}, false, "skb", "XDP_REDIRECT"},
		{engine.Link{MAC: mac, Up: true, MTU: 9000, XDP: engine.XDP{Known: true, Features: some}}, false, "skb", "mtu"},
		{engine.Link{MAC: mac, Up: true, MTU: 9000, XDP: engine.XDP{Known: true, Features: some | engine.XDPRxSG}}, false, "native", "zero-copy"},
		{engine.Link{MAC: mac, Up: true, MTU: 1500, XDP: engine.XDP{Known: true, Features: some | engine.XDPZeroCopy}}, false, "zerocopy", ""},
	} {
		g := forecast(&test.link, test.occupied)
		if g.Mode != test.mode || test.why != "" && !strings.Contains(strings.Join(g.Why, " "), test.why) || test.why == "" && len(g.Why) != 0 {
			t.Errorf("%+v, %v: %+v, want %q because of %q", test.link, test.occupied, g, test.mode, test.why)
		}
	}
}
