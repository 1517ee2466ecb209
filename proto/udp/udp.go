// Package udp finds the socket that a datagram is for and writes the header of
// one that a socket sends. In come datagrams whose checksum has been judged; out
// go records in a socket's queue. It knows ports and addresses, and nothing of IP
// headers, routes or links.
//
// The sockets of ICMP echo ("ping sockets") are kept in tables of the same kind,
// with the echo identifier as their port, and raw sockets with their protocol. Packet sockets are the same kind of socket too,
// and in no table.
//
// Read first: RFC 768; RFC 1122 §4.1; RFC 8085 §5.1 on ports.
package udp

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// A Socket is one core's end of a datagram socket.
type Socket struct {
	// Local is where it receives: an unspecified address stands for all of its
	// family, [::] for IPv4 as well unless Only6. Fixed while it is in a table.
	Local netip.AddrPort
	// Remote is its peer, not valid while it is not connected. A connected socket
	// receives from its peer alone, from all of its ports if it names none (Linux: compute_score).
	Remote netip.AddrPort
	Only6  bool // IPV6_V6ONLY

	TTL          uint8  // of datagrams sent, 0: the stack's default; IP_TTL
	TOS          uint8  // IP_TOS
	HopLimit     uint8  // IPV6_UNICAST_HOPS
	HasHops      bool   // HopLimit is set
	TClass       uint8  // IPV6_TCLASS
	Broadcast    bool   // SO_BROADCAST
	NoCheck      bool   // SO_NO_CHECK: no checksum over IPv4
	NoCheck6     bool   // UDP_NO_CHECK6_TX: nor over IPv6
	TakesNoSum   bool   // UDP_NO_CHECK6_RX: what comes over IPv6 need not have one
	DontRoute    bool   // SO_DONTROUTE: over IPv4 nothing goes by way of a router
	ReusePort    bool   // SO_REUSEPORT: of those that have it and are equal, the flow decides
	DontFragment bool   // IPV6_DONTFRAG
	MTU6         int    // IPV6_MTU: bytes of fragments; 0: by the path alone. See Piece
	Device       uint32 // SO_BINDTODEVICE: the stack's port counted from 1, 0: all
	Segment      int    // UDP_SEGMENT: see Message

	Discover  Discovery // IP_MTU_DISCOVER
	Discover6 Discovery // IPV6_MTU_DISCOVER
	RecvErr   bool      // IP_RECVERR: errors of packets that were sent are put into Errors
	RecvErr6  bool      // IPV6_RECVERR

	Groups     *group.Set // what it has joined
	Multicast4 Multicast
	Multicast6 Multicast

	GRO  *GRO  // UDP_GRO, nil: it is off. See Gather
	Raw  *Raw  // what a raw socket says besides; nil: it is none
	Link *Link // what a packet socket takes; nil: it is none

	Recv   ring.Datagrams // the core produces, the program consumes
	Send   ring.Datagrams // what could not be sent at once: both sides under the core's lock
	Errors ErrQueue       // the core produces, the program consumes (MSG_ERRQUEUE)
	Gate   *ring.Gate     // shared by the socket's ends on all cores
	Error  *ring.Errno    // likewise

	Delivered uint64 // datagrams put into Recv
	Dropped   uint64 // datagrams for which Recv had no room

	Queued    bool    // on the stack's list of sockets with something in Send
	Ready     *Socket // next on that list
	Withdrawn bool    // in no table any more: Send is given back when it has drained

	next *Socket // of the same port
}

// A Table is the sockets of one core by local port.
type Table struct {
	// Two levels, so that a lookup is two loads and an empty table is small.
	ports [256]*[256]*Socket
	count int

	// Seed is of the hash that spreads flows over the sockets that share a port.
	Seed uint64
}

// Add puts a socket in. Which sockets may share a port is not its business.
func (t *Table) Add(s *Socket) {
	p := s.Local.Port()
	row := t.ports[p>>8]
	if row == nil {
		row = new([256]*Socket)
		t.ports[p>>8] = row
	}
	s.next = row[p&255]
	row[p&255] = s
	t.count++
}

// Remove takes a socket out. It does nothing if it is not in.
func (t *Table) Remove(s *Socket) {
	p := s.Local.Port()
	row := t.ports[p>>8]
	if row == nil {
		return
	}
	for at := &row[p&255]; *at != nil; at = &(*at).next {
		if *at == s {
			*at, s.next = s.next, nil
			t.count--
			return
		}
	}
}

// Len returns the number of sockets.
func (t *Table) Len() int { return t.count }

// Lookup returns the socket for a datagram, nil if there is none: the one that
// says most about it: one with an address of its own before one of all addresses, then a connected
// one, then one of an interface, then one of the datagram's family (Linux: udp4_lib_lookup and
// compute_score in net/ipv4/udp.c). Of equals the one added last wins, unless they share the port by SO_REUSEPORT: then the flow decides.
func (t *Table) Lookup(local, remote netip.AddrPort) *Socket { return t.LookupAt(0, &local, &remote) }

