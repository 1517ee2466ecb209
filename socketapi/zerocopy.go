package socketapi

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Read first: Documentation/networking/msg_zerocopy.rst of Linux; __msg_zerocopy_callback in net/core/skbuff.c.
//
// What is sent is copied into the buffers or frames it leaves by, so a program's memory is its own again when the call returns. One that
// has asked to hear of that (SO_ZEROCOPY, MSG_ZEROCOPY) hears of it at once, and that it was copied, as on Linux over a device that
// cannot gather. Its calls are numbered, those that it has not heard of yet follow each other, and so they are one message of the
// error queue and take no memory: net.core.optmem_max, the reason for ENOBUFS on Linux, is never reached.

// zeroCopies is the numbers of a socket's calls with MSG_ZEROCOPY: of the first that its program has not heard of, and above it of the
// next one. What failed has none.
type zeroCopies struct{ numbers atomic.Uint64 }

// sent numbers a call.
func (z *zeroCopies) sent() { z.numbers.Add(1 << 32) }

// waits says whether there is one to hear of.
func (z *zeroCopies) waits() bool {
	n := z.numbers.Load()
	return uint32(n) != uint32(n>>32)
}

// take takes all that there are, as a message of the error queue.
func (z *zeroCopies) take() (e udp.ExtendedError, ok bool) {
	for {
		n := z.numbers.Load()
		first, next := uint32(n), uint32(n>>32)
		if first == next {
			return e, false
		}
		if z.numbers.CompareAndSwap(n, uint64(next)<<32|uint64(next)) {
			return udp.ExtendedError{Origin: udp.OriginZeroCopy, Code: unix.SO_EE_CODE_ZEROCOPY_COPIED, Info: first, Data: next - 1}, true
		}
	}
}

// zeroCopied tells the program that what a call of its has sent is its own again, if it wants to hear of it. Nothing of a stream is
// nothing; of datagrams the header counts.
func (f *file) zeroCopied(n, flags int, err error) {
	if flags&unix.MSG_ZEROCOPY == 0 || err != nil || !f.ours() {
		return
	}
	c := f.common()
	if !c.zeroCopy.Load() || n <= 0 && c.kind == unix.SOCK_STREAM {
		return
	}
	c.copied.sent()
	c.lookout.alarm()
}

// recvCopied is recvError where no error waits.
func (s *settings) recvCopied(errno unix.Errno) (r received, e udp.ExtendedError, _ unix.Errno) {
	if errno != unix.EAGAIN {
		return r, e, errno
	}
	e, ok := s.copied.take()
	if !ok {
		return r, e, errno
	}
	r.flags = unix.MSG_ERRQUEUE
	r.m.Time = int64(s.host.Clock().Now())
	return r, e, 0
}

// copiedEvents is what poll(2) says of a socket whose program has calls to hear of.
func (s *settings) copiedEvents() (ev ring.Events) {
	if s.copied.waits() {
		ev = ring.Err
	}
	return ev
}

// zeroCopyOption is SO_ZEROCOPY, of TCP and UDP; of other sockets it can only be got (sk_setsockopt).
var zeroCopyOption = option{level: unix.SOL_SOCKET, name: unix.SO_ZEROCOPY, label: "SO_ZEROCOPY",
	get: func(s socket, v *value) unix.Errno { v.n = number(s.common().zeroCopy.Load()); return 0 },
	set: func(s socket, v *value) unix.Errno {
		c := s.common()
		switch {
		case c.class()&(onTCP|onUDP) == 0:
			return unix.EOPNOTSUPP
		case v.n < 0 || v.n > 1:
			return unix.EINVAL
		}
		c.zeroCopy.Store(v.n != 0)
		return 0
	},
}
