package main

import (
	"math"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	client := clientAddr.Addr().String()
	t.Run("people", func(t *testing.T) {
		p := start(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(), "-c", "5", "-n", "20ms", "-W", "30s", client)
		if code := p.ends(); code != exitOK {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
		out := p.stdout.String()
		for _, want := range []string{
			"PING " + client, "64 bytes from " + client + ": icmp_seq=1 ttl=64 time=", "icmp_seq=5",
			"5 packets transmitted, 5 received, 0% packet loss", "rtt min/avg/max/mdev = ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	})
	t.Run("machines", func(t *testing.T) {
		code, stdout, stderr := ran(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(),
			"-c", "20", "-n", "1ms", "-s", "1000", "-W", "30s", "--json", client)
		if code != exitOK {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		s := object[pingSummary](t, stdout, "summary")
		if s.Transmitted != 20 || s.Received != 20 || s.Loss != 0 || s.Damaged != 0 || s.Duplicates != 0 || s.RTT == nil {
			t.Errorf("%+v", s)
		} else if r := s.RTT; !(0 < r.Min && r.Min <= r.Median && r.Median <= r.Max && r.Min <= r.Avg && r.Avg <= r.Max) {
			t.Errorf("%+v", r)
		}
		if n := strings.Count(stdout, `"event":"reply"`); n != 20 {
			t.Errorf("%d replies", n)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		p := start(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(), "-n", "1h", client)
		p.says("icmp_seq=1 ")
		p.signal(unix.SIGINT)
		if code := p.ends(); code != exitOK {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
		if !strings.Contains(p.stdout.String(), "1 packets transmitted, 1 received") {
			t.Errorf("no summary:\n%s", &p.stdout)
		}
	})
	t.Run("another link", func(t *testing.T) {
		code, _, stderr := ran(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(), "fe80::1%elsewhere")
		if code != exitUsage || !strings.Contains(stderr, "another link") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
	t.Run("silence", func(t *testing.T) {
		code, stdout, _ := ran(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(), "-c", "2", "-n", "1ms", "-W", "100ms", "10.99.0.77")
		if code != exitFailed || !strings.Contains(stdout, "0 received, 100% packet loss") {
			t.Errorf("exit code %d:\n%s", code, stdout)
		}
	})
	t.Run("no route", func(t *testing.T) {
		code, stdout, stderr := ran(t, l.server, "ping", "-i", "server", "-a", engineAddr.String(), "192.0.2.1")
		if code != exitFailed || !strings.Contains(stdout, "0 packets transmitted, 0 received") || !strings.Contains(stderr, "--gateway") {
			t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
		}
	})
	// The neighbour was asked for three times, and has not answered.
	t.Run("nobody", func(t *testing.T) {
		args := []string{"ping", "-i", "server", "-a", engineAddr.String(), "-c", "2", "-n", "1ms", "-W", "60s", "10.99.0.77"}
		code, stdout, _ := ran(t, l.server, args...)
		own := engineAddr.Addr().String()
		for _, want := range []string{
			"From " + own + " icmp_seq=1 Destination Host Unreachable", "From " + own + " icmp_seq=2 Destination Host Unreachable",
			"2 packets transmitted, 0 received, +2 errors, 100% packet loss",
		} {
			if code != exitFailed || !strings.Contains(stdout, want) {
				t.Errorf("exit code %d, no %q in:\n%s", code, want, stdout)
			}
		}
		code, stdout, _ = ran(t, l.server, append(args, "--json")...)
		if s := object[pingSummary](t, stdout, "summary"); code != exitFailed || s.Errors != 2 || s.Received != 0 {
			t.Errorf("exit code %d, %+v", code, s)
		}
		if e := object[unanswered](t, stdout, "error"); e.Seq != 1 || e.From != own || e.Type != 3 || e.Code != 1 {
			t.Errorf("%+v", e)
		}
	})
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no route":   {[]string{"192.0.2.1"}, "--gateway"},
		"no address": {[]string{"2001:db8::1"}, "no address of its family"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"ping", "-i", "server", "-a", engineAddr.String(), "-c", "1"}, test.args...)
			code, _, stderr := ran(t, l.server, args...)
			if code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			oneLine(t, args, "", stderr, test.says)
		})
	}
	l.clean(t)
}

func TestPingWrongUse(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, "TARGET"},
		{[]string{"10.99.0.1", "10.99.0.2"}, "TARGET"},
		{[]string{"example.net"}, "example.net"},
		{[]string{"-s", "65528", "fd00::1"}, "--size"},
		{[]string{"-t", "0", "10.99.0.1"}, "--ttl"},
		{[]string{"-s", "65508", "10.99.0.1"}, "--size"},
		{[]string{"-n", "1us", "10.99.0.1"}, "--interval"},
		{[]string{"-n", "fast", "10.99.0.1"}, "--interval"},
		{[]string{"-c", "-1", "10.99.0.1"}, "--count"},
		{[]string{"-W", "0", "10.99.0.1"}, "--wait"},
	} {
		args := append([]string{"ping", "-i", "eth9", "-a", engineAddr.String()}, test.args...)
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, test.says)
	}
}

func TestRoundTrips(t *testing.T) {
	r := rttOf([]float64{4, 1, 3, 2})
	if r.Min != 1 || r.Max != 4 || r.Avg != 2.5 || r.Median != 2.5 || math.Abs(r.Mdev-math.Sqrt(1.25)) > 1e-9 {
		t.Errorf("%+v", r)
	}
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("median %v", m)
	}
}
