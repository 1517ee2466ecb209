package ip

import (
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 791 §3.2 ("An Example Fragmentation Procedure"); RFC 8200 §4.5; RFC 6864 §4.

// A Cursor goes through a packet that leaves in fragments, over as many turns as it takes. What
// the packet began with, it ends with: identification, MTU, source.
//
// The zero value holds no packet. It has memory for the longest one once it has held any.
type Cursor struct {
	buf  []byte
	n    int // length of the packet
	head int // how much of it each fragment repeats
	next int // where the data of the next fragment begin; 0: there is none
	mtu  int
	id   uint32

	proto wire.Protocol // IPv6: what the data begin with
	at    int           // IPv6: where the protocol of a fragment stands
}

// Active says whether there are fragments to come.
func (c *Cursor) Active() bool { return c.next != 0 }

// Room is memory for a packet, from its IP header on.
func (c *Cursor) Room() []byte {
	if c.buf == nil {
		c.buf = make([]byte, wholeMax)
	}
	return c.buf
}

// Begin begins with the packet that is in the first n bytes of Room. It says false if that
// cannot be cut into pieces of mtu bytes. An IPv4 packet's options are repeated in each fragment:
// this host sends none that are to be in the first one alone.
func (c *Cursor) Begin(n, mtu int, id uint32) bool {
	c.n, c.mtu, c.id, c.next = n, mtu, id, 0
	b := c.buf[:n]
	if b[0]>>4 == 4 {
		c.head = wire.IPv4(b).HeaderLen()
	} else {
		c.split6(b)
		mtu -= wire.FragmentLen
	}
	if mtu-c.head < 8 {
		return false
	}
	c.next = c.head
	return true
}

// split6 finds what comes before the fragment header: the headers that routers look at (RFC 8200
// §4.5 "Per-Fragment headers").
func (c *Cursor) split6(b []byte) {
	c.head, c.at, c.proto = wire.IPv6Len, 6, wire.IPv6(b).NextHeader()
	for (c.proto == wire.ProtoHopByHop || c.proto == wire.ProtoRouting) && c.head+8 <= len(b) {
		c.at, c.proto = c.head, wire.Protocol(b[c.head])
		c.head += 8 + 8*int(b[c.head+1])
	}
}

// Put writes the next fragment into b, which has room for one of the MTU, and returns its length.
func (c *Cursor) Put(b []byte) int {
	six := c.buf[0]>>4 == 6
	n := c.head
	if six {
		n += wire.FragmentLen
	}
	length := c.n - c.next
	more := length > c.mtu-n
	if more {
		length = (c.mtu - n) &^ 7
	}
	offset := c.next - c.head
	copy(b, c.buf[:c.head])
	if six {
		h := wire.IPv6(b)
		h.SetPayloadLen(n - wire.IPv6Len + length)
		b[c.at] = uint8(wire.ProtoFragment)
		wire.PutFragment(b[c.head:], c.proto, offset, more, c.id)
	} else {
		h := wire.IPv4(b[:c.head])
		h.SetTotalLen(n + length)
		h.SetID(uint16(c.id))
		h.SetFragment(offset, false, more)
		h.Seal()
	}
	copy(b[n:], c.buf[c.next:c.next+length])
	c.next += length
	if !more {
		c.next = 0
	}
	return n + length
}
