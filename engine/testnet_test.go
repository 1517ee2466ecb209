package engine

import (
	"testing"
	"time"
)

// waitFor turns until cond holds, sleeping in the device meanwhile.
func waitFor(t *testing.T, dev Device, what string, cond func() bool) {
	t.Helper()
	end := SystemClock.Now().Add(30 * time.Second)
	for !cond() {
		if end.Due(SystemClock.Now()) {
			t.Fatalf("%s: not within half a minute; %+v, %v", what, dev.Stats(), dev.Err())
		}
		dev.Wait(SystemClock.Now().Add(50 * time.Millisecond))
	}
}

// next returns a copy of the next frame that match likes; others are given back.
func next(t *testing.T, dev Device, what string, match func([]byte) bool) (got []byte) {
	t.Helper()
	frames := make([]Frame, 8)
	waitFor(t, dev, what, func() bool {
		n := dev.Peek(frames)
		for _, f := range frames[:n] {
			if got == nil && match(f.Data) {
				got = append([]byte{}, f.Data...)
			}
		}
		dev.Release(frames[:n])
		return got != nil
	})
	return got
}

// sendFrames sends copies of them, as many at once as the device has room for.
func sendFrames(t *testing.T, dev Device, packets ...[]byte) {
	t.Helper()
	frames := make([]Frame, 64)
	waitFor(t, dev, "room to send", func() bool {
		r := dev.Reserve(frames[:min(len(frames), max(len(packets), 1))])
		m := min(r, len(packets))
		for i, p := range packets[:m] {
			frames[i].Data = frames[i].Data[:copy(frames[i].Data, p)]
			if len(frames[i].Data) != len(p) {
				t.Fatalf("%d bytes have no room", len(p))
			}
		}
		dev.Submit(frames[:m], r)
		packets = packets[m:]
		return len(packets) == 0 && !dev.Unsent()
	})
}
