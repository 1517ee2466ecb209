package engine

import (
	"fmt"
	"math"
	"time"
)

// A Policy is how a core idles: how long it looks for work before it sleeps, and
// how long its poller stays up after callers have stopped to drive.
type Policy uint8

const (
	// Balanced looks for up to 20 us, which bridges a peer's think time, then sleeps; for
	// less where looking has been in vain. An idle core costs nothing.
	Balanced Policy = iota
	// Latency never sleeps: one processor per core is always busy. It pays where
	// there are processors to spare, and costs the peer its time where there are not.
	Latency
	// Efficient sleeps at once.
	Efficient
)

// spinBalanced is how long a driver looks before it sleeps. Measured for UDP
// request/response on veth: 5 us loses a fifth of the transactions, 50 us wins none.
const spinBalanced = 20 * time.Microsecond

// spinStep is the least time that looking is tried for: below it, reading the clock
// is most of what is done.
const spinStep = 5 * time.Microsecond

// A spinner says how long a driver looks before it sleeps. With the policy Balanced it
// follows what looking brings: on a machine that is short of processors the time is taken
// from the peer who is to send what is looked for. An idle time that a look of full length would
// have bridged doubles it, a longer one halves it, down to none (so KVM's halt_poll_ns is
// ruled). Measured on 2 processors against always looking for 20 us: net/http with 64
// connections 1.09 times the transactions, 64 connections of TCP echo 1.08, a single one
// 1.03 with 0.8 of the processor time.
type spinner struct {
	policy Policy
	window time.Duration // of Balanced
}

func newSpinner(p Policy) spinner { return spinner{p, spinBalanced} }

// spin is how long to look.
func (s *spinner) spin() time.Duration {
	switch s.policy {
	case Latency:
		return math.MaxInt64
	case Efficient:
		return 0
	}
	return s.window
}

// learn is told how long there was nothing to do.
func (s *spinner) learn(idle time.Duration) {
	if idle <= spinBalanced {
		s.window = min(max(2*s.window, spinStep), spinBalanced)
		return
	}
	if s.window /= 2; s.window < spinStep {
		s.window = 0
	}
}

// Ticks of a poller that has nothing to do before it parks. One tick wakes a
// thread each millisecond; being up saves a new driver some 30 us.
const (
	parkTicksBalanced  = 8
	parkTicksLatency   = 64
	parkTicksEfficient = 1
)

// String returns the policy's name, as ParsePolicy takes it.
func (p Policy) String() string {
	switch p {
	case Balanced:
		return "balanced"
	case Latency:
		return "latency"
	case Efficient:
		return "efficient"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// ParsePolicy returns the policy of that name.
func ParsePolicy(name string) (Policy, error) {
	for _, p := range []Policy{Balanced, Latency, Efficient} {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("engine: policy %q is none of latency, balanced, efficient", name)
}

// MarshalText and UnmarshalText are a policy's name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p *Policy) UnmarshalText(name []byte) (err error) {
	*p, err = ParsePolicy(string(name))
	return err
}

func (p Policy) parkTicks() int {
	switch p {
	case Latency:
		return parkTicksLatency
	case Efficient:
		return parkTicksEfficient
	}
	return parkTicksBalanced
}
