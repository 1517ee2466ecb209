package tcp

import (
	"slices"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 2018 §3-4, RFC 2883 §4.

// A span is a range of sequence numbers, end being the first after it.
type span struct{ start, end wire.Seq }

func (s span) empty() bool { return s.start == s.end }

// holes is the map of what came out of order: spans that are stored in the receive buffer
// beyond rcv.nxt, sorted, with a hole before each. A connection has one while there is a
// hole.
type holes struct {
	spans  []span
	recent [wire.SACKBlocksMax]wire.Seq // where the last segments began, newest first; each names the span around it
	next   *holes
}

// sackCount returns how many SACK blocks there are to tell.
func (c *Conn) sackCount() int {
	if !c.sackOK {
		return 0
	}
	n := 0
	if c.holes != nil {
		n = len(c.holes.spans)
	}
	if !c.rcv.dup.empty() {
		n++
	}
	return min(n, wire.SACKBlocksMax)
}

// putSACK fills in the blocks: first what has come twice, if anything (RFC 2883 §4), which is told
// once; then what is stored.
func (c *Conn) putSACK(o *wire.TCPOptions) {
	if c.holes != nil {
		o.SACKCount = uint8(c.holes.blocks(&o.SACK))
	}
	if d := &c.rcv.dup; !d.empty() {
		copy(o.SACK[1:], o.SACK[:])
		o.SACK[0] = [2]wire.Seq{d.start, d.end}
		o.SACKCount = min(o.SACKCount+1, wire.SACKBlocksMax)
		*d = span{}
	}
}

// twice notes that text has come which was there already. What touches the last such piece is told
// together with it; of others the first one is.
func (c *Conn) twice(s span) {
	if !c.sackOK || c.t.params.NoDSACK || s.empty() {
		return
	}
	switch d := &c.rcv.dup; {
	case d.empty():
		*d = s
	case s.start.AtOrBefore(d.end) && d.start.AtOrBefore(s.end):
		d.start, d.end = s.start.Min(d.start), s.end.Max(d.end)
	}
}

// overlap returns the first part of s that is stored, an empty one if none is.
func (h *holes) overlap(s span) span {
	if h == nil {
		return span{}
	}
	i := h.search(s.start)
	if i == len(h.spans) || h.spans[i].start.AtOrAfter(s.end) {
		return span{}
	}
	return span{s.start.Max(h.spans[i].start), s.end.Min(h.spans[i].end)}
}

// end returns the end of the last span, or nxt if there is none.
func (h *holes) end(nxt wire.Seq) wire.Seq {
	if h == nil || len(h.spans) == 0 {
		return nxt
	}
	return h.spans[len(h.spans)-1].end
}

// blocks fills in SACK blocks: the span of the newest segment first, then those most recently
// told (RFC 2018 §4), and returns how many.
func (h *holes) blocks(out *[wire.SACKBlocksMax][2]wire.Seq) (n int) {
	tell := func(s span) {
		for _, b := range out[:n] {
			if b[0] == s.start {
				return
			}
		}
		if n < len(out) {
			out[n] = [2]wire.Seq{s.start, s.end}
			n++
		}
	}
	for _, seq := range h.recent {
		if i := h.search(seq); i < len(h.spans) && h.spans[i].start.AtOrBefore(seq) {
			tell(h.spans[i])
		}
	}
	for i := 0; i < len(h.spans) && n < len(out) && i <= len(out); i++ {
		tell(h.spans[i])
	}
	return n
}

// search returns the index of the first span that ends after s.
func (h *holes) search(s wire.Seq) int {
	lo, hi := 0, len(h.spans)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if h.spans[mid].end.After(s) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// add enters a span, merging it with those that it touches. It fails if there would be too many.
func (h *holes) add(s span) bool {
	i := h.search(s.start)
	if i > 0 && h.spans[i-1].end == s.start {
		i--
	}
	j := i
	for ; j < len(h.spans) && h.spans[j].start.AtOrBefore(s.end); j++ {
		s.start, s.end = s.start.Min(h.spans[j].start), s.end.Max(h.spans[j].end)
	}
	if i == j {
		if len(h.spans) >= holesMax {
			return false
		}
		h.spans = slices.Insert(h.spans, i, s)
	} else {
		h.spans[i] = s
		h.spans = slices.Delete(h.spans, i+1, j)
	}
	copy(h.recent[1:], h.recent[:])
	h.recent[0] = s.start
	return true
}

// fill returns how far nxt moves when it has come to nxt: over the spans that begin at or before it.
func (h *holes) fill(nxt wire.Seq) wire.Seq {
	i := 0
	for ; i < len(h.spans) && h.spans[i].start.AtOrBefore(nxt); i++ {
		nxt = nxt.Max(h.spans[i].end)
	}
	h.spans = slices.Delete(h.spans, 0, i)
	return nxt
}

// full says whether a span that touches none would not find a place.
func (h *holes) full() bool { return h != nil && len(h.spans) >= holesMax }

// needHoles returns c's map of holes, a new one if it has none.
func (c *Conn) needHoles() *holes {
	if c.holes == nil {
		h := c.t.spareHoles
		if h == nil {
			h = new(holes)
		} else {
			c.t.spareHoles, h.next = h.next, nil
			c.t.spares--
		}
		c.holes = h
	}
	return c.holes
}

// dropHoles gives the map back: there are no holes any more.
func (c *Conn) dropHoles() {
	h := c.holes
	if h == nil {
		return
	}
	c.holes = nil
	if cap(h.spans) > holesKeep || c.t.spares >= sparesMax {
		return
	}
	*h = holes{spans: h.spans[:0], next: c.t.spareHoles}
	c.t.spareHoles = h
	c.t.spares++
}
