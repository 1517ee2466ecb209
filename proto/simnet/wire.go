package simnet

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// inFlightMax is how many frames one direction of a wire holds, so that a sender
// without a rate and a receiver that never reads cannot fill the memory. A path of
// 10 Gbit/s and 50 ms holds 41,000 full-sized frames.
const inFlightMax = 1 << 16

const (
	ethernetLen = 14 // header
	vlanTagLen  = 4
)

// A Config describes a wire.
type Config struct {
	Seed  uint64
	AtoB  Impairment
	BtoA  Impairment
	RawIP bool  // frames begin with the IP header; without it, with an Ethernet header
	Pcap  *Pcap // where what passes is written; nil: nowhere
}

// A Wire joins two Ends.
type Wire struct {
	A, B *End
}

// An End is where frames enter the wire and where those of the other End come out.
type End struct {
	clock *Clock
	out   *direction // what we send; the peer's in
	in    *direction
}

// Stats counts one direction of a wire, from the view of the End that sends.
type Stats struct {
	Sent, SentBytes uint64 // frames given to Send
	Delivered       uint64 // frames that the peer has received, duplicates included

	Oversize   uint64 // dropped: longer than the MTU
	Dropped    uint64 // dropped: Impairment.Drop said so
	Lost       uint64 // dropped: by chance
	QueueFull  uint64 // dropped: the queue was full, or inFlightMax was reached
	Corrupted  uint64
	Duplicated uint64
	Marked     uint64
	Reordered  uint64
}

// NewWire makes a wire on a clock, which heeds the wire's arrivals from then on.
func NewWire(clock *Clock, c Config) (*Wire, error) {
	ab, ba := newDirection(c, 1), newDirection(c, 2)
	w := &Wire{
		A: &End{clock: clock, out: ab, in: ba},
		B: &End{clock: clock, out: ba, in: ab},
	}
	if err := w.A.Impair(c.AtoB); err != nil {
		return nil, err
	}
	if err := w.B.Impair(c.BtoA); err != nil {
		return nil, err
	}
	clock.Watch(w.next)
	return w, nil
}

// next is the earliest arrival at either End.
func (w *Wire) next() mono.Time { return min(w.A.Next(), w.B.Next()) }

// Impair changes what happens to the frames that this End sends from now on. Frames
// on their way arrive as they would have.
func (e *End) Impair(i Impairment) error {
	if err := i.check(); err != nil {
		return err
	}
	e.out.Impairment = i
	return nil
}

// Send puts a frame on the wire now. It copies the frame. It says whether the frame
// will arrive, which a network would not tell: for assertions, not for decisions.
func (e *End) Send(frame []byte) bool { return e.out.send(frame, e.clock.Now()) }

// Recv takes the oldest frame that has arrived: it copies what has room in buf and says
// how long the frame is. There is none if ok is false.
func (e *End) Recv(buf []byte) (frameLen int, ok bool) {
	if !e.Ready() {
		return 0, false
	}
	frame := e.in.flight.pop()
	n := len(frame.data)
	copy(buf, frame.data)
	e.in.free = append(e.in.free, frame.data)
	e.in.stats.Delivered++
	return n, true
}

// Ready says whether Recv has a frame.
func (e *End) Ready() bool { return e.Next().Due(e.clock.Now()) && len(e.in.flight) > 0 }

// Next is when the next frame arrives here, or has arrived; Never if none is on its way.
func (e *End) Next() mono.Time {
	if len(e.in.flight) == 0 {
		return mono.Never
	}
	return e.in.flight[0].arrives
}

// Clock is the clock of the wire.
func (e *End) Clock() *Clock { return e.clock }

// RawIP says whether frames begin with the IP header.
func (e *End) RawIP() bool { return e.out.rawIP }

// MTU is the longest packet that this End can send, 0 if there is no limit.
func (e *End) MTU() int { return e.out.MTU }

// Stats counts what this End sent.
func (e *End) Stats() Stats { return e.out.stats }

// A direction is one way of a wire.
type direction struct {
	Impairment
	rawIP bool
	pcap  *Pcap
	rand  *rand.Rand
	stats Stats

	idle    mono.Time // when the last bit of what is queued is sent
	last    mono.Time // arrival that a frame which keeps the order may not precede
	queue   []departure
	sent    int // how many at the front of queue have left
	queued  int // bytes of the others
	flight  flight
	serial  uint64
	free    [][]byte // buffers of frames that were received
	scratch [draws]uint64
}

// A departure is a frame that is not wholly sent before at.
type departure struct {
	at       mono.Time
	frameLen int
}

