package udp

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: udp_gro_receive_segment in net/ipv4/udp_offload.c, skb_gro_receive in net/core/gro.c.
//
// A socket that asks for it (UDP_GRO) takes datagrams that come one behind the other in a batch, from one peer and equally long, as
// one: its program reads them in one call, and is told how long each was.

// Bounds of what is joined.
const (
	joinedMax  = 64      // datagrams: UDP_GRO_CNT_MAX
	joinedLast = 1 << 16 // bytes that the whole, with one header of IP and UDP, stays below: GRO_LEGACY_MAX_SIZE
)

// A GRO is what a socket with UDP_GRO has put together so far. The core's.
type GRO struct {
	first ring.Datagram // what is known of the first, and of all
	size  int           // bytes of the first
	whole int           // of all
	count int           // of datagrams; 0: the next begins anew
	held  bool          // there is something to release
}

// Gathering says whether something waits for Release.
func (s *Socket) Gathering() bool { return s.GRO.held }

// Gather is Deliver for a socket with GRO: what it queues is not seen before Release. Behind header bytes of IP and UDP comes payload.
func (s *Socket) Gather(m *ring.Datagram, payload []byte, header int, wakes *ring.Wakes) drop.Reason {
	g, n := s.GRO, len(payload)
	ok := g.takes(m, n, header) && s.Recv.Join(payload)
	if ok {
		g.whole += n
		g.count++
	} else {
		m.Dropped = uint32(s.Dropped)
		ok = s.Recv.Hold(m, payload)
		*g = GRO{first: *m, size: n, whole: n, count: 1, held: true}
	}
	if !ok {
		g.count = 0
		return s.refused(n)
	}
	if n < g.size || n == 0 || g.count == joinedMax {
		g.count = 0
	}
	s.Delivered++
	wakes.Open(s.Gate, ring.In)
	return drop.None
}

// takes says whether a datagram of n bytes belongs to those before it.
func (g *GRO) takes(m *ring.Datagram, n, header int) bool {
	f := &g.first
	return g.count > 0 && n > 0 && n <= g.size && header+g.whole+n < joinedLast &&
		f.From == m.From && f.To == m.To && f.Iface == m.Iface && f.TTL == m.TTL && f.TOS == m.TOS
}

// Release has the program see what was gathered.
func (s *Socket) Release() {
	s.Recv.Release()
	*s.GRO = GRO{}
}
