package tcp

import (
	"golang.org/x/sys/unix"

	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/timer"
)

// Read first: RFC 6298 §5, RFC 9293 §3.8.3, §3.8.4, §3.8.6.1.

// A connection has several deadlines and one timer. The timer is armed for the earliest
// deadline there has been; one that moves on, as that of retransmission does with every
// acknowledgement, is a store: the timer fires when the old one would have been, finds nothing due, and is
// armed again.
const (
	timerRetransmit = iota // of data, a SYN, (persisting) a probe of a closed window, or of FIN-WAIT-2: never two of them
	timerDelayedACK
	timerKeepalive
	timerCork
	timerPace
	timerMemory // a writer that found the pool exhausted may try again
	timerIdle   // drained buffers go back
	timerFree   // the slot goes back
	timers
)

// arm sets a deadline.
func (c *Conn) arm(kind int, at mono.Time) {
	c.due[kind] = at
	if at < c.tm.At() {
		c.t.wheel.Arm(&c.tm, at)
	}
}

func (c *Conn) disarm(kind int) { c.due[kind] = mono.Never }

func (c *Conn) stopAll() {
	for i := range c.due {
		c.due[i] = mono.Never
	}
}

// Expire is called by the wheel.
func (c *Conn) Expire(_ *timer.Timer, now mono.Time) {
	if c.due[timerFree].Due(now) {
		c.due[timerFree] = mono.Never
		c.t.release(c, now)
		return
	}
	for kind := range c.due {
		if c.due[kind].Due(now) {
			c.due[kind] = mono.Never
			c.expire(kind, now)
		}
	}
	first := mono.Never
	for _, at := range c.due {
		first = min(first, at)
	}
	c.t.wheel.Arm(&c.tm, first)
}

func (c *Conn) expire(kind int, now mono.Time) {
	switch kind {
	case timerRetransmit:
		c.expireRetransmit(now)
	case timerDelayedACK:
		c.missed()
		c.want |= wantACK
		c.t.ready(c)
	case timerKeepalive:
		c.expireKeepalive(now)
	case timerCork:
		c.status.Clear(statusMore)
		c.t.ready(c)
	case timerPace:
		c.t.ready(c)
	case timerMemory:
		c.status.Clear(statusOutOfRoom)
		c.t.wakes.Open(&c.Gate, ring.Out)
	case timerIdle:
		c.expireIdle(now)
	}
}

// expireRetransmit is the timeout of whatever waits for an acknowledgement.
func (c *Conn) expireRetransmit(now mono.Time) {
	switch {
	case c.state == SynSent || c.state == SynReceived:
		c.expireSYN(now)
	case c.state == FinWait2:
		c.expireFinWait2(now)
	case c.persisting:
		c.expirePersist(now)
	case c.flight != nil:
		c.expireFlight(now)
	}
}

// armFlight arms the timer for the first of the deadlines of what is on its way.
func (c *Conn) armFlight() {
	f := c.flight
	if c.state == SynReceived { // what the SYN-ACK waits for comes first
		return
	}
	c.arm(timerRetransmit, min(f.rtoAt, f.probeAt, f.reorderAt))
}

// expireFlight is told that one of them has come.
func (c *Conn) expireFlight(now mono.Time) {
	f := c.flight
	if f.reorderAt.Due(now) {
		f.reorderAt = mono.Never
		c.expireReorder(now)
	}
	switch {
	case f.probeAt.Due(now): // if it is the timeout too, the probe has its turn first
		f.probeAt = mono.Never
		f.rtoAt = now.Add(c.rto())
		c.want |= wantTail
		c.t.ready(c)
	case f.rtoAt.Due(now):
		c.expireData(now)
	}
	if c.flight != nil {
		c.armFlight()
	}
}

