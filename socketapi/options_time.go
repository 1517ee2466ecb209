package socketapi

import (
	"golang.org/x/sys/unix"
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
	unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE

// stamping is SO_TIMESTAMPING in one of its forms.
func stamping(label string, name int, form wants) option {
	return option{level: unix.SOL_SOCKET, name: name, label: label,
		get: func(s socket, v *value) unix.Errno { v.n = s.common().stamping; return 0 },
		set: func(s socket, v *value) unix.Errno {
			if v.n&^stampingTaken != 0 {
				return unix.EINVAL
			}
			const software = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
			c := s.common()
			c.stamping = v.n
			c.wants.set(wantStamping|wantNewStamping, false)
			c.wants.set(wantStamping|form, v.n&software == software)
			return 0
		},
	}
}
