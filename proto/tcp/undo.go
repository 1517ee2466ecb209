package tcp

import (
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 2883 §4-5, RFC 3708, RFC 3522 §3 (Eifel detection), RFC 4015 §3, RFC 8985 §7.4.

// A repair is what is remembered of the last reduction of the window and of what was sent again since,
// until nothing can be heard of it any more. It outlives the flight in which it happened, since the peer's
// report of a duplicate may come after everything has been acknowledged, and goes when the
// connection falls silent.
type repair struct {
	before reduction
	undone bool // or there is nothing to take back

	again  []span // what was sent again since, once for each time, less what the peer says it had already
	blind  bool   // there was more: duplicates say nothing
	copied bool   // anything was sent again
	first  uint32 // our timestamp of the first of these

	// Without SACK duplicates of what is not after the end of the last repair are answers to it, and no loss (RFC 6582 §3.2 step 2).
	end     wire.Seq
	guarded bool

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
		u.undone = true
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
	*u = repair{again: u.again[:0], next: c.t.spareRepairs}
	c.t.spareRepairs = u
	c.t.spares++
}

// remember notes the window before it is reduced. What was sent again before and is still on its way
// may be reported yet.
func (c *Conn) remember() {
	u := c.needRepair()
	u.before, u.undone = c.cc.before(), false
	u.again, u.blind, u.copied = u.again[:0], false, false
	f := c.flight
	for i := f.head; f.again > 0 && i < len(f.runs); i++ {
		if r := &f.runs[i]; r.is&again != 0 {
			u.copy(span{r.start, r.end})
		}
	}
}

// copy notes that s was sent again.
func (u *repair) copy(s span) {
	if last := len(u.again) - 1; last >= 0 && u.again[last].end == s.start {
		u.again[last].end = s.end
		return
	}
	if len(u.again) == copiesMax {
		u.blind = true
		return
	}
	u.again = append(u.again, s)
}

// duplicate takes out what the peer has got twice, as often as it says so. It fails if that was not sent
// again: then it is the network that repeats, of which the path is neither better nor worse (RFC 3708 §3).
func (u *repair) duplicate(b span) (ours bool) {
	for i := 0; i < len(u.again) && b.start.Before(b.end); i++ {
		s := u.again[i]
		cut := span{s.start.Max(b.start), s.end.Min(b.end)}
		if !cut.start.Before(cut.end) {
			continue
		}
		ours = true
		b.start = cut.end
		switch {
		case cut == s:
			u.again = slices.Delete(u.again, i, i+1)
			i--
		case cut.start == s.start:
			u.again[i].start = cut.end
		case cut.end == s.end || len(u.again) == copiesMax:
			u.blind = u.blind || cut.end != s.end
			u.again[i].end = cut.start
		default:
			u.again[i].end = cut.start
			u.again = slices.Insert(u.again, i+1, span{cut.end, s.end})
		}
	}
	return ours
}

// sentAgain notes that the numbers of s go out again.
func (c *Conn) sentAgain(s span, now mono.Time) {
	c.retrans++
	c.probeDropped(s, now)
	c.tally.again += uint64(s.end.Sub(s.start))
	if c.finSent && s.end == c.snd.nxt {
		c.tally.again--
	}
	c.t.stats.Retransmits++
	u := c.repair
	if u == nil {
		return
	}
	if !u.copied {
		u.copied, u.first = true, c.tsNow(now)
	}
	u.copy(s)
}

// duplicateReported takes in a DSACK block (RFC 2883 §4). Only what was sent again can have arrived
// twice by our doing: a peer, or a network that repeats, cannot have the window widened by reports of anything else.
func (c *Conn) duplicateReported(start, end wire.Seq, d *delivery) {
	d.dsack, d.dsackEnd = true, end
	c.needRare().copies += uint32(segments(end.Sub(start), c.sendMSS()))
	u := c.repair
	if u == nil || !u.duplicate(span{start, end}) {
		return
	}
	c.t.stats.DSACKs++
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
	case u.copied && len(u.again) == 0 && !u.blind && d.dsack:
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
	return min(c.rtt.min.least()/4*time.Duration(1+c.reorderMult), c.rtt.smooth)
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
