package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/xdpsock/xdpsock/perf/ratio"
)

// A suite is one kind of work that several candidates do in turn.
type suite struct {
	name, group, about string

	metrics []metric
	raw     bool  // its links carry frames and have no addresses
	path    *cell // its link is a long way; nil: a wire

	// candidates are those that can run here, the measured one first, and a line for
	// each that cannot.
	candidates func(e *env) (able []candidate, missing []string)
}

// A metric is one number of a run.
type metric struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Better is "more" or "less"; "" is a number to look at, of which no ratio is made.
	Better string `json:"better,omitempty"`
	// goals are what the engine means to reach: by the base, the ratio.
	goals map[string]float64
}

// A sample is what one run measured, by the metric's name.
type sample map[string]float64

// A candidate does a suite's work once each time run is called.
type candidate struct {
	name   string
	run    func(l *lab) (sample, error)
	beside bool // another build of what is measured
}

// An outcome is all that a suite has found.
type outcome struct {
	Suite   string   `json:"suite"`
	About   string   `json:"about"`
	Skipped string   `json:"skipped,omitempty"` // why nothing was measured
	Failed  string   `json:"failed,omitempty"`
	Missing []string `json:"missing,omitempty"` // candidates that could not take part, and why
	Notes   []string `json:"notes,omitempty"`
	Links   string   `json:"links,omitempty"` // offloads, as the kernel said after setting them
	Metrics []figure `json:"metrics,omitempty"`
}

// A figure is one metric of a suite, with every value that was measured.
type figure struct {
	metric
	Values      map[string][]float64 `json:"values"` // by candidate, one a round
	Comparisons []comparison         `json:"comparisons,omitempty"`
}

type comparison struct {
	Subject string `json:"subject"`
	Base    string `json:"base"`
	ratio.Ratio
	Goal float64 `json:"goal,omitempty"`
}

// met says whether a ratio is at least as good as its goal.
func (c comparison) met(better string) bool {
	if better == "less" {
		return c.Value <= c.Goal
	}
	return c.Value >= c.Goal
}

// measure runs all rounds of a suite.
func (s *suite) measure(e *env) *outcome {
	o := &outcome{Suite: s.name, About: s.about}
	able, missing := s.candidates(e)
	o.Missing = missing
	for _, m := range missing {
		progress("%s: %s", s.name, m)
	}
	if len(able) == 0 || (len(able) == 1 && s.compares()) {
		o.Skipped = "nobody to compare"
		if len(missing) > 0 {
			o.Skipped = missing[0]
		}
		progress("%s: skipped", s.name)
		return o
	}
	if err := s.rounds(e, able, o); err != nil {
		o.Failed = err.Error()
		progress("%s: FAILED: %v", s.name, err)
	}
	return o
}

func (s *suite) compares() bool {
	for _, m := range s.metrics {
		if m.Better != "" {
			return true
		}
	}
	return false
}

func (s *suite) rounds(e *env, able []candidate, o *outcome) error {
	l, err := e.newLab(s)
	if err != nil {
		return err
	}
	defer l.close()
	o.Links = l.describe()
	values := make([][]sample, len(able)) // by candidate, one a round
	var failed error
	for round := 0; round < e.opt.rounds && failed == nil; round++ {
		failed = s.round(e, l, round, able, values)
	}
	o.Notes = l.notes
	for _, m := range s.metrics {
		f, err := m.figure(able, values)
		if err != nil {
			return errors.Join(failed, err)
		}
		o.Metrics = append(o.Metrics, f)
	}
	return failed
}

// round lets each candidate run once. A round that fails is taken back whole.
func (s *suite) round(e *env, l *lab, round int, able []candidate, values [][]sample) error {
	e.round = round
	for _, i := range ratio.Order(round, len(able)) {
		c := able[i]
		got, err := c.run(l)
		if err != nil {
			for i := range values {
				values[i] = values[i][:min(round, len(values[i]))]
			}
			return fmt.Errorf("round %d, %s: %w", round+1, c.name, err)
		}
		values[i] = append(values[i], got)
		first := s.metrics[0]
		progress("%s: round %d of %d: %s: %s %s", s.name, round+1, e.opt.rounds, c.name, short(got[first.Name]), first.Unit)
	}
	return nil
}

// figure gathers one metric from the samples of all rounds.
func (m metric) figure(able []candidate, samples [][]sample) (figure, error) {
	f := figure{metric: m, Values: map[string][]float64{}}
	for i, c := range able {
		for round, got := range samples[i] {
			v, ok := got[m.Name]
			if !ok {
				return f, fmt.Errorf("round %d: %s has no %q", round+1, c.name, m.Name)
			}
			f.Values[c.name] = append(f.Values[c.name], v)
		}
	}
	if len(f.Values) == 0 {
		return f, nil
	}
	var err error
	if f.Comparisons, err = compare(m, able, f.Values); err != nil {
		return f, fmt.Errorf("%s: %w", m.Name, err)
	}
	return f, nil
}

// compare sets every candidate against each that comes after it, but not one build beside
// the measured against another.
func compare(m metric, able []candidate, values map[string][]float64) (all []comparison, err error) {
	if m.Better == "" {
		return nil, nil
	}
	for i, subject := range able {
		for _, base := range able[i+1:] {
			if subject.beside && base.beside {
				continue
			}
			r, err := ratio.Compare(values[subject.name], values[base.name])
			if err != nil {
				return nil, fmt.Errorf("%s against %s: %w", subject.name, base.name, err)
			}
			c := comparison{Subject: subject.name, Base: base.name, Ratio: r}
			if subject.name == "xdpsock" {
				c.Goal = m.goals[base.name]
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// progress goes to standard error, the table to standard output.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
