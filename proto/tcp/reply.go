package tcp

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.5.2, §3.10.7.1.

// A reply is a segment that belongs to no connection: a reset, what TIME-WAIT answers, or a SYN-ACK with
// a cookie.
type reply struct {
	key          key
	seq, ack     wire.Seq
	tsVal, tsEcr uint32
	wnd          uint16
	flags        wire.Flags
	ts           bool

	sack  bool // the rest of a SYN-ACK
	scale int8 // -1: none
	mss   uint16
}

// ReplyTo returns whom the next segment that belongs to no connection is for, not valid if there
// is none.
func (t *TCP) ReplyTo() netip.Addr {
	if t.replyFirst == t.replyLast {
		return netip.Addr{}
	}
	_, remote := t.addrs(&t.replies[t.replyFirst%repliesMax].key)
	return remote
}

// Reply writes the next segment that belongs to no connection into buf, and returns its length
// and between which addresses it goes. 0 says that there is none.
func (t *TCP) Reply(buf []byte, now mono.Time) (n int, local, remote netip.Addr) {
	if t.replyFirst == t.replyLast {
		return 0, local, remote
	}
	r := &t.replies[t.replyFirst%repliesMax]
	t.replyFirst++
	local, remote = t.addrs(&r.key)
	f := wire.TCPFields{
		SrcPort: r.key.localPort(), DstPort: r.key.remotePort(),
		Seq: r.seq, Ack: r.ack, Flags: r.flags, Window: r.wnd,
	}
	switch {
	case r.flags&wire.SYN != 0:
		f.OptionsLen = wire.PutSYNOptions(buf[wire.TCPLen:], &wire.TCPOptions{
			MSS: r.mss, WScale: r.scale, SACKPermitted: r.sack, TS: r.ts, TSVal: r.tsVal, TSEcr: r.tsEcr,
		})
	case r.ts:
		f.OptionsLen = wire.PutTimestamps(buf[wire.TCPLen:], r.tsVal, r.tsEcr)
	}
	n = wire.PutTCP(buf, &f)
	wire.TCP(buf[:n]).Seal(wire.PseudoSum(local, remote, wire.ProtoTCP, n))
	t.stats.SegsOut++
	return n, local, remote
}

// Replies says whether Reply has something.
func (t *TCP) Replies() bool { return t.replyFirst != t.replyLast }

// answer queues a reply, if there is room.
func (t *TCP) answer(r reply) {
	if t.replyLast-t.replyFirst == repliesMax {
		t.count.Count(drop.OutboxFull)
		return
	}
	t.replies[t.replyLast%repliesMax] = r
	t.replyLast++
}

// reset answers a segment that fits nothing (§3.5.2, the first two groups), unless it is a
// reset itself.
func (t *TCP) reset(k *key, s *segment) {
	if s.flags&wire.RST != 0 {
		return
	}
	r := reply{key: *k, flags: wire.RST, seq: s.ack}
	if s.flags&wire.ACK == 0 {
		r.flags, r.seq, r.ack = wire.RST|wire.ACK, wire.Seq{}, s.end()
	}
	t.stats.ResetsOut++
	t.answer(r)
}

// resetConn tells the peer that c is no more, with its window and timestamps as any segment of its (RFC 7323 §3.2).
func (t *TCP) resetConn(c *Conn, now mono.Time) {
	t.stats.ResetsOut++
	r := reply{key: c.key, flags: wire.RST | wire.ACK, seq: c.snd.nxt, ack: c.rcv.nxt, wnd: c.advertise()}
	if c.tsOK {
		r.ts, r.tsVal, r.tsEcr = true, c.tsNow(now), c.ts.recent
	}
	t.answer(r)
}

// challenge answers a suspicious segment by an acknowledgement, so that a peer that
// means it proves it (RFC 5961 §3-5), within the limits of §7: no more in a second on this core.
func (c *Conn) challenge(now mono.Time) {
	t := c.t
	if second := now / 1e9; second != t.challengeEpoch {
		// Half of the budget is drawn anew each second, or who can make us send challenges could count
		// those of others by what is left (CVE-2016-5696; Linux: tcp_send_challenge_ack).
		t.challengeEpoch, t.challenges = second, t.cfg.Rand.IntN(t.params.ChallengeACKs/2+1)
	}
	if t.challenges >= t.params.ChallengeACKs || c.tooSoon(now) {
		t.count.Count(drop.TCPChallengeLimited)
		return
	}
	t.challenges++
	t.stats.ChallengeACKs++
	c.want |= wantACK
	t.ready(c)
}

// tooSoon says whether c has answered a segment that did not fit less than
// Params.InvalidLimit ago, and otherwise notes that it does so now.
func (c *Conn) tooSoon(now mono.Time) bool {
	f := c.needRare()
	if f.challenged != 0 && now.Sub(f.challenged) < c.t.params.InvalidLimit {
		return true
	}
	f.challenged = max(now, 1)
	return false
}
