package socketapi

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: Documentation/networking/timestamping.rst of Linux; sock_set_timestamp and
// sock_recv_timestamp in net/core/sock.c.

// timestamp is one of the options that ask for the time of arrival. There is one such time: the
// option that was set last says in what form.
func timestamp(label string, name int, form wants) option {
	const forms = wantNanoseconds | wantNewTime
	return option{level: unix.SOL_SOCKET, name: name, label: label, kind: kindFlag,
		get: func(s socket, v *value) unix.Errno {
			w := s.common().wants.load()
			v.n = number(w&wantTimestamp != 0 && w&forms == form)
			return 0
		},
		set: func(s socket, v *value) unix.Errno {
			w := &s.common().wants
			w.set(wantTimestamp|forms, false)
			w.set(wantTimestamp|form, v.n != 0)
			return 0
		},
	}
}

// stampingTaken are the flags of SO_TIMESTAMPING that can be set. The hardware's times are among
// them, as Linux takes them on an interface that has none, and there are none here.
const stampingTaken = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
	unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE | unix.SOF_TIMESTAMPING_TX_HARDWARE

// stampingRecorded are those that say what is heard of sending, which a message can have for itself; stampingSent all
// that are about sending.
const (
	stampingRecorded = unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SCHED
	stampingSent     = stampingRecorded | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
)

// stampKeys is, beside the bits of a udp.Stamp, that datagrams are numbered (SOF_TIMESTAMPING_OPT_ID).
const stampKeys = 1 << 8

// stampOf is what of the flags is told by software.
func stampOf(flags int) (s udp.Stamp) {
	if flags&unix.SOF_TIMESTAMPING_TX_SOFTWARE != 0 {
		s |= udp.StampSent
	}
	if flags&unix.SOF_TIMESTAMPING_TX_SCHED != 0 {
		s |= udp.StampScheduled
	}
	if flags&unix.SOF_TIMESTAMPING_OPT_TSONLY != 0 {
		s |= udp.StampOnly
	}
	return s
}

// stamping is SO_TIMESTAMPING in one of its forms.
func stamping(label string, name int, form wants) option {
	return option{level: unix.SOL_SOCKET, name: name, label: label,
		get: func(s socket, v *value) unix.Errno { v.n = s.common().stamping; return 0 },
		set: func(s socket, v *value) unix.Errno { return setStamping(s, v.n, form) },
	}
}

func setStamping(s socket, flags int, form wants) unix.Errno {
	u, sends := s.(interface{ numbers() *atomic.Uint32 })
	if taken := stampingTaken | stampingSent; flags&^taken != 0 || !sends && flags&stampingSent&^stampingTaken != 0 {
		return unix.EINVAL
	}
	c := s.common()
	if sends && flags&^c.stamping&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		u.numbers().Store(0)
	}
	c.stamping = flags
	stamps := uint32(stampOf(flags))
	if flags&unix.SOF_TIMESTAMPING_OPT_ID != 0 {
		stamps |= stampKeys
	}
	c.stamps.Store(stamps)
	const software = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	c.wants.set(wantStamping|wantNewStamping, false)
	c.wants.set(form, true)
	c.wants.set(wantStamping, flags&software == software)
	return 0
}

// numbers is what numbers the datagrams whose sending is heard of.
func (s *udpSocket) numbers() *atomic.Uint32 { return &s.keys }

// sentWith writes when a datagram was sent, if it is to be told.
func (c *control) sentWith(s *settings, m *ring.Datagram) {
	s.mu.Lock()
	told := s.stamping&unix.SOF_TIMESTAMPING_SOFTWARE != 0
	s.mu.Unlock()
	w := s.wants.load() &^ wantStamping
	if told {
		w |= wantStamping
	}
	if w&wantTimes != 0 {
		c.putTime(w, s.wallClock(mono.Time(m.Time)))
	}
}
