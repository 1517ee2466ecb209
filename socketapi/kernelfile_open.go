package socketapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Read first: socket(2), socketpair(2), unix(7) on SCM_RIGHTS.

// Adopt gives the table a descriptor of the kernel's, to read, write, wait for or pass on with the
// table's own: a file, a pipe, what another library has opened. It returns the table's number for it.
// The kernel's belongs to the table from now on, which closes it with its last descriptor.
func (t *Table) Adopt(kernelFD int) (fd int, err error) {
	if _, err := unix.FcntlInt(uintptr(kernelFD), unix.F_GETFD, 0); err != nil {
		return -1, err
	}
	f := &file{kernel: newKernelFile(t, kernelFD)}
	fd, errno := t.add(f)
	if errno != 0 {
		return -1, errno // it stays the caller's
	}
	return fd, nil
}

// Kernel returns the kernel's number of what is behind a descriptor: EBADF if it is not open,
// EINVAL if it is a socket of the engine's, which the kernel does not know. It is the table's to
// close.
func (t *Table) Kernel(fd int) (kernelFD int, err error) {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return -1, unix.EBADF
	case f.kernel == nil:
		return -1, unix.EINVAL
	}
	return f.kernel.fd, nil
}

// WithKernel makes a call with the kernel's number of what is behind a descriptor, which stays open meanwhile, whoever closes it. It
// is EBADF if the descriptor is not open, and otherwise if it is the engine's. A call that a signal has ended is made again.
func (t *Table) WithKernel(fd int, otherwise unix.Errno, call func(kernelFD int) error) error {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return unix.EBADF
	case f.kernel == nil:
		return otherwise
	}
	return other{k: f.kernel}.do(call)
}

// take gives the table a descriptor that was just made, or closes it.
func (t *Table) take(kernelFD int, closeOnExec bool) (fd int, err error) {
	f := &file{kernel: newKernelFile(t, kernelFD)}
	fd, errno := t.add(f)
	if errno != 0 {
		f.kernel.close()
		return -1, errno
	}
	t.setCloseOnExec(fd, closeOnExec)
	return fd, nil
}

// kernelSocket opens a socket of a family that is not the engine's.
func (t *Table) kernelSocket(domain, typ, proto int) (fd int, err error) {
	k, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, err
	}
	return t.take(k, typ&unix.SOCK_CLOEXEC != 0)
}

// Socketpair makes two sockets that are connected to each other: of the kernel's families, AF_UNIX
// above all. The engine's have none (EOPNOTSUPP).
func (t *Table) Socketpair(domain, typ, proto int) (fd [2]int, err error) {
	if engineFamily(domain) {
		s, errno := t.open(domain, typ&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), proto)
		if errno != 0 {
			return fd, errno
		}
		s.close()
		return fd, unix.EOPNOTSUPP
	}
	pair, err := unix.Socketpair(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return fd, err
	}
	for i, k := range pair {
		if fd[i], err = t.take(k, typ&unix.SOCK_CLOEXEC != 0); err != nil {
			if i == 0 {
				unix.Close(pair[1])
			} else {
				t.Close(fd[0])
			}
			return [2]int{}, err
		}
	}
	return fd, nil
}

// engineFamily says whether sockets of a family are the engine's.
func engineFamily(domain int) bool {
	return domain == unix.AF_INET || domain == unix.AF_INET6 || domain == unix.AF_PACKET
}

// kernelRights is control messages as the kernel is to have them: descriptors that are passed
// (SCM_RIGHTS) have the kernel's numbers. One of a socket of the engine's, which no other process can
// have, is EBADF.
func (t *Table) kernelRights(oob []byte) ([]byte, error) {
	out := append([]byte(nil), oob...)
	errno := unix.Errno(0)
	eachRight(out, func(b []byte) {
		k := t.kernel(int(int32(binary.NativeEndian.Uint32(b))))
		if k == nil {
			errno = unix.EBADF
			return
		}
		binary.NativeEndian.PutUint32(b, uint32(k.fd))
	})
	return out, failure(errno)
}

// adoptRights takes descriptors that were passed into the table, and writes their numbers there. One
// that the table has no room for is closed, and the message is cut off (MSG_CTRUNC), as Linux does.
func (t *Table) adoptRights(oob []byte, recvflags *int) {
	eachRight(oob, func(b []byte) {
		fd, err := t.take(int(int32(binary.NativeEndian.Uint32(b))), false)
		if err != nil {
			*recvflags |= unix.MSG_CTRUNC
		}
		binary.NativeEndian.PutUint32(b, uint32(int32(fd)))
	})
}

// eachRight goes through the descriptors of SCM_RIGHTS messages.
func eachRight(oob []byte, do func(number []byte)) {
	for len(oob) >= unix.SizeofCmsghdr {
		whole := word(oob)
		if whole < unix.SizeofCmsghdr || whole > uint64(len(oob)) {
			return
		}
		if binary.NativeEndian.Uint32(oob[wordLen:]) == unix.SOL_SOCKET && binary.NativeEndian.Uint32(oob[wordLen+4:]) == unix.SCM_RIGHTS {
			for b := oob[unix.SizeofCmsghdr:whole]; len(b) >= 4; b = b[4:] {
				do(b[:4])
			}
		}
		next := (int(whole) + wordLen - 1) &^ (wordLen - 1)
		oob = oob[min(next, len(oob)):]
	}
}