// LookupAt is Lookup for a datagram that came in by a port of the stack, counted from 1.
func (t *Table) LookupAt(port uint32, local, remote *netip.AddrPort) *Socket {
	row := t.ports[local.Port()>>8]
	if row == nil {
		return nil
	}
	first := row[local.Port()&255]
	if first != nil && first.next == nil && first.score(port, local, remote) > 0 {
		return first // of most ports there is but one socket
	}
	var best *Socket
	top, equals := 0, 0
	for s := first; s != nil; s = s.next {
		switch score := s.score(port, local, remote); {
		case score > top:
			best, top, equals = s, score, 1
		case score == top && score > 0 && s.ReusePort && best.ReusePort:
			equals++
		}
	}
	if equals < 2 {
		return best
	}
	// The n-th of the group: as many as there are have an even share of the flows.
	n := int(uint64(flowHash(t.Seed, *local, *remote)) * uint64(equals) >> 32)
	for s := best; ; s = s.next {
		if s.ReusePort && s.score(port, local, remote) == top {
			if n == 0 {
				return s
			}
			n--
		}
	}
}

// flowHash spreads flows: who does not know the seed cannot choose what it is.
func flowHash(seed uint64, local, remote netip.AddrPort) uint32 {
	l, r := local.Addr().As16(), remote.Addr().As16()
	word := binary.LittleEndian.Uint64
	h1, l1 := bits.Mul64(word(r[8:])^seed, word(r[:8])^bits.RotateLeft64(seed, 32)|1)
	h2, l2 := bits.Mul64(word(l[8:])^h1^l1, uint64(remote.Port())<<48^uint64(local.Port())^word(l[:8])^seed|1)
	h, low := bits.Mul64(h2^l2, 0x9e3779b97f4a7c15)
	return uint32((h ^ low) >> 32)
}

// score is how much a socket says about a datagram, 0 if it is not for it.
func (s *Socket) score(port uint32, local, remote *netip.AddrPort) int {
	score := 2
	switch a := s.Local.Addr(); {
	case a == local.Addr():
		score += 16
	case !a.IsUnspecified():
		return 0
	case a.Is4() != local.Addr().Is4():
		if a.Is4() || s.Only6 {
			return 0
		}
		score = 1
	}
	if s.Device != 0 {
		if port != 0 && s.Device != port {
			return 0
		}
		score += 4
	}
	if s.Remote.IsValid() {
		switch {
		case s.Remote == *remote:
			score += 8
		case s.Remote.Port() != 0 || s.Remote.Addr() != remote.Addr():
			return 0
		default:
			score += 4
		}
	}
	return score
}

// Each calls f for every socket that a datagram to a group or to everyone is for, or a raw
// packet.
func (t *Table) Each(port uint32, local, remote netip.AddrPort, f func(*Socket)) {
	row := t.ports[local.Port()>>8]
	if row == nil {
		return
	}
	for s := row[local.Port()&255]; s != nil; s = s.next {
		if s.score(port, &local, &remote) > 0 {
			f(s)
		}
	}
}

// rowCost is as how many unused ports a socket counts in Walk: so much longer it takes.
const rowCost = 16

// Walk calls f for the sockets of the next ports, so many at most if they are unused and fewer if
// not, and returns the port to go on with: 65536 at the end.
func (t *Table) Walk(port, most int, f func(*Socket)) (next int) {
	for ; most > 0 && port < 1<<16; port, most = port+1, most-1 {
		row := t.ports[port>>8]
		if row == nil {
			port |= 255 // so is the rest of the row
			continue
		}
		for s := row[port&255]; s != nil; s = s.next {
			f(s)
			most -= rowCost
		}
	}
	return port
}

// Deliver queues a datagram at a socket and opens its gate.
func (s *Socket) Deliver(m *ring.Datagram, payload []byte, wakes *ring.Wakes) drop.Reason {
	if s.GRO != nil {
		s.Release()
	}
	m.Dropped = uint32(s.Dropped)
	if !s.Recv.Put(m, payload) {
		return s.refused(len(payload))
	}
	s.Delivered++
	wakes.Open(s.Gate, ring.In)
	return drop.None
}

// refused is why there is no room for a datagram of n bytes.
func (s *Socket) refused(n int) drop.Reason {
	s.Dropped++
	if s.Recv.Room(n) {
		return drop.UDPSocketMemory
	}
	return drop.UDPSocketFull
}

// Fail leaves an error at the socket, for its next call.
func (s *Socket) Fail(errno unix.Errno, wakes *ring.Wakes) {
	s.Error.Set(uint32(errno))
	wakes.Open(s.Gate, ring.Err)
}
