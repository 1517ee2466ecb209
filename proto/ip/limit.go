package ip

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
)

// Read first: RFC 1812 §4.3.2.8, RFC 4443 §2.4(f); icmp_global_allow in net/ipv4/icmp.c,
// inet_peer_xrlim_allow in net/ipv4/inetpeer.c; CVE-2020-25705 ("SAD DNS").

const (
	// limitPerSecond and limitBurst bound the ICMP errors of one core to all: Linux's icmp_msgs_per_sec and
	// icmp_msgs_burst.
	limitPerSecond = 1000
	limitBurst     = 50

	// limitInterval is how long the right to send one more to the same destination takes to come
	// back, and limitPeerBurst how many come at once: Linux's icmp_ratelimit and
	// XRLIM_BURST_FACTOR.
	limitInterval  = time.Second
	limitPeerBurst = 6

	// limitSets and limitWays are how many destinations have an account. One that is pushed out
	// begins anew, and the limit for all still holds.
	limitSets = 256
	limitWays = 4
)

// A Limit is the right to send ICMP errors.
type Limit struct {
	key    siphash.Key
	random random
	left   int       // to all
	at     mono.Time // when left was true
	peers  [limitSets][limitWays]account
}

// An account is the right to send to one destination, in units of time.
type account struct {
	dst netip.Addr
	has time.Duration
	at  mono.Time // when has was true
}

// NewLimit returns a limit of which nothing has been used.
func NewLimit(key siphash.Key, now mono.Time) *Limit {
	return &Limit{key: key, random: newRandom(key, 1), left: limitBurst, at: now}
}

// Take takes the right to send one error to dst. The destination's own limit is asked first:
// else who is over it could measure by spoofed packets what others use of the limit for all. That
// one, of the same reason, is used up by a random amount around one.
func (l *Limit) Take(dst netip.Addr, now mono.Time) drop.Reason {
	a := l.account(dst, now)
	a.has = min(a.has+now.Sub(a.at), limitPeerBurst*limitInterval)
	a.at = now
	if a.has < limitInterval {
		return drop.ICMPRateLimited
	}
	if more := int(now.Sub(l.at) * limitPerSecond / time.Second); more > 0 {
		l.left = min(l.left+more, limitBurst)
		l.at = now
	}
	if l.left == 0 {
		return drop.ICMPRateLimited
	}
	a.has -= limitInterval
	l.left = max(0, l.left-int(l.random.next()%3))
	return drop.None
}

// account finds a destination's account. A new one takes the place of the one that was used
// longest ago.
func (l *Limit) account(dst netip.Addr, now mono.Time) *account {
	set := &l.peers[hashAddr(l.key, dst)%limitSets]
	oldest := &set[0]
	for i := range set {
		a := &set[i]
		if a.dst == dst {
			return a
		}
		if a.at < oldest.at {
			oldest = a
		}
	}
	*oldest = account{dst: dst, has: limitPeerBurst * limitInterval, at: now}
	return oldest
}
