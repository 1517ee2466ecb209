package neigh

import (
	"cmp"
	"time"
)

// times are those of a link, as its routers say (RFC 4861 §6.3.2).
type times struct{ reachable, retrans time.Duration }

var ownTimes = times{reachableTime, retransTimer}

// SetTimes tells how long the IPv6 neighbours of a port count as reachable, on average, and how long
// they have for an answer. Zeroes are REACHABLE_TIME and RETRANS_TIMER.
func (t *Table) SetTimes(port int, reachable, retrans time.Duration) {
	for len(t.links) <= port {
		t.links = append(t.links, ownTimes)
	}
	t.links[port] = times{cmp.Or(reachable, reachableTime), cmp.Or(retrans, retransTimer)}
}

// times returns those that hold for e: no router speaks for ARP.
func (e *Entry) times() times {
	if e.Addr.Is4() || e.Port >= len(e.table.links) {
		return ownTimes
	}
	return e.table.links[e.Port]
}
