package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 4898 §4 (what its names mean), struct tcp_info of Linux.

// A tally counts what TCP_INFO tells of a connection and TCP itself has no need of. Times are of a clock of
// milliseconds, so that a million connections have room for them.
type tally struct {
	again           uint64             // bytes of data that went out again
	rate            float32            // delivery rate, bytes a second
	dataOut, dataIn uint32             // segments with data
	since           uint32             // when limit began, ms
	spent           [limits - 1]uint32 // ms in each but limitNone
	limit           limit
	rateIdle        bool // rate is the program's, not the path's
}

// A rare is what most connections have none of: those of a sound path whose program asked for nothing special.
type rare struct {
	search     search    // for the path's MTU
	challenged mono.Time // the last answer to a segment that did not fit
	copies     uint32    // segments that the peer had already, as it says (DSACK)
	reordered  uint32    // acknowledgements that showed the path to reorder
	outOfOrder uint32    // segments that came beyond a hole
	timeouts   uint32    // expired retransmission timers
	outages    uint32    // times in which at least one timeout passed without progress
	outageTime uint32    // ms, of these
	marked     uint32    // segments whose acknowledgement told of congestion (ECN)
	syn        []byte    // the headers of the peer's SYN, for TCP_SAVED_SYN; nil: not kept, or taken
}

// needRare returns c's record of what is rare, which it has from now on.
func (c *Conn) needRare() *rare {
	if c.rare == nil {
		c.rare = new(rare)
	}
	return c.rare
}

// A limit is what keeps a connection from sending more (RFC 4898, tcpEStatsPerfSndLim; TCP_CHRONO of Linux).
type limit uint8

const (
	limitNone   limit = iota // there is nothing to send, and nothing on its way
	limitPath                // congestion control, or nothing
	limitPeer                // the peer's window
	limitBuffer              // the send buffer: the program had to wait, and all is sent
	limits
)

// limitedBy notes what keeps c from sending more from now on.
func (c *Conn) limitedBy(l limit, now mono.Time) {
	t := &c.tally
	if t.limit == l {
		return
	}
	at := tsClock(now)
	if t.limit != limitNone {
		t.spent[t.limit-1] += at - t.since
	}
	t.limit, t.since = l, at
}

// spentOn returns for how long l has kept c from sending more.
func (c *Conn) spentOn(l limit, now mono.Time) time.Duration {
	ms := c.tally.spent[l-1]
	if c.tally.limit == l {
		ms += tsClock(now) - c.tally.since
	}
	return time.Duration(ms) * time.Millisecond
}
