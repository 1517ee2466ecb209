package tcp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Config is what the core lends to its TCP.
type Config struct {
	Pool   *ring.Pool     // memory of all buffers
	Wheel  *timer.Wheel   // whoever owns it calls Advance
	Wakes  *ring.Wakes    // gates with news go here
	Count  *drop.Counters // for what is dropped beside Input's own verdict
	Secret [16]byte       // key of sequence numbers, timestamps and the table: never told, the same on all cores of a host
	Rand   *rand.Rand     // replays exactly when seeded
	Params Params
	Lanes  int    // ports that Output fills packets for, each with a list of ready connections; 0: one
	Loop   uint32 // the port of them by which the host reaches itself, counted from 1; 0: none

	// MSS returns how much TCP payload and options one packet between two addresses holds: the
	// MTU of the interface less the headers of IP and 20. It is asked once a connection.
	MSS func(local, remote netip.Addr) uint16

	// Packet returns the packet of the segment in Input: its link header, and the rest up to the end of its TCP header. It is
	// asked for a SYN that a listener wants to keep (TCP_SAVE_SYN); nil: there are none.
	Packet func() (link, rest []byte)

	// Miss is asked when a segment finds no connection on this core, before a
	// listener or a reset answers it. True says that another core owns it and has it now.
	// It is nil on a host with one core.
	Miss func(local, remote netip.AddrPort) bool

	// Claim enters a new connection into the directory of all cores and fails if it is there or
	// the directory is full; Disclaim takes it out when its last state has ended, TIME-WAIT
	// included. Both are nil on a host with one core.
	Claim    func(local, remote netip.AddrPort) bool
	Disclaim func(local, remote netip.AddrPort)

	// Register keeps account of the ports that connections hold; nil: nobody does.
	Register Register
}

// TCP is the protocol on one core.
type TCP struct {
	cfg    Config
	params Params
	wheel  *timer.Wheel
	wakes  *ring.Wakes
	count  *drop.Counters
	sip    siphash.Key

	table     table
	scopes    wire.Scopes // of link-local addresses
	slabs     []*[slabConns]Conn
	free      uint32 // index plus one of the first free connection, linked by next
	conns     int    // in use
	listeners map[uint16]*Listener
	tw        twSlab
	fastPeers []fastPeer     // nil: Fast Open has asked nobody
	fastKeys  [1]siphash.Key // of cookies
	fastPause fastPause

	train    *Train // what OutputTrain may write; nil: Output is under way, or nothing
	lanes    []lane // of connections with something to say
	newcomer uint8  // the lane of those that have none yet; 0 where there is one lane in all
	sorting  uint8  // counts Resort: a connection's lane of before does not count

	replies               [repliesMax]reply
	replyFirst, replyLast uint32 // counting up, modulo repliesMax

	spareFlights *flight
	spareRepairs *repair
	spareHoles   *holes
	spares       int // how many of these are kept

	progress bool // see Progress
	last     lastConn
	arrival  uint32 // see Arrives
	hops     uint8  // likewise
	guarded  bool   // a socket has asked for how near segments come from: see guard
	pressure bool   // see pressed

	challengeEpoch mono.Time // the second that challenges are counted in
	challenges     int

	soon []soonACK // in the order of their times: delay.go

	states  [TimeWait + 1]int // connections in each state
	orphans int               // that their programs have closed, TIME-WAIT and those that lapse not included
	lapsing int               // see Conn.lapse
	stats   Stats
}

// A lane is a list of connections that take turns, linked by Conn.next and prev.
type lane struct{ first, last uint32 } // index plus one, 0: none

// Stats counts since New.
type Stats struct {
	SegsIn, SegsOut      uint64
	Retransmits          uint64 // segments sent again
	Timeouts             uint64 // retransmission timers that expired
	FastRecoveries       uint64
	LossProbes           uint64 // probes of the tail
	LossProbeRecoveries  uint64 // losses that only the probe has shown, by repairing them
	DSACKs               uint64 // reports of duplicates of what was sent again
	Undos                uint64 // reductions of the window that were taken back
	ActiveOpens          uint64
	PassiveOpens         uint64
	AttemptFails         uint64
	EstabResets          uint64
	ResetsOut            uint64
	ChallengeACKs        uint64
	ListenOverflows      uint64 // handshakes that could not end since the accept queue was full
	CookiesSent          uint64
	CookiesReceived      uint64
	CookiesFailed        uint64 // acknowledgements of what could have been a cookie and was none
	AbortOnTimeout       uint64
	FastOpenActive       uint64 // SYNs whose data was taken
	FastOpenActiveFails  uint64 // and those whose data was not
	FastOpenPassive      uint64 // connections opened by a SYN with a cookie
	FastOpenPassiveFails uint64 // cookies that were none of ours
	FastOpenBlackHoles   uint64 // how often Fast Open was given up for a time
	FastOpenOverflows    uint64 // SYNs that found as many pending as may be
	AbortOnData          uint64 // closed with data unread, or data came after the close
	AbortOnMemory        uint64
	OutOfOrder           uint64 // segments that were kept beyond a hole
	TimeWaitRecycled     uint64
}

// New returns a TCP without connections.
func New(cfg Config) *TCP {
	t := &TCP{
		cfg:       cfg,
		params:    cfg.Params.withDefaults(cfg.Pool.Limit()),
		wheel:     cfg.Wheel,
		wakes:     cfg.Wakes,
		count:     cfg.Count,
		sip:       siphash.New(cfg.Secret),
		listeners: map[uint16]*Listener{},
		lanes:     make([]lane, max(cfg.Lanes, 1)),
	}
	if len(t.lanes) > 1 {
		t.newcomer = uint8(len(t.lanes))
		t.lanes = append(t.lanes, lane{})
	}
	t.table = newTable(t.sip)
	var fast [16]byte
	binary.LittleEndian.PutUint64(fast[:], t.sip.Sum(5))
	binary.LittleEndian.PutUint64(fast[8:], t.sip.Sum(6))
	t.fastKeys[0] = siphash.New(fast)
	t.tw.init(t)
	return t
}

