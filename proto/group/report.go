package group

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 3376 §5.1 (changes), §5.2 (answers), §4.2.16 (what does not fit);
// RFC 2236 §3 and RFC 2710 §4 for the older messages.

// reportMax is how long a message may be, in bytes, whatever the link: what goes through
// tunnels too.
const reportMax = 1400

// A report is one message under construction. Its lists are used again.
type report struct {
	message [reportMax]byte
	records []wire.GroupRecord
	sources []netip.Addr // of the records, one after the other
	used    int          // bytes
}

// changed notes what is to be said of a change, mode and member being what was before it.
func (l *link) changed(r *record, mode Mode, member bool) {
	if l.speaks != newest {
		l.changedOld(r, member)
		return
	}
	now := r.mode()
	for i := range r.sources {
		s := &r.sources[i]
		if now == mode && r.lets(s) != s.heard || now != mode && r.lets(s) == (now == Include) {
			s.left, r.changeAt = l.robustness, 0 // at once
		}
	}
	if now != mode {
		r.modeLeft, r.changeAt = l.robustness, 0
	}
}

// changedOld is for when only joining and leaving can be said.
func (l *link) changedOld(r *record, member bool) {
	switch is := r.member(); {
	case is && !member:
		r.leaving, r.modeLeft, r.changeAt = false, l.robustness, 0
	case member && !is:
		r.modeLeft, r.answerAt, r.changeAt = 0, mono.Never, mono.Never
		// Another who reported last is still there (RFC 2236 §3, RFC 2710 §4).
		if r.leaving = r.reporter && l.speaks == older; r.leaving {
			r.changeAt = 0
		}
		r.reporter = false
	}
}

// Refresh tells the routers of a port's groups anew, of one family: its link was down, or
// has its own address only now (RFC 3810 §5.2.13).
func (t *Table) Refresh(port int, six bool) {
	l := &t.links[2*port]
	if six {
		l = &t.links[2*port+1]
	}
	for _, r := range l.groups {
		switch {
		case !r.reported || !r.member():
		case l.speaks != newest:
			l.changedOld(r, false)
		default:
			r.modeLeft, r.changeAt = l.robustness, 0
		}
	}
	l.by(0)
}

// Expire says what is due.
func (l *link) Expire(_ *timer.Timer, now mono.Time) {
	l.age(now)
	general := l.general.Due(now)
	if general {
		l.general = mono.Never
	}
	for i := len(l.groups) - 1; i >= 0; i-- {
		r := l.groups[i]
		if general || r.answerAt.Due(now) {
			l.answer(r, general)
		}
		if r.changeAt.Due(now) {
			l.tell(r, now)
		}
		l.tidy(i)
	}
	l.flush()
	l.report.sources = l.report.sources[:0]
	l.arm()
}

// answer says the state of a group, as it was asked for.
func (l *link) answer(r *record, general bool) {
	asked := r.asked
	r.asked = asked[:0]
	r.answerAt = mono.Never
	switch {
	case !r.reported || !r.member():
	case l.speaks != newest:
		l.sendOld(r)
	case general || len(asked) == 0:
		kind := wire.ModeIsInclude
		if r.mode() == Exclude {
			kind = wire.ModeIsExclude
		}
		l.add(kind, r.group, l.list(r, r.mode() == Include, false))
	default: // of the senders that were asked about, those that are heard
		from := len(l.report.sources)
		for _, a := range asked {
			if r.hears(a) {
				l.report.sources = append(l.report.sources, a)
			}
		}
		if heard := l.report.sources[from:]; len(heard) > 0 {
			l.add(wire.ModeIsInclude, r.group, heard)
		}
	}
}

