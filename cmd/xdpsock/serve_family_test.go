package main

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/control"
)

// One engine answers on both families, by the same sockets.
func TestServeBothFamilies(t *testing.T) {
	l := &lab{client: netlab.TestNS(t), server: netlab.TestNS(t)}
	engine6 := netip.MustParsePrefix("fd99::3/64")
	l.veth = netlab.TestVeth(t,
		netlab.End{NS: l.client, Name: "client", Addrs: []netip.Prefix{clientAddr, netip.MustParsePrefix("fd99::1/64")}},
		netlab.End{NS: l.server, Name: "server"})
	dir := controlDir(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "-a", engine6.String(), "--control", dir, "--json")
	p.says("ready")
	for _, addr := range []netip.Addr{engineAddr.Addr(), engine6.Addr()} {
		for _, network := range []string{"udp", "tcp"} {
			c, err := l.client.Dial(network, netip.AddrPortFrom(addr, echoPort).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := exchange(t, c, "hello"); got != "hello" {
				t.Errorf("%s echo at %v: %q", network, addr, got)
			}
		}
	}
	_, list, _ := ran(t, nil, "neigh", "--control", dir, "--json")
	seen := map[string]bool{}
	for _, n := range objects[control.Neighbour](t, list, "neighbour") {
		seen[n.Addr] = n.MAC == l.veth.A.MAC.String()
	}
	if !seen[clientAddr.Addr().String()] || !seen["fd99::1"] {
		t.Errorf("neighbours: %s", list)
	}
	p.signal(unix.SIGTERM)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
}

// Two engines cannot be set talking to each other for ever by one forged datagram: neither answers a port
// whose service would answer the answer.
func TestTwoEnginesDoNotLoop(t *testing.T) {
	l := newLab(t)
	other := netip.MustParsePrefix("10.99.0.4/24")
	a := start(t, l.client, "serve", "-i", "client", "-a", other.String(), "--control", "", "--json")
	a.says("ready")
	b := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--control", "", "--json")
	b.says("ready")
	inject := func(port uint16) {
		frame := make([]byte, 200)
		n := wire.PutEthernet(frame, wire.MAC(l.veth.B.MAC), wire.MAC(l.veth.A.MAC), wire.EtherTypeIPv4)
		payload := "round and round"
		ip := wire.IPv4Fields{TTL: 64, Protocol: wire.ProtoUDP, Src: other.Addr(), Dst: engineAddr.Addr(), PayloadLen: wire.UDPLen + len(payload)}
		at := n
		n += wire.PutIPv4(frame[n:], &ip)
		h := wire.UDP(frame[n : n+wire.UDPLen+len(payload)])
		n += wire.PutUDP(h, port, echoPort, len(payload))
		n += copy(frame[n:], payload)
		v4, _ := wire.ParseIPv4(frame[at:n])
		h.SealSum(v4.PseudoSum(), wire.SumOf([]byte(payload)))
		err := l.client.Do(func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, frame[:n], 0, &unix.SockaddrLinklayer{Ifindex: l.veth.A.Index})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	inject(echoPort)
	inject(chargenPort)
	inject(40000) // nobody is there, and this one is answered
	echo := func(p *process) service.Stats {
		t.Helper()
		p.signal(unix.SIGTERM)
		if code := p.ends(); code != exitOK {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
		for _, s := range object[summary](t, p.stdout.String(), "summary").Services {
			if s.Name == "echo" && s.Network == "udp" {
				return s
			}
		}
		t.Fatal("no echo service")
		return service.Stats{}
	}
	// What was asked after them is answered after them; a loop would have gone round many times by then.
	c, err := l.client.Dial("udp", at(echoPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100 {
		exchange(t, c, "still there?")
	}
	if s := echo(b); s.Refused != 2 || s.Messages < 103 || s.Messages > 203 { // a request may have been asked twice
		t.Errorf("b: %+v", s)
	}
	if s := echo(a); s.Messages != 0 {
		t.Errorf("a: %+v", s)
	}
}
