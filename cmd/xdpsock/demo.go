package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

const (
	demoSeconds    = 20  // of measuring; starting and stopping the servers comes on top, some 5 s
	demoSecondsMax = 600 // longer says nothing more
)

type demoFlags struct {
	seconds  uint
	offloads string
	policy   string
	mode     string
}

func demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "See the engine work, beside the kernel's sockets, on a network of its own",
		Long: `Make two network namespaces and a veth pair between them, run 'serve' at one end and
drive it from the other with ordinary kernel sockets: ping, UDP echo, TCP echo, HTTP,
and bulk transfers whose SHA-256 is compared. The same services over kernel sockets
take turns with it on the same veth. Nothing is left behind.

Exit code 1 if anything that came back was not what it ought to be.`,
		Example: `  sudo xdpsock demo
  sudo xdpsock demo -d 60 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case flags.seconds == 0 || flags.seconds > demoSecondsMax:
				return usagef("-d %d is not between 1 and %d seconds", flags.seconds, demoSecondsMax)
			case flags.offloads != "on" && flags.offloads != "off":
				return usagef("--offloads %q is neither on nor off", flags.offloads)
			}
			if _, err := parseMode(flags.mode); err != nil {
				return err
			}
			if _, err := engine.ParsePolicy(flags.policy); err != nil {
				return usagef("--policy %q is none of latency, balanced, efficient", flags.policy)
			}
			if err := netlab.Privileged(); err != nil {
				return usagef("skipped: %w", err)
			}
			return demo(cmd.Context(), outputOf(cmd), newProgress(cmd.ErrOrStderr(), outputOf(cmd).json), flags)
		},
	}
	cmd.Flags().UintVarP(&flags.seconds, "duration", "d", demoSeconds, "seconds to measure in all")
	cmd.Flags().StringVar(&flags.offloads, "offloads", "off", "checksum and segmentation offloads of both veth ends: off, as on a wire, or on")
	cmd.Flags().StringVar(&flags.policy, "policy", engine.Balanced.String(), "how the engine idles: latency, balanced or efficient")
	cmd.Flags().StringVar(&flags.mode, "mode", string(engine.ModeAuto), "how packets get to the engine: auto, zerocopy, native, skb or packet")
	return cmd
}

// A work is one line, or a few, of the table.
type work struct {
	id    string // for machines, and in names of checks
	name  string // for people
	check string // what is compared
	bulk  bool   // rate is bytes
	task  task
}

var works = []work{
	{"ping", "ping", "ICMP echo: payload and checksum", false, roundTrips(openPing)},
	{"udp-echo", "UDP echo", "UDP echo: every byte", false, roundTrips(openEcho(unix.SOCK_DGRAM))},
	{"tcp-echo", "TCP echo", "TCP echo: every byte", false, roundTrips(openEcho(unix.SOCK_STREAM))},
	{"http-get", "HTTP GET", "HTTP GET: status, length and body", false, roundTrips(openHTTP)},
	{"download", "download", "bulk download: SHA-256", true, transfers(download)},
	{"upload", "upload", "bulk upload: SHA-256", true, transfers(upload)},
}

// A side is one of the two that are compared.
type side struct {
	name    string
	addr    netip.Addr
	args    []string
	samples [][]sample // by work, then round
	gone    []error    // by work: why it is not measured any more
}

// demoRun is the state of one demonstration.
type demoRun struct {
	lab    *demoLab
	show   *progress
	slice  time.Duration // of one work in one round
	rounds int
	sides  [2]*side                // the engine, the kernel
	link   *link                   // what the engine got
	drops  map[string]traffic.Drop // by the engine, by reason
	sums   uint64                  // packets that the client's kernel refused for their checksum
	others float64                 // percent of the processors, used by other processes meanwhile
}

func demo(ctx context.Context, out *output, show *progress, flags demoFlags) (err error) {
	var off netlab.Offload
	if flags.offloads == "off" {
		off = netlab.OnWire
	}
	lab, err := newDemoLab(off)
	if err != nil {
		return err
	}
	defer func() {
		if e := lab.close(); err == nil {
			err = e
		}
	}()
	d := newDemoRun(lab, show, flags)
	show.line("two namespaces, a veth pair between them; offloads: %s", lab.offloads())
	show.line("%d rounds of %d measurements, %v each, over both stacks in turn", d.rounds, len(works), d.slice.Round(time.Millisecond))
	before := readProcessorTimes()
	done := 0
	for done < d.rounds {
		if err = d.round(ctx, done); err != nil {
			break
		}
		done++
	}
	interrupted := done < d.rounds && ctx.Err() != nil
	if err != nil && !interrupted {
		show.end()
		return err
	}
	d.others = readProcessorTimes().othersSince(before)
	if d.sums, err = lab.checksumErrors(); err != nil {
		return err
	}
	show.end()
	report := d.report(interrupted)
	report.say(out)
	out.emit(report)
	switch {
	case interrupted:
		return fmt.Errorf("interrupted after %d of %d rounds", done, d.rounds)
	case !report.OK:
		return silentError{errors.New("a check failed")}
	}
	return nil
}

func newDemoRun(lab *demoLab, show *progress, flags demoFlags) *demoRun {
	total := time.Duration(flags.seconds) * time.Second
	d := &demoRun{lab: lab, show: show, drops: map[string]traffic.Drop{}}
	// A round lasts some four seconds; a median wants at least three.
	d.rounds = max(3, min(9, int(flags.seconds)/4))
	d.slice = total / time.Duration(2*d.rounds*len(works))
	d.sides = [2]*side{
		{name: "xdpsock", addr: demoEngine.Addr(), args: []string{
			"serve", "-i", "server", "-a", demoEngine.String(), "--policy", flags.policy, "--mode", flags.mode, "--json"}},
		{name: "kernel", addr: demoKernel.Addr(), args: []string{"serve-kernel", "-a", demoKernel.Addr().String(), "--json"}},
	}
	for _, s := range d.sides {
		s.samples, s.gone = make([][]sample, len(works)), make([]error, len(works))
	}
	return d
}

// round measures everything once over both stacks. Each server is started anew, so
// that no program of the engine's stands in the kernel's way.
func (d *demoRun) round(ctx context.Context, n int) error {
	for i := range d.sides {
		s := d.sides[(i+n)%2] // who is first takes turns
		if err := d.measure(ctx, s, n); err != nil {
			return err
		}
	}
	return nil
}

func (d *demoRun) measure(ctx context.Context, s *side, n int) error {
	d.show.status("round %d/%d, %s: starting", n+1, d.rounds, s.name)
	server, err := d.lab.startServer(s.name, s.args...)
	if err != nil {
		return err
	}
	defer server.kill()
	r, err := server.await(ctx)
	if err != nil {
		return err
	}
	if r.Link != nil && d.link == nil {
		d.link = r.Link
		d.show.line("xdpsock: %s", r.Link)
	}
	if err := d.warm(ctx, s); err != nil {
		return err
	}
	var told []string
	for i, w := range works {
		if s.gone[i] != nil {
			continue
		}
		d.show.status("round %d/%d, %s: %s", n+1, d.rounds, s.name, w.name)
		got, err := d.inClient(func() (sample, error) { return w.task(ctx, s.addr, d.slice) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.gone[i] = err
			d.show.line("%s, %s: %v", s.name, w.name, err)
			continue
		}
		s.samples[i] = append(s.samples[i], got)
		told = append(told, w.name+" "+w.figure(got))
	}
	d.show.line("round %d/%d, %-7s  %s", n+1, d.rounds, s.name, strings.Join(told, ", "))
	sum, err := server.stop()
	if err != nil {
		return err
	}
	if sum.Traffic != nil {
		for _, x := range sum.Traffic.Drops {
			x.Packets += d.drops[x.Reason].Packets
			d.drops[x.Reason] = x
		}
	}
	return nil
}

// warm has each service answer once: neighbours are resolved, sums computed.
func (d *demoRun) warm(ctx context.Context, s *side) error {
	var wrong mismatch // will be seen again when it counts
	for deadline := time.Now().Add(readyMax); ; {
		_, err := d.inClient(func() (sample, error) { return works[1].task(ctx, s.addr, time.Millisecond) })
		if err == nil || errors.As(err, &wrong) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for i, w := range works[2:] {
		if s.gone[i+2] == nil {
			d.inClient(func() (sample, error) { return w.task(ctx, s.addr, time.Millisecond) })
		}
	}
	return ctx.Err()
}

// inClient runs f on a thread inside the client's namespace.
func (d *demoRun) inClient(f func() (sample, error)) (s sample, err error) {
	err = d.lab.client.Do(func() error {
		s, err = f()
		return err
	})
	return s, err
}

// figure is the one number of a sample that says most.
func (w *work) figure(s sample) string {
	if w.bulk {
		return fmt.Sprintf("%.0f MB/s", s.rate/1e6)
	}
	return fmt.Sprintf("%.1f µs", micros(s.median))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// hostLine says where the figures come from.
func hostLine() string {
	var u unix.Utsname
	unix.Uname(&u)
	return fmt.Sprintf("Linux %s, %s, %s", unix.ByteSliceToString(u.Release[:]), plural(runtime.NumCPU(), "processor"), runtime.Version())
}

// progress tells what goes on: a line that changes on a terminal, plain lines elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	shown    bool // a status stands on the last line
}

// newProgress writes to w, or to nobody if quiet.
func newProgress(w io.Writer, quiet bool) *progress {
	if quiet {
		return &progress{w: io.Discard}
	}
	p := &progress{w: w}
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// line is for good.
func (p *progress) line(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// status stands until the next, on a terminal.
func (p *progress) status(format string, args ...any) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
		p.shown = true
	}
}

// end takes the status away.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
