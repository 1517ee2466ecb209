package route

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// State says what an address may be used for (RFC 4862 §2).
type State uint8

const (
	Preferred  State = iota // for everything
	Deprecated              // for what goes on already; a new communication uses it if there is no other
	Tentative               // for nothing yet: it is being found out whether another station has it
	Duplicate               // for nothing: another station has it
)

func (s State) String() string {
	switch s {
	case Preferred:
		return "preferred"
	case Deprecated:
		return "deprecated"
	case Tentative:
		return "tentative"
	}
	return "duplicate"
}

// An Addr is an address of one port. Whoever gave it to the host changes its state when the time
// comes: nothing here looks at a clock. The zero value of all but Prefix is an address
// that was given by hand and stays.
type Addr struct {
	Prefix    netip.Prefix // the address, without zone, and the length of its link's prefix
	State     State
	Temporary bool // RFC 8981: a random one, which new communication prefers (RFC 6724 rule 7)
	Detached  bool // the prefix is not on the link: no route comes with the address (IFA_F_NOPREFIXROUTE)

	// When it becomes deprecated, and when it goes. 0: never. For those who show addresses.
	PreferredUntil, ValidUntil mono.Time
}

// Usable says whether the address is the host's: packets to it are taken in, and
// sockets may be bound to it.
func (a *Addr) Usable() bool { return a.State.Usable() }

// Usable says whether addresses of that state are the host's.
func (s State) Usable() bool { return s <= Deprecated }
