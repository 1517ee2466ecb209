package socketapi

import (
	commandline "flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	randomSeed  = commandline.Uint64("calls-seed", 1, "the first seed of TestRandomCalls")
	randomCount = commandline.Int("calls", 0, "how many random sequences TestRandomCalls tries; 0: a few")
)

const (
	randomSteps = 60
	randomFew   = 4

	// settleMax is how long the worlds may take to say the same, and settleShort how long when it is known that they do not.
	settleMax   = 20 * time.Second
	settleShort = 2 * time.Second
)

// TestRandomCalls makes the same random calls in the kernel and here, one at a time, and wants the same of each of them
// and, when all is quiet, of poll of every socket. A sequence that finds a difference is made as short as it can be.
//
// It is a search: go test ./socketapi -run TestRandomCalls -calls 1000 -calls-seed 77
func TestRandomCalls(t *testing.T) {
	where := places(t)
	for i := range where {
		acquaint(t, &where[i])
	}
	count := *randomCount
	if count == 0 {
		count = randomFew
	}
	ports := 0
	seen := map[string]bool{}
	for seed := *randomSeed; seed < *randomSeed+uint64(count); seed++ {
		g := generator{Rand: rand.New(rand.NewPCG(seed, 5))}
		steps := g.steps(randomSteps)
		run := func(steps []step, patience time.Duration) outcome {
			ports = (ports + 1) % randomPortRuns
			return runSequence(where, steps, randomPortFirst+ports*(randomPorts+2), patience)
		}
		if found := run(steps, settleMax); found.what != "" && !seen[found.kind()] {
			seen[found.kind()] = true
			steps = shorter(steps, func(steps []step) bool { return run(steps, settleShort).kind() == found.kind() })
			again := run(steps, settleShort)
			t.Errorf("seed %d: %s\nby these:\n%s%s", seed, found.what, again.said, again.what)
		}
	}
}

// acquaint has the sides of a place find each other, or what is sent first arrives when it is too late for a sequence.
func acquaint(t *testing.T, p *place) {
	for _, to := range []unix.Sockaddr{&unix.SockaddrInet4{Addr: p.peer.ip, Port: randomPortFirst - 1}, &unix.SockaddrInet6{Addr: p.peer.ip6, Port: randomPortFirst - 1}} {
		family := unix.AF_INET
		if _, six := to.(*unix.SockaddrInet6); six {
			family = unix.AF_INET6
		}
		theirs, err := p.peer.api.Socket(family, unix.SOCK_DGRAM, 0)
		fatal(t, err)
		fatal(t, p.peer.api.Bind(theirs, to))
		fatal(t, p.peer.api.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(longest / time.Second)}))
		mine, err := p.me.api.Socket(family, unix.SOCK_DGRAM, 0)
		fatal(t, err)
		fatal(t, p.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(longest / time.Second)}))
		fatal(t, p.me.api.Sendto(mine, []byte("x"), 0, to))
		_, from, err := p.peer.api.Recvfrom(theirs, make([]byte, 1), 0)
		fatal(t, err)
		fatal(t, p.peer.api.Sendto(theirs, []byte("x"), 0, from))
		_, _, err = p.me.api.Recvfrom(mine, make([]byte, 1), 0)
		fatal(t, err)
		p.me.api.Close(mine)
		p.peer.api.Close(theirs)
	}
}

// An outcome is what came of a sequence.
type outcome struct {
	what string // the first difference, "" if there is none
	said string // by every step before
}

// kind is a difference without its numbers.
func (o outcome) kind() string { return numbers.ReplaceAllString(o.what, "") }

var numbers = regexp.MustCompile(`-?[0-9]+|<[^>]*>?|"[^"]*"`)

// Every run has ports of its own, since the kernel keeps some for a while.
const (
	randomPortFirst = 20000
	randomPortRuns  = 2000
)

