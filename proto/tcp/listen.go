package tcp

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.2, listen(2), tcp(7).

// ListenConfig says how to listen.
type ListenConfig struct {
	// Backlog is how many connections wait for Accept at most, and how many handshakes are under way before
	// SYNs are answered by cookies: one more than this each, as on Linux.
	Backlog int
	// Options are what connections begin with. Listeners whose Sharing says ReusePort may have the same address: each SYN is
	// for one of them, by a hash of its addresses and ports.
	Options Options
	// Only6 keeps a listener at "::" from taking IPv4 (IPV6_V6ONLY).
	Only6 bool
	// Gate says In when a connection waits. A socket that listens on several cores has one.
	Gate *ring.Gate
	// Queued counts the connections that wait for Accept. Listeners of one socket on
	// several cores share it, so that Backlog is the socket's; nil: the listener's own.
	Queued *ring.Word
}

// A Listener makes connections of SYNs.
type Listener struct {
	t      *TCP
	local  netip.AddrPort
	cfg    ListenConfig
	opt    *Options // cfg.Options as its connections share them
	queued *ring.Word
	own    ring.Word

	half  queue // connections in SYN-RECEIVED
	full  queue // connections that wait for Accept
	next  *Listener
	alive bool

	cookieAt mono.Time // when the last SYN cookie was sent, 0: none was

	fastMax     int // TCP_FASTOPEN; see fastopen.go
	fastPending int
	fastKeys    []siphash.Key
	fastResets  []mono.Time // when those that were reset do not count any more
}

// A queue is a list of connections, linked by index plus one through qnext and qprev.
type queue struct {
	first, last uint32
	n           int
}

func (q *queue) push(t *TCP, c *Conn) {
	c.qnext, c.qprev = 0, q.last
	if q.last == 0 {
		q.first = c.index + 1
	} else {
		t.conn(q.last - 1).qnext = c.index + 1
	}
	q.last = c.index + 1
	q.n++
}

func (q *queue) remove(t *TCP, c *Conn) {
	if c.qprev == 0 {
		q.first = c.qnext
	} else {
		t.conn(c.qprev - 1).qnext = c.qnext
	}
	if c.qnext == 0 {
		q.last = c.qprev
	} else {
		t.conn(c.qnext - 1).qprev = c.qprev
	}
	c.qnext, c.qprev = 0, 0
	q.n--
}

// Listen waits for connections at local, whose address may be unspecified of either family: then any
// address of that family will do, and "::" takes IPv4 too unless Only6. The address as given must be free on this core
// (EADDRINUSE); who may share a port is the caller's business.
func (t *TCP) Listen(local netip.AddrPort, cfg ListenConfig) (*Listener, unix.Errno) {
	if local.Port() == 0 || !local.Addr().IsValid() {
		return nil, unix.EINVAL
	}
	for l := t.listeners[local.Port()]; l != nil; l = l.next {
		if l.local == local && l.opt.Device == cfg.Options.Device && l.opt.Sharing&cfg.Options.Sharing&ReusePort == 0 {
			return nil, unix.EADDRINUSE
		}
	}
	l := &Listener{t: t, local: local, cfg: cfg, queued: cfg.Queued, alive: true}
	l.opt = t.share(cfg.Options)
	if l.queued == nil {
		l.queued = &l.own
	}
	l.next = t.listeners[local.Port()]
	t.listeners[local.Port()] = l
	return l, 0
}

// Local returns where l listens.
func (l *Listener) Local() netip.AddrPort { return l.local }

// SetBacklog is a second listen(2): it changes how many may wait.
func (l *Listener) SetBacklog(n int) { l.cfg.Backlog = n }

// SetOptions changes what connections begin with.
func (l *Listener) SetOptions(o Options) { l.opt = l.t.share(o) }

// Accept takes the connection that has waited longest, nil if none waits. It may have been
// reset already. The caller calls Init on its Gate and owes it a Close.
func (l *Listener) Accept() *Conn {
	if l.full.first == 0 {
		return nil
	}
	c := l.t.conn(l.full.first - 1)
	l.full.remove(l.t, c)
	l.queued.Add(-1)
	if c.tfo&fastPending == 0 {
		c.listener = nil
	}
	c.accepted = true
	return c
}

// Pending returns how many connections wait for Accept on this core.
func (l *Listener) Pending() int { return l.full.n }

// Close stops listening and resets the connections that nobody accepted.
func (l *Listener) Close(now mono.Time) {
	if !l.alive {
		return
	}
	l.alive = false
	at := l.t.listeners[l.local.Port()]
	if at == l {
		if l.next == nil {
			delete(l.t.listeners, l.local.Port())
		} else {
			l.t.listeners[l.local.Port()] = l.next
		}
	}
	for ; at != nil; at = at.next {
		if at.next == l {
			at.next = l.next
		}
	}
	for l.half.first != 0 {
		l.t.conn(l.half.first - 1).Abort(now)
	}
	for l.full.first != 0 {
		l.Accept().Abort(now)
	}
}

// Arrives says by which port of the stack, counted from 1, the segment of the next Input comes, and its TTL or hop limit.
func (t *TCP) Arrives(port uint32, hops uint8) { t.arrival, t.hops = port, hops }

