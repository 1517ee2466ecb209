package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A version is that of a kernel.
type version struct{ major, minor int }

func (v version) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

// features holds what `xdpsock info` says against what the kernel's number makes one expect, and has each
// feature that is missing be missed.
func (g *guest) features(v version) {
	g.check("info", func() error { return g.lacks(v) })
	g.check("info: veth", func() error { return g.veth(v) })
	g.check("frames of several buffers", func() error { return g.jumbo(v) })
	g.check("busy polling", func() error { return g.busyPoll(v) })
}

// expected are the features of `xdpsock info` by the first kernel that has them, and what a word of the
// reason is on older ones.
var expected = []struct {
	name         string
	major, minor int
	reason       string
}{
	{"SO_PREFER_BUSY_POLL", 5, 11, "SO_PREFER_BUSY_POLL: protocol not available"},
	{"xdp.frags", 5, 18, "xdp.frags) need Linux 5.18"},
	{"netdev-genl", 6, 3, "no such file or directory"},
	{"XDP_USE_SG", 6, 6, "bind with XDP_USE_SG: invalid argument"},
	{"netdev-genl queue-get", 6, 8, ""}, // ENOENT before 6.3, then EOPNOTSUPP
}

// lacks asks for the features of the kernel.
func (g *guest) lacks(v version) error {
	k, _, err := info(nil, "lo")
	if err != nil {
		return err
	}
	var errs []error
	if len(k.Unknown) > 0 {
		errs = append(errs, fmt.Errorf("unknown: %v", k.Unknown))
	}
	reasons := map[string]string{}
	for _, l := range k.Lacks {
		reasons[l.Name] = l.Reason
		g.say(report.Event{Kind: report.Lack, Name: fmt.Sprintf("%s (Linux %s): %s", l.Name, l.Since, l.Without), Value: l.Reason})
	}
	for _, e := range expected {
		reason, lacks := reasons[e.name]
		switch {
		case lacks != v.before(e.major, e.minor):
			errs = append(errs, fmt.Errorf("%s is of Linux %d.%d, here it lacks is %v: %s", e.name, e.major, e.minor, lacks, reason))
		case lacks && (reason == "" || !strings.Contains(reason, e.reason)):
			errs = append(errs, fmt.Errorf("%s: the reason is %q, not %q", e.name, reason, e.reason))
		}
		delete(reasons, e.name)
	}
	for name, reason := range reasons {
		errs = append(errs, fmt.Errorf("%s: nothing is expected of it: %s", name, reason))
	}
	return errors.Join(errs...)
}

// veth is what an interface gets, concluded and tried.
func (g *guest) veth(v version) error {
	peer, pair, err := pair()
	if err != nil {
		return err
	}
	defer peer.Close()
	defer pair.A.NS.Close()
	_, told, err := info(pair.A.NS, pair.A.Name)
	if err != nil {
		return err
	}
	_, got, err := info(pair.A.NS, pair.A.Name, "--probe")
	if err != nil {
		return err
	}
	features := "the kernel does not tell"
	if told.Features != nil {
		features = *told.Features
	}
	g.say(report.Event{Kind: report.Feature, Name: "veth: XDP features", Value: features})
	g.gets("veth", got)
	if v.before(6, 3) {
		err = told.is("unknown", "Linux 6.3")
	} else {
		err = told.is("native", "zero-copy")
	}
	if got.RxQueues != 1 || got.TxQueues != 1 {
		err = errors.Join(err, fmt.Errorf("%d and %d queues", got.RxQueues, got.TxQueues))
	}
	return errors.Join(err, got.is("native", "zerocopy: operation not supported"))
}

func (g *guest) gets(what string, f facts) {
	g.say(report.Event{Kind: report.Feature, Name: what + ": AF_XDP", Value: strings.TrimSuffix(f.Gets.Mode+", not better because "+strings.Join(f.Gets.Why, "; "), ", not better because ")})
}

