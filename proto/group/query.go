package group

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 3376 §4.1 and §9.1, RFC 3810 §5.1 and §6.2 (what to believe); RFC 3376
// §5.2, RFC 3810 §6.2 (when to answer); RFC 2236 §3, RFC 2710 §4 (the same of old).

// An Arrival is what the IP header says of a message.
type Arrival struct {
	Port        int
	Src, Dst    netip.Addr
	TTL         uint8 // or hop limit
	RouterAlert bool
}

// A query is what a router wants to know.
type query struct {
	era         era
	group       netip.Addr // unspecified: all
	sources     wire.Addrs
	maxResponse time.Duration
	robustness  int // 0: not said
	interval    time.Duration
}

// InputIGMP takes an IGMP message.
func (t *Table) InputIGMP(b []byte, a *Arrival, now mono.Time) drop.Reason {
	m, ok := wire.ParseIGMP(b)
	switch {
	case !ok:
		return drop.IGMPShort
	case !m.ChecksumOK():
		return drop.IGMPChecksum
	}
	kind := m.Type()
	switch kind {
	case wire.IGMPQuery, wire.IGMPv1Report, wire.IGMPv2Report:
	default:
		return drop.IGMPUnknownType
	}
	group, version := m.Group(), m.Version()
	switch {
	case version == 0:
		return drop.IGMPShort // of no version's length
	case a.TTL != 1:
		return drop.IGMPTTL
	case version > 1 && !a.RouterAlert:
		return drop.IGMPRouterAlert
	}
	l := &t.links[2*a.Port]
	if kind != wire.IGMPQuery {
		if !group.IsMulticast() || a.Dst != group {
			return drop.IGMPBadGroup
		}
		l.overheard(group)
		return drop.None
	}
	if group.IsUnspecified() {
		if a.Dst.IsMulticast() && a.Dst != wire.AllSystems4 {
			return drop.IGMPBadGroup
		}
	} else if !group.IsMulticast() {
		return drop.IGMPBadGroup
	}
	l.queried(&query{
		era: [...]era{1: oldest, 2: older, 3: newest}[version], group: group, sources: m.Sources(),
		maxResponse: m.MaxResponse(), robustness: m.Robustness(), interval: m.Interval(),
	}, now)
	return drop.None
}

// InputMLD takes an MLD message, an ICMPv6 message of one of its types whose checksum is good.
func (t *Table) InputMLD(b wire.ICMP6, a *Arrival, now mono.Time) drop.Reason {
	m, ok := wire.ParseMLD(b)
	if !ok {
		return drop.MLDShort
	}
	kind := m.Type()
	switch kind {
	case wire.ICMP6MLDQuery, wire.ICMP6MLDReport:
	default:
		return drop.MLDUnknownType
	}
	group, version := m.Group(), m.Version()
	switch {
	case version == 0:
		return drop.MLDShort
	case !a.Src.IsLinkLocalUnicast():
		return drop.MLDBadSource
	case a.TTL != 1:
		return drop.MLDHopLimit
	case !a.RouterAlert:
		return drop.MLDRouterAlert
	}
	l := &t.links[2*a.Port+1]
	if kind == wire.ICMP6MLDReport {
		if !group.IsMulticast() || a.Dst != group {
			return drop.MLDBadGroup
		}
		l.overheard(group)
		return drop.None
	}
	if group.IsUnspecified() {
		if a.Dst.IsMulticast() && a.Dst != wire.AllNodes6 {
			return drop.MLDBadGroup
		}
	} else if !group.IsMulticast() {
		return drop.MLDBadGroup
	}
	l.queried(&query{
		era: [...]era{1: older, 2: newest}[version], group: group, sources: m.Sources(),
		maxResponse: m.MaxResponse(), robustness: m.Robustness(), interval: m.Interval(),
	}, now)
	return drop.None
}

// queried plans the answers to a query.
func (l *link) queried(q *query, now mono.Time) {
	if q.era == newest { // what is not said is the default (RFC 3376 §4.1.6, §4.1.7)
		if l.robustness = q.robustness; l.robustness == 0 {
			l.robustness = robustness
		}
		if l.interval = q.interval; l.interval == 0 {
			l.interval = queryInterval
		}
	}
	if q.group.IsUnspecified() {
		l.met(q, now)
	}
	if l.speaks == newest {
		l.plan(q, now)
	} else {
		l.planOld(q, now)
	}
}

// plan is RFC 3376 §5.2, RFC 3810 §6.2.
func (l *link) plan(q *query, now mono.Time) {
	at := l.after(now, q.maxResponse)
	if l.general <= at {
		return // that answer will say it all
	}
	if q.group.IsUnspecified() {
		l.general = at
		l.by(at)
		return
	}
	r := l.lookup(q.group)
	if r == nil || !r.reported {
		return
	}
	if r.answerAt == mono.Never || len(r.asked) > 0 && q.sources.Len() > 0 {
		r.ask(q.sources)
	} else {
		r.asked = r.asked[:0]
	}
	r.answerAt = min(r.answerAt, at)
	l.by(at)
}

// ask adds to the senders that were asked about. Too many are answered by the group.
func (r *record) ask(sources wire.Addrs) {
	if sources.Len() > askedMax {
		r.asked = r.asked[:0]
		return
	}
	for i := range sources.Len() {
		a := sources.At(i)
		if slices.Contains(r.asked, a) {
			continue
		}
		if len(r.asked) == askedMax {
			r.asked = r.asked[:0]
			return
		}
		r.asked = append(r.asked, a)
	}
}

// planOld gives each group a timer of its own, so that others may be faster.
func (l *link) planOld(q *query, now mono.Time) {
	for _, r := range l.groups {
		if !r.reported || !r.member() || !q.group.IsUnspecified() && q.group != r.group {
			continue
		}
		if r.answerAt == mono.Never || q.maxResponse < r.answerAt.Sub(now) {
			r.answerAt = l.after(now, q.maxResponse)
			l.by(r.answerAt)
		}
	}
}

// overheard is told that another host has reported a group: to routers of old that is enough
// (RFC 2236 §3, RFC 2710 §4). Newer ones keep count of each host.
func (l *link) overheard(group netip.Addr) {
	r := l.lookup(group)
	if r == nil || l.speaks == newest || r.leaving {
		return
	}
	r.answerAt, r.changeAt, r.modeLeft, r.reporter = mono.Never, mono.Never, 0, false
}
