package ip

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// whatever a cursor cuts, a reassembly puts together.
func TestCursorAndReassembly(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		for _, mtu := range []int{68, 576, 1280, 1500, 9000, 65535} {
			for _, n := range []int{9, 100, 1473, 4000, []int{65515, 65535}[v]} {
				if n/(mtu-56) > fragmentsMax-1 || v == 1 && mtu < 1280 {
					continue
				}
				g := newRig(t, Config{})
				data := noise(n)
				var c Cursor
				b := c.Room()
				var head int
				if v == 0 {
					head = wire.PutIPv4(b, &wire.IPv4Fields{TTL: 9, TOS: 8, DF: true, Protocol: wire.ProtoUDP, Src: src[0], Dst: dst[0], PayloadLen: n})
				} else {
					head = wire.PutIPv6(b, &wire.IPv6Fields{HopLimit: 9, TrafficClass: 8, FlowLabel: 77, NextHeader: wire.ProtoUDP, Src: src[1], Dst: dst[1], PayloadLen: n})
				}
				copy(b[head:], data)
				packet := bytes.Clone(b[:head+n])
				if !c.Begin(head+n, mtu, 0x12345) || !c.Active() {
					t.Fatal("it cannot be cut")
				}
				out := make([]byte, mtu)
				var whole []byte
				for i := 0; c.Active(); i++ {
					n := c.Put(out)
					if n > mtu || c.Active() && n < mtu-7-8 {
						t.Fatalf("MTU %d: a fragment of %d bytes", mtu, n)
					}
					if len(packet) <= mtu && v == 0 {
						whole = out[:n]
						break // one piece: the caller has no need to cut it
					}
					if v == 1 && !wire.WalkExtensions(wire.IPv6(out[:n])).Fragment {
						whole = nil
						break
					}
					f := fragment(t, out[:n])
					if f.ID != 0x12345 && f.ID != 0x2345 || v == 0 && (wire.IPv4(out).DF() || !wire.IPv4(out).ChecksumOK()) {
						t.Fatalf("MTU %d, fragment %d: %x", mtu, i, out[:40])
					}
					var reason drop.Reason
					if whole, reason = g.in(out[:n]); reason != drop.None || (whole != nil) != !c.Active() {
						t.Fatalf("MTU %d, fragment %d: %v", mtu, i, reason)
					}
				}
				if whole == nil && len(packet) > mtu {
					t.Fatalf("MTU %d, %d bytes: it did not become whole", mtu, n)
				}
				if whole == nil {
					continue
				}
				if v == 0 {
					wire.IPv4(packet).SetID(wire.IPv4(whole).ID())
					wire.IPv4(packet).SetFragment(0, false, false)
					wire.IPv4(packet).Seal()
				}
				if !bytes.Equal(whole, packet) {
					t.Fatalf("MTU %d, %d bytes: another packet", mtu, n)
				}
			}
		}
	})
}

func TestCursorCannotCutToNothing(t *testing.T) {
	var c Cursor
	n := wire.PutIPv4(c.Room(), &wire.IPv4Fields{Protocol: wire.ProtoUDP, Src: src[0], Dst: dst[0], PayloadLen: 100})
	if c.Begin(n+100, 27, 1) || c.Active() {
		t.Error("pieces of 7 bytes")
	}
	if !c.Begin(n+100, 28, 1) {
		t.Error("no pieces of 8 bytes")
	}
}

func TestPathMTUs(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		m := NewPathMTUs(key)
		now := mono.Time(time.Hour)
		if _, ok := m.Lookup(dst[v], now); ok {
			t.Error("something is known of every path")
		}
		for _, row := range []struct {
			mtu, length, current int
			want                 int // 0: not believed
			small                bool
		}{
			{1400, 1500, 1500, 1400, false},
			{1500, 1500, 1500, 0, false}, // says nothing
			{9000, 1500, 1500, 0, false}, // a report raises nothing
			{1280, 1500, 1400, 1280, false},
		} {
			p, ok := m.Report(dst[v], row.mtu, row.length, row.current, now)
			if ok != (row.want != 0) || p.MTU != row.want || p.Small != row.small {
				t.Errorf("%+v: %+v, %v", row, p, ok)
			}
		}
		if p, ok := m.Lookup(dst[v], now.Add(mtuAge-1)); !ok || p.MTU != 1280 || p.Until != now.Add(mtuAge) {
			t.Errorf("%+v, %v", p, ok)
		}
		if _, ok := m.Lookup(dst[v], now.Add(mtuAge)); ok {
			t.Error("older than its age")
		}
		if _, ok := m.Lookup(src[v], now); ok {
			t.Error("another destination")
		}
	})
}

