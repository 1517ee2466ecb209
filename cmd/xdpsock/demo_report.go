package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// demoReport is the object that demo prints.
type demoReport struct {
	Event       string         `json:"event"` // "summary"
	OK          bool           `json:"ok"`    // every check was made and passed
	Interrupted bool           `json:"interrupted,omitempty"`
	Host        string         `json:"host"`
	Link        *link          `json:"link"`
	Offloads    string         `json:"offloads"`
	Others      float64        `json:"others_percent"` // of the processors, used by other processes meanwhile
	Rounds      int            `json:"rounds"`
	Seconds     float64        `json:"slice_seconds"` // of one measurement in one round
	Results     []demoResult   `json:"results"`
	Checks      []demoCheck    `json:"checks"` // without those that an interrupt left no time for
	Drops       []traffic.Drop `json:"drops"`  // by the engine
}

// demoResult is one figure, the median of all rounds on each side.
type demoResult struct {
	Name    string  `json:"name"`   // "udp-echo"
	Figure  string  `json:"figure"` // "rate", "median" or "p99"
	Unit    string  `json:"unit"`   // "1/s", "MB/s" or "us"
	Xdpsock float64 `json:"xdpsock"`
	Kernel  float64 `json:"kernel"`
	Ratio   float64 `json:"ratio"` // above 1 xdpsock is the better, for times too; 0: there is none
}

// demoCheck is something that must be so.
type demoCheck struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (d *demoRun) report(interrupted bool) *demoReport {
	r := &demoReport{
		Event: "summary", Interrupted: interrupted, Host: hostLine(), Link: d.link,
		Offloads: d.lab.offloads(), Others: d.others, Rounds: d.rounds, Seconds: d.slice.Seconds(),
		Results: []demoResult{}, Drops: []traffic.Drop{},
	}
	for i, w := range works {
		ours, theirs := d.sides[0].samples[i], d.sides[1].samples[i]
		if len(ours) > 0 && len(theirs) > 0 {
			r.Results = append(r.Results, w.results(ours, theirs)...)
		}
		if c, whole := d.check(i); whole || !interrupted {
			r.Checks = append(r.Checks, c)
		}
	}
	for _, x := range d.drops {
		r.Drops = append(r.Drops, x)
	}
	slices.SortFunc(r.Drops, func(a, b traffic.Drop) int { return strings.Compare(a.Reason, b.Reason) })
	r.Checks = append(r.Checks, d.sentSums(), d.receivedSums())
	r.OK = !interrupted && !slices.ContainsFunc(r.Checks, func(c demoCheck) bool { return !c.OK })
	return r
}

// results are a work's figures.
func (w *work) results(ours, theirs []sample) []demoResult {
	figure := func(name, unit string, of func(sample) float64, less bool) demoResult {
		a, b := medianOf(ours, of), medianOf(theirs, of)
		r := demoResult{Name: w.id, Figure: name, Unit: unit, Xdpsock: a, Kernel: b}
		if less {
			a, b = b, a
		}
		if b > 0 { // a clock may be too coarse for a time
			r.Ratio = a / b
		}
		return r
	}
	if w.bulk {
		return []demoResult{figure("rate", "MB/s", func(s sample) float64 { return s.rate / 1e6 }, false)}
	}
	return []demoResult{
		figure("rate", "1/s", func(s sample) float64 { return s.rate }, false),
		figure("median", "us", func(s sample) float64 { return micros(s.median) }, true),
		figure("p99", "us", func(s sample) float64 { return micros(s.p99) }, true),
	}
}

func medianOf(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return median(values)
}

// check says whether all answers of a work were right; whole, whether there was
// something to judge on both sides.
func (d *demoRun) check(i int) (c demoCheck, whole bool) {
	c, whole = demoCheck{Name: works[i].check, OK: true}, true
	var parts []string
	for _, s := range d.sides {
		var n, lost uint64
		for _, x := range s.samples[i] {
			n += x.count
			lost += x.lost
		}
		part := fmt.Sprintf("%s %d right", s.name, n)
		if lost > 0 {
			part += fmt.Sprintf(", %d lost", lost)
		}
		if s.gone[i] != nil {
			part += ", then: " + s.gone[i].Error()
		}
		if s.gone[i] == nil && n == 0 {
			whole = false
		}
		if s.gone[i] != nil || n == 0 {
			c.OK = false
		}
		parts = append(parts, part)
	}
	c.Detail = strings.Join(parts, "; ")
	return c, whole
}

// sentSums says whether the client's kernel refused anything for its checksum.
func (d *demoRun) sentSums() demoCheck {
	return demoCheck{
		Name: "checksums of what xdpsock sent", OK: d.sums == 0,
		Detail: fmt.Sprintf("refused by the client's kernel: %d", d.sums),
	}
}

// receivedSums says whether the engine refused anything for its checksum.
func (d *demoRun) receivedSums() demoCheck {
	var n uint64
	for reason, x := range d.drops {
		if strings.HasSuffix(reason, "-checksum") {
			n += x.Packets
		}
	}
	return demoCheck{
		Name: "checksums of what xdpsock received", OK: n == 0,
		Detail: fmt.Sprintf("refused by xdpsock: %d", n),
	}
}

// String is what an interface gave us, on one line.
func (l *link) String() string {
	return fmt.Sprintf("%s on %s, %s, driver %s, MTU %d", l.Mode, l.Interface, plural(len(l.Queues), "queue"), orNone(l.Driver), l.MTU)
}

// say prints the table and the checks.
func (r *demoReport) say(out *output) {
	if out.json {
		return
	}
	out.say("")
	if len(r.Results) > 0 {
		t := tabwriter.NewWriter(out.w, 0, 0, 3, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\t\txdpsock\tkernel sockets\tratio\t\n")
		last := ""
		for _, x := range r.Results {
			name := ""
			if x.Name != last {
				last = x.Name
				name = works[slices.IndexFunc(works, func(w work) bool { return w.id == last })].name
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t\n", name, x.label(), x.value(x.Xdpsock), x.value(x.Kernel), x.Ratio)
		}
		t.Flush()
		out.say("")
		out.say("Medians of %d rounds of %v. Ratio: above 1.00 xdpsock is the better, for times too.", r.Rounds, time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond))
		out.say("One request on its way at a time. A ping the kernel answers in its interrupt, and wakes no program for it.")
	}
	if r.Others >= busyWorth {
		out.say("Other processes used %.0f%% of the processors meanwhile: on an idle machine the figures are others.", r.Others)
	}
	if r.Link != nil {
		out.say("%s; offloads: %s.", r.Host, r.Offloads)
		out.say("xdpsock: %s.", r.Link)
		for _, s := range r.Link.Refused {
			out.say("  not better, because: %s", strings.Join(strings.Fields(s), " "))
		}
	}
	for _, x := range r.Drops {
		out.say("  %12d  dropped, %s: %s", x.Packets, x.Reason, x.Explain)
	}
	out.say("")
	for _, c := range r.Checks {
		verdict := "ok    "
		if !c.OK {
			verdict = "FAILED"
		}
		out.say("%s  %s (%s)", verdict, c.Name, c.Detail)
	}
}

func (x *demoResult) label() string {
	switch x.Figure {
	case "rate":
		if x.Unit == "MB/s" {
			return "MB/s"
		}
		return "per second"
	case "median":
		return "median µs"
	}
	return x.Figure + " µs"
}

func (x *demoResult) value(v float64) string {
	if x.Unit == "us" {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
