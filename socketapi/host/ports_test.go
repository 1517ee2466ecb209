package host

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Connections whose ports are chosen share them if their peers differ, and with nobody else: as in Linux
// the range bounds what there can be to one peer, not to all.
func TestChosenPortsAreOfOnePeer(t *testing.T) {
	p := newPorts(rand.New(rand.NewPCG(1, 2)))
	p.setRange(4000, 4001, 0)
	local := netip.MustParseAddrPort("0.0.0.0:0")
	take := func(remote string, want unix.Errno) *Hold {
		t.Helper()
		h := &Hold{Protocol: wire.ProtoTCP, Local: local, Remote: netip.MustParseAddrPort(remote)}
		if errno := p.Take(h); errno != want {
			t.Fatalf("a port to %s: %v, want %v", remote, errno, want)
		}
		return h
	}
	first := take("192.0.2.1:80", 0)
	if second := take("192.0.2.1:80", 0); second.Local == first.Local {
		t.Fatalf("two connections to one peer from %v", first.Local)
	}
	take("192.0.2.1:80", unix.EADDRINUSE)
	take("192.0.2.1:81", 0)
	other := take("192.0.2.2:80", 0)

	bound := &Hold{Protocol: wire.ProtoTCP, Local: netip.AddrPortFrom(local.Addr(), other.Local.Port()), ReuseAddr: true, ReusePort: true}
	if errno := p.Take(bound); errno != unix.EADDRINUSE {
		t.Errorf("bind to a port that connections have: %v, want EADDRINUSE", errno)
	}
	free := &Hold{Protocol: wire.ProtoTCP, Local: local}
	if errno := p.Take(free); errno != unix.EADDRINUSE {
		t.Errorf("bind to any port while connections have all: %v, want EADDRINUSE", errno)
	}
	if errno := p.Take(&Hold{Protocol: wire.ProtoUDP, Local: local}); errno != 0 {
		t.Errorf("a port of UDP: %v", errno)
	}

	p.Drop(first)
	if again := take("192.0.2.1:80", 0); again.Local != first.Local {
		t.Errorf("the port given back was %v, the one chosen after it is %v", first.Local, again.Local)
	}

	p = newPorts(rand.New(rand.NewPCG(1, 2)))
	p.setRange(4000, 4000, 0)
	if errno := p.Take(&Hold{Protocol: wire.ProtoTCP, Local: local}); errno != 0 {
		t.Fatal(errno)
	}
	take("192.0.2.1:80", unix.EADDRINUSE) // bound by somebody
}

// RFC 6056 §3.1, §3.3.1: what is chosen next does not follow from what was chosen: all of the range has its turn alike, few
// are beside the one before, and another secret has another order.
func TestChosenPortsAreSpread(t *testing.T) {
	const draws, parts = 16_000, 16
	draw := func(seed uint64) (ports []int) {
		p := newPorts(rand.New(rand.NewPCG(seed, 2)))
		for range draws {
			h := &Hold{Protocol: wire.ProtoTCP, Local: netip.MustParseAddrPort("192.0.2.1:0")}
			if errno := p.Take(h); errno != 0 {
				t.Fatal(errno)
			}
			ports = append(ports, int(h.Local.Port()))
			p.Drop(h)
		}
		return ports
	}
	first, second := draw(1), draw(2)
	var in [parts]int
	beside, same := 0, 0
	for i, port := range first {
		if port < ephemeralFirst || port > ephemeralLast {
			t.Fatalf("port %d", port)
		}
		in[(port-ephemeralFirst)*parts/(ephemeralLast-ephemeralFirst+1)]++
		if i > 0 && max(port-first[i-1], first[i-1]-port) < 10 {
			beside++
		}
		if port == second[i] {
			same++
		}
	}
	for i, n := range in {
		if n < draws/parts*8/10 || n > draws/parts*12/10 {
			t.Errorf("%d of %d in part %d of %d", n, draws, i, parts)
		}
	}
	if beside > draws/500 || same > draws/500 {
		t.Errorf("%d are beside the one before, %d the same with another secret", beside, same)
	}
}
