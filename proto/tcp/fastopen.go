package tcp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 7413; net/ipv4/tcp_fastopen.c, tcp_fastopen in Documentation/networking/ip-sysctl.rst.
//
// Who has been given a cookie sends data with its next SYN, and the program there has it before the handshake is over. The
// cookie proves that the sender gets what is sent to its address, so that nobody has work done in another's name.

// Bits of tcp_fastopen.
const (
	FastOpenClient         = 0x1   // MSG_FASTOPEN and TCP_FASTOPEN_CONNECT: the default
	FastOpenServer         = 0x2   // TCP_FASTOPEN of listeners
	FastOpenClientNoCookie = 0x4   // data goes out without a cookie
	FastOpenServerNoCookie = 0x200 // and is taken without one
	FastOpenAllListeners   = 0x400 // those that did not ask for it take it too
)

const (
	// fastOpenCookieLen is what our cookies have, TCP_FASTOPEN_COOKIE_SIZE.
	fastOpenCookieLen = 8

	// fastOpenPeers is how many peers' cookies a core remembers, of what other hosts say about themselves: less
	// than 64 KB, with the last of two peers at the same place.
	fastOpenPeers = 1024

	// fastOpenBackoff is for how long a peer gets no data with SYNs after the first that was lost on the way; twice
	// as long after each other one, at most fastOpenBackoffMax times (RFC 7413 §4.1.3; Linux: tcp_fastopen_cookie_check).
	fastOpenBackoff    = time.Minute
	fastOpenBackoffMax = 6

	// fastOpenReset is how long a connection that was reset before its handshake was over counts as one that is
	// pending: an attacker with a cookie cannot have us open more of them by resets (RFC 7413 §5.1).
	fastOpenReset = 60 * time.Second
)

// fast is where a connection stands with Fast Open.
type fast uint8

const (
	fastAsk     fast = 1 << iota // our SYN asks for a cookie, or brings one
	fastData                     // it has brought data
	fastGive                     // our SYN-ACK gives a cookie
	fastTaken                    // made by a SYN with a cookie: the program has it before the handshake is over
	fastPending                  // and that is not over yet
	fastAcked                    // the data of the SYN was taken, by whichever end it is
	fastResent                   // its data was not taken, and the SYN had to go again
	fastTrial                    // opened when a pause had ended: see blackHoled
)

// A fastPeer is what is known of a peer that Fast Open was tried with.
type fastPeer struct {
	addr   [2]uint64
	cookie [wire.FastOpenCookieMax]byte
	len    uint8 // of cookie
	losses uint8 // SYNs in a row that were lost with their data
	until  mono.Time
}

// fastPeer returns the entry of an address; the address's own, if there is one or it is to be made anew.
func (t *TCP) fastPeer(addr [2]uint64, anew bool) *fastPeer {
	if t.fastPeers == nil {
		if !anew {
			return nil
		}
		t.fastPeers = make([]fastPeer, fastOpenPeers)
	}
	e := &t.fastPeers[t.sip.Sum(addr[0], addr[1], 7)%fastOpenPeers]
	if e.addr == addr {
		return e
	}
	if !anew {
		return nil
	}
	*e = fastPeer{addr: addr}
	return e
}

// FastOpenReady says whether data may go out with the SYN to a peer now.
func (t *TCP) FastOpenReady(remote netip.Addr, opt *Options, now mono.Time) bool {
	k := keyOf(remote, 0, remote, 0)
	_, ok := t.fastCookie(k.remote, opt, now)
	return ok
}

// fastCookie returns the cookie for a peer; ok says that data may go out with it.
func (t *TCP) fastCookie(remote [2]uint64, opt *Options, now mono.Time) (cookie []byte, ok bool) {
	if t.params.FastOpen&FastOpenClient == 0 || t.fastPaused(now) {
		return nil, false
	}
	e := t.fastPeer(remote, false)
	if e != nil && now.Before(e.until) {
		return nil, false
	}
	if opt.FastOpenNoCookie || t.params.FastOpen&FastOpenClientNoCookie != 0 {
		return nil, true
	}
	if e == nil || e.len == 0 {
		return nil, false
	}
	return e.cookie[:e.len], true
}

