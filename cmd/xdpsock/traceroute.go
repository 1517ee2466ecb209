package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// Read first: traceroute(8); RFC 792, RFC 4443 on time exceeded and port unreachable.

const (
	traceHops    = 30 // as traceroute(8)
	traceQueries = 3
	traceWait    = 5 * time.Second
	tracePort    = 33434 // of the first UDP probe; each has the next

	traceQueriesMax = 10
	// traceWindow is how many probes are on their way at once: more would meet the rate at
	// which routers send errors.
	traceWindow = 16
	// traceSize is how long a probe is, in bytes of an IP packet.
	traceSize = 60
)

type traceFlags struct {
	hops    int
	queries int
	wait    time.Duration
	port    uint16
	icmp    bool
}

func (f *traceFlags) check() error {
	switch {
	case f.hops < 1 || f.hops > 255:
		return usagef("--max-hops %d is not between 1 and 255", f.hops)
	case f.queries < 1 || f.queries > traceQueriesMax:
		return usagef("--queries %d is not between 1 and %d", f.queries, traceQueriesMax)
	case f.wait <= 0:
		return usagef("--wait %v is no time", f.wait)
	case f.port == 0 || int(f.port)+f.hops*f.queries > 1<<16:
		return usagef("--port %d leaves no port for each of the %d probes", f.port, f.hops*f.queries)
	}
	return nil
}

