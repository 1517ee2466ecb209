package ip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var (
	key = siphash.New([16]byte{1, 2, 3})
	src = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}
	dst = [2]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}
)

// rig is a reassembly with a clock.
type rig struct {
	t     testing.TB
	r     *Reassembly
	wheel *timer.Wheel
	count drop.Counters
	now   mono.Time
	lost  [][]byte // what TimedOut was told
}

func newRig(t testing.TB, cfg Config) *rig {
	g := &rig{t: t, wheel: timer.New(0)}
	cfg.Wheel, cfg.Count, cfg.Key = g.wheel, &g.count, key
	cfg.TimedOut = func(first []byte, _ int, _ bool, _ mono.Time) { g.lost = append(g.lost, bytes.Clone(first)) }
	g.r = New(cfg)
	return g
}

func (g *rig) pass(d time.Duration) {
	g.now = g.now.Add(d)
	g.wheel.Advance(g.now)
}

func (g *rig) in(b []byte) ([]byte, drop.Reason) {
	f := fragment(g.t, b)
	return g.r.Input(&f, g.now)
}

// want gives the reassembly a packet that completes nothing.
func (g *rig) want(what string, b []byte, reason drop.Reason) {
	g.t.Helper()
	if whole, got := g.in(b); got != reason || whole != nil {
		g.t.Errorf("%s: %v, %d bytes, want %v", what, got, len(whole), reason)
	}
}

// whole gives it one that completes a packet with these data.
func (g *rig) whole(b, data []byte) []byte {
	g.t.Helper()
	whole, reason := g.in(b)
	if whole == nil {
		g.t.Fatalf("not whole: %v", reason)
	}
	got := dataOf(g.t, whole)
	if !bytes.Equal(got, data) {
		g.t.Fatalf("%d bytes of data, want %d, or others", len(got), len(data))
	}
	return whole
}

func fragment(t testing.TB, b []byte) Fragment {
	if h, ok := wire.ParseIPv4(b); ok {
		return Fragment4(h)
	}
	h, ok := wire.ParseIPv6(b)
	if !ok {
		t.Fatalf("no packet: %x", b)
	}
	e := wire.WalkExtensions(h)
	if !e.Fragment {
		t.Fatalf("no fragment: %x", b)
	}
	return Fragment6(h, &e)
}

// dataOf checks the headers of a whole packet and returns what it carries.
func dataOf(t testing.TB, b []byte) []byte {
	t.Helper()
	if h, ok := wire.ParseIPv4(b); ok {
		if !h.ChecksumOK() || h.IsFragment() || h.TotalLen() != len(b) || h.Protocol() != wire.ProtoUDP {
			t.Fatalf("not a whole packet: %x", b[:20])
		}
		return h.Payload()
	}
	h, ok := wire.ParseIPv6(b)
	e := wire.WalkExtensions(h)
	if !ok || e.Fault != wire.ExtOK || e.Fragment || e.Protocol != wire.ProtoUDP || len(h) != len(b) {
		t.Fatalf("not a whole packet: %+v", e)
	}
	return h[e.Offset:]
}

// piece is a fragment of family v, 0 or 1, with an identification.
func piece(v int, id uint32, offset int, more bool, data []byte) []byte {
	if v == 0 {
		b := make([]byte, wire.IPv4Len+len(data))
		wire.PutIPv4(b, &wire.IPv4Fields{ID: uint16(id), MF: more, FragmentOffset: offset, TTL: 64, Protocol: wire.ProtoUDP, Src: src[0], Dst: dst[0], PayloadLen: len(data)})
		copy(b[wire.IPv4Len:], data)
		return b
	}
	b := make([]byte, wire.IPv6Len+wire.FragmentLen+len(data))
	n := wire.PutIPv6(b, &wire.IPv6Fields{HopLimit: 64, NextHeader: wire.ProtoFragment, Src: src[1], Dst: dst[1], PayloadLen: wire.FragmentLen + len(data)})
	n += wire.PutFragment(b[n:], wire.ProtoUDP, offset, more, id)
	copy(b[n:], data)
	return b
}

