// Package neigh is who is on the link: one state machine for ARP and Neighbor
// Discovery, and a bounded table of its entries. In come sightings of neighbours
// and the wish to send to one; out go solicitations, which the stack writes, and the
// news that a neighbour is resolved or will never be. It never sees a packet.
//
// Read first: RFC 4861 §7.3 (reachability), §7.2 (resolution), §10 (constants);
// RFC 826 for what ARP adds nothing to; RFC 7048 on probing longer.
package neigh

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Constants of RFC 4861 §10, and of RFC 7048 §3 for those that have stopped answering. ARP is run by
// them too.
const (
	reachableTime    = 30 * time.Second // REACHABLE_TIME, spread by the two factors below
	retransTimer     = time.Second      // RETRANS_TIMER
	delayFirstProbe  = 5 * time.Second  // DELAY_FIRST_PROBE_TIME
	multicastSolicit = 3                // MAX_MULTICAST_SOLICIT
	unicastSolicit   = 3                // MAX_UNICAST_SOLICIT
	backoffMultiple  = 3                // BACKOFF_MULTIPLE (RFC 7048 §4): how much longer each question of Unreachable waits
)

// retransMax is MAX_RETRANS_TIMER of RFC 7048 §4: however long a neighbour has been silent, it is asked for this
// often while something is sent to it.
const retransMax = time.Minute

// unusedMax is for how long the address of a silent neighbour is kept while nothing is sent to it. That is longer than the
// longest pause between two retransmissions (tcp_rto_max, 120 s), so that a connection keeps its way; whoever comes later
// begins with a question, and hears that nobody is there (EHOSTUNREACH) where Linux, which gives such a neighbour up
// after three probes, would have told him.
const unusedMax = 3 * time.Minute

// arpLock is for how long an address that an ARP packet gave is not replaced by another one's, unless that
// announces itself: the first of two answers counts, whoever sent the second (Linux: locktime).
const arpLock = 1 * time.Second

// parkedMax is how many bytes of datagrams wait for one neighbour, each charged
// with its overhead. A burst of a few full-size ones: what waits longer than a
// second is of little use to anybody.
const parkedMax = 16 << 10

// A Link is what the table needs of the stack.
type Link interface {
	// Solicit asks e.Addr for its address: by unicast to e.MAC, or by broadcast or to the
	// solicited-node group.
	Solicit(e *Entry, unicast bool, now mono.Time)
	// Resolved says that e has an address, after Incomplete, or another one than before.
	Resolved(e *Entry, now mono.Time)
	// Confirmed says that e is Reachable and was not: it has answered, here or in a layer above.
	Confirmed(e *Entry, now mono.Time)
	// Doubted says that e, which has an address, has stopped answering: what has another way takes it, and
	// the rest goes on using this one (RFC 7048 §3).
	Doubted(e *Entry, now mono.Time)
	// Dropped says that e is no longer in the table. failed says that nobody answered who never had: what is
	// parked has no way by e.
	Dropped(e *Entry, failed bool, now mono.Time)
}

// Config is what a table is made of.
type Config struct {
	Link  Link
	Wheel *timer.Wheel
	Pool  *ring.Pool // for parked datagrams
	Rand  *rand.Rand
	Limit int // entries; 0: entriesMax
}

// entriesMax is Linux's gc_thresh3: room for a /22 where everyone talks to us.
const entriesMax = 1024

// A Table is the neighbours of all ports of one core.
type Table struct {
	cfg        Config
	entries    map[key]*Entry // looked up by key, never ranged over
	newest     *Entry
	oldest     *Entry
	incomplete int
	links      []times // by port
}

type key struct {
	port int
	addr netip.Addr
}

// New returns an empty table.
func New(cfg Config) *Table {
	if cfg.Limit == 0 {
		cfg.Limit = entriesMax
	}
	return &Table{cfg: cfg, entries: make(map[key]*Entry)}
}

// Lookup returns the entry of a neighbour, nil if there is none.
func (t *Table) Lookup(port int, addr netip.Addr) *Entry { return t.entries[key{port, addr}] }

// Len returns the number of entries.
func (t *Table) Len() int { return len(t.entries) }

// All calls f for each entry, last used first.
func (t *Table) All(f func(*Entry)) {
	for e := t.newest; e != nil; e = e.next {
		f(e)
	}
}

// Parked says whether anything waits for a neighbour.
func (t *Table) Parked() bool {
	for e := t.newest; e != nil; e = e.next {
		if e.Parked.Len() > 0 {
			return true
		}
	}
	return false
}

// Want returns the entry of a neighbour that there is something to send to, and
// begins to resolve it if it is not known. It returns nil if the table is full
// of neighbours that are in use.
//
// A quarter of the table is for addresses that may not exist, so that a program that scans a subnet
// cannot push out those that do.
func (t *Table) Want(port int, addr netip.Addr, now mono.Time) *Entry {
	return t.want(port, addr, t.cfg.Limit/4, now)
}

// WantToAnswer is Want for an answer to who says that he is addr. Half of that quarter is for those: a
// flood from addresses that do not exist leaves what programs send to its own half.
func (t *Table) WantToAnswer(port int, addr netip.Addr, now mono.Time) *Entry {
	return t.want(port, addr, t.cfg.Limit/8, now)
}

