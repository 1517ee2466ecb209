package ip

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 815 (what a datagram in pieces is); RFC 8200 §4.5; RFC 5722 (overlaps); RFC 8900
// §3.7 (what attackers do); RFC 3168 §5.3 (ECN); RFC 1122 §3.3.2.

const (
	// memoryMax is what the fragments of one core take, in bytes of blocks: Linux's
	// ipfrag_high_thresh.
	memoryMax = 4 << 20

	// datagramsMax is how many datagrams are put together at once: as many as memoryMax has
	// room for of two fragments each.
	datagramsMax = 1024

	// fragmentsMax is how many fragments a datagram has. The longest one in pieces of 552 bytes,
	// the shortest MTU that Linux believes in (min_pmtu), has 125; IPv6 needs 53.
	fragmentsMax = 128

	// The time from the first fragment to come until the datagram is whole: Linux's
	// ipfrag_time, and RFC 8200 §4.5.
	timeout4 = 30 * time.Second
	timeout6 = 60 * time.Second
)

// headroom is what stays free before a whole packet, for a link header with two VLAN tags.
const headroom = 24

// wholeMax is the longest whole packet: IPv6 does not count its header.
const wholeMax = wire.IPv6Len + packetMax

// Config is what a reassembly is made of.
type Config struct {
	Wheel *timer.Wheel
	Count *drop.Counters // of datagrams given up
	Key   siphash.Key

	// TimedOut is told of a datagram that was not whole in time and whose first fragment has
	// come: the packet, as long as an ICMP error can quote, and how it came.
	TimedOut func(first []byte, port int, group bool, now mono.Time)

	Memory    int // bytes; 0: memoryMax
	Datagrams int // 0: datagramsMax
}

// A Reassembly puts fragments of both families together.
type Reassembly struct {
	cfg     Config
	buckets []*datagram // by hash, a power of two of them
	live    int         // datagrams in the buckets
	free    *datagram   // by chain
	oldest  *datagram
	newest  *datagram
	blocks  blocks
	whole   []byte // the packet that Input returns, behind headroom
}

// A datagram is what has come of one, in order.
type datagram struct {
	key   Key
	table *Reassembly
	timer timer.Timer

	first, last *block // of fragments, by offset
	count       int    // of them
	held        int    // bytes of their data
	total       int    // bytes of data of the whole; -1: the last fragment has not come
	ecn         uint8  // a bit for each codepoint seen
	port        int    // that the first fragment came in by
	group       bool
	head, next  int // of the first fragment, as in Fragment
	proto       wire.Protocol

	// dead is why the datagram was given up. It goes on to be known until its time is over, for
	// what still comes of it is to be dropped as well (RFC 5722 §4).
	dead drop.Reason

	chain        *datagram // of the same bucket; of the free list
	older, newer *datagram
}

// New returns an empty reassembly.
func New(cfg Config) *Reassembly {
	if cfg.Memory == 0 {
		cfg.Memory = memoryMax
	}
	if cfg.Datagrams == 0 {
		cfg.Datagrams = datagramsMax
	}
	r := &Reassembly{cfg: cfg}
	size := 1
	for size < cfg.Datagrams {
		size *= 2
	}
	r.buckets = make([]*datagram, size)
	r.blocks.limit = max(1, cfg.Memory/blockSize)
	return r
}

// Len returns how many datagrams are known, those that were given up included.
func (r *Reassembly) Len() int { return r.live }

// Used returns how many bytes fragments take.
func (r *Reassembly) Used() int { return r.blocks.used * blockSize }