// random bytes that are a function of their number.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewPCG(uint64(n), 7)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// cut is data in fragments of at most size bytes each.
func cut(v int, id uint32, data []byte, size int) (all [][]byte) {
	for at := 0; at < len(data); at += size {
		end := min(at+size, len(data))
		all = append(all, piece(v, id, at, end < len(data), data[at:end]))
	}
	return all
}

func both(t *testing.T, f func(t *testing.T, v int)) {
	for v, name := range []string{"IPv4", "IPv6"} {
		t.Run(name, func(t *testing.T) { f(t, v) })
	}
}

// RFC 791 §3.2, RFC 815: pieces in any order, of any size.
func TestAnyOrder(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		g := newRig(t, Config{})
		random := rand.New(rand.NewPCG(1, 2))
		for i, size := range []int{8, 16, 552, 1480, 9000, 32768} {
			data := noise(min(size*100, 65000) + i)
			for _, order := range []string{"forward", "backward", "shuffled"} {
				all := cut(v, uint32(i), data, size)
				switch order {
				case "backward":
					for a, b := 0, len(all)-1; a < b; a, b = a+1, b-1 {
						all[a], all[b] = all[b], all[a]
					}
				case "shuffled":
					random.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
				}
				for _, p := range all[:len(all)-1] {
					g.want(order, p, drop.None)
				}
				g.whole(all[len(all)-1], data)
				if g.r.Len() != 0 || g.r.Used() != 0 {
					t.Fatalf("%d datagrams, %d bytes are left", g.r.Len(), g.r.Used())
				}
			}
		}
	})
}

// RFC 8200 §4.5: exact duplicates are those of the network.
func TestExactDuplicatesAreDropped(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		g := newRig(t, Config{})
		data := noise(6000)
		all := cut(v, 1, data, 2400) // longer than a block
		g.want("last", all[2], drop.None)
		g.want("last again", all[2], drop.FragmentDuplicate)
		g.want("first", all[0], drop.None)
		g.want("first again", all[0], drop.FragmentDuplicate)
		g.want("last, late", all[2], drop.FragmentDuplicate)
		g.whole(all[1], data)
	})
}

// RFC 5722 §4: an overlap discards the datagram, and what still comes of it.
func TestOverlapsDiscardTheDatagram(t *testing.T) {
	a, b := noise(64), bytes.Repeat([]byte{9}, 64)
	for name, f := range map[string]func(v int) [2][]byte{
		"teardrop: inside another":      func(v int) [2][]byte { return [2][]byte{piece(v, 1, 0, true, a[:40]), piece(v, 1, 24, false, b[:4])} },
		"the same place, other bytes":   func(v int) [2][]byte { return [2][]byte{piece(v, 1, 8, true, a[:16]), piece(v, 1, 8, true, b[:16])} },
		"the same bytes, longer":        func(v int) [2][]byte { return [2][]byte{piece(v, 1, 8, true, a[:16]), piece(v, 1, 8, true, a[:24])} },
		"from before into it":           func(v int) [2][]byte { return [2][]byte{piece(v, 1, 24, true, a[:16]), piece(v, 1, 8, true, b[:24])} },
		"around it":                     func(v int) [2][]byte { return [2][]byte{piece(v, 1, 24, true, a[:8]), piece(v, 1, 8, true, b[:64])} },
		"over its tail":                 func(v int) [2][]byte { return [2][]byte{piece(v, 1, 0, true, a[:32]), piece(v, 1, 24, true, b[:16])} },
		"two ends":                      func(v int) [2][]byte { return [2][]byte{piece(v, 1, 64, false, a[:8]), piece(v, 1, 80, false, b[:8])} },
		"an end before what has come":   func(v int) [2][]byte { return [2][]byte{piece(v, 1, 64, true, a[:8]), piece(v, 1, 32, false, b[:8])} },
		"beyond the end":                func(v int) [2][]byte { return [2][]byte{piece(v, 1, 64, false, a[:8]), piece(v, 1, 72, true, b[:8])} },
		"the end, but more to come":     func(v int) [2][]byte { return [2][]byte{piece(v, 1, 64, false, a[:8]), piece(v, 1, 64, true, a[:8])} },
		"up to the end, more to come":   func(v int) [2][]byte { return [2][]byte{piece(v, 1, 64, false, a[:8]), piece(v, 1, 56, true, a[:16])} },
		"a first fragment that is wide": func(v int) [2][]byte { return [2][]byte{piece(v, 1, 8, true, a[:8]), piece(v, 1, 0, true, b[:64])} },
	} {
		for v := range 2 {
			t.Run(fmt.Sprint(name, v), func(t *testing.T) {
				g := newRig(t, Config{})
				p := f(v)
				g.want("first", p[0], drop.None)
				g.want("second", p[1], drop.FragmentOverlap)
				if g.r.Used() != 0 {
					t.Errorf("%d bytes are held of a datagram that was given up", g.r.Used())
				}
				g.want("another of it", piece(v, 1, 400, true, a[:8]), drop.FragmentOverlap)
				g.want("one of another", piece(v, 2, 400, true, a[:8]), drop.None)
				g.pass(61 * time.Second)
				if g.r.Len() != 0 || len(g.lost) != 0 {
					t.Errorf("%d datagrams, %d told of", g.r.Len(), len(g.lost))
				}
				g.want("the name is free again", p[0], drop.None)
			})
		}
	}
}

