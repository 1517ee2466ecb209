package engine

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// A kernel that is new enough lacks nothing; what an older one lacks has a reason.
func TestKernelFeatures(t *testing.T) {
	netlab.RequireRoot(t)
	for _, f := range KernelFeatures() {
		if errors.Is(f.Err, unix.EPERM) {
			t.Errorf("%s: root may: %v", f.Name, f.Err)
		}
		if f.Name == "" || f.Since == "" || f.Without == "" {
			t.Errorf("%+v", f)
		}
	}
	netlab.NeedLinux(t, 6, 8)
	for _, f := range KernelFeatures() {
		if f.Err != nil {
			t.Errorf("%s: %v", f.Name, f.Err)
		}
	}
}
