package path_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/path"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// TestKernelToKernel: a stream crosses a path that loses, delays and reorders, whole; the path has done so, and the
// round trip is not shorter than it should be.
func TestKernelToKernel(t *testing.T) {
	var taps [2]*netlab.Tap
	var ns [2]*netlab.NS
	for i, addr := range []string{"10.77.1.1/24", "10.77.1.2/24"} {
		ns[i] = netlab.TestNS(t, netlab.NoIPv6())
		var err error
		taps[i], err = netlab.NewTap(netlab.End{NS: ns[i], Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}, Off: netlab.OnWire})
		if err != nil {
			t.Fatal(err)
		}
		defer taps[i].Close()
	}
	r, err := path.New(taps[0], taps[1])
	if err != nil {
		t.Fatal(err)
	}
	l, err := ns[1].Listen("tcp", "10.77.1.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	bad := simnet.Impairment{Rate: 50_000_000, Delay: 5 * time.Millisecond, Loss: 0.02, Reorder: 0.02, ReorderDelay: 3 * time.Millisecond, QueuePackets: 100}
	if err := r.Impair(simnet.Config{Seed: 1, AtoB: bad, BtoA: bad}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	go func() {
		c, err := ns[0].Dial("tcp", "10.77.1.2:80")
		if err != nil {
			t.Error(err)
			l.Close()
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetDeadline(time.Now().Add(time.Minute))
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d arrived as they were, %v", len(got), len(sent), err)
	}
	if d := time.Since(begun); d < 3*bad.Delay {
		t.Errorf("it took %v, and the way alone %v", d, bad.Delay)
	}
	a, b := r.Stats()
	if a.Sent < 200 || a.Lost == 0 || a.Reordered == 0 || b.Delivered == 0 {
		t.Errorf("the path has done nothing: %+v, %+v", a, b)
	}
	t.Logf("%v; late by %v at most; %+v", time.Since(begun), r.Late(), a)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