// listening returns who listens at an address: the one at this very address before the one at any, then
// the one of an interface, then the one of the address's family (Linux: compute_score in
// net/ipv4/inet_hashtables.c).
func (t *TCP) listening(local netip.Addr, port uint16) (best *Listener) {
	top := 0
	for l := t.listeners[port]; l != nil; l = l.next {
		if score := l.score(t.arrival, local); score > top {
			best, top = l, score
		}
	}
	return best
}

// score is how much l says about a SYN to an address, 0 if it is not for l.
func (l *Listener) score(arrival uint32, local netip.Addr) int {
	score := 2
	switch a := l.local.Addr(); {
	case a == local:
		score += 8
	case !a.IsUnspecified():
		return 0
	case a.Is4() != local.Is4():
		if a.Is4() || l.cfg.Only6 {
			return 0
		}
		score = 1
	}
	if l.opt.Device != 0 {
		if l.opt.Device != arrival {
			return 0
		}
		score += 4
	}
	return score
}

// dealt returns which of the listeners that share l's address a connection is for.
func (l *Listener) dealt(k *key) *Listener {
	if l.opt.Sharing&ReusePort == 0 {
		return l
	}
	n := uint64(0)
	for at := l.t.listeners[l.local.Port()]; at != nil; at = at.next {
		if at.shares(l) {
			n++
		}
	}
	pick := l.t.sip.Sum(k.local[0], k.local[1], k.remote[0], k.remote[1], k.ports) % n
	for at := l.t.listeners[l.local.Port()]; at != nil; at = at.next {
		if !at.shares(l) {
			continue
		}
		if pick == 0 {
			return at
		}
		pick--
	}
	return l
}

// shares says whether both listen at the same address, of the same interface.
func (l *Listener) shares(other *Listener) bool {
	return l.local == other.local && l.opt.Device == other.opt.Device
}

// overflows says whether one more connection must not be begun: Linux takes backlog+1.
func (l *Listener) overflows() bool { return int64(l.queued.Load()) > int64(l.cfg.Backlog) }

// inputListen is §3.10.7.2 for a segment without RST and ACK that found l. The iss is given
// where the connection follows one in TIME-WAIT.
func (l *Listener) inputListen(k *key, s *segment, iss *wire.Seq, now mono.Time) drop.Reason {
	t := l.t
	l = l.dealt(k)
	switch {
	case s.flags&wire.FIN != 0:
		return drop.TCPFlagsBad
	case l.overflows():
		t.stats.ListenOverflows++
		return drop.TCPBacklogFull
	case l.half.n > l.cfg.Backlog && !t.params.NoSynCookies:
		return l.sendCookie(k, s, now)
	case t.params.NoSynCookies && l.half.n >= min(l.cfg.Backlog+1, t.params.MaxSynBacklog):
		return drop.TCPSYNQueueFull
	}
	c, reason := l.newHalfOpen(k, s, now)
	if c == nil {
		return reason
	}
	c.saveSYN()
	if iss != nil {
		c.setISS(*iss)
	} else {
		c.setISS(t.isn(k, now))
	}
	take, give := l.fastOpen(k, s, now)
	if give {
		c.tfo |= fastGive
	}
	c.sendSYN(now)
	if take {
		c.openFast(s, now)
	}
	return drop.None
}

// newHalfOpen makes a connection in SYN-RECEIVED of a SYN, nil where there is no room for it.
func (l *Listener) newHalfOpen(k *key, syn *segment, now mono.Time) (*Conn, drop.Reason) {
	c, errno := l.t.newConn(k, l.opt)
	if errno != 0 {
		if errno == unix.EADDRINUSE {
			return nil, drop.TCPDirectoryFull
		}
		return nil, drop.TCPConnectionLimit
	}
	c.passive = true
	c.listener = l
	l.half.push(l.t, c)
	c.setState(SynReceived)
	c.takeSYN(syn, now)
	return c, drop.None
}

// becomeAcceptable moves a connection whose handshake has ended into the accept
// queue. It fails when that is full: the peer will send its acknowledgement, or
// data, again; or is told so, if AbortOverflow says it.
func (c *Conn) becomeAcceptable(now mono.Time) bool {
	l := c.listener
	if l.overflows() {
		c.t.stats.ListenOverflows++
		if c.t.params.AbortOverflow {
			c.abort(unix.ECONNREFUSED, now)
		}
		return false
	}
	l.half.remove(c.t, c)
	l.offer(c)
	return true
}

// offer puts a connection into the accept queue.
func (l *Listener) offer(c *Conn) {
	l.t.enter(&c.key, c.tenure())
	l.full.push(l.t, c)
	l.queued.Add(1)
	l.t.stats.PassiveOpens++
	if l.cfg.Gate != nil {
		l.t.wakes.Open(l.cfg.Gate, ring.In)
	}
}

// unlist takes a connection that ends out of its listener's list of half-open
// ones. One that waits for Accept stays: the program will see how it ended.
func (c *Conn) unlist() {
	if c.tfo&fastTaken != 0 {
		c.fastOver(false, 0)
		return
	}
	if l := c.listener; l != nil && c.state == SynReceived {
		l.half.remove(c.t, c)
		c.listener = nil
	}
}
