package simnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/xdpsock/xdpsock/proto/mono"
)

func mustWire(t testing.TB, clock *Clock, c Config) *Wire {
	t.Helper()
	w, err := NewWire(clock, c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// numbered is a frame of that length which carries its number.
func numbered(n, frameLen int) []byte {
	f := make([]byte, frameLen)
	binary.BigEndian.PutUint32(f, uint32(n))
	return f
}

// arrived moves the clock from arrival to arrival and says which frames came and when.
func arrived(t testing.TB, e *End) (numbers []int, times []time.Duration) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for e.Next() != mono.Never {
		e.Clock().MoveTo(e.Next())
		for {
			n, ok := e.Recv(buf)
			if !ok {
				break
			}
			if n >= 4 {
				numbers = append(numbers, int(binary.BigEndian.Uint32(buf)))
			}
			times = append(times, time.Duration(e.Clock().Now()))
		}
	}
	return numbers, times
}

func TestPerfectWire(t *testing.T) {
	clock := &Clock{}
	w := mustWire(t, clock, Config{})
	frame := []byte("hello")
	if !w.A.Send(frame) {
		t.Fatal("dropped")
	}
	frame[0] = 'j' // Send has copied it
	if w.A.Ready() || !w.B.Ready() {
		t.Fatal("it should have arrived at B, at once, and only there")
	}
	buf := make([]byte, 3)
	if n, ok := w.B.Recv(buf); !ok || n != 5 || string(buf) != "hel" {
		t.Fatalf("%d, %v, %q", n, ok, buf)
	}
	if _, ok := w.B.Recv(buf); ok {
		t.Fatal("it came twice")
	}
	w.B.Send(nil)
	if n, ok := w.A.Recv(buf); !ok || n != 0 {
		t.Fatalf("an empty frame: %d, %v", n, ok)
	}
	if s := w.A.Stats(); s != (Stats{Sent: 1, SentBytes: 5, Delivered: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestDelayAndRate(t *testing.T) {
	// 1250 bytes at 10 Mbit/s take 1 ms; then 20 ms to the other end.
	w := mustWire(t, &Clock{}, Config{AtoB: Impairment{Rate: 10_000_000, Delay: 20 * time.Millisecond}})
	for i := range 3 {
		w.A.Send(numbered(i, 1250))
	}
	_, times := arrived(t, w.B)
	want := []time.Duration{21 * time.Millisecond, 22 * time.Millisecond, 23 * time.Millisecond}
	if !slices.Equal(times, want) {
		t.Errorf("arrivals %v, want %v", times, want)
	}
	w.B.Send(numbered(9, 60)) // the other direction is not impaired
	if !w.A.Ready() {
		t.Error("the way back has a delay that nobody asked for")
	}
}

func TestQueueDropsAtItsTail(t *testing.T) {
	for _, row := range []struct {
		name string
		imp  Impairment
		want int
	}{
		{"packets", Impairment{Rate: 8_000_000, QueuePackets: 10}, 10},
		{"bytes", Impairment{Rate: 8_000_000, QueueBytes: 5500}, 5},
		{"default", Impairment{Rate: 8_000_000}, queuePacketsDefault},
	} {
		clock := &Clock{}
		w := mustWire(t, clock, Config{AtoB: row.imp})
		sent := row.want + 7
		for i := range sent {
			if got := w.A.Send(numbered(i, 1000)); got != (i < row.want) {
				t.Fatalf("%s: frame %d taken: %v", row.name, i, got)
			}
		}
		clock.MoveTo(mono.Time(time.Millisecond)) // one frame has left
		if !w.A.Send(numbered(sent, 1000)) || w.A.Send(numbered(sent+1, 1000)) {
			t.Errorf("%s: want room for exactly one more", row.name)
		}
		numbers, _ := arrived(t, w.B)
		if len(numbers) != row.want+1 || w.A.Stats().QueueFull != 8 {
			t.Errorf("%s: %d arrived, %+v", row.name, len(numbers), w.A.Stats())
		}
		if !w.A.Send(numbered(0, 1000)) {
			t.Errorf("%s: the queue should be empty", row.name)
		}
	}
}

// A queue that marks: frames that find so many waiting, those of a sender that understands it.
func TestQueueMarks(t *testing.T) {
	w := mustWire(t, &Clock{}, Config{AtoB: Impairment{Rate: 8_000_000, QueuePackets: 10, MarkPackets: 4, Mark: func(frame []byte) bool {
		if frame[len(frame)-1] == 0 {
			return false
		}
		frame[len(frame)-1] = 0xce
		return true
	}}})
	for i := range 8 {
		frame := numbered(i, 100)
		if frame[99] = 1; i == 6 {
			frame[99] = 0
		}
		w.A.Send(frame)
		if frame[99] == 0xce {
			t.Fatal("the sender's own bytes were written to")
		}
	}
	w.A.Clock().MoveTo(1e9)
	buf := make([]byte, 100)
	for i := range 8 {
		if n, ok := w.B.Recv(buf); !ok || n != 100 || (buf[99] == 0xce) != (i >= 4 && i != 6) {
			t.Errorf("frame %d: %v, last byte %#x", i, ok, buf[99])
		}
	}
	if got := w.A.Stats().Marked; got != 3 {
		t.Errorf("%d are counted as marked", got)
	}
}

func TestScriptedDrop(t *testing.T) {
	w := mustWire(t, &Clock{}, Config{AtoB: Impairment{Drop: DropNth(2, 5)}})
	for i := 1; i <= 6; i++ {
		w.A.Send(numbered(i, 60))
	}
	if numbers, _ := arrived(t, w.B); !slices.Equal(numbers, []int{1, 3, 4, 6}) {
		t.Errorf("arrived %v", numbers)
	}
	w.A.Impair(Impairment{Drop: func(n int, frame []byte) bool { return n == 7 != (frame[4] == 'x') }})
	w.A.Send(numbered(7, 60))
	x := numbered(8, 60)
	x[4] = 'x'
	w.A.Send(x)
	w.A.Send(numbered(9, 60))
	if numbers, _ := arrived(t, w.B); !slices.Equal(numbers, []int{9}) {
		t.Errorf("arrived %v", numbers)
	}
	if s := w.A.Stats(); s.Dropped != 4 || s.Delivered != 5 {
		t.Errorf("%+v", s)
	}
}

func TestMTU(t *testing.T) {
	tagged := func(n int, tags ...uint16) []byte {
		f := numbered(0, n)
		for i, tag := range tags {
			binary.BigEndian.PutUint16(f[12+4*i:], tag)
		}
		return f
	}
	for _, row := range []struct {
		frame []byte
		raw   bool
		want  bool
	}{
		{tagged(1514, 0x0800), false, true},
		{tagged(1515, 0x0800), false, false},
		{tagged(1518, 0x8100, 0x0800), false, true},
		{tagged(1519, 0x8100, 0x0800), false, false},
		{tagged(1522, 0x88a8, 0x8100, 0x0800), false, true},
		{tagged(1526, 0x8100, 0x8100, 0x8100), false, false},
		{tagged(1500), true, true},
		{tagged(1501), true, false},
		{make([]byte, 3), false, true},
	} {
		w := mustWire(t, &Clock{}, Config{RawIP: row.raw, AtoB: Impairment{MTU: 1500}})
		if got := w.A.Send(row.frame); got != row.want || w.B.Ready() != row.want || (w.A.Stats().Oversize == 1) == row.want {
			t.Errorf("%d bytes, raw %v: passed %v", len(row.frame), row.raw, got)
		}
	}
}

// TestChance checks every probability against its expectation, with a margin of five
// standard deviations; the seed is fixed, so it cannot fail by chance.
func TestChance(t *testing.T) {
	const n, p = 20_000, 0.1
	clock := &Clock{}
	w := mustWire(t, clock, Config{Seed: 7, AtoB: Impairment{
		Loss: p, Corrupt: p, Duplicate: p, Reorder: p, ReorderDelay: time.Millisecond,
		Delay: time.Millisecond, Jitter: 100 * time.Microsecond,
	}})
	zero := numbered(0, 64)
	flipped, received := 0, 0
	buf := make([]byte, 64)
	for range n {
		w.A.Send(zero)
		clock.MoveTo(clock.Now().Add(10 * time.Millisecond))
		for w.B.Ready() {
			w.B.Recv(buf)
			received++
			if !bytes.Equal(buf, zero) {
				bits := 0
				for _, b := range buf {
					for ; b != 0; b &= b - 1 {
						bits++
					}
				}
				if bits != 1 {
					t.Fatalf("%d bits were flipped", bits)
				}
				flipped++
			}
		}
	}
	s := w.A.Stats()
	near := func(name string, got uint64, of float64) {
		t.Helper()
		if margin := 5 * math.Sqrt(of*p*(1-p)); math.Abs(float64(got)-of*p) > margin {
			t.Errorf("%s: %d of %.0f, want %.0f ± %.0f", name, got, of, of*p, margin)
		}
	}
	passed := float64(n - s.Lost)
	near("lost", s.Lost, n)
	near("corrupted", s.Corrupted, passed)
	near("duplicated", s.Duplicated, passed)
	near("reordered", s.Reordered, passed)
	if received != int(n-s.Lost+s.Duplicated) || int(s.Delivered) != received {
		t.Errorf("received %d, %+v", received, s)
	}
	if flipped < int(s.Corrupted) {
		t.Errorf("%d corrupt frames arrived, %d were corrupted", flipped, s.Corrupted)
	}
}

func TestJitterKeepsOrderReorderDoesNot(t *testing.T) {
	send := func(imp Impairment) (numbers []int, times []time.Duration) {
		clock := &Clock{}
		w := mustWire(t, clock, Config{Seed: 3, AtoB: imp})
		for i := range 1000 {
			w.A.Send(numbered(i, 60))
			clock.MoveTo(clock.Now().Add(time.Microsecond))
		}
		return arrived(t, w.B)
	}
	numbers, times := send(Impairment{Delay: time.Millisecond, Jitter: time.Millisecond})
	if len(numbers) != 1000 || !slices.IsSorted(numbers) || !slices.IsSorted(times) {
		t.Error("jitter alone has changed the order")
	}
	if last := times[len(times)-1]; last < time.Millisecond || last > 3*time.Millisecond {
		t.Errorf("the last arrived at %v", last)
	}
	numbers, _ = send(Impairment{Delay: time.Millisecond, Reorder: 0.01, ReorderDelay: 50 * time.Microsecond})
	if len(numbers) != 1000 || slices.IsSorted(numbers) {
		t.Error("nothing was reordered")
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if i != n {
			t.Fatalf("frame %d is missing", i)
		}
	}
}

func TestKnobsAreIndependent(t *testing.T) {
	lost := func(imp Impairment) (missing []int) {
		w := mustWire(t, &Clock{}, Config{Seed: 11, AtoB: imp})
		for i := range 500 {
			if !w.A.Send(numbered(i, 60)) {
				missing = append(missing, i)
			}
		}
		return missing
	}
	plain := lost(Impairment{Loss: 0.05})
	if len(plain) == 0 {
		t.Fatal("nothing was lost")
	}
	if with := lost(Impairment{Loss: 0.05, Corrupt: 0.5, Duplicate: 0.5, Jitter: time.Second, Reorder: 0.5}); !slices.Equal(plain, with) {
		t.Errorf("lost %v, and with other impairments %v", plain, with)
	}
}

func TestBadConfig(t *testing.T) {
	for _, bad := range []Impairment{
		{Loss: -0.1}, {Loss: 1.1}, {Loss: math.NaN()}, {Corrupt: 2}, {Duplicate: -1}, {Reorder: 7},
		{MTU: -1}, {Rate: -1}, {QueueBytes: -1}, {QueuePackets: -1}, {MarkPackets: -1}, {Delay: -1}, {Jitter: -1}, {ReorderDelay: -1},
	} {
		if _, err := NewWire(&Clock{}, Config{AtoB: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
		if _, err := NewWire(&Clock{}, Config{BtoA: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestInFlightHasALimit(t *testing.T) {
	w := mustWire(t, &Clock{}, Config{AtoB: Impairment{Duplicate: 1}})
	for range inFlightMax {
		w.A.Send(nil)
	}
	if len(w.A.out.flight) != inFlightMax || w.A.Stats().QueueFull != inFlightMax/2 {
		t.Errorf("%d in flight, %+v", len(w.A.out.flight), w.A.Stats())
	}
}

func TestPcap(t *testing.T) {
	var file bytes.Buffer
	clock := &Clock{}
	pcap := NewPcap(&file, false)
	w := mustWire(t, clock, Config{Pcap: pcap, AtoB: Impairment{Drop: DropNth(2), Delay: time.Hour}})
	clock.MoveTo(mono.Time(3*time.Second + 7))
	w.A.Send(numbered(1, 60))
	w.A.Send(numbered(2, 60)) // lost, so not written
	clock.MoveTo(mono.Time(4*time.Second + 999_999_999))
	w.B.Send(numbered(3, 1514))
	if err := pcap.Err(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != linkTypeEthernet {
		t.Errorf("link type %v", r.LinkType())
	}
	for _, want := range []struct {
		number, frameLen int
		at               time.Duration
	}{{1, 60, 3*time.Second + 7}, {3, 1514, 4*time.Second + 999_999_999}} {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, numbered(want.number, want.frameLen)) || info.Length != want.frameLen ||
			info.Timestamp.UnixNano() != int64(want.at) {
			t.Errorf("frame %d: %d bytes at %d", binary.BigEndian.Uint32(data), len(data), info.Timestamp.UnixNano())
		}
	}
	if _, _, err := r.ReadPacketData(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}

	file.Reset()
	NewPcap(&file, true)
	if r, err := pcapgo.NewReader(&file); err != nil || r.LinkType() != linkTypeRaw {
		t.Errorf("raw: %v, %v", r, err)
	}
	broken := NewPcap(failing{}, false)
	mustWire(t, clock, Config{Pcap: broken}).A.Send(nil)
	if err := broken.Err(); !errors.Is(err, io.ErrShortWrite) || !strings.HasPrefix(err.Error(), "simnet: pcap") {
		t.Errorf("a broken file: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestNoAllocations(t *testing.T) {
	clock := &Clock{}
	w := mustWire(t, clock, Config{Pcap: NewPcap(io.Discard, false), AtoB: Impairment{
		Rate: 1e9, Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Corrupt: 0.1, Duplicate: 0.1,
		Reorder: 0.1, ReorderDelay: time.Millisecond, Drop: DropNth(3),
	}})
	frame, buf := numbered(1, 1514), make([]byte, 2048)
	turn := func() {
		for range 32 {
			w.A.Send(frame)
		}
		clock.MoveTo(clock.Now().Add(time.Millisecond))
		for w.B.Ready() {
			w.B.Recv(buf)
		}
	}
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClock(t *testing.T) {
	c := &Clock{}
	c.MoveTo(5)
	c.MoveTo(3)
	c.MoveTo(mono.Never)
	if c.Now() != 5 || c.Next() != mono.Never {
		t.Errorf("now %d, next %d", c.Now(), c.Next())
	}
	c.Watch(func() mono.Time { return 9 })
	w := mustWire(t, c, Config{BtoA: Impairment{Delay: 2}})
	if c.Next() != 9 {
		t.Errorf("next %d", c.Next())
	}
	w.B.Send(nil)
	if c.Next() != 7 || w.B.Next() != mono.Never || w.A.Next() != 7 {
		t.Errorf("next %d", c.Next())
	}
}

func ExampleWire() {
	var clock Clock
	w, err := NewWire(&clock, Config{AtoB: Impairment{Delay: 5 * time.Millisecond, Drop: DropNth(1)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	w.A.Send([]byte("lost"))
	w.A.Send([]byte("kept"))
	clock.MoveTo(clock.Next())
	buf := make([]byte, 64)
	n, _ := w.B.Recv(buf)
	fmt.Printf("%s at %v\n", buf[:n], time.Duration(clock.Now()))
	// Output: kept at 5ms
}
