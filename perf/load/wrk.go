package load

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Wrk is what wrk(1) says with --latency.
type Wrk struct {
	Requests    uint64
	Rate        float64 // requests a second
	Median, P99 time.Duration
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)`)
	wrkLatency  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([0-9.]+)(us|ms|s|m)\s*$`)
	wrkErrors   = regexp.MustCompile(`(?m)^\s*(Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)|Non-2xx or 3xx responses: \d+)`)
)

// ParseWrk reads wrk's report. Errors that wrk counted are errors.
func ParseWrk(out string) (*Wrk, error) {
	if e := wrkErrors.FindString(out); e != "" {
		return nil, fmt.Errorf("load: wrk: %s", e)
	}
	requests, rate := wrkRequests.FindStringSubmatch(out), wrkRate.FindStringSubmatch(out)
	latency := wrkLatency.FindAllStringSubmatch(out, -1)
	if requests == nil || rate == nil || len(latency) != 2 {
		return nil, fmt.Errorf("load: not a report of wrk: %q", out[:min(len(out), 200)])
	}
	w := new(Wrk)
	var err error
	if w.Requests, err = strconv.ParseUint(requests[1], 10, 64); err != nil {
		return nil, fmt.Errorf("load: wrk: %w", err)
	}
	if w.Rate, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return nil, fmt.Errorf("load: wrk: %w", err)
	}
	for _, l := range latency {
		d, err := time.ParseDuration(l[2] + l[3])
		if err != nil {
			return nil, fmt.Errorf("load: wrk: %w", err)
		}
		if l[1] == "50" {
			w.Median = d
		} else {
			w.P99 = d
		}
	}
	if w.Requests == 0 {
		return nil, fmt.Errorf("load: wrk: no requests were answered")
	}
	return w, nil
}
