package proto

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

var (
	updateFlag = flag.Bool("update", false, "write golden files instead of comparing with them")
	gridFlag   = flag.Bool("grid", false, "run every cell of the goodput table, not a sample of them")
)

// A cell is one path of the goodput table.
type cell struct {
	rate  int64 // bits a second
	rtt   time.Duration
	queue float64 // at the bottleneck, in what the path itself holds
	loss  float64 // in both directions
	shake bool    // 1 % of the packets late by a tenth of the round trip, at least a millisecond, and 1 % twice
}

func (c cell) name() string {
	shake := "steady"
	if c.shake {
		shake = "shaken"
	}
	return fmt.Sprintf("%3d Mbit/s %5v queue %4d loss %3v%% %s", c.rate/mbit, c.rtt, c.packets(), c.loss*100, shake)
}

// packets is how many the queue holds. One that is shorter than a burst measures nothing else.
func (c cell) packets() int {
	const frame, least = 1514, 20
	return max(least, int(c.queue*float64(c.rate)/8/frame*c.rtt.Seconds()))
}

func (c cell) trouble() trouble {
	p := trouble{Rate: c.rate, Delay: c.rtt / 2, QueuePackets: c.packets(), Loss: c.loss}
	if c.shake {
		p.Reorder, p.ReorderDelay = 0.01, max(time.Millisecond, c.rtt/10)
		p.Duplicate = 0.01
	}
	return p
}

func cells() (all []cell) {
	for _, rate := range []int64{10 * mbit, 100 * mbit} {
		for _, rtt := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond} {
			for _, queue := range []float64{0.25, 1} {
				for _, loss := range []float64{0, 0.001, 0.01, 0.03} {
					for _, shake := range []bool{false, true} {
						all = append(all, cell{rate, rtt, queue, loss, shake})
					}
				}
			}
		}
	}
	return all
}

// span is for how long a transfer runs: longer where windows take longer to grow.
func (c cell) span() time.Duration {
	switch {
	case c.rtt > 100*time.Millisecond:
		return 20 * time.Second
	case c.rate > 50*mbit:
		return 5 * time.Second
	}
	return 10 * time.Second
}

// seeds is how many runs the median is of. Which packets are lost, or late, decides much in a few seconds: at 10 % on a short
// path the least and the most of 24 runs differ by the factor of five, at 100 Mbit/s and 60 ms, shaken and without a loss, by
// nearly two.
func (c cell) seeds() uint64 {
	if c.loss > 0 || c.shake {
		return 5
	}
	return 1
}

// goodput runs one transfer for a time and returns bits a second that the program got.
func (c cell) goodput(t *testing.T, seed uint64) (bits float64, stats tcp.Stats) {
	s := newSim(t, seed, c.trouble(), tcp.Params{}, nil)
	k := s.listen(s.b, s.a, 80).dial(-1, 0)
	start := s.now()
	for range 20 {
		s.pass(c.span() / 20)
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

// line is the cell's line of the table, and the share of what the path allows.
func (c cell) line(t *testing.T, seed uint64) (line string, share float64) {
	var runs []float64
	var again, timeouts uint64
	for i := range c.seeds() {
		bits, stats := c.goodput(t, seed+i*1000)
		runs = append(runs, bits)
		again += stats.Retransmits
		timeouts += stats.Timeouts
	}
	slices.Sort(runs)
	bits := runs[len(runs)/2]
	share = bits / c.allows()
	return fmt.Sprintf("%s: %6.2f Mbit/s, %3.0f%% of what it allows, sent again %d, timeouts %d",
		c.name(), bits/mbit, share*100, again/c.seeds(), timeouts), share
}

// allows is what a path has room for, in bits a second of the program's: its rate less
// the headers of full segments with timestamps, and where packets are lost at random what is left
// to a sender that takes each loss for congestion, in the long run: CUBIC's response function (RFC 9438
// §5.1 equation 5) or that of a Reno-friendly sender, whichever is more.
func (c cell) allows() float64 {
	const mss, frame = 1448, 1514
	room := float64(c.rate) * mss / frame
	if c.loss == 0 {
		return room
	}
	rtt := c.rtt.Seconds() + frame*8/float64(c.rate)
	window := max(1.054*math.Pow(rtt/c.loss, 0.75), math.Sqrt(1.5/c.loss))
	return min(room, window*mss*8/rtt)
}

// TestGoodput: what a transfer gets of each path is as it was, or somebody looks at the difference:
// go test ./proto -run TestGoodput -update. The first seconds of slow start are in it. Without -grid it
// is a sample of the cells.
func TestGoodput(t *testing.T) {
	golden := filepath.Join("testdata", "goodput.txt")
	want, err := os.ReadFile(golden)
	if err != nil && !*updateFlag {
		t.Fatal(err)
	}
	every := 9 // meets each loss, round trip, rate, queue and shake
	switch {
	case *gridFlag, *updateFlag:
		every = 1
	case testing.Short():
		every = 27
	}
	var table bytes.Buffer
	for i, c := range cells() {
		if i%every != 0 {
			continue
		}
		line, share := c.line(t, uint64(i))
		fmt.Fprintln(&table, line)
		if floor := c.floor(); share < floor {
			t.Errorf("%s: less than %.0f%%", line, floor*100)
		}
		// Other processors round CUBIC's cube in other ways.
		if !*updateFlag && runtime.GOARCH == "amd64" && *seedFlag == 0 && !strings.Contains(string(want), line+"\n") {
			t.Errorf("%s has another line (-update, if this one is better):\n%s\n%s", golden, lineOf(string(want), c.name()), line)
		}
	}
	if *updateFlag {
		if err := os.WriteFile(golden, table.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// lineOf returns the line of a table that begins with name.
func lineOf(table, name string) string {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, name) {
			return strings.TrimSpace(line)
		}
	}
	return "(none)"
}

// floor is the least share of what a path allows that is not a bug. That packets come late or twice costs
// next to nothing (RFC 8985 §6.2 step 4, RFC 2883). In the time of one cell a window of a long path hardly grows.
func (c cell) floor() float64 {
	switch {
	case c.rtt > 100*time.Millisecond:
		return 0.2
	case c.loss > 0, c.rtt > 20*time.Millisecond:
		return 0.45
	}
	return 0.6
}
