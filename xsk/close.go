package xsk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Close unbinds the socket. What the kernel had goes back to the UMEM: unsent packets are
// lost, unread ones too. The queue can be bound again as soon as the kernel has done its deferred
// work (~30 ms; Open waits for it), provided that nobody holds a copy of FD.
//
// A driver in zero-copy mode may write to its frames until then, so the UMEM keeps those until
// the next socket is bound to the queue.
//
// The socket whose fill and completion rings others share must be closed last. Close
// returns an error, and closes nevertheless, if the frames do not add up.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return errors.New("af_xdp: closed already")
	}
	if s.lead && s.queue.users > 1 {
		return fmt.Errorf("af_xdp: queue %d of %s: %d sockets share its fill ring: close them first",
			s.cfg.Queue, s.cfg.Interface, s.queue.users-1)
	}
	if s.cfg.TxSize > 0 {
		s.Complete()
	}
	err := s.audit()
	return errors.Join(err, s.undo())
}

// audit holds what lies in the rings against the owner table: every frame in one place. The kernel goes on
// receiving and sending meanwhile; each pair of rings is read downstream first, so
// that a frame on its way is missed rather than seen twice.
func (s *Socket) audit() error {
	errs := []error{s.umem.audit()}
	if s.queue.users > 1 {
		return errs[0] // frames of one queue lie in several rx rings
	}
	seen := make(map[uint64]string)
	look := func(name string, side uint8, addr uint64) {
		i := addr >> s.umem.shift
		if i >= uint64(len(s.umem.owner)) {
			errs = append(errs, fmt.Errorf("%s ring: address %#x is outside the umem", name, addr))
		} else if other, twice := seen[i]; twice {
			errs = append(errs, fmt.Errorf("frame %d is in the %s ring and in the %s ring", i, other, name))
		} else if s.umem.owner[i] != s.queue.id<<2|side {
			errs = append(errs, fmt.Errorf("%s ring: frame %d has owner %#x", name, i, s.umem.owner[i]))
		}
		seen[i] = name
	}
	for i := range s.rx.peek(uint32(s.cfg.RxSize)) {
		look("rx", sideFill, s.rx.at(i).Addr)
	}
	fill := &s.queue.fill.ring
	for at := fill.consumer.Load(); at != fill.prod; at++ {
		look("fill", sideFill, fill.entries[at&fill.mask])
	}
	done := &s.queue.completion
	for i := range done.peek(uint32(len(done.entries))) {
		look("completion", sideTx, done.at(i))
	}
	return errors.Join(errs...)
}

// undo gives everything back in reverse order, from however far Open came. The rings must be unmapped
// before the descriptor is closed: a mapping keeps the socket, and with it the queue.
func (s *Socket) undo() error {
	var errs []error
	unmap := func(name string, mem *[]byte) {
		if *mem == nil {
			return
		}
		if err := unix.Munmap(*mem); err != nil {
			errs = append(errs, fmt.Errorf("af_xdp: unmap the %s ring: %w", name, err))
		}
		*mem = nil
	}
	unmap("rx", &s.rx.mem)
	unmap("tx", &s.tx.mem)
	if s.lead {
		unmap("fill", &s.queue.fill.mem)
		unmap("completion", &s.queue.completion.mem)
	}
	if s.fd >= 0 {
		if err := unix.Close(s.fd); err != nil {
			errs = append(errs, fmt.Errorf("af_xdp: close: %w", err))
		}
		s.fd = -1
	}
	if s.queue != nil {
		s.leave()
	}
	return errors.Join(errs...)
}

// leave takes the socket off the UMEM, and with the queue's last one the queue's frames.
func (s *Socket) leave() {
	u, q := s.umem, s.queue
	for i, other := range u.sockets {
		if other == s {
			u.sockets = append(u.sockets[:i], u.sockets[i+1:]...)
			break
		}
	}
	if q.users--; q.users == 0 {
		u.reclaim(q, s.bound && s.info.ZeroCopy)
		u.ids[q.id-1] = false
	}
	s.queue = nil
}
