package engine

import (
	"fmt"
	"net"
	"sync/atomic"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// A WireConfig describes a [Wire].
type WireConfig struct {
	Name string           // for people; "": "wire"
	Addr net.HardwareAddr // nil: 02:00:00:00:00:01, and none on a wire of raw IP
	MTU  int              // bytes of an IP packet; 0: the wire's, or 1500 if that has no limit
}

// A Wire is a device at one end of a simulated wire. With it the whole engine runs
// without a kernel and on a clock of its own: [Wire.Clock] is the Clock for
// the core's Config.
//
// A simulation belongs to one goroutine, which turns all cores on that clock, and so
// the same run twice is the same. Wait does not sleep: it moves the clock to the next event.
type Wire struct {
	lender
	end   *simnet.End
	info  Info
	woken chan struct{} // holds one
	waits atomic.Uint64
}

// wireMTU is what a wire without a limit is taken for: Ethernet's.
const wireMTU = 1500

// wireRoomMin is the least room for a received frame, so that a peer with a larger MTU is
// heard, as it is on a real NIC's 2 KiB buffers.
const wireRoomMin = 2048

// linkRoom is what a link header takes at most: Ethernet and two VLAN tags.
const linkRoom = 14 + 2*4

// NewWire makes a device of one end of a wire.
func NewWire(end *simnet.End, cfg WireConfig) (*Wire, error) {
	if cfg.MTU == 0 {
		cfg.MTU = end.MTU()
	}
	if cfg.MTU == 0 {
		cfg.MTU = wireMTU
	}
	if cfg.MTU < 0 || cfg.MTU > mtuMax {
		return nil, fmt.Errorf("engine: wire: MTU %d is not between 1 and %d", cfg.MTU, mtuMax)
	}
	if cfg.Name == "" {
		cfg.Name = "wire"
	}
	if cfg.Addr == nil && !end.RawIP() {
		cfg.Addr = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	}
	w := &Wire{end: end, woken: make(chan struct{}, 1)}
	room := cfg.MTU + linkRoom
	region := w.init(max(room, wireRoomMin), room)
	w.info = Info{
		Name: cfg.Name, Mode: "wire", Addr: cfg.Addr, MTU: cfg.MTU, RawIP: end.RawIP(),
		KeepMax: lenderKeepMax, Region: region, FrameLen: room,
	}
	return w, nil
}

// mtuMax is the longest IP packet there is (RFC 791 §3.1, RFC 8200 §3 without jumbograms).
const mtuMax = 65535

// Clock is the clock of the wire, for the Config of the core.
func (w *Wire) Clock() Clock { return w.end.Clock() }

// Info describes the device.
func (w *Wire) Info() Info { return w.info }

// Peek lends what has arrived. A frame that is longer than its room is dropped and
// counted.
func (w *Wire) Peek(frames []Frame) (n int) {
	for room := w.peekRoom(len(frames)); n < room; {
		slot := w.rx.memory(w.rx.top(0))
		frameLen, ok := w.end.Recv(slot)
		if !ok {
			break
		}
		if frameLen > len(slot) {
			w.stats.rxOversize.Add(1)
			continue
		}
		frames[n] = w.take(slot[:frameLen])
		n++
	}
	w.received(frames[:n])
	return n
}

// Submit puts frames on the wire, which has always room for them.
func (w *Wire) Submit(frames []Frame, reserved int) {
	w.submit(frames)
	bytes := 0
	for _, o := range w.waiting() {
		w.end.Send(o.data)
		bytes += len(o.data)
	}
	if n := len(w.waiting()); n > 0 {
		w.stats.txPackets.Add(uint64(n))
		w.stats.txBytes.Add(uint64(bytes))
		w.sent(n)
	}
}

// Ready says whether a frame has arrived.
func (w *Wire) Ready() bool { return w.end.Ready() }

// Wait moves the clock to the next arrival anywhere on it, to the next event of another of
// its sources, or to until: whichever comes first. If there is none at all and
// until is Never, it waits for Wake.
func (w *Wire) Wait(until mono.Time) {
	select {
	case <-w.woken:
		return
	default:
	}
	if w.Ready() {
		return
	}
	clock := w.end.Clock()
	next := min(until, clock.Next())
	if next != mono.Never {
		clock.MoveTo(next)
		return
	}
	w.waits.Add(1)
	<-w.woken
}

// Wake ends a Wait.
func (w *Wire) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// Err is nil: a wire does not break.
func (w *Wire) Err() error { return nil }

// Stats counts since NewWire.
func (w *Wire) Stats() DeviceStats { return w.stats.read(w.waits.Load()) }

// Close does nothing: a wire has no kernel side.
func (w *Wire) Close() error { return nil }
