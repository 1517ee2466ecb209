package group

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A Sender is what the table needs of the stack.
type Sender interface {
	// GroupRoom returns how many bytes a message that leaves by a port may have.
	GroupRoom(port int, six bool) int
	// SendGroup sends a message to a group of routers or members, with TTL 1 and the router
	// alert: IGMP if to is of IPv4, else MLD without its checksum, which is over the source too. The
	// message is lent.
	SendGroup(port int, to netip.Addr, message []byte)
}

// Config is what a table is made of.
type Config struct {
	Sender Sender
	Wheel  *timer.Wheel
	Rand   *rand.Rand // of the delays
	Ports  int

	// Silent keeps the memberships and says nothing of them: of several cores, one talks
	// to the routers.
	Silent bool
}

// A Table is the groups that the ports of one core listen to.
type Table struct {
	cfg   Config
	links []link // two a port: IPv4, IPv6

	report report // under construction
}

// A link is one port and family.
type link struct {
	*Table
	six    bool
	port   int
	groups []*record // by address

	// Of the querier, as its queries say.
	robustness int
	interval   time.Duration
	until      [eras]mono.Time // until when one of an older era is taken to be there
	speaks     era             // what is spoken: the oldest of those

	general mono.Time   // when a general query is to be answered
	timer   timer.Timer // the earliest of the above and of the groups' times
}

// A record is one group that a link listens to, or has just left.
type record struct {
	group    netip.Addr
	reported bool // not one of those that no router is told of

	// The sockets' filters, counted: how many of each mode, and by source. What the link hears is
	// what RFC 3376 §3.2 makes of them.
	include, exclude int
	sources          []source

	// What is to be said of the last changes (RFC 3376 §5.1).
	modeLeft int       // in how many reports the mode; an older version's reports
	leaving  bool      // an older version's leave
	changeAt mono.Time // when the next such report is due

	// What a router has asked (RFC 3376 §5.2).
	answerAt mono.Time
	asked    []netip.Addr // about these senders; none: about the group
	reporter bool         // we were the last to report it, in an older version
}

// A source is a sender that some filter lists.
type source struct {
	addr             netip.Addr
	include, exclude int // filters that list it
	left             int // in how many reports it is to be said
	heard            bool
}

// New returns a table without memberships.
func New(cfg Config) *Table {
	t := &Table{cfg: cfg, links: make([]link, 2*cfg.Ports)}
	for i := range t.links {
		l := &t.links[i]
		l.Table, l.six, l.port = t, i%2 == 1, i/2
		l.robustness, l.interval, l.general = robustness, queryInterval, mono.Never
		l.timer.Init(l)
	}
	return t
}

// link returns the state of a port for the family of an address.
func (t *Table) link(port int, of netip.Addr) *link {
	if of.Is4() {
		return &t.links[2*port]
	}
	return &t.links[2*port+1]
}

// find returns where a group is, or is to be put.
func (l *link) find(group netip.Addr) (i int, ok bool) {
	return slices.BinarySearchFunc(l.groups, group, func(r *record, g netip.Addr) int { return r.group.Compare(g) })
}

func (l *link) lookup(group netip.Addr) *record {
	if i, ok := l.find(group); ok {
		return l.groups[i]
	}
	return nil
}

// Hears says whether anyone here wants what src sends to a group. The groups of all hosts
// are always listened to (RFC 1112 §4, RFC 4291 §2.7.1).
func (t *Table) Hears(port int, group, src netip.Addr) bool {
	if all(group) {
		return true
	}
	r := t.link(port, group).lookup(group)
	return r != nil && r.hears(src)
}

// Member says whether anyone here hears anything of a group.
func (t *Table) Member(port int, group netip.Addr) bool {
	if all(group) {
		return true
	}
	r := t.link(port, group).lookup(group)
	return r != nil && r.member()
}

// all says whether a group is that of all hosts.
func all(group netip.Addr) bool {
	return group == wire.AllSystems4 || group == wire.AllNodes6 || group == interfaceNodes6
}

// interfaceNodes6 is the group of all nodes of the interface alone (RFC 4291 §2.7.1).
var interfaceNodes6 = netip.AddrFrom16([16]byte{0xff, 0x01, 15: 0x01})

// reports says whether routers are told of a group: not of all hosts (RFC 2236 §6), and not
// of what never leaves the interface (RFC 3810 §6).
func reports(group netip.Addr) bool {
	if group.Is4() {
		return group != wire.AllSystems4
	}
	return group != wire.AllNodes6 && group.As16()[1]&0x0f > 1
}

