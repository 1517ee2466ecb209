package simnet

import (
	"fmt"
	"slices"
	"time"
)

// An Impairment is what one direction of a wire does to frames. The zero
// Impairment is a perfect wire: everything arrives at once.
//
// A frame meets them in the order of the fields. Each frame draws the same count
// of random numbers whatever is switched on, so that turning one knob leaves
// what the others do to the n-th frame as it was.
type Impairment struct {
	// MTU is the longest IP packet in bytes, without the link header (and up to two
	// VLAN tags); a longer frame is dropped. 0: no limit.
	MTU int

	// Drop is asked of each frame, n being 1 for the first that was sent in this direction
	// since the wire was made. It may look but not write, and must depend on
	// nothing that differs between runs. See DropNth.
	Drop func(n int, frame []byte) bool

	Loss    float64 // probability that a frame is lost, 0 to 1
	Corrupt float64 // probability that one bit of it, any bit, is flipped

	// Rate is the speed in bits per second; 0: infinite. Frames that have to wait for
	// it stand in a queue that drops at its tail.
	Rate         int64
	QueueBytes   int // what the queue holds, counting what is being sent; 0: no limit in bytes
	QueuePackets int // the same in packets; 0: queuePacketsDefault

	// Mark is given each frame that finds MarkPackets waiting, and says whether it has written into it that
	// there is congestion. A queue that marks before it drops: ECN.
	Mark        func(frame []byte) bool
	MarkPackets int

	Duplicate float64 // probability that a frame arrives twice

	Delay  time.Duration // from the last bit sent to the arrival
	Jitter time.Duration // at most this much more, evenly spread; the order is kept

	// Reorder is the probability that a frame takes ReorderDelay more, so that
	// those behind it overtake it.
	Reorder      float64
	ReorderDelay time.Duration
}

// queuePacketsDefault is the queue of a direction with a rate: Linux's txqueuelen.
const queuePacketsDefault = 1000

// DropNth drops exactly the frames with these numbers, 1 being the first.
func DropNth(numbers ...int) func(int, []byte) bool {
	return func(n int, _ []byte) bool { return slices.Contains(numbers, n) }
}

// check refuses what could only be a mistake.
func (i *Impairment) check() error {
	for _, p := range []struct {
		name  string
		value float64
	}{{"Loss", i.Loss}, {"Corrupt", i.Corrupt}, {"Duplicate", i.Duplicate}, {"Reorder", i.Reorder}} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("simnet: %s %v is no probability", p.name, p.value)
		}
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"MTU", int64(i.MTU)}, {"Rate", i.Rate}, {"QueueBytes", int64(i.QueueBytes)}, {"QueuePackets", int64(i.QueuePackets)}, {"MarkPackets", int64(i.MarkPackets)},
		{"Delay", int64(i.Delay)}, {"Jitter", int64(i.Jitter)}, {"ReorderDelay", int64(i.ReorderDelay)},
	} {
		if v.value < 0 {
			return fmt.Errorf("simnet: %s %d is negative", v.name, v.value)
		}
	}
	return nil
}

// txTime is how long a frame occupies the sender, rounded up to a nanosecond.
func (i *Impairment) txTime(frameLen int) time.Duration {
	if i.Rate == 0 {
		return 0
	}
	return time.Duration((int64(frameLen)*8*int64(time.Second) + i.Rate - 1) / i.Rate)
}
