package simnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A sender numbers its frames, keeps a window of them out, and repeats the oldest
// unacknowledged one by timer: enough of a protocol to feel every impairment.
type sender struct {
	total, window  uint32
	una, next      uint32
	timeout        mono.Time
	resend         bool
	acks, timeouts int
}

const rto = 50 * time.Millisecond

func (s *sender) Input(_ int, frame []byte, now mono.Time) {
	s.acks++
	if len(frame) < 4 {
		return
	}
	if ack := binary.BigEndian.Uint32(frame); ack > s.una && ack <= s.next {
		s.una = ack
		s.timeout = now.Add(rto)
	}
}

func (s *sender) Advance(now mono.Time) int {
	if !s.Deadline().Due(now) {
		return 0
	}
	s.timeouts++
	s.resend = true
	s.timeout = now.Add(rto)
	return 1
}

func (s *sender) Deadline() mono.Time {
	if s.una == s.next {
		return mono.Never
	}
	return s.timeout
}

func (s *sender) Output(_ int, buf []byte, now mono.Time) int {
	n := s.next
	switch {
	case s.resend && s.una < s.next:
		s.resend = false
		n = s.una
	case s.next < s.total && s.next-s.una < s.window:
		if s.una == s.next {
			s.timeout = now.Add(rto)
		}
		s.next++
	default:
		return 0
	}
	clear(buf[:1000])
	binary.BigEndian.PutUint32(buf, n)
	return 1000
}

// A receiver takes frames in order and acknowledges what it has.
type receiver struct {
	want uint32
	owed int
	log  []byte
}

func (r *receiver) Input(_ int, frame []byte, now mono.Time) {
	r.owed++
	r.log = binary.BigEndian.AppendUint64(r.log, uint64(now))
	r.log = append(r.log, frame...)
	if len(frame) >= 4 && binary.BigEndian.Uint32(frame) == r.want && len(frame) == 1000 {
		r.want++
	}
}

func (r *receiver) Advance(mono.Time) int { return 0 }
func (r *receiver) Deadline() mono.Time   { return mono.Never }

func (r *receiver) Output(_ int, buf []byte, _ mono.Time) int {
	if r.owed == 0 {
		return 0
	}
	r.owed--
	binary.BigEndian.PutUint32(buf, r.want)
	return 60
}