// ConnectData is Connect that sends as much of p with the SYN as fits, if the peer has given a cookie (MSG_FASTOPEN),
// and otherwise asks for one. It returns how much that will be.
func (t *TCP) ConnectData(local, remote netip.AddrPort, opt Options, p []byte, now mono.Time) (c *Conn, n int, errno unix.Errno) {
	if t.params.FastOpen&FastOpenClient == 0 {
		return nil, 0, unix.EOPNOTSUPP
	}
	if c, errno = t.Connect(local, remote, opt, now); errno != 0 {
		return nil, 0, errno
	}
	c.tfo = fastAsk
	if _, ok := t.fastCookie(c.key.remote, c.opt, now); ok && len(p) > 0 {
		n = c.tx.Write(p[:min(len(p), c.synRoom())])
	}
	return c, n, 0
}

// ConnectLater is Connect that waits for the program's first Write, whose data goes out with the SYN, if the peer has
// given a cookie (TCP_FASTOPEN_CONNECT); otherwise it asks for one at once. It says whether it waits.
func (t *TCP) ConnectLater(local, remote netip.AddrPort, opt Options, now mono.Time) (c *Conn, waits bool, errno unix.Errno) {
	if c, errno = t.Connect(local, remote, opt, now); errno != 0 {
		return nil, false, errno
	}
	if c.tfo = fastAsk; t.FastOpenReady(remote.Addr(), c.opt, now) {
		c.want &^= wantSYN
		c.disarm(timerRetransmit)
		c.status.Or(statusFirst)
		return c, true, 0
	}
	return c, false, 0
}

// firstWrite sends the SYN that has waited for it.
func (c *Conn) firstWrite(now mono.Time) {
	if c.status.Has(statusFirst) && c.tx.Len() > 0 && c.state == SynSent {
		c.status.Clear(statusFirst)
		c.sendSYN(now)
	}
}

// synRoom is how much data a SYN has room for beside all options that there can be.
func (c *Conn) synRoom() int { return max(0, int(c.snd.pathMSS)-(wire.TCPMaxLen-wire.TCPLen)) }

// synData chooses the data behind the options of our SYN and returns how much. Only the first SYN has any, and only it
// speaks of Fast Open: there are paths on which that is what loses it.
func (c *Conn) synData(buf []byte, o *wire.TCPOptions, now mono.Time) (n int) {
	if c.tfo&fastAsk == 0 || c.retrans > 0 {
		return 0
	}
	if c.t.fastPause.times > 0 {
		if c.t.fastPaused(now) {
			return 0
		}
		c.tfo |= fastTrial
	}
	cookie, ok := c.t.fastCookie(c.key.remote, c.opt, now)
	if o.FastOpen = cookie; !ok {
		o.FastOpen = noCookie
	}
	if n = min(c.tx.Len(), c.synRoom(), len(buf)-wire.TCPMaxLen); !ok || n <= 0 {
		return 0
	}
	c.tfo |= fastData
	c.snd.nxt = c.snd.iss.Add(1 + n)
	return n
}

// noCookie is the option that asks for a cookie.
var noCookie = []byte{}

// fastAnswered takes in the SYN-ACK to a SYN of Fast Open. Data that it does not acknowledge goes out again.
func (c *Conn) fastAnswered(s *segment, now mono.Time) {
	if c.tfo&fastAsk == 0 {
		return
	}
	acked := s.ack.Sub(c.snd.iss) - 1
	given := len(s.opt.FastOpen)
	if given > 0 || c.tfo&fastData != 0 {
		e := c.t.fastPeer(c.key.remote, true)
		if given > 0 {
			e.len = uint8(copy(e.cookie[:], s.opt.FastOpen))
		}
		switch {
		case c.retrans > 0 && given == 0 && acked == 0 && c.tfo&fastData != 0:
			e.losses = min(e.losses+1, fastOpenBackoffMax)
			e.until = now.Add(fastOpenBackoff << (e.losses - 1))
		case acked > 0:
			e.losses = 0
		}
	}
	if c.tfo&fastData != 0 {
		if acked == 0 && c.retrans > 0 {
			c.tfo |= fastResent
		}
		if acked > 0 {
			c.tfo |= fastAcked
			c.t.stats.FastOpenActive++
		} else {
			c.t.stats.FastOpenActiveFails++
		}
	}
	c.tx.Release(acked)
	c.snd.una = c.snd.una.Add(acked)
	c.snd.nxt = c.snd.una
	c.snd.small, c.snd.up = c.snd.una, c.snd.una
}