// Input takes a fragment, which is copied. If it completes its datagram Input returns the whole
// packet, which is valid until the next call, else why the fragment was dropped, if it was.
//
// Before the packet there are headroom bytes in the same memory: see [Reassembly.Frame].
func (r *Reassembly) Input(f *Fragment, now mono.Time) (whole []byte, reason drop.Reason) {
	if reason = f.judge(); reason != drop.None {
		return nil, reason
	}
	d := r.find(&f.Key)
	if d == nil {
		d = r.add(&f.Key, now)
	}
	if d.dead != drop.None {
		return nil, d.dead
	}
	before, reason := d.place(f)
	switch {
	case reason == drop.FragmentDuplicate:
		return nil, reason
	case reason == drop.None && d.count == fragmentsMax:
		reason = drop.FragmentTooMany
	}
	if reason == drop.None && !d.insert(f, before, now) {
		reason = drop.FragmentMemory
	}
	if reason != drop.None {
		d.giveUp(reason)
		return nil, reason
	}
	d.ecn |= f.ecn()
	if d.held != d.total {
		return nil, drop.None
	}
	whole, reason = r.join(d)
	r.remove(d)
	return whole, reason
}

// place finds the fragment that f goes behind, nil for the first place. It says FragmentDuplicate
// if f is there already, and FragmentOverlap if it shares a byte with another or
// contradicts what is known of the datagram's end.
func (d *datagram) place(f *Fragment) (before *block, reason drop.Reason) {
	before = d.last
	for before != nil && before.offset > f.offset {
		before = before.before
	}
	end := f.end()
	if before != nil {
		if before.offset == f.offset && before.end() == end && f.more == (end != d.total) && before.same(f.packet[f.data:]) {
			return nil, drop.FragmentDuplicate // by the network (RFC 8200 §4.5)
		}
		if before.end() > f.offset {
			return nil, drop.FragmentOverlap
		}
	}
	after := d.first
	if before != nil {
		after = before.after
	}
	switch {
	case after != nil && after.offset < end,
		!f.more && (d.total >= 0 || after != nil),
		f.more && d.total >= 0 && end >= d.total:
		return nil, drop.FragmentOverlap
	}
	return before, drop.None
}

// insert stores f behind before. It says false if there is no memory, even when all other
// datagrams have gone.
func (d *datagram) insert(f *Fragment, before *block, now mono.Time) bool {
	r := d.table
	stored, data := f.packet[f.data:], 0
	if f.offset == 0 { // its headers become those of the whole, and an ICMP error quotes them
		stored, data = f.packet, f.data
	}
	for r.blocks.room() < len(stored) {
		old := r.oldest
		for old != nil && (old == d || old.first == nil) {
			old = old.newer
		}
		if old == nil {
			return false
		}
		r.cfg.Count.Count(drop.FragmentMemory)
		r.remove(old)
	}
	b := r.blocks.store(stored)
	b.offset, b.length, b.data = f.offset, f.end()-f.offset, data
	b.before = before
	if before != nil {
		b.after, before.after = before.after, b
	} else {
		b.after, d.first = d.first, b
	}
	if b.after != nil {
		b.after.before = b
	} else {
		d.last = b
	}
	d.count++
	d.held += b.length
	if !f.more {
		d.total = f.end()
	}
	if f.offset == 0 {
		d.port, d.group, d.head, d.next, d.proto = f.Port, f.Group, f.head, f.next, f.proto
	}
	return true
}

// join makes the packet of a datagram that is all there.
func (r *Reassembly) join(d *datagram) ([]byte, drop.Reason) {
	if r.whole == nil {
		r.whole = make([]byte, headroom+wholeMax)
	}
	b := r.whole[headroom:]
	counted := d.head
	if d.key.Src.Is6() {
		counted -= wire.IPv6Len
	}
	if counted+d.total > packetMax { // the first header is longer than that of the others
		return nil, drop.FragmentTooLong
	}
	ecn, ok := joinECN(d.ecn)
	if !ok {
		return nil, drop.FragmentECN
	}
	n := d.first.copy(b[:d.head], 0)
	for p := d.first; p != nil; p = p.after {
		n += p.copy(b[n:n+p.length], p.data)
	}
	if d.key.Src.Is4() {
		h := wire.IPv4(b[:n])
		h.SetTotalLen(n)
		h.SetFragment(0, false, false)
		if ecn {
			h.SetECN(wire.CE)
		}
		h.Seal()
		return h, drop.None
	}
	h := wire.IPv6(b[:n])
	h.SetPayloadLen(n - wire.IPv6Len)
	b[d.next] = uint8(d.proto)
	if ecn {
		h.SetECN(wire.CE)
	}
	return h, drop.None
}

