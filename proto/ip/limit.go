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

// LimitParams bound the ICMP errors of a host.
type LimitParams struct {
	PerSecond int           // to all
	Burst     int           // of those at once
	Interval4 time.Duration // how long the right to send one more to the same destination takes to come back; 0: it is not asked for
	Interval6 time.Duration // the same over IPv6
}

// DefaultLimit is Linux's: icmp_msgs_per_sec, icmp_msgs_burst, icmp_ratelimit, and the ratelimit of IPv6.
var DefaultLimit = LimitParams{PerSecond: 1000, Burst: 50, Interval4: time.Second, Interval6: time.Second}

const (
	// limitPeerBurst is how many errors to one destination come at once: Linux's XRLIM_BURST_FACTOR.
	limitPeerBurst = 6

	// limitSets and limitWays are how many destinations have an account. One that is pushed out
	// begins anew, and the limit for all still holds.
	limitSets = 256
	limitWays = 4
)

// A Limit is the right to send ICMP errors: a host's, or as much as one of its cores asks the host for.
type Limit struct {
	params LimitParams
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
func NewLimit(key siphash.Key, p LimitParams, now mono.Time) *Limit {
	return &Limit{params: p, key: key, random: newRandom(key, 1), left: p.Burst, at: now}
}

// SetParams changes what is allowed from now on.
func (l *Limit) SetParams(p LimitParams) { l.params = p }

// Take takes the right to send one error to dst. The destination's own limit is asked first:
// else who is over it could measure by spoofed packets what others use of the limit for all. That
// one, of the same reason, is used up by a random amount around one. The clocks of cores may be a little apart.
func (l *Limit) Take(dst netip.Addr, now mono.Time) drop.Reason {
	interval := l.params.Interval6
	if dst.Is4() {
		interval = l.params.Interval4
	}
	most := limitPeerBurst * interval
	a := l.account(dst, most, now)
	a.has = min(a.has+max(now.Sub(a.at), 0), most)
	a.at = max(a.at, now)
	if a.has < interval {
		return drop.ICMPRateLimited
	}
	// The time since is bounded first: the product of a year would overflow.
	since := min(now.Sub(l.at), time.Minute)
	if more := int(since * time.Duration(l.params.PerSecond) / time.Second); more > 0 {
		l.left = min(l.left+more, l.params.Burst)
		l.at = now
	}
	if l.left <= 0 {
		return drop.ICMPRateLimited
	}
	a.has -= interval
	l.left -= int(l.random.next() % 3) // below 0 is owed, or it would be less than one in the mean
	return drop.None
}

// account finds a destination's account. A new one, which has all, takes the place of the one that was used
// longest ago.
func (l *Limit) account(dst netip.Addr, all time.Duration, now mono.Time) *account {
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
	*oldest = account{dst: dst, has: all, at: now}
	return oldest
}
