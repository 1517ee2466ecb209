package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestScoreboardModel compares runs with one fate for each number.
func TestScoreboardModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		base := wire.SeqOf(rng.Uint32())
		una, nxt := 0, 0
		model := map[int]fate{}
		f := &flight{}
		c := &Conn{t: &TCP{}, flight: f}
		for step := range 400 {
			switch rng.IntN(8) {
			case 0, 1:
				n := 1 + rng.IntN(50)
				c.fly(base.Add(nxt), n, mono.Time(step/3))
				nxt += n
			case 2:
				if nxt > una {
					from := una + rng.IntN(nxt-una)
					to := from + 1 + rng.IntN(nxt-from)
					want := 0
					for i := from; i < to; i++ {
						if model[i]&sacked == 0 {
							want++
							model[i] = model[i]&twice | sacked
						}
					}
					var d delivery
					f.sack(&d, base.Add(from), base.Add(to))
					if d.sacked != want {
						t.Fatalf("seed %d: sack says %d are new, want %d", seed, d.sacked, want)
					}
				}
			case 3:
				if nxt > una {
					limit := una + rng.IntN(nxt-una+1)
					f.lose(base.Add(limit), 1)
					for i := una; i < limit; i++ {
						if model[i]&(sacked|lost) == 0 {
							model[i] = model[i]&^again | lost
						}
					}
				}
			case 4:
				first := -1
				for i := una; i < nxt && first < 0; i++ {
					if model[i]&(lost|again) == lost {
						first = i
					}
				}
				r := f.nextLost()
				if (r == nil) != (first < 0) || r != nil && r.start != base.Add(first) {
					t.Fatalf("seed %d: nextLost is %v, want %d", seed, r, first)
				}
				if r != nil {
					n := 1 + rng.IntN(r.len())
					f.resend(n, mono.Time(step))
					for i := first; i < first+n; i++ {
						model[i] |= again | twice
					}
				}
			case 5:
				if nxt > una {
					to := una + rng.IntN(nxt-una+1)
					f.ackTo(&delivery{}, base.Add(to))
					for ; una < to; una++ {
						delete(model, una)
					}
				}
				if rng.IntN(10) == 0 {
					reneged := rng.IntN(2) == 0
					f.loseAll(reneged, 0, 1e9)
					for i := una; i < nxt; i++ {
						if reneged {
							model[i] &^= sacked
						}
						if model[i]&sacked == 0 {
							model[i] = model[i]&twice | lost
						}
					}
				}
			case 6:
				if nxt > una && model[nxt-1]&sacked == 0 {
					n := 1
					for n < 20 && nxt-n > una && model[nxt-n-1] == model[nxt-1] {
						n++
					}
					if last := f.runs[len(f.runs)-1]; n > last.len() {
						n = last.len()
					}
					f.resendTail(n, mono.Time(step))
					for i := nxt - n; i < nxt; i++ {
						model[i] |= again | twice
					}
				}
			case 7:
				if rng.IntN(5) == 0 {
					f.unlose()
					for i := una; i < nxt; i++ {
						model[i] &^= lost
					}
				}
			}
			checkFlight(t, seed, f, model, base, una, nxt)
		}
	}
}

func checkFlight(t *testing.T, seed uint64, f *flight, model map[int]fate, base wire.Seq, una, nxt int) {
	t.Helper()
	at := una
	var sum flight
	for _, r := range f.runs[f.head:] {
		if r.start != base.Add(at) {
			t.Fatalf("seed %d: a run starts at %d, want %d", seed, r.start.Sub(base), at)
		}
		for ; base.Add(at) != r.end; at++ {
			if model[at] != r.is {
				t.Fatalf("seed %d: number %d has fate %b, want %b", seed, at, r.is, model[at])
			}
			sum.count(model[at], 1)
		}
	}
	if at != nxt || sum.sacked != f.sacked || sum.lost != f.lost || sum.again != f.again {
		t.Fatalf("seed %d: runs end at %d of %d, sums %d %d %d, want %d %d %d", seed, at, nxt, f.sacked, f.lost, f.again, sum.sacked, sum.lost, sum.again)
	}
}
