package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

func TestDemo(t *testing.T) {
	netlab.RequireRoot(t)
	for _, offloads := range []string{"off", "on"} {
		t.Run("offloads "+offloads, func(t *testing.T) {
			before := leftovers(t)
			code, stdout, stderr := ran(t, nil, "demo", "-d", "1", "--offloads", offloads, "--json")
			if code != exitOK || stderr != "" {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			r := object[demoReport](t, stdout, "summary")
			for _, c := range r.Checks {
				if !c.OK {
					t.Errorf("%s: %s", c.Name, c.Detail)
				}
			}
			if !r.OK || r.Interrupted || len(r.Checks) != len(works)+2 {
				t.Errorf("ok %v, interrupted %v, %d checks", r.OK, r.Interrupted, len(r.Checks))
			}
			if want := 4*3 + 2; len(r.Results) != want {
				t.Errorf("%d results, want %d", len(r.Results), want)
			}
			for _, x := range r.Results {
				if !(x.Xdpsock > 0 && x.Kernel > 0 && x.Ratio > 0) {
					t.Errorf("%+v", x)
				}
			}
			if r.Link == nil || r.Link.Driver != "veth" {
				t.Errorf("link %+v", r.Link)
			}
			if on := strings.Contains(r.Offloads, "gro") || strings.Contains(r.Offloads, "tx-checksum"); on != (offloads == "on") {
				t.Errorf("offloads are %s", r.Offloads)
			}
			if left := appeared(t, before); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// leftovers is what could be left behind: links here, named namespaces, processes of ours.
func leftovers(t *testing.T) []string {
	t.Helper()
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range append(links, names...) {
		all = append(all, e.Name())
	}
	// A process of the command is one whose program is our file; a namespace without a name
	// lives as long as one of them.
	procs, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if target, err := os.Readlink(p); err == nil && target == executable {
			all = append(all, p)
		}
	}
	return all
}

// appeared is what is there now and was not before. What went meanwhile was somebody else's.
func appeared(t *testing.T, before []string) []string {
	t.Helper()
	return slices.DeleteFunc(leftovers(t), func(name string) bool { return slices.Contains(before, name) })
}

func TestDemoForPeople(t *testing.T) {
	netlab.RequireRoot(t)
	p := start(t, nil, "demo", "-d", "1")
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"kernel sockets", "ratio", "UDP echo", "TCP echo", "HTTP GET", "download", "offloads: ", "driver veth", "ok      bulk upload: SHA-256"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("no %q in:\n%s", want, &p.stdout)
		}
	}
	if !strings.Contains(p.stderr.String(), "round 3/3, kernel") || strings.Contains(p.stderr.String(), "\x1b") {
		t.Errorf("progress into a pipe:\n%s", &p.stderr)
	}
}

// Whenever it is interrupted, and however, nothing is left behind.
func TestDemoInterrupted(t *testing.T) {
	netlab.RequireRoot(t)
	before := leftovers(t)
	for _, test := range []struct {
		name   string
		signal unix.Signal
		after  string // on standard error
	}{
		{"at the start", unix.SIGINT, "two namespaces"},
		{"while it measures", unix.SIGINT, "round 1/"},
		{"by SIGTERM", unix.SIGTERM, "round 1/"},
		{"by SIGKILL", unix.SIGKILL, "xdpsock: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, nil, "demo", "-d", "20")
			p.awaits(&p.stderr, test.after)
			p.signal(test.signal)
			code := p.ends()
			if test.signal != unix.SIGKILL {
				if code != exitFailed || !strings.Contains(p.stderr.String(), "interrupted") {
					t.Errorf("exit code %d: %s", code, &p.stderr)
				}
				if strings.Contains(p.stdout.String(), "FAILED") {
					t.Errorf("a check that was not made has failed:\n%s", &p.stdout)
				}
			}
			for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
				left := appeared(t, before)
				if len(left) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("left behind: %v", left)
				}
			}
		})
	}
}

func TestDemoWrongUse(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"-d", "0"}, "-d"},
		{[]string{"-d", "601"}, "600"},
		{[]string{"-d", "x"}, "--duration"},
		{[]string{"--offloads", "some"}, "--offloads"},
		{[]string{"--mode", "best"}, "--mode"},
		{[]string{"--policy", "best"}, "--policy"},
		{[]string{"now"}, "now"},
	} {
		args := append([]string{"demo"}, test.args...)
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, test.says)
	}
}

// liar is a packet socket that answers with something else than it was told.
type liar struct {
	service.PacketConn
	change func([]byte) []byte
}

func (l *liar) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	_, err := l.PacketConn.WriteToUDPAddrPort(l.change(p), to)
	return len(p), err
}

