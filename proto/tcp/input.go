package tcp

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.

// Input takes one segment, b being TCP header and payload, with a good checksum, and what its IP header says of
// congestion. It returns why it was dropped, drop.None if it was not. b is read until Input returns.
func (t *TCP) Input(local, remote netip.Addr, b []byte, ecn wire.ECN, now mono.Time) drop.Reason {
	h, ok := wire.ParseTCP(b)
	if !ok {
		if len(b) < wire.TCPLen {
			return drop.TCPShort
		}
		return drop.TCPOffset
	}
	t.stats.SegsIn++
	if h.SrcPort() == 0 || h.DstPort() == 0 {
		return drop.TCPPortZero
	}
	if l := &t.last; l.conn != nil && l.ports == h.Ports() && l.remote == remote && l.local == local {
		return l.conn.arrived(h, ecn, now)
	}
	k := keyOf(local, h.DstPort(), remote, h.SrcPort())
	r := t.find(&k)
	if r != 0 && r&refTimeWait == 0 {
		c := t.conn(uint32(r) - 1)
		t.last = lastConn{local, remote, h.Ports(), c}
		return c.arrived(h, ecn, now)
	}
	s := segment{ecn: ecn}
	s.parse(h)
	if r != 0 {
		return t.tw.input(r, &s, now)
	}
	return t.inputClosed(&k, local, remote, &s, now)
}

// lastConn is the connection of the segment that came last, while it has one: segments come in trains, and those
// behind the first of one need not be looked up. See follows, too.
type lastConn struct {
	local, remote netip.Addr
	ports         uint32
	conn          *Conn // nil: it is in the table no more
}

// gone is told that c is no longer what the table has for its key.
func (t *TCP) gone(c *Conn) {
	if t.last.conn == c {
		t.last = lastConn{}
	}
}

// arrived takes a segment of c.
func (c *Conn) arrived(h wire.TCP, ecn wire.ECN, now mono.Time) drop.Reason {
	if c.t.guarded && !c.hears(c.t.hops) {
		return drop.TCPMinTTL
	}
	c.segsIn++
	if len(h.Payload()) > 0 {
		c.tally.dataIn++
	}
	if c.state == Established && c.predicted(h) {
		return c.fast(h, ecn, now)
	}
	s := segment{ecn: ecn}
	s.parse(h)
	return c.input(&s, now)
}

// predicted says whether a segment of an established connection is what most are (header prediction):
// the next in order, within the window, with no flag but ACK and PSH, with the options that
// were agreed on, not older than the last, and acknowledging nothing strange.
func (c *Conn) predicted(h wire.TCP) bool {
	if h.Flags()&^wire.PSH != wire.ACK || h.Seq() != c.rcv.nxt || c.holes != nil || c.urgPending ||
		len(h.Payload()) > c.rcv.adv.Sub(c.rcv.nxt) {
		return false
	}
	if ack := h.Ack(); ack.Before(c.snd.una) || ack.After(c.snd.nxt) {
		return false
	}
	o := h.Options()
	if !c.tsOK {
		return len(o) == 0
	}
	val, _, ok := timestamps(o)
	return ok && int32(val-c.ts.recent) >= 0
}

// timestamps reads the options of a segment that has nothing but timestamps, laid out as everyone does.
func timestamps(o []byte) (val, ecr uint32, ok bool) {
	if len(o) != wire.TCPTimestampsLen || o[0] != 1 || o[1] != 1 || o[2] != 8 || o[3] != 10 {
		return 0, 0, false
	}
	return be32(o[4:8]), be32(o[8:12]), true
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// fast is a predicted segment: §3.10.7.4 without the checks that cannot fail.
func (c *Conn) fast(h wire.TCP, ecn wire.ECN, now mono.Time) drop.Reason {
	s := segment{seq: h.Seq(), ack: h.Ack(), flags: h.Flags(), wnd: uint32(h.Window()), payload: h.Payload(), ecn: ecn}
	if c.tsOK {
		s.opt.TSVal, s.opt.TSEcr, s.opt.TS = timestamps(h.Options())
		c.recentTimestamp(&s, now)
	}
	if c.follows(&s, now) {
		return drop.None
	}
	c.heard(now)
	if reason, ok := c.inputACK(&s, now); !ok {
		return reason
	}
	if len(s.payload) == 0 {
		return drop.None
	}
	return c.inputText(&s, now)
}

// follows takes a predicted segment that says nothing new but its text, behind another one of the same moment: of a train of them
// only those go the whole way that come before an acknowledgement is due at the end of the batch, and one of another size.
//
// So a train costs what receive coalescing would make of it, but for the look at each header, and nothing is put together or kept
// back. Of the instructions that a full segment costs its receiver from Input to the program's Read it saves
// 13 of 100, 18 without the sum (BenchmarkTCPBulkReceive of package proto, bursts of 64).
func (c *Conn) follows(s *segment, now mono.Time) bool {
	p := s.payload
	if c.lastData != now || c.want&wantACK == 0 || s.ack != c.snd.una || len(p) != int(c.rcv.mss) ||
		s.wnd<<c.snd.scale != c.snd.wnd || c.ecn&ecnOK != 0 || c.finSeen || c.persisting || c.opt.Came != nil || c.unwanted() {
		return false
	}
	if c.rx.WriteAt(c.rx.Tail(), p) < len(p) {
		return false // out of memory, which inOrder knows more of
	}
	c.snd.wl1 = s.seq
	c.lastSize = 0
	c.rcv.nxt = c.rcv.nxt.Add(len(p))
	c.t.progress = true
	c.rx.Publish(len(p))
	c.t.wakes.Open(&c.Gate, ring.In)
	return true
}

// heard notes that the peer is alive.
func (c *Conn) heard(now mono.Time) {
	c.lastRecv = now
	c.probes = 0
}

// recentTimestamp is RFC 7323 §4.3 (2): the timestamp to echo is that of the segment that
// the last acknowledgement was for.
func (c *Conn) recentTimestamp(s *segment, now mono.Time) {
	if s.seq.AtOrBefore(c.rcv.wup) && (int32(s.opt.TSVal-c.ts.recent) >= 0 || now.Sub(c.ts.recentAt) >= pawsIdle) {
		c.ts.recent, c.ts.recentAt = s.opt.TSVal, now
	}
}
