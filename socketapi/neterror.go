package socketapi

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// opError words the error of a call as package net does: a closed socket is
// net.ErrClosed, a deadline that has passed os.ErrDeadlineExceeded, and anything else
// the errno of the system call that it stands for.
func opError(op, network, call string, source, addr net.Addr, errno unix.Errno) error {
	e := &net.OpError{Op: op, Net: network, Source: source, Addr: addr}
	switch errno {
	case unix.EBADF:
		e.Err = net.ErrClosed
	case unix.EAGAIN:
		e.Err = os.ErrDeadlineExceeded
	default:
		e.Err = os.NewSyscallError(call, errno)
	}
	return e
}