// Params returns the parameters, defaults filled in.
func (t *TCP) Params() Params { return t.params }

// SetParams changes the parameters, whose zero values are meant: what [TCP.Params] has returned, changed by Knobs.
// Connections that there are keep the buffers, options and congestion control that they began with.
func (t *TCP) SetParams(p Params) {
	t.params = p
	t.cfg.Pool.SetLimit(p.Mem.Max * pageSize)
}

// Stats returns the counters.
func (t *TCP) Stats() Stats { return t.stats }

// Count returns how many connections are in state s.
func (t *TCP) Count(s State) int {
	if s == TimeWait {
		return t.tw.n
	}
	return t.states[s]
}

// Len returns how many connections this core holds, TIME-WAIT not included.
func (t *TCP) Len() int { return t.conns }

// Front returns the connection of a lane that is next to say something, nil if none is.
func (t *TCP) Front(lane int) *Conn {
	first := t.lanes[lane].first
	if first == 0 {
		return nil
	}
	return t.conn(first - 1)
}

// Talks says whether somebody may have something to say by a lane: one of its connections, one that has no
// lane yet, or nobody's segment.
func (t *TCP) Talks(lane int) bool {
	return t.lanes[lane].first|t.lanes[t.newcomer].first != 0 || t.replyFirst != t.replyLast
}

// Newcomer returns a connection that has something to say and is in no lane yet, nil if
// there is none. It is to be moved into one.
func (t *TCP) Newcomer() *Conn {
	if t.newcomer == 0 {
		return nil
	}
	return t.Front(int(t.newcomer))
}

// Move puts c into a lane, where it stays until it is moved again or Resort is called.
func (t *TCP) Move(c *Conn, lane int) {
	listed := c.listed
	t.unready(c)
	c.lane, c.sorted = uint8(lane), t.sorting
	if listed {
		t.ready(c)
	}
}

// Resort makes all connections newcomers: routes have changed.
func (t *TCP) Resort() {
	if t.newcomer == 0 {
		return
	}
	t.sorting++
	for lane := range int(t.newcomer) {
		for c := t.Front(lane); c != nil; c = t.Front(lane) {
			t.Move(c, int(t.newcomer))
		}
	}
}

// Output writes one segment of c into buf: header, options, payload, the whole checksum. It returns
// its length. At 0 c had nothing to say and has left the ready list. Which connection
// is at the front may change with each call: connections take turns.
//
// A buf that is too short for a full segment makes segments short; it has room for
// 60 bytes and some payload.
func (t *TCP) Output(c *Conn, buf []byte, now mono.Time) int {
	c.ecn &^= ecnECT
	n := c.output(buf, now)
	if n == 0 {
		t.unready(c)
		return 0
	}
	t.stats.SegsOut++
	c.segsOut++
	if c.silent() {
		c.cwndLimited = false
		t.unready(c)
		return n
	}
	if c.burst++; c.burst >= burstMax {
		c.burst = 0
		t.unready(c)
		t.ready(c)
	}
	return n
}

// Progress says whether the last segment that Input took in proves that what we send arrives: it acknowledged
// data, or brought data that came since we acknowledged what was before it (RFC 4861 §7.3.1).
func (t *TCP) Progress() bool {
	p := t.progress
	t.progress = false
	return p
}

// Park takes c off the ready list until Unpark: its neighbour is not resolved.
// Its timers go on.
func (t *TCP) Park(c *Conn) {
	t.unready(c)
	c.parked = true
}

// Unpark ends Park.
func (t *TCP) Unpark(c *Conn) {
	c.parked = false
	t.ready(c)
}

// Fail is told that nothing can be sent to c's peer now (its neighbour does not answer,
// there is no route). A connection that is being opened ends with errno. To another one it is a soft
// error; it leaves the ready list until a timer has it try again: that of retransmission, or the
// persist timer if nothing is on its way.
func (t *TCP) Fail(c *Conn, errno unix.Errno, now mono.Time) {
	c.parked = false
	if c.state == SynSent || c.state == SynReceived {
		c.end(errno, now)
		return
	}
	c.soft(errno)
	t.unready(c)
	if c.state != Closed && c.snd.nxt == c.snd.una && (c.tx.Len() > 0 || c.tx.Sealed()) && !c.finAcked() {
		c.armPersist(now)
	}
}

// ready puts c at the end of its lane, where it is not there yet.
func (t *TCP) ready(c *Conn) {
	if c.listed || c.parked || c.state == Closed {
		return
	}
	c.listed = true
	if c.sorted != t.sorting {
		c.lane, c.sorted = t.newcomer, t.sorting
	}
	l := &t.lanes[c.lane]
	c.next, c.prev = 0, l.last
	if l.last == 0 {
		l.first = c.index + 1
	} else {
		t.conn(l.last - 1).next = c.index + 1
	}
	l.last = c.index + 1
}

// unready takes c off its lane.
func (t *TCP) unready(c *Conn) {
	if !c.listed {
		return
	}
	c.listed = false
	l := &t.lanes[c.lane]
	if c.prev == 0 {
		l.first = c.next
	} else {
		t.conn(c.prev - 1).next = c.next
	}
	if c.next == 0 {
		l.last = c.prev
	} else {
		t.conn(c.next - 1).prev = c.prev
	}
	c.next, c.prev = 0, 0
}