// Groups calls f for each group that a port listens to, with what it hears of it.
func (t *Table) Groups(port int, f func(group netip.Addr, heard Filter)) {
	for i := range 2 {
		for _, r := range t.links[2*port+i].groups {
			if r.member() {
				f(r.group, r.merged())
			}
		}
	}
}

// mode is that of the merged filter: one that excludes makes all do (RFC 3376 §3.2).
func (r *record) mode() Mode {
	if r.exclude > 0 {
		return Exclude
	}
	return Include
}

// lets says whether the merged filter lets s through: it is included by one filter, or
// some filter excludes others but not it.
func (r *record) lets(s *source) bool { return s.include > 0 || s.exclude < r.exclude }

func (r *record) hears(src netip.Addr) bool {
	if i, ok := r.source(src); ok {
		return r.lets(&r.sources[i])
	}
	return r.exclude > 0
}

func (r *record) source(addr netip.Addr) (i int, ok bool) {
	return slices.BinarySearchFunc(r.sources, addr, func(s source, a netip.Addr) int { return s.addr.Compare(a) })
}

// member says whether the merged filter hears anyone.
func (r *record) member() bool {
	if r.exclude > 0 {
		return true
	}
	for i := range r.sources {
		if r.sources[i].include > 0 {
			return true
		}
	}
	return false
}

// merged returns the merged filter.
func (r *record) merged() Filter {
	f := Filter{Mode: r.mode()}
	for i := range r.sources {
		if s := &r.sources[i]; r.lets(s) == (f.Mode == Include) {
			f.Sources = append(f.Sources, s.addr)
		}
	}
	return f
}

// Change replaces one filter of a group by another, nil being none: a socket has joined,
// left, or changed its mind. It is false, and nothing has changed, if that would be
// too many groups or sources.
func (t *Table) Change(port int, group netip.Addr, from, to *Filter) bool {
	l := t.link(port, group)
	i, ok := l.find(group)
	if !ok {
		if from != nil || len(l.groups) >= groupsMax {
			return false
		}
		r := &record{group: group, reported: reports(group) && !t.cfg.Silent, changeAt: mono.Never, answerAt: mono.Never}
		l.groups = slices.Insert(l.groups, i, r)
	}
	r := l.groups[i]
	if to != nil && r.wouldList(to) > mergedMax {
		return false // such a record is not new
	}
	mode, member := r.mode(), r.member()
	for i := range r.sources {
		s := &r.sources[i]
		s.heard = r.lets(s)
	}
	r.count(to, 1, mode == Exclude)
	r.count(from, -1, mode == Exclude)
	if r.reported {
		l.changed(r, mode, member)
		l.by(r.changeAt)
	}
	l.tidy(i)
	return true
}

// wouldList is how many sources there are with those of f.
func (r *record) wouldList(f *Filter) int {
	n := len(r.sources)
	for _, a := range f.Sources {
		if _, ok := r.source(a); !ok {
			n++
		}
	}
	return n
}

// count adds a filter to the counts, or takes it off. heard is what a source that no filter has
// listed was.
func (r *record) count(f *Filter, by int, heard bool) {
	if f == nil {
		return
	}
	if f.Mode == Include {
		r.include += by
	} else {
		r.exclude += by
	}
	for _, a := range f.Sources {
		i, ok := r.source(a)
		if !ok {
			r.sources = slices.Insert(r.sources, i, source{addr: a, heard: heard})
		}
		if f.Mode == Include {
			r.sources[i].include += by
		} else {
			r.sources[i].exclude += by
		}
	}
}

// tidy forgets sources of group i that no filter lists and no report is to say, and the
// group if nothing is left of it.
func (l *link) tidy(i int) {
	r := l.groups[i]
	r.sources = slices.DeleteFunc(r.sources, func(s source) bool { return s.include == 0 && s.exclude == 0 && s.left == 0 })
	if r.include == 0 && r.exclude == 0 && len(r.sources) == 0 && r.changeAt == mono.Never {
		l.groups = slices.Delete(l.groups, i, i+1)
	}
}

// arm sets the timer to what is due first, looking at all there is.
func (l *link) arm() {
	at := l.general
	if l.speaks != newest {
		at = min(at, l.until[l.speaks])
	}
	for _, r := range l.groups {
		at = min(at, r.changeAt, r.answerAt)
	}
	l.cfg.Wheel.Arm(&l.timer, at)
}

// by makes the timer fire no later than at.
func (l *link) by(at mono.Time) {
	if at < l.timer.At() {
		l.cfg.Wheel.Arm(&l.timer, at)
	}
}

// after returns a moment within d from now, chosen at random.
func (l *link) after(now mono.Time, d time.Duration) mono.Time {
	if d <= 0 {
		return now
	}
	return now.Add(time.Duration(l.cfg.Rand.Int64N(int64(d))) + 1)
}
