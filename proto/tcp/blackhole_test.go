package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// RFC 4821: a path that drops what is longer than it says is survived with tcp_mtu_probing, and then its MTU is found.
// Without it the connection is stuck.
func TestRFC4821_BlackHole(t *testing.T) {
	for _, c := range []struct {
		mode, longest int // payload
	}{{0, 1200}, {1, 1200}, {2, 1200}, {1, 400}, {2, 1448}} {
		w := newWorld(t, 5, Params{MTUProbing: c.mode})
		w.drop = func(_ *host, seg wire.TCP) bool { return len(seg.Payload()) > c.longest }
		ca, cb := w.connect()
		f := &flow{w: w, src: ca, dst: cb, size: 4 << 20, chunk: 1 << 16, readEach: 1 << 16}
		w.work = f.pump
		w.run(3 * time.Minute)
		if c.mode == 0 {
			if f.read != 0 {
				t.Errorf("without probing %d bytes came through", f.read)
			}
			continue
		}
		if f.read != f.size {
			t.Errorf("mode %d, %d: %d of %d bytes came through; %+v", c.mode, c.longest, f.read, f.size, ca.rare)
		}
		// Probes are of steps that end within tcp_probe_threshold.
		if got := ca.sendMSS(); got > c.longest || got < c.longest-2*8 {
			t.Errorf("mode %d: segments of %d are sent where %d pass; %+v", c.mode, got, c.longest, ca.rare)
		}
	}
}

// A probe that is lost is no sign of congestion: the window does not shrink.
func TestRFC4821_7_4_LostProbe(t *testing.T) {
	w := newWorld(t, 5, Params{MTUProbing: 2})
	lost := 0
	w.drop = func(_ *host, seg wire.TCP) bool {
		if len(seg.Payload()) > 1100 {
			lost++
			return true
		}
		return false
	}
	ca, cb := w.connect()
	f := &flow{w: w, src: ca, dst: cb, size: 4 << 20, chunk: 1 << 16, readEach: 1 << 16}
	w.work = f.pump
	w.run(time.Minute)
	if s := w.a.tcp.Stats(); lost == 0 || s.FastRecoveries > 0 || s.Timeouts > 0 || f.read != f.size {
		t.Errorf("%d probes were lost: %d recoveries, %d timeouts, %d bytes arrived", lost, s.FastRecoveries, s.Timeouts, f.read)
	}
}
