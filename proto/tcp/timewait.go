package tcp

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.6.1, §3.10.7.4, RFC 6191, RFC 1337.

// A twEntry is what is left of a connection in TIME-WAIT.
type twEntry struct {
	key        key
	sndNxt     wire.Seq
	rcvNxt     wire.Seq
	recent     uint32 // TS.Recent
	tsOffset   uint32
	ends       mono.Time
	challenged mono.Time
	next, prev uint32 // in order of ends, or free: index plus one
	wnd        uint16 // as the last acknowledgement offered it
	tsOK       bool
	sharing    Sharing // with device, what tenure says
	device     uint32
}

// tenure is how e holds its port.
func (e *twEntry) tenure() Tenure { return Tenure{Device: e.device, Sharing: e.sharing}.left() }

// twSlab holds the entries of a core. All of them last equally long, so they end in the order in which
// they began, and one timer serves all.
type twSlab struct {
	t           *TCP
	slabs       []*[slabConns]twEntry
	free        uint32
	first, last uint32
	n           int
	tm          timer.Timer
}

func (w *twSlab) init(t *TCP) {
	w.t = t
	w.tm.Init(w)
}

func (w *twSlab) at(index uint32) *twEntry {
	index--
	return &w.slabs[index/slabConns][index%slabConns]
}

// Expire is called by the wheel.
func (w *twSlab) Expire(_ *timer.Timer, now mono.Time) {
	for w.first != 0 && w.at(w.first).ends.Due(now) {
		w.drop(w.first)
	}
	w.arm()
}

func (w *twSlab) arm() {
	if w.first != 0 && !w.tm.Armed() {
		w.t.wheel.Arm(&w.tm, w.at(w.first).ends)
	}
}

// link puts an entry at the end: it has the whole time before it.
func (w *twSlab) link(i uint32, now mono.Time) {
	e := w.at(i)
	e.ends = now.Add(timeWait)
	e.next, e.prev = 0, w.last
	if w.last == 0 {
		w.first = i
	} else {
		w.at(w.last).next = i
	}
	w.last = i
	w.arm()
}

func (w *twSlab) unlink(i uint32) {
	e := w.at(i)
	if e.prev == 0 {
		w.first = e.next
	} else {
		w.at(e.prev).next = e.next
	}
	if e.next == 0 {
		w.last = e.prev
	} else {
		w.at(e.next).prev = e.prev
	}
}

// drop ends TIME-WAIT.
func (w *twSlab) drop(i uint32) {
	e := w.at(i)
	w.t.table.remove(&e.key, refTimeWait|ref(i))
	w.t.disclaim(&e.key)
	w.t.leave(&e.key, e.tenure())
	w.unlink(i)
	*e = twEntry{next: w.free}
	w.free = i
	w.n--
}

// full says whether there are as many as may be, with what lapses.
func (w *twSlab) full() bool { return w.n+w.t.lapsing >= w.t.params.MaxTimeWait }

// alloc returns the number of an unused entry.
func (w *twSlab) alloc() uint32 {
	if w.free == 0 {
		base := uint32(len(w.slabs) * slabConns)
		slab := new([slabConns]twEntry)
		w.slabs = append(w.slabs, slab)
		for i := slabConns - 1; i >= 0; i-- {
			slab[i].next = w.free
			w.free = base + uint32(i) + 1
		}
	}
	i := w.free
	w.free = w.at(i).next
	w.n++
	return i
}

// enterTimeWait makes an entry of c, which is CLOSED for its program from now on. Where there is no room for
// one, the connection ends at once, as it does on Linux.
func (c *Conn) enterTimeWait(now mono.Time) {
	w := &c.t.tw
	if c.counted != asLapsing && w.full() {
		c.end(0, now)
		return
	}
	i, held := w.alloc(), c.tenure()
	*w.at(i) = twEntry{
		key: c.key, sharing: held.Sharing, device: held.Device, sndNxt: c.snd.nxt, rcvNxt: c.rcv.nxt,
		recent: c.ts.recent, tsOffset: c.ts.offset, tsOK: c.tsOK,
		wnd: uint16(min(max(0, c.rcv.adv.Sub(c.rcv.nxt))>>c.rcv.scale, windowMax)),
	}
	w.link(i, now)
	c.t.change(&c.key, held, w.at(i).tenure())
	ack := c.want&wantACK != 0 || c.status.Has(statusSoon)
	c.t.table.replace(&c.key, ref(c.index+1), refTimeWait|ref(i))
	c.t.gone(c)
	c.finish(0, now)
	if ack {
		c.t.answerTimeWait(w.at(i), now)
	}
}

