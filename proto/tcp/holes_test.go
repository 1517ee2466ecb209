package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestHolesModel compares spans with a set of numbers.
func TestHolesModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		base := wire.SeqOf(rng.Uint32())
		have := map[int]bool{}
		nxt := 0
		h := &holes{}
		for range 200 {
			from := nxt + 1 + rng.IntN(300)
			to := from + 1 + rng.IntN(40)
			if rng.IntN(8) == 0 {
				h.add(span{base.Add(from), base.Add(to)})
				for i := from; i < to; i++ {
					have[i] = true
				}
				var out [wire.SACKBlocksMax][2]wire.Seq
				if n := h.blocks(&out); n == 0 || out[0][0].After(base.Add(from)) || out[0][1].Before(base.Add(to)) {
					t.Fatalf("seed %d: the first block %v is not the newest segment's %d-%d", seed, out[:n], from, to)
				} else {
					for i, b := range out[:n] {
						for _, o := range out[:i] {
							if o == b {
								t.Fatalf("seed %d: block %v twice", seed, b)
							}
						}
					}
				}
			} else {
				nxt += rng.IntN(30)
				for have[nxt] {
					nxt++
				}
				if got := h.fill(base.Add(nxt)); got.Sub(base) != nxt {
					t.Fatalf("seed %d: fill goes to %d, want %d", seed, got.Sub(base), nxt)
				}
			}
			n := 0
			for _, s := range h.spans {
				n += s.end.Sub(s.start)
				for i := s.start.Sub(base); i < s.end.Sub(base); i++ {
					if !have[i] {
						t.Fatalf("seed %d: %d is in a span and did not come", seed, i)
					}
				}
			}
			for i := range have {
				if i < nxt {
					delete(have, i)
				}
			}
			if n != len(have) {
				t.Fatalf("seed %d: spans have %d numbers, want %d", seed, n, len(have))
			}
		}
	}
}