// tell says the last changes of a group once more.
func (l *link) tell(r *record, now mono.Time) {
	r.changeAt = mono.Never
	if l.speaks != newest {
		l.tellOld(r, now)
		return
	}
	if r.modeLeft > 0 {
		r.modeLeft--
		kind := wire.ChangeToInclude
		if r.mode() == Exclude {
			kind = wire.ChangeToExclude
		}
		l.add(kind, r.group, l.list(r, r.mode() == Include, false))
	} else {
		if allow := l.list(r, true, true); len(allow) > 0 {
			l.add(wire.AllowNewSources, r.group, allow)
		}
		if block := l.list(r, false, true); len(block) > 0 {
			l.add(wire.BlockOldSources, r.group, block)
		}
	}
	again := r.modeLeft > 0
	for i := range r.sources {
		if s := &r.sources[i]; s.left > 0 {
			s.left--
			again = again || s.left > 0
		}
	}
	if again {
		r.changeAt = l.after(now, unsolicited)
	}
}

// list returns the sources that are heard, or are not; only those that are to be said, if
// changed.
func (l *link) list(r *record, heard, changed bool) []netip.Addr {
	from := len(l.report.sources)
	for i := range r.sources {
		s := &r.sources[i]
		if r.lets(s) == heard && (!changed || s.left > 0) {
			l.report.sources = append(l.report.sources, s.addr)
		}
	}
	return l.report.sources[from:len(l.report.sources):len(l.report.sources)]
}

// add puts a record into the report, and sends the report before it where it would become too long.
func (l *link) add(kind wire.GroupRecordType, group netip.Addr, sources []netip.Addr) {
	size := group.BitLen() / 8
	for {
		room := min(l.cfg.Sender.GroupRoom(l.port, l.six), reportMax) - wire.IGMPLen - l.report.used - 4 - size
		fit := room / size
		if room >= 0 && len(sources) <= fit {
			l.put(kind, group, sources)
			return
		}
		if len(l.report.records) > 0 {
			l.flush()
			continue
		}
		if fit <= 0 {
			return // no message fits this link
		}
		l.put(kind, group, sources[:fit])
		if kind == wire.ModeIsExclude || kind == wire.ChangeToExclude {
			return // the rest is not blocked, which is not wrong (RFC 3376 §4.2.16)
		}
		sources = sources[fit:]
		l.flush()
	}
}

func (l *link) put(kind wire.GroupRecordType, group netip.Addr, sources []netip.Addr) {
	r := wire.GroupRecord{Type: kind, Group: group, Sources: sources}
	l.report.records = append(l.report.records, r)
	l.report.used += r.Len()
}

// flush sends the report. Both versions begin with 8 bytes.
func (l *link) flush() {
	p := &l.report
	if len(p.records) > 0 {
		if l.six {
			n := wire.PutMLDv2Report(p.message[:], p.records)
			l.cfg.Sender.SendGroup(l.port, wire.AllMLDv2, p.message[:n])
		} else {
			n := wire.PutIGMPv3Report(p.message[:], p.records)
			l.cfg.Sender.SendGroup(l.port, wire.AllIGMPv3, p.message[:n])
		}
	}
	p.records, p.used = p.records[:0], 0
}

// tellOld says that a group was joined, or left.
func (l *link) tellOld(r *record, now mono.Time) {
	b := l.report.message[:]
	switch {
	case r.leaving && l.six:
		l.cfg.Sender.SendGroup(l.port, wire.AllRouters6, b[:wire.PutMLD(b, wire.ICMP6MLDDone, 0, r.group)])
	case r.leaving:
		l.cfg.Sender.SendGroup(l.port, wire.AllRouters4, b[:wire.PutIGMP(b, wire.IGMPv2Leave, 0, r.group)])
	default:
		l.sendOld(r)
		if r.modeLeft--; r.modeLeft > 0 {
			r.changeAt = l.after(now, unsolicitedOld)
		}
	}
	r.leaving = false
}

// sendOld sends a report of an older era.
func (l *link) sendOld(r *record) {
	b := l.report.message[:]
	r.reporter = true
	switch {
	case l.six:
		l.cfg.Sender.SendGroup(l.port, r.group, b[:wire.PutMLD(b, wire.ICMP6MLDReport, 0, r.group)])
	case l.speaks == oldest:
		l.cfg.Sender.SendGroup(l.port, r.group, b[:wire.PutIGMP(b, wire.IGMPv1Report, 0, r.group)])
	default:
		l.cfg.Sender.SendGroup(l.port, r.group, b[:wire.PutIGMP(b, wire.IGMPv2Report, 0, r.group)])
	}
}
