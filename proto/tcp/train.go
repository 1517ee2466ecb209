package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: tcp_write_xmit, tcp_mss_split_point and tcp_tso_autosize of Linux; tcp_gso_segment in
// net/ipv4/tcp_offload.c for what becomes of a train.
//
// A train is what Linux calls a GSO packet: data of one connection with one header, longer than a segment, that
// whoever carries it cuts into segments, a kernel or a NIC. What holds for each segment of it is what this one header
// says, but for the sequence number, and that CWR is the first one's and PSH and FIN are the last one's.
//
// A decision is made once for a train that is otherwise made for each segment: what may go, timers, window, header. Its bytes
// are neither copied nor summed here. The order of segments, their sizes and their flags are those that the same
// connection would have without trains.

// A Train is room for the description of one.
type Train struct {
	// Most is how much payload there may be, in bytes, but for a single segment's: whoever asks for a train sets it. 0: none
	// is to be made.
	Most int

	// Segment is the payload of each segment but the last, which may be shorter, in bytes. It is 0 if what was written is
	// no train but a whole segment. Only one segment may be there to be cut: see flight.coupled.
	Segment int

	// Pieces are the payload in order, Len bytes. They lie in the send buffer: whoever takes them is done with them
	// before the core does anything else for this connection.
	Pieces [][]byte
	Len    int
}

// trainMost (bytes) is the longest payload of a train: an IP packet has 65535 at most.
const trainMost = 65535 - wire.IPv6Len - wire.TCPMaxLen

// Segments returns how many a train is cut into.
func (tr *Train) Segments() int { return (tr.Len + tr.Segment - 1) / tr.Segment }

// OutputTrain is Output that may write a train, if tr.Most allows: then tr.Segment is not 0, buf has the header alone, and its
// checksum field the sum of the pseudo-header over all, not complemented, for whoever cuts it to finish.
func (t *TCP) OutputTrain(c *Conn, buf []byte, tr *Train, now mono.Time) int {
	tr.Segment = 0
	if tr.Most > 0 {
		t.train = tr
	}
	n := t.Output(c, buf, now)
	t.train = nil
	return n
}

// couple decides whether new data goes out as a train, and returns how much of it then: where n bytes
// may go as one segment of at most mss, and unsent wait.
//
// Once data has left in a train, what follows leaves in one until all is acknowledged, be it a single segment: a packet of another
// kind could take another way through the machine and overtake it.
func (c *Conn) couple(tr *Train, n, unsent, mss int, settled bool, now mono.Time) int {
	switch {
	case n <= 0 || n > mss || c.urgentMode() || c.searching() || c.want&(wantForce|wantTail) != 0:
		return n
	case !c.rcv.dup.empty(): // is told once (RFC 2883 §4)
		return n
	}
	coupled := c.flight != nil && c.flight.coupled
	if n < mss {
		if coupled {
			tr.Segment = mss
		}
		return n
	}
	if c.flight == nil {
		c.beforeSend(n, now) // after a silence the window is smaller
	}
	most := min(tr.Most, trainMost, unsent, c.windowLeft(), int(c.cc.cwnd)-c.inFlight())
	if rate := c.rate(); rate != 0 {
		most = min(most, int(min(rate/uint64(time.Second/paceBurst), trainMost)))
	}
	if most < unsent || most%mss != 0 && !settled && c.held() {
		most -= most % mss
	}
	if most <= mss && !coupled {
		return n
	}
	tr.Segment = mss
	return max(n, most)
}

// putTrain is putData for what couple has made a train.
func (c *Conn) putTrain(buf []byte, start wire.Seq, n, header int, flags wire.Flags, now mono.Time) int {
	tr := c.t.train
	off := c.txOffset(start)
	tr.Pieces, tr.Len = c.tx.View(tr.Pieces[:0], off, n)
	if off+uint64(tr.Len) == c.tx.Tail() {
		flags |= wire.PSH
	}
	if tr.Len == 0 { // a FIN alone
		tr.Segment = 0
		return c.put(buf, start, flags, header, 0, now)
	}
	more := tr.Segments() - 1
	c.flight.coupled = true
	c.tally.dataOut += uint32(more + 1)
	c.segsOut += uint32(more)
	c.t.stats.SegsOut += uint64(more)
	c.burst = burstMax
	c.pace((more+1)*header+tr.Len, now)
	return c.put(buf, start, flags, header, tr.Len, now)
}