// RFC 1191 §3 and Linux's min_pmtu; RFC 8201 §4.
func TestSmallestPathMTUs(t *testing.T) {
	m := NewPathMTUs(key)
	for _, mtu := range []int{1, 68, 551} {
		if p, ok := m.Report(dst[0], mtu, 1500, 1500, 1); !ok || p.MTU != 552 || !p.Small {
			t.Errorf("IPv4, %d: %+v, %v", mtu, p, ok)
		}
	}
	if p, ok := m.Report(dst[0], 552, 1500, 1500, 1); !ok || p.MTU != 552 || p.Small {
		t.Errorf("IPv4, 552: %+v, %v", p, ok)
	}
	for _, mtu := range []int{0, 68, 1279} {
		if p, ok := m.Report(dst[1], mtu, 1500, 1500, 1); ok {
			t.Errorf("IPv6, %d: %+v", mtu, p)
		}
	}
	// RFC 1191 §7: a router that says nothing.
	for length, want := range map[int]int{1500: 1492, 1492: 1006, 9000: 8166, 600: 552, 65535: 32000} {
		if p, ok := m.Report(dst[0], 0, length, 65535, 1); !ok || p.MTU != want || p.Small {
			t.Errorf("no MTU, %d bytes: %+v, %v", length, p, ok)
		}
	}
	if p, ok := m.Report(dst[0], 0, 500, 1500, 1); !ok || p.MTU != 552 || !p.Small {
		t.Errorf("no MTU, 500 bytes: %+v, %v", p, ok)
	}
}

func TestPathMTUsAreBoundedAndKeepTheNewest(t *testing.T) {
	m := NewPathMTUs(key)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	const n = 10 * mtuSets * mtuWays
	for i := range n {
		m.Report(addr(i), 1400, 1500, 1500, mono.Time(i))
	}
	kept := 0
	for i := range n {
		if _, ok := m.Lookup(addr(i), n); ok {
			kept++
		}
	}
	if _, ok := m.Lookup(addr(n-1), n); !ok || kept != mtuSets*mtuWays {
		t.Errorf("%d are known, the newest %v", kept, ok)
	}
}

func TestLimitOfOneDestination(t *testing.T) {
	l := NewLimit(key, DefaultLimit, 0)
	sent := 0
	for range 100 {
		if l.Take(dst[0], 1) == drop.None {
			sent++
		}
	}
	if sent != limitPeerBurst {
		t.Errorf("%d at once", sent)
	}
	sent = 0
	now := mono.Time(1)
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		if l.Take(dst[0], now) == drop.None {
			sent++
		}
	}
	if sent < 9 || sent > 11 {
		t.Errorf("%d in ten seconds", sent)
	}
	if l.Take(dst[1], now) != drop.None {
		t.Error("another destination has to wait as well")
	}
}

// CVE-2020-25705: the limit for all is used up by one in the mean, but not by one each.
func TestLimitOfAll(t *testing.T) {
	var bursts []int
	now := mono.Time(0)
	l := NewLimit(key, DefaultLimit, 0)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	peer := 0
	for range 200 {
		now = now.Add(time.Second)
		sent := 0
		for range 200 {
			peer++
			if l.Take(addr(peer), now) == drop.None {
				sent++
			}
		}
		bursts = append(bursts, sent)
	}
	sum, least, most := 0, bursts[0], bursts[0]
	for _, n := range bursts {
		sum, least, most = sum+n, min(least, n), max(most, n)
	}
	if mean := sum / len(bursts); mean < 45 || mean > 60 || least == most {
		t.Errorf("bursts of %d to %d, %d in the mean", least, most, mean)
	}
}

