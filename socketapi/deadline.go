package socketapi

import (
	"sync/atomic"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
)

// deadline is a moment after which calls in one direction fail, as net.Conn has it. It
// may be moved while they wait.
type deadline struct{ at atomic.Int64 } // mono.Time; 0: none

func (d *deadline) time() mono.Time {
	if at := d.at.Load(); at != 0 {
		return mono.Time(at)
	}
	return mono.Never
}

// passed says whether calls fail without trying: net.Conn wants that of a deadline in
// the past even where there is something to read.
func (d *deadline) passed(clock engine.Clock) bool {
	at := d.at.Load()
	return at != 0 && mono.Time(at).Due(clock.Now())
}

// set makes t the deadline; the zero time is none.
func (d *deadline) set(t time.Time, clock engine.Clock) {
	if t.IsZero() {
		d.at.Store(0)
		return
	}
	// A deadline in the past is due now, and 0 is taken. No clock is needed for time.Unix(1, 0), by which net/http ends
	// a read in each request.
	if t.Unix() == 1 {
		d.at.Store(1)
		return
	}
	d.at.Store(int64(max(clock.Now().Add(time.Until(t)), 1)))
}
