package xsk

import (
	"encoding/binary"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// Zero-copy needs drivers that have it, which veth has not: this test runs on two interfaces that
// are wired to each other and carry nothing else, named by XDPSOCK_ZEROCOPY=eth1,eth2.
func TestZeroCopy(t *testing.T) {
	names := strings.Split(os.Getenv("XDPSOCK_ZEROCOPY"), ",")
	if len(names) != 2 {
		t.Skip("needs two wired interfaces with zero-copy drivers in XDPSOCK_ZEROCOPY")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ends [2]end
	for i, name := range names {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(name, ": ", err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		ends[i] = end{name: name, index: l.Attrs().Index, xsks: redirect(t, l.Attrs().Index, max(l.Attrs().NumRxQueues, 1))}
	}
	for round := range 3 { // the second takes over a queue that a driver may still write for
		var p [2]*port
		for i := range ends {
			cfg := ends[i].config()
			cfg.Mode = ZeroCopy
			p[i] = ends[i].open(t, cfg)
			if !p[i].Info().ZeroCopy {
				t.Fatalf("forced and not had: %+v", p[i].Info())
			}
		}
		zeroCopyRound(t, p[0], p[1], 5000)
		zeroCopyRound(t, p[1], p[0], 5000)
		t.Logf("round %d: %+v, %v", round, p[0].Stats(), p[0].UMEM().Census())
		// One memory is kept and opened again: what was parked must come back.
		u := p[0].UMEM()
		if err := p[0].Close(); err != nil {
			t.Error(err)
		}
		if c := u.Census(); c.Parked == 0 {
			t.Error("a zero-copy queue closed without parking what the driver had: ", c)
		}
		cfg := ends[0].config()
		cfg.Mode = ZeroCopy
		s, err := Open(u, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if c := u.Census(); c.Parked != 0 || c.Free+c.Fill != c.Frames {
			t.Error("after another was opened on the queue: ", c)
		}
		(&port{t: t, Socket: s}).close()
		p[1].close()
	}
}

// zeroCopyRound sends total frames from a to b. Frames may be lost, since nothing holds a sender back on such a wire;
// none may come twice, out of order or damaged, and most must come.
func zeroCopyRound(t *testing.T, a, b *port, total int) {
	sent, got, last := 0, 0, -1
	check := func(d []byte) {
		if len(d) < 18 || d[12] != 0x88 || d[13] != 0xb5 {
			return // the kernel's own chatter
		}
		if n := int(binary.BigEndian.Uint32(d[14:])); len(d) != 100 || n <= last {
			t.Fatalf("number %d, %d bytes, after %d", n, len(d), last)
		} else {
			last = n
		}
		got++
	}
	eventually(t, "the last frame", func() bool {
		if sent < total && sent-last < 128 {
			sent += a.send(uint32(sent), min(16, total-sent), 100)
		} else {
			a.Complete()
			if a.Kick(); sent == total && last < total-1 && !a.Unsent() { // a lost end: ask for one more
				sent += a.send(uint32(sent), 1, 100)
			}
		}
		b.receive(check)
		return last >= total-1
	})
	if got < total/2 {
		t.Errorf("%d of %d arrived", got, total)
	}
	eventually(t, "completions", func() bool { a.Kick(); a.Complete(); return a.UMEM().Census().Tx == 0 })
}
