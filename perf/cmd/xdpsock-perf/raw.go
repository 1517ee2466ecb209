package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// frameSize is bytes of an Ethernet frame without its check sequence.
	frameSize = 64

	// readyMax is how long a program may take until frames pass; DPDK takes one second.
	readyMax = 15 * time.Second
)

// A rawMode is what a raw candidate does with frames.
type rawMode string

const (
	rxdrop rawMode = "rxdrop"
	txonly rawMode = "txonly"
	l2fwd  rawMode = "l2fwd"
)

// A forwarder is a program that does one raw mode on the server's end.
type forwarder struct {
	name   string
	beside bool
	argv   func(rawMode) []string
	ready  func(*child, *lab) func() (bool, error)
	stop   func(*child) (out string, err error)
	// received is how many frames it says it got, from its output.
	received func(out string) (uint64, error)
}

// raw makes candidates of all forwarders that are here.
func raw(mode rawMode) func(*env) ([]candidate, []string) {
	return func(e *env) (able []candidate, missing []string) {
		twin, err := e.Twin()
		if err != nil {
			return nil, []string{err.Error()} // it is the packet source, too
		}
		cpus, _, err := processors()
		if err != nil {
			return nil, []string{err.Error()}
		}
		var all []forwarder
		if e.opt.subject == "xdpsock" {
			if path, err := e.Xdpsock(); err != nil {
				missing = append(missing, err.Error())
			} else {
				for _, b := range append([]build{{"xdpsock", path}}, e.opt.beside...) {
					all = append(all, xdpsockRaw(b))
				}
			}
		}
		if path, err := e.Testpmd(); err != nil {
			missing = append(missing, err.Error())
		} else {
			first, _, _ := strings.Cut(cpus, ",")
			all = append(all, testpmd(path, first))
		}
		all = append(all, inC(twin))
		for _, f := range all {
			able = append(able, candidate{name: f.name, run: func(l *lab) (sample, error) { return f.measure(e, l, mode, twin) }, beside: f.beside})
		}
		return able, missing
	}
}

// processors splits those that this process may use: the last one is the packet
// source's own, the candidates have the others. A single one is shared by all.
func processors() (candidates, source string, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return "", "", fmt.Errorf("which processors there are: %w", err)
	}
	var all []string
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, strconv.Itoa(cpu))
		}
	}
	source = all[len(all)-1]
	if len(all) > 1 {
		all = all[:len(all)-1]
	}
	return strings.Join(all, ","), source, nil
}

// measure runs one forwarder, and the packet source against it where it receives.
func (f forwarder) measure(e *env, l *lab, mode rawMode, twin string) (sample, error) {
	cpus, _, err := processors()
	if err != nil {
		return nil, err
	}
	c, err := start(l.server, append([]string{"taskset", "-c", cpus}, f.argv(mode)...)...)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	c.name = f.name // taskset has become it
	if err := c.await("sign of being ready", readyMax, f.ready(c, l)); err != nil {
		return nil, err
	}
	if mode == txonly {
		return f.sends(e, l, c)
	}
	return f.receives(e, l, mode, c, twin)
}

// sends counts what arrives at the other end within the time.
func (f forwarder) sends(e *env, l *lab, c *child) (sample, error) {
	time.Sleep(e.opt.warm)
	m := meter{c: c}
	m.begin()
	from, err := l.received()
	began := time.Now()
	if err != nil {
		return nil, err
	}
	time.Sleep(e.opt.run)
	to, err := l.received()
	took := time.Since(began)
	m.end()
	if err != nil {
		return nil, err
	}
	if m.err != nil {
		return nil, m.err
	}
	if _, err := f.stop(c); err != nil {
		return nil, err
	}
	n := to - from
	return sample{"rate": float64(n) / took.Seconds(), "cpu": float64(m.used) / float64(max(n, 1))}, nil
}

// A tally is the twin's line of JSON, and of it what xdpsock's own has too.
type tally struct {
	Elapsed   float64 `json:"elapsed_s"`
	RxPackets *uint64 `json:"rx_packets"`
	TxPackets *uint64 `json:"tx_packets"`
}

func parseTally(out string) (t tally, err error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err = json.Unmarshal([]byte(lines[len(lines)-1]), &t); err != nil {
		return t, fmt.Errorf("no line of JSON at the end: %w", err)
	}
	if t.RxPackets == nil || t.TxPackets == nil {
		return t, fmt.Errorf("no rx_packets and tx_packets in %s", lines[len(lines)-1])
	}
	return t, nil
}