func (t *Table) want(port int, addr netip.Addr, most int, now mono.Time) *Entry {
	if e := t.entries[key{port, addr}]; e != nil {
		e.wanted = true
		return e
	}
	if t.incomplete >= max(1, most) {
		return nil
	}
	e := t.add(port, addr, now)
	if e == nil {
		return nil
	}
	e.state, e.wanted = Incomplete, true
	t.incomplete++
	t.touch(e)
	e.solicit(now)
	return e
}

// add makes room for an entry and puts it in, as the oldest: it becomes the newest when it is used, so that
// those whom we never sent to go first.
func (t *Table) add(port int, addr netip.Addr, now mono.Time) *Entry {
	if len(t.entries) >= t.cfg.Limit && !t.evict(now) {
		return nil
	}
	e := &Entry{Port: port, Addr: addr, table: t}
	e.timer.Init(e)
	e.Parked.Init(t.cfg.Pool, parkedMax)
	t.entries[key{port, addr}] = e
	t.linkLast(e)
	return e
}

// evict drops the entry that was used longest ago and may be gone.
func (t *Table) evict(now mono.Time) bool {
	for e := t.oldest; e != nil; e = e.prev {
		if e.state == Stale || e.state == Unreachable || e.state == Reachable && e.until.Due(now) {
			t.drop(e, false, now)
			return true
		}
	}
	return false
}

func (t *Table) drop(e *Entry, failed bool, now mono.Time) {
	t.cfg.Wheel.Stop(&e.timer)
	if e.state == Incomplete {
		t.incomplete--
	}
	e.state = Failed
	delete(t.entries, key{e.Port, e.Addr})
	t.unlink(e)
	t.cfg.Link.Dropped(e, failed, now)
	e.Parked.Free()
}

// Flush forgets the neighbours of a port: the link went down, or its address changed.
func (t *Table) Flush(port int, now mono.Time) {
	for e := t.newest; e != nil; {
		next := e.next
		if e.Port == port {
			t.drop(e, false, now)
		}
		e = next
	}
}

// A Sighting is what a received packet says of a neighbour.
type Sighting struct {
	Port      int
	Addr      netip.Addr
	MAC       wire.MAC // zero: it does not say, and so is where it was (RFC 4861 §7.2.5)
	Solicited bool     // an answer to our question: it confirms the way there as well
	Override  bool     // it may replace an address that we hold; of ARP: even one that is locked
	Create    bool     // it wants to talk to us, so an answer is worth an entry
}

// See takes in a sighting (RFC 4861 §7.2.3, §7.2.5; RFC 826).
func (t *Table) See(s Sighting, now mono.Time) {
	e := t.entries[key{s.Port, s.Addr}]
	if e == nil {
		if !s.Create || s.MAC.IsZero() {
			return
		}
		if e = t.add(s.Port, s.Addr, now); e == nil {
			return
		}
		e.MAC, e.state, e.moved = s.MAC, Stale, now
		return
	}
	if s.MAC.IsZero() {
		if e.state == Incomplete {
			return
		}
		s.MAC = e.MAC
	}
	if e.state == Incomplete {
		t.incomplete--
		e.MAC, e.state, e.moved = s.MAC, Stale, now
		t.cfg.Wheel.Stop(&e.timer)
		if s.Solicited {
			e.reachable(now)
		}
		t.cfg.Link.Resolved(e, now)
		return
	}
	moved := e.MAC != s.MAC
	if moved && !s.Override {
		if s.Addr.Is4() && !e.moved.Add(arpLock).Due(now) {
			return
		}
		if !s.Addr.Is4() {
			if e.state == Reachable {
				e.state = Stale // RFC 4861 §7.2.5 I: doubt it, keep it
			}
			return
		}
	}
	if moved {
		e.MAC, e.state, e.moved = s.MAC, Stale, now
		t.cfg.Wheel.Stop(&e.timer)
	}
	if s.Solicited {
		e.reachable(now)
	}
	if moved {
		t.cfg.Link.Resolved(e, now)
	}
}

// Doubt says that whoever told of a neighbour knows it no longer, or gets no answer there: it is used as one that
// is Stale, and asked for in time.
func (t *Table) Doubt(port int, addr netip.Addr) {
	if e := t.entries[key{port, addr}]; e != nil && e.state == Reachable {
		e.state = Stale
	}
}

// touch makes e the newest.
func (t *Table) touch(e *Entry) {
	if t.newest != e {
		t.unlink(e)
		t.link(e)
	}
}

func (t *Table) link(e *Entry) {
	e.prev, e.next = nil, t.newest
	if t.newest != nil {
		t.newest.prev = e
	} else {
		t.oldest = e
	}
	t.newest = e
}

func (t *Table) linkLast(e *Entry) {
	e.prev, e.next = t.oldest, nil
	if t.oldest != nil {
		t.oldest.next = e
	} else {
		t.newest = e
	}
	t.oldest = e
}

func (t *Table) unlink(e *Entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		t.newest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		t.oldest = e.prev
	}
	e.prev, e.next = nil, nil
}
