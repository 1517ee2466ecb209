package engine

import "github.com/xdpsock/xdpsock/xsk"

// inScratch in a handle says that the frame lies in the scratch, not in the UMEM. The
// other bits are the scratch's age then.
const inScratch = 1 << 63

// A scratch is where packets of several descriptors are made contiguous, one behind the
// other, until the next Peek. What is kept longer takes the memory along: it is
// replaced, and the garbage collector has it when the last holder lets go.
type scratch struct {
	mem  []byte // nil until the first such packet
	used int
	age  uint64 // how often mem was replaced
	kept int    // frames in mem that a handler holds
}

func (s *scratch) reset() {
	if s.kept > 0 {
		s.mem, s.kept = nil, 0
		s.age++
	}
	s.used = 0
}

// handle names a frame in mem.
func (s *scratch) handle() uint64 { return inScratch | s.age }

// free is told of a frame that its holder lets go.
func (s *scratch) free(handle uint64) {
	if handle == s.handle() {
		s.kept--
	}
}

// room returns an empty slice for n bytes, which must fit.
func (s *scratch) room(n int) []byte {
	if s.mem == nil {
		s.mem = make([]byte, afxdpScratchLen)
	}
	data := s.mem[s.used : s.used : s.used+n]
	s.used += n
	return data
}

// Peek lends what has arrived. The frames are taken from the rx ring at once; they are ours
// until Release gives them back.
func (d *AFXDP) Peek(frames []Frame) int {
	n := d.xs.Peek(d.descMax)
	if n == 0 {
		d.xs.WakeRx() // busy polling, or a driver that ran out of frames
		return 0
	}
	d.big.reset()
	lent, used, bytes := 0, 0, 0
	limit := min(len(frames), batchMax)
	for lent < limit && used < n {
		desc := d.xs.Rx(used)
		if desc.Options&xsk.Contd != 0 {
			took, data := d.gather(used, n)
			if took == 0 {
				break
			}
			used += took
			if data != nil {
				frames[lent] = Frame{Data: data, Handle: d.big.handle()}
				lent++
				bytes += len(data)
			}
			continue
		}
		used++
		data := d.umem.Data(desc.Addr, int(desc.Len))
		if data == nil {
			continue // names no frame: Release counts it
		}
		frames[lent] = Frame{Data: data, Handle: desc.Addr}
		lent++
		bytes += len(data)
	}
	d.xs.Release(used)
	if len(d.back) > 0 {
		d.giveBack()
	}
	d.count.rxPackets.Add(uint64(lent))
	d.count.rxBytes.Add(uint64(bytes))
	return lent
}

// gather makes the packet that begins at descriptor first of n contiguous, and says how
// many descriptors it took: 0 if the packet's end, or room for it, is yet to come. Its
// frames go straight back. A packet longer than any room is taken, counted, and nil.
func (d *AFXDP) gather(first, n int) (took int, data []byte) {
	total, end := 0, first
	for ; end < n; end++ {
		desc := d.xs.Rx(end)
		total += int(desc.Len)
		if desc.Options&xsk.Contd == 0 {
			break
		}
	}
	if end == n {
		if n < d.descMax {
			return 0, nil // the kernel is still at it
		}
		end, total = n-1, afxdpScratchLen+1 // a ring full of one packet
	}
	took = end + 1 - first
	switch {
	case total > afxdpScratchLen:
		d.count.rxOversize.Add(1)
	case d.big.used+total > afxdpScratchLen:
		return 0, nil // the next Peek has room
	default:
		data = d.big.room(total)
	}
	for i := first; i <= end; i++ {
		desc := d.xs.Rx(i)
		piece := d.umem.Data(desc.Addr, int(desc.Len))
		if piece == nil {
			continue // names no frame: Release counts it
		}
		if data != nil {
			data = append(data, piece...)
		}
		d.back = append(d.back, desc.Addr)
	}
	return took, data
}

// Release gives back what was not kept.
func (d *AFXDP) Release(frames []Frame) {
	for i := range frames {
		f := &frames[i]
		switch {
		case f.kept && f.Handle == d.big.handle():
			d.big.kept++
		case !f.kept && f.Handle&inScratch == 0:
			d.back = append(d.back, f.Handle)
		}
	}
	if len(d.back) > 0 {
		d.giveBack()
	}
}

// giveBack hands frames to the kernel to receive into, as many as it is to have, and the rest to
// the UMEM.
func (d *AFXDP) giveBack() {
	want := max(d.target-d.xs.InFill(), 0)
	n := d.xs.Fill(d.back[:min(len(d.back), want)])
	for _, addr := range d.back[n:] {
		d.umem.Free(addr)
	}
	d.back = d.back[:0]
	d.xs.WakeRx()
}

// topUp replaces the frames that were kept, or sent from where they lay.
func (d *AFXDP) topUp() {
	if missing := d.target - d.xs.InFill(); missing > 0 && d.xs.Refill(missing) > 0 {
		d.xs.WakeRx()
	}
}

// Ready says whether something has arrived: two loads.
func (d *AFXDP) Ready() bool { return d.xs.Ready() }

// Free gives back a kept frame.
func (d *AFXDP) Free(f Frame) {
	if f.Handle&inScratch != 0 {
		d.big.free(f.Handle)
		return
	}
	d.umem.Free(f.Handle)
}
