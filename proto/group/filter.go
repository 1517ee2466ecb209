package group

import (
	"net/netip"
	"slices"
)

// A Mode says how a filter reads its list of senders (RFC 3376 §2).
type Mode uint8

const (
	Include Mode = iota // those alone
	Exclude             // all others
)

func (m Mode) String() string {
	if m == Include {
		return "include"
	}
	return "exclude"
}

// A Filter is which senders of a group are heard. The zero value hears none. Nobody
// changes the list of a filter once another has it.
type Filter struct {
	Mode    Mode
	Sources []netip.Addr // in order, each once
}

// Everyone hears all senders.
var Everyone = Filter{Mode: Exclude}

// Allows says whether src is heard.
func (f *Filter) Allows(src netip.Addr) bool {
	if len(f.Sources) == 0 {
		return f.Mode == Exclude
	}
	_, listed := slices.BinarySearchFunc(f.Sources, src, netip.Addr.Compare)
	return listed == (f.Mode == Include)
}

// NewFilter returns the filter of a list in any order.
func NewFilter(mode Mode, sources []netip.Addr) Filter {
	list := slices.Clone(sources)
	slices.SortFunc(list, netip.Addr.Compare)
	return Filter{mode, slices.Compact(list)}
}