// shorter leaves steps out as long as it still fails.
func shorter(steps []step, fails func([]step) bool) []step {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			less := slices.Concat(steps[:at], steps[at+size:])
			if fails(less) {
				steps = less
			} else {
				at += size
			}
		}
	}
	return steps
}

// runSequence runs steps in every world until they differ.
func runSequence(where []place, steps []step, base int, patience time.Duration) (o outcome) {
	var worlds []*world
	for i := range where {
		w := &world{place: &where[i], base: base, fds: map[int]int{}, sides: map[int]*side{}, mine: map[int]bool{}, kinds: map[int]kindOfSocket{}}
		defer w.close()
		worlds = append(worlds, w)
	}
	for i := range steps {
		s := &steps[i]
		linux := worlds[0].call(s)
		if known := allowed(s, o.said, linux, linux); known != nil && known.parts {
			return o
		}
		for _, w := range worlds[1:] {
			here := w.call(s)
			if here == linux || o.what != "" {
				continue
			}
			if known := allowed(s, o.said, linux, here); known == nil {
				o.what = fmt.Sprintf("%v\n\tlinux %s\n\t%s %s", *s, linux, w.place.name, here)
			} else if known.ends {
				return o
			}
		}
		if o.what != "" {
			return o
		}
		o.said += fmt.Sprintf("%v = %s\n", *s, linux)
		if differ := settle(worlds, patience); differ != "" {
			o.what = fmt.Sprintf("after %v\n%s", *s, differ)
			return o
		}
	}
	return o
}

// call does a step, if there is what it is about.
func (w *world) call(s *step) string {
	fd, ok := w.fds[s.slot]
	if !ok && !standsAlone(s.call) {
		return "no slot"
	}
	return s.call.do(w, s, fd)
}

// standsAlone says whether a call needs no slot.
func standsAlone(c *randomCall) bool {
	return c.name == "socket" || c.name == "socket of any kind" || c.name == "epoll_create"
}

// settle waits until all worlds are quiet and say the same.
func settle(worlds []*world, patience time.Duration) string {
	start := time.Now()
	var lists [][]string
	for same := 0; ; {
		busy := false
		lists = lists[:0]
		equal := true
		for _, w := range worlds {
			list, b := w.states()
			busy = busy || b
			lists = append(lists, list)
			equal = equal && slices.Equal(lists[0], list)
		}
		if !equal {
			same = 0
		} else if same++; same > 1 && (!busy || time.Since(start) > unackedFor) {
			return ""
		}
		if time.Since(start) > patience {
			break
		}
		time.Sleep(500 * time.Microsecond)
	}
	var b strings.Builder
	for i, list := range lists[1:] {
		for j := range max(len(list), len(lists[0])) {
			if x, y := lineOf(lists[0], j), lineOf(list, j); x != y {
				fmt.Fprintf(&b, "\tlinux %s\n\t%s %s\n", x, worlds[i+1].place.name, y)
			}
		}
	}
	return b.String()
}

