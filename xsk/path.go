package xsk

import "golang.org/x/sys/unix"

// The data path, in packet order. Nothing here allocates.

// Ready says whether Peek would find something. It costs no system call, and anyone may ask.
func (s *Socket) Ready() bool { return s.rx.mem != nil && s.rx.level() != 0 }

// Peek returns how many descriptors have arrived, up to limit. They stay in the rx ring until Release.
func (s *Socket) Peek(limit int) int { return int(s.rx.peek(uint32(limit))) }

// Rx returns the i-th descriptor that Peek found.
func (s *Socket) Rx(i int) Desc { return s.rx.at(uint32(i)) }

// Release takes the first n peeked descriptors out of the rx ring. Their frames are lent
// to the caller now, who gives them to Fill, Submit or Free.
func (s *Socket) Release(n int) {
	q, u := s.queue, s.umem
	from := q.id<<2 | sideFill
	for i := range uint32(n) {
		if !u.move(s.rx.at(i).Addr, from, lent) {
			s.invalid.Add(1)
			u.misuse("Release", s.rx.at(i).Addr, from)
			continue
		}
		q.inFill--
	}
	s.rx.release(uint32(n))
}

// Fill gives lent frames to the kernel to receive into, as many as the fill ring has room for, and
// returns how many. An address names the frame it lies in.
func (s *Socket) Fill(addrs []uint64) int {
	q, u := s.queue, s.umem
	to := q.id<<2 | sideFill
	n := q.fill.reserve(uint32(len(addrs)))
	put := uint32(0)
	for _, addr := range addrs[:n] {
		if !u.move(addr, lent, to) {
			u.misuse("Fill", addr, lent)
			continue
		}
		q.fill.set(put, u.base(addr))
		put++
	}
	q.fill.submit(put)
	q.inFill += int(put)
	return int(n)
}

// Refill gives up to n free frames to the kernel to receive into, and returns how many.
func (s *Socket) Refill(n int) int {
	q, u := s.queue, s.umem
	to := q.id<<2 | sideFill
	put := q.fill.reserve(uint32(min(n, len(u.free))))
	for i := range put {
		last := len(u.free) - 1
		addr := u.free[last]
		u.free = u.free[:last]
		u.owner[addr>>u.shift] = to
		q.fill.set(i, addr)
	}
	q.fill.submit(put)
	q.inFill += int(put)
	return int(put)
}

// InFill is how many frames the kernel has to receive into, or has received into
// and Release has not taken yet.
func (s *Socket) InFill() int { return s.queue.inFill }

// WakeRx makes the system call that the kernel wants before it looks at the fill ring
// again, if it wants one; with busy polling always, which is what runs the driver.
func (s *Socket) WakeRx() {
	if !s.info.BusyPoll && !(s.info.NeedWakeup && s.queue.fill.needWakeup()) {
		return
	}
	s.wakes.Add(1)
	s.receive()
}

// Complete takes the frames that the kernel is done with out of the completion ring and
// frees them. It returns how many.
func (s *Socket) Complete() int {
	q, u := s.queue, s.umem
	from := q.id<<2 | sideTx
	n := q.completion.peek(uint32(len(q.completion.entries)))
	if n == 0 {
		return 0
	}
	// Copies of what the loop needs stay in registers, where fields would be read again
	// for each frame.
	stack, mask := u.free, ^uint64(u.cfg.FrameSize-1)
	for i := range n {
		addr := q.completion.at(i)
		if !u.move(addr, from, free) {
			s.invalid.Add(1)
			u.misuse("Complete", addr, from)
			continue
		}
		stack = append(stack, addr&mask)
	}
	q.inTx -= len(stack) - len(u.free)
	u.free = stack
	q.completion.release(n)
	return int(n)
}

// Room is how many descriptors, up to want, Submit would take now.
func (s *Socket) Room(want int) int { return int(s.tx.reserve(uint32(want))) }

// Submit puts packets into the tx ring, in order, as far as there is room, and returns how many
// descriptors it used up; Kick makes the kernel send them. The frames must be lent; they
// are the kernel's until Complete.
//
// A packet that the kernel would refuse is used up but not put into the ring: before
// Linux 7 it would keep the frame for ever. Its frames are freed and counted in
// Stats.Refused. That is one with a length of 0 or beyond the end of its frame, options other
// than [Contd], several descriptors on a socket without multi-buffer, or no end. A descriptor whose frame is not lent is left out and counted
// by [UMEM.Misused].
func (s *Socket) Submit(descs []Desc) int {
	room := int(s.tx.reserve(uint32(len(descs))))
	put, i := 0, 0
	to, size := s.queue.id<<2|sideTx, uint64(s.umem.cfg.FrameSize)
	for i < len(descs) {
		// Most packets are of one descriptor and in order.
		if d := descs[i]; put < room && d.Options == 0 && d.Len != 0 && d.Addr&(size-1)+uint64(d.Len) <= size && s.umem.move(d.Addr, lent, to) {
			s.tx.set(uint32(put), d)
			put++
			i++
			continue
		}
		end := i + 1
		for descs[end-1].Options&Contd != 0 && end < len(descs) {
			end++
		}
		if end-i > room-put {
			break
		}
		if s.sendable(descs[i:end]) {
			for _, d := range descs[i:end] {
				s.tx.set(uint32(put), d)
				put++
			}
		} else {
			s.refuse(descs[i:end])
		}
		i = end
	}
	s.tx.submit(uint32(put))
	s.queue.inTx += put
	return i
}

// sendable moves a packet's frames to the kernel's side if all of it is in order.
func (s *Socket) sendable(packet []Desc) bool {
	u := s.umem
	to := s.queue.id<<2 | sideTx
	if len(packet) > 1 && !s.info.MultiBuffer {
		return false
	}
	for i, d := range packet {
		inFrame := d.Addr&uint64(u.cfg.FrameSize-1) + uint64(d.Len)
		last := i == len(packet)-1
		if d.Len == 0 || inFrame > uint64(u.cfg.FrameSize) || d.Options&^Contd != 0 ||
			last != (d.Options&Contd == 0) || !u.move(d.Addr, lent, to) {
			for _, back := range packet[:i] {
				u.move(back.Addr, to, lent)
			}
			return false
		}
	}
	return true
}

// refuse frees the frames of a packet that cannot be sent.
func (s *Socket) refuse(packet []Desc) {
	for _, d := range packet {
		s.refused.Add(1)
		s.umem.Free(d.Addr)
	}
}

// Unsent says whether the tx ring holds frames that nobody will look at before the next Kick. In
// zero-copy mode a driver that is at work takes frames without being asked. Anyone may ask.
func (s *Socket) Unsent() bool {
	return s.tx.mem != nil && s.tx.level() != 0 && (!s.info.NeedWakeup || s.tx.needWakeup())
}

// sendto and recvfrom with nothing in them: the kernel takes them as "look at your rings".
// A short send is made without telling Go's scheduler, which saves a tenth of its time; a
// long one would hold up the garbage collector.
const rawSendMax = 16

func (s *Socket) send(frames uint32) unix.Errno {
	var errno unix.Errno
	if frames <= rawSendMax {
		_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	} else {
		_, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	}
	return errno
}

func (s *Socket) receive() unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}