// FastOpenKeyLen is the length of a key of cookies in bytes.
const FastOpenKeyLen = 16

// SetFastOpen lets at most n connections be open that a SYN with a cookie has made and whose handshake is not over
// (TCP_FASTOPEN). Cookies are made with the first of the keys, and those made with the others are taken too, so that a key
// can be changed (TCP_FASTOPEN_KEY); nil: the host's own.
func (l *Listener) SetFastOpen(n int, keys [][FastOpenKeyLen]byte) {
	l.fastMax, l.fastKeys = n, nil
	for _, k := range keys {
		l.fastKeys = append(l.fastKeys, siphash.New(k))
	}
}

// fastKeysOf are those of a listener.
func (l *Listener) fastKeysOf() []siphash.Key {
	if l.fastKeys != nil {
		return l.fastKeys
	}
	return l.t.fastKeys[:]
}

// fastCookieOf is the cookie for a peer.
func fastCookieOf(key *siphash.Key, k *key) (cookie [fastOpenCookieLen]byte) {
	binary.LittleEndian.PutUint64(cookie[:], key.Sum(k.remote[0], k.remote[1], k.local[0], k.local[1]))
	return cookie
}

// fastAllowed says whether one more connection may be opened before its handshake is over.
func (l *Listener) fastAllowed(now mono.Time) bool {
	limit := l.fastMax
	if limit == 0 && l.t.params.FastOpen&FastOpenAllListeners != 0 {
		limit = l.cfg.Backlog
	}
	if l.t.params.FastOpen&FastOpenServer == 0 || limit <= 0 {
		return false
	}
	for len(l.fastResets) > 0 && l.fastResets[0].Due(now) {
		l.fastResets = l.fastResets[1:]
	}
	if l.fastPending+len(l.fastResets) >= limit {
		l.t.stats.FastOpenOverflows++
		return false
	}
	return true
}

// fastOpen judges a SYN: whether its data is to be taken, and whether the SYN-ACK gives a cookie.
func (l *Listener) fastOpen(k *key, s *segment, now mono.Time) (take, give bool) {
	if s.opt.FastOpen == nil && len(s.payload) == 0 || !l.fastAllowed(now) {
		return false, false
	}
	if l.opt.FastOpenNoCookie || l.t.params.FastOpen&FastOpenServerNoCookie != 0 {
		return true, false
	}
	if s.opt.FastOpen == nil {
		return false, false
	}
	for i := range l.fastKeysOf() {
		cookie := fastCookieOf(&l.fastKeysOf()[i], k)
		if string(cookie[:]) == string(s.opt.FastOpen) {
			return true, i > 0 // the peer has one of an old key
		}
	}
	if len(s.opt.FastOpen) > 0 {
		l.t.stats.FastOpenPassiveFails++
		l.t.count.Count(drop.TCPFastOpenCookieBad)
	}
	return false, true
}

// openFast gives a connection in SYN-RECEIVED to the program, with the data of its SYN.
func (c *Conn) openFast(s *segment, now mono.Time) {
	l := c.listener
	l.half.remove(c.t, c)
	c.tfo |= fastTaken | fastPending
	l.fastPending++
	c.cc.start(c.sendMSS())
	if n := int(c.windowSYN()); len(s.payload) > n {
		s.payload = s.payload[:n]
	}
	if len(s.payload) > 0 {
		c.tfo |= fastAcked
		data := segment{seq: c.rcv.nxt, payload: s.payload}
		if reason := c.inOrder(&data, s.payload, now); reason != drop.None {
			c.t.count.Count(reason)
		}
		c.rcv.adv = c.rcv.nxt     // until the SYN-ACK offers more
		c.disarm(timerDelayedACK) // it says this
		c.want &^= wantACK
	}
	c.status.Or(statusConnected)
	c.snd.una = c.snd.nxt // of data; our SYN is sent again until the handshake is over
	c.snd.small, c.snd.up = c.snd.una, c.snd.una
	c.t.stats.FastOpenPassive++
	l.offer(c)
}

// fastOver is told that a handshake is over, or the connection is.
func (c *Conn) fastOver(reset bool, now mono.Time) {
	if c.tfo&fastPending == 0 {
		return
	}
	c.tfo &^= fastPending
	l := c.listener
	l.fastPending--
	if c.accepted {
		c.listener = nil
	}
	if reset {
		l.fastResets = append(l.fastResets, now.Add(fastOpenReset))
	}
}
