// Package load is the client's side of every measurement: it asks a server,
// checks what comes back, and counts.
//
// In go the address of a service and how long to ask; out come transactions,
// latencies and losses, or an error where an answer was not the one that was
// owed. The sockets are the kernel's, by blocking raw system calls on the calling
// goroutine's own thread, without package net and the runtime's poller: what a
// client adds to a latency should be small and the same for every server. A
// function that measures must be called where its sockets shall live (inside
// NS.Do), takes the time it was given and little more, and never retries
// quietly: an echo that differs ends the measurement, a loss is counted.
package load

import (
	"net/netip"
	"time"
)

// Config says what to ask and for how long.
type Config struct {
	Server   netip.AddrPort
	Size     int // bytes of a request and of its answer; at least 8
	Conns    int // connections at once, TCP
	InFlight int // datagrams at once, UDP

	Congestion string        // of a stream's socket (TCP_CONGESTION); "": the kernel's default
	Patience   time.Duration // how long a stream's server may say nothing at all; 0: giveUp

	Warm time.Duration // not counted
	Run  time.Duration // counted

	// Begin and End are called when counting begins and ends; nil is nothing. They
	// are for reading the server's clocks.
	Begin, End func()
}

// Result is what was counted between Begin and End.
type Result struct {
	Ops     uint64        // answers that were right
	Bytes   uint64        // payload that was verified, or that the server acknowledged
	Lost    uint64        // requests without an answer
	Elapsed time.Duration // from Begin to End
	Latency Hist          // of each answer; empty for a stream
}

// Rate is transactions a second.
func (r *Result) Rate() float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

// BytesPerSecond is payload a second.
func (r *Result) BytesPerSecond() float64 { return float64(r.Bytes) / r.Elapsed.Seconds() }

// phase tells warming up from counting, and both from being done.
type phase struct {
	c        Config
	start    time.Time
	counting bool
	begun    time.Duration // since start
}

func newPhase(c Config) *phase { return &phase{c: c, start: time.Now()} }

// now is the time since the measurement's start, on the monotonic clock.
func (p *phase) now() time.Duration { return time.Since(p.start) }

// step moves on where it is time to, and says whether the measurement is over.
func (p *phase) step(now time.Duration, r *Result) (done bool) {
	switch {
	case !p.counting:
		if now >= p.c.Warm {
			p.counting = true
			if p.c.Begin != nil {
				p.c.Begin()
			}
			p.begun = p.now()
			*r = Result{}
		}
	case now-p.begun >= p.c.Run:
		p.finish(now, r)
		return true
	}
	return false
}

func (p *phase) finish(now time.Duration, r *Result) {
	r.Elapsed = now - p.begun
	if p.c.End != nil {
		p.c.End()
	}
}
