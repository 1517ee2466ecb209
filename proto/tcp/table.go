package tcp

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A key is a connection's pair of addresses and ports. IPv4 addresses stand as
// IPv4-mapped ones.
type key struct {
	local, remote [2]uint64
	ports         uint64 // local port, remote port, scope (32 bits): the interface of link-local addresses
}

func keyOf(local netip.Addr, localPort uint16, remote netip.Addr, remotePort uint16) key {
	l, r := local.As16(), remote.As16()
	k := key{
		local:  [2]uint64{binary.BigEndian.Uint64(l[:8]), binary.BigEndian.Uint64(l[8:])},
		remote: [2]uint64{binary.BigEndian.Uint64(r[:8]), binary.BigEndian.Uint64(r[8:])},
		ports:  uint64(localPort)<<48 | uint64(remotePort)<<32,
	}
	if k.remote[0]>>54 == 0xfe80>>6 || k.local[0]>>54 == 0xfe80>>6 {
		scope := wire.Scope(remote)
		if scope == 0 {
			scope = wire.Scope(local)
		}
		k.ports |= uint64(scope)
	}
	return k
}

// is compares word by word: == would call a function for it.
func (k *key) is(o *key) bool {
	return k.remote[1] == o.remote[1] && k.ports == o.ports && k.remote[0] == o.remote[0] &&
		k.local[1] == o.local[1] && k.local[0] == o.local[0]
}

func (k *key) localPort() uint16  { return uint16(k.ports >> 48) }
func (k *key) remotePort() uint16 { return uint16(k.ports >> 32) }
func (k *key) loopback() bool     { return k.is4() && k.local[1]>>24&0xff == 127 }
func (k *key) is4() bool          { return k.local[0] == 0 && k.local[1]>>32 == 0xffff }

// addrs returns the addresses of a key as others write them.
func (t *TCP) addrs(k *key) (local, remote netip.Addr) {
	return k.addr(k.local, &t.scopes), k.addr(k.remote, &t.scopes)
}

func (k *key) addr(w [2]uint64, scopes *wire.Scopes) netip.Addr {
	if w[0] == 0 && w[1]>>32 == 0xffff {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(w[1]))
		return netip.AddrFrom4(a)
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], w[0])
	binary.BigEndian.PutUint64(a[8:], w[1])
	addr := netip.AddrFrom16(a)
	if scope := uint32(k.ports); scope != 0 && addr.IsLinkLocalUnicast() {
		addr = scopes.With(addr, scope)
	}
	return addr
}

// A table finds what a segment belongs to: open addressing with linear probing,
// no tombstones. An entry is a piece of the hash, to look at nothing else on the way,
// and a ref; the keys stand where the refs point. The hash is keyed, or a remote
// could make all its connections collide.
type table struct {
	secret  [4]uint64
	entries []entry
	used    int
}

type entry struct {
	hash uint32
	ref  ref
}

// A ref says where an entry's state is: a connection's index plus one, or that
// of a TIME-WAIT entry with the top bit. 0 is nothing.
type ref uint32

const refTimeWait ref = 1 << 31

const tableMin = 64

func newTable(k siphash.Key) table {
	return table{
		secret:  [4]uint64{k.Sum(1) | 1, k.Sum(2) | 1, k.Sum(3) | 1, k.Sum(4) | 1},
		entries: make([]entry, tableMin),
	}
}

// hash mixes the five words of a key by 128-bit products with secret factors.
func (tb *table) hash(k *key) uint32 {
	h1, l1 := bits.Mul64(k.local[0]^k.ports^tb.secret[0], k.local[1]^tb.secret[1])
	h2, l2 := bits.Mul64(k.remote[0]^bits.RotateLeft64(k.ports, 32)^tb.secret[2], k.remote[1]^tb.secret[3])
	h, l := bits.Mul64(h1^l2^tb.secret[1], l1^h2^k.ports^tb.secret[2])
	return uint32((h ^ l) >> 32)
}

// find returns the ref of k, 0 if there is none.
func (t *TCP) find(k *key) ref {
	tb := &t.table
	h := tb.hash(k)
	mask := uint32(len(tb.entries) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		e := tb.entries[i]
		if e.ref == 0 {
			return 0
		}
		if e.hash == h && t.keyAt(e.ref).is(k) {
			return e.ref
		}
	}
}

// keyAt returns the key of what r stands for.
func (t *TCP) keyAt(r ref) *key {
	if r&refTimeWait != 0 {
		return &t.tw.at(uint32(r &^ refTimeWait)).key
	}
	return &t.conn(uint32(r) - 1).key
}

// insert enters k, which is not in the table.
func (tb *table) insert(k *key, r ref) {
	if tb.used >= len(tb.entries)/4*3 {
		tb.grow()
	}
	tb.used++
	tb.put(entry{tb.hash(k), r})
}

func (tb *table) put(e entry) {
	mask := uint32(len(tb.entries) - 1)
	i := e.hash & mask
	for tb.entries[i].ref != 0 {
		i = (i + 1) & mask
	}
	tb.entries[i] = e
}

func (tb *table) grow() {
	old := tb.entries
	tb.entries = make([]entry, 2*len(old))
	for _, e := range old {
		if e.ref != 0 {
			tb.put(e)
		}
	}
}

// remove takes out the entry of k that says r, and closes the gap: entries that a
// probe would not reach any more move back.
func (tb *table) remove(k *key, r ref) {
	mask := uint32(len(tb.entries) - 1)
	i := tb.hash(k) & mask
	for tb.entries[i].ref != r {
		if tb.entries[i].ref == 0 {
			return
		}
		i = (i + 1) & mask
	}
	tb.used--
	for j := i; ; {
		j = (j + 1) & mask
		e := tb.entries[j]
		if e.ref == 0 {
			break
		}
		if home := e.hash & mask; (j-home)&mask >= (j-i)&mask {
			tb.entries[i] = e
			i = j
		}
	}
	tb.entries[i] = entry{}
}

// replace makes the entry of k say to instead of from.
func (tb *table) replace(k *key, from, to ref) {
	mask := uint32(len(tb.entries) - 1)
	i := tb.hash(k) & mask
	for tb.entries[i].ref != from {
		if tb.entries[i].ref == 0 {
			return
		}
		i = (i + 1) & mask
	}
	tb.entries[i].ref = to
}