func (t *TCP) answerTimeWait(e *twEntry, now mono.Time) {
	t.answer(reply{
		key: e.key, seq: e.sndNxt, ack: e.rcvNxt, flags: wire.ACK, wnd: e.wnd,
		ts: e.tsOK, tsVal: e.tsOffset + tsClock(now), tsEcr: e.recent,
	})
}

// input is a segment that arrives in TIME-WAIT.
func (w *twSlab) input(r ref, s *segment, now mono.Time) drop.Reason {
	i := uint32(r &^ refTimeWait)
	e := w.at(i)
	old := e.tsOK && s.opt.TS && int32(s.opt.TSVal-e.recent) < 0
	switch {
	case s.flags&wire.RST != 0:
		if w.t.params.TimeWaitReset && s.seq == e.rcvNxt {
			w.drop(i)
			return drop.None
		}
		return drop.TCPTimeWait // RFC 1337 §3: a reset does not cut the wait short
	case s.flags&(wire.SYN|wire.ACK) == wire.SYN && !old &&
		(s.seq.After(e.rcvNxt) || e.tsOK && s.opt.TS && int32(s.opt.TSVal-e.recent) > 0):
		return w.reopen(i, s, now)
	case s.flags&wire.FIN != 0 && !old && s.end() == e.rcvNxt:
		// The peer has not got our acknowledgement: the wait begins again (§3.10.7.4, eighth).
		if e.tsOK && s.opt.TS {
			e.recent = s.opt.TSVal
		}
		w.unlink(i)
		w.link(i, now)
	case s.len() == 0 && e.challenged != 0 && now.Sub(e.challenged) < w.t.params.InvalidLimit:
		return drop.TCPTimeWait
	case s.len() == 0 && s.seq == e.rcvNxt:
		return drop.TCPTimeWait // nothing to say to an acknowledgement that fits
	}
	if s.len() == 0 {
		e.challenged = max(now, 1)
	}
	w.t.answerTimeWait(e, now)
	return drop.TCPTimeWait
}

// reopen lets a SYN begin a new connection in place of one in TIME-WAIT: its number or its
// timestamp is beyond all that the old one can have left in the network (RFC 6191 §2, MUST-9 of RFC 9293).
func (w *twSlab) reopen(i uint32, s *segment, now mono.Time) drop.Reason {
	e := w.at(i)
	local, _ := w.t.addrs(&e.key)
	l := w.t.listening(local, e.key.localPort())
	if l == nil {
		k := e.key
		w.t.reset(&k, s)
		return drop.TCPNoListener
	}
	k, iss := e.key, w.t.reissue(&e.key, e.sndNxt, now)
	w.drop(i)
	w.t.stats.TimeWaitRecycled++
	if !l.hears(&k) {
		return drop.TCPMinTTL
	}
	return l.inputListen(&k, s, &iss, now)
}

// reissue returns the first number of a connection that follows one whose next was old: beyond the old ones.
func (t *TCP) reissue(k *key, old wire.Seq, now mono.Time) wire.Seq {
	iss := old.Add(timeWaitGap)
	if isn := t.isn(k, now); isn.After(iss) {
		iss = isn
	}
	return iss
}

// replace ends what has the pair of addresses that Connect wants, where Linux does (tcp_twsk_unique), and says with which number the
// new connection begins: only with timestamps, so that ours are newer.
//
// That is a TIME-WAIT, and for a port that the program is bound to, which is the only one, also FIN-WAIT-2 of a connection
// that its program has closed: a peer that has not closed its side learns by the new SYN that the old one is over.
func (t *TCP) replace(r ref, bound bool, now mono.Time) (iss wire.Seq, ok bool) {
	if r&refTimeWait != 0 {
		return t.tw.reuse(uint32(r&^refTimeWait), bound, now)
	}
	c := t.conn(uint32(r) - 1)
	if !bound || !c.tsOK || c.counted != asLapsing {
		return iss, false
	}
	iss = t.reissue(&c.key, c.snd.nxt, now)
	c.end(0, now)
	t.stats.TimeWaitRecycled++
	return iss, true
}

// reuse ends a TIME-WAIT for Connect. A port that it has chosen is one of many, so tcp_tw_reuse is asked, and a
// second has passed since the last segment; one that the program is bound to is the only one.
func (w *twSlab) reuse(i uint32, bound bool, now mono.Time) (iss wire.Seq, ok bool) {
	e := w.at(i)
	p := &w.t.params
	looped := e.key.loopback() || e.device != 0 && e.device == w.t.cfg.Loop
	wanted := p.TimeWaitReuse == 1 || p.TimeWaitReuse == 2 && looped
	if !e.tsOK || !bound && (!wanted || now.Sub(e.ends.Add(-timeWait)) < p.ReuseDelay) {
		return iss, false
	}
	iss = w.t.reissue(&e.key, e.sndNxt, now)
	w.drop(i)
	w.t.stats.TimeWaitRecycled++
	return iss, true
}
