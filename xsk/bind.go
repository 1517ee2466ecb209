package xsk

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A rung is one set of bind flags to try.
type rung struct {
	name  string
	flags uint16
}

// ladder lists what to try, best first. Each rung names its mode instead of leaving the choice to
// the kernel, which would fall back without saying why.
func (cfg *Config) ladder() []rung {
	var modes, buffers []rung
	if cfg.Mode != Copy {
		modes = append(modes, rung{"zerocopy", unix.XDP_ZEROCOPY})
	}
	if cfg.Mode != ZeroCopy {
		modes = append(modes, rung{"copy", unix.XDP_COPY})
	}
	if cfg.MultiBuffer != Off {
		buffers = append(buffers, rung{",sg", unix.XDP_USE_SG})
	}
	if cfg.MultiBuffer != Require {
		buffers = append(buffers, rung{})
	}
	wakeup := uint16(unix.XDP_USE_NEED_WAKEUP)
	if cfg.NoWakeup {
		wakeup = 0
	}
	var l []rung
	for _, m := range modes {
		for _, b := range buffers {
			l = append(l, rung{m.name + b.name, m.flags | b.flags | wakeup})
		}
	}
	return l
}

// bind climbs down the ladder and keeps each refusal.
func (s *Socket) bind() error {
	if lead := s.leader(); lead != nil {
		return s.bindShared(lead)
	}
	var refused []Refusal
	for _, r := range s.cfg.ladder() {
		err := s.bindOne(r.flags, -1)
		if err == nil {
			s.info.NeedWakeup = r.flags&unix.XDP_USE_NEED_WAKEUP != 0
			s.info.MultiBuffer = r.flags&unix.XDP_USE_SG != 0
			s.info.Refused = append(s.info.Refused, refused...)
			return nil
		}
		refused = append(refused, Refusal{r.name, err})
		// Another mode does not help where the queue is taken or gone.
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EPERM) {
			break
		}
	}
	var tried []string
	for _, r := range refused {
		tried = append(tried, r.String())
	}
	last := refused[len(refused)-1].Err
	return fmt.Errorf("bind (%s): %w%s", strings.Join(tried, "; "), last, s.bindHint(last))
}

// bindShared binds to the memory of a socket that is bound already. The kernel allows no other flag:
// they are inherited.
func (s *Socket) bindShared(lead *Socket) error {
	if s.cfg.Mode != Auto && (s.cfg.Mode == ZeroCopy) != lead.info.ZeroCopy {
		return fmt.Errorf("bind in %v mode: the umem is shared with queue %d of %s, whose mode it inherits: %w",
			s.cfg.Mode, lead.cfg.Queue, lead.cfg.Interface, unix.EOPNOTSUPP)
	}
	if s.cfg.MultiBuffer == Require && !lead.info.MultiBuffer {
		return fmt.Errorf("bind with multi-buffer: the umem is shared with queue %d of %s, which has none: %w",
			lead.cfg.Queue, lead.cfg.Interface, unix.EOPNOTSUPP)
	}
	if err := s.bindOne(unix.XDP_SHARED_UMEM, lead.fd); err != nil {
		return fmt.Errorf("bind, sharing the umem of queue %d of %s: %w%s", lead.cfg.Queue, lead.cfg.Interface, err, s.bindHint(err))
	}
	s.info.MultiBuffer, s.info.NeedWakeup = lead.info.MultiBuffer, lead.info.NeedWakeup
	return nil
}

// bindOne binds, and tries again for a while if the queue is taken: most often by a socket
// that was closed a moment ago. The UMEM keeps its memory meanwhile: it is ours alone.
func (s *Socket) bindOne(flags uint16, shared int) error {
	addr := unix.SockaddrXDP{Flags: flags, Ifindex: uint32(s.cfg.Index), QueueID: uint32(s.cfg.Queue)}
	if shared >= 0 {
		addr.SharedUmemFD = uint32(shared)
	}
	pause := time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		err := unix.Bind(s.fd, &addr)
		if !errors.Is(err, unix.EBUSY) || waited >= bindWait {
			return err
		}
		pause = min(2*pause, 50*time.Millisecond)
		time.Sleep(pause)
	}
}

// bindHint says what to do about a refused bind.
func (s *Socket) bindHint(err error) string {
	name, q := s.cfg.Interface, s.cfg.Queue
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Sprintf(" (queue %d of %s in use: another AF_XDP socket is bound to it; `ss --xdp -ap` names its process)", q, name)
	case errors.Is(err, unix.EINVAL):
		return fmt.Sprintf(" (%s has no queue %d? `ethtool -l %s` lists them; XDP_USE_SG needs Linux 6.6)", name, q, name)
	case errors.Is(err, unix.EOPNOTSUPP):
		return " (the driver has no AF_XDP zero-copy; mode auto falls back to copies)"
	case errors.Is(err, unix.ENODEV):
		return fmt.Sprintf(" (%s is gone or lies in another network namespace)", name)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Sprintf(" (`ip link set %s up`)", name)
	}
	return hint(err)
}
