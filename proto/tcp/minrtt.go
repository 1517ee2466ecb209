package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: RFC 8985 §6.2 step 1 (RACK.min_RTT), tcp_min_rtt_wlen in Documentation/networking/ip-sysctl.rst.

// A minRTT is the shortest round trip of the last tcp_min_rtt_wlen, by Kathleen Nichols' filter: beside
// the best it keeps the best of what came later, and the best of what came later still, so that an heir is
// there when the best has grown old. They are exact unless all three came close together and grow old at once.
type minRTT [3]rttSample

// An rttSample is a round trip and when it was measured.
type rttSample struct {
	at  uint32 // ms
	rtt uint32 // µs, 0: none
}

// least is what the filter says, 0: nothing was measured.
func (m *minRTT) least() time.Duration { return time.Duration(m[0].rtt) * time.Microsecond }

// take takes in a round trip.
func (m *minRTT) take(rtt, window time.Duration, now mono.Time) {
	s := rttSample{tsClock(now), uint32(min(max(rtt/time.Microsecond, 1), echoMax/time.Microsecond))}
	most := uint32(window / time.Millisecond)
	if m[0].rtt == 0 || s.rtt <= m[0].rtt || s.at-m[2].at > most {
		*m = minRTT{s, s, s}
		return
	}
	switch {
	case s.rtt <= m[1].rtt:
		m[1], m[2] = s, s
	case s.rtt <= m[2].rtt:
		m[2] = s
	}
	switch age := s.at - m[0].at; {
	case age > most:
		*m = minRTT{m[1], m[2], s}
		if s.at-m[0].at > most {
			*m = minRTT{m[1], m[2], s}
		}
	case m[1].at == m[0].at && age > most/4: // an heir from the second quarter of the window
		m[1], m[2] = s, s
	case m[2].at == m[1].at && age > most/2: // and his from the second half
		m[2] = s
	}
}
