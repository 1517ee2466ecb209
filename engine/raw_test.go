package engine

import (
	"bytes"
	"testing"
)

func frame(dst, src byte, rest ...byte) []byte {
	f := append(bytes.Repeat([]byte{dst}, 6), bytes.Repeat([]byte{src}, 6)...)
	return append(f, rest...)
}

func TestRxDrop(t *testing.T) {
	clock := &virtualClock{}
	dev := newVirtualDevice(t, clock)
	c := openCore(t, Config{Devices: []Device{dev}, Handler: &RxDrop{}, Clock: clock, Manual: true})
	for range 100 {
		dev.at(0, frame(1, 2, 8, 0))
	}
	if work := c.Turn() + c.Turn() + c.Turn(); work != 100 {
		t.Errorf("%d frames taken, want 100", work)
	}
	if len(dev.sent) != 0 || len(dev.kept) != 0 {
		t.Errorf("%d sent, %d kept", len(dev.sent), len(dev.kept))
	}
}

func TestTxOnly(t *testing.T) {
	clock := &virtualClock{}
	dev := newVirtualDevice(t, clock)
	want := frame(1, 2, 8, 0, 42)
	c := openCore(t, Config{Devices: []Device{dev}, Handler: NewTxOnly(want), Clock: clock, Manual: true, Batch: 16})
	dev.room = 100
	for c.Turn() > 0 {
	}
	if len(dev.sent) != 100 {
		t.Errorf("%d sent, want all that there was room for", len(dev.sent))
	}
	for _, f := range dev.sent {
		if !bytes.Equal(f, want) {
			t.Fatalf("sent %x, want %x", f, want)
		}
	}
}

func TestL2Fwd(t *testing.T) {
	clock := &virtualClock{}
	dev := newVirtualDevice(t, clock)
	h := NewL2Fwd([]Device{dev}, nil, [6]byte{})
	c := openCore(t, Config{Devices: []Device{dev}, Handler: h, Clock: clock, Manual: true})
	for round := range 5 { // the ring of the kept goes round
		dev.sent = nil
		for i := range 5 {
			dev.at(0, frame(1, 2, 8, 0, byte(round), byte(i)))
		}
		dev.at(0, []byte("too short"))
		c.Turn()
		if len(dev.sent) != 5 || len(dev.kept) != 0 {
			t.Fatalf("%d sent, %d kept, want 5 and none", len(dev.sent), len(dev.kept))
		}
		for i, f := range dev.sent {
			if want := frame(2, 1, 8, 0, byte(round), byte(i)); !bytes.Equal(f, want) {
				t.Errorf("sent %x, want %x", f, want)
			}
		}
		if n := h.Dropped.Load(); n != uint64(round+1) {
			t.Errorf("%d dropped, want %d", n, round+1)
		}
	}
}

// A port that sends nothing keeps as many as it may, and the rest is dropped and counted.
func TestL2FwdKeepsWithinLimit(t *testing.T) {
	clock := &virtualClock{}
	dev := newVirtualDevice(t, clock)
	dev.room = 0
	h := NewL2Fwd([]Device{dev}, &[6]byte{7, 7, 7, 7, 7, 7}, [6]byte{9, 9, 9, 9, 9, 9})
	c := openCore(t, Config{Devices: []Device{dev}, Handler: h, Clock: clock, Manual: true})
	for range 20 {
		dev.at(0, frame(1, 2, 8, 0))
	}
	c.Turn()
	if n := len(dev.kept); n != dev.info.KeepMax || h.Dropped.Load() != uint64(20-n) {
		t.Errorf("%d kept, %d dropped, want %d and %d", n, h.Dropped.Load(), dev.info.KeepMax, 20-dev.info.KeepMax)
	}
	dev.room = -1
	c.Turn()
	if len(dev.sent) != dev.info.KeepMax || len(dev.kept) != 0 {
		t.Errorf("%d sent when there was room, %d still kept", len(dev.sent), len(dev.kept))
	}
	if want := frame(7, 9, 8, 0); !bytes.Equal(dev.sent[0], want) {
		t.Errorf("sent %x, want %x", dev.sent[0], want)
	}
}

func TestRawAllocatesNothing(t *testing.T) {
	c, lean, _ := leanCore(t, 1)
	for name, h := range map[string]Handler{
		"rxdrop": &RxDrop{},
		"txonly": NewTxOnly(frame(1, 2, 8, 0)),
		"l2fwd":  NewL2Fwd([]Device{lean[0]}, nil, [6]byte{}),
	} {
		c.handler = h
		if n := testing.AllocsPerRun(100, func() {
			lean[0].waiting.Store(batchMax)
			c.Turn()
		}); n != 0 {
			t.Errorf("%s: %v allocations a turn", name, n)
		}
	}
}
