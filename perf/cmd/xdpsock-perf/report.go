package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/xdpsock/xdpsock/perf/ratio"
)

// A report is everything that was found, and where.
type report struct {
	Host     host       `json:"host"`
	Rounds   int        `json:"rounds"`
	Seconds  float64    `json:"seconds"`
	Warm     float64    `json:"warm_seconds"`
	Offloads string     `json:"offloads"`
	Policy   string     `json:"policy,omitempty"`
	Suites   []*outcome `json:"suites"`

	env  *env
	from cpuTimes
}

func newReport(e *env) *report {
	o := e.opt
	return &report{
		Host: describeHost(e.root), Rounds: o.rounds, Seconds: o.run.Seconds(), Warm: o.warm.Seconds(),
		Offloads: o.offloads, Policy: o.policy, env: e, from: readCPUTimes(),
	}
}

// finish adds what the machine did meanwhile.
func (r *report) finish() {
	r.Host.StolenPercent, r.Host.OthersPercent = readCPUTimes().since(r.from)
}

// print writes the table: ratios first, medians behind them.
func (r *report) print(w io.Writer) error {
	h := r.Host
	fmt.Fprintf(w, "%s, Linux %s, %d × %s, %s, commit %s\n", h.Date, h.Kernel, h.CPUs, h.CPU, h.Go, h.Commit)
	fmt.Fprintf(w, "%d rounds of %g s after %g s of warming up; offloads %s; others used %.0f %% of the processors meanwhile, the machine's host %.1f %%\n\n",
		r.Rounds, r.Seconds, r.Warm, r.Offloads, h.OthersPercent, h.StolenPercent)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "suite\tmetric\tcompared\tratio of medians\tof single rounds\tgoal\tmedians\tunit")
	for _, o := range r.Suites {
		for _, f := range o.Metrics {
			f.print(t, o.Suite)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	links := ""
	for _, o := range r.Suites {
		if o.Links != "" && o.Links != links {
			links = o.Links
			fmt.Fprintf(w, "\nlinks: %s\n", links)
		}
	}
	for _, o := range r.Suites {
		for _, n := range o.Notes {
			fmt.Fprintf(w, "%s: %s\n", o.Suite, n)
		}
		if o.Skipped != "" {
			fmt.Fprintf(w, "%s: SKIPPED: %s\n", o.Suite, o.Skipped)
		} else {
			for _, m := range o.Missing {
				fmt.Fprintf(w, "%s: without %s\n", o.Suite, m)
			}
		}
		if o.Failed != "" {
			fmt.Fprintf(w, "%s: FAILED: %s\n", o.Suite, o.Failed)
		}
	}
	return nil
}

func (f figure) print(t io.Writer, suite string) {
	for _, c := range f.Comparisons {
		goal := ""
		if c.Goal != 0 {
			sign, verdict := "≥", "missed"
			if f.Better == "less" {
				sign = "≤"
			}
			if c.met(f.Better) {
				verdict = "met"
			}
			goal = fmt.Sprintf("%s %g %s", sign, c.Goal, verdict)
		}
		fmt.Fprintf(t, "%s\t%s\t%s / %s\t%.2f\t%.2f..%.2f\t%s\t%s / %s\t%s\n", suite, f.Name, c.Subject, c.Base,
			c.Value, c.Min, c.Max, goal, short(c.Ratio.Subject), short(c.Ratio.Base), f.Unit)
	}
	if f.Better != "" {
		return
	}
	var all []string
	for name, values := range f.Values {
		all = append(all, name+" "+short(ratio.Median(values)))
	}
	slices.Sort(all)
	fmt.Fprintf(t, "%s\t%s\t\t\t\t\t%s\t%s\n", suite, f.Name, strings.Join(all, ", "), f.Unit)
}

// short writes a number with three figures.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', 2, 64) + " M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'f', 1, 64) + " k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// write makes the JSON file, and its folder.
func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return err
	}
	progress("wrote %s", path)
	return nil
}

// verdict is an error where a suite failed, or one was asked for by name and
// could not run as a whole.
func (r *report) verdict(explicit bool) error {
	var bad []string
	for _, o := range r.Suites {
		switch {
		case o.Failed != "":
			bad = append(bad, o.Suite+" failed")
		case explicit && o.Skipped != "":
			bad = append(bad, o.Suite+" was skipped")
		case explicit && len(o.Missing) > 0:
			bad = append(bad, o.Suite+" ran without all candidates")
		}
	}
	if bad != nil {
		return fmt.Errorf("%s", strings.Join(bad, ", "))
	}
	return nil
}
