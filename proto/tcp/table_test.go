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
		}
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
