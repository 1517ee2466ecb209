package ring

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// DatagramOverhead is what a queued datagram costs besides its payload, in bytes
// of the queue's limit, so that empty datagrams are not free (Linux charges the
// sk_buff, some 700 bytes). It covers the record's header and its share of a chunk.
const DatagramOverhead = 256

// A Datagram is what is known of a queued datagram besides its payload.
type Datagram struct {
	From  netip.AddrPort // who sent it
	To    netip.AddrPort // where it was sent to: ours on receive, the destination on send
	Iface uint32         // port of the stack that it came in by or is to go out by; 0 is the first
	Time  int64          // mono.Time of its arrival
	TTL   uint8          // or hop limit
	TOS   uint8          // or traffic class
	Len   int            // bytes of the whole payload, also where a shorter copy was asked for

	Segment int // bytes of each of the datagrams that were joined to this one, but for the last; 0: it came as it is. The queue says it

	Dropped uint32 // how many the socket had lost at this end before this one came
}

// A record's header: five words, the last of which ends with Segment, and where the addresses are not both of IPv4 five more, for the addresses
// and their scopes. It does not straddle two chunks; the payload behind it may. The consumer, who does not
// know how long a header is before it has read it, finds one where there is room for the longer.
const (
	recordLen  = 5 * 8
	recordLen6 = recordLen + 2*16 + 2*4
)

// Datagrams is a queue of datagrams with one producer and one consumer. The zero
// value is unusable until Init.
type Datagrams struct {
	pool  *Pool
	limit atomic.Int64 // bytes that may be charged; set by the program, read by the producer

	// What has ever been put in and taken out: records times countUnit, plus bytes charged. The
	// difference is what is queued, of both, so that each side has but one word to write, and that once a
	// datagram.
	put   atomic.Uint64 // written by the producer
	taken atomic.Uint64 // written by the consumer

	first atomic.Pointer[chunk]

	producer struct {
		at  *chunk // where the next record goes
		off int
	}
	consumer struct {
		at  *chunk // where the next record is
		off int
	}
	scopes wire.Scopes // the consumer's
	held   heldRecord  // the producer's
}

// countUnit is what one record is in a count of records and bytes. A record is charged DatagramOverhead at
// least, so that no queue of less than countUnit bytes has more records than the bits above it count.
const countUnit = 1 << 36

// Init makes d a queue of at most limit charged bytes, in chunks of pool.
func (d *Datagrams) Init(pool *Pool, limit int) {
	d.pool = pool
	d.SetLimit(limit)
}

// SetLimit changes the limit. What is queued beyond it stays.
func (d *Datagrams) SetLimit(limit int) { d.limit.Store(min(int64(limit), countUnit/2)) }

// Limit returns the limit.
func (d *Datagrams) Limit() int { return int(d.limit.Load()) }

// queued returns what is queued: records times countUnit, plus bytes charged.
func (d *Datagrams) queued() uint64 {
	taken := d.taken.Load() // first: it only grows towards put
	return d.put.Load() - taken
}

// Len returns the number of queued datagrams. Both sides may ask.
func (d *Datagrams) Len() int { return int(d.queued() / countUnit) }

// Charged returns how many bytes are charged to the queue, overhead included. Both sides may ask.
func (d *Datagrams) Charged() int { return int(d.queued() % countUnit) }

// Room says whether a datagram of n bytes would be taken as far as the limit
// goes. An empty queue takes a datagram of any size.
func (d *Datagrams) Room(n int) bool {
	charged := d.Charged()
	return charged == 0 || int64(charged+n+DatagramOverhead) <= d.limit.Load()
}

// Put queues a datagram. It says false, and queues nothing, if that would pass the limit of the
// queue or of the pool. The producer calls it.
func (d *Datagrams) Put(m *Datagram, payload []byte) bool {
	n := len(payload)
	if !d.Room(n) {
		return false
	}
	p := &d.producer
	if p.at == nil || chunkSize-p.off < recordLen6+n {
		return d.putAcross(m, payload, nil)
	}
	b := p.at.buf[p.off:]
	h := m.encode((*[recordLen6]byte)(b), n)
	copy(b[h:], payload)
	p.off += h + n
	d.publish(n)
	return true
}

// Add is Put of what belongs to a datagram that was put just now, and is queued whatever the limit of the queue is.
func (d *Datagrams) Add(m *Datagram, payload []byte) bool { return d.putAcross(m, payload, nil) }

// PutParts is Put of a payload in two pieces.
func (d *Datagrams) PutParts(m *Datagram, head, rest []byte) bool {
	return d.Room(len(head)+len(rest)) && d.putAcross(m, head, rest)
}