// The checks of the demonstration see a server that gets a byte wrong.
func TestDemoSeesDamage(t *testing.T) {
	l := newLab(t)
	d := &demoRun{lab: &demoLab{client: l.client, server: l.server}, drops: map[string]traffic.Drop{}}
	for name, change := range map[string]func([]byte) []byte{
		"changed": func(p []byte) []byte { p = bytes.Clone(p); p[len(p)-1] ^= 1; return p },
		"longer":  func(p []byte) []byte { return append(bytes.Clone(p), 0) },
		"shorter": func(p []byte) []byte { return p[:len(p)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := l.server.ListenPacket("udp", netip.AddrPortFrom(serverAddr.Addr(), echoPort).String())
			if err != nil {
				t.Fatal(err)
			}
			var g service.Group
			defer g.Close()
			g.EchoUDP(&liar{c.(service.PacketConn), change}, 1)
			_, err = d.inClient(func() (sample, error) { return works[1].task(t.Context(), serverAddr.Addr(), time.Second) })
			var wrong mismatch
			if !errors.As(err, &wrong) {
				t.Errorf("%v, want a mismatch", err)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		_, err := d.inClient(func() (sample, error) { return works[1].task(t.Context(), serverAddr.Addr(), time.Second) })
		if err == nil {
			t.Error("no error")
		}
	})
	t.Run("ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := d.inClient(func() (sample, error) { return works[0].task(ctx, serverAddr.Addr(), time.Hour) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// Nor does a web server that gets a byte wrong pass, whatever else it gets right.
func TestDemoSeesDamageInHTTP(t *testing.T) {
	l := newLab(t)
	d := &demoRun{lab: &demoLab{client: l.client, server: l.server}}
	listener, err := l.server.Listen("tcp", netip.AddrPortFrom(serverAddr.Addr(), httpPort).String())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Replace(service.Hello, "o", "0", 1))
	})
	mux.HandleFunc("GET /blob/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.PathValue("n"), 10, 64)
		sum := service.BlobSum(n)
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
		service.WriteBlob(w, n-1)
		w.Write([]byte{0}) // in place of the last byte
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		io.CopyN(h, r.Body, bulkSize-1)
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%x\n", h.Sum(nil))
	})
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Close()
	for _, w := range works[3:] {
		_, err := d.inClient(func() (sample, error) { return w.task(t.Context(), serverAddr.Addr(), time.Millisecond) })
		var wrong mismatch
		if !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a mismatch", w.name, err)
		}
	}
}

func TestDemoReportFailsWithACheck(t *testing.T) {
	l := newLab(t)
	right := func() *demoRun {
		d := newDemoRun(&demoLab{client: l.client, server: l.server, veth: l.veth}, newProgress(nil, true), demoFlags{seconds: 1})
		for _, s := range d.sides {
			for i := range works {
				s.samples[i] = []sample{{rate: 2e6, median: 2, p99: 3, count: 1}}
			}
		}
		return d
	}
	if r := right().report(false); !r.OK {
		t.Errorf("%+v", r.Checks)
	}
	for name, spoil := range map[string]func(*demoRun){
		"an answer":        func(d *demoRun) { d.sides[0].gone[3] = mismatch{"wrong"} },
		"nothing measured": func(d *demoRun) { d.sides[1].samples[2] = nil },
		"a checksum sent":  func(d *demoRun) { d.sums = 1 },
		"a checksum at us": func(d *demoRun) { d.drops["tcp-checksum"] = traffic.Drop{Reason: "tcp-checksum", Packets: 1} },
	} {
		d := right()
		spoil(d)
		if r := d.report(false); r.OK {
			t.Errorf("%s: a wrong one passes: %+v", name, r.Checks)
		}
	}
	if r := right().report(true); r.OK {
		t.Error("an interrupted one passes")
	}
	// What there was no time for has not failed; what has failed is said all the same.
	cut := right()
	cut.sides[1].samples[2], cut.sides[1].samples[3] = nil, nil
	cut.sides[1].gone[3] = mismatch{"wrong"}
	failed := 0
	for _, c := range cut.report(true).Checks {
		if !c.OK {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed checks, want 1", failed)
	}
	// The ratio is that of medians, and above 1 where xdpsock is the better.
	d := right()
	d.sides[0].samples[1] = []sample{{rate: 10, median: 5}, {rate: 30, median: 4}, {rate: 20, median: 9}}
	d.sides[1].samples[1] = []sample{{rate: 10, median: 10}, {rate: 1, median: 10}, {rate: 99, median: 10}}
	for _, x := range d.report(false).Results {
		if x.Name == "udp-echo" && x.Figure != "p99" && x.Ratio != 2 {
			t.Errorf("%+v", x)
		}
	}
}

func TestSNMPChecksumErrors(t *testing.T) {
	const snmp = `Icmp: InMsgs InErrors InCsumErrors
Icmp: 7 2 1
Tcp: RtoAlgorithm InErrs InCsumErrors
Tcp: 1 200 3
Udp: InDatagrams InCsumErrors IgnoredMulti
Udp: 9 5 0
`
	if n, err := snmpChecksumErrors(snmp); n != 9 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "Ip: InReceives\nIp: 1\n", "Udp: InCsumErrors\nUdp: many\n"} {
		if n, err := snmpChecksumErrors(bad); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
