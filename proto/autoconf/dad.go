package autoconf

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 4862 §5.4 (duplicate address detection); RFC 7527 §4 (a probe that comes back is
// told from another host's by its nonce); RFC 7217 §6 (what follows a duplicate).

// address is an address of an interface and the detection that goes on for it.
type address struct {
	Addr
	stable  bool  // its identifier is made here, and another one can be (RFC 7217)
	counter uint8 // DAD_Counter

	// checking is detection of an address that stays in use meanwhile: see Restart.
	checking bool
	doubted  bool // see doubting

	// While tentative or checking:
	step   mono.Time // when the next probe is sent, or the detection is over
	left   int       // probes to be sent
	looped bool      // one of this round came back
	nonces [dadTransmitsMax + multicastSolicit][6]byte
	sent   int // probes so far: the last len(nonces) are remembered
}

// dadTransmitsMax is the most solicitations that Config6.Transmits may ask for (Linux has no limit; none
// is known to use more than 3).
const dadTransmitsMax = 8

// next is when something happens to a by itself.
func (a *address) next() mono.Time {
	next := a.Valid
	if a.detecting() {
		next = min(next, a.step)
	}
	if a.State == route.Preferred {
		next = min(next, a.Preferred)
	}
	return next
}

// detecting says whether it is being found out if another station has the address.
func (a *address) detecting() bool { return a.State == route.Tentative || a.checking }

// Add gives the interface an address of the program's. It is tentative first, unless
// detection is off. An address that is there is left as it is.
func (i *Interface6) Add(p netip.Prefix, now mono.Time) {
	if i.find(p.Addr()) != nil {
		return
	}
	i.add(&address{Addr: Addr{Prefix: p, Preferred: mono.Never, Valid: mono.Never}}, now)
	i.settle(now)
}

// Remove takes an address away, whoever gave it. It is false if there is none.
func (i *Interface6) Remove(a netip.Addr, now mono.Time) bool {
	n := slices.IndexFunc(i.addrs, func(x *address) bool { return x.Prefix.Addr() == a })
	if n < 0 {
		return false
	}
	i.addrs = slices.Delete(i.addrs, n, n+1)
	i.changed = true
	i.settle(now)
	return true
}

// add begins with an address. A stable one has only its prefix yet.
func (i *Interface6) add(a *address, now mono.Time) {
	if a.stable {
		i.identify(a)
	}
	i.addrs = append(i.addrs, a)
	i.begin(a, now)
}

// begin begins duplicate address detection of an address that is not used before it is over.
func (i *Interface6) begin(a *address, now mono.Time) {
	i.changed = true
	if i.cfg.Transmits < 0 {
		i.assign(a, now)
		return
	}
	a.State, a.checking = route.Tentative, false
	i.probe(a, now)
}

// probe begins to send the probes of a detection.
func (i *Interface6) probe(a *address, now mono.Time) {
	a.sent, a.looped = 0, false
	a.left = min(i.cfg.Transmits, dadTransmitsMax)
	a.step = now
	// RFC 4862 §5.4.2: not all hosts at once after a power failure, or an advertisement.
	if !i.spoken || a.Origin == Stateless {
		a.step = now.Add(i.delay(solicitDelayMax))
	}
	if i.down {
		a.step = mono.Never
	}
}

// assign ends the detection: nobody else has the address.
func (i *Interface6) assign(a *address, now mono.Time) {
	a.State = route.Preferred
	if a.Addr.Preferred.Due(now) {
		a.State = route.Deprecated
	}
	i.changed = true
	i.readyToAsk(now)
}

// runAddrs does what is due for addresses: probes, the end of detection, of preference and of life.
func (i *Interface6) runAddrs(now mono.Time) {
	i.addrs = slices.DeleteFunc(i.addrs, func(a *address) bool {
		if a.Valid.Due(now) {
			i.changed = true
			return true
		}
		switch {
		case a.detecting() && a.step.Due(now):
			i.detect(a, now)
		case a.State == route.Preferred && a.Addr.Preferred.Due(now):
			a.State = route.Deprecated
			i.changed = true
		}
		return false
	})
}

// detect takes the next step of duplicate address detection.
func (i *Interface6) detect(a *address, now mono.Time) {
	switch {
	case a.left > 0 || a.looped:
	case a.checking:
		a.checking = false
		return
	default:
		i.assign(a, now)
		return
	}
	if a.left == 0 { // RFC 7527 §4.1: another round, until none comes back
		a.left, a.looped = multicastSolicit, false
	}
	nonce := i.nonce()
	a.nonces[a.sent%len(a.nonces)] = nonce
	a.sent++
	a.left--
	a.step = now.Add(i.params.RetransTimer)
	i.spoken = true
	i.cfg.Link.Probe(a.Prefix.Addr(), nonce)
}

// Probed takes a neighbour solicitation from the unspecified address: another station
// is about to take target, or a probe of ours has come back. conflict says that it is not
// ours and target is an address here.
func (i *Interface6) Probed(target netip.Addr, nonce []byte, from wire.MAC, now mono.Time) (conflict bool) {
	a := i.find(target)
	if a == nil || !a.detecting() {
		return false // an address that is in use answers
	}
	for n := range min(a.sent, len(a.nonces)) {
		if len(nonce) == len(a.nonces[n]) && [6]byte(nonce) == a.nonces[n] {
			a.looped = true
			return false
		}
	}
	if a.checking {
		return false // he is answered, and gives way
	}
	i.duplicate(a, from, now)
	return true
}

// Claimed takes a neighbour advertisement of another station. conflict says that target is an
// address here: one that is being detected is given up, one in use is not (RFC 4862 §5.4.4).
func (i *Interface6) Claimed(target netip.Addr, from wire.MAC, now mono.Time) (conflict bool) {
	a := i.find(target)
	if a == nil || a.State == route.Duplicate {
		return false
	}
	if a.detecting() {
		i.duplicate(a, from, now)
	}
	return true
}

// duplicate ends the detection with another station's address. A stable identifier is followed
// by the next one (RFC 7217 §6).
func (i *Interface6) duplicate(a *address, rival wire.MAC, now mono.Time) {
	a.Rival, a.checking = rival, false
	i.changed = true
	if a.stable && a.counter < idgenRetries {
		a.counter++
		a.Prefix = netip.PrefixFrom(a.Prefix.Masked().Addr(), a.Prefix.Bits())
		i.identify(a)
		i.begin(a, now)
		a.step = a.step.Add(i.delay(idgenDelay))
	} else {
		a.State = route.Duplicate
		i.readyToAsk(now)
	}
	i.settle(now)
}
