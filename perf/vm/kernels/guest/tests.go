package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

func upLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// detailMax bounds what of a failure is reported, in bytes.
const detailMax = 4 << 10

// test runs the tests of a package.
func (g *guest) test(t report.Test) {
	limit := time.Duration(t.Seconds) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Path, append([]string{"-test.v", "-test.short"}, t.Args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = t.Dir
	begun := time.Now()
	err := cmd.Run()
	e := report.Event{Kind: report.Check, Name: t.Package}
	var said, failed bytes.Buffer // of the test that runs; of those that failed
	for line := range strings.Lines(out.String()) {
		said.WriteString(line)
		switch {
		case strings.HasPrefix(line, "--- PASS"):
			e.Passed++
		case strings.HasPrefix(line, "--- SKIP"):
			e.Skipped++
		case strings.HasPrefix(line, "--- FAIL"):
			e.Failed++
			failed.Write(tail(said.Bytes()))
		case !strings.HasPrefix(line, "=== RUN"):
			continue
		}
		said.Reset()
	}
	switch {
	case ctx.Err() != nil:
		e.Failed++
		fmt.Fprintf(&failed, "not done after %v\n", limit)
		failed.Write(tail(out.Bytes()))
	case err != nil && e.Failed == 0:
		e.Failed++
		fmt.Fprintln(&failed, err)
		failed.Write(tail(out.Bytes()))
	}
	e.Detail = string(tail(failed.Bytes()))
	os.Stdout.Write(out.Bytes())
	fmt.Printf("guest: %s: %v, after %v\n", t.Package, err, time.Since(begun))
	g.say(e)
}

func tail(b []byte) []byte {
	return b[max(0, len(b)-detailMax):]
}

// command runs a program to its end, and returns what it printed.
func command(limit time.Duration, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		return out, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, tail(stderr.Bytes()))
	}
	return out, nil
}
