package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/xdpsock/xdpsock/perf/baseline"
)

// errMissing is a tool that is not installed, or a program that does not build.
var errMissing = errors.New("missing")

// An env is what all suites share: options, programs, and what has to go at the end.
type env struct {
	opt   options
	round int // of the suite that is measured, from 0 on

	root string // of the tree that is measured
	dir  string // of the programs built for this run

	netserver, xdpsock, twin, wrk, testpmd tool

	mu     sync.Mutex
	closed bool
	labs   []*lab
}

// A tool is a program that is found or built when first asked for.
type tool struct {
	once sync.Once
	path string
	err  error
}

func (t *tool) get(find func() (string, error)) (string, error) {
	t.once.Do(func() { t.path, t.err = find() })
	return t.path, t.err
}

func newEnv(opt options) (*env, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/xdpsock/xdpsock").Output()
	if err != nil {
		return nil, fmt.Errorf("run it in the folder perf, with go: go list: %w", err)
	}
	e := &env{opt: opt, root: strings.TrimSpace(string(out))}
	e.dir, err = os.MkdirTemp("", "xdpsock-perf-")
	return e, err
}

// track remembers a lab for close. A run that is over makes no more of them.
func (e *env) track(l *lab) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("interrupted")
	}
	e.labs = append(e.labs, l)
	return nil
}

// close takes everything down. Who calls it second waits until that is done.
func (e *env) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	for _, l := range e.labs {
		l.close()
	}
	os.RemoveAll(e.dir)
	os.RemoveAll(filepath.Join("/var/run/dpdk", dpdkPrefix()))
}

// Netserver is the peer over package net.
func (e *env) Netserver() (string, error) {
	return e.netserver.get(func() (string, error) {
		return e.goBuild(filepath.Join(e.root, "perf"), "./peer/netserver", "netserver")
	})
}

// Xdpsock is the program that is measured.
func (e *env) Xdpsock() (string, error) {
	return e.xdpsock.get(func() (string, error) {
		if e.opt.binary != "" {
			return filepath.Abs(e.opt.binary)
		}
		if _, err := os.Stat(filepath.Join(e.root, "cmd", "xdpsock")); err != nil {
			return "", fmt.Errorf("xdpsock: %w: %w", errMissing, err)
		}
		return e.goBuild(e.root, "./cmd/xdpsock", "xdpsock")
	})
}

func (e *env) goBuild(dir, pkg, name string) (string, error) {
	path := filepath.Join(e.dir, name)
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: go build: %s", name, errMissing, firstLine(out, err))
	}
	return path, nil
}

// Twin is the raw modes in C, which is also the packet source.
func (e *env) Twin() (string, error) {
	return e.twin.get(func() (string, error) {
		path := filepath.Join(e.dir, "xsk")
		cmd := exec.Command("gcc", "-O2", "-Wall", "-x", "c", "-o", path, "-")
		cmd.Stdin = strings.NewReader(baseline.XSK)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("the loop in C: %w: gcc (apt-get install gcc libc6-dev): %s", errMissing, firstLine(out, err))
		}
		return path, nil
	})
}

// Wrk is the HTTP load generator.
func (e *env) Wrk() (string, error) {
	return e.wrk.get(func() (string, error) { return installed("wrk", "wrk") })
}

// Testpmd is DPDK's forwarder.
func (e *env) Testpmd() (string, error) {
	return e.testpmd.get(func() (string, error) { return installed("dpdk-testpmd", "dpdk") })
}

func installed(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w: not installed (apt-get install %s)", name, errMissing, pkg)
	}
	return path, nil
}

// firstLine is what a failed tool said that matters most.
func firstLine(out []byte, err error) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return err.Error()
}
