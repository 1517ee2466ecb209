package main

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// With --share the services are at the kernel's address, and the kernel's programs stay there.
func TestServeShared(t *testing.T) {
	l := newLab(t)
	login, err := l.server.Listen("tcp", netip.AddrPortFrom(serverAddr.Addr(), 22).String())
	if err != nil {
		t.Fatal(err)
	}
	defer login.Close()
	logIn := func(when string) {
		c, err := l.client.Dial("tcp", login.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		c.Close()
	}
	logIn("before")
	dir := controlDir(t)
	p := start(t, l.server, "serve", "-i", "server", "--share", "--echo", "7007", "--control", dir)
	p.says("Ctrl-C")
	for _, network := range []string{"tcp", "udp"} {
		c, err := l.client.Dial(network, netip.AddrPortFrom(serverAddr.Addr(), 7007).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := exchange(t, c, "hello"); got != "hello" {
			t.Errorf("%s: %q", network, got)
		}
	}
	logIn("beside it")
	ask := func(what string, row ...string) {
		code, stdout, stderr := ran(t, nil, what, "--control", dir, "-i", "server")
		if code != exitOK {
			t.Errorf("%s: exit code %d: %s", what, code, stderr)
		}
		hasRow(t, stdout, row...)
	}
	ask("addr", serverAddr.String(), "server")
	ask("route", "10.99.0.0/24", "unicast")
	ask("neigh", clientAddr.Addr().String(), "server", l.veth.A.MAC.String())
	ask("sockets", "tcp")
	if c, err := l.server.Listen("tcp", ":7007"); err == nil {
		c.Close()
		t.Error("a port of the engine's was to be had in the kernel")
	}
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	if out := p.stdout.String(); !strings.Contains(out, "shared with the kernel: "+serverAddr.String()) {
		t.Errorf("it says:\n%s", out)
	}
	logIn("after")
	l.clean(t)

	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"serve", "-i", "server", "--share", "-a", "dhcp"}, exitUsage, "leave out -a dhcp"},
		{[]string{"serve", "-i", "server", "--share", "--gateway", "10.99.0.1"}, exitUsage, "leave out --gateway"},
		{[]string{"ping", "-i", "server", "--share", "10.99.0.1"}, exitUsage, "ICMP echo stays with the kernel"},
		{[]string{"traceroute", "-I", "-i", "server", "--share", "10.99.0.1"}, exitUsage, "ICMP echo stays with the kernel"},
		{[]string{"serve", "-i", "server", "--share", "-a", engineAddr.String()}, exitFailed, "the kernel has no such address"},
		{[]string{"serve", "-i", "server", "--share", "--mode", "packet"}, exitFailed, "AF_XDP alone"},
		{[]string{"serve", "-i", "server", "--share", "--echo", "22"}, exitFailed, "address already in use: a program of the kernel's has the port"},
		{[]string{"traceroute", "-i", "server", "--share", "192.0.2.1"}, exitFailed, "ip route get 192.0.2.1 oif server"},
	} {
		code, stdout, stderr := ran(t, l.server, row.args...)
		if code != row.code {
			t.Errorf("%v: exit code %d, want %d", row.args, code, row.code)
		}
		if !strings.Contains(stderr, row.says) {
			t.Errorf("%v: no %q in %s%s", row.args, row.says, stdout, stderr)
		}
	}
}