// What a host may say neither grows nor shrinks with its cores, each of which asks its own limit and then the host's:
// not to one destination, whose packets come by one core or by all, and not to many.
func TestLimitIsTheHosts(t *testing.T) {
	for _, cores := range []int{1, 2, 4, 8} {
		host := NewLimit(key, DefaultLimit, 0)
		var own []*Limit
		for range cores {
			own = append(own, NewLimit(key, DefaultLimit, 0))
		}
		take := func(core int, dst netip.Addr, now mono.Time) int {
			now -= mono.Time(core) // their clocks
			if own[core].Take(dst, now) == drop.None && host.Take(dst, now) == drop.None {
				return 1
			}
			return 0
		}
		now, one, another, all := mono.Time(time.Second), 0, 0, 0
		for i := range 10_000 { // ten seconds
			now = now.Add(time.Millisecond)
			if i%4 == 0 {
				another += take(cores-1, dst[1], now)
			}
			for core := range cores {
				if i%4 == 0 {
					one += take(core, dst[0], now)
				}
			}
		}
		for i := range 10_000 { // ten more, of a flood from everywhere
			now = now.Add(time.Millisecond)
			for core := range cores {
				all += take(core, netip.AddrFrom4([4]byte{10, byte(core), byte(i >> 8), byte(i)}), now)
			}
		}
		for _, n := range []int{one, another} {
			if n < 12 || n > 10+limitPeerBurst {
				t.Errorf("%d cores: %d errors to one destination in ten seconds", cores, n)
			}
		}
		if most := DefaultLimit.PerSecond; all > 10*most*105/100+DefaultLimit.Burst || all < 10*most*9/10 {
			t.Errorf("%d cores: %d errors in ten seconds", cores, all)
		}
	}
}

func TestLimitIsTurned(t *testing.T) {
	l := NewLimit(key, DefaultLimit, 0)
	l.SetParams(LimitParams{PerSecond: 1000, Burst: 1000, Interval6: time.Second})
	l.Take(dst[0], 0)
	four, six, now := 0, 0, mono.Time(10*time.Second)
	for range 100 {
		if l.Take(netip.AddrFrom4([4]byte{10, 1, 1, 1}), now) == drop.None {
			four++
		}
		if l.Take(netip.IPv6LinkLocalAllNodes(), now) == drop.None {
			six++
		}
	}
	if four != 100 || six != limitPeerBurst {
		t.Errorf("%d without a limit, %d with one", four, six)
	}
}

// A host that had nothing to say for a year may say something.
func TestLimitAfterALongTime(t *testing.T) {
	l := NewLimit(key, DefaultLimit, 0)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	n := 0
	for ; l.Take(addr(n), 1) == drop.None; n++ {
	}
	for _, days := range []int{107, 150, 365, 4000} {
		if r := l.Take(addr(n), mono.Time(0).Add(time.Duration(days)*24*time.Hour)); r != drop.None {
			t.Errorf("after %d days: %v", days, r)
		}
	}
}

func TestIdentsDoNotRepeatAndCannotBeForeseen(t *testing.T) {
	ids := NewIdents(key, 0, 1)
	seen := map[uint16]bool{}
	now := mono.Time(1)
	for i := range 60000 {
		id := ids.Next4(src[0], dst[0], wire.ProtoUDP, now)
		if seen[id] {
			t.Fatalf("%d came again after %d", id, i)
		}
		seen[id] = true
	}
	jumps := map[uint16]int{}
	last := ids.Next4(src[0], dst[0], wire.ProtoUDP, now)
	for range 1000 {
		now = now.Add(time.Second)
		id := ids.Next4(src[0], dst[0], wire.ProtoUDP, now)
		jumps[id-last]++
		last = id
	}
	if len(jumps) < 80 {
		t.Errorf("%d different steps in a second's pause", len(jumps))
	}
	a, b := NewIdents(key, 0, 2), NewIdents(key, 1, 2)
	for range 1000 {
		if x, y := a.Next4(src[0], dst[0], wire.ProtoUDP, 1), b.Next4(src[0], dst[0], wire.ProtoUDP, 1); x%2 != 0 || y%2 != 1 {
			t.Fatalf("cores choose %d and %d", x, y)
		}
	}
	six := map[uint32]bool{}
	for range 1000 {
		six[ids.Next6()] = true
	}
	if len(six) != 1000 {
		t.Errorf("%d different of 1000", len(six))
	}
}
