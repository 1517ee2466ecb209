package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 2883 §4-5, RFC 3522 §3 (Eifel detection), RFC 4015 §3, RFC 8985 §7.4.

// A repair is what is remembered of the last reduction of the window and of what was sent again since,
// until nothing can be heard of it any more. It outlives the flight in which it happened, since the peer's
// report of a duplicate may come after everything has been acknowledged, and goes when the
// connection falls silent.
type repair struct {
	before reduction
	undone bool // or there is nothing to take back

	marker wire.Seq // SND.UNA when it began
	copies int      // sequence numbers sent again since, less those that the peer says it had already
	copied bool     // anything was sent again
	first  uint32   // our timestamp of the first of these

	round   wire.Seq // what the peer reports before this is acknowledged widens no window again (RACK.dsack_round)
	inRound bool

	next *repair // spare ones
}

// needRepair returns c's record, a new one if it has none.
func (c *Conn) needRepair() *repair {
	if c.repair == nil {
		u := c.t.spareRepairs
		if u == nil {
			u = new(repair)
		} else {
			c.t.spareRepairs, u.next = u.next, nil
			c.t.spares--
		}
		u.undone, u.marker = true, c.snd.una
		c.repair = u
	}
	return c.repair
}

// dropRepair forgets it.
func (c *Conn) dropRepair() {
	u := c.repair
	if u == nil {
		return
	}
	c.repair = nil
	if c.t.spares >= sparesMax {
		return
	}
	*u = repair{next: c.t.spareRepairs}
	c.t.spareRepairs = u
	c.t.spares++
}

// remember notes the window before it is reduced. What was sent again before and is still on its way
// may be reported yet.
func (c *Conn) remember() {
	u := c.needRepair()
	u.before, u.undone = c.cc.before(), false
	u.marker, u.copies, u.copied = c.snd.una, c.flight.again, false
}

// sentAgain notes that n numbers go out again.
func (c *Conn) sentAgain(n int, now mono.Time) {
	c.retrans++
	c.t.stats.Retransmits++
	u := c.repair
	if u == nil {
		return
	}
	if !u.copied {
		u.copied, u.first = true, c.tsNow(now)
	}
	u.copies += n
}

// duplicateReported takes in a DSACK block (RFC 2883 §4). Only what was sent again can have arrived
// twice by our doing: a peer cannot have the window widened by reports of anything else.
func (c *Conn) duplicateReported(start, end wire.Seq, d *delivery) {
	d.dsack, d.dsackEnd = true, end
	u := c.repair
	if u == nil || u.copies == 0 || end.AtOrBefore(u.marker) {
		return
	}
	c.t.stats.DSACKs++
	u.copies = max(0, u.copies-end.Sub(start.Max(u.marker)))
	if c.probe == probeCopy && end == c.probeEnd {
		return // the probe's own, not a sign of reordering
	}
	if !u.inRound { // RFC 8985 §6.2 step 4, once a round trip
		u.inRound, u.round = true, c.snd.nxt
		c.reorderMult = uint8(min(int(c.reorderMult)+1, 255))
		c.reorderPersist = reorderPersist
	}
}

// needless says whether the repair turned out to be one of nothing: each copy was a duplicate (DSACK), or
// what was acknowledged was sent before the first copy of it, or there was none (Eifel).
func (c *Conn) needless(d *delivery) bool {
	u := c.repair
	switch {
	case u == nil || u.undone:
		return false
	case u.copied && u.copies == 0 && d.dsack:
		return true
	case d.acked == 0:
		return false
	}
	return !u.copied || d.echo && int32(d.ecr+c.ts.offset-u.first) < 0
}

// undo takes the last reduction back (RFC 4015 §3.2 with what Linux restores): the window and the threshold
// are what they were, nothing is held for lost, and the timeout has no backoff.
func (c *Conn) undo() {
	u := c.repair
	u.undone = true
	c.cc.undo(u.before)
	c.backoff = 0
	c.t.stats.Undos++
	if f := c.flight; f != nil {
		f.phase, f.frto = phaseOpen, frtoOff
		f.unlose()
		if !c.sackOK {
			f.sacked = 0
		}
	}
	c.dupacks = 0
}

// reorderWindow is RACK.reo_wnd (RFC 8985 §6.2 step 4): how much later than what was sent after it a
// segment may come. Without a sign that the path reorders nothing is waited for once there are three
// duplicates or a recovery is under way.
func (c *Conn) reorderWindow() time.Duration {
	f := c.flight
	if !c.reordered && (f.phase >= phaseRecovery || c.dupacks >= dupThresh || f.sacked >= dupThresh*c.sendMSS()) {
		return 0
	}
	return min(c.rtt.min/4*time.Duration(1+c.reorderMult), c.rtt.smooth)
}

// calmer is told that a recovery has ended: sixteen of them without a duplicate, and the window
// is the narrow one again.
func (c *Conn) calmer() {
	if c.reorderPersist > 0 {
		c.reorderPersist--
	}
	if c.reorderPersist == 0 {
		c.reorderMult = 0
	}
}
