package neigh

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4861 §7.3 and appendix C (the states and what moves between them); RFC 7048 §3
// (the one after PROBE).

// State is a neighbour's reachability (RFC 4861 §7.3.2).
type State uint8

const (
	Incomplete  State = iota // asked, not answered; no address yet
	Reachable                // confirmed within the reachable time
	Stale                    // has an address that is used without asking until a packet is sent
	Delay                    // used, and given time to be confirmed from above
	Probe                    // asked by unicast
	Unreachable              // did not answer that: everyone is asked, and the address used meanwhile (RFC 7048)
	Failed                   // no longer in the table
)

func (s State) String() string {
	switch s {
	case Incomplete:
		return "INCOMPLETE"
	case Reachable:
		return "REACHABLE"
	case Stale:
		return "STALE"
	case Delay:
		return "DELAY"
	case Probe:
		return "PROBE"
	case Unreachable:
		return "UNREACHABLE"
	}
	return "FAILED"
}

// An Entry is one neighbour.
type Entry struct {
	Port int        // of the stack
	Addr netip.Addr // the neighbour's
	MAC  wire.MAC   // valid in every state but Incomplete and Failed

	// Parked holds datagrams that wait for the address, as whole IP packets. The stack
	// puts them in and takes them out.
	Parked ring.Datagrams

	table  *Table
	timer  timer.Timer
	state  State
	wanted bool      // somebody has it from Want
	used   bool      // of Unreachable: something was sent since it was asked for last
	idle   bool      // of Unreachable: nobody asks, since nothing was sent
	probes int       // solicitations sent in this state
	until  mono.Time // Reachable ends
	moved  mono.Time // MAC was set
	next   *Entry    // in the table's list by last use, next is older
	prev   *Entry
}

// Wanted says whether there was ever something to send to e: if not, nobody knows it.
func (e *Entry) Wanted() bool { return e.wanted }

// State returns the entry's state.
func (e *Entry) State() State { return e.state }

// Use says that a packet is about to be sent to e, which has an address. It is
// cheap while e is reachable. One that has stopped answering is asked for as long as it is used.
func (e *Entry) Use(now mono.Time) {
	switch e.state {
	case Reachable:
		if now < e.until {
			return
		}
		e.state = Stale // the reachable time has run out unnoticed
		fallthrough
	case Stale:
		e.state = Delay
		e.arm(now.Add(delayFirstProbe))
		e.table.touch(e)
	case Unreachable:
		e.used = true
		if e.idle {
			e.idle = false
			e.solicit(now)
			e.table.touch(e)
		}
	}
}

// Confirm says that e answered in a layer above: its forward path works (RFC 4861
// §7.3.1). It is cheap while e is known to be reachable for some time yet.
func (e *Entry) Confirm(now mono.Time) {
	switch e.state {
	case Reachable:
		if e.until.Sub(now) > e.times().reachable/4 {
			return
		}
		fallthrough
	case Stale, Delay, Probe, Unreachable:
		e.reachable(now)
	}
}

// reachable makes e Reachable, from a state in which it has an address.
func (e *Entry) reachable(now mono.Time) {
	if e.state != Reachable {
		defer e.table.cfg.Link.Confirmed(e, now)
	}
	e.state = Reachable
	e.probes = 0
	e.table.cfg.Wheel.Stop(&e.timer)
	// RFC 4861 §6.3.2: uniformly between 0.5 and 1.5 times.
	d := e.times().reachable
	e.until = now.Add(d/2 + time.Duration(e.table.cfg.Rand.Int64N(int64(d))))
}

// Expire is the entry's timer: resolution or a probe was not answered in time, or
// the delay is over.
func (e *Entry) Expire(_ *timer.Timer, now mono.Time) {
	switch e.state {
	case Incomplete:
		if e.probes >= multicastSolicit {
			e.table.drop(e, true, now)
			return
		}
		e.solicit(now)
	case Delay:
		e.state, e.probes = Probe, 0
		e.solicit(now)
	case Probe:
		if e.probes >= unicastSolicit {
			e.state, e.probes, e.idle = Unreachable, 0, false
			e.table.cfg.Link.Doubted(e, now)
		}
		e.solicit(now)
	case Unreachable:
		switch {
		case e.used:
			e.solicit(now)
		case e.idle:
			e.table.drop(e, false, now)
		default:
			e.idle = true
			e.arm(now.Add(unusedMax))
		}
	}
}

// solicit asks, and again when its time is over.
func (e *Entry) solicit(now mono.Time) {
	wait := e.times().retrans
	if e.state == Unreachable {
		for n := 0; n < e.probes && wait < retransMax; n++ {
			wait *= backoffMultiple
		}
		wait, e.used = min(wait, retransMax), false
	}
	e.probes++
	e.arm(now.Add(wait))
	e.table.cfg.Link.Solicit(e, e.state == Probe, now)
}

func (e *Entry) arm(at mono.Time) { e.table.cfg.Wheel.Arm(&e.timer, at) }