// joinECN says whether the whole was marked on its way, and whether its fragments may be of
// one packet at all: a sender marks all of them as capable of ECN, or none (RFC 3168 §5.3).
func joinECN(seen uint8) (marked, ok bool) {
	const notECT, ce = 1 << wire.NotECT, 1 << wire.CE
	if seen&notECT != 0 && seen != notECT {
		return false, false
	}
	return seen&ce != 0, true
}

// Frame returns the packet that Input has returned last with n bytes before it, which the
// caller may write a link header to; n is at most 24.
func (r *Reassembly) Frame(whole []byte, n int) []byte {
	return r.whole[headroom-n : headroom+len(whole)]
}

// Expire ends a datagram that did not become whole in time.
func (d *datagram) Expire(_ *timer.Timer, now mono.Time) {
	r := d.table
	if d.dead == drop.None {
		r.cfg.Count.Count(drop.FragmentTimeout)
		if first := d.first; first != nil && first.offset == 0 && r.cfg.TimedOut != nil {
			var quote [quoteMax]byte
			n := min(first.data+first.length, len(quote))
			first.copy(quote[:n], 0)
			r.cfg.TimedOut(quote[:n], d.port, d.group, now)
		}
	}
	r.remove(d)
}

// quoteMax is how much of a packet an ICMP error quotes at most: one of IPv6, which fits
// into 1280 bytes (RFC 4443 §2.4(c)).
const quoteMax = 1280 - wire.IPv6Len - wire.ICMP6Len

// giveUp lets go of what has come of a datagram.
func (d *datagram) giveUp(reason drop.Reason) {
	d.dead = reason
	d.release()
}

// release gives the memory of a datagram's fragments back.
func (d *datagram) release() {
	for p := d.first; p != nil; {
		after := p.after
		d.table.blocks.put(p)
		p = after
	}
	d.first, d.last, d.count, d.held = nil, nil, 0, 0
}

// find returns the datagram of that name, nil if there is none.
func (r *Reassembly) find(k *Key) *datagram {
	d := *r.bucket(k)
	for d != nil && d.key != *k {
		d = d.chain
	}
	return d
}

func (r *Reassembly) bucket(k *Key) **datagram {
	return &r.buckets[k.Hash(r.cfg.Key)&uint64(len(r.buckets)-1)]
}

// add makes a datagram of which nothing has come. The oldest goes if there are too many.
func (r *Reassembly) add(k *Key, now mono.Time) *datagram {
	if r.live == r.cfg.Datagrams {
		if r.oldest.dead == drop.None {
			r.cfg.Count.Count(drop.FragmentTableFull)
		}
		r.remove(r.oldest)
	}
	d := r.free
	if d == nil {
		d = &datagram{table: r}
		d.timer.Init(d)
	} else {
		r.free = d.chain
	}
	d.key, d.total, d.ecn, d.dead = *k, -1, 0, drop.None
	at := r.bucket(k)
	d.chain, *at = *at, d
	d.older, d.newer = r.newest, nil
	if r.newest != nil {
		r.newest.newer = d
	} else {
		r.oldest = d
	}
	r.newest = d
	r.live++
	timeout := timeout4
	if k.Src.Is6() {
		timeout = timeout6
	}
	r.cfg.Wheel.Arm(&d.timer, now.Add(timeout))
	return d
}

// remove forgets a datagram.
func (r *Reassembly) remove(d *datagram) {
	d.release()
	r.cfg.Wheel.Stop(&d.timer)
	at := r.bucket(&d.key)
	for *at != d {
		at = &(*at).chain
	}
	*at = d.chain
	if d.older != nil {
		d.older.newer = d.newer
	} else {
		r.oldest = d.newer
	}
	if d.newer != nil {
		d.newer.older = d.older
	} else {
		r.newest = d.older
	}
	d.older, d.newer = nil, nil
	d.chain, r.free = r.free, d
	r.live--
}
