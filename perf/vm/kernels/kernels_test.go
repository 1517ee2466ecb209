package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// fakes stand for the programs that fetch and boot kernels. A kernel's fate is in the name of its suite.
var fakes = map[string]string{
	"apt-get": `
case "$*" in
*/apt/unreachable\ *update*) echo "E: Failed to fetch http://deb.debian.org/debian: Could not resolve 'deb.debian.org'" >&2
	echo "E: Some index files failed to download." >&2; exit 100;;
*/apt/lost\ *download*) echo "E: Failed to fetch the .deb: 404 Not Found" >&2; exit 100;;
*download*) for last; do :; done; : >"$last.deb";;
esac`,
	"apt-cache": `
case "$*" in
*/apt/gone\ *) ;;
*pkgnames*) for last; do :; done; echo "${last}1-rt-amd64"; echo "${last}9-cloud-amd64"; echo "${last}10-cloud-amd64";;
esac`,
	"dpkg-deb": `
release=$(basename "$3" | sed 's/linux-image-//')
mkdir -p "$3/boot" "$3/lib/modules/$release/kernel/net"
: >"$3/boot/vmlinuz-$release"
: >"$3/lib/modules/$release/kernel/net/veth.ko"`,
	"depmod": `
printf 'kernel/net/veth.ko:\n' >"$2/lib/modules/$3/modules.dep"`,
	"qemu-system-x86_64": `
while [ $# -gt 1 ]; do
	case $1 in
	-serial) console=$events; events=${2#file:};;
	-kernel) kernel=$2;;
	esac
	shift
done
console=$(dirname "$events")/console.log
echo 'Linux boots' >"$console"
say() { echo "$1" >>"$events"; }
release=$(basename "$kernel" | sed 's/vmlinuz-//')
say '{"kind":"kernel","value":"'"$release"'"}'
say '{"kind":"check","name":"bpf","passed":30,"skipped":2}'
case $kernel in
*-3.1*) exec sleep 100;;
*-3.2*) echo 'Kernel panic - not syncing: VFS' >>"$console"; exit 0;;
*-3.3*) say '{"kind":"check","name":"xsk","passed":3,"failed":1,"detail":"--- FAIL: TestX"}';;
esac
say '{"kind":"end"}'`,
}

