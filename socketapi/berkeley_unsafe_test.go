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
