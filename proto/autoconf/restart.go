package autoconf

import (
	"slices"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 6059 §5 (what a host does when its link comes back: simple DNA); RFC 4429 (optimistic addresses);
// RFC 4862 §5.4 (an address is assigned after detection).

// doubting is what was learned from routers before the interface came up again, and is not yet confirmed.
type doubting struct {
	on      bool
	decided mono.Time // when it is dropped unless it is confirmed; Never: no router was heard of since
}

// Down is called when the interface has no carrier: nobody would hear a probe, or object to it. What is tentative
// stays so until Restart (Linux: IF_READY in addrconf_dad_begin). What is in use stays in use.
func (i *Interface6) Down(now mono.Time) {
	i.down, i.changed = true, true
	for _, a := range i.addrs {
		if a.detecting() {
			a.checking, a.step = false, mono.Never
		}
	}
	i.settle(now)
}

// Restart is called when the interface has come up again, perhaps on another link: all addresses are detected
// once more and routers are asked for. An address in use stays so until another station objects, since nearly always
// it is the same link: connections hear nothing of a cable that was out for a moment. What routers had said stays as
// well until one is heard: what none confirms then is of another link.
func (i *Interface6) Restart(now mono.Time) {
	i.spoken, i.down = false, false
	i.redirects, i.changed = nil, i.changed || i.redirects != nil
	i.doubt = doubting{on: true, decided: mono.Never}
	for _, r := range i.routers {
		r.doubted = true
	}
	for j := range i.prefixes {
		i.prefixes[j].doubted = true
	}
	for _, a := range i.addrs {
		a.doubted = a.Origin == Stateless
		switch {
		case !a.State.Usable(): // its probes went nowhere, or its rival may be gone
			a.Rival = wire.MAC{}
			i.begin(a, now)
		case i.cfg.Transmits >= 0:
			a.checking = true
			i.probe(a, now)
		}
	}
	i.Start(now)
}

// confirming is called with each advertisement, after the first of which the others have some time to follow.
func (i *Interface6) confirming(now mono.Time) {
	if i.doubt.on && i.doubt.decided == mono.Never {
		i.doubt.decided = now.Add(solicitInterval)
	}
}

// runDoubt drops what no router has confirmed.
func (i *Interface6) runDoubt(now mono.Time) {
	if !i.doubt.on || !i.doubt.decided.Due(now) {
		return
	}
	i.doubt = doubting{decided: mono.Never}
	for _, r := range slices.Clone(i.routers) {
		if r.doubted {
			i.dropRouter(r, now)
		}
	}
	n := len(i.prefixes) + len(i.addrs)
	i.prefixes = slices.DeleteFunc(i.prefixes, func(p prefix) bool { return p.doubted })
	i.addrs = slices.DeleteFunc(i.addrs, func(a *address) bool { return a.doubted })
	i.changed = i.changed || len(i.prefixes)+len(i.addrs) != n
}
