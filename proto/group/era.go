package group

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 3376 §7.2.1, RFC 3810 §8.2.1: a host speaks the oldest version that a querier
// of its link does, and for a while after that one was last heard.

// An era is which versions of the two protocols go together.
type era uint8

const (
	newest era = iota // IGMPv3, MLDv2
	older             // IGMPv2, MLDv1
	oldest            // IGMPv1
	eras
)

// met notes that a querier of an older era is there.
func (l *link) met(q *query, now mono.Time) {
	if q.era != newest {
		// Older Version Querier Present Timeout (RFC 3376 §8.12, RFC 3810 §9.12)
		l.until[q.era] = now.Add(time.Duration(l.robustness)*l.interval + q.maxResponse)
	}
	l.age(now)
}

// age chooses what to speak. A link that changes it forgets what it had still to say.
func (l *link) age(now mono.Time) {
	speaks := newest
	for e := older; e < eras; e++ {
		if now.Before(l.until[e]) {
			speaks = e
		}
	}
	if speaks == l.speaks {
		return
	}
	l.speaks, l.general = speaks, mono.Never
	for i := len(l.groups) - 1; i >= 0; i-- {
		r := l.groups[i]
		r.modeLeft, r.leaving, r.changeAt = 0, false, mono.Never
		r.answerAt, r.asked = mono.Never, r.asked[:0]
		for j := range r.sources {
			r.sources[j].left = 0
		}
		l.tidy(i)
	}
	if speaks != newest {
		l.by(l.until[speaks])
	}
}
