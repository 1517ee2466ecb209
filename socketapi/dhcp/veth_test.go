package dhcp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A testServer is a DHCP server on a kernel socket, and what it was told.
type testServer struct {
	mu   sync.Mutex
	give []netip.Prefix // the next is given when one was declined
	told map[dhcpv4.MessageType]int
}

func (s *testServer) handle(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := dhcpv4.MessageTypeOffer
	switch s.told[m.MessageType()]++; m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
	case dhcpv4.MessageTypeDecline:
		s.give = s.give[1:]
		return
	default:
		return
	}
	r := reply(m, kind, netip.MustParseAddr("10.99.0.1"), s.give[0],
		dhcpv4.WithLeaseTime(8), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IP{10, 99, 0, 1}),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{1300 >> 8, 1300 & 0xff}))
	conn.WriteTo(r.ToBytes(), peer)
}

func (s *testServer) heard(t dhcpv4.MessageType) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told[t]
}

// The whole way, with a kernel at the other end of a veth pair: the first address offered is the kernel's own, is
// found out by ARP and declined; the second is taken, answers, is renewed and given back.
func TestALeaseOverTheEngine(t *testing.T) {
	netlab.RequireRoot(t)
	if testing.Short() {
		t.Skip("waits ten seconds after a decline")
	}
	for _, row := range []struct {
		mode   engine.Mode
		queues int
	}{{engine.ModeNative, 2}, {engine.ModePacket, 1}} {
		t.Run(string(row.mode), func(t *testing.T) {
			t.Parallel()
			leaseOver(t, row.mode, row.queues)
		})
	}
}

func leaseOver(t *testing.T, mode engine.Mode, queues int) {
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Queues: queues}, netlab.End{NS: peer, Name: "vb", Queues: queues, Addrs: []netip.Prefix{
		netip.MustParsePrefix("10.99.0.1/24"), netip.MustParsePrefix("10.99.0.50/24"), netip.MustParsePrefix("198.51.100.1/32"),
	}})
	s := &testServer{told: map[dhcpv4.MessageType]int{}, give: []netip.Prefix{netip.MustParsePrefix("10.99.0.50/24"), netip.MustParsePrefix("10.99.0.60/24")}}
	var server *server4.Server
	var st *socketapi.Stack
	if err := peer.Do(func() (err error) {
		server, err = server4.NewServer("vb", &net.UDPAddr{Port: 67}, s.handle)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve() }()
	t.Cleanup(func() { server.Close(); <-served })
	if err := ours.Do(func() (err error) {
		st, err = socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: "va", Mode: mode}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer st.Close()

	renewed := make(chan struct{}, 16)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Open(ctx, Config{Link: OnStack(st, 0), Notify: func(e Event) {
		if e.What == Renewed {
			renewed <- struct{}{}
		}
	}})
	if err != nil {
		stats := st.Host().Stats()
		for r, n := range stats.All() {
			t.Logf("dropped %d: %v", n, r)
		}
		t.Fatal(err)
	}
	if n := s.heard(dhcpv4.MessageTypeDecline); n != 1 {
		t.Errorf("%d declines of an address that the kernel has", n)
	}
	if l := c.Lease(); l.Addr.String() != "10.99.0.60/24" || l.MTU != 1300 {
		t.Errorf("lease %+v", l)
	}
	u, err := st.ListenUDP(netip.MustParseAddrPort("0.0.0.0:7"))
	if err != nil {
		t.Fatal(err)
	}
	// To behind the router, which the lease told of.
	far, err := peer.ListenPacket("udp", "198.51.100.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	far.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := u.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("198.51.100.1:7")); err != nil {
		t.Error(err)
	}
	if _, from, err := far.ReadFrom(make([]byte, 10)); err != nil || from.String() != "10.99.0.60:7" {
		t.Errorf("behind the router from %v: %v", from, err)
	}
	u.Close()
	select {
	case <-renewed:
	case <-time.After(30 * time.Second):
		t.Error("not renewed")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for begun := time.Now(); s.heard(dhcpv4.MessageTypeRelease) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the server was not told that the lease is given back")
		}
	}
	for _, a := range st.Host().Addrs() {
		if a.Prefix.Addr() == c.Lease().Addr.Addr() {
			t.Errorf("%v is still there", a.Prefix)
		}
	}
}

// A leased socket hears what is sent to its address and what is sent to everyone, and nobody is told that it does
// not; what it writes leaves before its address may go.
func TestLeasedSocket(t *testing.T) {
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: peer, Name: "vb", Addrs: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")}})
	var st *socketapi.Stack
	own := netip.MustParseAddr("10.99.0.60")
	if err := ours.Do(func() (err error) {
		st, err = socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: "va", Addrs: []netip.Prefix{netip.PrefixFrom(own, 24)}}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	server, err := peer.ListenPacket("udp4", "0.0.0.0:67")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(time.Minute))
	link := OnStack(st, 0)
	c, err := link.Leased(own)
	if err != nil {
		t.Fatal(err)
	}
	hears := func(conn net.PacketConn, want, from string) {
		t.Helper()
		b := make([]byte, 100)
		n, a, err := conn.ReadFrom(b)
		if err != nil || string(b[:n]) != want || a.String() != from {
			t.Errorf("%q from %v, %v; want %q from %s", b[:n], a, err, want, from)
		}
	}
	client := &net.UDPAddr{IP: own.AsSlice(), Port: 68}
	for to, what := range map[*net.UDPAddr]string{
		{IP: net.IPv4bcast, Port: 67}: "everyone", {IP: net.IP{10, 99, 0, 1}, Port: 67}: "the server",
	} {
		if _, err := c.WriteTo([]byte(what), to); err != nil {
			t.Error(err)
		}
		hears(server, what, client.String())
	}
	server.WriteTo([]byte("acknowledged"), client)
	hears(c, "acknowledged", "10.99.0.1:67")
	stats := st.Host().Stats()
	if n := stats[drop.UDPNoSocket]; n != 0 {
		t.Errorf("%d times the server was told that nobody is there", n)
	}
	// 255.255.255.255 needs a route of the kernel's; 10.99.0.255 reaches as many.
	server.WriteTo([]byte("refused"), &net.UDPAddr{IP: net.IP{10, 99, 0, 255}, Port: 68})
	hears(c, "refused", "10.99.0.1:67")
	// The neighbour is forgotten with its interface's address, and has to be found again.
	for _, core := range st.Host().Cores() {
		core.Lock()
		core.Stack.Neigh.Flush(0, core.Now())
		core.Unlock()
	}
	if _, err := c.WriteTo([]byte("released"), &net.UDPAddr{IP: net.IP{10, 99, 0, 1}, Port: 67}); err != nil {
		t.Error(err)
	}
	link.Settle(t.Context())
	c.Close()
	if err := st.Host().RemoveAddr(0, own); err != nil {
		t.Error(err)
	}
	hears(server, "released", client.String())
}
