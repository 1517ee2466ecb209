package xsk

import "golang.org/x/sys/unix"

// stuckMax is how many kicks in a row may bring nothing before Kick gives up for now: one to
// learn that, one after the completion ring was emptied, whose being full is the usual cause.
const stuckMax = 2

// Kick makes the kernel send what is in the tx ring. It returns 0 if nothing is left for us to
// do, or the errno of the last attempt; frames are then still in the ring, to be kicked again.
//
//	EAGAIN           no room: completion ring or device queue full, or socket buffers used up
//	ENETDOWN         the interface is down; it may come up again
//	ENXIO            not bound any more: ask Err
//	ENOBUFS, others  whatever the kernel says; counted
//
// In copy mode a call sends 32 packets (Config.TxBudget) and answers EAGAIN when there are more:
// Kick goes on as long as that gets on. EBUSY is not returned: the device dropped
// one frame, which comes back through the completion ring like one that was sent. It is
// counted and never sent again.
func (s *Socket) Kick() unix.Errno {
	if s.tx.mem == nil {
		return 0
	}
	stuck := 0
	// Each round sends, loses or gets stuck: the bound is for a kernel that lies.
	for rounds := s.tx.level() + stuckMax; rounds > 0; rounds-- {
		if !s.Unsent() {
			return 0
		}
		unsent := s.tx.level()
		s.kicks.Add(1)
		errno := s.send(unsent)
		switch errno {
		case 0:
			// Copy mode: the kernel found the ring empty. Zero-copy: the driver was told.
			return 0
		case unix.EINTR:
			continue
		case unix.EBUSY:
			if s.info.ZeroCopy { // the driver cannot be woken just now; nothing was dropped
				s.again.Add(1)
				return unix.EAGAIN
			}
			s.busy.Add(1)
			continue
		case unix.EAGAIN:
			s.again.Add(1)
			if s.tx.level() < unsent {
				stuck = 0
				continue
			}
			// Kernels before 6.17 move the consumer index late, so a batch may have
			// been sent all the same: what completes tells.
			if stuck++; s.Complete() == 0 && stuck >= stuckMax {
				return errno
			}
		default:
			s.kickErrors.Add(1)
			s.lastErrno.Store(uint32(errno))
			return errno
		}
	}
	return unix.EAGAIN
}