func TestBadFragments(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		g := newRig(t, Config{})
		a := noise(2000)
		g.want("empty", piece(v, 1, 8, true, nil), drop.FragmentBad)
		g.want("empty last", piece(v, 1, 8, false, nil), drop.FragmentBad)
		g.want("no multiple of 8", piece(v, 1, 8, true, a[:12]), drop.FragmentBad)
		g.want("ping of death", piece(v, 1, 65528, false, a[:1400]), drop.FragmentTooLong)
		over := []int{65535 - wire.IPv4Len - 65504 + 1, 65535 - 65504 + 1}[v]
		g.want("a byte too long", piece(v, 1, 65504, false, a[:over]), drop.FragmentTooLong)
		if g.r.Len() != 0 {
			t.Errorf("%d datagrams are known of bad fragments", g.r.Len())
		}
		g.want("as long as can be", piece(v, 1, 65504, false, a[:over-1]), drop.None)
	})
}

// RFC 1858, RFC 3128: a first fragment holds the ports and flags.
func TestTinyFirstFragments(t *testing.T) {
	g := newRig(t, Config{})
	tcp := func(offset, n int) []byte {
		b := piece(0, 1, offset, true, noise(n))
		b[9] = uint8(wire.ProtoTCP)
		return b
	}
	g.want("TCP, 8 bytes", tcp(0, 8), drop.FragmentHeaders)
	g.want("TCP, 16 bytes", tcp(0, 16), drop.FragmentHeaders)
	g.want("TCP, its flags in the second", tcp(8, 16), drop.FragmentHeaders)
	g.want("TCP, whole header", tcp(0, 24), drop.None)
	g.want("UDP, 8 bytes", piece(0, 1, 0, true, noise(8)), drop.None)
	tiny := piece(0, 2, 0, true, noise(8))
	tiny[9] = 200
	g.want("another protocol, 8 bytes", tiny, drop.None)
}

// The longest datagram of each family, and no byte more.
func TestLongestDatagram(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		g := newRig(t, Config{})
		data := noise([]int{65515, 65535}[v])
		all := cut(v, 1, data, 1440)
		for _, p := range all[1:] {
			g.want("piece", p, drop.None)
		}
		whole := g.whole(all[0], data)
		frame := g.r.Frame(whole, headroom)
		if len(frame) != headroom+len(whole) || !bytes.Equal(frame[headroom:], whole) {
			t.Error("no room for a link header")
		}
	})
	// The first header may be longer than the others.
	g := newRig(t, Config{})
	head := make([]byte, wire.IPv4MaxLen+64)
	wire.PutIPv4(head, &wire.IPv4Fields{ID: 1, MF: true, TTL: 64, Protocol: wire.ProtoUDP, Src: src[0], Dst: dst[0], Options: make([]byte, 40), PayloadLen: 64})
	for _, p := range cut(0, 1, noise(65515), 1440)[1:] {
		g.want("piece", p, drop.None)
	}
	for at := 64; at < 1440; at += 688 {
		g.want("piece", piece(0, 1, at, true, noise(688)), drop.None)
	}
	g.want("a long header makes it too long", head, drop.FragmentTooLong)
}

