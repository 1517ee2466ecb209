package host

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// What the kernel holds for connections stays as it is when other addresses come and go: a gap, and the kernel would reset them.
func TestAddressesChangeBesideConnections(t *testing.T) {
	p := newPorts(rand.New(rand.NewPCG(1, 2)))
	core := p.register()
	one, other, six := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.9"), netip.IPv6Loopback()
	addrs := func(list ...netip.Addr) {
		all := sharedAddrs{}
		for _, a := range list {
			all[a] = nil
		}
		p.share(all)
	}
	addrs(one)
	var local netip.AddrPort
	for port := uint16(20000); ; port++ {
		local = netip.AddrPortFrom(one, port)
		settled, errno := p.Lend(local)
		if errno == unix.EADDRINUSE {
			continue
		}
		if errno != 0 {
			t.Fatal(errno)
		}
		core.Enter(local, tcp.Tenure{})
		settled()
		break
	}
	key := portKey{wire.ProtoTCP, local.Port()}
	held := func() []*kernelPort { // as others see it who take ports
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.kernel.held[key]
	}
	first := held()[0]
	for _, change := range [][]netip.Addr{{one, other}, {one, other, six}, {six, one}} {
		addrs(change...)
		if now := held(); len(now) != 1 || now[0] != first {
			t.Errorf("with %v: %+v, and it was %+v", change, now, first)
		}
	}
	addrs(other)
	if now := held(); len(now) != 0 {
		t.Errorf("without its address: %+v", now)
	}
	addrs(one, other)
	if now := held(); len(now) != 1 {
		t.Errorf("with its address again: %+v", now)
	}
	core.Leave(local, tcp.Tenure{})
	for end := time.Now().Add(20 * time.Second); len(held()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after the connection: %+v", held())
		}
	}
	p.close()
}

// A port that a program of the kernel's has when its address comes to be the kernel's too is nobody's of ours, and that is told.
func TestUnsharedPorts(t *testing.T) {
	p := newPorts(rand.New(rand.NewPCG(1, 2)))
	core := p.register()
	l, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	p.share(sharedAddrs{netip.MustParseAddr("127.0.0.1"): nil})
	want := func(when string, n int) {
		t.Helper()
		if got := p.Unshared(); got != n {
			t.Errorf("%s: %d, want %d", when, got, n)
		}
	}
	h := &Hold{Protocol: wire.ProtoTCP, Local: at}
	if errno := p.Take(h); errno != 0 {
		t.Fatal(errno)
	}
	want("at an address of ours alone", 0)
	p.share(sharedAddrs{at.Addr(): nil})
	want("a socket", 1)
	core.Enter(at, tcp.Tenure{Sharing: tcp.Bound})
	want("a socket and its connection", 1)
	p.Drop(h)
	want("a connection", 1)
	if errno := p.Take(&Hold{Protocol: wire.ProtoTCP, Local: at, ReuseAddr: true}); errno != unix.EADDRINUSE {
		t.Errorf("who asks for it then: %v", errno)
	}
	l.Close()
	p.share(sharedAddrs{at.Addr(): nil, netip.MustParseAddr("127.0.0.1"): nil})
	want("when the program has gone", 0)
	core.Leave(at, tcp.Tenure{Sharing: tcp.Bound})
	p.close()
}
