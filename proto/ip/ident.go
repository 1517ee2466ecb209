package ip

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 6864 §4 (which packets need an identification); RFC 7739 §5 (why nobody may guess
// it); ip_idents_reserve in net/ipv4/route.c.

// identCounters is how many counters of identifications there are, as on Linux with little memory.
// Destinations that share one use up each other's numbers.
const identCounters = 2048

// identTick is the time in which a counter may move on by one unasked, so that who sees two of its
// values does not know how many packets went to others: Linux's jiffy at 100 Hz.
const identTick = 10 * time.Millisecond

// Idents chooses the identifications of packets that are, or may be, cut into fragments. Those
// of one source, destination and protocol do not come again soon, and cannot be foreseen by who
// does not see them.
type Idents struct {
	key      siphash.Key
	random   random
	core     uint32 // this one, of cores: each core has numbers of its own
	cores    uint32
	counters [identCounters]identCounter
}

type identCounter struct {
	n  uint32 // 0: not begun
	at mono.Time
}

// NewIdents returns the identifications of one of several cores, which have the same key.
func NewIdents(key siphash.Key, core, cores int) *Idents {
	return &Idents{key: key, random: newRandom(key, 2+uint64(core)), core: uint32(core), cores: uint32(cores)}
}

// Next4 returns an identification for IPv4.
func (t *Idents) Next4(src, dst netip.Addr, p wire.Protocol, now mono.Time) uint16 {
	s, d := src.As4(), dst.As4()
	h := t.key.Sum(uint64(s[0])<<56|uint64(s[1])<<48|uint64(s[2])<<40|uint64(s[3])<<32|
		uint64(d[0])<<24|uint64(d[1])<<16|uint64(d[2])<<8|uint64(d[3]), uint64(p))
	c := &t.counters[h%identCounters]
	switch ticks := uint64(now.Sub(c.at) / identTick); {
	case c.n == 0:
		c.n = uint32(t.random.next()) | 1
	case ticks > 0:
		c.n += uint32(t.random.next() % ticks)
	}
	c.n++
	c.at = now
	return uint16(c.n*t.cores + t.core)
}

// Next6 returns an identification for IPv6: of 32 bits, random ones do not meet (RFC 7739
// §5.3).
func (t *Idents) Next6() uint32 { return uint32(t.random.next()) }

// random makes numbers that nobody can foresee who does not know the key.
type random struct {
	key siphash.Key
	use uint64
	n   uint64
}

func newRandom(key siphash.Key, use uint64) random { return random{key: key, use: use} }

func (r *random) next() uint64 {
	r.n++
	return r.key.Sum(r.use, r.n)
}
