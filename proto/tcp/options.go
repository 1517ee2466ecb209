package tcp

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Options are a socket's options. A listener's are what its connections begin with.
type Options struct {
	NoDelay bool   // TCP_NODELAY: small segments do not wait for an acknowledgement
	Cork    bool   // TCP_CORK: they wait until the cork is out, at most 200 ms
	MaxSeg  uint16 // TCP_MAXSEG, bytes; 0: what the path holds
	RcvBuf  int    // bytes of the receive buffer, fixed; 0: tuned by itself
	SndBuf  int    // bytes of the send buffer, fixed; 0: tuned by itself

	KeepAlive    bool          // SO_KEEPALIVE
	KeepIdle     time.Duration // TCP_KEEPIDLE; 0: 2 h
	KeepInterval time.Duration // TCP_KEEPINTVL; 0: 75 s
	KeepCount    int           // TCP_KEEPCNT; 0: 9
	UserTimeout  time.Duration // TCP_USER_TIMEOUT; 0: by tcp_retries2
	SynCount     int           // TCP_SYNCNT; 0: tcp_syn_retries
	Linger2      time.Duration // TCP_LINGER2; 0: tcp_fin_timeout
	Congestion   Algorithm     // TCP_CONGESTION; 0: the host's

	OOBInline bool // SO_OOBINLINE: the urgent byte is read with the others

	FastOpenNoCookie bool // TCP_FASTOPEN_NO_COOKIE
	DeferAccept      int  // TCP_DEFER_ACCEPT: for so many timeouts of the SYN-ACK a connection without data is not made

	MaxPacingRate uint64 // SO_MAX_PACING_RATE, bytes a second of segments with their headers; 0: no limit

	TTL uint8 // IP_TTL, 0: the stack's default: for whoever writes the IP header
	TOS uint8 // IP_TOS, likewise

	// Discover is what package udp calls a Discovery (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER): for
	// whoever writes the IP header. Device is the stack's port that segments leave by and a
	// listener's connections come in by, counted from 1; 0: any (SO_BINDTODEVICE).
	Discover uint8
	Device   uint32

	// RecvErr makes ICMP errors about an established connection the program's at once, which
	// goes on all the same (IP_RECVERR, IPV6_RECVERR).
	RecvErr bool
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
	old := c.opt
	c.opt = &o
	c.setBuffers()
	c.setInline()
	if o.Congestion != old.Congestion {
		c.cc.choose(c.algorithm())
	}
	if o.KeepAlive != old.KeepAlive || o.KeepIdle != old.KeepIdle {
		c.armKeepalive(now)
	}
	if o.Cork != old.Cork && o.Cork {
		c.arm(timerCork, now.Add(corkMax))
	}
	c.resetMSS()
	if c.state != Closed {
		c.t.ready(c) // NoDelay or the end of Cork may let something out
	}
	return 0
}

// noOptions are those of connections for which nothing was asked.
var noOptions Options

// share returns options that connections can point at.
func (t *TCP) share(o Options) *Options {
	if o == noOptions {
		return &noOptions
	}
	p := new(Options)
	*p = o
	return p
}

// QuickACK is TCP_QUICKACK: the next segments are acknowledged at once, or the
// connection goes back to waiting for something to send with it.
func (c *Conn) QuickACK(on bool) {
	if on {
		c.quick, c.pingpong = quickACKs, false
		return
	}
	c.quick, c.pingpong = 0, true
}

// setInline tells the program's calls about OOBInline.
func (c *Conn) setInline() {
	if c.opt.OOBInline {
		c.status.Or(statusInline)
	} else {
		c.status.Clear(statusInline)
	}
}

// setBuffers applies the limits of both buffers.
func (c *Conn) setBuffers() {
	c.autoRx, c.autoTx = c.opt.RcvBuf == 0, c.opt.SndBuf == 0
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
