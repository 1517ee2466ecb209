package socketapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// connectUnspec is connect(2) with AF_UNSPEC, which the unix package cannot say.
func connectUnspec(fd int) error {
	var raw unix.RawSockaddr
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet4)
	return failure(errno)
}

// Getsockopt is getsockopt(2), which the unix package has for some types alone.
func (linux) Getsockopt(fd, level, opt int, p []byte) (int, error) {
	n := uint32(len(p))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