// jumbo is an MTU of which a packet takes several buffers: AF_XDP's where the kernel can, and served
// by AF_PACKET where it cannot.
func (g *guest) jumbo(v version) error {
	const mtu = 9000
	peer, pair, err := pair()
	if err != nil {
		return err
	}
	defer peer.Close()
	defer pair.A.NS.Close()
	if err := errors.Join(pair.A.SetMTU(mtu), pair.B.SetMTU(mtu)); err != nil {
		return err
	}
	_, got, err := info(pair.A.NS, pair.A.Name, "--probe")
	if err != nil {
		return err
	}
	g.gets(fmt.Sprintf("veth, MTU %d", mtu), got)
	switch {
	case v.before(5, 18):
		err = got.is("packet", "(xdp.frags) need Linux 5.18")
	case v.before(6, 6):
		err = got.is("packet", "XDP_USE_SG, Linux 6.6")
	default:
		err = got.is("native", "zerocopy")
	}
	if err != nil {
		return err
	}
	s, err := start(pair.A.NS, append([]string{"-i", pair.A.Name}, services...)...)
	if err != nil {
		return err
	}
	return errors.Join(ask(peer), s.stop())
}

// busyPoll is refused by a kernel that has it not, and by no other.
func (g *guest) busyPoll(v version) error {
	peer, pair, err := pair()
	if err != nil {
		return err
	}
	defer peer.Close()
	defer pair.A.NS.Close()
	cmd := pair.A.NS.Command("/bin/xdpsock", "rxdrop", "-i", pair.A.Name, "--busy-poll", "-d", "1", "--json")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	switch _, err := cmd.Output(); {
	case !v.before(5, 11) && err != nil:
		return fmt.Errorf("rxdrop --busy-poll: %w: %s", err, tail(errs.Bytes()))
	case v.before(5, 11) && err == nil:
		return errors.New("rxdrop --busy-poll runs without SO_PREFER_BUSY_POLL")
	case v.before(5, 11) && !strings.Contains(errs.String(), "needs Linux 5.11"):
		return fmt.Errorf("rxdrop --busy-poll says %s", tail(errs.Bytes()))
	}
	return nil
}

// kernelFacts and facts are of the output of `xdpsock info --json`.
type kernelFacts struct {
	Lacks []struct {
		Name    string `json:"name"`
		Since   string `json:"since"`
		Without string `json:"without"`
		Reason  string `json:"reason"`
	} `json:"lacks"`
	Unknown []string `json:"unknown"`
}

type facts struct {
	Features *string `json:"xdp_features"`
	RxQueues int     `json:"rx_queues"`
	TxQueues int     `json:"tx_queues"`
	Gets     struct {
		Mode string   `json:"mode"`
		Why  []string `json:"why_not_more"`
	} `json:"af_xdp"`
}

// is says whether the mode is that one, and a reason why not more has those words.
func (f *facts) is(mode, why string) error {
	if f.Gets.Mode != mode || !strings.Contains(strings.Join(f.Gets.Why, "; "), why) {
		return fmt.Errorf("it is %q because of %q, not %q because of %q", f.Gets.Mode, f.Gets.Why, mode, why)
	}
	return nil
}

// info runs `xdpsock info` of an interface in a namespace, or in this one.
func info(ns *netlab.NS, name string, args ...string) (k kernelFacts, f facts, err error) {
	var out []byte
	run := func() (err error) {
		out, err = command(patience, "/bin/xdpsock", append([]string{"info", name, "--json"}, args...)...)
		return err
	}
	if ns != nil {
		err = ns.Do(run)
	} else {
		err = run()
	}
	if err != nil {
		return k, f, err
	}
	for line := range bytes.Lines(out) {
		var e struct {
			Event string `json:"event"`
		}
		err := json.Unmarshal(line, &e)
		switch {
		case err != nil:
		case e.Event == "kernel":
			err = json.Unmarshal(line, &k)
		case e.Event == "interface":
			err = json.Unmarshal(line, &f)
		}
		if err != nil {
			return k, f, fmt.Errorf("%w: %s", err, line)
		}
	}
	return k, f, nil
}
