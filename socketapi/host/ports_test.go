package host

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// atPort is a hold of a port at every address.
func atPort(port uint16) *Hold {
	return &Hold{Protocol: wire.ProtoTCP, Local: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
}

// Connections share the ports that connect chooses, and with nobody who is bound to one, or came by one who is, for as long as they
// are there.
func TestConnectionsAndBoundPorts(t *testing.T) {
	p := newPorts(rand.New(rand.NewPCG(1, 2)))
	p.setRange(4000, 4001, 0, false)
	cores := []*register{p.register(), p.register()}
	at := netip.MustParseAddrPort("192.0.2.1:4000")
	enter := func(core int, how tcp.Sharing, want bool) {
		t.Helper()
		if got := cores[core].Enter(at, tcp.Tenure{Sharing: how}); got != want {
			t.Fatalf("core %d, %v: %v", core, how, got)
		}
	}
	take := func(h *Hold, want unix.Errno) *Hold {
		t.Helper()
		if errno := p.Take(h); errno != want {
			t.Fatalf("%v: %v, want %v", h.Local, errno, want)
		}
		return h
	}
	enter(0, 0, true)
	enter(0, 0, true)
	enter(1, tcp.ReuseAddr, true)
	reuse := func(port uint16) *Hold {
		h := atPort(port)
		h.ReuseAddr = true
		return h
	}
	take(atPort(4000), unix.EADDRINUSE)
	take(reuse(4000), unix.EADDRINUSE)
	if h := take(atPort(0), 0); h.Local.Port() != 4001 {
		t.Fatalf("%v is chosen beside connections", h.Local)
	}
	take(atPort(0), unix.EADDRINUSE)
	cores[0].Leave(at, tcp.Tenure{})
	take(reuse(4000), unix.EADDRINUSE)
	cores[0].Change(at, tcp.Tenure{}, tcp.Tenure{Sharing: tcp.ReuseAddr | tcp.ReusePort})
	bound := take(reuse(4000), 0)
	enter(0, 0, false)
	enter(1, tcp.ReuseAddr, false)
	enter(1, tcp.ReuseAddr|tcp.Bound, true)
	p.Drop(bound)
	enter(0, 0, false) // the last has been bound
	cores[1].Leave(at, tcp.Tenure{Sharing: tcp.ReuseAddr | tcp.Bound})
	enter(0, 0, true)
	cores[0].Leave(at, tcp.Tenure{})
	cores[0].Leave(at, tcp.Tenure{Sharing: tcp.ReuseAddr | tcp.ReusePort})
	cores[1].Leave(at, tcp.Tenure{Sharing: tcp.ReuseAddr})
	p.Drop(take(atPort(4000), 0))
	for i, r := range cores {
		if len(r.conns) != 0 {
			t.Errorf("core %d has %+v left", i, r.conns)
		}
	}
	ports := 0
	for _, b := range p.bindings.all() {
		if b.bound {
			ports++
		} else if *b != (binding{}) {
			t.Errorf("left of a binding: %+v", b)
		}
	}
	if ports != 1 || p.lent != (portSet{}) || len(p.held) != 1 {
		t.Errorf("left: %d ports are bound, held %v", ports, p.held)
	}
}

// To count a connection allocates nothing.
func TestRegisterDoesNotAllocate(t *testing.T) {
	r := newPorts(rand.New(rand.NewPCG(1, 2))).register()
	local, how := netip.MustParseAddrPort("192.0.2.1:80"), tcp.Tenure{Sharing: tcp.Bound}
	if n := testing.AllocsPerRun(1000, func() { r.Enter(local, how); r.Enter(local, how); r.Leave(local, how); r.Leave(local, how) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// To walk through ports allocates nothing.
func TestCandidatesDoNotAllocate(t *testing.T) {
	p, sum := newPorts(rand.New(rand.NewPCG(1, 2))), 0
	if n := testing.AllocsPerRun(10, func() {
		walk := p.Candidates(PortRange{})
		for port := range walk.Ports {
			sum += int(port)
		}
	}); n != 0 || sum == 0 {
		t.Errorf("%v allocations", n)
	}
}

// Every port of a range is tried once, but for the last of an odd number, which Linux leaves out too; one of a socket's own is
// walked through whole.
func TestCandidates(t *testing.T) {
	for _, c := range []struct{ first, last, want int }{{5000, 5000, 1}, {5000, 5001, 2}, {5000, 5002, 2}, {5001, 5100, 100}, {5000, 5100, 100}} {
		p := newPorts(rand.New(rand.NewPCG(1, 2)))
		p.setRange(c.first, c.last, 0, false)
		seen := map[uint16]bool{}
		walk := p.Candidates(PortRange{})
		for port := range walk.Ports {
			if int(port) < c.first || int(port) > c.last {
				t.Errorf("%d of %d to %d", port, c.first, c.last)
			}
			if len(seen) < c.want/2 && (int(port)-c.first)%2 != 0 {
				t.Errorf("%d of %d to %d comes among the first half", port, c.first, c.last)
			}
			seen[port] = true
		}
		if len(seen) != c.want {
			t.Errorf("%d of %d to %d", len(seen), c.first, c.last)
		}
		n := 0
		walk = p.Candidates(PortRange{uint16(c.first), uint16(c.last)})
		for range walk.Ports {
			n++
		}
		if n != c.last-c.first+1 {
			t.Errorf("%d of a socket's own range of %d to %d", n, c.first, c.last)
		}
	}
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
