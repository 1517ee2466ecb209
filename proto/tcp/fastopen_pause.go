package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 7413 §7.1; tcp_fastopen_blackhole_timeout_sec in Documentation/networking/ip-sysctl.rst,
// tcp_fastopen_active_* in net/ipv4/tcp_fastopen.c.
//
// There are boxes on the way that let a SYN with data pass and swallow what comes after it. A connection that hears nothing for
// three timeouts in a row, or whose peer's FIN alone has come, says that there is one: nobody sends data with a SYN for
// a time, which is twice as long each further time, until a connection that tried again ends in good order.

// A fastPause is the time in which nobody does.
type fastPause struct {
	until mono.Time
	times uint8 // in a row, at most fastPauseMax
}

const (
	// fastPauseMax is when a pause gets no longer: 64 times tcp_fastopen_blackhole_timeout_sec.
	fastPauseMax = 7

	// fastPauseTimeouts is how many timeouts in a row, less the one that has come, say that there is a black hole.
	fastPauseTimeouts = 2
)

func (t *TCP) fastPaused(now mono.Time) bool {
	return t.params.FastOpenPause > 0 && t.fastPause.times > 0 && now.Before(t.fastPause.until)
}

// swallowed is told that a timeout of c has come, maybe the last.
func (c *Conn) swallowed(last bool, now mono.Time) {
	if c.expired == fastPauseTimeouts || c.expired < fastPauseTimeouts && last {
		c.pauseFast(now)
	}
}

// pauseFast begins a pause, if c has opened fast.
func (c *Conn) pauseFast(now mono.Time) {
	p := &c.t.fastPause
	if c.t.params.FastOpenPause == 0 || c.tfo&(fastAsk|fastAcked) == 0 {
		return
	}
	c.tfo &^= fastTrial
	p.times = min(p.times+1, fastPauseMax)
	p.until = now.Add(c.t.params.FastOpenPause << (p.times - 1))
	c.t.stats.FastOpenBlackHoles++
}

// fastEnded is told that c is over.
func (c *Conn) fastEnded(now mono.Time) {
	switch {
	case c.tfo&fastAsk == 0:
	case c.finSeen && c.rcv.nxt.AtOrBefore(c.rcv.fin) && (c.holes == nil || len(c.holes.spans) == 1):
		c.pauseFast(now) // the peer's FIN has come, and not what was before it
	case c.tfo&fastTrial != 0 && c.status.Has(statusConnected):
		c.t.fastPause.times = 0
	}
}

// fastFail is why the data of a SYN was not taken (enum tcp_fastopen_client_fail of Linux).
func (c *Conn) fastFail() int {
	const none, noCookie, notAcked, resent = 0, 1, 2, 3
	switch {
	case c.tfo&fastAsk == 0 || c.tfo&fastAcked != 0:
		return none
	case c.tfo&fastResent != 0:
		return resent
	case c.tfo&fastData == 0:
		return noCookie
	case c.state == SynSent:
		return none
	}
	return notAcked
}
