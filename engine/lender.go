package engine

import "sync/atomic"

// A lender is the frames of a device that copies (AF_PACKET, TAP, TUN, a wire) and
// the books about them: what is left of a [Device] when system calls and sleep are
// taken away. It has as many frames as can be out at once:
//
//	receive  lenderBatchMax from Peek to Release, and lenderKeepMax in the handler's hands
//	send     lenderTxMax taken by Submit and not yet by the kernel, or shown by Reserve
//
// so neither side can starve the other. A kept frame that is submitted stays a
// receive frame. Its memory is touched only as far as frames fill it.
type lender struct {
	rx, tx frameStack
	unsent []outgoing // in order; those before head have been taken by the kernel
	head   int
	backed atomic.Bool // some are not; written by who calls Submit, read by anyone

	stats lenderStats
}

const (
	lenderBatchMax = 64  // frames of one Peek: a system call a frame is not amortized further
	lenderTxMax    = 256 // one burst of the turn, four times over
	lenderKeepMax  = 256 // as many as can be waiting to be sent
)

// An outgoing frame is one that Submit took.
type outgoing struct {
	data   []byte
	handle uint64
}

// What a frame's Handle is: its number, and this bit if it is one of tx.
const txHandle = 1 << 32

// lenderRegions numbers devices for Info.Region. The high bit keeps them apart from
// the numbers of UMEMs: every lender's memory is its own.
var lenderRegions atomic.Uint64

// init makes the memory: rxRoom bytes for a received frame, txRoom for one to be sent.
func (l *lender) init(rxRoom, txRoom int) (region uint64) {
	l.rx.init(lenderBatchMax+lenderKeepMax, rxRoom)
	l.tx.init(lenderTxMax, txRoom)
	l.unsent = make([]outgoing, 0, lenderTxMax+lenderKeepMax)
	return 1<<63 | lenderRegions.Add(1)
}

// peekRoom is how many frames a Peek that may return n can take in.
func (l *lender) peekRoom(n int) int { return min(n, lenderBatchMax, len(l.rx.free)) }

// take lends the next receive frame, with data being what lies in it.
func (l *lender) take(data []byte) Frame {
	return Frame{Data: data, Handle: uint64(l.rx.pop())}
}

// received counts what a Peek lends.
func (l *lender) received(frames []Frame) {
	if len(frames) == 0 {
		return
	}
	bytes := 0
	for i := range frames {
		bytes += len(frames[i].Data)
	}
	l.stats.rxPackets.Add(uint64(len(frames)))
	l.stats.rxBytes.Add(uint64(bytes))
}

// Release ends what Peek lent. Frames that were kept are not taken back.
func (l *lender) Release(frames []Frame) {
	for i := range frames {
		if !frames[i].kept {
			l.Free(frames[i])
		}
	}
}

// Free gives back a kept frame that is not going to be sent.
func (l *lender) Free(f Frame) {
	if f.Handle&txHandle != 0 {
		l.tx.push(uint32(f.Handle))
	} else {
		l.rx.push(uint32(f.Handle))
	}
}

// Reserve shows free frames and takes none.
func (l *lender) Reserve(frames []Frame) int {
	n := min(len(frames), len(l.tx.free))
	for i := range n {
		number := l.tx.top(i)
		frames[i] = Frame{Data: l.tx.memory(number), Handle: uint64(number) | txHandle}
	}
	if n == 0 && len(frames) > 0 {
		l.stats.txNoFrame.Add(1)
	}
	return n
}

// submit takes frames to be sent, after those that still wait.
func (l *lender) submit(frames []Frame) {
	if l.head > 0 {
		l.unsent = l.unsent[:copy(l.unsent, l.unsent[l.head:])]
		l.head = 0
	}
	for i := range frames {
		l.unsent = append(l.unsent, outgoing{frames[i].Data, frames[i].Handle})
	}
	// A slot that holds a kept frame leaves the one that Reserve put there free.
	all := len(l.tx.free)
	stay := all - len(frames)
	for i := len(frames) - 1; i >= 0; i-- {
		number := l.tx.free[all-1-i]
		if frames[i].Handle&txHandle == 0 {
			l.tx.free[stay] = number
			stay++
		} else {
			l.tx.inUse[number] = true
		}
	}
	l.tx.free = l.tx.free[:stay]
}

// waiting is the frames that the kernel has not taken.
func (l *lender) waiting() []outgoing { return l.unsent[l.head:] }

// sent takes the first n of waiting back, whatever became of them.
func (l *lender) sent(n int) {
	for _, o := range l.unsent[l.head : l.head+n] {
		l.Free(Frame{Handle: o.handle})
	}
	l.head += n
}

// drop takes all of waiting back: the device has died.
func (l *lender) drop() { l.sent(len(l.waiting())) }

// settle ends a Submit.
func (l *lender) settle() {
	if backed := l.head < len(l.unsent); backed != l.backed.Load() {
		l.backed.Store(backed)
	}
}

// Unsent says whether frames wait for the kernel to take them.
func (l *lender) Unsent() bool { return l.backed.Load() }

// A frameStack is equally long frames in one piece of memory, and which are free.
type frameStack struct {
	mem   []byte
	room  int      // bytes of a frame that may be used
	each  int      // bytes from one frame to the next
	free  []uint32 // numbers; the last is taken next
	inUse []bool   // by number: a frame that is given back twice is taken back once
}

// frameAlign keeps frames apart by whole cache lines.
const frameAlign = 64

func (s *frameStack) init(count, room int) {
	s.room, s.each = room, (room+frameAlign-1)/frameAlign*frameAlign
	s.mem = make([]byte, count*s.each)
	s.free, s.inUse = make([]uint32, count), make([]bool, count)
	for i := range s.free {
		s.free[i] = uint32(count - 1 - i)
	}
}

func (s *frameStack) memory(number uint32) []byte {
	at := int(number) * s.each
	return s.mem[at : at+s.room : at+s.room]
}

// top is the number of the free frame that is i-th in turn.
func (s *frameStack) top(i int) uint32 { return s.free[len(s.free)-1-i] }

func (s *frameStack) pop() uint32 {
	number := s.top(0)
	s.free = s.free[:len(s.free)-1]
	s.inUse[number] = true
	return number
}

func (s *frameStack) push(number uint32) {
	if int(number) < len(s.inUse) && s.inUse[number] {
		s.inUse[number] = false
		s.free = append(s.free, number)
	}
}

// lenderStats are the counters that the turning goroutine writes and anyone reads.
type lenderStats struct {
	rxPackets, rxBytes, rxDropped, rxOversize atomic.Uint64
	txPackets, txBytes, txBusy, txInvalid     atomic.Uint64
	txNoFrame, kicks, kickErrors              atomic.Uint64
}

func (s *lenderStats) read(wakeups uint64) DeviceStats {
	return DeviceStats{
		RxPackets: s.rxPackets.Load(), RxBytes: s.rxBytes.Load(),
		TxPackets: s.txPackets.Load(), TxBytes: s.txBytes.Load(),
		RxDropped: s.rxDropped.Load(), RxOversize: s.rxOversize.Load(),
		TxBusy: s.txBusy.Load(), TxInvalid: s.txInvalid.Load(), TxNoFrame: s.txNoFrame.Load(),
		Kicks: s.kicks.Load(), KickErrors: s.kickErrors.Load(), Wakeups: wakeups,
	}
}
