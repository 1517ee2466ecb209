package autoconf

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 5227 §2.1 (probing), §2.3 (announcing), §2.4 (defence).

// Link4 is what an [Interface4] needs of the stack.
type Link4 interface {
	// Probe broadcasts an ARP request for a from 0.0.0.0 (RFC 5227 §1.1).
	Probe(a netip.Addr)
	// Announce broadcasts an ARP request for a from a.
	Announce(a netip.Addr)
	// Changed says that Addrs are others than before. It is called at the end of a method or of
	// Expire, once.
	Changed(now mono.Time)
}

// Config4 is what an Interface4 is made of.
type Config4 struct {
	Link  Link4
	Wheel *timer.Wheel
	Rand  *rand.Rand // of delays
	MAC   wire.MAC   // of the interface: what it sends is no conflict, and its link-local address is made of it
}

// Defence is what to do when another station uses an address that we have (RFC 5227
// §2.4).
type Defence uint8

const (
	// DefendAlways keeps the address, and says so at most once in ten seconds: for one that the host
	// is known by (§2.4 (c)).
	DefendAlways Defence = iota
	// DefendOnce keeps it, unless there is a second conflict within ten seconds (§2.4 (b)).
	DefendOnce
	// GiveUp gives it up at once (§2.4 (a)).
	GiveUp
)

// An Interface4 is the IPv4 addresses of an interface, and what routers have redirected on its link. An address that is lost is a Duplicate
// until it is removed.
type Interface4 struct {
	cfg       Config4
	timer     timer.Timer
	addrs     []*address4
	conflicts int       // while probing, since one was last won
	next      mono.Time // when probing may begin again, after conflictsMax
	local     localChoice
	redirects redirects
	down      bool // nobody would hear: see Down
	changed   bool
}

// address4 is an address and the detection that goes on for it.
type address4 struct {
	Addr
	defence  Defence
	probed   bool      // it was probed for before it was used
	checking bool      // it is probed for while it is in use: see Restart
	step     mono.Time // when something is to be sent or decided; Never: nothing is
	probes   int       // still to be sent
	announce int       // announcements still to be sent
	defended mono.Time // when it was defended last; 0: it was not
}

// NewInterface4 returns an interface without addresses.
func NewInterface4(cfg Config4) *Interface4 {
	i := &Interface4{cfg: cfg}
	i.timer.Init(i)
	return i
}

// Addrs returns the addresses, oldest first.
func (i *Interface4) Addrs() []Addr {
	list := make([]Addr, len(i.addrs))
	for j, a := range i.addrs {
		list[j] = a.Addr
	}
	return list
}

// Add gives the interface an address. With probe it is tentative until it is known that nobody
// has it, some six seconds; otherwise it is used and announced at once. An address that
// is there is left as it is.
func (i *Interface4) Add(p netip.Prefix, origin Origin, d Defence, probe bool, now mono.Time) {
	if i.find(p.Addr()) != nil {
		return
	}
	i.add(&address4{
		Addr:    Addr{Prefix: p, Origin: origin, Preferred: mono.Never, Valid: mono.Never},
		defence: d,
	}, probe, now)
	i.settle(now)
}

// Remove takes an address away. It is false if there is none.
func (i *Interface4) Remove(a netip.Addr, now mono.Time) bool {
	n := slices.IndexFunc(i.addrs, func(x *address4) bool { return x.Prefix.Addr() == a })
	if n < 0 {
		return false
	}
	i.addrs = slices.Delete(i.addrs, n, n+1)
	i.changed = true
	i.settle(now)
	return true
}

func (i *Interface4) find(a netip.Addr) *address4 {
	if n := slices.IndexFunc(i.addrs, func(x *address4) bool { return x.Prefix.Addr() == a }); n >= 0 {
		return i.addrs[n]
	}
	return nil
}

func (i *Interface4) add(a *address4, probe bool, now mono.Time) {
	i.addrs = append(i.addrs, a)
	i.changed = true
	if !probe {
		i.assign(a, now)
		return
	}
	a.State, a.probed = route.Tentative, true
	i.probe(a, now)
}

// probe begins to probe for an address.
func (i *Interface4) probe(a *address4, now mono.Time) {
	a.probes = probeCount
	a.step = max(now.Add(i.between(0, probeWait)), i.next)
	if i.down {
		a.step = mono.Never
	}
}

// Down is called when the interface has no carrier, as that of Interface6.
func (i *Interface4) Down(now mono.Time) {
	i.down, i.changed = true, true
	for _, a := range i.addrs {
		if a.detecting() {
			a.checking, a.step = false, mono.Never
		}
	}
	i.settle(now)
}

