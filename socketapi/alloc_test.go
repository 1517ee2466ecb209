package socketapi

import (
	"net/netip"
	"testing"
	"time"
)

// allocations counts what one call of f allocates in all goroutines, in the steady state.
// Those of others (a pool that a collection has emptied) may fall into a run, so the
// best of several counts.
func allocations(f func()) float64 {
	for range 200 {
		f()
	}
	best := testing.AllocsPerRun(500, f)
	for range 4 {
		best = min(best, testing.AllocsPerRun(500, f))
	}
	return best
}

// TestDatagramsAllocateNothing has a datagram go to another host and back.
func TestDatagramsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	a, b := twoHosts(t)
	server, err := b.ListenUDP(netip.MustParseAddrPort(addrB + ":7"))
	fatal(t, err)
	defer server.Close()
	go echoUDP(server)
	client, err := a.ListenUDP(netip.MustParseAddrPort(addrA + ":0"))
	fatal(t, err)
	defer client.Close()
	client.SetDeadline(time.Now().Add(longest))
	to, p := netip.MustParseAddrPort(addrB+":7"), make([]byte, 64)
	n := allocations(func() {
		if _, err := client.WriteToUDPAddrPort(p, to); err != nil {
			t.Fatal(err)
		}
		if _, from, err := client.ReadFromUDPAddrPort(p); err != nil || from != to {
			t.Fatal(from, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in a datagram's way there and back", n)
	}
}

// TestStreamsAllocateNothing has a request go to another host and the answer back.
func TestStreamsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	a, b := twoHosts(t)
	l, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		p := make([]byte, 4096)
		for {
			n, err := c.Read(p)
			if err != nil {
				return
			}
			c.Write(p[:n])
		}
	}()
	c, err := a.Dial("tcp", addrB+":7")
	fatal(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(longest))
	p := make([]byte, 700)
	n := allocations(func() {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(p); {
			n, err := c.Read(p[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in a request and its answer", n)
	}
}
