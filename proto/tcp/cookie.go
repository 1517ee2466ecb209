package tcp

import (
	"math"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4987 §3.6.
//
// A SYN cookie is a first sequence number that says what the peer's SYN has said, so that nothing need be
// kept of it: when a listener's half-open connections are as many as may be, SYNs are answered that way, and
// who acknowledges the cookie has a connection. The number is, as in Linux,
//
//	F(addresses, ports) + the peer's number + minute<<24 + (F(addresses, ports, the peer's number, minute) + MSS) & 0xffffff
//
// with the MSS as an index into cookieMSS; it runs as fast as the peer's own. Window scale, SACK and ECN
// stand in the low bits of the timestamp, so a peer without timestamps has none of them.

const (
	// cookieTick is the unit of a cookie's age, and cookieAge how many of them it lives.
	cookieTick = time.Minute
	cookieAge  = 2

	cookieMask = 1<<24 - 1

	// The low bits of the timestamp that a cookie goes out with (TSBITS of Linux).
	cookieScale  = 0x0f // of the peer, all ones: none
	cookieSACK   = 0x10
	cookieECN    = 0x20
	cookieTSBits = 6
)

// cookieMSS are the MSS that a cookie can remember: each peer gets the largest that it takes.
var cookieMSS = [...]uint16{mssMin, 536, 940, 1220, 1300, 1400, 1440, 1460, 4312, 8960}

// cookieSums returns the two hashes of a cookie for the minute in which it was made.
func (t *TCP) cookieSums(k *key, irs wire.Seq, minute uint64) (base, salt uint32) {
	base = uint32(t.sip.Sum(k.local[0], k.local[1], k.remote[0], k.remote[1], k.ports, 1))
	salt = uint32(t.sip.Sum(k.local[0], k.local[1], k.remote[0], k.remote[1], k.ports, uint64(irs.Uint32())<<32|minute<<1))
	return base + irs.Uint32(), salt
}

func cookieMinute(now mono.Time) uint64 { return uint64(now) / uint64(cookieTick) }

// cookie makes the first sequence number for a peer whose SYN had a number and an MSS.
func (t *TCP) cookie(k *key, irs wire.Seq, mss uint16, now mono.Time) wire.Seq {
	i := len(cookieMSS) - 1
	for i > 0 && cookieMSS[i] > mss {
		i--
	}
	minute := cookieMinute(now)
	base, salt := t.cookieSums(k, irs, minute)
	return wire.SeqOf(base + uint32(minute)<<24 + (salt+uint32(i))&cookieMask)
}

// cookieTold returns the MSS that a cookie tells, or why it is none.
func (t *TCP) cookieTold(k *key, irs, cookie wire.Seq, now mono.Time) (mss uint16, bad drop.Reason) {
	minute := cookieMinute(now)
	base, _ := t.cookieSums(k, irs, 0)
	age := uint8(minute) - uint8((cookie.Uint32()-base)>>24)
	if uint64(age) > minute {
		return 0, drop.TCPSYNCookieBad
	}
	_, salt := t.cookieSums(k, irs, minute-uint64(age))
	i := (cookie.Uint32() - base - salt) & cookieMask
	if i >= uint32(len(cookieMSS)) {
		return 0, drop.TCPSYNCookieBad
	}
	if age >= cookieAge {
		return 0, drop.TCPSYNCookieStale
	}
	return cookieMSS[i], drop.None
}

// sendCookie answers a SYN without keeping anything.
func (l *Listener) sendCookie(k *key, s *segment, now mono.Time) drop.Reason {
	t := l.t
	p := &t.params
	local, remote := t.addrs(k)
	mss := t.cfg.MSS(local, remote)
	if l.opt.MaxSeg != 0 {
		mss = min(mss, l.opt.MaxSeg)
	}
	told := s.opt.MSS
	if told == 0 {
		told = mssDefault(k)
	}
	buffer := l.bufferSize()
	r := reply{
		key: *k, flags: wire.SYN | wire.ACK, seq: t.cookie(k, s.seq, told, now), ack: s.seq.Add(1),
		mss: max(mss, mssMin), scale: -1,
	}
	segment := int(r.mss)
	if r.ts = s.opt.TS && !p.NoTimestamps; r.ts {
		bits := uint32(cookieScale)
		if s.opt.WScale >= 0 && !p.NoWindowScaling {
			bits = uint32(s.opt.WScale)
			r.scale = int8(scaleFor(l.opt.windowMost(max(p.Rmem.Max, buffer))))
		}
		if r.sack = s.opt.SACKPermitted && !p.NoSACK; r.sack {
			bits |= cookieSACK
		}
		if p.acceptsECN(s) {
			bits |= cookieECN
			r.flags |= wire.ECE
		}
		clock := tsClock(now)&^(1<<cookieTSBits-1) | bits
		if clock > tsClock(now) {
			clock -= 1 << cookieTSBits // never ahead of the clock that the connection will have
		}
		r.tsVal, r.tsEcr = t.tsOffset(k)+clock, s.opt.TSVal
		segment -= wire.TCPTimestampsLen
	}
	r.wnd = uint16(wholeSegments(min(buffer, windowMax), segment))
	l.cookieAt = max(now, 1)
	t.stats.CookiesSent++
	t.answer(r)
	return drop.None
}

// inputCookie makes a connection of the acknowledgement of a cookie. It is false if s acknowledges none and wants a
// reset; that is looked into only for as long as cookies live that l has sent.
func (l *Listener) inputCookie(k *key, s *segment, now mono.Time) (drop.Reason, bool) {
	t := l.t
	l = l.dealt(k)
	if l.cookieAt == 0 || now.Sub(l.cookieAt) > cookieAge*cookieTick || s.flags&wire.SYN != 0 {
		return drop.TCPNoConnection, false
	}
	if l.overflows() {
		// What comes behind the acknowledgement of a cookie cannot be told from what belongs to nothing, and a reset would end
		// a connection for which there is room soon.
		t.stats.ListenOverflows++
		return drop.TCPBacklogFull, true
	}
	irs, cookie := s.seq.Add(-1), s.ack.Add(-1)
	mss, bad := t.cookieTold(k, irs, cookie, now)
	if bad != drop.None {
		t.stats.CookiesFailed++
		return bad, false
	}
	syn := segment{seq: irs, flags: wire.SYN, wnd: s.wnd, opt: wire.NoTCPOptions}
	syn.opt.MSS = mss
	ecn := false
	if s.opt.TS {
		bits := s.opt.TSEcr - t.tsOffset(k)
		syn.opt.TS, syn.opt.TSVal = true, s.opt.TSVal
		syn.opt.SACKPermitted = bits&cookieSACK != 0
		ecn = bits&cookieECN != 0
		if scale := bits & cookieScale; scale != cookieScale {
			syn.opt.WScale = int8(min(scale, wire.TCPWScaleMax))
		}
		s.opt.TSEcr = 0 // of no clock: nothing is measured by it
	}
	c, reason := l.newHalfOpen(k, &syn, now)
	if c == nil {
		return reason, true
	}
	if ecn && t.params.ECN != ECNOff {
		c.ecn = ecnOK
	}
	c.setISS(cookie)
	c.snd.nxt = cookie.Add(1)
	c.expired = math.MaxUint8 // whoever has come so far is not deferred
	c.retrans = 1             // as far as anyone knows: the round trip was not timed
	c.advertiseSYN()
	t.stats.CookiesReceived++
	reason = c.input(s, now)
	c.retrans, c.expired = 0, 0
	if c.state == SynReceived { // nothing would ever end it
		c.end(0, now)
	}
	return reason, true
}

// bufferSize is what the receive buffer of l's connections has room for at first.
func (l *Listener) bufferSize() int {
	if l.opt.RcvBuf != 0 {
		return min(max(l.opt.RcvBuf, bufferMin), windowLimit)
	}
	return l.t.params.Rmem.Default
}