// expireSYN sends a SYN or SYN-ACK again, so many times.
func (c *Conn) expireSYN(now mono.Time) {
	p := &c.t.params
	deferral := c.deferred && int(c.expired) < c.opt.DeferAccept
	stuck := int(c.expired) >= p.SynAckRetries && !deferral
	if c.state == SynSent {
		tries := p.SynRetries
		if c.opt.SynCount > 0 {
			tries = c.opt.SynCount
		}
		limit := c.opt.UserTimeout
		if limit == 0 {
			limit = rtoInitial * (2<<min(tries, 31) - 1)
		}
		stuck = int(c.expired) >= tries+p.SynLinear || c.expired > 0 && now.Sub(c.stuckSince) >= limit
	}
	if c.state == SynSent {
		c.swallowed(stuck, now)
	}
	if stuck {
		c.end(c.why(), now)
		return
	}
	c.needRare().timeouts++
	if c.expired++; c.state != SynSent || int(c.expired) > p.SynLinear {
		c.backoff++
	}
	if !deferral || int(c.expired) >= c.opt.DeferAccept { // the last one asks for data again (Linux: syn_ack_recalc)
		c.retrans++
		c.want |= wantSYN
		c.t.ready(c)
	}
	c.arm(timerRetransmit, c.beforeUserTimeout(now.Add(c.rto()), now))
}

// beforeUserTimeout is at, or the end of the user timeout if that is earlier, so that it is kept to the
// millisecond (tcp_clamp_rto_to_user_timeout of Linux).
func (c *Conn) beforeUserTimeout(at, now mono.Time) mono.Time {
	if c.opt.UserTimeout == 0 || c.stuckSince == mono.Never {
		return at
	}
	return max(min(at, c.stuckSince.Add(c.opt.UserTimeout)), now.Add(time.Millisecond))
}

// why is the error of a connection that timed out: what ICMP said last, if it did (RFC 1122
// §4.2.3.9).
func (c *Conn) why() unix.Errno {
	if c.softErr != 0 {
		return unix.Errno(c.softErr)
	}
	return unix.ETIMEDOUT
}

// expireData is the retransmission timeout (RFC 6298 §5.4-5.6).
func (c *Conn) expireData(now mono.Time) {
	c.t.stats.Timeouts++
	r := c.needRare()
	r.timeouts++
	first := c.stuckSince == mono.Never
	if first {
		r.outages++
	}
	if first || c.shrunk(now) {
		c.stuckSince = now
	}
	limit := retryLimit(c.t.params.Retries2, c.rtoMax())
	switch {
	case c.opt.UserTimeout > 0:
		limit = c.opt.UserTimeout
	case c.orphan:
		limit = retryLimit(c.t.params.OrphanRetries, c.rtoMax())
	}
	stuck := !first && now.Sub(c.stuckSince) >= limit
	c.swallowed(stuck, now)
	if stuck {
		c.t.stats.AbortOnTimeout++
		c.end(c.why(), now)
		return
	}
	if !first && now.Sub(c.stuckSince) >= retryLimit(c.t.params.Retries1, c.rtoMax()) {
		c.blackHole(now)
	}
	if c.expired < 255 {
		c.expired++
	}
	switch {
	case c.thin() && c.expired <= thinTimeouts:
		c.backoff = 0
	case c.backoff < 255:
		c.backoff++
	}
	c.enterLoss(first, now)
	c.flight.rtoAt = c.beforeUserTimeout(now.Add(c.rto()), now)
}

// shrunk says that the peer has taken its whole window back and goes on to say so: what is sent again is a probe of it, and the
// peer may keep it closed for as long as it likes (§3.8.6, MUST-35 and MUST-37; tcp_rtx_probe0_timed_out of Linux).
func (c *Conn) shrunk(now mono.Time) bool {
	return c.snd.wnd == 0 && !c.orphan && c.opt.UserTimeout == 0 && now.Sub(c.lastRecv) <= 2*c.rtoMax()
}

// thin says whether timeouts do not double at first: so little is on its way, by a program like that, that
// no acknowledgement would tell of a loss (tcp-thin.rst of Linux).
func (c *Conn) thin() bool {
	return (c.opt.ThinTimeouts || c.t.params.ThinTimeouts) && c.state == Established && c.cc.ssthresh != infiniteWindow &&
		c.snd.nxt.Sub(c.snd.una) < thinFlight*c.sendMSS()
}

// armPersist begins to probe a window that leaves no room, where nothing is in flight whose
// acknowledgement would tell of a larger one (§3.8.6.1, MUST-36).
func (c *Conn) armPersist(now mono.Time) {
	if c.persisting && c.due[timerRetransmit] != mono.Never || c.state == SynReceived {
		return
	}
	c.persisting = true
	c.backoff = 0
	c.probes = 0
	c.arm(timerRetransmit, now.Add(c.rto()))
}

