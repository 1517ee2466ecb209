package tcp

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A Conn is one connection. Connections stand in slabs and never move; after its program
// has closed it and its last state has ended, the slot becomes another connection.
//
// Everything belongs to the core, but for what the methods of program.go use: they
// are for the program, without the core's lock.
type Conn struct {
	// Gate is where programs wait. Whoever gets the connection from Connect or Accept calls
	// Init on it before anything else.
	Gate ring.Gate

	t  *TCP
	rx ring.Bytes // the core writes at rcv.nxt and beyond, the program reads
	tx ring.Bytes // the program writes, the core reads from snd.una on

	soErr  ring.Word // SO_ERROR: an errno, 0: none; set by the core, taken by the program
	status ring.Word // the bits below; set by the core, read by the program
	urg    ring.Word // a mark; see urgent.go
	edge   ring.Word // offset in rx up to which the peer may send; set by the core, read by the program

	sentTo ring.Word // offset in tx up to which all has been sent, kept if unsentMost says so; set by the core, read by the program

	tm  timer.Timer
	due [timers]mono.Time // see timers.go

	// Way is the stack's, which remembers there how segments get to the peer. 0 is what a new connection has.
	Way uint64

	key   key
	index uint32
	epoch uint32 // which connection of this slot

	next, prev   uint32 // ready list, or free list: index plus one
	qnext, qprev uint32 // the listener's list of half-open or of ready connections
	listener     *Listener

	flight *flight // what is on its way, nil if nothing is
	repair *repair // what may turn out to have been needless, nil if nothing was sent again lately
	holes  *holes  // what came out of order, nil if nothing did

	snd struct {
		una, nxt, iss wire.Seq
		wl1           wire.Seq // SEG.SEQ of the last window update. SND.WL2 is never after una
		small         wire.Seq // end of the last segment below the MSS (Minshall's Nagle)
		up            wire.Seq // after the urgent byte; una, if there is none
		wnd, maxWnd   uint32   // bytes, scaled up
		mss           uint16   // payload and options: the least of the peer's, the path's and the program's
		pathMSS       uint16   // what one packet of the path holds
		peerMSS       uint16   // as the peer said, 0: it did not
		scale         uint8
	}
	rcv struct {
		nxt, irs wire.Seq
		wup      wire.Seq // nxt as last acknowledged (Last.ACK.sent of RFC 7323)
		adv      wire.Seq // right edge of the window as last offered; never moves back
		fin      wire.Seq // of the peer's FIN, if finSeen
		dup      span     // what has come twice and the peer has not been told of (DSACK); empty: nothing
		mss      uint16   // the largest segment lately: what a delayed acknowledgement waits for two of
		scale    uint8
	}
	probeEnd wire.Seq // SND.NXT when the probe went out (TLP.end_seq)
	pseudo   uint32   // sum of the pseudo-header without the length, folded; it and probeEnd fill a word
	ts       struct {
		offset   uint32 // of our clock
		recent   uint32 // TS.Recent
		recentAt mono.Time
	}
	rtt struct {
		smooth, variance time.Duration
		min              minRTT
	}
	cc     congestion
	tally  tally
	rare   *rare     // nil if there was none of that
	paceAt mono.Time // the next segment goes out then, if there is a rate; see pace.go

	rxTune struct { // receive buffer autotuning
		at     mono.Time
		head   uint32 // the low bits of where the program had read to then
		rtt    uint32 // µs, 0: not known
		from   uint32 // ms, without timestamps: when rcv.nxt was a window before edge
		edge   wire.Seq
		copied uint32 // most bytes that the program has read in one round trip
		timing bool   // from and edge are set
	}

	lastRecv   mono.Time // a segment of the peer that fitted
	lastSend   mono.Time // data of ours
	lastData   mono.Time // data of the peer
	stuckSince mono.Time // when the oldest data was first sent again without an answer, or the first SYN; Never: all is well

	opt      *Options // never written to: the connections of a listener share one
	retrans  uint32   // segments sent again
	segsIn   uint32
	segsOut  uint32
	ackDelay uint32 // how long an acknowledgement waits, µs: see delay.go
	dupacks  uint16
	softErr  uint16 // an errno, of the last ICMP error: why, if it times out
	state    State
	want     want
	backoff  uint8 // expired timers in a row: of data, of probes, or of a SYN
	expired  uint8 // timeouts in a row, of data or SYNs
	probes   uint8 // probes without an answer
	quick    uint8 // acknowledgements still sent at once
	burst    uint8

	lane        uint8
	sorted      uint8 // TCP.sorting when lane was set
	listed      bool  // on its lane's list
	parked      bool  // waits for its neighbour
	orphan      bool  // the program has closed it
	counted     counted
	accepted    bool // a program has it
	tsOK        bool // timestamps in both directions
	sackOK      bool
	scaleOK     bool
	finSent     bool // the last number before snd.nxt is our FIN's
	finSeen     bool // rcv.fin is known
	pingpong    bool // the program answers what it reads: acknowledgements can wait for its data
	cwndLimited bool // the congestion window kept something back
	passive     bool // opened by a listener
	deferred    bool // its peer has acknowledged our SYN, and it is to bring data first
	autoRx      bool // the receive buffer may grow
	autoTx      bool
	persisting  bool // due[timerRetransmit] is the persist timer
	urgPending  bool // urg is announced, and its byte has not come
	reordered   bool // the path has been seen to reorder (RACK.reordering_seen)

	ecn            ecn
	tfo            fast  // Fast Open
	reorderMult    uint8 // quarters of a round trip beyond the first that a segment may be late (RACK.reo_wnd_mult less 1)
	reorderPersist uint8 // recoveries until that is forgotten
	probe          probe
	idleShift      uint8  // doublings of idleReclaim until the buffers are looked at again
	lastSize       uint16 // payload of the last segment, if it may be a full one though smaller than rcv.mss
}

