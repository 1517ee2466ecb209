package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/load"
	"github.com/xdpsock/xdpsock/perf/path"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// A cell is one long path. The rate is what two processors can hold without being what limits, so
// that the result is the algorithm's.
type cell struct {
	rate  int64 // bits a second, each way
	rtt   time.Duration
	loss  float64 // each way
	queue float64 // at the bottleneck, in what the path itself holds
	shake bool    // 1 % of the packets late by a tenth of the round trip, at least a millisecond
}

const mbit = 1_000_000

// grid is loss by round trip, with a queue as long as the path; then what a short queue and a path
// that reorders make of some of it.
func grid() (all []cell) {
	losses := []float64{0, 0.001, 0.01, 0.03}
	for _, rtt := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond} {
		for _, loss := range losses {
			all = append(all, cell{rate: 20 * mbit, rtt: rtt, loss: loss, queue: 1})
		}
	}
	for _, rtt := range []time.Duration{10 * time.Millisecond, 60 * time.Millisecond} {
		for _, loss := range []float64{0, 0.01} {
			all = append(all, cell{rate: 20 * mbit, rtt: rtt, loss: loss, queue: 1, shake: true},
				cell{rate: 20 * mbit, rtt: rtt, loss: loss, queue: 0.25})
		}
		all = append(all, cell{rate: 100 * mbit, rtt: rtt, queue: 1})
	}
	return all
}

func (c cell) name() string {
	s := fmt.Sprintf("%dM-%v-%v%%", c.rate/mbit, c.rtt, c.loss*100)
	if c.queue != 1 {
		s += fmt.Sprintf("-q%v", c.queue)
	}
	if c.shake {
		s += "-shaken"
	}
	return s
}

// full is an Ethernet frame of the usual MTU, of which payload bytes are a program's where timestamps are on.
const (
	full    = 1514
	payload = 1448
)

// impairment is one direction of the path.
func (c cell) impairment() simnet.Impairment {
	holds := float64(c.rate) / 8 / full * c.rtt.Seconds()
	i := simnet.Impairment{Rate: c.rate, Delay: c.rtt / 2, Loss: c.loss, QueuePackets: max(20, int(c.queue*holds))}
	if c.shake {
		i.Reorder, i.ReorderDelay = 0.01, max(time.Millisecond, c.rtt/10)
	}
	return i
}

// relayProcs is how many goroutines may run at once while there is a relay: more than there are, so that it never waits
// for a processor of Go's that a goroutine holds whose thread is not running.
const relayProcs = 16

// stretch joins the ends by a path that is clean until a run begins.
func (l *lab) stretch(client, server netlab.End) error {
	client.Off, server.Off = netlab.OnWire, netlab.OnWire
	for _, end := range []netlab.End{client, server} {
		if err := end.NS.Do(settings); err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
		t, err := netlab.NewTap(end)
		if err != nil {
			return err
		}
		l.taps = append(l.taps, t)
	}
	l.a, l.b = l.taps[0].Link, l.taps[1].Link
	runtime.GOMAXPROCS(relayProcs)
	var err error
	l.relay, err = path.New(l.taps[0], l.taps[1])
	return err
}

// pathCongestion is what both ends run: xdpsock's default.
const pathCongestion = "cubic"

// pathPatience is how long a path with loss may be silent: several timeouts in a row.
const pathPatience = time.Minute

// Before a run the path is clean, and empty when nothing has passed for settleWhile: longer than delayed acknowledgements
// and the first timeouts take. settleMax bounds that for a server that is never silent.
const (
	settleWhile = 500 * time.Millisecond
	settleMax   = 5 * time.Second
)

// settings makes the kernel in a namespace forget a connection when it ends, or the next run would begin where it
// was. The rest is as the kernel makes it.
func settings() error {
	return os.WriteFile("/proc/sys/net/ipv4/tcp_no_metrics_save", []byte("1"), 0)
}

// crossing makes a suite's work of a stream over the path. Each round is one seed, the same for
// all candidates.
func (c cell) crossing(generate func(load.Config) (*load.Result, error), port uint16) func(*env, *lab, service, *child) (sample, error) {
	return func(e *env, l *lab, s service, server *child) (sample, error) {
		l.relay.Settle(settleWhile, settleMax)
		i := c.impairment()
		passed, finish, err := e.record(fmt.Sprintf("%s-port%d-%d-%s.pcap", c.name(), port, e.round+1, s.name))
		if err != nil {
			return nil, err
		}
		defer finish()
		if err := l.relay.Impair(simnet.Config{Seed: uint64(e.round + 1), AtoB: i, BtoA: i, Pcap: passed}); err != nil {
			return nil, err
		}
		defer l.relay.Impair(simnet.Config{})
		var r *load.Result
		err = l.client.Do(func() (err error) {
			r, err = generate(load.Config{Server: s.at(port), Run: e.opt.run, Congestion: pathCongestion, Patience: pathPatience})
			return err
		})
		if err != nil {
			return nil, err
		}
		bits := r.BytesPerSecond() * 8
		return sample{
			"goodput": bits / mbit, "share": bits / (float64(c.rate) * payload / full) * 100,
			"late": float64(l.relay.Late()) / float64(time.Millisecond),
		}, nil
	}
}

