package autoconf

import (
	"net/netip"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
)

// Read first: RFC 4861 §6.3.7 (when and how a host asks for routers); RFC 7559 §2 (it goes on, less and
// less often); RFC 8415 §15, whose retransmission that is.

// asking is the host's asking for routers.
type asking struct {
	at       mono.Time     // of the next solicitation; Never: none is due
	interval time.Duration // after the last one; 0: there was none
	waiting  bool          // for a link-local address to ask from
}

// beginAsking begins to ask for routers, from the link-local address as soon as that may be
// used. Its detection has the random delay that has to come first.
func (i *Interface6) beginAsking(now mono.Time) {
	i.ask = asking{at: now.Add(i.delay(solicitDelayMax))}
	if a := i.linkLocal(); a != nil && a.State == route.Tentative {
		i.ask = asking{at: mono.Never, waiting: true}
	}
}

// readyToAsk is called when the detection of an address has ended.
func (i *Interface6) readyToAsk(now mono.Time) {
	if a := i.linkLocal(); i.ask.waiting && (a == nil || a.State != route.Tentative) {
		i.ask = asking{at: now}
	}
}

// endAsking ends it: there is a default router.
func (i *Interface6) endAsking() { i.ask = asking{at: mono.Never} }

// runAsk asks, if that is due.
func (i *Interface6) runAsk(now mono.Time) {
	if !i.ask.at.Due(now) {
		return
	}
	var source netip.Addr
	if a := i.linkLocal(); a != nil && a.State.Usable() {
		source = a.Prefix.Addr()
	}
	i.spoken = true
	i.cfg.Link.SolicitRouters(source)
	d := i.ask.interval
	switch {
	case d == 0:
		d = i.spread(solicitInterval)
	default:
		d += i.spread(d)
	}
	if d > solicitBackoff {
		d = i.spread(solicitBackoff)
	}
	i.ask.interval, i.ask.at = d, now.Add(d)
}

// spread is d, a tenth more or less (RFC 8415 §15: RAND).
func (i *Interface6) spread(d time.Duration) time.Duration { return d - d/10 + i.delay(d/5) }
