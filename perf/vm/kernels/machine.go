package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A machine is a guest under software emulation: KVM does not boot a stock kernel on every host that
// itself is a guest.
type machine struct {
	vmlinuz, image string
	dir            string // for what the guest says
	limit          time.Duration
	virtio         bool
}

// console is the file of the kernel's own messages, where one looks when a guest does not end well.
func (m *machine) console() string { return filepath.Join(m.dir, "console.log") }

func (m *machine) args(events string) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// On this processor every kernel of the catalog boots; on -cpu max some do not. It has no CMPXCHG16B, after
		// which QEMU 7.2 leaves a broken EFLAGS now and then: Linux 6.12 died of that in kmalloc while it booted.
		"-accel", "tcg,thread=multi", "-cpu", "qemu64,-cx16,+ssse3,+sse4.1,+sse4.2,+popcnt,+x2apic",
		"-m", "1536", "-smp", "2",
		"-serial", "file:" + m.console(), "-serial", "file:" + events,
		"-kernel", m.vmlinuz, "-initrd", m.image,
		"-append", "console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=on",
	}
	if m.virtio {
		for i := range 2 {
			args = append(args,
				"-netdev", fmt.Sprintf("hubport,id=h%d,hubid=0", i),
				// Zero copy needs DMA addresses of the device's own: VIRTIO_F_ACCESS_PLATFORM.
				"-device", fmt.Sprintf("virtio-net-pci,netdev=h%d,mac=02:00:00:00:00:0%d,iommu_platform=on,disable-legacy=on", i, i+1))
		}
	}
	return args
}

// run boots the guest and returns what it reported until it ended.
func (m *machine) run(ctx context.Context) ([]report.Event, error) {
	events := filepath.Join(m.dir, "events.json")
	if err := os.WriteFile(events, nil, 0o644); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	_, err := output(limited, m.dir, "qemu-system-x86_64", m.args(events)...)
	list, ended := read(events)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: apt-get install qemu-system-x86", err)
	case ctx.Err() != nil:
		return list, ctx.Err()
	case limited.Err() != nil:
		return list, fmt.Errorf("the guest hangs: it did not end within %v (%s): %w", m.limit, m.console(), err)
	case err != nil:
		return list, err
	case !ended:
		return list, fmt.Errorf("the guest went down before its end: %s", lastLine(m.console()))
	}
	return list, nil
}

// read reads what a guest reported, and whether it came to its end.
func read(path string) (list []report.Event, ended bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var e report.Event
		if json.Unmarshal(s.Bytes(), &e) != nil {
			continue // cut off by its death
		}
		ended = ended || e.Kind == report.End
		list = append(list, e)
	}
	return list, ended
}

func lastLine(path string) string {
	b, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Sprintf("%q (%s)", strings.TrimSpace(lines[len(lines)-1]), path)
}
