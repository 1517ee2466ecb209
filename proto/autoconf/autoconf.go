// Package autoconf is how a host gets its addresses and keeps them: duplicate address
// detection, stateless autoconfiguration, router discovery and redirects for IPv6, and
// for IPv4 conflict detection and link-local addresses. In come parsed messages
// and the time; out go probes and solicitations, which the stack writes, and the
// news that what an interface knows has changed. It never sees a frame, it never
// touches a route table or a socket, and it believes nobody more than the RFCs ask of it:
// whatever an advertisement can make grow has a limit in params.go.
//
// There is one [Interface6] and one [Interface4] for each interface of a host,
// whatever the number of its cores: one core owns them.
package autoconf

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Origin is who said that the host has an address.
type Origin uint8

const (
	Manual    Origin = iota // the program
	LinkLocal               // nobody: fe80::/64 (RFC 4862 §5.3), 169.254/16 (RFC 3927)
	Stateless               // a router's advertisement (RFC 4862 §5.5)
	Leased                  // a DHCP server
)

func (o Origin) String() string {
	switch o {
	case Manual:
		return "manual"
	case LinkLocal:
		return "link-local"
	case Stateless:
		return "stateless"
	}
	return "leased"
}

// Addr is an address of an interface as a program may see it.
type Addr struct {
	Prefix    netip.Prefix // the address, with the prefix of its link
	State     route.State
	Origin    Origin
	Preferred mono.Time // until then
	Valid     mono.Time // until then; it goes away by itself
	Rival     wire.MAC  // of a Duplicate: who has it, where that is known
}
