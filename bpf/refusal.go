package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Refusal is why an interface did not take the program in a mode.
type Refusal struct {
	Mode Mode
	Err  error
}

// AttachError says that no mode was accepted, and why, in the order tried.
type AttachError struct {
	Interface string
	Ifindex   int
	Refused   []Refusal
}

func (e *AttachError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bpf: attach to %s (interface %d): ", e.Interface, e.Ifindex)
	for i, r := range e.Refused {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%v: %v", r.Mode, r.Err)
	}
	return b.String()
}

// Unwrap returns each mode's error.
func (e *AttachError) Unwrap() []error {
	errs := make([]error, len(e.Refused))
	for i, r := range e.Refused {
		errs[i] = r.Err
	}
	return errs
}

// OccupiedError says that other XDP programs have the interface.
type OccupiedError struct {
	Interface string
	Programs  []Attachment
	Err       error // EBUSY, or EEXIST where they are there in another mode
}

func (e *OccupiedError) Unwrap() error { return e.Err }

func (e *OccupiedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "another XDP program is attached to %s", e.Interface)
	for _, a := range e.Programs {
		fmt.Fprintf(&b, ": %v program %d", a.Mode, a.ID)
		if a.Name != "" {
			fmt.Fprintf(&b, " %q", a.Name)
		}
		if a.Tag != "" {
			fmt.Fprintf(&b, " tag %s", a.Tag)
		}
		fmt.Fprintf(&b, " (%s)", e.remedy(a))
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// remedy is the command that frees the interface, for who is sure of it.
func (e *OccupiedError) remedy(a Attachment) string {
	switch {
	case a.Link != 0 && a.Name == steerProgXdpsockSteer:
		return fmt.Sprintf("the engine of another process, and an interface has one: `bpftool link show id %d` names it", a.Link)
	case a.Link != 0:
		return fmt.Sprintf("held by link %[1]d: end the process that `bpftool link show id %[1]d` names", a.Link)
	case a.Name == "xdp_dispatcher":
		return fmt.Sprintf("libxdp's dispatcher: `xdp-loader status %[1]s` lists its programs, `xdp-loader unload %[1]s --all` removes them", e.Interface)
	case a.Mode == Generic:
		return fmt.Sprintf("`ip link set dev %s xdpgeneric off` removes it", e.Interface)
	case a.Mode == offloaded:
		return fmt.Sprintf("`ip link set dev %s xdpoffload off` removes it", e.Interface)
	}
	return fmt.Sprintf("`ip link set dev %s xdp off` removes it", e.Interface)
}

// MTUError says that frames of the interface, or of the other end of a veth pair,
// may be longer than the one page that a program without Config.Frags can have.
type MTUError struct {
	Interface string
	MTU       int // bytes, of the interface
	Max       int // bytes, what a page has room for
	Err       error
}

func (e *MTUError) Unwrap() error { return e.Err }

func (e *MTUError) Error() string {
	return fmt.Sprintf("%s has MTU %d, and without frames of several buffers a driver takes at most %d (a veth counts its peer's MTU): "+
		"set Config.Frags, or `ip link set dev %[1]s mtu %[3]d`, or ask for generic mode: %v", e.Interface, e.MTU, e.Max, e.Err)
}

// pageMTU is what one page leaves for an IP packet: the kernel takes
// XDP_PACKET_HEADROOM (256) and struct skb_shared_info (320 where a cache line
// has 64 bytes), and the frame an Ethernet header (14).
func pageMTU() int { return os.Getpagesize() - 256 - 320 - 14 }

// explain turns an errno of an attachment into what the user can do.
func (p *Program) explain(d *device, mode Mode, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		if now, readErr := readDevice(d.index); readErr == nil {
			d = now
		}
		d.describe()
		return &OccupiedError{Interface: d.name, Programs: d.xdp, Err: err}
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL) && mode == Native && !p.cfg.Frags && d.mtu > pageMTU():
		return &MTUError{Interface: d.name, MTU: d.mtu, Max: pageMTU(), Err: err}
	case errors.Is(err, unix.EOPNOTSUPP) && mode == Native && p.cfg.Frags:
		return fmt.Errorf("the driver has no native XDP for frames of several buffers: %w", err)
	case errors.Is(err, unix.EOPNOTSUPP) && mode == Native:
		return fmt.Errorf("the driver has no native XDP: %w", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no %v XDP for this interface: %w", mode, err)
	case errors.Is(err, unix.ENOSPC) && mode == Native:
		return fmt.Errorf("too few queues: a veth needs as many receive queues as its peer has transmit queues (`ethtool -L %s rx N`): %w", d.name, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %w", ErrNoInterface, err)
	}
	return permission(err)
}

// permission adds to an error of missing privilege what would mend it. EACCES is
// the verifier's, which lets a program without CAP_PERFMON move a packet pointer
// by constants only, and headers have variable lengths.
func permission(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	return fmt.Errorf("%w: needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (before Linux 5.8: root); "+
		"run as root, or `setcap cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw+ep` the binary, or test with `go test -exec sudo`", err)
}