func lineOf(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// An allowance is a difference that a sequence may meet, and why.
type allowance struct {
	step, linux, here string // regular expressions
	after             string // likewise, of a step before, with what Linux said: "" wants none
	why               string
	ends              bool // what follows is not to be compared
	parts             bool // nor is it where here says the same: it is what follows that differs
}

// allowed is what is known of a difference after what steps before have said, nil: nothing.
func allowed(s *step, said, linux, here string) *allowance {
	for i := range allowances {
		a := &allowances[i]
		if matched(a.step, fmt.Sprint(*s)) && matched(a.linux, linux) && matched(a.here, here) && matched(a.after, said) {
			return a
		}
	}
	return nil
}

var patterns = map[string]*regexp.Regexp{}

func matched(pattern, s string) bool {
	p := patterns[pattern]
	if p == nil {
		p = regexp.MustCompile(pattern)
		patterns[pattern] = p
	}
	return p.MatchString(s)
}

// allowances are the differences that sequences may meet.
var allowances = []allowance{
	{step: `getsockopt.*TCP_WINDOW_CLAMP,`, why: "Linux says by it how far its buffer may grow, or has grown; here it is what was set"},
	{step: `getsockopt.*SO_SNDBUF,`, why: "a stream's send buffer begins with 128 KiB here, and is no sum of packets"},
	{step: `getsockopt.*TCP_MAXSEG`, linux: `^[34]\d{4} ok`, here: `^65\d{3} ok`, why: "Linux fills no more than half of a window with one segment (tcp_bound_to_half_wnd), which only its own loopback has so long ones for"},
	{step: `getsockopt.*(IP_MULTICAST_TTL|IPV6_MULTICAST_HOPS)`, linux: `^(64|255) ok`, here: `^1 ok`, why: "an accepted stream, which sends to no group, does not keep the TTL of the SYN"},
	{step: `getsockopt.*IPV6_MULTICAST_IF`, linux: `^[1-9]\d* ok`, here: `^0 ok`, after: ` accept\(.* = opened`, why: "nor does it keep the interface that the SYN came by"},
	{step: `sockopt.*SO_TIMESTAMP`, here: `ENOPROTOOPT`, why: "the bytes of a stream are not kept with the times of their arrival"},
	{step: ` recvmsg\(`, linux: ` flags 0x[0-9a-f]+ $`, here: ` flags 0x[0-9a-f]+ \[1 \d+ \d+\]$`, after: ` setsockopt\(.*SO_TIMESTAMP.*ok`, why: "Linux knows when bytes came that came before the option was set if a socket of any program had asked then"},
	{step: `setsockopt.*SO_TIMESTAMPING`, here: `EINVAL`, why: "what is sent is not stamped", ends: true},
	{step: `sockopt.*IP(V6)?_TRANSPARENT`, here: `ENOPROTOOPT`, why: "packets to others than the engine's own addresses stay with the kernel", ends: true},
	{step: `(connect|send|sendmsg)\(.*broadcast:\d/4`, linux: `^(-1 |0 )?ENETUNREACH$`, here: `^(\d+ )?ok$|^(-1 |0 )?EACCES$`, why: "everyone on the link is reached without a route to them", ends: true},
	{step: `bind.*/(6|mapped)`, linux: `^ok`, here: `EAFNOSUPPORT`, why: "to a raw socket of IPv4 Linux takes any address for one of IPv4, and the flow label of one of IPv6 for the host"},
	{step: ` connect\(.*:0/`, linux: `^EINPROGRESS$`, here: `^ECONNREFUSED$`, why: "nobody listens at port 0, and nobody is asked", ends: true},
	{step: ` connect\(`, linux: `^EINVAL$`, here: `^ECONNABORTED$`, after: ` shutdown\(`, why: "a socket whose connection failed and that was shut down can be connected again", ends: true},
	{step: ` connect\(.*/(6|mapped)`, linux: `^(ok|EINVAL)$`, here: `^ENETUNREACH$`, after: `socket\(raw6\)|socket of any kind\(10 3 `, why: "a raw socket of IPv6 has no IPv4 peer, to which Linux lets it be connected but not send", ends: true},
	{step: ` (connect|send|sendmsg)\(.*(other|nobody|broadcast):\d+/6`, linux: `^(\d+ )?ok$`, here: `^(\d+ |-1 )?EINVAL$`, after: ` connect\(.*loopback:\d+/6\) = ok`, why: "the loopback's address, which a socket keeps that is connected again, is never sent outside of a node (RFC 4291 §2.5.3)", ends: true},
	{step: ` connect\(.*/(mapped|4)`, linux: `^ok$`, here: `^ok$`, after: `socket\(udp6\)(?s:.*) connect\(.*/6\) = ok`, why: "a socket that was connected over IPv6 hears an IPv4 peer; on Linux it keeps the address that it had, and nothing arrives", parts: true},
}
