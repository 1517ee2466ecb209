package tcp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestTableModel compares the table with a map, through growth and removal.
func TestTableModel(t *testing.T) {
	h := newHost(t, "192.0.2.1", 0, 1, Params{})
	rng := rand.New(rand.NewPCG(1, 1))
	model := map[key]*Conn{}
	var list []key
	grew := 0
	for range 20000 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(8))})
		k := keyOf(h.addr, uint16(1+rng.IntN(3)), a, uint16(1+rng.IntN(400)))
		if rng.IntN(2) == 0 {
			a6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(rng.IntN(8))})
			k = keyOf(netip.AddrFrom16([16]byte{0: 0x20, 15: 1}), 7, a6, uint16(1+rng.IntN(400)))
		}
		var got *Conn
		if r := h.tcp.find(&k); r != 0 {
			got = h.tcp.conn(uint32(r) - 1)
		}
		if got != model[k] {
			t.Fatalf("found %p, want %p", got, model[k])
		}
		switch {
		case got == nil:
			c, errno := h.tcp.newConn(&k, &noOptions)
			if errno != 0 {
				t.Fatal(errno)
			}
			model[k] = c
			list = append(list, k)
		case rng.IntN(3) > 0:
			h.tcp.table.remove(&k, ref(got.index+1))
			delete(model, k)
		default: // as an entry of TIME-WAIT takes the place of a connection's
			h.tcp.table.replace(&k, ref(got.index+1), ref(got.index+1))
		}
		if h.tcp.table.old.pieces != nil {
			grew++
		}
	}
	if grew < 100 {
		t.Errorf("it was seen growing %d times", grew)
	}
	for _, k := range list {
		if r := h.tcp.find(&k); (r != 0) != (model[k] != nil) {
			t.Fatal("a key is lost, or one too many")
		}
	}
	if h.tcp.table.used != len(model) {
		t.Errorf("used is %d of %d", h.tcp.table.used, len(model))
	}
}

// TestTableGrowsBitByBit puts in what makes the table grow many times: no insert moves more than a few
// entries, and all are found at every stage.
func TestTableGrowsBitByBit(t *testing.T) {
	h := newHost(t, "192.0.2.1", 0, 1, Params{})
	tb := &h.tcp.table
	left := func() (n int) { // entries in the old slots
		for _, p := range tb.old.pieces {
			for i := 0; p != nil && i < pieceLen; i++ {
				if p[i].ref != 0 {
					n++
				}
			}
		}
		return n
	}
	keys := make([]key, 0, 10_000)
	before, most := 0, 0
	for i := range cap(keys) {
		k := keyOf(h.addr, 80, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 9)
		c, errno := h.tcp.newConn(&k, &noOptions)
		if errno != 0 {
			t.Fatal(errno)
		}
		keys = append(keys, c.key)
		after := left()
		most = max(most, before-after)
		before = after
		if q := &keys[i*7919%len(keys)]; h.tcp.find(q) == 0 {
			t.Fatalf("%d: a key is lost", i)
		}
	}
	if most == 0 || most > moveMax {
		t.Errorf("one insert moved %d entries, want at most %d", most, moveMax)
	}
	for i := range keys {
		if h.tcp.find(&keys[i]) == 0 {
			t.Fatalf("key %d is lost", i)
		}
	}
	if n := len(tb.now.pieces) * pieceLen; n != 16384 || tb.used != len(keys) {
		t.Errorf("%d entries in %d slots", tb.used, n)
	}
}

func TestKeyKeepsAddresses(t *testing.T) {
	for _, c := range [][2]string{{"192.0.2.1", "198.51.100.7"}, {"2001:db8::1", "2001:db8::2"}, {"fe80::1%3", "fe80::2%3"}} {
		l, r := netip.MustParseAddr(c[0]), netip.MustParseAddr(c[1])
		k := keyOf(l, 80, r, 443)
		if gl, gr := new(TCP).addrs(&k); gl != l || gr != r || k.localPort() != 80 || k.remotePort() != 443 {
			t.Errorf("%v %v became %v %v", l, r, gl, gr)
		}
	}
	a, b := netip.MustParseAddr("fe80::1%3"), netip.MustParseAddr("fe80::1%4")
	peer := netip.MustParseAddr("fe80::9")
	if keyOf(a, 1, peer, 2) == keyOf(b, 1, peer, 2) {
		t.Error("two links' addresses are one")
	}
}
