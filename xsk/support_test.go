package xsk

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What a kernel has is known by its number, where it was not built without.
func TestAsk(t *testing.T) {
	s, err := Ask()
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name         string
		err          error
		major, minor int
		no           unix.Errno // of older kernels
	}{
		{"XDP_USE_SG", s.MultiBuffer, 6, 6, unix.EINVAL},
		{"SO_PREFER_BUSY_POLL", s.BusyPoll, 5, 11, unix.ENOPROTOOPT},
		{"XDP_MAX_TX_SKB_BUDGET", s.TxBudget, 6, 17, unix.ENOPROTOOPT},
	} {
		t.Run(f.name, func(t *testing.T) {
			if f.err != nil && !errors.Is(f.err, f.no) {
				t.Errorf("%v", f.err)
			}
			needLinux(t, f.major, f.minor)
			if f.err != nil {
				t.Errorf("this kernel has it: %v", f.err)
			}
		})
	}
}
