package engine

import (
	"sync/atomic"

	"github.com/xdpsock/xdpsock/proto/mono"
)

const (
	// loopMTU is the MTU of a [Loop] in bytes of an IP packet, that of Linux's lo: a whole
	// datagram of the largest size passes in one piece.
	loopMTU = 65536

	// loopMax is how many packets a [Loop] holds: what one turn takes in. A sender that
	// finds it full waits in place until the turn has come.
	loopMax = batchMax
)

// A Loop is the device by which a core sends packets to itself: what Submit takes is
// what Peek lends, in order and unchanged. Frames begin at the IP header. It loses
// nothing and has no kernel side.
//
// Its memory is made when a number of packets wait for the first time, at most 4 MiB
// ([loopMax] of [loopMTU] bytes), and the one used last is used next.
type Loop struct {
	rooms   [loopMax][]byte  // by number, made when first shown
	free    []uint8          // numbers; the last is taken next
	packets [loopMax]waiting // a ring
	first   int              // index of the oldest in packets
	length  atomic.Int32     // packets that wait; written by who turns, read by anyone
	stats   lenderStats
}

// waiting is one packet on its way round.
type waiting struct {
	room uint8
	len  int
}

// NewLoop makes a loop.
func NewLoop() *Loop {
	l := &Loop{free: make([]uint8, 0, loopMax)}
	for i := range loopMax {
		l.free = append(l.free, uint8(loopMax-1-i))
	}
	return l
}

// Info describes the device.
func (l *Loop) Info() Info {
	return Info{Name: "loop", Mode: "loop", MTU: loopMTU, RawIP: true, Loop: true, Virtual: true, FrameLen: loopMTU}
}

// Peek lends what was submitted.
func (l *Loop) Peek(frames []Frame) int {
	n := min(len(frames), int(l.length.Load()))
	bytes := 0
	for i := range n {
		p := &l.packets[(l.first+i)%loopMax]
		frames[i] = Frame{Data: l.rooms[p.room][:p.len], Handle: uint64(p.room)}
		bytes += p.len
	}
	if n > 0 {
		l.stats.rxPackets.Add(uint64(n))
		l.stats.rxBytes.Add(uint64(bytes))
	}
	return n
}

// Release makes the room of what Peek lent free for other packets.
func (l *Loop) Release(frames []Frame) {
	for i := range frames {
		l.free = append(l.free, uint8(frames[i].Handle))
	}
	l.first = (l.first + len(frames)) % loopMax
	l.length.Add(-int32(len(frames)))
}

// Reserve shows free room and takes none.
func (l *Loop) Reserve(frames []Frame) int {
	n := min(len(frames), len(l.free))
	for i := range n {
		room := l.free[len(l.free)-1-i]
		if l.rooms[room] == nil {
			l.rooms[room] = make([]byte, loopMTU)
		}
		frames[i] = Frame{Data: l.rooms[room], Handle: uint64(room)}
	}
	if n == 0 && len(frames) > 0 {
		l.stats.txNoFrame.Add(1)
	}
	return n
}

// Submit puts packets at the end of those that wait.
func (l *Loop) Submit(frames []Frame, _ int) {
	if len(frames) == 0 {
		return
	}
	next, bytes := l.first+int(l.length.Load()), 0
	for i := range frames {
		l.packets[(next+i)%loopMax] = waiting{uint8(frames[i].Handle), len(frames[i].Data)}
		bytes += len(frames[i].Data)
	}
	l.free = l.free[:len(l.free)-len(frames)] // Reserve showed them from the end
	l.length.Add(int32(len(frames)))
	l.stats.txPackets.Add(uint64(len(frames)))
	l.stats.txBytes.Add(uint64(bytes))
}

// Unsent is false: there is nobody who could fail to take a packet.
func (l *Loop) Unsent() bool { return false }

// Free is never called: no frame can be kept (Info.KeepMax is 0).
func (l *Loop) Free(Frame) {}

// Ready says whether a packet waits.
func (l *Loop) Ready() bool { return l.length.Load() > 0 }

// Wait and Wake are not called: nobody waits for a loop (see [Info.Loop]).
func (l *Loop) Wait(mono.Time) {}
func (l *Loop) Wake()          {}

// Err is nil: a loop does not break.
func (l *Loop) Err() error { return nil }

// Stats counts since NewLoop.
func (l *Loop) Stats() DeviceStats { return l.stats.read(0) }

// Close does nothing.
func (l *Loop) Close() error { return nil }
