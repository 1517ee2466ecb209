package udp

import (
	"net/netip"
)

// Multicast is what a socket says of datagrams to groups, of one family.
type Multicast struct {
	Port   uint32     // of the stack, counted from 1, to leave by; 0: as routed. IP_MULTICAST_IF, IPV6_MULTICAST_IF
	Source netip.Addr // IP_MULTICAST_IF by an address; not valid: the port's
	TTL    uint8      // IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS
	HasTTL bool       // TTL is set
	Quiet  bool       // members on this host get no copy: IP_MULTICAST_LOOP is 0
	Joined bool       // only of groups that this socket has joined is received: IP_MULTICAST_ALL is 0
}

// MulticastTo returns what the socket says of groups of a's family.
func (s *Socket) MulticastTo(a netip.Addr) *Multicast {
	if a.Is4() {
		return &s.Multicast4
	}
	return &s.Multicast6
}

// Hears says whether the socket wants what src sends to a group and came in by a port.
func (s *Socket) Hears(port int, group, src netip.Addr) bool {
	return s.Groups.Allows(port, group, src, !s.MulticastTo(group).Joined)
}