func TestTimeouts(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		timeout := []time.Duration{timeout4, timeout6}[v]
		g := newRig(t, Config{})
		first := piece(v, 1, 0, true, noise(1400))
		g.want("first", first, drop.None)
		g.want("another, without its first", piece(v, 2, 8, true, noise(8)), drop.None)
		g.pass(timeout - time.Second)
		g.want("more, late", piece(v, 1, 1400, true, noise(8)), drop.None)
		if g.r.Len() != 2 {
			t.Fatalf("%d datagrams before the time", g.r.Len())
		}
		g.pass(time.Second + 10*time.Millisecond)
		if g.r.Len() != 0 || g.r.Used() != 0 || g.count[drop.FragmentTimeout] != 2 {
			t.Errorf("%d datagrams, %d bytes, counted %d", g.r.Len(), g.r.Used(), g.count[drop.FragmentTimeout])
		}
		// RFC 1122 §3.3.2, RFC 8200 §4.5: told of if the first fragment has come.
		if len(g.lost) != 1 || !bytes.Equal(g.lost[0], first[:min(len(first), quoteMax)]) {
			t.Errorf("%d told of", len(g.lost))
		}
		if g.wheel.Deadline() != mono.Never {
			t.Error("a timer is left")
		}
	})
}

func TestMemoryIsBoundedAndTheOldestGoesFirst(t *testing.T) {
	const memory = 16 * blockSize
	g := newRig(t, Config{Memory: memory})
	for i := range 100 {
		g.want("piece", piece(i%2, uint32(i), 8, true, noise(1000)), drop.None)
		if g.r.Used() > memory {
			t.Fatalf("%d bytes", g.r.Used())
		}
	}
	if n := g.count[drop.FragmentMemory]; n != 84 || g.r.Len() != 16 {
		t.Errorf("%d were given up, %d are known", n, g.r.Len())
	}
	g.want("the newest is there", piece(1, 99, 8, true, noise(1000)), drop.FragmentDuplicate)
	g.want("the oldest that was kept is there", piece(0, 84, 8, true, noise(1000)), drop.FragmentDuplicate)
	// One that is larger than all memory is given up itself.
	g = newRig(t, Config{Memory: memory})
	var reason drop.Reason
	for _, p := range cut(0, 1, noise(60000), 8000) {
		if _, reason = g.in(p); reason != drop.None {
			break
		}
	}
	if reason != drop.FragmentMemory || g.r.Used() != 0 {
		t.Errorf("%v, %d bytes", reason, g.r.Used())
	}
}

func TestDatagramsAreBounded(t *testing.T) {
	g := newRig(t, Config{Datagrams: 10})
	for i := range 30 {
		g.want("piece", piece(0, uint32(i), 8, true, noise(8)), drop.None)
	}
	if g.r.Len() != 10 || g.count[drop.FragmentTableFull] != 20 {
		t.Errorf("%d known, %d given up", g.r.Len(), g.count[drop.FragmentTableFull])
	}
}

func TestFragmentsOfADatagramAreBounded(t *testing.T) {
	g := newRig(t, Config{})
	for i := range fragmentsMax {
		g.want("piece", piece(0, 1, 8+16*i, true, noise(8)), drop.None)
	}
	g.want("one more", piece(0, 1, 60000, true, noise(8)), drop.FragmentTooMany)
	if g.r.Used() != 0 {
		t.Errorf("%d bytes are held", g.r.Used())
	}
}

