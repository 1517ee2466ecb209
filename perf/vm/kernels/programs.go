package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

const module = "github.com/xdpsock/xdpsock"

// tests are those that face the kernel. The protocols face nobody; the whole of the sockets' table
// takes emulation too long, so that of them run what carries data over each kind of device.
var tests = []report.Test{
	{Package: "bpf", Path: "/bin/bpf.test", Dir: "/src/bpf", Seconds: 300},
	{Package: "xsk", Path: "/bin/xsk.test", Dir: "/tmp", Seconds: 120},
	{Package: "engine", Path: "/bin/engine.test", Dir: "/tmp", Seconds: 300},
	{Package: "socketapi", Path: "/bin/socketapi.test", Dir: "/tmp", Seconds: 180,
		Args: []string{"-test.run", "^(TestEveryDevice|TestConnKernelToEngine|TestUDPEchoToAKernelSocket|TestLongDatagramsOfAKernelSocket)$"}},
}

// programs builds what every guest holds.
func programs(ctx context.Context, work string) (*image, error) {
	m := &image{dirs: map[string]bool{}}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return nil, fmt.Errorf("%w: run it in the folder perf", err)
	}
	root = strings.TrimSpace(root)
	build := func(name, dir string, args ...string) error {
		path := filepath.Join(work, filepath.Base(name))
		cmd := exec.CommandContext(ctx, "go", slices.Insert(args, 1, "-ldflags=-s -w", "-o", path)...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
		return m.copy(path, name)
	}
	if err := build("/init", "", "build", module+"/perf/vm/kernels/guest"); err != nil {
		return nil, err
	}
	if err := build("/bin/xdpsock", root, "build", "./cmd/xdpsock"); err != nil {
		return nil, err
	}
	for _, t := range tests {
		if err := build(t.Path, root, "test", "-c", "./"+t.Package); err != nil {
			return nil, err
		}
	}
	// A test of package bpf compares the rules in Go with those in C.
	if err := m.copy(filepath.Join(root, "bpf/rules.h"), "/src/bpf/rules.h"); err != nil {
		return nil, err
	}
	return m, m.program(ctx, "ip")
}

// clone is an image to which can be added what is one kernel's.
func (m *image) clone() *image {
	return &image{records: slices.Clone(m.records), dirs: maps.Clone(m.dirs)}
}