// putAcross queues a datagram that may end in another chunk than it begins in.
func (d *Datagrams) putAcross(m *Datagram, head, rest []byte) bool {
	n := len(head) + len(rest)
	if !d.begin(m, n) {
		return false
	}
	d.write(head)
	d.write(rest)
	d.publish(n)
	return true
}

// begin writes the header of a record and sees to it that there is room for n bytes behind it. It says false if the pool has no more.
func (d *Datagrams) begin(m *Datagram, n int) bool {
	h := recordLen6
	if m.four() {
		h = recordLen
	}
	if !d.extend(recordLen6, h+n) {
		return false
	}
	p := &d.producer
	p.off += m.encode((*[recordLen6]byte)(p.at.buf[p.off:]), n)
	return true
}

// write writes a part of a payload, which there is room for.
func (d *Datagrams) write(part []byte) {
	p := &d.producer
	for len(part) > 0 {
		if p.off == chunkSize {
			p.at, p.off = p.at.next.Load(), 0
		}
		c := copy(p.at.buf[p.off:], part)
		p.off += c
		part = part[c:]
	}
}

// publish hands the record that was written last, and the links to its chunks, to the consumer.
func (d *Datagrams) publish(n int) {
	d.put.Store(d.put.Load() + countUnit + uint64(n+DatagramOverhead))
}

// extend makes room for n bytes. They go where the cursor is if so many as least are left there, and else to where it moves the
// cursor, the beginning of a chunk. It says false, and leaves the queue as it was, if the pool has no more.
func (d *Datagrams) extend(least, n int) bool {
	p := &d.producer
	var more *chunk // newly lent, linked in reverse order of use
	room := 0
	if p.at != nil {
		room = chunkSize - p.off
	}
	turn := p.at == nil || room < least
	if turn {
		room = 0
	}
	for room < n {
		c := d.pool.get()
		if c == nil {
			for more != nil {
				c, more = more, more.next.Load()
				d.pool.put(c)
			}
			return false
		}
		c.next.Store(more)
		more = c
		room += chunkSize
	}
	var chain *chunk
	for more != nil { // reverse: chain begins with the first to be used
		c := more
		more = c.next.Load()
		c.next.Store(chain)
		chain = c
	}
	switch {
	case p.at == nil:
		d.first.Store(chain)
	case chain != nil:
		p.at.next.Store(chain)
	}
	if turn {
		p.at, p.off = chain, 0
	}
	return true
}

// Get takes the oldest datagram, or with peek looks at it, copies as much of its
// payload into p as fits, and fills in m. It says how much was copied, and false
// if the queue is empty. The consumer calls it.
func (d *Datagrams) Get(m *Datagram, p []byte, peek bool) (n int, ok bool) {
	taken := d.taken.Load()
	if d.put.Load() == taken {
		return 0, false
	}
	at, off := d.consumer.at, d.consumer.off
	if at == nil {
		at = d.first.Load()
	}
	if chunkSize-off < recordLen6 {
		at, off = d.step(at, peek)
	}
	b := at.buf[off:]
	h := m.decode((*[recordLen6]byte)(b), &d.scopes)
	off += h
	if peek && m.Len == 0 {
		b[seenAt] |= seen
	}
	if m.Len <= len(b)-h {
		n = copy(p, b[h:h+m.Len])
		off += m.Len
	} else {
		n, at, off = d.across(at, off, m.Len, p, peek)
	}
	if !peek {
		d.consumer.at, d.consumer.off = at, off
		d.taken.Store(taken + countUnit + uint64(m.Len+DatagramOverhead))
	}
	return n, true
}

// Look is Get that takes nothing, from skip bytes of payload behind the beginning of the queue on. It copies from inside of the datagram
// that the byte is in, as much as that has, and says how many bytes of it come before. An empty datagram is seen once, by Look or by a Get
// that took nothing. If the queue has no such byte, into is how many there are to skip beyond it. The consumer calls it.
func (d *Datagrams) Look(m *Datagram, p []byte, skip int) (n, into int, ok bool) {
	at, off := d.consumer.at, d.consumer.off
	if at == nil {
		at = d.first.Load()
	}
	for left := d.queued() / countUnit; left > 0; left-- {
		if chunkSize-off < recordLen6 {
			at, off = d.step(at, true)
		}
		b := at.buf[off:]
		off += m.decode((*[recordLen6]byte)(b), &d.scopes)
		empty := m.Len == 0 && skip == 0 && b[seenAt]&seen == 0
		if empty {
			b[seenAt] |= seen
		}
		if empty || skip < m.Len {
			_, at, off = d.across(at, off, skip, nil, true)
			n, _, _ = d.across(at, off, m.Len-skip, p, true)
			return n, skip, true
		}
		_, at, off = d.across(at, off, m.Len, nil, true)
		skip -= m.Len
	}
	return 0, skip, false
}