// setFakes puts them before everything else, but for those named.
func setFakes(t *testing.T, without ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range fakes {
		if slices.Contains(without, name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func runMatrix(t *testing.T, o options, chosen ...kernel) (table []*row, lines []string) {
	t.Helper()
	if o.cache == "" {
		o.cache = t.TempDir()
	}
	if o.limit == 0 {
		o.limit = 30 * time.Second
	}
	o.mirror = "http://deb.debian.org/debian"
	var out bytes.Buffer
	base := &image{dirs: map[string]bool{}}
	table, err := matrix(context.Background(), &out, chosen, report.Plan{}, base, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, " ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(chosen) || len(table) != len(chosen) {
		t.Fatalf("%d kernels, %d rows, and lines\n%s", len(chosen), len(table), &out)
	}
	return table, lines
}

// Whatever goes wrong with one kernel is one line, and the next one runs.
func TestTroubleIsOneLine(t *testing.T) {
	setFakes(t)
	fine := kernel{name: "fine", suite: "fine", pattern: "3.4."}
	for _, tt := range []struct {
		k    kernel
		says string
	}{
		{kernel{name: "a", suite: "unreachable", pattern: "3.0."}, "Could not resolve 'deb.debian.org'"},
		{kernel{name: "b", suite: "gone", pattern: "3.0."}, "the suite gone has no linux-image-3.0.*-cloud-amd64 any more"},
		{kernel{name: "c", suite: "lost", pattern: "3.0."}, "404 Not Found"},
		{kernel{name: "d", suite: "hangs", pattern: "3.1."}, "the guest hangs: it did not end within 3s"},
		{kernel{name: "e", suite: "panics", pattern: "3.2."}, "Kernel panic - not syncing: VFS"},
		{kernel{name: "f", suite: "fails", pattern: "3.3."}, "33 passed   1 failed   2 skipped"},
	} {
		t.Run(tt.k.suite, func(t *testing.T) {
			var o options
			if tt.k.suite == "hangs" {
				o.limit = 3 * time.Second
			}
			table, lines := runMatrix(t, o, tt.k, fine)
			if table[0].good() || !strings.Contains(lines[0], tt.says) {
				t.Errorf("good is %v: %s", table[0].good(), lines[0])
			}
			if !table[1].good() || !strings.HasPrefix(lines[1], "3.4.10-cloud-amd64 ") || !strings.Contains(lines[1], "30 passed") {
				t.Errorf("the next one: %s", lines[1])
			}
		})
	}
}

// A kernel that cannot be fetched is passed over if that was asked for, a guest that fails never.
func TestSkipAbsent(t *testing.T) {
	setFakes(t)
	table, lines := runMatrix(t, options{absent: true},
		kernel{name: "gone", suite: "gone", pattern: "3.0."},
		kernel{name: "fails", suite: "fails", pattern: "3.3."})
	if !table[0].good() || !strings.Contains(lines[0], "passed over: the suite gone has no ") {
		t.Errorf("%+v: %s", table[0], lines[0])
	}
	if table[1].good() {
		t.Errorf("%+v: %s", table[1], lines[1])
	}
}

// What was fetched once runs without the archive.
func TestKeptKernel(t *testing.T) {
	setFakes(t)
	o := options{cache: t.TempDir()}
	runMatrix(t, o, kernel{name: "x", suite: "fine", pattern: "3.4."})
	table, lines := runMatrix(t, o, kernel{name: "x", suite: "unreachable", pattern: "3.4."})
	if !table[0].good() || !strings.Contains(lines[0], "as fetched before: ") || !strings.Contains(lines[0], "Could not resolve") {
		t.Errorf("%+v: %s", table[0], lines[0])
	}
}

func TestMissingPrograms(t *testing.T) {
	setFakes(t, "qemu-system-x86_64", "depmod")
	dir, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	t.Setenv("PATH", dir)
	err := run(context.Background(), catalog, report.Plan{}, options{})
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
	for _, want := range []string{"qemu-system-x86_64, depmod", "apt-get install qemu-system-x86 kmod "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestChoose(t *testing.T) {
	names := func(list string) (s string) {
		chosen, err := choose(list)
		if err != nil {
			return err.Error()
		}
		for _, k := range chosen {
			s += k.name + " "
		}
		return s
	}
	for list, want := range map[string]string{
		"all":           "5.10 6.1 6.12 6.18 7.x ",
		"oldest,newest": "5.10 7.x ",
		"6.12":          "6.12 ",
		"2.6":           `no kernel "2.6": choose among 5.10, 6.1, 6.12, 6.18, 7.x, oldest, newest and all`,
	} {
		if got := names(list); got != want {
			t.Errorf("%s: %q", list, got)
		}
	}
}

func TestPlanOf(t *testing.T) {
	all, err := planOf("")
	if err != nil || len(all.Tests) != len(tests) || !all.Features || !all.Serve || !all.Grid || !all.Virtio {
		t.Errorf("%+v, %v", all, err)
	}
	few, err := planOf("serve,xsk")
	if err != nil || len(few.Tests) != 1 || few.Tests[0].Package != "xsk" || few.Features || !few.Serve || few.Grid || few.Virtio {
		t.Errorf("%+v, %v", few, err)
	}
	if _, err := planOf("serve,proto"); err == nil || !strings.Contains(err.Error(), `"proto"`) || !strings.Contains(err.Error(), "features, ") {
		t.Error(err)
	}
}

// A run changes the results of its own kernel and its own parts alone.
func TestRecordsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kernels.json")
	release := report.Event{Kind: report.Kernel, Value: "6.12.1"}
	check := func(name string, passed int) report.Event {
		return report.Event{Kind: report.Check, Name: name, Passed: passed}
	}
	lack := report.Event{Kind: report.Lack, Name: "netdev-genl"}
	var table []*row
	run := func(k kernel, when string, err error, events ...report.Event) (got []string) {
		t.Helper()
		var fault error
		if table, fault = records(path, &row{kernel: k, when: when, err: err, events: events}); fault != nil {
			t.Fatal(fault)
		}
		for _, r := range table {
			got = append(got, fmt.Sprint(r.kernel.name, " ", r.when, " ", r.err))
			for _, e := range r.events {
				if e.Kind != report.Kernel {
					got = append(got, fmt.Sprint(e.Kind, " ", e.Name, " ", e.Passed, " ", e.When))
				}
			}
		}
		return got
	}
	run(catalog[2], "1", nil, release, lack, check("info", 1), check("bpf", 3))
	run(catalog[0], "2", errors.New("hangs"), check("bpf", 4))
	for _, step := range []struct{ got, want []string }{
		{run(catalog[2], "3", nil, release, check("bpf", 5)),
			[]string{"5.10 2 hangs", "check bpf 4 2", "6.12 3 <nil>", "lack netdev-genl 0 1", "check info 1 1", "check bpf 5 3"}},
		{run(catalog[2], "4", nil, release, check("info", 1)),
			[]string{"5.10 2 hangs", "check bpf 4 2", "6.12 4 <nil>", "check info 1 4", "check bpf 5 3"}},
		{run(catalog[2], "5", nil, report.Event{Kind: report.Kernel, Value: "6.12.2"}, check("xsk", 1)),
			[]string{"5.10 2 hangs", "check bpf 4 2", "6.12 5 <nil>", "check xsk 1 5"}},
	} {
		if !slices.Equal(step.got, step.want) {
			t.Errorf("got  %q\nwant %q", step.got, step.want)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := records(path, &row{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// The numbers in names count as numbers.
func TestCompareVersions(t *testing.T) {
	want := []string{"linux-image-5.10.0-9", "linux-image-5.10.0-32", "linux-image-6.1.0-50", "linux-image-6.12.94+deb13", "linux-image-6.12.107+deb13"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	if !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestMarkdown(t *testing.T) {
	table := []*row{
		{kernel: catalog[0], when: "2026-11-22, abcdef0", events: []report.Event{
			{Kind: report.Kernel, Value: "5.10.0-32-cloud-amd64"},
			{Kind: report.Check, Name: "bpf", Passed: 30, Skipped: 2, When: "2026-11-22, abcdef0"},
			{Kind: report.Check, Name: "xsk", Passed: 25, When: "2026-11-21, 1234567"},
			{Kind: report.Check, Name: "info", Passed: 1, When: "2026-11-22, abcdef0"},
			{Kind: report.Lack, Name: "XDP_USE_SG (Linux 6.6): none", Value: "invalid argument"},
			{Kind: report.Figure, Name: "rxdrop", Value: "3 kpps"},
		}},
		{kernel: catalog[4], events: []report.Event{
			{Kind: report.Kernel, Value: "7.3.4+deb13-cloud-amd64"},
			{Kind: report.Check, Name: "bpf", Passed: 31, Failed: 1},
		}, err: context.DeadlineExceeded},
	}
	got := string(markdown(table))
	for _, want := range []string{
		"| test | 5.10.0-32 | 7.3.4+deb13 |\n",
		"| xsk | 25 (2026-11-21, 1234567) | – |\n",
		"| bpf | 30, 2 skipped | **1 failed**, 31 passed |\n",
		"| run on, at | 2026-11-22, abcdef0 |  |\n",
		"| the last run came to its end | yes | **context deadline exceeded** |\n",
		"| XDP_USE_SG (Linux 6.6): none | invalid argument | – |\n",
		"| rxdrop | 3 kpps | – |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
