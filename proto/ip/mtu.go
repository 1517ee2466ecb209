package ip

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
)

// Read first: RFC 1191 §3, §6.3, §7; RFC 8201 §4, §5.3; RFC 5927 §7 (what forgers do);
// __ip_rt_update_pmtu in net/ipv4/route.c.

const (
	// mtuMin4 is the least that a report may lower an IPv4 path to: Linux's min_pmtu, so that a
	// forged one cannot make a sender cut its data to crumbs. Packets of a path below it leave
	// without DF: routers cut them.
	mtuMin4 = 552

	// mtuMin6 is the least MTU that a link of IPv6 has. A report of less is none (RFC 8201 §4).
	mtuMin6 = 1280

	// mtuAge is for how long a report is believed (RFC 8201 §5.3 and Linux's mtu_expires: 10
	// minutes). After it the link's MTU is tried again.
	mtuAge = 10 * time.Minute

	// mtuSets and mtuWays are how many paths of reduced MTU are remembered. Most hosts have a
	// handful: one for each tunnel to somewhere.
	mtuSets = 256
	mtuWays = 4
)

// plateaus are the MTUs of RFC 1191 §7.1 that are tried, from above, where a router does not say.
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, mtuMin4}

// A PathMTU is what is known of the MTU of a path.
type PathMTU struct {
	MTU   int       // bytes of an IP packet
	Small bool      // the path is of less than MTU: leave DF away
	Until mono.Time // when it is to be forgotten
}

// PathMTUs remembers the paths whose MTU is less than their first link's.
type PathMTUs struct {
	key  siphash.Key
	sets [mtuSets][mtuWays]mtuEntry
}

type mtuEntry struct {
	dst netip.Addr
	PathMTU
}

// NewPathMTUs returns an empty memory.
func NewPathMTUs(key siphash.Key) *PathMTUs { return &PathMTUs{key: key} }

// Lookup returns what is known of the path to dst.
func (m *PathMTUs) Lookup(dst netip.Addr, now mono.Time) (p PathMTU, ok bool) {
	if e := m.find(dst); e != nil && now.Before(e.Until) {
		return e.PathMTU, true
	}
	return p, false
}

func (m *PathMTUs) set(dst netip.Addr) *[mtuWays]mtuEntry {
	return &m.sets[hashAddr(m.key, dst)%mtuSets]
}

func (m *PathMTUs) find(dst netip.Addr) *mtuEntry {
	set := m.set(dst)
	for i := range set {
		if set[i].dst == dst {
			return &set[i]
		}
	}
	return nil
}

// Report takes in that a packet of length bytes to dst was too big for the next hop's mtu, which
// is 0 where the router does not say. current is the path's MTU as it is. It returns what the
// MTU is now, and false if the report says nothing that can be: what was reported is to be dropped.
func (m *PathMTUs) Report(dst netip.Addr, mtu, length, current int, now mono.Time) (PathMTU, bool) {
	small := false
	if dst.Is4() {
		if mtu == 0 {
			mtu = plateauBelow(min(length, current))
		}
		small = mtu < mtuMin4
		mtu = max(mtu, mtuMin4)
	}
	// A router never says that more fits than was sent, and a report cannot raise an MTU.
	if mtu > current || mtu == current && !small || !dst.Is4() && mtu < mtuMin6 {
		return PathMTU{}, false
	}
	p := PathMTU{MTU: mtu, Small: small, Until: now.Add(mtuAge)}
	m.Put(dst, p)
	return p, true
}

// Put takes in what is known of the path to dst. The one of the set that would have been
// forgotten first has to go.
func (m *PathMTUs) Put(dst netip.Addr, p PathMTU) {
	e := m.find(dst)
	if e == nil {
		set := m.set(dst)
		e = &set[0]
		for i := range set {
			if set[i].Until < e.Until {
				e = &set[i]
			}
		}
		e.dst = dst
	}
	e.PathMTU = p
}

// plateauBelow is the largest MTU in use that a packet of length bytes is too long for.
func plateauBelow(length int) int {
	for _, p := range plateaus {
		if p < length {
			return p
		}
	}
	return 0
}

func hashAddr(k siphash.Key, a netip.Addr) uint64 {
	b := a.As16()
	return k.Sum(binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:]))
}
