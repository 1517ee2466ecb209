package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

func wirePair(t testing.TB, c simnet.Config) (a, b *Wire, clock *simnet.Clock) {
	t.Helper()
	clock = &simnet.Clock{}
	w, err := simnet.NewWire(clock, c)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = NewWire(w.A, WireConfig{}); err != nil {
		t.Fatal(err)
	}
	if b, err = NewWire(w.B, WireConfig{}); err != nil {
		t.Fatal(err)
	}
	return a, b, clock
}

// put sends frames without waiting for anything.
func put(dev Device, packets ...string) int {
	frames := make([]Frame, len(packets))
	r := dev.Reserve(frames)
	for i, p := range packets[:r] {
		frames[i].Data = frames[i].Data[:copy(frames[i].Data, p)]
	}
	dev.Submit(frames[:r], r)
	return r
}

func get(dev Device) (packets []string) {
	frames := make([]Frame, 4)
	for {
		n := dev.Peek(frames)
		for _, f := range frames[:n] {
			packets = append(packets, string(f.Data))
		}
		dev.Release(frames[:n])
		if n == 0 {
			return packets
		}
	}
}

func TestWireCarriesAndMovesTheClock(t *testing.T) {
	a, b, clock := wirePair(t, simnet.Config{AtoB: simnet.Impairment{Delay: 3 * time.Millisecond}})
	put(a, "one", "two", "three", "four", "five")
	if b.Ready() || len(get(b)) != 0 {
		t.Fatal("the delay was not kept")
	}
	b.Wait(mono.Never)
	if clock.Now() != mono.Time(3*time.Millisecond) || b.Clock().Now() != clock.Now() {
		t.Errorf("Wait went to %v", clock.Now())
	}
	if got := strings.Join(get(b), " "); got != "one two three four five" {
		t.Errorf("got %q", got)
	}
	b.Wait(mono.Time(10 * time.Millisecond))
	if clock.Now() != mono.Time(10*time.Millisecond) {
		t.Errorf("Wait went to %v", clock.Now())
	}
	clock.Watch(func() mono.Time { return mono.Time(12 * time.Millisecond) })
	b.Wait(mono.Time(20 * time.Millisecond))
	if clock.Now() != mono.Time(12*time.Millisecond) {
		t.Errorf("Wait passed over another's event, to %v", clock.Now())
	}
	as, bs := a.Stats(), b.Stats()
	if as.TxPackets != 5 || as.TxBytes != 19 || bs.RxPackets != 5 || bs.RxBytes != 19 {
		t.Errorf("a %+v\nb %+v", as, bs)
	}
}

func TestWireWake(t *testing.T) {
	a, _, clock := wirePair(t, simnet.Config{})
	a.Wake()
	a.Wake()
	a.Wait(mono.Time(time.Second))
	if clock.Now() != 0 {
		t.Error("a wake that came before was lost")
	}
	done := make(chan struct{})
	go func() { a.Wait(mono.Never); close(done) }()
	time.Sleep(time.Millisecond)
	a.Wake()
	<-done
}

func TestWireConfig(t *testing.T) {
	clock := &simnet.Clock{}
	w, err := simnet.NewWire(clock, simnet.Config{RawIP: true, AtoB: simnet.Impairment{MTU: 9000}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewWire(w.A, WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if i := a.Info(); i.MTU != 9000 || !i.RawIP || i.Addr != nil || i.Mode != "wire" || i.Region == 0 {
		t.Errorf("%+v", i)
	}
	b, err := NewWire(w.B, WireConfig{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if i := b.Info(); i.MTU != 1500 || i.Name != "b" || i.Region == a.Info().Region {
		t.Errorf("%+v", i)
	}
	for _, mtu := range []int{-1, 70000} {
		if _, err := NewWire(w.A, WireConfig{MTU: mtu}); err == nil {
			t.Errorf("MTU %d was taken", mtu)
		}
	}
	// b has room for 2048 bytes; the frame before and the frame behind are heard.
	put(a, "before", strings.Repeat("x", 8000), "behind")
	if got := fmt.Sprint(get(b)); got != "[before behind]" || b.Stats().RxOversize != 1 {
		t.Errorf("%s, %+v", got, b.Stats())
	}
}

func TestWireAllocatesNothing(t *testing.T) {
	a, b, _ := wirePair(t, simnet.Config{})
	frames := make([]Frame, 32)
	turn := func() {
		r := a.Reserve(frames)
		for i := range frames[:r] {
			frames[i].Data = frames[i].Data[:64]
		}
		a.Submit(frames[:r], r)
		n := b.Peek(frames)
		b.Release(frames[:n])
		b.Wait(b.Clock().Now().Add(1))
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An echoer is a handler that sends every frame back in its own memory, and counts.
type echoer struct {
	kept []Frame
	seen int
	at   mono.Time
}

func (e *echoer) Input(_ int, frames []Frame, now mono.Time) {
	for i := range frames {
		frames[i].Keep()
		e.kept = append(e.kept, frames[i])
	}
	e.seen += len(frames)
	e.at = now
}

func (e *echoer) Output(_ int, frames []Frame, _ mono.Time) int {
	n := copy(frames, e.kept)
	e.kept = e.kept[n:]
	return n
}

func (e *echoer) Advance(mono.Time) int { return 0 }
func (e *echoer) Deadline() mono.Time   { return mono.Never }
func (e *echoer) Posted() bool          { return false }
func (e *echoer) Wake() int             { return 0 }

// TestCoresOnAWire has two cores throw 100 frames to and fro, on a clock that their
// devices move.
func TestCoresOnAWire(t *testing.T) {
	const delay, end = 250 * time.Microsecond, 20 * time.Millisecond
	imp := simnet.Impairment{Delay: delay, Rate: 1e9}
	a, b, clock := wirePair(t, simnet.Config{AtoB: imp, BtoA: imp})
	var cores []*Core
	var echoes []*echoer
	for _, dev := range []*Wire{a, b} {
		e := &echoer{}
		c, err := Open(Config{Devices: []Device{dev}, Handler: e, Clock: dev.Clock(), Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cores, echoes = append(cores, c), append(echoes, e)
	}
	for range 100 {
		put(a, strings.Repeat("x", 125)) // 1 µs each
	}
	for clock.Now() < mono.Time(end) {
		if cores[0].Turn()+cores[1].Turn() == 0 {
			a.Wait(mono.Time(end))
		}
	}
	// A ball takes the delay and a microsecond from end to end; the first came in at that time.
	want := int(end / (delay + time.Microsecond))
	if got := echoes[1].seen + echoes[0].seen; got < 98*want || got > 100*want {
		t.Errorf("%d frames came in, want nearly %d", got, 100*want)
	}
	checkLender(t, &a.lender, len(echoes[0].kept))
	checkLender(t, &b.lender, len(echoes[1].kept))
}
