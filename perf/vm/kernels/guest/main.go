// Command guest is the first and only program of a virtual machine of the kernel matrix: it loads
// the kernel's modules, runs the project's tests and its command, reports on the second serial port
// and ends the machine. A goroutine that panics panics the kernel, which the host sees.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// eventsPort is the second serial port.
const eventsPort = "/dev/ttyS1"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: only as the init of a virtual machine; see the package kernels")
		os.Exit(2)
	}
	err := mounts()
	var g guest
	if err == nil {
		err = g.open()
	}
	if err != nil {
		fmt.Println("guest:", err)
	} else {
		g.run()
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // with -no-reboot QEMU ends
	select {}
}

// mounts makes the file systems that a program expects.
func mounts() error {
	for _, m := range []struct{ what, where, kind string }{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"},
		{"tmpfs", "/tmp", "tmpfs"}, {"tmpfs", "/run", "tmpfs"}, {"bpf", "/sys/fs/bpf", "bpf"},
	} {
		if err := unix.Mount(m.what, m.where, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	return errors.Join(os.Setenv("PATH", "/bin"), os.Setenv("HOME", "/tmp"), os.Setenv("TMPDIR", "/tmp"))
}

// A guest is one run of the matrix.
type guest struct {
	plan report.Plan

	mu     sync.Mutex
	events *json.Encoder
}

func (g *guest) open() error {
	port, err := os.OpenFile(eventsPort, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	g.events = json.NewEncoder(port)
	b, err := os.ReadFile(report.PlanPath)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &g.plan)
}

func (g *guest) say(e report.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.events.Encode(e); err != nil {
		fmt.Println("guest: report:", err)
	}
}

// checkMax is the most that a check may take. What takes longer waits for a task that the kernel does
// not wake: those after it are tried all the same.
const checkMax = 3 * time.Minute

// check reports one thing that must be true.
func (g *guest) check(name string, f func() error) {
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- f() }()
	var err error
	select {
	case err = <-done:
	case <-time.After(checkMax):
		err = fmt.Errorf("not done after %v", checkMax)
	}
	fmt.Printf("guest: %s: %v, after %v\n", name, err, time.Since(begun))
	if err != nil {
		g.say(report.Event{Kind: report.Check, Name: name, Failed: 1, Detail: err.Error()})
		blocked()
		return
	}
	g.say(report.Event{Kind: report.Check, Name: name, Passed: 1})
}

// blocked has the kernel print on its console what its tasks wait for, and what its processors do.
func blocked() {
	os.WriteFile("/proc/sys/kernel/printk", []byte("8"), 0)
	for _, key := range []string{"w", "l"} {
		os.WriteFile("/proc/sysrq-trigger", []byte(key), 0)
	}
}

func (g *guest) run() {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		g.say(report.Event{Kind: report.Check, Name: "boot", Failed: 1, Detail: err.Error()})
		return
	}
	release := unix.ByteSliceToString(uts.Release[:])
	g.say(report.Event{Kind: report.Kernel, Value: release})
	var v version
	if _, err := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); err != nil {
		g.say(report.Event{Kind: report.Check, Name: "boot", Failed: 1, Detail: fmt.Sprintf("release %q: %v", release, err)})
		return
	}
	for _, path := range g.plan.Modules {
		if err := load(path); err != nil {
			g.say(report.Event{Kind: report.Check, Name: "modules", Failed: 1, Detail: err.Error()})
		}
	}
	if err := upLoopback(); err != nil {
		g.say(report.Event{Kind: report.Check, Name: "loopback", Failed: 1, Detail: err.Error()})
	}
	if g.plan.Features {
		g.features(v)
	}
	for _, t := range g.plan.Tests {
		g.test(t)
	}
	if g.plan.Serve {
		g.serve()
	}
	if g.plan.Grid {
		g.grid()
	}
	if g.plan.Virtio {
		g.virtio(v)
	}
	g.say(report.Event{Kind: report.End})
}

// load loads a kernel module.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", strings.TrimPrefix(path, "/modules/"), err)
	}
	return nil
}
