package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
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

// A yielder says whether a driver that has nothing to do yields before it looks and sleeps. A goroutine that the program has
// just started or woken (the one that serves a connection just accepted) would wait until the driver
// has looked in vain, and then until the runtime takes the processor from a thread that sleeps in the kernel: up to 10 ms. To yield
// each time is no answer, since the runtime's monitor then takes no processor from such a thread and sleeps itself, and so does
// the machine's. So it is done where it brings something, and tried now and then.
//
// Measured with GOMAXPROCS=1: a connection for each request, one at a time, 11 times the rate (with Leave); yielding each time instead
// has a third of the rate of requests on one connection.
type yielder struct {
	credit int       // times that it is still done although nobody ran
	tried  mono.Time // the last time
}

const (
	// yieldRan is how long a yield takes at least if somebody ran: one to nobody is below 1 us on a quiet machine.
	yieldRan = 5 * time.Microsecond
	// yieldCredit is how often it is done again for each time that somebody ran, up to yieldCreditMax: of the waits for a connection
	// that is accepted, asked and closed, one in three lets somebody run.
	yieldCredit    = 4
	yieldCreditMax = 16
	// yieldTry is how often it is tried: more seldom than the runtime's monitor looks for threads that keep a processor (10 ms).
	yieldTry = 25 * time.Millisecond
)

func (y *yielder) due(now mono.Time) bool { return y.credit > 0 || now.Sub(y.tried) >= yieldTry }

// learn is told how long a yield that began at now took.
func (y *yielder) learn(now mono.Time, took time.Duration) {
	y.tried = now
	if took >= yieldRan {
		y.credit = min(y.credit+yieldCredit, yieldCreditMax)
	} else if y.credit > 0 {
		y.credit--
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