func tracerouteCommand() *cobra.Command {
	var (
		flags stackFlags
		trace traceFlags
	)
	cmd := &cobra.Command{
		Use:   "traceroute -i IF -a CIDR [flags] TARGET",
		Short: "Find the routers on the way to a host, from the engine's own address",
		Long: `Send packets that may go one hop, two, and so on, from an address of the engine's own, and
print who sends them back: the routers on the way to a host. They are UDP datagrams to ports
where nobody should be, or with -I ICMP echo requests. Exit code 1 if the host is not
reached. Behind a time stand !H, !N and !P where the host, its network or its protocol is said
to be unreachable, !X where it is prohibited, !F-MTU where the packet is too big.`,
		Example: `  sudo xdpsock traceroute -i eth1 -a 192.0.2.7/24 --gateway 192.0.2.1 198.51.100.1
  sudo xdpsock traceroute -i eth1 -a 2001:db8::7/64 --gateway 2001:db8::1 -I 2001:db8:1::1`,
		Args: oneArg("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if err := trace.check(); err != nil {
				return err
			}
			return runTraceroute(cmd.Context(), outputOf(cmd), &flags, trace, target)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.IntVarP(&trace.hops, "max-hops", "m", traceHops, "hops to try")
	f.IntVarP(&trace.queries, "queries", "q", traceQueries, "probes a hop")
	f.DurationVarP(&trace.wait, "wait", "w", traceWait, "how long to wait for the answer to a probe")
	f.Uint16VarP(&trace.port, "port", "p", tracePort, "port of the first UDP probe; each has the next")
	f.BoolVarP(&trace.icmp, "icmp", "I", false, "send ICMP echo requests")
	return cmd
}

func runTraceroute(ctx context.Context, out *output, flags *stackFlags, f traceFlags, target netip.Addr) (err error) {
	if f.icmp {
		if err := flags.echoes(); err != nil {
			return err
		}
	}
	stack, end, err := flags.open(ctx, out)
	if err != nil {
		return err
	}
	defer func() {
		if e := end(); err == nil {
			err = e
		}
	}()
	if target, err = scoped(stack.Host(), target); err != nil {
		return err
	}
	open := openUDPProber
	if f.icmp {
		open = openEchoProber
	}
	p, err := open(stack, target, f.port)
	if err != nil {
		return err
	}
	defer p.Close()
	out.say("traceroute to %s, %d hops max, %d byte packets", shown(stack.Host(), target), f.hops, traceSize)
	x := &tracer{traceFlags: f, prober: p, out: out, probes: make([]probe, f.hops*f.queries), last: f.hops}
	x.name = func(a netip.Addr) string { return shown(stack.Host(), a) }
	if err := flags.noRoute(x.run(ctx), stack.Host(), target); err != nil {
		return err
	}
	out.emit(traceSummary{"summary", x.name(target), x.reached, x.shown})
	if !x.reached {
		return silentError{errNotReached}
	}
	return nil
}

var errNotReached = errors.New("the host was not reached")

// A traceHop is one line of traceroute, for machines.
type traceHop struct {
	Event  string       `json:"event"` // "hop"
	Hop    int          `json:"hop"`
	Probes []traceProbe `json:"probes"`
}

type traceProbe struct {
	From string  `json:"from,omitempty"` // "": no answer
	RTT  float64 `json:"rtt_ms,omitempty"`
	Note string  `json:"note,omitempty"` // such as "!H"
}

// traceSummary is the last object.
type traceSummary struct {
	Event   string `json:"event"` // "summary"
	Target  string `json:"target"`
	Reached bool   `json:"reached"`
	Hops    int    `json:"hops"` // that were printed
}

// A probe is one packet, and what became of it.
type probe struct {
	sent mono.Time
	over bool // it was answered, or nobody has answered in time
	answer
}

// An answer is what somebody said about a probe.
type answer struct {
	from   netip.Addr // not valid: nobody did
	at     mono.Time
	note   string
	final  bool // no packet goes beyond
	target bool // it is the target's own answer
}

// A tracer sends probes and prints hops, all from one goroutine.
type tracer struct {
	traceFlags
	prober prober
	out    *output
	name   func(netip.Addr) string

	probes  []probe // hop by hop
	next    int     // to be sent
	oldest  int     // all before it are over
	last    int     // hop beyond which no packet goes, as far as is known
	shown   int     // hops that were printed
	reached bool
}

// run ends when the last hop was printed or the context ends.
func (x *tracer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { x.prober.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for x.shown < x.last {
		if ctx.Err() != nil {
			return nil
		}
		if err := x.send(); err != nil {
			return err
		}
		if err := x.listen(ctx); err != nil {
			return err
		}
		x.say()
	}
	return nil
}

// send sends as many probes as may be on their way.
func (x *tracer) send() error {
	for ; x.next < x.last*x.queries && x.next-x.oldest < traceWindow; x.next++ {
		x.probes[x.next].sent = x.prober.now()
		if err := x.prober.send(x.next, 1+x.next/x.queries); err != nil {
			return err
		}
	}
	return nil
}

// listen takes one answer, or finds that there is none.
func (x *tracer) listen(ctx context.Context) error {
	until := x.probes[x.oldest].sent.Add(x.wait)
	x.prober.SetReadDeadline(time.Now().Add(until.Sub(x.prober.now())))
	if ctx.Err() != nil { // and what it set may just have been undone
		return nil
	}
	i, a, err := x.prober.read()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
	case err != nil:
		return err
	case i < x.next && !x.probes[i].over:
		x.probes[i].over, x.probes[i].answer = true, a
		if hop := 1 + i/x.queries; a.final && hop < x.last {
			x.last = hop
		}
		x.reached = x.reached || a.target
	}
	for now := x.prober.now(); x.oldest < x.next; x.oldest++ {
		p := &x.probes[x.oldest]
		p.over = p.over || p.sent.Add(x.wait).Due(now)
		if !p.over {
			break
		}
	}
	return nil
}

// say prints the hops that are over.
func (x *tracer) say() {
	for ; x.shown < x.last && x.oldest >= (x.shown+1)*x.queries; x.shown++ {
		hop := traceHop{Event: "hop", Hop: x.shown + 1}
		var line strings.Builder
		var before netip.Addr
		for _, p := range x.probes[x.shown*x.queries:][:x.queries] {
			if !p.from.IsValid() {
				line.WriteString(" *")
				hop.Probes = append(hop.Probes, traceProbe{})
				continue
			}
			if p.from != before {
				fmt.Fprintf(&line, " %s ", x.name(p.from))
				before = p.from
			}
			rtt := float64(p.at.Sub(p.sent)) / float64(time.Millisecond)
			fmt.Fprintf(&line, " %.3f ms", rtt)
			if p.note != "" {
				line.WriteString(" " + p.note)
			}
			line.WriteString(" ")
			hop.Probes = append(hop.Probes, traceProbe{x.name(p.from), rtt, p.note})
		}
		x.out.say("%2d %s", hop.Hop, strings.TrimRight(line.String(), " "))
		x.out.emit(hop)
	}
}
