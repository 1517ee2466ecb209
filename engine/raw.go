package engine

import (
	"sync/atomic"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// This file is the handlers of the raw modes: what
// the AF_XDP sample program does, on a whole link and without protocols.

// raw is what a handler needs and a raw mode has nothing to say to.
type raw struct{}

func (raw) Advance(mono.Time) int { return 0 }
func (raw) Deadline() mono.Time   { return mono.Never }
func (raw) Posted() bool          { return false }
func (raw) Wake() int             { return 0 }

// RxDrop is a [Handler] that takes every frame and forgets it.
type RxDrop struct{ raw }

// Input leaves all frames to Release.
func (*RxDrop) Input(int, []Frame, mono.Time) {}

// Output has nothing to say.
func (*RxDrop) Output(int, []Frame, mono.Time) int { return 0 }

// TxOnly is a [Handler] that sends one frame again and again, as fast as its ports
// take it. Create it with [NewTxOnly].
type TxOnly struct {
	raw
	frame []byte
}

// NewTxOnly returns a handler that sends frame. It must fit into Info.FrameLen.
func NewTxOnly(frame []byte) *TxOnly { return &TxOnly{frame: frame} }

// Input forgets what comes.
func (*TxOnly) Input(int, []Frame, mono.Time) {}

// Output fills all that is lent.
func (h *TxOnly) Output(_ int, frames []Frame, _ mono.Time) int {
	for i := range frames {
		frames[i].Data = frames[i].Data[:copy(frames[i].Data, h.frame)]
	}
	return len(frames)
}

// L2Fwd is a [Handler] that sends every frame back by the port it came by, with its
// link addresses exchanged, without copying it. Create it with [NewL2Fwd].
type L2Fwd struct {
	raw
	ports []backlog // by port
	dst   *[6]byte  // nil: the sender of the frame
	src   [6]byte   // with dst

	// Dropped counts frames that were not sent back: too short to have addresses, or more
	// than a port may keep while it sends none. Anyone may read it.
	Dropped atomic.Uint64
}

// backlog is the frames of one port that wait to be sent, oldest first: a ring of as
// many as the port may keep.
type backlog struct {
	frames []Frame
	head   int
	n      int
}

// NewL2Fwd returns a handler for these devices, which are to be the core's ports in this order. With
// dst, frames go from src to dst instead of back to their senders.
func NewL2Fwd(devices []Device, dst *[6]byte, src [6]byte) *L2Fwd {
	h := &L2Fwd{dst: dst, src: src}
	for _, d := range devices {
		h.ports = append(h.ports, backlog{frames: make([]Frame, d.Info().KeepMax)})
	}
	return h
}

// Input exchanges addresses and keeps the frames.
func (h *L2Fwd) Input(port int, frames []Frame, _ mono.Time) {
	b := &h.ports[port]
	dropped := uint64(0)
	for i := range frames {
		f := &frames[i]
		if len(f.Data) < etherHeaderLen || b.n == len(b.frames) {
			dropped++
			continue
		}
		dst, src := (*[6]byte)(f.Data), (*[6]byte)(f.Data[6:])
		if h.dst != nil {
			*dst, *src = *h.dst, h.src
		} else {
			*dst, *src = *src, *dst
		}
		f.Keep()
		at := b.head + b.n
		if at >= len(b.frames) {
			at -= len(b.frames)
		}
		b.frames[at] = *f
		b.n++
	}
	if dropped > 0 {
		h.Dropped.Add(dropped)
	}
}

// Output puts kept frames into the slots of the frames that are lent.
func (h *L2Fwd) Output(port int, frames []Frame, _ mono.Time) int {
	b := &h.ports[port]
	n := min(len(frames), b.n)
	for i := range n {
		frames[i] = b.frames[b.head]
		if b.head++; b.head == len(b.frames) {
			b.head = 0
		}
	}
	b.n -= n
	return n
}
