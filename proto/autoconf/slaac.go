package autoconf

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4862 §5.5.3 (an address of each prefix), §5.5.4 (its ages).

// identifierBits is the length of an interface identifier, of which a prefix must leave
// exactly that many (RFC 4862 §5.5.3 (d), RFC 4291 §2.5.1).
const identifierBits = 64

// setStateless makes an address of a prefix, or renews it. It is false if there are
// too many.
func (i *Interface6) setStateless(p wire.NDPPrefix, now mono.Time) bool {
	if p.Prefix.Bits() != 128-identifierBits {
		return true
	}
	made := 0
	for _, a := range i.addrs {
		if a.Origin != Stateless {
			continue
		}
		if made++; a.Prefix.Masked() == p.Prefix {
			a.doubted = false
			i.renew(a, p, now)
			return true
		}
	}
	switch {
	case p.Valid == 0:
		return true
	case made >= addrsMax:
		return false
	}
	i.add(&address{
		Addr:   Addr{Prefix: p.Prefix, Origin: Stateless, Preferred: now.Add(p.Preferred), Valid: now.Add(p.Valid)},
		stable: true,
	}, now)
	return true
}

// renew takes in new lifetimes of an address. One forged advertisement must not end it: what is
// left of its life is not shortened to less than two hours (RFC 4862 §5.5.3 (e)).
func (i *Interface6) renew(a *address, p wire.NDPPrefix, now mono.Time) {
	switch left := a.Valid.Sub(now); {
	case p.Valid > twoHours || p.Valid > left:
		a.Valid = now.Add(p.Valid)
	case left > twoHours:
		a.Valid = now.Add(twoHours)
	}
	a.Addr.Preferred = now.Add(p.Preferred)
	if !a.State.Usable() {
		return
	}
	state := route.Preferred
	if a.Addr.Preferred.Due(now) {
		state = route.Deprecated
	}
	if state != a.State {
		a.State, i.changed = state, true
	}
}
