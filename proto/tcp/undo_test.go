package tcp

import (
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// RFC 3708 §3: what the network repeats is no proof that a repair was needless. A path that loses one packet of a
// thousand and repeats one of a hundred leaves the reductions as they are.
func TestNetworkDuplicatesTakeNothingBack(t *testing.T) {
	w := newWorld(t, 3, Params{})
	w.check = false
	w.rate, w.queue, w.dup, w.delay = 5e6, 1<<20, 0.01, 10*time.Millisecond
	data := 0
	w.drop = func(h *host, seg wire.TCP) bool {
		if h == w.a && len(seg.Payload()) > 0 {
			data++
			return data%1000 == 0
		}
		return false
	}
	ca, cb := w.connect()
	f := &flow{w: w, src: ca, dst: cb, size: 1 << 40, chunk: 1 << 16, readEach: 1 << 16}
	w.work = f.pump
	w.run(10 * time.Second)
	if s := w.a.tcp.Stats(); s.FastRecoveries < 10 || s.Undos*10 > s.FastRecoveries { // the repair itself may be what is repeated
		t.Errorf("%d recoveries, %d taken back, %d duplicates of ours", s.FastRecoveries, s.Undos, s.DSACKs)
	}
}

// A duplicate counts once for each time that it was sent again, in whatever pieces it is told, and the record of it is
// not the peer's to make long.
func TestCopiesAreCounted(t *testing.T) {
	at := func(from, to int) span { return span{wire.SeqOf(uint32(from)), wire.SeqOf(uint32(to))} }
	u := &repair{}
	for _, s := range []span{at(0, 1000), at(1000, 2000), at(5000, 6000), at(5000, 6000)} {
		u.copy(s)
	}
	for _, c := range []struct {
		dup  span
		ours bool
		left int
	}{
		{at(2000, 5000), false, 3}, {at(400, 600), true, 4}, {at(400, 600), false, 4}, {at(0, 2000), true, 2},
		{at(600, 2000), false, 2}, {at(5000, 6000), true, 1}, {at(4000, 7000), true, 0}, {at(5000, 6000), false, 0},
	} {
		if ours := u.duplicate(c.dup); ours != c.ours || len(u.again) != c.left {
			t.Fatalf("%v: %v, %v left", c.dup, ours, u.again)
		}
	}
	u.copy(at(0, 100000))
	for i := 1; i < 100000; i += 2 {
		u.duplicate(at(i, i+1))
	}
	if len(u.again) > copiesMax || !u.blind {
		t.Errorf("%d pieces, blind %v", len(u.again), u.blind)
	}
}
