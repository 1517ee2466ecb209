package main

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"golang.org/x/sys/unix"
)

// Ctrl-C before a server has answered, or a router has advertised a prefix, ends it without a trace.
func TestInterruptedWhileWaiting(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for address, says := range map[string]string{"dhcp": "asking for an address", "auto": ""} {
		p := start(t, l.server, "serve", "-i", "server", "-a", address)
		if says != "" {
			p.says(says)
		}
		for l.program(t) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		p.signal(unix.SIGINT)
		code := p.ends()
		if code != exitFailed {
			t.Errorf("-a %s: exit code %d", address, code)
		}
		oneLine(t, p.cmd.Args[1:], "", p.stderr.String(), "interrupted before it had begun")
		l.clean(t)
	}
}

// A server on the link lends the address that the services are at, and gets it back at the end.
func TestServeByDHCP(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var released atomic.Bool
	handler := func(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
		kind := dhcpv4.MessageTypeOffer
		switch m.MessageType() {
		case dhcpv4.MessageTypeDiscover:
		case dhcpv4.MessageTypeRequest:
			kind = dhcpv4.MessageTypeAck
		case dhcpv4.MessageTypeRelease:
			released.Store(true)
			return
		default:
			return
		}
		r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(engineAddr.Addr().AsSlice()),
			dhcpv4.WithServerIP(clientAddr.Addr().AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(clientAddr.Addr().AsSlice())),
			dhcpv4.WithLeaseTime(3600), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(clientAddr.Addr().AsSlice()))
		if err == nil {
			conn.WriteTo(r.ToBytes(), peer)
		}
	}
	var server *server4.Server
	if err := l.client.Do(func() (err error) {
		server, err = server4.NewServer("client", &net.UDPAddr{Port: 67}, handler)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve() }()
	t.Cleanup(func() { server.Close(); <-served })

	p := start(t, l.server, "serve", "-i", "server", "-a", "dhcp", "--echo", "7", "--json")
	p.says("ready")
	if first := object[ready](t, p.stdout.String(), "ready"); len(first.Link.Addrs) != 1 || first.Link.Addrs[0] != engineAddr.String() {
		t.Errorf("ready: %+v", first.Link)
	}
	if e := object[leaseEvent](t, p.stdout.String(), "lease"); e.What != "bound" || e.Addr != engineAddr || e.Server != clientAddr.Addr() {
		t.Errorf("lease: %+v", e)
	}
	c, err := l.client.Dial("udp", at(echoPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := exchange(t, c, "hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	if !released.Load() || !strings.Contains(p.stdout.String(), `"what":"released"`) {
		t.Errorf("the lease was not given back:\n%s", &p.stdout)
	}
}
