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
	// Balanced looks for 20 us, which bridges a peer's think time, then sleeps. An
	// idle core costs nothing.
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

func (p Policy) spin() time.Duration {
	switch p {
	case Latency:
		return math.MaxInt64
	case Efficient:
		return 0
	}
	return spinBalanced
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