// RFC 3168 §5.3.
func TestECNOfTheWhole(t *testing.T) {
	both(t, func(t *testing.T, v int) {
		set := func(b []byte, e wire.ECN) []byte {
			if v == 0 {
				wire.IPv4(b).SetECN(e)
			} else {
				wire.IPv6(b).SetECN(e)
			}
			return b
		}
		for _, row := range []struct {
			a, b wire.ECN
			want wire.ECN
			drop drop.Reason
		}{
			{wire.NotECT, wire.NotECT, wire.NotECT, 0}, {wire.ECT0, wire.ECT0, wire.ECT0, 0}, {wire.ECT0, wire.CE, wire.CE, 0},
			{wire.CE, wire.ECT1, wire.CE, 0}, {wire.ECT1, wire.ECT0, wire.ECT1, 0},
			{wire.NotECT, wire.CE, 0, drop.FragmentECN}, {wire.ECT0, wire.NotECT, 0, drop.FragmentECN},
		} {
			g := newRig(t, Config{})
			data := noise(16)
			g.want("first", set(piece(v, 1, 0, true, data[:8]), row.a), drop.None)
			whole, reason := g.in(set(piece(v, 1, 8, false, data[8:]), row.b))
			if reason != row.drop {
				t.Errorf("%+v: %v", row, reason)
			}
			if reason == drop.None {
				dataOf(t, whole)
				got := wire.IPv6(whole).ECN()
				if v == 0 {
					got = wire.IPv4(whole).ECN()
				}
				if got != row.want {
					t.Errorf("%+v: %v", row, got)
				}
			}
		}
	})
}

// The extension headers before the fragment header are kept, and the next header is that of
// the first fragment (RFC 8200 §4.5).
func TestUnfragmentablePart(t *testing.T) {
	g := newRig(t, Config{})
	data := noise(48)
	build := func(offset int, more bool, proto wire.Protocol, data []byte) []byte {
		b := make([]byte, wire.IPv6Len+8+wire.FragmentLen+len(data))
		n := wire.PutIPv6(b, &wire.IPv6Fields{HopLimit: 64, NextHeader: wire.ProtoHopByHop, Src: src[1], Dst: dst[1], PayloadLen: len(b) - wire.IPv6Len})
		n += wire.PutRouterAlert6(b[n:], wire.ProtoFragment)
		n += wire.PutFragment(b[n:], proto, offset, more, 5)
		copy(b[n:], data)
		return b
	}
	g.want("last", build(24, false, 99, data[24:]), drop.None)
	whole := g.whole(build(0, true, wire.ProtoUDP, data[:24]), data)
	if h := wire.IPv6(whole); h.NextHeader() != wire.ProtoHopByHop || h.PayloadLen() != 8+48 {
		t.Errorf("next header %v, payload %d", h.NextHeader(), h.PayloadLen())
	}
}

func TestKeysAreWhatTheRFCsSay(t *testing.T) {
	f4, g4 := fragment(t, piece(0, 1, 8, true, noise(8))), fragment(t, piece(0, 1, 8, true, noise(8)))
	other := piece(0, 1, 8, true, noise(8))
	other[9] = 6
	if f4.Key != g4.Key || f4.Key == fragment(t, other).Key {
		t.Error("IPv4 has the protocol in the name")
	}
	one, two := piece(1, 1, 8, true, noise(8)), piece(1, 1, 8, true, noise(8))
	two[40] = 6
	if fragment(t, one).Key != fragment(t, two).Key {
		t.Error("IPv6 has not")
	}
	if f4.Key.Hash(key) == f4.Key.Hash(siphash.New([16]byte{9})) {
		t.Error("the hash does not depend on its key")
	}
}

func TestReassemblyDoesNotAllocate(t *testing.T) {
	g := newRig(t, Config{})
	all := [2][][]byte{cut(0, 1, noise(20000), 1480), cut(1, 1, noise(20000), 1440)}
	run := func() {
		for v := range 2 {
			for _, p := range all[v] {
				g.in(p)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReassembly(b *testing.B) {
	g := newRig(b, Config{})
	all := cut(0, 1, noise(65000), 1480)
	fragments := make([]Fragment, len(all))
	for i := range all {
		fragments[i] = fragment(b, all[i])
	}
	b.SetBytes(65000)
	for b.Loop() {
		for i := range fragments {
			g.r.Input(&fragments[i], 1)
		}
	}
}
