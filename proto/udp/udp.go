// Package udp finds the socket that a datagram is for and writes the header of
// one that a socket sends. In come datagrams whose checksum has been judged; out
// go records in a socket's queue. It knows ports and addresses, and nothing of IP
// headers, routes or links.
//
// The sockets of ICMP echo ("ping sockets") are kept in tables of the same kind,
// with the echo identifier as their port. Packet sockets are the same kind of socket too,
// and in no table.
//
// Read first: RFC 768; RFC 1122 §4.1; RFC 8085 §5.1 on ports.
package udp

import (
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
	// receives from its peer alone.
	Remote netip.AddrPort
	Only6  bool // IPV6_V6ONLY

	TTL       uint8 // of datagrams sent, 0: the stack's default; IP_TTL
	TOS       uint8 // IP_TOS
	Broadcast bool  // SO_BROADCAST

	Discover  Discovery // IP_MTU_DISCOVER
	Discover6 Discovery // IPV6_MTU_DISCOVER
	RecvErr   bool      // IP_RECVERR: errors of packets that were sent are put into Errors
	RecvErr6  bool      // IPV6_RECVERR

	Groups     *group.Set // what it has joined
	Multicast4 Multicast
	Multicast6 Multicast

	Link *Link // what a packet socket takes; nil: it is none

	Recv   ring.Datagrams // the core produces, the program consumes
	Send   ring.Datagrams // what could not be sent at once: both sides under the core's lock
	Errors ErrQueue       // the core produces, the program consumes (MSG_ERRQUEUE)
	Gate   *ring.Gate     // shared by the socket's ends on all cores
	Error  *ring.Errno    // likewise

	Dropped uint64 // datagrams for which Recv had no room

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
// says most about it, a connected one before one with an address of its own
// before one of all addresses (Linux: compute_score in net/ipv4/udp.c). Of equals the
// one added last wins.
func (t *Table) Lookup(local, remote netip.AddrPort) *Socket {
	row := t.ports[local.Port()>>8]
	if row == nil {
		return nil
	}
	var best *Socket
	top := 0
	for s := row[local.Port()&255]; s != nil; s = s.next {
		if score := s.score(local, remote); score > top {
			best, top = s, score
		}
	}
	return best
}

// score is how much a socket says about a datagram, 0 if it is not for it.
func (s *Socket) score(local, remote netip.AddrPort) int {
	score := 1
	switch a := s.Local.Addr(); {
	case a == local.Addr():
		score += 2
	case !a.IsUnspecified():
		return 0
	case a.Is4() != local.Addr().Is4():
		if a.Is4() || s.Only6 {
			return 0
		}
	}
	if s.Remote.IsValid() {
		if s.Remote != remote {
			return 0
		}
		score += 4
	}
	return score
}

// Each calls f for every socket that a datagram to a group or to everyone is for.
func (t *Table) Each(local, remote netip.AddrPort, f func(*Socket)) {
	row := t.ports[local.Port()>>8]
	if row == nil {
		return
	}
	for s := row[local.Port()&255]; s != nil; s = s.next {
		if s.score(local, remote) > 0 {
			f(s)
		}
	}
}

// Walk calls f for the sockets of the next most ports, used or not, and returns the port to go
// on with: 65536 at the end.
func (t *Table) Walk(port, most int, f func(*Socket)) (next int) {
	end := min(port+most, 1<<16)
	for ; port < end; port++ {
		row := t.ports[port>>8]
		if row == nil {
			port |= 255 // so is the rest of the row
			continue
		}
		for s := row[port&255]; s != nil; s = s.next {
			f(s)
		}
	}
	return min(port, 1<<16)
}

// Deliver queues a datagram at a socket and opens its gate.
func (s *Socket) Deliver(m *ring.Datagram, payload []byte, wakes *ring.Wakes) drop.Reason {
	if !s.Recv.Put(m, payload) {
		s.Dropped++
		if s.Recv.Room(len(payload)) {
			return drop.UDPSocketMemory
		}
		return drop.UDPSocketFull
	}
	wakes.Open(s.Gate, ring.In)
	return drop.None
}

// Fail leaves an error at the socket, for its next call.
func (s *Socket) Fail(errno unix.Errno, wakes *ring.Wakes) {
	s.Error.Set(uint32(errno))
	wakes.Open(s.Gate, ring.Err)
}
