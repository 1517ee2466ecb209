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
	// limitPerSecond and limitBurst bound the ICMP errors of the host to all: Linux's icmp_msgs_per_sec and
	// icmp_msgs_burst. Each of several cores has its part, whatever the others leave unused: they share nothing.
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

// A Limit is one core's right to send ICMP errors.
type Limit struct {
	key       siphash.Key
	random    random
	interval  time.Duration // limitInterval of the whole host, for this core
	peerBurst time.Duration // limitPeerBurst, in units of time
	perSecond int
	burst     int
	left      int       // to all
	at        mono.Time // when left was true
	peers     [limitSets][limitWays]account
}

// An account is the right to send to one destination, in units of time.
type account struct {
	dst netip.Addr
	has time.Duration
	at  mono.Time // when has was true
}

// NewLimit returns the limit of one of several cores, of which nothing has been used.
func NewLimit(key siphash.Key, cores int, now mono.Time) *Limit {
	interval := limitInterval * time.Duration(cores)
	burst := max(limitBurst/cores, 1)
	return &Limit{
		key: key, random: newRandom(key, 1), interval: interval, peerBurst: interval * time.Duration(max(limitPeerBurst/cores, 1)),
		perSecond: max(limitPerSecond/cores, 1), burst: burst, left: burst, at: now,
	}
}

// Take takes the right to send one error to dst. The destination's own limit is asked first:
// else who is over it could measure by spoofed packets what others use of the limit for all. That
// one, of the same reason, is used up by a random amount around one.
func (l *Limit) Take(dst netip.Addr, now mono.Time) drop.Reason {
	a := l.account(dst, now)
	a.has = min(a.has+now.Sub(a.at), l.peerBurst)
	a.at = now
	if a.has < l.interval {
		return drop.ICMPRateLimited
	}
	// The time since is bounded first: the product of a year would overflow.
	since := min(now.Sub(l.at), time.Minute)
	if more := int(since * time.Duration(l.perSecond) / time.Second); more > 0 {
		l.left = min(l.left+more, l.burst)
		l.at = now
	}
	if l.left <= 0 {
		return drop.ICMPRateLimited
	}
	a.has -= l.interval
	l.left -= int(l.random.next() % 3) // below 0 is owed, or it would be less than one in the mean
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
	*oldest = account{dst: dst, has: l.peerBurst, at: now}
	return oldest
}
