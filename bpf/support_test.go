package bpf

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// The small program has the answer of the real one.
func TestAsk(t *testing.T) {
	err := Ask()
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	p, loadErr := Load(Config{Queues: 1, Frags: true})
	if loadErr == nil {
		p.Close()
	}
	if (err == nil) != (loadErr == nil) || errors.Is(err, ErrFrags) != errors.Is(loadErr, ErrFrags) {
		t.Errorf("asked: %v; loaded: %v", err, loadErr)
	}
	if linux(t, 5, 18) && err != nil {
		t.Errorf("this kernel has it: %v", err)
	}
}
