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
	if local.Is4() && remote.Is4() {
		l, r := local.As4(), remote.As4()
		return key{
			local:  [2]uint64{0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(l[:]))},
			remote: [2]uint64{0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(r[:]))},
			ports:  uint64(localPort)<<48 | uint64(remotePort)<<32,
		}
	}
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
func (k *key) is4() bool          { return k.local[0] == 0 && k.local[1]>>32 == 0xffff }

// loopback says whether an end has a loopback address.
func (k *key) loopback() bool {
	if k.is4() {
		return k.local[1]>>24&0xff == 127 || k.remote[1]>>24&0xff == 127
	}
	return k.local == [2]uint64{0, 1} || k.remote == [2]uint64{0, 1}
}

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
//
// It grows by doubling, but not at once: with a million connections that would hold up the core for tens of
// milliseconds. Each insert moves a few entries from the old slots to the new ones, and until all
// are there both are looked through.
type table struct {
	secret [4]uint64
	now    slots
	old    slots  // none, unless it grows
	swept  uint32 // slots of old that are empty for good: all before this one
	used   int    // entries in both
}

// slots is the entries of a table, in pieces that are made when something is put there: a nil one is empty.
type slots struct {
	pieces []*[pieceLen]entry
	mask   uint32 // number of slots less 1
}

type entry struct {
	hash uint32
	ref  ref
}

const (
	pieceLen = 512 // entries: a page
	tableMin = pieceLen

	// moveMax is how many slots an insert looks at in a table that grows. Growth begins at three
	// quarters of n slots and the next one as many inserts later; 3 would do.
	moveMax = 8
)

func newSlots(n int) slots {
	return slots{pieces: make([]*[pieceLen]entry, n/pieceLen), mask: uint32(n - 1)}
}

func (s *slots) at(i uint32) entry {
	if p := s.pieces[i/pieceLen]; p != nil {
		return p[i%pieceLen]
	}
	return entry{}
}

func (s *slots) set(i uint32, e entry) {
	p := s.pieces[i/pieceLen]
	if p == nil {
		p = new([pieceLen]entry)
		s.pieces[i/pieceLen] = p
	}
	p[i%pieceLen] = e
}

// A ref says where an entry's state is: a connection's index plus one, or that
// of a TIME-WAIT entry with the top bit. 0 is nothing.
type ref uint32

const refTimeWait ref = 1 << 31

func newTable(k siphash.Key) table {
	return table{
		secret: [4]uint64{k.Sum(1) | 1, k.Sum(2) | 1, k.Sum(3) | 1, k.Sum(4) | 1},
		now:    newSlots(tableMin),
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
	h := t.table.hash(k)
	r := t.findIn(&t.table.now, k, h)
	if r == 0 && t.table.old.pieces != nil {
		r = t.findIn(&t.table.old, k, h)
	}
	return r
}

func (t *TCP) findIn(s *slots, k *key, h uint32) ref {
	for i := h & s.mask; ; i = (i + 1) & s.mask {
		e := s.at(i)
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
	if tb.used >= int(tb.now.mask+1)/4*3 {
		for tb.old.pieces != nil { // not while moveMax is right
			tb.move()
		}
		tb.old, tb.swept = tb.now, 0
		tb.now = newSlots(2 * int(tb.old.mask+1))
	}
	if tb.old.pieces != nil {
		tb.move()
	}
	tb.used++
	tb.now.put(entry{tb.hash(k), r})
}

func (s *slots) put(e entry) {
	i := e.hash & s.mask
	for s.at(i).ref != 0 {
		i = (i + 1) & s.mask
	}
	s.set(i, e)
}

// move takes the next few entries from the old slots to the new ones. Taking one out closes the gap, with
// entries from behind it alone: what has been swept stays empty.
func (tb *table) move() {
	old := &tb.old
	for range moveMax {
		if e := old.at(tb.swept); e.ref != 0 {
			old.take(tb.swept)
			tb.now.put(e)
			continue
		}
		if tb.swept++; tb.swept > old.mask {
			tb.old = slots{}
			return
		}
		if tb.swept%pieceLen == 0 {
			old.pieces[tb.swept/pieceLen-1] = nil
		}
	}
}

// search returns where the entry of a hash that says r is.
func (s *slots) search(h uint32, r ref) (i uint32, ok bool) {
	if s.pieces == nil {
		return 0, false
	}
	for i = h & s.mask; ; i = (i + 1) & s.mask {
		switch s.at(i).ref {
		case r:
			return i, true
		case 0:
			return 0, false
		}
	}
}

// take empties a slot, and closes the gap: entries that a probe would not reach any more move back.
func (s *slots) take(i uint32) {
	for j := i; ; {
		j = (j + 1) & s.mask
		e := s.at(j)
		if e.ref == 0 {
			break
		}
		if home := e.hash & s.mask; (j-home)&s.mask >= (j-i)&s.mask {
			s.set(i, e)
			i = j
		}
	}
	s.set(i, entry{})
}

// remove takes out the entry of k that says r.
func (tb *table) remove(k *key, r ref) {
	h := tb.hash(k)
	for _, s := range [...]*slots{&tb.now, &tb.old} {
		if i, ok := s.search(h, r); ok {
			s.take(i)
			tb.used--
			return
		}
	}
}

// replace makes the entry of k say to instead of from.
func (tb *table) replace(k *key, from, to ref) {
	h := tb.hash(k)
	for _, s := range [...]*slots{&tb.now, &tb.old} {
		if i, ok := s.search(h, from); ok {
			s.set(i, entry{h, to})
			return
		}
	}
}