// counted is which of its TCP's counts a connection is in that its program has closed.
type counted uint8

const (
	asOrphan  counted = iota + 1
	asLapsing         // see lapse
)

// want is what a connection has been asked to say beside data.
type want uint8

const (
	wantSYN    want = 1 << iota // SYN, or SYN-ACK in SYN-RECEIVED
	wantACK                     // an acknowledgement, now
	wantProbe                   // a zero-window or keepalive probe
	wantForce                   // one segment regardless of the congestion window
	wantTail                    // a probe of the tail
	wantUrgent                  // a probe of a closed window that announces urgent data
)

// Bits of Conn.status.
const (
	statusConnected = 1 << iota // has been ESTABLISHED
	statusReadShut              // shutdown(SHUT_RD), or closed
	statusClosed                // no more segments will come or go
	statusStarved               // a Write found the pool exhausted
	statusOutOfRoom             // a Write found the buffer full
	statusMore                  // the last Write said that more would follow
	statusInline                // SO_OOBINLINE
	statusFirst                 // the SYN goes out with the first Write
	statusDone                  // the peer has sent its FIN: reading finds the end whatever became of the connection
	statusPushed                // an acknowledgement waits that the peer may wait for: reading all there is sends it
	statusSoon                  // an acknowledgement waits for what the program answers: ackSoon
	statusMuted                 // nothing is written though no FIN goes: see ShutBefore
)

// statusUnsent is where the number of bytes is that may wait to be sent (TCP_NOTSENT_LOWAT), 0: there is no limit.
const statusUnsent = 32

// Local returns our end.
func (c *Conn) Local() netip.AddrPort {
	local, _ := c.t.addrs(&c.key)
	return netip.AddrPortFrom(local, c.key.localPort())
}

// Remote returns the peer's end.
func (c *Conn) Remote() netip.AddrPort {
	_, remote := c.t.addrs(&c.key)
	return netip.AddrPortFrom(remote, c.key.remotePort())
}

// Addrs4 returns the addresses of both ends as they stand in an IPv4 header, first byte on top; ok is
// false if they are of IPv6.
func (c *Conn) Addrs4() (local, remote uint32, ok bool) {
	return uint32(c.key.local[1]), uint32(c.key.remote[1]), c.key.is4()
}

// Index returns the connection's slot: small numbers, dense, used again. What others
// keep about a connection can stand in an array.
func (c *Conn) Index() uint32 { return c.index }

// Epoch tells the connections that a slot has been from each other.
func (c *Conn) Epoch() uint32 { return c.epoch }

// State returns the connection's state. A connection that is in TIME-WAIT after its
// program closed it is not a Conn any more.
func (c *Conn) State() State { return c.state }

// MSS returns the most payload that a segment to the peer has now (TCP_MAXSEG).
func (c *Conn) MSS() int { return c.sendMSS() }

// SetPMTU tells the path's MTU in bytes of an IP packet, when it has become
// smaller (RFC 1191, RFC 8201) or may be larger again.
func (c *Conn) SetPMTU(mtu int, _ mono.Time) {
	if mss := uint16(min(max(mtu-headersLen(&c.key), mssMin), 65535)); mss != c.snd.pathMSS {
		c.setPathMSS(mss)
	}
}

// headersLen is the length of the headers of IP and TCP without options.
func headersLen(k *key) int {
	if k.is4() {
		return wire.IPv4Len + wire.TCPLen
	}
	return wire.IPv6Len + wire.TCPLen
}
