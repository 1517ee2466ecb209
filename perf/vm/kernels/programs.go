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
	{Package: "bpf", Path: "/bin/bpf.test", Dir: "/src/bpf", Seconds: 900},
	{Package: "xsk", Path: "/bin/xsk.test", Dir: "/tmp", Seconds: 600},
	{Package: "engine", Path: "/bin/engine.test", Dir: "/tmp", Seconds: 900},
	{Package: "socketapi", Path: "/bin/socketapi.test", Dir: "/tmp", Seconds: 600,
		Args: []string{"-test.run", "^(TestEveryDevice|TestConnKernelToEngine|TestUDPEchoToAKernelSocket|TestLongDatagramsOfAKernelSocket)$"}},
}

// parts are what a guest can do besides tests, by the names of -only.
var parts = []struct {
	name string
	of   func(*report.Plan) *bool
}{
	{"features", func(p *report.Plan) *bool { return &p.Features }},
	{"serve", func(p *report.Plan) *bool { return &p.Serve }},
	{"grid", func(p *report.Plan) *bool { return &p.Grid }},
	{"virtio", func(p *report.Plan) *bool { return &p.Virtio }},
}

// partNames lists what -only knows.
func partNames() string {
	var names []string
	for _, t := range tests {
		names = append(names, t.Package)
	}
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// planOf is what a guest does if it does only that; "" is all.
func planOf(only string) (plan report.Plan, err error) {
	if only == "" {
		plan.Tests = tests
		for _, p := range parts {
			*p.of(&plan) = true
		}
		return plan, nil
	}
next:
	for name := range strings.SplitSeq(only, ",") {
		for _, t := range tests {
			if t.Package == name {
				plan.Tests = append(plan.Tests, t)
				continue next
			}
		}
		for _, p := range parts {
			if p.name == name {
				*p.of(&plan) = true
				continue next
			}
		}
		return plan, fmt.Errorf("-only %q: it is of %s", name, partNames())
	}
	return plan, nil
}

// tools names the programs that are missing here, and the packages that have them.
func tools() error {
	var missing, packages []string
	for _, t := range []struct{ name, pkg string }{
		{"qemu-system-x86_64", "qemu-system-x86"}, {"apt-get", "apt"}, {"apt-cache", "apt"}, {"dpkg-deb", "dpkg"},
		{"depmod", "kmod"}, {"ip", "iproute2"}, {"ldd", "libc-bin"}, {"xz", "xz-utils"},
	} {
		if _, err := exec.LookPath(t.name); err != nil {
			missing = append(missing, t.name)
			if !slices.Contains(packages, t.pkg) {
				packages = append(packages, t.pkg)
			}
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("there is no %s here: apt-get install %s", strings.Join(missing, ", "), strings.Join(packages, " "))
}

// programs builds what every guest of the plan holds.
func programs(ctx context.Context, work string, plan report.Plan) (*image, error) {
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
		if err := m.copy(path, name); err != nil {
			return err
		}
		return os.Remove(path)
	}
	if err := build("/init", "", "build", module+"/perf/vm/kernels/guest"); err != nil {
		return nil, err
	}
	if err := build("/bin/xdpsock", root, "build", "./cmd/xdpsock"); err != nil {
		return nil, err
	}
	for _, t := range plan.Tests {
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
