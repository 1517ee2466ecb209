package engine

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// neighbours is what a watcher has reported.
type neighbours struct {
	mu  sync.Mutex
	all []Neighbour
}

func (n *neighbours) report(news []Neighbour) {
	n.mu.Lock()
	n.all = append(n.all, news...)
	n.mu.Unlock()
}

// await wants a report since what was there before it was called.
func (n *neighbours) await(t *testing.T, what string, do func(), match func(Neighbour) bool) {
	t.Helper()
	n.mu.Lock()
	n.all = nil
	n.mu.Unlock()
	do()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		n.mu.Lock()
		for _, one := range n.all {
			if match(one) {
				n.mu.Unlock()
				return
			}
		}
		all := n.all
		n.mu.Unlock()
		if time.Now().After(end) {
			t.Fatalf("%s: heard %+v", what, all)
		}
	}
}

// TestWatchNeighbours: the kernel tells what it knows and finds out the rest, however it came to know.
func TestWatchNeighbours(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip(8) to change neighbours with")
	}
	ns, other := netlab.TestNS(t), netlab.TestNS(t)
	at := func(list ...string) (all []netip.Prefix) {
		for _, s := range list {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	v := netlab.TestVeth(t, netlab.End{NS: ns, Name: "va", Addrs: at("10.99.0.1/24", "fd99::1/64")}, netlab.End{NS: other, Name: "vb", Addrs: at("10.99.0.2/24", "fd99::2/64")})
	ip := func(args string) {
		t.Helper()
		if out, err := ns.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	if err := ns.Do(func() error { // a quick end of what is in vain
		for _, family := range []string{"ipv4", "ipv6"} {
			if err := os.WriteFile("/proc/sys/net/"+family+"/neigh/va/retrans_time_ms", []byte("100"), 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var n neighbours
	var w *NeighbourWatcher
	if err := ns.Do(func() (err error) {
		w, err = WatchNeighbours(v.A.Index, n.report)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	mac := [6]byte(v.B.MAC)
	for _, addr := range []string{"10.99.0.2", "fd99::2", "10.99.0.3", "fd99::3"} {
		a := netip.MustParseAddr(addr)
		ask := func() { w.Ask(a) }
		if strings.HasSuffix(addr, "3") { // nobody
			n.await(t, addr, ask, func(n Neighbour) bool { return n == Neighbour{Addr: a, Lost: true} })
			continue
		}
		there := func(n Neighbour) bool { return n == Neighbour{Addr: a, MAC: mac, Confirmed: true} }
		set := func(args string) func() { return func() { ip("neigh replace " + addr + " dev va " + args) } }
		n.await(t, addr+" unknown", ask, there)
		n.await(t, addr+" known", ask, there)
		n.await(t, addr+" grown stale", set("lladdr "+v.B.MAC.String()+" nud stale"), func(n Neighbour) bool { return n == Neighbour{Addr: a, MAC: mac} })
		n.await(t, addr+" that was stale", ask, there)
		n.await(t, addr+" moved", set("lladdr 02:00:00:00:00:09 nud reachable"), func(n Neighbour) bool {
			return n == Neighbour{Addr: a, MAC: [6]byte{2, 5: 9}, Confirmed: true}
		})
		n.await(t, addr+" deleted", func() { ip("neigh del " + addr + " dev va") }, func(n Neighbour) bool { return n.Addr == a && n.Lost })
		n.await(t, addr+" deleted and asked for", ask, there)
		set("lladdr 02:00:00:00:00:08 nud permanent")()
		n.await(t, addr+" permanent", ask, func(n Neighbour) bool { return n == Neighbour{Addr: a, MAC: [6]byte{2, 5: 8}, Confirmed: true} })
		if out, err := ns.Command("ip", "neigh", "show", "to", addr, "nud", "permanent").CombinedOutput(); err != nil || !strings.Contains(string(out), addr) {
			t.Errorf("%s is permanent no more: %s, %v", addr, out, err)
		}
	}

	// What was lost is asked for.
	stuck, let, once := make(chan struct{}), make(chan struct{}), sync.Once{}
	var late neighbours
	var slow *NeighbourWatcher
	if err := ns.Do(func() (err error) {
		slow, err = WatchNeighbours(v.A.Index, func(news []Neighbour) {
			once.Do(func() { close(stuck); <-let })
			late.report(news)
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := unix.SetsockoptInt(slow.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 2048); err != nil {
		t.Fatal(err)
	}
	ip("neigh replace 10.99.0.9 dev va lladdr 02:00:00:00:01:00 nud reachable")
	<-stuck
	for i := range 40 {
		ip("neigh replace 10.99.0." + []string{"10", "11"}[i%2] + " dev va lladdr 02:00:00:00:02:" + string("0123456789"[i%10]) + "0 nud reachable")
	}
	last := netip.MustParseAddr("10.99.0.12")
	ip("neigh replace 10.99.0.12 dev va lladdr 02:00:00:00:00:0c nud reachable")
	late.await(t, "the last of many", func() { close(let) }, func(n Neighbour) bool { return n.Addr == last && n.MAC == [6]byte{2, 5: 12} })
}

// In a flood all is reported, but not asked for: the kernel, which may be answering that already, would refuse (EBUSY).
func TestNeighboursInAFlood(t *testing.T) {
	told := 0
	w := &NeighbourWatcher{follower: follower{fd: -1}, report: func(news []Neighbour) { told += len(news) }}
	w.heard(nil)
	w.news = make([]Neighbour, neighboursTogether)
	w.heard([]byte{})
	if told != neighboursTogether || len(w.news) != 0 {
		t.Errorf("%d are reported, %d kept", told, len(w.news))
	}
	if !w.all {
		t.Error("that something was lost is forgotten")
	}
}
