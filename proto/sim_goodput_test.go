package proto

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

var updateFlag = flag.Bool("update", false, "write golden files instead of comparing with them")

// A cell is one path of the goodput table.
type cell struct {
	rate  int64 // bits a second
	delay time.Duration
	queue int     // packets at the bottleneck
	loss  float64 // in both directions
	shake bool    // 1 % of the packets late by a millisecond or a tenth of the delay, 1 % twice
}

func (c cell) name() string {
	shake := "steady"
	if c.shake {
		shake = "shaken"
	}
	return fmt.Sprintf("%3d Mbit/s %6v queue %3d loss %2.0f%% %s", c.rate/mbit, c.delay, c.queue, c.loss*100, shake)
}

func (c cell) trouble() trouble {
	p := trouble{Rate: c.rate, Delay: c.delay, QueuePackets: c.queue, Loss: c.loss}
	if c.shake {
		p.Reorder, p.ReorderDelay = 0.01, max(time.Millisecond, c.delay/10)
		p.Duplicate = 0.01
	}
	return p
}

func cells() (all []cell) {
	for _, rate := range []int64{10 * mbit, 100 * mbit} {
		for _, delay := range []time.Duration{50 * time.Microsecond, 10 * time.Millisecond, 60 * time.Millisecond} {
			for _, queue := range []int{20, 200} {
				for _, loss := range []float64{0, 0.01, 0.03, 0.1} {
					for _, shake := range []bool{false, true} {
						all = append(all, cell{rate, delay, queue, loss, shake})
					}
				}
			}
		}
	}
	return all
}

// goodput runs one transfer for a time and returns bits a second that the program got, and how
// many segments were sent again.
func (c cell) goodput(t *testing.T, seed uint64) (bits float64, stats tcp.Stats) {
	s := newSim(t, seed, c.trouble(), tcp.Params{}, nil)
	k := s.listen(s.b, s.a, 80).dial(-1, 0)
	span := 10 * time.Second
	if c.rate > 50*mbit {
		span = 4 * time.Second
	}
	start := s.now()
	for range 20 {
		s.pass(span / 20)
		k.check(s.now())
	}
	bits = float64(k.server.in.off) * 8 / s.now().Sub(start).Seconds()
	stats = s.a.TCP.Stats()
	k.client.size = k.client.out.off
	k.server.want = -1
	k.client.run(s.now())
	s.until(10*time.Minute, "the rest", k.over)
	if k.server.in.off != k.client.out.off {
		t.Errorf("%s: %d of %d bytes arrived", c.name(), k.server.in.off, k.client.out.off)
	}
	return bits, stats
}

// allows is what a path has room for, in bits a second of the program's: its rate less
// the headers of full segments with timestamps, and where packets are lost at random what is left
// to a sender that takes each loss for congestion (Mathis et al. 1997, equation 3).
func (c cell) allows() float64 {
	const mss, frame = 1448, 1514
	room := float64(c.rate) * mss / frame
	if c.loss == 0 {
		return room
	}
	rtt := (2 * c.delay).Seconds() + frame*8/float64(c.rate)
	return min(room, math.Sqrt(1.5/c.loss)*mss*8/rtt)
}

// TestGoodput: what a transfer gets of each path is as it was, or somebody looks at the difference:
// go test ./proto -run TestGoodput -update. The first seconds of slow start are in it.
func TestGoodput(t *testing.T) {
	golden := filepath.Join("testdata", "goodput.txt")
	want, err := os.ReadFile(golden)
	if err != nil && !*updateFlag {
		t.Fatal(err)
	}
	var table bytes.Buffer
	for i, c := range cells() {
		if testing.Short() && i%19 != 0 {
			continue
		}
		bits, stats := c.goodput(t, uint64(i))
		share := bits / c.allows()
		line := fmt.Sprintf("%s: %6.2f Mbit/s, %3.0f%% of what it allows, sent again %d, timeouts %d",
			c.name(), bits/mbit, share*100, stats.Retransmits, stats.Timeouts)
		fmt.Fprintln(&table, line)
		if floor := c.floor(); share < floor {
			t.Errorf("%s: less than %.0f%%", line, floor*100)
		}
		if testing.Short() && runtime.GOARCH == "amd64" && *seedFlag == 0 && !strings.Contains(string(want), line+"\n") {
			t.Errorf("not in %s: %s", golden, line)
		}
	}
	switch {
	case testing.Short():
	case *updateFlag:
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, table.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	case *seedFlag != 0, runtime.GOARCH != "amd64":
		t.Logf("\n%s", table.Bytes()) // other processors round CUBIC's cube in other ways
	case !bytes.Equal(table.Bytes(), want):
		t.Errorf("another table than %s (-update, if it is better):\n%s", golden, diffLines(string(want), table.String()))
	}
}

// floor is the least share of what a path allows that is not a bug. A loss of 10 % is waited out by timeouts;
// and in the time of one cell a window of 60 ms hardly grows. That packets come late or twice costs
// next to nothing (RFC 8985 §6.2 step 4, RFC 2883).
func (c cell) floor() float64 {
	switch {
	case c.loss > 0.05, c.delay > 20*time.Millisecond:
		return 0
	case c.loss > 0:
		return 0.6
	}
	return 0.5
}

// diffLines returns the lines that differ.
func diffLines(old, new string) string {
	var b strings.Builder
	a, z := strings.Split(old, "\n"), strings.Split(new, "\n")
	for i := range max(len(a), len(z)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(z) {
			y = z[i]
		}
		if x != y {
			fmt.Fprintf(&b, "- %s\n+ %s\n", x, y)
		}
	}
	return b.String()
}