// Restart is called when the interface has come up again, perhaps on another link (RFC 5227 §2.1): addresses
// that were probed for are probed for once more, the others are announced. One in use stays so until another station
// objects, as in Interface6.
func (i *Interface4) Restart(now mono.Time) {
	i.down = false
	i.redirects, i.changed = nil, i.changed || i.redirects != nil
	for _, a := range i.addrs {
		switch {
		case a.State == route.Duplicate && a.Origin == Leased: // its server has been told
		case a.State.Usable() && !a.probed:
			a.announce, a.step = announceCount, now
		default:
			if a.State == route.Duplicate {
				a.State, a.Rival, i.changed = route.Tentative, wire.MAC{}, true
			}
			a.checking = a.State.Usable()
			i.probe(a, now)
		}
	}
	i.settle(now)
}

// detecting says whether it is being found out if another station has the address.
func (a *address4) detecting() bool { return a.State == route.Tentative || a.checking }

// assign takes the address into use: nobody objected.
func (i *Interface4) assign(a *address4, now mono.Time) {
	a.State, a.checking, a.announce, a.step = route.Preferred, false, announceCount, now
	i.changed = true
	i.conflicts = 0
	i.run(a, now)
}

// Expire does what is due.
func (i *Interface4) Expire(_ *timer.Timer, now mono.Time) {
	for _, a := range slices.Clone(i.addrs) {
		if a.step.Due(now) {
			i.run(a, now)
		}
	}
	i.changed = i.redirects.run(now) || i.changed
	i.settle(now)
}

// run takes the next step of an address: three probes, a wait, two announcements.
func (i *Interface4) run(a *address4, now mono.Time) {
	switch {
	case a.detecting() && a.probes > 0:
		a.probes--
		a.step = now.Add(announceWait)
		if a.probes > 0 {
			a.step = now.Add(i.between(probeMin, probeMax))
		}
		i.cfg.Link.Probe(a.Prefix.Addr())
	case a.detecting():
		i.assign(a, now)
	case a.State == route.Preferred && a.announce > 0:
		a.announce--
		a.step = mono.Never
		if a.announce > 0 {
			a.step = now.Add(announceInterval)
		}
		i.cfg.Link.Announce(a.Prefix.Addr())
	default:
		a.step = mono.Never
	}
}

// Heard takes an ARP packet that a station which is not this interface has sent. conflict says
// that it uses an address here, or is about to take one that is being probed for (RFC 5227
// §2.1.1, §2.4). A probe for an address in use is none: it is answered.
func (i *Interface4) Heard(p wire.ARP, now mono.Time) (conflict bool) {
	sender := p.SenderIP()
	if p.SenderMAC() == i.cfg.MAC {
		return false
	}
	if sender.IsUnspecified() {
		a := i.find(p.TargetIP())
		if a == nil || a.State != route.Tentative || p.Op() != wire.ARPRequest {
			return false
		}
		i.lose(a, p.SenderMAC(), now)
		i.settle(now)
		return true
	}
	a := i.find(sender)
	if a == nil || a.State == route.Duplicate {
		return false
	}
	switch {
	case a.detecting() || a.defence == GiveUp:
		i.lose(a, p.SenderMAC(), now)
	case a.defended == 0 || now.Sub(a.defended) >= defendInterval:
		a.defended = max(now, 1)
		i.cfg.Link.Announce(sender)
	case a.defence == DefendOnce:
		i.lose(a, p.SenderMAC(), now)
	}
	i.settle(now)
	return true
}

// lose gives an address up.
func (i *Interface4) lose(a *address4, rival wire.MAC, now mono.Time) {
	i.conflicts++
	if i.conflicts >= conflictsMax {
		i.next = now.Add(rateLimitInterval)
	}
	a.State, a.Rival, a.checking, a.step = route.Duplicate, rival, false, mono.Never
	i.changed = true
	i.nextLocal(a, now)
}

// settle ends every change: it sets the timer for what comes next and tells the news.
func (i *Interface4) settle(now mono.Time) {
	next := i.redirects.next()
	for _, a := range i.addrs {
		next = min(next, a.step)
	}
	i.cfg.Wheel.Arm(&i.timer, next)
	if i.changed {
		i.changed = false
		i.cfg.Link.Changed(now)
	}
}

// between is a random time from least to most.
func (i *Interface4) between(least, most time.Duration) time.Duration {
	return least + time.Duration(i.cfg.Rand.Int64N(int64(most-least)))
}
