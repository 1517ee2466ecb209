//go:build amd64 || arm64 || riscv64

package unix

import (
	xsys "golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi"
)

// lend makes a call with the kernel's descriptor behind one of the table's, which stays open meanwhile. A negative number is none, or
// AT_FDCWD, and stays what it is; otherwise is the errno if there is no descriptor of the kernel's.
func lend(fd int, otherwise xsys.Errno, call func(fd int) error) error {
	if fd < 0 {
		return call(fd)
	}
	return socketapi.Default().WithKernel(fd, otherwise, call)
}

// lend2 is lend of two.
func lend2(a, b int, otherwise xsys.Errno, call func(a, b int) error) error {
	return lend(a, otherwise, func(a int) error {
		return lend(b, otherwise, func(b int) error { return call(a, b) })
	})
}

// adopt gives the table a descriptor that the kernel has just made, and returns its number there. To the kernel all are
// close-on-exec: no program that is executed gets one.
func adopt(fd int, err error, closeOnExec bool) (int, error) {
	if err != nil {
		return -1, err
	}
	n, err := socketapi.Adopt(fd)
	if err != nil {
		xsys.Close(fd)
		return -1, err
	}
	if closeOnExec {
		CloseOnExec(n)
	}
	return n, nil
}

// CloseOnExec sets FD_CLOEXEC.
func CloseOnExec(fd int) { socketapi.FcntlInt(uintptr(fd), F_SETFD, FD_CLOEXEC) }

func Creat(path string, mode uint32) (fd int, err error) {
	return Open(path, O_CREAT|O_WRONLY|O_TRUNC, mode)
}

func InotifyInit() (fd int, err error) { return InotifyInit1(0) }

func Openat2(dirfd int, path string, how *OpenHow) (fd int, err error) {
	if how == nil {
		return -1, EFAULT
	}
	with := *how
	with.Flags |= O_CLOEXEC
	err = lend(dirfd, ENOTDIR, func(dirfd int) (err error) {
		fd, err = xsys.Openat2(dirfd, path, &with)
		return err
	})
	return adopt(fd, err, how.Flags&O_CLOEXEC != 0)
}

func Pipe(p []int) error { return Pipe2(p, 0) }

func Pipe2(p []int, flags int) error {
	if len(p) != 2 {
		return EINVAL
	}
	var made [2]int
	if err := xsys.Pipe2(made[:], flags|O_CLOEXEC); err != nil {
		return err
	}
	read, err := adopt(made[0], nil, flags&O_CLOEXEC != 0)
	if err != nil {
		xsys.Close(made[1])
		return err
	}
	write, err := adopt(made[1], nil, flags&O_CLOEXEC != 0)
	if err != nil {
		Close(read)
		return err
	}
	p[0], p[1] = read, write
	return nil
}

func Signalfd(fd int, sigmask *Sigset_t, flags int) (newfd int, err error) {
	if fd >= 0 { // whose mask is to be another
		err = lend(fd, EINVAL, func(fd int) error { _, err := xsys.Signalfd(fd, sigmask, flags); return err })
		if err != nil {
			return -1, err
		}
		return fd, nil
	}
	newfd, err = xsys.Signalfd(fd, sigmask, flags|SFD_CLOEXEC)
	return adopt(newfd, err, flags&SFD_CLOEXEC != 0)
}

func Waitid(idType int, id int, info *Siginfo, options int, rusage *Rusage) (err error) {
	if idType != P_PIDFD {
		return xsys.Waitid(idType, id, info, options, rusage)
	}
	return lend(id, EBADF, func(id int) error { return xsys.Waitid(idType, id, info, options, rusage) })
}

// Exit ends the process, but before that the stack, which waits for what is still to be sent as long as [host.Config] says: with the
// process it would end.
//
// [host.Config]: https://pkg.go.dev/github.com/xdpsock/xdpsock/socketapi/host#Config
func Exit(code int) {
	socketapi.CloseDefault()
	xsys.Exit(code)
}

// SocketDisableIPv6 makes Socket refuse AF_INET6 (EAFNOSUPPORT).
var SocketDisableIPv6 bool

// Socket is [socketapi.Socket].
func Socket(domain, typ, proto int) (fd int, err error) {
	if domain == AF_INET6 && SocketDisableIPv6 {
		return -1, EAFNOSUPPORT
	}
	return socketapi.Socket(domain, typ, proto)
}

// The standard descriptors, which are the kernel's in every table.
var (
	Stdin  = xsys.Stdin
	Stdout = xsys.Stdout
	Stderr = xsys.Stderr
)
