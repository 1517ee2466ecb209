package ring

import "encoding/binary"

// heldRecord is the record of a datagram that the consumer does not see yet, since others may be joined to it: one after the other they
// become one payload, of which the record says in what pieces it came.
type heldRecord struct {
	header  *[recordLen6]byte // nil: there is none
	n       int               // bytes of payload so far
	segment int               // of the first
	joined  bool
}

// segmentAt is where a record's header has Segment.
const segmentAt = recordLen - 4

// Hold is Put of a datagram that is not seen before Release. Meanwhile Join may put more behind it. The producer calls them.
func (d *Datagrams) Hold(m *Datagram, payload []byte) bool {
	d.Release()
	if !d.Room(len(payload)) || !d.begin(m, len(payload)) {
		return false
	}
	p := &d.producer
	h := recordLen6
	if m.four() {
		h = recordLen
	}
	d.held = heldRecord{header: (*[recordLen6]byte)(p.at.buf[p.off-h:]), n: len(payload), segment: len(payload)}
	d.write(payload)
	return true
}

// Join puts a datagram behind the one that is held. It says false, and leaves that as it is, if there is none or there is no room.
func (d *Datagrams) Join(payload []byte) bool {
	h := &d.held
	n := h.n + len(payload)
	if h.header == nil || int64(d.Charged()+n+DatagramOverhead) > d.limit.Load() || !d.extend(0, len(payload)) {
		return false
	}
	d.write(payload)
	h.n, h.joined = n, true
	return true
}

// Release hands what is held to the consumer.
func (d *Datagrams) Release() {
	h := &d.held
	if h.header == nil {
		return
	}
	if h.joined {
		le := binary.LittleEndian
		le.PutUint32(h.header[0:4], uint32(h.n))
		le.PutUint32(h.header[segmentAt:], uint32(h.segment))
	}
	d.publish(h.n)
	d.held = heldRecord{}
}