func newDirection(c Config, stream uint64) *direction {
	return &direction{rawIP: c.RawIP, pcap: c.Pcap, rand: rand.New(rand.NewPCG(c.Seed, stream))}
}

// What a frame draws, whether it is used or not.
const (
	drawLoss = iota
	drawCorrupt
	drawBit
	drawDuplicate
	drawJitter
	drawReorder
	draws
)

func (d *direction) send(frame []byte, now mono.Time) bool {
	d.stats.Sent++
	d.stats.SentBytes += uint64(len(frame))
	for i := range d.scratch {
		d.scratch[i] = d.rand.Uint64()
	}
	switch {
	case d.MTU > 0 && len(frame) > d.MTU+d.headerLen(frame):
		d.stats.Oversize++
		return false
	case d.Drop != nil && d.Drop(int(d.stats.Sent), frame):
		d.stats.Dropped++
		return false
	case d.chance(drawLoss, d.Loss):
		d.stats.Lost++
		return false
	case !d.enqueue(len(frame), now):
		d.stats.QueueFull++
		return false
	}
	data := d.buffer(len(frame))
	copy(data, frame)
	if d.Mark != nil && len(d.queue)-d.sent > d.MarkPackets && d.Mark(data) {
		d.stats.Marked++
	}
	if d.chance(drawCorrupt, d.Corrupt) && len(data) > 0 {
		bit := d.scratch[drawBit] % uint64(len(data)*8)
		data[bit/8] ^= 1 << (bit % 8)
		d.stats.Corrupted++
	}
	arrives := d.arrival()
	d.launch(data, now, arrives)
	if d.chance(drawDuplicate, d.Duplicate) && len(d.flight) < inFlightMax {
		again := d.buffer(len(data))
		copy(again, data)
		d.launch(again, now, arrives)
		d.stats.Duplicated++
	}
	return true
}

// enqueue says when the frame's last bit leaves, in d.idle, or that there is no room.
func (d *direction) enqueue(frameLen int, now mono.Time) bool {
	for d.sent < len(d.queue) && d.queue[d.sent].at.Due(now) {
		d.queued -= d.queue[d.sent].frameLen
		d.sent++
	}
	if d.sent > len(d.queue)/2 {
		d.queue = d.queue[:copy(d.queue, d.queue[d.sent:])]
		d.sent = 0
	}
	if len(d.flight) >= inFlightMax {
		return false
	}
	d.idle = max(d.idle, now)
	if d.Rate == 0 {
		return true
	}
	limit := d.QueuePackets
	if limit == 0 {
		limit = queuePacketsDefault
	}
	if len(d.queue)-d.sent >= limit || d.QueueBytes > 0 && d.queued+frameLen > d.QueueBytes {
		return false
	}
	d.idle = d.idle.Add(d.txTime(frameLen))
	d.queue = append(d.queue, departure{d.idle, frameLen})
	d.queued += frameLen
	return true
}

// arrival is when a frame arrives whose last bit leaves at d.idle.
func (d *direction) arrival() mono.Time {
	at := d.idle.Add(d.Delay)
	if d.Jitter > 0 {
		at += mono.Time(d.scratch[drawJitter] % (uint64(d.Jitter) + 1))
	}
	if d.chance(drawReorder, d.Reorder) {
		d.stats.Reordered++
		return at.Add(d.ReorderDelay)
	}
	d.last = max(d.last, at)
	return d.last
}

func (d *direction) launch(data []byte, now, arrives mono.Time) {
	d.serial++
	d.flight.push(flying{data: data, arrives: arrives, serial: d.serial})
	if d.pcap != nil {
		d.pcap.write(data, now)
	}
}

// chance is true with probability p, decided by a number drawn before.
func (d *direction) chance(draw int, p float64) bool {
	return float64(d.scratch[draw]>>11)/(1<<53) < p
}

// headerLen is how much of a frame the MTU does not count.
func (d *direction) headerLen(frame []byte) int {
	if d.rawIP {
		return 0
	}
	n := ethernetLen
	for range 2 {
		if len(frame) < n {
			break
		}
		if t := binary.BigEndian.Uint16(frame[n-2:]); t != 0x8100 && t != 0x88a8 { // 802.1Q, 802.1ad
			break
		}
		n += vlanTagLen
	}
	return n
}

// buffer is memory for a frame, used again where possible.
func (d *direction) buffer(frameLen int) []byte {
	if last := len(d.free) - 1; last >= 0 {
		b := d.free[last]
		d.free = d.free[:last]
		if cap(b) >= frameLen {
			return b[:frameLen]
		}
	}
	return make([]byte, frameLen, max(frameLen, 2048))
}