// receives lets the packet source send for the time and counts what the forwarder
// got of it (rxdrop) or what came back (l2fwd).
func (f forwarder) receives(e *env, l *lab, mode rawMode, c *child, twin string) (sample, error) {
	m := meter{c: c}
	before, err := l.received()
	if err != nil {
		return nil, err
	}
	_, cpu, err := processors()
	if err != nil {
		return nil, err
	}
	source, err := start(l.client, "taskset", "-c", cpu,
		twin, "txonly", "-i", l.a.Name, "-s", strconv.Itoa(frameSize), "-D", l.b.MAC.String())
	if err != nil {
		return nil, err
	}
	defer source.kill()
	if err := source.await("sign of being ready", readyMax, source.says("ready\n")); err != nil {
		return nil, err
	}
	m.begin()
	time.Sleep(e.opt.run)
	m.end()
	if m.err != nil {
		return nil, m.err
	}
	out, err := source.stop(source.terminate)
	if err != nil {
		return nil, err
	}
	offered, err := parseTally(out)
	if err != nil {
		return nil, fmt.Errorf("packet source: %w", err)
	}
	time.Sleep(50 * time.Millisecond) // the last frames are on their way
	after, err := l.received()
	if err != nil {
		return nil, err
	}
	if out, err = f.stop(c); err != nil {
		return nil, err
	}
	n := after - before
	if mode == rxdrop {
		if n, err = f.received(out); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if n > *offered.TxPackets+64 { // some of its own that a kernel says unasked
		return nil, fmt.Errorf("%s says %d frames, but only %d were sent to it", f.name, n, *offered.TxPackets)
	}
	return sample{
		"rate": float64(n) / offered.Elapsed,
		"loss": 100 * (1 - float64(n)/float64(*offered.TxPackets)),
		"cpu":  float64(m.used) / float64(max(n, 1)),
	}, nil
}

// inC is the loop in C.
func inC(path string) forwarder {
	return forwarder{
		name: "c",
		argv: func(mode rawMode) []string {
			return []string{path, string(mode), "-i", "server", "-s", strconv.Itoa(frameSize)}
		},
		ready:    func(c *child, _ *lab) func() (bool, error) { return c.says("ready\n") },
		stop:     func(c *child) (string, error) { return c.stop(c.terminate) },
		received: receivedJSON,
	}
}

func receivedJSON(out string) (uint64, error) {
	t, err := parseTally(out)
	if err != nil {
		return 0, err
	}
	return *t.RxPackets, nil
}

// xdpsockRaw is what is measured.
func xdpsockRaw(b build) forwarder {
	return forwarder{
		name:   b.name,
		beside: b.name != "xdpsock",
		argv: func(mode rawMode) []string {
			argv := []string{b.path, string(mode), "-i", "server", "-d", "600", "--json"} // SIGINT ends it long before
			if mode == txonly {
				argv = append(argv, "-s", strconv.Itoa(frameSize), "--dst-mac", "02:00:00:00:00:00")
			}
			return argv
		},
		ready: func(_ *child, l *lab) func() (bool, error) {
			began, err := l.received()
			if err != nil {
				return func() (bool, error) { return false, err }
			}
			attached := time.Time{}
			return func() (bool, error) {
				if n, err := l.received(); err != nil || n > began+1000 {
					return err == nil, err // txonly, with or without a program
				}
				yes, err := l.attached()
				if !yes {
					return false, err
				}
				if attached.IsZero() {
					attached = time.Now()
				}
				// The sockets are in the map within this time.
				return time.Since(attached) > 200*time.Millisecond, nil
			}
		},
		stop:     func(c *child) (string, error) { return c.stop(c.interrupt) },
		received: receivedJSON,
	}
}

func dpdkPrefix() string { return "xdpsock-perf-" + strconv.Itoa(os.Getpid()) }

// testpmd is dpdk-testpmd with net_af_xdp as the distribution builds it, without
// huge pages, one queue, its own default batch, busy polling and mode (native
// copy on veth).
func testpmd(path, cpu string) forwarder {
	modes := map[rawMode]string{rxdrop: "rxonly", txonly: "txonly", l2fwd: "macswap"}
	return forwarder{
		name: "testpmd",
		argv: func(mode rawMode) []string {
			return []string{
				"stdbuf", "-oL", path, // into a pipe it would say nothing until its end
				"--lcores", "(0,1)@" + cpu, // the main core only waits
				"--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf", "--file-prefix", dpdkPrefix(),
				"--vdev", "net_af_xdp0,iface=server,start_queue=0,queue_count=1",
				"--", "--forward-mode=" + modes[mode], "--total-num-mbufs=16384", "--no-mlockall",
				"--txpkts=" + strconv.Itoa(frameSize),
			}
		},
		ready: func(c *child, _ *lab) func() (bool, error) { return c.says("Press enter to exit") },
		stop: func(c *child) (string, error) {
			defer os.RemoveAll(filepath.Join("/var/run/dpdk", dpdkPrefix()))
			return c.stop(func() error { _, err := c.stdin.Write([]byte("\n")); return err })
		},
		received: parseTestpmd,
	}
}

var testpmdTotal = regexp.MustCompile(`(?s)Accumulated forward statistics for all ports.*?RX-packets: (\d+)`)

// parseTestpmd reads what it forwarded or dropped on purpose, of its last words.
func parseTestpmd(out string) (uint64, error) {
	m := testpmdTotal.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no accumulated statistics in the output")
	}
	return strconv.ParseUint(m[1], 10, 64)
}
