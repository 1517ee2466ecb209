package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/xdpsock/xdpsock/engine"
)

// What the raw modes print. The tables are laid out as those of the kernel's
// xdpsock sample program.

// rawSocketStats is a queue in an interval, or in the whole run, for machines.
type rawSocketStats struct {
	Queue     int     `json:"queue"`
	RxPPS     float64 `json:"rx_pps"`
	TxPPS     float64 `json:"tx_pps"`
	RxPackets uint64  `json:"rx_packets"` // since the start
	TxPackets uint64  `json:"tx_packets"`
	RxBytes   uint64  `json:"rx_bytes"`
	TxBytes   uint64  `json:"tx_bytes"`
	RxDropped uint64  `json:"rx_dropped"` // the kernel had no frame or no room for them, or they were too long
	TxDropped uint64  `json:"tx_dropped"` // the driver or the kernel refused them
}

// rawEvent is a line of JSON: "interval" or "summary".
type rawEvent struct {
	Event   string           `json:"event"`
	Mode    string           `json:"mode"` // rxdrop, txonly, l2fwd
	Seconds float64          `json:"seconds"`
	Dropped uint64           `json:"dropped"` // by the mode, since the start
	Sockets []rawSocketStats `json:"sockets"`

	// Sums over the sockets, since the start.
	RxPackets uint64 `json:"rx_packets"`
	TxPackets uint64 `json:"tx_packets"`
}

func (e *rawEvent) add(st rawSocketStats) {
	e.Sockets = append(e.Sockets, st)
	e.RxPackets += st.RxPackets
	e.TxPackets += st.TxPackets
}

// rawReady is the first line of JSON.
type rawReady struct {
	Event string `json:"event"` // "ready"
	Mode  string `json:"mode"`
	Link  link   `json:"link"`
}

// begin says what was opened, and why not better.
func (r *rawRun) begin() {
	l := link{
		Interface: r.nic.Interface, Driver: r.nic.Driver, Mode: r.nic.Mode, Queues: r.nic.Queues,
		MTU: r.nic.MTU, Addr: r.nic.Addr.String(), Refused: r.nic.Refused,
	}
	l.say(r.out)
	for i := range r.sockets {
		r.out.say(" %s running...", r.head(i))
	}
	r.out.emit(rawReady{"ready", r.name, l})
}

// between is what a queue did since before, which took so long; the counters are the
// sums since the start.
func between(queue int, before, now engine.DeviceStats, took time.Duration) rawSocketStats {
	return rawSocketStats{
		Queue:     queue,
		RxPPS:     float64(now.RxPackets-before.RxPackets) / took.Seconds(),
		TxPPS:     float64(now.TxPackets-before.TxPackets) / took.Seconds(),
		RxPackets: now.RxPackets,
		TxPackets: now.TxPackets,
		RxBytes:   now.RxBytes,
		TxBytes:   now.TxBytes,
		RxDropped: now.RxDropped + now.RxOversize,
		TxDropped: now.TxBusy + now.TxInvalid,
	}
}

// table prints what passed in an interval.
func (r *rawRun) table(took time.Duration) {
	e := rawEvent{Event: "interval", Mode: r.name, Seconds: took.Seconds(), Dropped: r.droppedNow()}
	for i := range r.sockets {
		s := &r.sockets[i]
		now := s.device.Stats()
		now.TxPackets = max(now.TxPackets, s.last.TxPackets) // its parts are read one after the other
		st := between(s.queue, s.last, now, took)
		s.last = now
		e.add(st)
		r.say(i, &st, took)
	}
	r.out.emit(e)
}

func (r *rawRun) say(i int, s *rawSocketStats, took time.Duration) {
	r.out.say("\n %s", r.head(i))
	r.out.say("%-18s %-14s %-14s %-14.2f", "", "pps", "pkts", took.Seconds())
	row := func(name string, pps float64, packets uint64) {
		r.out.say("%-18s %-14s %-14s", name, grouped(uint64(pps+0.5)), grouped(packets))
	}
	row("rx", s.RxPPS, s.RxPackets)
	row("tx", s.TxPPS, s.TxPackets)
	for _, lost := range []struct {
		name string
		n    uint64
	}{{"rx dropped", s.RxDropped}, {"tx dropped", s.TxDropped}} {
		if lost.n > 0 {
			r.out.say("%-18s %-14s %-14s", lost.name, "", grouped(lost.n))
		}
	}
}

// summary prints the whole run, rates being means over all of it.
func (r *rawRun) summary(took time.Duration) {
	e := rawEvent{Event: "summary", Mode: r.name, Seconds: took.Seconds(), Dropped: r.droppedNow()}
	var sum rawSocketStats
	for i := range r.sockets {
		s := &r.sockets[i]
		st := between(s.queue, engine.DeviceStats{}, s.device.Stats(), took)
		e.add(st)
		sum.RxPPS += st.RxPPS
		sum.TxPPS += st.TxPPS
		sum.RxPackets += st.RxPackets
		sum.TxPackets += st.TxPackets
		sum.RxBytes += st.RxBytes
		sum.TxBytes += st.TxBytes
		sum.RxDropped += st.RxDropped
		sum.TxDropped += st.TxDropped
	}
	r.out.say("\n%v of %s:", took.Round(time.Millisecond), r.name)
	r.out.say("received %s packets (%s), %s a second", grouped(sum.RxPackets), byteCount(sum.RxBytes), grouped(uint64(sum.RxPPS+0.5)))
	r.out.say("sent %s packets (%s), %s a second", grouped(sum.TxPackets), byteCount(sum.TxBytes), grouped(uint64(sum.TxPPS+0.5)))
	for _, lost := range []struct {
		n   uint64
		why string
	}{
		{sum.RxDropped, "lost on receive: the kernel had no frame or no room in the ring of ours"},
		{sum.TxDropped, "lost on send: the driver had no room"},
		{e.Dropped, "not forwarded: no room to send, or too short"},
	} {
		if lost.n > 0 {
			r.out.say("  %12s  %s", grouped(lost.n), lost.why)
		}
	}
	r.out.emit(e)
}

func (r *rawRun) droppedNow() (n uint64) {
	for _, d := range r.dropped {
		n += d.Load()
	}
	return n
}

// grouped is 1,234,567.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
