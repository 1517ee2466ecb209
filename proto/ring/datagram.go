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

	Dropped uint32 // how many the socket had lost at this end before this one came
}

// recordLen is the encoded length of a Datagram: two 16-byte addresses, two ports, their
// scopes and the rest. A record's header does not straddle two chunks; its payload may.
const recordLen = 16 + 2 + 16 + 2 + 4 + 8 + 1 + 1 + 4 + 2 + 4 + 4 + 4

// Datagrams is a queue of datagrams with one producer and one consumer. The zero
// value is unusable until Init.
type Datagrams struct {
	pool    *Pool
	limit   atomic.Int64  // bytes that may be charged; set by the program, read by the producer
	charged atomic.Int64  // bytes charged; both add
	made    atomic.Uint64 // records published; written by the producer
	taken   atomic.Uint64 // records consumed; written by the consumer
	first   atomic.Pointer[chunk]

	producer struct {
		at  *chunk // where the next record goes
		off int
	}
	consumer struct {
		at  *chunk // where the next record is
		off int
	}
	scopes wire.Scopes // the consumer's
}

// Init makes d a queue of at most limit charged bytes, in chunks of pool.
func (d *Datagrams) Init(pool *Pool, limit int) {
	d.pool = pool
	d.limit.Store(int64(limit))
}

// SetLimit changes the limit. What is queued beyond it stays.
func (d *Datagrams) SetLimit(limit int) { d.limit.Store(int64(limit)) }

// Limit returns the limit.
func (d *Datagrams) Limit() int { return int(d.limit.Load()) }

// Len returns the number of queued datagrams. Both sides may ask.
func (d *Datagrams) Len() int { return int(d.made.Load() - d.taken.Load()) }

// Charged returns how many bytes are charged to the queue, overhead included. Both sides may ask.
func (d *Datagrams) Charged() int { return int(d.charged.Load()) }

// Room says whether a datagram of n bytes would be taken as far as the limit
// goes. An empty queue takes a datagram of any size.
func (d *Datagrams) Room(n int) bool {
	charged := d.charged.Load()
	return charged == 0 || charged+int64(n+DatagramOverhead) <= d.limit.Load()
}

// Put queues a datagram whose payload is the concatenation of parts. It says
// false, and queues nothing, if that would pass the limit of the queue or of the
// pool. The producer calls it.
func (d *Datagrams) Put(m *Datagram, parts ...[]byte) bool {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	if !d.Room(n) || !d.extend(recordLen, n) {
		return false
	}
	p := &d.producer
	m.encode(p.at.buf[p.off:], n)
	p.off += recordLen
	for _, part := range parts {
		for len(part) > 0 {
			if p.off == chunkSize {
				p.at, p.off = p.at.next.Load(), 0
			}
			c := copy(p.at.buf[p.off:], part)
			p.off += c
			part = part[c:]
		}
	}
	d.charged.Add(int64(n + DatagramOverhead))
	d.made.Add(1) // hands the record, and the links to its chunks, to the consumer
	return true
}

// extend makes room for a header of h bytes in one chunk and n bytes behind it,
// and moves the cursor to where the header goes. It says false, and leaves the
// queue as it was, if the pool has no more.
func (d *Datagrams) extend(h, n int) bool {
	p := &d.producer
	var more *chunk // newly lent, linked in reverse order of use
	room := 0
	if p.at != nil {
		room = chunkSize - p.off
	}
	turn := p.at == nil || room < h // the header begins a new chunk
	if turn {
		room = 0
	}
	for room < h+n {
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
	if d.Len() == 0 {
		return 0, false
	}
	cur := d.consumer
	if cur.at == nil {
		cur.at = d.first.Load()
	}
	cur.at, cur.off = d.step(cur.at, cur.off, recordLen, peek)
	m.decode(cur.at.buf[cur.off:], &d.scopes)
	cur.off += recordLen
	for rest := m.Len; rest > 0; {
		cur.at, cur.off = d.step(cur.at, cur.off, 1, peek)
		c := min(rest, chunkSize-cur.off)
		n += copy(p[n:], cur.at.buf[cur.off:cur.off+c])
		cur.off += c
		rest -= c
	}
	if !peek {
		d.consumer = cur
		d.charged.Add(-int64(m.Len + DatagramOverhead))
		d.taken.Add(1)
	}
	return n, true
}

// step returns where need bytes begin: here, or at the start of the next chunk.
// It gives the chunk that it leaves back, unless the consumer only looks.
func (d *Datagrams) step(at *chunk, off, need int, peek bool) (*chunk, int) {
	if chunkSize-off >= need {
		return at, off
	}
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
	d.charged.Store(0)
	d.taken.Store(d.made.Load())
}

func (m *Datagram) encode(b []byte, n int) {
	b = b[:recordLen]
	from, to := m.From.Addr().As16(), m.To.Addr().As16()
	copy(b[0:], from[:])
	copy(b[16:], to[:])
	le := binary.LittleEndian
	le.PutUint16(b[32:], m.From.Port())
	le.PutUint16(b[34:], m.To.Port())
	le.PutUint32(b[36:], m.Iface)
	le.PutUint64(b[40:], uint64(m.Time))
	le.PutUint32(b[48:], uint32(n))
	b[52], b[53] = m.TTL, m.TOS
	b[54], b[55] = family(m.From.Addr()), family(m.To.Addr())
	le.PutUint32(b[56:], wire.Scope(m.From.Addr()))
	le.PutUint32(b[60:], wire.Scope(m.To.Addr()))
	le.PutUint32(b[64:], m.Dropped)
}

func (m *Datagram) decode(b []byte, scopes *wire.Scopes) {
	b = b[:recordLen]
	le := binary.LittleEndian
	m.From = netip.AddrPortFrom(address(b[0:16], b[54], le.Uint32(b[56:]), scopes), le.Uint16(b[32:]))
	m.To = netip.AddrPortFrom(address(b[16:32], b[55], le.Uint32(b[60:]), scopes), le.Uint16(b[34:]))
	m.Iface = le.Uint32(b[36:])
	m.Time = int64(le.Uint64(b[40:]))
	m.Len = int(le.Uint32(b[48:]))
	m.TTL, m.TOS = b[52], b[53]
	m.Dropped = le.Uint32(b[64:])
}

// family is 4, 6, or 0 for no address.
func family(a netip.Addr) byte {
	switch {
	case !a.IsValid():
		return 0
	case a.Is4():
		return 4
	}
	return 6
}

func address(b []byte, family byte, scope uint32, scopes *wire.Scopes) netip.Addr {
	switch family {
	case 0:
		return netip.Addr{}
	case 4:
		return netip.AddrFrom4([4]byte(b[12:16])) // as As16 has laid it out
	}
	a := netip.AddrFrom16([16]byte(b))
	if scope != 0 {
		a = scopes.With(a, scope)
	}
	return a
}
