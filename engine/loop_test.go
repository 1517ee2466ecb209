package engine

import (
	"bytes"
	"testing"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// TestLoopCarriesWhatItIsGiven sends more than it holds, in lots of every size, and
// takes it back in others.
func TestLoopCarriesWhatItIsGiven(t *testing.T) {
	l := NewLoop()
	frames := make([]Frame, batchMax)
	sent, got := 0, 0
	packet := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+i*7919%loopMTU) }
	for round := range 500 {
		r := l.Reserve(frames[:1+round%batchMax])
		if room := loopMax - (sent - got); r != min(room, 1+round%batchMax) {
			t.Fatalf("%d packets wait, and %d of %d frames are shown", sent-got, r, 1+round%batchMax)
		}
		m := r * 3 / 4
		for i := range frames[:m] {
			frames[i].Data = frames[i].Data[:copy(frames[i].Data, packet(sent+i))]
		}
		l.Submit(frames[:m], r)
		sent += m
		if l.Ready() != (sent > got) {
			t.Fatalf("Ready says %v and %d packets wait", l.Ready(), sent-got)
		}
		n := l.Peek(frames[:1+round%17])
		for i := range n {
			if !bytes.Equal(frames[i].Data, packet(got+i)) {
				t.Fatalf("packet %d came back as another", got+i)
			}
		}
		l.Release(frames[:n])
		got += n
	}
	for n := l.Peek(frames); n > 0; n = l.Peek(frames) {
		got += n
		l.Release(frames[:n])
	}
	if s := l.Stats(); got != sent || sent < 1000 || s.RxPackets != uint64(got) || s.TxPackets != uint64(sent) || s.RxBytes != s.TxBytes || len(l.free) != loopMax {
		t.Errorf("%d sent, %d received, %d of %d free, %+v", sent, got, len(l.free), loopMax, s)
	}
}

// TestLoopAllocatesOnce: after the first packet no other costs memory.
func TestLoopAllocatesOnce(t *testing.T) {
	l := NewLoop()
	frames := make([]Frame, 1)
	pass := func() {
		if l.Reserve(frames) != 1 {
			t.Fatal("no room")
		}
		frames[0].Data = frames[0].Data[:100]
		l.Submit(frames, 1)
		l.Release(frames[:l.Peek(frames)])
	}
	pass()
	if n := testing.AllocsPerRun(1000, pass); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
	made := 0
	for _, room := range l.rooms {
		if room != nil {
			made++
		}
	}
	if made != 1 {
		t.Errorf("memory of %d packets is held after one at a time", made)
	}
}

// TestWhatIsSentToOurselvesIsThereAtOnce: the caller that sends is the one that takes it in.
func TestWhatIsSentToOurselvesIsThereAtOnce(t *testing.T) {
	noLeak(t)
	clock := &virtualClock{}
	h := &fakeHandler{}
	c := openCore(t, Config{Devices: []Device{newVirtualDevice(t, clock), NewLoop()}, Handler: h, Clock: clock, Manual: true})
	h.out[1] = [][]byte{{1}}
	c.Lock()
	c.Send(1)
	c.Unlock()
	if !h.boxes[1].take() {
		t.Error("Send has returned, and its packet has not arrived")
	}
	h.out[1] = [][]byte{{2}}
	c.Lock()
	c.Flush()
	c.Unlock()
	if !h.boxes[2].take() {
		t.Error("Flush has returned, and its packet has not arrived")
	}
	if now := clock.Now(); now != mono.Time(0) {
		t.Errorf("time has moved to %d", now)
	}
}

// TestPortStatsOutliveThePorts: what a port has counted can be read when it is closed, and the port is not
// asked any more.
func TestPortStatsOutliveThePorts(t *testing.T) {
	clock := &virtualClock{}
	h := &fakeHandler{}
	c := openCore(t, Config{Devices: []Device{newVirtualDevice(t, clock), NewLoop()}, Handler: h, Clock: clock, Manual: true})
	h.out[1] = [][]byte{{1, 2, 3}}
	c.Lock()
	c.Send(1)
	c.Unlock()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if s := c.PortStats(1); s.TxPackets != 1 || s.RxBytes != 3 {
		t.Errorf("%+v", s)
	}
	c.PortStats(0) // the fake faults who calls it after Close
}
