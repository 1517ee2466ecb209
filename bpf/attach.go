package bpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Mode is where in the receive path the program runs.
type Mode uint8

const (
	// Auto tries Native, then Generic.
	Auto Mode = iota
	// Native runs in the driver, before a socket buffer exists (xdpdrv).
	Native
	// Generic runs in the kernel's core, on socket buffers, and with any driver
	// (xdpgeneric, also called skb mode). Frames that the sender left to be
	// segmented or checksummed by hardware come as they are.
	Generic

	offloaded // runs in the NIC; seen, never asked for
)

func (m Mode) String() string {
	return [...]string{"auto", "native", "generic", "offloaded"}[m]
}

// Attached is the result of Attach.
type Attached struct {
	Mode    Mode      // Native or Generic
	Frags   bool      // accepts frames of several buffers
	Program uint32    // ID, as bpftool shows it
	Refused []Refusal // modes that were tried before and why they were refused
}

// Attach puts the program on an interface. An interface that has an XDP program
// already is refused with an [OccupiedError] and left as it is. The program comes
// off by Close, or when the process ends.
func (p *Program) Attach(ifindex int, mode Mode) (Attached, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Attached{}, fmt.Errorf("bpf: attach: %w", os.ErrClosed)
	}
	if p.link != nil {
		return Attached{}, errors.New("bpf: attach: the program is attached already; an interface needs a Program of its own")
	}
	d, err := readDevice(ifindex)
	if err != nil {
		return Attached{}, fmt.Errorf("bpf: attach: %w", err)
	}
	if d.kind != unix.ARPHRD_ETHER && d.kind != unix.ARPHRD_LOOPBACK {
		return Attached{}, fmt.Errorf("bpf: attach to %s: its link type is %d (ARPHRD_*), and the program reads Ethernet headers", d.name, d.kind)
	}
	var ladder []Mode
	switch mode {
	case Auto:
		ladder = []Mode{Native, Generic}
	case Native, Generic:
		ladder = []Mode{mode}
	default:
		return Attached{}, fmt.Errorf("bpf: attach to %s: no mode %v", d.name, mode)
	}
	return p.climb(d, ladder)
}

// climb tries the modes in turn and stops at the first that the kernel accepts,
// or at a refusal that no other mode would mend.
func (p *Program) climb(d *device, ladder []Mode) (Attached, error) {
	flags := map[Mode]link.XDPAttachFlags{Native: link.XDPDriverMode, Generic: link.XDPGenericMode}
	var refused []Refusal
	for _, mode := range ladder {
		l, err := link.AttachXDP(link.XDPOptions{Program: p.prog, Interface: d.index, Flags: flags[mode]})
		if err == nil {
			p.link = l
			got := Attached{Mode: mode, Frags: p.cfg.Frags, Refused: refused}
			if info, err := p.prog.Info(); err == nil {
				id, _ := info.ID()
				got.Program = uint32(id)
			}
			return got, nil
		}
		refused = append(refused, Refusal{Mode: mode, Err: p.explain(d, mode, err)})
		if slices.ContainsFunc(final, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
			break
		}
	}
	return Attached{}, &AttachError{Interface: d.name, Ifindex: d.index, Refused: refused}
}

// final are the refusals that hold in every mode.
var final = []syscall.Errno{
	unix.EBUSY, unix.EEXIST, // occupied
	unix.EPERM, unix.EACCES,
	unix.ENODEV, // gone since it was read
}
