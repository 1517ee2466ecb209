package mono

import (
	"testing"
	"time"
)

func TestNeverStaysNever(t *testing.T) {
	for _, tc := range []struct {
		t    Time
		d    time.Duration
		want Time
	}{
		{Never, time.Second, Never},
		{Never, -time.Second, Never},
		{Never - 1, 2, Never}, // would wrap
		{5, 3, 8},
		{5, -3, 2},
	} {
		if got := tc.t.Add(tc.d); got != tc.want {
			t.Errorf("%d.Add(%d) = %d, want %d", tc.t, tc.d, got, tc.want)
		}
	}
	if !Time(3).Due(3) || Time(4).Due(3) || Never.Due(Never-1) {
		t.Error("a deadline is due from its moment on")
	}
	if !Time(2).Before(3) || Time(3).Before(3) || Time(9).Sub(4) != 5 {
		t.Error("order or difference")
	}
}
