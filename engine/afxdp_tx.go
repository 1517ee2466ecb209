package engine

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/xsk"
)

// Reserve reclaims what was sent and shows free frames. They stay in spare until Submit uses
// them, over any number of turns.
func (d *AFXDP) Reserve(frames []Frame) int {
	d.xs.Complete()
	d.topUp()
	want := d.xs.Room(min(len(frames), batchMax))
	if d.trains.waits() {
		want = 0
	}
	if want > d.spares {
		d.spares += d.umem.Alloc(d.spare[d.spares:want])
	}
	n := min(want, d.spares)
	if n == 0 && len(frames) > 0 {
		d.count.txNoFrame.Add(1)
	}
	for i := range n {
		addr := d.slot(i)
		frames[i] = Frame{Data: d.umem.Data(addr, d.info.FrameLen), Handle: addr}
	}
	return n
}

// slot is the frame that Reserve showed i-th.
func (d *AFXDP) slot(i int) uint64 { return d.spare[d.spares-1-i] }

// Submit sends frames, in order. Each is sent from where it lies: in the frame that Reserve
// showed in its slot, or in a kept one of this UMEM. Bytes that lie anywhere else, a kept
// packet of several descriptors for one, are copied. What cannot be sent is counted in
// TxInvalid and its frame is free again.
func (d *AFXDP) Submit(frames []Frame, reserved int) {
	train, frames := takeTrain(frames)
	if len(frames) > 0 {
		d.enqueue(frames, min(reserved, d.spares))
	}
	if d.xs.Unsent() {
		d.kick()
	}
	if d.trains.waits() {
		d.sendTrainAgain()
	}
	if train != nil {
		d.sendTrain(train)
	}
}

// enqueue puts frames into the tx ring.
func (d *AFXDP) enqueue(frames []Frame, reserved int) {
	unused := d.back[:0] // frames of slots that something else stood in
	bytes := 0
	for i := range frames {
		f := &frames[i]
		slot, shown := uint64(0), i < reserved
		if shown {
			slot = d.slot(i)
		}
		addr, ours := d.umem.Addr(f.Data)
		bytes += len(f.Data)
		if ours && shown && d.same(addr, slot) { // filled where it was shown: most are
			d.put(xsk.Desc{Addr: addr, Len: uint32(len(f.Data))})
			continue
		}
		switch {
		case ours && f.kept && f.Handle&inScratch == 0 && d.same(addr, f.Handle):
			d.put(xsk.Desc{Addr: addr, Len: uint32(len(f.Data))})
		case ours || !shown: // in a frame that is not the caller's to send
			d.count.txInvalid.Add(1)
			d.forget(f)
		default:
			d.copyOut(f.Data, slot)
			d.forget(f)
			shown = false
		}
		if shown {
			unused = append(unused, slot)
		}
	}
	d.flush()
	d.spares -= min(len(frames), reserved)
	d.spares += copy(d.spare[d.spares:], unused)
	d.count.txPackets.Add(uint64(len(frames)))
	d.count.txBytes.Add(uint64(bytes))
}

// same says whether two addresses are in one frame.
func (d *AFXDP) same(a, b uint64) bool { return (a^b)&^uint64(d.info.FrameLen-1) == 0 }

// forget frees what a frame holds that is not sent from where it lies.
func (d *AFXDP) forget(f *Frame) {
	if f.kept {
		d.Free(*f)
	}
}

// put queues a packet, or a piece of one.
func (d *AFXDP) put(desc xsk.Desc) {
	if d.queued == len(d.descs) {
		d.flush()
	}
	d.descs[d.queued] = desc
	d.queued++
}

// flush shows what is queued to the kernel. Reserve has seen to it that there is room; a caller that
// sends more than it reserved loses the rest, counted.
func (d *AFXDP) flush() {
	n := d.xs.Submit(d.descs[:d.queued])
	for _, desc := range d.descs[n:d.queued] {
		d.count.txInvalid.Add(1)
		d.umem.Free(desc.Addr)
	}
	d.queued = 0
}

// piecesMax is how many descriptors a packet may have in copy mode: MAX_SKB_FRAGS and the head.
const piecesMax = 18

// copyOut queues a packet that lies outside the UMEM: in the slot's frame, and in as many
// more as it takes where the socket can send such.
func (d *AFXDP) copyOut(data []byte, slot uint64) {
	var addrs [piecesMax]uint64
	addrs[0] = slot
	room := d.info.FrameLen
	pieces := max((len(data)+room-1)/room, 1)
	have := 1
	if pieces > 1 && pieces <= piecesMax && d.multi {
		d.flush()
		if d.xs.Room(pieces) == pieces {
			have += d.umem.Alloc(addrs[1:pieces])
		}
	}
	if have < pieces {
		d.count.txInvalid.Add(1)
		for _, addr := range addrs[:have] {
			d.umem.Free(addr)
		}
		return
	}
	for i, addr := range addrs[:pieces] {
		n := copy(d.umem.Data(addr, room), data)
		data = data[n:]
		desc := xsk.Desc{Addr: addr, Len: uint32(n)}
		if i < pieces-1 {
			desc.Options = xsk.Contd
		}
		d.put(desc)
	}
	if pieces > 1 {
		d.flush()
	}
}

// kick makes the kernel send. What it cannot take now stays in the ring.
func (d *AFXDP) kick() {
	switch d.xs.Kick() {
	case unix.ENETDOWN, unix.ENXIO: // down, which passes, or gone
		d.Probe()
	}
}

// Unsent says whether frames wait for another Submit to be sent.
func (d *AFXDP) Unsent() bool { return d.xs.Unsent() || d.trains.waits() }
