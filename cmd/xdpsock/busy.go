package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// busyWorth is from which share on, in percent, other processes are mentioned: what they
// take, they take from both sides, but seldom alike.
const busyWorth = 10

// userTick is the unit of /proc/stat: USER_HZ, 100 on every architecture that Go runs on.
const userTick = 10 * time.Millisecond

// processorTimes is what the processors did so far.
type processorTimes struct {
	all, nobody time.Duration // of all processors together; nobody: no process's
	own         time.Duration // of all: this process's and that of children which have ended
}

func readProcessorTimes() (t processorTimes) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	t.all, t.nobody = parseStat(string(b))
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			t.own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return t
}

// parseStat reads the first line of /proc/stat (proc_stat(5)): user, nice, system,
// idle, iowait, irq, softirq, steal; what follows is counted in user and nice already.
// Interrupts are nobody's: most of them are for our packets.
func parseStat(stat string) (all, nobody time.Duration) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	for i, f := range fields[min(1, len(fields)):min(9, len(fields))] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, 0
		}
		d := time.Duration(n) * userTick
		all += d
		if 3 <= i && i <= 6 {
			nobody += d
		}
	}
	return all, nobody
}

// othersSince is what other processes, and the host of a virtual machine, took of the
// processors since then, in percent.
func (t processorTimes) othersSince(then processorTimes) float64 {
	all := t.all - then.all
	if all <= 0 {
		return 0
	}
	others := all - (t.nobody - then.nobody) - (t.own - then.own)
	return 100 * max(0, float64(others)/float64(all))
}
