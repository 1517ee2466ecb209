package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Ask is nil where the kernel has programs for frames of several buffers (Config.Frags, Linux 5.18). It
// loads one that does nothing, beside one of the plain kind: ErrFrags if only that is had.
func Ask() error {
	err := askLoad(unix.BPF_F_XDP_HAS_FRAGS)
	if err != nil && errors.Is(err, unix.EINVAL) && askLoad(0) == nil {
		return fmt.Errorf("%w (%w)", ErrFrags, err)
	}
	return permission(err)
}

func askLoad(flags uint32) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "MIT", Flags: flags,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	if err != nil {
		return err
	}
	return p.Close()
}
