package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/ratio"
)

func TestChoose(t *testing.T) {
	all, err := choose(nil)
	if err != nil || len(all) != len(suites)-len(paths()) {
		t.Errorf("nothing chosen: %d suites, %v", len(all), err)
	}
	some, err := choose([]string{"raw", "udp-rr"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range some {
		names = append(names, s.name)
	}
	if want := []string{"udp-rr", "rxdrop", "txonly", "l2fwd"}; !slices.Equal(names, want) {
		t.Errorf("chosen %v, want %v", names, want)
	}
	if _, err := choose([]string{"udp-rr", "udp"}); err == nil {
		t.Error("an unknown suite was accepted")
	}
}

// What is wrong with the arguments is said before anything is made.
func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-seconds", "0"}, {"-seconds", "1e9"}, {"-warm", "-1"}, {"-offloads", "maybe"},
		{"-subject", "nobody"}, {"no-such-suite"}, {"-no-such-flag"},
	} {
		var u usageError
		if _, _, _, err := parse(args); !errors.As(err, &u) {
			t.Errorf("%v: %v, want a usage error", args, err)
		}
	}
}

func TestCompareAgainstEachLater(t *testing.T) {
	m := metric{Name: "rate", Better: "more", goals: map[string]float64{"c": 0.95}}
	able := []candidate{{name: "xdpsock"}, {name: "testpmd"}, {name: "c"}}
	values := map[string][]float64{"xdpsock": {90, 90}, "testpmd": {100, 100}, "c": {90, 110}}
	got, err := compare(m, able, values)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		pair string
		v    float64
		goal float64
		met  bool
	}{
		{"xdpsock/testpmd", 0.9, 0, true}, {"xdpsock/c", 0.9, 0.95, false}, {"testpmd/c", 1, 0, true},
	}
	if len(got) != len(want) {
		t.Fatalf("%d comparisons, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Subject+"/"+g.Base != w.pair || g.Value != w.v || g.Goal != w.goal || g.met("more") != w.met {
			t.Errorf("comparison %d: %+v, want %+v", i, g, w)
		}
	}
	slower := comparison{Ratio: ratio.Ratio{Value: 1.2}, Goal: 1}
	if slower.met("less") {
		t.Error("a latency of 1.2 meets a goal of 1")
	}
	if _, err := compare(m, able, map[string][]float64{"xdpsock": {0}, "testpmd": {1}, "c": {1}}); err == nil {
		t.Error("a run that measured nothing was compared")
	}
}

func TestParsers(t *testing.T) {
	dev := []byte("Inter-|   Receive\n face |bytes\n    lo: 0 0 0\nclient: 8123  77 0 0 0 0 0 0  516 6 0\n")
	if n, err := rxPackets(dev, "client"); n != 77 || err != nil {
		t.Errorf("/proc/net/dev: %d, %v", n, err)
	}
	if _, err := rxPackets(dev, "server"); err == nil {
		t.Error("/proc/net/dev: a missing line was found")
	}
	tally, err := parseTally("ready\n{\"mode\":\"rxdrop\",\"elapsed_s\":2.5,\"rx_packets\":10,\"tx_packets\":0}\n")
	if err != nil || *tally.RxPackets != 10 || *tally.TxPackets != 0 || tally.Elapsed != 2.5 {
		t.Errorf("tally: %+v, %v", tally, err)
	}
	for _, bad := range []string{"", "ready\n", `{"rx_packets":1}`} {
		if _, err := parseTally(bad); err == nil {
			t.Errorf("tally: %q was accepted", bad)
		}
	}
	const last = `
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 5              RX-dropped: 0             RX-total: 5
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 746304         RX-dropped: 0             RX-total: 746304
  TX-packets: 0              TX-dropped: 0             TX-total: 0
`
	if n, err := parseTestpmd(last); n != 746304 || err != nil {
		t.Errorf("testpmd: %d, %v", n, err)
	}
	if _, err := parseTestpmd("Press enter to exit"); err == nil {
		t.Error("testpmd: no statistics were accepted")
	}
}

func TestCPUTimes(t *testing.T) {
	from := cpuTimes{total: 1000, idle: 500, stolen: 10, own: 100}
	stolen, others := (cpuTimes{total: 1200, idle: 540, stolen: 20, own: 150}).since(from)
	if stolen != 5 || others != 50 {
		t.Errorf("stolen %v %%, others %v %%; want 5 and 50", stolen, others)
	}
	// The clocks differ by a tick or two.
	if _, others := (cpuTimes{total: 1100, idle: 500, own: 300}).since(cpuTimes{total: 1000, idle: 500}); others != 0 {
		t.Errorf("others used %v %%", others)
	}
	if now := readCPUTimes(); now.total == 0 || now.idle == 0 {
		t.Errorf("/proc/stat says %+v", now)
	}
}

// program builds the command; the tests that follow need namespaces.
func program(t *testing.T) string {
	netlab.RequireRoot(t)
	path := filepath.Join(t.TempDir(), "xdpsock-perf")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return path
}

