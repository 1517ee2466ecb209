package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4821 §7, RFC 8899 §4.3; tcp_mtu_probing, tcp_mtu_probe and tcp_sync_mss of Linux.
//
// A router that drops what is too long and does not say so is a black hole: the handshake passes and full segments
// never do. With tcp_mtu_probing a connection that hears nothing for tcp_retries1 makes its segments small, and then
// finds out by single larger ones how long they may be. A probe that is lost says so, and nothing of congestion.

// A search is where a connection stands with that. Sizes are of payload and options, as an MSS is.
type search struct {
	low, high  uint16   // low is known to pass, 0: nothing is searched for; beyond high nothing does
	size       uint16   // of the probe that is on its way, 0: none
	start, end wire.Seq // of that probe
	at         uint32   // when high was last learned, ms
}

// blackHole is told that nothing was heard for tcp_retries1.
func (c *Conn) blackHole(now mono.Time) {
	p := &c.t.params
	if p.MTUProbing == 0 {
		return
	}
	s := &c.needRare().search
	s.size = 0
	options := wire.TCPOptionsLen(c.tsOK, 0) // tcp_base_mss is of payload
	if s.low == 0 {
		*s = search{low: uint16(min(p.BaseMSS+options, int(c.mssMost()))), high: c.mssMost(), at: tsClock(now)}
	} else {
		s.low = uint16(max(min((int(s.low)-options)/2, p.BaseMSS)+options, mssMin))
	}
	c.resetMSS()
}

// searching says whether c's segments are what a search says.
func (c *Conn) searching() bool { return c.rare != nil && c.rare.search.low != 0 }

// startSearch begins with small segments, where that is wanted for every connection.
func (c *Conn) startSearch(now mono.Time) {
	if c.t.params.MTUProbing == 2 {
		c.blackHole(now)
	}
}

// probeSize returns, of a connection that is searching, how many bytes of unsent ones a probe has that may go out now in place of a full segment, 0 if none
// may. There is to be so much more behind it that its loss would be seen at once.
func (c *Conn) probeSize(unsent, header int, buf []byte, now mono.Time) int {
	s, p := &c.rare.search, &c.t.params
	mss := int(c.snd.mss)
	if s.size != 0 || c.flight != nil && (c.flight.phase != phaseOpen || c.flight.sacked > 0) || int(c.cc.cwnd) < searchWindow*mss {
		return 0
	}
	high := int(min(s.high, c.mssMost()))
	if high < int(s.low)+p.ProbeThreshold {
		if tsClock(now)-s.at >= uint32(p.ProbeInterval.Milliseconds()) { // the path may be another one by now
			s.high, s.at = c.mssMost(), tsClock(now)
		}
		return 0
	}
	size := (int(s.low) + high + 1) / 2
	n := size - (header - wire.TCPLen)
	behind := (dupThresh + 1) * mss
	if unsent < n+behind || c.windowLeft() < n+behind || c.inFlight()+n > int(c.cc.cwnd) || n > len(buf)-header {
		return 0
	}
	s.size, s.start, s.end = uint16(size), c.snd.nxt, c.snd.nxt.Add(n)
	return n
}

// probePassed is told that everything before una has arrived.
func (c *Conn) probePassed(una wire.Seq) {
	if !c.searching() {
		return
	}
	if s := &c.rare.search; s.size != 0 && una.AtOrAfter(s.end) {
		s.low, s.size = s.size, 0
		c.resetMSS()
	}
}

// probeDropped says whether what is lost is a probe, whose size was too large then.
func (c *Conn) probeDropped(lost span, now mono.Time) bool {
	if !c.searching() {
		return false
	}
	s := &c.rare.search
	if s.size == 0 || lost.start.AtOrAfter(s.end) || lost.end.AtOrBefore(s.start) {
		return false
	}
	s.high, s.size, s.at = s.size-1, 0, tsClock(now)
	return true
}

// searchWindow is how large the congestion window is at least, in segments, before a probe is risked (Linux: 11).
const searchWindow = 11
