package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A host says where and with what a report was made.
type host struct {
	Date          string  `json:"date"`
	Kernel        string  `json:"kernel"`
	CPU           string  `json:"cpu"`
	CPUs          int     `json:"cpus"`
	Go            string  `json:"go"`
	Commit        string  `json:"commit"`
	OthersPercent float64 `json:"others_percent"` // of the processors' time, used by processes that were not measured
	StolenPercent float64 `json:"stolen_percent"` // of it, taken by the machine's own host
}

func describeHost(root string) host {
	var u unix.Utsname
	unix.Uname(&u)
	return host{
		Date:   time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Kernel: unix.ByteSliceToString(u.Release[:]), CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Commit: commit(root),
	}
}

// commit names what was measured; a tree with changes of its own is marked.
func commit(root string) string {
	out, err := exec.Command("git", "-C", root, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	c := strings.TrimSpace(string(out))
	if changed, err := exec.Command("git", "-C", root, "status", "--porcelain").Output(); err != nil || len(changed) > 0 {
		c += "+changes"
	}
	return c
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// cpuTimes is what all processors did since the machine began, in ticks (the first
// line of /proc/stat), and how much of it this process and its children were.
type cpuTimes struct{ total, idle, stolen, own uint64 }

// tick is the unit of /proc/stat: USER_HZ, 100 on every architecture that Go runs on.
const tick = 10 * time.Millisecond

func readCPUTimes() (t cpuTimes) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 8 { // guest time (9, 10) is in user time already
			continue
		}
		t.total += n
		switch i {
		case 4, 5: // idle, iowait
			t.idle += n
		case 8:
			t.stolen = n
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			t.own += uint64(time.Duration(u.Utime.Nano()+u.Stime.Nano()) / tick)
		}
	}
	return t
}

// since says, in percent of the processors' time, what the machine's own host took and
// what other processes used.
func (t cpuTimes) since(from cpuTimes) (stolen, others float64) {
	total := float64(t.total - from.total)
	if total == 0 {
		return 0, 0
	}
	stolen = float64(t.stolen - from.stolen)
	others = total - float64(t.idle-from.idle) - stolen - float64(t.own-from.own)
	return 100 * stolen / total, 100 * max(others, 0) / total
}
