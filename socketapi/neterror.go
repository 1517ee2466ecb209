package socketapi

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// opError words the error of a call as package net does.
func opError(op, network, call string, source, addr net.Addr, errno unix.Errno) error {
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: callError(call, errno)}
}

// callError is what is inside: a closed socket is net.ErrClosed, a deadline that has passed os.ErrDeadlineExceeded, and anything
// else the errno of the system call that it stands for.
func callError(call string, errno unix.Errno) error {
	switch {
	case errno == unix.EBADF:
		return net.ErrClosed
	case errno == unix.EAGAIN:
		return os.ErrDeadlineExceeded
	case call == "":
		return errno
	}
	return os.NewSyscallError(call, errno)
}

// Errors of package net that it does not show, in its words.
var (
	errMissingAddress = errors.New("missing address")
	errNoSuitable     = "no suitable address found" // of a net.AddrError
	errMismatched     = "mismatched local address type"
)

// dialEnded is the error of a dial whose context has ended.
type dialEnded struct {
	text    string
	is      error
	timeout bool
}

func (e *dialEnded) Error() string        { return e.text }
func (e *dialEnded) Timeout() bool        { return e.timeout }
func (e *dialEnded) Temporary() bool      { return e.timeout }
func (e *dialEnded) Is(target error) bool { return target == e.is }

var (
	errTimeout  = &dialEnded{text: "i/o timeout", is: context.DeadlineExceeded, timeout: true}
	errCanceled = &dialEnded{text: "operation was canceled", is: context.Canceled}
)

// ended is what a context's error is called.
func ended(err error) error {
	switch err {
	case context.DeadlineExceeded:
		return errTimeout
	case context.Canceled:
		return errCanceled
	}
	return err
}
