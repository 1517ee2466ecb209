package xsk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Busy polling: what SO_PREFER_BUSY_POLL is combined with when Config leaves it 0
// (Documentation/networking/napi.rst; the budget is a NAPI's usual weight).
const (
	busyPollUsecDefault   = 20
	busyPollBudgetDefault = 64
)

// options sets what is asked for before bind: rings must exist for some of them.
func (s *Socket) options() error {
	if err := s.busyPoll(); err != nil {
		err = fmt.Errorf("%w (needs Linux 5.11, and CAP_NET_ADMIN)", err)
		if s.cfg.BusyPoll == Require {
			return err
		}
		s.info.Refused = append(s.info.Refused, Refusal{"busy poll", err})
	}
	if s.cfg.TxBudget != 0 && s.cfg.TxSize != 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, s.cfg.TxBudget); err != nil {
			s.info.Refused = append(s.info.Refused, Refusal{"tx budget",
				fmt.Errorf("XDP_MAX_TX_SKB_BUDGET %d: %w (needs Linux 6.17 and 32 to %d)", s.cfg.TxBudget, err, s.cfg.TxSize)})
		} else {
			s.info.TxBudget = s.cfg.TxBudget
		}
	}
	return nil
}

func (s *Socket) busyPoll() error {
	if s.cfg.BusyPoll == Off {
		return nil
	}
	usec, budget := s.cfg.BusyPollUsec, s.cfg.BusyPollBudget
	if usec == 0 {
		usec = busyPollUsecDefault
	}
	if budget == 0 {
		budget = busyPollBudgetDefault
	}
	for _, o := range []struct {
		name        string
		option, val int
	}{
		{"SO_PREFER_BUSY_POLL", unix.SO_PREFER_BUSY_POLL, 1},
		{"SO_BUSY_POLL", unix.SO_BUSY_POLL, usec},
		{"SO_BUSY_POLL_BUDGET", unix.SO_BUSY_POLL_BUDGET, budget},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, o.option, o.val); err != nil {
			return fmt.Errorf("%s=%d: %w", o.name, o.val, err)
		}
	}
	s.info.BusyPoll = true
	return nil
}

// FD is the socket's descriptor: for an XSKMAP, and to wait on. It must not be read,
// written or closed, and must stay out of Go's network poller: in copy mode each poll
// of it also sends.
func (s *Socket) FD() int { return s.fd }

// Info returns what the socket got. It does not change.
func (s *Socket) Info() Info { return s.info }

// UMEM returns the memory the socket is open on.
func (s *Socket) UMEM() *UMEM { return s.umem }

// Kernel is what the kernel counts for a socket (XDP_STATISTICS). Kernels before
// 5.9 leave the last three 0.
type Kernel struct {
	RxDropped   uint64 // no frame, or a packet longer than what a frame holds
	RxInvalid   uint64 // fill ring entries that the kernel refused
	TxInvalid   uint64 // tx ring entries that it refused (before Linux 7 their frames never complete)
	RxRingFull  uint64 // packets lost because the rx ring was full
	RxFillEmpty uint64 // times the kernel found the fill ring empty
	TxRingEmpty uint64 // times the kernel found the tx ring empty
}

// KernelStats asks the kernel for its counters: a system call. Anyone may.
func (s *Socket) KernelStats() (Kernel, error) {
	st, _, err := getsockopt[unix.XDPStatistics](s.fd, unix.SOL_XDP, unix.XDP_STATISTICS)
	if err != nil {
		return Kernel{}, fmt.Errorf("ask XDP_STATISTICS: %w", err)
	}
	return Kernel{st.Rx_dropped, st.Rx_invalid_descs, st.Tx_invalid_descs,
		st.Rx_ring_full, st.Rx_fill_ring_empty_descs, st.Tx_ring_empty_descs}, nil
}

// Err asks the kernel whether the socket still lives: ENETDOWN once its interface was
// deleted or moved to another namespace, which neither poll(2) nor the rings ever tell. It
// is a system call: ask rarely. An interface that is merely down is no error. Anyone may ask.
func (s *Socket) Err() error {
	if e := s.dead.Load(); e != 0 {
		return unix.Errno(e)
	}
	e, _, err := getsockopt[int32](s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("ask SO_ERROR: %w", err)
	}
	if e != 0 { // the kernel forgets what it has told
		s.dead.Store(uint32(e))
		return unix.Errno(e)
	}
	return nil
}

// Stats counts what the socket itself saw. Anyone may ask.
type Stats struct {
	Kicks      uint64 // system calls that asked the kernel to send
	Again      uint64 // of these, those after which frames stayed in the ring (EAGAIN)
	Busy       uint64 // frames that the device dropped and completed (EBUSY)
	KickErrors uint64 // kicks that failed otherwise
	Wakes      uint64 // system calls that asked the kernel to receive
	Refused    uint64 // frames that Submit did not put into the ring: see there
	Invalid    uint64 // ring entries of the kernel that name no frame of ours
	LastErrno  unix.Errno
}

// Stats returns the counters.
func (s *Socket) Stats() Stats {
	return Stats{s.kicks.Load(), s.again.Load(), s.busy.Load(), s.kickErrors.Load(), s.wakes.Load(),
		s.refused.Load(), s.invalid.Load(), unix.Errno(s.lastErrno.Load())}
}