// The kernel against itself, by every way of asking: nothing fails, all is in the
// file, and nothing is left.
func TestKernelAgainstItself(t *testing.T) {
	path := program(t)
	names := []string{"udp-rr", "udp-inflight", "tcp-rr-1", "tcp-rr-64", "bulk-to", "bulk-from", "bulk-through", "idle"}
	tmp, out := t.TempDir(), filepath.Join(t.TempDir(), "sub", "out.json")
	args := append([]string{"-rounds", "2", "-seconds", "0.1", "-warm", "0.05", "-subject", "kernel", "-out", out}, names...)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Host.Kernel == "" || r.Host.Go == "" || r.Host.CPUs == 0 || r.Rounds != 2 || r.Offloads != "off" {
		t.Errorf("facts: %+v, %d rounds, offloads %q", r.Host, r.Rounds, r.Offloads)
	}
	if len(r.Suites) != len(names) {
		t.Fatalf("%d suites, want %d", len(r.Suites), len(names))
	}
	for i, o := range r.Suites {
		if o.Suite != names[i] || o.Failed != "" || o.Skipped != "" || !strings.Contains(o.Links, "client end: tx off") {
			t.Errorf("suite %d: %+v", i, o)
		}
		for _, f := range o.Metrics {
			for _, who := range []string{"kernel", "kernel-again"} {
				if len(f.Values[who]) != 2 {
					t.Errorf("%s %s: %s has values %v", o.Suite, f.Name, who, f.Values[who])
				}
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "xdpsock-perf-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// The loop in C against frames of its own making: what was sent, arrives.
func TestTwin(t *testing.T) {
	netlab.RequireRoot(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	e := &env{dir: t.TempDir(), opt: options{rounds: 1, run: 200 * time.Millisecond, warm: 50 * time.Millisecond, offloads: "off"}}
	defer e.close()
	twin, err := e.Twin()
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.newLab(&suite{raw: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []rawMode{rxdrop, txonly, l2fwd} {
		got, err := inC(twin).measure(e, l, mode, twin)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		if got["rate"] == 0 || got["loss"] > 99 {
			t.Errorf("%s: %v", mode, got)
		}
	}
}

// Ctrl-C in the middle of a run leaves no process and no file.
func TestInterrupt(t *testing.T) {
	path := program(t)
	tmp := t.TempDir()
	cmd := exec.Command(path, "-seconds", "60", "-subject", "kernel", "-out", filepath.Join(tmp, "out.json"), "udp-rr")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var server string
	for deadline := time.Now().Add(time.Minute); server == ""; time.Sleep(20 * time.Millisecond) {
		server = childOf(cmd.Process.Pid, "netserver")
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("no server was started")
		}
	}
	cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatal("still running 30 s after SIGINT")
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if _, err := os.Stat("/proc/" + server); err == nil {
		t.Errorf("the server, process %s, is still there", server)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// TestPath takes one long path in both directions, with who is measured and with the kernel: streams arrive whole,
// and no faster than the path lets them. How fast is for the grid to say.
func TestPath(t *testing.T) {
	netlab.RequireRoot(t)
	if testing.Short() {
		t.Skip("builds two programs and runs for some seconds")
	}
	e, err := newEnv(options{rounds: 1, run: 500 * time.Millisecond, subject: "xdpsock", out: filepath.Join(t.TempDir(), "out.json")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	chosen, err := choose([]string{"path-to-20M-10ms-1%", "path-from-20M-10ms-1%"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range chosen {
		o := s.measure(e)
		if o.Failed != "" || o.Skipped != "" {
			t.Fatalf("%s: failed %q, skipped %q", s.name, o.Failed, o.Skipped)
		}
		goodput := o.Metrics[0]
		for _, who := range []string{"xdpsock", "kernel"} {
			if v := goodput.Values[who]; len(v) != 1 || v[0] <= 0 || v[0] > 25 { // a queue is emptied in the counted time
				t.Errorf("%s: %s has %v Mbit/s of 20", s.name, who, v)
			}
		}
		t.Logf("%s: %v Mbit/s, ratio %.2f", s.name, goodput.Values, goodput.Comparisons[0].Value)
	}
}

// childOf finds a process by its parent and name, "" if there is none yet.
func childOf(parent int, name string) string {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(parent) + "/task/*/children")
	for _, path := range threads {
		b, _ := os.ReadFile(path)
		for _, pid := range strings.Fields(string(b)) {
			if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); strings.TrimSpace(string(comm)) == name {
				return pid
			}
		}
	}
	return ""
}

// A round in which one fails is taken back for all; the rounds before it stand.
func TestFailedRound(t *testing.T) {
	runs := 0
	steady := candidate{name: "steady", run: func(*lab) (sample, error) { return sample{"rate": 2}, nil }}
	flaky := candidate{name: "flaky", run: func(*lab) (sample, error) {
		if runs++; runs == 3 {
			return nil, errors.New("no answer")
		}
		return sample{"rate": 4}, nil
	}}
	s := &suite{name: "test", metrics: []metric{{Name: "rate", Better: "more"}}}
	e, able, values := &env{opt: options{rounds: 3}}, []candidate{flaky, steady}, make([][]sample, 2)
	var err error
	for round := range 3 {
		err = s.round(e, nil, round, able, values)
	}
	if err == nil || !strings.Contains(err.Error(), "round 3, flaky: no answer") {
		t.Errorf("error: %v", err)
	}
	f, err := s.metrics[0].figure(able, values)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Comparisons) != 1 || f.Comparisons[0].Rounds != 2 || f.Comparisons[0].Value != 2 {
		t.Errorf("comparisons: %+v", f.Comparisons)
	}
}
