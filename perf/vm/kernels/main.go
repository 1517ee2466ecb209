// Command kernels runs the project's kernel-facing tests on the kernels of Debian's archive, each
// booted under QEMU's software emulation with an initial file system that holds nothing but static
// test binaries and the command:
//
//	cd perf && go run ./vm/kernels                       # all of them, half an hour
//	cd perf && go run ./vm/kernels -kernels oldest,newest
//	cd perf && go run ./vm/kernels -docs ../docs/kernels.md
//
// It prints a row a kernel. What a kernel lacks shows as skipped tests and as the reasons that
// `xdpsock info` gives. Exit code 1 says that a test failed, or that a kernel could not be had or
// did not come to its end; the others still run. It needs qemu-system-x86_64, apt, dpkg-deb, depmod and ip,
// and no privilege.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

func main() {
	var (
		list    = flag.String("kernels", "all", "which, by name: 5.10, 6.1, 6.12, 6.18, 7.x, oldest, newest, all")
		cache   = flag.String("cache", "", "where kernels are kept (default: xdpsock-kernels in the user's cache)")
		docs    = flag.String("docs", "", "write the table to this file as Markdown")
		only    = flag.String("only", "", "of features, bpf, xsk, engine, socketapi, serve and virtio, those to run, with commas between (default: all)")
		limit   = flag.Duration("timeout", 10*time.Minute, "the most that a guest may take")
		verbose = flag.Bool("v", false, "print each result as it comes out")
	)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: kernels [flags]\n\nRuns the tests that face the kernel on kernels from Debian's archive.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		usage(fmt.Errorf("what is %q? The kernels are chosen with -kernels", flag.Arg(0)))
	}
	chosen, err := choose(*list)
	if err != nil {
		usage(err)
	}
	plan, err := planOf(*only)
	if err != nil {
		usage(err)
	}
	if *limit <= 0 {
		usage(fmt.Errorf("-timeout %v: more than nothing", *limit))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	good, err := run(ctx, chosen, plan, *cache, *docs, *limit, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func usage(err error) {
	fmt.Fprintln(os.Stderr, "kernels:", err)
	os.Exit(2)
}

// planOf is what a guest does if it does only that.
func planOf(only string) (report.Plan, error) {
	if only == "" {
		return report.Plan{Features: true, Tests: tests, Serve: true, Virtio: true}, nil
	}
	var plan report.Plan
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(tests, func(t report.Test) bool { return t.Package == name })
		switch {
		case i >= 0:
			plan.Tests = append(plan.Tests, tests[i])
		case name == "features":
			plan.Features = true
		case name == "serve":
			plan.Serve = true
		case name == "virtio":
			plan.Virtio = true
		default:
			return plan, fmt.Errorf("-only %q: it is of features, bpf, xsk, engine, socketapi, serve and virtio", name)
		}
	}
	return plan, nil
}

// run is true if all was well on all kernels.
func run(ctx context.Context, chosen []kernel, plan report.Plan, cache, docs string, limit time.Duration, verbose bool) (bool, error) {
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return false, fmt.Errorf("%w: say where with -cache", err)
		}
		cache = filepath.Join(user, "xdpsock-kernels")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return false, err
	}
	work, err := os.MkdirTemp("", "xdpsock-kernels-")
	if err != nil {
		return false, err
	}
	base, err := programs(ctx, work)
	if err != nil {
		return false, errors.Join(err, os.RemoveAll(work))
	}
	var table []row
	good := true
	for _, k := range chosen {
		r := row{kernel: k}
		begun := time.Now()
		r.events, r.err = one(ctx, k, plan, base, cache, filepath.Join(work, k.name), limit)
		r.took = time.Since(begun)
		good = good && r.good()
		fmt.Println(r.line())
		for _, e := range r.events {
			if e.Failed > 0 || verbose {
				fmt.Printf("    %s\n", strings.ReplaceAll(describe(e), "\n", "\n      "))
			}
		}
		table = append(table, r)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	if docs != "" {
		if err := os.WriteFile(docs, markdown(ctx, table), 0o644); err != nil {
			return false, err
		}
	}
	if good {
		return true, os.RemoveAll(work)
	}
	return false, fmt.Errorf("not everything passed; what the guests said is below %s", work)
}

// one fetches and boots a kernel.
func one(ctx context.Context, k kernel, plan report.Plan, base *image, cache, dir string, limit time.Duration) ([]report.Event, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a, err := openArchive(ctx, cache, k.suite)
	if err != nil {
		return nil, err
	}
	name, err := a.newest(ctx, k)
	if err != nil {
		return nil, err
	}
	unpacked, err := a.unpack(ctx, cache, name)
	if err != nil {
		return nil, err
	}
	vmlinuz, tree, err := boot(unpacked)
	if err != nil {
		return nil, err
	}
	m := machine{vmlinuz: vmlinuz, image: filepath.Join(dir, "initramfs"), dir: dir, limit: limit, virtio: plan.Virtio}
	if err := base.clone().build(ctx, m.image, tree, plan); err != nil {
		return nil, err
	}
	defer os.Remove(m.image)
	return m.run(ctx)
}