func transfer(t *testing.T, seed uint64) (s *sender, r *receiver, capture []byte, took mono.Time) {
	t.Helper()
	var file bytes.Buffer
	n := &Net{}
	s, r = &sender{total: 300, window: 8}, &receiver{}
	n.Add(s)
	n.Add(r)
	imp := Impairment{
		Rate: 10_000_000, QueuePackets: 20, Delay: 5 * time.Millisecond, Jitter: time.Millisecond,
		Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, ReorderDelay: 3 * time.Millisecond, MTU: 1500,
	}
	if _, err := n.Connect(s, 0, r, 4, Config{Seed: seed, AtoB: imp, BtoA: imp, Pcap: NewPcap(&file, false)}); err != nil {
		t.Fatal(err)
	}
	if err := n.RunIdle(mono.Time(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return s, r, file.Bytes(), n.Clock.Now()
}

func TestSameSeedSameRun(t *testing.T) {
	sum := func(seed uint64) uint64 {
		s, r, capture, took := transfer(t, seed)
		if r.want != s.total || s.una != s.total || s.timeouts == 0 {
			t.Errorf("seed %d: received %d, acknowledged %d, %d timeouts", seed, r.want, s.una, s.timeouts)
		}
		h := fnv.New64a()
		h.Write(capture)
		h.Write(r.log)
		binary.Write(h, binary.BigEndian, took)
		return h.Sum64()
	}
	seen := map[uint64]uint64{}
	for seed := range uint64(5) {
		first := sum(seed)
		if again := sum(seed); again != first {
			t.Errorf("seed %d: %x, then %x", seed, first, again)
		}
		if other, dup := seen[first]; dup {
			t.Errorf("seeds %d and %d run alike", seed, other)
		}
		seen[first] = seed
	}
	// math/rand/v2 promises the same PCG in every release, so this holds for good:
	// a change here means that recorded seeds no longer replay.
	const golden = 0x3ee5a5735cccdf30
	if got := sum(42); got != golden {
		t.Errorf("seed 42 is now %#x, was %#x", got, uint64(golden))
	}
}

func TestRunToAndUntil(t *testing.T) {
	n := &Net{}
	s, r := &sender{total: 10, window: 1}, &receiver{}
	n.Add(s)
	n.Add(r)
	imp := Impairment{Delay: 10 * time.Millisecond}
	w, err := n.Connect(s, 0, r, 0, Config{AtoB: imp, BtoA: imp})
	if err != nil {
		t.Fatal(err)
	}
	ms := func(n int) mono.Time { return mono.Time(n) * mono.Time(time.Millisecond) }
	// One round trip is 20 ms: frame k arrives at 10+20k ms.
	if err := n.RunTo(ms(30)); err != nil || r.want != 2 || n.Clock.Now() != ms(30) {
		t.Errorf("at %v: received %d, %v", n.Clock.Now(), r.want, err)
	}
	if err := n.RunUntil(ms(1000), func() bool { return r.want == 4 }); err != nil || n.Clock.Now() != ms(70) {
		t.Errorf("the 4th came at %v, %v", n.Clock.Now(), err)
	}
	if err := n.RunUntil(ms(75), func() bool { return r.want == 5 }); !errors.Is(err, ErrNotYet) {
		t.Errorf("got %v", err)
	}
	if err := n.RunIdle(ms(100)); !errors.Is(err, ErrNotYet) {
		t.Errorf("got %v", err)
	}
	if err := w.B.Impair(Impairment{Loss: 1}); err != nil { // nothing comes back any more
		t.Fatal(err)
	}
	if err := n.RunIdle(ms(1000)); !errors.Is(err, ErrNotYet) || s.timeouts == 0 {
		t.Errorf("got %v, %d timeouts", err, s.timeouts)
	}
	w.B.Impair(imp)
	if err := n.RunIdle(ms(10_000)); err != nil || s.una != 10 {
		t.Errorf("%v, acknowledged %d", err, s.una)
	}
	if err := n.RunUntil(ms(20_000), func() bool { return false }); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "never") {
		t.Errorf("an idle net: %v", err)
	}
	before := n.Clock.Now()
	if err := n.RunTo(before + 5); err != nil || n.Clock.Now() != before+5 {
		t.Errorf("an idle net: %v, %v", n.Clock.Now(), err)
	}
}

// A parrot sends back whatever it gets.
type parrot struct{ frames [][]byte }

func (p *parrot) Input(_ int, frame []byte, _ mono.Time) {
	p.frames = append(p.frames, bytes.Clone(frame))
}
func (p *parrot) Advance(mono.Time) int { return 0 }
func (p *parrot) Deadline() mono.Time   { return mono.Never }
func (p *parrot) Output(_ int, buf []byte, _ mono.Time) int {
	if len(p.frames) == 0 {
		return 0
	}
	n := copy(buf, p.frames[0])
	p.frames = p.frames[1:]
	return n
}

// A sloth says that it has something to do and does nothing.
type sloth struct{ parrot }

func (s *sloth) Deadline() mono.Time { return 7 }

func TestStuck(t *testing.T) {
	n := &Net{}
	a, b := &parrot{frames: [][]byte{{1}}}, &parrot{}
	n.Add(a)
	n.Add(b)
	w, err := n.Connect(a, 0, b, 0, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.RunTo(1); !errors.Is(err, ErrStuck) {
		t.Errorf("two parrots: %v", err)
	}
	w.A.Impair(Impairment{Delay: 1})
	if err := n.RunTo(1000); err != nil {
		t.Errorf("two parrots with a delay: %v", err)
	}
	if got := w.A.Stats().Sent; got < 1000 {
		t.Errorf("%d frames in 1000 ns", got)
	}

	n = &Net{}
	n.Add(&sloth{})
	if err := n.RunTo(6); err != nil {
		t.Errorf("before its deadline: %v", err)
	}
	if err := n.RunTo(7); !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "sloth") {
		t.Errorf("a sloth: %v", err)
	}
}

func TestConnectErrors(t *testing.T) {
	n := &Net{}
	a, b := &parrot{}, &parrot{}
	n.Add(a)
	if _, err := n.Connect(a, 0, b, 0, Config{}); err == nil {
		t.Error("b was not added")
	}
	n.Add(b)
	if _, err := n.Connect(a, 0, b, 0, Config{AtoB: Impairment{Loss: 2}}); err == nil {
		t.Error("a bad impairment")
	}
	if _, err := n.Connect(a, 0, b, 0, Config{}); err != nil {
		t.Error(err)
	}
	if _, err := n.Connect(a, 1, b, 0, Config{}); err == nil {
		t.Error("the port is taken")
	}
	if _, err := n.Connect(a, 2, a, 2, Config{}); err == nil {
		t.Error("a port and itself")
	}
	if _, err := n.Connect(a, 3, a, 4, Config{}); err != nil {
		t.Errorf("a node may have a wire to itself: %v", err)
	}
}

func TestJumboFramesHaveRoom(t *testing.T) {
	n := &Net{}
	a, b := &parrot{frames: [][]byte{numbered(1, 9014)}}, &parrot{}
	n.Add(a)
	n.Add(b)
	w, err := n.Connect(a, 0, b, 0, Config{AtoB: Impairment{MTU: 9000}, BtoA: Impairment{Loss: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.RunIdle(1); err != nil {
		t.Fatal(err)
	}
	if s := w.A.Stats(); s.SentBytes != 9014 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
}