// record opens a file for what passes, if that is wanted. Nothing may pass into it any more when finish is called.
func (e *env) record(name string) (passed *simnet.Pcap, finish func(), err error) {
	if e.opt.pcap == "" {
		return nil, func() {}, nil
	}
	f, err := os.Create(filepath.Join(e.opt.pcap, name))
	if err != nil {
		return nil, nil, err
	}
	w := bufio.NewWriter(f)
	passed = simnet.NewPcap(w, false)
	return passed, func() {
		if err := cmp.Or(passed.Err(), w.Flush(), f.Close()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", f.Name(), err)
		}
	}, nil
}

// paths are the suites of the grid, two a cell: the data goes to the candidate, or from it; and those in which two streams
// share a path.
func paths() (all []*suite) {
	metrics := []metric{
		{Name: "goodput", Unit: "Mbit/s", Better: "more", goals: to("kernel", 0.95)},
		{Name: "share", Unit: "% of the path"},
		{Name: "late", Unit: "ms that the relay was late at most"},
	}
	for _, c := range grid() {
		for _, way := range []struct {
			name     string
			generate func(load.Config) (*load.Result, error)
			port     uint16
		}{{"to", load.StreamTo, discardPort}, {"from", load.StreamFrom, chargenPort}} {
			all = append(all, &suite{
				name: "path-" + way.name + "-" + c.name(), group: "path-" + way.name,
				about:      fmt.Sprintf("one TCP stream %s the server, %d Mbit/s, round trip %v, %v %% loss", way.name, c.rate/mbit, c.rtt, c.loss*100),
				metrics:    metrics,
				path:       &c,
				candidates: servingOver(&c, c.crossing(way.generate, way.port)),
			})
		}
	}
	for _, c := range shared() {
		all = append(all, &suite{
			name: "path-fair-" + c.name(), group: "path-fair",
			about: fmt.Sprintf("two TCP streams, of xdpsock's or the kernel's, share %d Mbit/s, round trip %v", c.rate/mbit, c.rtt),
			metrics: []metric{
				{Name: "fairness", Unit: "Jain's index"}, {Name: "first", Unit: "Mbit/s"}, {Name: "second", Unit: "Mbit/s"},
			},
			path: &c,
			candidates: func(e *env) ([]candidate, []string) {
				services, missing := e.services(&c)
				if len(services) < 2 {
					return nil, missing
				}
				ours, kernel := services[0], services[len(services)-1]
				pair := func(first, second service) candidate {
					name := first.name + "+" + second.name
					return candidate{name: name, run: func(l *lab) (sample, error) { return c.share(e, l, name, first, second) }}
				}
				return []candidate{pair(ours, kernel), pair(ours, ours), pair(kernel, kernel)}, missing
			},
		})
	}
	return all
}

// shared are the paths on which two streams meet. Their queues hold twice the path: in one of twenty packets it is the
// processors' business whose burst finds it full.
func shared() []cell {
	return []cell{
		{rate: 20 * mbit, rtt: 20 * time.Millisecond, queue: 2}, {rate: 20 * mbit, rtt: 60 * time.Millisecond, queue: 2},
	}
}

// share lets two streams run at the same time, from one server or from two. The first half of the
// time, in which they find their shares, is not counted.
//
// Each packet is late by up to the time that one takes to leave: where every delay is the same, the stream that answers
// an acknowledgement some microseconds sooner finds the place in a full queue that has just become free, for ever
// (Floyd, Jacobson, "On Traffic Phase Effects in Packet-Switched Gateways", 1992, which gives this remedy).
func (c cell) share(e *env, l *lab, name string, first, second service) (sample, error) {
	servers, services := []service{first}, []service{first, second}
	if second.name != first.name {
		servers = services
	}
	for _, s := range servers {
		server, err := start(l.server, s.argv...)
		if err != nil {
			return nil, err
		}
		defer server.kill()
		if err := l.client.Do(func() error { return s.await(server) }); err != nil {
			return nil, err
		}
	}
	l.relay.Settle(settleWhile, settleMax)
	i := c.impairment()
	i.Jitter = time.Duration(full * 8 * int64(time.Second) / c.rate)
	passed, finish, err := e.record(fmt.Sprintf("%s-%d-%s.pcap", c.name(), e.round+1, name))
	if err != nil {
		return nil, err
	}
	defer finish()
	if err := l.relay.Impair(simnet.Config{Seed: uint64(e.round + 1), AtoB: i, BtoA: i, Pcap: passed}); err != nil {
		return nil, err
	}
	defer l.relay.Impair(simnet.Config{})
	var (
		rates [2]float64
		errs  [2]error
		wait  sync.WaitGroup
	)
	for i, s := range services {
		wait.Go(func() {
			errs[i] = l.client.Do(func() error {
				r, err := load.StreamFrom(load.Config{Server: s.at(chargenPort), Warm: e.opt.run / 2, Run: e.opt.run / 2, Patience: pathPatience})
				if err == nil {
					rates[i] = r.BytesPerSecond() * 8 / mbit
				}
				return err
			})
		})
	}
	wait.Wait()
	a, b := rates[0], rates[1]
	return sample{"fairness": (a + b) * (a + b) / (2 * (a*a + b*b)), "first": a, "second": b}, cmp.Or(errs[0], errs[1])
}
