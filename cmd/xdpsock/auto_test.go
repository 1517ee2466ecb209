package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A linkMate is a station on the link that the engine asks about addresses: the router that answers a solicitation, and
// the one who has the first IPv4 link-local address that the engine probes for.
type linkMate struct {
	mac    wire.MAC
	taken  atomic.Pointer[netip.Addr] // the address that was probed for first
	prefix netip.Prefix
}

// answer returns what the station says to a frame, nil: nothing.
func (m *linkMate) answer(frame []byte) []byte {
	eth, ok := wire.ParseEthernet(frame)
	if !ok || eth.Src() == m.mac {
		return nil
	}
	switch b := make([]byte, 200); eth.Type() {
	case wire.EtherTypeARP:
		arp, ok := wire.ParseARP(eth.Payload())
		if !ok || !arp.SenderIP().IsUnspecified() || !arp.TargetIP().IsLinkLocalUnicast() {
			return nil
		}
		target := arp.TargetIP()
		m.taken.CompareAndSwap(nil, &target)
		if target != *m.taken.Load() {
			return nil
		}
		n := wire.PutEthernet(b, arp.SenderMAC(), m.mac, wire.EtherTypeARP)
		n += wire.PutARP(b[n:], &wire.ARPFields{Op: wire.ARPReply, SenderMAC: m.mac, SenderIP: target, TargetMAC: arp.SenderMAC(), TargetIP: netip.IPv4Unspecified()})
		return b[:n]
	case wire.EtherTypeIPv6:
		ip := eth.Payload()
		if len(ip) <= wire.IPv6Len || ip[6] != byte(wire.ProtoICMPv6) || wire.ICMP6Type(ip[wire.IPv6Len]) != wire.ICMP6RouterSolicitation {
			return nil
		}
		src, at := wire.LinkLocal(m.mac), wire.EthernetLen+wire.IPv6Len
		n := at + wire.PutRouterAdvertisement(b[at:], &wire.RouterAdvertisementFields{CurHopLimit: 64, Lifetime: time.Hour})
		n += wire.PutSourceOption(b[n:], m.mac)
		n += wire.PutPrefixOption(b[n:], &wire.NDPPrefix{Prefix: m.prefix, OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Hour})
		message := wire.ICMP6(b[at:n])
		message.Seal(wire.PseudoSum(src, wire.AllNodes6, wire.ProtoICMPv6, len(message)))
		wire.PutEthernet(b, wire.MulticastMAC(wire.AllNodes6), m.mac, wire.EtherTypeIPv6)
		wire.PutIPv6(b[wire.EthernetLen:], &wire.IPv6Fields{HopLimit: 255, NextHeader: wire.ProtoICMPv6, Src: src, Dst: wire.AllNodes6, PayloadLen: len(message)})
		return b[:n]
	}
	return nil
}

// The services are at an IPv6 address of a router's prefix and at an IPv4 link-local one, the second that was tried since
// another station has the first. Then the MTU of the link is another, and its carrier goes and comes.
func TestServeAtAddressesOfTheLink(t *testing.T) {
	t.Parallel()
	l := &lab{client: netlab.TestNS(t), server: netlab.TestNS(t)}
	mate := &linkMate{mac: wire.MAC{2, 0, 0, 0, 0, 0x99}, prefix: netip.MustParsePrefix("2001:db8:1::/64")}
	l.veth = netlab.TestVeth(t,
		netlab.End{NS: l.client, Name: "client", Addrs: []netip.Prefix{netip.MustParsePrefix("169.254.0.1/16"), netip.MustParsePrefix("2001:db8:1::1/64")}},
		netlab.End{NS: l.server, Name: "server"})
	var fd int
	if err := l.client.Do(func() (err error) {
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		frame := make([]byte, 2000)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := unix.Read(fd, frame); err == nil {
				if reply := mate.answer(frame[:n]); reply != nil {
					unix.Sendto(fd, reply, 0, &unix.SockaddrLinklayer{Ifindex: l.veth.A.Index})
				}
			}
		}
	}()
	defer func() { close(stop); <-stopped; unix.Close(fd) }()

	p := start(t, l.server, "serve", "-i", "server", "-a", "auto", "-a", "local", "--echo", "7", "--control", "", "--json")
	p.says("ready")
	found := 0
	for _, s := range object[ready](t, p.stdout.String(), "ready").Link.Addrs {
		own := netip.MustParsePrefix(s).Addr()
		if own.Is6() && !mate.prefix.Contains(own) {
			continue // fe80::
		}
		found++
		if taken := mate.taken.Load(); taken == nil || own == *taken {
			t.Errorf("%v is another station's", own)
		}
		c, err := l.client.Dial("udp", net.JoinHostPort(own.String(), "7"))
		if err != nil {
			t.Fatal(err)
		}
		if got := exchange(t, c, "hello"); got != "hello" {
			t.Errorf("echo at %v: %q", own, got)
		}
		c.Close()
	}
	if found != 2 {
		t.Errorf("%d addresses:\n%s", found, &p.stdout)
	}
	for _, step := range []struct {
		do   func() error
		says string
	}{
		{func() error { return l.veth.B.SetMTU(1400) }, `{"event":"link","up":true,"mtu":1400}`},
		{func() error { return l.veth.B.SetMTU(9000) }, `,"link_mtu":9000}`},
		{l.veth.A.SetDown, `{"event":"link","up":false,`},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		p.says(step.says)
	}
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
}
