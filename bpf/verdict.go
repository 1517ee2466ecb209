package bpf

import (
	"errors"
	"fmt"
	"strings"
)

// A Verdict is what the program did with a frame and why. The order is that of
// enum verdict in rules.h.
type Verdict uint32

// Verdicts that redirect a frame to the AF_XDP socket of its queue.
const (
	RedirectEverything Verdict = iota // [Program.Everything] is on
	RedirectAddress                   // to an own address
	RedirectARP                       // ARP whose target is an own address
	RedirectSolicit                   // neighbour solicitation for an own address, to its group
	RedirectBlock                     // to a port of a block, at a shared address
	RedirectPort                      // by a port rule
	RedirectFlow                      // by a flow rule
	RedirectICMP                      // ICMP error that quotes one of the three above
	RedirectFragment                  // follows a first fragment that was redirected
)

// Verdicts that leave a frame to the kernel.
const (
	PassEmpty     Verdict = iota + RedirectFragment + 1 // ours, but its queue has no socket
	PassGroup                                           // to a broadcast or multicast address
	PassForeign                                         // to an address without rules
	PassUnruled                                         // to a shared address, but no rule for its ports
	PassProtocol                                        // of a protocol, or in a form, that no rule is about
	PassFragment                                        // a later fragment whose first one was not redirected
	PassShort                                           // its headers end early, or outside the linear part
	PassMalformed                                       // its headers contradict themselves
	PassDepth                                           // more VLAN tags or extension headers than the program reads

	verdictCount = iota + int(RedirectFragment) + 1
)

var verdictNames = [verdictCount]string{
	RedirectEverything: "redirect everything",
	RedirectAddress:    "redirect address",
	RedirectARP:        "redirect arp",
	RedirectSolicit:    "redirect solicit",
	RedirectBlock:      "redirect block",
	RedirectPort:       "redirect port",
	RedirectFlow:       "redirect flow",
	RedirectICMP:       "redirect icmp",
	RedirectFragment:   "redirect fragment",
	PassEmpty:          "pass empty",
	PassGroup:          "pass group",
	PassForeign:        "pass foreign",
	PassUnruled:        "pass unruled",
	PassProtocol:       "pass protocol",
	PassFragment:       "pass fragment",
	PassShort:          "pass short",
	PassMalformed:      "pass malformed",
	PassDepth:          "pass depth",
}

// String returns the verdict's name, such as "redirect port".
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint32(v))
}

// Redirects says whether the verdict takes the frame from the kernel.
func (v Verdict) Redirects() bool { return v < PassEmpty }

// Counters holds the number of frames that met each verdict since Load, indexed
// by [Verdict], summed over all processors. A frame has one verdict.
type Counters [verdictCount]uint64

// Redirected returns the number of frames that were given to sockets.
func (c *Counters) Redirected() uint64 { return sum(c[:PassEmpty]) }

// Passed returns the number of frames that were left to the kernel.
func (c *Counters) Passed() uint64 { return sum(c[PassEmpty:]) }

// String lists the verdicts that were met, as "redirect port 12, pass group 3".
func (c *Counters) String() string {
	var met []string
	for v, n := range c {
		if n > 0 {
			met = append(met, fmt.Sprintf("%v %d", Verdict(v), n))
		}
	}
	return strings.Join(met, ", ")
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Counters reads the counters from the kernel: one system call a verdict.
func (p *Program) Counters() (Counters, error) {
	var total Counters
	var each []uint64 // one a possible processor
	for v := range total {
		if err := p.maps.Verdicts.Lookup(uint32(v), &each); err != nil {
			return total, fmt.Errorf("bpf: read the counter of %q: %w", Verdict(v), err)
		}
		total[v] = sum(each)
	}
	return total, nil
}

// frameMin is the shortest frame that the kernel's test run accepts.
const frameMin = 14 // bytes, an Ethernet header

// Test runs the program on a frame under the present rules and returns its
// verdict, as if the frame had come by a queue that has a socket: it is never
// PassEmpty. Nothing is redirected or counted, but a first fragment is remembered
// as a received one is. A frame has at least 14 bytes and at most about 3.5 kB.
func (p *Program) Test(frame []byte) (Verdict, error) {
	if len(frame) < frameMin {
		return 0, fmt.Errorf("bpf: test run of a %d byte frame: an Ethernet header takes %d", len(frame), frameMin)
	}
	judge, err := p.judge()
	if err != nil {
		return 0, err
	}
	ret, _, err := judge.Test(frame)
	if err != nil {
		return 0, fmt.Errorf("bpf: test run: %w", permission(err))
	}
	if ret >= uint32(verdictCount) {
		return 0, errors.New("bpf: test run: the program and verdict.go disagree")
	}
	return Verdict(ret), nil
}
