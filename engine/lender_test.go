package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/xdpsock/xdpsock/proto/simnet"
)

// TestLenderKeepAndForward has B keep what arrives and send it back in place of
// reserved frames, as l2fwd does.
func TestLenderKeepAndForward(t *testing.T) {
	a, b, _ := wirePair(t, simnet.Config{})
	put(a, "1", "2", "3", "4")
	in, out := make([]Frame, 4), make([]Frame, 4)
	if n := b.Peek(in); n != 4 {
		t.Fatalf("%d frames", n)
	}
	in[1].Keep()
	in[2].Keep()
	kept1, kept2 := in[1], in[2]
	b.Release(in)
	put(a, "overwrites what was released", "twice")
	get(b)
	if string(kept1.Data) != "2" || string(kept2.Data) != "3" {
		t.Fatalf("kept frames now hold %q and %q", kept1.Data, kept2.Data)
	}
	r := b.Reserve(out)
	out[0].Data = out[0].Data[:copy(out[0].Data, "first")]
	out[1] = kept1
	out[2].Data = out[2].Data[:copy(out[2].Data, "third")]
	b.Submit(out[:3], r)
	b.Free(kept2)
	if got := fmt.Sprint(get(a)); got != "[first 2 third]" {
		t.Errorf("%s", got)
	}
	checkLender(t, &b.lender, 0)
}

// TestLenderBooks does everything at random and counts the frames after each step.
func TestLenderBooks(t *testing.T) {
	var l lender
	l.init(64, 64)
	rng := rand.New(rand.NewPCG(1, 2))
	var kept []Frame
	frames := make([]Frame, 48)
	for step := range 4000 {
		switch rng.IntN(5) {
		case 0: // Peek, Release
			n := l.peekRoom(rng.IntN(len(frames)))
			for i := range n {
				frames[i] = l.take(l.rx.memory(l.rx.top(0))[:1])
			}
			for i := range n {
				if len(kept) < lenderKeepMax && rng.IntN(3) == 0 {
					frames[i].Keep()
					kept = append(kept, frames[i])
				}
			}
			l.Release(frames[:n])
		case 1, 2: // Reserve, perhaps Submit
			r := l.Reserve(frames[:rng.IntN(len(frames))])
			seen := map[uint64]bool{}
			for _, f := range frames[:r] {
				if seen[f.Handle] {
					t.Fatalf("step %d: Reserve shows a frame twice", step)
				}
				seen[f.Handle] = true
			}
			if rng.IntN(4) == 0 {
				break
			}
			m := rng.IntN(r + 1)
			for i := range m {
				if len(kept) > 0 && rng.IntN(3) == 0 {
					frames[i] = kept[len(kept)-1]
					kept = kept[:len(kept)-1]
				}
			}
			l.submit(frames[:m])
		case 3: // the kernel takes some
			if n := len(l.waiting()); n > 0 {
				l.sent(rng.IntN(min(n, 16) + 1))
			}
			l.settle()
			if l.Unsent() != (len(l.waiting()) > 0) {
				t.Fatalf("step %d: Unsent is wrong", step)
			}
		case 4:
			if len(kept) > 0 {
				f := kept[0]
				kept = kept[1:]
				l.Free(f)
				l.Free(f) // a handler that gives back twice harms nobody
			}
		}
		checkLender(t, &l, len(kept))
	}
	if l.stats.txNoFrame.Load() == 0 {
		t.Error("the run never came to the end of the frames")
	}
}

// checkLender counts: every frame is in exactly one place.
func checkLender(t *testing.T, l *lender, kept int) {
	t.Helper()
	seen := map[uint64]int{}
	for _, n := range l.rx.free {
		seen[uint64(n)]++
	}
	for _, n := range l.tx.free {
		seen[uint64(n)|txHandle]++
	}
	for _, o := range l.waiting() {
		seen[o.handle]++
	}
	for handle, times := range seen {
		if times != 1 {
			t.Fatalf("frame %#x is in %d places", handle, times)
		}
	}
	if all := len(l.rx.inUse) + len(l.tx.inUse); len(seen)+kept != all {
		t.Fatalf("%d frames accounted for and %d kept, of %d", len(seen), kept, all)
	}
}
