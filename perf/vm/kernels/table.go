package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A row is what came of a kernel.
type row struct {
	kernel kernel
	events []report.Event
	err    error
	took   time.Duration
}

func (r *row) good() bool {
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
	passed, failed, skipped := r.sum()
	s := fmt.Sprintf("%-32s %4d passed %3d failed %3d skipped  %4.0f s", r.release(), passed, failed, skipped, r.took.Seconds())
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
	case report.End:
		return "the end"
	}
	return strings.TrimPrefix(e.Name+": "+e.Value, ": ")
}

// markdown is the table of docs/kernels.md.
func markdown(ctx context.Context, table []row) []byte {
	var b bytes.Buffer
	commit, err := output(ctx, "", "git", "rev-parse", "--short", "HEAD")
	if err != nil {
		commit = "an unknown commit"
	}
	fmt.Fprintf(&b, `# Kernels

<!-- Made by perf/vm/kernels; do not edit. -->

Kernels of Debian's archive under QEMU's software emulation, on %s at %s:
`+"`cd perf && go run ./vm/kernels -docs ../docs/kernels.md`"+`. Each ran the tests of the packages that
face the kernel (with -short; skipped is what needs something that this kernel lacks or a long time),
then served echo and HTTP over a veth pair to a kernel peer, was killed, and served again.

`, time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(commit))
	names := columns(table, report.Check)
	fmt.Fprintf(&b, "## Passed tests\n\n| kernel |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---|", len(names)))
	for _, r := range table {
		fmt.Fprintf(&b, "| %s |", r.release())
		for _, n := range names {
			fmt.Fprintf(&b, " %s |", r.cell(n))
		}
		if r.err != nil {
			fmt.Fprintf(&b, " %s |", strings.ReplaceAll(r.err.Error(), "\n", " "))
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "\n## What the interfaces give\n\n| kernel | of | what |\n|---|---|---|\n")
	for _, r := range table {
		for _, e := range r.events {
			if e.Kind == report.Feature || e.Kind == report.Figure {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", r.release(), e.Name, e.Value)
			}
		}
	}
	b.WriteString(`
Emulation is ten to twenty times slower than a processor: the rates compare with each other alone.
`)
	return b.Bytes()
}

// columns are the names of all events of a kind, in the order in which they first came.
func columns(table []row, kind string) (names []string) {
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

// cell is the result of a check on a kernel.
func (r *row) cell(name string) string {
	for _, e := range r.events {
		if e.Kind != report.Check || e.Name != name {
			continue
		}
		switch {
		case e.Failed > 0:
			return fmt.Sprintf("**%d failed**, %d passed", e.Failed, e.Passed)
		case e.Skipped > 0:
			return fmt.Sprintf("%d, %d skipped", e.Passed, e.Skipped)
		}
		return fmt.Sprint(e.Passed)
	}
	return "–"
}
