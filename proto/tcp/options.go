package tcp

import (
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// Options are a socket's options. A listener's are what its connections begin with.
type Options struct {
	NoDelay bool   // TCP_NODELAY: small segments do not wait for an acknowledgement
	Cork    bool   // TCP_CORK: they wait until the cork is out, at most 200 ms
	MaxSeg  uint16 // TCP_MAXSEG, bytes; 0: what the path holds
	RcvBuf  int    // bytes of the receive buffer, fixed; 0: tuned by itself
	SndBuf  int    // bytes of the send buffer, fixed; 0: tuned by itself
	RcvLow  int    // SO_RCVLOWAT, bytes: a receive buffer that is tuned has room for so much at least

	WindowClamp  int    // TCP_WINDOW_CLAMP: bytes that are offered to the peer at most; 0: no limit
	NotSentLow   uint32 // TCP_NOTSENT_LOWAT: there is room for more to send while less than this is not sent; 0: tcp_notsent_lowat
	ThinTimeouts bool   // TCP_THIN_LINEAR_TIMEOUTS: with little on its way the first timeouts do not double

	RTOMin   time.Duration // TCP_RTO_MIN_US; 0: tcp_rto_min_us
	RTOMax   time.Duration // TCP_RTO_MAX_MS; 0: tcp_rto_max_ms
	DelayMax time.Duration // TCP_DELACK_MAX_US: how long an acknowledgement waits at most; 0: 200 ms

	KeepAlive    bool          // SO_KEEPALIVE
	KeepIdle     time.Duration // TCP_KEEPIDLE; 0: 2 h
	KeepInterval time.Duration // TCP_KEEPINTVL; 0: 75 s
	KeepCount    int           // TCP_KEEPCNT; 0: 9
	UserTimeout  time.Duration // TCP_USER_TIMEOUT; 0: by tcp_retries2
	SynCount     int           // TCP_SYNCNT; 0: tcp_syn_retries
	Linger2      time.Duration // TCP_LINGER2; 0: tcp_fin_timeout
	Congestion   Algorithm     // TCP_CONGESTION; 0: the host's

	OOBInline bool // SO_OOBINLINE: the urgent byte is read with the others

	FastOpenNoCookie bool  // TCP_FASTOPEN_NO_COOKIE
	SaveSYN          uint8 // TCP_SAVE_SYN: 1 keeps the headers of SYNs from IP on, 2 from the link's on
	DeferAccept      int   // TCP_DEFER_ACCEPT: for so many timeouts of the SYN-ACK a connection without data is not made

	MaxPacingRate uint64 // SO_MAX_PACING_RATE, bytes a second of segments with their headers; 0: no limit

	TTL uint8 // IP_TTL, 0: the stack's default: for whoever writes the IP header
	TOS uint8 // IP_TOS, likewise

	// What comes with less is dropped (IP_MINTTL over IPv4, IPV6_MINHOPCOUNT over IPv6): see near.
	MinTTL, MinHops uint8

	// Discover is what package udp calls a Discovery (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER): for
	// whoever writes the IP header. Device is the stack's port that segments leave by and a
	// listener's connections come in by, counted from 1; 0: any (SO_BINDTODEVICE).
	Discover uint8
	Device   uint32

	// Sharing says who may be bound to the connection's port beside it. Bound stays what Connect was told. User is whose the
	// connection is, where that counts: with ReusePort. Else it is 0.
	Sharing Sharing
	User    uint32

	// RecvErr makes ICMP errors about an established connection the program's at once, which
	// goes on all the same (IP_RECVERR, IPV6_RECVERR).
	RecvErr bool
	// Came is where it is kept when the bytes of the stream came (SO_TIMESTAMP and others); nil: nowhere. A connection has
	// its own.
	Came *ring.Arrivals
	// Errors is where whoever knows ICMP puts what ends the opening of a connection; nil: nowhere. See Telling.
	Errors *ring.Late
}

// Options returns c's options.
func (c *Conn) Options() Options { return *c.opt }

// TTL is the lifetime of c's packets (IP_TTL), 0: the stack's default.
func (c *Conn) TTL() uint8 { return c.opt.TTL }

// TOS is the traffic class of the segment that Output has just written: the DSCP is the program's (IP_TOS),
// the rest is ECN's.
func (c *Conn) TOS() uint8 { return c.opt.TOS&^3 | c.ecn.codepoint() }

// Discover and Device are how its packets leave: see Options.
func (c *Conn) Discover() uint8 { return c.opt.Discover }
func (c *Conn) Device() uint32  { return c.opt.Device }

// SetOptions changes c's options. MaxSeg can only make segments smaller than
// the path allows; buffers stay within bufferMin and the protocol's limit.
func (c *Conn) SetOptions(o Options, now mono.Time) unix.Errno {
	if o.Congestion >= algorithms {
		return unix.ENOENT
	}
	old, held := c.opt, c.tenure()
	o.Sharing |= old.Sharing & Bound
	c.opt = &o
	c.t.guard(&o)
	c.reregister(held)
	if o.Came != nil && old.Came == nil && c.rx.Len() > 0 {
		o.Came.Mark(c.rx.Tail(), int64(c.lastData)) // what came before a program had it, with the last of that
	}
	c.setBuffers()
	c.setInline()
	if o.Congestion != old.Congestion {
		c.cc.choose(c.algorithm())
	}
	switch {
	case o.KeepAlive != old.KeepAlive:
		c.armKeepalive(now, now)
	case o.KeepIdle != old.KeepIdle: // the silence that has been counts
		c.armKeepalive(c.lastRecv, now)
	}
	if o.Cork != old.Cork && o.Cork {
		c.arm(timerCork, now.Add(corkMax))
	}
	if o.WindowClamp != old.WindowClamp {
		c.want |= wantACK // as Linux: the peer hears of a larger window, or a smaller one
	}
	c.setNotSentLow()
	c.resetMSS()
	if c.state != Closed {
		c.t.ready(c) // NoDelay or the end of Cork may let something out
	}
	return 0
}

// windowMost is how large a window can become that is n by the buffer.
func (o *Options) windowMost(n int) int {
	if o.WindowClamp != 0 {
		return min(n, o.WindowClamp)
	}
	return n
}

// noOptions are those of connections for which nothing was asked.
var noOptions Options

// slim gives up, once c is open, what Options say of its opening, where they say nothing else: then they need not be
// c's own.
func (c *Conn) slim() {
	o := *c.opt
	if o.Errors = nil; o == noOptions {
		c.opt = &noOptions
	}
}

// share returns options that connections can point at.
func (t *TCP) share(o Options) *Options {
	if o == noOptions {
		return &noOptions
	}
	t.guard(&o)
	p := new(Options)
	*p = o
	return p
}

// QuickACK is TCP_QUICKACK: 0 has acknowledgements wait for something to send with them. Another number has what waits
// acknowledged now and, if it is odd, what comes next when the program has read it, until the program answers again.
func (c *Conn) QuickACK(n int, now mono.Time) {
	if n == 0 {
		c.pingpong = true
		return
	}
	c.pingpong = false
	if c.due[timerDelayedACK] != mono.Never || c.status.Has(statusSoon) {
		c.ackNow()
		c.pingpong = n&1 == 0
	}
}

// setInline tells the program's calls about OOBInline.
func (c *Conn) setInline() {
	if c.opt.OOBInline {
		c.status.Or(statusInline)
	} else {
		c.status.Clear(statusInline)
	}
}

// InQuickACK is what TCP_QUICKACK returns: acknowledgements do not wait for something to send with them.
func (c *Conn) InQuickACK() bool { return !c.pingpong }

// Timestamp is what our next timestamp says (TCP_TIMESTAMP).
func (c *Conn) Timestamp(now mono.Time) uint32 { return c.tsNow(now) }

// SavedSYN returns the headers that the peer's SYN came with (TCP_SAVED_SYN), nil if none were kept.
func (c *Conn) SavedSYN() []byte {
	if c.rare == nil {
		return nil
	}
	return c.rare.syn
}

// DropSYN forgets them: they have been told.
func (c *Conn) DropSYN() { c.needRare().syn = nil }

// saveSYN keeps them, where the listener is to.
func (c *Conn) saveSYN() {
	if c.opt.SaveSYN == 0 || c.t.cfg.Packet == nil {
		return
	}
	link, rest := c.t.cfg.Packet()
	if c.opt.SaveSYN == 1 {
		link = nil
	}
	c.needRare().syn = slices.Concat(link, rest)
}

// setNotSentLow lets the program know how much may wait to be sent.
func (c *Conn) setNotSentLow() {
	low := c.t.params.NotSentLow
	if c.opt.NotSentLow != 0 {
		low = c.opt.NotSentLow
	}
	if low == math.MaxUint32 {
		low = 0
	}
	if was := c.unsentMost(); was != uint64(low) {
		c.status.Clear(was << statusUnsent)
		c.status.Or(uint64(low) << statusUnsent)
	}
	c.noteSent()
}

// noteSent tells the program how far its data has been sent, where it wants to know.
func (c *Conn) noteSent() {
	if c.unsentMost() != 0 && c.state.synchronized() && !c.finSent {
		c.sentTo.Store(c.txOffset(c.snd.nxt))
	}
}

// Buffers returns how many bytes the receive and the send buffer can hold now.
func (c *Conn) Buffers() (rcv, snd int) { return c.rx.Limit(), c.tx.Limit() }

// setBuffers applies the limits of both buffers.
func (c *Conn) setBuffers() {
	c.autoRx, c.autoTx = c.opt.RcvBuf == 0, c.opt.SndBuf == 0
	if want := min(2*c.opt.RcvLow, c.t.params.Rmem.Max); c.autoRx && want > c.rx.Limit() {
		c.rx.SetLimit(want)
	}
	if !c.autoRx {
		c.rx.SetLimit(min(max(c.opt.RcvBuf, bufferMin), windowLimit))
	}
	if !c.autoTx {
		c.tx.SetLimit(min(max(c.opt.SndBuf, bufferMin), windowLimit))
	}
}

// algorithm returns which congestion control c is to use.
func (c *Conn) algorithm() Algorithm {
	if c.opt.Congestion != AlgorithmDefault {
		return c.opt.Congestion
	}
	return c.t.params.Congestion
}
