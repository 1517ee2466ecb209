package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A row is what came of a kernel.
type row struct {
	kernel kernel
	events []report.Event
	note   string // what is unusual about where it came from
	err    error
	absent bool // it could not be fetched, and that is no failure
	took   time.Duration
	when   string // the day and the commit
}

func (r *row) good() bool {
	if r.absent {
		return true
	}
	for _, e := range r.events {
		if e.Failed > 0 {
			return false
		}
	}
	return r.err == nil
}

// release is the kernel's own name for itself.
func (r *row) release() string {
	for _, e := range r.events {
		if e.Kind == report.Kernel {
			return e.Value
		}
	}
	return r.kernel.name
}

// sum adds up the checks.
func (r *row) sum() (passed, failed, skipped int) {
	for _, e := range r.events {
		passed, failed, skipped = passed+e.Passed, failed+e.Failed, skipped+e.Skipped
	}
	return passed, failed, skipped
}

func (r *row) line() string {
	if r.absent {
		return fmt.Sprintf("%-32s passed over: %v", r.kernel.name, r.err)
	}
	passed, failed, skipped := r.sum()
	s := fmt.Sprintf("%-32s %4d passed %3d failed %3d skipped  %4.0f s", r.release(), passed, failed, skipped, r.took.Seconds())
	if r.note != "" {
		s += "  " + r.note
	}
	if r.err != nil {
		s += "  " + r.err.Error()
	}
	return s
}

// describe says an event for people.
func describe(e report.Event) string {
	switch e.Kind {
	case report.Check:
		s := fmt.Sprintf("%s: %d passed, %d failed, %d skipped", e.Name, e.Passed, e.Failed, e.Skipped)
		if e.Detail != "" {
			s += "\n" + strings.TrimSpace(e.Detail)
		}
		return s
	case report.Lack:
		return "lacks " + e.Name + ": " + e.Value
	case report.End:
		return "the end"
	}
	return strings.TrimPrefix(e.Name+": "+e.Value, ": ")
}

// markdown is docs/kernels.md: a column a kernel.
func markdown(table []*row) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Kernels

<!-- Made by perf/vm/kernels; do not edit. -->

Kernels of Debian's archive under QEMU's software emulation, by
`+"`cd perf && go run ./vm/kernels -docs ../docs/kernels.md`"+` (with `+"`-kernels 6.1 -only bpf`"+`, that cell alone): each
result is the last one, on the day and at the commit that its column names, or at its own where it names one.

## Passed tests

The packages' tests are those that face the kernel, with -short; skipped is what needs something that this kernel
lacks, or a long time. The other rows are of a guest that holds `+"`xdpsock`"+` alone: what it says that the kernel lacks
is what the kernel's number makes one expect, and each lack is got around; echo and HTTP
are served over a veth pair to a kernel peer, killed, and served again; two virtio NICs on one hub do the raw modes
and are served between.

`)
	across(&b, table, "test", report.Check)
	fmt.Fprintf(&b, "\n## What they lack\n\n`xdpsock info` names it, with the kernel's own answer for a reason. ✓ is what is had.\n\n")
	across(&b, table, "feature: without it", report.Lack)
	fmt.Fprintf(&b, "\n## What an interface gets\n\n")
	across(&b, table, "interface", report.Feature)
	fmt.Fprintf(&b, `
## How fast

Emulation is ten to twenty times slower than a processor: the rates of raw frames compare with each other alone. TCP's are over
paths slow enough for that not to matter (netem on a bridge between the stack and a kernel peer), half a megabyte
at a time, the median of three: the engine's, and beside it those of the kernel's own stack at the same end of the
same path. "From" the stack is what it sends. With losses three runs are few: the next ones differ by a third.

`)
	across(&b, table, "work", report.Figure)
	return b.Bytes()
}

// across writes a table of the events of a kind, a line each and a column a kernel.
func across(b *bytes.Buffer, table []*row, head, kind string) {
	fmt.Fprintf(b, "| %s |", head)
	for _, r := range table {
		fmt.Fprintf(b, " %s |", strings.TrimSuffix(r.release(), imageSuffix))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(table)))
	for _, name := range columns(table, kind) {
		fmt.Fprintf(b, "| %s |", name)
		for _, r := range table {
			fmt.Fprintf(b, " %s |", strings.ReplaceAll(r.cell(kind, name), "\n", " "))
		}
		fmt.Fprintln(b)
	}
	if kind != report.Check {
		return
	}
	fmt.Fprintf(b, "| run on, at |")
	for _, r := range table {
		fmt.Fprintf(b, " %s |", r.when)
	}
	fmt.Fprintf(b, "\n| the last run came to its end |")
	for _, r := range table {
		if r.err != nil {
			fmt.Fprintf(b, " **%s** |", strings.ReplaceAll(r.err.Error(), "\n", " "))
		} else {
			fmt.Fprintf(b, " yes |")
		}
	}
	fmt.Fprintln(b)
}

// columns are the names of all events of a kind, in the order in which they first came.
func columns(table []*row, kind string) (names []string) {
	seen := map[string]bool{}
	for _, r := range table {
		for _, e := range r.events {
			if e.Kind == kind && !seen[e.Name] {
				seen[e.Name] = true
				names = append(names, e.Name)
			}
		}
	}
	return names
}

// cell is what a kernel has in the line of that name.
func (r *row) cell(kind, name string) string {
	for _, e := range r.events {
		if e.Kind != kind || e.Name != name {
			continue
		}
		s := e.Value
		switch {
		case kind != report.Check:
		case e.Failed > 0:
			s = fmt.Sprintf("**%d failed**, %d passed", e.Failed, e.Passed)
		case e.Skipped > 0:
			s = fmt.Sprintf("%d, %d skipped", e.Passed, e.Skipped)
		default:
			s = fmt.Sprint(e.Passed)
		}
		if kind == report.Check && e.When != r.when {
			s += " (" + e.When + ")"
		}
		return s
	}
	if kind == report.Lack && r.asked() {
		return "✓"
	}
	return "–"
}

// asked says whether the kernel was asked what it lacks.
func (r *row) asked() bool {
	return slices.ContainsFunc(r.events, func(e report.Event) bool { return e.Kind == report.Check && e.Name == checkInfo && e.Failed == 0 })
}