// expirePersist sends the next probe. A peer that answers may keep its window closed for
// as long as it likes (MUST-37), but not when the program has left: then data that nobody
// takes ends with the last of the orphan's retries.
func (c *Conn) expirePersist(now mono.Time) {
	if c.tx.Len() == 0 && !c.tx.Sealed() || c.finSent {
		c.persisting = false
		return
	}
	tries := c.t.params.Retries2
	if c.orphan {
		tries = c.t.params.OrphanRetries
	}
	stuck := int(c.probes) >= tries || c.orphan && int(c.backoff) >= tries
	if c.stuckSince == mono.Never {
		c.stuckSince = now
	}
	if c.opt.UserTimeout > 0 { // however often the peer answers that it has no room (Linux: icsk_probes_tstamp)
		stuck = stuck || now.Sub(c.stuckSince) >= c.opt.UserTimeout
	}
	if stuck {
		c.t.stats.AbortOnTimeout++
		c.abort(c.why(), now)
		return
	}
	if c.backoff < 255 {
		c.backoff++
	}
	c.probes++
	// If a little fits, it goes out as data and is the probe.
	c.want |= wantForce
	if c.snd.wnd == 0 {
		c.want |= wantProbe
		if c.urgentMode() {
			c.want |= wantUrgent
		}
	}
	c.arm(timerRetransmit, c.beforeUserTimeout(now.Add(c.rto()), now))
	c.t.ready(c)
}

// armKeepalive begins to watch for a peer that is silent since a time, or stops (§3.8.4).
func (c *Conn) armKeepalive(since, now mono.Time) {
	c.disarm(timerKeepalive)
	if c.opt.KeepAlive && c.state.synchronized() {
		c.arm(timerKeepalive, max(since.Add(orDefault(c.opt.KeepIdle, c.t.params.KeepIdle)), now))
	}
}

func (c *Conn) expireKeepalive(now mono.Time) {
	if !c.opt.KeepAlive || !c.state.synchronized() {
		return
	}
	idle := orDefault(c.opt.KeepIdle, c.t.params.KeepIdle)
	silent := now.Sub(c.lastRecv)
	switch {
	case c.snd.nxt != c.snd.una || c.tx.Len() > 0: // something else is asking already
		c.arm(timerKeepalive, now.Add(idle))
		return
	case silent < idle:
		c.arm(timerKeepalive, c.lastRecv.Add(idle))
		return
	}
	count := c.t.params.KeepCount
	if c.opt.KeepCount > 0 {
		count = c.opt.KeepCount
	}
	stuck := int(c.probes) >= count
	if c.opt.UserTimeout > 0 {
		stuck = c.probes > 0 && silent >= c.opt.UserTimeout
	}
	if stuck {
		c.t.stats.AbortOnTimeout++
		c.abort(c.why(), now)
		return
	}
	c.probes++
	c.want |= wantProbe
	c.t.ready(c)
	c.arm(timerKeepalive, now.Add(orDefault(c.opt.KeepInterval, c.t.params.KeepInterval)))
}

// armIdle sees to it that the buffers are looked at when the connection has been silent.
func (c *Conn) armIdle(now mono.Time) {
	if c.due[timerIdle] == mono.Never {
		c.idleShift = 0
		c.arm(timerIdle, now.Add(idleReclaim))
	}
}

// expireIdle gives back what the buffers of a silent connection hold, or looks again later: soon
// if it is not silent, seldom if its program does not read.
func (c *Conn) expireIdle(now mono.Time) {
	if since := now.Sub(max(c.lastData, c.lastSend)); since < idleReclaim && c.state != Closed {
		c.idleShift = 0
		c.arm(timerIdle, now.Add(idleReclaim))
		return
	}
	if c.flight == nil {
		c.dropRepair()
	}
	rx := c.holes == nil && c.rx.Reclaim()
	tx := c.tx.Reclaim()
	if !rx || !tx {
		c.idleShift = min(c.idleShift+1, idleShiftMax)
		c.arm(timerIdle, now.Add(idleReclaim<<c.idleShift))
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
