// Command kernels runs the project's kernel-facing tests on the kernels of Debian's archive, each
// booted under QEMU's software emulation with an initial file system that holds nothing but static
// test binaries and the command:
//
//	cd perf && go run ./vm/kernels                       # all of them, half an hour on two processors
//	cd perf && go run ./vm/kernels -kernels oldest,newest
//	cd perf && go run ./vm/kernels -docs ../docs/kernels.md
//
// It prints a row a kernel. What a kernel lacks shows as skipped tests and as the reasons that
// `xdpsock info` gives. Exit code 1 says that a test failed, or that a kernel could not be had or
// did not come to its end; the others still run. Without the network it takes the kernels that it
// fetched before. It needs the programs of [tools], and no privilege.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// options are the flags.
type options struct {
	cache   string        // where kernels are kept
	docs    string        // where the table goes, as Markdown; "": nowhere
	mirror  string        // of Debian's archive
	limit   time.Duration // the most that a guest may take
	absent  bool          // a kernel that cannot be had is passed over
	verbose bool
}

func main() {
	var o options
	list := flag.String("kernels", "all", "which, by name: 5.10, 6.1, 6.12, 6.18, 7.x, oldest, newest, all")
	only := flag.String("only", "", "of "+partNames()+", those to run, with commas between (default: all)")
	flag.StringVar(&o.cache, "cache", "", "where kernels are kept (default: xdpsock-kernels in the user's cache)")
	flag.StringVar(&o.docs, "docs", "", "write the table to this file as Markdown; what it is made of, and keeps of the other kernels, to the .json beside it")
	flag.StringVar(&o.mirror, "mirror", "http://deb.debian.org/debian", "where Debian's archive is")
	flag.DurationVar(&o.limit, "timeout", time.Hour, "the most that a guest may take")
	flag.BoolVar(&o.absent, "skip-absent", false, "pass over a kernel that cannot be fetched, instead of failing")
	flag.BoolVar(&o.verbose, "v", false, "print each result as it comes out")
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
	if o.limit <= 0 {
		usage(fmt.Errorf("-timeout %v: more than nothing", o.limit))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, chosen, plan, o); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func usage(err error) {
	fmt.Fprintln(os.Stderr, "kernels:", err)
	os.Exit(2)
}

// run returns an error if not all was well on all kernels.
func run(ctx context.Context, chosen []kernel, plan report.Plan, o options) error {
	if err := tools(); err != nil {
		return err
	}
	if o.cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: say where with -cache", err)
		}
		o.cache = filepath.Join(user, "xdpsock-kernels")
	}
	var err error
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "xdpsock-kernels-")
	if err != nil {
		return err
	}
	base, err := programs(ctx, work, plan)
	if err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	table, err := matrix(ctx, os.Stdout, chosen, plan, base, work, o)
	if err != nil {
		return err
	}
	for _, r := range table {
		if !r.good() {
			return fmt.Errorf("not everything passed; what the guests said is below %s", work)
		}
	}
	return os.RemoveAll(work)
}

// matrix runs one kernel after the other, and says of each how it was. Only the end of ctx keeps it from
// the next.
func matrix(ctx context.Context, out io.Writer, chosen []kernel, plan report.Plan, base *image, work string, o options) (table []*row, err error) {
	when := time.Now().UTC().Format(time.DateOnly)
	if commit, err := output(ctx, "", "git", "rev-parse", "--short", "HEAD"); err == nil {
		when += ", " + strings.TrimSpace(commit)
	}
	for _, k := range chosen {
		r := &row{kernel: k, when: when}
		begun := time.Now()
		r.one(ctx, plan, base, filepath.Join(work, k.name), o)
		r.took = time.Since(begun)
		if ctx.Err() != nil {
			return table, ctx.Err()
		}
		fmt.Fprintln(out, r.line())
		for _, e := range r.events {
			if e.Failed > 0 || o.verbose {
				fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(describe(e), "\n", "\n      "))
			}
		}
		table = append(table, r)
		if o.docs != "" && !r.absent {
			if err := publish(o.docs, r); err != nil {
				return table, err
			}
		}
	}
	return table, nil
}

// one fetches and boots the row's kernel.
func (r *row) one(ctx context.Context, plan report.Plan, base *image, dir string, o options) {
	var unpacked string
	if unpacked, r.note, r.err = fetch(ctx, r.kernel, o); r.err != nil {
		r.absent = o.absent
		return
	}
	r.err = func() error {
		vmlinuz, tree, err := boot(unpacked)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		m := machine{vmlinuz: vmlinuz, image: filepath.Join(dir, "initramfs"), dir: dir, limit: o.limit, virtio: plan.Virtio}
		if err := base.clone().build(ctx, m.image, tree, plan); err != nil {
			return err
		}
		defer os.Remove(m.image)
		r.events, err = m.run(ctx)
		return err
	}()
}