// across copies a payload that ends in another chunk than it begins in, and says where.
func (d *Datagrams) across(at *chunk, off, rest int, p []byte, peek bool) (n int, end *chunk, endOff int) {
	for rest > 0 {
		if off == chunkSize {
			at, off = d.step(at, peek)
		}
		c := min(rest, chunkSize-off)
		n += copy(p[n:], at.buf[off:off+c])
		off += c
		rest -= c
	}
	return n, at, off
}

// step returns where the next chunk begins. It gives the one that it leaves back, unless the
// consumer only looks.
func (d *Datagrams) step(at *chunk, peek bool) (*chunk, int) {
	next := at.next.Load()
	if !peek {
		d.pool.put(at)
	}
	return next, 0
}

// Free gives all chunks back, with what is queued in them. Neither side may use d
// any more: the caller is both.
func (d *Datagrams) Free() {
	at := d.consumer.at
	if at == nil {
		at = d.first.Load()
	}
	for at != nil {
		next := at.next.Load()
		d.pool.put(at)
		at = next
	}
	d.first.Store(nil)
	d.producer.at, d.consumer.at = nil, nil
	d.producer.off, d.consumer.off = 0, 0
	d.held = heldRecord{}
	d.taken.Store(d.put.Load())
}

// four says whether both addresses are of IPv4.
func (m *Datagram) four() bool { return m.From.Addr().Is4() && m.To.Addr().Is4() }

// encode writes the header of a record with a payload of n bytes and returns its length.
func (m *Datagram) encode(b *[recordLen6]byte, n int) int {
	le, from, to := binary.LittleEndian, m.From.Addr(), m.To.Addr()
	word := uint64(uint32(n)) | uint64(m.TTL)<<32 | uint64(m.TOS)<<40
	le.PutUint64(b[8:16], uint64(m.Time))
	le.PutUint64(b[16:24], uint64(m.Iface)|uint64(m.Dropped)<<32)
	le.PutUint32(b[24:28], uint32(m.From.Port())|uint32(m.To.Port())<<16)
	le.PutUint32(b[segmentAt:], 0)
	if from.Is4() && to.Is4() {
		le.PutUint64(b[0:8], word)
		*(*[4]byte)(b[28:32]) = from.As4()
		*(*[4]byte)(b[32:36]) = to.As4()
		return recordLen
	}
	le.PutUint64(b[0:8], word|uint64(family(from))<<48|uint64(family(to))<<56)
	*(*[16]byte)(b[40:56]) = from.As16()
	*(*[16]byte)(b[56:72]) = to.As16()
	le.PutUint32(b[72:76], wire.Scope(from))
	le.PutUint32(b[76:80], wire.Scope(to))
	return recordLen6
}

// seen is a bit of the length of a record, which is less than 64 KiB: the consumer has looked at this one, which is empty.
const (
	seenAt = 3
	seen   = 1 << 7
)

// decode reads the header of a record and returns its length.
func (m *Datagram) decode(b *[recordLen6]byte, scopes *wire.Scopes) int {
	le := binary.LittleEndian
	word, drops, ports := le.Uint64(b[0:8]), le.Uint64(b[16:24]), le.Uint32(b[24:28])
	m.Len, m.TTL, m.TOS = int(uint32(word)&^(seen<<(8*seenAt))), uint8(word>>32), uint8(word>>40)
	m.Time = int64(le.Uint64(b[8:16]))
	m.Iface, m.Dropped = uint32(drops), uint32(drops>>32)
	m.Segment = int(le.Uint32(b[segmentAt:]))
	if word>>48 == 0 { // no family is named: both are of IPv4
		m.From = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[28:32])), uint16(ports))
		m.To = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[32:36])), uint16(ports>>16))
		return recordLen
	}
	from := address(b[40:56], byte(word>>48), le.Uint32(b[72:76]), scopes)
	to := address(b[56:72], byte(word>>56), le.Uint32(b[76:80]), scopes)
	m.From, m.To = netip.AddrPortFrom(from, uint16(ports)), netip.AddrPortFrom(to, uint16(ports>>16))
	return recordLen6
}

// Families of the addresses in a record of the longer kind: never two zeros.
const (
	addressNone = 1 + iota
	address4
	address6
)

func family(a netip.Addr) byte {
	switch {
	case !a.IsValid():
		return addressNone
	case a.Is4():
		return address4
	}
	return address6
}

func address(b []byte, family byte, scope uint32, scopes *wire.Scopes) netip.Addr {
	switch family {
	case addressNone:
		return netip.Addr{}
	case address4:
		return netip.AddrFrom4([4]byte(b[12:16])) // as As16 has laid it out
	}
	a := netip.AddrFrom16([16]byte(b))
	if scope != 0 {
		a = scopes.With(a, scope)
	}
	return a
}
