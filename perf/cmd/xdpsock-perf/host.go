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
	LoadBefore    string  `json:"load_before"` // one minute's average
	LoadAfter     string  `json:"load_after"`
	StolenPercent float64 `json:"stolen_percent"` // of the processors' time, by the machine's own host
}

func describeHost(root string) host {
	var u unix.Utsname
	unix.Uname(&u)
	return host{
		Date:   time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Kernel: unix.ByteSliceToString(u.Release[:]), CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Commit: commit(root), LoadBefore: loadAverage(),
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

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// cpuTimes is the first line of /proc/stat, in ticks.
type cpuTimes struct{ total, stolen uint64 }

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
		if i == 8 {
			t.stolen = n
		}
	}
	return t
}

func (t cpuTimes) stolenSince(from cpuTimes) float64 {
	if t.total == from.total {
		return 0
	}
	return 100 * float64(t.stolen-from.stolen) / float64(t.total-from.total)
}
