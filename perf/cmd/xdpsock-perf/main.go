// Command xdpsock-perf measures the engine end to end, on a veth pair between two
// namespaces, against the same work done by others, and reports ratios of medians.
//
// In go suites, rounds and seconds; out come a table and a JSON file with every
// single value. In each round each candidate runs once, right after the other, so
// that what the machine does meanwhile meets them all. It must never report a
// time of its own as an achievement, never compare runs of different rounds, and
// never leave a process, a namespace or a file behind, also after Ctrl-C.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

const usage = `usage: xdpsock-perf [flags] [SUITE ...]

Measures xdpsock against the kernel's sockets, DPDK and plain C on a veth pair,
as ratios of medians of interleaved runs. Needs root. Without SUITE it runs all:

%s
A group names all of its suites. Example, against a server that is slow on
purpose, to see that the harness tells:

	go run ./cmd/xdpsock-perf -rounds 3 -seconds 1 -subject slow udp-rr tcp-rr

flags:
`

type options struct {
	rounds   int
	run      time.Duration
	warm     time.Duration
	offloads string
	subject  string
	binary   string
	policy   string
	beside   []build
	links    []string // two interfaces instead of a veth pair
	out      string
	pcap     string
}

// A build is another xdpsock program that runs in the same rounds.
type build struct{ name, path string }

func main() {
	err := run(os.Args[1:])
	var u usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &u):
		fmt.Fprintf(os.Stderr, "xdpsock-perf: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "xdpsock-perf: %v\n", err)
		os.Exit(1)
	}
}

type usageError struct{ error }

func run(args []string) error {
	opt, chosen, explicit, err := parse(args)
	if err != nil {
		return err
	}
	if err := netlab.Privileged(); err != nil {
		return err
	}
	e, err := newEnv(opt)
	if err != nil {
		return err
	}
	defer e.close()
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupt
		e.close()
		fmt.Fprintln(os.Stderr, "xdpsock-perf: interrupted")
		os.Exit(130)
	}()

	r := newReport(e)
	for _, s := range chosen {
		r.Suites = append(r.Suites, s.measure(e))
	}
	r.finish()
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	if err := r.write(opt.out); err != nil {
		return err
	}
	return r.verdict(explicit)
}

func parse(args []string) (opt options, chosen []*suite, explicit bool, err error) {
	fs := flag.NewFlagSet("xdpsock-perf", flag.ContinueOnError)
	fs.IntVar(&opt.rounds, "rounds", 5, "`rounds`; in each, every candidate runs once")
	seconds := fs.Float64("seconds", 1.5, "`seconds` counted of each run")
	warm := fs.Float64("warm", 0.3, "`seconds` before, not counted")
	fs.StringVar(&opt.offloads, "offloads", "off", "off: the client end finishes checksums and sends nothing above the MTU, the server end is as the kernel makes it;\nboth-off: so at both ends; on: as the kernel makes both")
	fs.StringVar(&opt.subject, "subject", "xdpsock", "who is measured: xdpsock; kernel (against itself, must come out near 1); slow (kernel sockets, 20 µs wasted on each request)")
	fs.StringVar(&opt.binary, "xdpsock", "", "the xdpsock `program`; default: built from this tree")
	fs.StringVar(&opt.policy, "policy", "", "what xdpsock serve gets as --policy; default: nothing, so its own default")
	fs.Func("beside", "`NAME=PROGRAM`: another xdpsock, of the commit before for one, that runs in the same rounds; any number of them", func(v string) error {
		name, path, ok := strings.Cut(v, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want NAME=PROGRAM")
		}
		opt.beside = append(opt.beside, build{name, path})
		return nil
	})
	fs.Func("links", "`CLIENT,SERVER`: two interfaces on one segment to measure on, instead of a veth pair. Nobody else may use them; they come back as they were", func(v string) error {
		opt.links = strings.Split(v, ",")
		if len(opt.links) != 2 || opt.links[0] == opt.links[1] || slices.Contains(opt.links, "") {
			return errors.New("want two names with a comma between")
		}
		return nil
	})
	fs.StringVar(&opt.pcap, "pcap", "", "`directory` for what passed on long paths, a file a run")
	fs.StringVar(&opt.out, "out", filepath.Join("out", time.Now().Format("20060102-150405")+".json"), "JSON `file`")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), usage, listing())
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return opt, nil, false, err
		}
		return opt, nil, false, usageError{err}
	}
	opt.run = time.Duration(*seconds * float64(time.Second))
	opt.warm = time.Duration(*warm * float64(time.Second))
	switch {
	case slices.ContainsFunc(opt.beside, func(b build) bool { return b.name == "xdpsock" || b.name == "kernel" }):
		err = errors.New("-beside: the names xdpsock and kernel are taken")
	case opt.rounds < 1:
		err = fmt.Errorf("-rounds %d: want at least 1", opt.rounds)
	case opt.run < 50*time.Millisecond || opt.run > 5*time.Minute:
		err = fmt.Errorf("-seconds %v: want 0.05 to 300", *seconds)
	case opt.warm < 0 || opt.warm > time.Minute:
		err = fmt.Errorf("-warm %v: want 0 to 60", *warm)
	case !slices.Contains([]string{"off", "both-off", "on"}, opt.offloads):
		err = fmt.Errorf("-offloads %q: want off, both-off or on", opt.offloads)
	case !slices.Contains([]string{"xdpsock", "kernel", "slow"}, opt.subject):
		err = fmt.Errorf("-subject %q: want xdpsock, kernel or slow", opt.subject)
	}
	if err == nil {
		chosen, err = choose(fs.Args())
	}
	if err != nil {
		return opt, nil, false, usageError{err}
	}
	return opt, chosen, fs.NArg() > 0, nil
}

// choose finds suites by their names or groups, in the order of the list. Those of a long path take an hour
// and are run only when they are asked for.
func choose(names []string) ([]*suite, error) {
	var chosen []*suite
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(suites), func(s *suite) bool { return s.path != nil }), nil
	}
	for _, s := range suites {
		if slices.ContainsFunc(names, s.called) {
			chosen = append(chosen, s)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(suites, func(s *suite) bool { return s.called(n) }) {
			return nil, fmt.Errorf("no suite %q; there are %s", n, strings.Join(suiteNames(), ", "))
		}
	}
	return chosen, nil
}

// called says whether name is the suite's or that of a group it belongs to.
func (s *suite) called(name string) bool {
	return name == s.name || name == s.group || name == "path" && s.path != nil
}

func suiteNames() (names []string) {
	for _, s := range suites {
		names = append(names, s.name)
	}
	return names
}

func listing() string {
	var b strings.Builder
	for _, s := range suites {
		if s.path == nil {
			fmt.Fprintf(&b, "  %-14s %-9s %s\n", s.name, s.group, s.about)
		}
	}
	fmt.Fprintf(&b, "  %-14s %-9s %s\n", "path", "", "only if named: TCP over long paths with loss, "+strconv.Itoa(len(paths()))+" suites as "+suites[len(suites)-1].name)
	return b.String()
}
